"""TLS towards clients: certificate and ciphers, renewed without a restart, and the handshake (RFC 3207, RFC 8314)."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, NoReturn

from cryptography import x509

from gatekeeper import copies, log, metrics
from gatekeeper.model import Duration, Tls, setting

LOOK_EVERY: Final = 5.0
"""Seconds between two looks at the files, at the soonest; nobody looks while no client starts TLS."""
SHUTDOWN_SECONDS: Final = 2.0
"""How long a client may take to say goodbye in TLS before the connection is closed all the same."""
CIPHERS: Final = MappingProxyType(
    {
        "modern": "ECDHE+AESGCM:ECDHE+CHACHA20",
        "compatible": "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:ECDHE+AES:DHE+AES:RSA+AESGCM:RSA+AES:!aNULL:!eNULL:!PSK",
    }
)
"""What the words mean, for TLS 1.2; the suites of TLS 1.3 are all good."""

_VERSIONS: Final = MappingProxyType({"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3})


@dataclass(frozen=True, slots=True)
class Settings:
    """`[servers.smtp.tls]`."""

    certificate: str = setting(
        "/etc/gatekeeper/cert.pem", "The certificate, and after it its chain, in PEM; a new one is taken up by itself."
    )
    key: str = setting("/etc/gatekeeper/key.pem", "Its private key, in PEM, without a passphrase.")
    required: bool = setting(
        False, "Whether mail is taken over TLS only; not for a public mail server (RFC 3207 section 4)."
    )
    minimum_version: Literal["TLSv1.2", "TLSv1.3"] = setting("TLSv1.2", "The oldest version that is spoken.")
    ciphers: str = setting(
        "modern",
        'Ciphers of TLS 1.2: "modern", "compatible" for old senders, or a list as OpenSSL has it; '
        "a sender that finds none may send in the clear instead.",
    )
    handshake_timeout: Duration = setting(30.0, "How long a handshake may take.")

    def __post_init__(self) -> None:
        if self.handshake_timeout <= 0:
            raise ValueError('handshake_timeout must be longer than nothing, as in "30s"')
        if not self.certificate or not self.key:
            raise ValueError("certificate and key are files; name both, or leave the section out")
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).set_ciphers(CIPHERS.get(self.ciphers, self.ciphers))
        except ssl.SSLError:
            raise ValueError(f'ciphers {self.ciphers!r} names none that OpenSSL has; write "modern"') from None


class TlsUnusable(Exception):
    """Certificate or key cannot be used. The text is one sentence for the operator, with the mend."""


class HandshakeFailed(Exception):
    """No TLS came about; the connection is of no use any more."""


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What tells one version of a file from the next."""

    inode: int
    changed: int
    size: int

    @classmethod
    def of(cls, path: str) -> _Stamp:
        found = os.stat(path)  # noqa: PTH116  # through symbolic links, which is how renewals are put in place
        return cls(found.st_ino, found.st_mtime_ns, found.st_size)


class Certificate:
    """What we show to clients. `context` is for each handshake anew: it notices when the files have changed.

    Raises TlsUnusable when there is none to begin with; later a bad one is logged and the old one stays. A process that
    takes a dead one's place begins with what its generation began with, where the files are bad by now.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.monotonic,
        today: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self._clock = clock
        self._today = today
        self._looked = clock()
        self._stamps = self._look()
        self._context = self._load_first()

    def context(self) -> ssl.SSLContext:
        now = self._clock()
        if now - self._looked >= LOOK_EVERY:
            self._looked = now
            stamps = self._look()
            if stamps != self._stamps:
                self._stamps = stamps  # a bad one is not tried again until it has changed again
                self._renew()
        return self._context

    def _renew(self) -> None:
        try:
            self._context = self._load(self.settings.certificate, self.settings.key)
        except TlsUnusable as unusable:
            log.event("certificate_refused", level=logging.WARNING, error=str(unusable))

    def _look(self) -> tuple[_Stamp | None, _Stamp | None]:
        """Two stats, of a local disk's directory entries: not worth a thread."""
        return _stamp(self.settings.certificate), _stamp(self.settings.key)

    def _load_first(self) -> ssl.SSLContext:
        files = self.settings.certificate, self.settings.key
        try:
            return self._load(*files)
        except TlsUnusable as unusable:
            kept = copies.readable(files[0]), copies.readable(files[1])
            try:
                found = None if kept == files else self._load(*kept)
            except TlsUnusable:
                found = None
            if found is None:
                raise
            log.event("certificate_refused", level=logging.WARNING, error=str(unusable))
            return found

    def _load(self, certificate_file: str, key_file: str) -> ssl.SSLContext:
        settings = self.settings
        certificate = _first_of(_read(certificate_file, "certificate"), certificate_file)
        _read(key_file, "key")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = _VERSIONS[settings.minimum_version]
        context.set_ciphers(CIPHERS.get(settings.ciphers, settings.ciphers))
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
        try:
            context.load_cert_chain(certificate_file, key_file, password=_no_passphrase)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                why = f"the key {key_file} does not belong to the certificate {certificate_file}"
            else:
                why = f"OpenSSL cannot use {certificate_file} with {key_file} ({error.reason or error})"
            raise TlsUnusable(f"{why}; give both as PEM files of one pair") from None
        expires = certificate.not_valid_after_utc
        metrics.TLS_CERTIFICATE_EXPIRES.set(expires.timestamp())
        expired = expires <= datetime.fromtimestamp(self._today(), UTC)
        log.event(
            "certificate_expired" if expired else "certificate_loaded",
            level=logging.WARNING if expired else logging.INFO,
            file=settings.certificate,
            expires=expires.isoformat(),
        )
        return context


def _stamp(path: str) -> _Stamp | None:
    try:
        return _Stamp.of(path)
    except OSError:
        return None


def _read(path: str, what: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise TlsUnusable(
            f"the {what} {path} is not there; put it there, or name another in [servers.smtp.tls]"
        ) from None
    except OSError as error:
        raise TlsUnusable(
            f"the {what} {path} cannot be read: {error.strerror}; the user that gatekeeper runs as must be able to"
        ) from None


def _first_of(pem: bytes, path: str) -> x509.Certificate:
    """Ours; the chain comes after it."""
    try:
        return x509.load_pem_x509_certificates(pem)[0]
    except ValueError:
        raise TlsUnusable(f"{path} holds no certificate in PEM (-----BEGIN CERTIFICATE-----)") from None


def _no_passphrase() -> NoReturn:
    """Asked for when the key is encrypted; OpenSSL would otherwise ask the terminal."""
    raise TlsUnusable("the key has a passphrase, which nobody could type in: openssl pkey -in KEY -out KEY.plain")


def agreed(transport: asyncio.BaseTransport) -> Tls | None:
    """What the handshake on that connection has come to; None where there was none."""
    tls = transport.get_extra_info("ssl_object")
    cipher = None if tls is None else tls.cipher()
    if cipher is None:
        return None
    name, _, bits = cipher
    return Tls(tls.version() or "unknown", name, bits)


async def start_tls(
    transport: asyncio.Transport, protocol: asyncio.Protocol, certificate: Certificate
) -> asyncio.Transport:
    """The handshake on a connection that was in the clear so far; what `protocol` uses from now on.

    Whatever has been read from the connection must be out of `protocol`'s hands before (RFC 3207 §4.2). Raises
    HandshakeFailed, and the connection is closed then.
    """
    loop = asyncio.get_running_loop()
    limit = certificate.settings.handshake_timeout
    try:
        async with asyncio.timeout(limit + 1):  # in case that the connection was lost on the way into it
            made = await loop.start_tls(
                transport,
                protocol,
                certificate.context(),
                server_side=True,
                ssl_handshake_timeout=limit,
                ssl_shutdown_timeout=SHUTDOWN_SECONDS,
            )
    except OSError as error:
        transport.abort()
        count_failure(error)
        raise HandshakeFailed(str(error)) from None
    if made is None:  # uvloop, when the connection was closing already
        metrics.TLS_HANDSHAKES["left"].inc()
        raise HandshakeFailed("the connection was closed")
    metrics.TLS_HANDSHAKES["done"].inc()
    return made


def count_failure(error: OSError) -> None:
    """Why a handshake came to nothing: what the client said made no sense to us, it was late, or it left."""
    if isinstance(error, ssl.SSLError):
        result = "failed"
    elif isinstance(error, TimeoutError | ConnectionAbortedError):  # the latter is the loops' own word for late
        result = "late"
    else:
        result = "left"
    metrics.TLS_HANDSHAKES[result].inc()
    log.event("tls_failed", level=logging.DEBUG, result=result, why=error)
