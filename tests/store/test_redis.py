"""The Redis store without a Redis: it is away, at once. With one: tests/peers/test_redis.py."""

import pytest

from gatekeeper.store.base import Charge, RecordQuery, StoreAway
from gatekeeper.store.redis import RedisStore, _index, _indexes
from gatekeeper.store.redis_place import Place
from tests.support.records import NOW, stored_record


@pytest.fixture
async def nowhere():
    store = RedisStore(Place.read("redis://127.0.0.1:1/0"))
    yield store
    await store.close()


async def test_a_redis_that_is_not_there_is_away(nowhere):
    for ask in (
        nowhere.spend([Charge("a", 1, 1)], now=NOW),
        nowhere.history(["a"]),
        nowhere.blocked(["a"], now=NOW),
        nowhere.notes("k", now=NOW),
        nowhere.find_records(RecordQuery()),
        nowhere.expire(now=NOW, records_before=NOW),
    ):
        with pytest.raises(StoreAway, match="Redis"):
            await ask


async def test_nothing_asked_is_nothing_answered(nowhere):
    assert await nowhere.spend([], now=NOW) == []
    assert await nowhere.take([], now=NOW) == []
    assert await nowhere.distinct([], now=NOW) == []
    assert await nowhere.history([]) == []
    await nowhere.put_records([])


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (RecordQuery(), "time"),
        (RecordQuery(id="A", sender="a@x"), "id:A"),
        (RecordQuery(queue_id="Q"), "queue:Q"),
        (RecordQuery(recipient="B@Y", sender="a@x"), "to:b@y"),
        (RecordQuery(recipient="@y"), "to:@y"),
        (RecordQuery(sender="<>"), "from:"),
        (RecordQuery(address="192.0.2.1"), "address:04c0000201"),
        (RecordQuery(address="192.0.2.0/24"), "time"),
    ],
)
def test_a_search_uses_the_index_that_narrows_most(query, index):
    assert _index(query) == index


def test_a_record_stands_in_every_index_that_a_search_may_use():
    record = stored_record("A", sender="a@x", recipients=("b@y", "c@y"), address="192.0.2.1", queue_id="Q")
    assert set(_indexes(record)) == {
        *("time", "id:A", "from:a@x", "from:@x", "to:b@y", "to:c@y", "to:@y", "address:04c0000201", "queue:Q"),
    }
