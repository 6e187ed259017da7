"""The PROXY protocol, versions 1 and 2: how a proxy tells whose connection it passes on (haproxy, proxy-protocol.txt).

The header comes before anything else on a connection, and only from whom it is expected: a receiver must not guess.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final, Literal

from gatekeeper.model import IPAddress, Tls

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
V1_LIMIT: Final = 107
"""Octets of a version 1 line with its CRLF (§2.1)."""
V2_LIMIT: Final = 4096
"""Octets after the fixed part of version 2 that we take; addresses and the common attributes need some hundred."""
LOCAL: Final = SIGNATURE + b"\x20\x00\x00\x00"
"""The header of a connection that the sender makes for itself, such as a health probe (§2.2)."""

_V1_START: Final = b"PROXY "
_V1_FAMILIES: Final[dict[bytes, type[IPAddress]]] = {b"TCP4": IPv4Address, b"TCP6": IPv6Address}
_FIXED: Final = len(SIGNATURE) + 4
_ADDRESS_OCTETS: Final = {0: 0, 1: 12, 2: 36, 3: 216}  # address family -> octets of both endpoints
_AUTHORITY, _CRC32C, _SSL = 0x02, 0x03, 0x20
_SSL_VERSION, _SSL_CIPHER = 0x21, 0x23
_SSL_WAS_USED: Final = 0x01
_TEXT_LIMIT: Final = 255


class ProxyError(ValueError):
    """What came is no PROXY header, or not one that we can rely on. The connection is of no use."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One end of the connection that is passed on."""

    address: IPAddress
    port: int


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """What a header says.

    `local` is a connection of the proxy's own: the socket's addresses are the client's. Otherwise `source` is the
    client, or None where the proxy does not know it or it has no IP address. `authority` is the name that the client
    asked for by SNI, `tls` what it agreed on with the proxy where that ended its TLS.
    """

    version: Literal[1, 2]
    local: bool = False
    source: Endpoint | None = None
    destination: Endpoint | None = None
    authority: str | None = None
    tls: Tls | None = None


class ProxyReader:
    """Reads one header, in whatever pieces it comes. `rest` is what came after it: the client's own octets."""

    def __init__(self) -> None:
        self.rest = b""
        self._buffer = bytearray()

    def feed(self, octets: bytes) -> ProxyHeader | None:
        """The header once it is complete. Raises ProxyError as soon as it can be none."""
        buffer = self._buffer
        buffer += octets
        if buffer[:1] == SIGNATURE[:1]:
            length = _v2_length(buffer)
            if length is None or len(buffer) < length:
                return None
            header = _read_v2(bytes(buffer[:length]))
        else:
            length = _v1_length(buffer)
            if length is None:
                return None
            header = _read_v1(bytes(buffer[: length - 2]))
        self.rest = bytes(buffer[length:])
        return header


# --- version 1 -------------------------------------------------------------------------------------------------------


def _v1_length(buffer: bytearray) -> int | None:
    """Octets of the line with its CRLF; None while its end has not come."""
    if buffer[: len(_V1_START)] != _V1_START[: len(buffer)]:
        raise ProxyError("not a PROXY header")
    end = buffer.find(b"\n", 0, V1_LIMIT)
    if end < 0:
        if len(buffer) >= V1_LIMIT:
            raise ProxyError(f"no end of the line in {V1_LIMIT} octets")
        return None
    if buffer[end - 1 : end] != b"\r":
        raise ProxyError("a line that ends in LF alone")
    return end + 1


def _read_v1(line: bytes) -> ProxyHeader:
    words = line.split(b" ")
    if words[1] == b"UNKNOWN":  # whatever follows is to be ignored
        return ProxyHeader(1)
    kind = _V1_FAMILIES.get(words[1])
    if kind is None:
        raise ProxyError("an unknown protocol family")
    if len(words) != 6:
        raise ProxyError("not two addresses and two ports")
    ends = [_v1_endpoint(kind, words[2], words[4]), _v1_endpoint(kind, words[3], words[5])]
    return ProxyHeader(1, source=ends[0], destination=ends[1])


def _v1_endpoint(kind: type[IPAddress], address: bytes, port: bytes) -> Endpoint:
    if not port.isdigit() or len(port) > 5 or int(port) > 65535 or (port[:1] == b"0" and port != b"0"):
        raise ProxyError("a bad port")
    try:
        read = kind(address.decode("ascii"))
    except ValueError:
        raise ProxyError("a bad address") from None
    if isinstance(read, IPv6Address) and read.scope_id is not None:
        raise ProxyError("a bad address")
    return Endpoint(_unmapped(read), int(port))


# --- version 2 -------------------------------------------------------------------------------------------------------


def _v2_length(buffer: bytearray) -> int | None:
    """Octets of the whole header; None while its fixed part has not come."""
    if buffer[: len(SIGNATURE)] != SIGNATURE[: len(buffer)]:
        raise ProxyError("not a PROXY header")
    if len(buffer) < _FIXED:
        return None
    (following,) = struct.unpack_from("!H", buffer, _FIXED - 2)
    if following > V2_LIMIT:
        raise ProxyError(f"a header of more than {V2_LIMIT} octets")
    return _FIXED + int(following)


def _read_v2(header: bytes) -> ProxyHeader:
    version, command = divmod(header[12], 16)
    family, transport = divmod(header[13], 16)
    if version != 2:
        raise ProxyError("an unknown version")
    if command > 1:
        raise ProxyError("an unknown command")
    if command == 0:  # the sender's own; addresses and attributes are to be ignored
        return ProxyHeader(2, local=True)
    octets = _ADDRESS_OCTETS.get(family)
    if octets is None or transport > 2:
        raise ProxyError("an unknown protocol family")
    if family == 0 or transport == 0:
        return ProxyHeader(2)
    if transport == 2:
        raise ProxyError("datagrams, on a connection")
    if len(header) < _FIXED + octets:
        raise ProxyError("too short for its addresses")
    attributes = list(_attributes(header, _FIXED + octets))
    _check_sum(header, attributes)
    values = {kind: value for kind, _, value in attributes}
    source, destination = _v2_endpoints(family, header[_FIXED : _FIXED + octets])
    return ProxyHeader(
        2,
        source=source,
        destination=destination,
        authority=_text(values.get(_AUTHORITY)),
        tls=_tls(values.get(_SSL)),
    )


def _v2_endpoints(family: int, octets: bytes) -> tuple[Endpoint | None, Endpoint | None]:
    if family == 3:  # UNIX sockets on the proxy's machine
        return None, None
    size = 4 if family == 1 else 16
    kind: type[IPAddress] = IPv4Address if family == 1 else IPv6Address
    ports = struct.unpack_from("!HH", octets, 2 * size)
    return (
        Endpoint(_unmapped(kind(octets[:size])), ports[0]),
        Endpoint(_unmapped(kind(octets[size : 2 * size])), ports[1]),
    )


def _attributes(octets: bytes, at: int) -> Iterator[tuple[int, int, bytes]]:
    """Type, place of the value, and value of each (§2.2.1)."""
    while at < len(octets):
        if at + 3 > len(octets):
            raise ProxyError("an attribute that is cut off")
        kind, size = struct.unpack_from("!BH", octets, at)
        at += 3
        if at + size > len(octets):
            raise ProxyError("an attribute longer than its header")
        yield kind, at, octets[at : at + size]
        at += size


def _tls(value: bytes | None) -> Tls | None:
    """PP2_TYPE_SSL (§2.2.5). What cannot be read there says nothing; it never ends the connection."""
    if value is None or len(value) < 5 or not value[0] & _SSL_WAS_USED:
        return None
    try:
        parts = {kind: part for kind, _, part in _attributes(value, 5)}
    except ProxyError:
        return None
    version, cipher = _text(parts.get(_SSL_VERSION)), _text(parts.get(_SSL_CIPHER))
    return None if version is None else Tls(version, cipher or "unknown", 0)


def _text(value: bytes | None) -> str | None:
    """A name for people and logs; None where it is none."""
    text = (value or b"")[:_TEXT_LIMIT].decode("utf-8", "replace")
    return text if text.isprintable() and text else None


def _check_sum(header: bytes, attributes: list[tuple[int, int, bytes]]) -> None:
    """PP2_TYPE_CRC32C (§2.2.3): over the whole header, with zeros where the sum itself stands."""
    for kind, at, value in attributes:
        if kind != _CRC32C:
            continue
        if len(value) != 4 or int.from_bytes(value, "big") != crc32c(header[:at] + bytes(4) + header[at + 4 :]):
            raise ProxyError("a wrong checksum")


def _table() -> tuple[int, ...]:
    """The polynomial of RFC 3720 §12.1, reflected."""
    made = []
    for octet in range(256):
        rest = octet
        for _ in range(8):
            rest = rest >> 1 ^ (0x82F63B78 if rest & 1 else 0)
        made.append(rest)
    return tuple(made)


_CRC_TABLE: Final = _table()


def crc32c(octets: bytes) -> int:
    """The Castagnoli checksum (RFC 3720 §12.1), which the standard library does not have."""
    value = 0xFFFFFFFF
    for octet in octets:
        value = value >> 8 ^ _CRC_TABLE[(value ^ octet) & 0xFF]
    return value ^ 0xFFFFFFFF


# --- writing ---------------------------------------------------------------------------------------------------------


def encode(source: Endpoint, destination: Endpoint) -> bytes:
    """A version 2 header: `destination` took a connection from `source`.

    Where one is IPv4 and the other IPv6, the former goes as its mapped form, as §2.2 wants it.
    """
    both = source, destination
    if all(end.address.version == 4 for end in both):
        family, packed = 0x11, source.address.packed + destination.address.packed
    else:
        family, packed = 0x21, _mapped(source.address) + _mapped(destination.address)
    body = packed + struct.pack("!HH", source.port, destination.port)
    return SIGNATURE + struct.pack("!BBH", 0x21, family, len(body)) + body


def _mapped(address: IPAddress) -> bytes:
    return bytes(10) + b"\xff\xff" + address.packed if address.version == 4 else address.packed


def _unmapped(address: IPAddress) -> IPAddress:
    """An IPv4 client of an IPv6 socket is an IPv4 client."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
