"""One household's mail, judged by all of content as it is shipped: what of it would be marked, and what refused.

Each message goes through the gate and the policy with their defaults, and every check that needs the message alone. The
shipped model has learned nothing of that household. Then once more by a site that was taught a hundred of its messages,
never the message that is judged, nor a near-copy of it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.training.corpora import Example, folds_of, near_copies
from gatekeeper import app, pipeline
from gatekeeper.classifier.learning import Lessons, Settings, Source, Teacher, material
from gatekeeper.config import configuration
from gatekeeper.message.reading import read_message
from gatekeeper.model import Address
from gatekeeper.servers.checking import Told, check
from gatekeeper.store.memory import MemoryStore
from gatekeeper.wire.address import AddressError, parse_path

CONTENT: Final = ("headers", "links", "mime", "rules", "attachments", "classifier")
"""The checks that need the message alone."""
HOUSEHOLD: Final = "foff_milter"
"""The corpus that is one household's mail, spam and ham of the same years."""
LESSONS: Final = 100
NOW: Final = 1.7e9
"""Unix time at which all is judged, so that it is the same each time."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of one message; `worth` are the points of each rule that counted."""

    example: Example
    score: float
    tagged: bool
    rejected: bool
    worth: tuple[tuple[str, float], ...]


def settings() -> configuration.Configuration:
    """The defaults, but only the checks of content, and all of them whatever the others find."""
    off = [f"[checks.{each.name}]\nenabled = false\n" for each in pipeline.CHECKS if each.name not in CONTENT]
    return configuration.read("\n".join(['hostname = "mx.example.org"\n[gate]\ngather = "all"\n', *off]), "content")


async def judge(examples: Sequence[Example], where: Path, lessons: Sequence[Example] = ()) -> list[Judged]:
    """Each of these as a site judges it that was taught the lessons. `where` is what the paths start from."""
    store = MemoryStore()
    teacher = Lessons(store, Settings(), lambda: NOW)
    for each in lessons:
        what = material(read_message((where / each.path).read_bytes()))
        await teacher.learn(what, spam=each.spam, teacher=Teacher("", Source.COMMAND))
    parts = app.assemble(settings(), store, clock=lambda: NOW)
    try:
        found = []
        for each in examples:
            told = Told(sender=_sender(each.sender))
            result = await check(
                parts.gate, (where / each.path).read_bytes(), told, server="check", now=NOW, keep=False
            )
            verdict = result.verdict
            if verdict.missing or verdict.not_run:
                raise RuntimeError(f"{each.path} was not judged by all: {verdict.missing + verdict.not_run}")
            worth = tuple([(one.rule, one.millis / 1000) for one in verdict.contributions if one.millis])
            reached = verdict.thresholds
            found.append(
                Judged(each, verdict.score, verdict.millis >= reached.tag, verdict.millis >= reached.reject, worth)
            )
        return found
    finally:
        await parts.close()


async def after_lessons(examples: Sequence[Example], where: Path, *, count: int = LESSONS) -> list[Judged]:
    """Each of these as it is judged after `count` messages of that household, drawn from other folds than its own."""
    folds = folds_of(near_copies(examples))
    found = []
    for fold in sorted(set(folds)):
        others = [each for each, of in zip(examples, folds, strict=True) if of != fold]
        drawn = random.Random(fold).sample(others, min(count, len(others)))  # nothing is secret here
        found += await judge([each for each, of in zip(examples, folds, strict=True) if of == fold], where, drawn)
    return found


def blamed(judged: Sequence[Judged], tell: Callable[[str], None]) -> None:
    """Which rules brought wanted mail to the threshold: names and points, nothing of the mail."""
    marked = [each for each in judged if each.tagged and not each.example.spam]
    met = Counter(rule for each in marked for rule, points in each.worth if points > 0)
    for each in marked:
        tell(f"wanted and marked, {each.score:g}: " + ", ".join(f"{rule} {points:g}" for rule, points in each.worth))
    tell(f"wanted and marked: {len(marked)}; by rule: {dict(met.most_common())}")


def _sender(text: str) -> Address | None:
    try:
        return parse_path(text) if text else None
    except AddressError:
        return None
