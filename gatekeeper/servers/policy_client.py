"""One SMTP client of Postfix's, as policy requests tell of it: its session, its mail, and what is answered about both.

What a request does not tell is not known here: what became of a recipient that passed, whether the client said RSET
or left. It is inferred as far as it is certain: from `recipient_count` at DATA, and from what comes next. `cut_off`
says that nothing more can come, whatever the client does: then nothing is held against it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from gatekeeper import metrics
from gatekeeper.gate import Gate
from gatekeeper.model import (
    Action,
    Address,
    BytesBody,
    Heard,
    Mail,
    Message,
    Recipient,
    Reply,
    Session,
    Stage,
    Verdict,
)
from gatekeeper.servers import answers, policy_answers
from gatekeeper.servers.overload import Overload
from gatekeeper.servers.policy_answers import DUNNO, PASSED
from gatekeeper.wire.policy_request import PolicyRequest, State

MOST_RECIPIENTS: Final = 5000
"""Of one mail; Postfix itself stops at smtpd_recipient_limit, 1000."""
REFUSED_KEPT: Final = 100


@dataclass(frozen=True, slots=True)
class Answer:
    """An action of access(5), and how many seconds the client is to wait for it."""

    action: str
    delay: float = 0.0

    def again(self) -> Answer:
        """What the same question gets, when another of Postfix's restriction lists asks it: nothing is done twice."""
        return Answer(DUNNO if self.action.startswith("PREPEND") else self.action)


NOTHING: Final = Answer(DUNNO)


@dataclass(slots=True)
class Asked:
    """Which of Postfix's restriction lists ask us, as far as one smtpd has shown it on its connection.

    Only where one is known to ask does its silence mean that the client went no further.
    """

    data: bool = False
    end: bool = False


@dataclass(slots=True)
class Transaction:
    """One mail. `lost` when its beginning was told to somebody else: another worker, or us before a restart."""

    instance: str
    mail: Mail
    lost: bool
    given: dict[tuple[State, str], Answer] = field(default_factory=dict)  # several lists may ask the same
    verdict: Verdict | None = None  # the strictest that passed, or the one that refused
    reply: Reply = PASSED
    at_data: bool = False
    over: bool = False
    marked: bool = False  # the header field has been added
    recorded: bool = False


class PolicyClient:
    """Made by its first request. One question at a time; `end` is the last call."""

    def __init__(self, gate: Gate, request: PolicyRequest, *, asked: Asked, prepend: str, overload: Overload) -> None:
        self._gate = gate
        self._overload = overload
        self._asked = asked
        self._prepend = prepend
        self._who = (request.address, request.port)
        self.session: Session = gate.session("policy_service")
        self.session.shows_messages = False
        self.transaction: Transaction | None = None
        self.busy = False
        self.holder: object | None = None  # the connection that asks about it now
        self.cut_off = False  # that it is asked about no more says nothing about what it did
        self._tell(request)

    @property
    def instance(self) -> str:
        """Of the mail in hand, "" for none."""
        return "" if self.transaction is None else self.transaction.instance

    @property
    def in_hand(self) -> bool:
        """Whether there is a mail of which more will certainly be asked, or it will never be finished."""
        transaction = self.transaction
        if transaction is None or transaction.over:
            return False
        return self._asked.end or (self._asked.data and not transaction.at_data)

    def is_of(self, request: PolicyRequest) -> bool:
        """Whether the request is about this client. A client that connects again is another one."""
        return self._who == (request.address, request.port)

    async def answer(self, request: PolicyRequest) -> Answer:
        self._asked.data |= request.state is State.DATA
        self._asked.end |= request.state is State.END
        if self.transaction is not None and self.transaction.instance != request.instance:
            await self._finish()
        if self._differs(request):
            self._gate.new_client(self.session)
            self._tell(request)
        match request.state:
            case State.RCPT:
                return await self._at_rcpt(request)
            case State.DATA | State.END:
                return await self._at_data(request)
            case State.VRFY | State.ETRN:
                return await self._at_verify(request)
            case State.CONNECT | State.HELO | State.MAIL:
                # Before MAIL looking up the client can wait: whoever leaves now costs no question.
                return await self._at_session(Stage.HELO if request.state is State.MAIL else Stage.CONNECT)
        return NOTHING

    async def end(self) -> None:
        """Nothing more will come from this client."""
        try:
            await self._finish()
        finally:
            await self._gate.leave(self.session)

    # --- what is known of the client ---------------------------------------------------------------------------------

    def _tell(self, request: PolicyRequest) -> None:
        session = self.session
        session.address, session.port = request.address, request.port
        session.name = request.name or request.reverse_name
        session.helo, session.extended = request.helo, request.extended
        session.tls, session.login = request.tls, request.login

    def _differs(self, request: PolicyRequest) -> bool:
        """Whether something has changed since, by EHLO, STARTTLS or AUTH."""
        known = self.session
        return (known.helo, known.extended, known.tls, known.login, known.name) != (
            request.helo,
            request.extended,
            request.tls,
            request.login,
            request.name or request.reverse_name,
        )

    # --- stages ------------------------------------------------------------------------------------------------------

    async def _at_session(self, stage: Stage) -> Answer:
        mail = Mail(self.session, self._gate.envelope(self.session))
        verdict = await self._gate.judge(stage, mail)
        if not verdict.action.refuses:
            return NOTHING  # what is held is given at RCPT
        return await self._refused_alone(mail, verdict)

    async def _at_verify(self, request: PolicyRequest) -> Answer:
        """VRFY asks for a name as RCPT does, and is answered alike. ETRN is a VRFY without a name."""
        self.session.counters.verifies += 1
        mail = Mail(self.session, self._gate.envelope(self.session))
        if request.recipient is not None:
            mail.recipient = Recipient(request.recipient)
            verdict = await self._gate.judge(Stage.RCPT, mail)
        else:
            verdict = await self._gate.judge(Stage.HELO, mail)
            if verdict.held is not None:  # no recipient will come for whom it could be held
                verdict = replace(verdict, action=verdict.held, held=None)
        if verdict.action.refuses:
            return await self._refused_alone(mail, verdict)
        return Answer(DUNNO, verdict.delay)

    async def _at_rcpt(self, request: PolicyRequest) -> Answer:
        transaction = self._begun(request)
        if request.recipient is None:
            return NOTHING
        key = (State.RCPT, str(request.recipient))
        given = transaction.given.get(key)
        if given is None:
            self.session.counters.recipients += 1
            given = await self._consider(request.recipient, transaction)
            if len(transaction.given) < MOST_RECIPIENTS:
                transaction.given[key] = given.again()
        return given

    async def _consider(self, address: Address, transaction: Transaction) -> Answer:
        mail = transaction.mail
        envelope, recipient = mail.envelope, Recipient(address)
        if len(transaction.given) >= MOST_RECIPIENTS:
            return Answer(policy_answers.plain(answers.TOO_MANY_RECIPIENTS))
        if not envelope.recipients and await self._overload.puts_off_mail_of(self.session, self._gate):
            # The same for every name: whoever is not judged is not counted as a prober either.
            return Answer(policy_answers.plain(answers.BUSY_AT_MAIL))
        mail.recipient = recipient
        try:
            verdict = await self._gate.judge(Stage.RCPT, mail)
            if not verdict.action.refuses:
                recipient.reply = PASSED
                envelope.recipients.append(recipient)
                metrics.RECIPIENTS["accepted"].inc()
                transaction.verdict = _stricter(transaction.verdict, verdict)
                return self._passed(transaction, verdict, now=self._prepend == "rcpt")
            reply = recipient.reply = self._reply(verdict, mail)
            if len(envelope.refused) < REFUSED_KEPT:
                envelope.refused.append(recipient)
            metrics.RECIPIENTS["refused" if reply.permanent else "deferred"].inc()
            await self._gate.refused(mail, verdict, reply=reply)
            return Answer(policy_answers.refusal(verdict, reply), verdict.delay)
        finally:
            mail.recipient = None

    async def _at_data(self, request: PolicyRequest) -> Answer:
        """DATA, and the end of the message: all recipients are known. The content never is."""
        transaction = self._begun(request)
        at_end = request.state is State.END
        key = (State.END if at_end else State.DATA, "")
        given = transaction.given.get(key)
        if given is None:
            await self._count(request, transaction)
            given = await self._consider_all(transaction, at_end=at_end)
            transaction.given[key] = given.again()
        return given

    async def _count(self, request: PolicyRequest, transaction: Transaction) -> None:
        """Learn from how many recipients Postfix has accepted how many it has refused after we let them pass."""
        envelope, counters = transaction.mail.envelope, self.session.counters
        if not transaction.at_data:
            transaction.at_data = True
            accepted = request.recipient_count or 0
            if not transaction.lost and accepted:
                refused = max(0, len(envelope.recipients) - accepted)
                counters.unknown += refused
                counters.accepted += accepted
                if not refused:
                    self._hear(transaction.mail, Heard.KNOWN)
                metrics.RECIPIENTS["next_hop_refused"].inc(refused)
            if transaction.lost and accepted == 1 and request.recipient is not None:
                recipient = Recipient(request.recipient, reply=PASSED)
                transaction.mail.recipient = recipient
                await self._gate.judge(Stage.RCPT, transaction.mail)  # the answer to it was given long ago
                transaction.mail.recipient = None
                envelope.recipients.append(recipient)

    def _hear(self, mail: Mail, heard: Heard) -> None:
        """The same for all its recipients: which of several it was is never told."""
        bounce = mail.envelope.sender is not None and mail.envelope.sender.null
        for recipient in mail.envelope.recipients:
            self.session.hear(recipient.address, heard, null_sender=bounce)

    async def _consider_all(self, transaction: Transaction, *, at_end: bool) -> Answer:
        mail = transaction.mail
        verdict = await self._gate.judge(Stage.DATA, mail)
        if verdict.action is Action.DROP and not mail.envelope.recipients:
            return await self._refused_alone(mail, verdict)
        if verdict.action.refuses and mail.envelope.recipients:
            reply = self._reply(verdict, mail)
            transaction.over, transaction.verdict, transaction.reply = True, verdict, reply
            await self._record(transaction)
            return Answer(policy_answers.plain(reply), verdict.delay)
        if not verdict.action.refuses:  # where nobody knows for whom it is, thresholds of some may be higher
            transaction.verdict = verdict
        if at_end:
            transaction.over = True
            self.session.counters.take(verdict.action, len(mail.envelope.recipients))
            await self._record(transaction)
            return Answer(DUNNO, verdict.delay)  # PREPEND would be ignored: the header has gone by
        return self._passed(transaction, verdict, now=self._prepend != "never")

    # --- parts of them -----------------------------------------------------------------------------------------------

    def _begun(self, request: PolicyRequest) -> Transaction:
        """The mail that the request is about, begun by it if need be."""
        transaction = self.transaction
        if transaction is None:
            mail = Mail(self.session, self._gate.envelope(self.session))
            transaction = Transaction(request.instance, mail, lost=request.state is not State.RCPT)
            self.transaction = transaction
            mail.envelope.sender = request.sender
        envelope = transaction.mail.envelope
        envelope.queue_id = request.queue_id or envelope.queue_id
        if request.size is not None:
            envelope.parameters = (f"SIZE={request.size}",)
        return transaction

    def _passed(self, transaction: Transaction, verdict: Verdict, *, now: bool) -> Answer:
        """DUNNO, or once for each mail the header field."""
        if not now or transaction.marked or verdict.action.refuses:
            return Answer(DUNNO, verdict.delay)
        transaction.marked = True
        mail = transaction.mail
        # The edits of a message that is not here: what would be inserted stands among them all the same.
        empty = Mail(mail.session, mail.envelope, message=Message(b"", BytesBody(b"")), stage=mail.stage)
        return Answer(policy_answers.header(self._gate.edits(empty, verdict)), verdict.delay)

    def _reply(self, verdict: Verdict, mail: Mail) -> Reply:
        self.session.counters.refused += 1
        self.session.blocked |= verdict.action is Action.DROP
        return self._gate.reply(verdict, mail)

    async def _refused_alone(self, mail: Mail, verdict: Verdict) -> Answer:
        """A refusal outside any mail."""
        reply = self._reply(verdict, mail)
        await self._gate.refused(mail, verdict, reply=reply)
        return Answer(policy_answers.plain(reply), verdict.delay)

    async def _finish(self) -> None:
        """The mail in hand, if any, is over."""
        transaction, self.transaction = self.transaction, None
        if transaction is not None:
            await self._record(transaction)

    async def _record(self, transaction: Transaction) -> None:
        """The record of a mail, once, with what can be said of its end."""
        recipients, counters = transaction.mail.envelope.recipients, self.session.counters
        if transaction.recorded or not recipients:
            return
        transaction.recorded = True
        verdict, note = transaction.verdict, ""
        if not transaction.over:
            asked = self._asked.end or (self._asked.data and not transaction.at_data)
            given_up = asked and not self.cut_off
            verdict, note = (None, "client_gone") if given_up else (verdict, "end_not_seen")
            if given_up and not transaction.at_data:
                counters.resets += 1
                counters.abandoned += len(recipients)
                self._hear(transaction.mail, Heard.ABANDONED)
        await self._gate.finish(transaction.mail, verdict, reply=transaction.reply, note=note)


def _stricter(one: Verdict | None, other: Verdict) -> Verdict:
    return other if one is None or (other.action, other.millis) > (one.action, one.millis) else one
