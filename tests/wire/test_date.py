"""Dates, as they should be and as they are."""

from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatekeeper.wire.date import format_date, parse_date


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("Fri, 21 Nov 1997 09:55:06 -0600", 880127706),
        ("21 Nov 1997 09:55 -0600", 880127700),
        ("Fri, 21 Nov 1997 09:55:06 -0600 (CST)", 880127706),
        ("Fri,21 Nov 1997 9:55:06 GMT", 880106106),
        ("21 Nov 97 09:55:06 GMT", 880106106),
        ("21 Nov 097 09:55:06 UT", 880106106),
        ("Fri, 21 November 1997 09:55:06 EST", 880124106),
        ("Fri, 21-Nov-1997 09:55:06 PDT", 880131306),
        ("Fri, 21 Nov 1997 09:55:06", 880106106),
        ("Fri, 21 Nov 1997 09:55:06 A", 880106106),
        ("Fri, 21 Nov 1997 09:55:06 -0000", 880106106),
        ("Fri, 21 Nov 1997 09:55:06 +05:30", 880086306),
        ("Fri, 21 Nov 1997 09:55:06.123 +0000", 880106106),
        ("Thu, 31 Dec 1998 23:59:60 +0000", 915148799),
        ("1 Jan 00 00:00:00 +0000", 946684800),
    ],
)
def test_dates_are_read(text: str, time: float):
    assert parse_date(text) == time


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "1997-11-21 09:55:06",
        "31 Feb 2020 00:00:00 +0000",
        "1 Jan 2020 24:00:00 +0000",
        "1 Foo 2020 00:00:00 +0000",
        "0 Jan 2020 00:00:00 +0000",
        "1 Jan 0000 00:00:00 +0000",
        "1 Jan 20201 00:00:00 +0000",
        "1 Jan 2020 00:00:000 +0000",
        "1 Jan 2020 1:2 +0000",
        " " * 200 + "1 Jan 2020 00:00:00 +0000",
    ],
)
def test_what_is_no_date_is_none(text: str):
    assert parse_date(text) is None


@given(st.text(max_size=200) | st.text(alphabet="0123456789: +-JanMonGMT,().", max_size=60))
@settings(deadline=None)
def test_any_text_is_a_date_or_none(text: str):
    date = parse_date(text)
    assert date is None or isinstance(date, int | float)


@given(st.integers(min_value=0, max_value=4_000_000_000))
def test_what_is_written_is_read_back(time: int):
    text = format_date(time)
    assert parse_date(text) == time
    assert parsedate_to_datetime(text).timestamp() == time
