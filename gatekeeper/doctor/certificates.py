"""A certificate and its key as files: can they be read, are they in force, do they belong together (RFC 5280 §4.1)?"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from gatekeeper.doctor.facts import Certificate


def look_at(certificate: str, key: str, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Certificate:
    """The first certificate of the file is the server's own; those of its chain are its issuer's business."""
    faults: list[str] = []
    leaf: x509.Certificate | None = None
    days: float | None = None
    public: bytes | None = None
    pem = _read(certificate, faults)
    if pem is not None:
        try:
            leaf = x509.load_pem_x509_certificates(pem)[0]
            public = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        except (ValueError, UnsupportedAlgorithm):
            faults.append(f"{certificate} is no certificate in PEM form")
    if leaf is not None:
        moment = now()
        days = (leaf.not_valid_after_utc - moment).total_seconds() / 86400
        if days < 0:
            faults.append(f"{certificate} expired on {leaf.not_valid_after_utc:%Y-%m-%d}")
        if leaf.not_valid_before_utc > moment:
            faults.append(f"{certificate} is in force from {leaf.not_valid_before_utc:%Y-%m-%d} on only")
    secret = _read(key or certificate, faults)
    if secret is not None:
        try:
            mine = load_pem_private_key(secret, None).public_key()
            if public is not None and mine.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != public:
                faults.append(f"{key or certificate} is not the key of {certificate}")
        except (ValueError, TypeError, UnsupportedAlgorithm):
            faults.append(f"{key or certificate} is no key in PEM form without a pass phrase")
    return Certificate(certificate, key, tuple(faults), days)


def _read(path: str, faults: list[str]) -> bytes | None:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        faults.append(f"{path} cannot be read: {error.strerror}")
        return None
