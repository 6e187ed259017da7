"""The milter protocol: what is agreed on, what commands are answered, and messages put together again. Pure.

Which commands get an answer at all, and how header values look in both directions, both sides agree on first.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from gatekeeper.model import Reply
from gatekeeper.wire.milter import (
    NEWEST,
    Abort,
    BodyChunk,
    Command,
    Data,
    EndOfHeader,
    HeaderField,
    Hello,
    Macros,
    MilterError,
    Negotiate,
    NewConnection,
    Quit,
    Unknown,
    packet,
)
from gatekeeper.wire.replies import encode

REPLY_LINES: Final = 32
"""Lines of one reply (libmilter's MAXREPLIES)."""
_NUMBER: Final = struct.Struct("!I")
_AGREEMENT: Final = struct.Struct("!III")

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
    RCPT_REJ = 0x800  # send recipients that were refused, too
    NR_HELO = 0x2000
    NR_DATA = 0x10000
    NR_UNKNOWN = 0x20000
    NR_EOH = 0x40000
    NR_BODY = 0x80000
    HDR_LEADSPC = 0x100000  # header values with the blank after the colon, both ways


NEEDED: Final = Actions.ADD_HEADERS | Actions.CHANGE_HEADERS
WANTED: Final = (
    Steps.NR_HEADER
    | Steps.RCPT_REJ
    | Steps.NR_HELO
    | Steps.NR_DATA
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
    Steps.NR_DATA: Data,
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
        data = _AGREEMENT.pack(self.version, self.actions, self.steps)
        if self.actions & Actions.SET_MACROS:
            data += b"".join(_NUMBER.pack(place) + names + b"\0" for place, names in _MACROS)
        return packet(b"O", data)


@lru_cache(maxsize=64)  # a mail server offers the same on each connection, and Postfix makes one for each client
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
    return packet(b"i", _NUMBER.pack(index) + _field(name, value, agreed))


def change_header(occurrence: int, name: str, value: bytes, agreed: Agreement) -> bytes:
    """A new value for the `occurrence`-th field of that name, from 1."""
    return packet(b"m", _NUMBER.pack(occurrence) + _field(name, value, agreed))


def delete_header(occurrence: int, name: str) -> bytes:
    """MTAs count anew after each one: delete the highest first."""
    return packet(b"m", _NUMBER.pack(occurrence) + name.encode("ascii") + b"\0\0")


def _field(name: str, value: bytes, agreed: Agreement) -> bytes:
    plain = value.replace(b"\r\n", b"\n").replace(b"\0", b"")  # MTAs fold by themselves, at LF
    blank = b" " if agreed.leading_blank or not plain else b""  # nothing at all would mean "delete"
    return b"%b\0%b%b\0" % (name.encode("ascii"), blank, plain)


# --- the message put together again ----------------------------------------------------------------------------------

_BLANKS: Final = frozenset({b" ", b"\t"})


def header_line(field: HeaderField, agreed: Agreement) -> bytes:
    """The field as it stood on the wire, as far as the MTA tells: without `leading_blank` one is put there.

    A line end that does not fold becomes a fold, so that what is one field to the MTA stays one field.
    """
    value = field.value
    if b"\n" in value:
        first, *others = value.replace(b"\r\n", b"\n").rstrip(b"\n").split(b"\n")
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
