"""What DMARC found about each message, counted by day and policy domain for the aggregate reports (RFC 9990).

Counting never delays an answer: rows are kept in memory and brought to the store every few seconds.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from gatekeeper import log, metrics
from gatekeeper.complaints.dmarc import (
    DAY,
    MOST_SIGNATURES,
    MOST_TEXT,
    POLICIES,
    ROWS,
    Published,
    Row,
    Settings,
    Signature,
    begin_of,
    day_of,
    key_of,
)
from gatekeeper.complaints.dmarc_deaths import Deaths
from gatekeeper.mailauth.dkim import DkimResult, DkimResults
from gatekeeper.mailauth.dmarc import DmarcCode, DmarcResult, Override
from gatekeeper.mailauth.dmarc_record import DmarcPolicy
from gatekeeper.mailauth.spf import SpfCode, SpfResult
from gatekeeper.mailauth.upstream import UpstreamResults
from gatekeeper.message.header import header_of
from gatekeeper.model import Action, Mail
from gatekeeper.store.base import Note, Store, StoreAway, Tally

AT_ONCE = 200  # entries in one transaction of the store
MOST_WAITING = 20_000  # rows that may wait for the store
MOST_BOUNCES = 200  # of those that wait to be looked into
BOUNCE_OCTETS = 131_072  # of a bounce that are searched
# The subject that RFC 9990 §3.5.2 wants of a report.
REPORT = re.compile(r"Report[ \t]+Domain:[ \t]+\S+[ \t]+Submitter:[ \t]+\S+", re.IGNORECASE)
COMMENTS = {
    Override.MAILING_LIST: "seems to have come by a mailing list or a forwarder",
    Override.TRUSTED_FORWARDER: "a trusted ARC sealer vouches for it",
    Override.LOCAL_POLICY: "the policy counts as one piece of evidence among others",
    Override.POLICY_TEST_MODE: "the policy is being tried",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """One message as it is reported."""

    domain: str
    policy: Published
    row: Row


def seen(mail: Mail, action: Action) -> Seen | None:
    """What is to be reported of a message that was answered for good; None where nobody asks for it. Pure.

    `action` is what we made of it, whatever the next hop said then. A report about a report is none: two who report
    to each other would never end.
    """
    result, address = mail.evidence(DmarcResult), mail.session.address
    if result is None or result.record is None or not result.record.reports or mail.message is None:
        return None
    if address is None or address.is_loopback or mail.session.login is not None:
        return None  # not from outside
    if result.code not in (DmarcCode.PASS, DmarcCode.FAIL):
        return None
    if mail.evidence(UpstreamResults) is not None:
        return None  # the client is not where it came from; whoever took it from there may report it
    if result.code is DmarcCode.PASS and _is_report(mail):
        return None
    disposition, reasons = _disposition(result, action)
    spf = mail.evidence(SpfResult)
    sender = mail.envelope.sender
    row = Row(
        address=str(address),
        disposition=disposition,
        dkim=result.aligned_dkim,
        spf=result.aligned_spf,
        author=result.domain,
        sender=None if sender is None else sender.domain[:MOST_TEXT],
        signatures=tuple(_signatures(mail.evidence(DkimResults), result.domain)),
        spf_domain="" if spf is None else spf.domain[:MOST_TEXT],
        spf_result="" if spf is None else _plain(spf.code).value,
        reasons=reasons,
    )
    return Seen(result.record_domain, Published.by(result.record), row)


def _plain(code: SpfCode) -> SpfCode:
    """What DNS says, without our doubts about the sender: reports have no word for these (RFC 9990 appendix A)."""
    return SpfCode.PASS if code is SpfCode.POLICY else code


def _is_report(mail: Mail) -> bool:
    """Of one that passes only: else a forger could hide behind a subject."""
    subject = header_of(mail.message).first("subject") if mail.message is not None else None
    return subject is not None and REPORT.match(subject.text) is not None


def _disposition(result: DmarcResult, action: Action) -> tuple[str, tuple[tuple[str, str], ...]]:
    """What came of the policy, and why that is not what was asked for (RFC 9990 §3.1.1.9).

    A message may have been refused for something else; to DMARC is put down no more than the policy asked for.
    """
    if result.code is DmarcCode.PASS:
        return ("none" if result.published is DmarcPolicy.NONE else "pass"), ()
    rank = 2 if action.refuses else 1 if action is Action.TAG else 0
    done = tuple(DmarcPolicy)[min(rank, result.policy.rank)]
    if done is result.published:
        return done.value, ()
    if result.testing and done is result.policy:
        why = Override.POLICY_TEST_MODE
    else:
        why = result.override or Override.LOCAL_POLICY
    return done.value, ((why.value, COMMENTS.get(why, "")),)


def _signatures(results: DkimResults | None, author: str) -> Iterator[Signature]:
    """The telling ones first (RFC 9990 §3.1.3)."""
    found = [one for one in (results.results if results is not None else ()) if one.domain]

    def telling(one: DkimResult) -> int:
        if not one.vouches:
            return 3
        if one.domain == author:
            return 0
        return 1 if author.endswith("." + one.domain) or one.domain.endswith("." + author) else 2

    for one in sorted(found, key=telling)[:MOST_SIGNATURES]:
        yield Signature(one.domain[:MOST_TEXT], one.selector[:MOST_TEXT], one.code.value)


@dataclass(slots=True)
class _Domain:
    """What one worker knows of a domain's day."""

    policy: Published
    rows: set[str] = field(default_factory=set)


class Evidence:
    """The counters of one process. `run` brings them to the store until it is cancelled; then `flush` what is left."""

    def __init__(self, store: Store, clock: Callable[[], float], settings: Settings) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._deaths = Deaths(store, clock)
        self._day = ""
        self._domains: OrderedDict[str, _Domain] = OrderedDict()  # of today
        self._waiting: dict[tuple[str, str], int] = {}  # (day and domain, row) -> how many more
        self._policies: dict[str, Published] = {}  # day and domain -> the last one seen, to be written
        self._bounces: set[str] = set()
        self._exempt = frozenset(settings.exempt)
        self._email = settings.email.lower()

    def note(self, mail: Mail, action: Action) -> None:
        """Count a message that was accepted or refused for good. Takes some 20 µs and waits for nothing."""
        if self._is_bounce(mail):
            self._look_into(mail)
            return
        found = seen(mail, action)
        if found is None or self._is_exempt(found.domain):
            return
        day = day_of(self._clock())
        if day != self._day:
            self._day = day
            self._domains.clear()
        domain = self._domains.get(found.domain)
        if domain is None:
            if len(self._domains) >= self._settings.domains:
                metrics.DMARC_EVIDENCE_DROPPED["domains"].inc()
                return
            domain = self._domains[found.domain] = _Domain(found.policy)
        row = found.row.text()
        if row not in domain.rows:
            if len(domain.rows) >= self._settings.rows:
                metrics.DMARC_EVIDENCE_DROPPED["rows"].inc()
                return
            domain.rows.add(row)
        key = key_of(day, found.domain)
        if (key, row) not in self._waiting and len(self._waiting) >= MOST_WAITING:
            metrics.DMARC_EVIDENCE_DROPPED["waiting"].inc()
            return
        self._waiting[key, row] = self._waiting.get((key, row), 0) + 1
        self._policies[key] = domain.policy = found.policy

    def _is_exempt(self, domain: str) -> bool:
        labels = domain.split(".")
        return bool(self._exempt) and any(".".join(labels[n:]) in self._exempt for n in range(len(labels)))

    # -- what comes back

    def _is_bounce(self, mail: Mail) -> bool:
        """Whether it has an empty sender and is for the address that the reports are from."""
        sender = mail.envelope.sender
        if sender is None or not sender.null or mail.message is None:
            return False
        everybody = (*mail.envelope.recipients, *mail.envelope.refused)
        return any(str(one.address).lower() == self._email for one in everybody)

    def _look_into(self, mail: Mail) -> None:
        """Which of our reports came back: a Message-ID that only its addressee knows is proof enough."""
        if mail.message is None or len(self._bounces) >= MOST_BOUNCES:
            return
        octets, parts = 0, []
        for chunk in mail.message.chunks():
            parts.append(chunk[: BOUNCE_OCTETS - octets])
            octets += len(parts[-1])
            if octets >= BOUNCE_OCTETS:
                break
        self._bounces |= set(self._deaths.told_by(b"".join(parts)))

    # -- to the store

    async def run(self) -> None:
        """Again and again; a bug in one turn does not end the others."""
        while True:
            await asyncio.sleep(self._settings.write_every)
            try:
                await self.flush()
            except Exception as bug:  # noqa: BLE001  # a border: reports must not take the mail down with them
                log.traceback_once("dmarc_evidence_lost", bug, count=len(self._waiting))
                self._waiting.clear()

    async def flush(self) -> None:
        """Bring what is counted to the store; what it does not take waits. May be called twice."""
        waiting, self._waiting = self._waiting, {}
        policies, self._policies = self._policies, {}
        bounces, self._bounces = self._bounces, set()
        try:
            notes = [Note(POLICIES, key, policy.text(), self._end(key)) for key, policy in policies.items()]
            for n in range(0, len(notes), AT_ONCE):
                await self._store.put_notes(notes[n : n + AT_ONCE])
            for which in [list(waiting)[n : n + AT_ONCE] for n in range(0, len(waiting), AT_ONCE)]:
                await self._store.tally(
                    [Tally(ROWS, f"{key} {row}", waiting[key, row], self._end(key)) for key, row in which]
                )
                for one in which:  # an error after it must not count these again
                    del waiting[one]
            await self._deaths.bounced(bounces)
        except StoreAway:
            self._policies = policies | self._policies
            self._bounces |= bounces
            for one, amount in waiting.items():
                if one in self._waiting or len(self._waiting) < MOST_WAITING:
                    self._waiting[one] = self._waiting.get(one, 0) + amount
                else:
                    metrics.DMARC_EVIDENCE_DROPPED["waiting"].inc(amount)

    def _end(self, key: str) -> float:
        return begin_of(key.partition(" ")[0]) + DAY + self._settings.keep
