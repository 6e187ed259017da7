"""Is the client's address on a DNS list, of unwanted senders or of welcome ones (RFC 5782)?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from gatekeeper.checks.base import Tools
from gatekeeper.dns.lists import DnsList, judge, outside, plain, reversed_labels
from gatekeeper.dns.resolver import Answer, ask_all
from gatekeeper.model import Finding, IPAddress, Kind, Mail, Missing, Rule, setting


@dataclass(frozen=True, slots=True)
class ListEvidence:
    """What a list answered: the addresses that led to this rule, and for how many seconds they are good.

    A subscriber's key is left out of zone and query.
    """

    zone: str
    query: str
    codes: tuple[str, ...]
    ttl: int


@dataclass(frozen=True)  # without slots, for what is worked out once
class Dnsbl:
    """[checks.dnsbl]"""

    name: ClassVar[str] = "dnsbl"
    ahead: ClassVar[bool] = True

    lists: tuple[DnsList, ...] = setting((), "The lists that are asked about the client's address.")

    def __post_init__(self) -> None:
        zones = Counter(each.suffix for each in self.lists)
        for zone, times in zones.items():
            if times > 1:
                raise ValueError(f"the zone {zone} stands there {times} times; write all its codes into one list")
        rules = Counter(rule for each in self.lists for rule in self._rule_names(each).values())
        for rule, times in rules.items():
            if times > 1:
                raise ValueError(f"{times} lists would find {rule}; give one of them another name")

    def rules(self) -> Sequence[Rule]:
        return [
            Rule(
                rule,
                each.scores[code],
                f"The client's address is on {each.shown}{f' ({code})' if code else ''}.",
                kind=Kind.LIST,
                enhanced="7.1",
            )
            for each in self.lists
            for code, rule in self._rule_names(each).items()
        ]

    async def inspect(self, mail: Mail, tools: Tools) -> Sequence[Finding | Missing]:
        address = mail.session.address
        if address is None or not outside(address):
            return ()
        address = plain(address)
        labels = reversed_labels(address)
        lists = self.lists if address.version == 4 else self._with_ipv6
        questions = [(f"{labels}.{each.suffix}", "A") for each in lists]
        answers = await ask_all(tools.resolver, questions)
        return [
            result
            for each, question in zip(lists, questions, strict=True)
            for result in self._read(each, address, answers[question])
        ]

    @cached_property
    def _with_ipv6(self) -> tuple[DnsList, ...]:
        return tuple(each for each in self.lists if each.ipv6)

    @staticmethod
    def _rule_names(each: DnsList) -> Mapping[str, str]:
        """The rule of each code of a list."""
        return {code: f"DNSBL_{each.name}_{code}" if code else f"DNSBL_{each.name}" for code in each.scores}

    def _read(self, each: DnsList, address: IPAddress, answer: Answer) -> Iterator[Finding | Missing]:
        if answer.certain and not answer.records:
            return
        rules = self._rule_names(each)
        if not answer.certain:
            yield Missing(f"dnsbl:{each.name}", tuple(rules.values()), answer.status.value)
            return
        said = judge(answer.records, each.meaning)
        if said.refused:
            why = f"refused by answering {', '.join(answer.records[:8])}"
            yield Missing(f"dnsbl:{each.name}", tuple(rules.values()), why)
        for listing in said.listed:
            yield Finding(
                rules[listing.name],
                ListEvidence(
                    each.shown, f"{reversed_labels(address)}.{each.shown}", listing.addresses, round(answer.ttl)
                ),
                f"{address} is on {each.shown} ({', '.join(listing.addresses)})",
            )
