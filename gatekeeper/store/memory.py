"""The store in this process's memory: for tests, for the demo, and for the time the real one is away. Bounded."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from gatekeeper.store import search
from gatekeeper.store.base import HISTORY_KEPT, Block, Bucket, Charge, History, RecordQuery, StoredRecord


class MemoryStore:
    """Everything in dictionaries with a limit each; what was not touched for longest goes first.

    Of blocks, the one that would end first goes first: a flood of short ones cannot push out the long ones.
    No verb waits, so each is atomic.
    """

    def __init__(
        self, *, buckets: int = 200_000, histories: int = 100_000, blocks: int = 20_000, records: int = 5_000
    ) -> None:
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()
        self._histories: OrderedDict[str, History] = OrderedDict()
        self._blocks: dict[str, Block] = {}
        self._records: OrderedDict[str, StoredRecord] = OrderedDict()
        self._most_buckets = buckets
        self._most_histories = histories
        self._most_blocks = blocks
        self._most_records = records

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

    async def block(self, block: Block) -> None:
        known = self._blocks.get(block.key)
        self._blocks[block.key] = block if known is None else known.extended(block)
        if len(self._blocks) > self._most_blocks:
            # A tenth at once, so that a flood costs one sort per thousand blocks and not one per block.
            soonest = heapq.nsmallest(max(1, self._most_blocks // 10), self._blocks.values(), key=lambda b: b.until)
            for gone in soonest:
                del self._blocks[gone.key]

    async def blocked(self, keys: Sequence[str], *, now: float) -> Block | None:
        found = [self._blocks[key] for key in keys if key in self._blocks and self._blocks[key].until > now]
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

    async def expire(self, *, now: float, records_before: float) -> int:
        for key in [key for key, block in self._blocks.items() if block.until <= now]:
            del self._blocks[key]
        for key in [key for key, bucket in self._buckets.items() if bucket.drained(now)]:
            del self._buckets[key]
        for key in [key for key, history in self._histories.items() if history.last < now - HISTORY_KEPT]:
            del self._histories[key]
        old = [record.id for record in self._records.values() if record.time < records_before]
        for gone in old:
            del self._records[gone]
        return len(old)

    async def close(self) -> None:
        """Nothing to let go; what is kept stays until the object goes."""


def _shrink(kept: OrderedDict[str, Any], most: int) -> None:
    while len(kept) > most:
        kept.popitem(last=False)
