"""The tables of the SQLite store stay within bounds: what has ended goes, then what is beyond their caps.

Both go in portions, one transaction each, that find their rows by an index. How many rows a table has is counted by
a connection of its own: in a full table that takes some 0.1 s, which nobody else is to wait for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from sqlite3 import Connection
from typing import Final

Forget = Callable[[Connection, int], int]
"""Forgets at most so many rows, and returns how many went."""


@dataclass(frozen=True, slots=True)
class Table:
    """How rows of a table are told apart, which have ended, and in what order they go when there are too many."""

    key: str
    ended: str
    order: str = "until"


TABLES: Final = {
    "block": Table("key", "until <= :now AND (until > 0 OR change <= :told)"),
    "bucket": Table("key", "until <= :now"),
    "history": Table("key", "(accepted > 0) IN (0, 1) AND last < :unseen", "(accepted > 0), last"),
    "sighting": Table("key, member", "until <= :now"),
    "note": Table("kind, key", "until <= :now"),
    "tally": Table("kind, key", "until <= :now"),
    "record": Table("number", "time < :records", "time"),
}
SPAN: Final = "SELECT (SELECT max(number) FROM record) - (SELECT min(number) FROM record) + 1"
"""One question each: of both at once every row would be read."""
_CHANGE = "UPDATE meta SET value = value + 1 WHERE name = 'blocks' RETURNING value"
_LIFT = """
UPDATE block SET until = 0, change = ?
WHERE key IN (SELECT key FROM block WHERE until > 0 ORDER BY until, key LIMIT ?)"""


def ended(table: str, bounds: Mapping[str, float]) -> Forget:
    """Forgets what has ended. `bounds` are the times `now`, `unseen` (of histories) and `records`, and the last change
    of a block that every process has noticed, `told`.
    """
    rows = f"WHERE {TABLES[table].ended}" + (" ORDER BY time" if table == "record" else "")
    return _forgetting(table, rows, bounds)


def over(connection: Connection, table: str, most: int) -> tuple[int, str]:
    """How many rows more than that a table has; and the kind of which there are most, "" where rows have none."""
    if table == "record":
        # Its counting takes longest, and the numbers say where it can be left out.
        (span,) = connection.execute(SPAN).fetchone()
        if (span or 0) <= most:
            return 0, ""
    counted = " WHERE until > 0" if table == "block" else ""
    (rows,) = connection.execute(f"SELECT count(*) FROM {table}{counted}").fetchone()  # noqa: S608  # our own names
    kind = ""
    if rows > most and "kind" in TABLES[table].key:
        most_of = f"SELECT kind FROM {table} GROUP BY kind ORDER BY count(*) DESC LIMIT 1"  # noqa: S608  # our own names
        (kind,) = connection.execute(most_of).fetchone()
    return max(0, rows - most), kind


def beyond(table: str, kind: str) -> Forget:
    """Forgets what goes first, of that kind where there are kinds. Blocks are lifted: so every process hears of it."""
    if table == "block":
        return _lift
    of_kind = "WHERE +kind = :kind " if "kind" in TABLES[table].key else ""  # +: by the order, not by the kind
    return _forgetting(table, f"{of_kind}ORDER BY {TABLES[table].order}", {"kind": kind})


def _forgetting(table: str, rows: str, values: Mapping[str, float | str]) -> Forget:
    key = TABLES[table].key
    some = f"SELECT {key} FROM {table} {rows} LIMIT :portion"  # noqa: S608  # our own names

    def forget(connection: Connection, portion: int) -> int:
        bound = {**values, "portion": portion}
        if table == "record":
            numbers = connection.execute(some, bound).fetchall()
            connection.executemany("DELETE FROM recipient WHERE record = ?", numbers)
            connection.executemany("DELETE FROM record WHERE number = ?", numbers)
            return len(numbers)
        sql = f"DELETE FROM {table} WHERE ({key}) IN ({some})"  # noqa: S608  # our own names
        return connection.execute(sql, bound).rowcount

    return forget


def _lift(connection: Connection, portion: int) -> int:
    (change,) = connection.execute(_CHANGE).fetchone()
    return connection.execute(_LIFT, (change, portion)).rowcount
