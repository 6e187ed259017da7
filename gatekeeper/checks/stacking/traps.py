"""Addresses that nobody writes to who has them from their owner: former ones, and names that never were and many try.

Off unless the operator says so. A client with a good history is never held to have named one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gatekeeper import metrics
from gatekeeper.checks.base import Tools
from gatekeeper.checks.stacking.accounts import Client
from gatekeeper.checks.stacking.crowd import TRAPS
from gatekeeper.checks.stacking.evidence import TRAP, TRAPPED, TrapNamed
from gatekeeper.checks.stacking.keys import name_key
from gatekeeper.checks.stacking.settings import Settings
from gatekeeper.model import EXEMPT_MAILBOXES, Address, Finding
from gatekeeper.store.base import Note

TRAPPED_BY: Final = "stacking.trapped"
"""The kind of the notes that say which clients have named a trap."""


@dataclass(frozen=True, slots=True)
class Traps:
    """Which names are traps, and who has named one lately."""

    settings: Settings

    async def find(self, client: Client, address: Address, tools: Tools) -> Sequence[Finding]:
        """STACKING_TRAP when that recipient is one, STACKING_TRAPPED when the client named another one lately."""
        settings, now = self.settings, tools.clock()
        if not settings.traps or client.good:
            return ()
        kind = await self._kind(address, tools)
        if kind:
            metrics.STACKING_TRAPS[kind].inc()
            text = json.dumps({"kind": kind, "since": now})
            await tools.store.put_notes([Note(TRAPPED_BY, client.key, text, now + settings.trapped_for)])
            return [Finding(TRAP, TrapNamed(client.key, kind, now), f"{client.key} named a {kind} address")]
        noted = await tools.store.notes(TRAPPED_BY, [client.key], now=now)
        if not noted:
            return ()
        told = json.loads(noted[0].text)
        trap = TrapNamed(client.key, told["kind"], told["since"])
        return [Finding(TRAPPED, trap, f"{client.key} named a {trap.kind} address")]

    async def _kind(self, address: Address, tools: Tools) -> str:
        """What kind of trap it is: former, hot, or an empty text for none."""
        traps = self.settings.traps
        if address.local.lower() in EXEMPT_MAILBOXES:
            return ""
        if "former" in traps and str(address).lower() in self.settings.former_addresses:
            return "former"
        if "hot" in traps and await tools.store.notes(TRAPS, [name_key(address)], now=tools.clock()):
            return "hot"
        return ""
