"""Whole mails: what goes in comes out, and what is refused is refused for a reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gatekeeper.model import Action, Stage, Thresholds
from gatekeeper.wire.headers import MOST_FIELDS
from tests.servers.proxy import HELLO, proxy

MAIL = "MAIL FROM:<s@example.net>"
RCPT = "RCPT TO:<one@example.org>"
BEGIN = (HELLO, MAIL, RCPT, "DATA")


def text_of(data: bytes) -> bytes:
    """What was sent, without the fields that were put on top."""
    return data.partition(b"X-Spam-Score: 0.0\r\n")[2]


async def test_a_mail_goes_through_and_every_answer_is_the_next_hops():
    async with proxy() as p, p.client() as client:
        p.hop.recipients["no@example.org"] = "550-5.1.1 No such user\n550 5.1.1 really"
        assert client.greeting == "220 mx.example.org ESMTP"
        assert (await client(HELLO)).startswith("250-mx.example.org\n")
        assert await client.say(f"{MAIL} SIZE=10", RCPT, "RCPT TO:<no@example.org>", "DATA") == [
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
    assert text_of(message.data) == b"Subject: x\r\n\r\n.dot\r\n"
    [done] = p.gate.finished
    assert (done.recipients, done.refused, str(done.reply), str(done.next_hop), done.note) == (
        ["one@example.org"],
        ["no@example.org"],
        "250 2.0.0 Ok: queued as 4XfAkE",
        "250 2.0.0 Ok: queued as 4XfAkE",
        "",
    )


async def test_parameters_go_on_with_their_case():
    async with proxy() as p, p.client() as client:
        await client.say(
            HELLO,
            "MAIL FROM:<Ab@Example.NET> BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ314159+3D",
            "RCPT TO:<öne@example.org> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Bob+40Example.com",
            "DATA",
        )
        assert (await client.message())[:3] == "250"
    [message] = p.hop.messages
    assert message.sender == "Ab@Example.NET"
    assert message.sender_parameters == ("BODY=8BITMIME", "SMTPUTF8", "RET=HDRS", "ENVID=QQ314159+3D")
    assert [path.encode("latin-1").decode() for path in message.recipients] == ["öne@example.org"]
    assert message.recipient_parameters == [("NOTIFY=SUCCESS,DELAY", "ORCPT=rfc822;Bob+40Example.com")]


async def test_the_null_sender_is_welcome_with_any_number_of_recipients():
    async with proxy() as p, p.client() as client:
        await client.say(HELLO, "MAIL FROM:<>", RCPT, "RCPT TO:<two@example.org>", "DATA")
        assert (await client.message())[:3] == "250"
    assert p.hop.messages[0].sender == ""


async def test_several_mails_go_over_one_session_and_one_connection():
    async with proxy() as p, p.client() as client:
        await client(HELLO)
        for number in range(3):
            assert (await client.mail(f"Subject: {number}\r\n\r\n"))[:3] == "250"
        assert [text_of(message.data)[:10] for message in p.hop.messages] == [
            b"Subject: 0",
            b"Subject: 1",
            b"Subject: 2",
        ]
        assert {message.connection for message in p.hop.messages} == {2}  # the first was the probe
    assert len({done.id for done in p.gate.finished}) == 3


async def test_a_mail_in_one_segment_with_all_that_surrounds_it():
    async with proxy() as p, p.client() as client:
        client.send(f"{HELLO}\r\n{MAIL}\r\n{RCPT}\r\nDATA\r\nSubject: x\r\n\r\ntext\r\n.\r\n{MAIL}\r\nRSET\r\nQUIT\r\n")
        said = await client.replies(8)
        assert [line[:3] for line in said] == ["250", "250", "250", "354", "250", "250", "250", "221"]
        assert await client.gone()
    assert text_of(p.hop.messages[0].data) == b"Subject: x\r\n\r\ntext\r\n"


@pytest.mark.parametrize(
    ("sent", "header", "rest"),
    [
        ("", b"", b""),
        ("\r\n", b"", b"\r\n"),
        ("\r\nbody\r\n", b"", b"\r\nbody\r\n"),
        ("Subject: x\r\n", b"Subject: x\r\n", b""),
        ("Subject: x\r\n\r\n", b"Subject: x\r\n", b"\r\n"),
        ("Subject: x\r\n\r\n\r\n\r\n", b"Subject: x\r\n", b"\r\n\r\n\r\n"),
        ("..\r\n", b".\r\n", b""),
        ("Subject: x\r\n\r\n..\r\n...\r\n", b"Subject: x\r\n", b"\r\n.\r\n..\r\n"),
    ],
)
async def test_odd_messages_stay_as_they_are(sent, header, rest):
    async with proxy() as p, p.client() as client:
        await client.say(*BEGIN)
        assert (await client.message(sent))[:3] == "250"
    assert p.gate.messages == [header + rest]


async def test_our_received_field_tells_the_truth_and_nothing_else():
    async with proxy() as p, p.client() as client:
        await client.say('EHLO evil(by\x41mx.example.org)"x"', MAIL, RCPT, "DATA")
        assert (await client.message())[:3] == "250"
    received = p.hop.messages[0].data.partition(b"X-Spam-Score")[0]
    assert received.count(b"\r\n") == received.count(b"\r\n ") + 1
    assert b"evil" not in received
    assert b"[127.0.0.1]" in received
    assert f"id {p.gate.finished[0].id}".encode() in received


# --- framing ---------------------------------------------------------------------------------------------------------


async def test_bare_lf_is_mended_and_noted():
    async with proxy() as p, p.client() as client:
        await client.say(*BEGIN)
        assert (await client.message("Subject: x\n\na\n.\nb\n.\r\nc\r\n"))[:3] == "250"
    assert p.gate.messages == [b"Subject: x\r\n\r\na\r\n.\r\nb\r\n.\r\nc\r\n"]
    assert p.gate.framings == [("bare_lf",)]
    assert text_of(p.hop.messages[0].data) == p.gate.messages[0]


@pytest.mark.parametrize(
    ("settings", "text", "reply"),
    [
        ({"bare_newline": "reject"}, b"a: b\r\n\r\nx\ny\r\n", "550 5.5.2"),
        ({}, b"a: b\r\n\r\nx\ry\r\n", "550 5.5.2"),
        ({}, b"a: b\r\n\r\nx\r\r\n", "550 5.5.2"),
        ({}, b"a: b\r\n\r\nx\0y\r\n", "550 5.6.0"),
        ({"message_size": 1000}, b"a: b\r\n\r\n" + b"x" * 1000 + b"\r\n", "552 5.3.4"),
        ({"message_size": 1000}, (b"x" * 70 + b"\r\n") * 100_000, "552 5.3.4"),
        ({"header_size": 1000}, b"a: b\r\n" * 200 + b"\r\n", "552 5.3.4"),
        ({"header_size": 1000}, b"x" * 2000 + b"\r\n", "552 5.3.4"),
        ({"spool_memory": 1000}, b"a: b\r\n\r\n" + b"x" * 1000 + b"\r\n", "452 4.3.1"),
        ({"spool_disk": 1000}, b"a: b\r\n\r\n" + b"x" * 600_000 + b"\r\n", "452 4.3.1"),
        ({"spool": "/nonexistent"}, b"a: b\r\n\r\n" + b"x" * 600_000 + b"\r\n", "452 4.3.1"),
        ({}, b"Received: x\r\n" * 101 + b"\r\n", "554 5.4.6"),
        ({"received_fields": 2}, b"received: x\r\nRECEIVED: x\r\nX: y\r\nReceived:\r\n\tx\r\n\r\n", "554 5.4.6"),
    ],
)
async def test_what_cannot_be_passed_on_is_read_to_its_end_and_refused(settings, text, reply):
    async with proxy(**settings) as p, p.client() as client:
        await client.say(*BEGIN)
        assert (await client.message(text))[:9] == reply
        assert await client("NOOP") == "250 2.0.0 Ok"
        if "spool" not in str(settings):
            assert (await client.mail("a: b\r\n\r\nshort\r\n"))[:3] == "250"
        assert p.server.spool.memory_left == p.server.settings.spool_memory
        assert p.server.spool.disk_left == p.server.settings.spool_disk
    assert Stage.MESSAGE not in p.gate.judged[: p.gate.judged.index(Stage.DATA) + 2]
    assert p.gate.finished[0].note == ("no_room" if reply == "452 4.3.1" else "unreadable")
    assert all(b"short" in message.data for message in p.hop.messages)


async def test_size_is_checked_before_anything_is_sent():
    async with proxy() as p, p.client() as client:
        await client(HELLO)
        assert await client(f"{MAIL} SIZE=10240001") == "552 5.3.4 Message bigger than SIZE allows"
        assert await client(f"{MAIL} SIZE=10240000") == "250 2.1.0 Ok"


async def test_a_hundred_received_fields_are_not_too_many():
    async with proxy() as p, p.client() as client:
        await client.say(*BEGIN)
        assert (await client.message("Received: x\r\n" * 100 + "\r\n"))[:3] == "250"


async def test_a_header_of_more_fields_than_are_read_is_refused():
    async with proxy() as p, p.client() as client:
        await client.say(*BEGIN)
        text = "X: y\r\n" * (MOST_FIELDS + 1) + "\r\nbody\r\n"
        assert await client.message(text) == "552 5.3.4 Message header has too many fields"


@pytest.mark.parametrize(
    "text",
    [
        b"a: b\r\n\r\n" + b"line\r\n" * 1_000_000,
        b"".join(b"X-%d: %s\r\n" % (n, b"y" * 900) for n in range(MOST_FIELDS)) + b"\r\nbody\r\n",
        b"a: b\r\n\r\n" + b"x" * 3_000_000 + b"\r\n",
        b"a: b\r\n\r\n" + b"..\r\n" * 200_000,
    ],
    ids=["lines", "headers", "line", "dots"],
)
async def test_large_mail_goes_through_as_it_is(text, tmp_path: Path):
    async with proxy(spool=str(tmp_path)) as p, p.client() as client:
        await client.say(*BEGIN)
        client.send(text)
        await client.writer.drain()
        assert (await client.message(b""))[:3] == "250"
        assert p.server.spool.memory_left == p.server.settings.spool_memory
        assert p.server.spool.disk_left == p.server.settings.spool_disk
    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240 - at the end of a test
    assert text_of(p.hop.messages[0].data) == (b"\r\n" + text).replace(b"\r\n.", b"\r\n")[2:]


@pytest.mark.slow
async def test_fifty_megabytes_go_through():
    line = os.urandom(36).hex().encode() + b"\r\n"
    text = b"a: b\r\n\r\n" + line * (50 * 2**20 // len(line))
    hop_size = {"PIPELINING": "", "SIZE": "0"}
    async with proxy() as p, p.client() as client:
        p.hop.capabilities = hop_size
        await p.client_of_hop.probe()
        await client.say(*BEGIN)
        client.send(text)
        await client.writer.drain()
        assert (await client.message(b""))[:3] == "250"
    assert text_of(p.hop.messages[0].data) == text


# --- what the gate says ----------------------------------------------------------------------------------------------


async def test_a_refused_message_goes_no_further():
    async with proxy() as p, p.client() as client:
        p.gate.say(Stage.MESSAGE, Action.REJECT)
        await client(HELLO)
        assert (await client.mail()).startswith("550 5.7.1 not wanted (id ")
        assert p.hop.messages == []
        [done] = p.gate.finished
        assert done.verdict is not None
        assert done.verdict.action is Action.REJECT
        assert done.next_hop is None
        p.gate.say(Stage.MESSAGE, Action.ACCEPT)
        assert (await client.mail())[:3] == "250"
    assert p.gate.sessions[0].counters.refused == 1


async def test_a_message_deferred_at_data_is_not_even_asked_for():
    async with proxy() as p, p.client() as client:
        p.gate.say(Stage.DATA, Action.DEFER)
        assert (await client.say(*BEGIN))[3][:9] == "451 4.7.1"
        assert await client("DATA") == "503 5.5.1 Say MAIL first"
    assert len(p.gate.finished) == 1


async def test_a_recipient_that_we_refuse_is_not_asked_of_the_next_hop():
    async with proxy() as p, p.client() as client:
        p.gate.say(Stage.RCPT, Action.DEFER, to="two@example.org", code=452)
        await client.say(HELLO, MAIL)
        said = await client.burst(RCPT, "RCPT TO:<two@example.org>", "RCPT TO:<three@example.org>")
        assert [line[:3] for line in said] == ["250", "452", "250"]
        assert [to for to, _ in p.gate.refusals] == ["two@example.org"]
    assert not any("two@" in line for line in p.hop.log)


async def test_the_gate_sees_the_recipients_before_it_in_the_same_group():
    seen = []
    async with proxy() as p, p.client() as client:
        judge = p.gate.judge

        async def spy(stage, mail):
            if stage == Stage.RCPT:
                seen.append([str(r.address) for r in mail.envelope.recipients])
            return await judge(stage, mail)

        p.gate.judge = spy  # type: ignore[method-assign]  # a fake of a fake
        p.hop.recipients["no@example.org"] = "550 5.1.1 no"
        p.gate.say(Stage.RCPT, Action.ACCEPT, to="two@example.org", thresholds=Thresholds(1, 2))
        await client.say(HELLO, MAIL)
        await client.burst("RCPT TO:<no@example.org>", RCPT, "RCPT TO:<two@example.org>")
        await client("RCPT TO:<three@example.org>")
    assert seen[2] == ["no@example.org", "one@example.org"]
    assert seen[3] == ["one@example.org", "two@example.org"]


@pytest.mark.parametrize(
    ("stage", "lines"),
    [
        (Stage.CONNECT, ()),
        (Stage.MAIL, (HELLO, MAIL)),
        (Stage.RCPT, (HELLO, MAIL, RCPT)),
        (Stage.DATA, BEGIN),
        (Stage.MESSAGE, (*BEGIN, "Subject: x\r\n\r\n.")),
    ],
)
async def test_a_drop_ends_the_session_at_any_stage(stage, lines):
    async with proxy() as p:
        p.gate.say(stage, Action.DROP)
        async with p.client() as client:
            said = [client.greeting, *await client.say(*lines)]
            assert said[-1][:9] == "421 4.7.1"
            assert await client.gone()
        await p.gate.until("left")
    assert p.gate.sessions[0].blocked
    assert p.hop.messages == []


async def test_what_came_before_a_drop_in_one_group_is_answered():
    async with proxy() as p, p.client() as client:
        p.gate.say(Stage.RCPT, Action.DROP, to="trap@example.org")
        await client.say(HELLO, MAIL)
        client.send(f"{RCPT}\r\nRCPT TO:<trap@example.org>\r\nRCPT TO:<three@example.org>\r\n")
        assert [said[:3] for said in await client.replies(2)] == ["250", "421"]
        assert await client.gone()
        client.writer.close()
        await p.gate.until("left")
    assert [done.recipients for done in p.gate.finished] == [["one@example.org"]]


async def test_a_delay_is_waited_out_before_the_answer_and_recipients_come_one_by_one():
    async with proxy() as p, p.client() as client:
        p.gate.say(Stage.RCPT, Action.ACCEPT, delay=0.01)
        await client.say(HELLO, MAIL)
        said = await client.burst(RCPT, "RCPT TO:<two@example.org>")
        assert [line[:3] for line in said] == ["250", "250"]


async def test_a_client_that_leaves_does_not_have_to_be_waited_for():
    async with proxy() as p, p.client() as client:
        p.gate.say(Stage.RCPT, Action.ACCEPT, to="two@example.org", delay=10_000.0)
        await client.say(HELLO, MAIL, RCPT)
        client.send("RCPT TO:<two@example.org>\r\n")
        while p.gate.judged.count(Stage.RCPT) < 2:
            await p.gate.until("judged", len(p.gate.judged) + 1)
        client.reset()
        await p.gate.until("left")
    [done] = p.gate.finished
    assert (done.note, done.recipients) == ("client_gone", ["one@example.org"])


@pytest.mark.parametrize(
    ("lines", "note"),
    [
        (("RSET",), "rset"),
        ((HELLO,), "helo"),
        (("QUIT",), "quit"),
    ],
)
async def test_a_mail_that_is_given_up_is_finished_once(lines, note):
    async with proxy() as p, p.client() as client:
        await client.say(HELLO, MAIL, RCPT, *lines)
        await p.gate.until("finished")
        [done] = p.gate.finished
        assert (done.note, done.verdict) == (note, None)
        assert p.gate.sessions[0].counters.resets == 1


async def test_a_mail_whose_recipients_we_all_refused_leaves_no_transaction_behind():
    async with proxy() as p, p.client() as client:
        p.gate.say(Stage.RCPT, Action.REJECT)
        await client.say(HELLO, MAIL, RCPT)
        assert await client("DATA") == "554 5.5.1 No valid recipients"
        await client("RSET")
    assert p.gate.finished == []
    assert p.gate.sessions[0].counters.resets == 0
