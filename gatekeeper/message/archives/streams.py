"""Files that are packed alone: gzip (RFC 1952), bzip2, xz."""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from typing import Protocol

from gatekeeper.message.archives.member import Budget, Member, Opened, Trait
from gatekeeper.message.filetypes import FileType

PIECE = 4096
"""Octets of what is packed that are given to a decompressor at once: few, so that it can be told how many it took."""
AT_ONCE = 262_144
"""Octets that a decompressor makes at once."""
PROBED = 1_048_576
"""Octets that are unpacked to see how many times larger a file becomes."""
PROBED_TWICE = 16 * 1_048_576
"""And that many where it becomes much larger."""
XZ_MEMORY = 32 * 1_048_576
"""What a decoder of xz may take; a larger dictionary is not read."""


class Decompressor(Protocol):
    """What bz2 and lzma have in common, and `Inflater` does as they do."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class Inflater:
    """zlib's decompressor with bz2's manners: what it has not taken it keeps, and goes on with when called again."""

    def __init__(self, bits: int) -> None:
        self._inner = zlib.decompressobj(bits)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


_ERRORS = (zlib.error, OSError, EOFError, lzma.LZMAError, ValueError)
"""What the decompressors of the standard library raise at octets that are none of theirs; MemoryError is for who may
be killed."""


def unpack(octets: memoryview, make: Callable[[], Decompressor], limit: int) -> tuple[bytes, int, bool]:
    """The first octets, at most `limit`; how many packed ones they took, and whether something is wrong."""
    found = io.BytesIO()  # which gives what it has without a copy
    _, taken, broken = _run(octets, make, limit, found.write)
    return found.getvalue(), taken, broken


def _run(
    octets: memoryview, make: Callable[[], Decompressor], limit: int, take: Callable[[bytes], object]
) -> tuple[int, int, bool]:
    """How many octets were made and given to `take`, of how many, and whether something is wrong."""
    machine = make()
    count, place, broken = 0, 0, False
    while count < limit and not machine.eof:
        piece = b""
        if machine.needs_input:
            piece = bytes(octets[place : place + PIECE])
            place += len(piece)
        try:
            made = machine.decompress(piece, min(limit - count, AT_ONCE))
        except _ERRORS:
            broken = True
            break
        if not made and not piece:
            broken = True
            break
        count += len(made)
        take(made)
    return count, place, broken


_MAKERS: dict[FileType, Callable[[], Decompressor]] = {
    FileType.GZIP: lambda: Inflater(31),
    FileType.BZIP2: bz2.BZ2Decompressor,
    FileType.XZ: lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY),
}


def read_stream(octets: memoryview, filetype: FileType, name: str, budget: Budget) -> Opened:
    """The one file inside. Never raises, but MemoryError."""
    opened = Opened()
    if not budget.member():
        return opened
    make = _MAKERS[filetype]

    def read(limit: int) -> bytes:
        made, _, _ = unpack(octets, make, budget.room(limit))
        budget.made(len(made))
        return made

    # By its beginning, and not by what it claims at its end, which is anybody's word.
    for most in (PROBED, PROBED_TWICE):
        made, taken, broken = _run(octets, make, budget.room(most), len)
        budget.made(made)
        if broken:
            opened.note(Trait.BROKEN)
        if made < most or made <= budget.limits.ratio * taken:
            break
    else:
        opened.note(Trait.RATIO)
    opened.members.append(Member(_inner_name(octets, filetype, name), None, (), read))
    return opened


def _inner_name(octets: memoryview, filetype: FileType, name: str) -> str:
    if filetype is FileType.GZIP and len(octets) > 10 and octets[3] & 8:
        start = 10
        if octets[3] & 4 and len(octets) > 12:
            start = 12 + int.from_bytes(octets[10:12], "little")
        told, ended, _ = bytes(octets[start : start + 1024]).partition(b"\0")
        if ended and told:
            return told.decode("latin-1")
    stem, dot, extension = name.rpartition(".")
    if dot and extension.lower() in {"tgz", "tbz", "tbz2", "txz"}:
        return f"{stem}.tar"
    return stem if dot and extension.lower() in {"gz", "bz2", "xz", "z"} else name
