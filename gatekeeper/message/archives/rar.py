"""RAR archives, versions 4 and 5: the list of names, without unpacking (unrar's technote.txt, rarlab.com)."""

from __future__ import annotations

import struct
from collections.abc import Callable

from gatekeeper.message.archives.member import Budget, Member, Opened, Trait

_FIVE = b"Rar!\x1a\x07\x01\x00"
_FOUR = b"Rar!\x1a\x07\x00"
_BLOCK4 = struct.Struct("<HBHH")
_FILE4 = struct.Struct("<LLBLLBBHL")


def read_rar(octets: memoryview, budget: Budget) -> Opened:
    """The members of a RAR archive. Never raises."""
    opened = Opened()
    head = bytes(octets[:8])
    if head.startswith(_FIVE):
        _five(octets, budget, opened)
    elif head.startswith(_FOUR):
        _four(octets, budget, opened)
    else:
        opened.note(Trait.BROKEN)
    return opened


def _four(octets: memoryview, budget: Budget, opened: Opened) -> None:
    place = len(_FOUR)
    while place + _BLOCK4.size <= len(octets):
        if not budget.step():
            return
        _, kind, flags, size = _BLOCK4.unpack_from(octets, place)
        if size < _BLOCK4.size:
            opened.note(Trait.BROKEN)
            return
        body = place + _BLOCK4.size
        following = 0
        if kind == 0x73 and flags & 0x80:
            opened.note(Trait.ENCRYPTED, Trait.NAMES_HIDDEN)
            return
        if kind == 0x7B:
            return
        if kind == 0x74:
            if body + _FILE4.size > len(octets):
                break
            packed, unpacked, _, _, _, _, method, length, _ = _FILE4.unpack_from(octets, body)
            start = body + _FILE4.size
            if flags & 0x100 and start + 8 <= len(octets):
                high_packed, high_unpacked = struct.unpack_from("<LL", octets, start)
                packed, unpacked, start = packed | high_packed << 32, unpacked | high_unpacked << 32, start + 8
            name = bytes(octets[start : start + min(length, 4096)]).partition(b"\0")[0]
            following = packed
            if not budget.member():
                return
            _add(opened, budget, name, unpacked, packed, encrypted=bool(flags & 4))
            if method == 0x30 and not flags & 4:
                _readable(opened, octets[place + size : place + size + packed], budget)
        elif flags & 0x8000 and body + 4 <= len(octets):
            following = int.from_bytes(octets[body : body + 4], "little")
        place += size + following
    else:
        if place > len(octets):
            opened.note(Trait.BROKEN)
        return
    opened.note(Trait.BROKEN)


def _five(octets: memoryview, budget: Budget, opened: Opened) -> None:
    place = len(_FIVE)
    while place + 7 <= len(octets):
        if not budget.step():
            return
        size, start = _vint(octets, place + 4)
        if not size or size > 2_097_152 or start + size > len(octets):
            opened.note(Trait.BROKEN)
            return
        header = octets[start : start + size]
        kind, at = _vint(header, 0)
        flags, at = _vint(header, at)
        extra, following = 0, 0
        if flags & 1:
            extra, at = _vint(header, at)
        if flags & 2:
            following, at = _vint(header, at)
        if kind == 4:
            opened.note(Trait.ENCRYPTED, Trait.NAMES_HIDDEN)
            return
        if kind == 5:
            return
        if kind == 2:
            if not budget.member():
                return
            _file5(header, at, extra, following, opened, budget, octets[start + size : start + size + following])
        place = start + size + following
    if place != len(octets):
        opened.note(Trait.BROKEN)


def _file5(  # noqa: PLR0917 - what the loop around it has in hand
    header: memoryview, at: int, extra: int, packed: int, opened: Opened, budget: Budget, data: memoryview
) -> None:
    flags, at = _vint(header, at)
    unpacked, at = _vint(header, at)
    _, at = _vint(header, at)  # attributes
    at += 4 * bool(flags & 2) + 4 * bool(flags & 4)
    compression, at = _vint(header, at)
    _, at = _vint(header, at)  # system
    length, at = _vint(header, at)
    name = bytes(header[at : at + min(length, 4096)])
    encrypted = False
    place = max(0, len(header) - extra)
    while extra and place < len(header) and budget.step():
        size, start = _vint(header, place)
        kind, _ = _vint(header, start)
        encrypted |= kind == 1
        if not size:
            break
        place = start + size
    if flags & 1:  # a directory
        return
    _add(opened, budget, name, unpacked, packed, encrypted=encrypted)
    if not encrypted and not compression >> 7 & 7:
        _readable(opened, data, budget)


def _add(opened: Opened, budget: Budget, name: bytes, size: int, packed: int, *, encrypted: bool) -> None:
    traits = (Trait.ENCRYPTED,) if encrypted else ()
    opened.members.append(Member(name.decode("utf-8", "backslashreplace"), size, traits))
    if size > budget.limits.enormous and size > budget.limits.ratio * max(1, packed):
        opened.note(Trait.RATIO)


def _readable(opened: Opened, data: memoryview, budget: Budget) -> None:
    """The last one is stored as it is."""
    last = opened.members[-1]
    opened.members[-1] = Member(last.name, last.size, last.traits, _reader(data, budget))


def _reader(data: memoryview, budget: Budget) -> Callable[[int], bytes]:
    def read(limit: int) -> bytes:
        made = bytes(data[: budget.room(limit)])
        budget.made(len(made))
        return made

    return read


def _vint(octets: memoryview, at: int) -> tuple[int, int]:
    """A number of seven bits an octet, and where what follows it stands; 0 at the end."""
    value = 0
    for n in range(10):
        if at + n >= len(octets):
            return 0, len(octets)
        octet = octets[at + n]
        value |= (octet & 0x7F) << 7 * n
        if not octet & 0x80:
            return value, at + n + 1
    return 0, len(octets)
