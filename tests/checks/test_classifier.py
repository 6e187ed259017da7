import math

from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.checks.base import Tools
from gatekeeper.checks.classifier import BANDS, Classifier, ClassifierEvidence
from gatekeeper.message.reading import read_message
from gatekeeper.model import Envelope, Finding, Mail, Session, millis
from gatekeeper.policy import Policy, Settings
from gatekeeper.store.memory import MemoryStore
from tests.support.fake_resolver import FakeResolver
from tests.support.mail import message_of

FRAUD = """From: "Mrs. Grace" <grace1972@example.com>
Reply-To: grace.fund@gmail.com
Subject: URGENT BUSINESS PROPOSAL
To: undisclosed-recipients:;

Dear friend,
I am a barrister and attorney to a late client who left the sum of US$12,500,000.00 dollars with a bank here. I seek
your consent to transfer this fund into your account as the next of kin. This transaction is risk free and
confidential. Reply with your full name, address and telephone number. God bless you.
"""
ANSWER = """From: Anna <anna@example.com>
To: list@example.org
Subject: Re: patch for the parser
In-Reply-To: <1@example.org>
References: <1@example.org>
User-Agent: Mutt/1.5
Message-ID: <2@example.com>
Date: Mon, 1 Jan 2024 10:00:00 +0000

On Monday, Bert wrote:
> I think the test fails because the file is empty.

Yes, that is a bug in the function that reads the buffer. I will send a patch when I have run the tests again.
"""


def tools() -> Tools:
    return Tools(FakeResolver({}), MemoryStore(), lambda: 0.0, "mx.example.org", frozenset())


async def inspect(text: str | None, check: Classifier | None = None) -> list[Finding]:
    mail = Mail(Session("s", "smtp", 0.0), Envelope("e"))
    mail.message = None if text is None else message_of(text)
    return [each for each in await (check or Classifier()).inspect(mail, tools()) if isinstance(each, Finding)]


def evidence(found: list[Finding]) -> ClassifierEvidence:
    assert isinstance(found[0].evidence, ClassifierEvidence)
    return found[0].evidence


async def test_a_fraud_is_held_for_spam_and_says_by_what():
    found = await inspect(FRAUD)
    assert found[0].rule.startswith("CLASSIFIER_SPAM_")
    told = evidence(found)
    assert told.probability > 0.9
    assert all(trait.name for trait in told.traits)
    assert told.traits
    whole = sum(trait.moved for trait in told.traits) + told.rest
    assert math.isclose(whole * told.trust, told.shipped or 0.0, abs_tol=0.05)
    assert told.log_odds == told.shipped


async def test_an_answer_on_a_list_is_not():
    found = await inspect(ANSWER)
    assert [each.rule for each in found] == ["CLASSIFIER_HAM"]
    assert evidence(found).traits  # why it is not held for spam is worth telling too


async def test_mail_unlike_what_was_learned_is_not_judged():
    words = " ".join(f"{a}q{b}x{c}" for a in "abcdef" for b in "ghijkl" for c in "mnopqr")
    assert [each.rule for each in await inspect(f"From: a@example.com\nSubject: zzq\n\n{words}\n")] == [
        "CLASSIFIER_UNKNOWN"
    ]


async def test_before_the_message_is_there_it_finds_nothing():
    assert await inspect(None) == []


async def test_no_traits_are_named_where_the_operator_wants_none():
    assert evidence(await inspect(FRAUD, Classifier(traits=0))).traits == ()


def test_the_classifier_alone_marks_what_it_is_sure_of_and_refuses_nothing():
    rules = {rule.name: rule for rule in Classifier().rules()}
    scores = [rule.score for name, rule in rules.items() if name.startswith("CLASSIFIER_SPAM_")]
    assert len(scores) == len(BANDS)
    assert scores == sorted(scores)
    policy = Policy(Settings(), rules.values())
    assert (
        millis(policy.score("CLASSIFIER_SPAM_98"))
        < millis(Settings().tag)
        <= millis(policy.score("CLASSIFIER_SPAM_99"))
    )
    assert max(scores) < Settings().reject


@given(st.binary(max_size=300))
async def test_any_octets_get_one_finding(octets):
    mail = Mail(Session("s", "smtp", 0.0), Envelope("e"), read_message(octets))
    names = {rule.name for rule in Classifier().rules()}
    assert [
        found.rule in names for found in await Classifier().inspect(mail, tools()) if isinstance(found, Finding)
    ] == [True]
