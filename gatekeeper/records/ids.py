"""Ids of records: fit for the telephone, sortable by time, not to be guessed. They read no clock."""

from __future__ import annotations

import os
import secrets
from functools import lru_cache

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: no I, L, O or U, so that nobody misreads one."""
LENGTH = 14
EPOCH = 1_704_067_200
"""2024-01-01. Six characters of seconds since then last until 2058, when sorting by id starts again."""
_TIME, _CHANCE = 6, 8
_SIGNS = ALPHABET.encode() * 8  # for each octet one, all of them equally often
_MISREAD = str.maketrans("OIL", "011")
_AT_ONCE = 512 * _CHANCE
"""Octets of chance that are fetched together: a session takes four ids, and each fetch is a system call."""
_ready = ""
_taken = 0


def new_id(now: float) -> str:
    """Six characters of time, eight (40 bits) of chance: among a thousand a second, two alike in a month."""
    return _time(int(now)) + _take_chance()


def _take_chance() -> str:
    global _ready, _taken  # noqa: PLW0603 - one supply for the process
    if _taken >= len(_ready):
        _ready, _taken = secrets.token_bytes(_AT_ONCE).translate(_SIGNS).decode(), 0
    _taken += _CHANCE
    return _ready[_taken - _CHANCE : _taken]


def _forget_chance() -> None:
    global _ready  # noqa: PLW0603 - as above
    _ready = ""


os.register_at_fork(after_in_child=_forget_chance)  # else parent and child would make the same ids


def normal_id(text: str) -> str:
    """An id as a human may have typed it: any case, O for 0, I or L for 1, blanks and hyphens anywhere."""
    return "".join(text.split()).replace("-", "").upper().translate(_MISREAD)


@lru_cache(maxsize=2)  # many ids are made in one second
def _time(now: int) -> str:
    number = (now - EPOCH) % 32**_TIME
    signs = []
    for _ in range(_TIME):
        number, sign = divmod(number, 32)
        signs.append(ALPHABET[sign])
    return "".join(reversed(signs))
