"""Our side of clamd: a few sessions kept open, one message at a time in each, and patience with limits."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from gatekeeper import log, metrics
from gatekeeper.wire.clamd import ANSWER, CHUNK, END_OF_STREAM, SESSION, STREAM, Answer, Result, chunk, read_answer
from gatekeeper.wire.listen import TcpAddress, UnixAddress

FAILURES: Final = 3
"""In a row, after which it is left alone for a while."""
PAUSE: Final = 30.0
"""Seconds that it is then not asked."""
KEPT: Final = 20.0
"""Seconds for which a session that is not needed is kept: clamd itself ends it after CommandReadTimeout, 30 s."""


class ClamdAway(Exception):
    """It did not answer, or not so that it can be understood; the text says what happened."""


class _Stale(Exception):
    """A session that was kept had ended meanwhile."""


@dataclass(slots=True)
class _Session:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    since: float  # when it was last of use
    fresh: bool = True

    def close(self) -> None:
        with contextlib.suppress(RuntimeError):  # its loop may have ended
            self.writer.close()


class Clamd:
    """Asks one clamd. Safe for many tasks of one loop."""

    def __init__(
        self,
        address: TcpAddress | UnixAddress,
        *,
        timeout: float,
        sessions: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`timeout` in seconds for each message, waiting for a session included; at most so many `sessions`."""
        self._address = address
        self._timeout = timeout
        self._clock = clock
        self._room = asyncio.Semaphore(sessions)
        self._kept: list[_Session] = []
        self._failures = 0
        self._paused_until = float("-inf")

    async def scan(self, chunks: Callable[[], Iterable[bytes]]) -> Answer:
        """What it says of these octets, which may be asked for twice. Raises ClamdAway; never waits for longer than
        `timeout`. A message that it cannot look at is an answer; one that it is too large for, too.
        """
        now = self._clock()
        if now < self._paused_until:
            metrics.CLAMAV["paused"].inc()
            raise ClamdAway("it has failed several times in a row, and is asked again in a moment")
        try:
            async with asyncio.timeout(self._timeout), self._room:
                answer = await self._scan(chunks)
        except TimeoutError:
            self._failed("it took too long")
            raise ClamdAway("it took too long") from None
        except (OSError, EOFError, asyncio.LimitOverrunError) as error:
            why = f"{type(error).__name__}: {error}"
            self._failed(why)
            raise ClamdAway(why) from error
        if answer.result is Result.ERROR:
            self._failed(answer.text)
            raise ClamdAway(answer.text)
        if self._failures >= FAILURES:
            log.event("clamav_back", address=self._address)
        self._failures = 0
        metrics.CLAMAV[answer.result.value].inc()
        return answer

    async def close(self) -> None:
        """End the sessions. May be called twice, and the next question opens one anew."""
        while self._kept:
            self._kept.pop().close()

    async def _scan(self, chunks: Callable[[], Iterable[bytes]]) -> Answer:
        while True:
            session = await self._session()
            kept = False
            try:
                answer = await self._stream(session, chunks())
                kept = answer.result in {Result.CLEAN, Result.FOUND}
                return answer
            except _Stale:
                continue  # a fresh one raises what happened
            finally:
                if kept:
                    session.since, session.fresh = self._clock(), False
                    self._kept.append(session)
                else:
                    session.close()

    async def _session(self) -> _Session:
        while self._kept:
            session = self._kept.pop()
            if self._clock() - session.since < KEPT and not session.reader.at_eof():
                return session
            session.close()
        if isinstance(self._address, UnixAddress):
            reader, writer = await asyncio.open_unix_connection(self._address.path, limit=ANSWER)
        else:
            reader, writer = await asyncio.open_connection(str(self._address.host), self._address.port, limit=ANSWER)
        writer.write(SESSION)
        return _Session(reader, writer, self._clock())

    async def _stream(self, session: _Session, chunks: Iterable[bytes]) -> Answer:
        """One message. Raises _Stale where a kept session ended before it said a word."""
        writer = session.writer
        answering = asyncio.ensure_future(session.reader.readuntil(b"\0"))
        try:
            writer.write(STREAM)
            for each in chunks:
                view = memoryview(each)
                for place in range(0, len(view), CHUNK):
                    writer.write(chunk(view[place : place + CHUNK]))
                    await writer.drain()
                if answering.done():
                    break  # it has heard enough: too large, or it is ending
            else:
                writer.write(END_OF_STREAM)
                await writer.drain()
            return read_answer((await answering)[:-1])
        except (OSError, asyncio.IncompleteReadError) as error:
            said = await self._last_words(answering)
            if said is not None:
                return said
            if not session.fresh:
                raise _Stale from error
            raise
        finally:
            if not answering.done():
                answering.cancel()
            elif not answering.cancelled():
                answering.exception()  # told already, or nobody's business any more

    async def _last_words(self, answering: asyncio.Future[bytes]) -> Answer | None:
        """What was answered before the connection ended, such as that the stream is too large."""
        try:
            return read_answer((await asyncio.wait_for(asyncio.shield(answering), 1.0))[:-1])
        except (OSError, EOFError, asyncio.LimitOverrunError, TimeoutError):
            return None

    def _failed(self, why: str) -> None:
        metrics.CLAMAV["away"].inc()
        self._failures += 1
        if self._failures >= FAILURES:
            if self._failures == FAILURES:
                log.event("clamav_away", level=logging.WARNING, address=self._address, why=why)
            self._paused_until = self._clock() + PAUSE
