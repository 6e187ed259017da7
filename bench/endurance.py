"""What shows only at length, at size or at a steady pace, on one worker: `python -m bench.endurance [ROW ...]`.

idle: what 20,000 sessions that say nothing take. latency: what messages wait for that come half as fast as they can be
taken, with their answers in the DNS cache, beside the same without gatekeeper. large: a message of 50 MB, and what
others notice of it. reload: SIGHUP and SIGUSR2 in turn while mail comes at a steady pace. steady: memory over many
messages, of clients known and new. Everything on loopback, and all stops by itself. `--messages`, `--size`,
`--sessions` make it longer or shorter.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import concurrent.futures
import contextlib
import itertools
import os
import resource
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench import processes
from bench.__main__ import _runner
from bench.processes import Gatekeeper
from gatekeeper.bench import load, zone
from gatekeeper.bench.letters import RECIPIENT, Letter, Talk, Writer, key_record, new_key

ROWS = ("idle", "latency", "large", "reload", "steady")
PACE = 200.0
"""Messages a second while it is reloaded."""
AT_ONCE = 40
"""Sessions at most, below the 50 connections to the next hop: a generator that falls behind is to fill no queue."""
RELOAD_EVERY = 5.0
SOME = 2_000
"""Different clients that come again and again."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.endurance", description=__doc__, allow_abbrev=False)
    parser.add_argument("rows", nargs="*", help="all of them, if none is named")
    parser.add_argument("--sessions", type=int, default=20_000, help="of idle and reload")
    parser.add_argument("--messages", type=int, default=1_000_000, help="of steady")
    parser.add_argument("--size", type=int, default=50_000_000, help="of large")
    parser.add_argument("--checks", choices=("on", "off"), default="on")
    given = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    key = new_key()
    writer = Writer(key, 4_000)
    names, nameserver = zone.start(key_record(key))
    with contextlib.ExitStack() as stack:
        stack.callback(names.terminate)
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gatekeeper-endurance-")))
        port, _, _ = stack.enter_context(processes.sink(fair=True))
        there = stack.enter_context(
            processes.gatekeeper(
                directory / "one",
                next_hop=port,
                nameserver=nameserver,
                checks=given.checks == "on",
                smtp="connections_per_address = 100000\nconnections_per_network = 100000\n",
                drain="30s",
            )
        )
        print(f"checks {given.checks}; {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}", flush=True)
        for row in given.rows or ROWS:
            began = processes.machine_cpu(), time.monotonic()
            _runner()(MEASURES[row](there, writer, given))
            busy = (processes.machine_cpu() - began[0]) / (time.monotonic() - began[1])
            print(f"    ({busy:.1f} processors busy, with us)", flush=True)


async def _idle(there: Gatekeeper, _writer: Writer, given: argparse.Namespace) -> None:
    async with load.idle(100, port=there.port):
        before = processes.rss(there.worker)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    async with load.idle(min(given.sessions, most - 200), port=there.port) as count:
        after = processes.rss(there.worker)
    print(f"idle: {count} sessions, {(after - before) / count / 1000:.1f} kB of the worker each")


async def _latency(there: Gatekeeper, writer: Writer, _given: argparse.Namespace) -> None:
    known = [writer.letter(n) for n in range(200)]
    talk = load.smtp(there.port, named=True)
    for _ in range(2):  # the first time answers are asked for
        most = (await load.send(known * 5, talk=talk, sessions=10, seconds=30)).rate
    with processes.sink(fair=True) as (port, _, _):
        bare = await _paced(known * 10, load.smtp(port, named=False), pace=most / 2)
    ours = await _paced(known * 10, talk, pace=most / 2)
    added = (1000 * (ours.latency(share) - bare.latency(share)) for share in (0.5, 0.99))
    print("latency: {:.0f} a second of {:.0f}; added p50 {:.1f} ms, p99 {:.1f} ms".format(most / 2, most, *added))


async def _paced(letters: Sequence[Letter], talk: Talk, *, pace: float) -> load.Outcome:
    """Each letter at its own moment, at most ten at once; its latency is from that moment, waiting for a place too."""
    outcome = load.Outcome()
    places = asyncio.Semaphore(10)
    began = time.perf_counter()

    async def one(letter: Letter, due: float) -> None:
        try:
            async with places, asyncio.timeout(load.SESSION_SECONDS):
                why = await talk(letter)
        except (OSError, EOFError, TimeoutError) as error:
            why = type(error).__name__
        if why:
            outcome.failures[why] += 1
        outcome.latencies.append(time.perf_counter() - due)

    async with asyncio.TaskGroup() as group:
        for number, letter in enumerate(letters):
            due = began + number / pace
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(one(letter, due))
    return outcome


async def _large(there: Gatekeeper, writer: Writer, given: argparse.Namespace) -> None:
    small = [writer.letter(n) for n in range(200)]
    alone = await load.send(small, talk=load.smtp(there.port, named=True), sessions=2, seconds=30)
    before = processes.rss(there.worker)
    _forget_peak(there.worker)
    latencies: list[float] = []
    loop = asyncio.get_running_loop()
    with concurrent.futures.ProcessPoolExecutor(1) as other:  # a generator that sends 50 MB keeps its others waiting
        sending = loop.run_in_executor(other, _send_large, there.port, given.size)
        while not sending.done():
            beside = await load.send(small[:10], talk=load.smtp(there.port, named=True), sessions=2, seconds=30)
            latencies += beside.latencies
        outcome = await sending
    peak = _peak(there.worker) - before
    p99 = sorted(latencies)[int(len(latencies) * 0.99)] if latencies else 0.0
    print(
        f"large: {given.size / 1e6:.0f} MB, accepted {outcome.accepted} {dict(outcome.failures) or ''}"
        f" in {outcome.seconds:.1f} s; peak memory {peak / given.size:.2f} x its size; meanwhile"
        f" {len(latencies)} others, p99 {1000 * p99:.0f} ms (without it {1000 * alone.latency(0.99):.0f})"
    )


def _send_large(port: int, size: int) -> load.Outcome:
    return _runner()(load.send([_large_letter(size)], talk=load.smtp(port, named=True), sessions=1, seconds=30))


def _large_letter(size: int) -> Letter:
    """An attachment in base64, which is text line by line."""
    line = b"QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0\r\n"
    head = (
        b"From: <a@d1.bench.example>\r\nTo: <" + RECIPIENT.encode() + b">\r\nSubject: large\r\nDate: Mon, 02 Nov 2026"
        b' 10:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n'
        b"Content-Type: text/plain\r\n\r\nsee http://www.bench.example/\r\n--b\r\n"
        b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    )
    wire = head + line * ((size - len(head)) // len(line)) + b"--b--\r\n.\r\n"
    return Letter("198.18.0.1", "c-198-18-0-1.bench.example", "sender@d1.bench.example", wire)


def _forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _peak(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


async def _reload(there: Gatekeeper, writer: Writer, given: argparse.Namespace) -> None:
    """At a steady pace, whatever the answers take."""
    letters = [writer.letter(n) for n in range(SOME)]
    talk = load.smtp(there.port, named=True)
    failures: collections.Counter[str] = collections.Counter()
    before = _accepted(there)
    began = time.monotonic()
    stop = asyncio.Event()
    places = asyncio.Semaphore(AT_ONCE)

    async def reload() -> int:
        for number, how in enumerate(itertools.cycle((signal.SIGHUP, signal.SIGUSR2))):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), RELOAD_EVERY)
                return number
            os.kill(there.supervisor, how)
        return 0

    async def one(letter: Letter) -> None:
        try:
            async with asyncio.timeout(load.SESSION_SECONDS):
                why = await talk(letter)
        except (OSError, EOFError, TimeoutError) as error:
            why = type(error).__name__
        finally:
            places.release()
        if why:
            failures[why] += 1

    reloading = asyncio.create_task(reload())
    async with asyncio.TaskGroup() as group:
        for number in range(given.sessions):
            await asyncio.sleep(max(0.0, began + number / PACE - time.monotonic()))
            await places.acquire()
            group.create_task(one(letters[number % SOME]))
    seconds = time.monotonic() - began
    stop.set()
    lost = given.sessions - (_accepted(there) - before)
    print(
        f"reload: {given.sessions} sessions at {given.sessions / seconds:.0f} a second over {await reloading} reloads"
        f" and upgrades in turn; lost: {lost}; told otherwise than expected, as at QUIT: {dict(failures) or 'none'}"
    )


def _accepted(there: Gatekeeper) -> int:
    """By its log: who was answered 421 at QUIT has its mail delivered all the same."""
    return (there.milter.parent / "log").read_bytes().count(b" mail_accepted ")


async def _steady(there: Gatekeeper, writer: Writer, given: argparse.Namespace) -> None:
    seen: list[int] = []
    talk = load.smtp(there.port, named=True)
    known = [writer.letter(n) for n in range(SOME)]
    part = max(1, given.messages // 100)
    new = itertools.count(SOME)
    failed = 0
    for hundredth in range(1, 101):
        letters = [known[n % SOME] if n % 10 else writer.letter(next(new)) for n in range(part)]
        outcome = await load.send(letters, talk=talk, sessions=10, seconds=3600)
        failed += sum(outcome.failures.values())
        seen.append(processes.rss(there.worker))
        print(f"\rsteady: {hundredth} %, memory {seen[-1] / 1e6:.1f} MB ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    second, last = statistics.median(seen[10:20]), statistics.median(seen[90:])
    print(
        f"steady: {100 * part} messages, {failed} not accepted; memory of the second tenth {second / 1e6:.1f} MB,"
        f" of the last {last / 1e6:.1f} MB: {last / second - 1:+.1%}"
    )


MEASURES = {"idle": _idle, "latency": _latency, "large": _large, "reload": _reload, "steady": _steady}

if __name__ == "__main__":
    main()
