"""Mail through a `gatekeeper run` whose processes are killed meanwhile, and a ledger of both ends that must balance.

`python -m tests.faults.ledger --messages 50000 --store sqlite` does it at length, in chapters of 2,500 messages, and
prints what came of each and of all; with `--progress FILE` it goes on where an earlier run was interrupted. With
`--harm` those around gatekeeper are harmed instead, and with `--next-hop postfix` the witness is Postfix's log. One
line of the ledger is one attempt with an id of its own. What must hold (RFC 5321 §6.1, RFC 1047):

- acknowledged: the next hop has exactly one copy;
- not acknowledged: none, or one that gatekeeper told to be in doubt, or whose session was cut off by a kill.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import dataclasses
import ipaddress
import itertools
import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from tests.faults.balance import Attempt, Ledger, Tally
from tests.faults.surroundings import (
    Harm,
    comes_and_goes,
    falls_silent,
    fills_up,
    hear_witness,
    nameserver,
    small_disk,
)
from tests.peers.instances import ROOT, Postfix, free_port, program
from tests.peers.redis_servers import RedisCluster, RedisServer

SESSION_SECONDS = 60.0


class Sink(asyncio.Protocol):
    """A next hop that takes everything and remembers whose copy it has; PIPELINING, one answer for each line."""

    copies: collections.Counter[str]

    def __init__(self, copies: collections.Counter[str]) -> None:
        self.copies = copies
        self._rest = b""
        self._data = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(b"220 sink ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._rest += data
        answers = []
        while True:
            end = b"\r\n.\r\n" if self._data else b"\r\n"
            part, found, rest = self._rest.partition(end)
            if not found:
                break
            self._rest = rest
            answers.append(self._message(part) if self._data else self._command(part.upper()))
        if answers:
            self._transport.write(b"".join(answers))

    def _message(self, text: bytes) -> bytes:
        self._data = False
        found = re.search(rb"^Ledger: (\S+)", text, re.MULTILINE)
        self.copies[found[1].decode() if found else "?"] += 1
        return b"250 2.0.0 Ok\r\n"

    def _command(self, line: bytes) -> bytes:
        if line.startswith(b"EHLO"):
            return b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n"
        if line.startswith(b"DATA"):
            self._data = True
            return b"354 go on\r\n"
        return b"221 2.0.0 Bye\r\n" if line.startswith(b"QUIT") else b"250 2.1.0 Ok\r\n"


class Victim:
    """`gatekeeper run` with two workers, started again whenever its supervisor was killed."""

    def __init__(self, directory: Path, next_hop: int, store: str, dns: str) -> None:
        self.port, self.http = free_port(), free_port()
        self.log = directory / "log"
        self.config = directory / "gatekeeper.toml"
        checks = ("dnsbl", "spf", "dkim", "dmarc", "reverse_dns")
        about_dns = "".join(f"[checks.{name}]\nenabled = false\n" for name in checks)
        if dns:
            about_dns = (
                f'[dns]\nnameservers = ["{dns}"]\ntimeout = "200ms"\ntries = 2\n'
                f'[[checks.dnsbl.lists]]\nzone = "bl.test"\nname = "BL"\nscore = 12.0\n'
            )
        self.config.write_text(
            f'hostname = "mx.example.org"\nrelay_domains = ["example.org"]\n[servers.smtp]\n'
            f'listen = ["127.0.0.1:{self.port}"]\nnext_hop = "smtp://127.0.0.1:{next_hop}"\n'
            f'connections_per_address = 1000\ntrust = ["127.0.0.1/32"]\n'
            f'[servers.http]\nlisten = ["127.0.0.1:{self.http}"]\n'
            f'[store]\nurl = "{store}"\n[supervisor]\nworkers = 2\ndrain = "5s"\n{about_dns}'
        )
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gatekeeper", "run", "-c", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
            )

    def revive(self) -> None:
        """Start it again where its start was cut off, as systemd does."""
        assert self.process is not None
        if self.process.poll() is not None:
            self.start()

    def started(self) -> bool:
        """Whether all of its processes were ready once."""
        return " started process=supervisor" in self.log.read_text(errors="replace")

    def must_live(self) -> None:
        """Nobody has killed it, and clients would wait for it for ever."""
        assert self.process is not None
        assert self.process.poll() is None, f"gatekeeper has ended: {self.log.read_text(errors='replace')[-1000:]}"

    def children(self) -> list[int]:
        """The pids of the processes that the supervisor has started and not buried."""
        assert self.process is not None
        try:
            text = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        except OSError:
            return []
        return [int(pid) for pid in text.split()]

    def kill(self, dice: random.Random) -> str:
        """SIGKILL for one of its processes; which."""
        assert self.process is not None
        children = self.children()
        if not children or dice.random() < 0.15:
            self.process.kill()
            self.process.wait()
            self.start()
            return "supervisor"
        with contextlib.suppress(ProcessLookupError):
            os.kill(dice.choice(children), signal.SIGKILL)
        return "process"

    def stop(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def doubts(self) -> list[tuple[float, int]]:
        """As its log tells of them, with the time as monotonic time."""
        offset = time.time() - time.monotonic()
        found = re.findall(
            r"^(\S+) .* port=(\d+) .* note=in_doubt_", self.log.read_text(errors="replace"), re.MULTILINE
        )
        return [(datetime.fromisoformat(when).timestamp() - offset, int(port)) for when, port in found]


async def run(
    directory: Path,
    *,
    messages: int,
    store: str,
    every: float,
    sessions: int = 20,
    seed: int = 1,
    harm: Harm | None = None,
    least: int = 1,
    next_hop: int = 0,
    dns: str = "",
) -> Ledger:
    """Hand over that many messages while, about every `every` seconds, something of gatekeeper's is killed, or `harm`
    is done; and more of them until that was done `least` times, for a fast machine is through before the first.
    Without `next_hop` there is a sink, and its copies are in the ledger. With `dns`, a nameserver's address, each mail
    comes from a client and a domain of its own, and both are asked about. Bounded by an hour.
    """
    ledger, dice = Ledger(), random.Random(seed)
    loop = asyncio.get_running_loop()
    sink = await loop.create_server(lambda: Sink(ledger.copies), "127.0.0.1", 0)
    victim = Victim(directory, next_hop or sink.sockets[0].getsockname()[1], store, dns)
    try:
        async with asyncio.timeout(3600):
            await _answering(victim)
            over = asyncio.Event()
            work = _kill(victim, ledger, dice, every) if harm is None else _harm(harm, victim, ledger, every, over)
            numbers = itertools.takewhile(
                lambda n: n < messages or len(ledger.kills) + len(ledger.harms) < least, itertools.count()
            )
            async with asyncio.TaskGroup() as whole:  # what goes wrong with the killing ends the clients too
                killer = whole.create_task(work)
                async with asyncio.TaskGroup() as group:
                    for n in range(sessions):
                        mine = random.Random(f"{seed}/{n}")
                        group.create_task(_client(victim.port, numbers, ledger, mine, strangers=bool(dns)))
                over.set()
                if harm is None:
                    killer.cancel()
    finally:
        await asyncio.to_thread(victim.stop)  # who is still in doubt is told of then
        sink.close()
    ledger.doubts = victim.doubts()
    return ledger


async def _kill(victim: Victim, ledger: Ledger, dice: random.Random, every: float) -> None:
    while True:
        victim.revive()
        await _answering(victim)  # what is killed has done something since the last time
        await asyncio.sleep(dice.uniform(0.0, 1.8) * every)
        ledger.kills.append((time.monotonic(), await asyncio.to_thread(victim.kill, dice)))


async def _harm(harm: Harm, victim: Victim, ledger: Ledger, every: float, over: asyncio.Event) -> None:
    """Until it is over, and never left in the middle. Not while it starts: a full disk ends a start, as it must."""
    while not (victim.started() or over.is_set()):
        victim.must_live()
        await asyncio.sleep(0.05)
    while not over.is_set():
        victim.must_live()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), None if every == math.inf else every)
            return
        ledger.harms.append(await asyncio.to_thread(harm))


async def _answering(victim: Victim) -> None:
    """Until a worker greets."""
    async with asyncio.timeout(900):  # starts are slow on a machine that is taken
        while True:
            with contextlib.suppress(OSError, TimeoutError):
                reader, writer = await asyncio.open_connection("127.0.0.1", victim.port)
                async with asyncio.timeout(5):
                    greeting = await reader.readline()
                writer.close()
                if greeting.startswith(b"220"):
                    return
            victim.revive()
            await asyncio.sleep(0.1)


async def _client(port: int, numbers: Iterator[int], ledger: Ledger, dice: random.Random, *, strangers: bool) -> None:
    for number in numbers:
        attempt = Attempt(f"m{number}")
        ledger.attempts.append(attempt)
        stranger = ipaddress.IPv4Address("11.0.0.1") + number if strangers else None
        while not await _try(port, attempt, dice, stranger):  # noqa: ASYNC110 - another process sets no event
            await asyncio.sleep(0.05)
        if attempt.answer[:1] in {"4", "5"}:
            await asyncio.sleep(0.1)  # or all would be refused in a moment


async def _try(port: int, attempt: Attempt, dice: random.Random, stranger: ipaddress.IPv4Address | None) -> bool:
    """One session, on behalf of a stranger by XCLIENT; False when there was none, so that nothing was tried."""
    async with _connected(port) as wire:
        if wire is None:
            return False
        reader, writer = wire
        attempt.began = time.monotonic()
        attempt.port = writer.get_extra_info("sockname")[1]
        body = b"x" * dice.choice((10, 1000, 20_000))
        sender = b"a@%sexample.net" % (b"" if stranger is None else f"{attempt.id}.".encode())
        try:
            async with asyncio.timeout(SESSION_SECONDS):
                if not (await reader.readline()).startswith(b"220"):
                    return False
                await _hello(reader, writer)
                if stranger is not None:
                    writer.write(f"XCLIENT ADDR={stranger} NAME=[UNAVAILABLE]\r\n".encode())
                    if not (await reader.readline()).startswith(b"220"):
                        return False
                    await _hello(reader, writer)
                writer.write(b"MAIL FROM:<%s>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n" % sender)
                replies = [await reader.readline() for _ in range(3)]
                if not replies[2].startswith(b"354"):
                    attempt.ended = time.monotonic()
                    refusal = next(reply for reply in replies if reply[:1] not in b"23" or not reply)
                    attempt.answer = refusal.decode().strip()
                    return bool(replies[2])
                text = (
                    b"Date: Mon, 02 Nov 2026 10:00:00 +0000\r\nFrom: <%s>\r\nTo: <b@example.org>\r\n"
                    b"Message-ID: <%s@example.net>\r\nLedger: %s\r\n\r\n%s\r\n"
                )
                writer.write(text % (sender, attempt.id.encode(), attempt.id.encode(), body))
                await writer.drain()
                attempt.dotted = time.monotonic()
                writer.write(b".\r\n")
                attempt.answer = (await reader.readline()).decode().strip()
                attempt.ended = time.monotonic()
                writer.write(b"QUIT\r\n")
        except (OSError, TimeoutError) as error:
            attempt.silences += isinstance(error, TimeoutError)
            attempt.ended = time.monotonic()
            return attempt.dotted > 0
        return True


async def _hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"EHLO client.example.net\r\n")
    while (await reader.readline())[3:4] == b"-":
        pass


@contextlib.asynccontextmanager
async def _connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter] | None]:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        yield None
        return
    try:
        yield reader, writer
    finally:
        writer.close()


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What the chapters of one run have in common."""

    store: str = "sqlite"
    harm: str = "kill"  # "none": nobody's
    next_hop: str = "sink"
    every: float = 2.0

    def absent(self) -> list[str]:
        """What it needs and this machine has not."""
        wants = {"redis-server": self.store != "sqlite", "postfix": self.next_hop == "postfix"}
        absent = [name for name, wanted in wants.items() if wanted and program(name) is None]
        if os.geteuid() != 0 and (self.next_hop == "postfix" or self.harm == "disk"):
            absent.append("root, which a private Postfix and a small file system need")
        return absent

    def __str__(self) -> str:
        return f"{self.store}, {self.next_hop}, {self.harm}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.ledger", description=__doc__.split("\n")[0])
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--every", type=float, default=2.0, help="seconds between kills, on average")
    parser.add_argument("--store", choices=("sqlite", "redis", "cluster"), default="sqlite")
    parser.add_argument(
        "--harm",
        choices=("kill", "store", "disk", "dns"),
        default="kill",
        help="ours are killed; or Redis, or a node of three, is; the disk of a SQLite store is full; DNS is silent",
    )
    parser.add_argument("--next-hop", choices=("sink", "postfix"), default="sink", help="who is the witness")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--progress", type=Path, help="a file in which each chapter is noted, and from which it goes on"
    )
    given = parser.parse_args(arguments)
    plan = Plan(given.store, given.harm, given.next_hop, given.every)
    if (plan.harm == "store") == (plan.store == "sqlite") and plan.harm in {"store", "disk"}:
        parser.error(f"--harm {plan.harm} does not go with --store {plan.store}")
    if absent := plan.absent():
        print(f"{plan}: left out, not on this machine: {', '.join(absent)}")
        return int(os.environ.get("CI") == "true" or os.environ.get("PEERS") == "install")
    done = _noted(given.progress, plan)
    whole, calm = sum(done, Tally()), Tally()
    if plan.harm == "store":
        calm = _chapter(dataclasses.replace(plan, harm="none"), min(CHAPTER, given.messages), seed=given.seed)
        print(f"before, without harm: {calm}", *calm.faults, sep="\n  ", flush=True)
    while whole.attempts < given.messages:
        messages = min(CHAPTER, given.messages - whole.attempts)
        tally = _chapter(plan, messages, seed=given.seed + whole.attempts)
        whole += tally
        if given.progress is not None:
            with given.progress.open("a") as notes:
                notes.write(json.dumps({"plan": str(plan), **dataclasses.asdict(tally)}) + "\n")
        print(f"{whole.attempts} of {given.messages}: {tally}", *tally.faults, sep="\n  ", flush=True)
    print(f"{plan}: {whole}", *whole.faults, sep="\n  ")
    stalled = plan.harm == "store" and (whole.silences > 0 or whole.longest > calm.longest + STALL)
    if stalled:
        print(
            f"STALLED: an answer took {whole.longest:.2f} s, without harm {calm.longest:.2f} s, and {STALL:.0f} s more"
            f" is allowed; {whole.silences} sessions had none within {SESSION_SECONDS:.0f} s"
        )
    return 1 if whole.faults or calm.faults or stalled else 0


CHAPTER = 2_500
"""Messages after which everything is started anew."""
STALL = 1.0
"""Seconds that an answer may take longer because a store was killed: as long as a verb waits (docs/store.md)."""


def _noted(progress: Path | None, plan: Plan) -> list[Tally]:
    if progress is None or not progress.exists():
        return []
    notes = [json.loads(line) for line in progress.read_text().splitlines()]
    return [Tally(**note) for note in notes if note.pop("plan", "") == str(plan)]


def _chapter(plan: Plan, messages: int, *, seed: int) -> Tally:
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gatekeeper-ledger-")))
        directory.chmod(0o755)  # for Postfix
        url, harm, dns, postfix = f"sqlite:{directory}/state.db", None, "", None
        if plan.store != "sqlite":
            url, server = _redis(directory / "redis", stack, cluster=plan.store == "cluster")
            harm = comes_and_goes(server) if plan.harm == "store" else None
        if plan.harm == "disk":
            disk = directory / "disk"
            if not stack.enter_context(small_disk(disk, LEDGER_DISK)):
                raise SystemExit("a small file system cannot be mounted here")
            url, harm = f"sqlite:{disk}/state.db", fills_up(disk)
        if plan.harm == "dns":
            known = stack.enter_context(nameserver())
            dns, harm = known.address, falls_silent(known)
        if plan.next_hop == "postfix":
            postfix = Postfix(directory / "postfix", ["b"])
            stack.callback(postfix.stop)
            postfix.start()
        every, least = plan.every, 1
        if plan.harm == "none":
            every, least, harm = math.inf, 0, _nothing
        hop = 0 if postfix is None else postfix.port
        ledger = asyncio.run(
            run(
                directory,
                messages=messages,
                store=url,
                every=every,
                seed=seed,
                harm=harm,
                least=least,
                next_hop=hop,
                dns=dns,
            )
        )
        if postfix is not None:
            hear_witness(postfix, ledger)
        return ledger.tally()


def _nothing() -> str:
    return "nothing"


LEDGER_DISK = "64m"
"""Room for the records of a chapter."""


def _redis(directory: Path, stack: contextlib.ExitStack, *, cluster: bool) -> tuple[str, RedisServer]:
    """Its URL, and the one to harm."""
    servers = RedisCluster(directory) if cluster else RedisServer(directory)
    stack.callback(servers.stop)
    servers.start()
    if isinstance(servers, RedisCluster):
        return servers.url, servers.nodes[-1]
    return f"redis://127.0.0.1:{servers.port}/0", servers


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is ended then too
    sys.exit(main())
