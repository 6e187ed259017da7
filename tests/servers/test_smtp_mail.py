from __future__ import annotations

from tests.servers.proxy import HELLO, proxy


async def test_a_mail_goes_through_and_every_answer_is_the_next_hops():
    async with proxy() as p, p.client() as client:
        p.hop.recipients["no@example.org"] = "550-5.1.1 No such user\n550 5.1.1 really"
        assert client.greeting == "220 mx.example.org ESMTP"
        assert (await client(HELLO)).startswith("250-mx.example.org\n")
        assert await client.say(
            "MAIL FROM:<s@example.net> SIZE=10", "RCPT TO:<one@example.org>", "RCPT TO:<no@example.org>", "DATA"
        ) == [
            "250 2.1.0 Ok",
            "250 2.1.5 Ok",
            "550-5.1.1 No such user\n550 5.1.1 really",
            "354 End data with <CR><LF>.<CR><LF>",
        ]
        assert await client.message("Subject: x\r\n\r\n..dot\r\n") == "250 2.0.0 Ok: queued as 4XfAkE"
        assert await client("QUIT") == "221 2.0.0 Bye"
        assert await client.gone()
    [message] = p.hop.messages
    assert message.data.startswith(b"Received: from client.example.net ")
    assert message.data.endswith(b"\r\nX-Spam-Score: 0.0\r\nSubject: x\r\n\r\n.dot\r\n")
    [done] = p.gate.finished
    assert (done.recipients, done.refused, str(done.reply), done.note) == (
        ["one@example.org"],
        ["no@example.org"],
        "250 2.0.0 Ok: queued as 4XfAkE",
        "",
    )
