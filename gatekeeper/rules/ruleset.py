"""All rules in force, and which of them a message meets. Built once a process; each message is looked at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final, NamedTuple

from gatekeeper.message.content import Content
from gatekeeper.message.domains import registered_domain
from gatekeeper.message.header import author_of, header_of
from gatekeeper.message.links import Place
from gatekeeper.model import Mail, Message
from gatekeeper.rules import automaton
from gatekeeper.rules.automaton import Automaton, PatternError, cache_directory
from gatekeeper.rules.brands import BEGINNING, brand_facts, brand_pattern
from gatekeeper.rules.condition import Fact, Pattern, Test, Token, named, test_of, triggers
from gatekeeper.rules.facts import Surroundings, facts_of
from gatekeeper.rules.files import read_files, stamps
from gatekeeper.rules.loading import Loader, check_names
from gatekeeper.rules.rule import BRAND, HEADER, Compiled, ContentRule, Expression, RuleProblem, RulesUnusable
from gatekeeper.rules.text import normal_octets
from gatekeeper.wire.headers import decode_words

SEEN_MOST: Final = 96 * 1024
"""Characters of a message's text that are looked at, of each kind; of more, the beginning and the end."""
RAW_MOST: Final = 64 * 1024
FIELD_MOST: Final = 4000
FIELDS_MOST: Final = 20
LINKS_MOST: Final = 200
HOSTS_MOST: Final = 5
"""Hosts that are named of one rule."""
HOST_MOST: Final = 253
"""Octets of one; no name is longer."""
_SEEN: Final = frozenset({Place.ANCHOR, Place.FORM, Place.TEXT, Place.SUBJECT, Place.NESTED})


@dataclass(frozen=True, slots=True)
class Match:
    """A rule that was found; `places` are where its patterns matched, `facts` what it went by, both for people. `hosts`
    are those of the links that matched, from the network: at most HOSTS_MOST, in lower case A-labels.
    """

    rule: ContentRule
    places: tuple[str, ...]
    facts: tuple[str, ...]
    hosts: tuple[str, ...] = ()


class Ruleset:
    """Rules from files. Raises RulesUnusable when they are wrong; `prepare` when the engine cannot take them."""

    def __init__(self, paths: Sequence[str] = (), disabled: Sequence[str] = (), *, shipped: bool = True) -> None:
        sources, problems = read_files(paths, shipped=shipped)
        self._loader = loader = Loader()
        found = loader.load(sources)
        problems += loader.problems
        if not problems:
            problems += check_names([each.rule.name for each in found.rules], disabled)
        if problems:
            raise RulesUnusable(problems)
        self.brands = found.brands
        self.groups = found.groups
        self.expressions = found.expressions
        on = [each for each in found.rules if each.rule.name not in disabled]
        self.switched_off = tuple(each.rule for each in found.rules if each.rule.name in disabled)
        self.left_out = tuple(each.rule for each in on if not automaton.AVAILABLE and _needs_engine(each))
        self._rules = [each for each in on if automaton.AVAILABLE or not _needs_engine(each)]
        self._asked = [_asked(each) for each in self._rules]
        self._always: list[int] = []
        self._by_token: dict[Token, list[int]] = {}
        for index, each in enumerate(self._rules):
            tokens = triggers(each.condition)
            if tokens is None:
                self._always.append(index)
            for token in tokens or ():
                self._by_token.setdefault(token, []).append(index)
        self._accepted = _accepted(found.expressions)
        names = {brand_pattern(name): name for name in found.brands}
        self._brand_names = {
            number: names[each.pattern] for number, each in enumerate(found.expressions) if each.place == BRAND
        }
        self._fields = [place.removeprefix(HEADER) for place in self._accepted if place.startswith(HEADER)]

    @property
    def rules(self) -> list[ContentRule]:
        """Those that can be found."""
        return [each.rule for each in self._rules]

    def prepare(self) -> int:
        """Compile everything; the octets of the automaton. Raises RulesUnusable."""
        return self._automaton.size

    @cached_property
    def _automaton(self) -> Automaton:
        patterns = [each.pattern for each in self.expressions]
        try:
            return Automaton(patterns, cache=cache_directory())
        except PatternError as wrong:
            file, path = ("", ("paths",)) if wrong.number is None else self._loader.owner(wrong.number)
            mend = "docs/rules.md says what patterns may have"
            raise RulesUnusable(
                [RuleProblem(file, path, f"the engine cannot take this pattern: {wrong}; {mend}")]
            ) from None

    def matches(self, mail: Mail, message: Message, content: Content, around: Surroundings) -> list[Match]:
        """Every rule that the message meets. In time linear in what is looked at, which is bounded."""
        seen, words, seen_parts = _texts([(text.part.number, text.seen) for text in content.texts])
        hidden, hidden_words, hidden_parts = _texts(
            [(text.part.number, text.hidden) for text in content.texts if text.hidden]
        )
        facts = facts_of(mail, message, content, words=words, hidden_words=hidden_words, around=around)
        hits: dict[int, _Hit] = {}  # where each pattern matched first
        named_brands: dict[str, list[str]] = {}
        for place, octets in self._views(message, content, seen, hidden):
            accepted = self._accepted[place]
            for number, end in self._automaton.scan(octets).items():
                if number in self._brand_names:
                    if place != "seen" or end <= BEGINNING:
                        named_brands.setdefault(place, []).append(self._brand_names[number])
                elif number in accepted and number not in hits:
                    parts = seen_parts if place == "seen" else hidden_parts if place == "hidden" else ()
                    hits[number] = _Hit(place, octets, end, parts)
        if named_brands:
            domains = author_of(message).domains
            facts |= brand_facts(named_brands, self.brands, content, registered_domain(domains[0]) if domains else "")
        due = set(self._always)
        for token in self._by_token.keys() & [*hits, *facts]:
            due.update(self._by_token[token])
        if not due:
            return []
        met, asked = hits.keys(), self._asked
        return [_match(asked[index], hits, facts) for index in sorted(due) if asked[index].test(met, facts)]

    def _views(self, message: Message, content: Content, seen: bytes, hidden: bytes) -> list[tuple[str, bytes]]:
        """The places that a rule asks about and in which something stands."""
        header, asked = header_of(message), self._accepted
        views = [("seen", seen)] if seen and "seen" in asked else []
        if "subject" in asked:
            subjects = [normal_octets(decode_words(one.text[:2000])) for one in header.all("subject")[:3]]
            views.append(("subject", b"\n".join(subjects)))
        if "author" in asked:
            names = [normal_octets(decode_words(box.name[:500])) for box in author_of(message).mailboxes[:5]]
            views.append(("author", b"\n".join(names)))
        if hidden and "hidden" in asked:
            views.append(("hidden", hidden))
        if content.links.links and ("host" in asked or "link" in asked):
            links = [link.url for link in content.links.links[:LINKS_MOST] if link.place in _SEEN]
            if "host" in asked:
                views.append(("host", _octets("\n".join(dict.fromkeys([url.host for url in links])))))
            if "link" in asked:
                views.append(
                    ("link", _octets("\n".join([f"{url.scheme}://{url.host}{url.rest[:500]}" for url in links])))
                )
        if "names" in asked:
            files = [normal_octets(name[:300]) for part in content.mime.leaves for name in part.names[:3]]
            views.append(("names", b"\n".join(files)))
        if "raw" in asked:
            views.append(("raw", next(iter(message.body.chunks()), b"")[:RAW_MOST]))
        for name in self._fields:
            fields = header.by_name.get(name)
            if fields:
                written = [decode_words(one.text[:FIELD_MOST]) for one in fields[:FIELDS_MOST]]
                views.append((HEADER + name, _octets("\n".join(written))))
        return [view for view in views if view[1]]


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "replace")


_VIEWS: Final[Mapping[str, tuple[str, ...]]] = {"text": ("subject", "seen"), BRAND: ("author", "subject", "seen")}
"""Places that are several views."""


def _needs_engine(each: Compiled) -> bool:
    """Names of brands are patterns too."""
    return any(isinstance(one, Pattern) or one.name.startswith("brand_") for one in named(each.condition))


def _accepted(expressions: Sequence[Expression]) -> dict[str, frozenset[int]]:
    """Which expressions count in which view of the message."""
    found: dict[str, set[int]] = {}
    for number, each in enumerate(expressions):
        for place in _VIEWS.get(each.place, (each.place,)):
            found.setdefault(place, set()).add(number)
    return {place: frozenset(numbers) for place, numbers in found.items()}


def _texts(texts: Iterable[tuple[str, str]]) -> tuple[bytes, int, tuple[str, ...]]:
    """Normalised, a line for each part; how many words; and the parts' numbers."""
    lines, numbers = [], []
    room = SEEN_MOST
    for number, text in texts:
        if room <= 0:
            break
        if len(text) > room:
            text = f"{text[: room * 2 // 3]} {text[-room // 3 :]}"  # noqa: PLW2901  # spam is padded in the middle
        room -= len(text)
        if line := normal_octets(text):
            lines.append(line)
            numbers.append(number)
    octets = b"\n".join(lines)
    return octets, octets.count(b" ") + 1 if octets else 0, tuple(numbers)


class _Hit(NamedTuple):
    """Where a pattern matched: up to which octet of which view."""

    place: str
    octets: bytes
    end: int
    parts: Sequence[str]

    def __str__(self) -> str:
        """The place in words; never what stands there."""
        if self.place.startswith(HEADER):
            return f"the field {self.place.removeprefix(HEADER)}"
        words = _WORDS[self.place]
        if not self.parts:
            return words
        number = self.parts[min(self.octets.count(b"\n", 0, max(self.end - 1, 0)), len(self.parts) - 1)]
        return f"{words} of part {number}" if number else words

    @property
    def host(self) -> str:
        """The host of the link that matched; "" elsewhere."""
        if self.place not in ("host", "link"):
            return ""
        begin = self.octets.rfind(b"\n", 0, max(self.end - 1, 0)) + 1
        line = self.octets[begin:].partition(b"\n")[0]
        if self.place == "link":
            line = _AFTER_HOST.split(line.partition(b"://")[2], maxsplit=1)[0]
        return line[:HOST_MOST].decode("utf-8", "replace")


_AFTER_HOST: Final = re.compile(rb"[/\\?#]")
_WORDS: Final[Mapping[str, str]] = {
    "subject": "the subject",
    "author": "the author's name",
    "seen": "the text",
    "hidden": "the hidden text",
    "link": "a link",
    "host": "a link's host",
    "names": "a file's name",
    "raw": "the body as it came",
}


class _Asked(NamedTuple):
    """A rule as each message is asked by it: whether it holds, and the patterns and facts that it speaks of."""

    rule: ContentRule
    test: Test
    patterns: tuple[int, ...]
    facts: tuple[str, ...]


def _asked(each: Compiled) -> _Asked:
    spoken_of = list(named(each.condition))
    patterns = dict.fromkeys(one.number for one in spoken_of if isinstance(one, Pattern))
    facts = dict.fromkeys(one.name for one in spoken_of if isinstance(one, Fact))
    return _Asked(each.rule, test_of(each.condition), tuple(patterns), tuple(facts))


def _match(each: _Asked, hits: Mapping[int, _Hit], facts: Mapping[str, int]) -> Match:
    matched = [hits[number] for number in each.patterns if number in hits]
    places = dict.fromkeys([str(hit) for hit in matched])
    hosts = dict.fromkeys([hit.host for hit in matched if hit.host])
    told = tuple([f"{name}={facts[name]}" for name in each.facts if name in facts])
    return Match(each.rule, tuple(places), told, tuple(hosts)[:HOSTS_MOST])


def ruleset(paths: tuple[str, ...] = (), disabled: tuple[str, ...] = (), *, shipped: bool = True) -> Ruleset:
    """The rules of those files; made once for files that have not changed. Raises RulesUnusable."""
    return _ruleset(paths, disabled, shipped, stamps(paths, shipped=shipped))


@lru_cache(maxsize=8)
def _ruleset(paths: tuple[str, ...], disabled: tuple[str, ...], shipped: bool, stamp: object) -> Ruleset:  # noqa: ARG001  # tells files apart
    return Ruleset(paths, disabled, shipped=shipped)
