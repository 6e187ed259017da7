"""Listening sockets: taking connections, refusing too many of them, and no more of them when it is time to go.

Connections are accepted here rather than by `asyncio.Server`: its `close` drops those that it has just accepted
(CPython gh-109564), it knows no limit, and it stops for a second at a full file table without telling anybody.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from ipaddress import IPv6Address, ip_address
from typing import Final, Literal, TypeVar

from gatekeeper import log, metrics
from gatekeeper.model import IPAddress
from gatekeeper.servers.tls import SHUTDOWN_SECONDS, Certificate, count_failure

AT_ONCE: Final = 16
"""Connections accepted before anything else gets its turn; several processes share a socket fairly that way."""
FULL_PAUSE: Final = 0.5
STOP_PATIENCE: Final = 1.0
"""Seconds that a TLS handshake may still take when no more connections are taken; others need none."""
NETWORK_BITS: Final = {4: 24, 6: 56}
"""What counts as one network: what one site has, where a single address is cheap to change."""
_FULL: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Admission:
    """How many connections there may be: in all, from one address, and from one network (/24, /56).

    An exempt address is only counted in all. Without `per_network` networks have no limit.
    """

    def __init__(self, *, connections: int, per_address: int, per_network: int | None = None) -> None:
        self._connections = connections
        self._per_address = per_address
        self._per_network = per_network
        self._open = 0
        self._by_address: Counter[IPAddress] = Counter()
        self._by_network: Counter[tuple[int, int]] = Counter()

    @property
    def open(self) -> int:
        return self._open

    @property
    def taken(self) -> float:
        """The share of all connections that is open."""
        return self._open / self._connections

    def full(self) -> bool:
        return self._open >= self._connections

    def crowded(self, address: IPAddress | None) -> Literal["address", "network"] | None:
        """What has too many already, if anything."""
        if address is None:
            return None
        if self._by_address[address] >= self._per_address:
            return "address"
        if self._per_network is not None and self._by_network[_network(address)] >= self._per_network:
            return "network"
        return None

    def enter(self, address: IPAddress | None) -> None:
        """`address` is None for one that is exempt."""
        self._open += 1
        if address is not None:
            self._by_address[address] += 1
            self._by_network[_network(address)] += 1

    def leave(self, address: IPAddress | None) -> None:
        self._open -= 1
        if address is not None:
            _less(self._by_address, address)
            _less(self._by_network, _network(address))


K = TypeVar("K")


def _less(counter: Counter[K], key: K) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]


def _network(address: IPAddress) -> tuple[int, int]:
    """IP version, and the bits of the network."""
    version = address.version
    return version, int(address) >> (address.max_prefixlen - NETWORK_BITS[version])


class Listener:
    """Accepts from sockets that listen already and do not block, and makes a protocol of each connection.

    `make` gets the peer's address (None for a UNIX socket) and port; None from it means that it has dealt with the
    connection, which is closed then. With a `certificate` TLS comes before everything else (RFC 8314 §3.3); where the
    handshake fails, `connection_lost` is all that the protocol hears. The sockets are the caller's to close, after
    `stop`.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        make: Callable[[socket.socket, IPAddress | None, int | None], asyncio.Protocol | None],
        *,
        certificate: Certificate | None = None,
    ) -> None:
        self._sockets = tuple(sockets)
        self._make = make
        self._certificate = certificate
        self._loop = asyncio.get_running_loop()
        self._starting: set[asyncio.Task[None]] = set()
        self._resting: dict[int, asyncio.TimerHandle] = {}
        self._stopped = False

    def start(self) -> None:
        for sock in self._sockets:
            sock.setblocking(False)
            self._loop.add_reader(sock.fileno(), self._accept, sock)

    async def stop(self) -> None:
        """Accept nothing more; what was accepted becomes a session. May be called twice."""
        self._stopped = True
        for sock in self._sockets:
            if sock.fileno() >= 0:
                self._loop.remove_reader(sock.fileno())
        for timer in self._resting.values():
            timer.cancel()
        self._resting.clear()
        if self._starting:
            _, late = await asyncio.wait(self._starting, timeout=STOP_PATIENCE)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    def _accept(self, sock: socket.socket) -> None:
        for _ in range(AT_ONCE):
            try:
                connection, peer = sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                self._rest(sock, error)
                return
            self._take(connection, peer)

    def _rest(self, sock: socket.socket, error: OSError) -> None:
        """The socket stays readable, so listening on would only burn CPU until a file is free again."""
        log.event("accept_failed", level=logging.WARNING, error=error)
        number = sock.fileno()
        self._loop.remove_reader(number)

        def again() -> None:
            self._resting.pop(number, None)
            if not self._stopped:
                self._loop.add_reader(number, self._accept, sock)

        self._resting[number] = self._loop.call_later(FULL_PAUSE, again)

    def _take(self, connection: socket.socket, peer: object) -> None:
        connection.setblocking(False)
        if connection.family != socket.AF_UNIX:
            # Asyncio would set it, but not on a socket made with protocol 0, as accepted ones are.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        address, port = peer_of(peer)
        protocol = self._make(connection, address, port)
        if protocol is None:
            connection.close()
            return
        task = self._loop.create_task(self._begin(connection, protocol))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def _begin(self, connection: socket.socket, protocol: asyncio.Protocol) -> None:
        try:
            if self._certificate is None:
                await self._loop.connect_accepted_socket(lambda: protocol, connection)
            else:
                await self._begin_tls(connection, protocol, self._certificate)
        except OSError as error:  # it has gone already, or is not able to speak TLS
            connection.close()
            protocol.connection_lost(error)
        except asyncio.CancelledError:
            connection.close()
            protocol.connection_lost(None)
            raise

    async def _begin_tls(self, connection: socket.socket, protocol: asyncio.Protocol, certificate: Certificate) -> None:
        try:
            await self._loop.connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=certificate.context(),
                ssl_handshake_timeout=certificate.settings.handshake_timeout,
                ssl_shutdown_timeout=SHUTDOWN_SECONDS,
            )
        except OSError as error:
            count_failure(error)
            raise
        metrics.TLS_HANDSHAKES["done"].inc()


def peer_of(peer: object) -> tuple[IPAddress | None, int | None]:
    """What `accept` says about the other side; an IPv4 client of an IPv6 socket is an IPv4 client."""
    if not isinstance(peer, tuple) or len(peer) < 2:
        return None, None
    address: IPAddress = ip_address(str(peer[0]).partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address, int(peer[1])


def say_and_close(connection: socket.socket, said: bytes) -> None:
    """A last word to somebody who is not let in, as far as it can be said without waiting."""
    with contextlib.suppress(OSError):
        connection.send(said)
    connection.close()
