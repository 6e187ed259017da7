"""What has been learned, for the metrics: counted in the store, since whoever learns is a process that ends at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from gatekeeper import metrics
from gatekeeper.classifier.learning import SITE, TALLIES, domain_kinds
from gatekeeper.store.base import Store, StoreAway

EVERY = 30.0
"""Seconds between two counts."""


async def count(store: Store, *, now: float) -> None:
    """Show how many lessons stand, and what became of all that was to be learned. Raises StoreAway."""
    kinds = [SITE, *await domain_kinds(store, now=now)]
    every = [await store.learned(kind) for kind in kinds]
    metrics.LESSONS.labels("ham").set(sum(one.ham for one in every))
    metrics.LESSONS.labels("spam").set(sum(one.spam for one in every))
    for tally in await store.tallies(TALLIES, now=now, limit=100):
        labels = tally.key.split(" ")
        if len(labels) == 3:
            metrics.LEARNING.labels(*labels).set(tally.amount)


async def keep_counting(store: Store, clock: Callable[[], float]) -> None:
    """Again and again; has no end of its own."""
    while True:
        with contextlib.suppress(StoreAway):  # the last numbers stand until it is back
            await count(store, now=clock())
        await asyncio.sleep(EVERY)
