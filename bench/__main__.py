"""`python -m bench`: messages through gatekeeper to smtp-sink, beside the same without gatekeeper, on loopback.

Everything runs here and stops by itself; nothing needs the Internet. docs/performance.md says how to read it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import resource
import tempfile
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rich.console import Console

from bench import asking, processes
from bench.processes import Alone, Gatekeeper
from bench.report import Cell, Memory, Run, show
from gatekeeper.bench import load, zone
from gatekeeper.bench.letters import Letter, Talk, Writer, key_record, new_key
from gatekeeper.pipeline import CHECKS

BARE, PASS, WARM, COLD = "bare", "pass-through", "checks, warm", "checks, cold"
PROVEN = "lists and auth"
NAMED = frozenset({"dnsbl", "spf", "dkim", "dmarc", "helo", "headers"})
"""On in `PROVEN`, with six lists and warm: the same at all times, however many checks there are by now."""
MILTER, POLICY = "milter, no checks", "policy, no checks"
MILTER_ALONE, POLICY_ALONE = "milter alone", "policy alone"
SIZE, OTHER_SIZES = 10_000, (2_000, 100_000)
ASKED_SIZE = 4_000
"""Of messages about which a mail server asks."""
SESSIONS, FEW = (1, 10, 50), (10,)
FAMILIAR = 200
"""Clients that are known by the time of a warm measurement; all the others are met once."""

WIDTH = 120
"""Columns where the output goes to a file."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is done. `seconds` is the longest that one measurement may take."""

    messages: int
    rounds: int
    idle: int
    seconds: float


DEFAULT = Plan(messages=1000, rounds=2, idle=2000, seconds=6.0)
QUICK = Plan(messages=250, rounds=1, idle=1000, seconds=2.0)


class Bench:
    """The programs that run, the letters at hand, and what has been measured."""

    def __init__(
        self,
        plan: Plan,
        *,
        sink: tuple[int, int],
        names: int,
        off: Gatekeeper,
        on: Gatekeeper,
        proven: Gatekeeper,
        milter: Gatekeeper,
        policy: Gatekeeper,
        alone: Mapping[str, Alone],
    ) -> None:
        self.plan = plan
        self.results: dict[Cell, list[Run]] = {}
        self._sink_port, self._sink_pid = sink
        self._names_pid = names
        self._instances = {PASS: off, PROVEN: proven, WARM: on, COLD: on, MILTER: milter, POLICY: policy}
        self._alone = alone
        self._strangers = FAMILIAR

    def measure(self, cell: Cell, writer: Writer, familiar: Sequence[Letter]) -> None:
        count = self.plan.messages
        if cell.what == COLD:
            letters = [writer.letter(number) for number in range(self._strangers, self._strangers + count)]
            self._strangers += count
        else:
            letters = [familiar[n % len(familiar)] for n in range(count)]
        there = self._instances.get(cell.what)
        talk = self._talk(cell.what, there)
        if cell.what in self._alone:
            _run(load.send(letters[:50], talk=self._talk(cell.what, there), sessions=10, seconds=30.0))
        if cell.what in {PROVEN, WARM}:
            _run(load.send(familiar, talk=talk, sessions=10, seconds=30.0))
        before = self._spent(cell.what)
        outcome = _run(load.send(letters, talk=talk, sessions=cell.sessions, seconds=self.plan.seconds))
        worker, controller, known, machine = (b - a for a, b in zip(before, self._spent(cell.what), strict=True))
        others = max(0.0, machine - known - worker - controller) / outcome.seconds
        self.results.setdefault(cell, []).append(Run(outcome, worker, controller, others))

    def _talk(self, what: str, there: Gatekeeper | None) -> Talk:
        if what in self._alone:
            return (asking.milter if what == MILTER_ALONE else asking.policy)(self._alone[what].path)
        if there is None:
            return load.smtp(self._sink_port, named=False)
        if what == MILTER:
            return asking.milter(there.milter)
        if what == POLICY:
            return asking.policy(there.policy)
        return load.smtp(there.port, named=True)

    def _spent(self, what: str) -> tuple[float, float, float, float]:
        """CPU seconds so far: of the worker, of the controller, of those around them, and of the whole machine."""
        own = os.times()
        around = own.user + own.system + processes.cpu(self._sink_pid) + processes.cpu(self._names_pid)
        if what in self._alone:
            return processes.cpu(self._alone[what].pid), 0.0, around, processes.machine_cpu()
        there = self._instances.get(what)
        if there is None:
            return 0.0, 0.0, around, processes.machine_cpu()
        around += processes.cpu(there.supervisor)
        return processes.cpu(there.worker), processes.cpu(there.controller), around, processes.machine_cpu()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__, allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="fewer messages, one round: under 40 seconds")
    parser.add_argument("--rounds", type=int, help="how often everything is measured; the least CPU counts")
    given = parser.parse_args()
    plan = QUICK if given.quick else DEFAULT
    if given.rounds:
        plan = Plan(plan.messages, given.rounds, plan.idle, plan.seconds)
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    _more_files()
    with tempfile.TemporaryDirectory(prefix="gatekeeper-bench-") as directory:
        _bench(plan, Path(directory), console)


def _bench(plan: Plan, directory: Path, console: Console) -> None:
    key = new_key()
    with contextlib.ExitStack() as stack:
        status = stack.enter_context(console.status("starting"))
        names, nameserver = zone.start(key_record(key))
        stack.callback(names.terminate)
        sink_port, sink_pid, sink_name = stack.enter_context(processes.sink())
        off, proven, on, milter, policy = (
            stack.enter_context(
                processes.gatekeeper(
                    directory / name, next_hop=sink_port, nameserver=nameserver, checks=checks, without=without
                )
            )
            for name, checks, without in (
                ("off", False, ()),
                ("proven", True, [check.name for check in CHECKS if check.name not in NAMED]),
                ("on", True, ()),
                ("milter", False, ()),
                ("policy", False, ()),
            )
        )
        alone = {
            row: stack.enter_context(processes.alone(directory, what))
            for row, what in ((MILTER_ALONE, "milter"), (POLICY_ALONE, "policy"))
        }
        console.print(f"next hop: {sink_name}; DNS: our own on loopback; {os.cpu_count()} processors")
        bench = Bench(
            plan,
            sink=(sink_port, sink_pid),
            names=names.pid or 0,
            off=off,
            on=on,
            proven=proven,
            milter=milter,
            policy=policy,
            alone=alone,
        )
        status.update("idle sessions")
        memory = {"checks off": (off, _idle(off, plan.idle)), "checks on": (on, _idle(on, plan.idle))}
        writers = {octets: Writer(key, octets) for octets in (SIZE, *OTHER_SIZES, ASKED_SIZE)}
        letter = writers[ASKED_SIZE].letter(0)
        for what, there in (("milter connections", milter), ("policy connections", policy)):
            memory[what] = there, _idle_asking(there, plan.idle, letter, asks=there is policy)
        familiar = {o: [writer.letter(n) for n in range(FAMILIAR)] for o, writer in writers.items()}
        for letters in familiar.values():  # what is loaded on first use is loaded now
            for talk in (load.smtp(off.port, named=True), asking.milter(milter.milter), asking.policy(policy.policy)):
                _run(load.send(letters[:50], talk=talk, sessions=10, seconds=30.0))
        cells = [Cell(what, SIZE, n) for what in (BARE, PASS, PROVEN, WARM, COLD) for n in SESSIONS]
        cells += [Cell(what, octets, n) for octets in OTHER_SIZES for what in (BARE, PASS, WARM) for n in FEW]
        cells += [Cell(what, ASKED_SIZE, n) for what in (MILTER, MILTER_ALONE, POLICY, POLICY_ALONE) for n in FEW]
        for turn in range(plan.rounds):
            for cell in cells:  # in turns, so that a noisy minute does not fall on one of them alone
                status.update(
                    f"round {turn + 1} of {plan.rounds}: {cell.what}, {cell.octets:,} octets, {cell.sessions}"
                )
                bench.measure(cell, writers[cell.octets], familiar[cell.octets])
        seen = {
            what: Memory(fresh, idle, loaded, processes.rss(there.worker))
            for what, (there, (fresh, idle, loaded)) in memory.items()
        }
    show(console, bench.results, seen, BARE)


def _idle(there: Gatekeeper, count: int) -> tuple[int, int, int]:
    """Resident octets of a fresh worker, how many idle sessions were opened, and its octets with them."""

    async def opened() -> tuple[int, int, int]:
        async with load.idle(100, port=there.port):
            pass  # the first ones pay for what all share
        fresh = processes.rss(there.worker)
        async with load.idle(count, port=there.port) as number:
            return fresh, number, processes.rss(there.worker)

    return _run(opened())


def _idle_asking(there: Gatekeeper, count: int, letter: Letter, *, asks: bool) -> tuple[int, int, int]:
    """The same with connections of a mail server that asks."""
    path = there.policy if asks else there.milter

    async def opened() -> tuple[int, int, int]:
        async with asking.idle(100, path, letter=letter, asks=asks):
            pass
        fresh = processes.rss(there.worker)
        async with asking.idle(count, path, letter=letter, asks=asks) as number:
            return fresh, number, processes.rss(there.worker)

    return _run(opened())


def _run(main: Coroutine[object, object, T]) -> T:
    return _runner()(main)


def _runner() -> Callable[[Coroutine[object, object, T]], T]:
    """asyncio.run, on uvloop where it is installed: the generator is not to be what limits."""
    try:
        import uvloop  # noqa: PLC0415 - optional
    except ImportError:
        return asyncio.run
    return uvloop.run


def _more_files() -> None:
    """Idle sessions need a descriptor each, here and in the worker, which inherits the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 20_000:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (20_000 if hard == resource.RLIM_INFINITY else min(20_000, hard), hard)
        )


if __name__ == "__main__":
    main()
