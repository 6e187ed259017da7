"""What the tables of the SQLite store do when they grow (the verbs themselves: test_contract.py)."""

import sqlite3
from pathlib import Path

from gatekeeper.store import sqlite_state
from gatekeeper.store.base import Note, Sighting
from gatekeeper.store.sqlite_file import prepare


def test_text_has_no_lone_surrogates():
    assert sqlite_state.text("plain") == "plain"
    assert sqlite_state.text("ü\udc80") == "ü\\udc80"


def test_of_too_many_rows_those_that_would_end_first_go(tmp_path: Path):
    prepare(tmp_path / "state.db")
    connection = sqlite3.connect(tmp_path / "state.db")
    sqlite_state.put_notes(connection, [Note("k", f"{n:02}", "", 1000.0 + n) for n in range(20)])
    for sql, values in sqlite_state.ending(0.0, 100, most=15):
        connection.execute(sql, values)
    kept = sqlite_state.notes(connection, "k", (), prefix="", now=0.0, limit=100)
    assert [note.key for note in kept] == [f"{n:02}" for n in range(5, 20)]
    connection.close()


def test_a_portion_is_a_bound(tmp_path: Path):
    prepare(tmp_path / "state.db")
    connection = sqlite3.connect(tmp_path / "state.db")
    sqlite_state.put_notes(connection, [Note("k", f"{n:02}", "", 1.0) for n in range(20)])
    gone = [connection.execute(sql, values).rowcount for sql, values in sqlite_state.ending(5.0, 7)]
    assert gone == [0, 0, 7, 0, 0, 0]
    connection.close()


def test_sightings_that_have_ended_are_forgotten(tmp_path: Path):
    prepare(tmp_path / "state.db")
    connection = sqlite3.connect(tmp_path / "state.db")
    sqlite_state.distinct(connection, [Sighting("a", "x", 60), Sighting("a", "y", 600)], 1000.0)
    for sql, values in sqlite_state.ending(1100.0, 100):
        connection.execute(sql, values)
    assert sqlite_state.distinct(connection, [Sighting("a", "", 60)], 1000.0) == [1]
    connection.close()
