"""An SMTP proxy under test: server, next hop and gate, on loopback."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatekeeper import nexthop
from gatekeeper.nexthop import NextHop, NextHopUrl
from gatekeeper.servers.smtp_server import SmtpServer
from gatekeeper.servers.smtp_settings import Settings
from tests.support.fake_gate import FakeGate
from tests.support.next_hop import FakeNextHop
from tests.support.smtp_client import SmtpClient

HELLO = "EHLO client.example.net"
DOMAINS = frozenset({"example.org"})


@dataclass
class Proxy:
    server: SmtpServer
    gate: FakeGate
    hop: FakeNextHop
    client_of_hop: NextHop
    port: int | str

    def client(self, **options: Any) -> SmtpClient:
        return SmtpClient(self.port, **options)


class Failures(logging.Handler):
    """The sessions that ended by a bug."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[object] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg == "session_failed":
            self.seen.append(getattr(record, "facts", record))


@contextlib.asynccontextmanager
async def proxy(
    *,
    hop: FakeNextHop | None = None,
    gate: FakeGate | None = None,
    relay_domains: frozenset[str] = DOMAINS,
    hop_settings: nexthop.Settings | None = None,
    probe: bool = True,
    unix: Path | None = None,
    clock: Callable[[], float] = lambda: 1_800_000_000.0,
    workers: int = 1,
    bugs: bool = False,
    **settings: Any,
) -> AsyncIterator[Proxy]:
    """`settings` are those of [servers.smtp]. No session may fail by a bug, unless the test is about `bugs`."""
    hop = hop or FakeNextHop()
    gate = gate or FakeGate()
    async with hop:
        client = NextHop(NextHopUrl.parse(hop.url), hop_settings or nexthop.Settings(), hostname="mx.example.org")
        with contextlib.suppress(nexthop.NextHopGone):
            if probe:
                await client.probe()
        server = SmtpServer(
            Settings(**settings),
            gate=gate,
            next_hop=client,
            hostname="mx.example.org",
            relay_domains=relay_domains,
            clock=clock,
            workers=workers,
        )
        sock = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
        sock.bind(str(unix) if unix else ("127.0.0.1", 0))
        sock.listen(128)
        await server.start([sock])
        failures = Failures()
        logging.getLogger("gatekeeper").addHandler(failures)
        try:
            yield Proxy(server, gate, hop, client, str(unix) if unix else sock.getsockname()[1])
        finally:
            await server.drain(0)
            await client.close()
            sock.close()
            logging.getLogger("gatekeeper").removeHandler(failures)
        assert bugs or not failures.seen, failures.seen
        assert server.sessions == 0
