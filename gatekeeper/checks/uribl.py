"""Are names in the mail on a DNS list: in its links, its addresses, its signatures, its client (RFC 5782 §3)?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from gatekeeper.checks.base import Tools
from gatekeeper.checks.dns_lists import groups_setting, require_sound, rules_of
from gatekeeper.checks.keys import client_key
from gatekeeper.dns.desk import Inquiry, Vote
from gatekeeper.dns.lists import DnsList, Family, outside, plain, reversed_labels
from gatekeeper.dns.name_lists import NameList, Subject
from gatekeeper.mailauth.dkim import DkimResults
from gatekeeper.message.content import read_content
from gatekeeper.message.domains import registered_domain
from gatekeeper.message.header import author_of, header_of
from gatekeeper.message.links import Links
from gatekeeper.model import Finding, IPAddress, Kind, Mail, Message, Missing, Rule, Stage, setting
from gatekeeper.wire.address import normal_domain
from gatekeeper.wire.mailboxes import parse_address_list

LEFT_OUT = "URIBL_LEFT_OUT"
CONFIRMED = "RDNS_CONFIRMED"
SHOWN = 8
"""Names that stand in one finding."""


@dataclass(frozen=True, slots=True)
class NameListEvidence:
    """What a list answered: the names that led to this rule with where they stood ("evil.example (links)"), the
    answers, and for how many seconds they are good. `seconds` is the longest that a question took which was sent.
    `domains` are those that were registered, of names. A subscriber's key is left out of the zone.
    """

    zone: str
    names: tuple[str, ...]
    codes: tuple[str, ...]
    ttl: int
    seconds: float | None = None
    domains: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NamesLeftOut:
    """`asked` names were asked about, `left_out` more were not, the least telling ones; `some` of these."""

    asked: int
    left_out: int
    some: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Named:
    """A name, an address of a host or a mail address, and where it was found. `whole` is the host's own name."""

    text: str
    subject: Subject
    whole: str = ""
    address: IPAddress | None = None
    mailbox: bool = False

    @property
    def shown(self) -> str:
        return f"{self.whole or self.text} ({self.subject.value})"

    @property
    def discreet(self) -> str:
        """For names that nothing was found about: records are no list of the people that mail speaks of."""
        return f"…@{self.text.rpartition('@')[2]} ({self.subject.value})" if self.mailbox else self.shown


@dataclass(frozen=True)  # without slots, for what is worked out once
class Uribl:
    """[checks.uribl]"""

    name: ClassVar[str] = "uribl"
    families: ClassVar[tuple[Family, ...]] = tuple(Family)
    """What its lists are asked about, for whoever tests them."""

    lists: tuple[NameList, ...] = setting((), "The lists that are asked about names in the mail.")
    names: int = setting(20, "How many different names of one message are asked about, the most telling first.")
    questions: int = setting(60, "How many questions one message may cause here, over all lists.")
    ignore: tuple[str, ...] = setting((), "Domains that are never asked about, with all names under them.")
    groups: Mapping[str, float] = groups_setting()

    def __post_init__(self) -> None:
        if not 1 <= self.names <= 500 or not 1 <= self.questions <= 5000:
            raise ValueError("names must be from 1 to 500, and questions from 1 to 5000")
        require_sound(self.lists, self.groups)
        for domain in self.ignore:
            if normal_domain(domain) is None:
                raise ValueError(f'{domain!r} is no domain; write a name such as "example.org"')

    def rules(self) -> Sequence[Rule]:
        return [
            *rules_of(self.lists, self.groups, _whose),
            Rule(LEFT_OUT, 0.0, "There are more names in the mail than are asked about.", kind=Kind.CONTENT),
        ]

    def idle_at(self, stage: Stage) -> bool:
        """Without lists there is nothing to ask; one place is kept, by which its rules are known."""
        return stage is Stage.MAIL and not self.lists

    async def inspect(self, mail: Mail, tools: Tools) -> Sequence[Finding | Missing]:
        """What can be named by now; names that were asked about at an earlier stage are not asked about again."""
        if not self.lists:
            return ()
        asked: _Asked = mail.envelope.memo.setdefault(self.name, _Asked())
        links = None
        if mail.message is not None and self._reads_messages and not asked.message:
            links = (await read_content(mail.message)).links
        named = [each for each in self._named(mail, links, asked) if not self._ignored(each, tools)]
        plan = self._plan(named, asked)
        address = mail.session.address
        said = await self._ask(plan, tools, "" if address is None else client_key(plain(address)))
        found: list[Finding | Missing] = []
        for each in self.lists:
            found += self._read(each, [(named, vote) for named, vote in said if vote.inquiry.list is each])
        if plan.left_out:
            some = tuple(dict.fromkeys(one.discreet for one in plan.left_out))[:SHOWN]
            evidence = NamesLeftOut(len(asked.names), len(plan.left_out), some)
            found.append(
                Finding(LEFT_OUT, evidence, f"{evidence.left_out} names were not asked about, {evidence.asked} were")
            )
        return found

    @cached_property
    def _reads_messages(self) -> bool:
        return any(Subject.LINKS in each.subjects for each in self.lists)

    @cached_property
    def _unasked(self) -> frozenset[str]:
        return frozenset(domain for each in self.ignore if (domain := normal_domain(each)))

    def _ignored(self, named: _Named, tools: Tools) -> bool:
        """Our own domains, and those the operator knows."""
        domain = named.text.rpartition("@")[2]
        whole = named.whole or domain
        if domain in tools.domains or whole in tools.domains:
            return True
        return any(whole == other or whole.endswith(f".{other}") for other in self._unasked)

    def _named(self, mail: Mail, links: Links | None, asked: _Asked) -> list[_Named]:
        """Everything that may be asked about, what there is but one of first, then links, the most telling first."""
        found = [*_of_client(mail), *_of_sender(mail)]
        if mail.message is not None:
            if not asked.message:
                found += _of_header(mail.message)
            found += _of_signatures(mail)
        if links is not None:
            asked.message = True
            found += _of_links(links)
        return found

    def _plan(self, named: Sequence[_Named], asked: _Asked) -> _Plan:
        """Who is asked about what, within the budgets."""
        plan = _Plan()
        for one in named:
            key = (one.whole or one.text, one.subject)
            if key in asked.names or key in asked.left_out:
                continue
            wanted = [question for each in self.lists for question in _questions(each, one)]
            wanted = [(family, inquiry) for family, inquiry in wanted if inquiry.name not in asked.asked]
            if not wanted:
                continue
            if len(asked.names) >= self.names or asked.count + len(wanted) > self.questions:
                asked.left_out.add(key)
                plan.left_out.append(one)
                continue
            asked.names.add(key)
            for family, inquiry in wanted:
                asked.asked.add(inquiry.name)
                asked.count += 1
                plan.questions.setdefault(family, []).append((one, inquiry))
        return plan

    @staticmethod
    async def _ask(plan: _Plan, tools: Tools, client: str) -> list[tuple[_Named, Vote]]:
        async def poll(family: Family, questions: list[tuple[_Named, Inquiry]]) -> list[tuple[_Named, Vote]]:
            inquiries = [inquiry for _, inquiry in questions]
            votes = await tools.desk.poll(inquiries, family, resolver=tools.resolver, client=client)
            return [(named, vote) for (named, _), vote in zip(questions, votes, strict=True)]

        if len(plan.questions) == 1:  # mostly
            [(family, questions)] = plan.questions.items()
            return await poll(family, questions)
        async with asyncio.TaskGroup() as group:
            polls = [group.create_task(poll(*one)) for one in plan.questions.items()]
        return [one for each in polls for one in each.result()]

    def _read(self, each: NameList, said: Sequence[tuple[_Named, Vote]]) -> Iterator[Finding | Missing]:
        missing = ""
        listed: dict[str, _Listed] = {}
        for named, vote in said:
            missing = missing or vote.why
            for listing in vote.listed:
                listed.setdefault(listing.name, _Listed()).add(named, listing.addresses, vote)
        if missing:
            yield Missing(f"{self.name}:{each.name}", tuple(each.rules.values()), missing)
        for code, one in listed.items():
            names = ", ".join(list(one.names)[:3]) + (f" and {len(one.names) - 3} more" if len(one.names) > 3 else "")
            evidence = one.evidence(each.shown)
            yield Finding(each.rules[code], evidence, f"{names} on {each.shown} ({', '.join(evidence.codes)})")


@dataclass(slots=True)
class _Asked:
    """What was asked about in this transaction. `message`: its header and links were."""

    names: set[tuple[str, Subject]] = field(default_factory=set)
    left_out: set[tuple[str, Subject]] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    count: int = 0
    message: bool = False


@dataclass(slots=True)
class _Plan:
    """`questions` by what lists are asked about, each with what was found in the mail."""

    questions: dict[Family, list[tuple[_Named, Inquiry]]] = field(default_factory=dict)
    left_out: list[_Named] = field(default_factory=list)


@dataclass(slots=True)
class _Listed:
    names: dict[str, None] = field(default_factory=dict)
    codes: dict[str, None] = field(default_factory=dict)
    domains: dict[str, None] = field(default_factory=dict)
    ttl: float = float("inf")
    seconds: float | None = None

    def add(self, named: _Named, codes: Sequence[str], vote: Vote) -> None:
        self.names[named.shown] = None
        self.codes.update(dict.fromkeys(codes))
        if not named.mailbox and named.address is None:
            self.domains[named.text] = None
        self.ttl = min(self.ttl, vote.ttl)
        if vote.seconds is not None:
            self.seconds = max(vote.seconds, self.seconds or 0.0)

    def evidence(self, zone: str) -> NameListEvidence:
        names, codes, domains = (tuple(each)[:SHOWN] for each in (self.names, self.codes, self.domains))
        return NameListEvidence(zone, names, codes, round(self.ttl), self.seconds, domains)


def _whose(each: DnsList) -> str:
    return "An address in the mail" if Family.HASHES in each.families else "A name in the mail"


def _questions(each: NameList, named: _Named) -> list[tuple[Family, Inquiry]]:
    """What a list is asked about one name; nothing where it is not asked about such."""
    if named.subject not in each.subjects or each.hashes != named.mailbox:
        return []
    if named.mailbox:
        return [(Family.HASHES, Inquiry(each, each.labels_of_mailbox(named.text), named.text))]
    if named.address is not None:
        family = Family.IPV4 if named.address.version == 4 else Family.IPV6
        known = family in each.families and outside(named.address)
        return [(family, Inquiry(each, reversed_labels(named.address)))] if known else []
    names = {"domain": [named.text], "name": [named.whole], "both": [named.text, named.whole]}[each.ask]
    return [
        (Family.NAMES, Inquiry(each, name, named.text))
        for name in dict.fromkeys(names)
        if name and len(name) + len(each.suffix) < 253
    ]


def _domain(name: str | None, subject: Subject) -> Iterator[_Named]:
    whole = normal_domain(name) if name else None
    if whole is not None and (domain := registered_domain(whole)):
        yield _Named(domain, subject, whole)


def _mailbox(local: str, domain: str, subject: Subject) -> Iterator[_Named]:
    yield from _domain(domain, subject)
    if local and domain:
        yield _Named(f"{local}@{domain}".lower(), subject, mailbox=True)


def _of_client(mail: Mail) -> Iterator[_Named]:
    if mail.session.login is None:
        yield from _domain(mail.session.helo, Subject.HELO)
    # The check that confirmed it knows its evidence's type; checks do not know each other, so the rule stands for it.
    for finding in mail.findings():
        if finding.rule == CONFIRMED:
            yield from _domain(getattr(finding.evidence, "name", None), Subject.REVERSE_NAME)


def _of_sender(mail: Mail) -> Iterator[_Named]:
    sender = mail.envelope.sender
    if sender is not None:
        yield from _mailbox(sender.local, sender.domain, Subject.SENDER)


def _of_header(message: Message) -> Iterator[_Named]:
    for mailbox in author_of(message).mailboxes[:SHOWN]:
        yield from _mailbox(mailbox.address.local, mailbox.address.domain, Subject.FROM)
    for each in header_of(message).all("reply-to")[:2]:
        for mailbox in parse_address_list(each.value, 4096).mailboxes[:SHOWN]:
            yield from _mailbox(mailbox.address.local, mailbox.address.domain, Subject.REPLY_TO)


def _of_signatures(mail: Mail) -> Iterator[_Named]:
    signatures = mail.evidence(DkimResults)
    for result in signatures.results if signatures is not None else ():
        yield from _domain(result.domain, Subject.DKIM)


def _of_links(links: Links) -> Iterator[_Named]:
    """Registered domains each once, under the name that tells most; then mail addresses in the text."""
    seen: set[str] = set()
    for link in links:
        url = link.url
        if url.address is not None:
            yield _Named(str(url.address), Subject.LINKS, address=url.address)
        elif url.domain and url.domain not in seen:
            seen.add(url.domain)
            yield _Named(url.domain, Subject.LINKS, url.host)
    for address in links.addresses:
        yield _Named(address, Subject.LINKS, mailbox=True)
