"""The budget of each recipient domain: how many different unknown names all clients without a good history together
may try. While it is spent, each of them may ask one name, and one more for each message that it has delivered.

The first few are answered at once, so that a quiet hour stays quiet; the others when they come again, as mail servers
do: a dictionary that is shared out among however many networks gets no further, and wanted mail is late once. Who has
many senders may come again from another of the same network, or of those that its domain's SPF names.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from gatekeeper.checks.base import Tools
from gatekeeper.checks.stacking.accounts import Client
from gatekeeper.checks.stacking.evidence import DomainProbed
from gatekeeper.checks.stacking.flights import Flights
from gatekeeper.checks.stacking.keys import name_key
from gatekeeper.checks.stacking.settings import Settings
from gatekeeper.model import Address
from gatekeeper.store.base import Limit, Note, Sighting
from gatekeeper.wire.notation import read_number, read_object

STRANGERS: Final = "stacking.stranger"
"""The kind of the notes that say which name a client without a good history may ask."""
CAME: Final = "stacking.came"
"""The kind of the notes that say when somebody of a network, or of a domain by SPF, first came for a name."""
WAITING_KEPT: Final = 86400.0
"""Seconds in which a client that is to come again is waited for."""
FRESH: Final = 1.0
"""Seconds for which a level is known without asking the store."""
NAMES_MOST: Final = 32
"""Names that one of those clients may ask, however much it has delivered, or may come again for."""
LEVELS_MOST: Final = 4096


class Levels:
    """How far budgets of domains are spent, as the store said last, and what has been logged lately. Bounded."""

    def __init__(self, most: int = LEVELS_MOST) -> None:
        self._most = most
        self._levels: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._told: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return max(len(self._levels), len(self._told))

    def get(self, domain: str, now: float) -> int | None:
        """None where it is not known, or not for certain any more."""
        level, at = self._levels.get(domain, (0, -FRESH))
        return level if domain in self._levels and 0 <= now - at < FRESH else None

    def last(self, domain: str) -> int:
        """What was known last, however long ago; 0 for nothing."""
        return self._levels.get(domain, (0, 0.0))[0]

    def set(self, domain: str, level: int, now: float) -> None:
        self._levels[domain] = (level, now)
        self._levels.move_to_end(domain)
        while len(self._levels) > self._most:
            self._levels.popitem(last=False)

    def tell(self, what: str, now: float, pause: float) -> bool:
        """Whether to log that: once in `pause` seconds."""
        told = self._told.get(what)
        if told is not None and 0 <= now - told < pause:
            return False
        self._told[what] = now
        self._told.move_to_end(what)
        while len(self._told) > self._most:
            self._told.popitem(last=False)
        return True


@dataclass(frozen=True, slots=True)
class _Leave:
    """What a client may ask: the names it was given leave for, and those that it is to come again for, each with when
    it came first (Unix time).
    """

    names: tuple[str, ...] = ()
    waiting: Mapping[str, float] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return json.dumps({"names": self.names, "waiting": self.waiting})

    @classmethod
    def of(cls, text: str) -> _Leave:
        """What `text` has written; nothing where that cannot be read."""
        found = read_object(text)
        names, waiting = found.get("names"), found.get("waiting")
        if not isinstance(names, list) or not isinstance(waiting, dict):
            return cls()
        times = {name: time for name, each in waiting.items() if (time := read_number(each)) is not None}
        return cls(tuple(map(str, names)), times)


@dataclass(frozen=True, slots=True)
class Domains:
    """The budgets of all domains. What is on its way to the next hop counts half: some of it will exist."""

    settings: Settings
    levels: Levels
    flights: Flights

    async def level(self, domain: str, tools: Tools) -> int:
        """Different unknown names that were tried there within the window."""
        now = tools.clock()
        known = self.levels.get(domain, now)
        if known is None:
            [known] = await tools.store.distinct([Sighting(domain_set(domain), "", self.settings.window)], now=now)
            self.levels.set(domain, known, now)
        return known

    async def refusal(
        self, client: Client, address: Address, sent: int, tools: Tools, *, sender_domain: str = ""
    ) -> DomainProbed | None:
        """Why that client is not told about the name, or None. `sent` is how many messages it has delivered.

        `sender_domain` is the one that it may send for by SPF. Nothing here looks at whether the name exists.
        """
        budget = self.settings.domain_budget
        if client.good or not budget:
            return None
        level = await self.level(address.domain, tools)
        if level + self.flights.count(flight_key(address.domain)) / 2 < budget:
            return None
        kin = [client.keys[1], *([f"dom:{sender_domain}"] if sender_domain else [])]
        why = await self._leave(client, address, sent, tools, kin)
        return DomainProbed(address.domain, level, budget, why) if why else None

    async def _leave(self, client: Client, address: Address, sent: int, tools: Tools, kin: Sequence[str]) -> str:
        """Why it has no leave to ask, "" when it has. Of several sessions at once one is given leave.

        `kin` are those whose coming counts as its own.
        """
        settings, now = self.settings, tools.clock()
        name, key = name_key(address), f"{address.domain} {client.key}"
        noted = await tools.store.notes(STRANGERS, [key], now=now)
        old = noted[0].text if noted else None
        leave = _Leave.of(old) if old is not None else _Leave()
        if name in leave.names:
            return ""
        if leave.names and len(leave.names) >= min(1 + sent, NAMES_MOST):
            return "asked"
        first = leave.waiting.get(name)
        known = leave.names or sent or self._waited(first, now)
        firsts = {} if known else await _came([f"{address.domain} {one} {name}" for one in kin], tools)
        known = known or any(self._waited(one, now) for one in firsts.values())
        if known or await self._at_once(address.domain, leave, tools):
            new, until, why = _Leave((*leave.names, name)), now + settings.window, ""
        else:
            waiting = dict(leave.waiting)
            if (first is None and len(waiting) < NAMES_MOST) or (first is not None and first > now):
                waiting[name] = now  # the first time, or the clock was set back since
            new, until, why = _Leave((), waiting), now + WAITING_KEPT, "wait"
        note = Note(STRANGERS, key, new.text, until)
        swapped = await tools.store.swap_note(STRANGERS, key, old=old, new=note, now=now)
        if swapped and new.waiting.get(name) == now:  # no more than NAMES_MOST of one client
            text = json.dumps({"first": now})
            kept = [one for one, at in firsts.items() if at is None or at > now]
            await tools.store.put_notes([Note(CAME, one, text, now + WAITING_KEPT) for one in kept])
        return why if swapped else "wait"

    def _waited(self, first: float | None, now: float) -> bool:
        """Whether who came first then has waited long enough."""
        return first is not None and now - first >= self.settings.domain_wait

    async def _at_once(self, domain: str, leave: _Leave, tools: Tools) -> bool:
        """Whether it is among the few that need not come again."""
        settings = self.settings
        if not settings.domain_at_once or leave.waiting:
            return False
        most = float(settings.domain_at_once)
        limit = Limit(f"stacking:at_once:{domain}", 1.0, most, most / settings.window)
        return await tools.store.take([limit], now=tools.clock()) == [0.0]


async def _came(keys: Sequence[str], tools: Tools) -> dict[str, float | None]:
    """When somebody came first, by these keys; None where nobody has."""
    noted = {note.key: note.text for note in await tools.store.notes(CAME, keys, now=tools.clock())}
    return {key: read_number(read_object(noted.get(key, "")).get("first")) for key in keys}


def domain_set(domain: str) -> str:
    """Where the store keeps which unknown names of that domain were tried."""
    return f"stacking:unknown:{domain}"


def flight_key(domain: str) -> str:
    return f"domain:{domain}"
