"""Figures of two programs side by side, measured in turns: ratios within a round, medians over rounds, tables."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

NOISY: Final = 0.3
"""Processors kept busy by programs that are not part of it, from which on figures say little."""


@dataclass(frozen=True, slots=True)
class Taken:
    """One measurement. `rate` in messages a second, `cpu` in seconds a message of each process by name, `p50` and
    `p99` in seconds; `others` is how many processors strangers kept busy meanwhile.
    """

    rate: float
    cpu: Mapping[str, float]
    p50: float
    p99: float
    others: float
    failures: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Figure:
    """What is compared. `added`: by how much ours is more, and not how many times as much."""

    what: str
    of: Callable[[Taken], float]
    form: str = ".2f"
    added: bool = False


CPU = Figure("CPU ms a message", lambda taken: 1000 * sum(taken.cpu.values()))
RATE = Figure("messages a second", lambda taken: taken.rate, form=".0f")
P50 = Figure("p50 ms", lambda taken: 1000 * taken.p50, form=".1f", added=True)
P99 = Figure("p99 ms", lambda taken: 1000 * taken.p99, form=".1f", added=True)


@dataclass(frozen=True, slots=True)
class Row:
    """Who is compared with whom, by name, and in what."""

    ours: str
    theirs: str
    figures: Sequence[Figure]


def show(console: Console, rows: Mapping[str, Row], results: Mapping[str, Sequence[Taken]]) -> None:
    table = Table("", "figure", title="Median over rounds (lowest to highest)", title_justify="left")
    for heading in ("beside", "ours", "theirs"):
        table.add_column(heading, justify="right")
    for name, row in rows.items():
        for place, figure in enumerate(row.figures):
            cells = compared(figure, results.get(row.ours, ()), results.get(row.theirs, ()))
            about = f"{name}: {row.ours}\nbeside {row.theirs}" if place == 0 else ""
            table.add_row(about, figure.what, *cells)
        table.add_section()
    console.print(table)
    table = Table("", "CPU ms a message by process", title="Where it goes (medians)", title_justify="left")
    for name, taken in results.items():
        if by_process := shares(taken):
            table.add_row(name, by_process)
    console.print(table)
    for name, taken in results.items():
        for why, count in failures(taken).items():
            console.print(f"{count} not accepted ({name}): {escape(why)}", style="red")
    others = max((each.others for taken in results.values() for each in taken), default=0.0)
    if others > NOISY:
        console.print(
            f"Other programs kept up to {others:.1f} processors busy: only ratios say something, and those little.",
            style="yellow",
        )


def compared(figure: Figure, ours: Sequence[Taken], theirs: Sequence[Taken]) -> tuple[str, str, str]:
    """Ratio or difference within each round, then ours and theirs; "" for what there is not."""
    a, b = ([figure.of(taken) for taken in side] for side in (ours, theirs))
    pairs = list(zip(a, b, strict=False))
    if figure.added:
        beside = spread([x - y for x, y in pairs], f"+{figure.form}")
    else:
        beside = spread([x / y for x, y in pairs if y], ".2f")
        beside += " ×" if beside else ""
    return beside, spread(a, figure.form), spread(b, figure.form)


def spread(values: Sequence[float], form: str) -> str:
    """Median and (lowest to highest); "" of nothing."""
    if not values:
        return ""
    middle, least, most = (f"{value:{form}}" for value in (statistics.median(values), min(values), max(values)))
    return middle if len(values) == 1 else f"{middle} ({least} to {most})"


def shares(taken: Sequence[Taken]) -> str:
    """What each process took, the most first; what is less than a hundredth of a millisecond is left out."""
    names = {name for each in taken for name in each.cpu}
    found = {name: 1000 * statistics.median(each.cpu.get(name, 0.0) for each in taken) for name in names}
    ordered = sorted(found.items(), key=lambda share: (-share[1], share[0]))
    return ", ".join(f"{name} {cpu:.2f}" for name, cpu in ordered if cpu >= 0.01)


def failures(taken: Sequence[Taken]) -> dict[str, int]:
    found: dict[str, int] = {}
    for each in taken:
        for why, count in each.failures.items():
            found[why] = found.get(why, 0) + count
    return found
