"""Disk images of CDs (ECMA-119, with Joliet's names): their files."""

from __future__ import annotations

from collections.abc import Callable

from gatekeeper.message.archives.member import Budget, Member, Opened, Trait

SECTOR = 2048
DIRECTORIES = 100
"""Directories that are read."""
_DIRECTORY = 1_048_576
"""Octets of one directory."""


def read_iso(octets: memoryview, budget: Budget) -> Opened:
    """The files of an image; a UDF image alone has none that are read here. Never raises."""
    opened = Opened()
    root, joliet = _root(octets)
    if root is None:
        return opened
    waiting = [("", *root)]
    done: set[int] = set()
    while waiting and len(done) < DIRECTORIES:
        path, place, length = waiting.pop()
        if place in done:
            continue
        done.add(place)
        at, stop = place, min(place + min(length, _DIRECTORY), len(octets))
        if place + length > len(octets):
            opened.note(Trait.BROKEN)
        while at + 34 <= stop:
            if not budget.step():  # directories may share their sectors
                return opened
            size = octets[at]
            if size < 34:  # records do not cross sectors: the rest of this one is empty
                at = (at // SECTOR + 1) * SECTOR
                continue
            record = bytes(octets[at : at + size])
            at += size
            name = record[33 : 33 + record[32]]
            if name in {b"\0", b"\1"}:
                continue
            if not budget.member():
                return opened
            begin = int.from_bytes(record[2:6], "little") * SECTOR
            count = int.from_bytes(record[10:14], "little")
            text = name.decode("utf-16-be" if joliet else "ascii", "backslashreplace").partition(";")[0]
            if record[25] & 2:
                waiting.append((f"{path}{text}/", begin, count))
            else:
                read = _reader(octets[begin : begin + count], budget)
                opened.members.append(Member(path + text, count, (), read))
    return opened


def _root(octets: memoryview) -> tuple[tuple[int, int] | None, bool]:
    """Where the first directory stands and how long it is, and whether its names are Joliet's."""
    found: tuple[tuple[int, int] | None, bool] = (None, False)
    for n in range(16, 32):
        sector = bytes(octets[n * SECTOR : (n + 1) * SECTOR])
        if len(sector) < SECTOR or sector[1:6] != b"CD001" or sector[0] == 255:
            break
        record = sector[156:190]
        where = int.from_bytes(record[2:6], "little") * SECTOR, int.from_bytes(record[10:14], "little")
        if sector[0] == 1:
            found = where, False
        elif sector[0] == 2 and sector[88:91] in {b"%/@", b"%/C", b"%/E"}:
            return where, True
    return found


def _reader(octets: memoryview, budget: Budget) -> Callable[[int], bytes]:
    def read(limit: int) -> bytes:
        made = bytes(octets[: budget.room(limit)])
        budget.made(len(made))
        return made

    return read
