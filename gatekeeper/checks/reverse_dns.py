"""Does the client's address have a name, and does the name lead back to it (RFC 1912 §2.1, RFC 8601 §3, "iprev")?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from gatekeeper.checks.base import ReverseName, Tools
from gatekeeper.dns.lists import outside, plain
from gatekeeper.dns.resolver import Answer, Status, ask_all
from gatekeeper.model import Finding, IPAddress, Kind, Mail, Missing, Rule, setting
from gatekeeper.wire.address import normal_domain

__all__ = ["ReverseDns", "ReverseName"]

NONE = "RDNS_NONE"
UNCONFIRMED = "RDNS_UNCONFIRMED"
CONFIRMED = "RDNS_CONFIRMED"


@dataclass(frozen=True, slots=True)
class ReverseDns:
    """[checks.reverse_dns]"""

    name: ClassVar[str] = "reverse_dns"

    names: int = setting(5, "How many of an address's names are looked up at most.")

    def __post_init__(self) -> None:
        if not 1 <= self.names <= 20:
            raise ValueError("names must be from 1 to 20")

    def rules(self) -> Sequence[Rule]:
        return [
            Rule(NONE, 1.0, "The client's address has no name in DNS.", kind=Kind.FORM, enhanced="7.25"),
            Rule(UNCONFIRMED, 0.6, "The client's name does not lead back to it.", kind=Kind.FORM, enhanced="7.25"),
            Rule(CONFIRMED, 0.0, "The client's name leads back to it.", kind=Kind.FORM, enhanced="7.25"),
        ]

    async def inspect(self, mail: Mail, tools: Tools) -> Sequence[Finding | Missing]:
        """A name that a trusted peer told is looked up first, and believed no more than any other."""
        address = mail.session.address
        if address is None or not outside(address):
            return ()
        address = plain(address)
        answer = await tools.resolver.ask(address.reverse_pointer, "PTR")
        if not answer.certain:
            return (_missing(answer),)
        if answer.status is not Status.OK:
            return (Finding(NONE, None, f"{address} has no name"),)
        names = self._candidates(answer, told=mail.session.name)
        if not names:
            return (_unconfirmed(address, answer.records[0]),)
        rtype = "A" if address.version == 4 else "AAAA"
        answers = await ask_all(tools.resolver, ((name, rtype) for name in names))
        text = str(address)  # addresses in answers are spelt alike (RFC 5952)
        for name in names:
            if text in answers[name, rtype].records:
                return (Finding(CONFIRMED, ReverseName(name, confirmed=True), f"{address} is {name}"),)
        unsure = next((forward for forward in answers.values() if not forward.certain), None)
        return (_unconfirmed(address, names[0]) if unsure is None else _missing(unsure),)

    def _candidates(self, answer: Answer, *, told: str | None) -> list[str]:
        """The names that can be names of hosts, each once, the one that was told first if it is among them."""
        found = dict.fromkeys(domain for record in answer.records if (domain := normal_domain(record)) is not None)
        preferred = normal_domain(told) if told else None
        return sorted(found, key=lambda name: name != preferred)[: self.names]


def _missing(answer: Answer) -> Missing:
    return Missing(ReverseDns.name, (NONE, UNCONFIRMED, CONFIRMED), answer.status.value)


def _unconfirmed(address: IPAddress, name: str) -> Finding:
    return Finding(UNCONFIRMED, ReverseName(name, confirmed=False), f"{name} does not lead back to {address}")
