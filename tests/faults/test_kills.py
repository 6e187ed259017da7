"""Processes are killed while mail flows; the ledger of both ends balances. At length: `make test-faults`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.faults.ledger import Attempt, Ledger, run

pytestmark = pytest.mark.slow


def test_nothing_is_lost_or_doubled_when_processes_are_killed(tmp_path: Path) -> None:
    ledger = asyncio.run(run(tmp_path, messages=600, store=f"sqlite:{tmp_path}/state.db", every=1.0))
    assert ledger.faults() == [], ledger.summary()
    assert ledger.kills
    assert sum(attempt.answer.startswith("250") for attempt in ledger.attempts) > 400


def test_the_ledger_sees_what_does_not_balance() -> None:
    """It would be no proof if it could not fail."""
    lost, doubled, kept = Attempt("lost", 1.0, 2.0, "250 ok"), Attempt("doubled", 1.0, 2.0, "250 ok"), Attempt("kept")
    cut = Attempt("cut", 1.0, 100.0, "")
    ledger = Ledger([lost, doubled, kept, cut])
    ledger.copies.update({"doubled": 2, "cut": 1, "nobody's": 1})
    assert [line.partition(":")[0] for line in ledger.faults()] == ["lost", "doubled", "cut", "nobody's"]
    ledger.kills.append((99.0, "process"))
    assert "cut" not in [line.partition(":")[0] for line in ledger.faults()]
