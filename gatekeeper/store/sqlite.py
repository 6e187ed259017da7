"""The store on one machine: a SQLite file (3.35 or newer) shared by all workers and the command line.

Writes go through one thread with group commit, reads through another, so that neither a commit, a checkpoint nor a
long search ever stops the loop. WAL with synchronous=NORMAL: a power cut may lose the last moments, never the file.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from gatekeeper.store import search, sqlite_caps, sqlite_lessons, sqlite_state
from gatekeeper.store.base import (
    AHEAD,
    HISTORY_KEPT,
    MOST_BLOCKS,
    MOST_RECORDS,
    MOST_ROWS,
    Block,
    Charge,
    Forgotten,
    History,
    Learned,
    Lesson,
    Limit,
    Note,
    RecordQuery,
    Sighting,
    StoreAway,
    StoredRecord,
    Tally,
)
from gatekeeper.store.lane import Lane
from gatekeeper.store.noticed import UNNOTICED, Noticed
from gatekeeper.store.sqlite_file import Counting, Reading, Writing, prepare
from gatekeeper.store.sqlite_state import text as _text
from gatekeeper.wire.notation import read_json

LOOK_EVERY = 0.5
"""Seconds until a block made by another process counts here."""
FIND_WITHIN = 10.0
"""Seconds for a search of the records: only people wait for it."""
PORTION = 500
"""Rows that are forgotten in one transaction, between which others have their turn."""
PORTIONS = 40
RECORDS_TOGETHER = 50
PARTIES_TOGETHER = 200
"""Rows of one statement: far below SQLite's limit of 32,766 values."""

_SPEND = """
INSERT INTO bucket (key, level, at, per_second) VALUES (?1, max(0.0, ?2), ?4, ?3)
ON CONFLICT (key) DO UPDATE SET
  level = max(0.0, max(0.0, level - ?3 * max(0.0, ?4 - at)) + ?2),
  at = CASE WHEN at > ?4 + ?5 THEN ?4 ELSE max(at, ?4) END, per_second = ?3
RETURNING level"""
_LOOK = "SELECT max(0.0, level - ?2 * max(0.0, ?3 - at)) FROM bucket WHERE key = ?1"
_LEFT = "SELECT level FROM bucket WHERE key = ?1 AND NOT (per_second > 0 AND level <= per_second * (?2 - at))"
_REMEMBER = """
INSERT INTO history (key, accepted, refused, first, last) VALUES (?1, ?2, ?3, ?4, ?4)
ON CONFLICT (key) DO UPDATE SET accepted = accepted + ?2, refused = refused + ?3,
  first = min(first, ?4), last = max(last, ?4)
RETURNING accepted, refused, first, last"""
_HISTORY = "SELECT accepted, refused, first, last FROM history WHERE key = ?"
_CHANGE = "UPDATE meta SET value = value + 1 WHERE name = 'blocks' RETURNING value"
_CHANGED = "SELECT value FROM meta WHERE name = 'blocks'"
_BLOCK = """
INSERT INTO block (key, since, until, reason, record, change) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (key) DO UPDATE SET
  since = CASE WHEN ?2 > until OR since > ?3 THEN ?2 ELSE min(since, ?2) END,
  until = CASE WHEN since > ?3 THEN ?3 ELSE max(until, ?3) END,
  reason = CASE WHEN ?3 > until OR since > ?3 THEN ?4 ELSE reason END,
  record = CASE WHEN ?3 > until OR since > ?3 THEN ?5 ELSE record END, change = ?6
WHERE ?3 > until OR ?2 < since"""
_LIFT = "UPDATE block SET until = 0, change = ? WHERE key = ? AND until > 0"
_BLOCKS = "SELECT key, since, until, reason, record FROM block WHERE until > ? ORDER BY until DESC, key LIMIT ?"
_NEWS = "SELECT key, since, until, reason, record FROM block WHERE change > ?"
_RECORDS = """
INSERT INTO record
  (id, time, action, score, address, address_key, sender, sender_domain, recipients, queue_id, document)
VALUES {rows}
ON CONFLICT (id) DO UPDATE SET time = excluded.time, action = excluded.action, score = excluded.score,
  address = excluded.address, address_key = excluded.address_key, sender = excluded.sender,
  sender_domain = excluded.sender_domain, recipients = excluded.recipients, queue_id = excluded.queue_id,
  document = excluded.document
RETURNING number, id"""
_RECORD_ROW = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_FOUND = "SELECT r.id, r.time, r.action, r.score, r.address, r.sender, r.recipients, r.queue_id, r.document FROM"


class SqliteStore:
    """Opens the file at once and raises StoreUnusable, with the mend, when it cannot be used as it is."""

    def __init__(self, path: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        prepare(path)
        self._monotonic = monotonic
        writing, reading = Writing(path), Reading(path)
        self._writer = Lane("store-writer", writing.serve, after=writing.checkpoint, end=writing.close)
        self._reader = Lane("store-reader", reading.serve, after=_nothing, end=reading.close)
        counting = Counting(path)
        self._counter = Lane("store-counter", counting.serve, after=_nothing, end=counting.close)
        self._blocks: dict[str, Block] = {}
        self._change = -1  # the last change of a block that is known here; -1 before the first look
        self._look_at = 0.0  # when to ask for newer ones
        self._looked = 0.0  # when they were last known to be those in the file
        self._noticed = Noticed()

    async def spend(self, charges: Sequence[Charge], *, now: float) -> list[float]:
        def run(connection: sqlite3.Connection) -> list[float]:
            levels = []
            for charge in charges:
                if charge.cost:
                    row = connection.execute(
                        _SPEND, (_text(charge.key), float(charge.cost), float(charge.per_second), now, AHEAD)
                    )
                else:
                    row = connection.execute(_LOOK, (_text(charge.key), float(charge.per_second), now))
                found = row.fetchone()
                levels.append(found[0] if found else 0.0)
            return levels

        # Whoever spends nothing only looks, and does not wait behind a batch of records that is being written.
        lane = self._writer if any(charge.cost for charge in charges) else self._reader
        return await lane.ask(run)

    async def take(self, limits: Sequence[Limit], *, now: float) -> list[float]:
        return await self._writer.ask(lambda connection: sqlite_state.take(connection, limits, now))

    async def distinct(self, sightings: Sequence[Sighting], *, now: float) -> list[int]:
        lane = self._writer if any(sighting.member for sighting in sightings) else self._reader
        return await lane.ask(lambda connection: sqlite_state.distinct(connection, sightings, now))

    async def drop_sightings(self, keys: Sequence[str]) -> None:
        await self._writer.ask(lambda connection: sqlite_state.drop_sightings(connection, keys))

    async def put_notes(self, notes: Sequence[Note]) -> None:
        await self._writer.ask(lambda connection: sqlite_state.put_notes(connection, notes))

    async def notes(
        self, kind: str, keys: Sequence[str] = (), *, prefix: str = "", now: float, limit: int = 1000
    ) -> list[Note]:
        return await self._reader.ask(
            lambda connection: sqlite_state.notes(connection, kind, keys, prefix=prefix, now=now, limit=limit)
        )

    async def swap_note(self, kind: str, key: str, *, old: str | None, new: Note | None, now: float) -> bool:
        return await self._writer.ask(
            lambda connection: sqlite_state.swap_note(connection, kind, key, old=old, new=new, now=now)
        )

    async def drop_notes(self, kind: str, keys: Sequence[str]) -> int:
        return await self._writer.ask(lambda connection: sqlite_state.drop_notes(connection, kind, keys))

    async def tally(self, entries: Sequence[Tally]) -> None:
        await self._writer.ask(lambda connection: sqlite_state.tally(connection, entries))

    async def tallies(self, kind: str, *, prefix: str = "", now: float, limit: int = 100_000) -> list[Tally]:
        return await self._reader.ask(lambda connection: sqlite_state.tallies(connection, kind, prefix, now, limit))

    async def learn(self, kind: str, key: str, *, old: Lesson | None, new: Lesson | None) -> bool:
        return await self._writer.ask(lambda connection: sqlite_lessons.learn(connection, kind, key, old, new))

    async def lessons(self, kind: str, keys: Sequence[str] = (), *, after: str = "", limit: int = 500) -> list[Lesson]:
        return await self._reader.ask(lambda connection: sqlite_lessons.lessons(connection, kind, keys, after, limit))

    async def learned(self, kind: str, traits: Sequence[int] = ()) -> Learned:
        return await self._reader.ask(lambda connection: sqlite_lessons.learned(connection, kind, traits))

    async def remember(self, key: str, *, accepted: int, refused: int, now: float) -> History:
        def run(connection: sqlite3.Connection) -> History:
            return History(*connection.execute(_REMEMBER, (_text(key), accepted, refused, now)).fetchone())

        return await self._writer.ask(run)

    async def history(self, keys: Sequence[str]) -> list[History]:
        return await self._reader.ask(lambda connection: _histories(connection, keys))

    async def past(
        self, clients: Sequence[str], buckets: Sequence[str], *, now: float
    ) -> tuple[list[History], list[float]]:
        def run(connection: sqlite3.Connection) -> tuple[list[History], list[float]]:
            levels = [connection.execute(_LEFT, (_text(key), now)).fetchone() for key in buckets]
            return _histories(connection, clients), [found[0] if found else 0.0 for found in levels]

        return await self._reader.ask(run)

    async def block(self, block: Block) -> None:
        def run(connection: sqlite3.Connection) -> None:
            (change,) = connection.execute(_CHANGE).fetchone()
            texts = (_text(block.reason), _text(block.record))
            connection.execute(_BLOCK, (_text(block.key), block.since, block.until, *texts, change))

        await self._writer.ask(run)
        known = self._blocks.get(block.key)
        self._blocks[block.key] = block if known is None else known.extended(block)

    async def blocked(self, keys: Sequence[str], *, now: float) -> Block | None:
        """From memory; the file is asked at most every half second which blocks have changed."""
        if self._change < 0 or self._monotonic() >= self._look_at:
            self._look_at = self._monotonic() + LOOK_EVERY  # others go on with what is known meanwhile
            await self._look(now)
        blocks = self._blocks
        found = [blocks[key] for key in keys if key in blocks and blocks[key].holds(now)]
        return max(found, key=lambda block: block.until, default=None)

    async def blocks(self, *, now: float) -> list[Block]:
        def run(connection: sqlite3.Connection) -> list[Block]:
            return [Block(*row) for row in connection.execute(_BLOCKS, (now, MOST_BLOCKS))]

        return await self._reader.ask(run)

    async def unblock(self, key: str) -> bool:
        def run(connection: sqlite3.Connection) -> bool:
            (change,) = connection.execute(_CHANGE).fetchone()
            return connection.execute(_LIFT, (change, _text(key))).rowcount > 0

        lifted = await self._writer.ask(run)
        self._blocks.pop(key, None)
        return lifted

    async def put_records(self, records: Sequence[StoredRecord]) -> None:
        newest = list({record.id: record for record in records}.values())

        def run(connection: sqlite3.Connection) -> None:
            for first in range(0, len(newest), RECORDS_TOGETHER):
                _put(connection, newest[first : first + RECORDS_TOGETHER])

        await self._writer.ask(run)

    async def find_records(self, query: RecordQuery) -> list[StoredRecord]:
        sql, values = _question(query)

        def run(connection: sqlite3.Connection) -> list[StoredRecord]:
            return [record_of_row(row) for row in connection.execute(sql, values)]

        return await self._reader.ask(run, within=FIND_WITHIN)

    async def expire(self, *, now: float, records_before: float) -> Forgotten:
        bounds = {
            "now": now,
            "told": self._noticed.by_all(self._change, self._monotonic()),
            "unseen": now - HISTORY_KEPT,
            "records": records_before,
        }
        went = {table: await self._forget(sqlite_caps.ended(table, bounds)) for table in sqlite_caps.TABLES}
        self._blocks = {key: block for key, block in self._blocks.items() if block.until > now}
        caps = {**dict.fromkeys(sqlite_caps.TABLES, MOST_ROWS), "block": MOST_BLOCKS, "record": MOST_RECORDS}
        for table, most in caps.items():
            look = partial(sqlite_caps.over, table=table, most=most)
            over, kind = await self._counter.ask(look, within=FIND_WITHIN)
            if over:
                went[table] += await self._forget(sqlite_caps.beyond(table, kind), most=min(over, PORTION * PORTIONS))
        lessons = await self._forget(
            lambda connection, _: sqlite_lessons.forget(connection, now),
            most=sqlite_lessons.PORTION * PORTIONS,
            portion=sqlite_lessons.PORTION,
        )
        full = lessons >= sqlite_lessons.PORTION * PORTIONS or max(went.values()) >= PORTION * PORTIONS
        return Forgotten(went["record"], more=full)

    async def close(self) -> None:
        await self._counter.close()
        await self._reader.close()
        await self._writer.close()

    async def _forget(
        self, forget: sqlite_caps.Forget, *, most: int = PORTION * PORTIONS, portion: int = PORTION
    ) -> int:
        """At most so many rows, in portions between which others have their turn; how many went."""
        total = 0
        while total < most:
            asked = min(portion, most - total)
            gone = await self._writer.ask(_of(forget, asked))
            total += gone
            if gone < asked:
                break
        return total

    async def _look(self, now: float) -> None:
        """Learn which blocks have changed, by the counter of changes.

        Not by `data_version`, which moves with every bucket that anybody spends from. Whoever has not looked for long
        reads all of them: what was lifted meanwhile may have been forgotten.
        """
        began, known = self._monotonic(), self._change
        late = began - self._looked > UNNOTICED

        def run(connection: sqlite3.Connection) -> tuple[int, bool, list[Block]]:
            # The counter first: a change in between is then read twice and never missed.
            (change,) = connection.execute(_CHANGED).fetchone()
            if change == known and not late:
                return change, False, []
            if known < 0 or change < known or late:  # the first look, or another file has taken the old one's place
                return change, True, [Block(*row) for row in connection.execute(_BLOCKS, (now, MOST_BLOCKS))]
            return change, False, [Block(*row) for row in connection.execute(_NEWS, (known,))]

        try:
            change, everything, news = await self._reader.ask(run)
        except StoreAway:
            if known < 0:
                raise
            return  # blocks end by themselves; until then the last ones known hold
        if everything:
            self._blocks = {}
        for block in news:
            self._blocks[block.key] = block
        self._change, self._looked = change, began


def _of(forget: sqlite_caps.Forget, portion: int) -> Callable[[sqlite3.Connection], int]:
    return lambda connection: forget(connection, portion)


def _histories(connection: sqlite3.Connection, keys: Sequence[str]) -> list[History]:
    rows = [connection.execute(_HISTORY, (_text(key),)).fetchone() for key in keys]
    return [History(*row) if row else History() for row in rows]


def _put(connection: sqlite3.Connection, records: Sequence[StoredRecord]) -> None:
    """A few records, with ids that differ, in one statement for each table.

    A statement runs without Python's lock and has to get it back afterwards, from a loop that is busy with mail: with
    statements for each record that costs four times what SQLite does.
    """
    values = [value for record in records for value in _row(record)]
    rows = ", ".join([_RECORD_ROW] * len(records))
    numbers = {name: number for number, name in connection.execute(_RECORDS.format(rows=rows), values).fetchall()}
    marks = ", ".join("?" * len(numbers))
    connection.execute(f"DELETE FROM recipient WHERE record IN ({marks})", list(numbers.values()))  # noqa: S608  # marks
    parties = [
        (who, record.time, numbers[_text(record.id)]) for record in records for who in _parties(record.recipients)
    ]
    for first in range(0, len(parties), PARTIES_TOGETHER):
        some = parties[first : first + PARTIES_TOGETHER]
        rows = ", ".join(["(?, ?, ?)"] * len(some))
        flat = [value for party in some for value in party]
        connection.execute(f"INSERT INTO recipient (who, time, record) VALUES {rows}", flat)  # noqa: S608  # marks


def _row(record: StoredRecord) -> tuple[object, ...]:
    sender = _text(record.sender)
    return (
        _text(record.id),
        record.time,
        record.action,
        record.score,
        _text(record.address),
        search.address_key(record.address),
        sender,
        search.domain_of(sender),
        json.dumps([_text(one) for one in record.recipients]),
        _text(record.queue_id),
        _text(record.document),
    )


def _parties(recipients: Sequence[str]) -> list[str]:
    """What a record is found by: each recipient, and each of their domains once."""
    everyone = [_text(one) for one in recipients]
    who = dict.fromkeys(everyone) | dict.fromkeys(search.domain_of(one) for one in everyone)
    who.pop("", None)
    return list(who)


def record_of_row(row: tuple[Any, ...]) -> StoredRecord:
    """From the columns of a record, in the order of StoredRecord."""
    name, when, action, score, address, sender, recipients, queue_id, document = row
    return StoredRecord(
        id=name,
        time=when,
        action=action,
        score=score,
        address=address,
        sender=sender,
        recipients=tuple(read_json(recipients)),
        queue_id=queue_id,
        document=document,
    )


def _question(query: RecordQuery) -> tuple[str, list[object]]:
    """A query as SQL; it agrees with `search.matches`."""
    source, time_of = "record r", "r.time"
    where: list[str] = []
    values: list[object] = []

    def ask(condition: str, *those: object) -> None:
        where.append(condition)
        values.extend(those)

    if query.recipient:
        source, time_of = "recipient p CROSS JOIN record r ON r.number = p.record", "p.time"
        ask("p.who = ?", _text(search.party(query.recipient)))
    if query.id:
        ask("r.id = ?", _text(query.id))
    if query.sender:
        wanted = _text(search.party(query.sender))
        whole_domain = wanted != "" and wanted == search.domain_of(wanted)
        ask("r.sender_domain = ?" if whole_domain else "r.sender = ?", wanted)
    if query.address:
        first, last = search.address_range(query.address)
        ask("r.address_key BETWEEN ? AND ?", first, last)
    if query.queue_id:
        ask("r.queue_id = ?", _text(query.queue_id))
    if query.action:
        ask("r.action = ?", query.action)
    if query.since:
        ask(f"{time_of} >= ?", query.since)
    if query.until:
        ask(f"{time_of} < ?", query.until)
    conditions = " WHERE " + " AND ".join(where) if where else ""
    values.append(search.most(query))
    return f"{_FOUND} {source}{conditions} ORDER BY {time_of} DESC, r.id DESC LIMIT ?", values


def _nothing() -> None:
    """A reader has nothing to do after a batch."""
