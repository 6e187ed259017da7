"""The rules: one decides where names are not told, and none tells a prober what it met."""

from typing import Any

from gatekeeper.checks.stacking import evidence
from gatekeeper.checks.stacking.settings import Settings
from gatekeeper.model import Action, Kind, Rule


def rules(**settings: Any) -> dict[str, Rule]:
    return {rule.name: rule for rule in evidence.rules(Settings(**settings))}


def test_what_a_refusal_says_depends_on_the_rule_alone():
    assert all(rule.kind is Kind.RATE for rule in rules().values())


def test_of_all_that_can_be_found_one_rule_puts_off():
    assert [r.name for r in rules().values() if r.decides is Action.DEFER] == [evidence.BLIND]


def test_a_trap_is_answered_as_a_name_that_is_not_there():
    trap = rules()[evidence.TRAP]
    assert trap.decides is Action.REJECT
    assert trap.enhanced == "1.1"
    assert "trap" not in trap.about.lower()
    assert rules(trap_mail="pass")[evidence.TRAP].decides is None


def test_the_delay_is_the_setting():
    assert rules(slow_delay=0.0)[evidence.BLIND].delay == rules(slow_delay=0.0)[evidence.SLOW].delay == 0
