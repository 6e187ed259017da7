"""Which changes of blocks every process has noticed. Only then may the trace of a block that was lifted go: who missed
it would go on refusing until the block's old end. Used by the stores that several processes share.
"""

from __future__ import annotations

UNNOTICED = 60.0
"""Seconds without a look at the changes after which a process reads all blocks again: it may have had no session."""


class Noticed:
    """What is known of it in one process, on its own clock."""

    def __init__(self) -> None:
        self._by_all = -1
        self._mark = -1
        self._marked_at: float | None = None

    def by_all(self, change: int, now: float) -> int:
        """The last change that all have noticed, where this process knows of `change` at `now` (monotonic seconds):
        one that stood twice as long ago as anybody goes without looking. -1 for none.
        """
        if change < self._mark:  # another store has taken the old one's place, and counts anew
            self._by_all, self._mark, self._marked_at = -1, change, now
        elif self._marked_at is None or now - self._marked_at >= 2 * UNNOTICED:
            self._by_all, self._mark, self._marked_at = self._mark, change, now
        return self._by_all
