"""What whoever asks about a message is answered."""

import json

from gatekeeper.message.edit import Insert, Remove
from gatekeeper.model import Action, Missing, Reply, Thresholds, Verdict
from gatekeeper.records.answer import CheckResult, answer, answered
from gatekeeper.records.document import RecordedFinding, RecordedRecipient
from gatekeeper.records.explain import explain
from tests.records.test_explain import ABOUT, THRESHOLDS, decision
from tests.records.test_writer import record

RECORD = record(
    id="2Q077T35R98FR1",
    action="reject",
    decision=decision(("LISTED", 7500), ("SPF_FAIL", 3001), missing=("dkim",), not_run=("dmarc",)),
    findings=(RecordedFinding("LISTED", "in zen.example", {"type": "Listed", "zone": "zen.example"}),),
    recipients=(RecordedRecipient("bob@example.org", findings=(RecordedFinding("SPF_FAIL", "fail"),)),),
    missing=(Missing("dkim", ("DKIM_PASS",), "late"),),
)


def test_what_is_promised_stands_there():
    assert answer(explain(RECORD, ABOUT)) == {
        "id": "2Q077T35R98FR1",
        "action": "reject",
        "score": 10.501,
        "findings": [
            {
                "rule": "LISTED",
                "score": 7.5,
                "evidence": {"type": "Listed", "zone": "zen.example"},
                "text": "in zen.example",
            },
            {"rule": "SPF_FAIL", "score": 3.001, "evidence": None, "text": "fail"},
        ],
        "missing": ["dkim"],
        "not_run": ["dmarc"],
    }


def test_who_asks_learns_what_to_say_and_what_to_change():
    verdict = Verdict(Action.REJECT, 10_501, Thresholds(5000, 10_000), incomplete=True)
    edits = (Remove("X-Spam-Flag", 1), Insert(0, "X-Spam-Score", "10.501"))
    told = answered(CheckResult(verdict, RECORD, Reply.of(550, "5.7.1 no"), edits), ABOUT)
    assert told.items() >= answer(explain(RECORD, ABOUT)).items()
    assert (told["reply"], told["tag"], told["reject"], told["incomplete"]) == ("550 5.7.1 no", 5.0, 10.0, True)
    assert told["edits"] == [
        {"edit": "remove", "name": "X-Spam-Flag", "occurrence": 1},
        {"edit": "insert", "index": 0, "name": "X-Spam-Score", "value": "10.501"},
    ]
    json.dumps(told)


def test_a_message_that_passes_has_no_reply():
    verdict = Verdict(Action.ACCEPT, 0, THRESHOLDS)
    assert answered(CheckResult(verdict, RECORD, None), ABOUT)["reply"] is None
