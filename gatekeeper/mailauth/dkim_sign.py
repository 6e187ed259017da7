"""Signatures and seals, made (RFC 6376 §5, RFC 8463, RFC 8617 §5.1): header, body hash and key to field values. Pure.

The key and the time are given in. Header and body are signed in their relaxed form, which survives what mail servers
do to blanks and folds.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gatekeeper.mailauth.arc_chain import MOST_SETS, Chain
from gatekeeper.mailauth.dkim import covered_digest
from gatekeeper.mailauth.dkim_canonical import Canon, canonical_field
from gatekeeper.mailauth.dkim_key import PADDING, PREHASHED
from gatekeeper.wire.headers import Header

OVERSIGNED = ("from", "to", "cc", "subject", "reply-to")
"""Named once more than they are there, so that nobody adds one (RFC 6376 §8.15)."""
SIGNED = (
    "sender",
    "date",
    "message-id",
    "in-reply-to",
    "references",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "list-id",
    "list-unsubscribe",
    "list-unsubscribe-post",  # RFC 8058 §4
)
"""Named once more too, but only where they are there: mailing lists add some of them."""
MOST_OF_A_NAME = 20
LINE = 72

RESULTS_NAME, MESSAGE_SIGNATURE_NAME, SEAL_NAME = (
    "ARC-Authentication-Results",
    "ARC-Message-Signature",
    "ARC-Seal",
)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key and where its public part is published: `selector`._domainkey.`domain`."""

    domain: str
    selector: str
    private: RSAPrivateKey | Ed25519PrivateKey

    @property
    def algorithm(self) -> str:
        return "rsa-sha256" if isinstance(self.private, RSAPrivateKey) else "ed25519-sha256"

    @property
    def record(self) -> str:
        """The TXT record that publishes the key (RFC 6376 §3.6.1, RFC 8463 §4)."""
        public = self.private.public_key()
        if isinstance(public, RSAPublicKey):
            packed = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            return f"v=DKIM1; k=rsa; p={base64.b64encode(packed).decode()}"
        raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return f"v=DKIM1; k=ed25519; p={base64.b64encode(raw).decode()}"

    def sign(self, digest: bytes) -> str:
        """The value of b= for that SHA-256."""
        if isinstance(self.private, RSAPrivateKey):
            signature = self.private.sign(digest, PADDING, PREHASHED)
        else:
            signature = self.private.sign(digest)
        return base64.b64encode(signature).decode()


@dataclass(frozen=True, slots=True)
class ArcFields:
    """A new set: the values of its three fields."""

    results: str
    message_signature: str
    seal: str


def same_key(key: SigningKey, public: RSAPublicKey | Ed25519PublicKey) -> bool:
    """Whether that is the public part of ours."""
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return key.private.public_key().public_bytes(*form) == public.public_bytes(*form)


def dkim_signature(header: Header, body_hash: bytes, key: SigningKey, *, now: float) -> str:
    """The value of a DKIM-Signature field. `body_hash` is that of the relaxed body, all of it."""
    names = _names(header, OVERSIGNED, SIGNED)
    tags = ["v=1", f"a={key.algorithm}", "c=relaxed/relaxed", f"d={key.domain}", f"s={key.selector}", f"t={int(now)}"]
    return _signed("DKIM-Signature", tags, key, header=header, names=names, body_hash=body_hash)


def arc_set(
    header: Header, chain: Chain, body_hash: bytes, key: SigningKey, *, results: str, passed: bool, now: float
) -> ArcFields:
    """The set that goes on top of `chain`, which `passed` or was not there (RFC 8617 §5.1).

    `header` is as it goes out, the new set left out; the chain's fields stand in it as they came. `results` is the
    value of our Authentication-Results field. Raises ValueError where no set may be added.
    """
    if bool(chain.sets) != passed or chain.broken or len(chain.sets) >= MOST_SETS:
        raise ValueError("no set may be added to this chain")
    instance = len(chain.sets) + 1
    given = f"i={instance}; {results}"
    where = [f"d={key.domain}", f"s={key.selector}", f"t={int(now)}"]
    names = _names(header, ("from",), (*OVERSIGNED[1:], *SIGNED, "dkim-signature"), oversign_present=False)
    tags = [f"i={instance}", f"a={key.algorithm}", "c=relaxed/relaxed", *where]
    signature = _signed(MESSAGE_SIGNATURE_NAME, tags, key, header=header, names=names, body_hash=body_hash)
    seal = _tags([f"i={instance}", f"a={key.algorithm}", *where, f"cv={'pass' if passed else 'none'}", "b="])
    covered = [
        canonical_field(field.raw_name, field.value, Canon.RELAXED) for one in chain.sets for field in one.fields
    ]
    for name, value in ((RESULTS_NAME, given), (MESSAGE_SIGNATURE_NAME, signature), (SEAL_NAME, seal)):
        covered.append(canonical_field(name.encode(), b" " + value.encode(), Canon.RELAXED))
    made = key.sign(hashlib.sha256(b"\r\n".join(covered)).digest())
    return ArcFields(given, signature, seal + _folded(made))


def _signed(
    field: str, tags: Sequence[str], key: SigningKey, *, header: Header, names: Sequence[str], body_hash: bytes
) -> str:
    bh = base64.b64encode(body_hash).decode()
    value = _tags([*tags, _listed(names), f"bh={bh}", "b="])
    own = (field.encode(), b" " + value.encode())
    digest = covered_digest(header, names, Canon.RELAXED, own=own, canonical={})
    return value + _folded(key.sign(digest))


def _names(
    header: Header, always: Sequence[str], present: Sequence[str], *, oversign_present: bool = True
) -> list[str]:
    """What h= lists: each name as often as it is there, and once more where nobody is to add one."""
    names: list[str] = []
    for name in (*always, *present):
        there = min(len(header.all(name)), MOST_OF_A_NAME)
        once_more = name in always or (there > 0 and oversign_present)
        names += [name] * (there + once_more)
    return names


def _tags(tags: Sequence[str]) -> str:
    """Tags on lines that are not too long; a tag that has several lines itself begins a new one."""
    lines, column = [""], len(MESSAGE_SIGNATURE_NAME) + 2
    for tag in tags:
        if lines[-1] and (column + len(tag) > LINE or "\r\n" in tag):
            lines.append("")
            column = 0
        lines[-1] += f"{' ' if lines[-1] else ''}{tag};"
        column += len(tag.rpartition("\n")[2]) + 2
    return "\r\n ".join(lines).removesuffix(";")


def _listed(names: Sequence[str]) -> str:
    lines = ["h="]
    for name in names:
        if len(lines[-1]) + len(name) > LINE:
            lines.append("")
        lines[-1] += f"{name}:"
    return "\r\n ".join(lines).removesuffix(":")


def _folded(text: str) -> str:
    return "".join(f"\r\n {text[at : at + LINE]}" for at in range(0, len(text), LINE))
