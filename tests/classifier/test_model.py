import json
import math
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.classifier.model import (
    FORMAT,
    Card,
    Learned,
    Model,
    ModelError,
    octet_of,
    read_model,
    shipped_model,
    weight_of,
    written,
)
from gatekeeper.classifier.opinion import MOST
from gatekeeper.classifier.traits import Traits

CARD = Card(
    bits=10,
    largest=4.0,
    bias=-0.5,
    word_say=1.0,
    other_say=1.0,
    steady=10.0,
    slope=1.5,
    offset=0.25,
    strange=0.25,
    familiar=0.75,
    fewest=3,
    learned=(Learned("made", "spam", 2, "00" * 32),),
)


def model(**weights: float) -> Model:
    places = bytearray(1 << CARD.bits)
    for name, weight in weights.items():
        places[int(name[1:])] = octet_of(weight, CARD.largest)
    return read_model(written(CARD, bytes(places)))


def test_a_model_is_read_as_it_was_written():
    assert model(t1=2.0).card == CARD


def test_weights_move_the_opinion_and_are_its_sum():
    opinion = model(t1=4.0, t2=4.0, t3=-1.0, t4=0.001).opinion(Traits((1, 2, 3), (4,)))
    assert opinion.log_odds > 0
    assert [each.trait for each in opinion.moved] == [2, 1, 3, 4]  # the heaviest first
    assert math.isclose(sum(each.moved for each in opinion.moved) + opinion.rest, opinion.log_odds)
    assert opinion.known == 1.0


def test_mail_of_words_that_were_never_met_is_not_known():
    made = model(t1=4.0, t2=4.0, t3=4.0, t4=4.0)
    assert made.opinion(Traits(tuple(range(100, 120)), (1, 2, 3, 4))).trust == 0.0
    assert made.opinion(Traits((1, 2), (3,))).trust == 1.0
    assert made.opinion(Traits((1,), ())).trust == 0.0  # too little to say anything


def test_a_message_without_words_is_not_known():
    assert model(t1=4.0).opinion(Traits((), ())).trust == 0.0


@given(st.floats(-8, 8))
def test_an_octet_keeps_a_weight_s_sign_and_is_never_the_one_for_unknown(weight):
    octet = octet_of(weight, 4.0)
    assert octet in range(1, 256)
    kept = weight_of(octet, 4.0)
    assert abs(kept - max(-4.0, min(4.0, weight))) <= 4.0 * 2 / 127
    assert kept == 0 or weight == 0 or abs(weight) < 0.001 or (kept > 0) == (weight > 0)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"something else\n{}\n",
        FORMAT + b"\nno json\n",
        FORMAT + b"\n{}\n" + zlib.compress(b"\0"),
        written(CARD, b"\0" * 5),
        written(CARD, b"\0" * 1024)[:-4],
        written(CARD, b"\0" * 5000),
        FORMAT + b"\n" + json.dumps({"learned": [], "bits": 60}).encode() + b"\n" + zlib.compress(b"\0"),
    ],
)
def test_what_is_no_model_is_refused(octets):
    with pytest.raises(ModelError):
        read_model(octets)


_numbers = st.lists(st.integers(0, 2**32 - 1), max_size=300, unique=True).map(tuple)


@given(_numbers, _numbers)
def test_the_shipped_model_has_an_opinion_of_any_traits(words, others):
    opinion = shipped_model().opinion(Traits(words, others))
    assert abs(opinion.log_odds) <= MOST
    assert 0.0 <= opinion.trust <= 1.0
    assert math.isclose(sum(each.moved for each in opinion.moved) + opinion.rest, opinion.log_odds, abs_tol=1e-9)


def test_the_shipped_model_is_small_and_says_what_it_learned_from():
    card = shipped_model().card
    assert sum(each.messages for each in card.learned) > 5000
    assert all(len(each.digest) == 64 for each in card.learned)
    assert "foff_milter" not in {each.name for each in card.learned}


@given(st.lists(st.integers(-127, 127), max_size=60), st.lists(st.integers(-127, 127), max_size=60), st.integers(0, 20))
def test_those_that_moved_most_are_found_without_sorting_all(words, others, told):
    places = bytearray(1 << CARD.bits)
    for n, octet in enumerate([*words, *others]):
        places[n] = octet % 256
    read = read_model(written(CARD, bytes(places)))
    traits = Traits(tuple(range(len(words))), tuple(range(len(words), len(words) + len(others))))
    every = read.opinion(traits, 200).moved
    assert read.opinion(traits, told).moved == every[:told]
    assert {each.trait for each in every} == {n for n in traits.ids if places[n]}
    assert [abs(each.moved) for each in every] == sorted([abs(each.moved) for each in every], reverse=True)
