"""Ids of records."""

import os

from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.records.ids import ALPHABET, LENGTH, new_id, normal_id

NOW = 1_800_000_000.0


@given(st.floats(0, 1e11))
def test_an_id_has_its_length_and_its_alphabet(now):
    made = new_id(now)
    assert len(made) == LENGTH
    assert set(made) <= set(ALPHABET)


def test_ids_sort_by_the_second():
    made = [new_id(NOW + n) for n in range(0, 40_000_000, 999_999)]
    assert made == sorted(made)


def test_a_child_does_not_make_the_ids_of_its_parent():
    new_id(NOW)  # there is a supply of chance
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, new_id(NOW).encode())
        os._exit(0)
    os.waitpid(child, 0)
    made = os.read(reading, LENGTH).decode()
    os.close(reading)
    os.close(writing)
    assert len(made) == LENGTH
    assert made != new_id(NOW)


def test_ids_of_one_second_differ():
    assert len({new_id(NOW) for _ in range(2000)}) == 2000


@given(st.floats(1.8e9, 2e9))
def test_what_was_made_is_normal(now):
    made = new_id(now)
    assert normal_id(made) == made


def test_an_id_may_be_typed_as_people_type():
    assert normal_id(" 1ko0-lI8a bc ") == "1K0011" + "8ABC"


@given(st.text())
def test_anything_can_be_typed(text):
    assert normal_id(normal_id(text)) == normal_id(text) or not text.isascii()
