from __future__ import annotations

import struct
from collections import deque
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.model import Tls
from gatekeeper.wire.proxy import (
    LOCAL,
    SIGNATURE,
    V1_LIMIT,
    V2_LIMIT,
    Endpoint,
    ProxyError,
    ProxyHeader,
    ProxyReader,
    crc32c,
    encode,
)


def end(address: str, port: int) -> Endpoint:
    return Endpoint(ip_address(address), port)


def v2(body: bytes = b"", *, version_command: int = 0x21, family: int = 0x11, length: int | None = None) -> bytes:
    return SIGNATURE + struct.pack("!BBH", version_command, family, len(body) if length is None else length) + body


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


V4 = bytes([192, 0, 2, 7, 198, 51, 100, 1]) + struct.pack("!HH", 40000, 25)
V6 = ip_address("2001:db8::7").packed + ip_address("2001:db8::1").packed + struct.pack("!HH", 40000, 25)
SSL = attribute(
    0x20,
    b"\x01" + bytes(4) + attribute(0x21, b"TLSv1.3") + attribute(0x22, b"cn") + attribute(0x23, b"TLS_AES_128"),
)
CLIENT_V4 = ProxyHeader(2, source=end("192.0.2.7", 40000), destination=end("198.51.100.1", 25))
CLIENT_V6 = ProxyHeader(2, source=end("2001:db8::7", 40000), destination=end("2001:db8::1", 25))


def summed(header: bytes) -> bytes:
    """That header with a right checksum in it."""
    whole = v2(header[16:] + attribute(0x03, bytes(4)), family=header[13])
    return whole[:-4] + crc32c(whole).to_bytes(4, "big")


GOOD: list[tuple[bytes, ProxyHeader]] = [
    (
        b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 25\r\n",
        ProxyHeader(1, source=end("192.0.2.7", 40000), destination=end("198.51.100.1", 25)),
    ),
    (
        b"PROXY TCP6 2001:db8::7 2001:DB8:0:0:0:0:0:1 0 65535\r\n",
        ProxyHeader(1, source=end("2001:db8::7", 0), destination=end("2001:db8::1", 65535)),
    ),
    (
        b"PROXY TCP6 ::ffff:192.0.2.7 ::1 40000 25\r\n",
        ProxyHeader(1, source=end("192.0.2.7", 40000), destination=end("::1", 25)),
    ),
    (b"PROXY UNKNOWN\r\n", ProxyHeader(1)),
    (b"PROXY UNKNOWN ffff:f...f:ffff whatever 65535 it says\r\n", ProxyHeader(1)),
    (b"PROXY UNKNOWN " + b"x" * (V1_LIMIT - 16) + b"\r\n", ProxyHeader(1)),
    (v2(V4), CLIENT_V4),
    (v2(V6, family=0x21), CLIENT_V6),
    (LOCAL, ProxyHeader(2, local=True)),
    (v2(b"anything at all", version_command=0x20, family=0xFF), ProxyHeader(2, local=True)),
    (v2(family=0x00), ProxyHeader(2)),
    (v2(V4, family=0x10), ProxyHeader(2)),
    (v2(b"/run/client".ljust(108, b"\0") + b"/run/server".ljust(108, b"\0"), family=0x31), ProxyHeader(2)),
    (
        v2(V4 + attribute(0x02, b"mx.example.org") + attribute(0x04, b"\0\0") + attribute(0xEA, b"") + SSL),
        ProxyHeader(
            2,
            source=CLIENT_V4.source,
            destination=CLIENT_V4.destination,
            authority="mx.example.org",
            tls=Tls("TLSv1.3", "TLS_AES_128", 0),
        ),
    ),
    (v2(V4 + attribute(0x20, b"\x00" + bytes(4) + attribute(0x21, b"TLSv1.3"))), CLIENT_V4),  # TLS was not used
    (v2(V4 + attribute(0x20, b"\x01")), CLIENT_V4),
    (v2(V4 + attribute(0x20, b"\x01" + bytes(4) + b"\x21\xff\xff")), CLIENT_V4),
    (v2(V4 + attribute(0x02, b"a\nb")), CLIENT_V4),
    (summed(v2(V4)), CLIENT_V4),
    (summed(v2(V6, family=0x21)), CLIENT_V6),
    (v2(V4 + attribute(0x04, bytes(V2_LIMIT - 15))), CLIENT_V4),
]

BAD: list[tuple[bytes, str]] = [
    (b"EHLO x\r\n", "not a PROXY header"),
    (b"\0", "not a PROXY header"),
    (b"PROXX", "not a PROXY header"),
    (b"proxy TCP4", "not a PROXY header"),
    (b"\r\n\r\n\0\r\nQUIX", "not a PROXY header"),
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 25\n", "LF alone"),
    (b"PROXY UNKNOWN " + b"x" * 200, "no end of the line"),
    (b"PROXY UNKNOWN " + b"x" * (V1_LIMIT - 15) + b"\r\n", "no end of the line"),
    (b"PROXY \r\n", "unknown protocol family"),
    (b"PROXY UDP4 192.0.2.7 198.51.100.1 40000 25\r\n", "unknown protocol family"),
    (b"PROXY TCP4\r\n", "not two addresses"),
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 40000\r\n", "not two addresses"),
    (b"PROXY TCP4 192.0.2.7  198.51.100.1 40000 25\r\n", "not two addresses"),
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 25 \r\n", "not two addresses"),
    (b"PROXY TCP4 192.0.2.07 198.51.100.1 40000 25\r\n", "bad address"),
    (b"PROXY TCP4 2001:db8::7 2001:db8::1 40000 25\r\n", "bad address"),
    (b"PROXY TCP6 192.0.2.7 198.51.100.1 40000 25\r\n", "bad address"),
    (b"PROXY TCP6 fe80::1%eth0 ::1 40000 25\r\n", "bad address"),
    (b"PROXY TCP4 192.0.2.7\xff 198.51.100.1 40000 25\r\n", "bad address"),
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 25\r\n", "bad port"),
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 0040 25\r\n", "bad port"),
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 -1 25\r\n", "bad port"),
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 4e3 25\r\n", "bad port"),
    (v2(V4, version_command=0x11), "unknown version"),
    (v2(V4, version_command=0x22), "unknown command"),
    (v2(V4, family=0x41), "unknown protocol family"),
    (v2(V4, family=0x13), "unknown protocol family"),
    (v2(V4, family=0x12), "datagrams"),
    (v2(V4[:-1]), "too short for its addresses"),
    (v2(V4, family=0x21), "too short for its addresses"),
    (v2(V4, length=V2_LIMIT + 1), "more than"),
    (v2(V4 + b"\x01\x00"), "cut off"),
    (v2(V4 + b"\x01\x00\x05abcd"), "longer than its header"),
    (v2(V4 + attribute(0x03, bytes(4))), "wrong checksum"),
    (v2(V4 + attribute(0x03, b"")), "wrong checksum"),
]


@pytest.mark.parametrize(("octets", "header"), GOOD)
def test_a_header_is_read_however_it_is_cut_and_what_follows_is_the_clients(octets: bytes, header: ProxyHeader):
    after = b"\x16\x03\x01EHLO x\r\n"
    for at in range(len(octets) + 1):
        reader = ProxyReader()
        found = reader.feed(octets[:at])
        assert (found is None) == (at < len(octets))
        found = found or reader.feed(octets[at:] + after)
        assert found == header
        assert reader.rest == (after if at < len(octets) else b"")
    reader = ProxyReader()
    pieces = [reader.feed(octets[at : at + 1]) for at in range(len(octets))]
    assert pieces[:-1] == [None] * (len(octets) - 1)
    assert pieces[-1] == header


@pytest.mark.parametrize(("octets", "why"), BAD)
def test_a_bad_header_is_refused_and_says_why(octets: bytes, why: str):
    with pytest.raises(ProxyError, match=why):
        ProxyReader().feed(octets)
    reader = ProxyReader()
    with pytest.raises(ProxyError, match=why):
        deque(map(reader.feed, (octets[at : at + 1] for at in range(len(octets)))), maxlen=0)


def test_a_client_that_speaks_smtp_is_noticed_at_its_first_octet():
    with pytest.raises(ProxyError):
        ProxyReader().feed(b"E")


def test_crc32c_is_that_of_rfc_3720():
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(b"123456789") == 0xE3069283


ports = st.integers(0, 65535)
endpoints = st.builds(Endpoint, st.ip_addresses(), ports)


@given(endpoints, endpoints, st.binary())
def test_what_is_written_is_read(source: Endpoint, destination: Endpoint, after: bytes):
    reader = ProxyReader()
    header = reader.feed(encode(source, destination) + after)
    assert header is not None
    assert (header.source, header.destination) == (plain(source), plain(destination))
    assert reader.rest == after


def plain(endpoint: Endpoint) -> Endpoint:
    mapped: Any = getattr(endpoint.address, "ipv4_mapped", None)
    return Endpoint(mapped or endpoint.address, endpoint.port)


@given(st.one_of(st.binary(), st.binary().map(lambda b: SIGNATURE + b), st.binary().map(lambda b: b"PROXY " + b)))
def test_any_octets_are_a_header_or_none_or_an_error(octets: bytes):
    reader = ProxyReader()
    try:
        found = reader.feed(octets)
    except ProxyError:
        return
    assert found is None or octets.endswith(reader.rest)


@given(st.binary(max_size=400), st.integers(0, 255), st.integers(0, 255))
def test_any_version_2_body_is_read_alike_whole_and_octet_by_octet(body: bytes, version_command: int, family: int):
    octets = v2(body, version_command=version_command, family=family)

    def outcome(pieces: list[bytes]) -> object:
        reader = ProxyReader()
        try:
            return [found for piece in pieces if (found := reader.feed(piece)) is not None]
        except ProxyError as error:
            return str(error)

    assert outcome([octets]) == outcome([octets[at : at + 1] for at in range(len(octets))])
