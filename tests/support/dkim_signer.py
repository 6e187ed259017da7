"""Signs messages as a test wants them signed, right or wrong; independent of the verifier's reading of fields."""

from __future__ import annotations

import base64
import hashlib
import re

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

Key = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def relaxed_header(raw: bytes) -> bytes:
    name, _, value = raw.partition(b":")
    return name.strip().lower() + b":" + re.sub(rb"[ \t]+", b" ", value.replace(b"\r\n", b"")).strip()


def relaxed_body(body: bytes) -> bytes:
    lines = [re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in body.split(b"\r\n")]
    text = b"\r\n".join(lines).rstrip(b"\r\n")
    return text + b"\r\n" if text else b""


def simple_body(body: bytes) -> bytes:
    while body.endswith(b"\r\n"):
        body = body[:-2]
    return body + b"\r\n"


def record(key: Key, tags: str = "v=DKIM1") -> bytes:
    """The key's TXT record."""
    if isinstance(key, rsa.RSAPrivateKey):
        form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return f"{tags}; k=rsa; p={base64.b64encode(key.public_key().public_bytes(*form)).decode()}".encode()
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return f"{tags}; k=ed25519; p={base64.b64encode(raw).decode()}".encode()


def signed(raw: bytes, key: Key, *, canon: str = "relaxed/relaxed", limit: int | None = None, **tags: str) -> bytes:
    """The message with a DKIM-Signature above it; `tags` add to or replace the usual ones ("" leaves one out)."""
    head, _, body = raw.partition(b"\r\n\r\n")
    fields = re.split(rb"\r\n(?![ \t])", head)
    header_canon, _, body_canon = canon.partition("/")
    canonical = relaxed_body(body) if body_canon == "relaxed" else simple_body(body)
    digest = hashlib.sha256(canonical if limit is None else canonical[:limit]).digest()
    kind = "rsa" if isinstance(key, rsa.RSAPrivateKey) else "ed25519"
    usual = {
        "v": "1", "a": f"{kind}-sha256", "c": canon, "d": "example.com", "s": "sel", "h": "from:to:subject:date",
        "bh": base64.b64encode(digest).decode(),
    }  # fmt: skip
    usual |= {"l": str(limit)} if limit is not None else {}
    wanted = {tag: value for tag, value in (usual | tags).items() if value}
    field = ("DKIM-Signature: " + "; ".join(f"{tag}={value}" for tag, value in wanted.items()) + "; b=").encode()
    left = list(fields)
    covered = []
    for name in wanted.get("h", "").split(":"):
        mine = [one for one in left if one.partition(b":")[0].strip().lower() == name.strip().lower().encode()]
        if mine:
            left.reverse()
            left.remove(mine[-1])
            left.reverse()
            covered.append(mine[-1])
    relax = relaxed_header if header_canon == "relaxed" else bytes
    text = b"".join(relax(one) + b"\r\n" for one in covered) + relax(field)
    made = hashlib.sha256(text).digest()
    if isinstance(key, rsa.RSAPrivateKey):
        signature = key.sign(text, padding.PKCS1v15(), hashes.SHA256())
    else:
        signature = key.sign(made)
    return field + base64.b64encode(signature) + b"\r\n" + raw
