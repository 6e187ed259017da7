from dataclasses import replace

import pytest

from gatekeeper.records.period import every
from gatekeeper.records.record import stored
from gatekeeper.store.base import RecordQuery
from gatekeeper.store.memory import MemoryStore
from tests.records.test_usefulness import record


async def ids(records, portion: int, query: RecordQuery | None = None) -> list[str]:
    store = MemoryStore()
    await store.put_records([stored(one) for one in records])
    return [one.id async for one in every(store, query or RecordQuery(), portion)]


@pytest.mark.parametrize("portion", [1, 2, 3, 7, 100])
async def test_every_record_is_read_once_whatever_the_portions(portion):
    records = [replace(record(f"r{n}"), time=1000.0 + n) for n in range(7)]
    assert sorted(await ids(records, portion)) == sorted(one.id for one in records)


@pytest.mark.parametrize("portion", [3, 4, 5])
async def test_records_of_one_moment_are_not_lost_between_portions(portion):
    records = [replace(record(f"r{n}"), time=1000.0 + n // 3) for n in range(9)]
    assert sorted(await ids(records, portion)) == sorted(one.id for one in records)


async def test_only_the_period_is_read():
    records = [replace(record(f"r{n}"), time=1000.0 + n) for n in range(7)]
    assert await ids(records, 2, RecordQuery(since=1002.0, until=1005.0, limit=1)) == ["r4", "r3", "r2"]


async def test_an_unreadable_record_is_left_out():
    store = MemoryStore()
    await store.put_records([stored(record("a")), replace(stored(record("b")), document="{}")])
    assert [one.id async for one in every(store, RecordQuery())] == ["a"]
