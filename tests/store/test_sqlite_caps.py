"""What has ended goes from the SQLite file, and what is too much, in bounded portions (all verbs: test_contract.py)."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gatekeeper.store import sqlite_caps, sqlite_file, sqlite_state
from gatekeeper.store.base import UNLEAKING_KEPT, Note, Sighting
from gatekeeper.store.schema import MIGRATIONS
from gatekeeper.store.sqlite_file import prepare

BOUNDS = {"now": 5.0, "told": 0, "unseen": 0.0, "records": 0.0}


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    prepare(tmp_path / "state.db")
    opened = sqlite3.connect(tmp_path / "state.db")
    yield opened
    opened.close()


def keys(connection: sqlite3.Connection, kind: str) -> list[str]:
    return [note.key for note in sqlite_state.notes(connection, kind, (), prefix="", now=0.0, limit=100)]


def test_of_too_many_rows_those_that_would_end_first_go(connection):
    sqlite_state.put_notes(connection, [Note("k", f"{n:02}", "", 1000.0 + n) for n in range(20)])
    assert sqlite_caps.over(connection, "note", 20) == (0, "")
    assert sqlite_caps.over(connection, "note", 15) == (5, "k")
    assert sqlite_caps.beyond("note", "k")(connection, 5) == 5
    assert keys(connection, "k") == [f"{n:02}" for n in range(5, 20)]


def test_they_are_of_the_kind_that_has_most(connection):
    """Strangers cause notes; an operator's own, which may end soon, are not pushed out by them."""
    sqlite_state.put_notes(connection, [Note("many", f"{n:02}", "", 1000.0 + n) for n in range(20)])
    sqlite_state.put_notes(connection, [Note("few", "entry", "", 500.0)])
    assert sqlite_caps.over(connection, "note", 15) == (6, "many")
    assert sqlite_caps.beyond("note", "many")(connection, 6) == 6
    assert keys(connection, "few") == ["entry"]
    assert len(keys(connection, "many")) == 14


def test_a_portion_is_a_bound(connection):
    sqlite_state.put_notes(connection, [Note("k", f"{n:02}", "", 1.0) for n in range(20)])
    gone = {table: sqlite_caps.ended(table, BOUNDS)(connection, 7) for table in sqlite_caps.TABLES}
    assert gone == dict.fromkeys(sqlite_caps.TABLES, 0) | {"note": 7}


def test_sightings_that_have_ended_are_forgotten(connection):
    sqlite_state.distinct(connection, [Sighting("a", "x", 60), Sighting("a", "y", 600)], 1000.0)
    assert sqlite_caps.ended("sighting", {**BOUNDS, "now": 1100.0})(connection, 100) == 1
    assert sqlite_state.distinct(connection, [Sighting("a", "", 60)], 1000.0) == [1]


def test_whether_there_are_too_many_records_is_seen_without_reading_them_all(connection):
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sqlite_caps.SPAN}")]
    assert not [step for step in plan if step.startswith("SCAN record")], plan


def test_a_file_of_before_the_bounds_has_them_too(tmp_path, monkeypatch):
    path = tmp_path / "state.db"
    with monkeypatch.context() as older:
        older.setattr(sqlite_file, "MIGRATIONS", MIGRATIONS[:3])
        older.setattr(sqlite_file, "VERSION", 3)
        prepare(path)
    with closing(sqlite3.connect(path)) as file:
        buckets = [("drained", 1.0, 0.0, 0.5), ("full", 9.0, 0.0, 0.5), ("for_ever", 1.0, 0.0, 0.0)]
        file.executemany("INSERT INTO bucket (key, level, at, per_second) VALUES (?, ?, ?, ?)", buckets)
        file.commit()
        prepare(path)
        assert sqlite_caps.ended("bucket", BOUNDS)(file, 9) == 1
        assert sqlite_caps.beyond("bucket", "")(file, 1) == 1
        assert file.execute("SELECT key, until FROM bucket").fetchall() == [("for_ever", UNLEAKING_KEPT)]


def test_every_table_that_strangers_fill_has_its_bounds(connection):
    """What is not here: recipients go with their records, lessons have bounds of their own, traits go with these."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    assert tables - set(sqlite_caps.TABLES) == {"meta", "recipient", "lesson", "trait"}


@pytest.mark.parametrize("table", sqlite_caps.TABLES)
def test_what_goes_is_found_by_an_index(connection, table):
    asked: list[str] = []
    connection.set_trace_callback(asked.append)
    sqlite_caps.ended(table, BOUNDS)(connection, 7)
    sqlite_caps.beyond(table, "")(connection, 7)
    connection.set_trace_callback(None)
    asked = [sql for sql in asked if f"FROM {table}" in sql]
    assert len(asked) == 2
    for sql in asked:
        plan = [row[3] for row in connection.execute("EXPLAIN QUERY PLAN " + sql)]
        assert not [step for step in plan if step.startswith("SCAN") and "INDEX" not in step], plan
        assert "USE TEMP B-TREE FOR ORDER BY" not in plan
