"""What many clients do together: the same unknown names tried from many addresses are a dictionary shared out among
them. Clients without a good history alone count; a name that is near to one that exists, or a former one, does not.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from gatekeeper import log, metrics
from gatekeeper.checks.base import Tools
from gatekeeper.checks.stacking.accounts import Client, dictionary_set
from gatekeeper.checks.stacking.domains import Levels, domain_set
from gatekeeper.checks.stacking.evidence import Dictionary
from gatekeeper.checks.stacking.keys import name_key
from gatekeeper.checks.stacking.notes import DICTIONARIES, DOMAINS, remark
from gatekeeper.checks.stacking.settings import Settings
from gatekeeper.model import EXEMPT_MAILBOXES, Address
from gatekeeper.store.base import Note, Sighting

TRAPS: Final = "stacking.trap"
"""The kind of the notes that say which names have become traps. They hold the name too: nobody has it."""
NOTED_FOR: Final = 60.0
"""Seconds for which a process does not note again that a domain's budget is spent."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """What clients without a good history try, over all of them; in the store."""

    settings: Settings
    levels: Levels

    async def note(self, client: Client, unknown: Sequence[Address], tools: Tools) -> Client:
        """These names do not exist, and this client has tried them. What is known of it afterwards."""
        if not unknown or client.good:
            return client
        settings, now = self.settings, tools.clock()
        keys = [name_key(address) for address in unknown]
        sightings = []
        for address, key in zip(unknown, keys, strict=True):
            sightings.append(Sighting(domain_set(address.domain), key, settings.window))
            sightings.append(Sighting(tried_set(key), client.key, settings.window))
        found = await tools.store.distinct(sightings, now=now)
        by_domain, by_name = found[::2], found[1::2]
        for address, count in zip(unknown, by_domain, strict=True):
            await self._spent(address.domain, count, tools)
        least = settings.dictionary_clients
        hot = [(a, key, count) for a, key, count in zip(unknown, keys, by_name, strict=True) if 0 < least <= count]
        if "hot" in settings.traps:
            await self._make_traps([one for one in hot if one[2] >= settings.trap_clients], tools)
        if not hot:
            return client
        metrics.STACKING_NAMES["hot"].inc(len(hot))
        tried = [Sighting(dictionary_set(client.key), key, settings.window) for _, key, _ in hot]
        names = (await tools.store.distinct(tried, now=now))[-1]
        if names >= settings.dictionary_names:
            await remark(DICTIONARIES, {client.key: now + settings.window}, tools)
        if names >= settings.dictionary_names > client.dictionary:
            metrics.STACKING_DICTIONARIES.inc()
            if self.levels.tell(f"dictionary:{hot[-1][0].domain}", now, settings.window):
                log.event(
                    "dictionary_attack",
                    level=logging.WARNING,
                    domain=hot[-1][0].domain,
                    client=client.key,
                    names=names,
                    clients=hot[-1][2],
                )
        return replace(client, dictionary=names)

    def takes_part(self, client: Client) -> Dictionary | None:
        """The evidence that it takes part in a dictionary attack, or None."""
        settings = self.settings
        if not settings.dictionary_clients or client.good or client.dictionary < settings.dictionary_names:
            return None
        return Dictionary(client.key, client.dictionary, settings.dictionary_clients)

    async def looked(self, client: Client, tools: Tools) -> Client:
        """The same with what stands now: it may have ended, or been lifted, while the session goes on."""
        look = Sighting(dictionary_set(client.key), "", self.settings.window)
        return replace(client, dictionary=(await tools.store.distinct([look], now=tools.clock()))[0])

    async def _spent(self, domain: str, count: int, tools: Tools) -> None:
        """Keep in mind how far the budget of that domain is spent, and say so when it is."""
        settings, now = self.settings, tools.clock()
        self.levels.set(domain, count, now)
        if not 0 < settings.domain_budget <= count:
            return
        if self.levels.tell(f"noted:{domain}", now, NOTED_FOR):
            await remark(DOMAINS, {domain: now + settings.window + NOTED_FOR}, tools)
        if self.levels.tell(f"domain:{domain}", now, settings.window):
            metrics.STACKING_DOMAINS.inc()
            log.event("domain_probed", level=logging.WARNING, domain=domain, names=count, budget=settings.domain_budget)

    async def _make_traps(self, hot: Sequence[tuple[Address, str, int]], tools: Tools) -> None:
        now = tools.clock()
        for address, key, count in hot:
            if address.local.lower() in EXEMPT_MAILBOXES:
                continue
            text = json.dumps({"since": now, "clients": count, "address": str(address)})
            note = Note(TRAPS, key, text, now + self.settings.trap_for)
            if await tools.store.swap_note(TRAPS, key, old=None, new=note, now=now):
                log.event("trap_made", address=str(address), clients=count)


def tried_set(name: str) -> str:
    """Where the store keeps which clients have tried the unknown name with that key."""
    return f"stacking:tried:{name}"
