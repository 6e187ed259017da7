"""Are names in the mail on a DNS list: in its links, its addresses, its signatures, its client (RFC 5782 §3)?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from gatekeeper.checks.base import Tools
from gatekeeper.dns.asking import Timed, ask_lists
from gatekeeper.dns.lists import judge, outside
from gatekeeper.dns.name_lists import NameList, Subject
from gatekeeper.dns.resolver import Question, Status
from gatekeeper.mailauth.dkim import DkimResults
from gatekeeper.message.content import read_content
from gatekeeper.message.domains import registered_domain
from gatekeeper.message.header import author_of, header_of
from gatekeeper.message.links import Links
from gatekeeper.metrics import LIST_ANSWERS, LIST_SECONDS
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
    answers, and for how many seconds they are good. `seconds` is the longest that a question took which was sent. A
    subscriber's key is left out of the zone.
    """

    zone: str
    names: tuple[str, ...]
    codes: tuple[str, ...]
    ttl: int
    seconds: float | None = None


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

    lists: tuple[NameList, ...] = setting((), "The lists that are asked about names in the mail.")
    names: int = setting(20, "How many different names of one message are asked about, the most telling first.")
    questions: int = setting(60, "How many questions one message may cause here, over all lists.")
    ignore: tuple[str, ...] = setting((), "Domains that are never asked about, with all names under them.")

    def __post_init__(self) -> None:
        if not 1 <= self.names <= 500 or not 1 <= self.questions <= 5000:
            raise ValueError("names must be from 1 to 500, and questions from 1 to 5000")
        zones = Counter((each.suffix, each.hashes) for each in self.lists)
        for (zone, _), times in zones.items():
            if times > 1:
                raise ValueError(f"the zone {zone} stands there {times} times; write all its codes into one list")
        rules = Counter(rule for each in self.lists for rule in _rule_names(each).values())
        for rule, times in rules.items():
            if times > 1:
                raise ValueError(f"{times} lists would find {rule}; give one of them another name")
        for metric in (LIST_SECONDS, LIST_ANSWERS):
            metric.declare(_label(each) for each in self.lists)
        for domain in self.ignore:
            if normal_domain(domain) is None:
                raise ValueError(f'{domain!r} is no domain; write a name such as "example.org"')

    def rules(self) -> Sequence[Rule]:
        found = [
            Rule(
                rule,
                each.scores[code],
                f"{'An address' if each.hashes else 'A name'} in the mail is on {each.shown}"
                f"{f' ({code})' if code else ''}.",
                kind=Kind.LIST,
                enhanced="7.1",
            )
            for each in self.lists
            for code, rule in _rule_names(each).items()
        ]
        return [
            *found,
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
        whose = {question: _label(name) for (name, _, _), question in plan.questions.items()}
        answers = await ask_lists(tools.resolver, whose, tools.clock)
        found: list[Finding | Missing] = []
        for each in self.lists:
            found += self._read(each, plan, answers)
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
            wanted = [(each, name) for each in self.lists for name in _questions(each, one)]
            wanted = [(each, name) for each, name in wanted if (each.name, name) not in asked.asked]
            if not wanted:
                continue
            if len(asked.names) >= self.names or asked.count + len(wanted) > self.questions:
                asked.left_out.add(key)
                plan.left_out.append(one)
                continue
            asked.names.add(key)
            for each, name in wanted:
                asked.asked.add((each.name, name))
                asked.count += 1
                plan.questions[each.name, one.shown, name] = (name, "A")
        return plan

    def _read(self, each: NameList, plan: _Plan, answers: Mapping[Question, Timed]) -> Iterator[Finding | Missing]:
        rules = _rule_names(each)
        missing = ""
        listed: dict[str, _Listed] = {}
        for (whose, shown, _), question in plan.questions.items():
            if whose != each.name:
                continue
            answer, seconds = answers[question].answer, answers[question].seconds
            if answer.certain and not answer.records:
                LIST_ANSWERS.count(_label(each), "not_listed")
                continue
            if not answer.certain:
                if answer.status is not Status.BUDGET:
                    LIST_ANSWERS.count(_label(each), "unanswered")
                missing = missing or answer.status.value
                continue
            said = judge(answer.records, each.meaning)
            LIST_ANSWERS.count(_label(each), "refused" if said.refused else "listed" if said.listed else "not_listed")
            if said.refused:
                missing = f"refused by answering {', '.join(answer.records[:8])}"
            for listing in said.listed:
                listed.setdefault(listing.name, _Listed()).add(shown, listing.addresses, answer.ttl, seconds)
        if missing:
            yield Missing(f"{self.name}:{each.name}", tuple(rules.values()), missing)
        for code, one in listed.items():
            evidence = NameListEvidence(
                each.shown, tuple(one.names)[:SHOWN], tuple(one.codes)[:SHOWN], round(one.ttl), one.seconds
            )
            names = ", ".join(evidence.names[:3]) + (f" and {len(one.names) - 3} more" if len(one.names) > 3 else "")
            yield Finding(rules[code], evidence, f"{names} on {each.shown} ({', '.join(evidence.codes)})")


@dataclass(slots=True)
class _Asked:
    """What was asked about in this transaction. `message`: its header and links were."""

    names: set[tuple[str, Subject]] = field(default_factory=set)
    left_out: set[tuple[str, Subject]] = field(default_factory=set)
    asked: set[tuple[str, str]] = field(default_factory=set)
    count: int = 0
    message: bool = False


@dataclass(slots=True)
class _Plan:
    """`questions` by list, the name as shown, and the name that is asked for."""

    questions: dict[tuple[str, str, str], Question] = field(default_factory=dict)
    left_out: list[_Named] = field(default_factory=list)


@dataclass(slots=True)
class _Listed:
    names: dict[str, None] = field(default_factory=dict)
    codes: dict[str, None] = field(default_factory=dict)
    ttl: float = float("inf")
    seconds: float | None = None

    def add(self, name: str, codes: Sequence[str], ttl: float, seconds: float | None) -> None:
        self.names[name] = None
        self.codes.update(dict.fromkeys(codes))
        self.ttl = min(self.ttl, ttl)
        if seconds is not None:
            self.seconds = max(seconds, self.seconds or 0.0)


def _label(each: NameList | str) -> str:
    return f"URIBL_{each if isinstance(each, str) else each.name}"


def _rule_names(each: NameList) -> Mapping[str, str]:
    """The rule of each code of a list."""
    return {code: f"URIBL_{each.name}_{code}" if code else f"URIBL_{each.name}" for code in each.scores}


def _questions(each: NameList, named: _Named) -> list[str]:
    """The names to ask a list for about one name; none where the list is not asked about such."""
    if named.subject not in each.subjects or each.hashes != named.mailbox:
        return []
    if named.mailbox:
        return [each.question_of_mailbox(named.text)]
    if named.address is not None:
        known = each.addresses and outside(named.address) and (named.address.version == 4 or each.ipv6)
        return [each.question_of_address(named.address)] if known else []
    names = {"domain": [named.text], "name": [named.whole], "both": [named.text, named.whole]}[each.ask]
    return list(
        dict.fromkeys(each.question_of_name(name) for name in names if name and len(name) + len(each.suffix) < 253)
    )


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
