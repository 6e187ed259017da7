"""Dates of messages (RFC 5322 §3.3 and §4.3): text <-> Unix time."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from functools import lru_cache

LENGTH = 120
"""Characters of a date that are read; a comment behind it may be cut off."""

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = {name.lower(): number for number, name in enumerate(_MONTHS, 1)}
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_EPOCH = date(1970, 1, 1).toordinal()
_ZONE = {"est": -5, "edt": -4, "cst": -6, "cdt": -5, "mst": -7, "mdt": -6, "pst": -8, "pdt": -7}
# Any other name means nothing that one could know (§4.3): like -0000, it is taken for UTC.
_DATE = re.compile(
    r"\s*(?:[A-Za-z]{3,9}\.?\s*,?\s*)?(\d{1,2})[\s-]{1,10}([A-Za-z]{3})[a-z]{0,6}\.?[\s-]{1,10}(\d{2,4})\s{1,10}"
    r"(\d{1,2}):(\d{2})(?::(\d{2}))?(?:\.\d{1,9})?\s{0,10}(?:([+-]\d{2}):?(\d{2})|([A-Za-z]{1,5}))?(?![\w:])",
    re.ASCII,
)


def parse_date(text: str) -> float | None:
    """Unix time of a Date field's value, obsolete forms included; None when it is no date."""
    match = _DATE.match(text[:LENGTH])
    if match is None:
        return None
    day, month, year, hour, minute, second, hours, minutes, zone = match.groups()
    number = int(year)
    if len(year) < 4:  # §4.3: two digits are of 1950 to 2049, three count from 1900
        number += 2000 if len(year) == 2 and number < 50 else 1900
    days, hour_number, minute_number = _days(number, month.lower(), int(day)), int(hour), int(minute)
    if days is None or hour_number > 23 or minute_number > 59:
        return None
    at = hour_number * 3600 + minute_number * 60 + min(int(second or 0), 59)  # a leap second is the second before it
    if hours is not None:
        offset = int(hours) * 3600 + int(minutes) * 60 * (-1 if hours[0] == "-" else 1)
    else:
        offset = _ZONE.get((zone or "").lower(), 0) * 3600
    return days * 86_400 + at - offset


@lru_cache(maxsize=64)  # the dates of one message are mostly of one day
def _days(year: int, month: str, day: int) -> int | None:
    """From 1970 on; None where there is no such day."""
    try:
        return date(year, _MONTH[month], day).toordinal() - _EPOCH
    except (ValueError, KeyError):
        return None


def format_date(when: float) -> str:
    """The date-time of §3.3 in UTC."""
    return _in_words(int(when))


@lru_cache(maxsize=16)  # all messages of a second have the same
def _in_words(second: int) -> str:
    at = datetime.fromtimestamp(second, UTC)
    return f"{_DAYS[at.weekday()]}, {at.day} {_MONTHS[at.month - 1]} {at:%Y %H:%M:%S} +0000"
