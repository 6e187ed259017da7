"""Is the client's address on a DNS list, of unwanted senders or of welcome ones (RFC 5782)?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from gatekeeper.checks.base import Tools
from gatekeeper.checks.dns_lists import groups_setting, require_sound, rules_of
from gatekeeper.checks.keys import client_key
from gatekeeper.dns.desk import Inquiry, Vote
from gatekeeper.dns.lists import DnsList, Family, outside, plain, reversed_labels
from gatekeeper.model import Finding, IPAddress, Mail, Missing, Rule, setting


@dataclass(frozen=True, slots=True)
class ListEvidence:
    """What a list answered: the addresses that led to this rule, and for how many seconds they are good.

    `seconds` is how long the question took; None where none was sent. A subscriber's key is left out of zone and query.
    """

    zone: str
    query: str
    codes: tuple[str, ...]
    ttl: int
    seconds: float | None = None


@dataclass(frozen=True)  # without slots, for what is worked out once
class Dnsbl:
    """[checks.dnsbl]"""

    name: ClassVar[str] = "dnsbl"
    ahead: ClassVar[bool] = True
    families: ClassVar[tuple[Family, ...]] = (Family.IPV4, Family.IPV6)
    """What its lists are asked about, for whoever tests them."""

    lists: tuple[DnsList, ...] = setting((), "The lists that are asked about the client's address.")
    groups: Mapping[str, float] = groups_setting()

    def __post_init__(self) -> None:
        require_sound(self.lists, self.groups)

    def rules(self) -> Sequence[Rule]:
        return rules_of(self.lists, self.groups, lambda _: "The client's address")

    async def inspect(self, mail: Mail, tools: Tools) -> Sequence[Finding | Missing]:
        address = mail.session.address
        if address is None or not outside(address):
            return ()
        address = plain(address)
        labels = reversed_labels(address)
        family, lists = (Family.IPV4, self.lists) if address.version == 4 else (Family.IPV6, self._with_ipv6)
        inquiries = [Inquiry(each, labels) for each in lists]
        votes = await tools.desk.poll(inquiries, family, resolver=tools.resolver, client=client_key(address))
        return [result for vote in votes for result in self._read(vote, address)]

    @cached_property
    def _with_ipv6(self) -> tuple[DnsList, ...]:
        return tuple(each for each in self.lists if each.ipv6)

    def _read(self, vote: Vote, address: IPAddress) -> Iterator[Finding | Missing]:
        if not (vote.why or vote.listed):
            return
        each = vote.inquiry.list
        if vote.why:
            yield Missing(f"{self.name}:{each.name}", tuple(each.rules.values()), vote.why)
        query = f"{vote.inquiry.labels}.{each.shown}"
        for listing in vote.listed:
            evidence = ListEvidence(each.shown, query, listing.addresses, round(vote.ttl), vote.seconds)
            text = f"{address} is on {each.shown} ({', '.join(listing.addresses)})"
            yield Finding(each.rules[listing.name], evidence, text)
