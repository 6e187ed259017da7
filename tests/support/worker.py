"""A whole worker inside the test's loop: what app.py assembles, its SMTP server, and scripted peers around it.

async with worker(zone={("example.net", "TXT"): ['"v=spf1 -all"']}) as w:
    async with w.client("192.0.2.1") as client:
        answer = await client.mail(b"...")
    record = await w.record()
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatekeeper import app
from gatekeeper.config import configuration as config
from gatekeeper.config.configuration import Configuration
from gatekeeper.nexthop import NextHop
from gatekeeper.records.document import from_document
from gatekeeper.records.record import Record
from gatekeeper.servers.smtp_server import SmtpServer
from gatekeeper.store.base import RecordQuery, Store
from gatekeeper.store.memory import MemoryStore
from tests.support.dns_server import DnsServer, Zone
from tests.support.next_hop import FakeNextHop
from tests.support.smtp_client import SmtpClient

OURS = 'relay_domains = ["example.org"]'


@dataclass
class Worker:
    configuration: Configuration
    parts: app.Parts
    server: SmtpServer
    next_hop: NextHop
    hop: FakeNextHop
    dns: DnsServer
    port: int

    @contextlib.asynccontextmanager
    async def client(self, address: str, *, helo: str = "mail.example.net") -> AsyncIterator[SmtpClient]:
        """A client that seems to come from that address, after its EHLO."""
        async with SmtpClient(self.port) as client:
            await client("EHLO proxy.example")
            prefix = "IPV6:" if ":" in address else ""
            answer = await client(f"XCLIENT ADDR={prefix}{address} NAME=[UNAVAILABLE]")
            assert answer[:3] == "220", answer
            assert (await client(f"EHLO {helo}"))[:3] == "250"
            yield client

    async def records(self, **query: Any) -> list[Record]:
        """What was kept, the newest first."""
        await self.parts.recorder.flush()
        found = await self.parts.store.find_records(RecordQuery(**query))
        return [from_document(one.document) for one in found]

    async def record(self, **query: Any) -> Record:
        [one] = await self.records(**query)
        return one


@contextlib.asynccontextmanager
async def worker(
    directory: Path,
    *,
    zone: Zone | None = None,
    store: Store | None = None,
    settings: str = "",
    top: str = OURS,
    dns_timeout: str = "10s",
    trust: tuple[str, ...] = ("127.0.0.1",),
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[Worker]:
    """`settings` are further sections of the configuration file, `top` further keys above them. Nothing waits for
    `dns_timeout` but a test whose nameserver is silent. `clock` is what the checks go by.
    """
    async with FakeNextHop() as hop, DnsServer(zone) as dns:
        file = directory / "gatekeeper.toml"
        file.write_text(
            f'hostname = "mx.example.org"\n{top}\n[servers.smtp]\nnext_hop = "{hop.url}"\ntrust = {json.dumps(trust)}\n'
            f'[dns]\nnameservers = ["{dns.address}"]\ntimeout = "{dns_timeout}"\ntries = 1\nfailure_ttl = "0s"\n'
            f"{settings}\n"
        )
        configuration = config.load(str(file))
        parts = app.assemble(configuration, store or MemoryStore(), clock=clock)
        next_hop = app._next_hop(configuration, workers=1)
        assert next_hop is not None
        server = app._servers(configuration, parts, next_hop, 1)["smtp"]
        assert isinstance(server, SmtpServer)
        await next_hop.probe()
        await server.guard.probe()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            await server.start([listener])
            try:
                port = listener.getsockname()[1]
                yield Worker(configuration, parts, server, next_hop, hop, dns, port)
            finally:
                await server.drain(0)
                await next_hop.close()
                await parts.close()
