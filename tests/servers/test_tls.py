"""The certificate, the context made of it, and the handshake."""

from __future__ import annotations

import asyncio
import logging
import ssl
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives import serialization

from gatekeeper import copies, metrics
from gatekeeper.servers.tls import (
    CIPHERS,
    LOOK_EVERY,
    Certificate,
    HandshakeFailed,
    Settings,
    TlsUnusable,
    agreed,
    start_tls,
)
from tests.support.certificates import NAME, Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def encrypted(pem: bytes) -> bytes:
    key = serialization.load_pem_private_key(pem, None)
    hidden = serialization.BestAvailableEncryption(b"x")
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name == "gatekeeper"]


# --- settings --------------------------------------------------------------------------------------------------------


def test_the_defaults_are_good_and_every_setting_is_explained():
    assert Settings().minimum_version == "TLSv1.2"
    assert all(field.metadata["about"].endswith(".") for field in fields(Settings))


@pytest.mark.parametrize("ciphers", [*CIPHERS, "ECDHE-RSA-AES256-GCM-SHA384:ECDHE+CHACHA20"])
def test_ciphers_are_a_word_or_a_list(ciphers):
    Settings(ciphers=ciphers)


@pytest.mark.parametrize(
    ("wrong", "mend"),
    [
        ({"ciphers": "moderm"}, 'write "modern"'),
        ({"handshake_timeout": 0.0}, "longer than nothing"),
        ({"certificate": ""}, "name both"),
        ({"key": ""}, "name both"),
    ],
)
def test_a_bad_setting_is_refused_with_the_mend(wrong, mend):
    with pytest.raises(ValueError, match=mend):
        Settings(**wrong)


# --- the certificate -------------------------------------------------------------------------------------------------


def test_what_is_weak_is_not_spoken(authority):
    context = Certificate(Settings(**authority.settings)).context()
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION
    names = {cipher["name"] for cipher in context.get_ciphers()}
    assert all(name.startswith(("ECDHE-", "TLS_")) for name in names), names
    old = Certificate(Settings(**authority.settings, minimum_version="TLSv1.3", ciphers="compatible")).context()
    assert old.minimum_version is ssl.TLSVersion.TLSv1_3


@pytest.mark.parametrize(
    ("spoil", "mend"),
    [
        (lambda a: a.certificate.unlink(), r"the certificate .*cert\.pem is not there; put it there"),
        (lambda a: a.key.unlink(), r"the key .*key\.pem is not there; put it there"),
        (lambda a: (a.key.unlink(), a.key.mkdir()), "cannot be read: Is a directory; the user"),
        (lambda a: a.certificate.write_text("nonsense"), "holds no certificate in PEM"),
        (lambda a: a.certificate.write_text(""), "holds no certificate in PEM"),
        (lambda a: a.key.write_text("nonsense"), "OpenSSL cannot use .*give both as PEM files of one pair"),
        (lambda a: a.key.write_text(Authority(a.directory / "..").key.read_text()), "does not belong to the certif"),
        (
            lambda a: a.key.write_bytes(encrypted(a.key.read_bytes())),
            "the key has a passphrase",
        ),
    ],
)
def test_files_that_cannot_be_used_are_named_with_the_mend(authority, spoil, mend):
    spoil(authority)
    with pytest.raises(TlsUnusable, match=mend):
        Certificate(Settings(**authority.settings))


def test_a_process_that_starts_later_begins_with_the_pair_of_its_generation(authority, caplog, tmp_path):
    snapshot, clock = tmp_path / "configuration1.toml", Clock()
    settings = Settings(**authority.settings)
    with copies.beside(snapshot, making=True):
        kept = [Path(copies.readable(file)) for file in authority.settings.values()]
    assert [file.stat().st_mode & 0o777 for file in kept] == [0o600, 0o600]
    authority.key.write_text("half of an edit")
    with copies.beside(snapshot), caplog.at_level(logging.INFO, "gatekeeper"):
        certificate = Certificate(settings, clock=clock)
        first = certificate.context()
        authority.renew()
        clock.now += LOOK_EVERY
        assert certificate.context() is not first
    assert events(caplog) == ["certificate_loaded", "certificate_refused", "certificate_loaded"]
    kept[0].write_text("nonsense")
    authority.key.unlink()
    with copies.beside(snapshot), pytest.raises(TlsUnusable, match=r"key\.pem is not there"):
        Certificate(settings)


def test_an_expired_certificate_is_used_and_warned_of(authority, caplog):
    authority.expire()
    with caplog.at_level(logging.INFO, "gatekeeper"):
        Certificate(Settings(**authority.settings))
    assert events(caplog) == ["certificate_expired"]
    assert metrics.REGISTRY.get_sample_value("gatekeeper_tls_certificate_expires_timestamp_seconds") == 1580515200


def test_a_renewed_certificate_is_taken_up_when_somebody_looks(authority, caplog):
    clock = Clock()
    with caplog.at_level(logging.INFO, "gatekeeper"):
        certificate = Certificate(Settings(**authority.settings), clock=clock)
        first = certificate.context()
        authority.renew()
        assert certificate.context() is first, "not looked at again so soon"
        clock.now += LOOK_EVERY
        second = certificate.context()
        assert second is not first
        clock.now += LOOK_EVERY
        assert certificate.context() is second
    assert events(caplog) == ["certificate_loaded", "certificate_loaded"]


def test_a_bad_renewal_leaves_the_old_one_in_use_until_it_is_mended(authority, caplog):
    clock = Clock()
    certificate = Certificate(Settings(**authority.settings), clock=clock)
    first = certificate.context()
    good = authority.certificate.read_bytes()
    authority.certificate.unlink()
    with caplog.at_level(logging.INFO, "gatekeeper"):
        for _ in range(3):
            clock.now += LOOK_EVERY
            assert certificate.context() is first
        assert events(caplog) == ["certificate_refused"], "once, and not at each handshake"
        authority.certificate.write_bytes(good)
        clock.now += LOOK_EVERY
        assert certificate.context() is not first
    assert events(caplog) == ["certificate_refused", "certificate_loaded"]


def test_a_renewal_that_is_half_done_waits_for_its_other_half(authority):
    clock = Clock()
    certificate = Certificate(Settings(**authority.settings), clock=clock)
    first = certificate.context()
    key = authority.key.read_bytes()
    authority.renew()
    new_key = authority.key.read_bytes()
    authority.key.write_bytes(key)
    clock.now += LOOK_EVERY
    assert certificate.context() is first
    authority.key.write_bytes(new_key + b"\n")
    clock.now += LOOK_EVERY
    assert certificate.context() is not first


# --- the handshake ---------------------------------------------------------------------------------------------------


class Upgrading(asyncio.Protocol):
    """Starts TLS as soon as somebody is there."""

    def __init__(self, certificate: Certificate) -> None:
        self.certificate = certificate
        self.outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.task = asyncio.get_running_loop().create_task(self._upgrade(cast("asyncio.Transport", transport)))

    def data_received(self, data: bytes) -> None:
        self.got += data

    async def _upgrade(self, transport: asyncio.Transport) -> None:
        transport.pause_reading()
        transport.write(b"220 go\r\n")
        try:
            made = await start_tls(transport, self, self.certificate)
        except HandshakeFailed as failed:
            self.outcome.set_result(failed)
            return
        self.outcome.set_result(agreed(made))
        made.write(b"hello")
        made.close()


async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert await reader.readline() == b"220 go\r\n"
    return reader, writer


async def serve(authority: Authority, **settings: Any) -> tuple[asyncio.Server, Upgrading, int]:
    certificate = Certificate(Settings(**authority.settings, **settings))
    protocol = Upgrading(certificate)
    server = await asyncio.get_running_loop().create_server(lambda: protocol, "127.0.0.1", 0)
    return server, protocol, server.sockets[0].getsockname()[1]


def handshakes(result: str) -> float:
    return metrics.REGISTRY.get_sample_value("gatekeeper_tls_handshakes_total", {"result": result}) or 0.0


async def test_what_was_agreed_on_is_known(authority):
    before = handshakes("done")
    server, protocol, port = await serve(authority)
    reader, writer = await connect(port)
    await writer.start_tls(authority.client(), server_hostname=NAME)
    tls = await protocol.outcome
    assert (tls.version, tls.bits >= 128, tls.cipher.startswith("TLS_")) == ("TLSv1.3", True, True)
    assert await reader.read() == b"hello"
    assert handshakes("done") == before + 1
    writer.close()
    server.close()


@pytest.mark.parametrize(
    ("octets", "result"),
    [(b"EHLO client.example.net\r\n" * 20, "failed"), (b"\x16\x03\x01\x02\x00\x01\xff\xff\xff", "late"), (b"", "left")],
)
async def test_what_is_no_handshake_ends_the_connection_and_is_counted(authority, octets, result):
    before = handshakes(result)
    server, protocol, port = await serve(authority, handshake_timeout=0.05 if result == "late" else 5.0)
    reader, writer = await connect(port)
    writer.write(octets)
    if result == "left":
        writer.close()
    assert isinstance(await protocol.outcome, HandshakeFailed)
    if result != "left":
        assert len(await reader.read()) < 100
        writer.close()
    assert handshakes(result) == before + 1
    server.close()


async def test_a_version_that_is_too_old_comes_to_nothing(authority):
    server, protocol, port = await serve(authority, minimum_version="TLSv1.3")
    context = authority.client()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    _, writer = await connect(port)
    with pytest.raises(OSError):  # neither loop lets the alert out
        await writer.start_tls(context, server_hostname=NAME)
    assert isinstance(await protocol.outcome, HandshakeFailed)
    server.close()


async def test_a_connection_without_tls_has_agreed_on_nothing():
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    _, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
    assert agreed(writer.transport) is None
    writer.close()
    server.close()
