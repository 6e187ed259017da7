"""Is the client's address on a DNS list, of unwanted senders or of welcome ones (RFC 5782)?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from gatekeeper.checks.base import Tools
from gatekeeper.dns.desk import Inquiry, Vote
from gatekeeper.dns.lists import DnsList, Family, outside, plain, reversed_labels
from gatekeeper.model import Finding, Group, IPAddress, Kind, Mail, Missing, Rule, setting


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
    families: ClassVar[tuple[Family, ...]] = (Family.IPV4, Family.IPV6)
    """What its lists are asked about, for whoever tests them."""

    lists: tuple[DnsList, ...] = setting((), "The lists that are asked about the client's address.")
    groups: Mapping[str, float] = field(
        default_factory=dict,
        hash=False,
        metadata={"about": "GROUP = points that the lists of a group count together at most, for or against."},
    )

    def __post_init__(self) -> None:
        zones = Counter(each.suffix for each in self.lists)
        for zone, times in zones.items():
            if times > 1:
                raise ValueError(f"the zone {zone} stands there {times} times; write all its codes into one list")
        rules = Counter(rule for each in self.lists for rule in self._rule_names(each).values())
        for rule, times in rules.items():
            if times > 1:
                raise ValueError(f"{times} lists would find {rule}; give one of them another name")
        for each in self.lists:
            if each.group and each.group not in self.groups:
                raise ValueError(
                    f'the group "{each.group}" of {each.name} has no cap; write {each.group} = 5.0 under groups'
                )
        for group, cap in self.groups.items():
            if not (math.isfinite(cap) and cap > 0):
                raise ValueError(f"groups: the cap of {group} must be above 0")
            if not any(each.group == group for each in self.lists):
                raise ValueError(f'groups: no list has the group "{group}"')

    def rules(self) -> Sequence[Rule]:
        return [
            Rule(
                rule,
                each.scores[code],
                f"The client's address is on {each.shown}{f' ({code})' if code else ''}.",
                kind=Kind.LIST,
                enhanced="7.1",
                group=self._group(each),
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
        family, lists = (Family.IPV4, self.lists) if address.version == 4 else (Family.IPV6, self._with_ipv6)
        votes = await tools.desk.poll([Inquiry(each, labels) for each in lists], family, resolver=tools.resolver)
        return [result for vote in votes for result in self._read(vote, address)]

    @cached_property
    def _with_ipv6(self) -> tuple[DnsList, ...]:
        return tuple(each for each in self.lists if each.ipv6)

    def _group(self, each: DnsList) -> Group | None:
        return Group(f"DNSBL_GROUP_{each.group.upper()}", self.groups[each.group]) if each.group else None

    @staticmethod
    def _rule_names(each: DnsList) -> Mapping[str, str]:
        """The rule of each code of a list."""
        return {code: f"DNSBL_{each.name}_{code}" if code else f"DNSBL_{each.name}" for code in each.scores}

    def _read(self, vote: Vote, address: IPAddress) -> Iterator[Finding | Missing]:
        if not (vote.why or vote.listed):
            return
        each = vote.inquiry.list
        rules = self._rule_names(each)
        if vote.why:
            yield Missing(f"dnsbl:{each.name}", tuple(rules.values()), vote.why)
        for listing in vote.listed:
            yield Finding(
                rules[listing.name],
                ListEvidence(each.shown, f"{vote.inquiry.labels}.{each.shown}", listing.addresses, round(vote.ttl)),
                f"{address} is on {each.shown} ({', '.join(listing.addresses)})",
            )
