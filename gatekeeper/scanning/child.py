"""The process that looks into attachments: `python -m gatekeeper.scanning.child MEMORY`. It may be killed at any time.

It reads requests from standard input, a socket, and writes answers to standard output, the same one (frames.py). It
ends when nobody is there any more. It holds no secrets, opens no files and no sockets, and limits itself: memory beyond
what it has at start, and processor time of each request. Past that time it interrupts itself and answers with what was
found; where it cannot the kernel ends it, and where memory is refused to it it ends by itself.
"""

from __future__ import annotations

import binascii
import contextlib
import math
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from gatekeeper.message.archives.member import Budget, Late
from gatekeeper.message.archives.walk import Walk
from gatekeeper.message.transfer import Encoding, undo
from gatekeeper.scanning.frames import LENGTH, MOST, FileHead, Request, error_frame, read_request, report_frame

PIECE = 262_144
SEGMENTS = 64
"""Pieces of base64, each with its own end, that are read in one file."""
OUT_OF_MEMORY = 3
GRACE = 0.25
"""Seconds after which what has not ended when the time was over is interrupted; a second later the kernel ends us."""
_NOT_BASE64 = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="))


class _Gone(Exception):
    """Nobody is there any more."""


def main(arguments: list[str]) -> int:
    _limit(int(arguments[0]))
    try:
        while True:
            request = read_request(_read(int.from_bytes(_read(LENGTH))))
            _write(answer(request))
    except _Gone:
        return 0
    except MemoryError:
        return OUT_OF_MEMORY


def answer(request: Request) -> bytes:
    """The frame that answers a request whose files follow on standard input."""
    begun = time.process_time()
    soft = math.ceil(begun + request.seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    budget = Budget(late=lambda: time.process_time() - begun > request.seconds)
    walk = Walk(budget, frozenset(request.wanted))
    error = ""
    for file in request.files:
        octets = _decoded(file)  # read even where it is too late to be looked at: the next request follows
        if budget.over():
            continue
        spent = time.process_time() - begun
        try:
            with _late_after(request.seconds - spent + GRACE):
                walk.file(file.name, memoryview(octets), early=spent < request.seconds / 2)
        except (_Gone, MemoryError):
            raise
        except Late:  # between two places that keep it
            budget.over()
        except Exception as bug:  # noqa: BLE001 - a border: a bug in a reader is told, and the process goes on
            error = f"{type(bug).__name__}: {bug}"
    return error_frame(error) if error else report_frame(walk.report())


@contextlib.contextmanager
def _late_after(seconds: float) -> Iterator[None]:
    """Raise `Late` into what is under way once it has taken so much processor time: a reader may not ask for it."""
    armed = True

    def late(_number: int, _frame: object) -> None:
        if armed:
            raise Late

    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        armed = False  # first: the signal may be on its way
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _decoded(file: FileHead) -> bytes:
    if file.encoding is not Encoding.BASE64:
        return undo(_read(file.size), file.encoding).octets
    # Piece by piece: the encoded octets of a large file need not be in memory as well.
    made, carry, segments, left = bytearray(), b"", 0, file.size
    while left:
        piece = _read(min(PIECE, left))
        left -= len(piece)
        code = carry + piece.translate(None, _NOT_BASE64)
        while b"=" in code and segments < SEGMENTS:
            segment, _, code = code.partition(b"=")
            made += _plain(segment)
            code = code.lstrip(b"=")
            segments += 1
        if segments >= SEGMENTS:
            code = code.replace(b"=", b"")
        whole = len(code) // 4 * 4
        made += binascii.a2b_base64(code[:whole])
        carry = code[whole:]
    made += _plain(carry)
    return bytes(made)


def _plain(code: bytes) -> bytes:
    if len(code) % 4 == 1:  # six bits are no octet
        code = code[:-1]
    return binascii.a2b_base64(code + b"=" * (-len(code) % 4))


def _limit(memory: int) -> None:
    """No more memory than that beyond what there is now; no files, no core dumps; the first to go where memory ends."""
    now = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + memory, now + memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def _read(count: int) -> bytes:
    if count > MOST and count > PIECE * 1024:
        raise _Gone  # nobody asks for that
    found = bytearray()
    while len(found) < count:
        piece = os.read(0, min(PIECE, count - len(found)))
        if not piece:
            raise _Gone
        found += piece
    return bytes(found)


def _write(frame: bytes) -> None:
    view = memoryview(frame)
    while view:
        try:
            view = view[os.write(1, view) :]
        except BrokenPipeError as error:
            raise _Gone from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
