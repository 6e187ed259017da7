"""How many questions may be under way at once; the others wait their turn, first come, first served, for so long."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

TICK: Final = 0.01
"""Seconds by which one may be sent away early, together with others."""


class Places:
    """So many `places`, and who waits for one. Without a task for each: there may be very many of them.

    Belongs to the loop that waited first. All that wait do so for `patience` seconds.
    """

    def __init__(self, places: int, patience: float) -> None:
        self._free = places
        self._patience = patience
        self._waiting: deque[tuple[float, Callable[[bool], None]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def take(self) -> bool:
        """Whether there was a place; it is the caller's then, to be given back."""
        if self._free <= 0:
            return False
        self._free -= 1
        return True

    def wait(self, called: Callable[[bool], None]) -> None:
        """`called` gets True together with a place, or False when its time is up. Never before this returns."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._patience
        self._waiting.append((until, called))
        if self._timer is None:
            self._timer = loop.call_at(until, self._send_away)

    def give_back(self) -> None:
        """The next gets it."""
        if self._waiting:
            self._waiting.popleft()[1](True)
        else:
            self._free += 1

    def close(self) -> None:
        """Whoever waits is called with False. May be called twice."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            self._waiting.popleft()[1](False)

    def _send_away(self) -> None:
        loop = asyncio.get_running_loop()
        over = loop.time() + TICK
        self._timer = None
        while self._waiting and self._waiting[0][0] <= over:
            self._waiting.popleft()[1](False)
        if self._waiting and self._timer is None:
            self._timer = loop.call_at(self._waiting[0][0], self._send_away)
