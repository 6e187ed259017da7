"""The memory store stays within its limits."""

from gatekeeper.store.base import Block, Charge, Note, RecordQuery, Sighting, Tally
from gatekeeper.store.memory import MemoryStore
from tests.support.records import NOW, stored_record


async def test_the_bucket_untouched_for_longest_goes_first():
    store = MemoryStore(buckets=2)
    for key in ("a", "b", "a", "c"):
        await store.spend([Charge(key, 1, 0)], now=NOW)
    levels = await store.spend([Charge("a", 0, 0), Charge("b", 0, 0), Charge("c", 0, 0)], now=NOW)
    assert levels == [2.0, 0.0, 1.0]


async def test_one_call_cannot_grow_past_the_limit():
    store = MemoryStore(buckets=10)
    await store.spend([Charge(str(n), 1, 0) for n in range(1000)], now=NOW)
    assert len(store._buckets) == 10


async def test_looking_takes_no_room():
    store = MemoryStore(buckets=1)
    await store.spend([Charge("a", 1, 0)], now=NOW)
    await store.spend([Charge(str(n), 0, 0) for n in range(10)], now=NOW)
    assert await store.spend([Charge("a", 0, 0)], now=NOW) == [1.0]


async def test_the_client_not_seen_for_longest_is_forgotten_first():
    store = MemoryStore(histories=2)
    for key in ("a", "b", "a", "c"):
        await store.remember(key, accepted=1, refused=0, now=NOW)
    assert [h.accepted for h in await store.history(["a", "b", "c"])] == [2, 0, 1]


async def test_a_flood_of_short_blocks_does_not_push_out_a_long_one():
    store = MemoryStore(blocks=10)
    await store.block(Block("long", NOW, NOW + 9999, "R"))
    for n in range(100):
        await store.block(Block(f"short{n}", NOW, NOW + n, "R"))
    assert len(store._blocks) <= 10
    assert await store.blocked(["long"], now=NOW) is not None


async def test_the_oldest_records_make_room():
    store = MemoryStore(records=3)
    await store.put_records([stored_record(f"R{n}") for n in range(5)])
    assert [r.id for r in await store.find_records(RecordQuery())] == ["R4", "R3", "R2"]


async def test_the_set_untouched_for_longest_goes_first():
    store = MemoryStore(sightings=10)
    for key in ("a", "b", "a", "c"):
        await store.distinct([Sighting(key, f"{key}{n}", 60) for n in range(5)], now=NOW)
    look = [Sighting(key, "", 60) for key in ("a", "b", "c")]
    assert await store.distinct(look, now=NOW) == [5, 0, 5]


async def test_sightings_that_have_ended_are_forgotten():
    store = MemoryStore()
    await store.distinct([Sighting("a", "x", 60), Sighting("a", "y", 600), Sighting("b", "x", 60)], now=NOW)
    await store.expire(now=NOW + 100, records_before=0)
    assert await store.distinct([Sighting("a", "", 60)], now=NOW) == [1]
    assert list(store._sets) == ["a"]


async def test_notes_and_tallies_stay_within_their_limits():
    store = MemoryStore(notes=3, tallies=3)
    for n in range(10):
        await store.put_notes([Note("k", f"{n}", "", NOW + 9)])
        await store.tally([Tally("k", f"{n}", 1, NOW + 9)])
    assert [note.key for note in await store.notes("k", now=NOW)] == ["7", "8", "9"]
    assert [tally.key for tally in await store.tallies("k", now=NOW)] == ["7", "8", "9"]
