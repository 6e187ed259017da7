"""One mail's way to the next hop, and what its answers mean to the client (RFC 5321 §4.2.5, RFC 1047)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from gatekeeper import log, metrics
from gatekeeper.checks.reverse_dns import ReverseDns, ReverseName
from gatekeeper.message import edit
from gatekeeper.message.edit import Edit
from gatekeeper.model import Heard, Mail, Message, Recipient, Reply
from gatekeeper.nexthop import (
    Capabilities,
    Client,
    Command,
    NextHopGone,
    NextHopUrl,
    RelayAnswer,
    Transaction,
    Withdrawn,
)
from gatekeeper.wire.replies import enhanced_code

AWAY_AT_RCPT: Final = Reply.of(451, "4.4.1 The mail server behind does not answer, try again later")
AWAY_AT_DATA: Final = Reply.of(451, "4.4.1 The mail server behind went away, try again later")
IN_DOUBT: Final = Reply.of(451, "4.4.2 The mail server behind did not confirm your message, try again later")
WITHDRAWN: Final = Reply.of(421, "4.4.2 You left before your message was passed on")
_NOBODY: Final = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"})
REFUSED_KEPT: Final = 100
"""Refused recipients of one transaction: so many are remembered for its record, and then the rest has to come again."""


class NextHop(Protocol):
    """What the SMTP server needs of the next hop (`nexthop.NextHop`)."""

    @property
    def url(self) -> NextHopUrl: ...

    @property
    def capabilities(self) -> Capabilities | None: ...

    @property
    def takes_xclient(self) -> bool: ...

    def transaction(self, client: Client, mail: Command) -> Transaction: ...

    async def relay_probe(self, domain: str) -> RelayAnswer: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a delivery ended: the answer to the client, the next hop's own if it gave one, a note for the record."""

    reply: Reply
    next_hop: Reply | None = None
    note: str = ""


class Relay:
    """The next-hop side of one mail. Nothing is opened before its first recipient. `abandon` or `deliver` ends it."""

    def __init__(self, next_hop: NextHop, mail: Mail) -> None:
        self._next_hop = next_hop
        self._mail = mail
        self._transaction: Transaction | None = None
        self.in_doubt = False  # the next hop may have the message, and nobody was told

    async def recipients(self, asked: Sequence[Recipient]) -> None:
        """Ask the next hop about these, and write down its answers: in them, in the envelope, in the counters.

        They stand in `envelope.recipients` already, where those that are refused do not stay.
        """
        if self._transaction is None:
            self._transaction = self._begin()
        gone = False
        try:
            replies = await self._transaction.recipients([_command(recipient) for recipient in asked])
        except NextHopGone as error:
            log.event("next_hop_away", level=logging.DEBUG, id=self._mail.envelope.id, error=error)
            replies = [AWAY_AT_RCPT] * len(asked)
            gone = True
        envelope, session = self._mail.envelope, self._mail.session
        counters, bounce = session.counters, envelope.sender is not None and envelope.sender.null
        for recipient, reply in zip(asked, replies, strict=True):
            recipient.reply = reply
            recipient.by_next_hop = not gone
            if accepts(reply):
                counters.accepted += 1
                session.hear(recipient.address, Heard.KNOWN, null_sender=bounce)
                metrics.RECIPIENTS["accepted"].inc()
                continue
            metrics.RECIPIENTS["next_hop_refused" if reply.permanent else "next_hop_deferred"].inc()
            if is_unknown(reply) and self._transaction.refusal is None:
                counters.unknown += 1
                session.hear(recipient.address, Heard.UNKNOWN, null_sender=bounce)
            note_refused(self._mail, recipient)
        envelope.recipients = [r for r in envelope.recipients if r.reply is None or accepts(r.reply)]

    async def deliver(self, edits: list[Edit], *, wanted: Callable[[], bool]) -> Outcome:
        """Pass the message on, with its header edited. The answer is the next hop's own, whatever it is."""
        message = self._mail.message
        transaction, self._transaction = self._transaction, None
        if message is None or transaction is None:
            raise RuntimeError("there is nothing to deliver")
        answer: Reply | None = None
        try:
            answer = await transaction.send(_chunks(message, edits), wanted=wanted)
        except Withdrawn:
            return Outcome(WITHDRAWN, note="withdrawn")
        except NextHopGone as error:
            log.event("next_hop_away", level=logging.WARNING, id=self._mail.envelope.id, error=error)
            if error.in_doubt:
                return Outcome(IN_DOUBT, note="in_doubt_next_hop")
            return Outcome(AWAY_AT_DATA, next_hop=error.reply, note="next_hop_gone")
        finally:  # also when we are told to end in the middle of it
            self.in_doubt = transaction.dot_sent and answer is None
            if self.in_doubt:
                metrics.RELAY_IN_DOUBT["next_hop"].inc()
        return Outcome(answer, next_hop=answer)

    async def park(self) -> None:
        """Hold no connection while the client is made to wait."""
        if self._transaction is not None:
            await self._transaction.park()

    async def abandon(self) -> None:
        """The mail is not passed on. May be called twice."""
        transaction, self._transaction = self._transaction, None
        if transaction is not None:
            await transaction.abort()

    def _begin(self) -> Transaction:
        envelope, session = self._mail.envelope, self._mail.session
        sender = envelope.sender
        if sender is None:
            raise RuntimeError("a transaction begins with MAIL")
        client = Client(
            address=None if session.address is None else str(session.address),
            port=session.port,
            name=session.name or self._confirmed_name(),
            name_unsure=any(missing.name == ReverseDns.name for missing in session.notebook.missing),
            helo=session.helo,
            protocol="ESMTP" if session.extended else "SMTP",
            ident=envelope.id,
        )
        return self._next_hop.transaction(client, Command(sender.raw, envelope.parameters))

    def _confirmed_name(self) -> str | None:
        """The client's name as DNS has it both ways; another the next hop must not believe."""
        found = self._mail.evidence(ReverseName)
        return found.name if found is not None and found.confirmed else None


def accepts(reply: Reply) -> bool:
    return reply.code // 100 == 2


def is_unknown(reply: Reply) -> bool:
    """Whether a refusal of RCPT tells that there is no such mailbox, rather than that it is full or not for all.

    An enhanced code says it best (RFC 3463 §3.2); without one, or with one that says nothing, the code does.
    """
    enhanced = enhanced_code(reply)
    if enhanced is None or enhanced in {"5.0.0", "5.1.0"}:
        return reply.code in {550, 551, 553}
    return enhanced in _NOBODY


def note_refused(mail: Mail, recipient: Recipient) -> None:
    if len(mail.envelope.refused) < REFUSED_KEPT:
        mail.envelope.refused.append(recipient)


def _command(recipient: Recipient) -> Command:
    return Command(recipient.address.raw, recipient.parameters)


def _chunks(message: Message, edits: list[Edit]) -> Iterator[bytes]:
    header = edit.apply(message, edits) if edits else message.header
    yield header + b"\r\n" if message.separator else header
    yield from message.body.chunks()
