"""Memory and SQLite give the same answers to the same story, whatever it is."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from gatekeeper.store.base import Block, Charge, Lesson, Limit, Note, RecordQuery, Sighting, Store, Tally
from gatekeeper.store.memory import MemoryStore
from gatekeeper.store.sqlite import SqliteStore
from tests.support.records import stored_record

KEYS = st.sampled_from(["a", "b", "c"])
LATER = st.integers(-5, 40)
PARTY = st.sampled_from(["", "a@x", "b@x", "A@x".lower(), "c@y", "postmaster", "@x", "a@b@x"])
ADDRESS = st.sampled_from(["", "192.0.2.1", "192.0.2.129", "2001:db8::1", "::ffff:192.0.2.1"])
CHARGES = st.lists(
    st.builds(Charge, KEYS, st.sampled_from([0.0, 1.0, 2.5, -1.0]), st.sampled_from([0.0, 0.5, 2.0])), max_size=4
)
LIMITS = st.lists(
    st.builds(Limit, KEYS, st.sampled_from([1.0, 2.5, 9.0]), st.just(5.0), st.sampled_from([0.5, 2.0])), max_size=4
)
SIGHTINGS = st.lists(
    st.builds(Sighting, KEYS, st.sampled_from(["", "x", "y", "z"]), st.sampled_from([5.0, 30.0])), max_size=5
)
LONG_KEYS = st.sampled_from(["", "a", "aa", "ab", "ü"])
RECORDS = st.lists(
    st.builds(
        stored_record,
        st.sampled_from("ABCDE"),
        time=st.integers(0, 5).map(float),
        action=st.sampled_from(["accept", "reject"]),
        address=ADDRESS,
        sender=PARTY,
        recipients=st.lists(PARTY, max_size=3).map(tuple),
        queue_id=st.sampled_from(["", "Q1", "Q2"]),
    ),
    max_size=4,
)
QUERIES = st.builds(
    RecordQuery,
    id=st.sampled_from(["", "", "A", "Z"]),
    sender=st.sampled_from(["", "", "<>", "a@x", "A@X", "@x", "postmaster", "a@b@x", "@b@x"]),
    recipient=st.sampled_from(["", "", "a@x", "@x", "postmaster", "@b@x", "@"]),
    address=st.sampled_from(["", "", "192.0.2.1", "192.0.2.0/25", "::/0", "0.0.0.0/0"]),
    queue_id=st.sampled_from(["", "", "Q1"]),
    action=st.sampled_from(["", "", "reject"]),
    since=st.sampled_from([0.0, 2.0]),
    until=st.sampled_from([0.0, 4.0]),
    limit=st.sampled_from([0, 2, 50]),
)


LESSONS = st.builds(
    lambda key, spam, traits, until: Lesson("k", key, spam, tuple(sorted(traits)), "{}", 1_000_000.0 + until),
    st.sampled_from(["a", "b", "c"]),
    st.booleans(),
    st.sets(st.sampled_from([0, 1, 2, 2**32 - 1]), max_size=4),
    st.integers(0, 300),
)


class Agreement(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.directory = tempfile.TemporaryDirectory()
        self.stores: tuple[Store, Store] = (
            MemoryStore(),
            SqliteStore(Path(self.directory.name) / "state.db", monotonic=lambda: 0.0),
        )
        self.now = 1_000_000.0

    def teardown(self) -> None:
        for store in self.stores:
            self.loop.run_until_complete(store.close())
        self.loop.close()
        self.directory.cleanup()

    def both(self, ask: Callable[[Store], Awaitable[Any]]) -> Any:
        async def asked(store: Store) -> Any:
            return await ask(store)

        one, other = (self.loop.run_until_complete(asked(store)) for store in self.stores)
        return one, other

    def agree(self, ask: Callable[[Store], Awaitable[Any]]) -> None:
        one, other = self.both(ask)
        assert one == other

    @rule(charges=CHARGES, later=LATER)
    def spend(self, charges, later):
        self.now += later
        one, other = self.both(lambda store: store.spend(charges, now=self.now))
        assert one == pytest.approx(other)
        assert min(one, default=0) >= 0

    @rule(limits=LIMITS, later=LATER)
    def take(self, limits, later):
        self.now += later
        one, other = self.both(lambda store: store.take(limits, now=self.now))
        assert one == pytest.approx(other)

    @rule(sightings=SIGHTINGS, later=LATER)
    def distinct(self, sightings, later):
        self.now += later
        self.agree(lambda store: store.distinct(sightings, now=self.now))

    @rule(sightings=SIGHTINGS)
    def drop_sightings(self, sightings):
        self.agree(lambda store: store.drop_sightings([sighting.key for sighting in sightings]))

    @rule(key=LONG_KEYS, old=st.sampled_from([None, "1", "2"]), text=st.sampled_from(["1", "2"]), length=LATER)
    def swap_note(self, key, old, text, length):
        new = Note("k", key, text, self.now + length)
        self.agree(lambda store: store.swap_note("k", key, old=old, new=new, now=self.now))

    @rule(keys=st.lists(LONG_KEYS, max_size=2), prefix=LONG_KEYS, later=LATER, put=st.booleans())
    def notes(self, keys, prefix, later, put):
        self.now += later
        if put:
            self.agree(lambda store: store.put_notes([Note("k", key, "1", self.now + later) for key in keys]))
        self.agree(lambda store: store.notes("k", keys, prefix=prefix, now=self.now))
        self.agree(lambda store: store.notes("k", prefix=prefix, now=self.now, limit=2))

    @rule(keys=st.lists(LONG_KEYS, max_size=2))
    def drop_notes(self, keys):
        self.agree(lambda store: store.drop_notes("k", keys))

    @rule(lesson=LESSONS, drop=st.booleans(), stale=st.booleans())
    def learn(self, lesson, drop, stale):
        one, other = self.both(lambda store: store.lessons("k", [lesson.key]))
        assert one == other
        old = lesson if stale else next(iter(one), None)
        self.agree(lambda store: store.learn("k", lesson.key, old=old, new=None if drop else lesson))
        self.sum_up()

    def sum_up(self) -> None:
        standing, _ = self.both(lambda store: store.lessons("k"))
        self.agree(lambda store: store.lessons("k", after="a", limit=1))
        learned, other = self.both(lambda store: store.learned("k", [0, 1, 2, 3, 2**32 - 1]))
        assert learned == other
        assert learned.spam == sum(one.spam for one in standing)
        assert learned.ham == len(standing) - learned.spam
        assert learned.ham_traits + learned.spam_traits == sum(len(one.traits) for one in standing)
        for trait in (0, 1, 2, 3, 2**32 - 1):
            holding = [one.spam for one in standing if trait in one.traits]
            assert learned.counts.get(trait, (0, 0)) == (holding.count(False), holding.count(True))

    @rule(keys=st.lists(LONG_KEYS, max_size=3), prefix=LONG_KEYS, later=LATER)
    def tally(self, keys, prefix, later):
        self.now += later
        self.agree(lambda store: store.tally([Tally("t", key, 2, self.now + later) for key in keys]))
        self.agree(lambda store: store.tallies("t", prefix=prefix, now=self.now))

    @rule(key=KEYS, accepted=st.integers(0, 3), refused=st.integers(0, 3), later=LATER)
    def remember(self, key, accepted, refused, later):
        self.now += later
        self.agree(lambda store: store.remember(key, accepted=accepted, refused=refused, now=self.now))
        self.agree(lambda store: store.history(["c", "b", "a"]))

    @rule(key=KEYS, length=st.integers(0, 60), later=LATER)
    def block(self, key, length, later):
        self.now += later
        self.agree(lambda store: store.block(Block(key, self.now, self.now + length, f"R{length}", "ID")))

    @rule(keys=st.lists(KEYS, max_size=3), later=LATER)
    def blocked(self, keys, later):
        self.now += later
        one, other = self.both(lambda store: store.blocked(keys, now=self.now))
        assert (one and one.until) == (other and other.until)  # of two that end together either may be told
        self.agree(lambda store: store.blocks(now=self.now))

    @rule(key=KEYS)
    def unblock(self, key):
        self.agree(lambda store: store.unblock(key))

    @rule(records=RECORDS)
    def put_records(self, records):
        self.agree(lambda store: store.put_records(records))

    @rule(query=QUERIES)
    def find_records(self, query):
        self.agree(lambda store: store.find_records(query))

    @rule(before=st.integers(0, 6), later=st.sampled_from([0, 100, 10_000_000]))
    def expire(self, before, later):
        self.now += later
        self.agree(lambda store: store.expire(now=self.now, records_before=before))
        self.sum_up()


Agreement.TestCase.settings = settings(
    max_examples=max(10, settings().max_examples * 2 // 5),
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestAgreement = Agreement.TestCase
