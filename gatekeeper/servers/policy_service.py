"""The policy service: Postfix asks about each recipient and mail, and does what we answer (SMTPD_POLICY_README).

Each of Postfix's smtpd processes keeps a connection, on which it asks about one SMTP client after another, one
question at a time. `instance` tells which questions are about the same mail. In trouble nothing is answered and the
connection is closed, as the protocol asks: Postfix then asks once more, and another worker may get it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import secrets
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Final, cast

from gatekeeper import log, metrics
from gatekeeper.gate import Gate
from gatekeeper.model import IPAddress
from gatekeeper.servers.overload import Overload
from gatekeeper.servers.peers import Peers
from gatekeeper.servers.policy_answers import TOO_LATE
from gatekeeper.servers.policy_client import Answer, Asked, PolicyClient
from gatekeeper.servers.policy_settings import Settings
from gatekeeper.servers.policy_table import PolicyTable
from gatekeeper.servers.sessions import PARTING, Room, SessionServer
from gatekeeper.store.base import Note, Store, StoreAway
from gatekeeper.wire.policy_request import REQUEST_OCTETS, PolicyError, PolicyRequest, RequestReader, encode_answer

__all__ = ["PolicyConnection", "PolicyServer", "Settings"]

AHEAD: Final = 2 * REQUEST_OCTETS
"""Octets that may come before the question before them is answered; Postfix sends none."""
BEGUN: Final = "policy_mail"
"""The kind of the notes that tell other workers with which mail a connection has begun."""
BEGUN_KEPT: Final = 60.0
"""Seconds beyond `remembered` that such a note is kept: clocks and workers may be behind."""


class PolicyConnection(asyncio.Protocol):
    """One smtpd process. It has a task only while it is answered, so that an idle one costs next to nothing."""

    def __init__(self, server: PolicyServer, peer: IPAddress | None) -> None:
        self._server = server
        self._peer = peer
        self._reader = RequestReader()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._active = server.loop.time()
        self._answering: asyncio.Task[None] | None = None
        self._closing = False  # no further question is answered
        self._cut_off = False  # closed by us, or in the middle of a question: not as Postfix closes it
        self.begun = False  # something was asked
        self._gone: asyncio.Event | None = None
        self.asked = Asked()
        self.client: PolicyClient | None = None
        self.task: asyncio.Task[None] | None = None  # at the end of the server: until the connection has gone

    # --- from the event loop -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._server.opened(self)
        if self._peer in self._server.trust:
            self._watch()
        else:
            self._server.strangers.event(level=logging.WARNING, peer=self._peer)
            metrics.POLICY_ANSWERS["stranger"].inc()
            self._abort()

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        self._active = self._server.loop.time()
        self._reader.receive(data)
        if self._answering is None:
            self._go_on()
        if self._reader.waiting > AHEAD and not self._closing:
            self._unreadable("more was sent ahead than one question")

    def eof_received(self) -> bool:
        if self._answering is not None:
            self._closing = self._cut_off = True
            return True  # what it has asked is answered first
        if self._reader.waiting and not self._closing:
            self._unreadable("the connection was closed in the middle of a question")
        return False

    def pause_writing(self) -> None:
        self._unreadable("answers are not read")

    def connection_lost(self, error: Exception | None) -> None:
        self._closing = True
        self._cut_off |= error is not None or self._answering is not None
        if self._timer is not None:
            self._timer.cancel()
        self._server.closed(self, self._peer)
        if self._answering is None:
            self._leave()

    # --- questions and answers ---------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        request = self._next()
        if request is not None:
            self._answering = self._server.loop.create_task(self._answer(request))

    def _next(self) -> PolicyRequest | None:
        if self._closing:
            return None
        try:
            return self._reader.next_request()
        except PolicyError as error:
            self._unreadable(str(error))
            return None

    async def _answer(self, first: PolicyRequest) -> None:
        """The first question, and those that have come meanwhile."""
        request: PolicyRequest | None = first
        try:
            while request is not None:
                self._say(await self._server.answer(self, request))
                request = self._next()
        except asyncio.CancelledError:  # `drain` has waited long enough; Postfix asks another process
            self._abort()
        except Exception as error:  # noqa: BLE001 - the one border around a connection: the others live on
            log.traceback_once("session_failed", error, server="policy_service", peer=self._peer)
            metrics.POLICY_ANSWERS["failed"].inc()
            self._abort()
        self._answering = None
        if self._lost:
            self._leave()
        elif self._closing or self._server.draining:
            self.retire()

    def _say(self, answer: Answer) -> None:
        if not self._lost and self._transport is not None:
            metrics.POLICY_ANSWERS[_kind(answer.action)].inc()
            self._transport.write(encode_answer(answer.action))

    def _unreadable(self, why: str) -> None:
        log.event("policy_request_unreadable", level=logging.WARNING, peer=self._peer, error=why)
        metrics.POLICY_ANSWERS["unreadable"].inc()
        self._abort()

    # --- its end -----------------------------------------------------------------------------------------------------

    @property
    def _lost(self) -> bool:
        return self._closing and self._transport is not None and self._transport.is_closing()

    def _watch(self) -> None:
        """Look now and then whether it still asks: cheaper than a timer for each question."""
        loop, patience = self._server.loop, self._server.settings.idle_timeout
        if self._answering is None and loop.time() - self._active >= patience:
            self._close()
        else:
            self._timer = loop.call_at(max(self._active + patience, loop.time() + PARTING), self._watch)

    def retire(self) -> None:
        """End as soon as no mail is in hand, of which more will be asked."""
        client = self._server.held(self)
        if self._answering is None and (self._closing or client is None or not client.in_hand):
            self._close()
        if self.task is None and self._server.draining:
            self._gone = asyncio.Event()
            self.task = self._server.loop.create_task(self._last(self._gone))

    async def _last(self, gone: asyncio.Event) -> None:
        try:
            await gone.wait()
        except asyncio.CancelledError:  # time is up
            if self._answering is not None:
                self._answering.cancel()
            self._abort()
            await gone.wait()

    def _leave(self) -> None:
        self._server.lost(self, cut_off=self._cut_off)
        if self._gone is not None:
            self._gone.set()

    def _close(self) -> None:
        self._closing = self._cut_off = True
        if self._transport is not None:
            self._transport.close()

    def _abort(self) -> None:
        self._closing = self._cut_off = True
        if self._transport is not None:
            self._transport.abort()


def _kind(action: str) -> str:
    """What an action is counted as."""
    word = action.partition(" ")[0]
    return f"{word[0]}xx" if word.isdigit() else word.lower()


class PolicyServer(SessionServer[PolicyConnection]):
    """All connections of one worker. `workers` is how many share the limits, `store` what they tell each other by."""

    def __init__(
        self,
        settings: Settings,
        *,
        gate: Gate,
        store: Store | None = None,
        clock: Callable[[], float] = time.time,
        workers: int = 1,
    ) -> None:
        # All of Postfix comes from one address; and there is no way to tell it that there are too many.
        room = Room(connections=settings.connections, per_address=settings.connections, full=b"", crowded=b"")
        super().__init__(room, trust=Peers(settings.trust), workers=workers)
        self.settings = settings
        self.overload = Overload(settings.overload)  # not by connections: Postfix limits its processes itself
        self.draining = False
        self.strangers = log.Folded("policy_stranger")
        self._gate = gate
        self._store = store
        self._clock = clock
        self._here = secrets.token_hex(8)  # this worker, to the others
        self._brakes = math.ceil(settings.slowed / workers)
        self._table = PolicyTable(settings.remembered_mails)
        self._timer: asyncio.TimerHandle | None = None
        self._endings: set[asyncio.Task[None]] = set()

    def session(self, address: IPAddress | None, port: int | None) -> PolicyConnection:  # noqa: ARG002 - a peer's port tells nothing
        return PolicyConnection(self, address)

    # --- what a connection asks --------------------------------------------------------------------------------------

    async def answer(self, connection: PolicyConnection, request: PolicyRequest) -> Answer:
        """The answer, after the time that the client is to wait for it; always before the deadline."""
        deadline = self.loop.time() + self.settings.deadline
        client = await self._client(connection, request)
        client.busy = True
        try:
            async with asyncio.timeout_at(deadline):
                answer = await client.answer(request)
        except TimeoutError:
            log.event("policy_late", level=logging.WARNING, id=client.session.id, client=client.session.address)
            answer = Answer(TOO_LATE)
            self._give_up([client], cut_off=True)
        except BaseException:
            self._give_up([client], cut_off=True)
            raise
        else:
            self._table.note(client)
        finally:
            client.busy = False
        await self._hold_back(min(answer.delay, deadline - self.loop.time()))
        return answer

    async def _client(self, connection: PolicyConnection, request: PolicyRequest) -> PolicyClient:
        """Who the question is about: whose mail it names, or who came before on this connection, or somebody new."""
        first, connection.begun = not connection.begun, True
        before = self.held(connection)
        client = self._table.find(request.instance)
        if client is None or client.busy or not client.is_of(request):
            client = before if before is not None and before.is_of(request) else None
        if client is None:
            client = PolicyClient(
                self._gate,
                request,
                asked=connection.asked,
                prepend=self.settings.prepend,
                overload=self.overload,
            )
            if first and request.instance:
                self._later(self._tell_begun(request))
        client.busy = True
        client.holder, connection.client = connection, client
        client.cut_off = False
        self._table.take_up(client)
        if before is not None and before is not client:
            self._table.forget(before)
            await self._within(self._end(before))
        return client

    async def _hold_back(self, seconds: float) -> None:
        """Each answer that waits keeps one smtpd from its work, so only so many may."""
        if seconds <= 0 or self._brakes <= 0 or self.draining:
            return
        self._brakes -= 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._brakes += 1

    # --- clients and their ends --------------------------------------------------------------------------------------

    @staticmethod
    def held(connection: PolicyConnection) -> PolicyClient | None:
        """The client that was asked about last, unless another connection has gone on with it since."""
        client = connection.client
        return client if client is not None and client.holder is connection else None

    def lost(self, connection: PolicyConnection, *, cut_off: bool) -> None:
        """The connection is no more. Postfix goes on with the mail in hand on another one, if it does.

        It closes one by itself only between two of its clients, so that a mail in hand was given up then; but not when
        it was `cut_off`, nor when another worker is asked about the mail.
        """
        client = self.held(connection)
        if client is None:
            return
        client.holder = None
        client.cut_off = cut_off
        if client.transaction is None or self.draining:
            self._give_up([client], cut_off=cut_off or self.draining)
        else:
            self._give_up(self._table.set_adrift(client, self.loop.time() + self.settings.remembered), cut_off=True)
            self._expire()

    def _expire(self) -> None:
        self._give_up(self._table.overdue(self.loop.time()))
        if self._timer is not None:
            self._timer.cancel()
        due = self._table.due
        self._timer = None if due is None else self.loop.call_at(due, self._expire)

    def _give_up(self, clients: Iterable[PolicyClient], *, cut_off: bool = False) -> None:
        """They are asked about no more; `cut_off` where their time was not over."""
        for client in clients:
            self._table.forget(client)
            client.holder = None
            client.cut_off |= cut_off
            self._later(self._end(client, elsewhere=not client.cut_off))

    def _later(self, work: Coroutine[object, object, None]) -> None:
        """Nobody waits for it but the end of the server."""
        task = self.loop.create_task(self._within(work))
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    @staticmethod
    async def _within(work: Coroutine[object, object, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - the border around what nobody waits for: the others live on
            log.traceback_once("session_failed", error, server="policy_service")

    async def _end(self, client: PolicyClient, *, elsewhere: bool = False) -> None:
        """`elsewhere` is whether another worker may be asked about its mail."""
        if elsewhere:
            client.cut_off = await self._is_elsewhere(client)
        await client.end()

    async def _is_elsewhere(self, client: PolicyClient) -> bool:
        """Whether another worker may have been asked about the mail in hand: also where nobody can say."""
        if not client.instance or self._store is None:
            return False
        key = _begun(client.instance, client.session.address, client.session.port)
        try:
            told = await self._store.notes(BEGUN, [key], now=self._clock())
        except StoreAway:
            return True
        return any(note.text != self._here for note in told)

    async def _tell_begun(self, request: PolicyRequest) -> None:
        """Let the worker know that had the mail before, if it was not begun here: a mail that goes on elsewhere comes
        first on a connection.
        """
        if self._store is None:
            return
        until = self._clock() + self.settings.remembered + BEGUN_KEPT
        note = Note(BEGUN, _begun(request.instance, request.address, request.port), self._here, until)
        with contextlib.suppress(StoreAway):
            await self._store.put_notes([note])

    async def drain(self, seconds: float) -> None:
        self.draining = True
        await super().drain(seconds)
        self._give_up(self._table.overdue(math.inf), cut_off=True)
        self._expire()
        if self._endings:
            await asyncio.wait(self._endings)


def _begun(instance: str, address: IPAddress | None, port: int | None) -> str:
    """What tells a mail from those of other mail servers, whose instances may be the same."""
    return f"{instance} {address} {port}"
