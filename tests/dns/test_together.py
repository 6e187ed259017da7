import asyncio

import pytest

from gatekeeper.dns.answer import Answer, Status
from gatekeeper.dns.together import ask_all, ask_unknown
from tests.support.fake_resolver import FakeResolver

QUESTIONS = [(f"n{number}.test", "A") for number in range(3)]
FOUND = Answer(Status.OK, ("192.0.2.1",), 60.0)


class Starting:
    """A resolver that knows one name, has another at once, and answers the rest when it is told to."""

    def __init__(self) -> None:
        self.flights: dict[str, asyncio.Future[Answer]] = {}

    def cached(self, name: str, rtype: str) -> Answer | None:
        return FOUND if (name, rtype) == QUESTIONS[0] else None

    def start(self, name: str, rtype: str) -> Answer | asyncio.Future[Answer]:
        if (name, rtype) == QUESTIONS[1]:
            return Answer(Status.BUDGET)
        return self.flights.setdefault(name, asyncio.get_running_loop().create_future())

    async def ask(self, name: str, rtype: str) -> Answer:
        started = self.start(name, rtype)
        return started if isinstance(started, Answer) else await asyncio.shield(started)


async def test_a_single_open_question_among_many_needs_no_company():
    fake = FakeResolver({("a.test", "A"): ["192.0.2.1"]})
    assert (await ask_all(fake, [("a.test", "A")]))["a.test", "A"].records == ("192.0.2.1",)
    assert await ask_all(fake, []) == {}


@pytest.mark.parametrize("hurry", [None, 30.0])
async def test_what_is_known_what_is_refused_and_what_is_asked_come_together(hurry):
    resolver = Starting()
    asking = asyncio.create_task(ask_all(resolver, QUESTIONS, hurry=hurry))
    await asyncio.sleep(0)
    resolver.flights["n2.test"].set_result(Answer(Status.NXDOMAIN))
    answers = await asking
    assert [answers[each].status for each in QUESTIONS] == [Status.OK, Status.BUDGET, Status.NXDOMAIN]


@pytest.mark.parametrize("hurry", [None, 30.0])
async def test_whoever_leaves_takes_no_answer_from_the_others(hurry):
    resolver = Starting()
    leaving, staying = (asyncio.create_task(ask_unknown(resolver, QUESTIONS[1:], hurry=hurry)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait([leaving])
    assert not resolver.flights["n2.test"].cancelled()
    resolver.flights["n2.test"].set_result(FOUND)
    assert (await staying)[QUESTIONS[2]] == FOUND


async def test_what_is_refused_altogether_waits_for_nothing():
    assert await ask_unknown(Starting(), [QUESTIONS[1], QUESTIONS[1]]) == {QUESTIONS[1]: Answer(Status.BUDGET)}
