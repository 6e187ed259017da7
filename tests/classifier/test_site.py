"""Counts -> an opinion: what is claimed, how far it is trusted, and why."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.classifier.opinion import MOST
from gatekeeper.classifier.site import BOLD, ENOUGH, chosen, opinion, together
from gatekeeper.classifier.traits import Traits
from gatekeeper.store.base import MOST_TRAITS, Learned
from tests.support.lessons import traits

COMMON = range(9_000, 9_010)


def learned(ham: int, spam: int) -> Learned:
    """Ham has the words 0 to 99, spam 100 to 199; both share some, and what is no word."""
    counts = dict.fromkeys(range(100), (ham, 0)) | dict.fromkeys(range(100, 200), (0, spam))
    counts |= dict.fromkeys((*range(200, 230), *COMMON), (ham, spam))
    counts = {word: both for word, both in counts.items() if any(both)}
    return Learned(ham, spam, ham * 140, spam * 140, counts)


def test_what_was_learned_is_known_again():
    spam, ham = opinion(traits(range(100, 180)), learned(50, 50)), opinion(traits(range(80)), learned(50, 50))
    assert spam is not None
    assert ham is not None
    assert spam.log_odds == -ham.log_odds > 5
    assert spam.trust > 0.9


def test_from_few_nothing_is_claimed():
    assert opinion(traits(range(100, 180)), Learned()) is None
    assert opinion(traits(range(100, 180)), learned(ENOUGH - 1, ENOUGH - 1)) is None


def test_for_a_class_of_which_little_was_learned_nothing_is_claimed():
    assert opinion(traits(range(80)), learned(ENOUGH - 1, 50)) is None
    assert opinion(traits(range(100, 180)), learned(50, ENOUGH - 1)) is None


def test_twenty_of_one_kind_are_enough_for_what_is_alike_and_nothing_is_said_of_the_rest():
    alike = opinion(traits(range(100, 180)), learned(0, 20))
    assert alike is not None
    assert alike.log_odds * alike.trust > 3.5
    shared = opinion(traits(range(210, 300)), learned(0, 20))  # a fifth of its words, and all that are no words
    assert shared is None


def test_what_few_lessons_claim_is_bounded_however_sure_the_sum_is():
    said = [opinion(traits(range(100, 180)), learned(50, n)) for n in (5, 20, 80, 320, 1_000_000)]
    claimed = [one.log_odds for one in said if one is not None]
    assert claimed == sorted(claimed)
    assert claimed[:2] == pytest.approx([BOLD + math.log(6), BOLD + math.log(21)])
    assert claimed[-1] == MOST
    wanted = opinion(traits(range(80)), learned(20, 50))
    assert wanted is not None
    assert wanted.log_odds == pytest.approx(-BOLD - math.log(21))


def test_of_words_it_has_not_met_it_is_trusted_less():
    half = opinion(traits(range(180, 220)), learned(50, 50))
    most = opinion(traits(range(190, 1000)), learned(50, 50))
    assert half is not None
    assert most is not None
    assert most.known < 0.1
    assert most.trust < half.trust / 4


def test_long_mail_of_one_class_does_not_claim_all_words():
    """Ham is ten times as long, and has each word of spam as often: what spam says more of is still spam."""
    counts = dict.fromkeys(range(900), (10, 0)) | dict.fromkeys(range(900, 1000), (10, 10))
    found = opinion(traits(range(900, 960), range(0)), Learned(20, 20, 20 * 900, 20 * 90, counts))
    assert found is not None
    assert found.log_odds > 1


@given(
    st.sets(st.integers(0, 400), max_size=60),
    st.sets(st.integers(401, 500), max_size=20),
    st.dictionaries(st.integers(0, 500), st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=80),
    st.integers(0, 30),
    st.integers(0, 30),
)
def test_the_parts_add_up(words, others, counts, ham, spam):
    sums = (sum(h for h, _ in counts.values()), sum(s for _, s in counts.values()))
    found = opinion(Traits(tuple(words), tuple(others)), Learned(ham, spam, *sums, counts))
    if found is not None:
        assert math.isclose(sum(one.moved for one in found.moved) + found.rest, found.log_odds, abs_tol=1e-9)
        assert abs(found.log_odds) <= MOST
        assert 0 < found.trust <= 1
        assert found.log_odds < 0 or spam >= ENOUGH
        assert found.log_odds > 0 or ham >= ENOUGH


def test_of_a_very_long_message_the_same_part_is_taken_each_time():
    long = Traits(tuple(range(5000, 1000, -1)), tuple(range(10)))
    some = chosen(long)
    assert len(some) == MOST_TRAITS
    assert list(some) == sorted(some)
    assert some == chosen(Traits(tuple(range(1001, 5001)), tuple(range(10))))
    assert set(range(10)) <= set(some)


def test_what_several_have_learned_is_added_up():
    one, other = Learned(1, 2, 3, 4, {1: (1, 0), 2: (1, 2)}), Learned(1, 0, 2, 0, {2: (1, 0)})
    assert together([one, other]) == Learned(2, 2, 5, 4, {1: (1, 0), 2: (2, 2)})
    assert together([]) == Learned()


@pytest.mark.parametrize("ham", [0, 50])
def test_a_message_without_traits_has_no_opinion(ham):
    assert opinion(Traits((), ()), learned(ham, 50)) is None
