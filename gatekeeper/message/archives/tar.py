"""Tar archives (POSIX.1 ustar, with the long names of pax and GNU)."""

from __future__ import annotations

from collections.abc import Callable

from gatekeeper.message.archives.member import Budget, Member, Opened, Trait

BLOCK = 512
_LONG = 65_536
"""Octets of a long name, or of pax records, that are read."""


def read_tar(octets: memoryview, budget: Budget) -> Opened:
    """The files of a tar archive. Never raises."""
    opened = Opened()
    place, longer = 0, ""
    while place + BLOCK <= len(octets):
        block = bytes(octets[place : place + BLOCK])
        if not any(block):
            break
        size = _number(block[124:136])
        if size is None or block[257:262] != b"ustar":
            opened.note(Trait.BROKEN)
            break
        if not budget.step():
            break
        place += BLOCK
        kind = block[156:157]
        if kind in b"Lx":  # the name of what follows
            records = bytes(octets[place : place + min(size, _LONG)])
            longer = (
                _pax_path(records, budget)
                if kind == b"x"
                else records.rstrip(b"\0").decode("utf-8", "backslashreplace")
            )
        elif kind not in b"gK":
            if not budget.member():
                break
            name, longer = longer or _name(block), ""
            if kind in b"0\x007":
                opened.members.append(Member(name, size, (), _reader(octets[place : place + size], budget)))
        place += (size + BLOCK - 1) // BLOCK * BLOCK
    if place > len(octets):
        opened.note(Trait.BROKEN)
    return opened


def _reader(octets: memoryview, budget: Budget) -> Callable[[int], bytes]:
    def read(limit: int) -> bytes:
        made = bytes(octets[: budget.room(limit)])
        budget.made(len(made))
        return made

    return read


def _name(block: bytes) -> str:
    name = block[:100].partition(b"\0")[0]
    prefix = block[345:500].partition(b"\0")[0] if block[257:263] == b"ustar\0" else b""
    return (prefix + b"/" + name if prefix else name).decode("utf-8", "backslashreplace")


def _number(field: bytes) -> int | None:
    """Octal digits, or GNU's way for what is larger; None where it is neither, or less than nothing."""
    if field[0] & 0x80:
        return None if field[0] & 0x40 else int.from_bytes(field[1:]) & (2**63 - 1)
    digits = field.strip(b" \0")
    if digits.translate(None, b"01234567"):  # int() takes signs and underscores too
        return None
    return int(digits, 8) if digits else 0


def _pax_path(records: bytes, budget: Budget) -> str:
    place = 0
    while place < len(records) and budget.step():
        digits, blank, _ = records[place : place + 20].partition(b" ")
        if not blank or not digits.isdigit() or int(digits) <= len(digits):
            break
        record = records[place + len(digits) + 1 : place + int(digits)]
        if record.startswith(b"path="):
            return record[5:].rstrip(b"\n").decode("utf-8", "backslashreplace")
        place += int(digits)
    return ""
