"""What is learned, or taken back, is told to those who look for near-copies too (gatekeeper/fuzzy.py)."""

from __future__ import annotations

import time

from gatekeeper import fuzzy
from gatekeeper.classifier.learning import Lessons, Material, Outcome, Taught, Teacher, kind_of
from gatekeeper.store.base import Store


async def learn(store: Store, lessons: Lessons, what: Material, *, spam: bool, teacher: Teacher) -> Outcome:
    """One message. Raises StoreAway."""
    outcome = await lessons.learn(what, spam=spam, teacher=teacher)
    if outcome in {Outcome.LEARNED, Outcome.MOVED}:
        key = f"{kind_of(teacher.domain)}:{what.id}"
        await fuzzy.teach(store, key, what.digest, spam=spam, source=teacher.by, now=time.time())
    return outcome


async def undo(store: Store, lessons: Lessons, taught: Taught, *, by: str | None, since: float) -> bool:
    """Take back what `by` said of it since then; what others said counts again. Raises StoreAway."""
    if not await lessons.undo(taught, by=by, since=since):
        return False
    left = await store.lessons(taught.kind, [taught.id])
    spam = left[0].spam if left else None
    await fuzzy.teach(store, f"{taught.kind}:{taught.id}", None, spam=spam, source="", now=time.time())
    return True
