"""One client's octets: lines and text that came and were not read yet, replies that were said and not sent yet.

The protocol object puts in what arrives; the session takes it out. Reading goes on while the session does other
things, so that a client that leaves is noticed, but never further than a bound: what a client may make us hold is
this much and no more. Replies to what came in one read leave in one write.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import math
import struct
import termios
from collections.abc import Awaitable, Callable
from typing import Final

COMMANDS_AHEAD: Final = 64 * 1024
"""Octets of commands that a client may send ahead of our answers."""
TEXT_AHEAD: Final = 512 * 1024
"""Octets of message text that may wait while earlier ones are being put away."""
SAY_AT_ONCE: Final = 16 * 1024
LINGER_SECONDS: Final = 2.0
FAREWELL_SECONDS: Final = 30.0
LINGER_OCTETS: Final = 1 << 20


class ClientGone(Exception):
    """The connection is lost, or the client has closed its side and all that it sent has been read."""


class ClientSilent(Exception):
    """Nothing came (or nothing was taken) for as long as the client was given."""


class Interrupted(Exception):
    """`interrupt` was called while the session had nothing to do."""


class LineTooLong(Exception):
    """A line longer than any command; it was skipped without being kept."""


class Conversation:
    """Belongs to one session; only that session's task reads and speaks."""

    __slots__ = (
        "_ahead",
        "_buffer",
        "_delay",
        "_interrupted",
        "_line_limit",
        "_loop",
        "_paused",
        "_said",
        "_said_octets",
        "_scanned",
        "_skipping",
        "_transport",
        "_unwritable",
        "_waiter",
        "broken",
        "ended",
        "heard",
        "lost",
        "patience",
        "secure",
        "unread",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, *, line_limit: int, patience: float) -> None:
        self._loop = loop
        self._line_limit = line_limit
        self.patience = patience  # seconds that a client may take to read what we say
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._scanned = 0  # octets of it that hold no line end
        self._skipping = False
        self._ahead = COMMANDS_AHEAD
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._delay: asyncio.Future[None] | None = None
        self._unwritable: asyncio.Future[None] | None = None
        self._interrupted = False
        self._said: list[bytes] = []
        self._said_octets = 0
        self.heard = 0  # octets that have come in all
        self.ended = False  # the client has closed its side: it sends nothing more, but may be listening
        self.lost = False  # the connection is no more
        self.broken = False  # and it ended with an error
        self.secure = False  # over TLS
        self.unread = False  # when it closed or was given up, some of what we said had not reached it

    # --- from the protocol -------------------------------------------------------------------------------------------

    def connected(self, transport: asyncio.Transport) -> None:
        """May be called again, with another transport over the same connection."""
        self._transport = transport
        self._paused = False
        self.secure = transport.get_extra_info("ssl_object") is not None
        if self.secure and self.ended:  # it closed in the moment between the handshake and our hearing of it
            self.lose(None)

    def received(self, data: bytes) -> None:
        self._buffer += data
        self.heard += len(data)
        if len(self._buffer) > self._ahead and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def end(self) -> None:
        if not self.ended:
            self.unread = self._unacknowledged()
        self.ended = True
        if self.secure:  # the loops close a TLS connection whose other side has closed: nothing more can be said
            self.lose(None)
        self._wake()

    def lose(self, error: Exception | None) -> None:
        self.ended = self.lost = True
        self.broken = error is not None
        self._wake()
        for future in (self._delay, self._unwritable):
            if future is not None and not future.done():
                future.set_result(None)

    def pause_writing(self) -> None:
        if self._unwritable is None:
            self._unwritable = self._loop.create_future()

    def resume_writing(self) -> None:
        future, self._unwritable = self._unwritable, None
        if future is not None and not future.done():
            future.set_result(None)

    def interrupt(self) -> None:
        """Let a session that waits for a command between mails stop waiting, now or when it comes to that."""
        self._interrupted = True
        self._wake()

    @property
    def now(self) -> float:
        """The clock that deadlines are told by."""
        return self._loop.time()

    # --- reading -----------------------------------------------------------------------------------------------------

    async def line(self, patience: float, *, whole_within: float = math.inf, interruptible: bool = False) -> bytes:
        """The next line without its LF. What was said before is sent when there is none yet.

        One that has begun must be whole after `whole_within` seconds: whoever sends an octet now and then does not
        hold us for long. Raises ClientGone, ClientSilent, LineTooLong, Interrupted.
        """
        deadline = self._loop.time() + patience
        begun = False
        while (line := self.line_here()) is None:
            if interruptible and self._interrupted:
                raise Interrupted
            if not begun and (self._buffer or self._skipping):
                begun = True
                deadline = min(deadline, self._loop.time() + whole_within)
            await self._more(deadline)
        return line

    def line_here(self) -> bytes | None:
        """The next line if it is here already. Raises LineTooLong."""
        buffer = self._buffer
        at = buffer.find(b"\n", self._scanned)
        if at < 0:
            if len(buffer) > self._line_limit:
                self._skipping = True
            if self._skipping:
                buffer.clear()
            self._scanned = len(buffer)
            return None
        self._scanned = 0
        if self._skipping or at >= self._line_limit:
            self._skipping = False
            del buffer[: at + 1]
            raise LineTooLong
        line = bytes(buffer[:at])
        del buffer[: at + 1]
        return line

    def next_begins(self, verb: bytes) -> bool:
        """Whether a whole line that begins with `verb` (upper case, with its blank) is here already."""
        begins = bytes(self._buffer[: len(verb)]).upper() == verb
        return begins and self._buffer.find(b"\n", 0, self._line_limit) >= 0

    @property
    def ahead(self) -> bool:
        """Whether the client has sent more than was read so far."""
        return bool(self._buffer)

    async def text(self, deadline: float) -> bytes:
        """All that is here, or the next that comes until `deadline` (of the loop's clock).

        Raises ClientGone, ClientSilent.
        """
        self._ahead = TEXT_AHEAD
        while not self._buffer:
            await self._more(deadline)
        self._scanned = 0
        text = bytes(self._buffer)
        self._buffer.clear()
        return text

    def put_back(self, rest: bytes) -> None:
        """The text has ended; `rest` came after it and is commands."""
        self._buffer[:0] = rest
        self._scanned = 0
        self._ahead = COMMANDS_AHEAD
        if not self.filled:
            self._resume()  # from now on it must be noticed when the client leaves

    @property
    def filled(self) -> bool:
        """Whether the client has sent so much ahead that reading has stopped, and its leaving would go unnoticed."""
        return len(self._buffer) >= COMMANDS_AHEAD

    @property
    def present(self) -> bool:
        """Whether the client is still there to be answered: not lost, nor closed without having said QUIT."""
        if self.lost:
            return False
        return not self.ended or any(line.strip().upper() == b"QUIT" for line in self._buffer.split(b"\n")[:-1])

    async def _more(self, deadline: float) -> None:
        before = self.heard, self._interrupted
        await self.send()
        if (self.heard, self._interrupted) != before:
            return  # it came while the client did not take what we said, when there was nobody to be woken
        if self.ended:
            raise ClientGone
        self._resume()
        waiter = self._waiter = self._loop.create_future()
        timer = self._loop.call_at(deadline, _expire, waiter)
        try:
            await waiter
        except ClientSilent:
            self.unread = self._unacknowledged()
            raise
        finally:
            timer.cancel()
            self._waiter = None

    def _unacknowledged(self) -> bool:
        """Whether its system has not confirmed all that we sent (tcp(7), SIOCOUTQ).

        The end of its side comes with a confirmation of everything that came before: what is not confirmed then was
        still on its way when it closed.
        """
        sock = None if self._transport is None else self._transport.get_extra_info("socket")
        if sock is None:
            return False
        with contextlib.suppress(OSError):  # a system that does not tell
            return struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))) != (0,)
        return False

    def _resume(self) -> None:
        if self._paused and self._transport is not None and not self.ended:
            self._paused = False
            self._transport.resume_reading()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def pause(self, seconds: float) -> None:
        """Make the client wait. Raises ClientGone as soon as the connection is lost."""
        await self.send()
        if self.lost:
            raise ClientGone
        delay = self._delay = self._loop.create_future()
        timer = self._loop.call_later(seconds, _finish, delay)
        try:
            await delay
        finally:
            timer.cancel()
            self._delay = None
        if self.lost:
            raise ClientGone

    # --- TLS ---------------------------------------------------------------------------------------------------------

    async def discard(self) -> int:
        """Stop reading, and throw away what is here and was not read; how many octets. `start_tls` must come next.

        Raises ClientGone and ClientSilent.
        """
        await self.send()
        if self._transport is None or self.ended or self._transport.is_closing():
            raise ClientGone
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()
        thrown = len(self._buffer)
        self._buffer.clear()
        self._scanned = 0
        return thrown

    async def start_tls(
        self, go_ahead: bytes, handshake: Callable[[asyncio.Transport], Awaitable[asyncio.Transport]]
    ) -> asyncio.Transport:
        """Say `go_ahead`, and speak TLS from then on; right after `discard`.

        What stood behind the command in the clear may be somebody else's, what comes after the handshake is the
        client's: so things are thrown away before it and never after (RFC 3207 §4.2, CVE-2011-0411). Raises what
        `handshake` does; the connection is lost then.
        """
        transport = self._transport
        if transport is None:
            raise ClientGone
        transport.write(go_ahead)
        try:
            made = await handshake(transport)
        except BaseException:
            self.lose(None)
            raise
        self.connected(made)
        return made

    # --- speaking ----------------------------------------------------------------------------------------------------

    def say(self, reply: bytes) -> None:
        """One reply, with its CRLF; it is sent before the session waits for anything from the client."""
        self._said.append(reply)
        self._said_octets += len(reply)

    @property
    def much_unsaid(self) -> bool:
        return self._said_octets > SAY_AT_ONCE

    async def send(self) -> None:
        """Send what was said, and wait as long as the client does not take what it was sent before.

        Raises ClientSilent. A lost connection is no error here: whoever reads next learns of it.
        """
        if self._said:
            said = b"".join(self._said) if len(self._said) > 1 else self._said[0]
            self._said.clear()
            self._said_octets = 0
            if not self.lost and self._transport is not None and not self._transport.is_closing():
                self._transport.write(said)
        if self._unwritable is not None and not self.lost:
            waiting = self._unwritable
            timer = self._loop.call_later(self.patience, _expire, waiting)
            try:
                await waiting
            finally:
                timer.cancel()

    async def close(self, *, linger: bool = False) -> None:
        """End it. With `linger` what the client still sends is thrown away for a moment first.

        Closing on unread octets resets the connection, and the client may never read why it was cut off.
        """
        transport = self._transport
        if transport is None or self.lost:
            return
        if self.ended and not self.unread:  # closed whole or by half? What we said since is not known to have arrived
            self.unread = self._unacknowledged()
        if linger and not self.ended and transport.can_write_eof() and not transport.is_closing():
            with contextlib.suppress(OSError):  # the client has just gone, and the loop does not know it yet
                transport.write_eof()
            deadline = self._loop.time() + LINGER_SECONDS
            until = self.heard + LINGER_OCTETS
            try:
                while self.heard < until:
                    self._buffer.clear()
                    await self._more(deadline)
            except (ClientGone, ClientSilent):
                pass
        transport.close()
        if transport.get_write_buffer_size():
            # It would stay open until the client has read everything, and a client may never read.
            self._loop.call_later(FAREWELL_SECONDS, transport.abort)

    def abort(self) -> None:
        """End it at once, whatever is unsent."""
        if self._transport is not None:
            self._transport.abort()


def _expire(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_exception(ClientSilent())


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
