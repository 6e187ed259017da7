"""DKIM public keys as DNS has them (RFC 6376 §3.6.1, RFC 8301, RFC 8463)."""

from __future__ import annotations

import base64
import binascii
import enum
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

LEAST_BITS = 1024  # RFC 8301 §3.2
MOST_BITS = 8192  # more costs time and is used by nobody
MOST_EXPONENT_BITS = 64
MOST_DER = MOST_BITS // 8 + 64
ED25519_OCTETS = 32
RSA_ALGORITHM = bytes.fromhex("300d06092a864886f70d0101010500")  # AlgorithmIdentifier rsaEncryption, NULL

PREHASHED = utils.Prehashed(hashes.SHA256())
PADDING = padding.PKCS1v15()


class KeyType(enum.StrEnum):
    """What k= may say."""

    RSA = "rsa"  # RFC 6376
    ED25519 = "ed25519"  # RFC 8463


class UnusableKey(Exception):
    """The record holds no key that could verify anything; the text says why, in our words."""


@dataclass(frozen=True, slots=True)
class DkimKey:
    """A public key and what its owner allows it for."""

    kind: KeyType
    bits: int
    public: RSAPublicKey | Ed25519PublicKey
    testing: bool  # t=y: the owner is only trying
    strict: bool  # t=s: i= must be in d= itself
    hashes: frozenset[bytes] | None  # h=; None: every one
    services: frozenset[bytes]  # s=

    @property
    def for_mail(self) -> bool:
        return not self.services.isdisjoint((b"*", b"email"))

    @property
    def acceptable(self) -> bool:
        """Long enough to mean something, short enough to be worked with."""
        return self.kind is KeyType.ED25519 or LEAST_BITS <= self.bits <= MOST_BITS

    def verifies(self, signature: bytes, digest: bytes) -> bool:
        """Whether this is the owner's signature over that SHA-256."""
        try:
            if isinstance(self.public, RSAPublicKey):
                self.public.verify(signature, digest, PADDING, PREHASHED)
            else:
                self.public.verify(signature, digest)
        except (InvalidSignature, ValueError):
            return False
        return True


def key_of(tags: Mapping[bytes, bytes]) -> DkimKey:
    """The key in a record's tags; raises `UnusableKey`. Unknown tags are ignored (RFC 6376 §3.6.1)."""
    if tags.get(b"v", b"DKIM1") != b"DKIM1" or (b"v" in tags and next(iter(tags)) != b"v"):
        raise UnusableKey("key of another version")
    if b"p" not in tags:
        raise UnusableKey("key record without a key")
    packed = b"".join(tags[b"p"].split())
    if not packed:
        raise UnusableKey("key was revoked")
    try:
        kind = KeyType(tags.get(b"k", b"rsa").decode("ascii").lower())
    except ValueError:
        raise UnusableKey("unknown key type") from None
    if len(packed) > MOST_DER * 4 // 3 + 4:
        raise UnusableKey("key is too large")
    try:
        raw = base64.b64decode(packed, validate=True)
    except binascii.Error:
        raise UnusableKey("key is not base64") from None
    public = _rsa(raw) if kind is KeyType.RSA else _ed25519(raw)
    flags = _list(tags.get(b"t", b""))
    return DkimKey(
        kind=kind,
        bits=public.key_size if isinstance(public, RSAPublicKey) else ED25519_OCTETS * 8,
        public=public,
        testing=b"y" in flags,
        strict=b"s" in flags,
        hashes=_list(tags[b"h"]) if b"h" in tags else None,
        services=_list(tags.get(b"s", b"*")),
    )


def _list(value: bytes) -> frozenset[bytes]:
    return frozenset(word.strip().lower() for word in value.split(b":"))


def _ed25519(raw: bytes) -> Ed25519PublicKey:
    """RFC 8463 §4: the bare key, without ASN.1."""
    if len(raw) != ED25519_OCTETS:
        raise UnusableKey("not an Ed25519 key")
    try:
        return Ed25519PublicKey.from_public_bytes(raw)
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableKey("not an Ed25519 key") from None


def _rsa(raw: bytes) -> RSAPublicKey:
    """A SubjectPublicKeyInfo, as everybody publishes; or the bare RSAPublicKey that RFC 6376 §3.6.1 speaks of."""
    for der in (raw, _sequence(RSA_ALGORITHM + _tlv(0x03, b"\0" + raw))):
        try:
            key = serialization.load_der_public_key(der)
        except (ValueError, UnsupportedAlgorithm):
            continue
        if isinstance(key, RSAPublicKey) and key.public_numbers().e.bit_length() <= MOST_EXPONENT_BITS:
            return key
    raise UnusableKey("not an RSA key")


def _sequence(content: bytes) -> bytes:
    return _tlv(0x30, content)


def _tlv(tag: int, content: bytes) -> bytes:
    """One DER element."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content
