"""Durations and sizes as an operator writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.config import units


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("3s", 3), ("1.5s", 1.5), ("5m", 300), ("2h", 7200), ("1d", 86400), ("0s", 0)]
)
def test_a_duration_is_read_in_seconds(text, seconds):
    assert units.duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "count"),
    [("0B", 0), ("64KiB", 65536), ("10MiB", 10485760), ("1GiB", 2**30), ("25MB", 25000000), ("1kB", 1000)],
)
def test_a_size_is_read_in_bytes(text, count):
    assert units.size(text) == count


@pytest.mark.parametrize("text", ["", "3", "s", "-3s", "3 s", "3sec", "3S", "1h30m", "∞s", "3s\n", "٣s", ".5s", "1e3s"])
def test_what_is_not_a_duration_is_refused_with_the_mend(text):
    with pytest.raises(ValueError, match='such as "3s"'):
        units.duration(text)


@pytest.mark.parametrize("text", ["", "10", "10M", "10mb", "1.5MiB", "-1B", "10 MiB", "9" * 20 + "B", "٣B"])
def test_what_is_not_a_size_is_refused_with_the_mend(text):
    with pytest.raises(ValueError, match='such as "10MiB"'):
        units.size(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.5, "500ms"),
        (0.0005, "0.5ms"),
        (90, "90s"),
        (1.5, "1.5s"),
        (60, "1m"),
        (7200, "2h"),
        (172800, "2d"),
    ],
)
def test_a_duration_is_written_as_people_do(seconds, text):
    assert units.write_duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0B"), (1000, "1kB"), (1024, "1KiB"), (10485760, "10MiB"), (999, "999B"), (2**30, "1GiB")]
)
def test_a_size_is_written_as_people_do(count, text):
    assert units.write_size(count) == text


@given(st.integers(0, 10**15 - 1))
def test_a_size_survives_being_written_and_read(count):
    assert units.size(units.write_size(count)) == count


@given(st.integers(0, 10**12))
def test_a_duration_survives_being_written_and_read(microseconds):
    seconds = microseconds / 1e6
    assert units.duration(units.write_duration(seconds)) == pytest.approx(seconds, abs=1e-6)
