from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any, cast

import pytest

from gatekeeper.model import IPAddress
from gatekeeper.servers import listener as module
from gatekeeper.servers.listener import Admission, Listener, peer_of
from gatekeeper.servers.tls import Certificate, Settings, agreed
from tests.support.certificates import NAME, Authority

ONE, TWO = ip_address("192.0.2.1"), ip_address("192.0.2.2")


class Greeter(asyncio.Protocol):
    """Says one word and notes that it was there."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).write(b"hello\r\n")
        self.seen.transports.append(cast("asyncio.Transport", transport))

    def connection_lost(self, error: Exception | None) -> None:
        self.seen.lost += 1


class Seen:
    def __init__(self) -> None:
        self.peers: list[tuple[IPAddress | None, int | None]] = []
        self.transports: list[asyncio.Transport] = []
        self.lost = 0

    def make(self, _: socket.socket, address: IPAddress | None, port: int | None) -> Greeter:
        self.peers.append((address, port))
        return Greeter(self)


@contextlib.asynccontextmanager
async def listening(
    *, path: Path | None = None, family: int = socket.AF_INET, certificate: Certificate | None = None
) -> AsyncIterator[tuple[Listener, Seen, socket.socket]]:
    seen = Seen()
    sock = socket.socket(socket.AF_UNIX if path else family)
    sock.bind(str(path) if path else ("127.0.0.1" if family == socket.AF_INET else "::", 0))
    sock.listen(64)
    made = Listener([sock], seen.make, certificate=certificate)
    made.start()
    try:
        yield made, seen, sock
    finally:
        await made.stop()
        for transport in seen.transports:
            transport.close()
        await asyncio.sleep(0)
        sock.close()


async def test_connections_become_protocols_with_the_peers_address():
    async with listening() as (_, seen, sock):
        reader, writer = await asyncio.open_connection(*sock.getsockname())
        assert await reader.readline() == b"hello\r\n"
        assert seen.peers == [(ip_address("127.0.0.1"), writer.get_extra_info("sockname")[1])]
        writer.close()


async def test_a_peer_on_a_unix_socket_has_no_address(tmp_path: Path):
    async with listening(path=tmp_path / "s") as (_, seen, _sock):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
        assert await reader.readline() == b"hello\r\n"
        assert seen.peers == [(None, None)]
        writer.close()


@pytest.mark.parametrize(
    ("peer", "address", "port"),
    [
        (("192.0.2.1", 25), ONE, 25),
        (("::ffff:192.0.2.1", 25, 0, 0), ONE, 25),
        (("2001:db8::1", 25, 0, 0), ip_address("2001:db8::1"), 25),
        (("fe80::1%eth0", 25, 0, 2), ip_address("fe80::1"), 25),
        ("", None, None),
        (b"", None, None),
    ],
)
def test_what_accept_says_about_a_peer(peer, address, port):
    assert peer_of(peer) == (address, port)


async def test_none_of_the_connections_accepted_before_a_stop_is_dropped():
    """asyncio.Server.close drops them (CPython gh-109564)."""
    async with listening() as (made, seen, sock):
        clients = [socket.create_connection(sock.getsockname()) for _ in range(module.AT_ONCE * 2)]
        made._accept(sock)
        await made.stop()
        accepted = len(seen.peers)
        assert accepted >= module.AT_ONCE
        assert len(seen.transports) == accepted
        answered = 0
        for client in clients:
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                answered += client.recv(10) == b"hello\r\n"
            client.close()
        assert answered == accepted


async def test_a_stopped_listener_takes_nothing_more():
    async with listening() as (made, seen, sock):
        await made.stop()
        await made.stop()
        with socket.create_connection(sock.getsockname()):
            for _ in range(5):
                await asyncio.sleep(0)
        assert seen.peers == []


class Exhausted:
    """A listening socket of a process without free files."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def fileno(self) -> int:
        return self.sock.fileno()

    def accept(self) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")


async def test_a_full_file_table_is_waited_out_without_spinning():
    async with listening() as (made, _, sock):
        made._accept(cast("Any", Exhausted(sock)))
        assert not asyncio.get_running_loop().remove_reader(sock.fileno()), "it was listened to all the same"


async def test_after_the_pause_it_listens_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "FULL_PAUSE", 0.0)
    async with listening() as (made, _, sock):
        made._rest(sock, OSError(errno.EMFILE, "Too many open files"))
        reader, writer = await asyncio.open_connection(*sock.getsockname())
        assert await reader.readline() == b"hello\r\n"
        writer.close()


def test_admission_counts_all_and_each_address():
    admission = Admission(connections=3, per_address=1)
    admission.enter(ONE)
    assert admission.crowded(ONE)
    assert not admission.crowded(TWO)
    assert not admission.crowded(None)
    admission.enter(None)
    admission.enter(None)
    assert admission.full()
    admission.leave(ONE)
    assert not admission.full()
    assert not admission.crowded(ONE)
    admission.leave(None)
    admission.leave(None)
    assert admission.open == 0
    assert not admission._by_address


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        (("192.0.2.1", "192.0.2.2", "192.0.2.255"), "192.0.3.1"),
        (("2001:db8:0:1::1", "2001:db8:0:2::1", "2001:db8:0:ff::"), "2001:db8:0:100::"),
    ],
)
def test_admission_counts_networks_where_it_is_told_to(inside: tuple[str, ...], outside: str):
    one, two, three = map(ip_address, inside)
    admission = Admission(connections=9, per_address=2, per_network=2)
    admission.enter(one)
    assert admission.crowded(one) is None
    admission.enter(two)
    assert [admission.crowded(each) for each in (one, two, three)] == ["network"] * 3
    assert admission.crowded(ip_address(outside)) is None
    assert admission.crowded(None) is None
    admission.leave(two)
    assert admission.crowded(three) is None
    admission.enter(one)
    assert admission.crowded(one) == "address"
    admission.leave(one)
    admission.leave(one)
    assert not admission._by_network
    assert not admission._by_address


# --- TLS before everything else --------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return Certificate(Settings(**Authority(tmp_path).settings, handshake_timeout=5.0))


async def test_tls_comes_before_everything_else(certificate, tmp_path):
    async with listening(certificate=certificate) as (_, seen, sock):
        context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        reader, writer = await asyncio.open_connection(*sock.getsockname(), ssl=context, server_hostname=NAME)
        assert await reader.readline() == b"hello\r\n"
        assert agreed(seen.transports[0]) is not None
        writer.close()


@pytest.mark.parametrize("octets", [b"EHLO client.example.net\r\n", b"\0" * 100, b""])
async def test_who_speaks_no_tls_is_heard_of_as_lost_once_and_nothing_is_said_in_the_clear(certificate, octets):
    async with listening(certificate=certificate) as (_, seen, sock):
        reader, writer = await asyncio.open_connection(*sock.getsockname())
        writer.write(octets)
        writer.write_eof()
        assert b"hello" not in await reader.read()
        async with asyncio.timeout(10):
            while not seen.lost:  # noqa: ASYNC110  # turns of the loop are all that is waited for
                await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (seen.lost, seen.transports) == (1, [])
        writer.close()


async def test_a_handshake_that_hangs_does_not_hold_up_the_end(certificate, monkeypatch):
    monkeypatch.setattr(module, "STOP_PATIENCE", 0.01)
    async with listening(certificate=certificate) as (made, seen, sock):
        reader, writer = await asyncio.open_connection(*sock.getsockname())
        async with asyncio.timeout(10):
            while not seen.peers:  # noqa: ASYNC110  # turns of the loop are all that is waited for
                await asyncio.sleep(0)
        await made.stop()
        assert seen.lost == 1
        assert await reader.read() == b""
        writer.close()
