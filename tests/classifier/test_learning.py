"""Lessons are learned once, moved, limited, listed and taken back."""

import asyncio

import pytest

from gatekeeper.classifier.learning import (
    ACTS,
    DAY,
    SITE,
    TALLIES,
    Lessons,
    Material,
    Outcome,
    Settings,
    Source,
    Teacher,
    kind_of,
    material,
)
from gatekeeper.store.base import Learned, Lesson, StoreAway
from gatekeeper.store.memory import MemoryStore
from tests.support.fake_store import FakeStore
from tests.support.lessons import OFFER, mail, message
from tests.support.records import NOW

ALICE, BOB = Teacher("alice", Source.MAIL), Teacher("bob", Source.IMAP)
OPERATOR = Teacher("root", Source.COMMAND)
ONE, TWO = Material("one", (1, 2), "<1@sender.example>", "RECORD"), Material("two", (2, 3))


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def lessons(store: MemoryStore | None = None, clock: Clock | None = None, **settings) -> Lessons:
    return Lessons(store or MemoryStore(), Settings(**settings), clock or Clock())


async def everything(made: Lessons):
    return [one async for one in made.taught()]


async def test_a_message_counts_once_whoever_says_so():
    store = MemoryStore()
    made = lessons(store)
    assert await made.learn(ONE, spam=True, teacher=ALICE) is Outcome.LEARNED
    assert await made.learn(ONE, spam=True, teacher=ALICE) is Outcome.KNOWN
    assert await made.learn(ONE, spam=True, teacher=BOB) is Outcome.KNOWN
    assert await store.learned(SITE, [1, 2]) == Learned(0, 1, 0, 2, {1: (0, 1), 2: (0, 1)})
    (one,) = await everything(made)
    assert [(act.by, act.source, act.at, act.spam) for act in one.acts] == [
        ("alice", "mail", NOW, True),
        ("bob", "imap", NOW, True),
    ]
    assert (one.message_id, one.record) == ("<1@sender.example>", "RECORD")


async def test_the_other_class_moves_it_and_taking_that_back_moves_it_back():
    store = MemoryStore()
    made = lessons(store)
    await made.learn(ONE, spam=True, teacher=ALICE)
    assert await made.learn(ONE, spam=False, teacher=BOB) is Outcome.MOVED
    assert await store.learned(SITE, [1]) == Learned(1, 0, 2, 0, {1: (1, 0)})
    (one,) = await everything(made)
    assert await made.undo(one, by="bob")
    assert await store.learned(SITE, [1]) == Learned(0, 1, 0, 2, {1: (0, 1)})
    assert not await made.undo(one, by="bob")
    assert await made.undo(one)
    assert await store.learned(SITE, [1]) == Learned()
    assert not await made.undo(one)


async def test_whoever_changes_their_mind_has_one_act():
    made = lessons()
    for spam in (True, False, True):
        await made.learn(ONE, spam=spam, teacher=ALICE)
    (one,) = await everything(made)
    assert [act.spam for act in one.acts] == [True]
    assert one.spam


async def test_only_what_was_said_since_then_is_taken_back():
    clock = Clock()
    made = lessons(clock=clock)
    await made.learn(ONE, spam=True, teacher=ALICE)
    clock.now += 100
    await made.learn(TWO, spam=True, teacher=ALICE)
    taken = [await made.undo(one, by="alice", since=NOW + 50) for one in await everything(made)]
    assert taken == [False, True]
    assert [one.id for one in await everything(made)] == ["one"]


async def test_of_many_acts_the_newest_are_kept():
    made = lessons()
    for n in range(ACTS + 3):
        await made.learn(ONE, spam=bool(n % 2), teacher=Teacher(f"user{n}", Source.COMMAND))
    (one,) = await everything(made)
    assert [act.by for act in one.acts] == [f"user{n}" for n in range(3, ACTS + 3)]


async def test_a_user_teaches_so_many_a_day_and_the_operator_as_many_as_there_are():
    clock, store = Clock(), MemoryStore()
    made = lessons(store, clock, per_user_day=3)

    async def taught(teacher: Teacher) -> list[Outcome]:
        return [await made.learn(Material(f"{n}", (n,)), spam=True, teacher=teacher) for n in range(5)]

    assert (await taught(ALICE)).count(Outcome.LIMITED) == 2
    assert set(await taught(Teacher("ALICE", Source.IMAP))) == {Outcome.LIMITED}
    assert Outcome.LIMITED not in await taught(OPERATOR)
    clock.now += DAY + 1
    assert await made.learn(Material("9", (9,)), spam=True, teacher=ALICE) is Outcome.LEARNED
    tallies = {one.key: one.amount for one in await store.tallies(TALLIES, now=clock.now)}
    assert tallies["spam mail learned"] == 4
    assert tallies["spam imap limited"] == 5


async def test_of_several_who_say_different_things_at_once_each_is_heard():
    store = MemoryStore()
    made = lessons(store)
    teachers = [Teacher(f"user{n}", Source.MAIL) for n in range(6)]
    await asyncio.gather(*(made.learn(ONE, spam=bool(n % 2), teacher=one) for n, one in enumerate(teachers)))
    (one,) = await everything(made)
    assert len(one.acts) == 6
    total = await store.learned(SITE)
    assert (total.ham, total.spam) == (not one.spam, one.spam)


async def test_what_is_old_is_forgotten_with_what_it_said():
    store, clock = MemoryStore(), Clock()
    made = lessons(store, clock, keep=10 * DAY)
    await made.learn(ONE, spam=True, teacher=ALICE)
    clock.now += 5 * DAY
    await made.learn(TWO, spam=True, teacher=ALICE)
    await store.expire(now=NOW + 11 * DAY, records_before=0)
    assert [one.id for one in await everything(made)] == ["two"]
    assert (await store.learned(SITE, [1, 2])).counts == {2: (0, 1)}


async def test_what_counts_for_a_domain_stands_apart_and_is_listed():
    store = MemoryStore()
    made = lessons(store)
    await made.learn(ONE, spam=True, teacher=Teacher("a@Example.ORG", Source.MAIL, "Example.ORG"))
    await made.learn(TWO, spam=True, teacher=OPERATOR)
    assert [(one.kind, one.id) for one in await everything(made)] == [("site", "two"), ("domain:example.org", "one")]
    assert kind_of("no domain") == kind_of(None) == SITE


async def test_nothing_is_learned_from_nothing():
    assert await lessons().learn(Material("x", ()), spam=True, teacher=ALICE) is Outcome.EMPTY


async def test_a_store_that_is_away_is_told():
    store = FakeStore()
    store.away = True
    with pytest.raises(StoreAway):
        await lessons(store).learn(ONE, spam=True, teacher=ALICE)


async def test_a_lesson_that_others_change_again_and_again_is_given_up(monkeypatch: pytest.MonkeyPatch):
    store = MemoryStore()

    async def never(*_args, **_more) -> bool:
        return False

    monkeypatch.setattr(store, "learn", never)
    with pytest.raises(StoreAway, match="again and again"):
        await lessons(store).learn(ONE, spam=True, teacher=ALICE)


def test_copies_of_a_message_have_one_id():
    one = material(message(OFFER, 1))
    again = material(message(OFFER, 1), record="R")
    assert one.id == again.id
    assert one.message_id.endswith("@sender.example>")
    assert one.id != material(message(OFFER, 2)).id
    unnamed = mail(OFFER, 1).replace(b"Message-ID", b"X-Other")
    assert unnamed != mail(OFFER, 1)


def test_what_is_not_whole_teaches_its_words_alone():
    whole, words = material(message(OFFER, 1)), material(message(OFFER, 1), whole=False)
    assert set(words.traits) < set(whole.traits)


@pytest.mark.parametrize("wrong", [{"per_user_day": 0}, {"keep": 60.0}, {"spam": "x", "ham": "X"}, {"ham": ""}])
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError):
        Settings(**wrong)


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "{}", '{"acts": 5}', '{"acts": [[1]]}', "[" * 20_000])
async def test_a_lesson_of_which_nothing_can_be_read_is_listed_and_may_be_learned_again(text):
    store = MemoryStore()
    made = lessons(store)
    await store.learn(SITE, "one", old=None, new=Lesson(SITE, "one", True, (1, 2), text, NOW + DAY))
    (one,) = await everything(made)
    assert (one.id, one.acts, one.spam) == ("one", (), True)
    assert await made.learn(ONE, spam=False, teacher=BOB) is Outcome.MOVED
    assert await store.learned(SITE, [1]) == Learned(1, 0, 2, 0, {1: (1, 0)})
