"""Ids of records: fit for the telephone, sortable by time, not to be guessed. They read no clock."""

from __future__ import annotations

import secrets

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: no I, L, O or U, so that nobody misreads one."""
LENGTH = 14
EPOCH = 1_704_067_200
"""2024-01-01. Six characters of seconds since then last until 2058, when sorting by id starts again."""
_TIME, _CHANCE = 6, 8
_MISREAD = str.maketrans("OIL", "011")


def new_id(now: float) -> str:
    """Six characters of time, eight (40 bits) of chance: among a thousand a second, two alike in a month."""
    return _written((int(now) - EPOCH) % 32**_TIME, _TIME) + _written(secrets.randbits(5 * _CHANCE), _CHANCE)


def normal_id(text: str) -> str:
    """An id as a human may have typed it: any case, O for 0, I or L for 1, blanks and hyphens anywhere."""
    return "".join(text.split()).replace("-", "").upper().translate(_MISREAD)


def _written(number: int, length: int) -> str:
    signs = []
    for _ in range(length):
        number, sign = divmod(number, 32)
        signs.append(ALPHABET[sign])
    return "".join(reversed(signs))
