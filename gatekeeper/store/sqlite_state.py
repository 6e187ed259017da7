"""Limits, sightings, notes and tallies in SQLite: what each verb does with a connection, inside one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from sqlite3 import Connection

from gatekeeper.store.base import DISTINCT_MOST, Bucket, Charge, Limit, Note, Sighting, Tally

_BUCKET = "SELECT level, at, per_second FROM bucket WHERE key = ?"
_FILL = """
INSERT INTO bucket (key, level, at, per_second) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (key) DO UPDATE SET level = ?2, at = ?3, per_second = ?4"""
_SEEN = "SELECT until FROM sighting WHERE key = ? AND member = ?"
_SEE = """
INSERT INTO sighting (key, member, until) VALUES (?1, ?2, ?3)
ON CONFLICT (key, member) DO UPDATE SET until = max(until, ?3)"""
_SIZE = "SELECT count(*), coalesce(sum(until > ?), 0) FROM sighting WHERE key = ?"
_OLD_MEMBERS = "DELETE FROM sighting WHERE key = ? AND until <= ?"
_FORGET = "DELETE FROM sighting WHERE key = ?"
_PUT = """
INSERT INTO note (kind, key, text, until) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (kind, key) DO UPDATE SET text = ?3, until = ?4"""
_NOTE = "SELECT kind, key, text, until FROM note WHERE kind = ? AND key = ? AND until > ?"
_NOTES = """
SELECT kind, key, text, until FROM note
WHERE kind = ?1 AND key >= ?2 AND key < ?2 || char(1114111) AND until > ?3 ORDER BY key LIMIT ?4"""
_DROP = "DELETE FROM note WHERE kind = ? AND key = ?"
_ADD = """
INSERT INTO tally (kind, key, amount, until) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (kind, key) DO UPDATE SET amount = amount + ?3, until = max(until, ?4)"""
_TALLIES = """
SELECT kind, key, amount, until FROM tally
WHERE kind = ?1 AND key >= ?2 AND key < ?2 || char(1114111) AND until > ?3 ORDER BY key LIMIT ?4"""


def text(value: str) -> str:
    """SQLite's text is UTF-8, which has no lone surrogates."""
    return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()


def take(connection: Connection, limits: Sequence[Limit], now: float) -> list[float]:
    buckets: dict[str, Bucket] = {}
    waits = []
    for limit in limits:
        key = text(limit.key)
        known = buckets.get(key)
        if known is None:
            row = connection.execute(_BUCKET, (key,)).fetchone()
            known = Bucket(*row) if row else Bucket()
        looked = known.spend(Charge(key, 0.0, limit.per_second), now=now)
        waits.append(limit.wait(looked.level))
        buckets[key] = looked.spend(Charge(key, min(limit.cost, limit.burst), limit.per_second), now=now)
    if not any(waits):
        rows = [(key, bucket.level, bucket.at, bucket.per_second) for key, bucket in buckets.items()]
        connection.executemany(_FILL, rows)
    return waits


def distinct(connection: Connection, sightings: Sequence[Sighting], now: float) -> list[int]:
    sets: dict[str, tuple[int, int]] = {}  # how many members are kept, and how many of them count
    counts = []
    for sighting in sightings:
        key = text(sighting.key)
        kept, live = sets[key] if key in sets else connection.execute(_SIZE, (now, key)).fetchone()
        if sighting.member:
            kept, live = _see(connection, key, sighting, (kept, live), now)
        sets[key] = kept, live
        counts.append(min(live, DISTINCT_MOST))
    return counts


def _see(connection: Connection, key: str, sighting: Sighting, size: tuple[int, int], now: float) -> tuple[int, int]:
    kept, live = size
    digest = sighting.digest
    known = connection.execute(_SEEN, (key, digest)).fetchone()
    if known is None:
        if kept >= DISTINCT_MOST:
            kept -= connection.execute(_OLD_MEMBERS, (key, now)).rowcount
        if kept >= DISTINCT_MOST:
            return kept, live
        kept += 1
    connection.execute(_SEE, (key, digest, now + sighting.window))
    return kept, live + (known is None or known[0] <= now)


def drop_sightings(connection: Connection, keys: Sequence[str]) -> None:
    connection.executemany(_FORGET, [(text(key),) for key in keys])


def put_notes(connection: Connection, notes: Sequence[Note]) -> None:
    connection.executemany(_PUT, [(text(n.kind), text(n.key), text(n.text), n.until) for n in notes])


def notes(connection: Connection, kind: str, keys: Sequence[str], *, prefix: str, now: float, limit: int) -> list[Note]:
    if not keys:
        return [Note(*row) for row in connection.execute(_NOTES, (text(kind), text(prefix), now, limit))]
    found = [connection.execute(_NOTE, (text(kind), key, now)).fetchone() for key in sorted({text(k) for k in keys})]
    return [Note(*row) for row in found if row is not None][:limit]


def swap_note(connection: Connection, kind: str, key: str, *, old: str | None, new: Note | None, now: float) -> bool:
    row = connection.execute(_NOTE, (text(kind), text(key), now)).fetchone()
    if (None if row is None else row[2]) != (None if old is None else text(old)):
        return False
    if new is None:
        connection.execute(_DROP, (text(kind), text(key)))
    else:
        put_notes(connection, [new])
    return True


def drop_notes(connection: Connection, kind: str, keys: Sequence[str]) -> int:
    return sum(connection.execute(_DROP, (text(kind), key)).rowcount for key in {text(k) for k in keys})


def tally(connection: Connection, entries: Sequence[Tally]) -> None:
    connection.executemany(_ADD, [(text(e.kind), text(e.key), e.amount, e.until) for e in entries])


def tallies(connection: Connection, kind: str, prefix: str, now: float, limit: int) -> list[Tally]:
    return [Tally(*row) for row in connection.execute(_TALLIES, (text(kind), text(prefix), now, limit))]
