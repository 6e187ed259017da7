"""What stands against clients, names and domains beside blocks, for the operator to see and to lift: who is told no
names, who has named a trap, which names are traps, of which domain strangers may ask one name only.

Whether it stands is read from what the check itself goes by, with the settings of now; notes only say of whom to ask.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from gatekeeper.checks.stacking.accounts import NULL, Accounts, account, bounces_key, dictionary_set, networks_set
from gatekeeper.checks.stacking.crowd import TRAPS, tried_set
from gatekeeper.checks.stacking.domains import domain_set
from gatekeeper.checks.stacking.evidence import BLIND, DICTIONARY, DOMAIN, TRAPPED
from gatekeeper.checks.stacking.keys import helo_key, name_key
from gatekeeper.checks.stacking.notes import ALIKE, DICTIONARIES, DOMAINS, since_of
from gatekeeper.checks.stacking.settings import Settings
from gatekeeper.checks.stacking.traps import TRAPPED_BY
from gatekeeper.store.base import Charge, Note, Sighting, Store
from gatekeeper.wire.address import AddressError, parse_path
from gatekeeper.wire.notation import read_object

MOST: Final = 10_000
"""Of each kind that are shown."""
TOGETHER: Final = 200
"""Keys that one question to the store is about."""
TOLD_NOTHING: Final = frozenset({BLIND, DICTIONARY})
"""The reasons for which a client is answered alike whatever it names."""
_CLIENTS: Final = ("ip:", "net:", "helo:")
_TRAP: Final = "trap:"
_DOMAIN: Final = "domain:"


@dataclass(frozen=True, slots=True)
class Hold:
    """Whom it names ("ip:...", "net:...", "helo:...", "trap:MAILBOX", "domain:..."), the rule, what was found, since
    when (None: not known) and when it ends by itself at the latest (Unix time).
    """

    key: str
    reason: str
    evidence: str
    since: float | None
    until: float


@dataclass(frozen=True, slots=True)
class Holds:
    """Those that stand with these settings."""

    settings: Settings
    store: Store

    async def all(self, *, now: float) -> list[Hold]:
        """The latest end first, at most `MOST` of a kind. Raises StoreAway."""
        found = []
        for kind, look in self._looks.items():
            noted = {note.key: note for note in await self.store.notes(kind, now=now, limit=MOST)}
            for keys in _portions(list(noted)):
                found += await look(self, keys, noted, now)
        return sorted(found, key=lambda hold: (-hold.until, hold.key, hold.reason))

    async def of(self, keys: Sequence[str], *, now: float) -> list[Hold]:
        """Those of these keys; a key of another kind has none. Raises StoreAway."""
        asked = {
            ALIKE: [one for key in keys if key.startswith(_CLIENTS) for one in _accounts_of(key)],
            DICTIONARIES: [key for key in keys if key.startswith("ip:")],
            TRAPPED_BY: [key for key in keys if key.startswith("ip:")],
            TRAPS: [_digest(key) for key in keys if key.startswith(_TRAP)],
            DOMAINS: [key.removeprefix(_DOMAIN) for key in keys if key.startswith(_DOMAIN)],
        }
        found = []
        for kind, some in asked.items():
            if some:
                noted = {note.key: note for note in await self.store.notes(kind, some, now=now)}
                found += await self._looks[kind](self, some, noted, now)
        return found

    async def _alike(self, keys: Sequence[str], noted: Mapping[str, Note], now: float) -> list[Hold]:
        settings, accounts = self.settings, Accounts(self.settings)
        clients = [key.removesuffix(NULL) if key.startswith("ip:") else key for key in keys]
        histories = await self.store.history(clients)
        budgets = [accounts.budget(key, history.accepted) for key, history in zip(keys, histories, strict=True)]
        looks = [Charge(account(k), 0.0, budget / settings.refill) for k, budget in zip(keys, budgets, strict=True)]
        levels = await self.store.spend(looks, now=now)
        shared = await self.store.distinct([Sighting(networks_set(key), "", settings.window) for key in keys], now=now)
        found = []
        for n, (key, client, history) in enumerate(zip(keys, clients, histories, strict=True)):
            if key.startswith("helo:") and (not 0 < settings.helo_networks <= shared[n] or accounts.used(history, now)):
                continue
            bounces = key != client
            if bounces and not accounts.good(history, now):
                continue  # then what it tries with the null sender is put to its other accounts
            spent, budget = levels[n], budgets[n]
            over = spent - budget * settings.blind_at
            if over >= 0:
                text = f"{spent:.0f} points spent of {budget:.0f}{' with the null sender' if bounces else ''}"
                found.append(Hold(client, BLIND, text, _since(noted, key), now + over * settings.refill / budget))
        return found

    async def _dictionary(self, keys: Sequence[str], noted: Mapping[str, Note], now: float) -> list[Hold]:
        settings = self.settings
        if not settings.dictionary_clients:
            return []
        looks = [Sighting(dictionary_set(key), "", settings.window) for key in keys]
        counts = dict(zip(keys, await self.store.distinct(looks, now=now), strict=True))
        members = await self._strangers([key for key in keys if counts[key] >= settings.dictionary_names], now)
        return [
            Hold(
                key,
                DICTIONARY,
                f"tried {counts[key]} of the names that many try",
                _since(noted, key),
                noted[key].until if key in noted else now + settings.window,
            )
            for key in members
        ]

    async def _trapped(self, keys: Sequence[str], noted: Mapping[str, Note], now: float) -> list[Hold]:
        if not self.settings.traps:
            return []
        return [
            Hold(
                key,
                TRAPPED,
                f"named a {read_object(noted[key].text).get('kind', 'forbidden')} address",
                _since(noted, key),
                noted[key].until,
            )
            for key in await self._strangers([key for key in keys if key in noted], now)
        ]

    async def _traps(self, keys: Sequence[str], noted: Mapping[str, Note], now: float) -> list[Hold]:
        del now
        if "hot" not in self.settings.traps:
            return []
        found = []
        for key in keys:
            if key in noted:
                told = read_object(noted[key].text)
                whom = f"{_TRAP}{told.get('address', key)}"
                text = f"a hot name: {told.get('clients', 'many')} clients tried it in vain"
                found.append(Hold(whom, TRAPPED, text, _since(noted, key), noted[key].until))
        return found

    async def _domains(self, keys: Sequence[str], noted: Mapping[str, Note], now: float) -> list[Hold]:
        settings = self.settings
        if not settings.domain_budget:
            return []
        counts = await self.store.distinct([Sighting(domain_set(key), "", settings.window) for key in keys], now=now)
        return [
            Hold(
                f"{_DOMAIN}{key}",
                DOMAIN,
                f"strangers tried {count} unknown names, and may ask one each",
                _since(noted, key),
                noted[key].until if key in noted else now + settings.window,
            )
            for key, count in zip(keys, counts, strict=True)
            if count >= settings.domain_budget
        ]

    async def _strangers(self, keys: Sequence[str], now: float) -> list[str]:
        """Those without a good history: nothing of that kind is held against the others."""
        accounts = Accounts(self.settings)
        histories = await self.store.history(keys)
        return [key for key, history in zip(keys, histories, strict=True) if not accounts.good(history, now)]

    _looks: ClassVar[dict[str, Any]] = {
        ALIKE: _alike,
        DICTIONARIES: _dictionary,
        TRAPPED_BY: _trapped,
        TRAPS: _traps,
        DOMAINS: _domains,
    }


async def lift(store: Store, key: str, *, now: float) -> None:
    """Nothing is held against that client, network, HELO name, trap or domain any more, nor what would bring it next.

    Nothing happens where nothing is. Raises StoreAway.
    """
    if key.startswith(_TRAP):
        await store.drop_notes(TRAPS, [_digest(key)])
        await store.drop_sightings([tried_set(_digest(key))])
    elif key.startswith(_DOMAIN):
        await store.drop_notes(DOMAINS, [key.removeprefix(_DOMAIN)])
        await store.drop_sightings([domain_set(key.removeprefix(_DOMAIN))])
    else:
        await store.spend([Charge(account(one), -1e12, 1.0) for one in _accounts_of(key)], now=now)
        await store.drop_sightings([dictionary_set(key)])
        await store.drop_notes(ALIKE, [bounces_key(key)])
        for kind in (ALIKE, DICTIONARIES, TRAPPED_BY):
            await store.drop_notes(kind, [key])


def keys_of(what: str) -> list[str]:
    """The keys that somebody may mean by that, beside those of an address or network: a mailbox, or a key as it is
    shown.
    """
    kind, colon, rest = what.partition(":")
    if colon and kind == "helo":
        return [key for key in [helo_key(rest)] if key]
    if colon and kind in ("trap", "domain"):
        return [what.lower()]
    return [f"{_TRAP}{what.lower()}"] if "@" in what else []


def _accounts_of(key: str) -> tuple[str, ...]:
    """Whom the accounts of that client, network or name are kept for."""
    return (key, bounces_key(key)) if key.startswith("ip:") else (key,)


def _digest(key: str) -> str:
    """Under which the store keeps the trap with that key; one that was made before its address was kept is shown so."""
    written = key.removeprefix(_TRAP)
    try:
        address = parse_path(written)
    except AddressError:
        return written
    return name_key(address) if address.local and address.domain else written


def _since(noted: Mapping[str, Note], key: str) -> float | None:
    return since_of(noted.get(key))


def _portions(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for first in range(0, len(keys), TOGETHER):
        yield keys[first : first + TOGETHER]
