"""The DKIM-Signature field (RFC 6376 §3.5): its tags made into something that can be verified."""

from __future__ import annotations

import base64
import binascii
import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import idna

from gatekeeper.mailauth.dkim_canonical import Canon
from gatekeeper.mailauth.dkim_key import KeyType
from gatekeeper.mailauth.dkimpy import NotTags, tag_list
from gatekeeper.wire.headers import Defect, Field, Header

FIELD = "dkim-signature"
MOST_SIGNATURES = 8  # verified of one message
MOST_FIELD = 16384  # octets of one field
MOST_DIGITS = 15  # of t=, x= and l=

NAME = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
ALGORITHMS = {b"rsa-sha256": KeyType.RSA, b"ed25519-sha256": KeyType.ED25519}


class DkimCode(enum.StrEnum):
    """The results of RFC 8601 §2.7.1."""

    NONE = "none"  # the message is not signed
    PASS = "pass"  # the domain vouches for the message as it is  # noqa: S105  # a result, not a word to keep
    FAIL = "fail"  # it vouched for something else: the signature does not verify
    POLICY = "policy"  # verified or not, it is not acceptable: a weak key or hash, expired, only a part is covered
    NEUTRAL = "neutral"  # the signature cannot be understood
    TEMPERROR = "temperror"  # the key could not be had now
    PERMERROR = "permerror"  # there is no such key, or it may not be used for this


class Settled(Exception):
    """No need to look further: this is the result."""

    def __init__(self, code: DkimCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Signature:
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


@dataclass(frozen=True, slots=True)
class Reading:
    """One DKIM-Signature field: its tags, as far as it has any, and what can be verified, or why nothing can."""

    tags: Mapping[bytes, bytes]
    signature: Signature | None = None
    settled: Settled | None = None


def read_signatures(header: Header, most: int = MOST_SIGNATURES) -> list[Reading]:
    """From the top, at most so many."""
    return [_read(field) for field in header.all(FIELD)[:most]]


def _read(field: Field) -> Reading:
    tags: dict[bytes, bytes] = {}
    try:
        if field.defects - {Defect.BLANK_BEFORE_COLON}:
            raise Settled(DkimCode.NEUTRAL, "not a proper field")
        if len(field.value) > MOST_FIELD:
            raise Settled(DkimCode.NEUTRAL, "signature is too long")
        tags = tag_list(field.value)
        return Reading(tags, read_signature(field, tags))
    except NotTags:
        return Reading(tags, settled=Settled(DkimCode.NEUTRAL, "not a list of tags"))
    except Settled as settled:
        return Reading(tags, settled=settled)


def read_signature(field: Field, tags: Mapping[bytes, bytes]) -> Signature:
    """RFC 6376 §6.1.1."""
    for tag in (b"v", b"a", b"b", b"bh", b"d", b"h", b"s"):
        if tag not in tags:
            raise Settled(DkimCode.NEUTRAL, f"no {tag.decode()}=")
    if tags[b"v"] != b"1":
        raise Settled(DkimCode.NEUTRAL, "unknown version")
    algorithm = tags[b"a"].lower()
    if algorithm == b"rsa-sha1":
        raise Settled(DkimCode.POLICY, "rsa-sha1 proves nothing (RFC 8301)")
    if algorithm not in ALGORITHMS:
        raise Settled(DkimCode.NEUTRAL, "unknown algorithm")
    header_canon, body_canon = _canons(tags.get(b"c", b"simple/simple"))
    domain, selector = name_of(tags[b"d"]), name_of(tags[b"s"])
    if domain is None or selector is None or "." not in domain:
        raise Settled(DkimCode.NEUTRAL, "d= or s= is not a name")
    identity_domain = name_of(tags[b"i"].rpartition(b"@")[2]) if b"i" in tags else domain
    if identity_domain is None or (identity_domain != domain and not identity_domain.endswith("." + domain)):
        raise Settled(DkimCode.NEUTRAL, "i= is not within d=")
    names = tuple([name.strip(" \t\r\n") for name in tags[b"h"].lower().decode("latin-1").split(":")])
    if "from" not in names:
        raise Settled(DkimCode.NEUTRAL, "From is not signed")
    if b"q" in tags and b"dns/txt" not in [method.strip().lower() for method in tags[b"q"].split(b":")]:
        raise Settled(DkimCode.NEUTRAL, "unknown way to find the key")
    sent, expires = _number(tags, b"t"), _number(tags, b"x")
    if sent is not None and expires is not None and expires <= sent:
        raise Settled(DkimCode.NEUTRAL, "expires before it was made")
    return Signature(
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
        raise Settled(DkimCode.NEUTRAL, "unknown canonicalisation") from None


@lru_cache(maxsize=4096)
def name_of(value: bytes) -> str | None:
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


def _number(tags: Mapping[bytes, bytes], tag: bytes) -> int | None:
    value = tags.get(tag)
    if value is None:
        return None
    if not value.isdigit() or len(value) > MOST_DIGITS:
        raise Settled(DkimCode.NEUTRAL, f"{tag.decode()}= is not a number")
    return int(value)


def _octets(tags: Mapping[bytes, bytes], tag: bytes) -> bytes:
    try:
        return base64.b64decode(b"".join(tags[tag].split()), validate=True)
    except binascii.Error:
        raise Settled(DkimCode.NEUTRAL, f"{tag.decode()}= is not base64") from None


def without_signature(value: bytes) -> bytes:
    parts = value.split(b";")
    for index, part in enumerate(parts):
        tag, equals, _ = part.partition(b"=")
        if equals and tag.strip() == b"b":
            parts[index] = tag + b"="
            break
    return b";".join(parts)
