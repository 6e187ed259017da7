"""Processes are killed while mail flows; the ledger of both ends balances. At length: `make test-faults`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.faults import ledger as ledger_module
from tests.faults.balance import Attempt, Ledger, Tally
from tests.faults.ledger import Plan, main, run

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


@pytest.mark.parametrize(("store", "harm"), [("sqlite", "store"), ("redis", "disk"), ("cluster", "disk")])
def test_a_harm_that_does_not_go_with_the_store_is_refused(store: str, harm: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--store", store, "--harm", harm])
    assert ended.value.code == 2


def test_what_cannot_be_done_here_is_said_and_is_a_failure_where_peers_were_to_be_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ledger_module, "program", lambda _: None)
    for variable in ("CI", "PEERS"):
        monkeypatch.delenv(variable, raising=False)
    assert main(["--store", "redis"]) == 0
    assert "left out, not on this machine: redis-server" in capsys.readouterr().out
    monkeypatch.setenv("PEERS", "install")
    assert main(["--next-hop", "postfix"]) == 1
    assert "postfix" in capsys.readouterr().out


def test_a_run_goes_on_from_its_own_notes_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[str, int]] = []

    def chapter(plan: Plan, messages: int, *, seed: int) -> Tally:
        asked.append((plan.harm, messages))
        return Tally(attempts=messages)

    monkeypatch.setattr(ledger_module, "_chapter", chapter)
    given = ["--progress", str(tmp_path / "notes"), "--messages"]
    for messages, harm in (("3000", "kill"), ("4000", "kill"), ("4000", "kill"), ("100", "dns")):
        assert main([*given, messages, "--harm", harm]) == 0
    assert asked == [("kill", 2500), ("kill", 500), ("kill", 1000), ("dns", 100)]
    assert "4000 of 4000" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("harmed", "told", "code"),
    [
        (Tally(longest=1.4), False, 0),
        (Tally(longest=1.6), True, 1),
        (Tally(silences=1), True, 1),
        (Tally(longest=1.4, faults=["a: lost"]), False, 1),
    ],
)
def test_a_store_that_is_killed_may_delay_an_answer_by_a_second(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], harmed: Tally, told: bool, code: int
) -> None:
    """By what a first chapter of the same run took in which nobody is harmed; here both are made up."""

    def chapter(plan: Plan, messages: int, *, seed: int) -> Tally:
        chapters.append(plan.harm)
        return (Tally(longest=0.5) if plan.harm == "none" else harmed) + Tally(attempts=messages)

    chapters: list[str] = []
    monkeypatch.setattr(ledger_module, "_chapter", chapter)
    monkeypatch.setattr(ledger_module, "program", lambda name: name)
    assert main(["--store", "redis", "--harm", "store", "--messages", "100"]) == code
    assert chapters == ["none", "store"]
    assert ("STALLED" in capsys.readouterr().out) == told
    assert main(["--store", "redis", "--messages", "100"]) == (1 if harmed.faults else 0)  # starts anew take long
