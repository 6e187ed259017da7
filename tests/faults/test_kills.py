"""Processes are killed while mail flows; the ledger of both ends balances. At length: `make test-faults`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.faults.balance import Attempt, Ledger, Tally
from tests.faults.ledger import run

pytestmark = pytest.mark.slow


@pytest.mark.timeout(600)
def test_nothing_is_lost_or_doubled_when_processes_are_killed(tmp_path: Path) -> None:
    ledger = asyncio.run(run(tmp_path, messages=600, store=f"sqlite:{tmp_path}/state.db", every=1.0))
    assert ledger.faults() == [], ledger.tally()
    assert ledger.kills
    assert sum(attempt.answer.startswith("250") for attempt in ledger.attempts) > 400


def test_the_ledger_sees_what_does_not_balance() -> None:
    """It would be no proof if it could not fail."""
    lost, doubled, kept = (
        Attempt("lost", 1.0, 2.0, answer="250 ok"),
        Attempt("doubled", 1.0, 2.0, answer="250 ok"),
        Attempt("kept"),
    )
    cut = Attempt("cut", 1.0, 100.0)
    ledger = Ledger([lost, doubled, kept, cut])
    ledger.copies.update({"doubled": 2, "cut": 1, "nobody's": 1})
    assert [line.partition(":")[0] for line in ledger.faults()] == ["lost", "doubled", "cut", "nobody's"]
    cut.port, elsewhere = 4711, (99.0, 4712)
    for explained in (ledger.kills, ledger.doubts):
        explained.append((99.0, "process") if explained is ledger.kills else (99.0, 4711))  # type: ignore[arg-type]
        assert "cut" not in [line.partition(":")[0] for line in ledger.faults()]
        explained.clear()
    ledger.doubts.append(elsewhere)
    assert "cut" in [line.partition(":")[0] for line in ledger.faults()]


def test_chapters_are_added_up() -> None:
    one = Tally(attempts=2, acknowledged=1, cut=1, kills={"process": 1}, faults=["a: lost"])
    both = one + Tally(attempts=3, acknowledged=3, kills={"process": 1, "supervisor": 2})
    assert (both.attempts, both.acknowledged, both.cut, both.faults) == (5, 4, 1, ["a: lost"])
    assert both.kills == {"process": 2, "supervisor": 2}
    assert "4 faults (2 x process, 2 x supervisor)" in str(both)
