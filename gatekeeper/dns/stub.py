"""Plain questions to one nameserver by UDP, without a task, a timer or a channel for each (RFC 1035, RFC 5452).

Each question is sent once. Whatever is not a plain answer in time is told to whoever asked, who has c-ares for the
rest: the next try, TCP, and all that a nameserver may do besides.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Final

from gatekeeper.dns import packets
from gatekeeper.dns.answer import Answer

PORT_KEPT: Final = 200
"""Questions from one port: whoever would forge an answer is to guess it anew."""
PORT_KEPT_FOR: Final = 10.0
"""Seconds; finding out a port from outside takes longer than that."""
MOST_STRANGE: Final = 50
"""Packets on one port that answer no question of ours, before it is given up: somebody may be guessing."""
MOST_UNDER_WAY: Final = 4096
"""Questions to one nameserver; an id out of 65,536 has to stay hard to hit."""
AT_ONCE: Final = 100
"""Packets that are read before others have their turn."""
LARGEST: Final = 4096
TICK: Final = 0.01
"""Seconds by which a question may end early, so that those sent together end together."""


class Unanswered:
    """Why there is no plain answer: `LATE` none came in time, `ODD` what came is for others to find out about."""

    __slots__ = ()


LATE: Final = Unanswered()
ODD: Final = Unanswered()
CLOSED: Final = Unanswered()
"""The stub was closed meanwhile."""

Told = Callable[[Answer | Unanswered], None]
"""Who is told what became of a question: once, and not before the `ask` that sent it is over."""


class _Asked:
    """A question under way."""

    __slots__ = ("due", "line", "name", "packet_id", "rtype", "section", "told")

    def __init__(
        self, name: str, rtype: str, told: Told, *, packet_id: bytes, section: bytes, due: float, line: _Line
    ) -> None:
        self.name = name
        self.rtype = rtype
        self.told = told
        self.packet_id = packet_id
        self.section = section
        self.due = due
        self.line = line


class _Line:
    """A socket of its own port; `left` are the questions that may still be sent from it, `pending` those under way."""

    __slots__ = ("folds_case", "left", "opened", "pending", "socket", "strange")

    def __init__(self, sock: socket.socket, opened: float) -> None:
        self.folds_case = False  # seen from here: the nameserver writes the question anew
        self.socket = sock
        self.opened = opened
        self.left = PORT_KEPT
        self.strange = 0
        self.pending: dict[bytes, _Asked] = {}  # by id


class Stub:
    """Asks one nameserver. Belongs to the loop that asked first. `wait` in seconds is how long an answer may take."""

    def __init__(self, host: str, port: int, *, wait: float) -> None:
        self._address = (host, port)
        self._family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._wait = wait
        self._line: _Line | None = None
        self._waiting: dict[_Asked, None] = {}  # in the order in which they were sent, which is that of their ends
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def ask(self, name: str, rtype: str, told: Told) -> bool:
        """Send a question (a name that can be asked for, lower case); False if it has to be asked in another way."""
        section = packets.question(name, rtype)
        if section is None or len(self._waiting) >= MOST_UNDER_WAY:
            return False
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        now = loop.time()
        line = self._line
        if line is None or not line.left or now - line.opened >= PORT_KEPT_FOR:
            line = self._fresh_line(now)
            if line is None:
                return False
        dice = os.urandom(2 + len(section))
        packet_id = dice[:2]
        while packet_id in line.pending:
            packet_id = os.urandom(2)
        if not line.folds_case:
            section = packets.shuffled(section, dice[2:])
        try:
            line.socket.send(packets.packet(packet_id, section))
        except ConnectionError:  # what became of an earlier one (ICMP)
            self._give_up(line)
            return False
        except OSError:  # no room, or not allowed
            return False
        line.left -= 1
        asked = _Asked(name, rtype, told, packet_id=packet_id, section=section, due=now + self._wait, line=line)
        line.pending[packet_id] = asked
        self._waiting[asked] = None
        if self._timer is None:
            self._timer = loop.call_at(asked.due, self._end_late)
        return True

    def close(self) -> None:
        """What is under way ends with CLOSED. May be called twice."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for asked in tuple(self._waiting):
            self._end(asked, CLOSED)
        line, self._line = self._line, None
        if line is not None:
            self._shut(line)

    def _fresh_line(self, now: float) -> _Line | None:
        """A socket from a port of the kernel's choice, which is random; connected, so that no other peer is heard."""
        old, self._line = self._line, None
        if old is not None and not old.pending:
            self._shut(old)
        try:
            sock = socket.socket(self._family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        except OSError:
            return None
        try:
            sock.connect(self._address)
        except OSError:  # no way there
            sock.close()
            return None
        line = self._line = _Line(sock, now)
        assert self._loop is not None  # noqa: S101 - for the type checker; whoever asks has set it
        self._loop.add_reader(sock, self._read, line)
        return line

    def _shut(self, line: _Line) -> None:
        if line.socket.fileno() >= 0:
            assert self._loop is not None  # noqa: S101 - as above
            self._loop.remove_reader(line.socket)
            line.socket.close()

    def _read(self, line: _Line) -> None:
        """What has come."""
        receive = line.socket.recv
        for _ in range(AT_ONCE):
            try:
                wire = receive(LARGEST)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:  # nobody listens there (ICMP), or the way is gone: c-ares finds out and says so
                self._give_up(line)
                return
            asked = line.pending.get(wire[:2])
            if asked is None:
                self._stranger(line)
            elif packets.answers_to(wire, asked.section):
                answer = packets.read(wire, asked.section, asked.name, asked.rtype)
                self._end(asked, ODD if answer is None else answer)
            elif not packets.is_answer(wire):
                self._end(asked, ODD)
            elif wire[12 : 12 + len(asked.section)].lower() == asked.section.lower():
                line.folds_case = True
                self._end(asked, ODD)
            else:
                self._stranger(line)
            if line.socket.fileno() < 0:
                return

    def _stranger(self, line: _Line) -> None:
        """Something that answers nothing we ask from here: late, or forged."""
        line.strange += 1
        if line.strange >= MOST_STRANGE:
            self._give_up(line)

    def _give_up(self, line: _Line) -> None:
        if self._line is line:
            self._line = None
        for asked in tuple(line.pending.values()):
            self._end(asked, ODD)
        self._shut(line)

    def _end(self, asked: _Asked, how: Answer | Unanswered) -> None:
        line = asked.line
        del self._waiting[asked]
        del line.pending[asked.packet_id]
        if line is not self._line and not line.pending:
            self._shut(line)
        asked.told(how)

    def _end_late(self) -> None:
        """The one timer of all questions: those whose time is over end, and it waits for the next."""
        assert self._loop is not None  # noqa: S101 - as above
        self._timer = None
        over = self._loop.time() + TICK
        late = []
        for asked in self._waiting:
            if asked.due > over:
                self._timer = self._loop.call_at(asked.due, self._end_late)
                break
            late.append(asked)
        for asked in late:
            if asked in self._waiting:  # whoever was told before it may have closed us
                self._end(asked, LATE)
