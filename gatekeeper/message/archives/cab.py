"""Cabinet files ([MS-CAB]): the list of names, without unpacking."""

from __future__ import annotations

import struct

from gatekeeper.message.archives.member import Budget, Member, Opened, Trait

_HEAD = struct.Struct("<4s4L L2B2H")
_FILE = struct.Struct("<2L4H")
_UTF8 = 0x80


def read_cab(octets: memoryview, budget: Budget) -> Opened:
    """The names in a cabinet. Never raises."""
    opened = Opened()
    if len(octets) < _HEAD.size:
        opened.note(Trait.BROKEN)
        return opened
    head = _HEAD.unpack_from(octets)
    place, count = head[4], head[9]
    for _ in range(count):
        if place + _FILE.size > len(octets):
            opened.note(Trait.BROKEN)
            break
        if not budget.member():
            break
        size, _, _, _, _, attributes = _FILE.unpack_from(octets, place)
        name = bytes(octets[place + _FILE.size : place + _FILE.size + 257]).partition(b"\0")[0]
        place += _FILE.size + len(name) + 1
        charset = "utf-8" if attributes & _UTF8 else "latin-1"
        opened.members.append(Member(name.decode(charset, "backslashreplace"), size))
    return opened
