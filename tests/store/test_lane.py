"""The thread that blocks so that the loop does not."""

import asyncio
import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from gatekeeper.store import lane
from gatekeeper.store.base import StoreAway
from gatekeeper.store.lane import Job, Lane


class Served:
    """A lane over a list, whose thread can be held up."""

    def __init__(self, **limits: Any) -> None:
        self.batches: list[int] = []
        self.ended = 0
        self.go = threading.Event()
        self.go.set()
        self.holding = threading.Event()
        self.lane: Lane[list[str]] = Lane(
            "test", self.serve, after=lambda: None, end=lambda: setattr(self, "ended", self.ended + 1), **limits
        )
        self.owned: list[str] = []

    def serve(self, jobs: Sequence[Job[list[str]]]) -> Sequence[Any]:
        self.holding.set()
        self.go.wait()
        self.batches.append(len(jobs))
        outcomes: list[Any] = []
        for job in jobs:
            try:
                outcomes.append(job.call(self.owned))
            except KeyError as failure:
                outcomes.append(failure)
        return outcomes

    def hold(self) -> None:
        self.go.clear()
        self.holding.clear()


async def turn(seconds: float = 0) -> None:
    await asyncio.sleep(seconds)


async def test_an_answer_comes_back():
    served = Served()
    assert await served.lane.ask(lambda owned: len(owned)) == 0
    await served.lane.close()


async def test_a_thread_that_could_not_be_started_is_tried_again(monkeypatch: pytest.MonkeyPatch):
    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    served = Served()
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", start)
        with pytest.raises(StoreAway, match="can't start new thread"):
            await served.lane.ask(len)
    assert await served.lane.ask(len) == 0
    await served.lane.close()


async def test_what_was_raised_is_raised():
    served = Served()
    with pytest.raises(KeyError):
        await served.lane.ask(lambda _: dict[str, int]()["missing"])
    await served.lane.close()


async def test_everything_that_queued_up_is_one_batch():
    served = Served()
    served.hold()
    first = asyncio.ensure_future(served.lane.ask(len))
    await asyncio.to_thread(served.holding.wait)
    others = [asyncio.ensure_future(served.lane.ask(len)) for _ in range(20)]
    await turn()
    served.go.set()
    await asyncio.gather(first, *others)
    assert served.batches == [1, 20]
    await served.lane.close()


async def test_too_many_waiting_are_turned_away_at_once():
    served = Served(most=2)
    served.hold()
    first = asyncio.ensure_future(served.lane.ask(len))
    await asyncio.to_thread(served.holding.wait)
    others = [asyncio.ensure_future(served.lane.ask(len)) for _ in range(2)]
    await turn()
    with pytest.raises(StoreAway, match="2 questions are waiting"):
        await served.lane.ask(len)
    served.go.set()
    await asyncio.gather(first, *others)
    await served.lane.close()


async def test_whoever_was_told_that_it_failed_is_not_served_although_the_clock_says_that_there_is_time(
    monkeypatch: pytest.MonkeyPatch,
):
    """A timer of the loop may come a little early."""
    served = Served()
    served.hold()
    first = asyncio.ensure_future(served.lane.ask(len))
    await asyncio.to_thread(served.holding.wait)
    monkeypatch.setattr(lane, "time", SimpleNamespace(monotonic=lambda: 0.0))
    with pytest.raises(StoreAway, match="no answer within"):
        await served.lane.ask(lambda owned: owned.append("late"), within=0.001)
    served.go.set()
    await first
    assert await served.lane.ask(list) == []
    await served.lane.close()


async def test_no_answer_in_time_is_a_store_away_and_nothing_is_done_late():
    served = Served()
    served.hold()
    first = asyncio.ensure_future(served.lane.ask(len))
    await asyncio.to_thread(served.holding.wait)
    with pytest.raises(StoreAway, match="no answer within"):
        await served.lane.ask(lambda owned: owned.append("late"), within=0.001)
    served.go.set()
    await first
    assert await served.lane.ask(list) == []
    await served.lane.close()


async def test_a_caller_that_was_cancelled_is_passed_over():
    served = Served()
    served.hold()
    first = asyncio.ensure_future(served.lane.ask(len))
    await asyncio.to_thread(served.holding.wait)
    gone = asyncio.ensure_future(served.lane.ask(lambda owned: owned.append("late")))
    await turn()
    gone.cancel()
    await turn()
    served.go.set()
    await first
    assert await served.lane.ask(list) == []
    await served.lane.close()


async def test_closing_serves_what_is_queued_and_ends_the_thread():
    served = Served()
    asked = asyncio.ensure_future(served.lane.ask(lambda owned: owned.append("before")))
    await turn()
    await served.lane.close()
    await served.lane.close()
    await asked
    assert served.owned == ["before"]
    assert served.ended == 1
    with pytest.raises(StoreAway, match="closed"):
        await served.lane.ask(len)


async def test_closing_one_that_was_never_asked_starts_nothing():
    served = Served()
    await served.lane.close()
    assert served.ended == 0


def test_a_loop_that_closed_meanwhile_does_not_stop_the_thread():
    served = Served()
    served.hold()

    async def ask_and_leave() -> None:
        asked = asyncio.ensure_future(served.lane.ask(len))
        await asyncio.to_thread(served.holding.wait)
        asked.cancel()

    asyncio.run(ask_and_leave())
    served.go.set()

    async def ask_again() -> int:
        answer = await served.lane.ask(len)
        await served.lane.close()
        return answer

    assert asyncio.run(ask_again()) == 0
