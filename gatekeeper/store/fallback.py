"""Memory stands in while the store is away, so that mail flows; what can be made up for is made up for afterwards.

What counted before is not known meanwhile: budgets begin anew and nobody has a history. Records and blocks of that
time reach the store when it is back; budgets, histories, sightings, notes and tallies of that time are let go. Whoever
must know that a note is the one that all others see (swap_note), or that a lesson was kept (learn), asks a store
without this.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from gatekeeper import log, metrics
from gatekeeper.store.base import (
    Block,
    Charge,
    Forgotten,
    History,
    Learned,
    Lesson,
    Limit,
    Note,
    RecordQuery,
    Sighting,
    Store,
    StoreAway,
    StoredRecord,
    Tally,
)
from gatekeeper.store.memory import MemoryStore

SHORTEST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
"""Seconds between attempts to reach a store that is away; doubled from the one to the other."""
WRITTEN_AT_ONCE = 200
"""Records of the time away that go into one transaction."""
MOST_BLOCKS = 10_000
NOBODY = "none:"
"""A key that no client has; lifting its block is a change that changes nothing."""

T = TypeVar("T")


class Fallback:
    """`primary` as long as it answers, `memory` from its first StoreAway on until an attempt succeeds.

    Whoever meets the StoreAway is answered from memory too; nobody sees one. While it is away one caller at a time
    tries it again, after a pause of 1 to 30 s; nobody else waits for it. `process` is who says so in the log.
    """

    def __init__(
        self,
        primary: Store,
        memory: MemoryStore,
        on_change: Callable[[bool], None] | None = None,
        *,
        backend: str = "sqlite",
        clock: Callable[[], float] = time.monotonic,
        most_waiting: int = 5_000,
        process: str | None = None,
    ) -> None:
        self._primary = primary
        self._memory = memory
        self._on_change = on_change
        self._clock = clock
        self._away_since: float | None = None
        self._back_at: float | None = None
        self._pause = SHORTEST_PAUSE
        self._tried_at = 0.0
        self._trying = False
        self._most_waiting = most_waiting
        self._process = process
        self._waiting: OrderedDict[str, StoredRecord] = OrderedDict()  # records the store has yet to get
        self._changed: OrderedDict[str, Block | None] = OrderedDict()  # blocks made or lifted (None) meanwhile
        metrics.STORE_UP.declare((backend,))
        self._up = metrics.STORE_UP[backend]
        self._up.set(1)

    @property
    def away(self) -> bool:
        return self._away_since is not None

    @property
    def primary(self) -> Store:
        """The store itself, which raises StoreAway; for whoever cannot do with less."""
        return self._primary

    async def spend(self, charges: Sequence[Charge], *, now: float) -> list[float]:
        return await self._ask("spend", lambda store: store.spend(charges, now=now))

    async def take(self, limits: Sequence[Limit], *, now: float) -> list[float]:
        return await self._ask("take", lambda store: store.take(limits, now=now))

    async def distinct(self, sightings: Sequence[Sighting], *, now: float) -> list[int]:
        return await self._ask("distinct", lambda store: store.distinct(sightings, now=now))

    async def drop_sightings(self, keys: Sequence[str]) -> None:
        await self._ask("drop_sightings", lambda store: store.drop_sightings(keys))

    async def put_notes(self, notes: Sequence[Note]) -> None:
        await self._ask("put_notes", lambda store: store.put_notes(notes))

    async def notes(
        self, kind: str, keys: Sequence[str] = (), *, prefix: str = "", now: float, limit: int = 1000
    ) -> list[Note]:
        return await self._ask("notes", lambda store: store.notes(kind, keys, prefix=prefix, now=now, limit=limit))

    async def swap_note(self, kind: str, key: str, *, old: str | None, new: Note | None, now: float) -> bool:
        return await self._ask("swap_note", lambda store: store.swap_note(kind, key, old=old, new=new, now=now))

    async def drop_notes(self, kind: str, keys: Sequence[str]) -> int:
        return await self._ask("drop_notes", lambda store: store.drop_notes(kind, keys))

    async def tally(self, entries: Sequence[Tally]) -> None:
        await self._ask("tally", lambda store: store.tally(entries))

    async def tallies(self, kind: str, *, prefix: str = "", now: float, limit: int = 100_000) -> list[Tally]:
        return await self._ask("tallies", lambda store: store.tallies(kind, prefix=prefix, now=now, limit=limit))

    async def learn(self, kind: str, key: str, *, old: Lesson | None, new: Lesson | None) -> bool:
        return await self._ask("learn", lambda store: store.learn(kind, key, old=old, new=new))

    async def lessons(self, kind: str, keys: Sequence[str] = (), *, after: str = "", limit: int = 500) -> list[Lesson]:
        return await self._ask("lessons", lambda store: store.lessons(kind, keys, after=after, limit=limit))

    async def learned(self, kind: str, traits: Sequence[int] = ()) -> Learned:
        return await self._ask("learned", lambda store: store.learned(kind, traits))

    async def remember(self, key: str, *, accepted: int, refused: int, now: float) -> History:
        return await self._ask(
            "remember", lambda store: store.remember(key, accepted=accepted, refused=refused, now=now)
        )

    async def history(self, keys: Sequence[str]) -> list[History]:
        return await self._ask("history", lambda store: store.history(keys))

    async def past(
        self, clients: Sequence[str], buckets: Sequence[str], *, now: float
    ) -> tuple[list[History], list[float]]:
        return await self._ask("past", lambda store: store.past(clients, buckets, now=now))

    async def block(self, block: Block) -> None:
        """In memory always, so that a block holds when the store goes."""
        await self._memory.block(block)
        if await self._reach():
            try:
                return await self._primary.block(block)
            except StoreAway as failure:
                self._lost("block", failure)
        return self._note(block.key, block)

    async def blocked(self, keys: Sequence[str], *, now: float) -> Block | None:
        """Memory learns what the store knows of these keys, for the time when it is asked instead."""
        found = await self._ask("blocked", lambda store: store.blocked(keys, now=now))
        if not self.away:
            if found is not None:
                await self._memory.block(found)
            else:
                for key in keys:
                    await self._memory.unblock(key)
        return found

    async def blocks(self, *, now: float) -> list[Block]:
        return await self._ask("blocks", lambda store: store.blocks(now=now))

    async def unblock(self, key: str) -> bool:
        known = await self._memory.unblock(key)
        if await self._reach():
            try:
                return await self._primary.unblock(key)
            except StoreAway as failure:
                self._lost("unblock", failure)
        self._note(key, None)
        return known

    async def put_records(self, records: Sequence[StoredRecord]) -> None:
        """Never raises StoreAway: what cannot be written now waits, and the oldest is dropped when too many do."""
        for record in records:
            self._waiting[record.id] = record
            self._waiting.move_to_end(record.id)
        if not await self._make_up():
            await self._memory.put_records(records)
        lost = len(self._waiting) - self._most_waiting
        for _ in range(lost):
            self._waiting.popitem(last=False)
        if lost > 0:
            metrics.RECORDS_DROPPED["store_away"].inc(lost)

    async def find_records(self, query: RecordQuery) -> list[StoredRecord]:
        """Memory answers only while the store counts as away, which a search does not make it: the question may have
        been too much. Raises StoreAway then, for "nothing found" would be no answer.
        """
        if not await self._make_up():
            return await self._memory.find_records(query)
        try:
            return await self._primary.find_records(query)
        except StoreAway:
            metrics.STORE_ERRORS["find_records"].inc()
            raise

    async def expire(self, *, now: float, records_before: float) -> Forgotten:
        await self._make_up()
        await self._memory.expire(now=now, records_before=records_before)
        return await self._ask("expire", lambda store: store.expire(now=now, records_before=records_before))

    async def close(self) -> None:
        """Writes what waits, if the store takes it."""
        await self._make_up()
        if self._waiting:
            metrics.RECORDS_DROPPED["store_away"].inc(len(self._waiting))
            log.event("records_lost", level=logging.ERROR, count=len(self._waiting), why="the store is away")
            self._waiting.clear()
        await self._primary.close()

    async def _ask(self, verb: str, ask: Callable[[Store], Awaitable[T]]) -> T:
        if await self._reach():
            try:
                return await ask(self._primary)
            except StoreAway as failure:
                self._lost(verb, failure)
        return await ask(self._memory)

    async def _make_up(self) -> bool:
        """Write the records that wait; whether none is left and the store is there."""
        if not await self._reach():
            return False
        try:
            while self._waiting:
                some = list(itertools.islice(self._waiting.values(), WRITTEN_AT_ONCE))
                await self._primary.put_records(some)
                for record in some:
                    if self._waiting.get(record.id) is record:
                        del self._waiting[record.id]
        except StoreAway as failure:
            self._lost("put_records", failure)
            return False
        return True

    async def _reach(self) -> bool:
        """Whether to ask the store: it is there, or was away and this caller has just found it back."""
        if self._away_since is None:
            return True
        waited = self._clock() - self._tried_at
        if self._trying or 0 <= waited < self._pause:  # a clock set back does not make the pause longer
            return False
        self._trying = True
        try:
            await self._bring_back()
        except StoreAway:
            self._tried_at = self._clock()
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            return False
        finally:
            self._trying = False
        return True

    async def _bring_back(self) -> None:
        """Try a change, since a full disk can still be read; then tell of the blocks made or lifted meanwhile."""
        await self._primary.unblock(NOBODY)
        while self._changed:
            some = list(itertools.islice(self._changed.items(), WRITTEN_AT_ONCE))
            for outcome in await asyncio.gather(*(self._tell(*one) for one in some), return_exceptions=True):
                if isinstance(outcome, BaseException):
                    raise outcome
            for key, block in some:
                if self._changed.get(key) is block:
                    self._changed.pop(key, None)
        self._back_at = self._clock()
        away_for = self._back_at - (self._away_since or 0.0)
        self._away_since = None
        self._up.set(1)
        log.event("store_back", process=self._process, away_for=away_for)
        if self._on_change is not None:
            self._on_change(True)

    async def _tell(self, key: str, block: Block | None) -> None:
        if block is None:
            await self._primary.unblock(key)
        else:
            await self._primary.block(block)

    def _lost(self, verb: str, failure: StoreAway) -> None:
        """The first to notice; those who were under way at the same time change nothing more."""
        metrics.STORE_ERRORS[verb].inc()
        if self._away_since is not None:
            return
        now = self._clock()
        # One that comes and goes is left alone for longer and longer.
        steady = self._back_at is None or not 0 <= now - self._back_at < 2 * LONGEST_PAUSE
        self._pause = SHORTEST_PAUSE if steady else min(2 * self._pause, LONGEST_PAUSE)
        self._away_since = self._tried_at = now
        self._up.set(0)
        log.event("store_away", level=logging.WARNING, process=self._process, why=failure)
        if self._on_change is not None:
            self._on_change(False)

    def _note(self, key: str, block: Block | None) -> None:
        self._changed[key] = block
        self._changed.move_to_end(key)
        if len(self._changed) > MOST_BLOCKS:
            self._changed.popitem(last=False)
