"""The store in this process's memory: for tests, for the demo, and for the time the real one is away. Bounded."""

from __future__ import annotations

import heapq
from collections import Counter, OrderedDict
from collections.abc import Sequence
from typing import Any

from gatekeeper.store import search
from gatekeeper.store.base import (
    DISTINCT_MOST,
    HISTORY_KEPT,
    LESSONS,
    MOST_LESSONS,
    TRAITS,
    Block,
    Bucket,
    Charge,
    Forgotten,
    History,
    Learned,
    Lesson,
    Limit,
    Note,
    RecordQuery,
    Sighting,
    StoredRecord,
    Tally,
)


class MemoryStore:
    """Everything in dictionaries with a limit each; what was not touched for longest goes first.

    Of blocks, the one that would end first goes first: a flood of short ones cannot push out the long ones.
    No verb waits, so each is atomic.
    """

    def __init__(
        self,
        *,
        buckets: int = 200_000,
        histories: int = 100_000,
        blocks: int = 20_000,
        records: int = 5_000,
        sightings: int = 200_000,
        notes: int = 20_000,
        tallies: int = 100_000,
        lessons: int = 2_000,
    ) -> None:
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()
        self._histories: OrderedDict[str, History] = OrderedDict()
        self._blocks: dict[str, Block] = {}
        self._records: OrderedDict[str, StoredRecord] = OrderedDict()
        self._most_buckets = buckets
        self._most_histories = histories
        self._most_blocks = blocks
        self._most_records = records
        self._sets: OrderedDict[str, dict[bytes, float]] = OrderedDict()  # key -> member -> until
        self._sightings = 0  # members of all sets
        self._most_sightings = sightings
        self._notes: OrderedDict[tuple[str, str], Note] = OrderedDict()
        self._most_notes = notes
        self._tallies: OrderedDict[tuple[str, str], Tally] = OrderedDict()
        self._most_tallies = tallies
        self._lessons: OrderedDict[tuple[str, str], Lesson] = OrderedDict()
        self._most_lessons = lessons
        self._traits: dict[str, Counter[tuple[bool, int]]] = {}  # kind -> class and trait -> lessons

    async def spend(self, charges: Sequence[Charge], *, now: float) -> list[float]:
        levels = []
        for charge in charges:
            bucket = self._buckets.get(charge.key, Bucket()).spend(charge, now=now)
            levels.append(bucket.level)
            if charge.cost:
                self._buckets[charge.key] = bucket
                self._buckets.move_to_end(charge.key)
        _shrink(self._buckets, self._most_buckets)
        return levels

    async def take(self, limits: Sequence[Limit], *, now: float) -> list[float]:
        buckets: dict[str, Bucket] = {}
        waits = []
        for limit in limits:
            known = buckets.get(limit.key) or self._buckets.get(limit.key, Bucket())
            cost = min(limit.cost, limit.burst)
            looked = known.spend(Charge(limit.key, 0.0, limit.per_second), now=now)
            waits.append(limit.wait(looked.level))
            buckets[limit.key] = looked.spend(Charge(limit.key, cost, limit.per_second), now=now)
        if not any(waits):
            for key, bucket in buckets.items():
                self._buckets[key] = bucket
                self._buckets.move_to_end(key)
            _shrink(self._buckets, self._most_buckets)
        return waits

    async def distinct(self, sightings: Sequence[Sighting], *, now: float) -> list[int]:
        counts = []
        for sighting in sightings:
            members = self._sets.get(sighting.key, {})
            if sighting.member:
                self._see(sighting, members, now)
            counts.append(sum(until > now for until in members.values()))
        return counts

    def _see(self, sighting: Sighting, members: dict[bytes, float], now: float) -> None:
        digest, until = sighting.digest, now + sighting.window
        if digest not in members:
            if len(members) >= DISTINCT_MOST:
                gone = [member for member, end in members.items() if end <= now]
                for member in gone:
                    del members[member]
                self._sightings -= len(gone)
                if not gone:
                    return
            self._sightings += 1
        members[digest] = max(until, members.get(digest, 0.0))
        self._sets[sighting.key] = members
        self._sets.move_to_end(sighting.key)
        while self._sightings > self._most_sightings:
            self._sightings -= len(self._sets.popitem(last=False)[1])

    async def drop_sightings(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._sightings -= len(self._sets.pop(key, {}))

    async def put_notes(self, notes: Sequence[Note]) -> None:
        for note in notes:
            self._notes[note.kind, note.key] = note
            self._notes.move_to_end((note.kind, note.key))
        _shrink(self._notes, self._most_notes)

    async def notes(
        self, kind: str, keys: Sequence[str] = (), *, prefix: str = "", now: float, limit: int = 1000
    ) -> list[Note]:
        if keys:
            some = [note for key in dict.fromkeys(keys) if (note := self._notes.get((kind, key))) is not None]
        else:
            some = [note for note in self._notes.values() if note.kind == kind and note.key.startswith(prefix)]
        return sorted((note for note in some if note.until > now), key=lambda note: note.key)[:limit]

    async def swap_note(self, kind: str, key: str, *, old: str | None, new: Note | None, now: float) -> bool:
        known = self._notes.get((kind, key))
        if (known.text if known is not None and known.until > now else None) != old:
            return False
        if new is None:
            self._notes.pop((kind, key), None)
        else:
            await self.put_notes([new])
        return True

    async def drop_notes(self, kind: str, keys: Sequence[str]) -> int:
        return sum(self._notes.pop((kind, key), None) is not None for key in dict.fromkeys(keys))

    async def tally(self, entries: Sequence[Tally]) -> None:
        for entry in entries:
            known = self._tallies.get((entry.kind, entry.key))
            amount, until = (known.amount, known.until) if known is not None else (0, entry.until)
            added = Tally(entry.kind, entry.key, amount + entry.amount, max(until, entry.until))
            self._tallies[entry.kind, entry.key] = added
            self._tallies.move_to_end((entry.kind, entry.key))
        _shrink(self._tallies, self._most_tallies)

    async def tallies(self, kind: str, *, prefix: str = "", now: float, limit: int = 100_000) -> list[Tally]:
        some = [t for t in self._tallies.values() if t.kind == kind and t.key.startswith(prefix) and t.until > now]
        return sorted(some, key=lambda t: t.key)[:limit]

    async def learn(self, kind: str, key: str, *, old: Lesson | None, new: Lesson | None) -> bool:
        if self._lessons.get((kind, key)) != old:
            return False
        self._forget_lesson(kind, key)
        if new is not None:
            self._lessons[kind, key] = new
            self._count(new, 1)
            while len(self._lessons) > self._most_lessons:
                self._forget_lesson(*next(iter(self._lessons)))
        return True

    async def lessons(self, kind: str, keys: Sequence[str] = (), *, after: str = "", limit: int = 500) -> list[Lesson]:
        some = sorted(set(keys)) or sorted(key for of, key in self._lessons if of == kind and key > after)
        return [self._lessons[kind, key] for key in some if (kind, key) in self._lessons][:limit]

    async def learned(self, kind: str, traits: Sequence[int] = ()) -> Learned:
        sums = self._traits.get(kind, Counter())
        return Learned.of({one: (sums[False, one], sums[True, one]) for one in (LESSONS, TRAITS, *traits)})

    def _forget_lesson(self, kind: str, key: str) -> None:
        lesson = self._lessons.pop((kind, key), None)
        if lesson is not None:
            self._count(lesson, -1)

    def _count(self, lesson: Lesson, amount: int) -> None:
        sums = self._traits.setdefault(lesson.kind, Counter())
        for trait, count in lesson.sums:
            sums[lesson.spam, trait] += amount * count
            if not sums[lesson.spam, trait]:
                del sums[lesson.spam, trait]

    async def remember(self, key: str, *, accepted: int, refused: int, now: float) -> History:
        known = self._histories.get(key)
        if known is None:
            history = History(accepted, refused, now, now)
        else:
            history = History(
                known.accepted + accepted, known.refused + refused, min(known.first, now), max(known.last, now)
            )
        self._histories[key] = history
        self._histories.move_to_end(key)
        _shrink(self._histories, self._most_histories)
        return history

    async def history(self, keys: Sequence[str]) -> list[History]:
        return [self._histories.get(key, History()) for key in keys]

    async def past(
        self, clients: Sequence[str], buckets: Sequence[str], *, now: float
    ) -> tuple[list[History], list[float]]:
        found = [self._buckets.get(key, Bucket()) for key in buckets]
        return await self.history(clients), [0.0 if bucket.drained(now) else bucket.level for bucket in found]

    async def block(self, block: Block) -> None:
        known = self._blocks.get(block.key)
        self._blocks[block.key] = block if known is None else known.extended(block)
        if len(self._blocks) > self._most_blocks:
            # A tenth at once, so that a flood costs one sort per thousand blocks and not one per block.
            soonest = heapq.nsmallest(max(1, self._most_blocks // 10), self._blocks.values(), key=lambda b: b.until)
            for gone in soonest:
                del self._blocks[gone.key]

    async def blocked(self, keys: Sequence[str], *, now: float) -> Block | None:
        found = [self._blocks[key] for key in keys if key in self._blocks and self._blocks[key].holds(now)]
        return max(found, key=lambda block: block.until, default=None)

    async def blocks(self, *, now: float) -> list[Block]:
        return sorted((b for b in self._blocks.values() if b.until > now), key=lambda b: (-b.until, b.key))

    async def unblock(self, key: str) -> bool:
        return self._blocks.pop(key, None) is not None

    async def put_records(self, records: Sequence[StoredRecord]) -> None:
        for record in records:
            self._records[record.id] = record
            self._records.move_to_end(record.id)
        _shrink(self._records, self._most_records)

    async def find_records(self, query: RecordQuery) -> list[StoredRecord]:
        if query.address:
            search.address_range(query.address)  # wrong is wrong even when there is nothing to compare it with
        found = (record for record in self._records.values() if search.matches(record, query))
        return heapq.nlargest(search.most(query), found, key=search.newest_first)

    async def expire(self, *, now: float, records_before: float) -> Forgotten:
        for key in [key for key, block in self._blocks.items() if block.until <= now]:
            del self._blocks[key]
        for key in [key for key, bucket in self._buckets.items() if bucket.drained(now)]:
            del self._buckets[key]
        for key in [key for key, history in self._histories.items() if history.last < now - HISTORY_KEPT]:
            del self._histories[key]
        for key in list(self._sets):
            self._sets[key] = {member: until for member, until in self._sets[key].items() if until > now}
            if not self._sets[key]:
                del self._sets[key]
        self._sightings = sum(map(len, self._sets.values()))
        for which in [which for which, note in self._notes.items() if note.until <= now]:
            del self._notes[which]
        for which in [which for which, tally in self._tallies.items() if tally.until <= now]:
            del self._tallies[which]
        for kind, key in [which for which, lesson in self._lessons.items() if lesson.until <= now]:
            self._forget_lesson(kind, key)
        for kind in list(self._traits):
            for spam in (False, True):
                ends = sorted(
                    (one.until, one.key) for one in self._lessons.values() if (one.kind, one.spam) == (kind, spam)
                )
                for _, key in ends[: max(0, len(ends) - MOST_LESSONS)]:
                    self._forget_lesson(kind, key)
            if not self._traits[kind]:
                del self._traits[kind]
        old = [record.id for record in self._records.values() if record.time < records_before]
        for gone in old:
            del self._records[gone]
        return Forgotten(len(old))

    async def close(self) -> None:
        """Nothing to let go; what is kept stays until the object goes."""


def _shrink(kept: OrderedDict[Any, Any], most: int) -> None:
    while len(kept) > most:
        kept.popitem(last=False)
