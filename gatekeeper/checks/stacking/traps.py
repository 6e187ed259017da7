"""Addresses that nobody writes to who has them from their owner: former ones, and names that never were and many try.

Off unless the operator says so. A client with a good history is never held to have named one. A former address is one
by the operator's word. A hot name is one only by what was answered before, and a mailbox may have been made since: the
next hop is asked all the same, and its answer counts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gatekeeper import log, metrics
from gatekeeper.checks.base import Tools
from gatekeeper.checks.stacking.accounts import Client
from gatekeeper.checks.stacking.crowd import TRAPS
from gatekeeper.checks.stacking.evidence import TRAP, TRAPPED, TrapNamed
from gatekeeper.checks.stacking.keys import name_key
from gatekeeper.checks.stacking.notes import since_of
from gatekeeper.checks.stacking.settings import Settings
from gatekeeper.model import EXEMPT_MAILBOXES, Address, Finding, Heard, Named
from gatekeeper.store.base import Note
from gatekeeper.wire.notation import read_object

TRAPPED_BY: Final = "stacking.trapped"
"""The kind of the notes that say which clients have named a trap."""


@dataclass(frozen=True, slots=True)
class Traps:
    """Which names are traps, and who has named one lately."""

    settings: Settings

    async def find(self, client: Client, address: Address, tools: Tools) -> Sequence[Finding]:
        """STACKING_TRAP for a former address, STACKING_TRAPPED when the client named a trap lately."""
        settings, now = self.settings, tools.clock()
        if not settings.traps or client.good:
            return ()
        if self._former(address):
            await self._sprung(client, "former", tools)
            return [Finding(TRAP, TrapNamed(client.key, "former", now), f"{client.key} named a former address")]
        noted = await tools.store.notes(TRAPPED_BY, [client.key], now=now)
        if not noted:
            return ()
        since = since_of(noted[0])
        kind = str(read_object(noted[0].text).get("kind", "forbidden"))
        trap = TrapNamed(client.key, kind, now if since is None else since)
        return [Finding(TRAPPED, trap, f"{client.key} named a {trap.kind} address")]

    async def heard(self, names: Sequence[Named], client: Client | None, tools: Tools) -> frozenset[str]:
        """What the next hop has said to these names: the keys of hot ones that it refused to that client.

        One that it took is no trap any longer, whoever named it. None for a client that nothing was refused to.
        """
        if "hot" not in self.settings.traps:
            return frozenset()
        keys = {name_key(one.address): one.heard for one in names if one.heard is not Heard.ABANDONED}
        if not keys:
            return frozenset()
        hot = [note.key for note in await tools.store.notes(TRAPS, list(keys), now=tools.clock())]
        exist = [key for key in hot if keys[key] is Heard.KNOWN]
        if exist and await tools.store.drop_notes(TRAPS, exist):
            known = [one.address for one in names if name_key(one.address) in exist]
            log.event("trap_dropped", address=str(known[-1]), names=len(exist))
        refused = frozenset(hot).difference(exist)
        if not refused or client is None or client.good:
            return frozenset()
        await self._sprung(client, "hot", tools)
        return refused

    async def _sprung(self, client: Client, kind: str, tools: Tools) -> None:
        metrics.STACKING_TRAPS[kind].inc()
        now = tools.clock()
        text = json.dumps({"kind": kind, "since": now})
        await tools.store.put_notes([Note(TRAPPED_BY, client.key, text, now + self.settings.trapped_for)])

    def _former(self, address: Address) -> bool:
        if "former" not in self.settings.traps or address.local.lower() in EXEMPT_MAILBOXES:
            return False
        return str(address).lower() in self.settings.former_addresses
