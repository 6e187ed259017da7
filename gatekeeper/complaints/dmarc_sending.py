"""Makes the aggregate reports of past days and sends them: one for each policy domain, day and address, never twice.

What became of a report stands in the store, under its day and domain. Whoever works on it has put a claim there by
compare-and-set; an address is marked before its message goes out, so that a crash loses a report rather than doubling
it (RFC 9990 §3.5.4).
"""

from __future__ import annotations

import asyncio
import enum
import json
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import gatekeeper
from gatekeeper import log
from gatekeeper.complaints.dmarc import (
    DAY,
    POLICIES,
    REPORTS,
    ROWS,
    Published,
    Row,
    Settings,
    before,
    begin_of,
    day_of,
    key_of,
)
from gatekeeper.complaints.dmarc_deaths import Deaths
from gatekeeper.complaints.dmarc_destinations import Destination, Standing, destinations
from gatekeeper.complaints.dmarc_report import Report, Reporter, message, message_id, xml
from gatekeeper.dns.resolver import Resolver
from gatekeeper.model import Reply
from gatekeeper.nexthop import Client, Command, NextHop, NextHopGone
from gatekeeper.store.base import Note, Store
from gatekeeper.wire.notation import read_json

SETTLING = 120.0  # seconds after midnight in which the workers still bring evidence of the day before
CLAIM = 1800.0  # seconds after which whoever worked on a report is taken for dead
SENDING = 300.0  # seconds for one message
MOST_ROWS = 10_000  # of one report, the most frequent ones
MOST_POLICIES = 200_000  # of one day
REMEMBERED = 2 * DAY  # how much longer than the evidence it is known that a report was sent

Send = Callable[[str, str, bytes], Awaitable[Reply]]
"""From whom, to whom, what; the last answer. Raises NextHopGone."""
Sign = Callable[[bytes], bytes]
"""The same mail with a DKIM signature above it."""
T = TypeVar("T")


class Outcome(enum.StrEnum):
    """What became of a report to one address."""

    SENT = "sent"  # our relay took it
    SENDING = "sending"  # on its way; where that was some time ago, the process ended in between: never sent again
    REFUSED = "refused"  # a 5xx
    DEFERRED = "deferred"  # a 4xx, or nobody answered; it is tried again
    IN_DOUBT = "in_doubt"  # the connection was lost after the final dot
    UNCONFIRMED = "unconfirmed"  # its owner does not say that it wants this domain's reports
    UNKNOWN = "unknown"  # whether its owner does could not be found out; it is tried again
    TOO_LARGE = "too_large"  # larger than its owner says it takes
    DEAD = "dead"  # it refused reports before, and is left alone for a while
    SHOWN = "shown"  # it would have been sent

    @property
    def final(self) -> bool:
        return self not in (Outcome.DEFERRED, Outcome.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Sending:
    """One report to one address, and what became of it. `why` is the answer, or what was found instead."""

    day: str
    domain: str
    address: str
    outcome: Outcome
    why: str = ""
    rows: int = 0
    octets: int = 0


@dataclass(frozen=True, slots=True)
class Shown:
    """What a dry run makes of one domain's day. `document` is the XML."""

    report: Report
    document: bytes
    sendings: tuple[Sending, ...]


@dataclass(slots=True)
class _State:
    """What the store knows of one report: its id, the outcome for each address, until when it is claimed, whether
    nothing is left to be done, and its secret ("" where an earlier version has begun it).
    """

    id: str
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    claimed: float = 0.0
    done: bool = False
    secret: str = ""

    def text(self) -> str:
        outcomes = {address: outcome.value for address, outcome in self.outcomes.items()}
        told: dict[str, object] = {"id": self.id, "outcomes": outcomes, "claimed": self.claimed, "done": self.done}
        if self.secret:  # without one it has to be written as it was read: it is swapped by its text
            told["secret"] = self.secret
        return json.dumps(told)

    @classmethod
    def of(cls, text: str) -> _State:
        """What `text` has written. Where it cannot be read the report counts as sent: better none than two."""
        try:
            known = read_json(text)
            outcomes = {address: Outcome(outcome) for address, outcome in known["outcomes"].items()}
            secret = str(known.get("secret", ""))
            if not secret.isascii():
                raise ValueError("none of ours")
            return cls(str(known["id"]), outcomes, float(known["claimed"]), bool(known["done"]), secret)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            return cls("", done=True)


class Taken(Exception):
    """Another process has the report in hand."""


class Reports:
    """Makes and sends them. `store` must not stand in for another one: what it says is what all processes see."""

    def __init__(
        self,
        settings: Settings,
        *,
        store: Store,
        resolver: Resolver,
        clock: Callable[[], float],
        send: Send,
        sign: Sign | None = None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._resolver = resolver
        self._clock = clock
        self._send = send
        self._sign = sign
        self._deaths = Deaths(store, clock)
        self._reporter = Reporter(
            settings.submitter,
            settings.email,
            settings.organization or settings.submitter,
            settings.contact,
            f"gatekeeper {gatekeeper.__version__}",
        )

    def days(self) -> list[str]:
        """The days that are over and whose evidence is kept, oldest first."""
        last = before(day_of(self._clock() - SETTLING))
        return [before(last, n) for n in range(int(self._settings.keep // DAY) - 1, -1, -1)]

    async def domains(self, day: str, only: str = "") -> list[tuple[str, Published]]:
        """Those that evidence of that day is kept about, with their record as it was last seen."""
        key = key_of(day, only)
        notes = (
            await self._store.notes(POLICIES, [key], now=self._clock())
            if only
            else await self._store.notes(POLICIES, prefix=key, now=self._clock(), limit=MOST_POLICIES)
        )
        found = ((note.key.partition(" ")[2], _readable(Published.of, note.text)) for note in notes)
        return [(domain, published) for domain, published in found if published is not None]

    async def show(self, day: str, only: str = "") -> AsyncIterator[Shown]:
        """What would be sent, without sending or remembering anything."""
        for domain, published in await self.domains(day, only):
            state = await self._state(day, domain)
            report = await self._report(day, domain, published, state or _State(_new_id(day)))
            if not report.rows:
                continue
            document = xml(report, self._reporter)
            sendings = []
            known = state.outcomes if state else {}
            for number, where in enumerate(await self._where(domain, published)):
                mail = self._message(report, document, where, number)
                outcome, why = await self._standing(where, len(mail))
                address = where.address
                if address in known and known[address].final:
                    outcome, why = known[address], "already"
                sendings.append(
                    Sending(day, domain, address, outcome or Outcome.SHOWN, why, len(report.rows), len(mail))
                )
            yield Shown(report, document, tuple(sendings))

    async def send(self, day: str, only: str = "") -> AsyncIterator[Sending]:
        """Send what is due of that day, telling what becomes of each; what was sent before is passed over in silence.

        Raises ValueError for a day that is not over.
        """
        if begin_of(day) + DAY + SETTLING > self._clock():
            raise ValueError(f"{day} is not over yet (days are in UTC, and need two minutes more)")
        done = set() if only else await self._done(day)
        for domain, published in await self.domains(day, only):
            if domain in done:
                continue
            try:
                async for sending in self._domain(day, domain, published):
                    _tell(sending)
                    yield sending
            except Taken:
                continue

    async def _domain(self, day: str, domain: str, published: Published) -> AsyncIterator[Sending]:
        state = await self._state(day, domain)
        if state is not None and (state.done or state.claimed > self._clock()):
            raise Taken
        claimed = _State(
            state.id if state else _new_id(day), dict(state.outcomes) if state else {}, self._clock() + CLAIM
        )
        claimed.secret = (state.secret if state else "") or secrets.token_hex(16)
        where = await self._where(domain, published)
        due = [
            (number, one)
            for number, one in enumerate(where)
            if not claimed.outcomes.get(one.address, Outcome.DEFERRED).final
        ]
        await self._put(day, domain, state, claimed)
        report = await self._report(day, domain, published, claimed)
        document = xml(report, self._reporter) if report.rows else b""
        for number, one in due if report.rows else ():
            mail = self._message(report, document, one, number)
            outcome, why = await self._standing(one, len(mail))
            if outcome is None:
                claimed = await self._mark(day, domain, claimed, one.address, Outcome.SENDING)
                sent_id = message_id(report, self._reporter, to=one.address, number=number)
                outcome, why = await self._out(mail, one.address, sent_id)
            claimed = await self._mark(day, domain, claimed, one.address, outcome)
            yield Sending(day, domain, one.address, outcome, why, len(report.rows), len(mail))
        done = all(claimed.outcomes.get(one.address, Outcome.DEFERRED).final for one in where)
        await self._put(day, domain, claimed, replace(claimed, claimed=0.0, done=done))

    async def _out(self, mail: bytes, address: str, sent_id: str) -> tuple[Outcome, str]:
        try:
            reply = await self._send(self._settings.email, address, mail)
        except NextHopGone as gone:
            return (Outcome.IN_DOUBT if gone.in_doubt else Outcome.DEFERRED), str(gone)
        if reply.code // 100 == 2:
            await self._deaths.sent(sent_id, address)
            if self._settings.pause:
                await asyncio.sleep(self._settings.pause)
            return Outcome.SENT, str(reply)
        if reply.permanent and not _about_us(reply):
            await self._deaths.refused(address)
            return Outcome.REFUSED, str(reply)
        return Outcome.DEFERRED, str(reply)

    async def _where(self, domain: str, published: Published) -> list[Destination]:
        return await destinations(self._resolver, domain, published.rua, most=self._settings.destinations)

    async def _standing(self, where: Destination, octets: int) -> tuple[Outcome | None, str]:
        """Why it is not sent there; None when nothing speaks against it."""
        if where.standing is Standing.UNCONFIRMED:
            return Outcome.UNCONFIRMED, "the owner of the address does not confirm that it takes them"
        if where.standing is Standing.UNKNOWN:
            return Outcome.UNKNOWN, "the DNS does not say whether the owner of the address takes them"
        if where.limit is not None and octets > where.limit:
            return Outcome.TOO_LARGE, f"{octets} octets, and it takes {where.limit}"
        death = (await self._deaths.of([where.address])).get(where.address.lower())
        if death is not None and death.until > self._clock():
            return Outcome.DEAD, f"refused {death.refusals} times, the next try is after {day_of(death.until)}"
        return None, ""

    async def _report(self, day: str, domain: str, published: Published, state: _State) -> Report:
        key = key_of(day, domain) + " "
        found = await self._store.tallies(ROWS, prefix=key, now=self._clock(), limit=2 * MOST_ROWS)
        rows = ((_readable(Row.of, tally.key.removeprefix(key)), tally.amount) for tally in found)
        known = sorted(((row, count) for row, count in rows if row is not None), key=lambda one: -one[1])
        return Report(state.id, day, domain, published, tuple(known[:MOST_ROWS]), state.secret)

    def _message(self, report: Report, document: bytes, where: Destination, number: int) -> bytes:
        mail = message(report, self._reporter, document, to=where.address, number=number, now=self._clock())
        return self._sign(mail) if self._sign is not None else mail

    # -- what the store knows

    async def _done(self, day: str) -> set[str]:
        """The domains that nothing is left to be done for, by one look-up."""
        key = key_of(day, "")
        notes = await self._store.notes(REPORTS, prefix=key, now=self._clock(), limit=MOST_POLICIES)
        return {note.key.removeprefix(key) for note in notes if _State.of(note.text).done}

    async def _state(self, day: str, domain: str) -> _State | None:
        found = await self._store.notes(REPORTS, [key_of(day, domain)], now=self._clock())
        return _State.of(found[0].text) if found else None

    async def _mark(self, day: str, domain: str, known: _State, address: str, outcome: Outcome) -> _State:
        marked = replace(known, outcomes={**known.outcomes, address: outcome}, claimed=self._clock() + CLAIM)
        await self._put(day, domain, known, marked)
        return marked

    async def _put(self, day: str, domain: str, known: _State | None, new: _State) -> None:
        """Raises Taken where another process has changed it meanwhile."""
        key, now = key_of(day, domain), self._clock()
        until = begin_of(day) + DAY + self._settings.keep + REMEMBERED
        note = Note(REPORTS, key, new.text(), max(until, now + DAY))
        if not await self._store.swap_note(REPORTS, key, old=known.text() if known else None, new=note, now=now):
            raise Taken


def _readable(read: Callable[[str], T], text: str) -> T | None:
    """None for what another version of the program wrote."""
    try:
        return read(text)
    except ValueError:
        return None


def _new_id(day: str) -> str:
    """A day and 64 bits: letters and digits alone (RFC 9990 §3.5.2)."""
    return day.replace("-", "") + secrets.token_hex(8)


def _about_us(reply: Reply) -> bool:
    """Whether a refusal is about relaying and not about the address: X.7.1 and the like, X.3.x (RFC 3463)."""
    status = reply.lines[0].split(" ", 1)[0].split(".") if reply.lines else []
    return len(status) == 3 and status[1] in ("3", "4", "5", "7")


def _tell(sending: Sending) -> None:
    level = logging.INFO if sending.outcome.final else logging.WARNING
    log.event(
        "dmarc_report",
        level=level,
        day=sending.day,
        domain=sending.domain,
        to=sending.address,
        outcome=sending.outcome.value,
        rows=sending.rows,
        size=sending.octets,
        why=sending.why[:200],
    )


def relayed(next_hop: NextHop, hostname: str) -> Send:
    """Sends by that relay, as ourselves."""
    ourselves = Client(address=None, port=None, name=None, helo=hostname, protocol="ESMTP")

    async def send(sender: str, recipient: str, mail: bytes) -> Reply:
        transaction = next_hop.transaction(ourselves, Command(sender))
        try:
            async with asyncio.timeout(SENDING):
                replies: Sequence[Reply] = await transaction.recipients([Command(recipient)])
                if replies[0].code // 100 != 2:
                    return replies[0]
                return await transaction.send(_pieces(mail), wanted=lambda: True)
        except TimeoutError:
            raise NextHopGone("no answer in time", in_doubt=transaction.dot_sent) from None
        finally:
            await transaction.abort()

    return send


def _pieces(mail: bytes, size: int = 262_144) -> Iterable[bytes]:
    return (mail[n : n + size] for n in range(0, len(mail), size))
