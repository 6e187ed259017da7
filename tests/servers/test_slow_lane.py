from __future__ import annotations

import asyncio

import pytest

from gatekeeper.servers.conversation import ClientGone
from gatekeeper.servers.slow_lane import SlowLane


class Waiting:
    """A conversation whose pauses end when it is told."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.paused: list[float] = []
        self.gone = False

    async def pause(self, seconds: float) -> None:
        self.paused.append(seconds)
        await self.over.wait()
        if self.gone:
            raise ClientGone


async def test_who_finds_no_place_is_answered_at_once():
    lane = SlowLane(2)
    there = [Waiting() for _ in range(3)]
    waits = [asyncio.ensure_future(lane.wait(one, 5.0)) for one in there[:2]]  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert lane.slowed == 2
    assert await lane.wait(there[2], 5.0) is False  # type: ignore[arg-type]
    assert there[2].paused == []
    for one in there:
        one.over.set()
    assert await asyncio.gather(*waits) == [True, True]
    assert lane.slowed == 0


async def test_a_client_that_leaves_or_is_cut_off_frees_its_place():
    lane = SlowLane(1)
    gone = Waiting()
    gone.gone = True
    gone.over.set()
    with pytest.raises(ClientGone):
        await lane.wait(gone, 5.0)  # type: ignore[arg-type]
    task = asyncio.ensure_future(lane.wait(Waiting(), 5.0))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert lane.slowed == 0
