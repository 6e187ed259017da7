"""What cannot be carried over is told with the mend. The carrying itself: tests/peers/test_redis.py."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gatekeeper.store.base import StoreAway, StoreUnusable
from gatekeeper.store.migration import TOGETHER, _opened, _portions, migrate
from gatekeeper.store.redis import RedisStore
from gatekeeper.store.redis_place import Place
from gatekeeper.store.sqlite_file import prepare


class EmptyTarget(RedisStore):
    """One that is reached, and has nothing; no test here writes to it."""

    def __init__(self) -> None:
        super().__init__(Place.read("redis://127.0.0.1:1/0"))

        self.marks: list[bool] = []

    async def half_carried(self) -> bool:
        return False

    async def empty(self) -> bool:
        return True

    async def carrying(self, *, begun: bool) -> None:
        self.marks.append(begun)


async def carried(path: Path) -> dict[str, int]:
    return await migrate(path, EmptyTarget(), now=0.0, progress=lambda *_: None)


async def test_an_empty_file_carries_nothing(tmp_path):
    prepare(tmp_path / "state.db")
    assert set((await carried(tmp_path / "state.db")).values()) == {0}


async def test_every_row_is_read_once_and_only_its_own_portion_of_rows_for_it(tmp_path):
    prepare(tmp_path / "state.db")
    rows = 40 * TOGETHER + 1
    with closing(sqlite3.connect(tmp_path / "state.db")) as filled:
        keys = [(f"key{number:06d}", number.to_bytes(8, "big")) for number in range(rows)]
        filled.executemany("INSERT INTO sighting VALUES (?, ?, 9.0)", keys)
        filled.commit()
    with closing(_opened(tmp_path / "state.db")) as source:
        steps = [0]
        source.set_progress_handler(lambda: steps.append(0), 100)  # after each 100 steps of SQLite's machine
        found, most = [], 0
        for portion in _portions(source, "sightings", 0.0):
            found += [row[:2] for row in portion]
            most, steps = max(most, len(steps)), []
    assert found == keys
    assert most < TOGETHER


async def test_a_file_of_another_program_is_left_alone(tmp_path):
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE t (x)")
    with pytest.raises(StoreUnusable, match="not a store of ours"):
        await carried(tmp_path / "other.db")


async def test_a_file_of_another_version_says_what_to_do(tmp_path):
    prepare(tmp_path / "state.db")
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        connection.execute("UPDATE meta SET value = 1 WHERE name = 'version'")
        connection.commit()
    with pytest.raises(StoreUnusable, match="start this gatekeeper on it once"):
        await carried(tmp_path / "state.db")


async def test_a_file_that_is_no_database_is_told(tmp_path):
    (tmp_path / "state.db").write_bytes(b"not a database, however long it may be" * 100)
    with pytest.raises(StoreUnusable, match="damaged or no SQLite database"):
        await carried(tmp_path / "state.db")


async def test_a_target_that_is_not_there_is_away(tmp_path):
    prepare(tmp_path / "state.db")
    target = RedisStore(Place.read("redis://127.0.0.1:1/0"))
    with pytest.raises(StoreAway):
        await migrate(tmp_path / "state.db", target, now=0.0, progress=lambda *_: None)
