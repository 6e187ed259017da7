"""What a model thinks of a message, and how the site's own model is put together with the shipped one. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

MOST = 12.0
"""Log-odds beyond which no model goes: one in 160,000. Nobody knows more than that."""


class Weighed(NamedTuple):
    """One trait and what it moved, in log-odds: above 0 towards spam. (A NamedTuple: each message has a dozen.)"""

    trait: int
    moved: float


@dataclass(frozen=True, slots=True)
class Opinion:
    """Calibrated log-odds of spam (natural logarithm; 0.0 is even), and how far they can be trusted.

    `trust` is from 0.0, which says that the model has seen nothing like the message, to 1.0. For the shipped model it
    comes from how much of the message it knows; for a site's from that and from how many messages it has learned, of
    both kinds. `known` is the share of the message's words that the model has met. `moved` are the traits that weighed
    most, the heaviest first, and `rest` is what all others moved together with the model's prior: their sum is
    `log_odds`.
    """

    log_odds: float
    trust: float
    known: float
    moved: tuple[Weighed, ...] = ()
    rest: float = 0.0

    @property
    def probability(self) -> float:
        return probability(self.log_odds)


@dataclass(frozen=True, slots=True)
class Combined:
    """Both opinions as one. `shipped` and `site` are what each moved: their sum is `log_odds`; None where that model
    has no opinion.
    """

    log_odds: float
    trust: float
    shipped: float | None
    site: float | None

    @property
    def probability(self) -> float:
        return probability(self.log_odds)


def combine(shipped: Opinion | None, site: Opinion | None) -> Combined | None:
    """One opinion of the two; None when neither has one.

    A site that has learned enough (trust 1.0) is believed more than the shipped model, which then keeps a quarter of
    its say: it has seen other people's mail, the site has seen this one's. Below that the site takes over by as much as
    it can be trusted. Where the shipped model knows nothing alike (low trust), its say shrinks towards even odds.
    """
    if shipped is None and site is None:
        return None
    own = 0.0 if site is None else _bounded(site.trust, 0.0, 1.0)
    ours = (
        None
        if shipped is None
        else _bounded(shipped.log_odds, -MOST, MOST) * _bounded(shipped.trust, 0.0, 1.0) * (1 - KEPT * own)
    )
    theirs = None if site is None else _bounded(site.log_odds, -MOST, MOST) * own
    total = _bounded((ours or 0.0) + (theirs or 0.0), -MOST, MOST)
    if theirs is not None:  # what the bound takes is taken from one of them, so that the sum stays exact
        theirs = total - (ours or 0.0)
    else:
        ours = total
    trust = max(own, 0.0 if shipped is None else shipped.trust)
    return Combined(total, trust, ours, theirs)


KEPT = 0.75
"""What the shipped model loses of its say to a site that has learned enough."""


def probability(log_odds: float) -> float:
    """Log-odds as a probability."""
    return 1 / (1 + math.exp(-_bounded(log_odds, -MOST, MOST)))


def _bounded(value: float, low: float, high: float) -> float:
    return min(high, max(low, value)) if value == value else 0.0  # noqa: PLR0124  # NaN is not itself
