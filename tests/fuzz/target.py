"""What a target is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Target:
    """`run` takes any octets; `seeds` are some that get deep into it. `most`: as long as a stranger may make it."""

    run: Callable[[bytes], object]
    seeds: tuple[bytes, ...] = field(default=(b"",))
    most: int = 1 << 16
