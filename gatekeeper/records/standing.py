"""What stands against clients, and for some: automatic blocks with their evidence, what stacking holds against them
without one, and the operator's entries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from gatekeeper.checks.keys import client_key, network_key
from gatekeeper.checks.list_index import Facts, ListIndex
from gatekeeper.checks.list_source import ADDED, Added, added_entries, drop_added
from gatekeeper.checks.stacking.holds import TOLD_NOTHING, Hold, Holds, keys_of, lift
from gatekeeper.checks.stacking.settings import Settings
from gatekeeper.records.document import Record, UnreadableDocument
from gatekeeper.records.find import find, find_one
from gatekeeper.store.base import Block, History, RecordQuery, Store
from gatekeeper.wire.list_lines import ABOUT, ListEntry

BEFORE = 900.0
"""Seconds before a block in which the record is looked for that brought it, where the block does not name it."""
EXPLAINED = 500
"""Blocks whose evidence is looked up; of more, only the rule is told."""
ALL_KNOWN = frozenset(ABOUT)


@dataclass(frozen=True, slots=True)
class Standing:
    """An automatic block: whom it names, the rule that brought it and what was found then, and when it ends by itself.

    `record` is the id of the record with all of the evidence, "" where none is kept any more.
    """

    key: str
    reason: str
    about: str
    evidence: str
    since: float
    until: float
    record: str

    @property
    def whom(self) -> str:
        """Without the word that says what kind of key it is, where it is an address or a network."""
        kind, _, rest = self.key.partition(":")
        return rest if kind in ("ip", "net") else self.key


@dataclass(frozen=True, slots=True)
class Shown:
    """An entry as it is listed: `added` where it was by command, with by whom and when."""

    entry: ListEntry
    added: Added | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """How the lists stand to a client: the first entry that it meets, the block and the history it has, and what
    stacking holds against it, or against the recipient, beside a block.
    """

    met: Shown | None
    block: Standing | None
    history: History
    held: tuple[Hold, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether it is denied, blocked or told no names."""
        denied = self.met is not None and self.met.entry.action == "deny"
        return denied or self.block is not None or any(hold.reason in TOLD_NOTHING for hold in self.held)


@dataclass(frozen=True, slots=True)
class Removed:
    """What was taken away: how many added entries, which blocks, what was held without one; and what still stands in a
    file, "FILE:LINE".
    """

    entries: int
    blocks: tuple[str, ...]
    places: tuple[str, ...]
    held: tuple[Hold, ...] = ()


async def blocks(store: Store, about: Mapping[str, str], *, now: float) -> list[Standing]:
    """Every automatic block, the latest end first. `about` is each rule's sentence. Raises StoreAway."""
    found = await store.blocks(now=now)
    shown = [await _standing(store, block, about) for block in found[:EXPLAINED]]
    return [*shown, *(_told(block, about, None) for block in found[EXPLAINED:])]


async def held(store: Store, stacking: Settings | None, *, now: float) -> list[Hold]:
    """What stacking holds against anybody beside blocks, the latest end first; None where it is switched off.

    Raises StoreAway.
    """
    return [] if stacking is None else await Holds(stacking, store).all(now=now)


async def entries(store: Store, in_files: Sequence[ListEntry], *, now: float) -> list[Shown]:
    """In the order in which they are tried: what was added, the newest first, then the files. Raises StoreAway."""
    added = [Shown(one.entry, one) for one in await added_entries(store, now=now)]
    return [*added, *(Shown(entry) for entry in in_files)]


async def told(
    store: Store,
    in_files: Sequence[ListEntry],
    facts: Facts,
    about: Mapping[str, str],
    *,
    stacking: Settings | None = None,
    now: float,
) -> Told:
    """What holds for a client with these facts. Raises StoreAway."""
    shown = await entries(store, in_files, now=now)
    met = ListIndex([one.entry for one in shown]).first(facts, now=now, known=ALL_KNOWN)
    address = facts.get("address")
    block, history, against = None, History(), list[Hold]()
    if address is not None and not isinstance(address, str):
        keys = [client_key(address), network_key(address)]
        standing = await store.blocked(keys, now=now)
        block = None if standing is None else await _standing(store, standing, about)
        history = (await store.history(keys[:1]))[0]
        if stacking is not None:
            # Who has had wanted mail accepted does not answer for its neighbours, nor for its HELO name.
            own = keys[:1] if history.accepted else [*keys, *_of_helo(facts.get("helo"))]
            against = await Holds(stacking, store).of([*own, *_of_recipient(facts.get("recipient"))], now=now)
    first = None if met is None else next(one for one in shown if one.entry is met.entry)
    return Told(first, block, history, tuple(against))


async def remove(
    store: Store,
    in_files: Sequence[ListEntry],
    what: str,
    pattern: str,
    *,
    stacking: Settings | None = None,
    now: float,
    token: str,
) -> Removed:
    """Take away what was added with that pattern, and the block of that client, network or key (`what`) and what is
    held against it without one.

    Both take the points that brought them along, or those would bring the next one. `token` is new each time.
    """
    gone = [one.key for one in await added_entries(store, now=now) if one.entry.pattern == pattern]
    lifted, released = [], []
    for key in dict.fromkeys([what, *_keys(pattern), *keys_of(what)]):
        against = [] if stacking is None else await Holds(stacking, store).of([key], now=now)
        blocked = await store.unblock(key)
        if blocked or against:
            await lift(store, key, now=now)
        lifted += [key] * blocked
        released += against
    count = await drop_added(store, gone, token=token) if gone else 0
    places = tuple([entry.place for entry in in_files if entry.pattern == pattern])
    return Removed(count, tuple(lifted), places, tuple({(hold.key, hold.reason): hold for hold in released}.values()))


def plain_entry(shown: Shown) -> dict[str, Any]:
    """For `--json`."""
    entry, added = shown.entry, shown.added
    return {
        "action": entry.action,
        "about": entry.about,
        "pattern": entry.pattern,
        "reason": entry.reason,
        "until": entry.until,
        "place": ADDED if added else entry.place,
        "by": added.by if added else None,
        "at": added.at if added else None,
    }


def plain_block(one: Standing) -> dict[str, Any]:
    """For `--json`."""
    names = ("key", "whom", "reason", "about", "evidence", "since", "until", "record")
    return {name: getattr(one, name) for name in names}


def plain_hold(one: Hold) -> dict[str, Any]:
    """For `--json`."""
    return {name: getattr(one, name) for name in ("key", "reason", "evidence", "since", "until")}


def _of_helo(name: object) -> list[str]:
    return keys_of(f"helo:{name}") if name else []


def _of_recipient(mailbox: object) -> list[str]:
    """What may stand against a recipient: that it is a trap, or in a domain where too many were tried."""
    _, at, domain = str(mailbox or "").rpartition("@")
    return [*keys_of(str(mailbox)), *keys_of(f"domain:{domain}")] if at else []


def _keys(pattern: str) -> list[str]:
    """The keys of blocks that an address or network may have."""
    try:
        network = ip_network(pattern)
    except ValueError:
        return []
    own = network.prefixlen == network.max_prefixlen
    first = network.network_address
    keys = [client_key(first)] if own or client_key(first) == f"ip:{network}" else []
    return [*keys, f"net:{network}"]


async def _standing(store: Store, block: Block, about: Mapping[str, str]) -> Standing:
    return _told(block, about, await _record(store, block))


def _told(block: Block, about: Mapping[str, str], record: Record | None) -> Standing:
    evidence = "" if record is None else _evidence(record, block.reason)
    return Standing(
        key=block.key,
        reason=block.reason,
        about=about.get(block.reason, ""),
        evidence=evidence,
        since=block.since,
        until=block.until,
        record="" if record is None else record.id,
    )


async def _record(store: Store, block: Block) -> Record | None:
    """The record that the block names, or the one of about the same time that has its reason."""
    try:
        if block.record and (named := await find_one(store, block.record)) is not None:
            return named
    except UnreadableDocument:
        return None
    kind, _, whom = block.key.partition(":")
    if kind not in ("ip", "net"):
        return None
    query = RecordQuery(address=whom, since=block.since - BEFORE, until=block.since + BEFORE, limit=200)
    found = [one for one in await find(store, query) if _evidence(one, block.reason)]
    return min(found, key=lambda one: abs(one.time - block.since), default=None)


def _evidence(record: Record, rule: str) -> str:
    """What was found by that rule, of several the last and so the worst; "" for nothing."""
    found = [*record.findings, *(one for recipient in record.recipients for one in recipient.findings)]
    texts = [one.text for one in found if one.rule == rule]
    return texts[-1] if texts else ""
