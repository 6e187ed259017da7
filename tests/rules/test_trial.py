"""Each rule's own test messages; and those of the rules that ship."""

import re
from pathlib import Path

from gatekeeper.model import Kind
from gatekeeper.policy import Settings
from gatekeeper.rules.automaton import LARGEST
from gatekeeper.rules.ruleset import Ruleset, ruleset
from gatekeeper.rules.trial import failures, tried

ROOT = Path(__file__).parents[2]

FILE = """
[ONE]
about = "It is so."
score = 0.5
seen = 'gift card'
match = ["\\ngift card", "\\ngift cards", "\\nvoucher"]
no_match = "\\ngift card"
"""


def test_a_message_that_does_not_come_out_as_its_rule_says_is_named(tmp_path):
    file = tmp_path / "a.toml"
    file.write_text(FILE)
    assert [str(each) for each in failures(Ruleset([str(file)], shipped=False))] == [
        f"{file}: ONE.match: message 3 of match is not matched: mend the rule or the message",
        f"{file}: ONE.no_match: the message of no_match is matched: mend the rule or the message",
    ]


def test_return_path_and_delivered_to_stand_for_the_envelope():
    message = (
        "Return-Path: <a@else.net>\nDelivered-To: you@example.org\nFrom: a@else.net\n\nhttps://x.net/?you@example.org"
    )
    assert "LINK_NAMES_RECIPIENT" in [match.rule.name for match in tried(ruleset(), message)]


def test_every_rule_that_ships_matches_what_it_must_and_leaves_what_it_must_not():
    assert list(failures(ruleset())) == []


def test_rules_that_ship_weigh_little_and_say_what_they_mean():
    tag = Settings().tag
    assert [rule.name for rule in ruleset().rules if not 0 <= rule.score < tag] == []
    assert [cap for cap in ruleset().groups.values() if cap >= tag] == []
    assert [rule.name for rule in ruleset().rules if not rule.about.endswith((".", "。"))] == []
    assert [rule.name for rule in ruleset().rules if rule.name.startswith("LAW_") and rule.kind is not Kind.FORM] == []


def test_the_law_is_named_where_it_is_the_reason():
    assert [rule.name for rule in ruleset().rules if rule.name.startswith("LAW_NO_") and not rule.source] == []


def test_they_are_far_from_the_largest_automaton():
    assert ruleset().prepare() < LARGEST / 4


def test_the_example_in_the_documentation_is_a_rule_that_works(tmp_path):
    (example,) = re.findall(
        r"^```\n(\[OUR_.*?)^```", (ROOT / "docs" / "rules.md").read_text(), re.MULTILINE | re.DOTALL
    )
    file = tmp_path / "ours.toml"
    file.write_text(example)
    rules = Ruleset([str(file)])
    assert list(failures(rules)) == []
    assert "OUR_TENDERS" in [rule.name for rule in rules.rules]
