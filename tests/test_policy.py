"""The policy is a table: findings in, verdict out."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.model import Action, Address, Contribution, Finding, Group, Kind, Missing, Rule, Verdict
from gatekeeper.policy import For, Policy, Settings, for_peer

RULES = [
    Rule("SMALL", 1.5, "small"),
    Rule("LISTED", 6.0, "on a list", kind=Kind.LIST, enhanced="7.1"),
    Rule("SPF_FAIL", 4.5, "sender not permitted", enhanced="7.23"),
    Rule("WELCOME", -3.0, "a welcome list"),
    Rule("GOOD", -0.1, "signed"),
    Rule("ALLOW", 0.0, "the operator allows it", decides=Action.ACCEPT),
    Rule("DENY", 0.0, "the operator denies it", decides=Action.REJECT),
    Rule("FLOOD", 0.0, "too fast", kind=Kind.RATE, decides=Action.DEFER, delay=5.0),
    Rule("BUSY", 0.0, "busy", decides=Action.DEFER, reply_code=452, enhanced="5.3"),
    Rule("BLOCKED", 0.0, "blocked", kind=Kind.RATE, decides=Action.DROP),
]
POLICY = Policy(Settings(), RULES, domains=frozenset({"example.org"}))
ALICE = Address("alice", "example.org")


def found(*rules: str) -> list[Finding]:
    return [Finding(r, None, f"{r} text") for r in rules]


def lost(*rules: str) -> list[Missing]:
    return [Missing("check", rules, "timeout")]


TABLE = [
    # findings, missing rules, action, score, code, incomplete
    ([], [], Action.ACCEPT, 0.0, None, False),
    (["SMALL"], [], Action.ACCEPT, 1.5, None, False),
    (["SMALL", "SPF_FAIL"], [], Action.TAG, 6.0, None, False),
    (["LISTED", "SPF_FAIL"], [], Action.REJECT, 10.5, 550, False),
    (["LISTED", "LISTED"], [], Action.TAG, 6.0, None, False),  # a rule counts once
    (["LISTED", "SPF_FAIL", "WELCOME"], [], Action.TAG, 7.5, None, False),
    (["UNHEARD_OF"], [], Action.ACCEPT, 0.0, None, False),
    # a reject stands only if it would stand whatever was missing
    (["LISTED", "SPF_FAIL"], ["WELCOME"], Action.DEFER, 10.5, 451, True),
    (["LISTED", "SPF_FAIL"], ["GOOD"], Action.REJECT, 10.5, 550, False),  # 10.4 would still do
    (["LISTED", "SPF_FAIL"], ["SMALL"], Action.REJECT, 10.5, 550, False),
    (["LISTED", "SPF_FAIL"], ["ALLOW"], Action.DEFER, 10.5, 451, True),
    # missing evidence alone makes nothing worse
    (["SMALL"], ["SPF_FAIL"], Action.ACCEPT, 1.5, None, True),
    (["SMALL"], ["GOOD"], Action.ACCEPT, 1.5, None, False),
    (["LISTED"], ["SPF_FAIL"], Action.TAG, 6.0, None, True),
    (["SMALL"], ["DENY"], Action.ACCEPT, 1.5, None, True),
    # rules that decide alone
    (["LISTED", "SPF_FAIL", "ALLOW"], [], Action.ACCEPT, 10.5, None, False),
    (["DENY"], [], Action.REJECT, 0.0, 550, False),
    (["DENY"], ["ALLOW"], Action.DEFER, 0.0, 451, True),
    (["ALLOW", "DENY"], [], Action.ACCEPT, 0.0, None, False),  # the first found
    (["FLOOD"], [], Action.DEFER, 0.0, 451, False),
    (["BUSY"], [], Action.DEFER, 0.0, 452, False),
    (["BLOCKED"], [], Action.DROP, 0.0, 421, False),
]


@pytest.mark.parametrize(("rules", "missing", "action", "score", "code", "incomplete"), TABLE)
def test_findings_give_their_verdict(rules, missing, action, score, code, incomplete):
    verdict = POLICY.decide(found(*rules), missing=lost(*missing) if missing else ())
    assert (verdict.action, verdict.score, verdict.code, verdict.incomplete) == (action, score, code, incomplete)
    assert verdict.millis == sum(c.millis for c in verdict.contributions)
    assert verdict.missing == (("check",) if missing else ())


@pytest.mark.parametrize(("tag", "action"), [(6.0, Action.TAG), (6.001, Action.ACCEPT)])
def test_a_threshold_is_reached_at_its_value(tag, action):
    policy = Policy(Settings(tag=tag), RULES)
    assert policy.decide(found("LISTED")).action == action


def test_tenths_add_up_exactly():
    rules = [Rule(f"R{n}", 0.1, "a tenth") for n in range(100)]
    policy = Policy(Settings(tag=10.0, reject=20.0), rules)
    verdict = policy.decide([Finding(r.name) for r in rules])
    assert verdict.score == 10.0
    assert verdict.action == Action.TAG


def test_a_score_of_the_operator_goes_over_the_default():
    policy = Policy(Settings(scores={"SMALL": 12.0}), RULES)
    assert policy.decide(found("SMALL")).action == Action.REJECT


def test_a_refusal_names_its_main_reason_and_the_standards_code():
    verdict = POLICY.decide(found("LISTED", "SPF_FAIL"))
    assert (verdict.enhanced, verdict.reason) == ("5.7.1", "LISTED text")
    policy = Policy(Settings(scores={"SPF_FAIL": 11.0}), RULES)
    assert policy.decide(found("LISTED", "SPF_FAIL")).enhanced == "5.7.23"


def test_a_refusal_for_rate_reads_the_same_whatever_was_asked():
    one = POLICY.decide([Finding("FLOOD", None, "alice is unknown")])
    other = POLICY.decide([Finding("FLOOD", None, "bob is known")])
    assert one.reason == other.reason == "too fast"
    assert one.delay == 5.0


def test_text_from_the_network_cannot_break_a_reply():
    verdict = POLICY.decide([Finding("DENY", None, "x\r\n250 ok\x00\x1b[31m " + "y" * 900)])
    assert verdict.reason.isprintable()
    assert verdict.reason.isascii()
    assert len(verdict.reason) <= 200


@pytest.mark.parametrize("local", ["postmaster", "Abuse", "POSTMASTER"])
def test_postmaster_and_abuse_hear_from_listed_and_hasty_clients(local):
    ours = POLICY.thresholds(Address(local, "example.org"))
    assert POLICY.decide(found("LISTED", "SPF_FAIL"), thresholds=ours).score == 4.5
    assert POLICY.decide(found("FLOOD"), thresholds=ours).action == Action.ACCEPT
    elsewhere = POLICY.thresholds(Address(local, "example.net"))
    assert POLICY.decide(found("LISTED", "SPF_FAIL"), thresholds=elsewhere).action == Action.REJECT


def test_where_the_next_hop_alone_knows_our_domains_every_postmaster_hears_from_everybody():
    policy = Policy(Settings(), RULES)
    for address in (Address("postmaster", "example.org"), Address("abuse", "example.net"), Address("postmaster", "")):
        assert policy.decide(found("FLOOD", "LISTED"), thresholds=policy.thresholds(address)).action == Action.ACCEPT
    assert policy.decide(found("FLOOD"), thresholds=policy.thresholds(ALICE)).action == Action.DEFER


@pytest.mark.parametrize(
    ("rules", "later", "may"),
    [
        (["LISTED", "SPF_FAIL"], [], False),
        (["LISTED", "SPF_FAIL"], ["SMALL", "GOOD"], False),  # 10.4 would still do
        (["LISTED", "SPF_FAIL"], ["WELCOME"], True),
        (["LISTED", "SPF_FAIL"], ["ALLOW"], True),
        (["LISTED", "SPF_FAIL"], ["DENY", "FLOOD", "UNHEARD_OF"], False),
        (["DENY"], ["ALLOW", "WELCOME"], False),
    ],
)
def test_a_refusal_may_be_undone_by_what_was_not_asked_yet(rules, later, may):
    assert POLICY.may_pass(POLICY.decide(found(*rules)), later) is may


def test_own_thresholds_go_by_address_before_domain():
    settings = Settings(
        for_=(
            For(recipients=("@example.net",), tag=1.0),
            For(recipients=("sales@example.net",), tag=4.0, reject=50.0),
        )
    )
    policy = Policy(settings, RULES)
    assert policy.thresholds(Address("sales", "example.net")).tag == 4000
    assert policy.thresholds(Address("Sales", "example.net")).reject == 50000
    assert policy.thresholds(Address("other", "example.net")).tag == 1000
    assert policy.thresholds(ALICE).tag == 5000


def test_recipients_that_differ_in_tagging_alone_can_share():
    policy = Policy(
        Settings(for_=(For(recipients=("a@x.example",), tag=1.0), For(("b@x.example",), reject=8.0))), RULES
    )
    general = policy.thresholds(ALICE).reject
    assert policy.thresholds(Address("a", "x.example")).reject == general
    assert policy.thresholds(Address("b", "x.example")).reject != general
    verdict = policy.other_policy()
    assert (verdict.action, verdict.code, verdict.enhanced) == (Action.DEFER, 452, "4.5.3")


def test_one_answer_for_all_is_the_mildest_with_the_strictest_mark():
    accept = POLICY.decide([])
    tag = POLICY.decide(found("LISTED"))
    reject = POLICY.decide(found("DENY"))
    defer = POLICY.decide(found("FLOOD"))
    assert POLICY.combine({"a": accept, "b": tag}).action == Action.TAG
    assert POLICY.combine({"a": accept, "b": reject}).action == Action.TAG
    assert POLICY.combine({"a": reject, "b": defer}).action == Action.DEFER
    assert POLICY.combine({"a": reject, "b": reject}).action == Action.REJECT
    assert POLICY.combine({"a": accept, "b": tag}).recipients["a"].action == Action.ACCEPT


@pytest.mark.parametrize(
    ("rules", "remaining", "missing", "settled"),
    [
        (["LISTED", "SPF_FAIL"], ["SMALL"], [], True),
        (["LISTED", "SPF_FAIL"], ["WELCOME"], [], False),
        ([], ["SMALL"], [], True),
        ([], ["LISTED"], [], False),
        ([], ["SMALL", "DENY"], [], False),
        (["DENY"], ["WELCOME", "LISTED"], [], True),
        (["LISTED", "SPF_FAIL"], ["SMALL"], ["WELCOME"], True),  # a defer either way
        (["SPF_FAIL", "SMALL"], ["LISTED"], ["WELCOME"], False),
    ],
)
def test_work_stops_only_when_nothing_left_can_change_the_action(rules, remaining, missing, settled):
    thresholds = POLICY.thresholds(ALICE)
    assert (
        POLICY.settled(
            found(*rules), thresholds=thresholds, missing=lost(*missing) if missing else (), remaining=remaining
        )
        is not None
    ) is settled


names_ = st.lists(st.sampled_from([r.name for r in RULES]), max_size=8)


@given(names_, names_, names_)
def test_settled_means_that_no_further_finding_changes_the_action(rules, remaining, missing):
    thresholds = POLICY.thresholds(ALICE)
    remaining = [rule for rule in remaining if rule not in missing]  # what was asked in vain is not asked again
    absent = lost(*missing) if missing else ()
    before = POLICY.settled(found(*rules), thresholds=thresholds, missing=absent, remaining=remaining)
    if before is None:
        return
    assert POLICY.decide(found(*rules), missing=absent).action == before
    for extra in (remaining, *[[r] for r in remaining]):
        assert POLICY.decide(found(*rules, *extra), missing=absent).action == before


@given(names_, names_)
def test_what_cannot_refuse_is_never_refused(rules, missing):
    thresholds = POLICY.thresholds(ALICE)
    verdict = POLICY.decide(found(*rules), thresholds=thresholds, missing=lost(*missing) if missing else ())
    assert POLICY.may_refuse(found(*rules), thresholds) or not verdict.action.refuses


def test_where_nothing_is_found_everybody_gets_the_verdict_of_their_own_thresholds():
    policy = Policy(Settings(tag=-1.0, for_=(For(("bob@example.org",), tag=1.0),)), RULES)
    assert policy.decide([], thresholds=policy.thresholds(ALICE)).action is Action.TAG
    assert policy.decide([], thresholds=policy.thresholds(Address("bob", "example.org"))).action is Action.ACCEPT
    assert policy.decide([], thresholds=policy.thresholds(ALICE)).thresholds == policy.thresholds(ALICE)
    assert Policy(Settings(tag=0.0, reject=0.0), RULES).decide([]).code == 550


@given(names_, names_)
def test_a_verdict_that_rests_on_missing_evidence_is_never_permanent(rules, missing):
    verdict = POLICY.decide(found(*rules), missing=lost(*missing) if missing else ())
    if verdict.action == Action.REJECT:
        for late in missing:  # it may have been put off or dropped instead, but never let in
            assert POLICY.decide(found(*rules, late)).action.refuses or late in rules or rules.count("DENY")


@pytest.mark.parametrize(
    "bad",
    [
        lambda: Settings(tag=11.0),
        lambda: Settings(tag=float("nan")),
        lambda: Settings(for_=(For(recipients=("a@b",), tag=20.0),)),
        lambda: Settings(for_=(For(),)),
    ],
)
def test_settings_that_contradict_themselves_are_refused(bad):
    with pytest.raises(ValueError, match=r"tag|recipients"):
        bad()


def test_for_peer_leaves_plain_text_alone():
    assert for_peer("192.0.2.5 is on zen.example") == "192.0.2.5 is on zen.example"
    assert replace(POLICY.decide([]), millis=5).score == 0.005


# --- doubt, and exemptions --------------------------------------------------------------------------------------------

WAIT = Rule("WAIT", 0.0, "not known", kind=Kind.RATE, decides=Action.GREYLIST, tells=True)
EXEMPT = Rule("EXEMPT", 0.0, "exempt", kind=Kind.IDENTITY, exempts=frozenset({Kind.LIST, Kind.RATE}))
OPERATOR = Rule("OPERATOR", 0.0, "denied", kind=Kind.OPERATOR, decides=Action.REJECT)
DNSWL = Rule("DNSWL", -1.0, "a welcome list", kind=Kind.LIST)
DOUBTFUL = Policy(Settings(greylist=3.0), [*RULES, WAIT, EXEMPT, OPERATOR, DNSWL], domains=frozenset({"example.org"}))


@pytest.mark.parametrize(
    ("rules", "doubt", "action"),
    [
        ([], False, Action.ACCEPT),
        (["SMALL"], False, Action.ACCEPT),  # below the band
        (["SPF_FAIL"], True, Action.GREYLIST),
        (["LISTED"], True, Action.GREYLIST),  # what would be tagged too
        (["LISTED", "SPF_FAIL"], False, Action.REJECT),  # above it
        (["SPF_FAIL", "GOOD"], True, Action.GREYLIST),
        (["SPF_FAIL", "DNSWL"], False, Action.ACCEPT),  # a welcome list leaves no doubt
        (["SPF_FAIL", "WELCOME", "LISTED"], True, Action.GREYLIST),  # which that one is not: its kind is another
        (["SPF_FAIL", "ALLOW"], False, Action.ACCEPT),
        (["SPF_FAIL", "FLOOD"], False, Action.DEFER),
        (["SPF_FAIL", "EXEMPT"], False, Action.ACCEPT),
    ],
)
def test_greylisting_is_for_doubt_alone(rules, doubt, action):
    assert DOUBTFUL.in_doubt(found(*rules), thresholds=DOUBTFUL.thresholds(ALICE)) is doubt
    assert DOUBTFUL.decide(found("WAIT", *rules), thresholds=DOUBTFUL.thresholds(ALICE)).action is action


def test_a_greylisting_is_answered_in_its_findings_words():
    verdict = DOUBTFUL.decide(found("SPF_FAIL", "WAIT"))
    assert (verdict.code, verdict.enhanced, verdict.reason) == (451, "4.7.1", "WAIT text")
    assert verdict.decided_by == "WAIT"


def test_nothing_is_greylisted_where_no_band_is_set():
    assert not POLICY.in_doubt(found("SPF_FAIL"), thresholds=POLICY.thresholds(ALICE))
    assert Policy(Settings(), [*RULES, WAIT]).decide(found("SPF_FAIL", "WAIT")).action is Action.ACCEPT


def test_postmaster_is_never_asked_to_wait():
    thresholds = DOUBTFUL.thresholds(Address("postmaster", "example.org"))
    assert not DOUBTFUL.in_doubt(found("SPF_FAIL"), thresholds=thresholds)
    assert DOUBTFUL.decide(found("SPF_FAIL", "WAIT"), thresholds=thresholds).action is Action.ACCEPT


def test_an_exemption_reaches_lists_and_rates_and_not_the_operators_own_word():
    assert DOUBTFUL.decide(found("EXEMPT", "LISTED", "SPF_FAIL", "BLOCKED")).action is Action.ACCEPT
    assert DOUBTFUL.decide(found("BLOCKED", "EXEMPT")).action is Action.ACCEPT  # whichever is found first
    assert DOUBTFUL.decide(found("EXEMPT", "OPERATOR")).action is Action.REJECT
    assert DOUBTFUL.decide(found("EXEMPT")).thresholds.exempt == frozenset({Kind.LIST, Kind.RATE})


def test_missing_evidence_of_what_is_exempt_is_not_waited_for():
    verdict = DOUBTFUL.decide(found("EXEMPT", "SPF_FAIL"), missing=lost("LISTED"))
    assert not verdict.incomplete


def test_a_refusal_for_good_is_settled_though_greylisting_is_left():
    strict = DOUBTFUL.thresholds(ALICE)
    assert (
        DOUBTFUL.settled(found("LISTED", "SPF_FAIL"), thresholds=strict, missing=[], remaining=["WAIT"])
        is Action.REJECT
    )
    assert DOUBTFUL.settled(found("SPF_FAIL"), thresholds=strict, missing=[], remaining=["WAIT"]) is None


@pytest.mark.parametrize("wrong", [0.0, -1.0, 10.5, float("nan"), float("inf")])
def test_a_band_that_is_none_is_refused(wrong):
    with pytest.raises(ValueError, match="leave it out to greylist nothing"):
        Settings(greylist=wrong)


def test_a_recipients_own_reject_is_the_end_of_its_band():
    own = Policy(Settings(greylist=3.0, for_=(For(("alice@example.org",), reject=6.0),)), [*RULES, WAIT])
    assert own.in_doubt(found("SPF_FAIL"), thresholds=own.thresholds(ALICE))
    assert not own.in_doubt(found("LISTED"), thresholds=own.thresholds(ALICE))
    with pytest.raises(ValueError, match="lowest reject"):
        Settings(greylist=7.0, for_=(For(("alice@example.org",), reject=6.0),))


# --- groups ----------------------------------------------------------------------------------------------------------

COPIES = Group("DNSBL_GROUP_COPIES", 5.0)
GROUPED = [
    Rule("A", 4.0, "a", group=COPIES),
    Rule("B", 3.0, "b", group=COPIES),
    Rule("C", 4.0, "c"),
    Rule("W", -4.0, "w", group=COPIES),
    Rule("V", -3.0, "v", group=COPIES),
]


def grouped(*found: str, missing: Iterable[str] = (), **settings: float) -> Verdict:
    return Policy(Settings(tag=settings.get("tag", 5.0), reject=settings.get("reject", 10.0)), GROUPED).decide(
        [Finding(name) for name in found], missing=[Missing("m", tuple(missing), "timeout")] if missing else ()
    )


@pytest.mark.parametrize(
    ("found", "score"),
    [
        ("A", 4.0),
        ("AB", 5.0),
        ("BA", 5.0),
        ("ABC", 9.0),
        ("W", -4.0),
        ("WV", -5.0),
        ("ABW", 1.0),  # those for and those against are kept to the cap each by themselves
        ("ABWVC", 4.0),
    ],
)
def test_rules_of_a_group_count_no_more_than_its_cap(found, score):
    verdict = grouped(*found)
    assert verdict.score == score
    assert sum(c.millis for c in verdict.contributions) == verdict.millis


def test_a_score_that_the_operator_gave_counts_whole():
    own = Policy(Settings(tag=5.0, reject=50.0, scores={"A": 9.0}), GROUPED)
    assert own.decide([Finding("A")]).score == 9.0
    assert own.decide([Finding("A"), Finding("B")]).score == 9.0  # the others of the group add nothing to it


def test_what_a_group_takes_back_is_a_line_of_the_sum():
    assert grouped("A", "B").contributions == (
        Contribution("A", 4000),
        Contribution("B", 3000),
        Contribution("DNSBL_GROUP_COPIES", -2000),
    )
    assert [c.rule for c in grouped("A").contributions] == ["A"]


def test_a_rule_of_a_full_group_that_is_missing_changes_nothing():
    full = Policy(Settings(tag=5.0, reject=6.0), [*GROUPED, Rule("D", 9.0, "d", group=COPIES)])
    verdict = full.decide([Finding("A"), Finding("B")], missing=[Missing("m", ("D",), "timeout")])
    assert (verdict.action, verdict.incomplete) == (Action.TAG, False)


def test_a_reject_stands_only_against_a_missing_excuse_as_far_as_its_group_lets_it_count():
    stands = grouped("A", "B", "C", missing="WV", tag=1.0, reject=4.0)
    assert (stands.action, stands.millis) == (Action.REJECT, 9000)  # at worst 9 - 5
    falls = grouped("A", "B", "C", missing="WV", tag=1.0, reject=4.001)
    assert (falls.action, falls.incomplete) == (Action.DEFER, True)


def test_what_is_settled_knows_of_caps():
    policy = Policy(Settings(tag=2.0, reject=5.0), GROUPED)
    thresholds = policy.thresholds(None)
    found = [Finding("A"), Finding("B")]
    assert policy.settled(found, thresholds=thresholds, missing=(), remaining=["C"]) is Action.REJECT
    assert policy.settled(found, thresholds=thresholds, missing=(), remaining=["W"]) is None
    assert policy.may_pass(policy.decide(found), ["W"])
    assert not policy.may_pass(policy.decide(found), ["C"])


@given(st.lists(st.sampled_from("ABCWV"), unique=True), st.lists(st.sampled_from("ABCWV"), unique=True))
def test_whatever_is_found_the_sum_is_that_of_its_lines_and_in_no_order(found, missing):
    verdict = grouped(*found, missing=missing)
    assert verdict.millis == sum(c.millis for c in verdict.contributions)
    assert verdict.millis == grouped(*reversed(found), missing=missing).millis


WELCOME = Group("LIST_GROUP_WELCOME", 1.0)
WELCOMED = [
    *(Rule(f"WELCOME{n}", -3.0, f"welcome {n}", kind=Kind.LIST, group=WELCOME) for n in range(3)),
    *(Rule(f"BAD{n}", 2.9, f"bad {n}") for n in range(5)),
]


def test_a_refusal_names_a_rule_though_a_group_takes_back_more_than_any_counts():
    policy = Policy(Settings(), WELCOMED)
    verdict = policy.decide([Finding(rule.name) for rule in WELCOMED if rule.name != "WELCOME2"])
    assert max(verdict.contributions, key=lambda line: line.millis) == Contribution(WELCOME.name, 5000)
    assert (verdict.action, verdict.millis, verdict.reason) == (Action.REJECT, 13500, "bad 0")


@given(
    st.lists(st.sampled_from(WELCOMED), unique=True),
    st.lists(st.sampled_from(WELCOMED), unique=True),
    st.floats(-5.0, 15.0).map(lambda score: round(score, 3)),
)
def test_every_refusal_has_a_reason_whatever_groups_take_back(found, missing, reject):
    policy = Policy(Settings(tag=reject, reject=reject), WELCOMED)
    absent = [Missing("m", tuple(rule.name for rule in missing), "timeout")] if missing else []
    verdict = policy.decide([Finding(rule.name) for rule in found], missing=absent)
    assert bool(verdict.reason) == verdict.action.refuses
    assert (
        verdict.incomplete
        or not verdict.reason
        or verdict.reason in {"refused by local policy", *(rule.about for rule in found)}
    )


def test_whom_lists_refuse_for_all_is_counted_with_the_caps_of_their_groups():
    """Rules over their cap must not keep everything else from being asked about mail that is not refused."""
    group = Group("LIST_GROUP_X", 5.0)
    rules = [Rule(name, 4.0, name, kind=Kind.LIST, group=group) for name in ("ONE", "TWO", "THREE")]
    rules += [Rule("ELSE", 6.0, "else", kind=Kind.LIST)]
    policy = Policy(Settings(), rules)
    capped = [Finding(name) for name in ("ONE", "TWO", "THREE")]
    general = policy.thresholds(None)
    assert policy.decide(capped).action is Action.TAG
    assert not policy.refused_anyway(capped, thresholds=general, missing=(), remaining=())
    assert policy.refused_anyway([*capped, Finding("ELSE")], thresholds=general, missing=(), remaining=())


def test_a_refusal_does_not_stand_where_a_missing_rule_could_exempt_from_it():
    exempting = Rule("EXEMPTING", 0.0, "exempt", exempts=frozenset({Kind.LIST}))
    listed = Rule("LISTED", 12.0, "listed", kind=Kind.LIST)
    spam = Rule("SPAM", 12.0, "spam", kind=Kind.CONTENT)
    rate = Rule("RATE", 0.0, "rate", kind=Kind.LIST, decides=Action.REJECT)
    policy = Policy(Settings(), [exempting, listed, spam, rate])
    missing = [Missing("lists", ("EXEMPTING",), "late")]
    for name, action in (("LISTED", Action.DEFER), ("RATE", Action.DEFER), ("SPAM", Action.REJECT)):
        verdict = policy.decide([Finding(name)], missing=missing)
        assert (verdict.action, verdict.incomplete) == (action, action is Action.DEFER)
        assert policy.decide([Finding(name)]).action is Action.REJECT
    assert policy.may_pass(policy.decide([Finding("LISTED")]), ["EXEMPTING"])
    assert not policy.may_pass(policy.decide([Finding("SPAM")]), ["EXEMPTING"])
