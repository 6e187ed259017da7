"""The milter codec: packets in any pieces, and the commands in them."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.wire import milter
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
    PacketReader,
    Quit,
    RcptTo,
    Unknown,
    decode,
)
from gatekeeper.wire.milter_answers import Agreement, agree
from tests.support.milter_client import POSTFIX, packet, words
from tests.support.packet_logs import packet_logs, packets_of

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


# --- logs of real mail servers ---------------------------------------------------------------------------------------


def test_the_packets_of_real_mail_servers_are_read_without_error():
    assert len(packet_logs()) > 15
    for log in packet_logs():
        sent = [octets for by_server, octets in packets_of(log.read_text()) if by_server]
        found = commands(*sent)
        assert type(found[0]) is Negotiate, log
        assert any(type(command) is Connect for command in found), log
        assert isinstance(agree(found[0]), Agreement)
