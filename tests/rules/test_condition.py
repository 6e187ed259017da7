"""What rules ask for beyond one pattern."""

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.rules.condition import (
    AtLeast,
    Condition,
    ConditionError,
    Fact,
    Not,
    Pattern,
    named,
    parse,
    triggers,
)
from gatekeeper.rules.condition import test_of as says  # under its own name pytest would take it for a test

NAMES: dict[str, Condition] = {
    "one": Pattern(1),
    "two": Pattern(2),
    "links": Fact("links"),
    "words": Fact("words"),
    "OTHER": AtLeast(2, (Pattern(3), Not(Fact("list")))),
}


def read(text: str) -> Condition:
    def look_up(word: str) -> Condition:
        if word not in NAMES:
            raise ConditionError(f"no {word}")
        return NAMES[word]

    return parse(text, look_up)


@pytest.mark.parametrize(
    ("text", "hits", "facts", "expected"),
    [
        ("one", {1}, {}, True),
        ("one and two", {1}, {}, False),
        ("one or two", {2}, {}, True),
        ("not one", set(), {}, True),
        ("not not one", {1}, {}, True),
        ("one and (two or links)", {1}, {"links": 1}, True),
        ("one or two and links", {1}, {}, True),  # "and" binds more closely
        ("links > 2", set(), {"links": 3}, True),
        ("links >= 3 and links != 4", set(), {"links": 3}, True),
        ("words < 5", set(), {}, True),
        ("words <= 5 and words == 0", set(), {}, True),
        ("2 of (one, two, links)", {1}, {"links": 9}, True),
        ("3 of (one, two, links)", {1}, {"links": 9}, False),
        ("OTHER", {3}, {}, True),
        ("OTHER and one", {3, 1}, {"list": 1}, False),
    ],
)
def test_conditions_hold_as_they_read(text, hits, facts, expected):
    assert says(read(text))(hits, facts) is expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "a name is missing"),
        ("one and", "a name is missing"),
        ("one two", "'two' is not expected"),
        ("(one", "')' is missing"),
        ("one > 3", "only facts have numbers"),
        ("OTHER > 3", "only facts have numbers"),
        ("links >", "a number is missing"),
        ("three", "no three"),
        ("0 of (one, two)", "between 1 and 2"),
        ("3 of (one, two)", "between 1 and 2"),
        ("2 of one", "'(' is missing"),
        ("one; two", "';"),
        ("(" * 30 + "one" + ")" * 30, "nested"),
        ("not " * 30 + "one", "nested"),
        ("one or " * 200 + "one", "more than 1000 characters"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(text, why):
    with pytest.raises(ConditionError, match=re.escape(why)):
        read(text)


conditions: st.SearchStrategy[Condition] = st.recursive(
    st.builds(Pattern, st.integers(0, 4))
    | st.builds(Fact, st.sampled_from("abc"), st.sampled_from([">", ">=", "<", "<=", "==", "!="]), st.integers(0, 3)),
    lambda inner: (
        st.builds(Not, inner)
        | st.lists(inner, min_size=1, max_size=4).flatmap(
            lambda several: st.integers(1, len(several)).map(lambda count: AtLeast(count, tuple(several)))
        )
    ),
    max_leaves=12,
)


@given(conditions, st.sets(st.integers(0, 4)), st.dictionaries(st.sampled_from("abc"), st.integers(1, 4)))
def test_what_has_none_of_its_triggers_does_not_hold(condition, hits, facts):
    """A message is spared every rule whose triggers it has none of: that must never change what is found."""
    tokens = triggers(condition)
    if tokens is not None and tokens.isdisjoint(hits) and tokens.isdisjoint(facts):
        assert not says(condition)(hits, facts)
    assert all(isinstance(each, Pattern | Fact) for each in named(condition))


@given(st.text(alphabet="onetwlikshrd()<>=!,andorf 123", max_size=60))
def test_whatever_stands_there_is_read_or_refused(text):
    with contextlib.suppress(ConditionError):
        says(read(text))({1}, {"links": 1})
