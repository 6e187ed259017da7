"""What is learned is found as a near-copy, until it is taken back."""

from gatekeeper import fuzzy
from gatekeeper.classifier.learning import Lessons, Outcome, Settings, Source, Taught, Teacher, material
from gatekeeper.cli.learn_near import learn, undo
from gatekeeper.message.content import content_of
from gatekeeper.message.shingles import Digest, digest_of
from gatekeeper.store.memory import MemoryStore
from tests.support.mail import message_of

TEXT = " ".join(f"word{chr(97 + n % 26)}{chr(97 + n * 7 % 26)}" for n in range(120))
ANN, BOB = Teacher("ann", Source.MAIL), Teacher("bob", Source.MAIL)


def letter(n: int) -> str:
    return f"From: a@sender.example\nMessage-ID: <{n}@sender.example>\nSubject: x\n\n{TEXT}\n"


class World:
    def __init__(self) -> None:
        self.now = 1_790_000_000.0
        self.store = MemoryStore()
        self.lessons = Lessons(self.store, Settings(), lambda: self.now)

    async def count(self) -> int:
        import time

        near = await fuzzy.find(self.store, self.digest, time.time())
        return 0 if near is None else near.count

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
