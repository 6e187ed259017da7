"""What is SQLite's own about lessons; what all backends do alike is in test_contract.py."""

from pathlib import Path

from gatekeeper.store.base import Lesson
from gatekeeper.store.sqlite import SqliteStore
from tests.support.records import NOW


async def test_what_was_learned_outlives_the_process(tmp_path: Path):
    first = SqliteStore(tmp_path / "state.db")
    lesson = Lesson("site", "a", True, (7, 2**32 - 1), '{"acts": []}', NOW)
    await first.learn("site", "a", old=None, new=lesson)
    await first.close()
    again = SqliteStore(tmp_path / "state.db")
    assert await again.lessons("site") == [lesson]
    assert (await again.learned("site", [7])).counts == {7: (0, 1)}
    await again.close()


async def test_traits_of_which_nothing_is_left_leave_no_row(tmp_path: Path):
    store = SqliteStore(tmp_path / "state.db")
    lesson = Lesson("site", "a", False, (1, 2), "{}", NOW)
    await store.learn("site", "a", old=None, new=lesson)
    await store.learn("site", "a", old=lesson, new=None)
    rows = await store._reader.ask(lambda connection: connection.execute("SELECT count(*) FROM trait").fetchone())
    assert rows == (0,)
    await store.close()
