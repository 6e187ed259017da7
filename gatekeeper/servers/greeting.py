"""The greeting of clients nobody knows: its first line, a wait, and only then the rest and a session (RFC 5321 §4.3.1).

A mail server waits for the line without hyphen. Programs that only push mail out talk into the pause, and are told
to go before they have cost a session. Whoever's mail was wanted before, or has waited once, does not wait.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol, cast

from gatekeeper import log, metrics
from gatekeeper.checks.keys import client_key
from gatekeeper.model import Envelope, IPAddress, Mail, Reply, Session
from gatekeeper.servers import answers
from gatekeeper.wire.openings import ENOUGH, other_protocol
from gatekeeper.wire.replies import encode

TOGETHER: Final = 200
"""Clients that are looked up in one question to the store."""
REMEMBERED: Final = 50_000
"""Clients that have waited, of which each worker knows at most so many; the oldest are forgotten first."""
UNREAD_LIMIT: Final = 4096
"""Octets that are kept of a client before it is known what becomes of it."""


class Gate(Protocol):
    """What is asked of the gate."""

    def session(self, server: str) -> Session: ...

    def envelope(self, session: Session) -> Envelope: ...

    async def familiar(self, addresses: Sequence[IPAddress]) -> list[bool]: ...

    def turn_away(self, mail: Mail) -> Reply | None: ...


class Visitor(Protocol):
    """The session that a greeting leads to: an asyncio.Protocol, with the facts of `model.Session`."""

    session: Session


class House(Protocol):
    """The server behind the door."""

    @property
    def gate(self) -> Gate: ...

    def no_room_for(self, *, familiar: bool) -> bytes | None:
        """The last word to a client that cannot be served now, or None."""
        ...

    def closed(self, session: Greeting, address: IPAddress | None) -> None:
        """A connection that was counted in has ended."""
        ...


class Greeter:
    """The greetings of one worker. `waiting` are those under way, `delay` is how many seconds a client waits.

    Who has waited does not wait again for `passed_for` seconds. `clock` never jumps.
    """

    def __init__(
        self,
        house: House,
        *,
        hostname: str,
        delay: float,
        passed_for: float,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.house = house
        self.loop = asyncio.get_running_loop()
        self.delay = delay
        self.teaser = encode(Reply.of(220, f"{hostname} ESMTP")).replace(b"220 ", b"220-", 1)
        self.waiting: set[Greeting] = set()
        self._passed_for = passed_for
        self._clock = clock or self.loop.time
        self._passed: OrderedDict[str, float] = OrderedDict()  # until when, oldest first
        self._new: list[Greeting] = []
        self._task: asyncio.Task[None] | None = None

    def has_waited(self, address: IPAddress) -> bool:
        key = client_key(address)
        until = self._passed.get(key)
        if until is None:
            return False
        if until > self._clock():
            return True
        del self._passed[key]
        return False

    def passed(self, address: IPAddress) -> None:
        key = client_key(address)
        self._passed.pop(key, None)
        if len(self._passed) >= REMEMBERED:
            self._passed.popitem(last=False)
        self._passed[key] = self._clock() + self._passed_for

    def meet(self, greeting: Greeting) -> None:
        """Look the client up, together with others that come at the same moment; then it is greeted."""
        self._new.append(greeting)
        if self._task is None:
            self._task = self.loop.create_task(self._look_up())

    async def _look_up(self) -> None:
        try:
            while self._new:
                some, self._new = self._new[:TOGETHER], self._new[TOGETHER:]
                try:
                    known = await self.house.gate.familiar([greeting.address for greeting in some])
                except Exception as error:  # noqa: BLE001 - the border around these clients: they wait like strangers
                    log.traceback_once("session_failed", error, client=some[0].address)
                    known = [False] * len(some)
                for greeting, familiar in zip(some, known, strict=True):
                    greeting.begin(familiar=familiar)
        finally:
            self._task = None

    def close(self) -> None:
        """It is time to go: nobody is in a session yet."""
        said = encode(answers.GOING_DOWN)
        for greeting in tuple(self.waiting):
            greeting.end(said, "closed")


class Greeting(asyncio.Protocol):
    """One client until its greeting is complete; the session that `make` gives takes the connection over then."""

    __slots__ = ("_familiar", "_first", "_greeter", "_make", "_timer", "_transport", "address", "port")

    def __init__(
        self, greeter: Greeter, address: IPAddress, port: int | None, make: Callable[[], asyncio.Protocol]
    ) -> None:
        self.address = address
        self.port = port
        self._greeter = greeter
        self._make = make
        self._first = b""  # what it has said already
        self._familiar: bool | None = None  # None until it was looked up
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    # --- from the event loop -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._greeter.waiting.add(self)
        self._greeter.meet(self)

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return
        self._first += data
        if self._familiar is None or self._timer is None:  # it is not greeted yet
            if len(self._first) > UNREAD_LIMIT:
                self._transport.pause_reading()
            return
        with self._bordered():
            self._early(self._transport)

    def eof_received(self) -> None:
        """Whoever has closed its side before the greeting is not waiting for it; the connection is closed."""

    def connection_lost(self, _error: Exception | None) -> None:
        self._end("left")

    # --- what becomes of it ------------------------------------------------------------------------------------------

    def begin(self, *, familiar: bool) -> None:
        """It has been looked up. Never raises."""
        with self._bordered():
            self._begin(familiar=familiar)

    @contextlib.contextmanager
    def _bordered(self) -> Iterator[None]:
        """The one border around a client that is not in a session yet: a bug ends it, and the others live on."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - as said
            log.traceback_once("session_failed", error, client=self.address)
            self.end(encode(answers.OUR_FAULT), "closed")

    def _begin(self, *, familiar: bool) -> None:
        transport = self._transport
        if transport is None:
            return
        self._familiar = familiar
        no_room = self._greeter.house.no_room_for(familiar=familiar)
        if no_room is not None:
            self.end(no_room, "no_room")
        elif familiar:
            self._enter("familiar")
        elif self._greeter.has_waited(self.address) and not self._first:
            self._enter("passed")
        else:
            self._timer = self._greeter.loop.call_later(self._greeter.delay, self._waited)
            if self._first:
                self._early(transport)
            else:
                transport.write(self._greeter.teaser)

    def _early(self, transport: asyncio.Transport) -> None:
        """Something came into the pause. If that is not enough to be dropped, it waits on, and has not been heard."""
        gate = self._greeter.house.gate
        session = gate.session("smtp")
        self._tell(session)
        reply = gate.turn_away(Mail(session, gate.envelope(session)))
        if reply is not None:
            metrics.SMTP_REPLIES["4xx"].inc()
            self.end(encode(reply), "early" if session.speaks is None else "not_smtp")
        else:
            transport.pause_reading()

    def _tell(self, session: Session) -> None:
        session.address, session.port, session.familiar = self.address, self.port, self._familiar
        if self._first:
            session.spoke_early = self._first[:ENOUGH].decode("latin-1")
            session.speaks = other_protocol(self._first[:ENOUGH])

    def _waited(self) -> None:
        with self._bordered():
            self._go_on()

    def _go_on(self) -> None:
        self._timer = None
        if not self._first:
            self._greeter.passed(self.address)
        no_room = self._greeter.house.no_room_for(familiar=False)  # it may have got crowded meanwhile
        if no_room is not None:
            self.end(no_room, "no_room")
        else:
            self._enter("waited")

    def _enter(self, how: str) -> None:
        if self._transport is None:
            return
        made = self._make()
        transport, self._transport = self._transport, None
        metrics.GREETINGS[how].inc()
        self._forget()
        session = cast("Visitor", made).session
        session.familiar = self._familiar
        if self._first and not self._familiar:
            self._tell(session)
        transport.set_protocol(made)
        if not transport.is_reading():
            transport.resume_reading()
        made.connection_made(transport)
        if self._first:
            made.data_received(self._first)

    def end(self, said: bytes, how: str) -> None:
        """A last word, as far as it can be said without waiting."""
        transport = self._transport
        self._end(how)
        if transport is not None:
            with contextlib.suppress(OSError):
                transport.write(said)
                transport.close()

    def _end(self, how: str) -> None:
        if self._transport is None:
            return
        self._transport = None
        metrics.GREETINGS[how].inc()
        self._forget()
        self._greeter.house.closed(self, self.address)

    def _forget(self) -> None:
        self._greeter.waiting.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
