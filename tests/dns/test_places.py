import asyncio

from gatekeeper.dns.places import Places

LONG, SOON = 30.0, 0.03


async def test_there_are_so_many_places_and_one_given_back_is_there_again():
    places = Places(2, LONG)
    assert [places.take() for _ in range(3)] == [True, True, False]
    places.give_back()
    assert [places.take(), places.take()] == [True, False]


async def test_who_waits_gets_a_place_in_the_order_in_which_they_came():
    places = Places(1, LONG)
    assert places.take()
    called: list[tuple[str, bool]] = []

    def waits(name: str) -> None:
        places.wait(lambda got: called.append((name, got)))

    for name in "abc":
        waits(name)
    assert called == []
    places.give_back()
    places.give_back()
    assert called == [("a", True), ("b", True)]
    places.close()
    places.close()
    assert called[2:] == [("c", False)]
    places.give_back()
    assert places.take()


async def test_who_waits_too_long_is_sent_away_and_the_others_wait_on():
    places = Places(1, SOON)
    assert places.take()
    first, second, last = (asyncio.get_running_loop().create_future() for _ in range(3))
    places.wait(first.set_result)
    places.wait(second.set_result)
    timer = places._timer
    assert [await first, await second] == [False, False]
    places.wait(last.set_result)
    assert places._timer is not timer
    places.give_back()
    assert await last is True
    places.close()


async def test_whoever_is_sent_away_may_give_places_back_and_wait_again():
    places = Places(1, SOON)
    assert places.take()
    again = asyncio.get_running_loop().create_future()
    places.wait(lambda _: places.wait(again.set_result))
    assert await again is False
    places.close()
