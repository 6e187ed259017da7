"""The milter protocol, versions 2 to 6: packets, commands, negotiation, answers. Pure.

No RFC: Sendmail's libmilter made it, Postfix's MILTER_README tells how an MTA behaves. A packet is its length (four
octets, network order), a letter, and data. The MTA commands; some commands are answered, which ones is negotiated.
"""

from __future__ import annotations

import enum
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

from gatekeeper.model import Reply
from gatekeeper.wire.replies import encode

OLDEST, NEWEST = 2, 6
"""Versions spoken here. 6 brought commands without answers, and header values with their leading blank."""
PACKET_LIMIT: Final = 1 << 20
"""Octets of one packet. Body chunks have at most 65,535 by default; a header field may have more."""
REPLY_LINES: Final = 32
"""Lines of one reply (libmilter's MAXREPLIES)."""


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
            if end - at < 4 + length:
                break
            yield seen[at + 4 : at + 5], seen[at + 5 : at + 4 + length]
            at += 4 + length
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
    if not name or name[0] in b" \t" or any(octet in name for octet in b":\r\n"):
        raise MilterError("a header field without a proper name")
    return HeaderField(name, value[:-1])


def _unknown(data: bytes) -> Unknown:
    return Unknown(_one_string(data))


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


# --- negotiation -----------------------------------------------------------------------------------------------------


class Actions(enum.IntFlag):
    """What a milter may do to a message (SMFIF_*)."""

    ADD_HEADERS = 0x01
    CHANGE_HEADERS = 0x10
    SET_MACROS = 0x100  # say which macros it wants


class Steps(enum.IntFlag):
    """What the MTA is to leave out or do otherwise (SMFIP_*)."""

    NR_HEADER = 0x80  # header fields are not answered; NR_... likewise
    NO_UNKNOWN = 0x100  # do not send commands that nobody knows
    NO_DATA = 0x200  # do not send DATA
    RCPT_REJ = 0x800  # send recipients that were refused, too
    NR_HELO = 0x2000
    NR_UNKNOWN = 0x20000
    NR_EOH = 0x40000
    NR_BODY = 0x80000
    HDR_LEADSPC = 0x100000  # header values with the blank after the colon, both ways


NEEDED: Final = Actions.ADD_HEADERS | Actions.CHANGE_HEADERS
WANTED: Final = (
    Steps.NR_HEADER
    | Steps.RCPT_REJ
    | Steps.NR_HELO
    | Steps.NR_UNKNOWN
    | Steps.NR_EOH
    | Steps.NR_BODY
    | Steps.HDR_LEADSPC
)
_MACROS: Final = (  # SMFIM_*: connect, helo, mail, rcpt, data, end of message
    (0, b"{client_addr} {client_port} {client_ptr}"),
    (1, b"{tls_version} {cipher} {cipher_bits}"),
    (2, b"{auth_type} {auth_authen}"),
    (3, b"{rcpt_mailer} {rcpt_host} {rcpt_addr}"),
    (4, b"i"),
    (5, b"i"),
)
_NEVER_ANSWERED: Final[frozenset[type[Command]]] = frozenset({Negotiate, Macros, Abort, NewConnection, Quit})
_SILENT: Final[Mapping[Steps, type[Command]]] = {
    Steps.NR_HEADER: HeaderField,
    Steps.NR_HELO: Hello,
    Steps.NR_UNKNOWN: Unknown,
    Steps.NR_EOH: EndOfHeader,
    Steps.NR_BODY: BodyChunk,
}


@dataclass(frozen=True, slots=True)
class Agreement:
    """What both sides do from now on.

    `unanswered` are the commands that get no answer. `leading_blank` is whether header values carry the blank after
    the colon, in both directions.
    """

    version: int
    actions: int
    steps: int
    unanswered: frozenset[type[Command]]
    leading_blank: bool

    def answer(self) -> bytes:
        """The answer to the MTA's negotiation; it also names the macros that are used, where that can be said."""
        data = _OFFER.pack(self.version, self.actions, self.steps)
        if self.actions & Actions.SET_MACROS:
            data += b"".join(_LENGTH.pack(place) + names + b"\0" for place, names in _MACROS)
        return packet(b"O", data)


def agree(offer: Negotiate) -> Agreement:
    """What is used of an offer. Raises MilterError where header fields may not be changed."""
    if offer.actions & NEEDED != NEEDED:
        raise MilterError("header fields may not be added and changed")
    steps = WANTED & offer.steps
    if not steps & Steps.NR_UNKNOWN:
        steps |= Steps.NO_UNKNOWN & offer.steps
    silent = {command for flag, command in _SILENT.items() if steps & flag}
    return Agreement(
        version=min(offer.version, NEWEST),
        actions=int(NEEDED | (Actions.SET_MACROS & offer.actions)),
        steps=int(steps),
        unanswered=_NEVER_ANSWERED | silent,
        leading_blank=bool(steps & Steps.HDR_LEADSPC),
    )


# --- answers ---------------------------------------------------------------------------------------------------------

CONTINUE: Final = packet(b"c")
ACCEPT: Final = packet(b"a")
"""Let it pass, and say nothing more about it: of a connection all, of a mail that one."""
TEMPFAIL: Final = packet(b"t")
PROGRESS: Final = packet(b"p")
"""Still at work. Sendmail takes it only while it waits for the end of a message."""


def reply(said: Reply) -> bytes:
    """Refuse with these words. After a 421 MTAs close the client's connection. Raises ValueError unless 4xx or 5xx.

    A "%" is doubled, since MTAs take the text for a format; of more than 32 lines the last ones are left out.
    """
    if not 400 <= said.code < 600:
        raise ValueError(f"{said.code} refuses nothing")
    lines = encode(said).splitlines()[:REPLY_LINES]
    lines[-1] = lines[-1][:3] + b" " + lines[-1][4:]
    return packet(b"y", b"\r\n".join(lines).replace(b"%", b"%%") + b"\0")


def insert_header(index: int, name: str, value: bytes, agreed: Agreement) -> bytes:
    """A new field above the one with that index, from 0; folds of the value are CRLF and a blank."""
    return packet(b"i", _LENGTH.pack(index) + _field(name, value, agreed))


def change_header(occurrence: int, name: str, value: bytes, agreed: Agreement) -> bytes:
    """A new value for the `occurrence`-th field of that name, from 1."""
    return packet(b"m", _LENGTH.pack(occurrence) + _field(name, value, agreed))


def delete_header(occurrence: int, name: str) -> bytes:
    """MTAs count anew after each one: delete the highest first."""
    return packet(b"m", _LENGTH.pack(occurrence) + name.encode("ascii") + b"\0\0")


def _field(name: str, value: bytes, agreed: Agreement) -> bytes:
    plain = value.replace(b"\r\n", b"\n").replace(b"\0", b"")  # MTAs fold by themselves, at LF
    blank = b" " if agreed.leading_blank or not plain else b""  # nothing at all would mean "delete"
    return b"%b\0%b%b\0" % (name.encode("ascii"), blank, plain)


# --- the message put together again ----------------------------------------------------------------------------------

_LINE_END: Final = re.compile(rb"\r?\n")
_BLANKS: Final = frozenset({b" ", b"\t"})


def header_line(field: HeaderField, agreed: Agreement) -> bytes:
    """The field as it stood on the wire, as far as the MTA tells: without `leading_blank` one is put there.

    A line end that does not fold becomes a fold, so that what is one field to the MTA stays one field.
    """
    value = field.value
    if b"\n" in value:
        first, *others = _LINE_END.split(value.rstrip(b"\r\n"))
        folded = (line if line[:1] in _BLANKS else b" " + line for line in others)
        value = b"\r\n".join((first, *folded))
    return b"%b:%b%b\r\n" % (field.name, b"" if agreed.leading_blank else b" ", value)


class BodyText:
    """Makes a body in canonical CRLF of its chunks. One per message. `bare_lf` is whether it met one."""

    __slots__ = ("_held", "bare_lf")

    def __init__(self) -> None:
        self.bare_lf = False
        self._held = False  # whether a CR is kept back, since its LF may come in the next chunk

    def feed(self, chunk: bytes) -> bytes:
        if self._held:
            chunk = b"\r" + chunk
        self._held = chunk.endswith(b"\r")
        if self._held:
            chunk = chunk[:-1]
        if chunk.count(b"\n") == chunk.count(b"\r\n"):
            return chunk
        self.bare_lf = True
        return chunk.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")

    def end(self) -> bytes:
        """What was kept back; the chunks are over."""
        held, self._held = self._held, False
        return b"\r" if held else b""
