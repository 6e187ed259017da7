"""PROXY headers before a session: from whom, in time, in one piece or many; and what follows is the client's."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import cast

import pytest

from gatekeeper import metrics
from gatekeeper.log import FOLD_SECONDS
from gatekeeper.model import IPAddress
from gatekeeper.servers.listener import Listener
from gatekeeper.servers.peers import Peers
from gatekeeper.servers.proxy_entrance import ProxyEntrance
from gatekeeper.wire.proxy import LOCAL, Endpoint, ProxyHeader, encode

V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 25\r\n"
V6 = b"PROXY TCP6 2001:db8::7 2001:db8::1 40000 25\r\n"


class Session(asyncio.Protocol):
    """Says who it takes its client for, and then what it is told."""

    def __init__(self, client: str) -> None:
        self.client = client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(f"220 {self.client}\r\n".encode())

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Inn:
    """A house for anybody but those it has no room for."""

    def __init__(self) -> None:
        self.trust = Peers(["127.0.0.1"])
        self.full_for: set[str] = set()
        self.admitted: list[str] = []

    def admit(self, address: IPAddress | None) -> bytes | None:
        self.admitted.append(str(address))
        return b"421 full\r\n" if str(address) in self.full_for else None

    def proxied(self, header: ProxyHeader, address: IPAddress | None, port: int | None) -> asyncio.Protocol:
        assert (address is None) == (port is None)
        source = header.source
        return Session(f"{address}" if header.local else f"{source.address} {source.port}" if source else "unknown")


@dataclass
class Place:
    inn: Inn
    entrance: ProxyEntrance
    port: int

    async def connect(self, octets: bytes = b"", *, source: str = "127.0.0.1") -> Visitor:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(source, 0))
        writer.write(octets)
        return Visitor(reader, writer)


@dataclass
class Visitor:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def line(self) -> str:
        """What was said, or "" at the end of the connection."""
        with contextlib.suppress(ConnectionError):
            return (await asyncio.wait_for(self.reader.readline(), 10)).decode().strip()
        return ""


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def clock() -> Clock:
    return Clock()


@pytest.fixture
async def place(clock: Clock) -> AsyncIterator[Place]:
    async with opened(Inn(), clock) as made:
        yield made


@contextlib.asynccontextmanager
async def opened(inn: Inn, clock: Clock, *, patience: float = 30.0, most: int = 3) -> AsyncIterator[Place]:
    entrance = ProxyEntrance(inn, patience=patience, most=most, clock=clock)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        listener = Listener([sock], entrance.take)
        listener.start()
        yield Place(inn, entrance, sock.getsockname()[1])
        await listener.stop()
        entrance.close()
        assert not entrance.waiting


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # turns of the loop are all that is waited for
            await asyncio.sleep(0)


def counted(result: str) -> float:
    return metrics.REGISTRY.get_sample_value("gatekeeper_proxy_headers_total", {"result": result}) or 0.0


@pytest.mark.parametrize(
    ("header", "client", "admitted", "result"),
    [
        (V1, "192.0.2.7 40000", "192.0.2.7", "client"),
        (V6, "2001:db8::7 40000", "2001:db8::7", "client"),
        (b"PROXY UNKNOWN\r\n", "unknown", "None", "unknown"),
        (LOCAL, "127.0.0.1", "127.0.0.1", "local"),
    ],
)
async def test_the_session_is_that_of_the_client_that_the_header_names(place, header, client, admitted, result):
    before = counted(result)
    visitor = await place.connect(header)
    assert await visitor.line() == f"220 {client}"
    assert place.inn.admitted == [admitted]
    assert counted(result) == before + 1
    assert not place.entrance.waiting
    visitor.writer.close()


async def test_a_header_may_come_octet_by_octet_and_the_clients_words_right_behind_it(place):
    visitor = await place.connect()
    sock = visitor.writer.get_extra_info("socket")
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for octet in V1 + b"EHLO x\r\n":
        visitor.writer.write(bytes([octet]))
        await visitor.writer.drain()
        await asyncio.sleep(0)
    assert await visitor.line() == "220 192.0.2.7 40000"
    assert await visitor.line() == "EHLO x"
    visitor.writer.close()


async def test_strangers_are_hung_up_on_whatever_they_say(place):
    before = counted("stranger")
    visitor = await place.connect(V1, source="127.0.0.2")
    assert await visitor.line() == ""
    assert counted("stranger") == before + 1
    assert place.inn.admitted == []


@pytest.mark.parametrize(
    "octets", [b"EHLO client.example.net\r\n", b"\x16\x03\x01", V1.replace(b"\r", b""), b"\r\n\r\nx"]
)
async def test_what_is_no_header_ends_the_connection(place, octets):
    before = counted("malformed")
    visitor = await place.connect(octets)
    assert await visitor.line() == ""
    assert counted("malformed") == before + 1
    assert not place.entrance.waiting


async def test_a_header_that_is_late_ends_the_connection(clock):
    before = counted("late")
    async with opened(Inn(), clock, patience=0.02) as place:
        visitor = await place.connect(V1[:-1])
        assert await visitor.line() == ""
        assert counted("late") == before + 1


async def test_a_client_for_whom_there_is_no_room_is_told_so(place):
    place.inn.full_for = {"192.0.2.7"}
    full = await place.connect(V1)
    assert await full.line() == "421 full"
    assert await full.line() == ""
    other = await place.connect(V6)
    assert await other.line() == "220 2001:db8::7 40000"
    other.writer.close()


async def test_no_more_wait_for_their_header_than_there_is_room_for(place):
    waiting = [await place.connect() for _ in range(3)]
    await until(lambda: len(place.entrance.waiting) == 3)
    assert await (await place.connect(V1)).line() == ""
    waiting[0].writer.write(V1)
    assert await waiting[0].line() == "220 192.0.2.7 40000"
    again = await place.connect(V6)
    assert await again.line() == "220 2001:db8::7 40000"
    for visitor in (*waiting, again):
        visitor.writer.close()


async def test_a_proxy_that_leaves_before_its_header_leaves_nothing_behind(place):
    visitor = await place.connect(V1[:10])
    await until(lambda: bool(place.entrance.waiting))
    visitor.writer.close()
    await until(lambda: not place.entrance.waiting)


async def test_those_that_wait_are_hung_up_on_at_the_end(place):
    visitor = await place.connect(V1[:10])
    await until(lambda: bool(place.entrance.waiting))
    place.entrance.close()
    assert await visitor.line() == ""


async def test_the_log_hears_of_it_once_a_minute(place, clock, caplog):
    with caplog.at_level(logging.WARNING, "gatekeeper"):
        for _ in range(3):
            assert await (await place.connect(b"x")).line() == ""
        assert [record.message for record in caplog.records] == ["proxy_header_refused"]
        clock.now += FOLD_SECONDS
        assert await (await place.connect(b"x")).line() == ""
    assert len(caplog.records) == 2


async def test_a_header_of_version_2_is_as_good(place):
    source, destination = Endpoint(ip_address("192.0.2.7"), 1), Endpoint(ip_address("198.51.100.1"), 25)
    visitor = await place.connect(encode(source, destination) + b"NOOP\r\n")
    assert await visitor.line() == "220 192.0.2.7 1"
    assert await visitor.line() == "NOOP"
    visitor.writer.close()
