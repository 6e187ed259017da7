"""The milter codec: negotiation, answers, header and body put together again."""

from __future__ import annotations

import re
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.model import Reply
from gatekeeper.wire import milter_answers as milter
from gatekeeper.wire.milter import (
    Abort,
    BodyChunk,
    Connect,
    Data,
    EndOfHeader,
    EndOfMessage,
    HeaderField,
    Hello,
    Macros,
    MailFrom,
    MilterError,
    Negotiate,
    NewConnection,
    Quit,
    RcptTo,
    Unknown,
)
from gatekeeper.wire.milter_answers import BodyText, agree, header_line
from tests.support.milter_client import OLD, POSTFIX, packet

WHOLE = agree(Negotiate(*POSTFIX))
PLAIN = agree(Negotiate(*OLD))

# --- negotiation -----------------------------------------------------------------------------------------------------


def test_a_mail_server_of_today_is_asked_for_what_is_used_and_no_more():
    assert (WHOLE.version, WHOLE.actions, WHOLE.steps) == (6, 0x111, 0x1F2880)
    assert WHOLE.leading_blank
    assert {Data, HeaderField, Hello, EndOfHeader, BodyChunk, Unknown} <= WHOLE.unanswered
    assert not {Connect, MailFrom, RcptTo, EndOfMessage} & WHOLE.unanswered


@pytest.mark.parametrize(
    ("offer", "version", "actions", "steps"),
    [
        ((2, 0x3F, 0x7F), 2, 0x11, 0),
        ((3, 0x3F, 0x17F), 3, 0x11, 0x100),
        ((4, 0x3F, 0x37F), 4, 0x11, 0x100),
        ((6, 0x1FF, 0x1FFFFF & ~0x100000), 6, 0x111, 0xF2880),
        ((7, 0xFFFFFFFF, 0xFFFFFFFF), 6, 0x111, 0x1F2880),
    ],
)
def test_only_what_is_offered_is_taken(offer, version, actions, steps):
    agreed = agree(Negotiate(*offer))
    assert (agreed.version, agreed.actions, agreed.steps) == (version, actions, steps)
    assert agreed.answer()[4:17] == b"O" + struct.pack("!III", version, actions, steps)


def test_an_old_mail_server_answers_and_is_answered_everything():
    assert PLAIN.unanswered == {Negotiate, Macros, Abort, NewConnection, Quit}
    assert PLAIN.answer() == packet("O", struct.pack("!III", 2, 0x11, 0))
    assert not PLAIN.leading_blank


@pytest.mark.parametrize("actions", [0, 0x01, 0x10, 0x2E])
def test_without_leave_to_change_headers_there_is_no_agreement(actions):
    with pytest.raises(MilterError, match="header"):
        agree(Negotiate(6, actions, 0x1FFFFF))


# --- answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply.of(550, "5.7.1 not wanted"), b"550 5.7.1 not wanted"),
        (Reply.of(451, "4.7.1 100% later"), b"451 4.7.1 100%% later"),
        (Reply(550, ("5.7.1 a", "5.7.1 b")), b"550-5.7.1 a\r\n550 5.7.1 b"),
        (Reply.of(421, "4.7.0 bye\r\n250 ok"), b"421 4.7.0 bye\\x0d\\x0a250 ok"),
    ],
)
def test_a_refusal_carries_our_words(reply, expected):
    assert milter.reply(reply) == packet("y", expected + b"\0")


def test_a_refusal_has_at_most_32_lines_the_last_one_marked_as_such():
    lines = milter.reply(Reply(550, tuple(f"5.7.1 {n}" for n in range(40))))[5:-1].split(b"\r\n")
    assert len(lines) == 32
    assert lines[30:] == [b"550-5.7.1 30", b"550 5.7.1 31"]


def test_a_long_refusal_is_folded():
    lines = milter.reply(Reply.of(550, "5.7.1 " + "word " * 200))[5:-1].split(b"\r\n")
    assert len(lines) > 1
    assert all(len(line) <= 510 and line[4:].startswith(b"5.7.1 ") for line in lines)


@pytest.mark.parametrize("code", [200, 250, 354])
def test_only_a_refusal_has_words(code):
    with pytest.raises(ValueError, match=str(code)):
        milter.reply(Reply.of(code, "2.0.0 Ok"))


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (milter.insert_header(0, "X-Spam-Score", b"1.0", WHOLE), packet("i", b"\0\0\0\0X-Spam-Score\0 1.0\0")),
        (milter.insert_header(1, "A", b"b;\r\n c", WHOLE), packet("i", b"\0\0\0\x01A\0 b;\n c\0")),
        (milter.insert_header(0, "A", b"b", PLAIN), packet("i", b"\0\0\0\0A\0b\0")),
        (milter.change_header(2, "Subject", b"[SPAM] \xff", WHOLE), packet("m", b"\0\0\0\x02Subject\0 [SPAM] \xff\0")),
        (milter.change_header(1, "Subject", b"", PLAIN), packet("m", b"\0\0\0\x01Subject\0 \0")),
        (milter.change_header(1, "Subject", b"a\0b", PLAIN), packet("m", b"\0\0\0\x01Subject\0ab\0")),
        (milter.delete_header(3, "x-spam-flag"), packet("m", b"\0\0\0\x03x-spam-flag\0\0")),
    ],
)
def test_edits_are_written_as_mail_servers_read_them(made, expected):
    assert made == expected


# --- the message put together again ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("agreed", "name", "value", "line"),
    [
        (WHOLE, b"Subject", b" x", b"Subject: x\r\n"),
        (WHOLE, b"Subject", b"x", b"Subject:x\r\n"),
        (WHOLE, b"Subject", b"  x ", b"Subject:  x \r\n"),
        (WHOLE, b"Subject", b"\tx", b"Subject:\tx\r\n"),
        (WHOLE, b"Subject", b"\n x\n\ty", b"Subject:\r\n x\r\n\ty\r\n"),
        (WHOLE, b"Subject", b" x\r\n y", b"Subject: x\r\n y\r\n"),
        (WHOLE, b"Subject", b" x\nBcc: y\n\nbody", b"Subject: x\r\n Bcc: y\r\n \r\n body\r\n"),
        (WHOLE, b"Subject", b" x\n", b"Subject: x\r\n"),
        (WHOLE, b"Subject", b"", b"Subject:\r\n"),
        (PLAIN, b"Subject", b"x", b"Subject: x\r\n"),
        (PLAIN, b"Subject", b" x", b"Subject:  x\r\n"),
        (PLAIN, b"Subject", b"a\n\tb", b"Subject: a\r\n\tb\r\n"),
    ],
)
def test_a_field_is_put_together_as_it_stood_on_the_wire(agreed, name, value, line):
    assert header_line(HeaderField(name, value), agreed) == line


@given(st.binary(max_size=60), st.sampled_from([WHOLE, PLAIN]))
def test_one_field_stays_one_field(value, agreed):
    line = header_line(HeaderField(b"X", value.replace(b"\0", b"")), agreed)
    assert line.endswith(b"\r\n")
    assert not re.search(rb"\n(?![ \t])", line[:-1])
    assert not re.search(rb"(?<!\r)\n", line)


def whole(*chunks: bytes) -> tuple[bytes, bool]:
    text = BodyText()
    return b"".join([*map(text.feed, chunks), text.end()]), text.bare_lf


@pytest.mark.parametrize(
    ("octets", "expected", "bare_lf"),
    [
        (b"", b"", False),
        (b"a\r\nb\r\n", b"a\r\nb\r\n", False),
        (b"a\nb\r\n", b"a\r\nb\r\n", True),
        (b"\n", b"\r\n", True),
        (b"a\rb\r\n", b"a\rb\r\n", False),
        (b"a\r", b"a\r", False),
        (b"a\r\r\n\n", b"a\r\r\n\r\n", True),
    ],
)
def test_a_body_becomes_canonical_wherever_it_is_cut(octets, expected, bare_lf):
    assert whole(octets) == (expected, bare_lf)
    for at in range(len(octets)):
        assert whole(octets[:at], octets[at:]) == (expected, bare_lf)
    assert whole(*(octets[at : at + 1] for at in range(len(octets)))) == (expected, bare_lf)


@given(st.lists(st.text("ab\r\n", max_size=8).map(str.encode), max_size=6))
def test_a_body_never_has_a_bare_lf_and_loses_nothing(chunks):
    octets, bare_lf = whole(*chunks)
    assert octets.count(b"\n") == octets.count(b"\r\n") == b"".join(chunks).count(b"\n")
    assert octets.replace(b"\r\n", b"\n") == b"".join(chunks).replace(b"\r\n", b"\n")
    assert bare_lf == (octets != b"".join(chunks))
