"""Lessons in SQLite, and the sum of their traits: what each verb does with a connection, inside one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from sqlite3 import Connection

from gatekeeper.store.base import LESSONS, MOST_LESSONS, TRAITS, Learned, Lesson
from gatekeeper.store.sqlite_state import text

PORTION = 20
"""Lessons that are forgotten in one transaction: each is a few hundred rows."""
_ASKED_TOGETHER = 1024
_SIZES = (4, 32, 128, 512, _ASKED_TOGETHER)
_SUMS = {
    size: f"SELECT trait, ham, spam FROM trait WHERE kind = ? AND trait IN ({', '.join('?' * size)})"  # noqa: S608  # marks
    for size in _SIZES
}
"""A few sizes, so that SQLite has read each statement before."""
_COLUMNS = "kind, key, spam, traits, text, until"
_ONE = f"SELECT {_COLUMNS} FROM lesson WHERE kind = ? AND key = ?"  # noqa: S608  # our own names
_NEXT = f"SELECT {_COLUMNS} FROM lesson WHERE kind = ? AND key > ? ORDER BY key LIMIT ?"  # noqa: S608  # our own names
_PUT = "INSERT OR REPLACE INTO lesson (kind, key, spam, traits, text, until) VALUES (?, ?, ?, ?, ?, ?)"
_DROP = "DELETE FROM lesson WHERE kind = ? AND key = ?"
_COUNT = """
INSERT INTO trait (kind, trait, ham, spam) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (kind, trait) DO UPDATE SET ham = ham + ?3, spam = spam + ?4"""
_EMPTY = "DELETE FROM trait WHERE kind = ? AND trait = ? AND ham <= 0 AND spam <= 0"
_ENDED = """
SELECT kind, key FROM lesson WHERE kind = ?1 AND spam = ?2 AND until <= ?3 ORDER BY until LIMIT ?4"""
_BEYOND = """
SELECT kind, key FROM lesson WHERE kind = ?1 AND spam = ?2
ORDER BY until LIMIT min(?4, max(0, (SELECT count(*) FROM lesson WHERE kind = ?1 AND spam = ?2) - ?3))"""


def learn(connection: Connection, kind: str, key: str, old: Lesson | None, new: Lesson | None) -> bool:
    known = _found(connection, kind, key)
    if known != (None if old is None else _written(old)):
        return False
    changes: dict[int, list[int]] = {}
    for lesson, amount in ((known, -1), (new, 1)):
        if lesson is not None:
            for trait, count in lesson.sums:
                changes.setdefault(trait, [0, 0])[lesson.spam] += amount * count
    connection.execute(_DROP, (text(kind), text(key)))
    if new is not None:
        kept = _written(new)
        connection.execute(_PUT, (text(kind), text(key), kept.spam, kept.packed, kept.text, kept.until))
    counted = [(text(kind), trait, ham, spam) for trait, (ham, spam) in changes.items() if ham or spam]
    connection.executemany(_COUNT, counted)
    connection.executemany(_EMPTY, [(text(kind), trait) for _, trait, ham, spam in counted if min(ham, spam) < 0])
    return True


def lessons(connection: Connection, kind: str, keys: Sequence[str], after: str, limit: int) -> list[Lesson]:
    if not keys:
        return [lesson_of_row(row) for row in connection.execute(_NEXT, (text(kind), text(after), limit))]
    found = [_found(connection, kind, key) for key in sorted({text(k) for k in keys})]
    return [lesson for lesson in found if lesson is not None][:limit]


def learned(connection: Connection, kind: str, traits: Sequence[int]) -> Learned:
    sums: dict[int, tuple[int, int]] = {}
    asked = [LESSONS, TRAITS, *traits]
    for first in range(0, len(asked), _ASKED_TOGETHER):
        some = asked[first : first + _ASKED_TOGETHER]
        room = next(size for size in _SIZES if size >= len(some))
        rows = connection.execute(_SUMS[room], (text(kind), *some, *some[:1] * (room - len(some))))
        sums |= {trait: (ham, spam) for trait, ham, spam in rows}
    return Learned.of(sums)


def forget(connection: Connection, now: float) -> int:
    """Take back lessons that have ended, and those beyond `MOST_LESSONS`; a portion, and how many."""
    kinds = connection.execute("SELECT DISTINCT kind, spam FROM lesson").fetchall()
    gone: list[tuple[str, str]] = []
    for sql, bound in ((_ENDED, now), (_BEYOND, MOST_LESSONS)):
        for kind, spam in kinds:
            if len(gone) < PORTION:
                rows = connection.execute(sql, (kind, spam, bound, PORTION - len(gone))).fetchall()
                gone += [row for row in rows if row not in gone]
    for kind, key in gone:
        learn(connection, kind, key, _found(connection, kind, key), None)
    return len(gone)


def _found(connection: Connection, kind: str, key: str) -> Lesson | None:
    row = connection.execute(_ONE, (text(kind), text(key))).fetchone()
    return None if row is None else lesson_of_row(row)


def _written(lesson: Lesson) -> Lesson:
    """As it comes out again."""
    return Lesson(text(lesson.kind), text(lesson.key), lesson.spam, lesson.traits, text(lesson.text), lesson.until)


def lesson_of_row(row: tuple[str, str, int, bytes, str, float]) -> Lesson:
    """From the columns of a lesson, in the order of Lesson."""
    kind, key, spam, traits, words, until = row
    return Lesson(kind, key, bool(spam), Lesson.unpacked(traits), words, until)
