"""The budget of a recipient domain: while it is spent each stranger may ask one name, most when they come again."""

from dataclasses import replace
from typing import cast

import pytest

from gatekeeper.checks.stacking import BLIND, Stacking
from gatekeeper.checks.stacking.domains import CAME, LEVELS_MOST, NAMES_MOST, STRANGERS, Levels
from gatekeeper.checks.stacking.evidence import DOMAIN, DomainProbed
from gatekeeper.mailauth.spf import SpfCode
from gatekeeper.model import Address
from gatekeeper.store.base import Store
from tests.checks.stacking.play import Client, Place, unknown


def few() -> Stacking:
    return Stacking(slow_delay=0.0, domain_budget=30, domain_at_once=3, domain_wait=60.0)


async def spend(place: Place, number: int = 30, *, nets: int = 10) -> None:
    """So many unknown names, each network a few of them."""
    for n in range(nets):
        client = place.client(f"10.1.{n}.1")
        await client.names(unknown(number // nets, start=1000 + n * 100))
        await client.leave()


async def test_while_it_is_spent_a_stranger_may_ask_one_name():
    place = Place(few(), exist=frozenset({"anna"}))
    await spend(place)
    client = place.client("203.0.113.1")
    assert await client.names(["anna", "ben", "carl", "anna"]) == ["250", BLIND, BLIND, "250"]
    found = await client.findings("dora")
    assert [one.rule for one in found] == [BLIND, DOMAIN]
    assert found[0].evidence == DomainProbed("example.org", 30, 30, "asked")


async def test_only_a_few_are_answered_at_once_and_the_others_when_they_come_again():
    place = Place(few(), exist=frozenset({"anna"}))
    await spend(place)
    first = [await place.client(f"203.0.113.{n}").name("anna") for n in range(10)]
    assert first == ["250"] * 3 + [BLIND] * 7
    assert await place.client("203.0.113.9").name("anna") == BLIND  # too soon
    place.now += 61
    assert await place.client("203.0.113.9").name("ben") == BLIND  # not the name that it came for
    assert await place.client("203.0.113.9").name("anna") == "250"
    assert await place.client("203.0.113.9").name("ben") == BLIND


async def test_who_comes_again_from_another_address_of_its_network_is_answered():
    place = Place(few(), exist=frozenset({"anna"}))
    await spend(place)
    await place.client("203.0.112.1").names(["xa"])
    await place.client("203.0.112.2").names(["xa"])
    await place.client("203.0.112.3").names(["xa"])
    assert await place.client("203.0.113.1").name("anna") == BLIND
    place.now += 30
    assert await place.client("203.0.113.2").name("anna") == BLIND  # too soon
    place.now += 31
    assert await place.client("203.0.114.3").name("anna") == BLIND  # of another network
    assert await place.client("203.0.113.3").name("ben") == BLIND  # nobody came for that
    assert await place.client("203.0.113.3").names(["anna", "ben"]) == ["250", BLIND]


@pytest.mark.parametrize(
    ("first", "then", "domain", "answer"),
    [
        (SpfCode.PASS, SpfCode.PASS, "big.example", "250"),
        (SpfCode.PASS, SpfCode.PASS, "other.example", BLIND),
        (SpfCode.SOFTFAIL, SpfCode.PASS, "big.example", BLIND),
        (SpfCode.PASS, SpfCode.NEUTRAL, "big.example", BLIND),
        (None, None, "big.example", BLIND),
    ],
)
async def test_who_comes_again_from_another_network_is_known_by_a_domain_that_passes_spf(first, then, domain, answer):
    place = Place(replace(few(), domain_at_once=0), exist=frozenset({"anna"}))
    await spend(place)
    one, other = place.client("203.0.113.1"), place.client("198.51.100.1")
    one.sender, one.spf = Address("a", "big.example"), first
    other.sender, other.spf = Address("b", domain), then
    assert await one.name("anna") == BLIND
    place.now += 61
    assert await other.name("anna") == answer


async def test_what_one_client_came_for_is_kept_up_to_a_limit():
    place = Place(replace(few(), domain_at_once=0))
    await spend(place)
    client = place.client("203.0.113.1")
    client.spf = SpfCode.PASS
    for _ in range(2):
        await client.names(unknown(100))
    assert len(await place.store.notes(CAME, now=place.now)) == 2 * NAMES_MOST


@pytest.mark.parametrize("text", ["", "[]", '{"first": "x"}', '{"first": 1e999}', "[" * 20_000])
async def test_a_first_time_that_cannot_be_read_is_none(text: str):
    place = Place(replace(few(), domain_at_once=0), exist=frozenset({"anna"}))
    await spend(place)
    await place.client("203.0.113.1").name("anna")
    await place.store.put_notes([replace(note, text=text) for note in await place.store.notes(CAME, now=place.now)])
    place.now += 61
    assert await place.client("203.0.113.2").name("anna") == BLIND
    place.now += 61
    assert await place.client("203.0.113.3").name("anna") == "250"


async def test_each_delivered_message_brings_one_more_name():
    place = Place(few(), exist=frozenset({"anna", "ben", "carl"}))
    await spend(place)
    client = place.client("203.0.113.1")
    assert await client.names(["anna", "ben"]) == ["250", BLIND]
    client.deliver()
    assert await client.names(["ben", "carl"]) == ["250", BLIND]


async def test_it_costs_a_stranger_nothing_to_be_put_off():
    place = Place(few())
    await spend(place)
    client = place.client("203.0.113.1")
    await client.names(unknown(200, start=5000))
    await client.leave()
    assert not await client.blocked()


async def test_clients_with_a_good_history_do_not_notice_and_do_not_count():
    place = Place(few(), exist=frozenset({"anna"}))
    await place.known("198.51.100.1", accepted=500)
    good = place.client("198.51.100.1")
    assert await good.names(unknown(40)) == ["550"] * 40
    assert await place.client("203.0.113.1").name("anna") == "250"
    assert await place.client("203.0.113.1").name("x" * 9) == "550"
    await spend(place)
    assert await place.client("198.51.100.1").names(["anna", *unknown(5, start=300)]) == ["250"] + ["550"] * 5


async def test_a_history_of_a_day_or_of_refusals_is_not_good():
    place = Place(few(), exist=frozenset({"anna", "ben"}))
    await spend(place)
    await place.known("198.51.100.1", accepted=50, days=0.5)
    await place.known("198.51.100.2", accepted=50, refused=20)
    for address in ("198.51.100.1", "198.51.100.2"):
        client = place.client(address)
        assert await client.name("anna") == "250"  # it has sent wanted mail: it need not come again
        assert (await client.findings("z" * 8)) == []  # and may ask a name for each message, but not any number
        assert BLIND in await client.names(unknown(60, start=7000))


async def test_another_domain_has_a_budget_of_its_own():
    place = Place(few())
    await spend(place)
    client = place.client("203.0.113.1")
    assert await client.names(["anna", "ben", "carl"], domain="example.net") == ["550"] * 3


async def test_known_and_unknown_names_go_the_same_way():
    """The same questions to the store, whatever is asked for."""
    place = Place(few(), exist=frozenset({"anna"}))
    await spend(place)
    for n in range(3):
        await place.client(f"203.0.113.{n}").name("ben")
    store = place.store
    for address in ("203.0.113.10", "203.0.113.11"):
        asked: list[str] = []
        place.store = cast(Store, Listening(store, asked))
        name = "anna" if address.endswith("10") else "nobody"
        assert await place.client(address).name(name) == BLIND
        if address.endswith("10"):
            before = asked
    assert asked == before


class Listening:
    """A store that writes down which verbs it was asked."""

    def __init__(self, store: Store, asked: list[str]) -> None:
        self._store, self._asked = store, asked

    def __getattr__(self, verb):
        self._asked.append(verb)
        return getattr(self._store, verb)


async def test_postmaster_is_asked_for_all_along():
    place = Place(few(), exist=frozenset({"postmaster"}))
    await spend(place)
    client = place.client("203.0.113.1")
    assert await client.names(["ben", *["postmaster"] * 5]) == ["550", *["250"] * 5]


async def test_it_ends_by_itself():
    place = Place(few())
    await spend(place)
    place.now += 3601
    assert await place.client("203.0.113.1").names(unknown(5)) == ["550"] * 5


async def test_a_clock_set_back_makes_nobody_wait_for_longer_than_before():
    place = Place(few(), exist=frozenset({"anna"}))
    await spend(place)
    for n in range(3):
        await place.client(f"203.0.113.{n}").name("anna")
    assert await place.client("203.0.113.9").name("anna") == BLIND
    place.now -= 7200
    assert await place.client("203.0.113.9").name("anna") == BLIND
    place.now += 61
    assert await place.client("203.0.113.9").name("anna") == "250"


async def test_two_sessions_at_once_get_one_leave():
    place = Place(few())
    await spend(place)
    one, other = place.client("203.0.113.1"), place.client("203.0.113.1")
    place.store = cast(Store, Racing(place.store, other))
    await one.findings("anna")
    noted = await place.tools.store.notes(STRANGERS, now=place.now)
    assert len([note for note in noted if "203.0.113.1" in note.key]) == 1
    assert noted[0].text.count(":") <= 3


class Racing:
    """A store in which another session asks for another name right before a note is swapped."""

    def __init__(self, store: Store, other: Client) -> None:
        self._store = store
        self._other: Client | None = other

    def __getattr__(self, verb):
        return getattr(self._store, verb)

    async def swap_note(self, kind, key, **more):
        other, self._other = self._other, None
        if other is not None:
            await other.findings("ben")
        return await self._store.swap_note(kind, key, **more)


async def test_what_is_under_way_counts_half():
    place = Place(few())
    waiting = [place.client(f"203.0.113.{n}") for n in range(100)]
    passed = [not await client.findings(f"n{n}") for n, client in enumerate(waiting)]
    assert passed[:30] == [True] * 30
    assert passed[70:] == [False] * 30


async def test_zero_switches_it_off():
    place = Place(Stacking(slow_delay=0.0, domain_budget=0))
    await spend(place, 300, nets=100)
    assert await place.client("203.0.113.1").names(unknown(5)) == ["550"] * 5


def test_levels_are_forgotten_when_there_are_too_many_and_soon():
    levels = Levels()
    for n in range(3 * LEVELS_MOST):
        levels.set(f"d{n}.example", n, 100.0)
        levels.tell(f"d{n}.example", 100.0, 60.0)
    assert len(levels) == LEVELS_MOST
    assert levels.get("d0.example", 100.0) is None
    last = f"d{3 * LEVELS_MOST - 1}.example"
    assert levels.get(last, 100.5) == levels.last(last) == 3 * LEVELS_MOST - 1
    assert levels.get(last, 101.5) is None
    assert levels.get(last, 99.0) is None  # a clock set back
    assert not levels.tell(last, 130.0, 60.0)
    assert levels.tell(last, 161.0, 60.0)


@pytest.mark.parametrize(
    "text",
    ["", "no JSON", "[]", "{}", '{"names": 1, "waiting": []}', '{"names": [], "waiting": {"x": "y"}}', "[" * 20_000],
)
async def test_a_leave_that_cannot_be_read_is_none(text: str):
    place = Place(few())
    await spend(place)
    await place.client("203.0.113.1").name("anna")
    for note in await place.store.notes(STRANGERS, now=place.now):
        await place.store.put_notes([replace(note, text=text)])
    assert await place.client("203.0.113.1").name("ben") in {BLIND, "550"}
    assert any(
        "203.0.113.1" in note.key and note.text != text for note in await place.store.notes(STRANGERS, now=place.now)
    )
