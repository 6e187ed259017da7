"""Near-copies of mail that was reported or came to a trap: kept in the store by its verbs, found again, forgotten.

A digest (message/shingles.py) that is reported first becomes a *sample*. What is near to it adds to its count; counts
are kept by day, weigh half after a week, and end after a month, and so does a sample that nobody reports any more. Mail
that people say is wanted spares a sample: then it is not found.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from gatekeeper.message.shingles import NEAR, Digest
from gatekeeper.store.base import Note, Sighting, Store, Tally
from gatekeeper.wire.notation import read_json, read_object

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
PEOPLE: Final = "fuzzy.people"
"""Tallies: reports of a sample by one of the people, by day, so that they can be taken back."""
DAY: Final = 86400.0
KEPT: Final = 30 * DAY
SPARED_KEPT: Final = 90 * DAY
HALF: Final = 7 * DAY
"""After which a report weighs half."""
SOURCES: Final = "fuzzy"
"""Sightings: networks that sent to traps. A set holds a bounded number of strangers, and takes nothing back."""
MOST_PEOPLE: Final = 1000
"""Tallies of people that are looked at for one sample."""
_CANDIDATES: Final = 8
"""Samples that one digest is compared with."""


@dataclass(frozen=True, slots=True)
class Near:
    """A sample that is near. `likeness` is from 0 to 1; `weight` is the count, aged; `sources` are the different
    networks and people that reported it; `first` and `last` are Unix times of the first report and of the day of the
    last.
    """

    sample: str
    likeness: float
    weight: float
    count: int
    sources: int
    first: float
    last: float


async def report(store: Store, digest: Digest, now: float, *, source: str = "", amount: int = 1) -> str:
    """Mail with that digest is unwanted, as is seen from what `source` (a network) sent; the name of its sample.

    A negative `amount` takes reports without a source back; give the time at which they were made. What people say, who
    may think better of it, comes by `teach`. Raises StoreAway.
    """
    if amount <= 0:
        sample = await _nearest(store, digest, now)
        if sample is not None:
            await store.tally(_reports(sample.name, now, amount=amount))
        return digest.name if sample is None else sample.name
    name = await _keep(store, digest, now)
    if source:
        await store.distinct([Sighting(f"{SOURCES}:{name}", source, KEPT)], now=now)
    await store.tally(_reports(name, now, amount=amount))
    return name


async def _keep(store: Store, digest: Digest, now: float) -> str:
    """The name of the sample that is near, which becomes one if there is none, and is kept on."""
    sample = await _nearest(store, digest, now) or _Sample(digest.name, digest, now, 1.0)
    name, until = sample.name, now + KEPT
    # Of a near-copy the bands lead to the first sample too: what is near to it may meet them alone.
    await store.put_notes(
        [
            Note(SAMPLE, name, json.dumps({"digest": str(sample.digest), "first": sample.first}), until),
            *(Note(BAND, band, name, until) for band in digest.bands()),
        ]
    )
    return name


def _reports(name: str, at: float, *, amount: int, person: str = "") -> list[Tally]:
    """What is added to the reports of a sample, and to a person's, on the day of `at`."""
    day, until = f"{int(at // DAY):06d}", at + KEPT
    counted = [Tally(COUNT, f"{name}:{day}", amount, until)]
    return [*counted, Tally(PEOPLE, f"{name}:{person}:{day}", amount, until)] if person else counted


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
    """What `source` (a user) says of the message that it knows by `key`: unwanted, wanted, or (None) nothing any more.

    It may be said again, and changed: the last word counts, and once, and is that of the source that said it last.
    Without a digest the one is meant that came with the key before. Raises StoreAway.
    """
    known = next(iter(await store.notes(TAUGHT, [key], now=now)), None)
    before: Mapping[str, Any] = {} if known is None else read_object(known.text)
    person = Sighting("", source.lower(), 0.0).digest.hex() if source else ""  # a login may be written in any case
    if before.get("spam") == spam:
        if known is not None and person and before.get("person", person) != person:
            await _pass_on(store, known, before, person)
        return
    if before:
        digest = digest or Digest.parse(before["digest"])
        await _take_back(store, before)
        await store.drop_notes(TAUGHT, [key])
    if spam is None or digest is None:
        return
    if spam:
        sample = await _keep(store, digest, now)
        await store.tally(_reports(sample, now, amount=1, person=person))
    else:
        sample = await spare(store, digest, now)
    said = {"digest": str(digest), "spam": spam, "at": now, "sample": sample, "person": person}
    await store.put_notes([Note(TAUGHT, key, json.dumps(said), now + SPARED_KEPT)])


async def _pass_on(store: Store, known: Note, before: Mapping[str, Any], person: str) -> None:
    """The same was said by somebody else too, and is that person's word from now on."""
    if before["spam"]:
        sample, at = before["sample"], before["at"]
        taken = _reports(sample, at, amount=-1, person=before["person"])
        await store.tally([*taken, *_reports(sample, at, amount=1, person=person)])
    await store.put_notes([replace(known, text=json.dumps({**before, "person": person}))])


async def _take_back(store: Store, before: Mapping[str, Any]) -> None:
    """From the sample for which it was counted: another may be nearer by now."""
    at = before["at"]
    if "sample" not in before:  # of an earlier version of the program
        say = report if before["spam"] else spare
        await say(store, Digest.parse(before["digest"]), at, amount=-1)
    elif before["spam"]:
        await store.tally(_reports(before["sample"], at, amount=-1, person=before["person"]))
    elif before["sample"]:
        await store.tally([Tally(SPARED, before["sample"], -1, at + SPARED_KEPT)])


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
    networks = (await store.distinct([Sighting(f"{SOURCES}:{sample.name}", "", KEPT)], now=now))[0]
    said = await store.tallies(PEOPLE, prefix=f"{sample.name}:", now=now, limit=MOST_PEOPLE)
    people = {tally.key.split(":")[1] for tally in said if tally.amount > 0}
    last = max(day for day, amount in counts if amount > 0) if any(amount > 0 for _, amount in counts) else now
    return Near(sample.name, sample.likeness, weight, count, networks + len(people), sample.first, last)


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
            told = read_json(note.text)
            sample = Digest.parse(told["digest"])
            yield _Sample(note.key, sample, float(told["first"]), digest.likeness(sample))
        except (ValueError, KeyError, TypeError):
            continue  # of another version of the program: it ends by itself
