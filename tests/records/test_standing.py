"""What stands against clients: blocks with their evidence, entries, and how they are taken away."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from gatekeeper.checks.list_source import added_entries, put_added
from gatekeeper.checks.stacking import Stacking
from gatekeeper.model import Reply
from gatekeeper.records import standing
from gatekeeper.records.document import ClientFacts, Record, RecordedFinding, RecordedRecipient
from gatekeeper.records.record import stored
from gatekeeper.store.base import Block, Charge, Sighting
from gatekeeper.store.memory import MemoryStore
from gatekeeper.wire.list_lines import ListEntry

NOW = 1_800_000_000.0
ABOUT = {"STACKING_BLOCKED": "Too many recipients were tried."}
BLOCK = Block("ip:192.0.2.7", NOW, NOW + 3600, "STACKING_BLOCKED")
FILE = ListEntry("deny", "address", "192.0.2.7/32", "/etc/a.list:1")


def record(id_: str, *, time: float = NOW, address: str = "192.0.2.7", text: str = "40 points spent") -> Record:
    found = (RecordedFinding("STACKING_BLOCKED", "earlier"), RecordedFinding("STACKING_BLOCKED", text))
    return Record(
        id=id_,
        time=time,
        duration=0.0,
        server="smtp",
        session="s",
        client=ClientFacts(address=address),
        action="drop",
        reply=Reply.of(421, "4.7.1 no"),
        recipients=(RecordedRecipient("x@example.org", findings=found),),
    )


async def shown(store: MemoryStore) -> standing.Standing:
    [one] = await standing.blocks(store, ABOUT, now=NOW + 1)
    return one


async def test_a_block_is_shown_with_the_evidence_of_the_record_it_names():
    store = MemoryStore()
    await store.block(replace(BLOCK, record="2Q0745CZM54SRB"))
    await store.put_records([stored(record("2Q0745CZM54SRB"))])
    one = await shown(store)
    assert (one.whom, one.reason, one.about, one.evidence, one.record) == (
        "192.0.2.7",
        "STACKING_BLOCKED",
        "Too many recipients were tried.",
        "40 points spent",
        "2Q0745CZM54SRB",
    )
    assert (one.since, one.until) == (NOW, NOW + 3600)


@pytest.mark.parametrize(
    ("key", "found"), [("ip:192.0.2.7", "2"), ("net:192.0.2.0/24", "2"), ("ip:192.0.2.8", ""), ("helo:x", "")]
)
async def test_a_block_that_names_no_record_is_shown_with_the_last_that_led_to_it(key, found):
    store = MemoryStore()
    await store.block(replace(BLOCK, key=key))
    others = record("1", time=NOW - 5000), record("3", address="198.51.100.1"), record("4", time=NOW + 60)
    await store.put_records([stored(one) for one in (*others, record("2", time=NOW + 1))])
    assert (await shown(store)).record == found


async def test_of_very_many_blocks_only_some_are_explained(monkeypatch):
    monkeypatch.setattr(standing, "EXPLAINED", 2)
    store = MemoryStore()
    for n in range(5):
        await store.block(replace(BLOCK, key=f"ip:192.0.2.{n}"))
        await store.put_records([stored(record(str(n), address=f"192.0.2.{n}"))])
    shown = await standing.blocks(store, ABOUT, now=NOW + 1)
    assert [bool(one.evidence) for one in shown] == [True, True, False, False, False]


async def test_a_record_that_is_gone_leaves_the_block_explained_by_its_rule():
    store = MemoryStore()
    await store.block(replace(BLOCK, record="2Q0745CZM54SRB"))
    one = await shown(store)
    assert (one.evidence, one.record, one.about) == ("", "", "Too many recipients were tried.")


async def test_entries_are_in_the_order_in_which_they_count():
    store = MemoryStore()
    await put_added(store, ListEntry("allow", "name", "a.example"), by="ann", now=NOW, token="1")
    shown = await standing.entries(store, [FILE], now=NOW)
    assert [one.entry.pattern for one in shown] == ["a.example", "192.0.2.7/32"]
    assert [standing.plain_entry(one)["place"] for one in shown] == ["added", "/etc/a.list:1"]
    assert standing.plain_entry(shown[0])["by"] == "ann"


async def test_it_is_told_what_holds_for_a_client():
    store = MemoryStore()
    await store.block(BLOCK)
    await store.remember("ip:192.0.2.7", accepted=3, refused=1, now=NOW)
    told = await standing.told(store, [FILE], {"address": ip_address("192.0.2.7")}, ABOUT, now=NOW)
    assert told.met is not None
    assert told.met.entry == FILE
    assert told.block is not None
    assert told.block.key == "ip:192.0.2.7"
    assert (told.history.accepted, told.history.refused) == (3, 1)
    nobody = await standing.told(store, [FILE], {"address": ip_address("192.0.2.8")}, ABOUT, now=NOW)
    assert (nobody.met, nobody.block) == (None, None)


@pytest.mark.parametrize(
    ("key", "what", "pattern"),
    [
        ("ip:192.0.2.7", "192.0.2.7", "192.0.2.7/32"),
        ("net:192.0.2.0/24", "192.0.2.0/24", "192.0.2.0/24"),
        ("ip:2001:db8::/64", "2001:db8::5", "2001:db8::5/128"),
        ("ip:2001:db8::/64", "2001:db8::/64", "2001:db8::/64"),
        ("net:2001:db8::/56", "2001:db8::/56", "2001:db8::/56"),
        ("helo:mail.example", "helo:mail.example", "helo:mail.example"),
    ],
)
async def test_a_block_is_lifted_with_the_points_that_brought_it(key, what, pattern):
    store = MemoryStore()
    await store.block(replace(BLOCK, key=key))
    await store.spend([Charge(f"stacking:{key}", 40.0, 0.001)], now=NOW)
    removed = await standing.remove(store, [], what, pattern, now=NOW, token="1")
    assert removed.blocks == (key,)
    assert await store.blocks(now=NOW) == []
    assert await store.spend([Charge(f"stacking:{key}", 0.0, 0.001)], now=NOW) == [0.0]


async def spend(store: MemoryStore, key: str, points: float) -> None:
    await store.spend([Charge(f"stacking:{key}", points, 0.001)], now=NOW)


async def test_who_is_told_no_names_is_shown_and_let_go_without_a_block():
    store, stacking = MemoryStore(), Stacking()
    await spend(store, "ip:192.0.2.7", 30.0)
    facts = {"address": ip_address("192.0.2.7")}
    told = await standing.told(store, [], facts, ABOUT, stacking=stacking, now=NOW)
    [hold] = told.held
    assert (told.block, told.refused, hold.key, hold.reason) == (None, True, "ip:192.0.2.7", "STACKING_BLIND")
    assert not (await standing.told(store, [], facts, ABOUT, now=NOW)).refused  # the check is switched off
    removed = await standing.remove(store, [], "192.0.2.7", "192.0.2.7/32", stacking=stacking, now=NOW, token="1")
    assert (removed.blocks, removed.held) == ((), (hold,))
    assert not (await standing.told(store, [], facts, ABOUT, stacking=stacking, now=NOW)).held
    assert await store.spend([Charge("stacking:ip:192.0.2.7", 0.0, 0.001)], now=NOW) == [0.0]


async def test_points_that_hold_nothing_are_nothing_to_remove():
    store = MemoryStore()
    await spend(store, "ip:192.0.2.7", 5.0)
    removed = await standing.remove(store, [], "192.0.2.7", "192.0.2.7/32", stacking=Stacking(), now=NOW, token="1")
    assert removed.held == ()
    assert await store.spend([Charge("stacking:ip:192.0.2.7", 0.0, 0.001)], now=NOW) == [5.0]


async def test_a_client_answers_for_its_network_and_its_helo_name_until_its_own_mail_was_wanted():
    store, stacking = MemoryStore(), Stacking()
    await spend(store, "net:192.0.2.0/24", 100.0)
    await spend(store, "helo:bot.example", 100.0)
    nets = [Sighting("stacking:networks:helo:bot.example", f"net:{n}", 60) for n in range(3)]
    await store.distinct(nets, now=NOW)
    facts = {"address": ip_address("192.0.2.7"), "helo": "bot.example"}
    told = await standing.told(store, [], facts, ABOUT, stacking=stacking, now=NOW)
    assert [hold.key for hold in told.held] == ["net:192.0.2.0/24", "helo:bot.example"]
    await store.remember("ip:192.0.2.7", accepted=1, refused=0, now=NOW)
    assert not (await standing.told(store, [], facts, ABOUT, stacking=stacking, now=NOW)).refused
    removed = await standing.remove(
        store, [], "helo:Bot.Example", "helo:bot.example", stacking=stacking, now=NOW, token="1"
    )
    assert [hold.key for hold in removed.held] == ["helo:bot.example"]


async def test_what_was_added_is_taken_away_and_what_stands_in_a_file_is_told():
    store = MemoryStore()
    await put_added(store, replace(FILE, place="", action="allow"), by="", now=NOW, token="1")
    removed = await standing.remove(store, [FILE], "192.0.2.7", "192.0.2.7/32", now=NOW, token="2")
    assert (removed.entries, removed.blocks, removed.places) == (1, (), ("/etc/a.list:1",))
    assert await added_entries(store, now=NOW) == []
    again = await standing.remove(store, [], "192.0.2.7", "192.0.2.7/32", now=NOW, token="3")
    assert (again.entries, again.blocks, again.places) == (0, (), ())


async def test_it_can_be_told_as_plain_values():
    store = MemoryStore()
    await store.block(BLOCK)
    assert standing.plain_block(await shown(store)) == {
        "key": "ip:192.0.2.7",
        "whom": "192.0.2.7",
        "reason": "STACKING_BLOCKED",
        "about": "Too many recipients were tried.",
        "evidence": "",
        "since": NOW,
        "until": NOW + 3600,
        "record": "",
    }


async def test_what_is_held_can_be_told_as_plain_values():
    store = MemoryStore()
    await spend(store, "ip:192.0.2.7", 30.0)
    told = await standing.told(store, [], {"address": ip_address("192.0.2.7")}, ABOUT, stacking=Stacking(), now=NOW)
    assert standing.plain_hold(told.held[0]) == {
        "key": "ip:192.0.2.7",
        "reason": "STACKING_BLIND",
        "evidence": "30 points spent of 10",
        "since": None,
        "until": pytest.approx(NOW + 3600),
    }


async def test_nothing_is_held_where_the_check_is_switched_off():
    assert await standing.held(MemoryStore(), None, now=NOW) == []
    assert await standing.held(MemoryStore(), Stacking(), now=NOW) == []
