"""Files of rules, and everything that can be wrong with one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.model import Kind
from gatekeeper.rules.condition import AtLeast, Fact, Pattern
from gatekeeper.rules.files import Source
from gatekeeper.rules.loading import Loader, check_names
from gatekeeper.rules.rule import Expression

GOOD = {"about": "It is so.", "score": 0.5, "match": "a", "no_match": "b"}


def load(**tables: object) -> tuple[Loader, object]:
    loader = Loader()
    return loader, loader.load([Source("a.toml", tables)])


def problems(**tables: object) -> list[str]:
    return [str(problem) for problem in load(**tables)[0].problems]


def test_patterns_without_a_condition_must_all_match():
    loader = Loader()
    found = loader.load([Source("a.toml", {"ONE": GOOD | {"seen": "x", "header": {"x-mailer": {"a": "y", "b": "z"}}}})])
    assert loader.problems == []
    assert found.expressions == (
        Expression("seen", "x"),
        Expression("header:x-mailer", "y"),
        Expression("header:x-mailer", "z"),
    )
    assert found.rules[0].condition == AtLeast(3, (Pattern(0), Pattern(1), Pattern(2)))
    assert loader.owner(2) == ("a.toml", ("ONE", "header", "x-mailer", "b"))


def test_a_rule_may_name_facts_and_rules_of_other_files():
    loader = Loader()
    one = Source("a.toml", {"ONE": GOOD | {"when": "TWO and links > 1"}})
    two = Source("b.toml", {"TWO": GOOD | {"subject": "x", "kind": "identity"}})
    found = loader.load([one, two])
    assert loader.problems == []
    assert found.rules[0].condition == AtLeast(2, (Pattern(0), Fact("links", ">", 1)))
    assert found.rules[1].rule.kind is Kind.IDENTITY


def test_the_same_pattern_is_looked_for_once():
    loader = Loader()
    found = loader.load([Source("a", {"ONE": GOOD | {"seen": "x"}, "TWO": GOOD | {"seen": "x"}})])
    assert len(found.expressions) == 1


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"sene": "x", "seen": "y"}, "a.toml: ONE.sene: unknown key; did you mean 'seen'?"),
        ({"seen": "x", "about": " "}, "a.toml: ONE.about: is required"),
        ({"seen": "x", "about": 3}, "a.toml: ONE.about: must be text"),
        ({"seen": "x", "score": "1"}, "a.toml: ONE.score: must be a number"),
        ({"seen": "x", "score": 0.0001}, "a.toml: ONE.score: 0.0001 has more than three decimals"),
        ({"seen": "x", "kind": "contents"}, "did you mean 'content'?"),
        ({"seen": "x", "group": "none"}, "write none = 2.0 under [groups]"),
        ({"seen": "x", "match": ""}, None),
        ({"seen": "x", "no_match": []}, "a.toml: ONE.no_match: is required"),
        ({}, "a.toml: ONE: has neither a pattern nor a condition"),
        ({"seen": 3}, "a.toml: ONE.seen: must be a pattern"),
        ({"seen": {"X": "x"}}, "a.toml: ONE.seen.X: is no name for a pattern"),
        ({"seen": {"links": "x"}}, "a.toml: ONE.seen.links: is a fact's name"),
        ({"seen": {"a": "x"}, "text": {"a": "y"}}, "a.toml: ONE.text.a: the rule has another pattern of that name"),
        ({"header": "x"}, "a.toml: ONE.header: must name a field"),
        ({"header": {"X-Mailer": "x"}}, "write it in small letters: header.x-mailer"),
        ({"header": {"x mailer": "x"}}, "is no name of a header field"),
        ({"seen": "x", "when": 3}, "a.toml: ONE.when: must be a condition"),
        ({"seen": "x", "when": "seen and lniks"}, "nor a fact, nor another rule; did you mean 'links'?"),
        ({"seen": "x", "when": "links"}, "does not speak of the pattern 'seen'"),
        ({"when": "ONE"}, "it names ONE, which names this one"),
        ({"seen": "Gift"}, "the text there is normalised, and never has 'G': write 'g'"),
        ({"subject": "für"}, "never has 'ü': write 'u'"),
        ({"subject": "a\u200bb"}, "never has U+200B: leave it out"),
        ({"seen": "款?"}, "write (?:款)?"),
        ({"seen": "[款项]"}, "in brackets would be taken for single octets"),
        ({"seen": "(?<!no )card"}, "`not` in `when`"),
        ({"seen": r"(a)\1"}, "back references"),
        ({"seen": "a++"}, "possessive"),
        ({"seen": "\bgift"}, "put patterns in single quotes"),
        ({"seen": "x" * 2001}, "more than 2000 characters"),
    ],
)  # fmt: skip
def test_every_mistake_is_named_with_file_key_and_mend(table, said):
    found = problems(ONE=GOOD | table)
    if said is None:
        assert found == []
    else:
        assert any(said in each for each in found), found
        assert len(found) == 1


@pytest.mark.parametrize("pattern", [r"(?i)Gift\b\W[^a]\S", r"\d{1,3}(?:a|b)[]x]", "a\\+\\+", "(?:款|é)?"])
def test_header_patterns_may_have_whatever_the_engine_takes(pattern):
    assert problems(ONE=GOOD | {"header": {"x-y": pattern}}) == []


def test_mistakes_of_files_are_named_too():
    found = problems(
        one=GOOD, ONE=3, groups={"A": 1.0, "b": 0}, brands={"PayPal": ["a.com"], "x": ["www.x.com"], "y": 1}
    )
    assert [each.partition(": ")[2].partition(": ")[0] for each in found] == [
        "one",
        "ONE",
        "groups.A",
        "groups.b",
        "brands.PayPal",
        "brands.x",
        "brands.y",
    ]


def test_a_name_that_another_file_has_is_refused():
    loader = Loader()
    loader.load([Source("a.toml", {"ONE": GOOD | {"seen": "x"}}), Source("b.toml", {"ONE": GOOD | {"seen": "x"}})])
    assert ["b.toml: ONE: a.toml has a rule of that name already" in str(each) for each in loader.problems] == [True]


def test_two_rules_that_name_each_other_are_refused_once_each_at_most():
    found = problems(ONE=GOOD | {"when": "TWO"}, TWO=GOOD | {"when": "ONE"})
    assert "it names ONE, which names this one" in found[0]
    assert len(found) <= 2


def test_rules_that_name_rules_are_bounded():
    chain = {f"RULE_{n}": GOOD | {"when": f"RULE_{n + 1}"} for n in range(40)} | {"RULE_40": GOOD | {"seen": "x"}}
    assert any("nested more than" in each for each in problems(**chain))
    doubling = {f"RULE_{n}": GOOD | {"when": f"RULE_{n + 1} and RULE_{n + 1}"} for n in range(15)}
    assert any("more than 2000 terms" in each for each in problems(**doubling, RULE_15=GOOD | {"seen": "x"}))


def test_a_mistake_in_a_rule_is_not_said_again_of_those_that_name_it():
    assert len(problems(ONE=GOOD | {"seen": "X"}, TWO=GOOD | {"when": "ONE"})) == 1


def test_what_is_switched_off_must_be_there():
    assert [str(each) for each in check_names(["ONE"], ["ONE", "ONF"])] == [
        ": disabled: there is no rule \"ONF\"; did you mean 'ONE'?"
    ]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.sampled_from(["about", "score", "seen", "text", "header", "when", "match", "group", "kind"]), values
    )
)
def test_whatever_stands_in_a_file_is_read_or_refused(table):
    assert problems(ONE=table, groups=table, brands=table)
