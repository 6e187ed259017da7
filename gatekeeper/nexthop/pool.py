"""The connections to one next hop: opened when needed, kept for a moment, never more than allowed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from gatekeeper import log, metrics
from gatekeeper.nexthop.connection import Connection
from gatekeeper.nexthop.contract import Capabilities, NextHopGone
from gatekeeper.nexthop.protection import NoTls, Protection
from gatekeeper.nexthop.settings import NextHopUrl, Settings
from gatekeeper.wire.xclient import Client

UNTAKEN_SECONDS: Final = 600.0
"""How long IPv6 addresses are not told again to a next hop that has not taken one."""


class Pool:
    """Hands out connections that have been greeted. Each that was taken is given back or discarded, exactly once."""

    def __init__(self, url: NextHopUrl, settings: Settings, *, hostname: str, clock: Callable[[], float]) -> None:
        self.url = url
        self.settings = settings
        self.capabilities: Capabilities | None = None  # as last heard
        self.xclient_required = False  # it was only an outside client for it because XCLIENT said so
        self._xclient_offered = False  # to us; what it offers after an XCLIENT is another matter
        self.away = False
        self._hostname = hostname
        self._clock = clock
        self._protection = Protection.of(settings, url)
        self._clear = False  # TLS was given up, and the log says so
        self._no_ipv6_until = float("-inf")  # of our clock: it takes no PROXY header with such an address
        self._slots = asyncio.Semaphore(settings.max_connections)
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._sweep_timer: asyncio.TimerHandle | None = None

    @property
    def hands_on(self) -> bool:
        """Whether the next hop takes the client for its own: by XCLIENT (`Connection.introduce` decides it for each
        connection), or by a PROXY header.
        """
        if self.settings.hand_on != "auto":
            return self.settings.hand_on in ("xclient", "proxy")
        return self._xclient_offered or self.xclient_required

    async def take(self, client: Client, *, reuse: bool = True) -> tuple[Connection, bool]:
        """A connection, and whether it is a used one; one that knows this client already if there is one.

        Raises NextHopGone; its `reply` is the refusal when the next hop does not want us.
        """
        await self._slot()
        try:
            while reuse and (connection := self._pick(client)) is not None:
                if await self._usable(connection):
                    metrics.NEXT_HOP_CONNECTIONS["reused"].inc()
                    return connection, True
            return await self.open(client), False
        except BaseException:
            self._release()
            raise

    async def _slot(self) -> None:
        """One of as many as there may be at once; each is given back by `_release`. Raises NextHopGone."""
        if self._slots.locked():
            with metrics.NEXT_HOP_WAITING.track_inprogress():
                await self._its_turn()
        else:
            await self._slots.acquire()
        metrics.NEXT_HOP_IN_USE.inc()

    async def _its_turn(self) -> None:
        try:
            async with asyncio.timeout(self.settings.connect):
                await self._slots.acquire()
        except TimeoutError:
            metrics.NEXT_HOP_CONNECTIONS["exhausted"].inc()
            raise NextHopGone(f"all {self.settings.max_connections} connections to the next hop are in use") from None

    def _release(self) -> None:
        self._slots.release()
        metrics.NEXT_HOP_IN_USE.dec()

    def _pick(self, client: Client) -> Connection | None:
        """The one that knows the client, else the one used last: the others may then grow old and go.

        Postfix offers no XCLIENT any more once it has been told of a client, so that most are for that client only.
        """
        known = [connection for connection in self._idle if connection.client == client]
        connection = next(reversed(known or [other for other in self._idle if other.serves(client)]), None)
        if connection is not None:
            self._idle.remove(connection)
        return connection

    @staticmethod
    async def _usable(connection: Connection) -> bool:
        try:
            usable = await connection.settled()
        except BaseException:
            connection.abort()
            raise
        if not usable:
            connection.quit()
        return usable

    async def open(self, client: Client | None = None) -> Connection:
        """A new connection, greeted, outside the pool: the caller closes it. Raises NextHopGone.

        `client` is for whom it is, None for ourselves; that counts where it is told before the greeting.
        """
        try:
            connection = await self._greeted(client)
        except NextHopGone as gone:
            metrics.NEXT_HOP_CONNECTIONS["failed"].inc()
            if gone.reply is None or client is None or self.settings.hand_on != "proxy":
                self._notice(str(gone))  # else it was that client that it did not want
            raise
        metrics.NEXT_HOP_CONNECTIONS["opened"].inc()
        self.capabilities = connection.capabilities
        self._xclient_offered = connection.capabilities.takes_client
        if self.xclient_required and not self._xclient_offered:
            self._notice("it no longer offers XCLIENT, without which it would relay for strangers")
        else:
            self._notice(None)
        return connection

    async def _greeted(self, client: Client | None) -> Connection:
        try:
            connection = await self._connect(client, self._protection)
        except NoTls as failed:
            if self._protection is None or self._protection.needed:
                raise
            if not self._clear:
                self._clear = True
                log.event("next_hop_in_the_clear", level=logging.WARNING, next_hop=str(self.url), why=failed)
            return await self._connect(client, None)
        self._clear = False
        return connection

    async def _connect(self, client: Client | None, protection: Protection | None) -> Connection:
        told = self._sayable(client)
        connection = await self._connected(told)
        try:
            await connection.greet(protection)
        except NoTls:
            connection.abort()
            raise
        except NextHopGone as gone:
            connection.quit()
            if not (connection.shut_out and told is client and self._tells_ipv6(client)):
                raise
            # Such as Postfix with inet_protocols = ipv4, which answers 421. An unknown client is no local one either.
            log.event("client_not_handed_on", level=logging.WARNING, ip=client and client.address, reply=gone)
            before, self._no_ipv6_until = self._no_ipv6_until, self._clock() + UNTAKEN_SECONDS
        except BaseException:
            connection.abort()
            raise
        else:
            return connection
        try:
            return await self._connect(client, protection)
        except NextHopGone:
            self._no_ipv6_until = before  # it was not for the address
            raise

    def _tells_ipv6(self, client: Client | None) -> bool:
        return self.settings.hand_on == "proxy" and client is not None and ":" in (client.address or "")

    def _sayable(self, client: Client | None) -> Client | None:
        """The client as the next hop takes it from a PROXY header."""
        if client is None or not self._tells_ipv6(client) or self._clock() >= self._no_ipv6_until:
            return client
        return replace(client, address=None, port=None, name=None)

    def _notice(self, away: str | None) -> None:
        """Log when the next hop goes, and when it comes back."""
        if away is not None and not self.away:
            log.event("next_hop_away", level=logging.WARNING, next_hop=str(self.url), why=away)
        elif away is None and self.away:
            log.event("next_hop_back", next_hop=str(self.url))
        self.away = away is not None

    async def _connected(self, client: Client | None) -> Connection:
        loop = asyncio.get_running_loop()
        limit = self.settings.connect
        hello = b"LHLO" if self.url.protocol == "lmtp" else b"EHLO"
        connection = Connection(
            settings=self.settings, hello=hello, hostname=self._hostname, clock=self._clock, client=client
        )
        try:
            async with asyncio.timeout(limit):
                if self.url.path is not None:
                    await loop.create_unix_connection(lambda: connection, self.url.path)
                else:
                    await loop.create_connection(lambda: connection, self.url.host or "", self.url.port or 0)
        except TimeoutError:
            connection.abort()
            raise NextHopGone(f"{self.url} took no connection for {limit:g} s") from None
        except OSError as error:
            raise NextHopGone(f"{self.url} takes no connection: {error}") from None
        except BaseException:
            connection.abort()  # it may have come about at the moment of the cancellation
            raise
        self._open = {other for other in self._open if not other.closed.done()}
        self._open.add(connection)
        return connection

    def give_back(self, connection: Connection) -> None:
        """After a transaction that ended well; it is kept if it may be used again."""
        self._release()
        if not connection.reusable:
            connection.quit()
            return
        self._keep(connection)

    def give_back_unfinished(self, connection: Connection) -> None:
        """In the middle of a transaction, between commands: it is reset, and kept if it may be used again."""
        self._release()
        if not connection.reusable:
            connection.quit()
            return
        connection.reset()
        self._keep(connection)

    def discard(self, connection: Connection) -> None:
        """After anything that leaves in doubt where the conversation stands."""
        self._release()
        connection.abort()

    def _keep(self, connection: Connection) -> None:
        self._idle.append(connection)
        if len(self._idle) > self.settings.pool:
            self._idle.pop(0).quit()
        if self._sweep_timer is None:
            self._sweep_timer = asyncio.get_running_loop().call_later(self.settings.idle, self._sweep)

    def _sweep(self) -> None:
        """Let go of what has idled too long, so that the MTA's processes are free again."""
        self._sweep_timer = None
        idle, self._idle = self._idle, []
        for connection in idle:
            if connection.fresh:
                self._keep(connection)
            else:
                connection.quit()

    async def close(self) -> None:
        """Close every connection, those in use too. May be called twice."""
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
            self._sweep_timer = None
        self._idle.clear()
        open_, self._open = self._open, set()
        for connection in open_:
            connection.abort()
        if open_:
            await asyncio.wait([connection.closed for connection in open_], timeout=self.settings.connect)
