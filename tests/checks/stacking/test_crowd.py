"""The same unknown names tried from many addresses are found as what they are; good senders have no part in it."""

import logging
import sqlite3
from contextlib import closing

import pytest

from gatekeeper import metrics
from gatekeeper.checks.stacking import BLIND, Stacking
from gatekeeper.checks.stacking.evidence import DICTIONARY, Dictionary
from gatekeeper.store import sqlite
from gatekeeper.store.memory import MemoryStore
from gatekeeper.store.sqlite_caps import TABLES
from tests.checks.stacking.play import Place, unknown

CHECK = Stacking(slow_delay=0.0, domain_budget=0, dictionary_clients=4, dictionary_names=3)


def some(**more) -> Stacking:
    return Stacking(slow_delay=0.0, domain_budget=0, dictionary_clients=4, dictionary_names=3, **more)


async def share(place: Place, names: list[str], *, clients: int = 4) -> None:
    for n in range(clients):
        client = place.client(f"10.{n}.0.1")
        await client.names(names)
        await client.leave()


async def test_who_tries_what_many_try_takes_part_and_is_told_no_names():
    place = Place(some(), exist=frozenset({"anna"}))
    names = unknown(4)
    await share(place, names)
    client = place.client("203.0.113.1")
    assert await client.names([*names[:3], "anna", names[3]]) == ["550"] * 3 + [BLIND] * 2
    await client.leave()
    found = await place.client("203.0.113.1").findings("anna")  # in its next session too
    assert [one.rule for one in found] == [BLIND, DICTIONARY]
    assert found[0].evidence == Dictionary("ip:203.0.113.1", 3, 4)
    assert await place.client("203.0.113.2").name("anna") == "250"


async def test_it_is_logged_once_and_counted_for_each_client(caplog):
    place = Place(some())
    before = metrics.STACKING_DICTIONARIES._value.get()
    with caplog.at_level(logging.WARNING):
        await share(place, unknown(4), clients=8)
    assert metrics.STACKING_DICTIONARIES._value.get() - before >= 4
    assert [r.getMessage() for r in caplog.records].count("dictionary_attack") == 1


async def test_one_name_that_everybody_tries_is_no_attack():
    """A dead address on spammers' lists, or one that is easily mistyped."""
    place = Place(some())
    await share(place, ["info-old"], clients=50)
    client = place.client("203.0.113.1")
    assert await client.names(["info-old", *unknown(3)]) == ["550"] * 4


async def test_names_that_one_client_tries_often_are_not_tried_by_many():
    place = Place(some())
    for n in range(20):  # hopping within its /64
        client = place.client(f"2001:db8:7:7::{n + 1:x}")
        await client.names(unknown(3))
        await client.leave()
    assert await place.client("203.0.113.1").names(unknown(4)) == ["550"] * 4


async def test_a_client_with_a_good_history_neither_makes_names_hot_nor_takes_part():
    place = Place(some())
    names = unknown(4)
    for n in range(6):
        await place.known(f"198.51.{n}.1", accepted=100)
        await place.client(f"198.51.{n}.1").names(names)
    assert await place.client("203.0.113.1").names(names) == ["550"] * 4
    await share(place, names)
    assert await place.client("198.51.0.1").names([*names, "another"]) == ["550"] * 5


async def test_near_misses_and_former_addresses_are_nobodys_dictionary(tmp_path):
    (tmp_path / "former").write_text("left.long.ago@example.org\n")
    check = some(former=str(tmp_path / "former"))
    place = Place(check, exist=frozenset({"johnsmith"}))
    await place.client("192.0.2.1").names(["johnsmith", "jonsmith"])
    await share(place, ["jonsmith", "johnsmiht", "johnsmithh", "left.long.ago"], clients=10)
    assert await place.client("203.0.113.1").names(["jonsmith", "johnsmiht", "johnsmithh", "x" * 9]) == ["550"] * 4


async def test_it_ends_by_itself():
    place = Place(some())
    await share(place, unknown(4), clients=6)
    place.now += 3601
    assert await place.client("10.5.0.1").name("anybody") == "550"


async def test_zero_looks_for_no_such_thing():
    place = Place(Stacking(slow_delay=0.0, domain_budget=0, dictionary_clients=0))
    await share(place, unknown(4), clients=10)
    assert await place.client("203.0.113.1").names([*unknown(4), "x" * 9]) == ["550"] * 5


@pytest.mark.parametrize("number", [5_000, pytest.param(100_000, marks=pytest.mark.slow)])
async def test_many_names_from_five_hundred_networks_fill_nothing(number):
    """Each table has a cap; the budgets still hold when theirs is reached."""
    store = MemoryStore(buckets=500, sightings=2_000, notes=300, histories=300, blocks=100)
    place = Place(Stacking(slow_delay=0.0, dictionary_clients=4), exist=frozenset(), store=store)
    names = iter(unknown(number))
    answered = 0
    for turn in range(number // 500):
        for net in range(500):
            client = place.client(f"10.{net // 250}.{net % 250}.{turn % 250 + 1}", helo=f"h{net}.example")
            answered += await client.name(next(names)) == "550"
            await client.leave()
    assert len(store._buckets) <= 500
    assert store._sightings <= 2_000
    assert len(store._notes) <= 300
    assert len(store._histories) <= 300
    memory = place.check._memory
    assert len(memory.flights) == 0
    assert len(memory.levels) <= 2
    assert answered < 1_000, answered


async def test_many_names_said_by_as_many_clients_fill_no_file(tmp_path, monkeypatch):
    """As above; each client says another HELO name, and what is beyond the caps goes whenever the store expires."""
    monkeypatch.setattr(sqlite, "MOST_ROWS", 30)
    store = sqlite.SqliteStore(tmp_path / "state.db")
    place = Place(Stacking(slow_delay=0.0, dictionary_clients=4), exist=frozenset(), store=store)
    names = unknown(120)
    for n, name in enumerate(names):
        client = place.client(f"10.{n // 250}.{n % 250}.1", helo=f"h{n}.example")
        await client.names([name, f"{name}.x"])
        await client.leave()
        await store.remember(f"helo:h{n}.example", accepted=0, refused=1, now=place.now)  # as the gate does
        if n % 20 == 19:
            assert not (await store.expire(now=place.now, records_before=0)).more
    await store.close()
    with closing(sqlite3.connect(tmp_path / "state.db")) as file:
        rows = {table: file.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES}
    assert max(rows.values()) <= 30, rows
    assert rows["bucket"] == rows["history"] == rows["sighting"] == 30, rows
