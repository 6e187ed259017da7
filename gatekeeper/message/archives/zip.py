"""Zip archives (APPNOTE.TXT), in the readings that unpackers differ by: by the list at the end, and from the front.

The list (central directory) is what most programs go by. Some go from the front, from one local header to the next;
some take the first list of several. So members that stand in one reading only are listed too, and the archive is
ambiguous.
"""

from __future__ import annotations

import bz2
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gatekeeper.message.archives.member import Budget, Member, Opened, Trait, octets_of
from gatekeeper.message.archives.streams import Decompressor, Inflater, unpack

LISTS = 8
"""Ends of lists that are tried."""
_END = b"PK\x05\x06"
_END64 = b"PK\x06\x06"
_LOCATOR64 = b"PK\x06\x07"
_CENTRAL = b"PK\x01\x02"
_LOCAL = b"PK\x03\x04"
_END_FIELDS = struct.Struct("<4s4H2LH")
_END64_FIELDS = struct.Struct("<4sQ2H2L4Q")
_CENTRAL_FIELDS = struct.Struct("<4s6H3L5H2L")
_LOCAL_FIELDS = struct.Struct("<4s5H3L2H")
_MOST32 = 0xFFFFFFFF
_NAME = 256
"""Octets that are kept of a local name which is another than the list's."""
_BLANK = 0x10000
"""How far from the end its mark may stand: the comment has at most 65,535 octets."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One line of a list, or one local header. `at` is where the local header stands, `data` where its octets do."""

    name: bytes
    flags: int
    method: int
    packed: int
    size: int
    at: int
    data: int = 0
    local_name: bytes = b""


def read_zip(octets: memoryview, budget: Budget) -> Opened:
    """The members of a zip archive. Never raises, but MemoryError; in time that grows with its size alone."""
    opened = Opened()
    whole = octets_of(octets)
    entries: list[_Entry] = []
    lists = list(_lists(whole))
    for place, shift in lists:
        before = set(entries)  # of another list, that may say the same
        entries += [each for each in _central(whole, place, shift, budget, opened) if each not in before]
    if not lists:
        opened.note(Trait.BROKEN)
    known = _with_data(whole, entries, opened)
    known += _strays(whole, known, budget, opened, complete=bool(lists))
    _sizes(known, len(whole), budget, opened)
    for entry in known:
        opened.members.append(_member(whole, entry, budget))
    return opened


def _lists(whole: bytes) -> Iterator[tuple[int, int]]:
    """Where each list of the archive begins, the one most programs take first, and what its offsets lack."""
    end, found = len(whole), 0
    first = len(whole) - _BLANK - _END_FIELDS.size
    while found < LISTS and (at := whole.rfind(_END, 0, end)) >= 0:
        end = at + 3
        if at + _END_FIELDS.size > len(whole):
            continue
        _, _, _, _, _, size, offset, _ = _END_FIELDS.unpack_from(whole, at)
        stop = at
        if _MOST32 in (size, offset):
            at64 = whole.rfind(_END64, max(0, at - 4096), at)
            if at64 >= 0 and at64 + _END64_FIELDS.size <= len(whole):
                size, offset = _END64_FIELDS.unpack_from(whole, at64)[8:10]
                stop = at64
        begin = stop - size
        if not 0 <= begin < stop or whole[begin : begin + 4] != _CENTRAL:
            # Some writers lie about where it begins; readers that trust the offset find it all the same.
            begin = offset if whole[offset : offset + 4] == _CENTRAL and offset < stop else -1
        if begin < 0:
            if at < first:
                break
            continue
        found += 1
        yield begin, begin - offset  # what was put before the archive, such as a program that unpacks it


def _central(whole: bytes, place: int, shift: int, budget: Budget, opened: Opened) -> Iterator[_Entry]:
    while whole[place : place + 4] == _CENTRAL and place + _CENTRAL_FIELDS.size <= len(whole):
        if not budget.member():
            return
        field = _CENTRAL_FIELDS.unpack_from(whole, place)
        flags, method, packed, size = field[3], field[4], field[8], field[9]
        name_length, extra_length, comment_length, at = field[10], field[11], field[12], field[16]
        start = place + _CENTRAL_FIELDS.size
        name = whole[start : start + name_length]
        if _MOST32 in (packed, size, at):
            extra = whole[start + name_length : start + name_length + extra_length]
            size, packed, at = _extra64(extra, budget, size, packed, at)
        yield _Entry(name, flags, method, packed, size, at + shift)
        place = start + name_length + extra_length + comment_length
    if place + 4 > len(whole):
        opened.note(Trait.BROKEN)


def _extra64(extra: bytes, budget: Budget, size: int, packed: int, at: int) -> tuple[int, int, int]:
    place = 0
    while place + 4 <= len(extra) and budget.step():
        kind, length = struct.unpack_from("<2H", extra, place)
        if kind == 1:
            numbers = extra[place + 4 : place + 4 + length]
            found = [int.from_bytes(numbers[n : n + 8], "little") for n in range(0, len(numbers) - 7, 8)]
            values = [found.pop(0) if value == _MOST32 and found else value for value in (size, packed, at)]
            return values[0], values[1], values[2]
        place += 4 + length
    return size, packed, at


def _with_data(whole: bytes, entries: list[_Entry], opened: Opened) -> list[_Entry]:
    """Each with its local header, which may say another thing."""
    found = []
    if len({entry.name for entry in entries}) < len(entries):
        opened.note(Trait.AMBIGUOUS)  # of two files of one name some keep the first, some the last
    for entry in entries:
        if not 0 <= entry.at <= len(whole) - _LOCAL_FIELDS.size or whole[entry.at : entry.at + 4] != _LOCAL:
            opened.note(Trait.BROKEN)
            found.append(entry)
            continue
        field = _LOCAL_FIELDS.unpack_from(whole, entry.at)
        start = entry.at + _LOCAL_FIELDS.size
        local = whole[start : start + field[9]]
        name = entry.name if local == entry.name else local[:_NAME]  # thousands may share one of 64 KiB
        data = start + field[9] + field[10]
        told_later = field[2] & 8  # sizes stand behind the data
        if name is not entry.name or (not told_later and field[7] not in (entry.packed, _MOST32)):
            opened.note(Trait.AMBIGUOUS)
        if data + entry.packed > len(whole):
            opened.note(Trait.BROKEN)
        found.append(
            _Entry(entry.name, entry.flags, entry.method, entry.packed, entry.size, entry.at, data, local_name=name)
        )
    return found


def _strays(whole: bytes, known: list[_Entry], budget: Budget, opened: Opened, *, complete: bool) -> list[_Entry]:
    """Local headers that no list names, in the gaps between those that are named."""
    found: list[_Entry] = []
    place = 0
    for entry in [*sorted(known, key=lambda each: each.at), None]:
        stop = entry.at if entry is not None else len(whole)
        while (place := whole.find(_LOCAL, place, max(place, stop))) >= 0:
            if not budget.step():
                return found
            stray = _local(whole, place)
            if stray is None:
                place += 4
                continue
            if not budget.member():
                return found
            found.append(stray)
            if complete:
                opened.note(Trait.AMBIGUOUS)
            place = max(place + 4, stray.data + stray.packed)
        if entry is not None:
            place = max(stop, entry.data + entry.packed if entry.data else stop + 4)
        if entry is not None and place >= len(whole):
            break
    return found


def _local(whole: bytes, place: int) -> _Entry | None:
    if place + _LOCAL_FIELDS.size > len(whole):
        return None
    field = _LOCAL_FIELDS.unpack_from(whole, place)
    start = place + _LOCAL_FIELDS.size
    if not field[9] or field[3] > 99 or start + field[9] > len(whole):
        return None
    name = whole[start : start + field[9]]
    packed = 0 if field[2] & 8 else field[7]
    return _Entry(name, field[2], field[3], packed, field[8], place, start + field[9] + field[10])


def _sizes(known: list[_Entry], length: int, budget: Budget, opened: Opened) -> None:
    """Whether members stand in each other, and what all of them would become."""
    end = 0
    for entry in sorted(known, key=lambda each: each.at):
        if entry.at < end and entry.packed:
            opened.note(Trait.OVERLAPPING)
        if entry.data:
            end = max(end, entry.data + entry.packed)
    total = sum(entry.size for entry in known)
    if total > budget.limits.enormous and total > budget.limits.ratio * max(1, length):
        opened.note(Trait.RATIO)


def _member(whole: bytes, entry: _Entry, budget: Budget) -> Member:
    name = _text(entry.name, entry.flags)
    traits = (Trait.ENCRYPTED,) if entry.flags & 0x2041 or entry.method == 99 else ()
    if entry.local_name and entry.local_name != entry.name:
        # The extension decides what a file is; both names are shown.
        name = f"{name} ({_text(entry.local_name, entry.flags)})" if len(entry.local_name) < 256 else name
    read = None if traits or not entry.data else _reader(whole, entry, budget)
    return Member(name, entry.size, traits, read)


def _text(name: bytes, flags: int) -> str:
    return name.decode("utf-8" if flags & 0x800 or not name.isascii() else "ascii", "backslashreplace")


def _reader(whole: bytes, entry: _Entry, budget: Budget) -> Callable[[int], bytes] | None:
    makers: dict[int, Callable[[], Decompressor]] = {8: lambda: Inflater(-15), 12: bz2.BZ2Decompressor}
    end = entry.data + entry.packed if entry.packed else len(whole)
    packed = memoryview(whole)[entry.data : end]
    if entry.method == 0:

        def stored(limit: int) -> bytes:
            made = bytes(packed[: budget.room(limit)])
            budget.made(len(made))
            return made

        return stored
    make = makers.get(entry.method)
    if make is None:
        return None

    def read(limit: int) -> bytes:
        made, _, _ = unpack(packed, make, budget.room(limit))
        budget.made(len(made))
        return made

    return read
