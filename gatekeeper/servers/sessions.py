"""What every server with sessions has in common: how many there may be, and how they end when it is time to go."""

from __future__ import annotations

import abc
import asyncio
import logging
import math
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar, cast

from gatekeeper import log, metrics
from gatekeeper.model import IPAddress
from gatekeeper.servers.listener import Admission, Listener, say_and_close
from gatekeeper.servers.overload import Overload
from gatekeeper.servers.peers import Peers

PARTING: Final = 1.0
"""Seconds that a client may take to read our last word when we are in a hurry."""
LOOK_EVERY: Final = 0.1
"""Seconds between two looks whether somebody who was let in has become a session."""
NOT_ITS_DOING: Final = frozenset({"next_hop_gone", "shutdown", "bug", "protocol_error"})
"""Why a mail may end before DATA that its client has not given up: notes of its record."""


class ServedSession(Protocol):
    """What a server needs of its sessions. `task` is None until the connection has been made."""

    task: asyncio.Task[None] | None

    def retire(self) -> None:
        """End as soon as nothing is in hand."""
        ...


S = TypeVar("S", bound=ServedSession)


@dataclass(frozen=True, slots=True)
class Room:
    """How many sessions there may be over all workers, in all, from one address and network; what the others are told.

    Trusted peers stand for many clients: they count in all, but not by address or network. Networks have no limit
    where `per_network` is None.
    """

    connections: int
    per_address: int
    full: bytes
    crowded: bytes
    per_network: int | None = None


class SessionServer(abc.ABC, Generic[S]):
    """All sessions of one server in one worker. A session calls `opened` and `closed`, each once."""

    overload: Overload
    """Made by each server, which knows what of its own can be full."""

    def __init__(self, room: Room, *, trust: Peers, workers: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.trust = trust
        self._room = room
        self._admission = Admission(
            connections=math.ceil(room.connections / workers),
            per_address=math.ceil(room.per_address / workers),
            per_network=None if room.per_network is None else math.ceil(room.per_network / workers),
        )
        self._sessions: set[S] = set()
        self._retiring = False
        self._listeners: list[Listener] = []

    @abc.abstractmethod
    def session(self, address: IPAddress | None, port: int | None) -> S:
        """A new session, which is an asyncio.Protocol; its connection comes later."""

    @property
    def sessions(self) -> int:
        return len(self._sessions)

    @property
    def arriving(self) -> int:
        """Connections that were accepted and are to become sessions yet."""
        return 0

    def turn_back(self) -> None:
        """End those that are arriving: there is no time left for them."""

    @property
    def entrances(self) -> tuple[str, ...]:
        """The settings that name sockets to be handed to `start`."""
        return ("listen",)

    async def start(self, sockets: Sequence[socket.socket], entrance: str = "listen") -> None:
        """Take connections from sockets that listen; they stay the caller's. Once for each entrance."""
        listener = self._listener(sockets, entrance)
        listener.start()
        self._listeners.append(listener)
        self.overload.listens(sockets)

    def _listener(self, sockets: Sequence[socket.socket], entrance: str) -> Listener:
        if entrance != "listen":
            raise ValueError(f"this server has no {entrance}")
        return Listener(sockets, self._take)

    def _take(self, connection: socket.socket, address: IPAddress | None, port: int | None) -> asyncio.Protocol | None:
        metrics.CONNECTIONS.inc()
        refusal = self.admit(address)
        if refusal is not None:
            say_and_close(connection, refusal)
            return None
        return self.entrant(address, port)

    def entrant(self, address: IPAddress | None, port: int | None) -> asyncio.Protocol:
        """What a connection begins with: its session, unless something comes before that."""
        # It is an asyncio.Protocol too, which a typing.Protocol has no way to say.
        return cast("asyncio.Protocol", self.session(address, port))

    def admit(self, address: IPAddress | None) -> bytes | None:
        """Count somebody in, until `closed`; or the last word to somebody for whom there is no room."""
        counted = self._counted(address)
        full = self._admission.full()
        crowded = self._admission.crowded(counted)
        if full or crowded is not None:
            metrics.CONNECTIONS_REFUSED["all" if full else crowded or ""].inc()
            return self._room.full if full else self._room.crowded
        self._admission.enter(counted)
        return None

    def becomes(self, before: IPAddress | None, after: IPAddress | None) -> bytes | None:
        """A session that was counted in for one address goes on for another; or the last word where that one has too
        many, and nothing has changed.
        """
        self._admission.leave(self._counted(before))
        counted = self._counted(after)
        crowded = self._admission.crowded(counted)
        if crowded is not None:
            metrics.CONNECTIONS_REFUSED[crowded].inc()
            counted = self._counted(before)
        self._admission.enter(counted)
        return None if crowded is None else self._room.crowded

    def _counted(self, address: IPAddress | None) -> IPAddress | None:
        return None if address in self.trust else address

    def opened(self, session: S) -> None:
        self._sessions.add(session)
        metrics.SESSIONS.inc()
        if self._retiring:
            session.retire()

    def closed(self, session: object, address: IPAddress | None) -> None:
        """`address` is the one that it is counted for; a session that was never opened is closed too."""
        self._admission.leave(self._counted(address))
        if session in self._sessions:
            self._sessions.discard(session)
            metrics.SESSIONS.dec()

    async def stop_accepting(self) -> None:
        """May be called twice."""
        await asyncio.gather(*(listener.stop() for listener in self._listeners))

    async def drain(self, seconds: float) -> None:
        """Accept nothing more, let sessions finish what they have in hand, and cut off what is left in the end.

        Whoever was let in already still becomes a session.
        """
        await self.stop_accepting()
        self._retiring = True
        for session in tuple(self._sessions):
            session.retire()
        until = self.loop.time() + seconds
        remaining = seconds
        while (left := self._tasks()) or self.arriving:
            pause = max(0.0, min(remaining, LOOK_EVERY) if self.arriving else remaining)
            await (asyncio.wait(left, timeout=pause) if left else asyncio.sleep(pause))
            remaining = until - self.loop.time()
            if remaining <= 0:
                break
        self.turn_back()
        left = self._tasks()
        for task in left:
            task.cancel()
        if left:
            log.event("sessions_cut_off", level=logging.WARNING, count=len(left))
            await asyncio.wait(left, timeout=2 * PARTING)

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [s.task for s in self._sessions if s.task is not None and not s.task.done()]
