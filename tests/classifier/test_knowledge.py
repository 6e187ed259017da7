"""What is asked of the store while mail is judged, and whose opinion a message gets."""

import pytest

from gatekeeper.classifier.knowledge import LOOK_EVERY, MOST_DOMAINS, Knowledge
from gatekeeper.classifier.learning import Lessons, Material, Settings, Source, Teacher
from gatekeeper.classifier.site import chosen
from gatekeeper.classifier.traits import Traits
from gatekeeper.store.base import StoreAway
from tests.support.fake_store import FakeStore
from tests.support.lessons import traits
from tests.support.records import NOW

SPAM, HAM = traits(range(100, 150)), traits(range(50))


async def teach(store: FakeStore, domain: str | None = None, *, spam: bool = True, times: int = 20) -> None:
    made = Lessons(store, Settings(), lambda: NOW)
    for n in range(times):
        what = Material(f"{spam}{n}", chosen(SPAM if spam else HAM))
        await made.learn(what, spam=spam, teacher=Teacher("a", Source.COMMAND, domain))
    store.asked.clear()


async def said(knowledge: Knowledge, traits: Traits, domains: list[str], store: FakeStore) -> float:
    found = await knowledge.opinion(traits, domains, store, now=NOW)
    assert found is not None
    return found.log_odds


async def test_where_nothing_was_learned_the_store_is_asked_once_a_second():
    store, knowledge = FakeStore(), Knowledge()
    for n in range(10):
        assert await knowledge.opinion(SPAM, ["example.org"], store, now=NOW + n / 100) is None
    assert store.asked == ["notes", "learned"]
    await teach(store)
    assert await knowledge.opinion(SPAM, ["example.org"], store, now=NOW + 0.5) is None
    found = await knowledge.opinion(SPAM, ["example.org"], store, now=NOW + LOOK_EVERY)
    assert found is not None
    assert found.log_odds > 4


async def test_what_was_learned_costs_one_question():
    store, knowledge = FakeStore(), Knowledge()
    await teach(store)
    await knowledge.opinion(SPAM, [], store, now=NOW)
    store.asked.clear()
    await knowledge.opinion(HAM, [], store, now=NOW + 0.1)
    assert store.asked == ["learned"]
    await knowledge.opinion(SPAM, [], store, now=NOW + 0.2)  # all of it is known by now
    assert store.asked == ["learned"]


async def test_what_is_learned_meanwhile_counts_within_a_second_beside_what_was_known():
    store, knowledge = FakeStore(), Knowledge()
    await teach(store, spam=False)
    before = await said(knowledge, HAM, [], store)
    await teach(store, spam=True)
    after = await knowledge.opinion(SPAM, [], store, now=NOW + LOOK_EVERY)
    assert after is not None
    assert after.log_odds > 4 > before
    again = await Knowledge().opinion(SPAM, [], store, now=NOW)
    assert again == after


async def test_what_is_known_here_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gatekeeper.classifier.knowledge.MOST_TRAITS_KEPT", 100)
    store, knowledge = FakeStore(), Knowledge()
    await teach(store)
    for first in range(0, 1000, 50):
        await knowledge.opinion(traits(range(first, first + 50)), [], store, now=NOW)
        assert sum(len(one.counts) for one in knowledge._sums.values()) <= 100


async def test_a_domain_has_its_own_opinion_and_that_of_all():
    store, knowledge = FakeStore(), Knowledge()
    await teach(store, "example.org")
    await teach(store, spam=False)
    assert await said(knowledge, SPAM, ["example.org"], store) > 4
    assert await knowledge.opinion(SPAM, ["example.net"], store, now=NOW) is None
    for domains in (["example.org"], ["example.net"], []):
        assert await said(knowledge, HAM, domains, store) < -4


async def test_recipients_of_several_domains_get_the_mildest():
    store, knowledge = FakeStore(), Knowledge()
    await teach(store, "example.org")
    assert await knowledge.opinion(SPAM, ["example.org", "example.net"], store, now=NOW) is None
    many = [f"{n}.example.org" for n in range(MOST_DOMAINS)]
    assert await knowledge.opinion(SPAM, ["example.org", *many], store, now=NOW) is None


async def test_of_very_many_domains_each_is_asked_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gatekeeper.classifier.knowledge.MOST_KINDS", 2)
    store, knowledge = FakeStore(), Knowledge()
    for domain in ("a.example", "b.example", "c.example"):
        await teach(store, domain)
    assert await said(knowledge, SPAM, ["c.example"], store) > 4
    assert await knowledge.opinion(SPAM, ["d.example"], store, now=NOW) is None


async def test_a_store_that_is_away_is_told():
    store = FakeStore()
    store.away = True
    with pytest.raises(StoreAway):
        await Knowledge().opinion(SPAM, [], store, now=NOW)
