"""When to try again, in words, and spread so that what was put off together does not come back together. Pure."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from hashlib import blake2b

MINUTE = 60.0
DAY = 86400.0


def fraction(*parts: str) -> float:
    """From 0 up to 1, by these texts alone: the same mail is told the same time each time it asks."""
    digest = blake2b("\0".join(parts).encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def next_try(*, room_at: float, spread: float, parts: tuple[str, ...]) -> float:
    """A whole minute (Unix time), not before `room_at`, at most `spread` seconds and a minute after it."""
    return math.ceil((room_at + spread * fraction(*parts)) / MINUTE) * MINUTE


def after(moment: float, *, now: float) -> str:
    """Such as "after 21:14 UTC, in 23 minutes"; with the day where it is another one."""
    try:
        when = datetime.fromtimestamp(moment, UTC)
        form = "%H:%M UTC" if when.date() == datetime.fromtimestamp(now, UTC).date() else "%Y-%m-%d %H:%M UTC"
        clock = when.strftime(form)
    except (OverflowError, ValueError, OSError):
        return "in a few days"
    minutes = max(1, math.ceil((moment - now) / MINUTE))
    if minutes < 120:
        return f"after {clock}, in {minutes} minute{'s' if minutes > 1 else ''}"
    return f"after {clock}, in {math.ceil(minutes / 60)} hours"
