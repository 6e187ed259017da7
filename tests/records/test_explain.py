"""Why a record says what it says."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.model import Contribution, Finding, Kind, Missing, Reply, Rule, Thresholds
from gatekeeper.policy import Policy, Settings
from gatekeeper.records.document import Decision, RecordedFinding, RecordedRecipient
from gatekeeper.records.explain import ALREADY_COUNTED, NOT_COUNTED, NOT_KEPT, explain, lines, to_json
from gatekeeper.records.record import record_of
from tests.records.test_record import mail, recipient
from tests.records.test_writer import record

THRESHOLDS = Thresholds(5000, 10_000)
ABOUT = {"LISTED": "The client is on a list.", "SPF_FAIL": "The sender's domain disowns the client."}


def decision(*contributions: tuple[str, int], **changes) -> Decision:
    made = Decision(
        "reject",
        sum(millis for _, millis in contributions),
        THRESHOLDS,
        tuple(Contribution(rule, millis) for rule, millis in contributions),
    )
    return replace(made, **changes)


def test_each_finding_has_its_sentence_its_score_and_they_sum_up():
    explanation = explain(
        record(
            decision=decision(("LISTED", 7500), ("SPF_FAIL", 3001), ("KNOWN", -501)),
            findings=(
                RecordedFinding("LISTED", "listed in zen.example"),
                RecordedFinding("SPF_FAIL", "fail"),
                RecordedFinding("KNOWN", ""),
            ),
        ),
        ABOUT,
    )
    assert [(row.rule, row.score, row.about, row.text) for row in explanation.message.rows] == [
        ("LISTED", "7.5", "The client is on a list.", "listed in zen.example"),
        ("SPF_FAIL", "3.001", "The sender's domain disowns the client.", "fail"),
        ("KNOWN", "-0.501", "", ""),
    ]
    assert explanation.message.score == "10"
    assert explanation.message.exact


def test_a_rule_found_twice_counts_once():
    explanation = explain(
        record(
            decision=decision(("LISTED", 2000)),
            findings=(RecordedFinding("LISTED", "first"), RecordedFinding("LISTED", "second")),
        )
    )
    assert [(row.text, row.score, row.remark) for row in explanation.message.rows] == [
        ("first", "2", ""),
        ("second", "", ALREADY_COUNTED),
    ]
    assert explanation.message.exact


def test_what_does_not_count_for_a_recipient_is_shown_without_a_score():
    exempt = decision(thresholds=replace(THRESHOLDS, exempt=frozenset({Kind.LIST})), action="accept")
    explanation = explain(record(decision=exempt, findings=(RecordedFinding("LISTED", "listed"),)))
    assert [(row.score, row.remark) for row in explanation.message.rows] == [("", NOT_COUNTED)]
    assert any("exempt from list rules" in line for line in lines(explanation))


def test_a_score_whose_evidence_was_not_kept_still_stands_in_the_sum():
    explanation = explain(record(decision=decision(("LISTED", 2000))))
    assert [(row.score, row.remark) for row in explanation.message.rows] == [("2", NOT_KEPT)]
    assert explanation.message.exact


def test_evidence_found_for_a_recipient_explains_the_message_too():
    found = RecordedFinding("STACKING", "12 points spent")
    explanation = explain(
        record(
            decision=decision(("STACKING", 500)),
            recipients=(RecordedRecipient("bob@x", Reply.of(250, "ok"), decision=decision(), findings=(found,)),),
        )
    )
    assert explanation.message.rows[0].text == "12 points spent"


def test_recipients_judged_alike_are_not_repeated():
    shared = decision(("LISTED", 2000))
    others = (
        RecordedRecipient("same@x", Reply.of(250, "ok"), decision=shared),
        RecordedRecipient("unjudged@x", Reply.of(250, "ok")),
        RecordedRecipient("other@x", Reply.of(250, "ok"), decision=replace(shared, action="accept")),
        RecordedRecipient("unknown@x", Reply.of(550, "5.1.1 no such user"), by_next_hop=True),
    )
    explanation = explain(record(decision=shared, recipients=others))
    assert [one.recipient for one in explanation.recipients] == ["other@x", "unknown@x"]
    assert explanation.recipients[1].by_next_hop
    assert all(one.exact for one in explanation.sections)


def test_what_was_missing_and_not_run_is_told():
    text = "\n".join(
        lines(
            explain(
                record(
                    decision=decision(missing=("spf", "dnsbl:zen"), not_run=("dkim",), incomplete=True, held="reject"),
                    missing=(Missing("spf", ("SPF_FAIL",), "timed out"),),
                    next_hop=Reply.of(451, "4.3.0 later"),
                    folded=12,
                )
            )
        )
    )
    assert "missing: spf (timed out)" in text
    assert "missing: dnsbl:zen" in text
    assert "not run: dkim" in text
    assert "incomplete" in text
    assert "reject held back" in text
    assert "next hop: 451 4.3.0 later" in text
    assert "stands for 12 identical refusals more" in text


def test_a_rule_that_decides_alone_is_marked():
    explanation = explain(
        record(decision=decision(("ALLOWED", 0), decided_by="ALLOWED"), findings=(RecordedFinding("ALLOWED"),))
    )
    assert explanation.message.rows[0].remark == "decides alone"
    assert any("decided by ALLOWED alone" in line for line in lines(explanation))


def test_a_record_that_was_never_judged_has_nothing_to_sum():
    explanation = explain(record())
    assert explanation.message.rows == ()
    assert explanation.message.exact
    assert lines(explanation)[0] == "A reject: 550 5.7.1 no"


def test_a_record_that_somebody_edited_is_not_exact():
    assert not explain(record(decision=replace(decision(("LISTED", 2000)), millis=1))).message.exact


def test_json_has_the_sums():
    plain = to_json(explain(record(decision=decision(("LISTED", 2500))), ABOUT))
    assert plain["id"] == "A"
    assert plain["explanation"][0]["score"] == 2.5
    assert plain["explanation"][0]["rows"][0]["about"] == ABOUT["LISTED"]


RULES = tuple(Rule(f"RULE{n}", score, "About.") for n, score in enumerate((0.1, 0.2, -0.3, 4.7, 0.001, 3.333, 9.999)))
NAMES = st.lists(st.sampled_from([rule.name for rule in RULES] + ["UNKNOWN"]), max_size=12)


@given(of_message=NAMES, of_recipient=NAMES)
def test_the_sum_is_exactly_the_verdicts_score(of_message, of_recipient):
    policy = Policy(Settings(), RULES)
    bob = recipient("bob")
    sent = mail(bob)
    sent.envelope.notebook.findings = [Finding(name) for name in of_message]
    bob.notebook.findings = [Finding(name) for name in of_recipient]
    judged = policy.decide([*sent.envelope.notebook.findings, *bob.notebook.findings])
    combined = policy.combine({str(bob.address): judged})
    explanation = explain(record_of(sent, combined, reply=Reply.of(250, "ok"), now=0.0))
    for section in explanation.sections:
        assert section.millis == combined.millis
        assert section.exact
    shown = [row.rule for row in explanation.message.rows]
    assert set(shown) >= set(of_message)
    assert NOT_KEPT not in [row.remark for row in explanation.message.rows]


def test_a_classifier_s_traits_stand_below_its_rule_and_sum_up():
    evidence = {
        "type": "ClassifierEvidence",
        "log_odds": 2.6,
        "shipped": 2.6,
        "traits": [{"name": "word:inherit", "moved": 2.5}, {"name": "answers:True True", "moved": -0.25}],
        "rest": 1.0,
    }
    shown = lines(
        explain(
            record(
                decision=decision(("CLASSIFIER_SPAM_93", 3000)),
                findings=(RecordedFinding("CLASSIFIER_SPAM_93", "93.10% likely spam", evidence),),
            )
        )
    )
    rule = next(n for n, line in enumerate(shown) if "CLASSIFIER" in line)
    below = shown[rule + 1 :][:4]
    assert [line.strip() for line in below] == [
        "+2.500  word:inherit",
        "-0.250  answers:True True",
        "+1.000  all other traits",
        "+3.250  = log-odds of spam by the shipped model, counted as +2.600",
    ]


def test_evidence_that_somebody_has_edited_breaks_no_explanation():
    edited: list[dict[str, object]] = [
        {"traits": [1, {"moved": "x"}, {}], "rest": None},
        {"traits": [{"moved": 1.0}], "rest": "x"},
        {"traits": "x"},
        {"traits": []},
    ]
    for broken in edited:
        record_ = record(decision=decision(("X", 1)), findings=(RecordedFinding("X", "", broken),))
        assert lines(explain(record_))


def test_what_a_rule_rests_on_and_the_hosts_that_it_was_met_by_are_shown_below_it():
    evidence = {"type": "RuleEvidence", "places": ["a link"], "facts": [], "source": "RFC 5321 §4.4"}
    evidence |= {"hosts": ["one.example", "two.example"]}
    explanation = explain(
        record(decision=decision(("MADE_UP", 300)), findings=(RecordedFinding("MADE_UP", "in a link", evidence),))
    )
    shown = lines(explanation)
    rule = next(n for n, line in enumerate(shown) if "MADE_UP" in line)
    assert [line.strip() for line in shown[rule + 1 :][:2]] == [
        "source: RFC 5321 §4.4",
        "host: one.example, two.example",
    ]
    [row] = to_json(explanation)["explanation"][0]["rows"]
    assert (row["source"], row["hosts"]) == ("RFC 5321 §4.4", ["one.example", "two.example"])


def test_a_rule_without_a_source_and_a_record_of_old_have_no_such_lines():
    odd: list[dict[str, object] | None] = [
        None,
        {"type": "RuleEvidence", "source": ""},
        {"type": "RuleEvidence", "source": 7, "hosts": "x"},
        {"type": "RuleEvidence", "source": ["x"], "hosts": [1, None]},
        {"type": "OtherEvidence", "source": "a list", "hosts": ["x"]},
    ]
    for evidence in odd:
        record_ = record(decision=decision(("X", 1)), findings=(RecordedFinding("X", "", evidence),))
        assert not any("source:" in line or "host:" in line for line in lines(explain(record_)))
