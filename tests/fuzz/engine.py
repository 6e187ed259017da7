"""How a target is tried: mutated octets, a watch for what is raised and for what costs more than its size explains.

Where atheris is installed it leads (coverage decides what is kept); without it octets are mutated blindly.
"""

from __future__ import annotations

import hashlib
import importlib.util
import random
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.fuzz.target import Target

SLOW_SECONDS = 0.02
SLOW_PER_OCTET = 2e-6
"""Processor seconds that an input may take: the one, and the other for each octet. Ten times what is usual."""
INSTRUMENTED = 4.0
"""How much longer everything takes while coverage is watched."""
STRETCHED = 50
"""One input in so many is stretched: a piece of it is repeated to full length. What is quadratic shows there."""
ENOUGH = 20
"""Faults of one target after which it is left alone."""


@dataclass(slots=True)
class Watched:
    """A target under watch. `faults`: what happened -> the input that did it, the shortest one known."""

    target: Target
    slower: float = 1.0  # INSTRUMENTED where coverage is watched
    clock: Callable[[], float] = time.process_time
    dice: random.Random = field(default_factory=lambda: random.Random(1))
    runs: int = 0
    spent: float = 0.0  # processor seconds
    worst: float = 0.0  # processor seconds an octet, of inputs of a kilobyte and more
    faults: dict[str, bytes] = field(default_factory=dict)

    def take(self, octets: bytes) -> None:
        """Try these octets, and now and then what they become when a piece of them is repeated."""
        octets = octets[: self.target.most]
        self._try(octets)
        if octets and self.dice.random() * STRETCHED < 1:
            start = self.dice.randrange(len(octets))
            piece = octets[start : start + self.dice.choice((1, 2, 3, 5, 8, 16, 64, 256))]
            times = max(1, (self.target.most - len(octets)) // len(piece))
            self._try(octets[:start] + piece * times + octets[start:])

    def _try(self, octets: bytes) -> None:
        self.runs += 1
        cost = self._cost(octets)
        self.spent += cost
        if len(octets) >= 1000:
            self.worst = max(self.worst, cost / len(octets))
        allowed = self.slower * (SLOW_SECONDS + SLOW_PER_OCTET * len(octets))
        if cost > allowed and min(self._cost(octets) for _ in range(3)) > allowed:  # else it was the machine
            self._note(f"slow: more than {1e6 * cost / len(octets):.0f} µs an octet", octets, "slow")

    def _cost(self, octets: bytes) -> float:
        began = self.clock()
        try:
            self.target.run(octets)
        except RecursionError as error:
            self._note(f"RecursionError: {error}", octets, "RecursionError")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"
            self._note(f"{where}: {str(error)[:100]}", octets, where)
        return self.clock() - began

    def _note(self, what: str, octets: bytes, kind: str) -> None:
        known = next((each for each in self.faults if each.startswith(kind)), None)
        if known is None:
            self.faults[what] = octets
        elif len(octets) < len(self.faults[known]):
            self.faults[known] = octets


def keep(name: str, watched: Watched, directory: Path) -> list[str]:
    """Write each fault's input there; what is to be told of them."""
    told = []
    for what, octets in watched.faults.items():
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{name}-{hashlib.sha256(octets).hexdigest()[:12]}"
        path.write_bytes(octets)
        told.append(f"{name}: {what} ({path})")
    return told


def guided() -> bool:
    """Whether coverage can lead."""
    return importlib.util.find_spec("atheris") is not None


def blindly(watched: Watched, seconds: float) -> None:
    """Mutate the seeds for that many processor seconds."""
    dice, seeds = watched.dice, watched.target.seeds
    words = [word for seed in seeds for word in _words(seed)]
    pool = list(seeds)
    end = watched.clock() + seconds
    while watched.clock() < end and len(watched.faults) < ENOUGH:
        octets = _mutated(dice, dice.choice(pool), pool, words)
        if len(pool) < 2000 and dice.random() < 0.02:
            pool.append(octets[:4096])
        watched.take(octets)


def _words(seed: bytes) -> list[bytes]:
    marks = bytes(set(range(128)) - set(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"))
    table = bytes.maketrans(marks, b" " * len(marks))
    return [*seed.translate(table).split(), *(bytes([mark]) for mark in set(seed))]


def _mutated(dice: random.Random, octets: bytes, pool: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    for _ in range(dice.choice((1, 1, 2, 4, 8))):
        place = dice.randrange(len(octets) + 1)
        cut = place + dice.choice((0, 0, 1, 1, 2, 4, 16, 100))
        other = dice.choice(pool)
        start = dice.randrange(len(other) + 1)
        put = dice.choice(
            (
                b"",
                dice.randbytes(dice.choice((1, 1, 2, 8))),
                dice.choice(words or (b"",)) * dice.choice((1, 1, 2, 300)),
                octets[place:cut] * 3,
                other[start : start + dice.choice((1, 8, 64, 1000))],
                dice.choice(
                    (b"\r\n", b"\n", b"\0", b"\r", b" ", b"\t", b"\xff", b"\\", b'"', b"(", b"<", b"=", b"%", b"&#")
                ),
            )
        )
        octets = octets[:place] + put + octets[cut:]
    return octets


def with_coverage(
    watched: Watched, seconds: float, corpus: Path, arguments: Sequence[str], end: Callable[[], Any]
) -> None:
    """Let atheris lead for that many processor seconds; inputs that reach something new are kept in `corpus`.

    Never returns: `end` is called in its place, and must end the process.
    """
    import atheris  # optional

    corpus.mkdir(parents=True, exist_ok=True)
    for seed in watched.target.seeds:
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    until = watched.clock() + seconds

    def one(octets: bytes) -> None:
        watched.take(octets)
        if watched.clock() > until or len(watched.faults) >= ENOUGH:
            end()

    most = min(watched.target.most, 1 << 14)  # longer ones come by stretching
    atheris.Setup(
        ["fuzz", str(corpus), f"-max_len={most}", "-timeout=120", "-rss_limit_mb=3000", "-verbosity=0", *arguments], one
    )
    atheris.Fuzz()
