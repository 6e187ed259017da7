"""The milter protocol, versions 2 to 6: packets, and the commands in them. Pure.

No RFC: Sendmail's libmilter made it, Postfix's MILTER_README tells how an MTA behaves. A packet is its length (four
octets, network order), a letter, and data. The MTA commands; what it is answered stands in `milter_answers`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

OLDEST, NEWEST = 2, 6
"""Versions spoken here. 6 brought commands without answers, and header values with their leading blank."""
PACKET_LIMIT: Final = 1 << 20
"""Octets of one packet. Body chunks have at most 65,535 by default; a header field may have more."""


class MilterError(Exception):
    """The peer does not keep to the protocol; nothing after it is in step. The text is for the log."""


# --- packets ---------------------------------------------------------------------------------------------------------

_LENGTH: Final = struct.Struct("!I")
_OFFER: Final = struct.Struct("!III")
_CONNECT: Final = struct.Struct("!cH")


def packet(letter: bytes, data: bytes = b"") -> bytes:
    return b"%b%b%b" % (_LENGTH.pack(1 + len(data)), letter, data)


class PacketReader:
    """Makes packets of octets in any pieces. One per connection; of no use after a MilterError."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, octets: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The packets that are complete now, each as its letter and its data. Run it to its end before feeding again.

        Raises MilterError at an empty or over-long packet, as soon as its length is known.
        """
        seen = self._rest + octets if self._rest else octets
        at, end = 0, len(seen)
        while end - at >= 4:
            (length,) = _LENGTH.unpack_from(seen, at)
            if not 0 < length <= PACKET_LIMIT:
                raise MilterError(f"a packet of {length} octets")
            after = at + 4 + length
            if after > end:
                break
            yield seen[at + 4 : at + 5], seen[at + 5 : after]
            at = after
        self._rest = seen[at:]


# --- commands --------------------------------------------------------------------------------------------------------


class Negotiate(NamedTuple):
    """What the MTA speaks and offers."""

    version: int
    actions: int
    steps: int


class Macros(NamedTuple):
    """What the MTA says about the command of that letter, which follows; those of `KNOWN`, by name without braces."""

    letter: bytes
    values: Mapping[str, str]


class Connect(NamedTuple):
    """A client has connected to the MTA. `name` is what its address is called, or the address in brackets.

    `family` is one of "4", "6", "L" (a UNIX socket) and "U" (unknown); `address` is "" and `port` 0 where unknown.
    """

    name: str
    family: str
    port: int
    address: str


class Hello(NamedTuple):
    """HELO or EHLO; which of them is not told."""

    name: str


class MailFrom(NamedTuple):
    """MAIL: what stood between the angle brackets, and the parameters."""

    path: str
    parameters: tuple[str, ...]


class RcptTo(NamedTuple):
    """RCPT, as MAIL."""

    path: str
    parameters: tuple[str, ...]


class Data(NamedTuple):
    """DATA."""


class HeaderField(NamedTuple):
    """One header field, as the MTA took it apart."""

    name: bytes
    value: bytes


class EndOfHeader(NamedTuple):
    """The header is complete."""


class BodyChunk(NamedTuple):
    """A piece of the body, cut anywhere."""

    octets: bytes


class EndOfMessage(NamedTuple):
    """The message is complete, with `octets` as the last piece of its body."""

    octets: bytes


class Unknown(NamedTuple):
    """A command line that the MTA does not know."""

    line: str


class Abort(NamedTuple):
    """The mail that has begun ends here; the session goes on."""


class NewConnection(NamedTuple):
    """The session has ended; another one follows on this connection."""


class Quit(NamedTuple):
    """The session has ended, and so does this connection."""


Command = (
    Negotiate
    | Macros
    | Connect
    | Hello
    | MailFrom
    | RcptTo
    | Data
    | HeaderField
    | EndOfHeader
    | BodyChunk
    | EndOfMessage
    | Unknown
    | Abort
    | NewConnection
    | Quit
)

KNOWN: Final = frozenset(
    {
        "i",  # the queue id
        "client_addr",
        "client_port",
        "client_ptr",
        "tls_version",
        "cipher",
        "cipher_bits",
        "auth_type",
        "auth_authen",
        "rcpt_mailer",  # "error" where the MTA refused the recipient; then
        "rcpt_host",  # its enhanced status code
        "rcpt_addr",  # and its reply
    }
)
"""Macros that are kept; all others are passed over, so that nobody fills the memory with them."""


def decode(letter: bytes, data: bytes) -> Command:
    """One packet as a command. Raises MilterError for what is none.

    Text is UTF-8; octets that are not stand as backslash escapes, so that it can always be written down.
    """
    reader = _READERS.get(letter)
    if reader is None:
        raise MilterError(f"unknown command {letter!r}")
    return reader(data)


def _negotiate(data: bytes) -> Negotiate:
    if len(data) < _OFFER.size:  # newer versions may say more
        raise MilterError("a negotiation cut short")
    offer = Negotiate(*_OFFER.unpack_from(data))
    if offer.version < OLDEST:
        raise MilterError(f"protocol version {offer.version}")
    return offer


def _macros(data: bytes) -> Macros:
    if not data:
        raise MilterError("macros of no command")
    if len(data) == 1:
        return Macros(data, _NONE)
    words = _strings(data[1:])
    if len(words) % 2:
        raise MilterError("a macro without a value")
    values = {}
    for name, value in zip(words[::2], words[1::2], strict=True):
        plain = name[1:-1] if name[:1] == b"{" and name[-1:] == b"}" else name
        if (known := _KNOWN.get(plain)) is not None:
            values[known] = _text(value)
    return Macros(data[:1], values)


def _connect(data: bytes) -> Connect:
    name, nul, rest = data.partition(b"\0")
    if not nul or not rest:
        raise MilterError("a client without an address family")
    family = rest[:1].decode("latin-1")
    if family == "U":
        return Connect(_text(name), family, 0, "")
    if family not in "46L":
        raise MilterError(f"unknown address family {family!r}")
    if len(rest) < _CONNECT.size + 1 or rest[-1:] != b"\0":
        raise MilterError("a client's address cut short")
    return Connect(_text(name), family, _CONNECT.unpack_from(rest)[1], _text(rest[_CONNECT.size : -1]))


def _hello(data: bytes) -> Hello:
    return Hello(_one_string(data))


def _mail_from(data: bytes) -> MailFrom:
    path, *parameters = _strings(data)
    return MailFrom(_path(path), tuple(map(_text, parameters)))


def _rcpt_to(data: bytes) -> RcptTo:
    path, *parameters = _strings(data)
    return RcptTo(_path(path), tuple(map(_text, parameters)))


def _header_field(data: bytes) -> HeaderField:
    name, nul, value = data.partition(b"\0")
    if not nul or value[-1:] != b"\0":
        raise MilterError("a header field cut short")
    # An MTA has parsed it; what is no name would be another field, or none, in the header put together again.
    if not _NAME.fullmatch(name):
        raise MilterError("a header field without a proper name")
    return HeaderField(name, value[:-1])


def _unknown(data: bytes) -> Unknown:
    return Unknown(_one_string(data))


_NAME: Final = re.compile(rb"[^ \t:\r\n][^:\r\n]*")
_KNOWN: Final = {name.encode(): name for name in KNOWN}
_NONE: Final[Mapping[str, str]] = MappingProxyType({})
_READERS: Final[Mapping[bytes, Callable[[bytes], Command]]] = {
    b"O": _negotiate,
    b"D": _macros,
    b"C": _connect,
    b"H": _hello,
    b"M": _mail_from,
    b"R": _rcpt_to,
    b"T": lambda _: Data(),
    b"L": _header_field,
    b"N": lambda _: EndOfHeader(),
    b"B": BodyChunk,
    b"E": EndOfMessage,
    b"U": _unknown,
    b"A": lambda _: Abort(),
    b"K": lambda _: NewConnection(),
    b"Q": lambda _: Quit(),
}


def _strings(data: bytes) -> list[bytes]:
    """Strings that each end in NUL, at least one."""
    if data[-1:] != b"\0":
        raise MilterError("text that does not end in NUL")
    return data[:-1].split(b"\0")


def _one_string(data: bytes) -> str:
    return _text(_strings(data)[0])


def _path(octets: bytes) -> str:
    inside = octets[1:-1] if octets[:1] == b"<" and octets[-1:] == b">" else octets
    return _text(inside)


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "backslashreplace")
