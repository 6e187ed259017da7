"""When to try again, and in which words."""

from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.checks.waiting import after, fraction, next_try

NOON = 1_800_014_400.0  # 2027-01-15T12:00Z


def test_a_moment_is_told_with_how_long_it_is_until_then():
    assert after(NOON + 23 * 60, now=NOON) == "after 12:23 UTC, in 23 minutes"
    assert after(NOON + 60, now=NOON + 30) == "after 12:01 UTC, in 1 minute"
    assert after(NOON + 5 * 3600, now=NOON) == "after 17:00 UTC, in 5 hours"
    assert after(NOON + 20 * 3600, now=NOON) == "after 2027-01-16 08:00 UTC, in 20 hours"


def test_a_clock_out_of_its_mind_is_no_error():
    assert after(1e18, now=0.0) == "in a few days"
    assert after(float("inf"), now=0.0) == "in a few days"


def test_the_same_mail_is_told_the_same_time_and_others_another():
    told = [next_try(room_at=NOON, spread=3600.0, parts=("192.0.2.1", f"s{n}@example.net")) for n in range(200)]
    assert told == [next_try(room_at=NOON, spread=3600.0, parts=("192.0.2.1", f"s{n}@example.net")) for n in range(200)]
    assert len(set(told)) > 30  # of 61 minutes: nobody's mail comes back all at once


@given(st.floats(1, 4e9), st.floats(0, 1e5), st.text())
def test_nobody_is_told_a_time_at_which_there_is_no_room(room_at, spread, who):
    told = next_try(room_at=room_at, spread=spread, parts=(who,))
    assert room_at <= told <= room_at + spread + 60
    assert told % 60 == 0
    assert 0 <= fraction(who) < 1
