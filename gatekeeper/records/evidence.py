"""Evidence as JSON: any frozen dataclass of plain values, whatever a stranger put into it, in bounded room. Pure."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

TEXT_LIMIT = 1000
ITEM_LIMIT = 50
DEPTH_LIMIT = 6
_NUMBER_LIMIT = 2**63
_CUT = "…"
_INTERNET = (IPv4Address, IPv6Address, IPv4Network, IPv6Network)


class Room:
    """How many characters the evidence of one record may still take; what comes when it is spent is left out."""

    def __init__(self, characters: int) -> None:
        self.left = characters


def clean(text: str, limit: int = TEXT_LIMIT) -> str:
    """Text that any encoder takes (lone surrogates become escapes), cut at `limit`. Controls stay: whoever shows it
    escapes it.
    """
    if len(text) > limit:
        text = text[: limit - 1] + _CUT
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def evidence_of(value: Any, room: Room) -> dict[str, Any] | None:
    """{"type": the class's name, each field}; None for no evidence."""
    if value is None:
        return None
    kind = type(value)
    if room.left <= 0:
        return {"type": kind.__name__, "left_out": True}
    if _field_names(kind):
        return {"type": kind.__name__} | _fields(value, room, DEPTH_LIMIT)
    return {"type": kind.__name__, "value": plain(value, room)}


def plain(value: Any, room: Room, depth: int = DEPTH_LIMIT) -> Any:
    """JSON's own types: enums become their value, addresses and bytes text, sets sorted lists."""
    kind = type(value)
    if kind is str:
        return _text(value, room)
    if value is None or kind is bool:
        room.left -= 4
        return value
    # What most values are, before the questions that all others need.
    if kind is int and -_NUMBER_LIMIT < value < _NUMBER_LIMIT:
        room.left -= 8
        return value
    if (kind is tuple or kind is list) and depth > 0:
        return _items(value, room, depth)
    if _names.get(kind) and depth > 0:
        return _fields(value, room, depth)
    if isinstance(value, enum.Enum):
        return plain(value.value, room, depth)
    if isinstance(value, int):
        room.left -= 8
        return int(value) if abs(value) < _NUMBER_LIMIT else clean(hex(value), 80)
    if isinstance(value, float):
        room.left -= 8
        return float(value) if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return _text(str(value), room)
    if isinstance(value, (bytes, bytearray)):
        return _text(bytes(value[: TEXT_LIMIT + 1]).decode("utf-8", "backslashreplace"), room)
    if isinstance(value, _INTERNET):
        return _text(str(value), room)
    if depth <= 0:
        return _CUT
    if isinstance(value, (list, tuple)):
        return _items(value, room, depth)
    if _field_names(kind):
        return _fields(value, room, depth)
    if isinstance(value, Mapping):
        return _mapping(value, room, depth)
    if isinstance(value, AbstractSet):
        return _items(sorted(value, key=str), room, depth)
    return _text(repr(value), room)


_names: dict[type, tuple[tuple[str, str], ...]] = {}


def _field_names(kind: type) -> tuple[tuple[str, str], ...]:
    """Each field of a dataclass, and the name it is kept under; () for other classes. Worked out once a class.

    The name of the class stands under "type", so a field of that name gets another.
    """
    known = _names.get(kind)
    if known is None:
        fields = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()
        known = _names[kind] = tuple((one.name, "type_" if one.name == "type" else one.name) for one in fields)
    return known


def _text(text: str, room: Room) -> str:
    if len(text) > 64 or not text.isascii():
        text = clean(text, min(TEXT_LIMIT, max(room.left, 1)))
    room.left -= len(text) + 3
    return text


def _fields(value: Any, room: Room, depth: int) -> dict[str, Any]:
    found = {}
    for name, kept in _field_names(type(value)):
        room.left -= len(name) + 4
        found[kept] = plain(getattr(value, name), room, depth - 1)
    return found


def _mapping(value: Mapping[Any, Any], room: Room, depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, one in value.items():
        if len(found) == ITEM_LIMIT or room.left <= 0:
            found[_CUT] = len(value) - len(found)
            break
        found[_text(str(name), room)] = plain(one, room, depth - 1)
    return found


def _items(value: list[Any] | tuple[Any, ...], room: Room, depth: int) -> list[Any]:
    found: list[Any] = []
    for one in value[:ITEM_LIMIT]:
        if room.left <= 0:
            break
        found.append(plain(one, room, depth - 1))
    if len(found) < len(value):
        found.append(f"{_CUT} {len(value) - len(found)} more")
    return found
