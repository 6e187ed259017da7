"""A message's body hashes, each made once: while the message comes in, or when somebody first asks for them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from gatekeeper.mailauth.arc_chain import body_kind_of, chain_of
from gatekeeper.mailauth.dkim_canonical import BodyHashes, BodyKind
from gatekeeper.mailauth.dkim_signature import MOST_SIGNATURES, Reading, read_signatures
from gatekeeper.message.header import header_of
from gatekeeper.model import BytesBody, Message

PIECE = 128 * 1024
"""Octets that are hashed before others have their turn: under a millisecond."""
MEMO = "body_hashes"
_LOCK = "body_hashes_lock"


def body_hashes(header: bytes) -> BodyHashes:
    """What verification needs to know of the body below that header: feed it with the body as it comes in.

    It belongs into `message.memo[MEMO]`, where `body_of` looks for it.
    """
    return BodyHashes(_kinds_of(Message(header, BytesBody(b""))))


def signatures_of(message: Message, most: int = MOST_SIGNATURES) -> list[Reading]:
    """The message's DKIM-Signature fields from the top, at most so many; each is read once."""
    known: tuple[int, list[Reading]] = message.memo.get("dkim_signatures") or (0, [])
    if known[0] < most:
        known = message.memo["dkim_signatures"] = (most, read_signatures(header_of(message), most))
    return known[1][:most]


async def body_of(message: Message, kinds: Sequence[BodyKind]) -> BodyHashes:
    """The hashes of these kinds, made now unless they are there already.

    Whoever asks first has those made that the others will ask for. Takes no long turn, however large the body.
    """
    made = made_before(message, kinds)
    if made is not None:
        return made
    lock: asyncio.Lock = message.memo.setdefault(_LOCK, asyncio.Lock())
    async with lock:
        made = made_before(message, kinds)
        if made is not None:
            return made
        hashes = BodyHashes([*kinds, *_kinds_of(message)])
        for chunk in message.body.chunks():
            for at in range(0, len(chunk), PIECE):
                hashes.update(chunk[at : at + PIECE] if len(chunk) > PIECE else chunk)
                if len(chunk) > PIECE // 2:
                    await asyncio.sleep(0)
        message.memo[MEMO] = hashes
    return hashes


def made_before(message: Message, kinds: Iterable[BodyKind]) -> BodyHashes | None:
    """The hashes that are there already; None unless all of these kinds are among them."""
    made = message.memo.get(MEMO)
    return made if isinstance(made, BodyHashes) and made.kinds.issuperset(kinds) else None


def _kinds_of(message: Message) -> list[BodyKind]:
    signed = [one.signature for one in signatures_of(message) if one.signature is not None]
    kinds = [(signature.body_canon, signature.limit) for signature in signed]
    sealed = body_kind_of(chain_of(message))
    return kinds if sealed is None else [*kinds, sealed]
