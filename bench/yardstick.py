"""What gatekeeper costs beside rspamd and Postfix on the same mail, in turns: `python -m bench.yardstick`.

checks: all checks (content, six lists, one list of names, SPF, DKIM, DMARC) beside rspamd over HTTP; no mail server's
share is in it. pass-through: every check off, beside the same. chain: generator, gatekeeper, Postfix beside generator,
Postfix, rspamd as its milter over a UNIX socket. latency: what is added to messages that come half as fast as they can
be taken. workers: two of them beside one. Each round measures everything once, and every second one backwards; a ratio
is taken within a round, and what is shown is the median over rounds and (the lowest to the highest).

Every second message comes from a client that was never seen before. Everything is private, on loopback, and ends with
the program. It needs the Debian packages rspamd, and as root postfix; what is not installed is left out, and named.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from rich.console import Console
from rich.markup import escape

from bench import beside, postfix, processes
from bench.__main__ import _more_files, _runner
from bench.endurance import _paced
from bench.processes import Gatekeeper
from bench.ratios import CPU, P50, P99, RATE, Row, Taken, show
from bench.rspamd import Rspamd
from gatekeeper.bench import load, zone
from gatekeeper.bench.letters import Letter, Talk, Writer, key_record, new_key
from gatekeeper.bench.zone import FIRST_ZOMBIE

EXAMPLE: Final = """example:
  .venv/bin/python -m bench.yardstick                                # some five minutes
  .venv/bin/python -m bench.yardstick --only checks --rounds 3       # one row
  .venv/bin/python -m bench.yardstick --rounds 1 --messages 50       # does it work here?
"""
SESSIONS: Final = 10
SECONDS: Final = 120.0
"""The longest that one measurement may take; what was not begun by then is left out."""
SETTLE: Final = 1.0
"""Seconds after the last answer: records and queues that are worked off then belong to the messages."""
SIZES: Final = (2_500,) * 6 + (10_000,) * 3 + (100_000,)
"""Octets, as mail has them: one in ten is large."""
FAMILIAR: Final = 200
STRANGERS: Final = (FIRST_ZOMBIE + 256) * 256 - FAMILIAR
"""So many clients there are of which each is met once, before those that are on all lists."""

WIDTH: Final = 150
"""Columns where the output goes to a file."""

ALL, OFF, TWO = "gatekeeper, all checks", "gatekeeper, every check off", "gatekeeper, two workers"
SCAN = "rspamd over HTTP"
FRONT, MILTER = "generator, gatekeeper, Postfix", "generator, Postfix, rspamd as milter"
HALF, BARE = "gatekeeper at half load", "no gatekeeper, at the same pace"
ORDER: Final = (OFF, SCAN, ALL, TWO, FRONT, MILTER, HALF, BARE)
"""In which they are measured: who is compared stands side by side."""


ROWS: Final = {
    "checks": Row(ALL, SCAN, (CPU,)),
    "pass-through": Row(OFF, SCAN, (CPU,)),
    "chain": Row(FRONT, MILTER, (RATE, CPU)),
    "latency": Row(HALF, BARE, (P50, P99)),
    "workers": Row(TWO, ALL, (CPU, RATE)),
}


@dataclass(frozen=True, slots=True)
class Side:
    """Something that takes messages: how it is spoken to, and the CPU seconds of its processes so far."""

    talk: Callable[[], Talk]
    spent: Callable[[], Mapping[str, float]]


class Mix:
    """The letters: sizes in turn, and of each two one from a client that comes again and again."""

    def __init__(self) -> None:
        key = new_key()
        self.record = key_record(key)
        self._writers = {octets: Writer(key, octets) for octets in set(SIZES)}
        self.familiar = [self._letter(number, number) for number in range(FAMILIAR)]
        self._sent = 0

    def letters(self, count: int) -> list[Letter]:
        """Never the same strangers twice, so that no program knows them from another measurement."""
        numbers = range(self._sent, self._sent + count)
        self._sent += count
        return [
            self._letter(n // 2, FAMILIAR + n // 2 % STRANGERS) if n % 2 else self.familiar[n // 2 % FAMILIAR]
            for n in numbers
        ]

    def listed(self) -> Letter:
        """From a client that is on all six lists."""
        return self._letter(0, FAMILIAR + STRANGERS)

    def _letter(self, place: int, client: int) -> Letter:
        return self._writers[SIZES[place % len(SIZES)]].letter(client)


class Yardstick:
    """What runs, and what was measured of it, a list of one for each round."""

    def __init__(self, sides: Mapping[str, Side], mix: Mix, messages: int) -> None:
        self.results: dict[str, list[Taken]] = {name: [] for name in sides}
        self.pace = 0.0
        """Messages a second at half load."""
        self._sides = sides
        self._mix = mix
        self._messages = messages

    def warm_up(self) -> None:
        """What is loaded and compiled at first use is, and clients that come again are known."""
        for name, side in self._sides.items():
            if name not in {HALF, BARE}:
                _run(side, self._mix.familiar)
        if HALF in self._sides:
            self.pace = _run(self._sides[HALF], self._mix.letters(self._messages)).rate / 2
            if not self.pace:
                raise SystemExit("gatekeeper accepted nothing: there is no half load")

    def measure(self, name: str) -> None:
        side, letters = self._sides[name], self._mix.letters(self._messages)
        before, began = (side.spent(), _machine()), time.perf_counter()
        outcome = _run(side, letters, pace=self.pace if name in {HALF, BARE} else 0.0)
        time.sleep(SETTLE)
        after, seconds = (side.spent(), _machine()), time.perf_counter() - began
        count = max(1, outcome.accepted)
        cpu = {each: max(0.0, now - before[0].get(each, 0.0)) / count for each, now in after[0].items()}
        self.results[name].append(
            Taken(
                rate=outcome.rate,
                cpu=cpu,
                p50=outcome.latency(0.5),
                p99=outcome.latency(0.99),
                others=max(0.0, after[1] - before[1]) / seconds,
                failures=dict(outcome.failures),
            )
        )


def _run(side: Side, letters: Sequence[Letter], *, pace: float = 0.0) -> load.Outcome:
    async def sent() -> load.Outcome:
        if not pace:
            return await load.send(letters, talk=side.talk(), sessions=SESSIONS, seconds=SECONDS)
        some = letters[: max(1, int(pace * SECONDS / 2))]
        try:
            async with asyncio.timeout(SECONDS):
                outcome = await _paced(some, side.talk(), pace=pace)
        except TimeoutError:
            raise SystemExit(f"{len(some)} messages were not through in {SECONDS:.0f} s at half load") from None
        outcome.accepted = len(some) - outcome.failures.total()
        return outcome

    return _runner()(sent())


def _machine() -> float:
    """CPU seconds of whatever runs here and was not started by us."""
    return processes.machine_cpu() - sum(processes.cpu(pid) for pid in processes.tree(os.getpid()))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.yardstick",
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--only", choices=ROWS, action="append", metavar="ROW", help=f"of {', '.join(ROWS)}; repeatable"
    )
    parser.add_argument("--rounds", type=_within(1, 50), default=5, metavar="N", help="from 1 to 50 (default: 5)")
    parser.add_argument(
        "--messages", type=_within(20, 20_000), default=500, metavar="N", help="in each measurement (default: 500)"
    )
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, _told_to_end)
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    _more_files()
    rows = {name: row for name, row in ROWS.items() if not given.only or name in given.only}
    with tempfile.TemporaryDirectory(prefix="gatekeeper-yardstick-") as name:
        _measure(rows, Path(name), console, rounds=given.rounds, messages=given.messages)


def _within(least: int, most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"must be from {least} to {most}")
        return int(text)

    return number


def _told_to_end(number: int, _frame: FrameType | None) -> NoReturn:
    """Leaves by way of everything that has to be ended; a second signal does not stop that half way."""
    signal.signal(number, signal.SIG_IGN)
    raise SystemExit(128 + number)


def _measure(rows: Mapping[str, Row], directory: Path, console: Console, *, rounds: int, messages: int) -> None:
    progress = Console(stderr=True)
    with contextlib.ExitStack() as stack:
        status = stack.enter_context(progress.status("starting"))

        def tell(what: str) -> None:
            status.update(what)
            if not progress.is_terminal:
                print(what, file=sys.stderr, flush=True)

        console.print(escape(machine()), highlight=False)
        mix = Mix()
        wanted = dict.fromkeys(name for row in rows.values() for name in (row.ours, row.theirs))
        sides = _sides(stack, wanted, mix, directory, tell=tell, console=console)
        yardstick = Yardstick(sides, mix, messages)
        tell("warming up")
        yardstick.warm_up()
        for turn in range(rounds):
            for name in order(sides, turn):
                tell(f"round {turn + 1} of {rounds}: {name}")
                yardstick.measure(name)
    show(console, rows, yardstick.results)
    if yardstick.pace:
        console.print(f"Half load is {yardstick.pace:.0f} messages a second here.", style="dim")


def order(names: Collection[str], turn: int) -> Sequence[str]:
    """Every second round backwards: who comes first has no advantage of it."""
    return [name for name in ORDER[:: 1 if turn % 2 == 0 else -1] if name in names]


def machine() -> str:
    """What it runs on, by name."""
    cores = sorted(os.sched_getaffinity(0))
    cpuinfo = Path("/proc/cpuinfo").read_text()
    models = {line.partition(":")[2].strip() for line in cpuinfo.splitlines() if line.startswith("model name")}
    versions = [f"CPython {platform.python_version()}"]
    for command in (("rspamd", "--version"), ("postconf", "-d", "-h", "mail_version")):
        if path := shutil.which(command[0], path=postfix.SBIN):
            said = subprocess.run((path, *command[1:]), capture_output=True, text=True, timeout=30, check=False).stdout
            versions.append(f"{'Postfix' if command[0] == 'postconf' else 'rspamd'} {(said.split() or ['?'])[-1]}")
    return (
        f"cores {', '.join(map(str, cores))} of {os.cpu_count()} ({', '.join(sorted(models)) or platform.machine()}), "
        f"shared by generator, programs and DNS; load {os.getloadavg()[0]:.1f}; {', '.join(versions)}"
    )


def _sides(
    stack: contextlib.ExitStack,
    wanted: Mapping[str, None],
    mix: Mix,
    directory: Path,
    *,
    tell: Callable[[str], None],
    console: Console,
) -> dict[str, Side]:
    """What is wanted and can run here; all of it ends with the stack."""
    names, nameserver = zone.start(mix.record)
    stack.callback(names.terminate)
    sink, _, _ = stack.enter_context(processes.sink())
    without = {name: why for name, why in unable().items() if name in wanted}
    for name, why in without.items():
        console.print(f"without {name}: {why}", style="red")
    sides: dict[str, Side] = {}

    def ours(names: Sequence[str], *, next_hop: int, checks: bool = True, workers: int = 1) -> Gatekeeper | None:
        names = [name for name in names if name in wanted and name not in without]
        if not names:
            return None
        tell(f"starting {names[0]}")
        there = stack.enter_context(
            processes.gatekeeper(
                directory / f"gatekeeper{len(sides)}",
                next_hop=next_hop,
                nameserver=nameserver,
                checks=checks,
                only=beside.OUR_URIBL if checks else "",
                smtp="connections_per_address = 100000\nconnections_per_network = 100000\n",
                workers=workers,
            )
        )
        for name in names:
            sides[name] = Side(lambda: load.smtp(there.port, named=True), there.cpu)
        return there

    ours((ALL, HALF), next_hop=sink)
    ours((OFF,), next_hop=sink, checks=False)
    ours((TWO,), next_hop=sink, workers=2)
    if BARE in wanted:
        sides[BARE] = Side(lambda: load.smtp(sink, named=False), dict)
    if FRONT in wanted and FRONT not in without:
        behind = stack.enter_context(beside.mail_server(directory / "behind"))
        front = ours((FRONT,), next_hop=behind.port)
        if front is not None:
            sides[FRONT] = Side(sides[FRONT].talk, lambda: {**front.cpu(), **behind.cpu_by_process()})
    if not {SCAN, MILTER} & (wanted.keys() - without.keys()):
        return sides
    tell("starting rspamd, which compiles its patterns")
    milter = directory / "milter"
    there = stack.enter_context(beside.like_us(directory, nameserver=nameserver, milter=milter))
    if there is None:
        return sides
    there.wait_until_idle()
    _prove(there, mix)
    if SCAN in wanted:
        sides[SCAN] = Side(lambda: beside.scan(there.port), there.cpu_by_process)
    if MILTER in wanted and MILTER not in without:
        alone = stack.enter_context(beside.mail_server(directory / "alone", milter=milter))
        sides[MILTER] = Side(
            lambda: load.smtp(alone.port, named=True), lambda: {**alone.cpu_by_process(), **there.cpu_by_process()}
        )
    return sides


def unable() -> dict[str, str]:
    """What cannot be measured here, and why."""
    found: dict[str, str] = {}
    if why := postfix.unfit():
        found |= {FRONT: why, MILTER: why}
    if shutil.which("rspamd") is None:
        found |= dict.fromkeys((SCAN, MILTER), "not here: rspamd (install rspamd)")
    return found


def _prove(there: Rspamd, mix: Mix) -> None:
    """A comparison with somebody who asks nobody would be worth nothing."""
    for _ in range(3):  # on a busy machine an answer may come too late for it
        lacking = beside.PROVEN - beside.symbols(there.port, mix.familiar[0])
        lacking |= beside.LISTED - beside.symbols(there.port, mix.listed())
        if not lacking:
            return
    raise SystemExit(f"rspamd does not do the same work: it did not find {', '.join(sorted(lacking))}")


if __name__ == "__main__":
    main()
