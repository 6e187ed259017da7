"""Where the octets of messages on their way stand: in memory, and above 256 KiB in a file without a name.

It is never a queue: an unlinked file goes with its process, and what was not acknowledged is gone with it.
"""

from __future__ import annotations

import asyncio
import errno
import io
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final, Protocol

from gatekeeper.model import BytesBody, Message

IN_MEMORY: Final = 256 * 1024
"""Octets of one message that are kept in memory."""
PIECE: Final = 256 * 1024
THREADS: Final = 4
"""Writes at once. Threads of its own: a disk that hangs must not hold up others' work in the loop's pool."""
PATIENCE: Final = 30.0
"""Seconds that the disk may take for a piece of a message, its wait for a thread included."""
_NO_ROOM: Final = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EIO,
        errno.EMFILE,
        errno.ENFILE,
        errno.EROFS,
        errno.ENOENT,
        errno.EACCES,
    }
)


class SpoolFull(Exception):
    """There is no room for (more of) this message now; another time there may be."""


class HeaderTooLong(Exception):
    """The header alone is longer than is allowed."""


class Hashes(Protocol):
    """What is computed of a body while it arrives (mailauth.dkim.BodyHashes)."""

    def update(self, chunk: bytes, /) -> None: ...


class Spool:
    """The room of one worker. `memory` and `disk` are the most octets that all its messages may take together.

    `hashes` makes what is kept as `message.memo["body_hashes"]` of messages above 256 KiB, given their header.
    """

    def __init__(
        self,
        directory: Path | None,
        *,
        memory: int,
        disk: int,
        header: int = 2 << 20,
        hashes: Callable[[bytes], Hashes] | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self.directory = directory
        self._memory, self._disk = memory, disk
        self.memory_left = memory
        self.disk_left = disk
        self.header_limit = header
        self.hashes = hashes
        self.patience = patience
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="spool")
        self._places = asyncio.Semaphore(THREADS)

    def taken(self) -> float:
        """How much of it is taken, as a share; of memory or disk, whichever is fuller."""
        return max(1 - self.memory_left / self._memory, 1 - self.disk_left / self._disk)

    def draft(self) -> Draft:
        """Room for one message; whoever asked for it closes it."""
        return Draft(self)

    async def thread(self, write: Callable[[bytes], None], block: bytes) -> asyncio.Future[None]:
        """That call, begun as soon as a thread is free: none waits in the pool, where it would keep its block.

        Raises SpoolFull when there is no room for a thread; the call is never made then.
        """
        await self._places.acquire()
        work, blocks = Future[None](), [block]

        def run() -> None:
            if not work.set_running_or_notify_cancel():
                return
            try:
                write(blocks.pop())
            except BaseException as error:  # noqa: BLE001 - for whoever waits
                work.set_exception(error)
            else:
                work.set_result(None)

        try:
            self._threads.submit(run)
        except RuntimeError as error:  # it stays in the pool's queue, where a thread may have found it
            if work.cancel():
                blocks.clear()
                self._places.release()
                raise SpoolFull(str(error)) from error
        writing = asyncio.wrap_future(work)
        writing.add_done_callback(lambda _: self._places.release())
        return writing


class FileBody:
    """A body in a file; it can be read as long as its draft is not closed."""

    __slots__ = ("_fd", "_size")

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self._size = size

    @property
    def size(self) -> int:
        return self._size

    def chunks(self) -> Iterator[bytes]:
        at = 0
        while at < self._size:
            piece = os.pread(self._fd, min(PIECE, self._size - at), at)
            if not piece:
                raise OSError(errno.EIO, "the spool file is shorter than what was written to it")
            at += len(piece)
            yield piece


class Draft:
    """One message while it arrives: `write` until all is there, `finish`, and in any case `close`.

    `size` is how many octets have come.
    """

    __slots__ = ("_buffer", "_file", "_file_size", "_hashes", "_header", "_spool", "_taken", "_writing", "size")

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self.size = 0
        self._header: bytes | None = None  # once it is complete
        self._buffer = bytearray()  # the header until it is complete, then what of the body is not in the file
        self._taken = 0  # of the worker's memory
        self._file: io.FileIO | None = None
        self._file_size = 0
        self._hashes: Hashes | None = None
        self._writing: asyncio.Future[None] | None = None

    async def write(self, text: bytes) -> None:
        """More of it, in canonical CRLF. Raises SpoolFull or HeaderTooLong; then it takes nothing more."""
        if len(text) > self._spool.memory_left:
            raise SpoolFull("memory")
        self._spool.memory_left -= len(text)
        self._taken += len(text)
        self.size += len(text)
        self._buffer += text
        if self._header is None:
            self._find_header(len(text))
        if self._header is not None and len(self._buffer) > IN_MEMORY:
            await self._to_file()

    async def finish(self, framing: tuple[str, ...] = ()) -> Message:
        """What has come, as a message; its body can be read until `close`. Raises SpoolFull."""
        if self._header is None:
            return Message(header=bytes(self._buffer), body=BytesBody(b""), separator=False, framing=framing)
        if self._file is None:
            return Message(header=self._header, body=BytesBody(bytes(self._buffer)), framing=framing)
        if self._buffer:
            await self._to_file()
        message = Message(header=self._header, body=FileBody(self._file.fileno(), self._file_size), framing=framing)
        if self._hashes is not None:
            message.memo["body_hashes"] = self._hashes
        return message

    def close(self) -> None:
        """Give the room back. May be called twice."""
        self._buffer = bytearray()
        if self._writing is not None and not self._writing.done():
            # Its session was cancelled, or the disk is late: the number of a file must not be free for another while a
            # thread writes to it, and what it writes still takes its room.
            self._writing.add_done_callback(lambda _: self._give_back())
        else:
            self._give_back()

    def _give_back(self) -> None:
        self._spool.memory_left += self._taken
        self._taken = 0
        self._spool.disk_left += self._file_size
        self._file_size = 0
        if self._file is not None:
            self._file.close()
            self._file = None

    def _find_header(self, fresh: int) -> None:
        """Look for the empty line in what has come; the last `fresh` octets have not been looked at yet."""
        if self._buffer.startswith(b"\r\n"):
            end = 0  # a message without a header
        else:
            found = self._buffer.find(b"\r\n\r\n", max(0, len(self._buffer) - fresh - 3))
            end = found + 2 if found >= 0 else len(self._buffer)
            if end > self._spool.header_limit:
                raise HeaderTooLong
            if found < 0:
                return
        self._header = bytes(self._buffer[:end])
        del self._buffer[: end + 2]

    async def _to_file(self) -> None:
        """Move what is in memory to the file. Writing and hashing let go of the loop."""
        block, self._buffer = bytes(self._buffer), bytearray()
        if len(block) > self._spool.disk_left:
            raise SpoolFull("disk")
        self._spool.disk_left -= len(block)
        self._file_size += len(block)
        try:
            async with asyncio.timeout(self._spool.patience):
                self._writing = await self._spool.thread(self._append, block)
                await asyncio.shield(self._writing)
        except TimeoutError as error:
            raise SpoolFull("the disk does not answer") from error
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise SpoolFull(os.strerror(error.errno)) from error
            raise
        self._spool.memory_left += len(block)
        self._taken -= len(block)

    def _append(self, block: bytes) -> None:
        if self._file is None:
            # Never had a name, or has none any more: it goes with the process.
            self._file = TemporaryFile(buffering=0, prefix="gatekeeper-", dir=self._spool.directory)  # noqa: SIM115 - `close` does
            if self._spool.hashes is not None:
                self._hashes = self._spool.hashes(self._header or b"")
        view = memoryview(block)
        while view:
            view = view[self._file.write(view) :]
        if self._hashes is not None:
            self._hashes.update(block)
