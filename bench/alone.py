"""A server that a mail server asks, alone in its process: `python -m bench.alone milter|policy SOCKET`.

Behind it is a gate that finds nothing and keeps nothing, so that what is measured is the server: reading, facts,
answers, header edits. It ends with SIGTERM.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
import socket
import sys

from gatekeeper.app import run_loop
from gatekeeper.gate import Gate
from gatekeeper.message.edit import Edit, Insert
from gatekeeper.model import Action, Envelope, Mail, Reply, Session, Stage, Thresholds, Verdict
from gatekeeper.servers.milter import MilterServer
from gatekeeper.servers.milter import Settings as MilterSettings
from gatekeeper.servers.policy_service import PolicyServer
from gatekeeper.servers.policy_service import Settings as PolicySettings

ACCEPTED = Verdict(Action.ACCEPT, 0, Thresholds(tag=5000, reject=10000))
STATUS = "No, score=0.0 required=5.0 tests=SPF_PASS,DKIM_PASS,DMARC_PASS"


class NoGate:
    """A `gate.Gate`."""

    def __init__(self) -> None:
        self._ids = itertools.count()

    def session(self, server: str) -> Session:
        return Session(id=f"s{next(self._ids)}", server=server, started=0.0)

    def envelope(self, session: Session) -> Envelope:  # noqa: ARG002 - as the gate's
        return Envelope(id=f"e{next(self._ids)}")

    async def judge(self, stage: Stage, mail: Mail) -> Verdict:
        mail.stage = stage
        return ACCEPTED

    def reply(self, verdict: Verdict, mail: Mail) -> Reply:  # noqa: ARG002 - as the gate's
        raise AssertionError("nothing is refused")

    def edits(self, mail: Mail, verdict: Verdict) -> list[Edit]:  # noqa: ARG002 - as the gate's
        return [
            Insert(0, "X-Spam-Status", STATUS),
            Insert(0, "X-Spam-Score", "0.0"),
            Insert(0, "Authentication-Results", "mx.example; spf=pass; dkim=pass; dmarc=pass"),
        ]

    async def finish(
        self, mail: Mail, verdict: Verdict | None, *, reply: Reply, next_hop: Reply | None = None, note: str = ""
    ) -> None:
        """Nothing is kept."""

    async def refused(self, mail: Mail, verdict: Verdict, *, reply: Reply) -> None:
        """Nothing is kept."""

    def new_client(self, session: Session) -> None:
        """Nothing was found."""

    async def leave(self, session: Session) -> None:
        """Nothing is kept."""


async def serve(what: str, path: str) -> None:
    gate: Gate = NoGate()
    server: MilterServer | PolicyServer
    if what == "milter":
        server = MilterServer(MilterSettings(connections=100_000), gate=gate)
    else:
        server = PolicyServer(PolicySettings(connections=100_000), gate=gate)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1024)
        await server.start([listener])
        await stop.wait()
        await server.drain(0)


if __name__ == "__main__":
    run_loop(serve(sys.argv[1], sys.argv[2]))
