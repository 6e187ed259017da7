"""Lessons in Redis: how they and the sum of their traits are written there. Pure.

All keys of a kind share a hash tag, so that a lesson and its traits change in one script. A trait's value is one whole
number that holds both counts, so that a million of them are a million small strings.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from gatekeeper.store.base import Learned, Lesson
from gatekeeper.wire.notation import read_json

_SPAM = 1 << 24
"""What a spam lesson adds to a trait's value; a ham lesson adds 1. Far below 2^53, where Lua's numbers end."""


def keys_of(root: str, kind: str) -> list[str]:
    """Texts, ends of ham, ends of spam, keys, traits."""
    tag = f"{{{root}:lesson:{kind}}}"
    return [f"{tag}:{part}" for part in ("texts", "ham", "spam", "keys", "traits")]


def written(lesson: Lesson) -> bytes:
    facts = json.dumps([lesson.spam, lesson.until, lesson.text])
    return facts.encode() + b"\n" + lesson.packed


def read(kind: str, key: bytes, octets: bytes) -> Lesson:
    facts, _, traits = octets.partition(b"\n")
    spam, until, text = read_json(facts)
    return Lesson(kind, key.decode(), spam, Lesson.unpacked(traits), text, until)


def changes(old: Lesson | None, new: Lesson | None) -> list[int]:
    """Trait and change, one after the other, of those that change."""
    sums: dict[int, int] = {}
    for lesson, sign in ((old, -1), (new, 1)):
        if lesson is not None:
            worth = sign * (_SPAM if lesson.spam else 1)
            for trait, count in lesson.sums:
                sums[trait] = sums.get(trait, 0) + worth * count
    return [part for trait, change in sums.items() if change for part in (trait, change)]


def counted(asked: Sequence[int], values: Sequence[bytes | None]) -> Learned:
    """From the values of what was asked for, `LESSONS` and `TRAITS` among it."""
    numbers = [int(value or 0) for value in values]
    return Learned.of({one: (n % _SPAM, n // _SPAM) for one, n in zip(asked, numbers, strict=True)})
