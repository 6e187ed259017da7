"""A next hop for the demonstration: takes mail for a few names at one domain and keeps it in a Maildir."""

from __future__ import annotations

import asyncio
import mailbox
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session


class MaildirNextHop:
    """An SMTP server on loopback; `open` it inside a running loop, `close` it once."""

    def __init__(self, directory: Path, domain: str, names: Iterable[str]) -> None:
        self._domain = domain
        self._names = frozenset(names)
        self._box = mailbox.Maildir(directory / "Maildir")
        self._server: asyncio.Server | None = None
        self._taken = 0

    async def open(self) -> int:
        """The port it listens on."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: SMTP(self, hostname="mailstore.example", ident="demonstration mail store", enable_SMTPUTF8=True),
            sock=socket.create_server(("127.0.0.1", 0)),
        )
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    # aiosmtpd calls these by name.

    async def handle_RCPT(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        name, _, domain = address.rpartition("@")
        if domain.lower() != self._domain:
            return f"554 5.7.1 <{address}>: Relay access denied"
        if name.lower() not in self._names:
            return f"550 5.1.1 <{address}>: User unknown"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        content: Any = envelope.original_content
        await asyncio.to_thread(self._box.add, bytes(content or b""))
        self._taken += 1
        return f"250 2.0.0 Ok: queued as DEMO{self._taken}"
