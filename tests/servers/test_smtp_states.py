"""Every command in every state: one well-formed answer, never one of the session's last, and the state it leaves."""

from __future__ import annotations

import re

import pytest

from gatekeeper.servers.smtp import COMMANDS
from gatekeeper.wire.headers import MOST_FIELDS
from tests.servers.proxy import HELLO, Proxy, proxy
from tests.support.smtp_client import SmtpClient

MAIL, RCPT, TEXT = "MAIL FROM:<s@example.net>", "RCPT TO:<one@example.org>", "Subject: x\r\n\r\ntext\r\n."
STATES: dict[str, list[str]] = {
    "connected": [],
    "greeted by HELO": ["HELO client.example.net"],
    "greeted": [HELLO],
    "mail": [HELLO, MAIL],
    "recipient": [HELLO, MAIL, RCPT],
    "only refused recipients": [HELLO, MAIL, "RCPT TO:<no@example.org>"],
    "recipients of both kinds": [HELLO, MAIL, RCPT, "RCPT TO:<no@example.org>"],
    "after a mail": [HELLO, MAIL, RCPT, "DATA", TEXT],
    "after a refused mail": [HELLO, MAIL, "RCPT TO:<full@example.org>", "DATA", TEXT],
    "after RSET": [HELLO, MAIL, RCPT, "RSET"],
    "after a second EHLO": [HELLO, MAIL, RCPT, HELLO],
    "after an error": [HELLO, "NONSENSE"],
}
ANYWHERE = {
    # line -> the codes it may be answered with, whatever the state
    "": {"500"},
    "EHLO": {"501"},
    "HELO": {"501"},
    "HELO again.example.net": {"250"},
    "EHLO again.example.net": {"250"},
    "MAIL": {"501", "503"},
    "MAIL FROM:": {"501", "503"},
    "MAIL FROM:<>": {"250", "503"},
    "MAIL FROM:<s@example.net> SIZE=99999999999": {"552", "503"},
    "MAIL FROM:<s@example.net> NONSENSE": {"555", "503"},
    "MAIL FROM:<s\xe9@example.net>": {"501", "500", "503"},
    "RCPT": {"501", "503"},
    "RCPT TO:<>": {"501", "503"},
    "RCPT TO:<two@example.org>": {"250", "503"},
    "RCPT TO:<no@example.org>": {"550", "503"},
    "RCPT TO:<x@elsewhere.example>": {"550", "503"},
    "DATA now": {"501", "503"},
    "RSET": {"250"},
    "RSET now": {"501"},
    "NOOP": {"250"},
    "NOOP anything": {"250"},
    "HELP": {"214"},
    "HELP MAIL": {"214"},
    "VRFY": {"252"},
    "VRFY one@example.org": {"252"},
    "VRFY no@example.org": {"252"},
    "EXPN staff": {"502"},
    "ETRN example.org": {"502"},
    "AUTH PLAIN AGEAYg==": {"500", "502", "503"},
    "STARTTLS": {"500", "502", "503"},
    "BDAT 0 LAST": {"500", "502"},
    "TURN": {"500"},
    "SEND FROM:<a@example.net>": {"500"},
    "XCLIENT ADDR=192.0.2.1": {"550"},
    "XFORWARD ADDR=192.0.2.1": {"550"},
    "GET / HTTP/1.1": {"500"},
    "NOOP " + "x" * 600: {"500"},
    "RCPT TO:<" + "x" * 3000 + "@example.org>": {"500"},
    "M\xc4IL FROM:<a@example.net>": {"500"},
    "RSET \xff": {"500"},
    "NOOP \x00": {"500"},
    "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03": {"500"},
}
OTHER_PROTOCOLS = {"GET / HTTP/1.1", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"}
"""Nobody begins a session of SMTP with these; they are told so, once."""
REPLY = re.compile(r"([2-5][0-9][0-9][ -][ -~]*\n)*[2-5][0-9][0-9] [ -~]*")
NEEDS_ENHANCED = re.compile(r"(2|4|5)[0-9][0-9][ -]\1\.[0-9]+\.[0-9]+ ")


async def reach(p: Proxy, client: SmtpClient, state: str) -> None:
    p.hop.recipients["no@example.org"] = "550 5.1.1 No such user"
    if state == "after a refused mail":
        p.hop.replies["."] = ["554 5.6.0 not this one"]
    for line in STATES[state]:
        client.send(f"{line}\r\n")
        assert (await client.reply())[:1] in "235", line


def test_every_command_there_is_stands_in_the_table():
    assert set(COMMANDS) - {"DATA", "QUIT"} <= {line.partition(" ")[0] for line in ANYWHERE}


@pytest.mark.parametrize("state", STATES)
async def test_every_command_is_answered_and_the_session_lives(state):
    """Each on a session of its own: what it leaves behind must still take a whole mail."""
    for line, codes in ANYWHERE.items():
        async with proxy() as p, p.client() as client:
            await reach(p, client, state)
            client.send(line.encode("latin-1") + b"\r\n")
            answer = await client.reply()
            assert REPLY.fullmatch(answer), (state, line, answer)
            if state == "connected" and line in OTHER_PROTOCOLS:
                assert answer[:3] == "421"
                assert await client.gone()
                continue
            assert answer[:3] in codes, (state, line, answer)
            if answer[0] in "45":
                assert NEEDS_ENHANCED.match(answer), (state, line, answer)
            if answer[:3] == "503":
                assert (
                    state in {"connected", "greeted by HELO", "greeted"} or state.startswith("after") or "MAIL" in line
                )
            if not STATES[state]:
                assert (await client(HELLO))[:3] == "250"
            assert await client("RSET") == "250 2.0.0 Ok"
            assert (await client.mail())[:3] == "250", (state, line)
            assert p.hop.messages[-1].recipients == ["one@example.org"]
            assert (await client("QUIT"))[:3] == "221"
            assert await client.gone()


@pytest.mark.parametrize("state", STATES)
async def test_data_is_taken_only_with_a_recipient(state):
    async with proxy() as p, p.client() as client:
        await reach(p, client, state)
        answer = await client("DATA")
        expected = {
            "recipient": "354",
            "recipients of both kinds": "354",
            "mail": "554",
            "only refused recipients": "554",
        }
        assert answer[:3] == expected.get(state, "503")
        if answer[:3] == "354":
            assert (await client.message())[:3] == "250"
        assert await client("NOOP") == "250 2.0.0 Ok"


@pytest.mark.parametrize("state", STATES)
async def test_quit_ends_the_session_at_once(state):
    async with proxy() as p, p.client() as client:
        await reach(p, client, state)
        assert await client("QUIT") == "221 2.0.0 Bye"
        assert await client.gone()
        await p.gate.until("left")


@pytest.mark.parametrize("state", STATES)
async def test_lower_case_and_blanks_around_are_the_same_command(state):
    async with proxy() as p, p.client() as client:
        await reach(p, client, state)
        assert await client("rSeT  ") == "250 2.0.0 Ok"
        assert (await client("vrfy one"))[:3] == "252"


async def test_a_message_of_a_million_lines_and_one_of_two_thousand_fields_go_through_as_they_are():
    many_lines = b"Subject: lines\r\n\r\n" + b"x\r\n" * 1_000_000
    many_fields = b"".join(b"X-Field-%d: value\r\n" % n for n in range(MOST_FIELDS)) + b"\r\ntext\r\n"
    for content in (many_lines, many_fields):
        async with proxy() as p, p.client() as client:
            await client(HELLO)
            assert (await client.mail(content))[:3] == "250"
            assert p.hop.messages[-1].data.endswith(content)


async def test_a_message_of_ten_thousand_fields_is_refused_and_the_session_goes_on():
    many_fields = b"".join(b"X-Field-%d: value\r\n" % n for n in range(10_000)) + b"\r\ntext\r\n"
    async with proxy() as p, p.client() as client:
        await client(HELLO)
        assert await client.mail(many_fields) == "552 5.3.4 Message header has too many fields"
        assert (await client.mail(b"Subject: x\r\n\r\ntext\r\n"))[:3] == "250"
        assert len(p.hop.messages) == 1
