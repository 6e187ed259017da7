from gatekeeper.dns.asking import Timed, ask_lists
from gatekeeper.dns.resolver import Answer, Budget, BudgetedResolver, Status
from gatekeeper.metrics import LIST_SECONDS, REGISTRY
from tests.support.fake_resolver import FakeResolver

ONE, TWO = ("a.one.test", "A"), ("a.two.test", "A")


def clock_of(*moments: float):
    left = list(moments)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


def counted(name: str) -> float:
    return REGISTRY.get_sample_value("gatekeeper_dns_list_seconds_count", {"list": name}) or 0.0


async def test_a_question_is_answered_with_the_time_it_took():
    LIST_SECONDS.declare(["TEST_ONE"])
    before = counted("TEST_ONE")
    answers = await ask_lists(FakeResolver({ONE: ["127.0.0.2"]}), {ONE: "TEST_ONE"}, clock_of(10.0, 10.0304))
    assert answers == {ONE: Timed(Answer(Status.OK, ("127.0.0.2",), 300.0), 0.03)}
    assert counted("TEST_ONE") == before + 1


async def test_questions_are_asked_at_once_and_a_clock_that_goes_back_is_no_negative_time():
    answers = await ask_lists(FakeResolver({}), {ONE: "x", TWO: "x"}, clock_of(10.0, 9.0))
    assert [one.answer.status for one in answers.values()] == [Status.NXDOMAIN] * 2
    assert all(one.seconds == 0.0 for one in answers.values())


async def test_what_is_known_or_not_asked_took_no_time():
    class Known(FakeResolver):
        def cached(self, name, rtype):
            return Answer(Status.NXDOMAIN) if name == ONE[0] else None

    answers = await ask_lists(BudgetedResolver(Known({}), Budget(0)), {ONE: "x", TWO: "x"}, clock_of(0.0))
    assert answers[ONE] == Timed(Answer(Status.NXDOMAIN))
    assert answers[TWO] == Timed(Answer(Status.BUDGET))
