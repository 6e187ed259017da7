"""The SMTP proxy: the order of commands of one session (RFC 5321). The server that has the sessions: smtp_server.py.

aiosmtpd gives the frame: a protocol object with a task, methods named smtp_VERB, TLS. Octets are ours
(`conversation`, `receiving`), since its reader takes data line by line and answers each command in a write of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, cast

from aiosmtpd.smtp import SMTP

from gatekeeper import log, metrics
from gatekeeper.message.edit import Edit, Insert
from gatekeeper.message.received import received_value
from gatekeeper.model import Action, Heard, IPAddress, Mail, Recipient, Reply, Session, Stage, Verdict
from gatekeeper.servers import answers
from gatekeeper.servers.client_facts import ClientFacts
from gatekeeper.servers.conversation import ClientGone, ClientSilent, Conversation, Interrupted, LineTooLong
from gatekeeper.servers.receiving import receive
from gatekeeper.servers.relay import REFUSED_KEPT, Relay, accepts, note_refused
from gatekeeper.servers.sessions import NOT_ITS_DOING, PARTING
from gatekeeper.servers.starttls import secure
from gatekeeper.servers.tls import agreed
from gatekeeper.wire import commands, xclient
from gatekeeper.wire.commands import CommandError
from gatekeeper.wire.openings import ENOUGH, other_protocol
from gatekeeper.wire.replies import encode

if TYPE_CHECKING:
    from gatekeeper.servers.smtp_server import SmtpServer

GROUP: Final = 16
"""Recipients that are asked of the next hop at once."""
TURN: Final = 32
"""Commands after which the other sessions get their turn."""

_encoded = lru_cache(maxsize=256)(encode)  # what we say ourselves is mostly the same dozen replies

Method = Callable[["SmtpSession", str], Coroutine[Any, Any, None]]


class SmtpSession(SMTP):
    """One client. Its task is the only one that reads, judges and answers."""

    def __init__(self, server: SmtpServer, address: IPAddress | None, port: int | None) -> None:
        # Not the base's: it looks at every member of the class again for each connection (92 µs), reads by lines,
        # and empties a table of limits that all sessions share.
        loop = server.loop
        settings = server.settings
        self.loop = loop
        self.hostname = server.hostname
        self.transport: asyncio.Transport | None = None
        self.task: asyncio.Task[None] | None = None
        self.conversation = Conversation(loop, line_limit=commands.LONG_LINE_LIMIT, patience=settings.command_timeout)
        self._server = server
        self._gate = server.gate
        self._began = loop.time()
        self._until = self._began + min(settings.session_total, settings.first_mail)  # between mails
        self._mail_until = 0.0  # within one, up to its DATA
        self.session: Session = server.gate.session("smtp")  # type: ignore[assignment]  # ours in the place of the base's
        self.session.address, self.session.port = address, port
        self.session.trusted = address in server.trust
        self._peer = self._counted_for = address  # of the connection, and whom it counts for: XCLIENT names another
        self._mail: Mail | None = None
        self._relay: Relay | None = None
        self._utf8 = False
        self._in_data = False
        self._secure = False  # the connection, whoever the client is that it is about
        self._helo_told = False  # by XCLIENT: what EHLO says afterwards is the proxy's name or the same
        self._forwarded: ClientFacts | None = None  # the facts to go back to after a mail told by XFORWARD
        self._greeted = False
        self._closing = False
        self._linger = False
        self._note = "client_gone"  # why a mail that has begun goes no further
        self._acknowledged = -1  # octets heard when a mail was acknowledged last
        self._parting = answers.GOING_DOWN  # what is said when there is nothing in hand and it is to end
        self._retired = False  # it is to end for us to go
        self._served = False  # a mail of it has ended, however
        self._idle_since = loop.time()
        self._commands = 0
        self._idle_commands = 0

    # --- from the event loop -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.session.tls = self.session.tls or agreed(transport)
        self._secure = self.session.tls is not None
        self.conversation.connected(self.transport)
        self.task = self.loop.create_task(self._handle_client())
        self._server.opened(self)

    def data_received(self, data: bytes) -> None:
        if not self.conversation.heard:
            self.session.speaks = other_protocol(data[:ENOUGH])
            if self.session.speaks is not None:
                self.conversation.interrupt()  # there may never be a line
        self.conversation.received(data)

    def eof_received(self) -> bool:
        self.conversation.end()
        return not self.conversation.secure  # it may still be listening: what it has sent is answered first

    def connection_lost(self, error: Exception | None) -> None:
        self.conversation.lose(error)
        if self.task is None:  # it was gone before it became a session
            self._server.closed(self, self._counted_for)

    def pause_writing(self) -> None:
        self.conversation.pause_writing()

    def resume_writing(self) -> None:
        self.conversation.resume_writing()

    # --- the session -------------------------------------------------------------------------------------------------

    async def _handle_client(self) -> None:
        note = ""
        try:
            await self._welcome()
            while not self._closing:
                await self._next_command()
        except ClientGone:
            pass
        except ClientSilent:
            note = "client_silent"
            self._end(answers.TIMEOUT)
            self.conversation.patience = PARTING
        except Interrupted:
            if not self._turned_away():
                self._end(self._parting)
        except asyncio.CancelledError:  # `drain` has waited long enough; whoever can still get an answer gets one
            note = "shutdown"
            self._end(answers.GOING_DOWN)
            self._linger = False
            self.conversation.patience = PARTING
        except Exception as error:  # noqa: BLE001 - the one border around a session: the others live on
            note = "bug"
            log.traceback_once("session_failed", error, id=self.session.id, client=self.session.address)
            self._end(answers.OUR_FAULT)
        try:
            await self._leave(note or self._note)
        except Exception as error:  # noqa: BLE001 - the same border
            log.traceback_once("session_failed", error, id=self.session.id, client=self.session.address)
            self.conversation.abort()
        finally:
            self._server.closed(self, self._counted_for)

    async def _welcome(self) -> None:
        """The greeting, unless the client is refused before it."""
        mail = Mail(self.session, self._gate.envelope(self.session))
        if self.session.spoke_early is not None and self._turned_away():
            return
        verdict = await self._gate.judge(Stage.CONNECT, mail)
        if verdict.action is Action.DROP:
            await self._refuse(verdict, mail)
        else:
            self._say(self._server.greeting)

    async def _next_command(self) -> None:
        if self.conversation.much_unsaid:
            await self.conversation.send()
        between = self._mail is None
        left = (self._until if between else self._mail_until) - self.loop.time()
        if left <= 0:
            self._end(answers.LONG_ENOUGH)
            return
        settings = self._server.settings
        patience = min(settings.command_timeout, left)
        if between:
            self._idle_since = self.loop.time()
        try:
            line = await self._line(patience, between=between)
            if self.session.speaks is not None and self._turned_away():
                return
            command = self._split(line)
            self._look_ahead(command.verb)
            await COMMANDS.get(command.verb, SmtpSession.smtp_unknown)(self, command.argument)
        except LineTooLong:
            self._error(answers.LINE_TOO_LONG)
        except CommandError as error:
            self._error(error.reply)
        self._commands += 1
        if self.session.counters.errors >= self._server.settings.errors:
            self._end(answers.TOO_MANY_ERRORS)
        elif self._idle_commands >= self._server.settings.idle_commands:
            self._end(answers.TOO_MUCH_IDLING)
        elif self._commands % TURN == 0:
            await asyncio.sleep(0)

    async def _line(self, patience: float, *, between: bool) -> bytes:
        """The next one; between mails it may be time to go before it comes. Raises what `Conversation.line` does."""
        within = self._server.settings.line_timeout
        if not (between and self._spared):
            try:
                return await self.conversation.line(patience, whole_within=within, interruptible=between)
            except Interrupted:
                if not self._spared:
                    raise
        try:
            return await self.conversation.line(min(patience, FIRST_MAIL), whole_within=within)
        except ClientSilent:
            raise Interrupted from None  # there has been time enough

    def _look_ahead(self, verb: str) -> None:
        """Note a client that has not waited where it must: what stands behind was sent without the answer."""
        if (
            self.conversation.ahead
            and self.session.pipelined is None
            and (verb in ENDS_A_GROUP or not (self.session.extended or verb == "QUIT"))
            and self._server.judges_manners_of(self._peer)
            and not self._helo_told
        ):
            self.session.pipelined = verb

    def _turned_away(self) -> bool:
        """Whether it is dropped for what its session shows by itself."""
        reply = self._gate.turn_away(self._mail or Mail(self.session, self._gate.envelope(self.session)))
        if reply is not None:
            self.session.blocked = True
            self._end(reply)
        return reply is not None

    def _split(self, line: bytes) -> commands.CommandLine:
        if line.endswith(b"\r"):
            line = line[:-1]
        elif self._server.settings.bare_newline == "reject":
            raise CommandError(answers.BARE_LF.code, answers.BARE_LF.text)
        return commands.split(line)

    # --- commands, in the order of a session -------------------------------------------------------------------------

    async def smtp_EHLO(self, argument: str) -> None:  # noqa: N802 - the verb
        await self._hello(argument, extended=True)
        offer = self._server.offer()
        starttls = self._server.certificate is not None and not self._secure
        self._say_encoded(offer.answer(trusted=self.session.trusted, starttls=starttls))

    async def smtp_HELO(self, argument: str) -> None:  # noqa: N802 - the verb
        await self._hello(argument, extended=False)
        self._say(Reply.of(250, self.hostname))

    async def _hello(self, name: str, *, extended: bool) -> None:
        if not name:
            raise CommandError(501, "5.5.4 Syntax: EHLO name")
        await self._give_up("helo")
        self._idle_commands += self._greeted  # the first one is expected
        self._greeted = True
        if not self._helo_told:
            if self.session.helo not in (None, name):
                self._gate.new_client(self.session)
            self.session.helo, self.session.extended = name, extended

    async def smtp_STARTTLS(self, argument: str) -> None:  # noqa: N802 - the verb
        """TLS, and everything from the beginning (RFC 3207 §4)."""
        certificate = self._server.certificate
        if certificate is None:
            raise CommandError(answers.NOT_OFFERED.code, answers.NOT_OFFERED.text)
        if argument:
            raise CommandError(501, "5.5.4 Syntax: STARTTLS")
        if self._secure:
            raise CommandError(answers.TLS_THERE.code, answers.TLS_THERE.text)
        if self._mail is not None:
            raise CommandError(503, "5.5.1 Not during a mail")
        await self._forget_forwarded()  # told in the clear, and everything begins anew (RFC 3207 §4.2)
        injections = self._server.injections
        self.session.tls = await secure(self, self.conversation, certificate, self.session, injections=injections)
        self._secure = True
        if Stage.HELO in self.session.notebook.done:
            self._gate.new_client(self.session)
        if not self._helo_told:
            self.session.helo = self.session.extended = None
        self._greeted = False

    async def smtp_XCLIENT(self, argument: str) -> None:  # noqa: N802 - the verb
        told = self._told(argument, xclient.Kind.XCLIENT)
        await self._forget_forwarded()  # else the next mail's end would bring back what this command takes away
        facts = ClientFacts.of(self.session).told(told)
        if "HELO" not in told and not self._helo_told:
            facts = facts.told({"HELO": None})  # back to the beginning: what was said before came from the proxy
        await self._become(facts)
        if "ADDR" in told:  # from now on its words are the client's own; None is one of no known address, not a socket
            self.session.trusted = facts.address is not None and facts.address in self._server.trust
        self._helo_told = self.session.helo is not None
        self._greeted = False
        refusal = self._server.becomes(self._counted_for, facts.address)
        if refusal is not None:
            self._end_encoded(refusal)
            return
        self._counted_for = facts.address
        await self._welcome()

    async def smtp_XFORWARD(self, argument: str) -> None:  # noqa: N802 - the verb
        told = self._told(argument, xclient.Kind.XFORWARD)
        before = ClientFacts.of(self.session)
        after = before.told(told)
        if self._forwarded is None:
            self._forwarded = before
        if after != before:
            await self._become(after)
        self._say(answers.OK)

    def _told(self, argument: str, kind: xclient.Kind) -> Mapping[str, str | None]:
        if not self.session.trusted:
            raise CommandError(answers.NOT_TRUSTED.code, answers.NOT_TRUSTED.text)
        if self._mail is not None:
            raise CommandError(503, "5.5.1 Not during a mail")
        try:
            return xclient.decode(argument, kind=kind)
        except xclient.BadAttribute as error:
            raise CommandError(error.reply.code, error.reply.text) from None

    async def smtp_MAIL(self, argument: str) -> None:  # noqa: N802 - the verb
        if not self._greeted:
            raise CommandError(503, "5.5.1 Say EHLO first")
        if not self._secure and self._server.tls_required:
            raise CommandError(answers.TLS_FIRST.code, answers.TLS_FIRST.text)
        if self._mail is not None:
            raise CommandError(503, "5.5.1 A mail has begun already")
        given = commands.parse_mail(argument, self._server.offer().extensions)
        if given.size is not None and given.size > self._server.offer().size:
            self._say(answers.TOO_BIG)
            return
        envelope = self._gate.envelope(self.session)
        envelope.sender, envelope.parameters = given.address, given.parameters
        mail = Mail(self.session, envelope)
        if self.session.pipelined is not None:
            self._mail = mail
            away = self._turned_away()
            self._mail = None
            if away:
                return
        if await self._server.overload.puts_off_mail_of(self.session, self._gate):
            self._say(answers.BUSY_AT_MAIL)
            return
        verdict = await self._gate.judge(Stage.MAIL, mail)
        await self._slow(verdict)
        if verdict.action is Action.DROP:
            await self._refuse(verdict, mail)
            return
        self._mail, self._relay, self._utf8 = mail, Relay(self._server.next_hop, mail), given.utf8
        self._mail_until = self.loop.time() + self._server.settings.envelope_total
        self._until = self._began + self._server.settings.session_total  # it has come for mail
        self._say(answers.SENDER_OK)

    async def smtp_RCPT(self, argument: str) -> None:  # noqa: N802 - the verb
        """A recipient, and those whose commands are here already, as one group."""
        mail, relay = self._begun()
        answers: list[Recipient | Reply] = []
        given: str | None = argument
        while given is not None:
            answers.append(await self._consider(given, mail))
            given = None
            if self._closing or len(answers) >= self._at_once() or self._no_room(mail) or _is_slowed(answers[-1]):
                break  # those that are asked of the next hop may not all be taken: there may be room again
            if self.conversation.next_begins(b"RCPT "):
                try:
                    given = self._split(self.conversation.line_here() or b"").argument
                except CommandError as error:
                    answers.append(self._counted(error.reply))
        asked = [answer for answer in answers if isinstance(answer, Recipient)]
        if asked:
            await relay.recipients(asked)
        for answer in answers:
            if isinstance(answer, Reply):
                self._say(answer)
            elif answer.reply is not None and answer.by_next_hop:
                self._pass_on(answer.reply)
            elif answer.reply is not None:
                self._say_encoded(encode(answer.reply))

    async def _consider(self, argument: str, mail: Mail) -> Recipient | Reply:
        """What we say ourselves about a recipient, or the recipient, to be asked of the next hop."""
        counters = self.session.counters
        counters.recipients += 1
        try:
            path = commands.parse_rcpt(argument, self._server.offer().extensions, utf8=self._utf8)
        except CommandError as error:
            return self._counted(error.reply)
        recipient = Recipient(path.address, path.parameters)
        if self._no_room(mail):
            return self._refused(mail, recipient, answers.TOO_MANY_RECIPIENTS)
        mail.recipient, mail.stage = recipient, Stage.RCPT
        try:
            verdict = self._server.guard.refusal(path.address, self.session)
            if verdict is None:
                verdict = recipient.verdict = await self._gate.judge(Stage.RCPT, mail)
                await self._slow(verdict)
            if verdict.action.refuses:
                reply = self._refused(mail, recipient, self._reply(verdict, mail))
                await self._gate.refused(mail, verdict, reply=reply)
                return reply
        finally:
            mail.recipient = None
        # Already now, so that the gate sees whether those that follow can share the transaction.
        mail.envelope.recipients.append(recipient)
        return recipient

    def _at_once(self) -> int:
        """How many recipients are asked of the next hop together: few of a client that has little left to learn."""
        most = self.session.names_at_once
        return GROUP if most is None else max(1, min(GROUP, most))

    def _no_room(self, mail: Mail) -> bool:
        envelope = mail.envelope
        return len(envelope.recipients) >= self._server.recipients or len(envelope.refused) >= REFUSED_KEPT

    def _refused(self, mail: Mail, recipient: Recipient, reply: Reply) -> Reply:
        recipient.reply = reply
        note_refused(mail, recipient)
        self.session.counters.refused += 1
        metrics.RECIPIENTS["refused" if reply.permanent else "deferred"].inc()
        return reply

    async def smtp_DATA(self, argument: str) -> None:  # noqa: N802 - the verb
        mail, relay = self._begun()
        if argument:
            raise CommandError(501, "5.5.4 Syntax: DATA")
        if not mail.envelope.recipients:
            raise CommandError(answers.NO_RECIPIENTS.code, answers.NO_RECIPIENTS.text)
        self._in_data = True
        verdict = await self._gate.judge(Stage.DATA, mail)
        await self._slow(verdict)
        if verdict.action.refuses:
            await self._refuse_message(mail, verdict, relay)
            return
        self._say(answers.GO_AHEAD)
        draft = self._server.spool.draft()
        try:
            received = await receive(self.conversation, draft, self._server.limits)
            if received.message is None:
                reply = received.refusal or answers.OUR_FAULT
                await relay.abandon()
                self._say(reply)
                await self._finish(mail, None, reply=reply, note="no_room" if reply.temporary else "unreadable")
                return
            mail.message = received.message
            await self._judge_message(mail, relay)
        finally:
            mail.message = None
            draft.close()

    async def _judge_message(self, mail: Mail, relay: Relay) -> None:
        verdict = await self._gate.judge(Stage.MESSAGE, mail)
        await self._slow(verdict)
        if verdict.action.refuses:
            await self._refuse_message(mail, verdict, relay)
            return
        outcome = await relay.deliver(self._edits(mail, verdict), wanted=self._wanted)
        reply, note = outcome.reply, outcome.note
        if note == "withdrawn":
            reply = answers.TOO_FAR_AHEAD if self.conversation.present else reply
            self._end(reply)
        elif outcome.next_hop is not None:
            self._pass_on(reply)
        else:
            self._say_encoded(encode(reply))
        if accepts(reply):
            self.session.counters.take(verdict.action, len(mail.envelope.recipients))
            self._idle_commands = 0
            if self.conversation.present:
                self._acknowledged = self.conversation.heard
            else:
                metrics.RELAY_IN_DOUBT["client"].inc()
                note = "in_doubt_client"
        await self._finish(mail, verdict, reply=reply, next_hop=outcome.next_hop, note=note)

    def _wanted(self) -> bool:
        """Whether the client is still there to be answered; asked right before a message is committed."""
        return self.conversation.present and not self.conversation.filled

    def _edits(self, mail: Mail, verdict: Verdict) -> list[Edit]:
        edits = list(self._gate.edits(mail, verdict))
        # Not where a server before us has written the same already (it tells us by XFORWARD, as Postfix does, which
        # leaves its own out then too), nor where the next hop will, since it is told by XCLIENT, which knows no TLS.
        if self._forwarded is None and (self.session.tls is not None or not self._server.next_hop.takes_xclient):
            now = self._server.clock()
            value = received_value(self.session, mail.envelope, hostname=self.hostname, when=now)
            edits.append(Insert(0, "Received", value))
        return edits

    async def _refuse_message(self, mail: Mail, verdict: Verdict, relay: Relay) -> None:
        await relay.abandon()
        reply = self._reply(verdict, mail)
        self.session.counters.refused += 1
        self._say(reply)
        await self._finish(mail, verdict, reply=reply)

    async def smtp_RSET(self, argument: str) -> None:  # noqa: N802 - the verb
        if argument:
            raise CommandError(501, "5.5.4 Syntax: RSET")
        self._idle_commands += 1
        await self._give_up("rset")
        self._say(answers.OK)

    async def smtp_NOOP(self, _argument: str) -> None:  # noqa: N802 - the verb
        self._idle_commands += 1
        self._say(answers.OK)

    async def smtp_HELP(self, _argument: str) -> None:  # noqa: N802 - the verb
        self._idle_commands += 1
        self._say(answers.COMMANDS_HERE)

    async def smtp_VRFY(self, _argument: str) -> None:  # noqa: N802 - the verb
        """The same for everybody: who is here is nobody's business (RFC 5321 §7.3, RFC 2505 §2.11)."""
        self._idle_commands += 1
        self.session.counters.verifies += 1
        self._say(answers.NOT_CHECKED)

    async def smtp_EXPN(self, _argument: str) -> None:  # noqa: N802 - the verb
        self._idle_commands += 1
        self.session.counters.verifies += 1
        self._say(answers.NOT_OFFERED)

    async def smtp_QUIT(self, _argument: str) -> None:  # noqa: N802 - the verb
        self._say(answers.BYE)
        self._closing = True
        await self._give_up("quit")

    async def smtp_unknown(self, _argument: str) -> None:
        self._error(answers.UNKNOWN)

    # --- what several of them need -----------------------------------------------------------------------------------

    def _begun(self) -> tuple[Mail, Relay]:
        if self._mail is None or self._relay is None:
            raise CommandError(503, "5.5.1 Say MAIL first")
        return self._mail, self._relay

    async def _slow(self, verdict: Verdict) -> None:
        """Make the client wait, as far as there is a place for it, without keeping the next hop from others.

        A server that tells us of many clients by XFORWARD does not wait: it would be one of its own processes.
        """
        if verdict.delay <= 0 or self._forwarded is not None:
            return
        if self._relay is not None and verdict.delay > HELD_FOR:
            await self._relay.park()
        await self._server.slow_lane.wait(self.conversation, verdict.delay)

    def _reply(self, verdict: Verdict, mail: Mail) -> Reply:
        """The answer of a refusing verdict. After a drop the session is closed.

        Unless it belongs to a server that tells us of many clients by XFORWARD: for it a 421 would be our own leaving.
        """
        reply = self._gate.reply(verdict, mail)
        if verdict.action is not Action.DROP:
            return reply
        if self._forwarded is not None:
            return Reply(451, reply.lines)
        self.session.blocked = self._closing = self._linger = True
        return reply

    async def _refuse(self, verdict: Verdict, mail: Mail) -> None:
        reply = self._reply(verdict, mail)
        self._say(reply)
        await self._gate.refused(mail, verdict, reply=reply)

    async def _give_up(self, note: str) -> None:
        """The mail that has begun, if any, ends without a message."""
        mail, relay = self._mail, self._relay
        if mail is None:
            await self._forget_forwarded()
            return
        if relay is not None:
            await relay.abandon()
            note = "in_doubt_next_hop" if relay.in_doubt else note
        envelope, counters = mail.envelope, self.session.counters
        envelope.recipients = [r for r in envelope.recipients if r.reply is not None]
        last = next(
            (r.reply for r in (*envelope.recipients[-1:], *envelope.refused[-1:]) if r.reply is not None), answers.OK
        )
        asked = envelope.recipients or any(r.by_next_hop for r in envelope.refused)
        if asked and not self._in_data and note not in NOT_ITS_DOING:
            counters.resets += 1
            counters.abandoned += len(envelope.recipients)
            bounce = envelope.sender is not None and envelope.sender.null
            for recipient in envelope.recipients:
                self.session.hear(recipient.address, Heard.ABANDONED, null_sender=bounce)
        await self._finish(mail, None, reply=last, note=note)

    async def _finish(
        self, mail: Mail, verdict: Verdict | None, *, reply: Reply, next_hop: Reply | None = None, note: str = ""
    ) -> None:
        """The transaction is over and the client has been answered: the record, and a clean slate."""
        self._mail = self._relay = None
        self._in_data = self._utf8 = False
        self._served = True
        if mail.envelope.recipients or any(r.by_next_hop for r in mail.envelope.refused):
            await self._gate.finish(mail, verdict, reply=reply, next_hop=next_hop, note=note)
        await self._forget_forwarded()

    async def _forget_forwarded(self) -> None:
        if self._forwarded is not None:
            await self._become(self._forwarded)
            self._forwarded = None

    async def _become(self, facts: ClientFacts) -> None:
        """Another client goes on in this session. What the one before it did is put to that one's account."""
        await self._gate.settle(self.session)
        facts.to(self.session)
        self.session.settled = replace(self.session.counters)
        self.session.named.clear()
        self.session.familiar = self.session.names_at_once = None
        self._gate.new_client(self.session)

    async def _leave(self, note: str) -> None:
        try:
            await self._give_up(note)
            try:
                await self.conversation.send()
            except ClientSilent:
                self.conversation.abort()
            await self.conversation.close(linger=self._linger)
            lost = self.conversation.broken or self.conversation.unread
            if lost and self._acknowledged == self.conversation.heard:
                # Gone before it said another word: it may not have read our last one.
                metrics.RELAY_IN_DOUBT["client"].inc()
        finally:
            await self._gate.leave(self.session)

    # --- answers -----------------------------------------------------------------------------------------------------

    def _say(self, reply: Reply) -> None:
        self._say_encoded(_encoded(reply))

    def _say_encoded(self, reply: bytes) -> None:
        metrics.SMTP_REPLIES[f"{reply[0:1].decode()}xx"].inc()
        self.conversation.say(reply)

    def _counted(self, reply: Reply) -> Reply:
        self.session.counters.errors += 1
        return reply

    def _error(self, reply: Reply) -> None:
        self._say(self._counted(reply))

    def _end(self, reply: Reply) -> None:
        """A last word, and the session is closed; the client may still be sending."""
        self._end_encoded(_encoded(reply))

    def _end_encoded(self, reply: bytes) -> None:
        self._say_encoded(reply)
        self._closing = self._linger = True

    def _pass_on(self, reply: Reply) -> None:
        """The next hop's own words. With a 421 it takes leave, and so do we (RFC 5321 §3.8): whoever is told it takes
        the connection for closed.

        Unless it is a server that tells us of many clients by XFORWARD, as for `_reply`.
        """
        if reply.code == 421 and self._forwarded is not None:
            reply = Reply(451, reply.lines)
        self._say_encoded(encode(reply, passed_on=True))
        if reply.code == 421:
            self._note = "next_hop_gone"
            self._closing = self._linger = True

    async def push(self, status: Any) -> None:
        """For what the base says by itself."""
        said = status.encode("ascii", "replace") if isinstance(status, str) else bytes(status)
        self._say_encoded(said + b"\r\n")

    def retire(self) -> None:
        """Let it end as soon as it has no mail in hand. One that has only just come has its first mail before."""
        self._retired = True
        self.conversation.interrupt()

    @property
    def _spared(self) -> bool:
        """Whether it is to end and may have a mail before: whoever was let in and is sent away at once was let in
        for nothing, and comes again much later.
        """
        hurried = self._parting is not answers.GOING_DOWN or self.session.speaks is not None
        return self._retired and not self._served and not hurried

    @property
    def unfamiliar(self) -> bool:
        """Whether it is a client's whose mail was never accepted, in this session neither."""
        return self.session.familiar is False and not self.session.counters.messages

    def idle(self) -> float:
        """Seconds since it began to wait for a command between mails; 0 while it has something in hand."""
        return self.loop.time() - self._idle_since if self._mail is None else 0.0

    def give_way(self) -> None:
        """Let it end for want of room, as soon as it has no mail in hand."""
        self._parting = answers.BUSY
        self.conversation.interrupt()


def _is_slowed(answer: Recipient | Reply) -> bool:
    """Whether its client is made to wait: then what it learns must count before it learns more."""
    return isinstance(answer, Recipient) and answer.verdict is not None and answer.verdict.delay > 0


COMMANDS: Final[Mapping[str, Method]] = {
    "EHLO": SmtpSession.smtp_EHLO,
    "HELO": SmtpSession.smtp_HELO,
    "STARTTLS": SmtpSession.smtp_STARTTLS,
    "XCLIENT": SmtpSession.smtp_XCLIENT,
    "XFORWARD": SmtpSession.smtp_XFORWARD,
    "MAIL": SmtpSession.smtp_MAIL,
    "RCPT": SmtpSession.smtp_RCPT,
    "DATA": SmtpSession.smtp_DATA,
    "RSET": SmtpSession.smtp_RSET,
    "NOOP": SmtpSession.smtp_NOOP,
    "HELP": SmtpSession.smtp_HELP,
    "VRFY": SmtpSession.smtp_VRFY,
    "EXPN": SmtpSession.smtp_EXPN,
    "ETRN": SmtpSession.smtp_EXPN,
    "QUIT": SmtpSession.smtp_QUIT,
}
"""Whatever is not here is not offered, whatever the base could do: no AUTH, no BDAT."""
ENDS_A_GROUP: Final = frozenset({"EHLO", "HELO", "DATA", "VRFY", "EXPN", "ETRN", "NOOP"})
"""Commands behind which nothing may stand until they are answered (RFC 2920 §3.1)."""
HELD_FOR: Final = 1.0
"""Seconds for which a client that is made to wait may keep a connection to the next hop."""
FIRST_MAIL: Final = 5.0
"""Seconds for which a client may be silent that has had no mail yet, when we are about to go."""
