"""DomainKeys Identified Mail (RFC 6376, 8301, 8463): who vouches for this message? dkimpy's one home.

dkimpy reads tag lists and signs. It does not verify here: a line of blanks or a giant key holds it for seconds, and
it passes what RFC 8301 forbids. Canonicalisation, keys and the order of verification are ours (`dkim_canonical`,
`dkim_key`), the numbers are OpenSSL's.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import dkim
import dkim.util

from gatekeeper.dns.resolver import Answer, Question, Resolver, Status, ask_all
from gatekeeper.mailauth.dkim_canonical import BodyHash, BodyHashes, Canon, canonical_field
from gatekeeper.mailauth.dkim_key import LEAST_BITS, DkimKey, UnusableKey, key_of
from gatekeeper.mailauth.dkim_signature import (
    DkimCode,
    Settled,
    Signature,
    name_of,
    read_signature,
    without_signature,
)
from gatekeeper.message.header import header_of
from gatekeeper.model import Message
from gatekeeper.wire.headers import Defect, Header, parse_header

MOST_SIGNATURES = 8  # verified of one message
MOST_FIELD = 16384  # octets of one DKIM-Signature field
MOST_KEY_RECORD = 4096  # octets of one key record; a key of 8192 bits needs 1500
MOST_KEYS = 3  # tried where a name has several
MOST_IDENTITY = 320  # characters of i= that are kept
EXPIRY_GRACE = 300.0  # seconds for clocks that differ
FUTURE_GRACE = 86400.0  # a signer's clock may be wrong by a time zone without its mail being lost

FIELD = "dkim-signature"


@dataclass(frozen=True, slots=True)
class DkimResult:
    """What became of one signature.

    `domain` is d= in A-labels and lower case ("" when it is no name), `selector` s=, `algorithm` a=, `identity` i=.
    `signature` is the beginning of b=, for Authentication-Results (RFC 6008). `partial`: l= leaves text uncovered;
    such a signature never passes, the code is POLICY. `testing`: the key says t=y; it vouches for nothing.
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


def body_hashes(header: bytes, most: int = MOST_SIGNATURES) -> BodyHashes:
    """What the signatures in that header block need to know of the body: feed it with the body as it comes in.

    It belongs into `message.memo["body_hashes"]`, where `verify` looks for it.
    """
    return _hashes_for(_signatures(parse_header(header), most)[0])


async def verify(message: Message, resolver: Resolver, *, now: float, most: int = MOST_SIGNATURES) -> DkimResults:
    """Verify the message's signatures (RFC 6376 §6), at most so many, from the top; the others are only counted.

    `now` is Unix time. Never raises for what a message holds.
    """
    header = header_of(message)
    read, results = _signatures(header, most)
    todo = [(place, signature) for place, signature in enumerate(read) if signature is not None]
    if todo:
        hashes = await _body_of(message, read)
        answers = await ask_all(resolver, {_question(signature) for _, signature in todo})
        canonical: dict[tuple[int, Canon], bytes] = {}
        for place, signature in todo:
            keys = _keys(answers[_question(signature)])
            results[place] = _judged(results[place], signature, header, hashes, keys, now=now, canonical=canonical)
    return DkimResults(tuple(results), len(header.all(FIELD)))


def sign(message: bytes, *, domain: str, selector: str, private_key: bytes, canon: Canon = Canon.RELAXED) -> bytes:
    """A DKIM-Signature field, with its CRLF, for a message of our own: RSA, PEM key, both parts canonicalised alike.

    For mail whose text is ours. dkimpy canonicalises in quadratic time: never give it what a stranger wrote.
    """
    name = canon.value.encode()
    made: bytes = dkim.sign(message, selector.encode(), domain.encode(), private_key, canonicalize=(name, name))
    return made


def tag_list(text: bytes) -> dict[bytes, bytes]:
    """RFC 6376 §3.2, in their order; raises `dkim.util.InvalidTagValueList`, for a tag given twice too."""
    tags: dict[bytes, bytes] = dkim.util.parse_tag_value(text.replace(b"\r\n", b""))
    return tags


# Reading the signatures.


def _signatures(header: Header, most: int) -> tuple[list[Signature | None], list[DkimResult]]:
    """For each one either what can be verified, or None and the result that stands already."""
    signatures: list[Signature | None] = []
    results: list[DkimResult] = []
    for field in header.all(FIELD)[:most]:
        tags: dict[bytes, bytes] = {}
        try:
            if field.defects - {Defect.BLANK_BEFORE_COLON}:
                raise Settled(DkimCode.NEUTRAL, "not a proper field")
            if len(field.value) > MOST_FIELD:
                raise Settled(DkimCode.NEUTRAL, "signature is too long")
            tags = tag_list(field.value)
            signature: Signature | None = read_signature(field, tags)
            results.append(_described(tags, DkimCode.NEUTRAL, ""))
        except dkim.util.InvalidTagValueList:
            signature = None
            results.append(DkimResult(DkimCode.NEUTRAL, reason="not a list of tags"))
        except Settled as settled:
            signature = None
            results.append(_described(tags, settled.code, settled.reason))
        signatures.append(signature)
    return signatures, results


def _described(tags: dict[bytes, bytes], code: DkimCode, reason: str) -> DkimResult:
    def text(tag: bytes, most: int) -> str:
        return b"".join(tags.get(tag, b"").split()).decode("utf-8", "replace")[:most]

    domain = name_of(tags.get(b"d", b"")) or ""
    return DkimResult(
        code,
        domain=domain,
        selector=name_of(tags.get(b"s", b"")) or "",
        algorithm=text(b"a", 30).lower(),
        identity=text(b"i", MOST_IDENTITY) or (f"@{domain}" if domain else ""),
        signature=text(b"b", 8),
        reason=reason,
    )


# The body.


def _hashes_for(signatures: Sequence[Signature | None]) -> BodyHashes:
    return BodyHashes((wanted.body_canon, wanted.limit) for wanted in signatures if wanted is not None)


async def _body_of(message: Message, signatures: Sequence[Signature | None]) -> BodyHashes:
    made = message.memo.get("body_hashes")
    wanted = [(signature.body_canon, signature.limit) for signature in signatures if signature is not None]
    if isinstance(made, BodyHashes) and all(made.digest(canon, limit) for canon, limit in wanted):
        return made
    hashes = BodyHashes(wanted)
    for chunk in message.body.chunks():
        hashes.update(chunk)
        if len(chunk) > 65536:
            await asyncio.sleep(0)  # others have their turn between two pieces of a large message
    message.memo["body_hashes"] = hashes
    return hashes


# Keys.


def _question(signature: Signature) -> Question:
    return f"{signature.selector}._domainkey.{signature.domain}", "TXT"


def _keys(answer: Answer) -> list[DkimKey] | Settled:
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
    except dkim.util.InvalidTagValueList:
        raise UnusableKey("key record is not a list of tags") from None


# Verifying.


def _judged(
    described: DkimResult,
    signature: Signature,
    header: Header,
    hashes: BodyHashes,
    keys: list[DkimKey] | Settled,
    *,
    now: float,
    canonical: dict[tuple[int, Canon], bytes],
) -> DkimResult:
    if isinstance(keys, Settled):
        return replace(described, code=keys.code, reason=keys.reason)
    body = hashes.digest(signature.body_canon, signature.limit)
    assert body is not None  # noqa: S101  # they were made for these very signatures
    digest: bytes | None = None
    outcome = described
    for key in keys:
        outcome = replace(described, testing=key.testing, key_bits=key.bits)
        try:
            _allowed(signature, key)
            _whole(signature, header, body)
            digest = digest or _header_digest(signature, header, canonical)
            if not key.verifies(signature.signed, digest):
                raise Settled(DkimCode.FAIL, "signature does not verify")
            _timely(signature, now)
        except Settled as settled:
            outcome = replace(outcome, code=settled.code, reason=settled.reason)
            continue
        if signature.limit is not None and signature.limit < body.length:
            uncovered = f"{body.length - signature.limit} octets of the body are not signed"
            return replace(outcome, code=DkimCode.POLICY, reason=uncovered, partial=True)
        return replace(outcome, code=DkimCode.PASS)
    return outcome


def _allowed(signature: Signature, key: DkimKey) -> None:
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


def _whole(signature: Signature, header: Header, body: BodyHash) -> None:
    """Whether body and author are what was signed, before the costly part."""
    authors = len(header.all("from"))
    if not authors:
        raise Settled(DkimCode.PERMERROR, "there is no From to be signed")
    if authors > signature.names.count("from"):
        # Only the last was signed, and a reader may show the first (RFC 6376 §8.15). Over-signed with as many names
        # as there are, it is what the signer saw.
        raise Settled(DkimCode.FAIL, "there are more From fields than were signed")
    if signature.limit is not None and signature.limit > body.length:
        raise Settled(DkimCode.FAIL, "the body is shorter than what was signed")
    if body.digest != signature.body_hash:
        raise Settled(DkimCode.FAIL, "the body is not what was signed")


def _timely(signature: Signature, now: float) -> None:
    if signature.expires is not None and signature.expires < now - EXPIRY_GRACE:
        raise Settled(DkimCode.POLICY, "signature has expired")
    if signature.sent is not None and signature.sent > now + FUTURE_GRACE:
        raise Settled(DkimCode.POLICY, "signature is from the future")


def _header_digest(signature: Signature, header: Header, canonical: dict[tuple[int, Canon], bytes]) -> bytes:
    """RFC 6376 §3.7: the named fields, of equal ones the last first, then the signature without its b=."""
    canon = signature.header_canon
    digest = hashlib.sha256()
    left: dict[str, int] = {}
    for name in signature.names:
        fields = header.all(name)
        count = left.get(name, len(fields))
        if not count:
            continue  # a field that is not there, signed so that nobody adds one (§5.4.2)
        left[name] = count - 1
        field = fields[count - 1]
        text = canonical.get((field.index, canon))
        if text is None:
            text = canonical[field.index, canon] = canonical_field(field.raw_name, field.value, canon) + b"\r\n"
        digest.update(text)
    own = signature.field
    digest.update(canonical_field(own.raw_name, without_signature(own.value), canon))
    return digest.digest()
