"""What the site has learned, asked while mail is judged: as little of the store as can be.

Where nothing was ever learned, that is all that is asked, once a second. Most traits of a message are those of others;
their counts are kept here until something was learned, which the totals show.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from gatekeeper.classifier import site
from gatekeeper.classifier.learning import SITE, domain_kinds, kind_of
from gatekeeper.classifier.opinion import Opinion
from gatekeeper.classifier.traits import Traits
from gatekeeper.store.base import Learned, Store

LOOK_EVERY = 1.0
"""Seconds until it counts here that somebody has learned something where nothing was learned before."""
MOST_TRAITS_KEPT = 100_000
"""Traits of all kinds that are known here; then all are asked for anew."""
MOST_KINDS = 1000
"""Domains with lessons that are known here; where there are more, each is asked for."""
MOST_DOMAINS = 4
"""Domains of one message's recipients whose own lessons are asked for; one with more has the whole site's alone."""


@dataclass(frozen=True, slots=True)
class _Known:
    """Which kinds have lessons, as it was `at` (Unix time)."""

    at: float
    kinds: frozenset[str]


@dataclass(slots=True)
class _Sums:
    """What is known here of one kind: `counts` stand for as long as its `totals` do."""

    at: float = float("-inf")
    totals: Learned = field(default_factory=Learned)
    counts: dict[int, tuple[int, int]] = field(default_factory=dict)


class Knowledge:
    """One for each process. Raises what the store raises."""

    def __init__(self) -> None:
        self._known = _Known(float("-inf"), frozenset())
        self._sums: dict[str, _Sums] = {}

    async def opinion(self, traits: Traits, domains: Iterable[str], store: Store, *, now: float) -> Opinion | None:
        """What the site, and the domain of the recipients, say of a message with these traits; None for nothing.

        Recipients of several domains get the mildest of their opinions: a message has one verdict.
        """
        known = await self._kinds(store, now)
        if not known:
            return None
        own = [kind for kind in dict.fromkeys(map(kind_of, domains)) if kind != SITE]
        if len(own) > MOST_DOMAINS or (known.isdisjoint(own) and len(known) < MOST_KINDS):
            own = []
        asked = site.chosen(traits)
        learned = {kind: await self._learned(store, kind, asked, now) for kind in self._asked(own, known)}
        wanted: Sequence[Sequence[str]] = [(SITE, kind) for kind in own] or [(SITE,)]
        opinions = [
            site.opinion(traits, site.together(learned[kind] for kind in kinds if kind in learned)) for kinds in wanted
        ]
        return min(opinions, key=lambda one: 0.0 if one is None else one.log_odds * one.trust)

    @staticmethod
    def _asked(own: Sequence[str], known: frozenset[str]) -> list[str]:
        if len(known) >= MOST_KINDS:
            return [SITE, *own]
        return [kind for kind in (SITE, *own) if kind in known]

    async def _kinds(self, store: Store, now: float) -> frozenset[str]:
        if not 0 <= now - self._known.at < LOOK_EVERY:
            before = self._known.kinds
            self._known = _Known(now, before)  # others go on with what is known meanwhile
            kinds = set(await domain_kinds(store, now=now, limit=MOST_KINDS))
            every = await store.learned(SITE)
            if every.ham or every.spam:
                kinds.add(SITE)
            self._known = _Known(now, frozenset(kinds))
        return self._known.kinds

    async def _learned(self, store: Store, kind: str, asked: Sequence[int], now: float) -> Learned:
        """As the store's verb; what was asked within the last second, or since nothing was learned, is known here."""
        sums = self._sums.get(kind, _Sums())
        here = {trait: sums.counts[trait] for trait in asked if trait in sums.counts}
        wanted = [trait for trait in asked if trait not in here]
        if wanted or not 0 <= now - sums.at < LOOK_EVERY:
            fresh = await store.learned(kind, wanted)
            if here and _totals(fresh) != _totals(sums.totals):
                wanted, here = list(asked), {}
                fresh = await store.learned(kind, wanted)
            if not here:
                sums = _Sums()
            here |= {trait: fresh.counts.get(trait, _NONE) for trait in wanted}
            sums.at, sums.totals = now, fresh
            sums.counts |= here
            self._keep(kind, sums)
        return replace(sums.totals, counts={trait: both for trait, both in here.items() if both is not _NONE})

    def _keep(self, kind: str, sums: _Sums) -> None:
        self._sums[kind] = sums
        if sum(len(one.counts) for one in self._sums.values()) > MOST_TRAITS_KEPT:
            self._sums = {}


_NONE = (0, 0)


def _totals(learned: Learned) -> tuple[int, int, int, int]:
    return learned.ham, learned.spam, learned.ham_traits, learned.spam_traits
