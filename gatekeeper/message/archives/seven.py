"""7z archives: the list of names, without unpacking (7-Zip's 7zFormat.txt). The list itself may be packed."""

from __future__ import annotations

import lzma
from dataclasses import dataclass

from gatekeeper.message.archives.member import Budget, Member, Opened, Trait

HEADER = 4 * 1_048_576
"""Octets of a list that are read, packed or not."""
MANY = 10_000
"""Folders, coders, streams: an archive with more is not read."""
_AES = bytes.fromhex("06f10701")
_LZMA = bytes.fromhex("030101")
_LZMA2 = b"\x21"
_LZMA_MEMORY = 32 * 1_048_576


class _Broken(Exception):
    pass


class _Reader:
    """Numbers from octets; raises _Broken at the end, and where the budget is spent."""

    def __init__(self, octets: bytes, budget: Budget) -> None:
        self.octets = octets
        self.at = 0
        self._budget = budget

    def step(self, count: int = 1) -> None:
        if not self._budget.step(count):
            raise _Broken

    def take(self, count: int) -> bytes:
        if count < 0 or self.at + count > len(self.octets):
            raise _Broken
        self.at += count
        return self.octets[self.at - count : self.at]

    def byte(self) -> int:
        self.step()
        return self.take(1)[0]

    def number(self) -> int:
        """As many octets more as the first has ones at its top."""
        first = self.byte()
        value, mask = 0, 0x80
        for n in range(8):
            if not first & mask:
                return value | (first & (mask - 1)) << 8 * n
            value |= self.byte() << 8 * n
            mask >>= 1
        return value

    def count(self) -> int:
        found = self.number()
        if found > MANY:
            raise _Broken
        return found

    def bits(self, count: int) -> list[bool]:
        self.step(count)
        octets = self.take((count + 7) // 8)
        return [bool(octets[n // 8] & 0x80 >> n % 8) for n in range(count)]

    def digests(self, count: int) -> list[bool]:
        defined = [True] * count if self.byte() else self.bits(count)
        self.take(4 * sum(defined))
        return defined


@dataclass(slots=True)
class _Folder:
    coders: list[tuple[bytes, bytes]]
    outputs: int
    sizes: list[int]
    digest: bool = False


@dataclass(slots=True)
class _Streams:
    place: int
    packed: list[int]
    folders: list[_Folder]


def read_seven(octets: memoryview, budget: Budget) -> Opened:
    """The names in a 7z archive. Never raises, but MemoryError."""
    opened = Opened()
    try:
        _read(octets, budget, opened)
    except (_Broken, lzma.LZMAError, EOFError, ValueError):
        opened.note(Trait.BROKEN)
    return opened


def _read(octets: memoryview, budget: Budget, opened: Opened) -> None:
    start = _Reader(bytes(octets[12:32]), budget)
    offset, size = int.from_bytes(start.take(8), "little"), int.from_bytes(start.take(8), "little")
    if not size:
        return
    if size > HEADER or 32 + offset + size > len(octets):
        raise _Broken
    reader = _Reader(bytes(octets[32 + offset : 32 + offset + size]), budget)
    for _ in range(4):  # a packed list may be packed again
        kind = reader.byte()
        if kind == 1:
            _header(reader, budget, opened)
            return
        if kind != 0x17:
            break
        streams = _streams(reader)
        if any(coder == _AES for folder in streams.folders for coder, _ in folder.coders):
            opened.note(Trait.ENCRYPTED, Trait.NAMES_HIDDEN)
            return
        reader = _Reader(_unpacked(octets, streams, budget), budget)
    raise _Broken


def _unpacked(octets: memoryview, streams: _Streams, budget: Budget) -> bytes:
    if len(streams.folders) != 1 or len(streams.folders[0].coders) != 1 or not streams.packed:
        raise _Broken
    (coder, told), size = streams.folders[0].coders[0], streams.folders[0].sizes[-1]
    packed = bytes(octets[32 + streams.place : 32 + streams.place + streams.packed[0]])
    if size > HEADER:
        raise _Broken
    if coder == _LZMA and len(told) == 5:
        filters = [
            {
                "id": lzma.FILTER_LZMA1,
                "lc": told[0] % 9,
                "lp": told[0] // 9 % 5,
                "pb": told[0] // 45,
                "dict_size": min(max(int.from_bytes(told[1:], "little"), 4096), _LZMA_MEMORY),
            }
        ]
    elif coder == _LZMA2 and len(told) == 1:
        filters = [{"id": lzma.FILTER_LZMA2, "dict_size": min(max(size, 4096), _LZMA_MEMORY)}]
    elif coder == b"\0":
        return packed
    else:
        raise _Broken
    made = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters).decompress(packed, budget.room(size))
    budget.made(len(made))
    if len(made) < size:
        raise _Broken
    return made


def _streams(reader: _Reader) -> _Streams:
    """Where what is packed stands, and how (kPackInfo, kUnPackInfo); what stands in it is passed over."""
    found = _Streams(0, [], [])
    while kind := reader.byte():
        if kind == 6:
            found.place, count = reader.number(), reader.count()
            while inner := reader.byte():
                if inner == 9:
                    found.packed = [reader.number() for _ in range(count)]
                elif inner == 0x0A:
                    reader.digests(count)
                else:
                    raise _Broken
        elif kind == 7:
            _folders(reader, found)
        elif kind == 8:
            _inside(reader, found.folders)
        else:
            raise _Broken
    return found


def _folders(reader: _Reader, found: _Streams) -> None:
    if reader.byte() != 0x0B:
        raise _Broken
    count = reader.count()
    if reader.byte():
        raise _Broken  # kept elsewhere, which no writer does
    found.folders = [_folder(reader) for _ in range(count)]
    if reader.byte() != 0x0C:
        raise _Broken
    for folder in found.folders:
        folder.sizes = [reader.number() for _ in range(folder.outputs)]
    while kind := reader.byte():
        if kind != 0x0A:
            raise _Broken
        for folder, defined in zip(found.folders, reader.digests(count), strict=True):
            folder.digest = defined


def _folder(reader: _Reader) -> _Folder:
    coders, inputs, outputs = [], 0, 0
    for _ in range(reader.count()):
        flags = reader.byte()
        coder = reader.take(flags & 0x0F)
        takes, gives = (reader.count(), reader.count()) if flags & 0x10 else (1, 1)
        told = reader.take(reader.count()) if flags & 0x20 else b""
        coders.append((coder, told))
        inputs, outputs = inputs + takes, outputs + gives
        if inputs > MANY or outputs > MANY:
            raise _Broken
    for _ in range(outputs - 1):
        reader.number()
        reader.number()
    packed = inputs - (outputs - 1)
    if packed > 1:
        for _ in range(packed):
            reader.number()
    return _Folder(coders, outputs, [])


def _inside(reader: _Reader, folders: list[_Folder]) -> None:
    """Sizes and digests of the files in each folder (kSubStreamsInfo)."""
    reader.step(len(folders))
    counts = [1] * len(folders)
    kind = reader.byte()
    if kind == 0x0D:
        counts = [reader.count() for _ in folders]
        kind = reader.byte()
    if sum(counts) > MANY * 10:
        raise _Broken
    if kind == 9:
        for count in counts:
            for _ in range(count - 1):
                reader.number()
        kind = reader.byte()
    while kind:
        if kind != 0x0A:
            raise _Broken
        reader.digests(
            sum(0 if count == 1 and folder.digest else count for count, folder in zip(counts, folders, strict=True))
        )
        kind = reader.byte()


def _header(reader: _Reader, budget: Budget, opened: Opened) -> None:
    encrypted = False
    while kind := reader.byte():
        if kind == 4:
            streams = _streams(reader)
            encrypted = any(coder == _AES for folder in streams.folders for coder, _ in folder.coders)
        elif kind == 5:
            _files(reader, budget, opened, encrypted=encrypted)
            return
        else:
            raise _Broken


def _files(reader: _Reader, budget: Budget, opened: Opened, *, encrypted: bool) -> None:
    reader.number()  # how many: the names tell
    traits = (Trait.ENCRYPTED,) if encrypted else ()
    while kind := reader.byte():
        told = reader.take(reader.number())
        if kind != 0x11 or told[:1] != b"\0":
            continue
        for name in told[1:].decode("utf-16-le", "backslashreplace").split("\0")[:-1]:
            if not budget.member():
                return
            opened.members.append(Member(name, None, traits))
