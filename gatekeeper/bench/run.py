"""The measurement itself: starts everything on loopback, sends letters through it, says what each has cost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import socket
import sys
import tempfile
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gatekeeper.bench import load, processes, zone
from gatekeeper.bench.letters import LISTS, RECIPIENT, Letter, Writer, key_record, new_key
from gatekeeper.pipeline import CHECKS

FAMILIAR: Final = 200
"""Clients whose answers are cached; all others are met once."""
IDLE: Final = 1000
SECONDS: Final = 120.0
"""The longest that one row may take."""
NOISY: Final = 0.3
"""Processors kept busy by others from which on figures say little."""
PASS, KNOWN, NEW = "no checks", "all, clients known", "all, clients new"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is sent: `octets` long messages, so many in all for each row, in so many sessions at once."""

    messages: int = 2000
    sessions: int = 10
    octets: int = 10_000
    workers: int = 1

    def __post_init__(self) -> None:
        if min(self.messages, self.sessions, self.workers) < 1:
            raise ValueError("messages, sessions and workers must be at least 1")
        if self.octets < 2000:
            raise ValueError("a message has at least 2000 octets: its header and signature have 900")


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured. CPU and times in seconds; `others`: processors that strangers kept busy meanwhile."""

    what: str
    accepted: int
    rate: float  # messages a second
    cpu: float  # of all of gatekeeper's processes, for each message
    workers_cpu: float
    p50: float
    p99: float
    memory: int  # resident octets of the largest worker, afterwards
    others: float
    failures: Mapping[str, int]

    @property
    def per_processor(self) -> float:
        """Messages a second that one processor would take if it did nothing else."""
        return 1 / self.cpu if self.cpu else 0.0


@dataclass(frozen=True, slots=True)
class Instance:
    """A running gatekeeper."""

    port: int
    workers: Sequence[int]  # pids
    around: Sequence[int]  # of its supervisor and controller


def run(plan: Plan, *, console: Console, as_json: bool) -> int:
    """A minute or two; everything stops by itself. The exit status: 1 where mail was refused that should not be.

    Raises RuntimeError and OSError where something does not start.
    """
    _more_files()
    with tempfile.TemporaryDirectory(prefix="gatekeeper-bench-") as name, console.status("starting"):
        rows, idle = _measured(plan, Path(name))
    if as_json:
        console.print_json(json.dumps({"plan": asdict(plan), "rows": [asdict(row) for row in rows], "idle": idle}))
    else:
        _show(console, plan, rows, idle)
    return 1 if any(row.failures for row in rows) else 0


def _measured(plan: Plan, directory: Path) -> tuple[list[Row], float]:
    """The rows, and octets that an idle session takes of a worker."""
    key = new_key()
    writer = Writer(key, plan.octets)
    with contextlib.ExitStack() as stack:
        names, nameserver = zone.start(key_record(key))
        stack.callback(names.terminate)
        sink, sink_pid, _ = stack.enter_context(processes.sink())
        beside = (sink_pid, names.pid or 0)
        off, on = (
            stack.enter_context(
                _gatekeeper(directory / what, plan, next_hop=sink, nameserver=nameserver, checks=what == "on")
            )
            for what in ("off", "on")
        )
        idle = _run(_idle(off))
        familiar = [writer.letter(n) for n in range(FAMILIAR)]
        known = [familiar[n % FAMILIAR] for n in range(plan.messages)]
        new = [writer.letter(FAMILIAR + n) for n in range(plan.messages)]
        for there in (off, on):  # what is loaded at first use is loaded now, and the answers are cached
            _run(load.send(familiar, talk=load.smtp(there.port, named=True), sessions=plan.sessions, seconds=SECONDS))
        rows = [
            _row(what, letters, there, plan, beside=beside)
            for what, letters, there in ((PASS, known, off), (KNOWN, known, on), (NEW, new, on))
        ]
    return rows, idle


def _row(what: str, letters: Sequence[Letter], there: Instance, plan: Plan, *, beside: Sequence[int]) -> Row:
    def spent() -> tuple[float, float, float, float]:
        own = os.times()
        known = own.user + own.system + sum(map(processes.cpu, beside))
        workers, around = (sum(map(processes.cpu, pids)) for pids in (there.workers, there.around))
        return workers, around, known, processes.machine_cpu()

    before = spent()
    talk = load.smtp(there.port, named=True)
    outcome = _run(load.send(letters, talk=talk, sessions=plan.sessions, seconds=SECONDS))
    workers, around, known, machine = (after - then for then, after in zip(before, spent(), strict=True))
    count = max(1, outcome.accepted)
    return Row(
        what,
        accepted=outcome.accepted,
        rate=outcome.rate,
        cpu=(workers + around) / count,
        workers_cpu=workers / count,
        p50=outcome.latency(0.5),
        p99=outcome.latency(0.99),
        memory=max(map(processes.rss, there.workers)),
        others=max(0.0, machine - known - workers - around) / max(outcome.seconds, 0.001),
        failures=dict(outcome.failures),
    )


async def _idle(there: Instance) -> float:
    async with load.idle(100, port=there.port):
        pass  # the first ones pay for what all share
    before = sum(map(processes.rss, there.workers))
    async with load.idle(IDLE, port=there.port) as count:
        return max(0.0, (sum(map(processes.rss, there.workers)) - before) / max(1, count))


@contextlib.contextmanager
def _gatekeeper(directory: Path, plan: Plan, *, next_hop: int, nameserver: str, checks: bool) -> Iterator[Instance]:
    directory.mkdir()
    port, http = processes.free_port(), processes.free_port()
    config = directory / "gatekeeper.toml"
    config.write_text(
        settings(directory, plan.workers, port=port, http=http, next_hop=next_hop, nameserver=nameserver, checks=checks)
    )
    with (directory / "log").open("wb") as log:
        command = (sys.executable, "-m", "gatekeeper", "run", "-c", str(config))
        with processes.running(command, log) as process:
            pids = processes.roles(process, directory / "log", workers=plan.workers)
            with socket.create_connection(("127.0.0.1", port), processes.START_SECONDS) as client:
                client.recv(100)  # the greeting: a worker works
            yield Instance(port, pids["worker"], (process.pid, *pids["controller"]))


def settings(
    directory: Path, workers: int, *, port: int, http: int, next_hop: int, nameserver: str, checks: bool
) -> str:
    """The configuration that is measured: the embedded default, with six DNS lists, or with every check off."""
    text = f"""hostname = "mx.example"
relay_domains = ["{RECIPIENT.partition("@")[2]}"]
[servers.smtp]
listen = ["127.0.0.1:{port}"]
next_hop = "smtp://127.0.0.1:{next_hop}"
trust = ["127.0.0.1/32"]
connections = 100000
connections_per_address = 100000
[servers.http]
listen = ["127.0.0.1:{http}"]
[dns]
nameservers = ["{nameserver}"]
[store]
url = "sqlite:{directory}/state.db"
[supervisor]
workers = {workers}
drain = "1s"
"""
    if not checks:
        return text + "".join(f"[checks.{check.name}]\nenabled = false\n" for check in CHECKS)
    lists = (f'[[checks.dnsbl.lists]]\nzone = "{zone}"\nname = "L{n}"\nscore = 4.0\n' for n, zone in enumerate(LISTS))
    return text + "".join(lists)


def _show(console: Console, plan: Plan, rows: Sequence[Row], idle: float) -> None:
    title = f"{plan.messages} messages of {plan.octets:,} octets, {plan.sessions} sessions at once, {plan.workers} "
    table = Table(title=title + ("worker" if plan.workers == 1 else "workers"), title_justify="left")
    table.add_column("checks", no_wrap=True)
    for heading in ("msg/s", "CPU ms a message", "msg/s a processor", "p50 ms", "p99 ms", "worker MB"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row.what,
            f"{row.rate:,.0f}",
            f"{1000 * row.cpu:.2f}",
            f"{row.per_processor:,.0f}",
            f"{1000 * row.p50:.1f}",
            f"{1000 * row.p99:.1f}",
            f"{row.memory / 1e6:.0f}",
        )
    console.print(table)
    console.print(f"An idle session takes {idle / 1000:.1f} kB of a worker, and some 7 kB of the kernel.")
    console.print(
        f"{os.cpu_count()} processors, which client, next hop and DNS share with it: msg/s is what came of all."
    )
    others = max(row.others for row in rows)
    if others > NOISY:
        console.print(
            f"Other programs kept {others:.1f} processors busy meanwhile: run it again when they do not.",
            style="yellow",
        )
    for row in rows:
        for why, count in row.failures.items():
            console.print(f"{count} not accepted ({row.what}): {escape(why)}", style="red")


def _run(main: Coroutine[object, object, T]) -> T:
    """asyncio.run, on uvloop where it is installed: the client is not to be what limits."""
    try:
        import uvloop  # noqa: PLC0415 - optional
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)


def _more_files() -> None:
    """Idle sessions need a descriptor each, here and in the workers, which inherit the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * IDLE if hard == resource.RLIM_INFINITY else min(4 * IDLE, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
