"""Files of rules -> rules that can be run, with every mistake found at once and each named with file, key and mend."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from gatekeeper.message.domains import registered_domain
from gatekeeper.model import Kind
from gatekeeper.rules.brands import LONGEST as LONGEST_BRAND
from gatekeeper.rules.brands import brand_pattern
from gatekeeper.rules.condition import (
    DEEPEST,
    AtLeast,
    Condition,
    ConditionError,
    Fact,
    Pattern,
    parse,
)
from gatekeeper.rules.facts import FACTS
from gatekeeper.rules.files import Source
from gatekeeper.rules.rule import (
    BRAND,
    HEADER,
    NORMALISED,
    PLACES,
    Compiled,
    ContentRule,
    Expression,
    RuleFile,
    RuleProblem,
)
from gatekeeper.rules.text import normal_sign, normalise

MOST_RULES: Final = 2000
MOST_EXPRESSIONS: Final = 5000
LONGEST: Final = 2000
"""Characters of one pattern."""
KINDS: Final = {"content": Kind.CONTENT, "form": Kind.FORM, "identity": Kind.IDENTITY}

_NAME: Final = re.compile(r"[A-Z][A-Z0-9_]{2,59}")
_PATTERN_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,39}")
_FIELD: Final = re.compile(r"[a-z0-9!#$%&'*+^_`|~-]{1,60}")
_KEYS: Final = ("about", "score", "when", "match", "no_match", "source", "group", "kind", "header", *PLACES)
_LOOKS_AROUND: Final = re.compile(r"\(\?<?[=!]|\\[1-9]|\(\?>|[*+?}]\+")


_WRONG_ITSELF: Final = Fact("")
"""In the place of a rule with a mistake, which has been said."""


class Loader:
    """Reads all files together: rules may name those of other files."""

    def __init__(self) -> None:
        self.problems: list[RuleProblem] = []
        self._tables: dict[str, tuple[str, Mapping[str, Any]]] = {}
        self._brands: dict[str, tuple[str, ...]] = {}
        self._groups: dict[str, float] = {}
        self._expressions: dict[Expression, int] = {}
        self._owners: list[tuple[str, tuple[str, ...]]] = []  # of each expression: the file and the key
        self._patterns: dict[str, dict[str, int]] = {}  # of each rule: its patterns' numbers by name
        self._conditions: dict[str, Condition | None] = {}
        self._under_way: list[str] = []
        self._wrong: set[str] = set()  # rules with a pattern that cannot be right

    def load(self, sources: Iterable[Source]) -> RuleFile:
        """What the files say; what is wrong stands in `problems` afterwards."""
        for source in sources:
            self._gather(source)
        if len(self._tables) > MOST_RULES:
            name, (file, _) = list(self._tables.items())[MOST_RULES]
            self._problem(file, (name,), f"more than {MOST_RULES} rules")
        found = []
        for name, (file, table) in self._tables.items():
            before = len(self.problems)
            self._patterns[name] = self._read_patterns(name, file, table)
            if len(self.problems) > before:
                self._wrong.add(name)
        for name, (file, table) in self._tables.items():
            rule = self._rule(name, file, table)
            condition = self._condition(name)
            if rule is not None and condition is not None:
                found.append(Compiled(rule, condition))
        if len(self._expressions) > MOST_EXPRESSIONS:
            self._problem("", ("paths",), f"more than {MOST_EXPRESSIONS} patterns in all files")
        return RuleFile(tuple(found), tuple(self._expressions), self._brands, self._groups)

    def owner(self, number: int) -> tuple[str, tuple[str, ...]]:
        """The file and the key of an expression."""
        return self._owners[number]

    def _gather(self, source: Source) -> None:
        for name, table in source.data.items():
            if name == "groups":
                self._gather_groups(source.file, table)
            elif name == "brands":
                self._gather_brands(source.file, table)
            elif not _NAME.fullmatch(name) or name.endswith("_GROUP") or "_GROUP_" in name:
                near = _near(name, ("groups", "brands"))
                self._problem(source.file, (name,), f"is no name of a rule: write [GIFT_CARD], capitals only{near}")
            elif not isinstance(table, dict):
                self._problem(source.file, (name,), f"must be a table: [{name}]")
            elif name in self._tables:
                mend = "give this one another name; [checks.rules] disabled switches the other off"
                self._problem(source.file, (name,), f"{self._tables[name][0]} has a rule of that name already: {mend}")
            else:
                self._tables[name] = (source.file, table)

    def _gather_groups(self, file: str, table: Any) -> None:
        for name, cap in table.items() if isinstance(table, dict) else ():
            if not _PATTERN_NAME.fullmatch(name):
                self._problem(file, ("groups", name), "a group's name is in small letters")
            elif isinstance(cap, bool) or not isinstance(cap, int | float) or not (math.isfinite(cap) and cap > 0):
                self._problem(
                    file, ("groups", name), "must be a number above 0: the most that its rules count together"
                )
            elif name in self._groups:
                self._problem(file, ("groups", name), "another file has given it a cap already")
            else:
                self._groups[name] = float(cap)

    def _gather_brands(self, file: str, table: Any) -> None:
        for name, domains in table.items() if isinstance(table, dict) else ():
            path = ("brands", name)
            if normalise(name) != name or not 1 <= len(name.split()) <= LONGEST_BRAND:
                self._problem(file, path, f'write it as "{normalise(name)}", of at most {LONGEST_BRAND} words')
            elif not isinstance(domains, list) or not all(isinstance(one, str) for one in domains):
                self._problem(file, path, 'must be a list of the domains that it writes from, such as ["example.com"]')
            elif strange := [one for one in domains if registered_domain(one) != one]:
                mend = registered_domain(strange[0]) or "example.com"
                self._problem(file, path, f'"{strange[0]}" is no registered domain: write "{mend}"')
            else:
                self._brands[name] = tuple(dict.fromkeys([*self._brands.get(name, ()), *domains]))
                self._expression(Expression(BRAND, brand_pattern(name)), file, path)

    # --- one rule ------------------------------------------------------------------------------------------------

    def _rule(self, name: str, file: str, table: Mapping[str, Any]) -> ContentRule | None:
        before = len(self.problems)
        for key in table:
            if key not in _KEYS:
                self._problem(file, (name, key), "unknown key" + _near(key, _KEYS))
        about = self._text(name, "about", required='a sentence for humans, such as "The message asks for gift cards."')
        score = table.get("score")
        if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
            self._problem(file, (name, "score"), "must be a number, such as 0.5")
            score = 0.0
        elif abs(score * 1000 - round(score * 1000)) > 1e-6:
            self._problem(file, (name, "score"), f"{score!r} has more than three decimals: write {round(score, 3)!r}")
        kind = self._text(name, "kind") or "content"
        if kind not in KINDS:
            self._problem(file, (name, "kind"), f"must be one of {', '.join(KINDS)}" + _near(kind, KINDS))
        group = self._text(name, "group")
        if group and group not in self._groups:
            mend = f"write {group} = 2.0 under [groups]"
            self._problem(file, (name, "group"), f'"{group}" has no cap: {mend}{_near(group, self._groups)}')
        if group and kind == "form":
            self._problem(file, (name, "group"), "rules of kind form have a cap together: leave the group out")
        match, no_match = (self._messages(name, key) for key in ("match", "no_match"))
        if len(self.problems) > before:
            return None
        return ContentRule(
            name=name,
            about=about,
            score=float(score),
            file=file,
            kind=KINDS[kind],
            group=group,
            source=self._text(name, "source"),
            match=match,
            no_match=no_match,
        )

    def _text(self, rule: str, key: str, *, required: str = "") -> str:
        file, table = self._tables[rule]
        value = table.get(key, "")
        if not isinstance(value, str):
            self._problem(file, (rule, key), 'must be text in quotes, such as "…"')
            return ""
        if required and not value.strip():
            self._problem(file, (rule, key), f"is required: {required}")
        return value

    def _messages(self, rule: str, key: str) -> tuple[str, ...]:
        file, table = self._tables[rule]
        given = table.get(key)
        given = [given] if isinstance(given, str) else given
        if not isinstance(given, list) or not given or not all(isinstance(one, str) for one in given):
            must = "must" if key == "match" else "must not"
            self._problem(
                file, (rule, key), f"is required: a message in '''...''' that it {must} match, or a list of them"
            )
            return ()
        return tuple(given)

    def _read_patterns(self, rule: str, file: str, table: Mapping[str, Any]) -> dict[str, int]:
        """The numbers of the rule's patterns, by name; those without a name are called after their place."""
        found: dict[str, int] = {}
        for place in PLACES:
            if place in table:
                self._place(rule, file, (place,), table[place], place, found=found)
        header = table.get("header", {})
        if not isinstance(header, dict):
            self._problem(file, (rule, "header"), "must name a field: header.x-mailer = '…'")
            return found
        for field, value in header.items():
            if not _FIELD.fullmatch(field.lower()):
                self._problem(file, (rule, "header", field), "is no name of a header field")
            elif field != field.lower():
                self._problem(file, (rule, "header", field), f"write it in small letters: header.{field.lower()}")
            else:
                self._place(rule, file, ("header", field), value, HEADER + field, found=found)
        return found

    def _place(
        self, rule: str, file: str, key: tuple[str, ...], value: Any, place: str, *, found: dict[str, int]
    ) -> None:
        called = key[-1].replace("-", "_")
        for name, pattern in (value if isinstance(value, dict) else {called: value}).items():
            path = (rule, *key, name) if isinstance(value, dict) else (rule, *key)
            if not isinstance(pattern, str) or not pattern:
                self._problem(
                    file, path, "must be a pattern in single quotes, such as 'gift ?card', or a table of them"
                )
            elif not _PATTERN_NAME.fullmatch(name) or (name in FACTS and isinstance(value, dict)):
                taken = "is a fact's name" if name in FACTS else "is no name for a pattern: small letters, digits and _"
                self._problem(file, path, f"{taken}; give it another")
            elif name in found:
                self._problem(file, path, "the rule has another pattern of that name")
            elif wrong := _unfit(pattern, place):
                self._problem(file, path, wrong)
            else:
                found[name] = self._expression(Expression(place, pattern), file, path)

    def _expression(self, expression: Expression, file: str, path: tuple[str, ...]) -> int:
        if expression not in self._expressions:
            self._expressions[expression] = len(self._expressions)
            self._owners.append((file, path))
        return self._expressions[expression]

    # --- its condition -------------------------------------------------------------------------------------------

    def _condition(self, name: str) -> Condition | None:
        """The rule's condition; None where it is wrong, which has been said then."""
        if name in self._conditions:
            return self._conditions[name]
        if name in self._wrong:
            return None  # what is missing stands there, and is wrong
        file, table = self._tables[name]
        patterns = self._patterns[name]
        self._under_way.append(name)
        found: Condition | None = None
        when = table.get("when")
        try:
            if when is None:
                several = tuple(Pattern(number) for number in patterns.values())
                if several:
                    found = several[0] if len(several) == 1 else AtLeast(len(several), several)
                else:
                    self._problem(
                        file, (name,), "has neither a pattern nor a condition: write seen = '…' or when = \"…\""
                    )
            elif not isinstance(when, str):
                self._problem(file, (name, "when"), 'must be a condition in quotes, such as "links > 0 and not list"')
            else:
                spoken: set[str] = set()
                found = parse(when, lambda word: self._named(word, name, spoken))
                if unused := [each for each in patterns if each not in spoken]:
                    self._problem(file, (name, "when"), f"does not speak of the pattern '{unused[0]}'")
        except ConditionError as wrong:
            self._problem(file, (name, "when"), str(wrong))
            found = None
        self._under_way.pop()
        self._conditions[name] = found
        return found

    def _named(self, word: str, rule: str, spoken: set[str]) -> Condition:
        """What a word of a rule's condition means."""
        patterns = self._patterns[rule]
        if word in patterns:
            spoken.add(word)
            return Pattern(patterns[word])
        if word in FACTS:
            return Fact(word)
        if word not in self._tables:
            near = _near(word, [*patterns, *FACTS, *self._tables])
            raise ConditionError(f"'{word}' is neither a pattern of the rule, nor a fact, nor another rule{near}")
        if word in self._under_way:
            raise ConditionError(f"it names {word}, which names this one")
        if len(self._under_way) > DEEPEST:
            raise ConditionError(f"rules that name rules are nested more than {DEEPEST} deep")
        return self._condition(word) or _WRONG_ITSELF

    def _problem(self, file: str, path: tuple[str, ...], text: str) -> None:
        self.problems.append(RuleProblem(file, path, text))


def _unfit(pattern: str, place: str) -> str:
    """Why a pattern cannot be right, with the mend; "" where it can. The engine may refuse it all the same."""
    if len(pattern) > LONGEST:
        return f"it has more than {LONGEST} characters: make several of it"
    if _LOOKS_AROUND.search(re.sub(r"\\[^1-9]", "", pattern)):
        return (
            "look-around, back references and possessive repeats cannot be matched in linear time: write what must "
            "not be there as a pattern of its own, and `not` in `when`"
        )
    if any(sign < " " for sign in pattern):
        return "it has a control character, as \\b becomes between double quotes: put patterns in single quotes"
    in_class, at = False, 0
    while at < len(pattern):
        sign = pattern[at]
        if sign == "\\":
            at += 2
            continue
        if sign == "[" and not in_class:
            in_class = True
            at += 2 if pattern[at + 1 : at + 2] == "]" else 1
            continue
        if sign == "]":
            in_class = False
        if not sign.isascii():
            if in_class:
                return f"'{sign}' in brackets would be taken for single octets: write (?:{sign}|…)"
            if pattern[at + 1 : at + 2] in set("?*+{"):
                return f"what is repeated after '{sign}' would be a single octet: write (?:{sign}){pattern[at + 1]}"
        if place in NORMALISED and not sign.isspace() and (plain := normal_sign(sign)) != sign:
            return (
                f"the text there is normalised, and never has '{sign}': write '{plain}'"
                if plain
                else (f"the text there is normalised, and never has U+{ord(sign):04X}: leave it out")
            )
        at += 1
    return ""


def _near(word: str, choices: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(choices), 1)
    return f"; did you mean '{near[0]}'?" if near else ""


def check_names(rules: Sequence[str], disabled: Sequence[str]) -> list[RuleProblem]:
    """What is switched off must be there."""
    return [
        RuleProblem("", ("disabled",), f'there is no rule "{name}"' + _near(name, rules))
        for name in disabled
        if name not in rules
    ]
