"""What clients, networks, HELO names and domains have done lately, until the store has been told.

It is told once a second, many together: mail does not wait for it. What the store does not take is kept, up to a limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from gatekeeper.checks.keys import client_key, network_key
from gatekeeper.checks.stacking.keys import helo_key
from gatekeeper.model import Session
from gatekeeper.store.base import Store, StoreAway

MOST: Final = 50_000
"""Keys that are kept: where the store has been away for long, room for others is worth less than memory."""
TOGETHER: Final = 200
"""Told at once, so that they share a transaction of the store; not all, so that others have their turn."""


class Histories:
    """Counts of accepted and refused mail by key."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[int, int]] = {}

    def remember(self, session: Session, *, accepted: int = 0, refused: int = 0) -> None:
        """For everything by which a client is known: its address, its network, its HELO name."""
        if session.address is not None:
            helo = helo_key(session.helo)
            keys = (client_key(session.address), network_key(session.address), *([helo] if helo else []))
            self.note(keys, accepted=accepted, refused=refused)

    def note(self, keys: Sequence[str], *, accepted: int = 0, refused: int = 0) -> None:
        for key in keys:
            known = self._counts.get(key)
            if known is not None:
                self._counts[key] = known[0] + accepted, known[1] + refused
            elif len(self._counts) < MOST:
                self._counts[key] = accepted, refused

    async def settle(self, store: Store, *, now: float) -> None:
        """Tell the store what there is; what it does not take is there the next time."""
        counts, self._counts = self._counts, {}
        left = list(counts)
        while left:
            some, left = left[:TOGETHER], left[TOGETHER:]
            await asyncio.gather(*(self._bring(store, key, *counts[key], now=now) for key in some))

    async def _bring(self, store: Store, key: str, accepted: int, refused: int, *, now: float) -> None:
        try:
            await store.remember(key, accepted=accepted, refused=refused, now=now)
        except StoreAway:
            self.note((key,), accepted=accepted, refused=refused)
