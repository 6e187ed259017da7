"""What lists were worth, in small numbers; tests/replay has a whole traffic and a count of its own."""

from __future__ import annotations

from gatekeeper.model import Kind, Missing, Reply, Rule
from gatekeeper.policy import Policy, Settings
from gatekeeper.records.document import ClientFacts, Record, RecordedFinding, RecordedRecipient
from gatekeeper.records.usefulness import KnownList, Weighing, Worth, judged_again, to_json

BAD = KnownList("DNSBL_BAD", "bad.test", ("DNSBL_BAD",))
COPY = KnownList("DNSBL_COPY", "copy.test", ("DNSBL_COPY_A", "DNSBL_COPY_B"))
WELCOME = KnownList("DNSBL_WELCOME", "wl.test", ("DNSBL_WELCOME",))
POLICY = Policy(
    Settings(),
    [
        Rule("DNSBL_BAD", 6.0, "", kind=Kind.LIST),
        Rule("DNSBL_COPY_A", 3.0, "", kind=Kind.LIST),
        Rule("DNSBL_COPY_B", 5.0, "", kind=Kind.LIST),
        Rule("DNSBL_WELCOME", -4.0, "", kind=Kind.LIST),
        Rule("OTHER", 4.0, "", kind=Kind.CONTENT),
    ],
)


def record(
    id_: str, *rules: str, recipients: tuple[str, ...] = ("a@example.org",), missing=(), folded=0, **evidence
) -> Record:
    return Record(
        id_,
        1000.0,
        0.1,
        "smtp",
        "s",
        ClientFacts(),
        "accept",
        Reply.of(250, "ok"),
        recipients=tuple(RecordedRecipient(each) for each in recipients),
        findings=tuple(RecordedFinding(rule, "", evidence.get(rule)) for rule in rules),
        missing=tuple(missing),
        folded=folded,
    )


def weigh(*records: Record) -> Worth:
    weighing = Weighing(POLICY, [BAD, COPY, WELCOME])
    for each in records:
        weighing.add(each)
    return weighing.worth()


def of(worth: Worth, name: str):
    return next(one for one in worth.lists if one.name == name)


def test_hits_are_counted_by_mail_and_alone_where_no_other_list_says_so():
    worth = weigh(
        record("1", "DNSBL_BAD"),
        record("2", "DNSBL_BAD", "DNSBL_COPY_A", "DNSBL_COPY_B"),
        record("3", "DNSBL_BAD", "DNSBL_WELCOME"),
        record("4"),
    )
    assert worth.mails == 4
    assert (of(worth, "DNSBL_BAD").hits, of(worth, "DNSBL_BAD").unique) == (3, 2)
    assert (of(worth, "DNSBL_COPY").hits, of(worth, "DNSBL_COPY").unique) == (1, 0)
    assert (of(worth, "DNSBL_WELCOME").hits, of(worth, "DNSBL_WELCOME").unique) == (1, 1)
    assert worth.overlap["DNSBL_BAD", "DNSBL_COPY"] == worth.overlap["DNSBL_COPY", "DNSBL_BAD"] == 1
    assert [one.name for one in worth.lists] == ["DNSBL_BAD", "DNSBL_COPY", "DNSBL_WELCOME"]


def test_what_switching_a_list_off_would_have_changed_is_said():
    worth = weigh(record("1", "DNSBL_BAD"), record("2", "DNSBL_BAD", "OTHER"), record("3", "DNSBL_BAD", "DNSBL_COPY_B"))
    assert of(worth, "DNSBL_BAD").changed == {"tag>accept": 1, "reject>accept": 1, "reject>tag": 1}
    assert of(worth, "DNSBL_BAD").changes == 3
    assert of(worth, "DNSBL_COPY").changed == {"reject>tag": 1}


def test_hits_that_all_else_speaks_against_are_told():
    worth = weigh(
        record("1", "DNSBL_BAD"),  # nothing else was found: the mail was good
        record("2", "DNSBL_BAD", "OTHER"),  # it was doubtful
        record("3", "DNSBL_WELCOME", "DNSBL_BAD"),  # without the welcome it would have been marked
        record("4", "DNSBL_WELCOME"),
    )
    assert (of(worth, "DNSBL_BAD").contrary, of(worth, "DNSBL_WELCOME").contrary) == (2, 1)


def test_a_folded_record_counts_for_all_it_stands_for():
    worth = weigh(record("1", "DNSBL_BAD", folded=9))
    assert (worth.mails, of(worth, "DNSBL_BAD").hits, of(worth, "DNSBL_BAD").changed) == (10, 10, {"tag>accept": 10})


def test_lists_that_did_not_answer_are_counted():
    missing = Missing("dnsbl:COPY", ("DNSBL_COPY_A", "DNSBL_COPY_B"), "timeout")
    worth = weigh(record("1", missing=[missing]), record("2", missing=[Missing("spf", ("SPF_FAIL",), "timeout")]))
    assert [one.unanswered for one in worth.lists] == [0, 1, 0]


def test_missing_evidence_of_a_list_does_not_count_once_it_is_off():
    missing = Missing("dnsbl:WELCOME", ("DNSBL_WELCOME",), "timeout")
    rejected = record("1", "DNSBL_BAD", "OTHER", missing=[missing])
    assert judged_again(rejected, POLICY).action.word == "defer"  # a welcome could have saved it
    assert judged_again(rejected, POLICY, without=WELCOME.rules).action.word == "reject"


def test_recipients_count_by_what_was_found_of_them():
    policy = Policy(Settings(), POLICY.rules.values(), domains=frozenset({"example.org"}))
    both = record("1", "DNSBL_BAD", "DNSBL_COPY_B", recipients=("postmaster@example.org", "b@example.org"))
    assert judged_again(both, policy).action.word == "tag"  # who passes for one passes for all, marked
    assert judged_again(record("2", "DNSBL_BAD", recipients=()), policy).action.word == "tag"


def test_how_long_questions_took_is_told_where_they_were_sent():
    took = [record(str(n), "DNSBL_BAD", DNSBL_BAD={"type": "ListEvidence", "seconds": n / 100}) for n in range(1, 101)]
    cached = record("c", "DNSBL_BAD", DNSBL_BAD={"type": "ListEvidence", "seconds": None})
    one = of(weigh(*took, cached), "DNSBL_BAD")
    assert (one.p50, one.p95) == (0.5, 0.95)
    assert of(weigh(cached), "DNSBL_BAD").p50 is None


def test_a_list_that_is_not_configured_any_more_goes_by_its_zone():
    gone = {"type": "ListEvidence", "zone": "gone.test"}
    worth = weigh(record("1", "DNSBL_GONE_X", "DNSBL_BAD", DNSBL_GONE_X=gone))
    assert (of(worth, "gone.test").hits, of(worth, "gone.test").changes) == (1, 0)


def test_the_whole_is_json():
    shown = to_json(weigh(record("1", "DNSBL_BAD", "DNSBL_COPY_A")))
    assert shown["mails"] == 1
    assert shown["lists"][0]["overlap"] == {"DNSBL_COPY": 1}
    assert set(shown["lists"][0]) == {
        "name", "zone", "hits", "unique", "contrary", "unanswered", "changed", "p50", "p95", "overlap"
    }  # fmt: skip
