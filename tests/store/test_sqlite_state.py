"""What the tables of the SQLite store hold (the verbs themselves: test_contract.py)."""

from gatekeeper.store import sqlite_state


def test_text_has_no_lone_surrogates():
    assert sqlite_state.text("plain") == "plain"
    assert sqlite_state.text("ü\udc80") == "ü\\udc80"
