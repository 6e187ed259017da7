"""Looks into attachments by a process that may be killed: one for each of ours, started when first needed.

Whatever a file makes of it (memory, time, a bug, a hole in a library), it is that process's end and nobody else's; the
next file gets a new one. Its absence is told (`UnpackerAway`), and is no evidence of anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gatekeeper import log, metrics
from gatekeeper.message.archives.walk import Report
from gatekeeper.message.transfer import Encoding
from gatekeeper.scanning.frames import LENGTH, MOST, FileHead, Request, read_report, request_frame

COMMAND: Final = (sys.executable, "-P", "-m", "gatekeeper.scanning.child")
PIECE: Final = 262_144
QUEUE: Final = 16
"""Messages that wait for the process; more are not looked into."""
REQUESTS: Final = 1000
"""After so many a process is replaced: what it may have lost is given back."""
SLACK: Final = 5.0
"""Seconds beyond its processor time that a request may take: the machine may be busy, and the process has to start."""
IDLE: Final = 300.0
"""Seconds after which a process that nobody needs is ended."""
REAPED: Final = 1.0
"""Seconds after which we look again whether a process that was killed is gone."""
_KEPT: Final = ("PATH", "PYTHONPATH", "LANG", "LC_ALL")


class UnpackerAway(Exception):
    """It could not be looked inside; the text says why."""


@dataclass(frozen=True, slots=True)
class Packed:
    """An attachment: its name, and its octets in their transfer encoding."""

    name: str
    octets: memoryview
    encoding: Encoding


@dataclass(frozen=True, slots=True)
class _Child:
    """One process, and our end of the socket to it."""

    process: subprocess.Popen[bytes]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def kill(self) -> None:
        with contextlib.suppress(RuntimeError):  # its loop may have ended
            self.writer.transport.abort()
        self.process.kill()


class Unpacker:
    """Asks the process. Safe for many tasks of one loop; they take turns."""

    def __init__(self, *, seconds: float, memory: int, command: Sequence[str] = COMMAND) -> None:
        """`seconds` of processor time for each message, `memory` in octets beyond what the process has at start."""
        self._seconds = seconds
        self._command = (*command, str(memory))
        self._child: _Child | None = None
        self._dying: list[subprocess.Popen[bytes]] = []
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._asked = 0
        self._idle: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int | None:
        """The process's, None where there is none now."""
        return None if self._child is None else self._child.process.pid

    async def look(self, files: Sequence[Packed], *, wanted: Sequence[str] = ()) -> Report:
        """What is in these. Raises UnpackerAway. May be cancelled: then the process is ended."""
        if self._waiting >= QUEUE:
            metrics.UNPACKER["busy"].inc()
            raise UnpackerAway("too many messages wait for it")
        self._waiting += 1
        try:
            async with self._turn:
                return await self._look(files, wanted)
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """End the process. May be called twice; the next question starts a new one."""
        self._end()
        for process in self._dying:
            await _ended(process, 5.0)
        self._reap()

    async def _look(self, files: Sequence[Packed], wanted: Sequence[str]) -> Report:
        heads = tuple(FileHead(each.name, each.encoding, len(each.octets)) for each in files)
        frame = request_frame(Request(heads, tuple(wanted), self._seconds))
        whole = False
        try:
            async with asyncio.timeout(self._seconds + SLACK):
                report = await self._ask(frame, files)
            whole = True
        except TimeoutError:
            metrics.UNPACKER["late"].inc()
            log.event("unpacker_died", level=logging.WARNING, why="late", pid=self.pid)
            raise UnpackerAway("it took too long") from None
        except (OSError, EOFError, ValueError) as error:
            metrics.UNPACKER["died"].inc()
            status = None if self._child is None else await _ended(self._child.process, 0.5)
            log.event("unpacker_died", level=logging.WARNING, why=str(error), status=status, pid=self.pid)
            raise UnpackerAway("the process that looks inside has died") from error
        finally:
            if not whole:  # cancelled too: what it would answer next is not ours
                self._end()
        metrics.UNPACKER["done"].inc()
        self._asked += 1
        if self._asked >= REQUESTS:
            self._end()
        else:
            self._idle = asyncio.get_running_loop().call_later(IDLE, self._end)
        return report

    async def _ask(self, frame: bytes, files: Sequence[Packed]) -> Report:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._child is not None and self._child.process.poll() is not None:
            self._end()  # somebody has killed it, or memory was short
        if self._child is None:
            self._child, self._asked = await self._started(), 0
        into, out = self._child.writer, self._child.reader
        into.write(frame)
        for file in files:
            for place in range(0, len(file.octets), PIECE):
                into.write(bytes(file.octets[place : place + PIECE]))
                await into.drain()
        await into.drain()
        length = int.from_bytes(await out.readexactly(LENGTH))
        if length > MOST:
            raise ValueError(f"an answer of {length} octets")
        return read_report(await out.readexactly(length))

    async def _started(self) -> _Child:
        ours, its = socket.socketpair()
        with its:
            try:
                process = subprocess.Popen(  # noqa: ASYNC220, S603 - our own program; a millisecond, and it can be ended
                    self._command,
                    stdin=its.fileno(),
                    stdout=its.fileno(),
                    stderr=subprocess.DEVNULL,  # what strangers make it say is not for our log
                    env={name: os.environ[name] for name in _KEPT if name in os.environ},
                    start_new_session=True,
                )
            except OSError:
                ours.close()
                raise
        try:
            reader, writer = await asyncio.open_connection(sock=ours)
        except BaseException:
            ours.close()
            process.kill()
            self._dying.append(process)
            raise
        return _Child(process, reader, writer)

    def _end(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            self._dying.append(child.process)
        self._reap()

    def _reap(self) -> None:
        self._dying = [process for process in self._dying if process.poll() is None]
        if self._dying:
            with contextlib.suppress(RuntimeError):  # without a loop nobody waits: whoever is our parent reaps them
                asyncio.get_running_loop().call_later(REAPED, self._reap)


async def _ended(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """How it ended, a signal is negative; None if it has not by then."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        return await asyncio.to_thread(process.wait, seconds)
    return None
