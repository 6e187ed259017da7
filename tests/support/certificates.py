"""Certificates for tests, made anew each time, and both ends of a TLS connection that believe in them."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trustme

from gatekeeper.servers import tls

NAME = "mx.example.org"


@dataclass
class Authority:
    """A CA, and the files of a certificate of its for NAME in `directory`."""

    directory: Path
    name: str = NAME

    def __post_init__(self) -> None:
        self.ca = trustme.CA(key_type=trustme.KeyType.ECDSA)
        self.certificate = self.directory / "cert.pem"
        self.key = self.directory / "key.pem"
        self.ca_file = self.directory / "ca.pem"
        self.ca.cert_pem.write_to_path(str(self.ca_file))
        self.renew()

    def renew(self, *names: str, **options: Any) -> None:
        """Another certificate in the place of the one there, as a renewal does it: written aside and moved."""
        leaf = self.ca.issue_cert(*(names or (self.name,)), key_type=trustme.KeyType.ECDSA, **options)
        for path, text in (
            (self.certificate, b"".join(blob.bytes() for blob in leaf.cert_chain_pems)),
            (self.key, leaf.private_key_pem.bytes()),
        ):
            aside = path.with_suffix(".new")
            aside.write_bytes(text)
            aside.replace(path)

    def expire(self) -> None:
        self.renew(not_before=datetime(2020, 1, 1, tzinfo=UTC), not_after=datetime(2020, 2, 1, tzinfo=UTC))

    @property
    def settings(self) -> dict[str, Any]:
        return {"certificate": str(self.certificate), "key": str(self.key)}

    def tls(self, **more: Any) -> tls.Settings:
        """[servers.smtp.tls] with them."""
        return tls.Settings(**self.settings, **more)

    def client(self, *, verify: bool = True) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.ca_file))
        if not verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def server(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate, self.key)
        return context
