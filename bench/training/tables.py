"""Scores of mail that was not learned from -> the tables of docs/detection.md, with counts and 95% intervals. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from bench.training.corpora import Example
from bench.training.household import Judged
from bench.training.learn import MODERN_HAM

MODERN_SPAM: Final = ("foff_milter", "glitchyzorua")
RATES: Final = (0.005, 0.0)
"""Shares of ham that may reach the threshold."""
SAMPLES: Final[tuple[tuple[str, Callable[[Example], bool]], ...]] = (
    ("every message", lambda _: True),
    ("even sample", lambda each: each.measured),
)
"""What is measured on: all there is, of which old ham is the most; and about as much of each corpus."""
_Z: Final = 1.96


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many."""

    count: int
    of: int

    @property
    def percent(self) -> float:
        return 100 * self.count / self.of

    @property
    def interval(self) -> tuple[float, float]:
        """95%, in percent (Wilson's score)."""
        share, of = self.count / self.of, self.of
        middle = (share + _Z * _Z / (2 * of)) / (1 + _Z * _Z / of)
        half = _Z * math.sqrt(share * (1 - share) / of + _Z * _Z / (4 * of * of)) / (1 + _Z * _Z / of)
        return 100 * max(0.0, middle - half), 100 * min(1.0, middle + half)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.percent:.1f} ({low:.0f} to {high:.0f}; {self.count} of {self.of})"


def caught(examples: Sequence[Example], by_filter: Mapping[str, Sequence[float]]) -> list[str]:
    """How much of each corpus' spam each filter's threshold catches, which is set by all ham of the same sample."""
    having = sorted({each.corpus for each in examples if each.spam})
    lines = [
        "| measured on | ham that reaches the threshold | of it modern | filter | mean | " + " | ".join(having) + " |",
        "|---|---:|---:|---|---:" + "|---:" * len(having) + "|",
    ]
    for sample, belongs in SAMPLES:
        inside = np.array([belongs(each) for each in examples])
        some = [each for each in examples if belongs(each)]
        spam = np.array([each.spam for each in some])
        corpus = np.array([each.corpus for each in some])
        for rate in RATES:
            allowed = int(rate * np.count_nonzero(~spam))
            for name, every in by_filter.items():
                scored = np.asarray(every)[inside]
                limit = np.sort(scored[~spam])[::-1][allowed]
                reach = ~spam & (scored > limit)
                shares = [_share((scored > limit)[spam & (corpus == each)]) for each in having]
                cells = [
                    sample,
                    f"{np.count_nonzero(reach)} of {np.count_nonzero(~spam)}",
                    f"{np.count_nonzero(reach & (corpus == MODERN_HAM))}",
                    name,
                    _mean(shares),
                    *map(str, shares),
                ]
                lines.append(f"| {' | '.join(cells)} |")
    return lines


def modern(examples: Sequence[Example], by_filter: Mapping[str, Sequence[float]]) -> list[str]:
    """How well each tells modern spam from modern ham, at any threshold."""
    spam = np.array([each.spam and each.corpus in MODERN_SPAM for each in examples])
    ham = np.array([not each.spam and each.corpus == MODERN_HAM for each in examples])
    lines = ["| modern spam against modern ham | AUC |", "|---|---:|"]
    for name, scored in by_filter.items():
        share = area(np.asarray(scored)[spam], np.asarray(scored)[ham])
        low, high = area_interval(share, int(np.count_nonzero(spam)), int(np.count_nonzero(ham)))
        lines.append(f"| {name} | {share:.3f} ({low:.3f} to {high:.3f}) |")
    return lines


def household(judged: Mapping[str, Sequence[Judged]]) -> list[str]:
    """What became of one household's mail, by what judged it."""
    lines = [
        "| judged by | ham marked or refused | ham refused | spam marked or refused | spam refused | AUC of score |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, every in judged.items():
        ham, spam = ([each for each in every if each.example.spam is kind] for kind in (False, True))
        cells = [
            str(Share(sum(reached), len(some)))
            for some in (ham, spam)
            for reached in ([each.tagged for each in some], [each.rejected for each in some])
        ]
        share = area([each.score for each in spam], [each.score for each in ham])
        low, high = area_interval(share, len(spam), len(ham))
        lines.append(f"| {name} | {' | '.join(cells)} | {share:.3f} ({low:.3f} to {high:.3f}) |")
    return lines


def area(spam: Sequence[float] | np.ndarray, ham: Sequence[float] | np.ndarray) -> float:
    """The area under the curve: how often spam scores higher than ham; a tie is one half."""
    ordered = np.sort(np.asarray(ham))
    below = np.searchsorted(ordered, spam, "left") + np.searchsorted(ordered, spam, "right")
    return float(below.mean() / (2 * len(ordered)))


def area_interval(share: float, spam: int, ham: int) -> tuple[float, float]:
    """95%, of an area over so many messages (Hanley and McNeil's standard error)."""
    one, two = share / (2 - share), 2 * share * share / (1 + share)
    error = (share * (1 - share) + (spam - 1) * (one - share**2) + (ham - 1) * (two - share**2)) / (spam * ham)
    half = _Z * math.sqrt(error)
    return max(0.0, share - half), min(1.0, share + half)


def _share(reach: np.ndarray) -> Share:
    return Share(int(np.count_nonzero(reach)), len(reach))


def _mean(shares: Sequence[Share]) -> str:
    """Over corpora, each counting the same; the interval is that of sampling within them."""
    mean = sum(each.percent for each in shares) / len(shares)
    half = math.sqrt(sum(((each.interval[1] - each.interval[0]) / 2) ** 2 for each in shares)) / len(shares)
    return f"**{mean:.1f}** ({mean - half:.0f} to {min(100.0, mean + half):.0f})"
