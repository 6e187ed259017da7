"""The milter codec: packets in any pieces, commands, negotiation, answers, header and body put together again."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.model import Reply
from gatekeeper.wire import milter
from gatekeeper.wire.milter import (
    Abort,
    Agreement,
    BodyChunk,
    BodyText,
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
    PacketReader,
    Quit,
    RcptTo,
    Unknown,
    agree,
    decode,
    header_line,
)
from tests.support.corpora import corpora
from tests.support.milter_client import OLD, POSTFIX, packet, words

WHOLE = agree(Negotiate(*POSTFIX))
PLAIN = agree(Negotiate(*OLD))

# --- packets ---------------------------------------------------------------------------------------------------------

SESSION = b"".join(
    (
        packet("O", struct.pack("!III", *POSTFIX)),
        packet("D", b"C" + words("{client_ptr}", "mail.example.net", "j", "mx")),
        packet("C", words("mail.example.net") + b"4\x9c\x40" + words("192.0.2.10")),
        packet("H", words("mail.example.net")),
        packet("M", words("<s@example.net>", "SIZE=10")),
        packet("R", words("<one@example.org>")),
        packet("T"),
        packet("L", words("Subject", " x")),
        packet("N"),
        packet("B", b"text\r\n"),
        packet("E"),
        packet("A"),
        packet("Q"),
    )
)


def commands(*pieces: bytes) -> list[milter.Command]:
    reader = PacketReader()
    return [decode(letter, data) for piece in pieces for letter, data in reader.feed(piece)]


def test_a_session_is_read_whole():
    assert commands(SESSION) == [
        Negotiate(*POSTFIX),
        Macros(b"C", {"client_ptr": "mail.example.net"}),
        Connect("mail.example.net", "4", 40000, "192.0.2.10"),
        Hello("mail.example.net"),
        MailFrom("s@example.net", ("SIZE=10",)),
        RcptTo("one@example.org", ()),
        Data(),
        HeaderField(b"Subject", b" x"),
        EndOfHeader(),
        BodyChunk(b"text\r\n"),
        EndOfMessage(b""),
        Abort(),
        Quit(),
    ]


def test_a_session_cut_at_every_octet_is_the_same_session():
    whole = commands(SESSION)
    for at in range(1, len(SESSION)):
        assert commands(SESSION[:at], SESSION[at:]) == whole, at
    assert commands(*(SESSION[at : at + 1] for at in range(len(SESSION)))) == whole


@given(st.lists(st.tuples(st.sampled_from("OCHMRLBE"), st.binary(max_size=50))), st.data())
def test_packets_come_out_as_they_went_in_however_they_are_cut(packets, data):
    octets = b"".join(packet(letter, payload) for letter, payload in packets)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=10)))
    reader, found = PacketReader(), []
    for start, end in zip([0, *cuts], [*cuts, len(octets)], strict=True):
        found += list(reader.feed(octets[start:end]))
    assert found == [(letter.encode(), payload) for letter, payload in packets]


@pytest.mark.parametrize("length", [0, milter.PACKET_LIMIT + 1, 0xFFFFFFFF])
def test_a_packet_of_no_or_of_too_many_octets_is_refused_once_its_length_is_known(length):
    reader = PacketReader()
    with pytest.raises(MilterError, match=f"{length} octets"):
        list(reader.feed(struct.pack("!I", length)))


def test_the_longest_packet_is_read():
    [(letter, data)] = PacketReader().feed(packet("B", bytes(milter.PACKET_LIMIT - 1)))
    assert (letter, len(data)) == (b"B", milter.PACKET_LIMIT - 1)


def test_packets_before_a_bad_one_are_still_given():
    found = PacketReader().feed(packet("T") + struct.pack("!I", 0))
    assert next(found) == (b"T", b"")
    with pytest.raises(MilterError):
        next(found)


# --- commands --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("letter", "data", "expected"),
    [
        ("C", words("[192.0.2.1]") + b"4\x00\x19" + words("192.0.2.1"), Connect("[192.0.2.1]", "4", 25, "192.0.2.1")),
        ("C", words("h") + b"6\x00\x00" + words("2001:db8::1"), Connect("h", "6", 0, "2001:db8::1")),
        ("C", words("localhost") + b"L\x00\x00" + words("/run/x"), Connect("localhost", "L", 0, "/run/x")),
        ("C", words("localhost") + b"U", Connect("localhost", "U", 0, "")),
        ("H", words(b"caf\xe9"), Hello("caf\\xe9")),
        ("H", words("jürgen.example"), Hello("jürgen.example")),
        ("M", words("<>"), MailFrom("", ())),
        ("M", words("s@example.net"), MailFrom("s@example.net", ())),
        ("M", words("<s@example.net>", "BODY=8BITMIME", "SMTPUTF8"),
         MailFrom("s@example.net", ("BODY=8BITMIME", "SMTPUTF8"))),
        ("R", words("<jürgen@example.org>", "NOTIFY=NEVER"), RcptTo("jürgen@example.org", ("NOTIFY=NEVER",))),
        ("L", words("X", ""), HeaderField(b"X", b"")),
        ("L", words("X", b" \xff\n more"), HeaderField(b"X", b" \xff\n more")),
        ("B", b"\0\0", BodyChunk(b"\0\0")),
        ("E", b"last", EndOfMessage(b"last")),
        ("U", words("FROBNICATE now"), Unknown("FROBNICATE now")),
        ("K", b"", NewConnection()),
        ("D", b"H", Macros(b"H", {})),
        ("D", b"H" + words("{tls_version}", "TLSv1.3", "cipher_bits", "256", "{v}", "Postfix"),
         Macros(b"H", {"tls_version": "TLSv1.3", "cipher_bits": "256"})),
        ("D", b"E" + words("i", "4XfAkE", "{i}", "4XfAkF"), Macros(b"E", {"i": "4XfAkF"})),
        ("O", struct.pack("!III", 6, 1, 2) + b"more", Negotiate(6, 1, 2)),
    ],
)  # fmt: skip
def test_a_command_is_read(letter, data, expected):
    assert decode(letter.encode(), data) == expected


@pytest.mark.parametrize(
    ("letter", "data"),
    [
        ("O", b"\0\0\0\x06"),
        ("O", struct.pack("!III", 1, 0x3F, 0x7F)),
        ("D", b""),
        ("D", b"C" + words("j")),
        ("D", b"Cj\0mx"),
        ("C", b"host"),
        ("C", words("host")),
        ("C", words("host") + b"4\x00"),
        ("C", words("host") + b"4\x00\x19192.0.2.1"),
        ("C", words("host") + b"5\x00\x19" + words("x")),
        ("H", b""),
        ("H", b"name"),
        ("M", b""),
        ("M", b"<s@example.net>"),
        ("R", b""),
        ("L", b"X"),
        ("L", b"X\0value"),
        ("L", words("", "value")),
        ("L", words(" X", "value")),
        ("L", words("X:Y", "value")),
        ("L", words("X\nY", "value")),
        ("U", b"x"),
        ("z", b""),
        ("\0", b""),
    ],
)
def test_what_is_no_command_is_an_error(letter, data):
    with pytest.raises(MilterError):
        decode(letter.encode(), data)


@given(st.binary(min_size=1, max_size=1), st.binary(max_size=200))
def test_a_command_is_read_or_refused_and_nothing_else(letter, data):
    try:
        command = decode(letter, data)
    except MilterError:
        return
    assert isinstance(command, milter.Command)
    texts = [part for part in command if isinstance(part, str)]
    assert all(text.encode() is not None for text in texts)  # always fit to be written down


# --- negotiation -----------------------------------------------------------------------------------------------------


def test_a_mail_server_of_today_is_asked_for_what_is_used_and_no_more():
    assert (WHOLE.version, WHOLE.actions, WHOLE.steps) == (6, 0x111, 0x1E2880)
    assert WHOLE.leading_blank
    assert {HeaderField, Hello, EndOfHeader, BodyChunk, Unknown} <= WHOLE.unanswered
    assert not {Connect, MailFrom, RcptTo, Data, EndOfMessage} & WHOLE.unanswered


@pytest.mark.parametrize(
    ("offer", "version", "actions", "steps"),
    [
        ((2, 0x3F, 0x7F), 2, 0x11, 0),
        ((3, 0x3F, 0x17F), 3, 0x11, 0x100),
        ((4, 0x3F, 0x37F), 4, 0x11, 0x100),
        ((6, 0x1FF, 0x1FFFFF & ~0x100000), 6, 0x111, 0xE2880),
        ((7, 0xFFFFFFFF, 0xFFFFFFFF), 6, 0x111, 0x1E2880),
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


# --- logs of real mail servers ---------------------------------------------------------------------------------------


def packets_of(log: str) -> Iterator[tuple[bool, bytes]]:
    """The blocks of a packet log: whether the mail server sent it, and its octets."""
    block: list[str] = []
    for line in [*log.splitlines(), "Data (0 bytes)"]:
        if line.lstrip().startswith("Data ("):
            if block:
                yield not block[0].startswith(" "), bytes.fromhex("".join(row.strip()[6:54] for row in block))
            block = []
        elif re.match(r"\s*[0-9a-f]{4}  ", line):
            block.append(line)


def logs() -> list[Path]:
    return sorted(corpora("milter").rglob("milter-packet*"))


def test_the_packets_of_real_mail_servers_are_read_without_error():
    assert len(logs()) > 15
    for log in logs():
        sent = [octets for by_server, octets in packets_of(log.read_text()) if by_server]
        found = commands(*sent)
        assert type(found[0]) is Negotiate, log
        assert any(type(command) is Connect for command in found), log
        assert isinstance(agree(found[0]), Agreement)
