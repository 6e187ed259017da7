"""Whom DNS lists wrong: senders that authenticate and have long been good. What the breaker of a list goes by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gatekeeper.checks.dnsbl import ListEvidence
from gatekeeper.checks.keys import client_key, identities, long_good, network_key
from gatekeeper.checks.uribl import NameListEvidence
from gatekeeper.dns.desk import Desk
from gatekeeper.dns.lists import Family, plain
from gatekeeper.mailauth.dmarc import DmarcCode, DmarcResult
from gatekeeper.mailauth.spf import SpfCode, SpfResult
from gatekeeper.message.domains import registered_domain
from gatekeeper.model import Finding, Mail
from gatekeeper.store.base import Store

MOST: Final = 10_000
"""Senders that are kept until their history is looked up; the oldest go first."""
TOGETHER: Final = 200


@dataclass(frozen=True, slots=True)
class Doubted:
    """Whom these lists named in one message. `sender` is what counts as one, however many names or addresses it has."""

    family: Family
    zones: tuple[str, ...]
    sender: str
    message: int


class Wronged:
    """Keeps in mind which lists named which senders, until their history is at hand.

    A history is one client's or one name's; but whoever has one network or one registered domain is one sender, and a
    message has one. Otherwise a sender with five addresses side by side could take a list's vote away by itself.
    """

    def __init__(self) -> None:
        self._doubted: dict[str, Doubted] = {}
        self._messages = 0

    def note(self, mail: Mail, score: Callable[[str], float]) -> None:
        """A transaction has ended. `score` gives the points of a rule.

        A list of addresses may wrong the client, where the mail authenticates; one of domains may wrong the domains
        that are shown to be behind the mail. What it says of others' domains in the mail, it may well say.
        """
        findings = list(mail.findings())
        against = [each for each in findings if isinstance(each.evidence, ListEvidence | NameListEvidence)]
        against = [each for each in against if score(each.rule) > 0]
        if not against:
            return
        self._messages += 1
        address = mail.session.address
        zones = tuple([one.evidence.zone for one in against if isinstance(one.evidence, ListEvidence)])
        if zones and address is not None and any(map(_authenticates, findings)):
            family = Family.IPV4 if plain(address).version == 4 else Family.IPV6
            self._keep(client_key(address), Doubted(family, zones, network_key(plain(address)), self._messages))
        named = [one.evidence for one in against if isinstance(one.evidence, NameListEvidence)]
        for domain in identities(mail) if named else ():
            own = registered_domain(domain)
            zones = tuple([each.zone for each in named if own and own in each.domains])
            if zones:
                self._keep(f"dom:{domain}", Doubted(Family.NAMES, zones, f"dom:{own}", self._messages))

    def _keep(self, key: str, doubted: Doubted) -> None:
        self._doubted.pop(key, None)
        self._doubted[key] = doubted
        if len(self._doubted) > MOST:
            del self._doubted[next(iter(self._doubted))]

    async def settle(self, store: Store, desk: Desk, *, now: float) -> None:
        """Tell the desk of those who have long been good; the others are forgotten. Raises StoreAway."""
        doubted, self._doubted = self._doubted, {}
        keys = list(doubted)
        told: set[tuple[int, Family, str]] = set()
        for begin in range(0, len(keys), TOGETHER):
            some = keys[begin : begin + TOGETHER]
            for key, history in zip(some, await store.history(some), strict=True):
                if long_good(history, now):
                    one = doubted[key]
                    zones = [zone for zone in one.zones if (one.message, one.family, zone) not in told]
                    told.update((one.message, one.family, zone) for zone in zones)
                    desk.wronged(zones, one.family, sender=one.sender, now=now)


def _authenticates(finding: Finding) -> bool:
    """Whether it shows that the mail is from whom it says."""
    evidence = finding.evidence
    if isinstance(evidence, DmarcResult):
        return evidence.code is DmarcCode.PASS
    return isinstance(evidence, SpfResult) and evidence.code is SpfCode.PASS
