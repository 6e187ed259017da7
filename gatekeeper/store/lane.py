"""A thread that owns what may block (a database connection) and works off what the loop asks of it, in batches."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar, cast

from gatekeeper.store.base import StoreAway

DEADLINE = 1.0
"""Seconds that a verb may take."""

C = TypeVar("C")
R = TypeVar("R")


class Job(NamedTuple, Generic[C]):
    """One question: `call` is run in the thread with what the thread owns. `until` is on the monotonic clock."""

    call: Callable[[C], Any]
    until: float
    answer: asyncio.Future[Any]


class Lane(Generic[C]):
    """Questions go in one by one and are served together: everything that queued up meanwhile is one batch.

    `serve` gets a batch in the thread and returns, for each job in order, its result or the exception to raise.
    `after` runs in the thread when the answers have gone out. `end` runs in the thread last. The thread starts with
    the first question and is a daemon: a disk that hangs does not keep the process from ending.
    """

    def __init__(
        self,
        name: str,
        serve: Callable[[Sequence[Job[C]]], Sequence[Any]],
        *,
        after: Callable[[], None],
        end: Callable[[], None],
        most: int = 10_000,
        batch: int = 500,
    ) -> None:
        self._name = name
        self._serve = serve
        self._after = after
        self._end = end
        self._most = most
        self._batch = batch
        self._queue: queue.SimpleQueue[Job[C] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False

    async def ask(self, call: Callable[[C], R], *, within: float = DEADLINE) -> R:
        """What `call` returned. Raises StoreAway when it took too long or too many are waiting."""
        if self._closed:
            raise StoreAway("the store is closed")
        if self._queue.qsize() >= self._most:
            raise StoreAway(f"{self._most} questions are waiting already")
        if self._thread is None:
            thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # no room for one; the next question tries again
                raise StoreAway(str(error)) from error
            self._thread = thread
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        self._queue.put(Job(call, time.monotonic() + within, answer))
        late = loop.call_later(within, _give_up, answer, within)  # a fifth of what `asyncio.timeout` costs
        try:
            return cast("R", await answer)
        finally:
            late.cancel()

    async def close(self) -> None:
        """Serve what is queued, then end; waits for it, but not for ever."""
        if self._closed:
            return
        if self._thread is not None:
            ended = asyncio.get_running_loop().create_future()
            self._queue.put(Job(_nothing, float("inf"), ended))
            self._queue.put(None)
            self._closed = True
            await asyncio.wait((ended,), timeout=5 * DEADLINE)
            await asyncio.to_thread(self._thread.join, DEADLINE)
        self._closed = True

    def _run(self) -> None:
        going_on = True
        while going_on:
            waiting = [self._queue.get()]
            while len(waiting) < self._batch:
                try:
                    waiting.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            going_on = None not in waiting
            now = time.monotonic()
            # Whoever has stopped waiting was told that it failed; doing it late would only delay the others.
            jobs = [job for job in waiting if job is not None and job.until > now and not job.answer.done()]
            if jobs:
                self._deliver(jobs, self._serve(jobs))
                self._after()
        self._end()

    @staticmethod
    def _deliver(jobs: Sequence[Job[C]], outcomes: Sequence[Any]) -> None:
        """One wake-up for each loop, however many answers; a loop that has closed wants none."""
        answers: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
        for job, outcome in zip(jobs, outcomes, strict=True):
            answers.setdefault(job.answer.get_loop(), []).append((job.answer, outcome))
        for loop, some in answers.items():
            try:
                loop.call_soon_threadsafe(_settle, some)
            except RuntimeError:
                continue


def _give_up(answer: asyncio.Future[Any], within: float) -> None:
    if not answer.done():
        answer.set_exception(StoreAway(f"no answer within {within:g} s"))


def _settle(answers: Sequence[tuple[asyncio.Future[Any], Any]]) -> None:
    for answer, outcome in answers:
        if answer.done():
            continue
        if isinstance(outcome, BaseException):
            answer.set_exception(outcome)
        else:
            answer.set_result(outcome)


def _nothing(_owned: object) -> None:
    """The last job: its answer says that all before it are done."""
