"""A whole mail at once, from a file or an HTTP request: judged stage by stage as the live path does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gatekeeper.gate import Gate
from gatekeeper.message.reading import read_message
from gatekeeper.model import Action, Address, IPAddress, Mail, Message, Recipient, Reply, Stage, Tls, Verdict
from gatekeeper.records.answer import CheckResult
from gatekeeper.records.record import record_of
from gatekeeper.servers.relay_guard import RelayGuard

PASSED = Reply.of(250, "2.0.0 Ok")


@dataclass(frozen=True, slots=True)
class Told:
    """What whoever asks tells of the client and the envelope; None is what was not told."""

    address: IPAddress | None = None
    port: int | None = None
    name: str | None = None
    helo: str | None = None
    tls: Tls | None = None
    login: str | None = None
    sender: Address | None = None
    recipients: tuple[Address, ...] = ()
    queue_id: str | None = None


async def check(
    gate: Gate,
    came: bytes | Message,
    told: Told,
    *,
    server: str,
    now: float,
    guard: RelayGuard | None = None,
    keep: bool,
) -> CheckResult:
    """The verdict on what came, as octets or read already. With `keep` it is recorded, as far as there is a recipient.

    As on the wire a refusal at RCPT, when it is every recipient's, is the verdict. `guard` refuses domains that are
    not ours, where nobody else does. `now` is Unix time.
    """
    session = gate.session(server)
    session.address, session.port, session.name = told.address, told.port, told.name
    session.helo, session.extended, session.tls, session.login = told.helo, True, told.tls, told.login
    mail = Mail(session, gate.envelope(session))
    mail.envelope.sender, mail.envelope.queue_id = told.sender, told.queue_id
    if not all(str(each).isascii() for each in (told.sender or "", *told.recipients)):
        mail.envelope.parameters = ("SMTPUTF8",)  # without it such an address cannot be said (RFC 6531 §3.4)
    try:
        verdict = await gate.judge(Stage.CONNECT, mail)
        if verdict.action != Action.DROP:
            verdict = await _judge_recipients(gate, mail, told.recipients, guard)
        if not verdict.action.refuses:
            mail.message = came if isinstance(came, Message) else read_message(came)
            verdict = await gate.judge(Stage.MESSAGE, mail)
        return await _result(gate, mail, verdict, now=now, keep=keep)
    finally:
        if keep:
            await gate.leave(session)


async def _judge_recipients(gate: Gate, mail: Mail, recipients: Sequence[Address], guard: RelayGuard | None) -> Verdict:
    """The verdict of the last recipient that passes; where all are refused, one that is not for good, if any is.

    One answer is given for all of them: a recipient that was only put off must not be refused for good with another.
    """
    passed = refused = whose = None
    for address in recipients:
        mail.recipient, mail.stage = Recipient(address), Stage.RCPT
        verdict = guard.refusal(address, mail.session) if guard is not None else None
        if verdict is None:
            verdict = await gate.judge(Stage.RCPT, mail)
        if verdict.action.refuses:
            if refused is None or refused.action is Action.REJECT:
                refused, whose = verdict, mail.recipient
            mail.envelope.refused.append(mail.recipient)
        else:
            passed = verdict
            mail.envelope.recipients.append(mail.recipient)
    if passed is None and refused is not None:
        mail.recipient = whose
        return refused
    return passed or await gate.judge(Stage.MAIL, mail)


async def _result(gate: Gate, mail: Mail, verdict: Verdict, *, now: float, keep: bool) -> CheckResult:
    refused = verdict.action.refuses
    reply = gate.reply(verdict, mail) if refused else PASSED
    record = record_of(mail, verdict, reply=reply, next_hop=None, note="", now=now)
    if mail.stage < Stage.DATA and refused:  # one record for many of its kind, whose id stands in the reply
        record = replace(record, id=mail.envelope.memo.get("refusal", record.id))
    if keep:
        await _keep(gate, mail, verdict, reply)
    edits = () if mail.message is None or refused else tuple(gate.edits(mail, verdict))
    return CheckResult(verdict, record, reply if refused else None, edits)


async def _keep(gate: Gate, mail: Mail, verdict: Verdict, reply: Reply) -> None:
    if mail.stage < Stage.DATA and verdict.action.refuses:
        await gate.refused(mail, verdict, reply=reply)
    elif mail.envelope.recipients:
        await gate.finish(mail, verdict, reply=reply)
