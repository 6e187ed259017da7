"""Carries what a SQLite store knows to a Redis one: `gatekeeper store migrate`.

The file is only read, so it may be in use; what is written to it meanwhile is not carried.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from gatekeeper.store.base import Block, Note, StoreAway, StoreUnusable, Tally
from gatekeeper.store.redis import RedisStore
from gatekeeper.store.schema import APPLICATION_ID, VERSION
from gatekeeper.store.sqlite import record_of_row
from gatekeeper.store.sqlite_file import sentence
from gatekeeper.store.sqlite_lessons import lesson_of_row

TOGETHER = 200
"""Rows that go over in one step."""
ATTEMPTS = 10
"""Times that a step is tried before its fault ends the work."""
PAUSE = 1.0
"""Seconds between two of them."""

Progress = Callable[[str, int, int], None]
"""Told after each step: what is carried, how much of it is done, and how much there is."""


async def migrate(path: Path, target: RedisStore, *, now: float, progress: Progress) -> dict[str, int]:
    """How many of each were carried. What has ended by `now` stays behind.

    One that was interrupted may be made again: it begins anew, and writes over what it has written.

    Raises StoreUnusable for a file that cannot be read or is not ours, or a target that is in use already, and
    StoreAway when the target does not answer.
    """
    try:
        source = _opened(path)
        try:
            _ours(source, path)
            if not await target.half_carried() and not await target.empty():
                raise StoreUnusable("the store in [store] url holds state already: empty it, or name another database")
            await target.carrying(begun=True)
            carried = {name: await _carry(name, source, target, now, progress) for name in _COUNTS}
            await target.carrying(begun=False)
            return carried
        finally:
            source.close()
    except sqlite3.Error as failure:
        raise StoreUnusable(sentence(failure, path)) from failure


_COUNTS = {
    "buckets": "SELECT count(*) FROM bucket",
    "histories": "SELECT count(*) FROM history",
    "blocks": "SELECT count(*) FROM block WHERE until > ?1",
    "sightings": "SELECT count(*) FROM sighting WHERE until > ?1",
    "notes": "SELECT count(*) FROM note WHERE until > ?1",
    "tallies": "SELECT count(*) FROM tally WHERE until > ?1",
    "lessons": "SELECT count(*) FROM lesson WHERE until > ?1",
    "records": "SELECT count(*) FROM record",
}
_ROWS = {
    "buckets": ("key", "SELECT key, level, at, per_second FROM bucket WHERE true"),
    "histories": ("key", "SELECT key, accepted, refused, first, last FROM history WHERE true"),
    "blocks": ("key", "SELECT key, since, until, reason, record FROM block WHERE until > ?1"),
    "sightings": ("key, member", "SELECT key, member, until FROM sighting WHERE until > ?1"),
    "notes": ("kind, key", "SELECT kind, key, text, until FROM note WHERE until > ?1"),
    "tallies": ("kind, key", "SELECT kind, key, amount, until FROM tally WHERE until > ?1"),
    "lessons": ("kind, key", "SELECT kind, key, spam, traits, text, until FROM lesson WHERE until > ?1"),
    "records": (
        "id",
        "SELECT id, time, action, score, address, sender, recipients, queue_id, document FROM record WHERE true",
    ),
}
"""By which columns, the first ones that are read, rows are told apart, and all of them."""


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)


def _ours(source: sqlite3.Connection, path: Path) -> None:
    (application,) = source.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID:
        raise StoreUnusable(f"{path} is not a store of ours")
    (version,) = source.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()
    if version != VERSION:
        raise StoreUnusable(f"{path} has version {version}: start this gatekeeper on it once, which makes it {VERSION}")


async def _carry(name: str, source: sqlite3.Connection, target: RedisStore, now: float, progress: Progress) -> int:
    (total,) = source.execute(_COUNTS[name], (now,) if "?1" in _COUNTS[name] else ()).fetchone()
    done = 0
    progress(name, done, total)
    for rows in _portions(source, name, now):
        await _lastingly(lambda rows=rows: _put(name, rows, target, now))  # type: ignore[misc]  # of this turn
        done += len(rows)
        progress(name, done, max(done, total))
    return done


def _portions(source: sqlite3.Connection, name: str, now: float) -> Iterator[Sequence[tuple[Any, ...]]]:
    """Each is a question of its own: one that stayed open would keep SQLite's log from ever being begun anew."""
    columns, rows = _ROWS[name]
    width = columns.count(",") + 1
    marks = ", ".join(f"?{number}" for number in range(2, 2 + width))
    after = f" AND ({columns}) > ({marks})"  # in the first one it is left out: with an OR no index would be used
    order = f" ORDER BY {columns} LIMIT {TOGETHER}"
    found = source.execute(rows + order, (now,) if "?1" in rows else ()).fetchall()
    while found:
        yield found
        found = source.execute(rows + after + order, (now, *found[-1][:width])).fetchall()


async def _lastingly(step: Callable[[], Awaitable[None]]) -> None:
    """A step may be made again, so one answer that is late does not end hours of work."""
    for _ in range(ATTEMPTS - 1):
        with contextlib.suppress(StoreAway):
            return await step()
        await asyncio.sleep(PAUSE)
    return await step()


async def _put(name: str, rows: Sequence[tuple[Any, ...]], target: RedisStore, now: float) -> None:
    if name == "buckets":
        await target.put_buckets(rows)
    elif name == "histories":
        await target.put_histories(rows)
    elif name == "blocks":
        for row in rows:
            await target.block(Block(*row))
    elif name == "sightings":
        await target.put_sightings(rows, now=now)
    elif name == "notes":
        await target.put_notes([Note(*row) for row in rows])
    elif name == "tallies":
        await target.put_tallies([Tally(*row) for row in rows])
    elif name == "lessons":
        for lesson in map(lesson_of_row, rows):
            await target.learn(lesson.kind, lesson.key, old=None, new=lesson)
    else:
        await target.put_records([record_of_row(row) for row in rows])
