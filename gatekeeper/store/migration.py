"""Carries what a SQLite store knows to a Redis one: `gatekeeper store migrate`.

The file is only read, so it may be in use; what is written to it meanwhile is not carried.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from gatekeeper.store.base import Block, Charge, Note, StoreUnusable, Tally
from gatekeeper.store.redis import RedisStore
from gatekeeper.store.schema import APPLICATION_ID, VERSION
from gatekeeper.store.sqlite import record_of_row
from gatekeeper.store.sqlite_file import sentence
from gatekeeper.store.sqlite_lessons import lesson_of_row

TOGETHER = 200
"""Rows that go over in one step."""

Progress = Callable[[str, int, int], None]
"""Told after each step: what is carried, how much of it is done, and how much there is."""


async def migrate(path: Path, target: RedisStore, *, now: float, progress: Progress) -> dict[str, int]:
    """How many of each were carried. What has ended by `now` stays behind.

    Raises StoreUnusable for a file that cannot be read or is not ours, or a target that is in use already, and
    StoreAway when the target does not answer.
    """
    if not await target.empty():
        raise StoreUnusable("the store in [store] url holds state already: empty it, or name another database")
    try:
        source = _opened(path)
        try:
            _ours(source, path)
            return {name: await _carry(name, source, target, now, progress) for name in _COUNTS}
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
    "buckets": "SELECT key, level, at, per_second FROM bucket",
    "histories": "SELECT key, accepted, refused, first, last FROM history",
    "blocks": "SELECT key, since, until, reason, record FROM block WHERE until > ?1",
    "sightings": "SELECT key, member, until FROM sighting WHERE until > ?1",
    "notes": "SELECT kind, key, text, until FROM note WHERE until > ?1",
    "tallies": "SELECT kind, key, amount, until FROM tally WHERE until > ?1",
    "lessons": "SELECT kind, key, spam, traits, text, until FROM lesson WHERE until > ?1",
    "records": "SELECT id, time, action, score, address, sender, recipients, queue_id, document FROM record",
}


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
    for rows in _portions(source.execute(_ROWS[name], (now,) if "?1" in _ROWS[name] else ())):
        await _put(name, rows, target, now)
        done += len(rows)
        progress(name, done, max(done, total))
    return done


def _portions(cursor: sqlite3.Cursor) -> Iterator[Sequence[tuple[Any, ...]]]:
    while rows := cursor.fetchmany(TOGETHER):
        yield rows


async def _put(name: str, rows: Sequence[tuple[Any, ...]], target: RedisStore, now: float) -> None:
    if name == "buckets":
        for key, level, at, rate in rows:
            await target.spend([Charge(key, level, rate)], now=at)
    elif name == "histories":
        for key, accepted, refused, first, last in rows:
            await target.remember(key, accepted=0, refused=0, now=first)
            await target.remember(key, accepted=accepted, refused=refused, now=last)
    elif name == "blocks":
        for row in rows:
            await target.block(Block(*row))
    elif name == "sightings":
        await target.put_sightings(rows, now=now)
    elif name == "notes":
        await target.put_notes([Note(*row) for row in rows])
    elif name == "tallies":
        await target.tally([Tally(*row) for row in rows])
    elif name == "lessons":
        for lesson in map(lesson_of_row, rows):
            await target.learn(lesson.kind, lesson.key, old=None, new=lesson)
    else:
        await target.put_records([record_of_row(row) for row in rows])
