"""A milter under test: server and gate, on loopback."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatekeeper import log
from gatekeeper.servers.milter import MilterServer, Settings
from tests.servers.proxy import Failures
from tests.support.fake_gate import FakeGate
from tests.support.milter_client import MilterClient


@dataclass
class Milter:
    server: MilterServer
    gate: FakeGate
    port: int | str

    def client(self, **options: Any) -> MilterClient:
        return MilterClient(self.port, **options)


@contextlib.asynccontextmanager
async def milter(
    *, gate: FakeGate | None = None, unix: Path | None = None, bugs: bool = False, workers: int = 1, **settings: Any
) -> AsyncIterator[Milter]:
    """`settings` are those of [servers.milter]. No session may fail by a bug, unless the test is about `bugs`."""
    gate = gate or FakeGate()
    server = MilterServer(Settings(**settings), gate=gate, workers=workers)
    sock = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
    sock.bind(str(unix) if unix else ("127.0.0.1", 0))
    sock.listen(128)
    await server.start([sock])
    failures = Failures()
    log._logger.addHandler(failures)
    try:
        yield Milter(server, gate, str(unix) if unix else sock.getsockname()[1])
    finally:
        await server.drain(0)
        sock.close()
        log._logger.removeHandler(failures)
    assert bugs or not failures.seen, failures.seen
    assert server.sessions == 0
    assert len(gate.left) == len(gate.sessions), "each session is left once"
    whole = Settings(**settings)
    assert (server.spool.memory_left, server.spool.disk_left) == (whole.spool_memory, whole.spool_disk)
