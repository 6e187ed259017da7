"""The server that has the SMTP sessions of one worker: how they come in, what they share, and who has room."""

from __future__ import annotations

import asyncio
import math
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from gatekeeper import log, metrics
from gatekeeper.dns.lists import outside
from gatekeeper.gate import Gate
from gatekeeper.mailauth.bodies import body_hashes
from gatekeeper.model import IPAddress, Reply
from gatekeeper.nexthop import Capabilities
from gatekeeper.servers import answers
from gatekeeper.servers.greeting import Greeter, Greeting
from gatekeeper.servers.listener import Listener, say_and_close
from gatekeeper.servers.offer import Offer
from gatekeeper.servers.overload import Level, Overload
from gatekeeper.servers.peers import Peers
from gatekeeper.servers.proxy_entrance import ProxyEntrance
from gatekeeper.servers.receiving import Limits
from gatekeeper.servers.relay import NextHop
from gatekeeper.servers.relay_guard import RelayGuard
from gatekeeper.servers.sessions import Room, SessionServer
from gatekeeper.servers.slow_lane import SlowLane
from gatekeeper.servers.smtp import SmtpSession
from gatekeeper.servers.smtp_settings import Settings
from gatekeeper.servers.spool import Spool
from gatekeeper.servers.tls import Certificate
from gatekeeper.wire.proxy import ProxyHeader
from gatekeeper.wire.replies import encode

ENTRANCES: Final = ("listen", "proxy_listen", "tls_listen")
GIVES_WAY: Final = 10.0
"""Seconds for which an unknown client may be silent while there is no room for others."""


class SmtpServer(SessionServer[SmtpSession]):
    """All sessions of one worker.

    `relay_domains` are in lower case, A-labels; empty where the next hop decides. `workers` is how many share the
    limits on connections. `guard` is made from the settings unless it is given; whoever made the server calls its
    `keep`. Raises TlsUnusable when the certificate cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        gate: Gate,
        next_hop: NextHop,
        hostname: str,
        relay_domains: frozenset[str],
        guard: RelayGuard | None = None,
        clock: Callable[[], float] = time.time,
        workers: int = 1,
    ) -> None:
        room = Room(
            connections=settings.connections,
            per_address=settings.connections_per_address,
            full=encode(answers.SERVER_FULL),
            crowded=encode(answers.ADDRESS_FULL),
            per_network=settings.connections_per_network,
        )
        super().__init__(room, trust=Peers(settings.trust), workers=workers)
        self.settings = settings
        self.gate = gate
        self.next_hop = next_hop
        self.hostname = hostname
        self.clock = clock
        self.guard = guard or RelayGuard(
            next_hop, relay_domains=relay_domains, ours=Peers(settings.ours), domain=settings.relay_probe_domain
        )
        self.spool = Spool(
            Path(settings.spool) if settings.spool else None,
            memory=settings.spool_memory,
            disk=settings.spool_disk,
            header=settings.header_size,
            hashes=body_hashes,
        )
        # An LMTP server answers the message once for each recipient, and only one answer can be passed back.
        self.recipients = 1 if next_hop.url.protocol == "lmtp" else settings.recipients
        self.greeting = Reply.of(220, f"{hostname} ESMTP")
        self.certificate = None if settings.tls is None else Certificate(settings.tls)
        self.tls_required = settings.tls is not None and settings.tls.required
        self._exempt = Peers(settings.greeting_exempt)
        self._greeter = Greeter(
            self, hostname=hostname, delay=settings.greeting_delay, passed_for=settings.greeting_passed_for
        )
        self.slow_lane = SlowLane(math.ceil(settings.slowed_at_once / workers))
        self.overload = Overload(
            settings.overload, spool=self.spool.taken, sessions=lambda: self._admission.taken, relieve=self._relieve
        )
        self.injections = log.Folded("starttls_injection")
        self._behind_proxies = ProxyEntrance(self, patience=settings.proxy_timeout, most=room.connections)
        self._offer: Offer | None = None
        self._offered_for: Capabilities | None = None

    # --- what a session asks -----------------------------------------------------------------------------------------

    @property
    def limits(self) -> Limits:
        settings = self.settings
        return Limits(
            size=self.offer().size,
            received_fields=settings.received_fields,
            silence=settings.data_timeout,
            rate=settings.data_rate,
            total=settings.data_total,
            bare_newline=settings.bare_newline,
        )

    def offer(self) -> Offer:
        """What is offered now: made anew only when the next hop has said something new."""
        capabilities = self.next_hop.capabilities
        if self._offer is None or capabilities != self._offered_for:
            self._offered_for = capabilities
            self._offer = Offer.of(
                capabilities,
                hostname=self.hostname,
                size=self.settings.message_size,
                recipients=self.recipients,
            )
        return self._offer

    # --- when there is too much to do --------------------------------------------------------------------------------

    def no_room_for(self, *, familiar: bool) -> bytes | None:
        """The last word to a client that is put off now, or None."""
        return encode(answers.BUSY) if self.overload.puts_off(familiar=familiar) else None

    def _relieve(self) -> None:
        for session in self._sessions:
            if session.unfamiliar and session.idle() > GIVES_WAY:
                metrics.PUT_OFF["idle"].inc()
                session.give_way()

    # --- how they come in --------------------------------------------------------------------------------------------

    @property
    def entrances(self) -> tuple[str, ...]:
        return ENTRANCES

    def _listener(self, sockets: Sequence[socket.socket], entrance: str) -> Listener:
        match entrance:
            case "proxy_listen":
                return Listener(sockets, self._behind_proxies.take)
            case "tls_listen":
                return Listener(sockets, self._take_tls, certificate=self.certificate)
        return super()._listener(sockets, entrance)

    def judges_manners_of(self, address: IPAddress | None) -> bool:
        """Whether such a client is held to waiting for its turn: not our own machines, nor whoever is trusted."""
        return address is not None and outside(address) and address not in self.trust and address not in self._exempt

    def _take(self, connection: socket.socket, address: IPAddress | None, port: int | None) -> asyncio.Protocol | None:
        if self.overload.level is Level.OVERWHELMED:
            metrics.CONNECTIONS.inc()
            say_and_close(connection, self.no_room_for(familiar=True) or b"")
            return None
        return super()._take(connection, address, port)

    def _take_tls(
        self, connection: socket.socket, address: IPAddress | None, port: int | None
    ) -> asyncio.Protocol | None:
        """Without a pause in the greeting: whoever has come through a handshake does not talk without listening."""
        taken = self._take(connection, address, port)
        return taken if taken is None or not isinstance(taken, Greeting) else self.session(address, port)

    def entrant(self, address: IPAddress | None, port: int | None) -> asyncio.Protocol:
        return self._greeted(address, port, lambda: self.session(address, port))

    def _greeted(
        self, address: IPAddress | None, port: int | None, make: Callable[[], SmtpSession]
    ) -> SmtpSession | Greeting:
        """What a connection begins with: a greeting, where the client is one of those that may have to wait."""
        if address is None or not self.settings.greeting_delay or not self.judges_manners_of(address):
            return make()
        return Greeting(self._greeter, address, port, make)

    def session(self, address: IPAddress | None, port: int | None) -> SmtpSession:
        return SmtpSession(self, address, port)

    def proxied(self, header: ProxyHeader, address: IPAddress | None, port: int | None) -> SmtpSession | Greeting:
        """What the client begins with that a PROXY header names.

        Its words are its own: the proxy's trust is not its.
        """
        if header.local:
            return self.session(address, port)
        source = header.source

        def make() -> SmtpSession:
            made = self.session(None, None) if source is None else self.session(source.address, source.port or None)
            made.session.trusted = made.session.trusted and source is not None
            made.session.tls = header.tls
            return made

        return make() if source is None else self._greeted(source.address, source.port or None, make)

    @property
    def arriving(self) -> int:
        return len(self._behind_proxies.waiting) + len(self._greeter.waiting)

    def turn_back(self) -> None:
        self._behind_proxies.close()
        self._greeter.close()
