"""The milter: a mail server tells us what its client does, and we tell it what to do about it (Sendmail's libmilter).

The mail server talks to the client, so what stood on the wire itself is not seen here, and its own answer to the
message comes after ours. No answer is held back to slow a client: that would hold one of the mail server's processes.
`wire/milter.py` knows the packets; here is what they mean.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Final, cast

from gatekeeper import log, metrics
from gatekeeper.gate import Gate
from gatekeeper.mailauth.bodies import body_hashes
from gatekeeper.message.edit import Change, Edit, Remove, value_of
from gatekeeper.model import Action, Envelope, Heard, IPAddress, Mail, Recipient, Reply, Session, Stage, Verdict
from gatekeeper.servers import answers
from gatekeeper.servers.conversation import ClientGone, ClientSilent, Conversation
from gatekeeper.servers.milter_facts import MacroTable
from gatekeeper.servers.milter_intake import Intake
from gatekeeper.servers.milter_settings import Settings
from gatekeeper.servers.overload import Overload
from gatekeeper.servers.peers import Peers
from gatekeeper.servers.relay import is_unknown, note_refused
from gatekeeper.servers.sessions import NOT_ITS_DOING, PARTING, Room, SessionServer
from gatekeeper.servers.spool import Spool
from gatekeeper.wire import milter_answers
from gatekeeper.wire.address import told_mailbox
from gatekeeper.wire.milter import (
    Abort,
    BodyChunk,
    Command,
    Connect,
    Data,
    EndOfHeader,
    EndOfMessage,
    HeaderField,
    Hello,
    Macros,
    MailFrom,
    MilterError,
    Negotiate,
    NewConnection,
    PacketReader,
    Quit,
    RcptTo,
    Unknown,
    decode,
)
from gatekeeper.wire.milter_answers import Agreement

__all__ = ["MilterServer", "MilterSession", "Settings"]

PROGRESS_SECONDS: Final = 5.0
"""Judging that takes longer than this says so, again and again: Sendmail waits 10 s for a sign of life, not more."""
PATIENCE: Final = 60.0
"""Seconds until a mail server that does not take our answers is given up."""
TURN: Final = 256
"""Packets after which the other sessions get their turn."""
RCPT_OK: Final = Reply.of(250, "2.1.5 Ok")
LEFT_TO_SERVER: Final = Reply.of(250, "2.0.0 Ok, left to the mail server")
"""For the record: the mail server's own answer to the message comes after ours, and is not told."""
_OF_ONE_MAIL: Final = frozenset({RcptTo, Data, HeaderField, EndOfHeader, BodyChunk, EndOfMessage})

Method = Callable[["MilterSession", Any], Coroutine[Any, Any, "bytes | None"]]


class MilterSession(asyncio.Protocol):
    """One connection of a mail server: one client of its after the other. Its task alone reads, judges and answers."""

    __slots__ = (
        "_agreed",
        "_client_exempt",
        "_conversation",
        "_idle",
        "_in_data",
        "_intake",
        "_macros",
        "_mail",
        "_mail_exempt",
        "_owed",
        "_packets",
        "_peer",
        "_quit",
        "_retired",
        "_server",
        "_session",
        "_transport",
        "_unjudged",
        "task",
    )

    def __init__(self, server: MilterServer, peer: IPAddress | None) -> None:
        self.task: asyncio.Task[None] | None = None
        self._server = server
        self._peer = peer
        self._transport: asyncio.Transport | None = None
        self._conversation = Conversation(server.loop, line_limit=0, patience=PATIENCE)
        self._packets = PacketReader()
        self._agreed: Agreement | None = None
        self._macros = MacroTable()
        self._owed = False  # whether the command in hand waits for an answer
        self._quit = False
        self._idle = False  # one client has gone, and no other has come
        self._retired = False
        # one client
        self._session: Session | None = None
        self._client_exempt = False
        self._unjudged = False  # exempt, and its mail ours to sign
        # one mail
        self._mail: Mail | None = None
        self._intake: Intake | None = None
        self._in_data = False
        self._mail_exempt = False

    # --- from the event loop -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._conversation.connected(self._transport)
        self.task = self._server.loop.create_task(self._serve())
        self._server.opened(self)

    def data_received(self, data: bytes) -> None:
        self._conversation.received(data)

    def eof_received(self) -> bool:
        self._conversation.end()
        return True  # it may be waiting for an answer

    def connection_lost(self, error: Exception | None) -> None:
        self._conversation.lose(error)
        if self.task is None:  # it was gone before it became a session
            self._server.closed(self, self._peer)

    def pause_writing(self) -> None:
        self._conversation.pause_writing()

    def resume_writing(self) -> None:
        self._conversation.resume_writing()

    # --- the connection ----------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        note = "client_gone"
        try:
            await self._converse()
        except ClientGone:
            pass
        except ClientSilent:
            note = "client_silent"
        except MilterError as error:
            note = "protocol_error"
            metrics.MILTER_PROTOCOL_ERRORS.inc()
            log.event("milter_protocol_error", level=logging.WARNING, peer=self._peer or "unix", error=str(error))
        except asyncio.CancelledError:  # `drain` has waited long enough
            note = "shutdown"
            self._last_word(answers.GOING_DOWN)
        except Exception as error:  # noqa: BLE001 - the one border around a session: the others live on
            note = "bug"
            log.traceback_once("session_failed", error, id=self._id, client=self._client)
            self._last_word(answers.OUR_FAULT)
        try:
            await self._leave(note)
            await self._conversation.send()
            await self._conversation.close()
        except Exception as error:  # noqa: BLE001 - the same border
            log.traceback_once("session_failed", error, id=self._id, client=self._client)
            self._conversation.abort()
        finally:
            self._server.closed(self, self._peer)

    async def _converse(self) -> None:
        conversation, timeout = self._conversation, self._server.settings.timeout
        taken = 0
        while not self._quit:
            octets = await conversation.text(conversation.now + timeout)
            for letter, data in self._packets.feed(octets):
                taken += 1
                if taken % TURN == 0:
                    await asyncio.sleep(0)
                if letter == b"D" and len(data) == 1:
                    continue  # no macros at all: Postfix says so before each header field
                command = decode(letter, data)
                if (passing := IN_PASSING.get(type(command))) and passing(self, command):
                    continue
                await self._take(command)
                if self._quit:
                    return

    async def _take(self, command: Command) -> None:
        kind = type(command)
        if self._agreed is None:
            if kind is not Negotiate and kind is not Quit:
                raise MilterError(f"{kind.__name__} before the negotiation")
            self._owed = False
        else:
            self._owed = kind not in self._agreed.unanswered
        if (self._client_exempt and kind not in _NEVER_EXEMPT) or (self._mail_exempt and kind in _OF_ONE_MAIL):
            answer: bytes | None = milter_answers.ACCEPT
        else:
            answer = await COMMANDS[kind](self, command)
        if self._owed:
            self._say(answer or milter_answers.CONTINUE)

    def _say(self, answer: bytes) -> None:
        self._conversation.say(answer)
        self._owed = False

    def _last_word(self, reply: Reply) -> None:
        """The answer that is owed when a connection ends on our side; the mail server cuts its client off then."""
        if self._owed:
            self._say(milter_answers.reply(reply))
        self._conversation.patience = PARTING

    async def _leave(self, note: str) -> None:
        """The client's session is over, with whatever it has begun."""
        try:
            await self._give_up(note)
        finally:
            session, self._session = self._session, None
            self._client_exempt = self._unjudged = False
            if session is not None:
                await self._server.gate.leave(session)

    def retire(self) -> None:
        """End when the client in hand has gone; to close before would be a 451 for its next mail."""
        self._retired = True
        if self._idle:
            self._conversation.abort()

    @property
    def _id(self) -> str | None:
        return None if self._session is None else self._session.id

    @property
    def _client(self) -> IPAddress | None:
        return None if self._session is None else self._session.address

    # --- commands, in the order of a session -------------------------------------------------------------------------

    async def _negotiate(self, offer: Negotiate) -> None:
        if self._agreed is not None:
            raise MilterError("a second negotiation")
        self._agreed = milter_answers.agree(offer)
        self._conversation.say(self._agreed.answer())

    def _take_macros(self, macros: Macros) -> bool:
        if self._agreed is None:
            return False
        self._macros.take(macros)
        return True

    async def _connect(self, client: Connect) -> bytes | None:
        if self._session is not None:
            raise MilterError("a second client without an end of the first")
        self._idle = False
        address = self._macros.client_address(client)
        if self._server.exempts(address, unix=client.family == "L"):
            metrics.MILTER_EXEMPT["network"].inc()
            if not self._server.gate.signs(Session("", "milter", 0.0, address=address)):
                self._client_exempt = True
                return milter_answers.ACCEPT
            self._unjudged = True
        session = self._session = self._server.gate.session("milter")
        session.address, session.port = address, self._macros.client_port(client)
        session.name = self._macros.client_name(client)
        mail = Mail(session, self._envelope(session))
        verdict = await self._server.gate.judge(Stage.CONNECT, mail)
        return await self._drop(verdict, mail) if verdict.action is Action.DROP else None

    async def _hello(self, hello: Hello) -> None:
        session = self._client_session()
        await self._give_up("helo")
        tls = self._macros.tls()
        if session.helo not in (None, hello.name) or (session.helo is not None and session.tls != tls):
            self._server.gate.new_client(session)
        session.helo, session.tls = hello.name, tls

    async def _mail_from(self, given: MailFrom) -> bytes | None:
        session = self._client_session()
        login, queue_id = self._macros.take_mail()
        await self._give_up("mail")
        session.login = login
        exempt = login is not None and self._server.settings.exempt_authenticated
        if exempt:
            metrics.MILTER_EXEMPT["authenticated"].inc()
            if not self._server.gate.signs(session):
                self._mail_exempt = True
                session.login = None
                return milter_answers.ACCEPT
        envelope = self._envelope(session, exempt=exempt)
        # The mail server has taken it, and completes what lacks a domain: it is not for us to refuse its form.
        envelope.sender, envelope.parameters = told_mailbox(given.path), given.parameters
        mail = Mail(session, envelope)
        if not envelope.exempt and await self._server.overload.puts_off_mail_of(session, self._server.gate):
            return milter_answers.reply(answers.BUSY_AT_MAIL)
        verdict = await self._server.gate.judge(Stage.MAIL, mail)
        if verdict.action is Action.DROP:
            return await self._drop(verdict, mail)
        self._mail, self._macros.queue_id = mail, queue_id
        return None

    async def _rcpt_to(self, given: RcptTo) -> bytes | None:
        """One recipient. Those that the mail server has refused are told too; its refusal stands, whatever we say."""
        mail = self._begun()
        if self._in_data:
            raise MilterError("a recipient after the header began")
        refusal = self._macros.take_refusal()
        if mail.envelope.exempt:
            return None
        counters = mail.session.counters
        counters.recipients += 1
        address = told_mailbox(given.path)
        if address.null:
            return self._no_address(501, "5.1.3 A recipient cannot be empty")
        recipient = Recipient(address, given.parameters)
        bounce = mail.envelope.sender is not None and mail.envelope.sender.null
        if refusal is not None:
            recipient.reply, recipient.by_next_hop = refusal, True
            if is_unknown(refusal):
                counters.unknown += 1
                mail.session.hear(address, Heard.UNKNOWN, null_sender=bounce)
            metrics.RECIPIENTS["next_hop_refused" if refusal.permanent else "next_hop_deferred"].inc()
            note_refused(mail, recipient)
        elif len(mail.envelope.recipients) >= self._server.settings.recipients:
            return self._refuse_recipient(mail, recipient, answers.TOO_MANY_RECIPIENTS)
        mail.recipient, mail.stage = recipient, Stage.RCPT
        try:
            verdict = recipient.verdict = await self._server.gate.judge(Stage.RCPT, mail)
            if refusal is not None:
                return None
            if verdict.action.refuses:
                reply = self._refusal(verdict, mail)
                answer = self._refuse_recipient(mail, recipient, reply)
                await self._server.gate.refused(mail, verdict, reply=reply)
                return answer
        finally:
            mail.recipient = None
        recipient.reply = RCPT_OK
        mail.envelope.recipients.append(recipient)
        counters.accepted += 1
        mail.session.hear(address, Heard.KNOWN, null_sender=bounce)
        metrics.RECIPIENTS["accepted"].inc()
        return None

    def _refuse_recipient(self, mail: Mail, recipient: Recipient, reply: Reply) -> bytes:
        recipient.reply = reply
        note_refused(mail, recipient)
        mail.session.counters.refused += 1
        metrics.RECIPIENTS["refused" if reply.permanent else "deferred"].inc()
        return milter_answers.reply(reply)

    async def _data(self, _: Data) -> None:
        """Only known to have come: to answer it would cost a turn, and what is found here is found with the message."""
        self._begun()
        self._in_data = True

    async def _header_field(self, field: HeaderField) -> None:
        intake = self._incoming()
        if intake.in_body:
            raise MilterError("a header field after the header")
        intake.field(field)

    def _further_field(self, field: HeaderField) -> bool:
        """One more of a header that has begun, where fields are not answered."""
        intake, agreed = self._intake, self._agreed
        if intake is None or intake.in_body or agreed is None or HeaderField not in agreed.unanswered:
            return False
        intake.field(field)
        return True

    async def _end_of_header(self, _: EndOfHeader) -> None:
        await self._incoming().end_header()

    async def _body_chunk(self, chunk: BodyChunk) -> None:
        await self._incoming().body(chunk.octets)

    async def _end_of_message(self, end: EndOfMessage) -> bytes | None:
        mail, intake = self._begun(), self._incoming()
        if end.octets:
            await intake.body(end.octets)
        mail.message = await intake.message()
        if mail.message is None and mail.envelope.exempt:
            await self._finish(mail, None, reply=LEFT_TO_SERVER)
            return milter_answers.ACCEPT  # no room to sign it in; otherwise it is none of our business
        if mail.message is None:
            reply = intake.refusal or answers.OUR_FAULT
            await self._finish(mail, None, reply=reply, note="unreadable")
            return milter_answers.reply(reply)
        await self._conversation.send()
        with Progress(self._server.loop, self._transport):
            verdict = await self._server.gate.judge(Stage.MESSAGE, mail)
        if verdict.action.refuses:
            return await self._refuse_message(mail, verdict)
        for edit in self._server.gate.edits(mail, verdict):
            self._conversation.say(self._encoded(edit))
        gone = self._conversation.ended
        if not gone and not mail.envelope.exempt:
            mail.session.counters.take(verdict.action, len(mail.envelope.recipients))
        await self._finish(mail, verdict, reply=LEFT_TO_SERVER, note="client_gone" if gone else "")
        return milter_answers.ACCEPT

    async def _abort(self, _: Abort) -> None:
        await self._give_up("abort")

    async def _unknown(self, _: Unknown) -> None:
        self._client_session().counters.errors += 1

    async def _new_connection(self, _: NewConnection) -> None:
        await self._leave("quit")
        self._macros.end_client()
        self._idle, self._quit = True, self._retired

    async def _quit_connection(self, _: Quit) -> None:
        await self._leave("quit")
        self._quit = True

    # --- what several of them need -----------------------------------------------------------------------------------

    def _client_session(self) -> Session:
        if self._session is None:
            raise MilterError("a command without a client")
        return self._session

    def _envelope(self, session: Session, *, exempt: bool = False) -> Envelope:
        """A new transaction; of an exempt client or sender it is signed and otherwise left alone."""
        envelope = self._server.gate.envelope(session)
        envelope.exempt = exempt or self._unjudged
        return envelope

    def _begun(self) -> Mail:
        if self._mail is None:
            raise MilterError("a command of a mail, and no mail has begun")
        return self._mail

    def _incoming(self) -> Intake:
        self._begun()
        if self._intake is None:
            if self._agreed is None:
                raise RuntimeError("nothing is agreed")
            self._in_data = True
            self._intake = Intake(self._server.spool, self._agreed)
        return self._intake

    def _refusal(self, verdict: Verdict, mail: Mail) -> Reply:
        """The answer of a refusing verdict. That of a drop is a 421, at which mail servers hang up by themselves."""
        if verdict.action is Action.DROP:
            mail.session.blocked = True
        return self._server.gate.reply(verdict, mail)

    async def _drop(self, verdict: Verdict, mail: Mail) -> bytes:
        reply = self._refusal(verdict, mail)
        await self._server.gate.refused(mail, verdict, reply=reply)
        return milter_answers.reply(reply)

    def _no_address(self, code: int, text: str) -> bytes:
        self._client_session().counters.errors += 1
        return milter_answers.reply(Reply.of(code, text))

    async def _refuse_message(self, mail: Mail, verdict: Verdict) -> bytes:
        reply = self._refusal(verdict, mail)
        mail.session.counters.refused += 1
        await self._finish(mail, verdict, reply=reply)
        return milter_answers.reply(reply)

    def _encoded(self, edit: Edit) -> bytes:
        if self._agreed is None:
            raise RuntimeError("nothing is agreed")
        if isinstance(edit, Remove):
            return milter_answers.delete_header(edit.occurrence, edit.name)
        if isinstance(edit, Change):
            return milter_answers.change_header(edit.occurrence, edit.name, value_of(edit), self._agreed)
        return milter_answers.insert_header(edit.index, edit.name, value_of(edit), self._agreed)

    async def _give_up(self, note: str) -> None:
        """The mail that has begun, if any, ends without an answer of ours to it."""
        mail = self._mail
        if mail is None:
            self._forget_mail()
            return
        envelope, counters = mail.envelope, mail.session.counters
        last = next(
            (r.reply for r in (*envelope.recipients[-1:], *envelope.refused[-1:]) if r.reply is not None), answers.OK
        )
        begun = bool(envelope.recipients) or any(r.by_next_hop for r in envelope.refused)
        if begun and not self._in_data and note not in NOT_ITS_DOING:
            counters.resets += 1
            counters.abandoned += len(envelope.recipients)
            bounce = envelope.sender is not None and envelope.sender.null
            for recipient in envelope.recipients:
                mail.session.hear(recipient.address, Heard.ABANDONED, null_sender=bounce)
        await self._finish(mail, None, reply=last, note=note)

    async def _finish(self, mail: Mail, verdict: Verdict | None, *, reply: Reply, note: str = "") -> None:
        """The mail is over: its record, and a clean slate."""
        mail.envelope.queue_id = self._macros.queue_id or None
        self._mail = None
        try:
            if mail.envelope.recipients or any(r.by_next_hop for r in mail.envelope.refused):
                await self._server.gate.finish(mail, verdict, reply=reply, note=note)
        finally:
            mail.message = None
            self._forget_mail()

    def _forget_mail(self) -> None:
        if self._intake is not None:
            self._intake.close()
        self._mail = self._intake = None
        self._in_data = self._mail_exempt = False
        self._macros.end_mail()


class Progress:
    """Tells the mail server now and then that we are still at it; allowed only while a message waits for its answer."""

    __slots__ = ("_loop", "_timer", "_transport")

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport | None) -> None:
        self._loop = loop
        self._transport = transport

    def __enter__(self) -> None:
        self._timer = self._loop.call_later(PROGRESS_SECONDS, self._tell)

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def _tell(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(milter_answers.PROGRESS)
            self._timer = self._loop.call_later(PROGRESS_SECONDS, self._tell)


_NEVER_EXEMPT: Final = frozenset({NewConnection, Quit})
IN_PASSING: Final[Mapping[type[Command], Callable[[MilterSession, Any], bool]]] = {
    Macros: MilterSession._take_macros,
    HeaderField: MilterSession._further_field,
}
"""Most packets are these, and wait for nothing; what comes back is whether that was all there was to do."""
COMMANDS: Final[Mapping[type[Command], Method]] = {
    Negotiate: MilterSession._negotiate,
    Connect: MilterSession._connect,
    Hello: MilterSession._hello,
    MailFrom: MilterSession._mail_from,
    RcptTo: MilterSession._rcpt_to,
    Data: MilterSession._data,
    HeaderField: MilterSession._header_field,
    EndOfHeader: MilterSession._end_of_header,
    BodyChunk: MilterSession._body_chunk,
    EndOfMessage: MilterSession._end_of_message,
    Abort: MilterSession._abort,
    Unknown: MilterSession._unknown,
    NewConnection: MilterSession._new_connection,
    Quit: MilterSession._quit_connection,
}


class MilterServer(SessionServer[MilterSession]):
    """All milter connections of one worker. `workers` is how many share the limit on them."""

    def __init__(self, settings: Settings, *, gate: Gate, workers: int = 1) -> None:
        # Full, the mail server is only hung up on: there is no word for it before its own first one.
        room = Room(connections=settings.connections, per_address=settings.connections, full=b"", crowded=b"")
        super().__init__(room, trust=Peers(settings.trust), workers=workers)
        self.settings = settings
        self.gate = gate
        self.spool = Spool(
            Path(settings.spool) if settings.spool else None,
            memory=settings.spool_memory,
            disk=settings.spool_disk,
            header=settings.header_size,
            hashes=body_hashes,
        )
        # Not by its connections: they are the mail server's processes, which it limits itself.
        self.overload = Overload(settings.overload, spool=self.spool.taken)
        self._exempt = Peers(settings.exempt_networks)
        self._strangers = log.Folded("milter_stranger")

    def exempts(self, address: IPAddress | None, *, unix: bool) -> bool:
        """Whether a client's mail is none of our business. An unknown address alone makes nobody local."""
        return (unix or address is not None) and address in self._exempt

    def _take(self, connection: socket.socket, address: IPAddress | None, port: int | None) -> asyncio.Protocol | None:
        if address not in self.trust:
            metrics.MILTER_STRANGERS.inc()
            self._strangers.event(level=logging.WARNING, peer=address or "unix")
            return None
        return super()._take(connection, address, port)

    def session(self, address: IPAddress | None, port: int | None) -> MilterSession:  # noqa: ARG002 - one is like another
        return MilterSession(self, address)
