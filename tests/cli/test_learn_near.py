"""What is learned is found as a near-copy, until it is taken back."""

import time
from pathlib import Path

import pytest

from gatekeeper import fuzzy
from gatekeeper.classifier.learning import Lessons, Outcome, Settings, Source, Taught, Teacher, material
from gatekeeper.cli.learn_near import learn, undo
from gatekeeper.fuzzy import Near
from gatekeeper.message.content import content_of
from gatekeeper.message.shingles import Digest, digest_of
from gatekeeper.store.base import Store
from gatekeeper.store.memory import MemoryStore
from tests.store.conftest import BACKENDS, open_backend
from tests.support.mail import message_of

TEXT = " ".join(f"word{chr(97 + n % 26)}{chr(97 + n * 7 % 26)}" for n in range(120))
ANN, BOB, CARL = (Teacher(name, Source.MAIL) for name in ("ann", "bob", "carl"))


def letter(n: int) -> str:
    return f"From: a@sender.example\nMessage-ID: <{n}@sender.example>\nSubject: x\n\n{TEXT}\n"


class World:
    def __init__(self, store: Store | None = None) -> None:
        self.now = 1_790_000_000.0
        self.store = MemoryStore() if store is None else store
        self.lessons = Lessons(self.store, Settings(), lambda: self.now)

    async def near(self) -> Near | None:
        return await fuzzy.find(self.store, self.digest, time.time())

    async def count(self) -> int:
        near = await self.near()
        return 0 if near is None else near.count

    async def sources(self) -> int:
        near = await self.near()
        return 0 if near is None else near.sources

    @property
    def digest(self) -> Digest:
        found = digest_of(content_of(message_of(letter(1))).seen)
        assert found is not None
        return found

    async def say(self, n: int, teacher: Teacher, *, spam: bool) -> Outcome:
        self.now += 1
        return await learn(self.store, self.lessons, material(message_of(letter(n))), spam=spam, teacher=teacher)

    async def take_back(self, by: str) -> bool:
        known: list[Taught] = [one async for one in self.lessons.taught()]
        return any([await undo(self.store, self.lessons, one, by=by, since=0.0) for one in known])


async def test_each_message_that_is_learned_counts_once():
    world = World()
    assert await world.say(1, ANN, spam=True) is Outcome.LEARNED
    assert await world.say(1, BOB, spam=True) is Outcome.KNOWN
    assert await world.say(2, BOB, spam=True) is Outcome.LEARNED
    assert await world.count() == 2


async def test_what_one_takes_back_leaves_what_others_said():
    world = World()
    await world.say(1, ANN, spam=True)
    await world.say(1, BOB, spam=True)
    assert await world.take_back("bob")
    assert await world.count() == 1
    assert await world.take_back("ann")
    assert await world.count() == 0
    assert not await world.take_back("ann")


async def test_mail_that_is_wanted_after_all_is_not_found():
    world = World()
    await world.say(1, ANN, spam=True)
    await world.say(2, BOB, spam=True)
    assert await world.say(2, ANN, spam=False) is Outcome.MOVED
    assert await world.count() == 0
    assert await world.take_back("ann")  # what bob said counts again, and what ann said of the first does not
    assert await world.count() == 1


async def sources_follow_what_stands(store: Store) -> None:
    """The same for every backend."""
    world = World(store)
    for n, teacher in enumerate((ANN, BOB, CARL)):
        await world.say(n, teacher, spam=True)
    await world.say(3, ANN, spam=True)
    assert (await world.count(), await world.sources()) == (4, 3)
    assert await world.take_back("ann")
    assert (await world.count(), await world.sources()) == (2, 2)
    await world.say(0, ANN, spam=True)  # and may be said again
    assert (await world.count(), await world.sources()) == (3, 3)
    assert await world.take_back("ann")
    assert await world.take_back("bob")
    assert (await world.count(), await world.sources()) == (1, 1)
    assert await world.take_back("carl")
    assert await world.near() is None


@pytest.mark.parametrize("backend", BACKENDS)
async def test_who_took_back_what_they_said_is_no_source_any_more(backend: str, tmp_path: Path):
    store = open_backend(backend, tmp_path)
    try:
        await sources_follow_what_stands(store)
    finally:
        await store.close()


async def test_one_of_two_reports_that_is_taken_back_leaves_its_user_a_source():
    world = World()
    await world.say(1, ANN, spam=True)
    await world.say(2, BOB, spam=True)
    await world.say(3, BOB, spam=True)
    assert await world.say(2, CARL, spam=False) is Outcome.MOVED
    assert await world.take_back("carl")
    assert (await world.count(), await world.sources()) == (3, 2)


async def test_what_others_said_too_is_theirs_when_the_first_takes_it_back():
    world = World()
    await world.say(1, ANN, spam=True)
    assert await world.say(1, BOB, spam=True) is Outcome.KNOWN
    await world.say(2, BOB, spam=True)
    await world.say(3, ANN, spam=True)
    assert (await world.count(), await world.sources()) == (3, 2)
    assert await world.take_back("ann")
    assert (await world.count(), await world.sources()) == (2, 1)
    assert await world.take_back("bob")
    assert await world.near() is None


async def test_a_user_who_reported_on_two_days_is_one_source():
    world, now = World(), time.time()
    for n, at in enumerate((now - 2 * fuzzy.DAY, now)):
        await fuzzy.teach(world.store, f"m{n}", world.digest, spam=True, source="ann", now=at)
    assert (await world.count(), await world.sources()) == (2, 1)
    await fuzzy.teach(world.store, "m0", None, spam=None, source="", now=now)
    assert (await world.count(), await world.sources()) == (1, 1)
    await fuzzy.teach(world.store, "m1", None, spam=None, source="", now=now)
    assert await world.near() is None
