"""A message of our own that goes through the pipeline now and then: while it comes out, the process can do its work.

The supervisor hears a sign of life each time, and systemd's watchdog is fed only while a worker gives them. Neither DNS
nor the store is asked: when they are away mail still flows, and starting again would not bring them back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Final

from gatekeeper.dns.resolver import Answer, Status
from gatekeeper.gate import Gate
from gatekeeper.model import Address
from gatekeeper.servers.checking import Told, check

WITHIN: Final = 10.0
"""Seconds that the message may take."""
CLIENT: Final = IPv4Address("192.0.2.1")
SENDER: Final = Address("canary", "gatekeeper.invalid")


class NothingKnown:
    """A resolver that asks nobody: no name exists."""

    def cached(self, _name: str, _rtype: str) -> Answer | None:
        return Answer(Status.NXDOMAIN, ttl=60.0)

    async def ask(self, _name: str, _rtype: str) -> Answer:
        return Answer(Status.NXDOMAIN, ttl=60.0)


class Canary:
    """`gate` has the table and the policy of the real one, a `NothingKnown` and a store in memory."""

    def __init__(self, gate: Gate, hostname: str, clock: Callable[[], float]) -> None:
        self._gate = gate
        self._clock = clock
        self._told = Told(
            address=CLIENT,
            helo="canary.gatekeeper.invalid",
            sender=SENDER,
            recipients=(Address("postmaster", hostname),),
        )
        self._message = (
            f"From: <{SENDER}>\r\nTo: <postmaster@{hostname}>\r\nSubject: canary\r\n"
            f"Message-ID: <canary@gatekeeper.invalid>\r\n\r\nStill singing.\r\n"
        ).encode()

    async def sing(self) -> bool:
        """Whether the message came out with a verdict, whichever, in time. What a check raises is the gate's affair."""
        try:
            async with asyncio.timeout(WITHIN):
                await check(self._gate, self._message, self._told, server="canary", now=self._clock(), keep=False)
        except TimeoutError:
            return False
        return True
