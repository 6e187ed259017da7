"""What users taught is found in mail alike, says why, and says nothing of other mail."""

import pytest

from gatekeeper.checks.base import Tools
from gatekeeper.checks.taught import Taught, TaughtResult
from gatekeeper.classifier.knowledge import opinion_of
from gatekeeper.classifier.learning import Lessons, Settings, Source, Teacher, material
from gatekeeper.model import Address, Envelope, Finding, Mail, Message, Recipient, Session
from gatekeeper.store.base import StoreAway
from tests.support.fake_resolver import FakeResolver
from tests.support.fake_store import FakeStore
from tests.support.lessons import OFFER, PLAIN, message
from tests.support.records import NOW


async def taught(store: FakeStore, words: str, *, spam: bool, times: int = 20, domain: str | None = None) -> None:
    lessons = Lessons(store, Settings(), lambda: NOW)
    for number in range(times):
        what = material(message(words, number))
        await lessons.learn(what, spam=spam, teacher=Teacher("ann", Source.COMMAND, domain))


async def found(check: Taught, store: FakeStore, what: Message | None, domain: str = "example.org") -> list[Finding]:
    tools = Tools(FakeResolver({}), store, lambda: NOW, "mx.example.org", frozenset())
    envelope = Envelope("e", recipients=[Recipient(Address("u", domain))])
    return list(await check.inspect(Mail(Session("s", "smtp", 0.0), envelope, what), tools))


async def test_twenty_lessons_are_found_in_the_next_alike_and_in_nothing_else():
    store, check = FakeStore(), Taught()
    await taught(store, OFFER, spam=True)
    next_one = message(OFFER, 99)
    (spam,) = await found(check, store, next_one)
    assert spam.rule == "TAUGHT_SPAM"
    assert "likely spam, by what was taught here: " in spam.text
    assert opinion_of(next_one) is not None
    assert await found(check, store, message(PLAIN, 99)) == []


async def test_the_reason_is_named_and_adds_up():
    store, check = FakeStore(), Taught()
    await taught(store, OFFER, spam=True)
    await taught(store, PLAIN, spam=False)
    (ham,) = await found(check, store, message(PLAIN, 99))
    assert ham.rule == "TAUGHT_HAM"
    (spam,) = await found(check, store, message(OFFER, 99))
    evidence = spam.evidence
    assert isinstance(evidence, TaughtResult)
    assert len(evidence.traits) == check.traits
    assert sum(one.by for one in evidence.traits) + evidence.rest == pytest.approx(evidence.log_odds, abs=0.01)
    assert any(one.name.removeprefix("word:") in OFFER.split() for one in evidence.traits)


async def test_little_is_said_of_what_is_half_alike():
    store, check = FakeStore(), Taught()
    await taught(store, OFFER, spam=True)
    await taught(store, PLAIN, spam=False)
    half = message(" ".join([*OFFER.split()[:7], *PLAIN.split()[:7]]), 1)
    assert {one.rule for one in await found(check, store, half)} <= {"TAUGHT_RATHER_SPAM", "TAUGHT_RATHER_HAM"}


async def test_what_is_taught_for_a_domain_counts_there():
    store, check = FakeStore(), Taught()
    await taught(store, OFFER, spam=True, domain="example.org")
    assert [one.rule for one in await found(check, store, message(OFFER, 99))] == ["TAUGHT_SPAM"]
    assert await found(check, store, message(OFFER, 99), "example.net") == []


async def test_where_nothing_was_taught_nothing_is_read_or_possible():
    store, check = FakeStore(), Taught()
    what = message(OFFER, 1)
    assert await found(check, store, what) == await found(check, store, None) == []
    assert "traits" not in what.memo
    assert check.possible() == ()
    await taught(store, OFFER, spam=True)
    other = Taught()
    await found(other, store, message(OFFER, 1))
    assert set(other.possible()) == {rule.name for rule in other.rules()}


async def test_a_store_that_is_away_is_no_evidence():
    store = FakeStore()
    store.away = True
    with pytest.raises(StoreAway):  # the gate makes it missing; where memory stands in, nothing is found
        await found(Taught(), store, message(OFFER, 1))


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError):
        Taught(traits=13)
