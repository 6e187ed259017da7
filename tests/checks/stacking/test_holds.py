"""What is held against clients, names and domains is shown while it stands, and can be lifted, in every store."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from gatekeeper.checks.stacking import BLIND, Stacking, holds
from gatekeeper.checks.stacking.crowd import TRAPS
from gatekeeper.checks.stacking.evidence import DICTIONARY, DOMAIN, TRAPPED
from gatekeeper.checks.stacking.holds import Hold, Holds, keys_of, lift
from gatekeeper.model import Address
from gatekeeper.records.standing import remove
from gatekeeper.store.base import Charge, Note, Store
from tests.checks.stacking.play import Client, Place, unknown
from tests.store.conftest import open_backend

CLIENT = "203.0.113.1"
KEY = f"ip:{CLIENT}"


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    opened = open_backend(request.param, tmp_path)
    yield opened
    await opened.close()


async def shown(place: Place) -> list[Hold]:
    return await Holds(place.check, place.store).all(now=place.now)


async def reasons(place: Place) -> list[tuple[str, str]]:
    return sorted((hold.key, hold.reason) for hold in await shown(place))


async def blind(place: Place, address: str = CLIENT, *, helo: str | None = None, number: int = 22) -> Client:
    client = place.client(address, helo=helo)
    await client.names(unknown(number))
    return client


async def shared(place: Place, names: list[str], *, clients: int) -> None:
    """So many clients of other networks try these names, and no other."""
    for n in range(clients):
        client = place.client(f"10.{n}.0.1")
        await client.names(names)
        await client.leave()


class TestHolds:
    async def test_a_client_that_is_told_no_names_is_shown_until_its_points_have_come_back(self, store: Store):
        place = Place(Stacking(slow_delay=0.0, domain_budget=0), store=store)
        assert await shown(place) == []
        began = place.now
        await blind(place)
        [hold] = await shown(place)
        assert (hold.key, hold.reason, hold.since) == (KEY, BLIND, began)
        assert hold.evidence == "22 points spent of 10"
        assert hold.until == pytest.approx(began + 3600 * 2 / 10)  # two points more than twice the budget
        assert await Holds(place.check, store).of([KEY, "net:203.0.113.0/24", "x", "helo:x"], now=place.now) == [hold]
        place.now = hold.until - 1
        assert await place.client(CLIENT).name("anna") == BLIND
        place.now += 362  # for that name
        assert await shown(place) == []
        assert await place.client(CLIENT).name("anna") == "550"

    async def test_its_end_moves_with_what_it_tries_meanwhile(self, store: Store):
        place = Place(Stacking(slow_delay=0.0, domain_budget=0), store=store)
        client = await blind(place)
        await client.names(unknown(15, start=100))
        [hold] = await shown(place)
        assert hold.until == pytest.approx(place.now + 3600 * 17 / 10)
        place.now = hold.until - 1
        assert [one.key for one in await shown(place)] == [KEY]

    async def test_one_whose_last_name_spent_it_is_shown_before_it_comes_again(self, store: Store):
        place = Place(Stacking(slow_delay=0.0, domain_budget=0), store=store)
        client = place.client(CLIENT)
        for name in unknown(21):
            client.hear(name)
        await client.leave()
        assert await reasons(place) == [(KEY, BLIND)]

    async def test_the_settings_of_now_count(self, store: Store):
        place = Place(Stacking(slow_delay=0.0, domain_budget=0), store=store)
        await blind(place)
        place.check = Stacking(budget=50.0)
        assert await shown(place) == []

    async def test_networks_and_shared_helo_names_are_shown_too(self, store: Store):
        place = Place(Stacking(slow_delay=0.0, domain_budget=0, dictionary_clients=0), store=store)
        names = iter(unknown(1000))
        for n in range(100):
            client = place.client(f"10.{n % 25}.0.{n + 1}", helo="bot\x1b.example")
            await client.name(next(names))
            await client.leave()
        for n in range(90):
            client = place.client(f"203.0.113.{n + 1}")
            await client.name(next(names))
            await client.leave()
        assert await reasons(place) == [("helo:bot\x1b.example", BLIND), ("net:203.0.113.0/24", BLIND)]
        alone = Holds(Stacking(helo_networks=0), store)
        assert [one.key for one in await alone.all(now=place.now)] == ["net:203.0.113.0/24"]

    async def test_lifting_it_lets_the_client_ask_at_once(self, store: Store):
        place = Place(Stacking(slow_delay=0.0, domain_budget=0), exist=frozenset({"anna"}), store=store)
        client = await blind(place)
        await lift(store, KEY, now=place.now)
        assert await shown(place) == []
        assert await place.client(CLIENT).name("anna") == "250"
        assert (await client.names(["ben", "anna"]))[-1] == "250"  # its open session goes on too
        await lift(store, KEY, now=place.now)  # there is nothing left, and nothing happens

    async def test_a_helo_name_with_a_good_past_is_not_shown_however_much_was_refused_under_it(self, store: Store):
        place = Place(Stacking(slow_delay=0.0, domain_budget=0, network_factor=50.0), store=store)
        await store.remember("helo:mx.example", accepted=40, refused=900, now=place.now - 5 * 86400)
        for n in range(50):
            client = place.client(f"10.{n % 25}.0.{n + 1}", helo="mx.example")
            await client.names(unknown(3, start=n * 10))
            await client.leave()
        assert await Holds(place.check, store).of(["helo:mx.example"], now=place.now) == []

    async def test_a_good_client_whose_bounces_are_told_no_names_is_shown_and_lifting_it_lets_them_go_on(
        self, store: Store
    ):
        place = Place(Stacking(slow_delay=0.0), store=store)
        await place.known("192.0.2.25")
        client = place.client("192.0.2.25")
        client.sender = Address("", "")
        assert (await client.names(unknown(60)))[-1] == BLIND
        await client.leave()
        [hold] = await shown(place)
        assert (hold.key, hold.reason, hold.since) == ("ip:192.0.2.25", BLIND, place.now)
        assert hold.evidence.endswith("of 35 with the null sender")
        removed = await remove(store, (), "192.0.2.25", "192.0.2.25", stacking=place.check, now=place.now, token="one")
        assert removed.held == (hold,)
        assert await shown(place) == []
        client = place.client("192.0.2.25")
        client.sender = Address("", "")
        assert await client.name("anybody") == "550"

    async def test_what_a_client_tried_with_the_null_sender_while_it_was_good_is_not_held_later(self, store: Store):
        place = Place(Stacking(slow_delay=0.0), store=store)
        await place.known("192.0.2.25")
        client = place.client("192.0.2.25")
        client.sender = Address("", "")
        await client.names(unknown(60))
        await store.remember("ip:192.0.2.25", accepted=0, refused=500, now=place.now)
        assert await shown(place) == []

    async def test_a_member_of_a_dictionary_attack_is_shown_and_can_be_lifted(self, store: Store):
        check = Stacking(slow_delay=0.0, domain_budget=0, dictionary_clients=4)
        place = Place(check, exist=frozenset({"anna"}), store=store)
        names = unknown(4)
        await shared(place, names, clients=3)
        client = place.client(CLIENT)
        assert await client.names([*names, "anna"]) == ["550"] * 3 + [BLIND] * 2
        [hold] = await shown(place)
        assert hold == Hold(KEY, DICTIONARY, "tried 3 of the names that many try", place.now, place.now + 3600)
        assert await Holds(place.check, store).of([KEY], now=place.now) == [hold]
        assert await Holds(replace(check, dictionary_clients=0), store).of([KEY], now=place.now) == []
        await lift(store, KEY, now=place.now)
        assert await shown(place) == []
        assert await client.name("anna") == "250"  # in its open session
        assert await place.client(CLIENT).name("anna") == "250"

    async def test_one_that_ends_is_shown_no_more(self, store: Store):
        place = Place(Stacking(slow_delay=0.0, domain_budget=0, dictionary_clients=4), store=store)
        await shared(place, unknown(4), clients=5)
        assert {reason for _, reason in await reasons(place)} == {DICTIONARY}
        place.now += 3601
        assert await shown(place) == []

    async def test_who_named_a_trap_is_shown_and_can_be_lifted(self, store: Store, tmp_path: Path):
        (tmp_path / "former").write_text("left@example.org\n")
        check = Stacking(slow_delay=0.0, former=str(tmp_path / "former"), traps=("former",))
        place = Place(check, store=store)
        await place.client(CLIENT).findings("left")
        [hold] = await shown(place)
        assert hold == Hold(KEY, TRAPPED, "named a former address", place.now, place.now + 86400)
        assert await Holds(replace(check, traps=()), store).all(now=place.now) == []
        await place.known(CLIENT)
        assert await shown(place) == []  # nothing of it is held against a good history
        await lift(store, KEY, now=place.now)
        assert [one.rule for one in await place.client(CLIENT).findings("anna")] == []

    async def test_a_hot_trap_is_shown_by_its_name_and_can_be_lifted(self, store: Store):
        check = Stacking(slow_delay=0.0, domain_budget=0, traps=("hot",), trap_clients=6, dictionary_names=100)
        place = Place(check, store=store)
        await shared(place, ["Old-Sales"], clients=6)
        [hold] = await shown(place)
        assert hold.key == "trap:Old-Sales@example.org"
        assert hold.evidence == "a hot name: 6 clients tried it in vain"
        assert (hold.since, hold.until) == (place.now, place.now + 30 * 86400)
        [key] = keys_of("old-sales@EXAMPLE.org")
        assert await Holds(check, store).of([key], now=place.now) == [hold]
        await lift(store, key, now=place.now)
        assert await shown(place) == []
        await shared(place, ["old-sales"], clients=5)  # nor do those who tried it before count any more
        assert await shown(place) == []

    async def test_a_trap_of_before_its_name_was_kept_is_shown_by_its_digest(self, store: Store):
        place = Place(Stacking(traps=("hot",)), store=store)
        await store.put_notes([Note(TRAPS, "abcd", json.dumps({"since": 1.0, "clients": 20}), place.now + 60)])
        assert [one.key for one in await shown(place)] == ["trap:abcd"]
        await lift(store, "trap:abcd", now=place.now)
        assert await shown(place) == []

    async def test_a_domain_whose_budget_is_spent_is_shown_and_can_be_lifted(self, store: Store):
        check = Stacking(slow_delay=0.0, domain_budget=20, domain_at_once=0, dictionary_clients=0)
        place = Place(check, exist=frozenset({"anna"}), store=store)
        for n in range(10):
            client = place.client(f"10.{n}.0.1")
            await client.names(unknown(2, start=n * 10))
            await client.leave()
        assert await place.client(CLIENT).name("anna") == BLIND
        [hold] = await shown(place)
        assert (hold.key, hold.reason) == ("domain:example.org", DOMAIN)
        assert hold.evidence == "strangers tried 20 unknown names, and may ask one each"
        assert await Holds(check, store).of(keys_of("domain:Example.org"), now=place.now) == [hold]
        await lift(store, "domain:example.org", now=place.now)
        assert await shown(place) == []
        place.now += 1.0
        assert await place.client(CLIENT).name("anna") == "250"


async def test_many_are_asked_for_in_portions(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(holds, "TOGETHER", 2)
    place = Place(Stacking(slow_delay=0.0, domain_budget=0, dictionary_clients=0))
    for n in range(5):
        await blind(place, f"10.{n}.0.1")
    assert len(await shown(place)) == 5


async def test_no_more_than_so_many_are_shown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(holds, "MOST", 3)
    place = Place(Stacking(slow_delay=0.0, domain_budget=0, dictionary_clients=0))
    for n in range(5):
        await blind(place, f"10.{n}.0.1")
    assert len(await shown(place)) == 3


async def test_who_spends_less_is_not_noted():
    place = Place(Stacking(slow_delay=0.0, domain_budget=0))
    await blind(place, number=15)
    assert await shown(place) == []
    await place.store.spend([Charge(f"stacking:{KEY}", 30.0, 10 / 3600)], now=place.now)  # noted by nobody
    assert await shown(place) == []
    [hold] = await Holds(place.check, place.store).of([KEY], now=place.now)
    assert (hold.reason, hold.since) == (BLIND, None)


@pytest.mark.parametrize(
    ("what", "keys"),
    [
        ("192.0.2.1", []),
        ("helo:Bot.Example", ["helo:bot.example"]),
        ("helo:", []),
        ("domain:Example.org", ["domain:example.org"]),
        ("trap:Old@example.org", ["trap:old@example.org"]),
        ("Old@example.org", ["trap:old@example.org"]),
        ("2001:db8::1", []),
    ],
)
def test_what_somebody_may_mean(what: str, keys: list[str]):
    assert keys_of(what) == keys
