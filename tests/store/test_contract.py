"""What every backend has to do alike (store/base.py)."""

import asyncio

import pytest

from gatekeeper.store.base import (
    DISTINCT_MOST,
    HISTORY_KEPT,
    MOST_TRAITS,
    Block,
    Charge,
    Forgotten,
    History,
    Learned,
    Lesson,
    Limit,
    Note,
    RecordQuery,
    Sighting,
    Store,
    Tally,
)
from gatekeeper.store.fallback import Fallback
from gatekeeper.store.memory import MemoryStore
from tests.support.records import NOW, stored_record


async def ids(store: Store, **query) -> list[str]:
    return [record.id for record in await store.find_records(RecordQuery(**query))]


class TestBuckets:
    async def test_fill_and_leak(self, store: Store):
        assert await store.spend([Charge("a", 3, 0.5)], now=NOW) == [3.0]
        assert await store.spend([Charge("a", 1, 0.5)], now=NOW + 2) == [3.0]
        assert await store.spend([Charge("a", 0, 0.5)], now=NOW + 4) == [2.0]

    async def test_never_leak_below_nothing(self, store: Store):
        await store.spend([Charge("a", 1, 1)], now=NOW)
        assert await store.spend([Charge("a", 2, 1)], now=NOW + 1000) == [2.0]

    async def test_looking_at_one_that_nobody_filled_makes_none(self, store: Store):
        assert await store.spend([Charge("a", 0, 1)], now=NOW) == [0.0]

    async def test_looking_takes_and_gives_nothing(self, store: Store):
        await store.spend([Charge("a", 8, 1)], now=NOW)
        await store.spend([Charge("a", 0, 100)], now=NOW + 1)
        assert await store.spend([Charge("a", 0, 1)], now=NOW + 2) == [6.0]

    async def test_several_charges_are_answered_in_order(self, store: Store):
        charges = [Charge("a", 1, 1), Charge("b", 5, 1), Charge("a", 1, 1)]
        assert await store.spend(charges, now=NOW) == [1.0, 5.0, 2.0]

    async def test_no_charge_no_answer(self, store: Store):
        assert await store.spend([], now=NOW) == []

    async def test_a_clock_that_jumps_backwards_leaks_nothing_twice(self, store: Store):
        await store.spend([Charge("a", 10, 1)], now=NOW)
        assert await store.spend([Charge("a", 1, 1)], now=NOW - 100) == [11.0]
        assert await store.spend([Charge("a", 0, 1)], now=NOW + 1) == [10.0]

    async def test_a_clock_that_was_far_ahead_stops_nothing_for_longer(self, store: Store):
        day = NOW + 86_400
        await store.spend([Charge("a", 10, 1)], now=day)
        assert await store.spend([Charge("a", 1, 1)], now=NOW) == [11.0]
        assert await store.spend([Charge("a", 0, 1)], now=NOW + 5) == [6.0]
        assert await store.take([Limit("b", 10, 10, 1)], now=day) == [0.0]
        assert await store.take([Limit("b", 1, 10, 1)], now=NOW) == [1.0]  # nothing is given away, either
        await store.spend([Charge("b", 0.5, 1)], now=NOW)
        assert await store.take([Limit("b", 1, 10, 1)], now=NOW + 2) == [0.0]

    async def test_what_is_given_back_stops_at_nothing(self, store: Store):
        await store.spend([Charge("a", 2, 0)], now=NOW)
        assert await store.spend([Charge("a", -5, 0)], now=NOW) == [0.0]
        assert await store.spend([Charge("new", -5, 0)], now=NOW) == [0.0]

    async def test_many_at_once_lose_nothing(self, store: Store):
        await asyncio.gather(*(store.spend([Charge("a", 1, 0)], now=NOW) for _ in range(200)))
        assert await store.spend([Charge("a", 0, 0)], now=NOW) == [200.0]

    async def test_expiry_forgets_only_the_drained(self, store: Store):
        await store.spend([Charge("drained", 1, 1), Charge("full", 100, 1), Charge("for_ever", 1, 0)], now=NOW)
        await store.expire(now=NOW + 50, records_before=0)
        look = [Charge("full", 0, 1), Charge("for_ever", 0, 0), Charge("drained", 0, 0)]
        assert await store.spend(look, now=NOW + 50) == [50.0, 1.0, 0.0]

    async def test_keys_may_hold_any_character(self, store: Store):
        for key in ("", "\x00", "ü", "\udc80", "a'b\"; DROP TABLE bucket"):
            assert await store.spend([Charge(key, 1, 0)], now=NOW) == [1.0]
            assert await store.spend([Charge(key, 0, 0)], now=NOW) == [1.0]


class TestLimits:
    async def test_let_a_burst_through_and_then_one_at_a_time(self, store: Store):
        limit = Limit("a", cost=1, burst=3, per_second=0.5)
        assert [await store.take([limit], now=NOW) for _ in range(4)] == [[0.0], [0.0], [0.0], [2.0]]
        assert await store.take([limit], now=NOW + 2) == [0.0]
        assert await store.take([limit], now=NOW + 2) == [2.0]

    async def test_asking_too_early_does_not_make_the_wait_longer(self, store: Store):
        limit = Limit("a", cost=1, burst=1, per_second=0.125)
        await store.take([limit], now=NOW)
        assert [(await store.take([limit], now=NOW + 4))[0] for _ in range(5)] == [4.0] * 5

    async def test_are_charged_together_or_not_at_all(self, store: Store):
        roomy, full = Limit("roomy", 1, 10, 1), Limit("full", 1, 1, 0.5)
        await store.take([full], now=NOW)
        assert await store.take([roomy, full], now=NOW) == [0.0, 2.0]
        assert await store.spend([Charge("roomy", 0, 1)], now=NOW) == [0.0]

    async def test_what_costs_more_than_the_burst_passes_when_nothing_else_was_taken(self, store: Store):
        assert await store.take([Limit("a", 50, 10, 1)], now=NOW) == [0.0]
        assert await store.take([Limit("a", 50, 10, 1)], now=NOW) == [10.0]
        assert await store.take([Limit("a", 50, 10, 1)], now=NOW + 10) == [0.0]

    async def test_one_that_never_leaks_is_waited_for_in_vain(self, store: Store):
        await store.take([Limit("a", 1, 1, 0)], now=NOW)
        assert await store.take([Limit("a", 1, 1, 0)], now=NOW + 1e6) == [float("inf")]

    async def test_on_the_same_key_add_up(self, store: Store):
        assert await store.take([Limit("a", 1, 2, 1)] * 3, now=NOW) == [0.0, 0.0, 1.0]
        assert await store.take([Limit("a", 1, 2, 1)] * 2, now=NOW) == [0.0, 0.0]

    async def test_many_at_once_never_take_more_than_there_is(self, store: Store):
        limit = Limit("a", 1, 20, 0.001)
        waits = await asyncio.gather(*(store.take([limit], now=NOW) for _ in range(100)))
        assert sum(wait == [0.0] for wait in waits) == 20

    async def test_a_clock_that_jumps_backwards_gives_nothing(self, store: Store):
        limit = Limit("a", 1, 1, 1)
        await store.take([limit], now=NOW)
        assert await store.take([limit], now=NOW - 1000) == [1.0]

    async def test_no_limit_no_wait(self, store: Store):
        assert await store.take([], now=NOW) == []


class TestSightings:
    async def test_count_the_different_ones(self, store: Store):
        seen = [Sighting("a", member, 60) for member in ("x", "y", "x", "z")] + [Sighting("b", "x", 60)]
        assert await store.distinct(seen, now=NOW) == [1, 2, 2, 3, 1]

    async def test_of_nobody_only_look(self, store: Store):
        assert await store.distinct([Sighting("a", "", 60)], now=NOW) == [0]
        await store.distinct([Sighting("a", "x", 60)], now=NOW)
        assert await store.distinct([Sighting("a", "", 60)], now=NOW) == [1]

    async def test_end_with_their_window_unless_seen_again(self, store: Store):
        await store.distinct([Sighting("a", "x", 60), Sighting("a", "y", 60)], now=NOW)
        await store.distinct([Sighting("a", "y", 60)], now=NOW + 30)
        assert await store.distinct([Sighting("a", "", 60)], now=NOW + 61) == [1]
        assert await store.distinct([Sighting("a", "", 60)], now=NOW + 91) == [0]

    async def test_are_forgotten_by_their_key(self, store: Store):
        await store.distinct([Sighting(key, member, 60) for key in ("a", "\udc80", "c") for member in "xy"], now=NOW)
        await store.drop_sightings(["a", "\udc80", "a", "none"])
        looks = [Sighting(key, "", 60) for key in ("a", "\udc80", "c")]
        assert await store.distinct(looks, now=NOW) == [0, 0, 2]
        assert await store.distinct([Sighting("a", "x", 60)], now=NOW) == [1]
        await store.drop_sightings([])

    async def test_of_a_full_set_are_not_told_apart(self, store: Store):
        many = [Sighting("a", str(n), 60) for n in range(DISTINCT_MOST + 10)]
        assert (await store.distinct(many, now=NOW))[-1] == DISTINCT_MOST
        assert await store.distinct([Sighting("a", "another", 60)], now=NOW + 30) == [DISTINCT_MOST]
        assert await store.distinct([Sighting("a", "later", 60)], now=NOW + 61) == [1]

    async def test_may_be_of_any_text(self, store: Store):
        assert await store.distinct([Sighting("\udc80", "\udcff", 60), Sighting("'", "\x00", 60)], now=NOW) == [1, 1]

    async def test_of_many_at_once_are_all_counted(self, store: Store):
        await asyncio.gather(*(store.distinct([Sighting("a", str(n), 60)], now=NOW) for n in range(100)))
        assert await store.distinct([Sighting("a", "", 60)], now=NOW) == [100]


class TestNotes:
    async def test_are_kept_replaced_and_found(self, store: Store):
        await store.put_notes(
            [Note("k", "b", "1", NOW + 9), Note("k", "a", "2", NOW + 9), Note("other", "a", "3", NOW + 9)]
        )
        await store.put_notes([Note("k", "b", "4", NOW + 8)])
        assert [(n.key, n.text, n.until) for n in await store.notes("k", now=NOW)] == [
            ("a", "2", NOW + 9),
            ("b", "4", NOW + 8),
        ]
        assert [n.text for n in await store.notes("k", ["b", "none", "b"], now=NOW)] == ["4"]
        assert [n.text for n in await store.notes("k", limit=1, now=NOW)] == ["2"]

    async def test_are_found_by_how_their_key_begins(self, store: Store):
        await store.put_notes([Note("k", key, "", NOW + 9) for key in ("a", "ab", "abc", "b", "a%", "")])
        assert [n.key for n in await store.notes("k", prefix="ab", now=NOW)] == ["ab", "abc"]
        assert [n.key for n in await store.notes("k", prefix="a%", now=NOW)] == ["a%"]
        assert len(await store.notes("k", now=NOW)) == 6

    async def test_end(self, store: Store):
        await store.put_notes([Note("k", "a", "", NOW + 9), Note("k", "b", "", NOW + 99)])
        assert [n.key for n in await store.notes("k", now=NOW + 9)] == ["b"]
        assert await store.notes("k", ["a"], now=NOW + 9) == []
        await store.expire(now=NOW + 9, records_before=0)
        assert [n.key for n in await store.notes("k", now=NOW)] == ["b"]

    async def test_are_swapped_only_for_what_was_known(self, store: Store):
        first, second = Note("k", "a", "1", NOW + 9), Note("k", "a", "2", NOW + 9)
        assert not await store.swap_note("k", "a", old="1", new=second, now=NOW)
        assert await store.swap_note("k", "a", old=None, new=first, now=NOW)
        assert not await store.swap_note("k", "a", old=None, new=second, now=NOW)
        assert await store.swap_note("k", "a", old="1", new=second, now=NOW)
        assert await store.swap_note("k", "a", old="2", new=None, now=NOW)
        assert await store.notes("k", now=NOW) == []

    async def test_that_have_ended_count_as_absent(self, store: Store):
        await store.put_notes([Note("k", "a", "1", NOW + 1)])
        assert await store.swap_note("k", "a", old=None, new=Note("k", "a", "2", NOW + 99), now=NOW + 1)

    async def test_of_many_who_swap_one_succeeds(self, store: Store):
        tried = (store.swap_note("k", "a", old=None, new=Note("k", "a", str(n), NOW + 9), now=NOW) for n in range(50))
        assert sum(await asyncio.gather(*tried)) == 1

    async def test_are_dropped(self, store: Store):
        await store.put_notes([Note("k", "a", "", NOW + 9), Note("k", "b", "", NOW + 9)])
        assert await store.drop_notes("k", ["a", "a", "none"]) == 1
        assert [n.key for n in await store.notes("k", now=NOW)] == ["b"]

    async def test_may_hold_any_text(self, store: Store):
        await store.put_notes([Note("k", "ü'", "\x00\n\U0001f600", NOW + 9)])
        assert [n.text for n in await store.notes("k", ["ü'"], now=NOW)] == ["\x00\n\U0001f600"]


class TestTallies:
    async def test_add_up(self, store: Store):
        await store.tally([Tally("k", "a", 2, NOW + 9), Tally("k", "b", 1, NOW + 9), Tally("k", "a", 3, NOW + 5)])
        assert await store.tallies("k", now=NOW) == [Tally("k", "a", 5, NOW + 9), Tally("k", "b", 1, NOW + 9)]

    async def test_are_found_by_how_their_key_begins(self, store: Store):
        await store.tally([Tally("k", key, 1, NOW + 9) for key in ("day1 a", "day1 b", "day2 a")])
        assert [t.key for t in await store.tallies("k", prefix="day1 ", now=NOW)] == ["day1 a", "day1 b"]
        assert [t.key for t in await store.tallies("k", limit=1, now=NOW)] == ["day1 a"]

    async def test_of_many_at_once_lose_nothing(self, store: Store):
        await asyncio.gather(*(store.tally([Tally("k", "a", 1, NOW + 9)]) for _ in range(100)))
        assert [t.amount for t in await store.tallies("k", now=NOW)] == [100]

    async def test_end(self, store: Store):
        await store.tally([Tally("k", "a", 1, NOW + 9), Tally("k", "b", 1, NOW + 99)])
        await store.expire(now=NOW + 9, records_before=0)
        assert [t.key for t in await store.tallies("k", now=NOW)] == ["b"]


def lesson(
    key: str, *, spam: bool = True, traits: tuple[int, ...] = (1, 2), text: str = "{}", days: float = 1
) -> Lesson:
    return Lesson("k", key, spam, traits, text, NOW + days * 86400)


class TestLessons:
    async def test_count_their_traits(self, store: Store):
        assert await store.learn("k", "a", old=None, new=lesson("a"))
        assert await store.learn("k", "b", old=None, new=lesson("b", spam=False, traits=(2, 2**32 - 1)))
        learned = await store.learned("k", [1, 2, 3, 2**32 - 1])
        assert learned == Learned(1, 1, 2, 2, {1: (0, 1), 2: (1, 1), 2**32 - 1: (1, 0)})
        assert await store.learned("other", [1]) == Learned()
        assert await store.learned("k") == Learned(1, 1, 2, 2)

    async def test_take_the_place_of_what_stands_there_and_of_nothing_else(self, store: Store):
        one, other = lesson("a"), lesson("a", spam=False, traits=(2, 3), text="ü\udc80\x00")
        assert await store.learn("k", "a", old=None, new=one)
        assert not await store.learn("k", "a", old=None, new=other)
        assert not await store.learn("k", "a", old=other, new=None)
        assert not await store.learn("k", "b", old=one, new=None)
        assert await store.learn("k", "a", old=one, new=other)
        assert await store.learned("k", [1, 2, 3]) == Learned(1, 0, 2, 0, {2: (1, 0), 3: (1, 0)})
        (kept,) = await store.lessons("k", ["a", "b"])
        assert (kept.spam, kept.traits) == (False, (2, 3))
        assert await store.learn("k", "a", old=kept, new=None)
        assert await store.learned("k", [1, 2, 3]) == Learned()
        assert await store.lessons("k") == []

    async def test_of_several_at_once_one_counts(self, store: Store):
        learned = await asyncio.gather(*(store.learn("k", "a", old=None, new=lesson("a")) for _ in range(20)))
        assert sum(learned) == 1
        assert await store.learned("k", [1]) == Learned(0, 1, 0, 2, {1: (0, 1)})

    async def test_are_read_by_key_a_page_at_a_time(self, store: Store):
        for key in ("b", "c", "a"):
            await store.learn("k", key, old=None, new=lesson(key))
        assert [one.key for one in await store.lessons("k", limit=2)] == ["a", "b"]
        assert [one.key for one in await store.lessons("k", after="b")] == ["c"]
        assert [one.key for one in await store.lessons("k", ["c", "x", "a", "c"])] == ["a", "c"]

    async def test_of_many_traits_are_counted_whole(self, store: Store):
        many = tuple(range(MOST_TRAITS))
        await store.learn("k", "a", old=None, new=lesson("a", traits=many))
        assert (await store.learned("k", [*many, 5_000])).counts == dict.fromkeys(many, (0, 1))
        with pytest.raises(ValueError, match="too long"):
            lesson("a", traits=tuple(range(MOST_TRAITS + 1)))
        with pytest.raises(ValueError, match="32 bits"):
            lesson("a", traits=(-1,))

    async def test_that_have_ended_are_taken_back(self, store: Store):
        for n in range(30):
            await store.learn("k", f"{n:02}", old=None, new=lesson(f"{n:02}", days=1 if n % 10 else 9))
        await store.expire(now=NOW + 2 * 86400, records_before=0)
        assert [one.key for one in await store.lessons("k")] == ["00", "10", "20"]
        assert await store.learned("k", [1]) == Learned(0, 3, 0, 6, {1: (0, 3)})

    async def test_beyond_so_many_of_a_class_those_that_would_end_first_go(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ):
        for place in ("memory", "sqlite_lessons", "redis"):
            monkeypatch.setattr(f"gatekeeper.store.{place}.MOST_LESSONS", 3)
        await store.learn("k", "ham", old=None, new=lesson("ham", spam=False))
        for n in range(9):
            await store.learn("k", str(n), old=None, new=lesson(str(n), days=9 - n))
        await store.expire(now=NOW, records_before=0)
        assert [one.key for one in await store.lessons("k")] == ["0", "1", "2", "ham"]
        assert await store.learned("k") == Learned(1, 3, 2, 6)


class TestHistories:
    async def test_add_up(self, store: Store):
        await store.remember("ip:192.0.2.7", accepted=2, refused=0, now=NOW)
        expected = History(accepted=3, refused=4, first=NOW, last=NOW + 9)
        assert await store.remember("ip:192.0.2.7", accepted=1, refused=4, now=NOW + 9) == expected
        assert await store.history(["ip:192.0.2.7"]) == [expected]

    async def test_the_unknown_have_an_empty_one_in_its_place(self, store: Store):
        await store.remember("b", accepted=1, refused=0, now=NOW)
        assert await store.history(["a", "b", "a"]) == [History(), History(1, 0, NOW, NOW), History()]
        assert await store.history([]) == []

    async def test_are_told_with_what_the_clients_have_spent(self, store: Store):
        await store.remember("b", accepted=1, refused=0, now=NOW)
        await store.spend([Charge("x", 5, 0.5), Charge("y", 5, 0)], now=NOW)
        assert await store.past(["a", "b"], ["x", "y", "z"], now=NOW + 8) == (
            [History(), History(1, 0, NOW, NOW)],
            [5.0, 5.0, 0.0],
        )
        assert (await store.past([], ["x", "y"], now=NOW + 10))[1] == [0.0, 5.0]
        assert await store.past([], [], now=NOW) == ([], [])
        assert await store.spend([Charge("x", 0, 0.25)], now=NOW + 4) == [4.0]  # to look changes nothing

    async def test_of_who_did_not_come_back_are_forgotten(self, store: Store):
        await store.remember("old", accepted=1, refused=0, now=NOW)
        await store.remember("new", accepted=1, refused=0, now=NOW + 5)
        await store.expire(now=NOW + HISTORY_KEPT + 3, records_before=0)
        assert [h.accepted for h in await store.history(["old", "new"])] == [0, 1]


class TestBlocks:
    async def test_hold_until_their_end(self, store: Store):
        block = Block("ip:192.0.2.7", NOW, NOW + 60, "STACKING", "ID1")
        await store.block(block)
        assert await store.blocked(["net:192.0.2.0/24", "ip:192.0.2.7"], now=NOW + 59) == block
        assert await store.blocked(["ip:192.0.2.7"], now=NOW + 60) is None
        assert await store.blocked(["ip:192.0.2.8"], now=NOW) is None
        assert await store.blocked([], now=NOW) is None

    async def test_one_that_a_clock_far_ahead_made_does_not_hold(self, store: Store):
        await store.block(Block("a", NOW + 86_400, NOW + 90_000, "FIRST", "1"))
        assert await store.blocked(["a"], now=NOW) is None
        assert await store.blocked(["a"], now=NOW + 86_400) is not None

    async def test_one_that_a_clock_far_ahead_made_keeps_no_other_from_holding(self, store: Store):
        await store.block(Block("a", NOW + 86_400, NOW + 90_000, "FIRST", "1"))
        await store.block(again := Block("a", NOW, NOW + 3_600, "SECOND", "2"))
        assert await store.blocked(["a"], now=NOW) == again
        assert await store.blocks(now=NOW) == [again]
        await store.block(Block("b", NOW + 1_800, NOW + 5_400, "FIRST", "1"))
        await store.block(Block("b", NOW, NOW + 3_600, "SECOND", "2"))
        both = Block("b", NOW, NOW + 5_400, "FIRST", "1")
        assert await store.blocked(["b"], now=NOW) == both
        assert await store.blocks(now=NOW) == [both, again]

    async def test_a_later_end_stays(self, store: Store):
        await store.block(Block("a", NOW, NOW + 60, "FIRST", "1"))
        await store.block(Block("a", NOW + 1, NOW + 30, "SHORTER", "2"))
        assert await store.blocked(["a"], now=NOW + 2) == Block("a", NOW, NOW + 60, "FIRST", "1")

    async def test_an_extended_one_keeps_its_beginning(self, store: Store):
        await store.block(Block("a", NOW, NOW + 60, "FIRST", "1"))
        await store.block(Block("a", NOW + 50, NOW + 110, "SECOND", "2"))
        assert await store.blocked(["a"], now=NOW + 70) == Block("a", NOW, NOW + 110, "SECOND", "2")

    async def test_one_after_a_gap_begins_anew(self, store: Store):
        await store.block(Block("a", NOW, NOW + 60, "FIRST", "1"))
        again = Block("a", NOW + 600, NOW + 660, "SECOND", "2")
        await store.block(again)
        assert await store.blocked(["a"], now=NOW + 601) == again

    async def test_of_several_the_latest_end_is_told(self, store: Store):
        await store.block(Block("ip", NOW, NOW + 60, "R"))
        await store.block(Block("net", NOW, NOW + 90, "R"))
        found = await store.blocked(["ip", "net"], now=NOW)
        assert found is not None
        assert found.key == "net"

    async def test_are_listed_with_the_latest_end_first(self, store: Store):
        for key, until in (("a", 60), ("b", 90), ("c", 5), ("d", 60)):
            await store.block(Block(key, NOW, NOW + until, "R"))
        assert [block.key for block in await store.blocks(now=NOW + 10)] == ["b", "a", "d"]

    async def test_can_be_lifted_and_made_again(self, store: Store):
        await store.block(Block("a", NOW, NOW + 60, "R"))
        assert await store.unblock("a") is True
        assert await store.blocked(["a"], now=NOW) is None
        assert await store.blocks(now=NOW) == []
        assert await store.unblock("a") is False
        again = Block("a", NOW + 5, NOW + 30, "R")
        await store.block(again)
        assert await store.blocked(["a"], now=NOW + 6) == again

    async def test_that_ended_are_forgotten(self, store: Store):
        await store.block(Block("a", NOW, NOW + 60, "R"))
        await store.block(Block("b", NOW, NOW + 900, "R"))
        await store.expire(now=NOW + 600, records_before=0)
        assert await store.unblock("a") is False
        assert await store.unblock("b") is True


class TestRecords:
    async def test_come_back_as_they_were(self, store: Store):
        record = stored_record(
            "A", recipients=("b@x", "ü@example.net", "c"), document='{"text":"\\u0000ü"}', score=-0.125
        )
        await store.put_records([record])
        assert await store.find_records(RecordQuery(id="A")) == [record]

    async def test_one_with_the_same_id_is_replaced(self, store: Store):
        await store.put_records([stored_record("A"), stored_record("B")])
        changed = stored_record("A", recipients=("eve@example.com",), action="reject", time=NOW + 1)
        await store.put_records([changed])
        assert await store.find_records(RecordQuery()) == [changed, stored_record("B")]
        assert await ids(store, recipient="bob@example.net") == ["B"]
        assert await ids(store, recipient="eve@example.com") == ["A"]

    async def test_newest_come_first_and_no_more_than_asked(self, store: Store):
        await store.put_records([stored_record(f"R{n}", time=NOW + n % 3) for n in range(6)])
        assert await ids(store) == ["R5", "R2", "R4", "R1", "R3", "R0"]
        assert await ids(store, limit=2) == ["R5", "R2"]
        assert await ids(store, limit=0) == []
        assert await ids(store, limit=-1) == []

    async def test_nothing_put_is_nothing_found(self, store: Store):
        await store.put_records([])
        assert await ids(store) == []

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ({"id": "B"}, ["B"]),
            ({"id": "b"}, []),
            ({"sender": "ann@example.org"}, ["A"]),
            ({"sender": "ANN@Example.org"}, ["A"]),
            ({"sender": "@example.org"}, ["B", "A"]),
            ({"sender": "example.org"}, []),
            ({"sender": "<>"}, ["C"]),
            ({"sender": "%"}, []),
            ({"recipient": "bob@example.net"}, ["C", "A"]),
            ({"recipient": "Bob@example.net"}, ["C", "A"]),
            ({"recipient": "@example.net"}, ["C", "B", "A"]),
            ({"recipient": "postmaster"}, ["B"]),
            ({"recipient": "@"}, []),
            ({"address": "192.0.2.7"}, ["A"]),
            ({"address": "::ffff:192.0.2.7"}, ["A"]),
            ({"address": "192.0.2.0/24"}, ["B", "A"]),
            ({"address": "192.0.2.8/29"}, ["B"]),
            ({"address": "0.0.0.0/0"}, ["B", "A"]),
            ({"address": "2001:db8::/32"}, ["C"]),
            ({"address": "::/0"}, ["C"]),
            ({"queue_id": "4DEF"}, ["B"]),
            ({"action": "reject"}, ["C"]),
            ({"since": NOW + 1}, ["C", "B"]),
            ({"until": NOW + 1}, ["A"]),
            ({"since": NOW + 1, "until": NOW + 2}, ["B"]),
            ({"recipient": "@example.net", "since": NOW + 1, "until": NOW + 2}, ["B"]),
            ({"recipient": "@example.net", "sender": "@example.org", "address": "192.0.2.9"}, ["B"]),
            ({"sender": "@example.org", "action": "reject"}, []),
        ],
    )
    async def test_are_found_by(self, store: Store, query, expected):
        await store.put_records(
            [
                stored_record("A"),
                stored_record(
                    "B",
                    time=NOW + 1,
                    sender="carol@example.org",
                    recipients=("dave@example.net", "erin@example.net", "postmaster"),
                    address="192.0.2.9",
                    queue_id="4DEF",
                ),
                stored_record("C", time=NOW + 2, sender="", address="2001:db8::1", queue_id="", action="reject"),
                stored_record("D", time=NOW - 1, sender="x@y", recipients=(), address="", queue_id="", action="drop"),
            ]
        )
        # D has nobody and nowhere; it shows that what is empty matches nothing but no question at all.
        assert await ids(store, **{"since": NOW, **query}) == expected
        assert (await ids(store))[-1] == "D"

    async def test_an_address_that_is_none_is_said_to_be(self, store: Store):
        with pytest.raises(ValueError, match="neither an IP address nor a network"):
            await store.find_records(RecordQuery(address="mail.example.org"))

    async def test_old_ones_go(self, store: Store):
        await store.put_records([stored_record(f"R{n:04}", time=NOW + n) for n in range(1200)])
        assert await store.expire(now=NOW, records_before=NOW + 1100) == Forgotten(1100)
        assert len(await ids(store, limit=5000)) == 100
        assert len(await ids(store, limit=5000, recipient="@example.net")) == 100
        assert await store.expire(now=NOW, records_before=NOW + 1100) == Forgotten()

    async def test_lone_surrogates_do_no_harm(self, store: Store):
        await store.put_records([stored_record("A", sender="\udc80@x", recipients=("\udcff@y",), queue_id="\ud800")])
        assert len(await store.find_records(RecordQuery())) == 1


@pytest.fixture
def few(store: Store, monkeypatch: pytest.MonkeyPatch) -> int:
    """Every table has room for so many."""
    most = 6
    for place in ("sqlite", "redis"):
        for name in ("MOST_ROWS", "MOST_BLOCKS", "MOST_RECORDS"):
            monkeypatch.setattr(f"gatekeeper.store.{place}.{name}", most)
    memory = store._memory if isinstance(store, Fallback) else store
    if isinstance(memory, MemoryStore):  # its bounds are its own
        for name in ("buckets", "histories", "blocks", "records", "sightings", "notes", "tallies"):
            monkeypatch.setattr(memory, f"_most_{name}", most)
    return most


class TestCaps:
    """Whatever strangers fill: something has ended, too much is left, and what goes first is gone after `expire`."""

    async def test_of_buckets(self, store: Store, few: int):
        await store.spend([Charge("ended", 1, 1), Charge("for_ever", 0.5, 0)], now=NOW)
        limits = [Limit(f"{n}", 1, 1, 0.001) for n in range(2)]
        for n in range(2, 10):
            await store.spend([Charge(f"{n}", n, 0.001)], now=NOW + n)
        await store.take(limits, now=NOW + 100)
        await store.spend([Charge(f"{n}", 0, 0.001) for n in range(1000)], now=NOW + 100)  # to look takes no room
        await store.expire(now=NOW + 100, records_before=0)
        names = ["ended", "for_ever", *(f"{n}" for n in range(10))]
        levels = await store.spend([Charge(name, 0, 0) for name in names], now=NOW + 100)
        assert sum(level > 0 for level in levels) == few
        if not isinstance(store, MemoryStore):  # which has another order
            assert [name for name, level in zip(names, levels, strict=True) if level] == ["for_ever", *"56789"]

    async def test_of_histories(self, store: Store, few: int):
        await store.remember("unseen", accepted=0, refused=1, now=NOW - HISTORY_KEPT - 1)
        for n in range(20):
            await store.remember(f"helo:{n}", accepted=0, refused=1, now=NOW + n)
        await store.expire(now=NOW, records_before=0)
        found = await store.history(["unseen", *(f"helo:{n}" for n in range(20))])
        assert [history.refused for history in found] == [0] * 15 + [1] * few

    async def test_names_that_are_only_said_push_out_nobody_whose_mail_was_accepted(self, store: Store, few: int):
        if isinstance(store, MemoryStore):
            pytest.skip("memory forgets who was not seen for longest")
        await store.remember("turned", accepted=0, refused=5, now=NOW)
        for key in ("good", "turned", "unseen"):
            await store.remember(key, accepted=1, refused=0, now=NOW - (key == "unseen") * 2 * HISTORY_KEPT)
        for n in range(20):
            await store.remember(f"helo:{n}", accepted=0, refused=1, now=NOW + n)
        await store.expire(now=NOW, records_before=0)
        found = await store.history(["unseen", "good", "turned"])
        assert [history.accepted for history in found] == [0, 1, 1]
        found = await store.history([f"helo:{n}" for n in range(20)])
        assert [history.refused for history in found] == [0] * 16 + [1] * (few - 2)
        for n in range(20):
            await store.remember(f"{n}", accepted=1, refused=0, now=NOW + n)
        await store.expire(now=NOW, records_before=0)
        found = await store.history(["good", "turned", *(f"helo:{n}" for n in range(20)), *(f"{n}" for n in range(20))])
        assert [history.accepted for history in found] == [0] * 36 + [1] * few

    async def test_of_sightings(self, store: Store, few: int):
        await store.distinct([Sighting("ended", f"{n}", 1) for n in range(3)], now=NOW)
        for n in range(10):
            await store.distinct([Sighting(f"{n}", member, 60) for member in "xy"], now=NOW + n)
        await store.distinct([Sighting("0", "x", 60)], now=NOW + 20)  # seen again: it counts from now on
        await store.expire(now=NOW + 20, records_before=0)
        found = await store.distinct([Sighting(f"{n}", "", 60) for n in range(10)], now=NOW + 20)
        assert sum(found) <= few
        assert found[8:] == [2, 2]
        if not isinstance(store, MemoryStore):  # which lets go a set at a time
            assert found == [1, 0, 0, 0, 0, 0, 0, 1, 2, 2]

    async def test_of_notes(self, store: Store, few: int):
        await store.put_notes([Note("entry", "of an operator", "", NOW + 50)])
        await store.put_notes([Note("k", f"ended{n}", "", NOW) for n in range(3)])
        await store.put_notes([Note("k", f"{n:02}", "", NOW + 100 + n) for n in range(20)])
        await store.expire(now=NOW, records_before=0)
        found = [note.key for note in await store.notes("k", now=NOW)]
        assert found == [f"{n:02}" for n in range(20)][-len(found) :]
        assert few - 1 <= len(found) <= few
        if not isinstance(store, MemoryStore):
            assert len(await store.notes("entry", now=NOW)) == 1

    async def test_of_tallies(self, store: Store, few: int):
        await store.tally([Tally("k", f"ended{n}", 1, NOW) for n in range(3)])
        await store.tally([Tally("k", f"{n:02}", 1, NOW + 100 + n) for n in range(20)])
        await store.expire(now=NOW, records_before=0)
        assert [tally.key for tally in await store.tallies("k", now=NOW)] == [f"{n:02}" for n in range(14, 20)]

    async def test_of_blocks(self, store: Store, few: int):
        await store.block(Block("ended", NOW - 9, NOW, "R"))
        await store.block(Block("long", NOW, NOW + 9999, "R"))
        for n in range(20):
            await store.block(Block(f"short{n}", NOW, NOW + 100 + n, "R"))
        await store.expire(now=NOW, records_before=0)
        found = [block.key for block in await store.blocks(now=NOW)]
        assert found == ["long", *(f"short{n}" for n in range(19, 14, -1))][: len(found)]
        assert few - 1 <= len(found) <= few
        assert await store.unblock("short0") is False

    async def test_of_records(self, store: Store, few: int):
        await store.put_records([stored_record(f"R{n:02}", time=NOW + n, recipients=("a@b",)) for n in range(20)])
        await store.expire(now=NOW, records_before=NOW + 3)
        assert await ids(store) == [f"R{n:02}" for n in range(19, 13, -1)]
        assert len(await ids(store, recipient="a@b")) == few

    async def test_more_than_was_taken_is_told(self, store: Store, monkeypatch: pytest.MonkeyPatch):
        if isinstance(store, MemoryStore):
            pytest.skip("memory takes everything")
        for place in ("sqlite", "redis"):
            monkeypatch.setattr(f"gatekeeper.store.{place}.PORTION", 2)
            monkeypatch.setattr(f"gatekeeper.store.{place}.PORTIONS", 2)
            monkeypatch.setattr(f"gatekeeper.store.{place}.MOST_ROWS", 3)
        for n in range(9):
            await store.remember(f"{n}", accepted=0, refused=1, now=NOW + n)
        told = [(await store.expire(now=NOW, records_before=0)).more for _ in range(3)]
        assert told == [True, False, False]
        assert [history.refused for history in await store.history([f"{n}" for n in range(9)])] == [0] * 6 + [1] * 3


async def test_may_be_closed_twice(store: Store):
    await store.spend([Charge("a", 1, 0)], now=NOW)
    await store.close()
    await store.close()
