"""DomainKeys Identified Mail (RFC 6376, 8301, 8463): who vouches for this message?

Canonicalisation, keys and the order of verification are ours (`dkim_canonical`, `dkim_key`), the numbers are
OpenSSL's. What ARC has in common with it (keys, header hashes, what a key is for) is used by `arc`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from gatekeeper.dns.resolver import Answer, Question, Resolver, Status, ask_all
from gatekeeper.mailauth.bodies import body_of, signatures_of
from gatekeeper.mailauth.dkim_canonical import BodyHash, BodyHashes, Canon, canonical_field
from gatekeeper.mailauth.dkim_key import LEAST_BITS, DkimKey, UnusableKey, key_of
from gatekeeper.mailauth.dkim_signature import (
    FIELD,
    MOST_SIGNATURES,
    DkimCode,
    Reading,
    Settled,
    Signature,
    name_of,
    without_signature,
)
from gatekeeper.mailauth.dkimpy import NotTags, tag_list
from gatekeeper.mailauth.dkimpy import sign as sign  # noqa: PLC0414  # for whoever looks for it here
from gatekeeper.message.header import author_of, header_of
from gatekeeper.model import Message
from gatekeeper.wire.headers import Header

MOST_KEY_RECORD = 4096  # octets of one key record; a key of 8192 bits needs 1500
MOST_KEYS = 3  # tried where a name has several
MOST_IDENTITY = 320  # characters of i= that are kept
EXPIRY_GRACE = 300.0  # seconds for clocks that differ
FUTURE_GRACE = 86400.0  # a signer's clock may be wrong by a time zone without its mail being lost
SHOWN = ("to", "subject", "date", "content-type")
"""Fields that make of a message what readers see; one that passes without them covered is told (`uncovered`)."""
ONCE = ("sender", "reply-to", "to", "cc", "subject", "date", "content-type", "content-transfer-encoding")
"""Fields of which there may be one (RFC 5322 §3.6, RFC 2045 §3) and which readers are shown. From is one, too."""


@dataclass(frozen=True, slots=True)
class DkimResult:
    """What became of one signature.

    `domain` is d= in A-labels and lower case ("" when it is no name), `selector` s=, `algorithm` a=, `identity` i=.
    `signature` is the beginning of b=, for Authentication-Results (RFC 6008). `partial`: l= leaves text uncovered;
    such a signature never passes, the code is POLICY. `testing`: the key says t=y; it vouches for nothing.
    `uncovered`, of one that passes: which of the fields that readers are shown are there and not signed. `digest`
    tells the signature from any other, in 16 hexadecimal digits: the same one twice is the same message twice.
    `ambiguous`: it verifies, and does not pass because two readers might see two authors; the code is POLICY.
    """

    code: DkimCode
    domain: str = ""
    selector: str = ""
    algorithm: str = ""
    identity: str = ""
    signature: str = ""
    reason: str = ""
    partial: bool = False
    testing: bool = False
    key_bits: int = 0
    uncovered: tuple[str, ...] = ()
    digest: str = ""
    ambiguous: bool = False

    @property
    def vouches(self) -> bool:
        """Whether its domain is an authenticated identifier (RFC 9989 §4.4.1)."""
        return self.code is DkimCode.PASS and not self.testing

    @property
    def weak_key(self) -> bool:
        """Whether the length of the key is why it is not acceptable (RFC 8301 §3.2)."""
        return self.code is DkimCode.POLICY and 0 < self.key_bits < LEAST_BITS and self.algorithm.startswith("rsa")


@dataclass(frozen=True, slots=True)
class DkimResults:
    """Every signature that was looked at, from the top of the message; `found` is how many there are."""

    results: tuple[DkimResult, ...] = ()
    found: int = 0


async def verify(message: Message, resolver: Resolver, *, now: float, most: int = MOST_SIGNATURES) -> DkimResults:
    """Verify the message's signatures (RFC 6376 §6), at most so many, from the top; the others are only counted.

    `now` is Unix time. Never raises for what a message holds.
    """
    readings = signatures_of(message, most)
    results = [_described(reading) for reading in readings]
    todo = [(place, one.signature) for place, one in enumerate(readings) if one.signature is not None]
    if todo:
        hashes = await body_of(message, [(signature.body_canon, signature.limit) for _, signature in todo])
        answers = await ask_all(resolver, {question_of(signature.selector, signature.domain) for _, signature in todo})
        canonical: Canonical = {}
        for place, signature in todo:
            keys = keys_in(answers[question_of(signature.selector, signature.domain)])
            results[place] = _judged(results[place], signature, message, hashes, keys, now=now, canonical=canonical)
    return DkimResults(tuple(results), len(header_of(message).all(FIELD)))


def _described(reading: Reading) -> DkimResult:
    tags, settled, signature = reading.tags, reading.settled, reading.signature
    domain = name_of(tags.get(b"d", b"")) or ""
    return DkimResult(
        settled.code if settled is not None else DkimCode.NEUTRAL,
        domain=domain,
        selector=name_of(tags.get(b"s", b"")) or "",
        algorithm=_text(tags, b"a", 30).lower(),
        identity=_text(tags, b"i", MOST_IDENTITY) or (f"@{domain}" if domain else ""),
        signature=_text(tags, b"b", 8),
        reason=settled.reason if settled is not None else "",
        digest=hashlib.blake2b(signature.signed, digest_size=8).hexdigest() if signature is not None else "",
    )


def _text(tags: Mapping[bytes, bytes], tag: bytes, most: int) -> str:
    return b"".join(tags.get(tag, b"").split()).decode("utf-8", "replace")[:most]


Canonical = dict[Canon, dict[int, bytes]]
"""Fields in canonical form by their index: each is made once for all signatures of a message."""


# Keys.


def question_of(selector: str, domain: str) -> Question:
    return f"{selector}._domainkey.{domain}", "TXT"


def keys_in(answer: Answer) -> list[DkimKey] | Settled:
    """RFC 6376 §6.1.2."""
    if not answer.certain:
        return Settled(DkimCode.TEMPERROR, "no answer about the key")
    if answer.status is not Status.OK:
        return Settled(DkimCode.PERMERROR, "there is no such key")
    keys: list[DkimKey] = []
    wrong = "there is no such key"
    for record in sorted(answer.records)[:MOST_KEYS]:
        try:
            keys.append(load_key(record))
        except UnusableKey as unusable:
            wrong = str(unusable)
    return keys or Settled(DkimCode.PERMERROR, wrong)


@lru_cache(maxsize=1024)
def load_key(record: bytes) -> DkimKey:
    """The key in one TXT record; raises `UnusableKey`."""
    if len(record) > MOST_KEY_RECORD:
        raise UnusableKey("key record is too long")
    try:
        return key_of(tag_list(record))
    except NotTags:
        raise UnusableKey("key record is not a list of tags") from None


# Verifying.


def _judged(
    described: DkimResult,
    signature: Signature,
    message: Message,
    hashes: BodyHashes,
    keys: list[DkimKey] | Settled,
    *,
    now: float,
    canonical: Canonical,
) -> DkimResult:
    if isinstance(keys, Settled):
        return replace(described, code=keys.code, reason=keys.reason)
    body = hashes.digest(signature.body_canon, signature.limit)
    assert body is not None  # noqa: S101  # they were made for these very signatures
    header = header_of(message)
    digest: bytes | None = None
    outcome = described
    for key in keys:
        outcome = replace(described, testing=key.testing, key_bits=key.bits)
        try:
            check_key(signature, key)
            check_whole(signature, header, body)
            digest = digest or header_digest(signature, header, canonical)
            if not key.verifies(signature.signed, digest):
                raise Settled(DkimCode.FAIL, "signature does not verify")
            check_time(signature, now)
        except Settled as settled:
            outcome = replace(outcome, code=settled.code, reason=settled.reason)
            continue
        return _verified(outcome, signature, message, body)
    return outcome


def _verified(outcome: DkimResult, signature: Signature, message: Message, body: BodyHash) -> DkimResult:
    """A signature that is the domain's: what it is worth."""
    if signature.limit is not None and signature.limit < body.length:
        uncovered = f"{body.length - signature.limit} octets of the body are not signed"
        return replace(outcome, code=DkimCode.POLICY, reason=uncovered, partial=True)
    doubts = author_of(message).ambiguities
    if doubts:
        why = f"two readers might see two authors: {', '.join(doubts[:3])}"
        return replace(outcome, code=DkimCode.POLICY, reason=why, ambiguous=True)
    header = header_of(message)
    unsigned = tuple(name for name in SHOWN if name not in signature.names and header.all(name))
    return replace(outcome, code=DkimCode.PASS, uncovered=unsigned)


def check_key(signature: Signature, key: DkimKey) -> None:
    """What the key is for, and whether it is worth anything (RFC 6376 §6.1.2, RFC 8301 §3.2)."""
    if key.kind is not signature.kind:
        raise Settled(DkimCode.PERMERROR, "the key is of another type")
    if key.hashes is not None and b"sha256" not in key.hashes:
        raise Settled(DkimCode.PERMERROR, "the key is not for this hash")
    if not key.for_mail:
        raise Settled(DkimCode.PERMERROR, "the key is not for mail")
    if key.strict and signature.identity_domain != signature.domain:
        raise Settled(DkimCode.PERMERROR, "the key is not for subdomains")
    if not key.acceptable:
        raise Settled(DkimCode.POLICY, f"a key of {key.bits} bits proves nothing")


def check_whole(signature: Signature, header: Header, body: BodyHash) -> None:
    """Whether body and author are what was signed, before the costly part."""
    authors = len(header.all("from"))
    if not authors:
        raise Settled(DkimCode.PERMERROR, "there is no From to be signed")
    if authors > signature.names.count("from"):
        # Only the last was signed, and a reader may show the first (RFC 6376 §8.15). Over-signed with as many names
        # as there are, it is what the signer saw.
        raise Settled(DkimCode.FAIL, "there are more From fields than were signed")
    for name in ONCE:
        signed = signature.names.count(name)
        if signed and len(header.all(name)) > signed:
            raise Settled(DkimCode.FAIL, f"there are more {name} fields than were signed")
    if signature.limit is not None and signature.limit > body.length:
        raise Settled(DkimCode.FAIL, "the body is shorter than what was signed")
    if body.digest != signature.body_hash:
        raise Settled(DkimCode.FAIL, "the body is not what was signed")


def check_time(signature: Signature, now: float) -> None:
    if signature.expires is not None and signature.expires < now - EXPIRY_GRACE:
        raise Settled(DkimCode.POLICY, "signature has expired")
    if signature.sent is not None and signature.sent > now + FUTURE_GRACE:
        raise Settled(DkimCode.POLICY, "signature is from the future")


def header_digest(signature: Signature, header: Header, canonical: Canonical) -> bytes:
    """The SHA-256 of what the signature covers of the header (RFC 6376 §3.7)."""
    own = signature.field
    return covered_digest(
        header,
        signature.names,
        signature.header_canon,
        own=(own.raw_name, without_signature(own.value)),
        canonical=canonical,
    )


def covered_digest(
    header: Header, names: Sequence[str], canon: Canon, *, own: tuple[bytes, bytes], canonical: Canonical
) -> bytes:
    """RFC 6376 §3.7: the named fields, of equal ones the last first, then the signature's own, without what b= has.

    `own` is its name and value; `canonical` keeps what was made for one signature for the next.
    """
    made = canonical.setdefault(canon, {})
    lines: list[bytes] = []
    left: dict[str, int] = {}
    for name in names:
        fields = header.all(name)
        count = left.get(name, len(fields))
        if not count:
            continue  # a field that is not there, signed so that nobody adds one (§5.4.2)
        left[name] = count - 1
        field = fields[count - 1]
        text = made.get(field.index)
        if text is None:
            text = made[field.index] = canonical_field(field.raw_name, field.value, canon) + b"\r\n"
        lines.append(text)
    lines.append(canonical_field(*own, canon))
    return hashlib.sha256(b"".join(lines)).digest()
