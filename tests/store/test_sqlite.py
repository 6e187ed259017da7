"""What the SQLite store does beside the contract: several processes on one file, faults while it runs."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest

from gatekeeper.store import sqlite_file
from gatekeeper.store.base import Block, Charge, RecordQuery, StoreAway
from gatekeeper.store.noticed import UNNOTICED
from gatekeeper.store.sqlite import LOOK_EVERY, SqliteStore
from tests.support.records import NOW, stored_record

Opener = Callable[[], SqliteStore]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
async def opened(path: Path, clock: Clock) -> AsyncIterator[Opener]:
    """Opens a store on the file as another process would."""
    stores: list[SqliteStore] = []

    def another() -> SqliteStore:
        stores.append(SqliteStore(path, monotonic=clock))
        return stores[-1]

    yield another
    for store in stores:
        await store.close()


BLOCK = Block("ip:192.0.2.7", NOW, NOW + 600, "R", "ID")


async def test_what_one_process_keeps_the_others_see(opened: Opener):
    one, other = opened(), opened()
    await one.spend([Charge("a", 1, 0)], now=NOW)
    await one.remember("a", accepted=1, refused=0, now=NOW)
    await one.put_records([stored_record("A")])
    assert await other.spend([Charge("a", 1, 0)], now=NOW) == [2.0]
    assert (await other.history(["a"]))[0].accepted == 1
    assert await other.find_records(RecordQuery()) == [stored_record("A")]


async def test_a_block_is_known_to_the_others_within_half_a_second(opened: Opener, clock: Clock):
    one, other = opened(), opened()
    assert await other.blocked([BLOCK.key], now=NOW) is None
    await one.block(BLOCK)
    assert await one.blocked([BLOCK.key], now=NOW) == BLOCK
    assert await other.blocked([BLOCK.key], now=NOW) is None
    clock.now += LOOK_EVERY
    assert await other.blocked([BLOCK.key], now=NOW) == BLOCK
    await one.unblock(BLOCK.key)
    clock.now += LOOK_EVERY
    assert await other.blocked([BLOCK.key], now=NOW) is None


async def test_a_block_that_was_lifted_and_forgotten_is_not_missed(opened: Opener, clock: Clock):
    one, other = opened(), opened()
    await one.block(BLOCK)
    assert await other.blocked([BLOCK.key], now=NOW) == BLOCK
    await one.unblock(BLOCK.key)
    await one.expire(now=NOW + 1, records_before=0)
    clock.now += LOOK_EVERY
    assert await other.blocked([BLOCK.key], now=NOW) is None


async def test_a_lifted_block_is_noticed_by_a_process_that_had_no_session_for_long(opened: Opener, clock: Clock):
    one, other = opened(), opened()
    await one.block(BLOCK)
    assert await other.blocked([BLOCK.key], now=NOW) == BLOCK
    await one.unblock(BLOCK.key)
    for turn in range(8):
        clock.now += UNNOTICED
        await one.blocked([], now=NOW)
        await one.expire(now=NOW + turn, records_before=0)
    assert await other.blocked([BLOCK.key], now=NOW + 1) is None


async def test_nothing_is_forgotten_that_somebody_may_have_missed(opened: Opener, clock: Clock):
    one, other = opened(), opened()
    await one.block(BLOCK)
    assert await other.blocked([BLOCK.key], now=NOW) == BLOCK
    await one.unblock(BLOCK.key)
    for turn in range(20):  # as where there is so much to forget that it is gone on with at once
        clock.now += 0.5
        await one.blocked([], now=NOW)
        await one.expire(now=NOW + turn, records_before=0)
    assert await other.blocked([BLOCK.key], now=NOW + 1) is None


async def test_a_started_process_knows_the_blocks_at_once(opened: Opener):
    await opened().block(BLOCK)
    assert await opened().blocked([BLOCK.key], now=NOW) == BLOCK


async def test_the_file_is_not_asked_for_every_connection(opened: Opener, path: Path):
    store = opened()
    await store.blocked([BLOCK.key], now=NOW)
    with closing(sqlite3.connect(path)) as other:
        other.execute("UPDATE meta SET value = value + 1 WHERE name = 'blocks'")
        other.execute("INSERT INTO block VALUES (?, ?, ?, 'R', '', 1)", (BLOCK.key, NOW, NOW + 60))
        other.commit()
    assert await store.blocked([BLOCK.key], now=NOW) is None  # nobody looked


async def test_known_blocks_hold_while_the_file_cannot_be_read(opened: Opener, clock: Clock, monkeypatch):
    store = opened()
    await store.block(BLOCK)
    assert await store.blocked([BLOCK.key], now=NOW) == BLOCK

    async def away(*_args, **_kwargs):
        raise StoreAway("gone")

    monkeypatch.setattr(store._reader, "ask", away)
    clock.now += LOOK_EVERY
    assert await store.blocked([BLOCK.key], now=NOW) == BLOCK
    assert await store.blocked([BLOCK.key], now=BLOCK.until) is None


async def test_of_too_many_blocks_those_that_go_are_lifted_in_every_process(opened: Opener, clock: Clock, monkeypatch):
    one, other = opened(), opened()
    for n in range(4):
        await one.block(Block(f"{n}", NOW, NOW + 60 + n, "R"))
    keys = [f"{n}" for n in range(4)]
    assert [await other.blocked([key], now=NOW) is not None for key in keys] == [True] * 4
    monkeypatch.setattr("gatekeeper.store.sqlite.MOST_BLOCKS", 2)
    await one.expire(now=NOW, records_before=0)
    clock.now += LOOK_EVERY
    for store in (one, other):
        assert [await store.blocked([key], now=NOW) is not None for key in keys] == [False, False, True, True]


async def test_blocks_that_ended_leave_the_memory(opened: Opener):
    store = opened()
    await store.block(BLOCK)
    await store.expire(now=BLOCK.until, records_before=0)
    assert store._blocks == {}


async def test_unblocked_rows_are_forgotten_when_everybody_has_seen_them(opened: Opener, clock: Clock, path: Path):
    store = opened()
    await store.block(BLOCK)
    await store.unblock(BLOCK.key)
    for _ in range(3):
        clock.now += 2 * UNNOTICED
        await store.blocked([], now=NOW)
        await store.expire(now=NOW, records_before=0)
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT count(*) FROM block").fetchone() == (0,)


async def test_a_lock_by_another_program_is_a_store_away_and_passes(opened: Opener, path: Path, monkeypatch):
    monkeypatch.setattr(sqlite_file, "PATIENCE", 0.0)
    store = opened()
    await store.put_records([stored_record("A")])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreAway, match="locked"):
            await store.spend([Charge("a", 1, 0)], now=NOW)
        assert len(await store.find_records(RecordQuery())) == 1  # reading goes on
    assert await store.spend([Charge("a", 1, 0)], now=NOW) == [1.0]


async def test_many_tasks_of_many_processes_lose_nothing(opened: Opener):
    stores = [opened() for _ in range(3)]
    await asyncio.gather(*(store.spend([Charge("a", 1, 0)], now=NOW) for store in stores for _ in range(100)))
    assert await stores[0].spend([Charge("a", 0, 0)], now=NOW) == [300.0]


async def test_no_verb_answers_after_close(opened: Opener):
    store = opened()
    await store.close()
    with pytest.raises(StoreAway, match="closed"):
        await store.spend([Charge("a", 1, 0)], now=NOW)


async def test_what_was_asked_before_close_is_kept(opened: Opener):
    store = opened()
    asked = asyncio.ensure_future(store.put_records([stored_record("A")]))
    await asyncio.sleep(0)
    await store.close()
    await asked
    assert len(await opened().find_records(RecordQuery())) == 1


@pytest.mark.parametrize(
    "query",
    [
        RecordQuery(recipient="bob@example.net"),
        RecordQuery(recipient="@example.net", since=NOW),
        RecordQuery(sender="ann@example.org"),
        RecordQuery(sender="@example.org"),
        RecordQuery(address="192.0.2.7"),
        RecordQuery(id="A"),
        RecordQuery(),
    ],
    ids=str,
)
def test_a_search_walks_an_index(query, path: Path):
    from gatekeeper.store.sqlite import _question

    sqlite_file.prepare(path)
    sql, values = _question(query)
    with closing(sqlite3.connect(path)) as connection:
        plan = [row[3] for row in connection.execute("EXPLAIN QUERY PLAN " + sql, values)]
    assert not [step for step in plan if step.startswith("SCAN") and "USING INDEX" not in step], plan


async def test_another_process_that_comes_and_goes_does_not_take_the_log_away(tmp_path: Path):
    """Closing any descriptor of the file would drop our locks on it, and the log be deleted by the next to leave."""
    path = tmp_path / "state.db"
    store = SqliteStore(path)
    await store.remember("ip:192.0.2.1", accepted=1, refused=0, now=1.0)  # the writer has connected
    await store.history(["ip:192.0.2.1"])  # and the reader after it
    visit = f"import sqlite3; c = sqlite3.connect({str(path)!r}); c.execute('SELECT * FROM meta').fetchall(); c.close()"
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", visit], check=True, timeout=30)
    assert path.with_name("state.db-wal").exists()
    await store.remember("ip:192.0.2.1", accepted=1, refused=0, now=2.0)
    other = SqliteStore(path)
    assert (await other.history(["ip:192.0.2.1"]))[0].accepted == 2
    await other.close()
    await store.close()
