"""Near-copies of mail that was reported or came to a trap: kept in the store by its verbs, found again, forgotten.

A digest (message/shingles.py) that is reported first becomes a *sample*. What is near to it adds to its count; counts
are kept by day, weigh half after a week, and end after a month, and so does a sample that nobody reports any more. Mail
that people say is wanted spares a sample: then it is not found.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from gatekeeper.message.shingles import NEAR, Digest
from gatekeeper.store.base import Note, Sighting, Store, Tally

BAND: Final = "fuzzy.band"
"""Notes: a band's key leads to the name of a sample."""
SAMPLE: Final = "fuzzy.sample"
"""Notes: the name of a sample leads to its digest."""
COUNT: Final = "fuzzy.count"
"""Tallies: reports of a sample by day."""
SPARED: Final = "fuzzy.spared"
"""Tallies: how often a sample was said to be wanted mail."""
TAUGHT: Final = "fuzzy.taught"
"""Notes: what people have said of one message, by the key of whoever keeps account of that."""
DAY: Final = 86400.0
KEPT: Final = 30 * DAY
SPARED_KEPT: Final = 90 * DAY
HALF: Final = 7 * DAY
"""After which a report weighs half."""
SOURCES: Final = "fuzzy"
_CANDIDATES: Final = 8
"""Samples that one digest is compared with."""


@dataclass(frozen=True, slots=True)
class Near:
    """A sample that is near. `likeness` is from 0 to 1; `weight` is the count, aged; `sources` are different ones that
    reported it; `first` and `last` are Unix times of the first report and of the day of the last.
    """

    sample: str
    likeness: float
    weight: float
    count: int
    sources: int
    first: float
    last: float


async def report(store: Store, digest: Digest, now: float, *, source: str = "", amount: int = 1) -> str:
    """Mail with that digest is unwanted, says `source` (a network, a user); the name of its sample.

    A negative `amount` takes a report back; give the time at which it was made. Raises StoreAway.
    """
    sample = await _nearest(store, digest, now)
    name = sample.name if sample is not None else digest.name
    until = now + KEPT
    if amount > 0:
        first = sample if sample is not None else _Sample(name, digest, now, 1.0)
        # Of a near-copy the bands lead to the first sample too: what is near to it may meet them alone.
        await store.put_notes(
            [
                Note(SAMPLE, name, json.dumps({"digest": str(first.digest), "first": first.first}), until),
                *(Note(BAND, band, name, until) for band in digest.bands()),
            ]
        )
        if source:
            await store.distinct([Sighting(f"{SOURCES}:{name}", source, KEPT)], now=now)
    elif sample is None:
        return name
    await store.tally([Tally(COUNT, f"{name}:{int(now // DAY):06d}", amount, until)])
    return name


async def spare(store: Store, digest: Digest, now: float, *, amount: int = 1) -> str:
    """Mail with that digest is wanted: what is near to it is not found for a while. A negative `amount` takes that
    back. Without a sample that is near there is nothing to be spared from.
    """
    sample = await _nearest(store, digest, now)
    if sample is None:
        return ""
    await store.tally([Tally(SPARED, sample.name, amount, now + SPARED_KEPT)])
    return sample.name


async def teach(store: Store, key: str, digest: Digest | None, *, spam: bool | None, source: str, now: float) -> None:
    """What `source` says of the message that it knows by `key`: unwanted, wanted, or (None) nothing any more.

    It may be said again, and changed: the last word counts, and once. Without a digest the one is meant that came with
    the key before. Raises StoreAway.
    """
    known = next(iter(await store.notes(TAUGHT, [key], now=now)), None)
    before: dict[str, Any] = {} if known is None else json.loads(known.text)
    if before.get("spam") == spam:
        return
    if before:
        digest = digest or Digest.parse(before["digest"])
        await _say(store, Digest.parse(before["digest"]), before["at"], spam=before["spam"], source="", amount=-1)
        await store.drop_notes(TAUGHT, [key])
    if spam is None or digest is None:
        return
    await _say(store, digest, now, spam=spam, source=source, amount=1)
    text = json.dumps({"digest": str(digest), "spam": spam, "at": now})
    await store.put_notes([Note(TAUGHT, key, text, now + SPARED_KEPT)])


async def _say(store: Store, digest: Digest, now: float, *, spam: bool, source: str, amount: int) -> None:
    if spam:
        await report(store, digest, now, source=source, amount=amount)
    else:
        await spare(store, digest, now, amount=amount)


async def find(store: Store, digest: Digest, now: float) -> Near | None:
    """The sample that is nearest, with its count; None where there is none, or it is spared. Raises StoreAway.

    One question to the store for mail that is like nothing.
    """
    sample = await _nearest(store, digest, now)
    if sample is None:
        return None
    spared = await store.tallies(SPARED, prefix=sample.name, now=now, limit=1)
    if spared and spared[0].amount > 0:
        return None
    tallies = await store.tallies(COUNT, prefix=f"{sample.name}:", now=now, limit=64)
    counts = [(float(tally.key.rpartition(":")[2]) * DAY, tally.amount) for tally in tallies]
    count = sum(amount for _, amount in counts)
    if count <= 0:
        return None
    weight = sum(amount * 0.5 ** (max(0.0, now - day - DAY) / HALF) for day, amount in counts)
    sources = (await store.distinct([Sighting(f"{SOURCES}:{sample.name}", "", KEPT)], now=now))[0]
    last = max(day for day, amount in counts if amount > 0) if any(amount > 0 for _, amount in counts) else now
    return Near(sample.name, sample.likeness, weight, count, sources, sample.first, last)


async def anything(store: Store, now: float) -> bool:
    """Whether there is any sample at all."""
    return bool(await store.notes(SAMPLE, now=now, limit=1))


@dataclass(frozen=True, slots=True)
class _Sample:
    name: str
    digest: Digest
    first: float
    likeness: float


async def _nearest(store: Store, digest: Digest, now: float) -> _Sample | None:
    bands = await store.notes(BAND, digest.bands(), now=now)
    if not bands:
        return None
    names = list(dict.fromkeys(note.text for note in bands))[:_CANDIDATES]
    samples = _samples(await store.notes(SAMPLE, names, now=now), digest)
    nearest = max(samples, key=lambda sample: sample.likeness, default=None)
    return nearest if nearest is not None and nearest.likeness >= NEAR else None


def _samples(notes: Iterable[Note], digest: Digest) -> Iterable[_Sample]:
    for note in notes:
        try:
            told = json.loads(note.text)
            sample = Digest.parse(told["digest"])
            yield _Sample(note.key, sample, float(told["first"]), digest.likeness(sample))
        except (ValueError, KeyError, TypeError):
            continue  # of another version of the program: it ends by itself
