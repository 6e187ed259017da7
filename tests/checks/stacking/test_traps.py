"""Traps: off unless set; former addresses and hot names; never held against who has a good history."""

import logging

import pytest

from gatekeeper.checks.stacking import BLIND, Stacking
from gatekeeper.checks.stacking.crowd import TRAPS
from gatekeeper.checks.stacking.evidence import TRAP, TRAPPED, TrapNamed
from gatekeeper.checks.stacking.holds import Holds
from gatekeeper.checks.stacking.traps import TRAPPED_BY
from gatekeeper.model import Address, Heard
from gatekeeper.store.base import Note
from tests.checks.stacking.play import DOMAIN, Place, unknown


@pytest.fixture
def former(tmp_path):
    (tmp_path / "former").write_text("left@example.org\npostmaster@example.org\n")
    return str(tmp_path / "former")


def hot(**more) -> Stacking:
    return Stacking(slow_delay=0.0, domain_budget=0, traps=("hot",), trap_clients=6, dictionary_names=100, **more)


async def rules(place: Place, address: str, name: str) -> list[str]:
    return [one.rule for one in await place.client(address).findings(name)]


async def test_without_the_setting_nothing_is_a_trap(former):
    place = Place(Stacking(slow_delay=0.0, former=former))
    assert await rules(place, "203.0.113.1", "left") == []


async def test_a_former_address_is_one_by_setting_and_is_held_against_who_names_it(former):
    place = Place(Stacking(slow_delay=0.0, former=former, traps=("former",)))
    [finding] = await place.client("203.0.113.1").findings("Left")
    assert finding.rule == TRAP
    assert finding.evidence == TrapNamed("ip:203.0.113.1", "former", place.now)
    [finding] = await place.client("203.0.113.1").findings("anna")
    assert finding.rule == TRAPPED
    assert await rules(place, "203.0.113.2", "anna") == []
    place.now += 86401
    assert await rules(place, "203.0.113.1", "anna") == []


async def test_to_name_traps_costs_a_lot_but_the_same_one_only_once(former):
    place = Place(Stacking(slow_delay=0.0, former=former, traps=("former",), refill=1e9))
    client = place.client("203.0.113.1")
    for _ in range(10):
        await client.findings("left")
    assert await client.spent() == pytest.approx(5.0, abs=0.1)


async def test_who_has_a_good_history_has_the_address_from_its_owner(former):
    place = Place(Stacking(slow_delay=0.0, former=former, traps=("former",)))
    await place.known("198.51.100.1")
    assert await rules(place, "198.51.100.1", "left") == []
    assert await rules(place, "198.51.100.1", "anna") == []


async def test_postmaster_is_no_trap_whatever_the_file_says(former):
    place = Place(Stacking(slow_delay=0.0, former=former, traps=("former",)))
    assert await rules(place, "203.0.113.1", "postmaster") == []


async def test_a_name_that_many_try_becomes_one(caplog):
    place = Place(hot())
    for n in range(6):
        await place.client(f"10.{n}.0.1").names(["sales-old", "x" * 9])
    client = place.client("10.9.0.1")
    await client.names(["sales-old", "other"])
    assert "trap_made" in [r.getMessage() for r in caplog.records] or await place.store.notes(TRAPS, now=place.now)
    stranger = place.client("203.0.113.1")
    assert await stranger.name("sales-old") == "550"
    await stranger.leave()
    [finding] = await place.client("203.0.113.1").findings("anna")
    assert finding.evidence == TrapNamed("ip:203.0.113.1", "hot", place.now)
    assert await stranger.spent() == pytest.approx(6.0, abs=0.1)  # the name, and the trap
    assert await rules(place, "203.0.113.2", "anna") == []
    place.now += 30 * 86400 + 3700
    late = place.client("203.0.113.3")
    await late.names(["sales-old", "other"])
    assert TRAPPED not in await rules(place, "203.0.113.3", "anna")


async def sprung(place: Place) -> None:
    """Many have tried that name."""
    for n in range(7):
        client = place.client(f"10.{n}.0.1")
        await client.name("sales")
        await client.leave()
    assert len(await place.store.notes(TRAPS, now=place.now)) == 1


async def test_a_hot_name_is_put_to_the_next_hop_and_none_any_longer_when_it_is_taken(caplog):
    """A mailbox may have been made since it was tried in vain."""
    place = Place(hot())
    await sprung(place)
    place.exist = frozenset({"sales"})
    stranger = place.client("203.0.113.1")
    assert await stranger.name("sales") == "250"
    with caplog.at_level(logging.INFO):
        await stranger.leave()
    assert "trap_dropped" in [r.getMessage() for r in caplog.records]
    assert await place.store.notes(TRAPS, now=place.now) == []
    assert await rules(place, "203.0.113.1", "anna") == []
    assert await stranger.spent() == 0.0


async def test_whoever_has_it_taken_ends_the_trap():
    place = Place(hot())
    await sprung(place)
    place.exist = frozenset({"sales"})
    await place.known("198.51.100.1")
    friend = place.client("198.51.100.1")
    assert await friend.names(["sales", "other"]) == ["250", "550"]
    assert await place.store.notes(TRAPS, now=place.now) == []


async def test_an_answer_that_is_neither_leaves_the_trap_and_the_client_alone():
    place = Place(hot())
    await sprung(place)
    stranger = place.client("203.0.113.1")
    assert await rules(place, "203.0.113.1", "sales") == []
    stranger.session.hear(Address("sales", DOMAIN), Heard.ABANDONED)
    await stranger.leave()
    assert len(await place.store.notes(TRAPS, now=place.now)) == 1
    assert await rules(place, "203.0.113.1", "anna") == []


async def test_who_has_a_good_history_is_not_held_to_have_named_a_hot_one():
    place = Place(hot())
    await sprung(place)
    await place.known("198.51.100.1")
    friend = place.client("198.51.100.1")
    await friend.names(["sales", "other"])
    await friend.leave()
    assert await rules(place, "198.51.100.1", "anna") == []


async def test_a_hot_name_that_another_worker_made_counts_here():
    place = Place(hot())
    await sprung(place)
    other = place.worker(hot())
    stranger = other.client("203.0.113.1")
    await stranger.name("Sales")
    await stranger.leave()
    assert await rules(other, "203.0.113.1", "anna") == [TRAPPED]


async def test_a_slip_of_the_pen_never_becomes_one():
    place = Place(hot(), exist=frozenset({"johnsmith"}))
    client = place.client("192.0.2.1")
    await client.name("johnsmith")
    await client.leave()
    for n in range(12):
        await place.client(f"10.{n}.0.1").names(["jonsmith", "other"])
    assert await rules(place, "203.0.113.1", "jonsmith") == []


async def test_once_names_are_not_told_a_trap_is_a_name_like_any_other(former):
    place = Place(Stacking(slow_delay=0.0, former=former, traps=("former",)))
    client = place.client("203.0.113.1")
    await client.names(unknown(25))
    assert {await client.name(name) for name in ("left", "anna", "nobody")} == {BLIND}


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '{"kind": 5}', "[" * 20_000])
async def test_a_note_that_cannot_be_read_still_says_that_a_trap_was_named(text: str):
    place = Place(hot())
    key = "ip:203.0.113.1"
    await place.store.put_notes([Note(TRAPPED_BY, key, text, place.now + 99)])
    assert await rules(place, "203.0.113.1", "anna") == [TRAPPED]
    [hold] = await Holds(place.check, place.store).of([key], now=place.now)
    assert (hold.reason, hold.since) == (TRAPPED, None)


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "{}", "[" * 20_000])
async def test_a_trap_of_which_nothing_can_be_read_stands_until_its_end(text: str):
    place = Place(hot())
    await place.store.put_notes([Note(TRAPS, "digest", text, place.now + 99)])
    [hold] = await Holds(place.check, place.store).all(now=place.now)
    assert (hold.key, hold.since, hold.until) == ("trap:digest", None, place.now + 99)
