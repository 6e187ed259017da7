from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from ipaddress import ip_address
from typing import cast

import pytest

from gatekeeper import metrics
from gatekeeper.model import IPAddress
from gatekeeper.servers.overload import Overload
from gatekeeper.servers.overload import Settings as OverloadSettings
from gatekeeper.servers.peers import Peers
from gatekeeper.servers.sessions import Room, SessionServer
from tests.support.smtp_client import SmtpClient

ROOM = Room(connections=3, per_address=1, full=b"421 full\r\n", crowded=b"421 crowded\r\n")


class Waiting(asyncio.Protocol):
    """A session that says hello and waits to be told to go; a stubborn one has to be thrown out."""

    def __init__(self, server: Server, address: IPAddress | None) -> None:
        self.server = server
        self.address = address
        self.task: asyncio.Task[None] | None = None
        self.retired = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.server.opened(self)
        self.task = asyncio.get_running_loop().create_task(self.run())
        self.transport.write(b"220 hello\r\n")

    def connection_lost(self, _: Exception | None) -> None:
        self.retired.set()

    async def run(self) -> None:
        try:
            await self.retired.wait()
            if self.server.stubborn:
                await asyncio.Event().wait()
        finally:
            self.transport.close()
            self.server.closed(self, self.address)

    def retire(self) -> None:
        self.retired.set()


class Server(SessionServer[Waiting]):
    stubborn = False
    overload = Overload(OverloadSettings())

    def session(self, address: IPAddress | None, port: int | None) -> Waiting:
        assert (address is None) == (port is None)
        return Waiting(self, address)


@pytest.fixture
async def server():
    made = Server(ROOM, trust=Peers(["127.0.0.9"]), workers=1)
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(16)
    made.port = sock.getsockname()[1]  # type: ignore[attr-defined]  # for the tests only
    await made.start([sock])
    yield made
    await made.drain(0)
    sock.close()


async def test_sessions_are_limited_in_all_and_by_address(server):
    before = metrics.REGISTRY.get_sample_value("gatekeeper_connections_refused_total", {"limit": "address"}) or 0
    async with SmtpClient(server.port) as one, SmtpClient(server.port) as two:
        assert (one.greeting, two.greeting) == ("220 hello", "421 crowded")
        assert await two.gone()
        async with (
            SmtpClient(server.port, source="127.0.0.9") as three,
            SmtpClient(server.port, source="127.0.0.9") as four,
        ):
            assert (three.greeting, four.greeting) == ("220 hello", "220 hello")
            async with SmtpClient(server.port, source="127.0.0.2") as five:
                assert five.greeting == "421 full"
    after = metrics.REGISTRY.get_sample_value("gatekeeper_connections_refused_total", {"limit": "address"})
    assert after == before + 1


async def test_sessions_are_limited_by_network():
    made = Server(replace(ROOM, connections=9, per_network=2), trust=Peers(["127.0.0.9"]), workers=1)
    addresses = [ip_address(f"192.0.2.{host}") for host in (1, 2, 3)]
    assert [made.admit(address) for address in addresses] == [None, None, b"421 crowded\r\n"]
    assert made.admit(ip_address("192.0.3.1")) is None
    assert made.admit(ip_address("127.0.0.9")) is None
    assert made.admit(ip_address("127.0.0.9")) is None


async def test_a_session_may_go_on_for_another_client_if_that_one_has_room():
    made = Server(replace(ROOM, connections=9, per_address=1), trust=Peers(["127.0.0.9"]), workers=1)
    proxy, one, two = (ip_address(each) for each in ("127.0.0.9", "192.0.2.1", "192.0.3.1"))
    for each in (proxy, proxy, one):
        assert made.admit(each) is None
    assert made.becomes(proxy, one) == b"421 crowded\r\n"
    assert made.becomes(proxy, two) is None
    assert made.becomes(two, two) is None
    assert made.becomes(proxy, two) == b"421 crowded\r\n"
    assert made.becomes(two, None) is None
    assert made._admission.open == 3


async def test_an_entrance_that_a_server_does_not_have_is_a_mistake(server):
    assert server.entrances == ("listen",)
    with pytest.raises(ValueError, match="no proxy_listen"):
        await server.start([], "proxy_listen")


async def test_draining_waits_for_those_who_go(server):
    async with SmtpClient(server.port) as client:
        await server.drain(30)
        assert await client.gone()
        assert server.sessions == 0
    await server.drain(30)


async def test_draining_throws_out_those_who_do_not(server):
    server.stubborn = True
    async with SmtpClient(server.port) as client:
        await server.drain(0.001)
        assert await client.gone()
        assert server.sessions == 0


def test_room_is_shared_among_workers():
    async def run() -> tuple[bool, bool]:
        made = Server(ROOM, trust=Peers(()), workers=2)
        made._admission.enter(None)
        before = made._admission.full()
        made._admission.enter(None)
        return before, made._admission.full()

    assert asyncio.run(run()) == (False, True)
