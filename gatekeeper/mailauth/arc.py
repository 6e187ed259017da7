"""Authenticated Received Chain (RFC 8617): what did those see who had the message before us, and can it be believed?

A chain that passes proves that nothing was changed since its newest seal; it says nothing about whether those who
sealed it tell the truth. Only what a trusted sealer says counts, and only as long as nobody else has had the message
after it.
"""

from __future__ import annotations

import asyncio
import enum
import hashlib
from collections.abc import Container, Iterator
from dataclasses import dataclass

from gatekeeper.dns.resolver import Resolver, ask_all
from gatekeeper.mailauth.arc_chain import MOST_SETS, ArcSet, Chain, Seal, body_kind_of, chain_of, results_of
from gatekeeper.mailauth.bodies import body_of
from gatekeeper.mailauth.dkim import check_key, check_time, check_whole, header_digest, keys_in, question_of
from gatekeeper.mailauth.dkim_canonical import BodyHashes, Canon, canonical_field
from gatekeeper.mailauth.dkim_key import DkimKey
from gatekeeper.mailauth.dkim_signature import DkimCode, Settled, Signature, without_signature
from gatekeeper.message.header import author_of, header_of
from gatekeeper.model import Message
from gatekeeper.wire.address import domain_of, normal_domain
from gatekeeper.wire.auth_results import Result

MOST_KEYS = 16
"""Different keys of one chain; each is a question."""
TURN = 8
"""Seals that are verified before others have their turn."""


class ArcCode(enum.StrEnum):
    """The state of a chain (RFC 8617 §4.4), and that it could not be found out."""

    NONE = "none"  # there is no chain
    PASS = "pass"  # every seal and the newest signature verify  # noqa: S105  # a result, not a word to keep
    FAIL = "fail"  # the chain is broken
    TEMPERROR = "temperror"  # a key could not be had now


@dataclass(frozen=True, slots=True)
class ArcResult:
    """What became of the chain.

    `sealers` are the domains that sealed it, the oldest first; () unless it passes. `trusted` are those at its end
    that are trusted without a stranger among them. `attested` are the domains that one of these saw authenticated.
    `trusted_pass`: the author's domain is among them, and the author is beyond doubt: then a trusted sealer says that
    DMARC passed before the message was changed on its way.
    """

    status: ArcCode
    instances: int = 0
    sealers: tuple[str, ...] = ()
    trusted: tuple[str, ...] = ()
    attested: tuple[str, ...] = ()
    trusted_pass: bool = False
    reason: str = ""


async def verify_arc(
    message: Message, resolver: Resolver, *, now: float, trusted: Container[str] = (), most: int = MOST_SETS
) -> ArcResult:
    """RFC 8617 §5.2: the newest message signature and every seal must verify.

    `trusted` has domains of sealers, in A-labels and lower case. `most`: chains of more sets have failed. `now` is
    Unix time. Never raises for what a message holds.
    """
    chain = chain_of(message)
    if not chain.sets or chain.newest is None:
        if not chain.broken:
            return ArcResult(ArcCode.NONE)
        return ArcResult(ArcCode.FAIL, chain.count, reason=chain.broken)
    count = len(chain.sets)
    if count > most:
        return ArcResult(ArcCode.FAIL, count, reason=f"more than {most} sets")
    kind = body_kind_of(chain)
    hashes = await body_of(message, [kind] if kind is not None else [])
    try:
        await _verify(message, chain, chain.newest, hashes, resolver, now=now)
    except Settled as settled:
        code = ArcCode.TEMPERROR if settled.code is DkimCode.TEMPERROR else ArcCode.FAIL
        return ArcResult(code, count, reason=settled.reason)
    return _believed(message, chain, trusted)


async def _verify(
    message: Message, chain: Chain, newest: Signature, hashes: BodyHashes, resolver: Resolver, *, now: float
) -> None:
    """Raises Settled for a chain that does not pass."""
    header = header_of(message)
    body = hashes.digest(newest.body_canon, newest.limit)
    if body is None:
        raise AssertionError("the hash was made for this very signature")
    check_whole(newest, header, body)
    if newest.limit is not None and newest.limit < body.length:
        raise Settled(DkimCode.FAIL, "newest message signature: text below it is not signed")
    check_time(newest, now)
    # Whoever made the newest set is asked about first: a chain that is broken there costs one question, not fifty.
    keys_of = {question_of(one.seal.selector, one.seal.domain) for one in chain.sets}
    last = chain.sets[-1]
    first = {question_of(newest.selector, newest.domain), question_of(last.seal.selector, last.seal.domain)}
    if len(keys_of | first) > MOST_KEYS:
        raise Settled(DkimCode.FAIL, f"more than {MOST_KEYS} keys")
    answers = await ask_all(resolver, first)
    keys = _keys(keys_in(answers[question_of(newest.selector, newest.domain)]))
    usable = [key for key in keys if _may(newest, key)]
    digest = header_digest(newest, header, {})
    if not any(key.verifies(newest.signed, digest) for key in usable):
        raise Settled(DkimCode.FAIL, "newest message signature does not verify")
    answers |= await ask_all(resolver, keys_of - first)
    for place, (seal, sealed) in enumerate(seals(chain.sets)):
        keys = _keys(keys_in(answers[question_of(seal.selector, seal.domain)]))
        fitting = (key for key in keys if key.kind is seal.kind and key.acceptable and key.for_mail)
        if not any(key.verifies(seal.signed, sealed) for key in fitting):
            raise Settled(DkimCode.FAIL, f"seal {place + 1} does not verify")
        if place % TURN == TURN - 1:
            await asyncio.sleep(0)


def _keys(found: list[DkimKey] | Settled) -> list[DkimKey]:
    if isinstance(found, Settled):
        raise found
    return found


def _may(signature: Signature, key: DkimKey) -> bool:
    try:
        check_key(signature, key)
    except Settled:
        return False
    return True


def seals(sets: tuple[ArcSet, ...]) -> Iterator[tuple[Seal, bytes]]:
    """Each seal and the SHA-256 of what it covers (§5.1.1): all sets below it, then its own without the b=.

    In one pass: what fifty seals cover is the same text, fifty times.
    """
    running = hashlib.sha256()
    for one in sets:
        running.update(line(one.results.raw_name, one.results.value))
        running.update(line(one.message_signature.raw_name, one.message_signature.value))
        digest = running.copy()
        own = one.seal.field
        digest.update(canonical_field(own.raw_name, without_signature(own.value), Canon.RELAXED))
        yield one.seal, digest.digest()
        running.update(line(own.raw_name, own.value))


def line(name: bytes, value: bytes) -> bytes:
    """A field as a seal covers it."""
    return canonical_field(name, value, Canon.RELAXED) + b"\r\n"


# What is believed.


def _believed(message: Message, chain: Chain, trusted: Container[str]) -> ArcResult:
    """Of a chain that passes: who sealed it, and what those say whom we trust."""
    sealers = tuple(one.seal.domain for one in chain.sets)
    first = len(sealers)  # of the trusted ones at the end
    while first and sealers[first - 1] in trusted:
        first -= 1
    attested: dict[str, None] = {}
    for one in chain.sets[first:]:
        found = results_of(one)
        for result in found.results if found is not None else ():
            attested |= dict.fromkeys(authenticated(result))
    author = author_of(message).domain
    return ArcResult(
        ArcCode.PASS,
        len(sealers),
        sealers=sealers,
        trusted=sealers[first:],
        attested=tuple(attested),
        trusted_pass=author is not None and author in attested,
    )


def authenticated(result: Result) -> Iterator[str]:
    """The domains that a result says are authenticated: for DMARC the author's own, else only that very domain."""
    if result.result != "pass":
        return
    if result.method == "dmarc":
        named = [result.get("header.from")]
    elif result.method == "dkim":
        named = [result.get("header.d") or result.get("header.i").rpartition("@")[2]]
    elif result.method == "spf":
        sender = result.get("smtp.mailfrom") or result.get("smtp.mfrom")
        named = [(domain_of(sender) or "") if "@" in sender else sender]
    else:
        return
    yield from (domain for one in named if one and (domain := normal_domain(one.rpartition("@")[2])) is not None)
