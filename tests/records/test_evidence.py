"""Evidence as JSON, whatever it is made of."""

import enum
import ipaddress
import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.records.evidence import TEXT_LIMIT, Room, clean, evidence_of, plain


class Status(enum.Enum):
    PASS = "pass"


class Level(enum.IntEnum):
    HIGH = 3


@dataclass(frozen=True, slots=True)
class Inner:
    type: str
    codes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Outer:
    status: Status
    level: Level
    address: Any
    raw: bytes
    inner: Inner
    many: tuple[Any, ...] = ()
    found: dict[str, Any] = field(default_factory=dict)
    unknown: str | None = None


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters()),
    st.binary(),
    st.ip_addresses(),
    st.sampled_from(Status),
    st.complex_numbers(),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner),
        st.tuples(inner, inner),
        st.dictionaries(st.text(st.characters()), inner),
        st.builds(
            Outer, st.just(Status.PASS), st.just(Level.HIGH), inner, st.binary(), st.just(Inner("x", frozenset()))
        ),
    ),
    max_leaves=30,
)


def kept(value: Any, characters: int = 100_000) -> Any:
    return plain(value, Room(characters))


def test_a_dataclass_becomes_its_fields_under_its_name():
    evidence = Outer(
        Status.PASS,
        Level.HIGH,
        ipaddress.ip_address("2001:db8::1"),
        b"caf\xe9",
        Inner("list", frozenset({"127.0.0.4", "127.0.0.2"})),
        (1, 2.5, True),
        {"a": ipaddress.ip_network("192.0.2.0/24")},
    )
    assert evidence_of(evidence, Room(10_000)) == {
        "type": "Outer",
        "status": "pass",
        "level": 3,
        "address": "2001:db8::1",
        "raw": "caf\\xe9",
        "inner": {"type_": "list", "codes": ["127.0.0.2", "127.0.0.4"]},
        "many": [1, 2.5, True],
        "found": {"a": "192.0.2.0/24"},
        "unknown": None,
    }


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (2**63, hex(2**63)),
        (-(2**70), hex(-(2**70))),
        (2**62, 2**62),
        ("\udc80", "\\udc80"),
        (object, "<class 'object'>"),
        (1j, "1j"),
    ],
)
def test_what_json_has_no_word_for_becomes_text(value, expected):
    assert kept(value) == expected


def test_no_evidence_is_none_and_a_bare_value_has_its_type():
    assert evidence_of(None, Room(100)) is None
    assert evidence_of("text", Room(100)) == {"type": "str", "value": "text"}


def test_a_huge_number_is_cut():
    assert len(kept(10**100_000)) <= 80


def test_long_things_are_cut_and_say_so():
    assert len(kept("x" * 10**6)) == TEXT_LIMIT
    assert kept(list(range(1000)))[-1] == "… 950 more"
    assert kept({str(n): n for n in range(1000)})["…"] == 950


def test_deep_things_end():
    value: Any = "bottom"
    for _ in range(10_000):
        value = [value]
    assert "bottom" not in json.dumps(kept(value))


def test_when_the_room_is_spent_only_the_type_is_kept():
    room = Room(500)
    first = evidence_of(Inner("x" * 900, frozenset()), room)
    assert first is not None
    assert evidence_of(Inner("second", frozenset()), room) == {"type": "Inner", "left_out": True}


@given(VALUES)
def test_any_evidence_becomes_json_and_comes_back(value):
    evidence = evidence_of(value, Room(4000))
    text = json.dumps(evidence, allow_nan=False)
    assert json.loads(text) == evidence
    text.encode("ascii")
    assert len(text) < 60_000


@given(st.text(st.characters()), st.integers(1, 50))
def test_clean_text_can_be_encoded(text, limit):
    clean(text, limit).encode("utf-8")
    assert len(clean("x" * 100, limit)) <= limit
