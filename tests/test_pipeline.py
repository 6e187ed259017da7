"""The table, and what its checks can find together: how much a rule may weigh by default depends on its kind."""

from ipaddress import ip_address

import pytest

from gatekeeper.checks.base import Tools
from gatekeeper.checks.headers import Headers
from gatekeeper.checks.helo import Helo
from gatekeeper.checks.manners import Manners
from gatekeeper.checks.mime import Mime
from gatekeeper.checks.operator_lists import OperatorLists
from gatekeeper.checks.reverse_dns import ReverseDns
from gatekeeper.checks.rules import Rules
from gatekeeper.model import Address, Envelope, Finding, Kind, Mail, Rule, Session, Stage
from gatekeeper.pipeline import CHECKS, TABLE
from gatekeeper.policy import Policy, Settings
from gatekeeper.store.memory import MemoryStore
from tests.support.fake_resolver import FakeResolver
from tests.support.mail import message_of

NOW = 1_800_000_000.0
OF_FORM = (Helo, ReverseDns, Headers, Manners, Mime)
"""Checks of how a client or a message is made. Wanted mail of sloppy senders breaks any of these rules."""
ONE_OF = (
    {rule.name for rule in Helo().rules()},
    {rule.name for rule in ReverseDns().rules()},
    {"DATE_MISSING", "DATE_INVALID", "DATE_PAST", "DATE_FUTURE"},
    {"MIME_AMBIGUOUS", "MIME_SLOPPY"},
    {"LAW_OPT_OUT", "LAW_NO_OPT_OUT"},
    {"LAW_POSTAL_ADDRESS", "LAW_NO_ADDRESS"},
)
"""Of each of these at most one is found."""
EITHER = {"FROM_MISSING"}, {"FROM_SEVERAL", "FROM_AMBIGUOUS"}
"""One side or the other."""

WORST = "\r\n".join(
    [
        "From: a@one.example, =?x?q?b@two.example?= <c@three.example",
        "From: d@four.example",
        "Date: Fri, 31 Dec 2100 00:00:00 +0000",
        "Subject: one \xe9",
        "Subject: two",
        "no field at all",
        *[f"X-{n}: x" for n in range(300)],
        "",
        "text",
    ]
)


def of_form() -> list[Rule]:
    """What checks of form find, and those of the rules in files that are about form: trace and commercial law."""
    files = [rule for rule in Rules().rules() if rule.kind is Kind.FORM]
    return [rule for check in OF_FORM for rule in check().rules()] + files


def everything() -> list[Rule]:
    return [rule for check in CHECKS for rule in check().rules()]


def worst(rules: list[Rule]) -> float:
    """The most that these can come to in one mail."""
    groups = {rule.group for rule in rules if rule.group is not None}
    capped = [min(group.cap, _worst([rule for rule in rules if rule.group == group])) for group in groups]
    return sum(capped) + _worst([rule for rule in rules if rule.group is None])


def _worst(rules: list[Rule]) -> float:
    left = {rule.name: rule.score for rule in rules}
    total = 0.0
    for group in ONE_OF:
        total += max([0.0, *(left.pop(name) for name in group if name in left)])
    total += max(sum(left.pop(name) for name in side if name in left) for side in EITHER)
    return total + sum(score for score in left.values() if score > 0)


def test_no_check_stands_in_a_stage_before_its_facts_are_there():
    for stage, waves in TABLE.items():
        for wave in waves:
            for check in wave:
                assert getattr(check, "stage", stage) == stage


def test_each_check_stands_in_a_wave_once():
    for waves in TABLE.values():
        row = [check for wave in waves for check in wave]
        assert len(row) == len(set(row))


def test_no_two_checks_find_a_rule_of_the_same_name():
    names = [rule.name for rule in everything()]
    assert len(names) == len(set(names))


def test_scores_have_at_most_three_decimals():
    assert [rule.name for rule in everything() if round(rule.score, 3) != rule.score] == []


def test_all_rules_of_form_together_stay_below_tag():
    rules = of_form()
    assert {rule.name for rule in everything() if rule.kind is Kind.FORM} <= {rule.name for rule in rules}
    # A sender so sloppy has no SPF and no signature either.
    nothing_published = sum(rule.score for rule in everything() if rule.name in {"SPF_NONE", "DKIM_NONE"})
    assert worst(rules) + nothing_published < Settings().tag


def test_no_rule_of_content_reaches_tag_by_itself():
    known = ["ATTACHMENT_PROGRAM", "CLAMAV_MALWARE"]  # programs and malware have no honest senders
    alone = [rule.name for rule in everything() if rule.kind is Kind.CONTENT and rule.score >= Settings().tag]
    # A probability is the sum of all that a message says: docs/decisions/a-sure-classifier-may-mark.md.
    assert [name for name in alone if not name.startswith("CLASSIFIER_SPAM_99")] == known


def test_only_session_defences_the_operator_and_domains_that_say_so_or_are_none_decide_alone():
    assert {r.name for r in everything() if r.decides is not None} == {
        "LOOKUPS_SPENT",
        "STACKING_BLIND",
        "STACKING_BLOCKED",
        "STACKING_TRAP",
        "DMARC_REJECT",
        "RATE_MESSAGES",
        "RATE_RECIPIENTS",
        "RATE_BYTES",
        "RATE_CONNECTIONS",
        "GREYLIST_WAIT",
        "OPERATOR_DENY",
        "OPERATOR_ALLOW",
        "SPOKE_EARLY",
        "PIPELINED_EARLY",
        "NOT_SMTP",
        "SENDER_NULL_MX",
    }


async def test_the_worst_message_that_anybody_can_make_is_not_even_tagged_for_its_form():
    session = Session("s", "smtp", NOW, address=ip_address("198.51.100.9"), helo="mx.example.org")
    mail = Mail(session, Envelope("e", sender=Address("a", "one.example")))
    mail.message = message_of(WORST.encode("latin-1"))
    mail.message.framing = ("bare_lf",)
    tools = Tools(FakeResolver({}), MemoryStore(), lambda: NOW, "mx.example.org", frozenset({"example.org"}))
    found: list[Finding] = []
    for check, stage in ((Helo(), Stage.HELO), (ReverseDns(), Stage.HELO), (Headers(), Stage.MESSAGE)):
        mail.stage = stage
        found += [one for one in await check.inspect(mail, tools) if isinstance(one, Finding)]
    rules = [rule for check in OF_FORM for rule in check().rules()]
    verdict = Policy(Settings(), everything()).decide(found)
    assert verdict.score == pytest.approx(worst(rules))  # there is none that is worse
    assert verdict.score < Settings().tag


def test_the_operators_word_comes_before_that_of_any_rule_that_decides_beside_it_or_later():
    """Of several rules that decide alone the first found counts: a line that lets in must not lose to others."""
    for stage in (Stage.MAIL, Stage.MESSAGE):
        checks = [check for wave in TABLE[stage] for check in wave]
        before = checks[: checks.index(OperatorLists)]
        deciding = [rule.name for check in before for rule in check().rules() if rule.decides is not None]
        assert deciding == ["SPF_TEMPERROR"] * deciding.count("SPF_TEMPERROR"), stage
