"""The operator's lists, ready to be asked: which line is the first that a mail meets. Pure.

However long the lists, only lines with a star in the middle of a pattern are tried one by one.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Final

from gatekeeper.model import IPAddress
from gatekeeper.wire.list_lines import ABOUT, ListEntry

Facts = Mapping[str, str | IPAddress]
"""What is known of a mail, by the words of `ABOUT`: "address" is an address, the others text in lower case."""
_BITS: Final = {4: 32, 6: 128}


@dataclass(frozen=True, slots=True)
class Met:
    """The first entry that a mail meets by what is known of it; `final` when no other fact could bring an earlier."""

    entry: ListEntry
    final: bool


class ListIndex:
    """Entries in their order; the first that is met counts. Those of `then` come after them, and are not built again.

    `later_actions` are those of entries about anything but addresses.
    """

    def __init__(self, entries: Sequence[ListEntry] = (), then: ListIndex | None = None) -> None:
        self._own = tuple(entries)
        self._then = then
        self._exact: dict[tuple[str, str], list[int]] = defaultdict(list)
        self._below: dict[tuple[str, str], list[int]] = defaultdict(list)
        self._networks: dict[tuple[int, int], dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        self._wild: dict[str, list[tuple[int, re.Pattern[str]]]] = defaultdict(list)
        self._first: dict[str, int] = {}
        for number, entry in enumerate(self._own):
            self._first.setdefault(entry.about, number)
            self._add(number, entry)
        self.later_actions: frozenset[str] = frozenset(entry.action for entry in self._own if entry.about != "address")
        if then is not None:
            self.later_actions |= then.later_actions

    @property
    def entries(self) -> tuple[ListEntry, ...]:
        """All of them, put together anew each time."""
        return self._own if self._then is None else self._own + self._then.entries

    def __len__(self) -> int:
        return len(self._own) + (0 if self._then is None else len(self._then))

    def has(self, about: str) -> bool:
        return about in self._first or (self._then is not None and self._then.has(about))

    def first(
        self, facts: Facts, *, now: float, known: frozenset[str], usable: Callable[[ListEntry], bool] = lambda _: True
    ) -> Met | None:
        """The first entry that has not ended and is `usable`. `known` are the facts that will not change any more."""
        entries = self._own
        best = len(entries)
        for about, value in facts.items():
            for number in self._candidates(about, value):
                if number < best and not entries[number].ended(now) and usable(entries[number]):
                    best = number
        later = [self._first[about] for about in ABOUT if about in self._first and about not in known]
        if best < len(entries):
            return Met(entries[best], final=all(number > best for number in later))
        met = None if self._then is None else self._then.first(facts, now=now, known=known, usable=usable)
        return Met(met.entry, final=False) if met is not None and later else met

    def _add(self, number: int, entry: ListEntry) -> None:
        pattern = entry.pattern
        if entry.about == "address":
            network = ip_network(pattern)
            shift = _BITS[network.version] - network.prefixlen
            self._networks[network.version, shift][int(network.network_address) >> shift].append(number)
            return
        head, below, rest = pattern.partition("*.")
        if "*" not in pattern:
            self._exact[entry.about, pattern].append(number)
        elif below and head in ("", "@") and "*" not in rest:
            self._below[entry.about, rest].append(number)
        else:
            wild = "[^@]*" if entry.about in ("sender", "recipient") else ".*"
            text = "*" + pattern if pattern.startswith("@") else pattern
            self._wild[entry.about].append((number, re.compile(wild.join(map(re.escape, text.split("*"))), re.DOTALL)))

    def _candidates(self, about: str, value: str | IPAddress) -> Iterator[int]:
        """The numbers of entries that the value meets, in no order."""
        if not isinstance(value, str):
            number = int(value)
            for (version, shift), networks in self._networks.items():
                if version == value.version and (found := networks.get(number >> shift)):
                    yield from found
            return
        yield from self._exact.get((about, value), ())
        domain = value
        if about in ("sender", "recipient"):
            domain = value.rpartition("@")[2]
            yield from self._exact.get((about, "@" + domain), ())
        if self._below:
            while (dot := domain.find(".")) >= 0:
                domain = domain[dot + 1 :]
                yield from self._below.get((about, domain), ())
        for number, pattern in self._wild.get(about, ()):
            if pattern.fullmatch(value):
                yield number
