"""OLE files ([MS-CFB]): Word, Excel and PowerPoint until 2003, installers; what in them runs, and what is embedded."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from gatekeeper.message.archives.member import Budget, Member, Opened, Trait

ENTRIES = 4096
"""Streams and storages that are read."""
LOOKED_AT = 262_144
"""Octets of one stream that are looked at."""
LOOKS = 4
"""Times the file's own size that are looked at in all its streams: each has sectors of its own, unless it is made so
that thousands of them are the same.
"""
_INSTALLER = bytes.fromhex("84100c00 0000 0000 c000 000000000046")
_HEAD = struct.Struct("<8s16s5H6x9L")
_END = 0xFFFFFFFA
"""From here on numbers of sectors mean something else."""
_RUNS = re.compile(
    rb"auto_?(?:open|close|exec|exit|new)|document_?(?:open|close|new)|workbook_(?:open|activate|beforeclose)"
    rb"|_(?:onconnecting|painted|layout|gotfocus)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class _Stream:
    name: str
    storage: bool
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class OleKind:
    """Whether it is an installer, beside what all readers tell."""

    installer: bool


def read_ole(octets: memoryview, budget: Budget) -> tuple[Opened, OleKind]:
    """What is embedded in an OLE file, and its traits. Never raises."""
    opened = Opened()
    try:
        file = _File(octets)
    except (struct.error, ValueError):
        opened.note(Trait.BROKEN)
        return opened, OleKind(installer=False)
    for stream in file.streams:
        name = stream.name.lower()
        if stream.storage:
            continue
        if not budget.member():
            break
        if name in {"_vba_project", "dir"}:
            opened.note(Trait.MACRO)
        elif name == "encryptedpackage":
            opened.note(Trait.ENCRYPTED)
        elif name == "equation native":
            opened.note(Trait.EQUATION)
        elif name in {"workbook", "book"}:
            opened.note(*_workbook(file.look(stream, LOOKED_AT)))
        elif name == "worddocument":
            head = file.look(stream, 32)
            if len(head) > 12 and head[11] & 1:
                opened.note(Trait.ENCRYPTED)
        elif name == "\x01ole10native":
            opened.note(Trait.OBJECT)
            opened.members.append(_package(file.look(stream, 4096), stream, file, budget))
    if Trait.MACRO in opened.traits and any(
        _RUNS.search(_plain(file.look(each, LOOKED_AT))) for each in islice(file.streams, 64) if not each.storage
    ):
        opened.note(Trait.MACRO_RUNS)
    if file.broken:
        opened.note(Trait.BROKEN)
    return opened, OleKind(file.installer)


def _plain(octets: bytes) -> bytes:
    """Names as they stand in a module: packed ([MS-OVBA] §2.4.1), a flag stands before each eight literals."""
    return octets + octets.translate(None, bytes(range(32)))


def macros_run(octets: bytes) -> bool:
    """Whether a VBA project (the file in an OOXML document) has something that runs by itself."""
    return _RUNS.search(_plain(octets[: 4 * LOOKED_AT])) is not None


class _File:
    """The directory of an OLE file. Raises ValueError or struct.error where there is none."""

    def __init__(self, octets: memoryview) -> None:
        self._octets = octets
        head = _HEAD.unpack_from(octets)  # each field of [MS-CFB] §2.2, its reserved octets left out
        shift, small_shift = head[5], head[6]
        if not 7 <= shift <= 16 or not 4 <= small_shift < shift:
            raise ValueError("no size of sectors")
        self._sector, self._small = 1 << shift, 1 << small_shift
        self._cutoff = head[11] or 4096  # smaller streams stand together in one
        self.broken = False
        self._left = LOOKS * len(octets)
        self._table = self._sectors_of_table(head)
        self.streams: list[_Stream] = []
        self.installer = False
        directory = self._chain(head[9], ENTRIES * 128)
        root_start, root_size = 0, 0
        for place in range(0, len(directory) - 127, 128):
            entry = directory[place : place + 128]
            length, kind = int.from_bytes(entry[64:66], "little"), entry[66]
            name = entry[: max(0, min(length, 64) - 2)].decode("utf-16-le", "backslashreplace")
            start, size = int.from_bytes(entry[116:120], "little"), int.from_bytes(entry[120:124], "little")
            if kind == 5:
                root_start, root_size = start, size
                self.installer = entry[80:96] == _INSTALLER
            elif kind in {1, 2}:
                self.streams.append(_Stream(name, kind == 1, start, size))
        self._small_table = self._chain(head[12], len(octets))
        self._together = self._chain(root_start, min(root_size, len(octets)))

    def _sectors_of_table(self, head: tuple[int, ...]) -> bytes:
        numbers = list(struct.unpack_from("<109L", self._octets, 76))
        following, seen = head[14], set()
        while following < _END and following not in seen and len(numbers) < 100_000:
            seen.add(following)
            block = self._block(following)
            if len(block) < self._sector:
                break
            more = struct.unpack(f"<{self._sector // 4}L", block)
            numbers += more[:-1]
            following = more[-1]
        most = len(self._octets) // self._sector + 1
        return b"".join(self._block(number) for number in dict.fromkeys(numbers[:most]) if number < _END)

    def _block(self, number: int) -> bytes:
        at = (number + 1) * self._sector
        return bytes(self._octets[at : at + self._sector])

    def _chain(self, start: int, most: int) -> bytes:
        """The octets of a chain of sectors, at most that many; a chain that goes in a circle ends."""
        found, number, seen = bytearray(), start, 0
        limit = len(self._octets) // self._sector + 1
        while number < _END and len(found) < most:
            block = self._block(number)
            seen += 1
            if not block or seen > limit:
                self.broken = True
                break
            found += block
            number = _next(self._table, number)
        return bytes(found[:most])

    def look(self, stream: _Stream, limit: int) -> bytes:
        """The first octets of a stream, as far as what is looked at in all of them goes."""
        found = self.read(stream, min(limit, self._left))
        self._left -= len(found)
        self.broken |= self._left <= 0
        return found

    def read(self, stream: _Stream, limit: int) -> bytes:
        """The first octets of a stream."""
        most = min(stream.size, limit)
        if stream.size >= self._cutoff:
            return self._chain(stream.start, most)
        found, number, seen = bytearray(), stream.start, 0
        while number < _END and len(found) < most:
            at = number * self._small
            block = self._together[at : at + self._small]
            seen += 1
            if not block or seen > self._cutoff:
                break
            found += block
            number = _next(self._small_table, number)
        return bytes(found[:most])


def _next(table: bytes, number: int) -> int:
    at = number * 4
    return int.from_bytes(table[at : at + 4], "little") if at + 4 <= len(table) else _END


def _workbook(octets: bytes) -> list[Trait]:
    """Of an Excel workbook ([MS-XLS] §2.1.4): sheets of Excel 4 macros, and whether it is encrypted."""
    found, place = [], 0
    while place + 4 <= len(octets):
        kind, length = struct.unpack_from("<2H", octets, place)
        if kind == 0x2F:
            found.append(Trait.ENCRYPTED)
            break  # what follows cannot be read
        if kind == 0x85 and length >= 6 and octets[place + 9 : place + 10] == b"\1":
            found.append(Trait.XLM)
        if kind == 0x0A:
            break
        place += 4 + length
    return found


def _package(head: bytes, stream: _Stream, file: _File, budget: Budget) -> Member:
    """A file in a document: its name, the path it came from, then the file (packager's own form)."""
    try:
        name_end = head.index(b"\0", 6)
        path_end = head.index(b"\0", name_end + 1)
        temporary = path_end + 5
        length = int.from_bytes(head[temporary : temporary + 4], "little")
        data = temporary + 4 + length + 4
    except ValueError:
        return Member("embedded object", None)
    name = head[6:name_end].decode("latin-1")
    return Member(name or "embedded object", stream.size, (), _reader(file, stream, data, budget))


def _reader(file: _File, stream: _Stream, skip: int, budget: Budget) -> Callable[[int], bytes]:
    def read(limit: int) -> bytes:
        made = file.read(stream, skip + budget.room(limit))[skip:]
        budget.made(len(made))
        return made

    return read
