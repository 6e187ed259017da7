"""DomainKeys Identified Mail (RFC 6376, 8301, 8463): who vouches for this message? dkimpy's one home.

dkimpy reads tag lists and signs. It does not verify here: a line of blanks or a giant key holds it for seconds, and
it passes what RFC 8301 forbids. Canonicalisation, keys and the order of verification are ours (`dkim_canonical`,
`dkim_key`), the numbers are OpenSSL's.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import enum
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import dkim
import dkim.util
import idna

from gatekeeper.dns.resolver import Answer, Question, Resolver, Status, ask_all
from gatekeeper.mailauth.dkim_canonical import BodyHash, BodyHashes, Canon, canonical_field
from gatekeeper.mailauth.dkim_key import LEAST_BITS, DkimKey, KeyType, UnusableKey, key_of
from gatekeeper.message.header import header_of
from gatekeeper.model import Message
from gatekeeper.wire.headers import Defect, Field, Header, parse_header

MOST_SIGNATURES = 8  # verified of one message
MOST_FIELD = 16384  # octets of one DKIM-Signature field
MOST_KEY_RECORD = 4096  # octets of one key record; a key of 8192 bits needs 1500
MOST_KEYS = 3  # tried where a name has several
MOST_DIGITS = 15  # of t=, x= and l=
MOST_IDENTITY = 320  # characters of i= that are kept
EXPIRY_GRACE = 300.0  # seconds for clocks that differ
FUTURE_GRACE = 86400.0  # a signer's clock may be wrong by a time zone without its mail being lost

NAME = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
ALGORITHMS = {b"rsa-sha256": KeyType.RSA, b"ed25519-sha256": KeyType.ED25519}
FIELD = "dkim-signature"


class DkimCode(enum.StrEnum):
    """The results of RFC 8601 §2.7.1."""

    NONE = "none"  # the message is not signed
    PASS = "pass"  # the domain vouches for the message as it is  # noqa: S105  # a result, not a word to keep
    FAIL = "fail"  # it vouched for something else: the signature does not verify
    POLICY = "policy"  # verified or not, it is not acceptable: a weak key or hash, expired, only a part is covered
    NEUTRAL = "neutral"  # the signature cannot be understood
    TEMPERROR = "temperror"  # the key could not be had now
    PERMERROR = "permerror"  # there is no such key, or it may not be used for this


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


class _Settled(Exception):
    """No need to look further: this is the result."""

    def __init__(self, code: DkimCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class _Signature:
    """A DKIM-Signature field that can be verified (RFC 6376 §3.5)."""

    field: Field
    kind: KeyType
    signed: bytes  # b=
    body_hash: bytes  # bh=
    header_canon: Canon
    body_canon: Canon
    limit: int | None  # l=
    names: tuple[str, ...]  # h=
    domain: str
    selector: str
    identity_domain: str
    sent: int | None  # t=
    expires: int | None  # x=


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


def _signatures(header: Header, most: int) -> tuple[list[_Signature | None], list[DkimResult]]:
    """For each one either what can be verified, or None and the result that stands already."""
    signatures: list[_Signature | None] = []
    results: list[DkimResult] = []
    for field in header.all(FIELD)[:most]:
        tags: dict[bytes, bytes] = {}
        try:
            if field.defects - {Defect.BLANK_BEFORE_COLON}:
                raise _Settled(DkimCode.NEUTRAL, "not a proper field")
            if len(field.value) > MOST_FIELD:
                raise _Settled(DkimCode.NEUTRAL, "signature is too long")
            tags = tag_list(field.value)
            signature: _Signature | None = _read(field, tags)
            results.append(_described(tags, DkimCode.NEUTRAL, ""))
        except dkim.util.InvalidTagValueList:
            signature = None
            results.append(DkimResult(DkimCode.NEUTRAL, reason="not a list of tags"))
        except _Settled as settled:
            signature = None
            results.append(_described(tags, settled.code, settled.reason))
        signatures.append(signature)
    return signatures, results


def _described(tags: dict[bytes, bytes], code: DkimCode, reason: str) -> DkimResult:
    def text(tag: bytes, most: int) -> str:
        return b"".join(tags.get(tag, b"").split()).decode("utf-8", "replace")[:most]

    domain = _name(tags.get(b"d", b"")) or ""
    return DkimResult(
        code,
        domain=domain,
        selector=_name(tags.get(b"s", b"")) or "",
        algorithm=text(b"a", 30).lower(),
        identity=text(b"i", MOST_IDENTITY) or (f"@{domain}" if domain else ""),
        signature=text(b"b", 8),
        reason=reason,
    )


def _read(field: Field, tags: dict[bytes, bytes]) -> _Signature:
    """RFC 6376 §6.1.1."""
    for tag in (b"v", b"a", b"b", b"bh", b"d", b"h", b"s"):
        if tag not in tags:
            raise _Settled(DkimCode.NEUTRAL, f"no {tag.decode()}=")
    if tags[b"v"] != b"1":
        raise _Settled(DkimCode.NEUTRAL, "unknown version")
    algorithm = tags[b"a"].lower()
    if algorithm == b"rsa-sha1":
        raise _Settled(DkimCode.POLICY, "rsa-sha1 proves nothing (RFC 8301)")
    if algorithm not in ALGORITHMS:
        raise _Settled(DkimCode.NEUTRAL, "unknown algorithm")
    header_canon, body_canon = _canons(tags.get(b"c", b"simple/simple"))
    domain, selector = _name(tags[b"d"]), _name(tags[b"s"])
    if domain is None or selector is None or "." not in domain:
        raise _Settled(DkimCode.NEUTRAL, "d= or s= is not a name")
    identity_domain = _name(tags[b"i"].rpartition(b"@")[2]) if b"i" in tags else domain
    if identity_domain is None or (identity_domain != domain and not identity_domain.endswith("." + domain)):
        raise _Settled(DkimCode.NEUTRAL, "i= is not within d=")
    names = tuple(name.strip().lower().decode("latin-1") for name in tags[b"h"].split(b":"))
    if "from" not in names:
        raise _Settled(DkimCode.NEUTRAL, "From is not signed")
    if b"q" in tags and b"dns/txt" not in [method.strip().lower() for method in tags[b"q"].split(b":")]:
        raise _Settled(DkimCode.NEUTRAL, "unknown way to find the key")
    sent, expires = _number(tags, b"t"), _number(tags, b"x")
    if sent is not None and expires is not None and expires <= sent:
        raise _Settled(DkimCode.NEUTRAL, "expires before it was made")
    return _Signature(
        field=field,
        kind=ALGORITHMS[algorithm],
        signed=_octets(tags, b"b"),
        body_hash=_octets(tags, b"bh"),
        header_canon=header_canon,
        body_canon=body_canon,
        limit=_number(tags, b"l"),
        names=names,
        domain=domain,
        selector=selector,
        identity_domain=identity_domain,
        sent=sent,
        expires=expires,
    )


def _canons(value: bytes) -> tuple[Canon, Canon]:
    header, _, body = value.lower().decode("latin-1").partition("/")
    try:
        return Canon(header), Canon(body or "simple")
    except ValueError:
        raise _Settled(DkimCode.NEUTRAL, "unknown canonicalisation") from None


def _name(value: bytes) -> str | None:
    """A domain name or a selector, U-labels made A-labels (RFC 8616 §5); None for what is neither."""
    if len(value) > 253:
        return None
    try:
        text = value.decode("utf-8").lower().removesuffix(".")
        if not text.isascii():
            text = idna.encode(text, uts46=True).decode("ascii").lower()
    except ValueError:  # idna.IDNAError and UnicodeError are ones
        return None
    return text if len(text) <= 253 and NAME.fullmatch(text) else None


def _number(tags: dict[bytes, bytes], tag: bytes) -> int | None:
    value = tags.get(tag)
    if value is None:
        return None
    if not value.isdigit() or len(value) > MOST_DIGITS:
        raise _Settled(DkimCode.NEUTRAL, f"{tag.decode()}= is not a number")
    return int(value)


def _octets(tags: dict[bytes, bytes], tag: bytes) -> bytes:
    try:
        return base64.b64decode(b"".join(tags[tag].split()), validate=True)
    except binascii.Error:
        raise _Settled(DkimCode.NEUTRAL, f"{tag.decode()}= is not base64") from None


# The body.


def _hashes_for(signatures: Sequence[_Signature | None]) -> BodyHashes:
    return BodyHashes((wanted.body_canon, wanted.limit) for wanted in signatures if wanted is not None)


async def _body_of(message: Message, signatures: Sequence[_Signature | None]) -> BodyHashes:
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


def _question(signature: _Signature) -> Question:
    return f"{signature.selector}._domainkey.{signature.domain}", "TXT"


def _keys(answer: Answer) -> list[DkimKey] | _Settled:
    """RFC 6376 §6.1.2."""
    if not answer.certain:
        return _Settled(DkimCode.TEMPERROR, "no answer about the key")
    if answer.status is not Status.OK:
        return _Settled(DkimCode.PERMERROR, "there is no such key")
    keys: list[DkimKey] = []
    wrong = "there is no such key"
    for record in sorted(answer.records)[:MOST_KEYS]:
        try:
            keys.append(load_key(record))
        except UnusableKey as unusable:
            wrong = str(unusable)
    return keys or _Settled(DkimCode.PERMERROR, wrong)


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
    signature: _Signature,
    header: Header,
    hashes: BodyHashes,
    keys: list[DkimKey] | _Settled,
    *,
    now: float,
    canonical: dict[tuple[int, Canon], bytes],
) -> DkimResult:
    if isinstance(keys, _Settled):
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
                raise _Settled(DkimCode.FAIL, "signature does not verify")
            _timely(signature, now)
        except _Settled as settled:
            outcome = replace(outcome, code=settled.code, reason=settled.reason)
            continue
        if signature.limit is not None and signature.limit < body.length:
            uncovered = f"{body.length - signature.limit} octets of the body are not signed"
            return replace(outcome, code=DkimCode.POLICY, reason=uncovered, partial=True)
        return replace(outcome, code=DkimCode.PASS)
    return outcome


def _allowed(signature: _Signature, key: DkimKey) -> None:
    """What the key is for, and whether it is worth anything (RFC 6376 §6.1.2, RFC 8301 §3.2)."""
    if key.kind is not signature.kind:
        raise _Settled(DkimCode.PERMERROR, "the key is of another type")
    if key.hashes is not None and b"sha256" not in key.hashes:
        raise _Settled(DkimCode.PERMERROR, "the key is not for this hash")
    if not key.for_mail:
        raise _Settled(DkimCode.PERMERROR, "the key is not for mail")
    if key.strict and signature.identity_domain != signature.domain:
        raise _Settled(DkimCode.PERMERROR, "the key is not for subdomains")
    if not key.acceptable:
        raise _Settled(DkimCode.POLICY, f"a key of {key.bits} bits proves nothing")


def _whole(signature: _Signature, header: Header, body: BodyHash) -> None:
    """Whether body and author are what was signed, before the costly part."""
    authors = len(header.all("from"))
    if not authors:
        raise _Settled(DkimCode.PERMERROR, "there is no From to be signed")
    if authors > signature.names.count("from"):
        # Only the last was signed, and a reader may show the first (RFC 6376 §8.15). Over-signed with as many names
        # as there are, it is what the signer saw.
        raise _Settled(DkimCode.FAIL, "there are more From fields than were signed")
    if signature.limit is not None and signature.limit > body.length:
        raise _Settled(DkimCode.FAIL, "the body is shorter than what was signed")
    if body.digest != signature.body_hash:
        raise _Settled(DkimCode.FAIL, "the body is not what was signed")


def _timely(signature: _Signature, now: float) -> None:
    if signature.expires is not None and signature.expires < now - EXPIRY_GRACE:
        raise _Settled(DkimCode.POLICY, "signature has expired")
    if signature.sent is not None and signature.sent > now + FUTURE_GRACE:
        raise _Settled(DkimCode.POLICY, "signature is from the future")


def _header_digest(signature: _Signature, header: Header, canonical: dict[tuple[int, Canon], bytes]) -> bytes:
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
    digest.update(canonical_field(own.raw_name, _without_signature(own.value), canon))
    return digest.digest()


def _without_signature(value: bytes) -> bytes:
    parts = value.split(b";")
    for index, part in enumerate(parts):
        tag, equals, _ = part.partition(b"=")
        if equals and tag.strip() == b"b":
            parts[index] = tag + b"="
            break
    return b";".join(parts)
