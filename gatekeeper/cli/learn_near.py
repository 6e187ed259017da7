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
    left = await lessons.one(taught)
    spam = None if left is None else left.spam
    # The report is from now on that of somebody whose word stands.
    source = "" if left is None else next((act.by for act in left.acts if act.spam == spam), "")
    await fuzzy.teach(store, f"{taught.kind}:{taught.id}", None, spam=spam, source=source, now=time.time())
    return True
