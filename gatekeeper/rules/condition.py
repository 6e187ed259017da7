"""What a rule asks for beyond one pattern: `fee and parcel and not list and links > 0`. Small, bounded, without loops.

    condition  = both *("or" both)
    both       = one *("and" one)
    one        = "not" one / "(" condition ")" / NUMBER "of" "(" condition *("," condition) ")" / name
    name       = a pattern of the rule / a fact [comparison NUMBER] / another RULE

A fact alone means "more than none".
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

LONGEST: Final = 1000
"""Characters of a condition."""
DEEPEST: Final = 20
"""How deep parentheses and other rules may be nested."""
MOST_TERMS: Final = 2000
"""Terms of a condition, those of the rules that it names counted in."""

_WORD: Final = re.compile(r"\s*(?:([A-Za-z_][A-Za-z0-9_]*)|([0-9]{1,9})|(>=|<=|==|!=|[<>(),]))")
_COMPARISONS: Final[Mapping[str, Callable[[int, int], bool]]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}
_RESERVED: Final = frozenset({"and", "or", "not", "of"})

Token = int | str
"""A pattern by its number, or a fact by its name."""


class ConditionError(ValueError):
    """A condition that cannot be read; the text says why, for the operator."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """Whether the pattern of that number matched."""

    number: int


@dataclass(frozen=True, slots=True)
class Fact:
    """How a number of the message compares; one that is not told is 0."""

    name: str
    comparison: str = ">"
    number: int = 0


@dataclass(frozen=True, slots=True)
class Not:
    one: Condition


@dataclass(frozen=True, slots=True)
class AtLeast:
    """How many of several must hold: all of them, one of them, or a number between."""

    count: int
    several: tuple[Condition, ...]


Condition = Pattern | Fact | Not | AtLeast


Test = Callable[[AbstractSet[int], Mapping[str, int]], bool]


def test_of(condition: Condition) -> Test:
    """What says whether a condition is true of a message; made once, and asked for each message."""
    match condition:
        case Pattern(number):
            return lambda hits, _facts: number in hits
        case Fact(name, comparison, number):
            compare = _COMPARISONS[comparison]
            return lambda _hits, facts: compare(facts.get(name, 0), number)
        case Not(one):
            test = test_of(one)
            return lambda hits, facts: not test(hits, facts)
        case AtLeast(count, several):
            return _at_least(count, [test_of(each) for each in several])


def _at_least(count: int, tests: Sequence[Test]) -> Test:
    def all_of(hits: AbstractSet[int], facts: Mapping[str, int]) -> bool:
        for test in tests:  # noqa: SIM110  # a generator would be made for each message
            if not test(hits, facts):
                return False
        return True

    def one_of(hits: AbstractSet[int], facts: Mapping[str, int]) -> bool:
        for test in tests:  # noqa: SIM110
            if test(hits, facts):
                return True
        return False

    def several_of(hits: AbstractSet[int], facts: Mapping[str, int]) -> bool:
        return sum([test(hits, facts) for test in tests]) >= count

    return all_of if count == len(tests) else one_of if count == 1 else several_of


def triggers(condition: Condition) -> frozenset[Token] | None:
    """Patterns and facts of which at least one must be there for it to hold; None where there are no such.

    A rule need not be looked at in a message that has none of its triggers.
    """
    match condition:
        case Pattern(number):
            return frozenset({number})
        case Fact(name, comparison, number):
            needed = (
                (comparison == ">")
                or (comparison in {">=", "=="} and number >= 1)
                or (comparison == "!=" and number == 0)
            )
            return frozenset({name}) if needed else None
        case Not(_):
            return None
        case AtLeast(count, several):
            found = [each for each in map(triggers, several) if each is not None]
            if count <= len(several) - len(found):
                return None  # those without triggers may be enough
            if count == len(several):  # each of them is needed: the rarest will do, and patterns are rarer than facts
                return min(found, key=lambda each: (any(isinstance(token, str) for token in each), len(each)))
            return frozenset().union(*found)


def named(condition: Condition) -> Iterator[Pattern | Fact]:
    """Every pattern and fact that it speaks of."""
    match condition:
        case Not(one):
            yield from named(one)
        case AtLeast(_, several):
            for each in several:
                yield from named(each)
        case _:
            yield condition


def parse(text: str, look_up: Callable[[str], Condition]) -> Condition:
    """Read a condition. `look_up` says what a name means, a fact without its comparison; it may raise ConditionError.

    Raises ConditionError.
    """
    if len(text) > LONGEST:
        raise ConditionError(f"it has more than {LONGEST} characters: make rules of its parts and name those")
    reader = _Reader(text, look_up)
    found = reader.condition(0)
    if reader.next:
        raise ConditionError(f"'{reader.next}' is not expected there; write 'and' or 'or' between two terms")
    if sum(1 for _ in named(found)) > MOST_TERMS:
        raise ConditionError(f"with the rules that it names it has more than {MOST_TERMS} terms")
    return found


class _Reader:
    def __init__(self, text: str, look_up: Callable[[str], Condition]) -> None:
        self._words: list[str] = []
        at = 0
        while text[at:].strip():
            word = _WORD.match(text, at)
            if word is None:
                raise ConditionError(f"'{text[at:].strip()[:20]}' is not expected there")
            self._words.append(word[0].strip())
            at = word.end()
        self._look_up = look_up

    @property
    def next(self) -> str:
        return self._words[0] if self._words else ""

    def condition(self, depth: int) -> Condition:
        several = [self._both(depth)]
        while self._take("or"):
            several.append(self._both(depth))
        return several[0] if len(several) == 1 else AtLeast(1, tuple(several))

    def _both(self, depth: int) -> Condition:
        several = [self._one(depth)]
        while self._take("and"):
            several.append(self._one(depth))
        return several[0] if len(several) == 1 else AtLeast(len(several), tuple(several))

    def _one(self, depth: int) -> Condition:
        if depth > DEEPEST:
            raise ConditionError(f"it is nested more than {DEEPEST} deep")
        if self._take("not"):
            return Not(self._one(depth + 1))
        if self._take("("):
            found = self.condition(depth + 1)
            self._need(")")
            return found
        if self.next.isdigit():
            return self._several(depth)
        word = self.next
        if not word or word in _RESERVED or not (word[0].isalpha() or word[0] == "_"):
            raise ConditionError(f"a name is missing before '{word}'" if word else "a name is missing at its end")
        self._words.pop(0)
        found = self._look_up(word)
        if self.next in _COMPARISONS:
            comparison = self._words.pop(0)
            if not isinstance(found, Fact):
                raise ConditionError(f"'{word}' is a pattern or a rule, which is true or not: only facts have numbers")
            if not self.next.isdigit():
                raise ConditionError(f"a number is missing after '{word} {comparison}'")
            return Fact(found.name, comparison, int(self._words.pop(0)))
        return found

    def _several(self, depth: int) -> Condition:
        count = int(self._words.pop(0))
        self._need("of")
        self._need("(")
        several = [self.condition(depth + 1)]
        while self._take(","):
            several.append(self.condition(depth + 1))
        self._need(")")
        if not 1 <= count <= len(several):
            raise ConditionError(f"'{count} of' {len(several)}: the number must be between 1 and {len(several)}")
        return AtLeast(count, tuple(several))

    def _take(self, word: str) -> bool:
        if self.next != word:
            return False
        self._words.pop(0)
        return True

    def _need(self, word: str) -> None:
        if not self._take(word):
            raise ConditionError(f"'{word}' is missing" + (f" before '{self.next}'" if self.next else " at its end"))
