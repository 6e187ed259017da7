"""The letters that are sent: made and signed before anything is timed.

Client number n has the address 198.18.0.0 + n (RFC 2544), a name that leads back to it, and a domain of its own that
publishes SPF, a DKIM key and DMARC; `zone` answers for all of them. A number that was never used is a client whose
answers nobody has in a cache.
"""

from __future__ import annotations

import base64
import hashlib
import random
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import formatdate
from ipaddress import IPv4Address

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

ZONE = "bench.example"
RECIPIENT = "user@mx.example"
SELECTOR = "s1"
LISTS = tuple(f"bl{n}.{ZONE}" for n in range(1, 7))
_FIRST = int(IPv4Address("198.18.0.0"))
CLIENTS = 1 << 17  # 198.18.0.0/15
_SIGNED = ("From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type")
_TEXT = (
    "offer meeting invoice river window garden please thank you for the report about our next visit to the station "
    "and let me know whether the second page is right before we send it on to everybody in the house"
)


@dataclass(frozen=True, slots=True)
class Letter:
    """One message and who it seems to come from. `wire` is dot-stuffed and ends with its dot."""

    address: str
    helo: str
    sender: str
    wire: bytes


Talk = Callable[[Letter], Awaitable[str]]
"""One message on its way: what went wrong, or ""."""


class Writer:
    """Writes letters of one size, all with the same text: only what a signature covers in the header differs."""

    def __init__(self, key: rsa.RSAPrivateKey, octets: int) -> None:
        self._key = key
        self._body = _body(octets - 900)  # the header with its signature
        self._body_hash = base64.b64encode(hashlib.sha256(self._body).digest()).decode()

    def letter(self, number: int) -> Letter:
        """From client `number`, with one RSA signature by its domain (RFC 6376, relaxed/simple)."""
        address = IPv4Address(_FIRST + number % CLIENTS)
        helo = f"c-{str(address).replace('.', '-')}.{ZONE}"
        domain = f"d{number}.{ZONE}"
        fields = {
            "From": f"Sender <sender@{domain}>",
            "To": f"<{RECIPIENT}>",
            "Subject": f"Message number {number}",
            "Date": formatdate(),
            "Message-ID": f"<{number}.{id(self)}@{domain}>",
            "MIME-Version": "1.0",
            "Content-Type": 'multipart/alternative; boundary="b0und"',
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        text = self._signature(domain, fields) + head.encode() + b"\r\n" + self._body
        return Letter(str(address), helo, f"sender@{domain}", re.sub(rb"(?m)^\.", b"..", text) + b".\r\n")

    def _signature(self, domain: str, fields: dict[str, str]) -> bytes:
        unsigned = (
            f"v=1; a=rsa-sha256; c=relaxed/simple; d={domain}; s={SELECTOR}; "
            f"h={':'.join(_SIGNED)}; bh={self._body_hash}; b="
        )
        covered = "".join(f"{name.lower()}:{fields[name]}\r\n" for name in _SIGNED) + f"dkim-signature:{unsigned}"
        made = self._key.sign(covered.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"DKIM-Signature: {unsigned}{base64.b64encode(made).decode()}\r\n".encode()


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def key_record(key: rsa.RSAPrivateKey) -> bytes:
    """Its TXT record (RFC 6376 §3.6.1)."""
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return b"v=DKIM1; k=rsa; p=" + base64.b64encode(key.public_key().public_bytes(*form))


def _body(octets: int) -> bytes:
    """Text and HTML side by side, with links, of about that length."""
    chance = random.Random(7)  # noqa: S311  # the same text in every run
    text = _lines(chance, octets // 3, "{}")
    html = _lines(chance, octets - octets // 3 - 200, '<p>{} <a href="https://www.bench.example/p">more</a></p>')
    return (
        "--b0und\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
        f"{text}--b0und\r\nContent-Type: text/html; charset=utf-8\r\n\r\n{html}--b0und--\r\n"
    ).encode()


def _lines(chance: random.Random, octets: int, form: str) -> str:
    lines: list[str] = []
    while octets > 0:
        lines.append(form.format(" ".join(chance.choices(_TEXT.split(), k=9))) + "\r\n")
        octets -= len(lines[-1])
    return "".join(lines)
