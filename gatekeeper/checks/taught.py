"""Do this site's own people call mail like it spam, or wanted? What they have taught, and which words weighed most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from gatekeeper.checks.base import Tools
from gatekeeper.classifier.knowledge import Knowledge, keep_opinion
from gatekeeper.classifier.opinion import Opinion
from gatekeeper.classifier.traits import names_of, traits_of
from gatekeeper.message.content import read_content
from gatekeeper.model import Finding, Kind, Mail, Message, Rule, setting

SPAM = Rule("TAUGHT_SPAM", 5.0, "This site's own users have taught that mail like it is spam.", Kind.CONTENT)
RATHER_SPAM = Rule("TAUGHT_RATHER_SPAM", 1.5, "It is rather like what this site's users call spam.", Kind.CONTENT)
RATHER_HAM = Rule("TAUGHT_RATHER_HAM", -1.0, "It is rather like what this site's users call wanted.", Kind.CONTENT)
HAM = Rule("TAUGHT_HAM", -3.0, "This site's own users have taught that mail like it is wanted.", Kind.CONTENT)
CLEAR, LIKELY = 3.5, 1.5
"""Log-odds, as far as they can be trusted, from which on a rule is found: one in 34, and one in 6."""
NAME = 60
"""Characters of a trait's name that are kept."""


@dataclass(frozen=True, slots=True)
class Moved:
    """One trait of the message and what it moved, in log-odds: above 0 towards spam."""

    name: str
    by: float


@dataclass(frozen=True, slots=True)
class TaughtResult:
    """`log_odds` of spam by what was learned here: what `traits` and the `rest` moved together. `trust` is from 0 to 1:
    how much was learned, and how much of the message is `known`, the share of its words.
    """

    log_odds: float
    trust: float
    known: float
    traits: tuple[Moved, ...] = ()
    rest: float = 0.0


@dataclass(frozen=True, slots=True)
class Taught:
    """[checks.taught]"""

    name: ClassVar[str] = "taught"

    traits: int = setting(8, "How many of the words and traits that weighed most stand in a record; 0 for none.")
    _knowledge: Any = field(default_factory=Knowledge, init=False, repr=False, compare=False)  # a Knowledge

    def __post_init__(self) -> None:
        if not 0 <= self.traits <= 12:
            raise ValueError("traits must be from 0 to 12")

    def rules(self) -> Sequence[Rule]:
        return (SPAM, RATHER_SPAM, RATHER_HAM, HAM)

    def possible(self) -> Sequence[str]:
        """Nothing, as long as nothing was learned."""
        return [rule.name for rule in self.rules()] if self._knowledge.anything else ()

    async def inspect(self, mail: Mail, tools: Tools) -> Sequence[Finding]:
        message = mail.message
        if message is None or not await self._knowledge.look(tools.store, now=tools.clock()):
            return ()
        await read_content(message)
        domains = [recipient.address.domain for recipient in mail.envelope.recipients]
        found = await self._knowledge.opinion(traits_of(message), domains, tools.store, now=tools.clock())
        keep_opinion(message, found)
        rule = None if found is None else _rule(found.log_odds * found.trust)
        return () if found is None or rule is None else (self._finding(rule, message, found),)

    def _finding(self, rule: Rule, message: Message, found: Opinion) -> Finding:
        told = found.moved[: self.traits]
        names = names_of(message, [one.trait for one in told])
        moved = tuple([Moved(names[one.trait][:NAME], round(one.moved, 3)) for one in told if one.trait in names])
        rest = round(found.log_odds, 3) - sum(one.by for one in moved)
        evidence = TaughtResult(
            round(found.log_odds, 3), round(found.trust, 3), round(found.known, 3), moved, round(rest, 3)
        )
        first = ", ".join([one.name for one in moved if (one.by > 0) == (found.log_odds > 0)][:3])
        likely = (
            f"{found.probability:.1%} likely spam"
            if found.log_odds > 0
            else f"{1 - found.probability:.1%} likely wanted"
        )
        text = f"{likely}, by what was taught here"
        return Finding(rule.name, evidence, f"{text}{f': {first}' if first else ''}")


def _rule(claimed: float) -> Rule | None:
    if claimed >= LIKELY:
        return SPAM if claimed >= CLEAR else RATHER_SPAM
    if claimed <= -LIKELY:
        return HAM if claimed <= -CLEAR else RATHER_HAM
    return None
