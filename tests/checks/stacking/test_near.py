"""Near-misses: one slip of the pen, and never a run of numbers; what is kept is bounded and no list of names."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.checks.stacking.near import TakenNames
from gatekeeper.model import Address

LETTERS = st.text(string.ascii_lowercase + ".-", min_size=5, max_size=30)


def taken(*names: str) -> TakenNames:
    known = TakenNames()
    for name in names:
        known.take(Address(name, "example.org"))
    return known


@pytest.mark.parametrize("name", ["johnsmith", "jonsmith", "johnsmiht", "johnsmitt", "johnnsmith", "JohnSmyth"])
def test_one_letter_too_many_too_few_wrong_or_exchanged_is_near(name):
    assert taken("johnsmith").near(Address(name, "example.org"))


@pytest.mark.parametrize("name", ["peter", "jonsmyth", "john", "smithjohn", "johnsmith1"])
def test_another_name_is_not(name):
    assert not taken("johnsmith").near(Address(name, "example.org"))


def test_numbers_are_counted_through_and_not_mistyped():
    assert not any(taken("user0001").near(Address(f"user{n:04}", "example.org")) for n in range(2, 2000))


def test_short_names_are_near_to_nothing():
    assert not taken("bob").near(Address("bop", "example.org"))


def test_another_domain_is_another_name():
    assert not taken("johnsmith").near(Address("johnsmith", "example.net"))


def test_what_is_kept_is_bounded_and_the_latest_stay():
    known = TakenNames(most=100)
    for n in range(10_000):
        known.take(Address(f"somebody{n}", "example.org"))
    assert len(known) == 100
    assert known.near(Address("somebody9999", "example.org"))
    assert not known.near(Address("sumebody1", "example.org"))


def test_no_name_can_be_read_from_it():
    assert "johnsmith" not in repr(vars(taken("johnsmith")))


@given(LETTERS, st.data())
def test_any_single_slip_is_near(name, data):
    at = data.draw(st.integers(0, len(name) - 1))
    letter = data.draw(st.sampled_from(string.ascii_lowercase))
    slips = [name[:at] + name[at + 1 :], name[:at] + letter + name[at:], name[:at] + letter + name[at + 1 :]]
    if at + 1 < len(name):
        slips.append(name[:at] + name[at + 1] + name[at] + name[at + 2 :])
    known = taken(name)
    assert all(known.near(Address(slip, "example.org")) for slip in slips if len(slip) >= 4)


@given(st.text())
def test_whatever_a_stranger_writes_can_be_looked_up(name):
    assert not TakenNames().near(Address(name, "example.org"))
