"""Where connections come from a proxy: a PROXY header first, then the session of the client that it names.

The header is required, and only taken from whom `trust` names: from anybody else it would be a forged address, and
without it every client would be the proxy itself (haproxy, proxy-protocol.txt §2, §5).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Protocol, cast

from gatekeeper import log, metrics
from gatekeeper.model import IPAddress
from gatekeeper.servers.listener import say_and_close
from gatekeeper.servers.peers import Peers
from gatekeeper.wire.proxy import ProxyError, ProxyHeader, ProxyReader


class House(Protocol):
    """What the entrance leads to: a server of sessions."""

    trust: Peers

    def admit(self, address: IPAddress | None) -> bytes | None:
        """Count a client in; or the last word to one for whom there is no room."""
        ...

    def proxied(self, header: ProxyHeader, address: IPAddress | None, port: int | None) -> asyncio.Protocol:
        """The session of the client that a header names; `address` and `port` are the proxy's own."""
        ...


class ProxyEntrance:
    """Makes of each connection a `Door`. `waiting` are those on which no whole header has come yet."""

    def __init__(self, house: House, *, patience: float, most: int, clock: Callable[[], float] | None = None) -> None:
        """`patience` is how many seconds a header may take, `most` how many connections may wait for theirs."""
        self.house = house
        self.patience = patience
        self.waiting: set[Door] = set()
        self._most = most
        self._refusals = log.Folded("proxy_header_refused", clock=clock or asyncio.get_running_loop().time)

    def take(self, connection: socket.socket, address: IPAddress | None, port: int | None) -> asyncio.Protocol | None:
        metrics.CONNECTIONS.inc()
        if address not in self.house.trust:
            self.refused("stranger", address, "not from a network that trust names")
            return None
        if len(self.waiting) >= self._most:
            metrics.CONNECTIONS_REFUSED["all"].inc()
            say_and_close(connection, b"")
            return None
        return Door(self, address, port)

    def refused(self, result: str, address: IPAddress | None, why: str) -> None:
        metrics.PROXY_HEADERS[result].inc()
        self._refusals.event(level=logging.WARNING, ip=address, result=result, why=why)

    def close(self) -> None:
        """Hang up on those that wait: there is no time left, and nobody has been greeted yet."""
        for door in tuple(self.waiting):
            door.close()


class Door(asyncio.Protocol):
    """One connection until its header has come; the session takes the connection over then."""

    def __init__(self, entrance: ProxyEntrance, address: IPAddress | None, port: int | None) -> None:
        self._entrance = entrance
        self._address = address
        self._port = port
        self._reader = ProxyReader()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        entrance.waiting.add(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._timer = asyncio.get_running_loop().call_later(self._entrance.patience, self._late)

    def data_received(self, data: bytes) -> None:
        if self not in self._entrance.waiting:
            return
        try:
            header = self._reader.feed(data)
        except ProxyError as error:
            self._entrance.refused("malformed", self._address, str(error))
            self.close()
            return
        if header is not None:
            self._enter(header)

    def eof_received(self) -> None:
        """The connection is closed then, by returning nothing."""

    def connection_lost(self, _error: Exception | None) -> None:
        self._done()

    def _enter(self, header: ProxyHeader) -> None:
        transport = self._transport
        self._done()
        if transport is None:
            return
        house = self._entrance.house
        known = "local" if header.local else "unknown" if header.source is None else "client"
        metrics.PROXY_HEADERS[known].inc()
        source = None if header.source is None else header.source.address
        refusal = house.admit(self._address if header.local else source)
        if refusal is not None:
            transport.write(refusal)
            transport.close()
            return
        session = house.proxied(header, self._address, self._port)
        transport.set_protocol(session)
        session.connection_made(transport)
        if self._reader.rest:
            session.data_received(self._reader.rest)

    def _late(self) -> None:
        self._entrance.refused("late", self._address, f"nothing whole in {self._entrance.patience:g} s")
        self.close()

    def close(self) -> None:
        self._done()
        if self._transport is not None:
            with contextlib.suppress(OSError):
                self._transport.abort()

    def _done(self) -> None:
        self._entrance.waiting.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
