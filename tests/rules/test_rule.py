"""A rule as it stands in a file."""

from gatekeeper.rules.rule import NORMALISED, PLACES, RuleProblem, RulesUnusable


def test_a_problem_is_said_with_its_place():
    assert str(RuleProblem("a.toml", ("X", "seen"), "no")) == "a.toml: X.seen: no"
    assert str(RuleProblem("a.toml", (), "no", 3)) == "a.toml:3: no"
    assert str(RulesUnusable([RuleProblem("a", (), "x"), RuleProblem("b", (), "y")])) == "a: x\nb: y"


def test_every_place_has_its_sentence():
    assert set(PLACES) >= NORMALISED
    assert all(about.endswith(".") for about in PLACES.values())
