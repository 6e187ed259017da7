import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gatekeeper.dns.answer import Answer, Status
from gatekeeper.dns.health import (
    DAY,
    FIRST_HOLD,
    LONGEST_HOLD,
    Health,
    Outcome,
    Probe,
    State,
    Target,
    from_note,
    key_of,
    settle,
    targets_of,
    to_note,
)
from gatekeeper.dns.lists import DnsList, Family

LIST = DnsList("bl.test", "BL", 1.0)
TARGET = Target(LIST, Family.IPV4)
YES, NO = Answer(Status.OK, ("127.0.0.2",)), Answer(Status.NXDOMAIN)
SILENT, SERVFAIL = Answer(Status.TIMEOUT), Answer(Status.REFUSED)
REFUSING, PARKED = Answer(Status.OK, ("127.255.255.254",)), Answer(Status.OK, ("203.0.113.7",))
LETTERS = {"g": Outcome.GOOD, "l": Outcome.SLOW, "e": Outcome.EMPTY, "s": Outcome.SILENT, "w": Outcome.WORLD}
LETTERS |= {"r": Outcome.REFUSED, "u": Outcome.UNKNOWN}


def after(outcomes: str, health: Health | None = None) -> Health:
    health = health or Health()
    for number, letter in enumerate(outcomes):
        health = health.after(LETTERS[letter], now=float(number))
    return health


@pytest.mark.parametrize(
    ("listed", "not_listed", "control", "outcome"),
    [
        (YES, NO, NO, Outcome.GOOD),
        (YES, NO, Answer(Status.NODATA), Outcome.GOOD),
        (NO, NO, NO, Outcome.EMPTY),
        (None, None, NO, Outcome.EMPTY),
        (YES, YES, YES, Outcome.WORLD),
        (YES, YES, NO, Outcome.WORLD),
        (YES, NO, YES, Outcome.WORLD),
        (None, None, YES, Outcome.WORLD),
        (PARKED, PARKED, PARKED, Outcome.WORLD),
        (NO, NO, PARKED, Outcome.WORLD),
        (REFUSING, REFUSING, REFUSING, Outcome.REFUSED),
        (REFUSING, NO, NO, Outcome.REFUSED),
        (SILENT, SILENT, SILENT, Outcome.SILENT),
        (YES, NO, SILENT, Outcome.SILENT),
        (SERVFAIL, SERVFAIL, SERVFAIL, Outcome.SILENT),
        (Answer(Status.NONSENSE), NO, NO, Outcome.SILENT),
    ],
)
def test_what_a_test_means(listed, not_listed, control, outcome):
    assert Probe(TARGET, listed, not_listed, control).outcome is outcome


def test_a_good_answer_that_took_long_is_slow():
    assert Probe(TARGET, YES, NO, NO, 3.0).outcome is Outcome.SLOW


@pytest.mark.parametrize(
    ("outcomes", "state"),
    [
        ("", State.UNTESTED),
        ("g", State.OK),
        ("e", State.UNTESTED),
        ("eeeeeee", State.UNTESTED),  # a list without a test point
        # one timeout, or two in a row, changes nothing
        ("s", State.UNTESTED),
        ("ss", State.UNTESTED),
        ("gs", State.OK),
        ("gss", State.OK),
        ("gssg", State.OK),
        ("gssgg", State.OK),
        ("gsss", State.DEAD),
        ("sss", State.DEAD),
        ("gsgss", State.DEAD),  # three of five
        ("gsssg", State.DEAD),
        ("gssssgs", State.DEAD),
        ("gsssgg", State.OK),  # back by itself
        ("gsssggg", State.OK),
        ("sssee", State.UNTESTED),
        # what was seen and is gone
        ("gee", State.OK),
        ("geee", State.DEAD),
        ("geeegg", State.OK),
        # it lists the world, or refuses us
        ("gw", State.OK),
        ("gww", State.WORLD),
        ("gwgw", State.WORLD),
        ("gwwg", State.WORLD),
        ("gwwgg", State.OK),
        ("ww", State.WORLD),
        ("gr", State.OK),
        ("grr", State.REFUSES),
        ("grrgg", State.OK),
        ("gsssrr", State.REFUSES),
        ("gwwsss", State.DEAD),
        # now and then
        ("gsgggsgggs", State.OK),
        ("gsgsggsg", State.DEGRADED),
        ("glll", State.DEGRADED),
        ("glllggg", State.DEGRADED),
        ("glllggggggg", State.OK),
        # nothing is known when nobody answers
        ("guuuuuu", State.OK),
        ("gsssuuu", State.DEAD),
        ("uuuu", State.UNTESTED),
    ],
)
def test_how_a_list_stands_after_its_tests(outcomes, state):
    assert after(outcomes).state is state


@given(st.text("glswre", max_size=30), st.sampled_from("swr"))
def test_no_single_bad_test_after_two_good_ones_takes_a_vote_away(before, bad):
    health = after(before + "ggg")
    assert health.state.votes
    assert health.after(LETTERS[bad], now=99.0).state.votes


@given(st.text("glswreu", max_size=40))
def test_every_list_comes_back_by_itself(outcomes):
    assert after(outcomes + "gg").state.votes
    assert after(outcomes + "g" * 12).state is State.OK


@given(st.sampled_from(State), st.lists(st.sampled_from(Outcome), min_size=1, max_size=8), st.booleans())
def test_whatever_the_outcomes_there_is_a_state(state, outcomes, seen):
    assert settle(state, outcomes, seen=seen) in State


def test_who_votes():
    assert {state for state in State if state.votes} == {State.UNTESTED, State.OK, State.DEGRADED}


def test_a_change_says_since_when_and_why():
    dead = after("gsss")
    assert (dead.since, dead.why) == (3.0, "it does not answer")
    assert after("geee").why == "its test point is not listed any more"


def test_a_tripped_list_has_no_vote_until_its_time_is_over_whatever_the_tests_say():
    health = after("ggg").tripped("many hits", now=100.0)
    assert (health.state, health.why, health.since) == (State.WORLD, "many hits", 100.0)
    for second in range(5):
        health = health.after(Outcome.GOOD, now=101.0 + second)
    assert health.state is State.WORLD
    assert health.after(Outcome.GOOD, now=100.0 + FIRST_HOLD).state is State.OK


def test_one_that_trips_again_and_again_is_held_longer_up_to_a_limit():
    now, health, holds = 0.0, Health(), []
    for _ in range(8):
        health = health.tripped("x", now=now)
        holds.append(health.held - now)
        now = health.held + 60
    assert holds[:3] == [FIRST_HOLD, 2 * FIRST_HOLD, 4 * FIRST_HOLD]
    assert max(holds) == LONGEST_HOLD
    later = health.tripped("x", now=health.held + 2 * DAY)
    assert later.held - (health.held + 2 * DAY) == FIRST_HOLD


def test_a_note_gives_back_what_was_noted():
    health = after("gsss").tripped("hits", now=9.0)
    assert from_note(to_note(health)) == health
    assert from_note(to_note(after("gg"))).seen


@given(
    st.one_of(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["state", "since", "why", "held"]), inner),
        ).map(json.dumps),
    )
)
@example("[" * 20_000)
def test_a_note_of_somebody_else_s_is_a_value_error(text):
    with pytest.raises(ValueError):
        from_note(text)


def test_a_list_is_tested_in_each_family_that_it_is_asked_in():
    lists = [LIST, DnsList("four.test", "FOUR", 1.0, ipv6=False)]
    found = targets_of(lists, (Family.IPV4, Family.IPV6))
    assert [(each.key, each.name) for each in found] == [
        ("ipv4 bl.test", "DNSBL_BL"),
        ("ipv6 bl.test", "DNSBL_BL"),
        ("ipv4 four.test", "DNSBL_FOUR"),
    ]


def test_a_key_does_not_tell_a_subscriber_s_own():
    assert "u5t6abcd2efgh3ijkl4mnopqrs" not in key_of(
        DnsList("u5t6abcd2efgh3ijkl4mnopqrs.zen.test", "KEYED", 1.0), Family.IPV4
    )
