"""What was measured, as tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gatekeeper.bench.load import Outcome


@dataclass(frozen=True, slots=True)
class Cell:
    """One line of the plan: what is measured, with messages of how many octets, in how many sessions at once."""

    what: str
    octets: int
    sessions: int


@dataclass(frozen=True, slots=True)
class Run:
    """One measurement of a cell. CPU in seconds; `others` is how many processors strangers kept busy meanwhile."""

    outcome: Outcome
    worker: float
    controller: float
    others: float

    @property
    def per_message(self) -> float:
        """Milliseconds of the worker."""
        return 1000 * self.worker / max(1, self.outcome.accepted)


@dataclass(frozen=True, slots=True)
class Memory:
    """Octets of the worker: fresh, with `idle` sessions open, and after the whole run."""

    fresh: int
    idle: int
    loaded: int
    after: int

    @property
    def per_session(self) -> float:
        return (self.loaded - self.fresh) / max(1, self.idle)


def show(console: Console, results: dict[Cell, list[Run]], memory: dict[str, Memory], bare: str) -> None:
    table = Table(title="One worker, one message per session; the run with the least CPU of each", title_justify="left")
    headings = (
        *("octets", "sessions", "msg/s", f"of {bare}"),
        *("CPU ms", "× pass", "controller", "p50 ms", "p99 ms", "others"),
    )
    table.add_column("")
    for heading in headings:
        table.add_column(heading, justify="right")
    last = None
    for cell, runs in results.items():
        if last is not None and cell.what != last:
            table.add_section()
        last = cell.what
        best = min(runs, key=lambda run: (run.per_message, -run.outcome.rate))
        table.add_row(*_row(cell, best, results, bare))
    console.print(table)
    console.print(
        "CPU: user and system time per message, of the worker and of the controller. × pass: against passing through "
        "with every check off. "
        "others: processors that strangers kept busy meanwhile; above 0.3 the absolute figures say little.",
        style="dim",
    )
    for cell, runs in results.items():
        failures: Counter[str] = Counter()
        for run in runs:
            failures.update(run.outcome.failures)
        for why, count in failures.items():
            console.print(f"{count} not accepted ({cell.what}, {cell.sessions} sessions): {escape(why)}", style="red")
    table = Table(title="Memory of a worker", title_justify="left")
    for heading in ("", "fresh MB", "after the run MB", "idle sessions", "kB per idle session"):
        table.add_column(heading, justify="right")
    for what, seen in memory.items():
        table.add_row(
            what, f"{seen.fresh / 1e6:.1f}", f"{seen.after / 1e6:.1f}", str(seen.idle), f"{seen.per_session / 1e3:.1f}"
        )
    console.print(table)


def _row(cell: Cell, run: Run, results: dict[Cell, list[Run]], bare: str) -> Sequence[str]:
    def rate(what: str) -> float:
        return max((r.outcome.rate for r in results.get(Cell(what, cell.octets, cell.sessions), ())), default=0.0)

    through = min(
        (r.per_message for r in results.get(Cell("pass-through", cell.octets, cell.sessions), ())), default=0.0
    )
    ours = cell.what != bare
    return (
        cell.what,
        f"{cell.octets:,}",
        str(cell.sessions),
        f"{run.outcome.rate:,.0f}",
        f"{run.outcome.rate / rate(bare):.0%}" if rate(bare) else "",
        f"{run.per_message:.2f}" if ours else "",
        f"{run.per_message / through:.1f}" if ours and through else "",
        f"{1000 * run.controller / max(1, run.outcome.accepted):.2f}" if ours else "",
        f"{1000 * run.outcome.latency(0.5):.1f}",
        f"{1000 * run.outcome.latency(0.99):.1f}",
        f"{run.others:.1f}",
    )
