"""Limits on rates as one process sees them."""

import pytest

from gatekeeper.checks.ledger import AHEAD, Ledger
from gatekeeper.store.base import Limit, StoreAway
from tests.support.fake_store import FakeStore

NOW = 1_800_000_000.0
LIMIT = Limit("rate:a", 1.0, 1000.0, 1000 / 3600)
SMALL = Limit("rate:b", 1.0, 5.0, 5 / 3600)


async def stranger() -> float:
    return 1.0


async def taken(ledger: Ledger, store: FakeStore, *limits: Limit, now: float = NOW, factor: float = 1.0) -> list[float]:
    async def room() -> float:
        return factor

    return await ledger.take(limits, store, now=now, room=room)


async def test_far_from_a_limit_the_store_is_not_asked():
    ledger, store = Ledger(), FakeStore()
    for _ in range(int(1000 * AHEAD)):
        assert await taken(ledger, store, LIMIT) == [0.0]
    assert store.asked == []
    await taken(ledger, store, LIMIT)
    assert store.asked == ["take"]


async def test_all_that_was_counted_here_reaches_the_store():
    ledger, store = Ledger(), FakeStore()
    passed = 0
    while not any(await taken(ledger, store, LIMIT)):
        passed += 1
    assert passed == 1000


async def test_two_processes_together_let_little_more_through():
    store, passed = FakeStore(), 0
    ledgers = [Ledger(), Ledger()]
    for n in range(3000):
        passed += not any(await taken(ledgers[n % 2], store, LIMIT))
    assert 1000 <= passed <= 1000 * (1 + 2 * AHEAD)


async def test_a_small_limit_is_exact():
    ledgers, store = [Ledger(), Ledger()], FakeStore()
    assert sum([not any(await taken(ledgers[n % 2], store, SMALL)) for n in range(20)]) == 5


async def test_trying_early_does_not_make_the_wait_longer():
    ledger, store = Ledger(), FakeStore()
    while not any(await taken(ledger, store, SMALL)):
        pass
    [first] = await taken(ledger, store, SMALL)
    for n in range(1000):
        [wait] = await taken(ledger, store, SMALL, now=NOW + n / 10)
        assert n / 10 + wait == pytest.approx(first)
    assert await taken(ledger, store, SMALL, now=NOW + first) == [0.0]


async def test_while_a_limit_is_full_the_store_is_not_asked_again():
    ledger, store = Ledger(), FakeStore()
    while not any(await taken(ledger, store, SMALL)):
        pass
    store.asked.clear()
    for _ in range(100):
        await taken(ledger, store, SMALL)
    assert store.asked == []


async def test_it_is_all_or_nothing():
    ledger, store = Ledger(), FakeStore()
    while not any(await taken(ledger, store, SMALL)):
        pass
    for _ in range(50):
        assert any(await taken(ledger, store, LIMIT, SMALL))
    assert sum([not any(await taken(ledger, store, LIMIT)) for _ in range(1100)]) == 1000  # none of them was charged


async def test_who_has_more_room_is_let_through_where_a_stranger_is_not():
    ledger, store = Ledger(), FakeStore()
    while not any(await taken(ledger, store, SMALL)):
        pass
    assert await taken(ledger, store, SMALL, factor=3.0) == [0.0]
    assert any(await taken(ledger, store, SMALL))


async def test_a_clock_that_jumps_back_locks_nobody_out_and_one_that_jumps_ahead_gives_room():
    ledger, store = Ledger(), FakeStore()
    while not any(await taken(ledger, store, SMALL)):
        pass
    store.asked.clear()
    [wait] = await taken(ledger, store, SMALL, now=NOW - 86400)
    assert store.asked == ["take"]  # what was known is nothing worth
    assert wait <= 3600
    assert await taken(ledger, store, SMALL, now=NOW + 86400) == [0.0]


async def test_a_store_that_is_away_takes_nothing_away():
    ledger, store = Ledger(), FakeStore()
    for _ in range(10):
        await taken(ledger, store, LIMIT)
    store.away = True
    with pytest.raises(StoreAway):
        await taken(ledger, store, LIMIT)
    store.away = False
    assert sum([not any(await taken(ledger, store, LIMIT)) for _ in range(1100)]) == 990


async def test_keys_are_bounded_and_the_one_not_met_for_longest_goes():
    ledger, store = Ledger(most=100), FakeStore()
    for n in range(1000):
        await taken(ledger, store, LIMIT, Limit(f"rate:{n}", 1.0, 1000.0, 1.0))
    assert len(ledger) == 100
    assert sum([not any(await taken(ledger, store, LIMIT)) for _ in range(1100)]) < 1000  # it was never forgotten


# --- looking first, and charging later


async def looked(ledger: Ledger, store: FakeStore, limit: Limit, *, now: float = NOW) -> float:
    [wait] = await ledger.take([limit], store, now=now, room=stranger, looks={limit.key})
    return wait


async def test_looking_charges_nothing():
    ledger, store = Ledger(), FakeStore()
    assert [await looked(ledger, store, SMALL) for _ in range(20)] == [0.0] * 20
    assert [await taken(ledger, store, SMALL) for _ in range(6)] == [[0.0]] * 5 + [[720.0]]
    assert await looked(ledger, store, SMALL) == 720.0


@pytest.mark.parametrize("one", [SMALL, LIMIT, Limit("rate:c", 1.0, 1.0, 1 / 3600)])
@pytest.mark.parametrize("tells", [True, False])
async def test_what_is_owed_counts_whether_the_store_was_told_or_not(one, tells):
    ledger, store, passed = Ledger(), FakeStore(), 0
    while passed < 2000 and not await looked(ledger, store, one):
        ledger.owe(one, now=NOW)
        passed += 1
        if tells:
            await ledger.tell(store, now=NOW)
    assert passed == one.burst
    assert await looked(ledger, store, one) == pytest.approx(3600 / one.burst)
    assert not await looked(ledger, store, one, now=NOW + 3600 / one.burst + 0.001)


async def test_what_is_owed_far_from_a_limit_costs_the_store_nothing():
    ledger, store = Ledger(), FakeStore()
    for _ in range(int(1000 * AHEAD)):
        ledger.owe(LIMIT, now=NOW)
    await ledger.tell(store, now=NOW)
    assert store.asked == []
    ledger.owe(LIMIT, now=NOW)
    await ledger.tell(store, now=NOW)
    await ledger.tell(store, now=NOW)
    assert store.asked == ["spend"]


async def test_what_is_owed_is_kept_while_the_store_is_away():
    ledger, store = Ledger(), FakeStore()
    for _ in range(5):
        ledger.owe(SMALL, now=NOW)
    store.away = True
    with pytest.raises(StoreAway):
        await ledger.tell(store, now=NOW)
    store.away = False
    await ledger.tell(store, now=NOW)
    assert await looked(Ledger(), store, SMALL) == 720.0


async def test_what_is_owed_is_bounded():
    ledger = Ledger(most=10)
    for n in range(100):
        ledger.owe(Limit(f"rate:{n}", 1.0, 5.0, 1.0), now=NOW)
    assert len(ledger) == len(ledger._owed) == 10
    await ledger.tell(FakeStore(), now=NOW)
