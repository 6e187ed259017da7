"""Verdicts and headers as actions of access(5)."""

import pytest

from gatekeeper.message.edit import Edit, Insert, Remove
from gatekeeper.model import Action, Reply, Thresholds, Verdict
from gatekeeper.servers import policy_answers

THRESHOLDS = Thresholds(5000, 10000)


@pytest.mark.parametrize(
    ("action", "decided_by", "reply", "answer"),
    [
        (Action.REJECT, None, Reply.of(550, "5.7.1 no"), "550 5.7.1 no"),
        (Action.REJECT, "LISTED", Reply.of(554, "5.7.1 no"), "554 5.7.1 no"),
        (Action.GREYLIST, "GREYLISTED", Reply.of(451, "4.7.1 later"), "DEFER_IF_PERMIT 4.7.1 later"),
        (Action.DEFER, None, Reply.of(451, "4.7.1 later"), "DEFER_IF_PERMIT 4.7.1 later"),
        (Action.DEFER, "STACKING_BLIND", Reply.of(451, "4.7.1 later"), "451 4.7.1 later"),
        (Action.DEFER, "OTHER_POLICY", Reply.of(452, "4.5.3 alone"), "452 4.5.3 alone"),
        (Action.DROP, "STACKING_BLOCKED", Reply.of(421, "4.7.0 bye"), "421 4.7.0 bye"),
    ],
)
def test_a_refusal_has_its_code_and_postfix_may_still_refuse_for_good_what_is_merely_put_off(
    action, decided_by, reply, answer
):
    verdict = Verdict(action, 0, THRESHOLDS, decided_by=decided_by)
    assert policy_answers.refusal(verdict, reply) == answer


def test_the_header_is_one_line():
    edits: list[Edit] = [
        Remove("X-Spam-Status", 1),
        Insert(0, "X-Spam-Score", "1"),
        Insert(0, "X-Spam-Status", "Yes, score=6 required=5\r\n tests=A,\r\n\tB"),
    ]
    assert policy_answers.header(edits) == "PREPEND X-Spam-Status: Yes, score=6 required=5 tests=A, B"


def test_without_such_a_field_nothing_is_added():
    assert policy_answers.header([Insert(0, "X-Spam-Score", "1")]) == "DUNNO"


def test_a_long_header_ends_after_a_whole_name():
    rules = ",".join(f"RULE_{n}" for n in range(500))
    answer = policy_answers.header([Insert(0, "X-Spam-Status", f"No, score=0 required=5 tests={rules}")])
    assert len(answer) < 940
    assert answer.rpartition(",")[2] in rules.split(",")
