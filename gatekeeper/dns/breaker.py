"""Between two tests: does a list name far more than it ever did, or senders that have long been good? Pure.

What is counted is a hit that no other list shares, on a client whose mail was taken lately: a wave of spam is on
several lists, and of strangers; a list gone wrong is alone, and names those too who have long sent wanted mail.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

WINDOW: Final = 200
"""Answers that make one window of its history."""
EARLY: Final = 50
"""Answers of a window after which it may trip already."""
HISTORY: Final = 5
"""Windows that have to be known before a jump can be told."""
JUMP: Final = 0.4
"""How far the part of lone hits has to rise above its usual one."""
TIMES: Final = 3.0
"""And how many times as high it has to be."""
WEIGHT: Final = 0.1
"""Of the newest window in the usual part."""
GOOD_SENDERS: Final = 5
"""So many different good senders on a list within a day trip it."""
DAY: Final = 86400.0


class Breaker:
    """Of one list. `saw` and `wronged` return why it trips, or ""; it then begins anew."""

    __slots__ = ("_asked", "_lone", "_named", "_usual", "_windows", "_wronged")

    def __init__(self) -> None:
        self._asked = 0
        self._lone = 0
        self._named: set[Hashable] = set()  # whom its lone hits of this window were about
        self._usual = 0.0
        self._windows = 0
        self._wronged: OrderedDict[str, float] = OrderedDict()

    def saw(self, whom: Hashable, *, lone: bool) -> str:
        """One more answer of the list's, new and certain, for a client of that network whose mail was taken lately.

        `lone` is whether it listed what no other list did. Of each network one such answer counts in a window: whoever
        has many addresses side by side, or sends much, is one.
        """
        self._asked += 1
        lone = lone and whom not in self._named
        if lone:
            self._named.add(whom)
            self._lone += 1
        if lone and self._asked >= EARLY and self._windows >= HISTORY:
            # Against the whole window as long as it is short: fifty hits in a row are no accident, twenty of fifty are.
            part = self._lone / max(self._asked, EARLY)
            if part >= self._usual + JUMP and part >= self._usual * TIMES:
                found = f"{self._lone} of its last {self._asked} answers list what no other list does"
                usual = f"usually {self._usual:.0%}"
                self._begin()
                return f"{found}, {usual}"
        if self._asked >= WINDOW:
            part = self._lone / self._asked
            weight = max(WEIGHT, 1 / (self._windows + 1))
            self._usual += weight * (part - self._usual)
            self._windows += 1
            self._begin()
        return ""

    def _begin(self) -> None:
        self._asked = self._lone = 0
        self._named.clear()

    def wronged(self, sender: str, *, now: float) -> str:
        """It lists a sender that authenticates and has long been good."""
        self._wronged.pop(sender, None)
        self._wronged[sender] = now
        while self._wronged and (len(self._wronged) > GOOD_SENDERS or next(iter(self._wronged.values())) <= now - DAY):
            self._wronged.popitem(last=False)
        if len(self._wronged) < GOOD_SENDERS:
            return ""
        self._wronged.clear()
        return f"it lists {GOOD_SENDERS} senders that authenticate and have long been good"
