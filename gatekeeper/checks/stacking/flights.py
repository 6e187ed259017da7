"""Names that have been asked of the next hop and not been put to an account yet, in this process.

Many sessions at once could otherwise each ask a name before the first answer has cost anything.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Sequence
from typing import Final

AT_ONCE: Final = 16
"""Of one session; servers ask no more together. Those that another check refused were never asked."""
MOST: Final = 50_000
"""Sessions."""


class Flights:
    """How many names are on their way, by key (a client, a domain)."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._under_way: OrderedDict[str, list[tuple[str, ...]]] = OrderedDict()
        self._counts: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._under_way)

    def count(self, key: str) -> int:
        return self._counts.get(key, 0)

    def depart(self, session: str, keys: Sequence[str]) -> None:
        """One more name of that session, under each key."""
        names = self._under_way.setdefault(session, [])
        if len(names) >= AT_ONCE:
            self._uncount(names.pop(0))
        names.append(tuple(keys))
        self._counts.update(keys)
        if len(self._under_way) > self._most:
            self.land(next(iter(self._under_way)))

    def land(self, session: str) -> None:
        """All of that session's have been answered. Nothing happens when there are none."""
        for keys in self._under_way.pop(session, ()):
            self._uncount(keys)

    def _uncount(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._counts[key] -= 1
            if self._counts[key] <= 0:
                del self._counts[key]
