import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.dns.breaker import DAY, GOOD_SENDERS, HISTORY, WINDOW, Breaker


def with_history(part: float) -> Breaker:
    """One whose list has usually listed that part alone."""
    breaker = Breaker()
    for number in range((HISTORY + 1) * WINDOW):
        lone = int((number + 1) * part) > int(number * part)
        assert breaker.saw(str(number), lone=lone) == ""
    return breaker


def tripped_after(breaker: Breaker, part: float, answers: int = 2 * WINDOW) -> int | None:
    """After how many answers of which that part are lone hits."""
    dice = random.Random(1)
    for number in range(answers):
        if breaker.saw(str(number), lone=dice.random() < part):
            return number + 1
    return None


@pytest.mark.parametrize("usual", [0.0, 0.02, 0.1, 0.2])
def test_a_list_that_suddenly_lists_nearly_everybody_trips_within_a_window(usual):
    after = tripped_after(with_history(usual), 0.95)
    assert after is not None
    assert after <= WINDOW


@pytest.mark.parametrize(("usual", "now"), [(0.0, 0.1), (0.05, 0.3), (0.1, 0.35), (0.3, 0.6), (0.5, 0.9)])
def test_a_wave_of_spam_does_not(usual, now):
    assert tripped_after(with_history(usual), now) is None


def test_without_a_history_nothing_is_a_jump():
    assert tripped_after(Breaker(), 1.0, WINDOW) is None


def test_one_network_counts_once_in_a_window():
    breaker = with_history(0.0)
    assert {breaker.saw("net:192.0.2.0/24", lone=True) for _ in range(2 * WINDOW)} == {""}


def test_it_says_what_it_saw_and_begins_anew():
    breaker = with_history(0.0)
    said = next(why for number in range(WINDOW) if (why := breaker.saw(str(number), lone=True)))
    assert "list what no other list does" in said
    assert "usually 0%" in said
    assert breaker.saw("another", lone=True) == ""


def test_a_few_good_senders_on_a_list_are_an_accident_many_are_not():
    breaker = Breaker()
    said = [breaker.wronged(f"ip:{number}", now=0.0) for number in range(GOOD_SENDERS)]
    assert said[:-1] == [""] * (GOOD_SENDERS - 1)
    assert "have long been good" in said[-1]
    assert breaker.wronged("ip:9", now=0.0) == ""


def test_one_good_sender_that_writes_often_is_one():
    breaker = Breaker()
    assert {breaker.wronged("ip:1", now=float(number)) for number in range(1000)} == {""}


def test_good_senders_of_different_days_do_not_add_up():
    breaker = Breaker()
    assert {breaker.wronged(f"ip:{number}", now=number * DAY / 3) for number in range(100)} == {""}
    assert len(breaker._wronged) <= GOOD_SENDERS


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.booleans()), max_size=600))
def test_whatever_comes_it_keeps_no_more_than_counts(seen):
    breaker = Breaker()
    for whom, lone in seen:
        breaker.saw(whom, lone=lone)
        assert 0 <= breaker._lone <= breaker._asked < WINDOW
        assert len(breaker._named) == breaker._lone
        assert 0 <= breaker._usual <= 1
