from gatekeeper.dns.answer import Status
from gatekeeper.dns.budget import Budget, BudgetedResolver, ClientBudgets
from tests.support.fake_resolver import FakeResolver


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def asked(resolver: BudgetedResolver, count: int) -> int:
    """How many of that many questions were let through."""
    answers = [await resolver.ask(f"n{number}.test", "A") for number in range(count)]
    return sum(answer.status is not Status.BUDGET for answer in answers)


async def test_a_client_is_held_to_its_allowance_over_all_its_messages():
    budgets = ClientBudgets(10, Clock())
    assert await asked(BudgetedResolver(FakeResolver(), Budget(7), budgets.of("a")), 20) == 7
    assert await asked(BudgetedResolver(FakeResolver(), Budget(7), budgets.of("a")), 20) == 3
    assert await asked(BudgetedResolver(FakeResolver(), Budget(7), budgets.of("b")), 20) == 7


async def test_an_allowance_fills_up_again_within_a_minute():
    clock = Clock()
    budgets = ClientBudgets(60, clock)
    assert await asked(BudgetedResolver(FakeResolver(), budgets.of("a")), 100) == 60
    clock.now += 10
    assert await asked(BudgetedResolver(FakeResolver(), budgets.of("a")), 100) == 10
    clock.now += 1000
    assert await asked(BudgetedResolver(FakeResolver(), budgets.of("a")), 100) == 60


async def test_what_one_allowance_has_no_room_for_costs_the_others_nothing():
    budgets, spent = ClientBudgets(10, Clock()), Budget(0)
    assert await asked(BudgetedResolver(FakeResolver(), budgets.of("a"), spent), 20) == 0
    assert await asked(BudgetedResolver(FakeResolver(), budgets.of("a")), 20) == 10


async def test_no_number_is_no_limit_and_keeps_nothing():
    budgets = ClientBudgets(0, Clock())
    assert await asked(BudgetedResolver(FakeResolver(), budgets.of("a")), 100) == 100
    assert budgets._spent == {}


def test_of_too_many_clients_the_one_that_asked_least_lately_is_forgotten():
    budgets = ClientBudgets(10, Clock(), clients=3)
    for client in ("a", "b", "c", "a", "d", "e"):
        budgets.of(client).spend()
        assert len(budgets._spent) <= 3
    assert list(budgets._spent) == ["a", "d", "e"]
