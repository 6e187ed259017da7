from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.wire.xclient import (
    ATTRIBUTES,
    BadAttribute,
    Client,
    Kind,
    decode,
    encode_xclient,
    encode_xforward,
    xtext_decode,
    xtext_encode,
)

ALL_XCLIENT = ATTRIBUTES[Kind.XCLIENT]
ALL_XFORWARD = ATTRIBUTES[Kind.XFORWARD]


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("", ""),
        ("mail.example.org", "mail.example.org"),
        ("a+b=c d", "a+2Bb+3Dc+20d"),
        ("\r\n\x00~!", "+0D+0A+00~!"),
        ("ü", "+C3+BC"),
        ("[UNAVAILABLE]", "[UNAVAILABLE]"),
    ],
)
def test_xtext(text: str, encoded: str):
    assert xtext_encode(text) == encoded
    assert xtext_decode(encoded) == text


def test_lower_case_digits_are_read_too():
    assert xtext_decode("+2b+c3+bc") == "+ü"


@pytest.mark.parametrize("text", ["+", "+2", "+2G", "a=b", "a b", "ü", "a\r\n", "+\u0662\u0662"])
def test_what_is_no_xtext_is_an_error(text: str):
    with pytest.raises(ValueError, match="not xtext"):
        xtext_decode(text)


@given(st.text())
def test_xtext_is_read_as_it_was_written(text: str):
    encoded = xtext_encode(text)
    assert encoded.isascii()
    assert all(33 <= ord(character) <= 126 for character in encoded)
    assert xtext_decode(encoded) == text


@given(st.binary())
def test_octets_that_are_not_utf8_survive(octets: bytes):
    text = octets.decode("utf-8", "surrogateescape")
    assert xtext_decode(xtext_encode(text)) == text


@pytest.mark.parametrize(
    ("args", "kind", "found"),
    [
        ("NAME=a.example ADDR=192.0.2.1", Kind.XCLIENT, {"NAME": "a.example", "ADDR": "192.0.2.1"}),
        ("name=[unavailable]  addr=IPv6:2001:DB8:0::1", Kind.XCLIENT, {"NAME": None, "ADDR": "2001:db8::1"}),
        ("NAME=[TEMPUNAVAIL] PORT=[UNAVAILABLE]", Kind.XCLIENT, {"NAME": None, "PORT": None}),
        ("ADDR=2001:db8::1", Kind.XCLIENT, {"ADDR": "2001:db8::1"}),
        ("ADDR=IPV6:::ffff:192.0.2.1", Kind.XCLIENT, {"ADDR": "192.0.2.1"}),
        ("ADDR=[UNAVAILABLE]", Kind.XFORWARD, {"ADDR": None}),
        ("ADDR=local:socket", Kind.XFORWARD, {"ADDR": None}),
        ("PORT=00025", Kind.XCLIENT, {"PORT": "25"}),
        ("PROTO=esmtp HELO=[192.0.2.1]", Kind.XCLIENT, {"PROTO": "ESMTP", "HELO": "[192.0.2.1]"}),
        ("PROTO=QMQP SOURCE=LOCAL IDENT=4XyZ", Kind.XFORWARD, {"PROTO": "QMQP", "SOURCE": "LOCAL", "IDENT": "4XyZ"}),
        ("HELO=a+20b+0D+0Ac+C3+BC+FF+2B", Kind.XCLIENT, {"HELO": "a?b??c??+"}),
        ("LOGIN=joe DESTADDR=192.0.2.9 DESTPORT=25", Kind.XCLIENT,
         {"LOGIN": "joe", "DESTADDR": "192.0.2.9", "DESTPORT": "25"}),
        ("NAME=a NAME=b", Kind.XCLIENT, {"NAME": "b"}),
        ("REVERSE_NAME=r.example", Kind.XCLIENT, {"REVERSE_NAME": "r.example"}),
    ],
)  # fmt: skip
def test_what_a_peer_says_about_the_client(args: str, kind: Kind, found: dict[str, str | None]):
    assert decode(args, kind=kind) == found


@pytest.mark.parametrize(
    ("args", "kind"),
    [
        ("", Kind.XCLIENT),
        ("   ", Kind.XFORWARD),
        ("NAME", Kind.XCLIENT),
        ("NAME=", Kind.XCLIENT),
        ("=x", Kind.XCLIENT),
        ("COLOUR=red", Kind.XCLIENT),
        ("IDENT=x", Kind.XCLIENT),
        ("LOGIN=x", Kind.XFORWARD),
        ("ADDR=999.0.2.1", Kind.XCLIENT),
        ("ADDR=mail.example", Kind.XCLIENT),
        ("ADDR=IPV6:fe80::1%25eth0", Kind.XCLIENT),
        ("ADDR=fe80::1%eth0", Kind.XCLIENT),
        ("PORT=0", Kind.XCLIENT),
        ("PORT=65536", Kind.XFORWARD),
        ("PORT=-1", Kind.XFORWARD),
        ("PORT=+32+35x", Kind.XCLIENT),
        ("PORT=" + "0" * 5000, Kind.XCLIENT),
        ("PROTO=HTTP", Kind.XCLIENT),
        ("PROTO=" + "X" * 65, Kind.XFORWARD),
        ("HELO=a+2", Kind.XCLIENT),
        ("HELO=a=b", Kind.XCLIENT),
        ("HELO=" + "a" * 256, Kind.XCLIENT),
        ("ü=1", Kind.XCLIENT),
    ],
)
def test_malformed_commands_are_answered_501(args: str, kind: Kind):
    with pytest.raises(BadAttribute) as bad:
        decode(args, kind=kind)
    reply = bad.value.reply
    assert reply.code == 501
    assert reply.text.startswith(f"5.5.4 Bad {kind.value} syntax: ")
    assert reply.text.isascii()
    assert reply.text.isprintable()


@given(st.text(), st.sampled_from(Kind))
def test_whatever_is_said_gives_printable_values_or_a_501(args: str, kind: Kind):
    values: Iterable[str | None]
    try:
        values = decode(args, kind=kind).values()
    except BadAttribute as bad:
        values = [bad.reply.text.replace(" ", "")]
    assert all(value is None or (value.isascii() and value.isprintable() and " " not in value) for value in values)


CLIENT = Client(address="192.0.2.1", port=1234, name="mail.example.net", helo="helo", protocol="ESMTP", ident="4X")


def test_only_what_is_offered_is_told():
    assert encode_xclient(CLIENT, ["NAME", "ADDR"]) == [b"XCLIENT NAME=mail.example.net ADDR=192.0.2.1\r\n"]
    assert encode_xforward(CLIENT, ["IDENT", "SOURCE"]) == [b"XFORWARD IDENT=4X SOURCE=REMOTE\r\n"]
    assert encode_xforward(CLIENT, []) == []
    assert encode_xclient(CLIENT, ["NAME", "HELO"]) == []


def test_a_name_that_dns_did_not_tell_may_be_there_another_time():
    client = Client(address="192.0.2.1", port=None, name=None, helo=None, protocol="SMTP", name_unsure=True)
    assert encode_xclient(client, ["NAME", "ADDR"]) == [b"XCLIENT NAME=[TEMPUNAVAIL] ADDR=192.0.2.1\r\n"]
    assert encode_xforward(client, ["NAME"]) == [b"XFORWARD NAME=[UNAVAILABLE]\r\n"]


def test_what_is_unknown_is_said_to_be_so():
    unknown = Client(address=None, port=None, name=None, helo=None, protocol="SMTP")
    assert encode_xclient(unknown, ALL_XCLIENT) == [
        b"XCLIENT NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE] PORT=[UNAVAILABLE] PROTO=SMTP HELO=[UNAVAILABLE]\r\n"
    ]


@pytest.mark.parametrize(
    "name", ["a b", "", "a..b", "-a", "x" * 64 + ".example", "a\r\nRSET", "ü.example", "a.", "[x]"]
)
def test_a_name_that_is_no_host_name_is_not_told(name: str):
    client = Client(address="192.0.2.1", port=None, name=name, helo=None, protocol="SMTP")
    assert encode_xclient(client, ["NAME", "ADDR"]) == [b"XCLIENT NAME=[UNAVAILABLE] ADDR=192.0.2.1\r\n"]


def test_what_is_too_long_for_one_xforward_goes_in_two_and_xclient_leaves_the_helo_to_the_ehlo_after_it():
    client = Client(address="2001:db8::1", port=25, name=".".join(["a" * 49] * 5), helo="h" * 255, protocol="ESMTP")
    first, second = encode_xforward(client, ALL_XFORWARD)
    assert first.startswith(b"XFORWARD NAME=aaa")
    assert b"ADDR=IPV6:2001:db8::1" in first
    assert second.startswith(b"XFORWARD HELO=" + b"h" * 255)
    [only] = encode_xclient(client, ALL_XCLIENT)
    assert only.endswith(b" ADDR=IPV6:2001:db8::1 PORT=25 PROTO=ESMTP\r\n")


def test_what_fits_into_no_command_is_left_out():
    client = Client(address="192.0.2.1", port=25, name=None, helo="+" * 250, protocol="ESMTP")
    assert encode_xclient(client, ["ADDR", "HELO"]) == [b"XCLIENT ADDR=192.0.2.1 HELO=[UNAVAILABLE]\r\n"]


@given(
    st.builds(
        Client,
        address=st.none() | st.ip_addresses().map(str),
        port=st.none() | st.integers(1, 65535),
        name=st.none() | st.text(max_size=300) | st.from_regex(r"[a-z]{1,9}(\.[a-z0-9]{1,60}){0,4}", fullmatch=True),
        helo=st.none() | st.text(max_size=300),
        protocol=st.sampled_from(["SMTP", "ESMTP"]),
        ident=st.none() | st.text(max_size=300),
    )
)
def test_commands_are_short_lines_that_the_reader_understands(client: Client):
    for kind, commands in (
        (Kind.XCLIENT, encode_xclient(client, ALL_XCLIENT)),
        (Kind.XFORWARD, encode_xforward(client, ALL_XFORWARD)),
    ):
        found: dict[str, str | None] = {}
        assert kind is Kind.XFORWARD or len(commands) == 1
        for command in commands:
            assert len(command) <= 512
            assert command.endswith(b"\r\n")
            assert command.count(b"\n") == command.count(b"\r") == 1
            verb, _, args = command.decode("ascii").strip().partition(" ")
            assert verb == kind.value
            found |= decode(args, kind=kind)
        assert found["PORT"] == (None if client.port is None else str(client.port))
        assert found["PROTO"] == client.protocol
        assert (found["ADDR"] is None) == (client.address is None)
