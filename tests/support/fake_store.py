"""A store that can be switched away."""

from __future__ import annotations

from collections.abc import Sequence

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
    StoreAway,
    StoredRecord,
    Tally,
)
from gatekeeper.store.memory import MemoryStore


class FakeStore(MemoryStore):
    """A MemoryStore that raises StoreAway from every verb while `away` is true; `asked` has the verbs asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.asked: list[str] = []
        self.closed = False

    def _ask(self, verb: str) -> None:
        self.asked.append(verb)
        if self.away:
            raise StoreAway("switched away")

    async def spend(self, charges: Sequence[Charge], *, now: float) -> list[float]:
        self._ask("spend")
        return await super().spend(charges, now=now)

    async def take(self, limits: Sequence[Limit], *, now: float) -> list[float]:
        self._ask("take")
        return await super().take(limits, now=now)

    async def distinct(self, sightings: Sequence[Sighting], *, now: float) -> list[int]:
        self._ask("distinct")
        return await super().distinct(sightings, now=now)

    async def drop_sightings(self, keys: Sequence[str]) -> None:
        self._ask("drop_sightings")
        await super().drop_sightings(keys)

    async def put_notes(self, notes: Sequence[Note]) -> None:
        self._ask("put_notes")
        await super().put_notes(notes)

    async def notes(
        self, kind: str, keys: Sequence[str] = (), *, prefix: str = "", now: float, limit: int = 1000
    ) -> list[Note]:
        self._ask("notes")
        return await super().notes(kind, keys, prefix=prefix, now=now, limit=limit)

    async def swap_note(self, kind: str, key: str, *, old: str | None, new: Note | None, now: float) -> bool:
        self._ask("swap_note")
        return await super().swap_note(kind, key, old=old, new=new, now=now)

    async def drop_notes(self, kind: str, keys: Sequence[str]) -> int:
        self._ask("drop_notes")
        return await super().drop_notes(kind, keys)

    async def tally(self, entries: Sequence[Tally]) -> None:
        self._ask("tally")
        await super().tally(entries)

    async def tallies(self, kind: str, *, prefix: str = "", now: float, limit: int = 100_000) -> list[Tally]:
        self._ask("tallies")
        return await super().tallies(kind, prefix=prefix, now=now, limit=limit)

    async def learn(self, kind: str, key: str, *, old: Lesson | None, new: Lesson | None) -> bool:
        self._ask("learn")
        return await super().learn(kind, key, old=old, new=new)

    async def lessons(self, kind: str, keys: Sequence[str] = (), *, after: str = "", limit: int = 500) -> list[Lesson]:
        self._ask("lessons")
        return await super().lessons(kind, keys, after=after, limit=limit)

    async def learned(self, kind: str, traits: Sequence[int] = ()) -> Learned:
        self._ask("learned")
        return await super().learned(kind, traits)

    async def remember(self, key: str, *, accepted: int, refused: int, now: float) -> History:
        self._ask("remember")
        return await super().remember(key, accepted=accepted, refused=refused, now=now)

    async def history(self, keys: Sequence[str]) -> list[History]:
        self._ask("history")
        return await super().history(keys)

    async def past(
        self, clients: Sequence[str], buckets: Sequence[str], *, now: float
    ) -> tuple[list[History], list[float]]:
        self._ask("past")
        return await super().past(clients, buckets, now=now)

    async def block(self, block: Block) -> None:
        self._ask("block")
        await super().block(block)

    async def blocked(self, keys: Sequence[str], *, now: float) -> Block | None:
        self._ask("blocked")
        return await super().blocked(keys, now=now)

    async def blocks(self, *, now: float) -> list[Block]:
        self._ask("blocks")
        return await super().blocks(now=now)

    async def unblock(self, key: str) -> bool:
        self._ask("unblock")
        return await super().unblock(key)

    async def put_records(self, records: Sequence[StoredRecord]) -> None:
        self._ask("put_records")
        await super().put_records(records)

    async def find_records(self, query: RecordQuery) -> list[StoredRecord]:
        self._ask("find_records")
        return await super().find_records(query)

    async def expire(self, *, now: float, records_before: float) -> Forgotten:
        self._ask("expire")
        return await super().expire(now=now, records_before=records_before)

    async def close(self) -> None:
        self.closed = True
        await super().close()
