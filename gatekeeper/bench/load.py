"""The load generator: an SMTP client on asyncio that pipelines and names the client by XCLIENT, or nobody to a sink."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

from gatekeeper.bench.letters import RECIPIENT, Letter, Talk

SESSION_SECONDS = 30.0

Step = tuple[bytes, bytes]
"""What to say, and the first digit of each reply that must follow."""


@dataclass(slots=True)
class Outcome:
    """What became of a run. `seconds` is its length; `latencies`, in seconds, of messages from connect to the end."""

    accepted: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    failures: collections.Counter[str] = field(default_factory=collections.Counter)

    @property
    def rate(self) -> float:
        return self.accepted / self.seconds if self.seconds else 0.0

    def latency(self, share: float) -> float:
        """The time within which that share of the messages was answered, in seconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


async def send(letters: Sequence[Letter], *, talk: Talk, sessions: int, seconds: float) -> Outcome:
    """Each letter on its way by `talk`, that many at once; what is not begun after `seconds` is left out."""
    outcome = Outcome()
    queue = iter(letters)
    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(sessions):
            group.create_task(_work(queue, outcome, talk, until=began + seconds))
    outcome.seconds = time.perf_counter() - began
    return outcome


async def _work(queue: Iterator[Letter], outcome: Outcome, talk: Talk, *, until: float) -> None:
    for letter in queue:
        began = time.perf_counter()
        if began > until:
            return
        try:
            async with asyncio.timeout(SESSION_SECONDS):
                why = await talk(letter)
        except (OSError, EOFError, TimeoutError) as error:
            why = type(error).__name__
        if why:
            outcome.failures[why] += 1
        else:
            outcome.accepted += 1
            outcome.latencies.append(time.perf_counter() - began)


def smtp(port: int, *, named: bool) -> Talk:
    """A session for each letter. `named` says who the client is by XCLIENT."""

    async def talk(letter: Letter) -> str:
        session = _Session(_letter_steps(letter, named=named))
        try:
            await session.connect(port)
            return await session.done
        finally:
            session.close()

    return talk


def _letter_steps(letter: Letter, *, named: bool) -> Iterable[Step]:
    hello = f"EHLO {letter.helo}\r\n".encode()
    yield b"", b"2"
    yield hello, b"2"
    if named:
        yield f"XCLIENT ADDR={letter.address} NAME=[UNAVAILABLE] PROTO=ESMTP\r\n".encode(), b"2"
        yield hello, b"2"
    yield f"MAIL FROM:<{letter.sender}>\r\nRCPT TO:<{RECIPIENT}>\r\nDATA\r\n".encode(), b"223"
    yield letter.wire, b"2"
    yield b"QUIT\r\n", b"2"


class _Session(asyncio.Protocol):
    """Goes through its steps; `done` gets what went wrong, or ""."""

    def __init__(self, steps: Iterable[Step]) -> None:
        self._steps = iter(steps)
        self._expected = b""
        self._rest = b""
        self._transport: asyncio.Transport | None = None
        self.said = 0
        self.done: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def connect(self, port: int) -> None:
        await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", port)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._next()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        self._end(f"connection lost after {self.said} steps")

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line[3:4] == b"-":
                continue
            if line[:1] != self._expected[:1]:
                self._end(line.strip().decode(errors="replace")[:100])
                return
            self._expected = self._expected[1:]
            if not self._expected:
                self._next()

    def _next(self) -> None:
        step = next(self._steps, None)
        if step is None or self._transport is None:
            self._end("")
            return
        self.said += 1
        self._expected = step[1]
        if step[0]:
            self._transport.write(step[0])

    def _end(self, why: str) -> None:
        if not self.done.done():
            self.done.set_result(why)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


@contextlib.asynccontextmanager
async def idle(count: int, *, port: int) -> AsyncIterator[int]:
    """That many sessions that have said EHLO and nothing since; how many there are."""
    open_ones: list[_Session] = []
    steps: tuple[Step, ...] = ((b"", b"2"), (b"EHLO idle.bench.example\r\n", b"2"))
    try:
        for first in range(0, count, 100):
            batch = [_Session(steps) for _ in range(first, min(count, first + 100))]
            open_ones += batch
            async with asyncio.timeout(SESSION_SECONDS):
                await asyncio.gather(*(session.connect(port) for session in batch))
                await asyncio.gather(*(session.done for session in batch))
        yield sum(not session.done.result() for session in open_ones)
    finally:
        for session in open_ones:
            session.close()
