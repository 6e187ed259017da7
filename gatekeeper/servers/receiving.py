"""Taking in what follows DATA: as far as it goes, at its own pace but not at any (RFC 5321 §4.1.1.4, §4.5.3.2.5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from gatekeeper.model import Message, Reply
from gatekeeper.servers.conversation import ClientSilent, Conversation
from gatekeeper.servers.spool import Draft, HeaderTooLong, SpoolFull
from gatekeeper.wire.data import DataReader
from gatekeeper.wire.headers import MOST_FIELDS, field_count

TOO_BIG: Final = Reply.of(552, "5.3.4 Message too big")
HEADER_TOO_LONG: Final = Reply.of(552, "5.3.4 Message header too long")
TOO_MANY_FIELDS: Final = Reply.of(552, "5.3.4 Message header has too many fields")
NO_ROOM: Final = Reply.of(452, "4.3.1 No room for this message now, try again later")
BARE_LF: Final = Reply.of(550, "5.5.2 Message has a line that ends in LF alone, not CRLF (RFC 5321 section 2.3.8)")
BARE_CR: Final = Reply.of(550, "5.5.2 Message has a CR without LF (RFC 5321 section 2.3.8)")
NUL: Final = Reply.of(550, "5.6.0 Message has a NUL character (RFC 5322 section 4)")
LOOP: Final = Reply.of(554, "5.4.6 Too many Received fields: this message goes in circles")


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one message. Times in seconds.

    The client may be silent for `silence`. In all it may take `silence` plus one second for each `rate` octets that
    came, and never more than `total`.
    """

    size: int
    received_fields: int
    silence: float
    rate: int
    total: float
    bare_newline: Literal["normalise", "reject"]


@dataclass(frozen=True, slots=True)
class Received:
    """What came: a message, or why it is refused."""

    message: Message | None = None
    refusal: Reply | None = None


async def receive(conversation: Conversation, draft: Draft, limits: Limits) -> Received:
    """Read to the final dot, whatever becomes of the message: a client that is cut off would send it all again.

    Raises ClientGone and ClientSilent. `draft` is the caller's to close.
    """
    reader = DataReader()
    refusal: Reply | None = None
    began = conversation.now
    came = 0
    while not reader.ended:
        now = conversation.now
        deadline = min(began + limits.total, now + limits.silence, began + limits.silence + came / limits.rate)
        if now >= deadline:
            raise ClientSilent
        octets = await conversation.text(deadline)
        came += len(octets)
        text = reader.feed(octets)
        if refusal is None:
            refusal = await _put_away(text, draft, limits)
            if refusal is not None:
                draft.close()
    conversation.put_back(reader.rest)
    if refusal is None:
        refusal = _form(reader, limits)
    if refusal is not None:
        return Received(refusal=refusal)
    try:
        message = await draft.finish(("bare_lf",) if reader.bare_lf else ())
    except SpoolFull:
        return Received(refusal=NO_ROOM)
    if field_count(message.header) > MOST_FIELDS:
        return Received(refusal=TOO_MANY_FIELDS)
    if _received_fields(message.header) > limits.received_fields:
        return Received(refusal=LOOP)
    return Received(message)


async def _put_away(text: bytes, draft: Draft, limits: Limits) -> Reply | None:
    if draft.size + len(text) > limits.size:
        return TOO_BIG
    try:
        await draft.write(text)
    except HeaderTooLong:
        return HEADER_TOO_LONG
    except SpoolFull:
        return NO_ROOM
    return None


def _form(reader: DataReader, limits: Limits) -> Reply | None:
    if reader.bare_cr:
        return BARE_CR
    if reader.nul:
        return NUL
    if reader.bare_lf and limits.bare_newline == "reject":
        return BARE_LF
    return None


def _received_fields(header: bytes) -> int:
    folded = header.lower()
    return folded.count(b"\nreceived:") + folded.startswith(b"received:")
