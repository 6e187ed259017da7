"""From a mail and what became of it to its record. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from gatekeeper.message.header import header_of
from gatekeeper.model import (
    Action,
    Counters,
    Mail,
    Message,
    Missing,
    Notebook,
    Recipient,
    Reply,
    Session,
    Verdict,
)
from gatekeeper.records.document import (
    ABANDONED,
    ClientFacts,
    Decision,
    Record,
    RecordedFinding,
    RecordedRecipient,
    UnreadableDocument,
    from_document,
    to_document,
)
from gatekeeper.records.evidence import Room, clean, evidence_of
from gatekeeper.records.queue_id import queue_id
from gatekeeper.store.base import StoredRecord

__all__ = ["Record", "UnreadableDocument", "from_document", "record_of", "stored", "to_document"]  # whole in one place

LISTED = 100
"""Recipients that are kept with all that is known of them (RFC 5321 §4.5.3.1.8)."""
NAMED = 1000
"""Recipients beyond those that are kept by address only; still more are counted."""
FINDINGS = 200
ROOM = 48 * 1024
"""Characters of evidence in one record."""
ADDRESS_LIMIT = 320
GIVEN_UP = frozenset({"client_gone", "withdrawn"})
"""Notes of transactions that the client left."""


def record_of(
    mail: Mail,
    verdict: Verdict | None,
    *,
    reply: Reply,
    next_hop: Reply | None = None,
    note: str = "",
    now: float,
) -> Record:
    """The record of a transaction that has ended (or of a refusal), under the envelope's id."""
    session, envelope = mail.session, mail.envelope
    room = Room(ROOM)
    started = envelope.started or session.started
    everyone = [*envelope.recipients, *envelope.refused]
    if mail.recipient is not None and not any(one is mail.recipient for one in everyone):
        everyone.append(mail.recipient)
    books = (session.notebook, envelope.notebook)
    return Record(
        id=envelope.id,
        time=now,
        duration=round(max(0.0, now - started), 3) if started else 0.0,
        server=session.server,
        session=session.id,
        client=_client(session),
        action=_outcome(mail, verdict, reply, next_hop, note),
        reply=_reply(reply),
        sender=None if envelope.sender is None else clean(str(envelope.sender), ADDRESS_LIMIT),
        recipients=tuple([_recipient(one, verdict, room) for one in everyone[:LISTED]]),
        more_recipients=tuple([_address(one) for one in everyone[LISTED : LISTED + NAMED]]),
        unlisted=max(0, len(everyone) - LISTED - NAMED),
        size=None if mail.message is None else mail.message.size,
        message_id=_message_id(mail.message),
        decision=_decision(verdict),
        findings=_findings(books, room),
        missing=_missing(books),
        next_hop=None if next_hop is None else _reply(next_hop),
        queue_id=queue_id(next_hop) or clean(envelope.queue_id or "", 64),
        note=clean(note, 200),
    )


def stored(record: Record) -> StoredRecord:
    """What the store searches by, and the document."""
    everyone = [one.address for one in record.recipients] + list(record.more_recipients)
    return StoredRecord(
        id=record.id,
        time=record.time,
        action=record.action,
        score=record.millis / 1000,
        address=record.client.address or "",
        sender=(record.sender or "").lower(),
        recipients=tuple(dict.fromkeys([one.lower() for one in everyone])),
        queue_id=record.queue_id,
        document=to_document(record),
    )


def _outcome(mail: Mail, verdict: Verdict | None, reply: Reply, next_hop: Reply | None, note: str) -> str:
    """What became of it. Accepted is only what got a positive final reply, the next hop's too if it was asked."""
    delivered = next_hop is not None and next_hop.positive
    if note in GIVEN_UP and not delivered:
        return ABANDONED
    if reply.permanent:
        return Action.REJECT.word
    if reply.temporary:
        refused = verdict is not None and verdict.action.refuses and verdict.action is not Action.REJECT
        return verdict.action.word if verdict is not None and refused else Action.DEFER.word
    if verdict is not None and not verdict.action.refuses and (next_hop is None or delivered):
        return verdict.action.word
    refusals = [one.reply for one in mail.envelope.refused if one.reply is not None]
    if mail.envelope.recipients or not refusals:
        return ABANDONED
    # Nobody was left to send to: the refusals were the outcome, whatever ended the transaction.
    return Action.REJECT.word if all(one.permanent for one in refusals) else Action.DEFER.word


def _client(session: Session) -> ClientFacts:
    def text(value: str | None) -> str | None:
        return None if value is None else clean(value, 255)

    counters = session.counters
    return ClientFacts(
        address=None if session.address is None else str(session.address),
        port=session.port,
        name=text(session.name),
        helo=text(session.helo),
        extended=session.extended,
        tls=session.tls,
        login=text(session.login),
        counters={name: count for name in _COUNTERS if (count := getattr(counters, name))},
    )


_COUNTERS = tuple(field.name for field in dataclasses.fields(Counters))


def _address(recipient: Recipient) -> str:
    return clean(str(recipient.address), ADDRESS_LIMIT)


def _recipient(recipient: Recipient, verdict: Verdict | None, room: Room) -> RecordedRecipient:
    own = recipient.verdict
    if verdict is not None:
        own = verdict.recipients.get(str(recipient.address), own)
    return RecordedRecipient(
        address=_address(recipient),
        reply=None if recipient.reply is None else _reply(recipient.reply),
        by_next_hop=recipient.by_next_hop,
        decision=_decision(own),
        findings=_findings((recipient.notebook,), room),
        missing=_missing((recipient.notebook,)),
    )


def _decision(verdict: Verdict | None) -> Decision | None:
    if verdict is None:
        return None
    return Decision(
        action=verdict.action.word,
        millis=verdict.millis,
        thresholds=verdict.thresholds,
        contributions=verdict.contributions,
        missing=verdict.missing,
        not_run=verdict.not_run,
        incomplete=verdict.incomplete,
        decided_by=verdict.decided_by,
        held=None if verdict.held is None else verdict.held.word,
    )


def _findings(books: Iterable[Notebook], room: Room) -> tuple[RecordedFinding, ...]:
    found = [finding for book in books for finding in book.findings][:FINDINGS]
    return tuple([RecordedFinding(one.rule, clean(one.text, 500), evidence_of(one.evidence, room)) for one in found])


def _missing(books: Iterable[Notebook]) -> tuple[Missing, ...]:
    found = dict.fromkeys(missing for book in books for missing in book.missing)
    return tuple([Missing(one.name, one.rules, clean(one.why, 300)) for one in list(found)[:FINDINGS]])


def _reply(reply: Reply) -> Reply:
    return Reply(reply.code, tuple([clean(line, 600) for line in reply.lines[:20]]))


def _message_id(message: Message | None) -> str:
    found = None if message is None else header_of(message).first("message-id")
    return "" if found is None else clean(found.text, 250)
