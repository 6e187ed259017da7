"""Memory stands in for a store that is away, and hands over what it can when the store is back."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gatekeeper import metrics
from gatekeeper.store.base import Block, Charge, RecordQuery, StoreAway
from gatekeeper.store.fallback import LONGEST_PAUSE, MOST_BLOCKS, Fallback
from gatekeeper.store.memory import MemoryStore
from tests.support.fake_store import FakeStore
from tests.support.records import NOW, stored_record


class Standing:
    """A fallback, the store behind it, and what was heard of their comings and goings."""

    def __init__(self, **options) -> None:
        self.now = 1000.0
        self.primary = FakeStore()
        self.changes: list[bool] = []
        self.store = Fallback(self.primary, MemoryStore(), self.changes.append, clock=lambda: self.now, **options)

    async def lose(self) -> None:
        self.primary.away = True
        await self.store.spend([], now=NOW)

    async def find_back(self) -> None:
        self.primary.away = False
        self.now += LONGEST_PAUSE
        await self.store.spend([], now=NOW)


@pytest.fixture
def standing() -> Standing:
    return Standing()


BLOCK = Block("ip:192.0.2.7", NOW, NOW + 600, "R", "ID")


async def test_whoever_meets_the_fault_is_answered_from_memory(standing: Standing):
    standing.primary.away = True
    assert await standing.store.spend([Charge("a", 2, 0)], now=NOW) == [2.0]
    assert standing.store.away
    assert standing.changes == [False]


async def test_every_verb_is_answered_while_it_is_away(standing: Standing):
    await standing.lose()
    store = standing.store
    assert (await store.remember("a", accepted=1, refused=0, now=NOW)).accepted == 1
    assert (await store.history(["a"]))[0].accepted == 1
    await store.block(BLOCK)
    assert await store.blocked([BLOCK.key], now=NOW) == BLOCK
    assert await store.blocks(now=NOW) == [BLOCK]
    assert await store.unblock(BLOCK.key) is True
    await store.put_records([stored_record("A")])
    assert await store.find_records(RecordQuery()) == [stored_record("A")]
    assert not (await store.expire(now=NOW, records_before=NOW + 1)).more
    assert standing.changes == [False]


@pytest.mark.parametrize("verb", ["block", "unblock", "put_records", "expire", "blocked", "history"])
async def test_any_verb_may_be_the_first_to_notice(standing: Standing, verb: str):
    standing.primary.away = True
    store = standing.store
    asked: dict[str, Callable[[], Awaitable[object]]] = {
        "block": lambda: store.block(BLOCK),
        "unblock": lambda: store.unblock("a"),
        "put_records": lambda: store.put_records([stored_record("A")]),
        "expire": lambda: store.expire(now=NOW, records_before=NOW),
        "blocked": lambda: store.blocked(["a"], now=NOW),
        "history": lambda: store.history(["a"]),
    }
    await asked[verb]()
    assert store.away
    assert standing.changes == [False]


async def test_nobody_asks_it_during_the_pause(standing: Standing):
    await standing.lose()
    standing.primary.asked.clear()
    standing.now += 0.9
    await standing.store.spend([Charge("a", 1, 0)], now=NOW)
    assert standing.primary.asked == []


async def test_the_pause_grows_up_to_half_a_minute(standing: Standing):
    await standing.lose()
    pauses = []
    for _ in range(8):
        began = standing.now
        tried = len(standing.primary.asked)
        while len(standing.primary.asked) == tried:
            standing.now += 0.5
            await standing.store.spend([], now=NOW)
        pauses.append(standing.now - began)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


async def test_it_is_back_when_it_takes_a_change(standing: Standing):
    await standing.lose()
    await standing.find_back()
    assert not standing.store.away
    assert standing.changes == [False, True]
    await standing.store.spend([Charge("a", 1, 0)], now=NOW)
    assert await standing.primary.spend([Charge("a", 0, 0)], now=NOW) == [1.0]


async def test_a_store_that_can_only_be_read_is_not_back(standing: Standing, monkeypatch):
    await standing.lose()

    async def full(key: str) -> bool:
        raise StoreAway("full")

    monkeypatch.setattr(standing.primary, "unblock", full)
    await standing.find_back()
    assert standing.store.away


async def test_one_that_comes_and_goes_is_left_alone_for_longer(standing: Standing):
    for expected in (1.0, 2.0, 4.0):
        await standing.lose()
        standing.primary.away = False
        standing.now += expected - 0.1
        await standing.store.spend([], now=NOW)
        assert standing.store.away
        standing.now += 0.1
        await standing.store.spend([], now=NOW)
        assert not standing.store.away
    standing.now += 1000
    await standing.lose()
    standing.primary.away = False
    standing.now += 1.0
    await standing.store.spend([], now=NOW)
    assert not standing.store.away


async def test_many_failures_at_once_are_one_outage(standing: Standing):
    standing.primary.away = True
    await asyncio.gather(*(standing.store.spend([], now=NOW) for _ in range(50)))
    assert standing.changes == [False]
    standing.primary.away = False
    standing.now += 1.0
    await standing.store.spend([], now=NOW)
    assert standing.changes == [False, True]


async def test_a_clock_set_back_does_not_keep_it_away(standing: Standing):
    await standing.lose()
    standing.primary.away = False
    standing.now -= 100_000
    await standing.store.spend([], now=NOW)
    assert not standing.store.away


async def test_while_one_tries_the_others_do_not_wait(standing: Standing, monkeypatch):
    await standing.lose()
    standing.now += 1
    reached = asyncio.Event()
    go = asyncio.Event()

    async def slow(key: str) -> bool:
        reached.set()
        await go.wait()
        return False

    monkeypatch.setattr(standing.primary, "unblock", slow)
    trying = asyncio.ensure_future(standing.store.spend([Charge("a", 1, 0)], now=NOW))
    await reached.wait()
    assert await standing.store.spend([Charge("b", 1, 0)], now=NOW) == [1.0]
    assert standing.store.away
    standing.primary.away = False
    go.set()
    await trying
    assert not standing.store.away


async def test_who_tries_and_is_cancelled_lets_others_try(standing: Standing, monkeypatch):
    await standing.lose()
    standing.now += 1
    reached = asyncio.Event()

    async def stuck(key: str) -> bool:
        reached.set()
        await asyncio.Event().wait()
        return False

    with monkeypatch.context() as patched:
        patched.setattr(standing.primary, "unblock", stuck)
        trying = asyncio.ensure_future(standing.store.spend([], now=NOW))
        await reached.wait()
        trying.cancel()
        await asyncio.gather(trying, return_exceptions=True)
    await standing.find_back()
    assert not standing.store.away


class TestBlocks:
    async def test_hold_when_the_store_goes(self, standing: Standing):
        await standing.store.block(BLOCK)
        await standing.lose()
        assert await standing.store.blocked([BLOCK.key], now=NOW) == BLOCK

    async def test_that_others_made_hold_once_they_were_met(self, standing: Standing):
        await standing.primary.block(BLOCK)
        await standing.store.blocked([BLOCK.key], now=NOW)
        await standing.lose()
        assert await standing.store.blocked([BLOCK.key], now=NOW) == BLOCK

    async def test_that_others_lifted_do_not_come_back(self, standing: Standing):
        await standing.store.block(BLOCK)
        await standing.primary.unblock(BLOCK.key)
        await standing.store.blocked([BLOCK.key], now=NOW)
        await standing.lose()
        assert await standing.store.blocked([BLOCK.key], now=NOW) is None

    async def test_made_and_lifted_meanwhile_reach_the_store(self, standing: Standing):
        lifted = Block("lifted", NOW, NOW + 600, "R")
        await standing.store.block(lifted)
        await standing.lose()
        await standing.store.block(BLOCK)
        assert await standing.store.unblock("lifted") is True
        await standing.find_back()
        assert await standing.primary.blocks(now=NOW) == [BLOCK]

    async def test_are_not_noted_without_end(self, standing: Standing):
        await standing.lose()
        for n in range(MOST_BLOCKS + 10):
            await standing.store.block(Block(str(n), NOW, NOW + 600, "R"))
        await standing.find_back()
        assert len(await standing.primary.blocks(now=NOW)) == MOST_BLOCKS


class TestRecords:
    async def test_of_the_time_away_are_written_when_it_is_back(self, standing: Standing):
        await standing.lose()
        await standing.store.put_records([stored_record(f"R{n}", time=NOW + n) for n in range(500)])
        await standing.find_back()
        await standing.store.put_records([stored_record("NEW", time=NOW - 1)])
        found = await standing.primary.find_records(RecordQuery(limit=1000))
        assert len(found) == 501

    async def test_are_written_by_a_search_too(self, standing: Standing):
        await standing.lose()
        await standing.store.put_records([stored_record("A")])
        await standing.find_back()
        assert [one.id for one in await standing.store.find_records(RecordQuery())] == ["A"]

    async def test_too_many_drop_the_oldest_and_are_counted(self):
        standing = Standing(most_waiting=3)
        dropped = metrics.RECORDS_DROPPED["store_away"]._value
        before = dropped.get()
        await standing.lose()
        for n in range(5):
            await standing.store.put_records([stored_record(f"R{n}", time=NOW + n)])
        await standing.find_back()
        await standing.store.put_records([])
        assert [one.id for one in await standing.primary.find_records(RecordQuery())] == ["R4", "R3", "R2"]
        assert dropped.get() - before == 2

    async def test_a_changed_one_replaces_the_one_that_waits(self, standing: Standing):
        await standing.lose()
        await standing.store.put_records([stored_record("A")])
        await standing.store.put_records([stored_record("A", action="reject")])
        await standing.find_back()
        await standing.store.put_records([])
        assert [one.action for one in await standing.primary.find_records(RecordQuery())] == ["reject"]

    async def test_are_written_at_the_end_if_it_is_back_by_then(self, standing: Standing):
        await standing.lose()
        await standing.store.put_records([stored_record("A")])
        standing.primary.away = False
        standing.now += LONGEST_PAUSE
        await standing.store.close()
        assert len(await standing.primary.find_records(RecordQuery())) == 1
        assert standing.primary.closed

    async def test_that_are_lost_at_the_end_are_said_to_be(self, standing: Standing, caplog):
        await standing.lose()
        await standing.store.put_records([stored_record("A")])
        await standing.store.close()
        assert [record.msg for record in caplog.records if record.msg == "records_lost"] == ["records_lost"]


async def test_a_search_that_failed_is_told_and_does_not_make_the_store_away(standing: Standing, monkeypatch):
    async def too_much(query: RecordQuery):
        raise StoreAway("it took too long")

    monkeypatch.setattr(standing.primary, "find_records", too_much)
    with pytest.raises(StoreAway):  # "nothing found" would be no answer
        await standing.store.find_records(RecordQuery())
    assert not standing.store.away


async def test_the_gauge_and_the_log_tell_and_name_the_process(caplog):
    caplog.set_level("INFO", "gatekeeper")
    standing = Standing(process="worker-2")
    assert metrics.STORE_UP["sqlite"]._value.get() == 1
    await standing.lose()
    assert metrics.STORE_UP["sqlite"]._value.get() == 0
    await standing.find_back()
    assert metrics.STORE_UP["sqlite"]._value.get() == 1
    told = [record for record in caplog.records if record.msg.startswith("store_")]
    assert [(record.msg, record.facts["process"]) for record in told] == [
        ("store_away", "worker-2"),
        ("store_back", "worker-2"),
    ]
