"""The sums that every backend is held to."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.store.base import UNLEAKING_KEPT, Block, Bucket, Charge

AMOUNT = st.floats(0, 1e9, allow_nan=False)
TIME = st.floats(0, 4e9, allow_nan=False)


@given(st.lists(st.tuples(st.floats(-1e9, 1e9), AMOUNT, TIME), max_size=20))
def test_a_level_is_never_negative(steps):
    bucket = Bucket()
    for cost, rate, when in steps:
        bucket = bucket.spend(Charge("k", cost, rate), now=when)
        assert bucket.level >= 0
        assert math.isfinite(bucket.level)


@given(level=AMOUNT, rate=st.floats(0.001, 1e6), later=AMOUNT)
def test_a_drained_bucket_may_be_forgotten(level, rate, later):
    bucket = Bucket(level, 1e9, rate)
    if bucket.drained(1e9 + later):
        assert bucket.spend(Charge("k", 0, rate), now=1e9 + later).level == pytest.approx(0, abs=1e-5 * (1 + level))


def test_a_bucket_that_never_leaks_is_kept_for_a_month():
    bucket = Bucket(1.0, 1e9, 0.0)
    assert not bucket.drained(1e9 + UNLEAKING_KEPT)
    assert bucket.drained(1e9 + UNLEAKING_KEPT + 1)
    assert Bucket(0.0, 1e9, 0.0).drained(1e9)


@pytest.mark.parametrize(
    ("old", "new", "after"),
    [
        ((0, 60), (10, 30), (0, 60, "old")),  # the later end stays
        ((0, 60), (10, 60), (0, 60, "old")),
        ((0, 60), (10, 90), (0, 90, "new")),
        ((0, 60), (60, 90), (0, 90, "new")),  # without a gap
        ((0, 60), (61, 90), (61, 90, "new")),
        ((50, 60), (10, 90), (10, 90, "new")),  # reported late
        ((50, 90), (10, 60), (10, 90, "old")),
        ((61, 90), (10, 60), (10, 60, "new")),  # begun by a clock that was ahead
    ],
)
def test_the_later_end_wins(old, new, after):
    block = Block("k", old[0], old[1], "old").extended(Block("k", new[0], new[1], "new"))
    assert (block.since, block.until, block.reason) == after
