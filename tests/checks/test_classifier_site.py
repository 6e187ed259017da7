"""What users taught outweighs the shipped model in mail alike, says why, and says nothing of other mail."""

import pytest

from gatekeeper.checks.base import Tools
from gatekeeper.checks.classifier import Classifier, ClassifierEvidence
from gatekeeper.classifier.learning import Lessons, Settings, Source, Teacher, material
from gatekeeper.model import Address, Envelope, Finding, Mail, Message, Recipient, Session
from tests.support.fake_resolver import FakeResolver
from tests.support.fake_store import FakeStore
from tests.support.lessons import OFFER, PLAIN, message
from tests.support.records import NOW


async def taught(store: FakeStore, words: str, *, spam: bool, times: int = 20, domain: str | None = None) -> None:
    lessons = Lessons(store, Settings(), lambda: NOW)
    for number in range(times):
        what = material(message(words, number))
        await lessons.learn(what, spam=spam, teacher=Teacher("ann", Source.COMMAND, domain))


async def found(check: Classifier, store: FakeStore, what: Message, domain: str = "example.org") -> Finding:
    tools = Tools(FakeResolver({}), store, lambda: NOW, "mx.example.org", frozenset())
    envelope = Envelope("e", recipients=[Recipient(Address("u", domain))])
    one, *others = await check.inspect(Mail(Session("s", "smtp", 0.0), envelope, what), tools)
    assert isinstance(one, Finding)
    clear = one.evidence.site is not None and one.evidence.site >= 3.5
    assert [other.rule for other in others if isinstance(other, Finding)] == ["CLASSIFIER_TAUGHT"] * clear
    return one


def score(finding: Finding) -> float:
    """Its own, and that of CLASSIFIER_TAUGHT where it comes along."""
    scores = {rule.name: rule.score for rule in Classifier().rules()}
    assert isinstance(finding.evidence, ClassifierEvidence)
    return scores[finding.rule] + scores["CLASSIFIER_TAUGHT"] * ((finding.evidence.site or 0.0) >= 3.5)


async def test_twenty_lessons_mark_the_next_alike_and_nothing_else():
    store, check = FakeStore(), Classifier()
    before = score(await found(Classifier(), store, message(OFFER, 99)))
    await taught(store, OFFER, spam=True)
    spam = await found(check, store, message(OFFER, 99))
    assert before < 5.0 <= score(spam) < 7.0  # marked, and by itself far from refused
    assert spam.text.endswith("likely spam, by what was taught here")
    assert score(await found(check, store, message(PLAIN, 99))) < 2  # it has the salutation, and its form


async def test_wanted_mail_that_was_held_for_spam_is_wanted_from_then_on():
    store = FakeStore()
    await taught(store, OFFER, spam=False)
    assert (await found(Classifier(), store, message(OFFER, 99))).rule == "CLASSIFIER_HAM"


async def test_the_reason_is_named_and_adds_up():
    store, check = FakeStore(), Classifier()
    await taught(store, OFFER, spam=True)
    await taught(store, PLAIN, spam=False)
    evidence = (await found(check, store, message(OFFER, 99))).evidence
    assert isinstance(evidence, ClassifierEvidence)
    said = sum(one.moved for one in evidence.site_traits) + evidence.site_rest
    assert evidence.site == pytest.approx(said * evidence.site_trust, abs=0.02)
    assert evidence.log_odds == pytest.approx((evidence.site or 0) + (evidence.shipped or 0), abs=0.01)
    assert any(one.name.removeprefix("word:") in OFFER.split() for one in evidence.site_traits)


async def test_what_is_taught_for_a_domain_counts_there():
    store, check = FakeStore(), Classifier()
    await taught(store, OFFER, spam=True, domain="example.org")
    assert score(await found(check, store, message(OFFER, 99))) >= 5.0
    assert (await found(check, store, message(OFFER, 99), "example.net")).evidence.site is None


async def test_a_store_that_is_away_leaves_the_shipped_model():
    store = FakeStore()
    shipped = await found(Classifier(), store, message(OFFER, 1))
    store.away = True
    assert await found(Classifier(), store, message(OFFER, 1)) == shipped
