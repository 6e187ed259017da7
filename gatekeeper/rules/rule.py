"""A rule as it stands in a file, and what is wrong with one. Values only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from gatekeeper.model import Kind
from gatekeeper.rules.condition import Condition

PLACES: Final = {
    "subject": "The subject, decoded and normalised.",
    "author": "The display names of From, decoded and normalised.",
    "seen": "The text that people see, normalised; each part is a line.",
    "hidden": "The text of HTML that people do not see, normalised; each part is a line.",
    "text": "The subject, or the text that people see.",
    "link": "Each link that people see, as `https://host/path`, a line each; the host in lower case.",
    "host": "The host of each link that people see, in lower case A-labels, a line each.",
    "names": "The names of all parts that have one, normalised, a line each.",
    "raw": "The first 64 KiB of the body as it came, still encoded.",
}
"""Where a pattern may look, beside `header.NAME`."""
NORMALISED: Final = frozenset({"subject", "author", "seen", "hidden", "text", "names"})
BRAND: Final = "brand"
"""The place of a brand's name: the author's name, the subject and the beginning of the text."""
HEADER: Final = "header:"
"""Begins the place of a header field, whose name follows in lower case."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A regular expression and where it looks: a key of PLACES, or `HEADER` and a field's name."""

    place: str
    pattern: str


@dataclass(frozen=True, slots=True)
class ContentRule:
    """One rule of a file, without what says whether it is found (`rules/ruleset.py` has that).

    `source` is the law or standard that it comes from, "" for none. `match` and `no_match` are whole messages.
    """

    name: str
    about: str
    score: float
    file: str
    kind: Kind = Kind.CONTENT
    group: str = ""
    source: str = ""
    match: tuple[str, ...] = ()
    no_match: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Compiled:
    """A rule and when it is found. The numbers in the condition are indices of the set's expressions."""

    rule: ContentRule
    condition: Condition


@dataclass(frozen=True, slots=True)
class RuleProblem:
    """A mistake in a file of rules: at a key (its path in the file), or in a line where only that is known."""

    file: str
    path: tuple[str, ...]
    text: str
    line: int = 0

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {'.'.join(self.path)}: {self.text}" if self.path else f"{place}: {self.text}"


class RulesUnusable(Exception):
    """Files of rules that cannot be used; every mistake that was found."""

    def __init__(self, problems: Iterable[RuleProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(frozen=True, slots=True)
class RuleFile:
    """What one or several files say: rules, brands and the domains they write from, caps of groups."""

    rules: tuple[Compiled, ...] = ()
    expressions: tuple[Expression, ...] = ()
    brands: dict[str, tuple[str, ...]] = field(default_factory=dict)
    groups: dict[str, float] = field(default_factory=dict)
