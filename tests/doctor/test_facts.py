"""What is known before anything is judged."""

from gatekeeper.doctor.facts import Facts, Mode
from gatekeeper.doctor.report import examine
from tests.support.doctor import facts


def test_facts_that_nobody_gathered_are_unknown_and_break_no_promise():
    known = facts("")
    assert isinstance(known, Facts)
    assert (known.postfix, known.next_hop, known.certificate) == (None, None, None)
    assert examine(known).sound


def test_every_mode_is_called_what_the_documentation_calls_it():
    assert [mode.value for mode in Mode] == ["front", "behind", "milter", "policy service", "all modes"]
