"""What one of us has written as JSON, read back: everything that is none is told apart from what says something."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.wire.notation import read_json, read_number, read_object

DEEP = "[" * 100_000
LONG = "1" * 5000


@pytest.mark.parametrize("text", ["", "x", "{", DEEP, DEEP.encode(), '{"a":' * 100_000, b"\xff", LONG])
def test_what_cannot_be_read_is_a_value_error(text):
    with pytest.raises(ValueError):
        read_json(text)
    assert read_object(text) == {}


@pytest.mark.parametrize("text", ["[]", "null", "1", '"x"'])
def test_what_is_no_object_says_nothing(text):
    assert read_object(text) == {}


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text()))
def test_what_was_written_is_read(told):
    assert read_object(json.dumps(told)) == read_json(json.dumps(told).encode()) == told


@given(st.text() | st.binary())
def test_nothing_else_is_raised(text):
    assert isinstance(read_object(text), dict)


@pytest.mark.parametrize("value", [None, True, "1", [], float("inf"), float("nan"), 10**400])
def test_what_is_no_number(value):
    assert read_number(value) is None


@pytest.mark.parametrize("value", [0, -1, 1.5, 10**15])
def test_a_number(value):
    assert read_number(value) == value
