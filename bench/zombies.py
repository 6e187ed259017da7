"""`python -m bench.zombies`: the cost of turning zombies away before DATA, beside Postfix' postscreen in the same run.

Two kinds: those that talk before the greeting is complete, and those that wait it out and are on six lists. And what
ten thousand connections take that say nothing, or wait for the rest of the greeting. All on loopback; clients seem to
come from 198.19/16 by PROXY headers, which both understand. docs/performance.md says how to read it.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import itertools
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from rich.console import Console
from rich.table import Table

from bench import processes
from bench.__main__ import _more_files, _runner
from bench.postscreen import postscreen, unfit
from gatekeeper.bench import zone
from gatekeeper.bench.letters import LISTS, RECIPIENT, key_record, new_key
from gatekeeper.bench.zone import FIRST_ZOMBIE

WAIT = 2.0
"""Seconds of pause in the greeting, for both."""
NAMESERVER = ("127.7.0.53", 53)
PATIENCE = 60.0
MANY = "connections_per_network = 100000\nconnections_per_address = 10000\n"
STEPS = (
    b"EHLO zombie.example\r\n",
    b"MAIL FROM:<a@c-198-19-200-1.bench.example>\r\n",
    f"RCPT TO:<{RECIPIENT}>\r\n".encode(),
)


class Zombie(asyncio.Protocol):
    """One that goes on until somebody refuses it; `done` tells the code that ended it, or "gone"."""

    def __init__(self, number: int, *, early: bool) -> None:
        self.done: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._number = number
        self._early = early
        self._steps = iter(STEPS)
        self._rest = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        high, low = divmod(self._number, 250)
        address = f"198.19.{FIRST_ZOMBIE + high % (256 - FIRST_ZOMBIE)}.{low + 1}"
        header = f"PROXY TCP4 {address} 127.0.0.1 {1024 + self._number % 60000} 25\r\n".encode()
        self._transport.write(header + (b"EHLO zombie.example\r\nMAIL FROM:<a@b.example>\r\n" if self._early else b""))

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line[:1] in {b"4", b"5"}:
                self._end(line[:3].decode())
            elif line[3:4] != b"-" and not self._early and self._transport is not None:
                step = next(self._steps, None)
                if step is None:
                    self._end("let through")
                else:
                    self._transport.write(step)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        self._end("gone")

    def _end(self, how: str) -> None:
        if not self.done.done():
            self.done.set_result(how)
        if self._transport is not None:
            self._transport.close()


@dataclass(frozen=True, slots=True)
class Result:
    cpu: float  # milliseconds a connection
    rate: float  # connections a second
    ends: collections.Counter[str]


async def attack(
    port: int, numbers: Iterator[int], *, count: int, at_once: int, early: bool
) -> collections.Counter[str]:
    ends: collections.Counter[str] = collections.Counter()
    loop = asyncio.get_running_loop()
    left = itertools.islice(numbers, count)

    async def one_after_the_other() -> None:
        for number in left:
            zombie = Zombie(number, early=early)
            await loop.create_connection(lambda zombie=zombie: zombie, "127.0.0.1", port)  # type: ignore[misc]
            try:
                ends[await asyncio.wait_for(zombie.done, PATIENCE)] += 1
            except TimeoutError:
                ends["no answer"] += 1

    await asyncio.gather(*(one_after_the_other() for _ in range(at_once)))
    return ends


async def silent(port: int, count: int, pid: int, *, seconds: float) -> tuple[int, int]:
    """Connections that say nothing: how many stay open after that long, and the octets of a worker for each."""
    before = processes.rss(pid)
    there: list[asyncio.StreamWriter] = []
    closed = 0

    async def one(number: int) -> None:
        nonlocal closed
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(f"PROXY TCP4 198.18.0.{number % 250 + 1} 127.0.0.1 {1024 + number % 60000} 25\r\n".encode())
        there.append(writer)
        with contextlib.suppress(TimeoutError, OSError):
            line = await asyncio.wait_for(reader.readline(), PATIENCE)
            closed += line[:3] != b"220"

    try:
        for first in range(0, count, 200):
            await asyncio.gather(*(one(number) for number in range(first, min(count, first + 200))))
        await asyncio.sleep(seconds)
        return len(there) - closed, processes.rss(pid) - before
    finally:
        for writer in there:
            writer.transport.abort()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.zombies", description=__doc__, allow_abbrev=False)
    parser.add_argument("--count", type=int, default=3000, help="zombies of each kind in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--waiting", type=int, default=1000, help="listed ones that wait at the same time")
    parser.add_argument("--silent", type=int, default=10_000, help="connections that say nothing")
    given = parser.parse_args()
    _more_files()
    console = Console(width=110)
    with tempfile.TemporaryDirectory(prefix="gatekeeper-bench-") as directory:
        _bench(console, Path(directory), given)


def _bench(console: Console, directory: Path, given: argparse.Namespace) -> None:
    run = _runner()
    with contextlib.ExitStack() as stack:
        names, nameserver = zone.start(key_record(new_key()), NAMESERVER)
        stack.callback(names.terminate)
        sink_port, _, _ = stack.enter_context(processes.sink())
        proxied = processes.free_port()
        ours = stack.enter_context(
            processes.gatekeeper(
                directory / "ours",
                next_hop=sink_port,
                nameserver=nameserver,
                checks=True,
                smtp=f'greeting_delay = "{WAIT:g}s"\n{MANY}',
                proxied=proxied,
            )
        )
        theirs = None
        if why := unfit():
            console.print(f"without postscreen: {why}")
        else:
            theirs = stack.enter_context(
                postscreen(directory / "postscreen", nameserver=NAMESERVER[0], wait=WAIT, lists=LISTS)
            )
        numbers = itertools.count()
        results: dict[tuple[str, str], list[Result]] = collections.defaultdict(list)
        for _ in range(given.rounds):
            for kind, at_once in (("early", 100), ("listed, waits", given.waiting)):
                for who in ("gatekeeper", "postscreen"):
                    if who == "postscreen" and theirs is None:
                        continue
                    port = proxied if who == "gatekeeper" or theirs is None else theirs.port

                    def spent(who: str = who) -> float:
                        if who == "postscreen" and theirs is not None:
                            return theirs.cpu()
                        return sum(processes.cpu(pid) for pid in (ours.supervisor, ours.worker, ours.controller))

                    before, began = spent(), time.perf_counter()
                    ends = run(attack(port, numbers, count=given.count, at_once=at_once, early=kind == "early"))
                    took = time.perf_counter() - began
                    time.sleep(0.5)  # what is written afterwards belongs to it
                    results[kind, who].append(Result((spent() - before) * 1000 / given.count, given.count / took, ends))
        table = Table("zombies", "", "ms CPU, each round", "least", "a second", "how it ended")
        for (kind, who), each in sorted(results.items()):
            every = " ".join(f"{one.cpu:.2f}" for one in each)
            ends = sum((one.ends for one in each), collections.Counter())
            best = min(each, key=lambda one: one.cpu)
            table.add_row(
                kind, who, every, f"{best.cpu:.2f}", f"{best.rate:.0f}", " ".join(f"{k}:{n}" for k, n in ends.items())
            )
        console.print(table)
        for what, seconds in (("in the pause of the greeting", 0.0), ("greeted, in a session", WAIT + 1.0)):
            there, octets = run(silent(proxied, given.silent, ours.worker, seconds=seconds))
            console.print(
                f"{there} silent connections {what}: {octets / max(1, there) / 1000:.1f} kB of the worker each"
            )


if __name__ == "__main__":
    main()
