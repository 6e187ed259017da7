"""What does a model that has learned from other mail think of this one? Its probability, and what moved it."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from gatekeeper.checks.base import Tools
from gatekeeper.classifier.knowledge import Knowledge
from gatekeeper.classifier.model import TOLD, shipped_model
from gatekeeper.classifier.opinion import Combined, Opinion, Weighed, combine
from gatekeeper.classifier.traits import Traits, names_of, traits_of
from gatekeeper.message.content import read_content
from gatekeeper.model import Finding, Kind, Mail, Message, Missing, Rule, setting
from gatekeeper.store.base import StoreAway

UNKNOWN, HAM, TAUGHT = "CLASSIFIER_UNKNOWN", "CLASSIFIER_HAM", "CLASSIFIER_TAUGHT"
CLEAR, LIKELY = 3.5, 0.8
"""From which log-odds of the site's own, and which probability together, on mail is found to be taught."""
BANDS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.985, 0.99, 0.993, 0.995, 0.997, 0.998, 0.999)
"""Where each rule for spam begins: CLASSIFIER_SPAM_50 at a probability of one half, and so on."""
A_POINT = 1.1
"""Points for each unit of log-odds at the beginning of a band, that is for probabilities each 2.7 times as telling."""
NAME = 60
"""Characters of a trait's name that are kept."""


@dataclass(frozen=True, slots=True)
class Trait:
    """One trait of the message and what it moved, in log-odds: above 0 towards spam."""

    name: str
    moved: float


@dataclass(frozen=True, slots=True)
class ClassifierEvidence:
    """`probability` of spam, and its log-odds: the sum of what the `shipped` model says and what the `site`'s own does,
    None for one that has nothing to say. `trust` is how far the mail is like what was learned, from 0 to 1; `known`
    the share of its words that the shipped model has met. `traits` moved most; they and `rest` make what the shipped
    model says before `trust` shrinks it; `site_traits` and `site_rest` make what the site says, before `site_trust`
    does.
    """

    probability: float
    log_odds: float
    trust: float
    known: float
    shipped: float | None = None
    site: float | None = None
    traits: tuple[Trait, ...] = ()
    rest: float = 0.0
    site_trust: float = 0.0
    site_traits: tuple[Trait, ...] = ()
    site_rest: float = 0.0


@dataclass(frozen=True, slots=True)
class Classifier:
    """[checks.classifier]"""

    name: ClassVar[str] = "classifier"

    traits: int = setting(TOLD, "How many of the words and traits that weighed most stand in a record; 0 for none.")
    trust: float = setting(
        0.25, "Below this the classifier says that it does not know: the mail is not like what it has learned."
    )

    _knowledge: Any = field(default_factory=Knowledge, init=False, repr=False, compare=False)  # a Knowledge

    def __post_init__(self) -> None:
        if not 0 <= self.traits <= 50:
            raise ValueError("traits must be from 0 to 50")
        if not 0.0 <= self.trust <= 1.0:
            raise ValueError("trust must be from 0.0 to 1.0")

    def rules(self) -> Sequence[Rule]:
        return _RULES

    async def inspect(self, mail: Mail, tools: Tools) -> Sequence[Finding | Missing]:
        if mail.message is None:
            return ()
        await read_content(mail.message)
        traits = traits_of(mail.message)
        shipped = shipped_model().opinion(traits, self.traits)
        site = await self._taught(mail, traits, tools)
        combined = combine(shipped, site)
        if combined is None:
            return ()
        found = self._finding(mail.message, shipped, site, combined)
        # What a site's own people have taught says more than a model of other people's mail.
        taught = combined.site is not None and combined.site >= CLEAR and combined.probability >= LIKELY
        return (found, Finding(TAUGHT)) if taught else (found,)

    async def _taught(self, mail: Mail, traits: Traits, tools: Tools) -> Opinion | None:
        """What the site's own people have taught; without the store the shipped model is left."""
        domains = [recipient.address.domain for recipient in mail.envelope.recipients]
        try:
            found: Opinion | None = await self._knowledge.opinion(traits, domains, tools.store, now=tools.clock())
        except StoreAway:
            return None
        return found

    def _finding(self, message: Message, shipped: Opinion, site: Opinion | None, combined: Combined) -> Finding:
        rule = UNKNOWN if combined.trust < self.trust else _rule(combined.probability)
        told = shipped.moved if site is None else (*shipped.moved, *site.moved[: self.traits])
        names = names_of(message, [each.trait for each in told])
        moved = _named(shipped.moved, names)
        evidence = ClassifierEvidence(
            round(combined.probability, 6),
            round(combined.log_odds, 3),
            round(combined.trust, 3),
            round(shipped.known, 3),
            None if combined.shipped is None else round(combined.shipped, 3),
            None if combined.site is None else round(combined.site, 3),
            moved,
            round(shipped.log_odds - sum([each.moved for each in moved]), 3),
        )
        if site is not None:
            here = _named(site.moved[: self.traits], names)
            rest = site.log_odds - sum([each.moved for each in here])
            evidence = replace(evidence, site_trust=round(site.trust, 3), site_traits=here, site_rest=round(rest, 3))
        if rule == UNKNOWN:
            return Finding(rule, evidence, f"unlike what was learned: {evidence.known:.0%} of its words are known")
        # Which traits weighed most stays in the evidence: a refused sender reads the text, and could learn from it.
        by = ", by what was taught here" if abs(evidence.site or 0.0) > abs(evidence.shipped or 0.0) else ""
        return Finding(rule, evidence, f"{evidence.probability:.2%} likely spam{by}")


def _named(moved: Sequence[Weighed], names: Mapping[int, str]) -> tuple[Trait, ...]:
    return tuple([Trait(names[each.trait][:NAME], round(each.moved, 3)) for each in moved if each.trait in names])


def _name(least: float) -> str:
    return "CLASSIFIER_SPAM_" + f"{least:.3f}"[2:].rstrip("0").ljust(2, "0")


_NAMES = (HAM, *map(_name, BANDS))


def _rule(probability: float) -> str:
    return _NAMES[bisect_right(BANDS, probability)]


def _spam(least: float) -> Rule:
    score = round(0.2 + A_POINT * math.log(least / (1 - least)), 1)
    return Rule(
        _name(least),
        score,
        f"The classifier holds it for spam, with at least {100 * least:g}% to say so.",
        Kind.CONTENT,
    )


_RULES = (
    *[_spam(least) for least in BANDS],
    Rule(TAUGHT, 1.5, "This site's own users have taught that mail like it is spam.", Kind.CONTENT),
    Rule(HAM, 0.0, "The classifier does not take it for spam.", Kind.CONTENT),
    Rule(UNKNOWN, 0.0, "The classifier does not know: it has seen no mail like this.", Kind.CONTENT),
)
