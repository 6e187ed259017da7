"""Clients that name recipients, for the tests of recipient stacking: no server, a store in memory, time as a value."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address

from gatekeeper.checks.base import Tools
from gatekeeper.checks.stacking import BLIND, BLOCKED, Stacking
from gatekeeper.mailauth.spf import SpfCode, SpfIdentity, SpfResult
from gatekeeper.model import Address, Envelope, Finding, Heard, Mail, Recipient, Session, Stage
from gatekeeper.store.base import Store
from gatekeeper.store.memory import MemoryStore
from tests.support.fake_resolver import FakeResolver

DOMAIN = "example.org"
ids = itertools.count()


@dataclass
class Place:
    """A check, its store and clock, and which names exist behind it; `asked` are those the next hop was asked for."""

    check: Stacking = field(default_factory=lambda: Stacking(slow_delay=0.0))
    exist: frozenset[str] = frozenset()
    store: Store = field(default_factory=MemoryStore)
    now: float = 1_700_000_000.0
    asked: list[str] = field(default_factory=list)

    @property
    def tools(self) -> Tools:
        return Tools(FakeResolver({}), self.store, lambda: self.now, "mx.example.org", frozenset({DOMAIN}))

    def worker(self, check: Stacking) -> Place:
        """Another worker at the same store: nothing in its own memory yet."""
        return Place(check, self.exist, self.store, self.now, self.asked)

    def client(self, address: str, *, helo: str | None = None) -> Client:
        session = Session(f"s{next(ids)}", "smtp", self.now, address=ip_address(address), helo=helo)
        return Client(self, session)

    async def known(self, address: str, *, accepted: int = 50, refused: int = 0, days: float = 2.0) -> None:
        """That client has a past: messages accepted and refused, first seen some days ago."""
        at = ip_address(address)
        from gatekeeper.checks.keys import client_key, network_key

        for key in (client_key(at), network_key(at)):
            await self.store.remember(key, accepted=0, refused=0, now=self.now - days * 86400)
            await self.store.remember(key, accepted=accepted, refused=refused, now=self.now)


@dataclass
class Client:
    place: Place
    session: Session
    sender: Address = field(default_factory=lambda: Address("a", "example.net"))
    spf: SpfCode | None = None

    async def names(self, names: Iterable[str], *, domain: str = DOMAIN) -> list[str]:
        """What each RCPT brings: a step of ours, or "250" or "550" of the next hop."""
        return [await self.name(name, domain=domain) for name in names]

    async def name(self, name: str, *, domain: str = DOMAIN) -> str:
        found = await self.findings(name, domain=domain)
        decided = [one.rule for one in found if one.rule in {BLIND, BLOCKED}]
        if decided:
            return decided[0]
        self.hear(name, domain=domain)
        return "250" if name in self.place.exist else "550"

    async def findings(self, name: str, *, domain: str = DOMAIN) -> list[Finding]:
        """Those of one RCPT, without asking the next hop."""
        recipient = Recipient(Address(name, domain))
        mail = Mail(self.session, Envelope("e", self.sender), recipient=recipient, stage=Stage.RCPT)
        if self.spf:
            mail.envelope.notebook.findings.append(
                Finding("SPF_PASS", SpfResult(self.spf, self.sender.domain, SpfIdentity.MAILFROM))
            )
        return list(await self.place.check.inspect(mail, self.place.tools))

    def hear(self, name: str, *, domain: str = DOMAIN) -> None:
        """The next hop's answer."""
        self.place.asked.append(name)
        known = name in self.place.exist
        self.session.counters.unknown += not known
        self.session.counters.accepted += known
        heard = Heard.KNOWN if known else Heard.UNKNOWN
        self.session.hear(Address(name, domain), heard, null_sender=self.sender.null)

    def deliver(self, recipients: int = 1) -> None:
        self.session.counters.messages += 1
        self.session.counters.delivered += recipients

    def give_up(self, *names: str) -> None:
        for name in names:
            self.session.counters.abandoned += 1
            self.session.hear(Address(name, DOMAIN), Heard.ABANDONED, null_sender=self.sender.null)

    async def spent(self) -> float:
        """Points of its address."""
        accounts, address = self.place.check._accounts, self.session.address
        assert address is not None
        known = await accounts.client(self.session, address, self.place.tools)
        return (await accounts.charge(self.session, known, self.place.tools)).spent[0]

    async def leave(self) -> None:
        await self.place.check.settle(self.session, self.place.tools)

    async def blocked(self) -> bool:
        """Whether it would be turned away when it connects."""
        session = Session("c", "smtp", self.place.now, address=self.session.address)
        return bool(await self.place.check.inspect(Mail(session, Envelope("e")), self.place.tools))


def unknown(number: int, start: int = 0) -> list[str]:
    """Names that are far from each other, and that nobody has."""
    return [f"xq{n}z{n * 7919 % 10007}" for n in range(start, start + number)]
