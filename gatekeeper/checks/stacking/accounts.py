"""What each client has learned, in points: one account for its address, one for its network, one for its HELO name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from gatekeeper.checks.base import Tools
from gatekeeper.checks.keys import client_key, network_key
from gatekeeper.checks.stacking.evidence import BLIND, BLOCKED, SLOW, Probing
from gatekeeper.checks.stacking.keys import helo_key
from gatekeeper.checks.stacking.notes import ALIKE, remark
from gatekeeper.checks.stacking.settings import Settings
from gatekeeper.model import IPAddress, Session
from gatekeeper.store.base import DISTINCT_MOST, Charge, History, Sighting

_CLIENT: Final = "stacking_client"
STANDING: Final = "stacking"
"""Where a session keeps what its client's accounts have come to."""
BOUNCES: Final = "stacking_bounces"
"""The same of the account that a client with a good history has for names it tries with the null sender."""
NULL: Final = " null"
"""The end of whom that account is kept for."""
_NOTED: Final = "stacking_noted"
STEPS: Final = ("", SLOW, BLIND, BLOCKED)
"""What an account comes to, mildest first."""


@dataclass(frozen=True, slots=True)
class Client:
    """Who is charged, and what is known of its past."""

    keys: tuple[str, ...]  # address, network, and HELO name where one was said
    accepted: tuple[int, ...]  # messages accepted before this session, by key
    wanted: bool  # its own mail was accepted before: then it does not answer for its neighbours
    good: bool  # and for so long, and with so little refused, that it answers for nobody else at all
    before: int  # messages that this session had sent when the past was read
    helo_counts: bool = False  # several networks probe under its HELO name, which nobody uses for wanted mail
    dictionary: int = 0  # names that it tried and many others do

    @property
    def key(self) -> str:
        return self.keys[0]


@dataclass(frozen=True, slots=True)
class Cost:
    """A name that a client has learned of, by its key, and what that costs it the first time."""

    name: str
    points: float
    null_sender: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """What the store said last: points spent and different names, by the client's keys."""

    spent: tuple[float, ...]
    names: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Accounts:
    """The accounts of all clients, in the store."""

    settings: Settings

    async def client(self, session: Session, address: IPAddress, tools: Tools) -> Client:
        """Read once for each session, and anew when the session's facts have changed."""
        known = session.memo.get(_CLIENT)
        if isinstance(known, Client):
            return known
        settings, now = self.settings, tools.clock()
        helo = helo_key(session.helo)
        keys = (client_key(address), network_key(address), *([helo] if helo else []))
        histories, levels = await tools.store.past(keys, [account(key) for key in keys], now=now)
        client = Client(
            keys=keys,
            accepted=tuple([history.accepted for history in histories]),
            wanted=histories[0].accepted > 0,
            good=self.good(histories[0], now),
            before=session.counters.messages,
        )
        if not any(levels):  # as with nearly everybody: how fast it would come back does not matter then
            session.memo[STANDING] = standing = Standing((0.0,) * len(keys), (0,) * len(keys))
        else:
            standing = await self.charge(session, client, tools)
        if any(standing.spent) and not client.good:  # who has spent nothing lately has not tried what many try either
            sets = (dictionary_set(keys[0]), *([networks_set(helo)] if helo else []))
            looks = [Sighting(key, "", settings.window) for key in sets]
            dictionary, *networks = await tools.store.distinct(looks, now=now)
            shared = bool(networks) and 0 < settings.helo_networks <= networks[0]
            client = replace(client, dictionary=dictionary, helo_counts=shared and not self.used(histories[-1], now))
        session.memo[_CLIENT] = client
        return client

    def good(self, history: History, now: float) -> bool:
        """Whether who has that past has a good history."""
        return self.used(history, now) and 4 * history.refused <= history.accepted

    def used(self, history: History, now: float) -> bool:
        """Whether wanted mail has come from who has that past for a day or more, whatever else did. It is what counts
        for a HELO name: anybody can say it, and be refused under it.
        """
        settings = self.settings
        return history.accepted >= max(1, settings.history_messages) and now - history.first >= settings.history_age

    async def charge(
        self,
        session: Session,
        client: Client,
        tools: Tools,
        *,
        names: Sequence[Cost] = (),
        points: float = 0.0,
        kept: str = STANDING,
    ) -> Standing:
        """Put these names, those that cost nothing so far, and further points to each account, and say how they stand.

        The store is asked only when there is something to tell, or nothing is known yet. `kept` is where the session
        keeps it.
        """
        known = session.memo.get(kept)
        if isinstance(known, Standing) and not names and (not points or (points < 0 and not any(known.spent))):
            return known  # nothing to tell; or it gives back, and owes nothing
        now = tools.clock()
        counts, costs = await self._new(client, names, tools, now)
        # A large budget comes back in the same time as a small one; otherwise room would be earned once and used up.
        rates = [budget / self.settings.refill for budget in self._budgets(session, client)]
        charges = [
            Charge(account(key), cost + points, rate) for key, cost, rate in zip(client.keys, costs, rates, strict=True)
        ]
        standing = Standing(tuple(await tools.store.spend(charges, now=now)), counts)
        session.memo[kept] = standing
        return standing

    async def bounces(
        self, session: Session, client: Client, tools: Tools, names: Sequence[Cost] = ()
    ) -> tuple[str, Probing]:
        """Put these names, tried with the null sender by a client with a good history, to the account for them, and say
        which step that has reached.

        Others make it try them: they forge senders at our domains, and it verifies or bounces. So it is told no names
        for that, but not turned away, and its mail that has a sender does not answer for it.
        """
        alone = replace(client, keys=(bounces_key(client.key),), accepted=client.accepted[:1])
        standing = await self.charge(session, alone, tools, names=names, kept=BOUNCES)
        step, probing = self.step(session, alone, standing)
        if step in (BLIND, BLOCKED):
            step = BLIND
            await self.remark(session, alone, standing, tools)
            session.memo.pop(BOUNCES, None)  # nothing is charged from here on: only the store knows what has come back
        return step, replace(probing, whom=client.key)

    async def _new(
        self, client: Client, names: Sequence[Cost], tools: Tools, now: float
    ) -> tuple[tuple[int, ...], list[float]]:
        """How many names each account has seen, and what those cost that it had not seen within the window."""
        if not names:
            return (0,) * len(client.keys), [0.0] * len(client.keys)
        window = self.settings.window
        members = ["", *(cost.name for cost in names)]
        sightings = [Sighting(f"stacking:names:{key}", name, window) for key in client.keys for name in members]
        if len(client.keys) > 2 and not client.good and self.settings.helo_networks:
            sightings.append(Sighting(networks_set(client.keys[2]), client.keys[1], window))
        found = await tools.store.distinct(sightings, now=now)
        counts, costs = [], []
        for n in range(len(client.keys)):
            own = found[n * len(members) : (n + 1) * len(members)]
            counts.append(own[-1])
            # Where the set is full it can no longer be told, and each name is taken for a new one.
            fresh = [after > before or after >= DISTINCT_MOST for before, after in pairwise(own)]
            costs.append(sum(cost.points for cost, new in zip(names, fresh, strict=True) if new))
        return tuple(counts), costs

    def _budgets(self, session: Session, client: Client) -> list[float]:
        """Of the client, its network and its HELO name, with the room that accepted mail has made."""
        sent = session.counters.messages - client.before
        return [self.budget(key, before + sent) for key, before in zip(client.keys, client.accepted, strict=True)]

    def budget(self, key: str, accepted: int) -> float:
        """Of that client, network or HELO name, with the room that so many accepted messages have made."""
        settings, factor = self.settings, 1.0
        if not key.startswith("ip:"):
            factor = settings.network_factor if key.startswith("net:") else settings.helo_factor
        return settings.budget * factor + min(settings.room_limit, settings.room_per_message * accepted)

    def step(self, session: Session, client: Client, standing: Standing) -> tuple[str, Probing]:
        """The step that the worst of the accounts that count has reached ("" for none), and how.

        A HELO name is only words: whoever says it may be told no names for it, but is not turned away.
        """
        settings, counters = self.settings, session.counters
        budgets = self._budgets(session, client)
        count = _counting(client)
        worst, reached = max(range(count), key=lambda n: standing.spent[n] / budgets[n]), 0
        for n in range(count):
            spent, budget = standing.spent[n], budgets[n]
            if spent < budget:
                continue
            step = 3 if spent >= budget * settings.block_at else 2 if spent >= budget * settings.blind_at else 1
            if n == 2:  # the HELO name's
                step = min(step, 2)
            if step > reached or (step == reached and n == worst):
                worst, reached = n, step
        probing = Probing(
            client.keys[worst],
            round(standing.spent[worst], 3),
            budgets[worst],
            counters.unknown,
            counters.abandoned,
            standing.names[worst],
        )
        return STEPS[reached], probing

    async def remark(self, session: Session, client: Client, standing: Standing, tools: Tools) -> None:
        """Note which of the accounts that count are so far spent that all names go alike, for the operator to see.

        Each until it has come back so far. As it is spent on, that end moves, and not each time it is written anew.
        """
        settings, now = self.settings, tools.clock()
        noted: dict[str, float] = session.memo.setdefault(_NOTED, {})
        ends = {}
        for n, budget in enumerate(self._budgets(session, client)[: _counting(client)]):
            over = standing.spent[n] / budget - settings.blind_at
            end = now + over * settings.refill
            if over >= 0 and end > noted.get(client.keys[n], 0.0):
                ends[client.keys[n]] = noted[client.keys[n]] = end + settings.refill / 4
        await remark(ALIKE, ends, tools)

    async def settle(self, probing: Probing, tools: Tools) -> None:
        """Set an account back to its budget, where names are asked again.

        Every mail server tries again what was put off. Were the account left as it is, those attempts would lead from
        the end of one block into the next for as long as anything waits in its queue.
        """
        back = Charge(account(probing.whom), probing.budget - probing.spent, probing.budget / self.settings.refill)
        await tools.store.spend([back], now=tools.clock())


def _counting(client: Client) -> int:
    """How many of its accounts it answers for."""
    return 1 if client.wanted else len(client.keys) if client.helo_counts else 2


def account(key: str) -> str:
    """The bucket of that client, network or name."""
    return f"stacking:{key}"


def keep(session: Session, client: Client) -> None:
    """What is known of the client from now on."""
    session.memo[_CLIENT] = client


def bounces_key(client: str) -> str:
    """Whom the account is kept for that a client has for names it tries with the null sender."""
    return f"{client}{NULL}"


def dictionary_set(client: str) -> str:
    """Where the store keeps which of the names that many try that client has tried."""
    return f"stacking:dictionary:{client}"


def networks_set(helo: str) -> str:
    """Where the store keeps which networks have probed under that HELO name."""
    return f"stacking:networks:{helo}"
