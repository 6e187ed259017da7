"""Whether one worker has more to do than it can, and whom it puts off then: the unknown first, the well known last.

Five gauges are read four times a second, each as a share of the most that there may be: the delay of the event loop
(which is what too little CPU looks like from inside), resident memory, the room for messages on their way, sessions,
and connections that wait to be accepted. The highest counts. Putting off begins above one mark and ends below another,
so that it does not flutter.
"""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import logging
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gatekeeper import log, metrics
from gatekeeper.dns.lists import outside
from gatekeeper.gate import Gate
from gatekeeper.model import Duration, Session, Size, setting

EVERY: Final = 0.25
"""Seconds between two looks."""
FADES: Final = 0.8
"""What is left of a delay at the next look: one that was long is remembered for a second or two."""
LOOKS: Final = 4
"""Looks at the queue of connections, of which the best counts."""
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
# tcp_info of a listening socket (tcp(7), linux/tcp.h): in the place of unacked and sacked stand the connections that
# wait to be accepted, and the most that may.
_QUEUE: Final = struct.Struct("24xII")


class Level(enum.IntEnum):
    """Who is put off."""

    CALM = 0  # nobody
    STRAINED = 1  # clients whose mail was never accepted before
    OVERWHELMED = 2  # everybody


@dataclass(frozen=True, slots=True)
class Settings:
    """`overload` of `[servers.smtp]`, `[servers.milter]` and `[servers.policy_service]`."""

    loop_delay: Duration = setting(2.0, "How late the event loop may be at worst; what too little CPU leads to.")
    memory: Size = setting(1 << 30, "Resident memory that one worker may take at worst.")
    unknown_at: float = setting(0.75, "From this share of any limit on, clients without history are put off.")
    everybody_at: float = setting(0.95, "From this share of any limit on, everybody is put off.")
    calm_at: float = setting(0.6, "Below this share of every limit all is well again.")
    calm_for: Duration = setting(3.0, "How long all must have been well before fewer are put off.")

    def __post_init__(self) -> None:
        if not 0 < self.calm_at <= self.unknown_at <= self.everybody_at:
            raise ValueError("calm_at must be at most unknown_at, and unknown_at at most everybody_at")
        if self.loop_delay <= 0 or self.memory < 1:
            raise ValueError('loop_delay and memory must be more than nothing, as in "2s" and "1GiB"')
        if self.calm_for < 0:
            raise ValueError("calm_for cannot be negative")


@dataclass(frozen=True, slots=True)
class Gauges:
    """Each a share of the most that there may be, above 1 where that is exceeded."""

    loop_delay: float = 0.0
    memory: float = 0.0
    spool: float = 0.0
    sessions: float = 0.0
    accept_queue: float = 0.0


CAUSES: Final = tuple(field.name for field in dataclasses.fields(Gauges))


class Overload:
    """Of one server: its gauges, read while `keep_looking` runs, and whom it puts off. `spool` and `sessions` say how
    full these are; `relieve` is called at each look while somebody is put off.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        spool: Callable[[], float] = lambda: 0.0,
        sessions: Callable[[], float] = lambda: 0.0,
        relieve: Callable[[], None] = lambda: None,
    ) -> None:
        self.level = Level.CALM
        self.read = Gauges()  # at the last look
        self._settings = settings
        self._spool = spool
        self._sessions = sessions
        self._relieve = relieve
        self._listening: list[socket.socket] = []
        self._late = 0.0
        self._queues: deque[float] = deque(maxlen=LOOKS)
        self._calm_since: float | None = None

    def listens(self, sockets: Sequence[socket.socket]) -> None:
        """Their queues are watched from now on; they stay the caller's."""
        self._listening += sockets

    def puts_off(self, *, familiar: bool) -> bool:
        """Whether there is too much to do for such a client now; whoever is put off is counted."""
        if self.level is Level.CALM or (familiar and self.level is Level.STRAINED):
            return False
        metrics.PUT_OFF["familiar" if familiar else "unknown"].inc()
        return True

    async def puts_off_mail_of(self, session: Session, gate: Gate) -> bool:
        """The same of a client that begins a mail. Only strangers from outside are unknown: neither our own machines
        nor whoever has logged in.
        """
        if self.level is Level.CALM:
            return False
        address = session.address
        if session.familiar is None and session.login is None and address is not None and outside(address):
            session.familiar = (await gate.familiar([address]))[0]
        return self.puts_off(familiar=session.familiar is not False or session.login is not None)

    def gauges(self, *, late: float) -> Gauges:
        """As they stand; `late` is by how many seconds the loop has come late to look."""
        self._late = max(late, self._late * FADES)
        # A burst fills the queue for a moment, which is what it is for; one that does not get empty is too long.
        self._queues.append(max([_queue(each) for each in self._listening], default=0.0))
        return Gauges(
            loop_delay=self._late / self._settings.loop_delay,
            memory=_resident() / self._settings.memory,
            spool=self._spool(),
            sessions=self._sessions(),
            accept_queue=min(self._queues) if len(self._queues) == LOOKS else 0.0,
        )

    def take(self, gauges: Gauges, *, now: float) -> None:
        """What follows from the gauges. `now` is of a clock that never jumps."""
        self.read = gauges
        shares = dataclasses.asdict(gauges)
        worst = max(shares, key=lambda name: shares[name])
        self._settle(self._wanted(shares[worst], now=now), worst, shares[worst])
        if self.level > Level.CALM:
            self._relieve()

    def _wanted(self, share: float, *, now: float) -> Level:
        settings = self._settings
        if share >= settings.unknown_at:
            self._calm_since = None
            # Not back from the last step before it is calm either: between the marks things stay as they are.
            return max(self.level, Level.OVERWHELMED if share >= settings.everybody_at else Level.STRAINED)
        if share >= settings.calm_at or self.level is Level.CALM:
            self._calm_since = None
            return min(self.level, Level.STRAINED)  # well below the last mark: the well known may come again
        if self._calm_since is None or now < self._calm_since:
            self._calm_since = now
        return Level.CALM if now - self._calm_since >= settings.calm_for else min(self.level, Level.STRAINED)

    def _settle(self, level: Level, cause: str, share: float) -> None:
        if level == self.level:
            return
        worse = level > self.level
        self.level = level
        if worse:
            log.event("overload", level=logging.WARNING, put_off=level.name.lower(), cause=cause, share=round(share, 2))
        else:
            log.event("overload_eased", put_off=level.name.lower())


def look(servers: Sequence[Overload], *, late: float, now: float) -> None:
    """Read the gauges of all servers of this worker and tell what follows; as `gauges` and `take`."""
    for each in servers:
        each.take(each.gauges(late=late), now=now)
    tell(servers)


async def keep_looking(servers: Sequence[Overload]) -> None:
    """Look at all servers of this worker again and again, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + EVERY
        await asyncio.sleep(EVERY)
        now = loop.time()
        look(servers, late=now - due, now=now)


def tell(servers: Sequence[Overload]) -> None:
    """The metrics of this worker: of the server that has it worst."""
    metrics.OVERLOAD_LEVEL.set(max([each.level for each in servers], default=Level.CALM))
    for name in CAUSES:
        metrics.OVERLOAD_SHARE[name].set(max([getattr(each.read, name) for each in servers], default=0.0))


def _resident() -> int:
    """Octets of memory that this process takes now; 0 on a system that does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


def _queue(sock: socket.socket) -> float:
    """How full its queue of connections to be accepted is; 0 where the system does not tell."""
    try:
        waiting, most = _QUEUE.unpack(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _QUEUE.size))
    except (OSError, AttributeError, struct.error):
        return 0.0
    return waiting / most if most else 0.0
