"""Chains as a test wants them; independent of our own sealer, and held to dkimpy's verifier by a test."""

from __future__ import annotations

import base64
import hashlib
import re

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.support.dkim_signer import relaxed_body, relaxed_header

NAMES = ("arc-authentication-results", "arc-message-signature", "arc-seal")


def sealed(
    raw: bytes, key: rsa.RSAPrivateKey, *, domain: str, selector: str = "sel", results: str = "none", h: str = ""
) -> bytes:
    """The message with one more set on top, whose maker says `results`; `h` is what its signature covers."""
    head, _, body = raw.partition(b"\r\n\r\n")
    fields = re.split(rb"\r\n(?![ \t])", head)
    sets = [
        [field for field in fields if _name(field) == name and _instance(field) == number]
        for number in range(1, 1 + sum(_name(field) == "arc-seal" for field in fields))
        for name in NAMES
    ]
    number = len(sets) // 3 + 1
    given = f"ARC-Authentication-Results: i={number}; {domain}; {results}".encode()
    bh = base64.b64encode(hashlib.sha256(relaxed_body(body)).digest()).decode()
    covered = h or "from:to:subject:date:dkim-signature"
    signature = (
        f"ARC-Message-Signature: i={number}; a=rsa-sha256; c=relaxed/relaxed; d={domain}; s={selector};\r\n"
        f"\th={covered}; bh={bh}; b="
    ).encode()
    picked = [[one for one in fields if _name(one) == name][-1:] for name in covered.split(":")]
    text = b"".join(relaxed_header(one) + b"\r\n" for few in picked for one in few) + relaxed_header(signature)
    signature += _sign(text, key)
    seal = f"ARC-Seal: i={number}; a=rsa-sha256; cv={'pass' if sets else 'none'}; d={domain}; s={selector}; b=".encode()
    below = [relaxed_header(one) for few in sets for one in few]
    seal += _sign(b"\r\n".join([*below, *map(relaxed_header, (given, signature, seal))]), key)
    return b"\r\n".join((seal, signature, given, raw))


def _name(field: bytes) -> str:
    return field.partition(b":")[0].strip().lower().decode("latin-1")


def _instance(field: bytes) -> int:
    found = re.search(rb"i=(\d+)", field)
    return int(found[1]) if found else 0


def _sign(text: bytes, key: rsa.RSAPrivateKey) -> bytes:
    return base64.b64encode(key.sign(text, padding.PKCS1v15(), hashes.SHA256()))
