"""Records are written together, soon, and never in anybody's way."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from gatekeeper import log, metrics
from gatekeeper.model import Contribution, Reply, Thresholds
from gatekeeper.records import writer
from gatekeeper.records.document import ClientFacts, Decision, Record, RecordedFinding, RecordedRecipient, from_document
from gatekeeper.records.writer import MOST_FOLDS, Recorder, Settings, log_line
from gatekeeper.store.base import Forgotten, RecordQuery, StoredRecord
from gatekeeper.store.fallback import Fallback
from gatekeeper.store.memory import MemoryStore
from tests.support.fake_store import FakeStore

NOW = 1_800_000_000.0


def record(id_: str = "A", **changes: Any) -> Record:
    plain = Record(
        id=id_,
        time=NOW,
        duration=0.25,
        server="smtp",
        session="S",
        client=ClientFacts(address="192.0.2.7", helo="mx.example.org"),
        action="reject",
        reply=Reply.of(550, "5.7.1 no"),
        sender="ann@example.org",
        recipients=(RecordedRecipient("bob@example.net"),),
    )
    return replace(plain, **changes)


class Kept:
    """A recorder over a fake store and a clock that stands still until it is moved."""

    def __init__(self, **settings: Any) -> None:
        self.now = NOW
        self.store = FakeStore()
        self.recorder = Recorder(self.store, lambda: self.now, Settings(**settings))
        self.written = asyncio.Event()
        self.put: list[str] = []
        put = self.store.put_records

        async def put_and_tell(records: Sequence[StoredRecord]) -> None:
            await put(records)
            self.put += [one.id for one in records]
            if records:
                self.written.set()

        self.store.put_records = put_and_tell  # type: ignore[method-assign]  # tells when something was written

    async def records(self) -> dict[str, Record]:
        away, self.store.away = self.store.away, False
        found = await self.store.find_records(RecordQuery(limit=10_000))
        self.store.away = away
        return {one.id: from_document(one.document) for one in found}


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
async def running(kept: Kept) -> AsyncIterator[Kept]:
    kept.recorder = Recorder(kept.store, lambda: kept.now, Settings(write_every=0.001))
    task = asyncio.ensure_future(kept.recorder.run())
    yield kept
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def dropped(reason: str) -> float:
    return float(metrics.RECORDS_DROPPED[reason]._value.get())


async def test_putting_writes_nothing_and_a_turn_writes_all(kept: Kept):
    for n in range(250):
        kept.recorder.put(record(f"R{n}"))
    assert kept.store.asked == []
    await kept.recorder.turn()
    assert kept.store.asked == ["put_records"] * 3
    assert len(await kept.records()) == 250


async def test_run_writes_by_itself(running: Kept):
    running.recorder.put(record())
    await running.written.wait()
    assert list(await running.records()) == ["A"]


async def test_a_record_that_cannot_be_made_is_the_only_one_lost(kept: Kept, monkeypatch, caplog):
    def broken(_: Record) -> StoredRecord:
        raise ZeroDivisionError

    before = dropped("failed")
    kept.recorder.put(record("A"))
    with monkeypatch.context() as patched:
        patched.setattr(writer, "stored", broken)
        kept.recorder.put(record("BAD"))
    kept.recorder.put(record("B"))
    assert dropped("failed") - before == 1
    await kept.recorder.turn()
    assert sorted(await kept.records()) == ["A", "B"]
    assert "records_lost" in [line.msg for line in caplog.records]


async def test_a_bug_in_one_turn_does_not_end_the_others(running: Kept, monkeypatch, caplog):
    met = asyncio.Event()

    async def broken(records: Sequence[StoredRecord]) -> None:
        if records:
            met.set()
            raise ZeroDivisionError

    before = dropped("failed")
    with monkeypatch.context() as patched:
        patched.setattr(running.store, "put_records", broken)
        running.recorder.put(record("BAD"))
        await met.wait()
    assert dropped("failed") - before == 1
    running.recorder.put(record("GOOD"))
    await running.written.wait()
    assert list(await running.records()) == ["GOOD"]
    assert "records_lost" in [line.msg for line in caplog.records]


async def test_another_of_a_refusal_is_counted_without_a_record_of_its_own(kept: Kept):
    refusal = kept.recorder.refusal_id("a flood", NOW)
    assert not kept.recorder.counts(refusal)  # there is none to be counted in
    kept.recorder.fold(record(refusal))
    assert kept.recorder.counts(refusal)
    assert kept.recorder.counts(refusal)
    assert not kept.recorder.counts("never heard of")
    await kept.recorder.flush()
    [found] = await kept.store.find_records(RecordQuery(id=refusal))
    assert from_document(found.document).folded == 2


async def test_what_has_no_room_is_dropped_and_counted():
    kept = Kept(queue=2)
    before = dropped("queue_full")
    for name in "ABCD":
        kept.recorder.put(record(name))
    await kept.recorder.turn()
    assert sorted(await kept.records()) == ["A", "B"]
    assert dropped("queue_full") - before == 2


async def test_one_that_waits_is_replaced_though_the_queue_is_full():
    kept = Kept(queue=1)
    kept.recorder.put(record("A"))
    kept.recorder.put(record("A", action="defer"))
    await kept.recorder.turn()
    assert (await kept.records())["A"].action == "defer"


async def test_a_store_that_is_away_keeps_nobody_waiting_and_loses_nothing(kept: Kept):
    kept.store.away = True
    kept.recorder.put(record("A"))
    await kept.recorder.turn()
    kept.recorder.put(record("B"))
    kept.store.away = False
    await kept.recorder.turn()
    assert sorted(await kept.records()) == ["A", "B"]


async def test_a_store_that_was_away_comes_back_with_what_it_owes_though_no_mail_comes():
    primary, now = FakeStore(), [0.0]
    told: list[bool] = []
    store = Fallback(primary, MemoryStore(), told.append, clock=lambda: now[0])
    recorder = Recorder(store, lambda: NOW, Settings())
    primary.away = True
    recorder.put(record("A"))
    await recorder.turn()
    assert told == [False]
    primary.away = False
    now[0] += 60
    await recorder.turn()
    assert told == [False, True]
    assert [one.id for one in await primary.find_records(RecordQuery())] == ["A"]


async def test_a_record_replaced_while_it_is_written_is_written_again(kept: Kept, monkeypatch):
    put = kept.store.put_records

    async def slow(records):
        await put(records)
        if len(kept.store.asked) == 1:
            kept.recorder.put(record("A", action="tag"))

    monkeypatch.setattr(kept.store, "put_records", slow)
    kept.recorder.put(record("A"))
    await kept.recorder.turn()
    assert (await kept.records())["A"].action == "tag"


class TestFlushing:
    async def test_writes_what_waits(self, kept: Kept):
        kept.recorder.put(record())
        await kept.recorder.flush()
        await kept.recorder.flush()
        assert list(await kept.records()) == ["A"]

    async def test_tells_what_was_lost(self, kept: Kept, caplog):
        before = dropped("store_away")
        kept.store.away = True
        kept.recorder.put(record())
        await kept.recorder.flush()
        assert dropped("store_away") - before == 1
        assert "records_lost" in [line.msg for line in caplog.records]

    async def test_after_a_cancelled_run_loses_nothing(self, kept: Kept, monkeypatch):
        reached = asyncio.Event()
        put = kept.store.put_records

        async def stuck(records):
            reached.set()
            await asyncio.Event().wait()

        kept.recorder = Recorder(kept.store, lambda: kept.now, Settings(write_every=0.001))
        kept.recorder.put(record())
        monkeypatch.setattr(kept.store, "put_records", stuck)
        task = asyncio.ensure_future(kept.recorder.run())
        await reached.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        monkeypatch.setattr(kept.store, "put_records", put)
        await kept.recorder.flush()
        assert list(await kept.records()) == ["A"]


class TestFolding:
    def refuse(self, kept: Kept, key: str = "192.0.2.0/24 LISTED") -> str:
        id_ = kept.recorder.refusal_id(key, kept.now)
        kept.recorder.fold(record(id_, time=kept.now))
        return id_

    async def test_identical_refusals_of_a_minute_share_an_id(self, kept: Kept):
        first = self.refuse(kept)
        kept.now += 59
        assert self.refuse(kept) == first
        assert self.refuse(kept, "another network") != first
        kept.now += 1
        assert self.refuse(kept) != first

    async def test_the_first_is_written_at_once(self, kept: Kept):
        id_ = self.refuse(kept)
        await kept.recorder.turn()
        assert (await kept.records())[id_].folded == 0

    async def test_at_the_end_of_the_minute_the_record_counts_the_others(self, kept: Kept):
        id_ = self.refuse(kept)
        await kept.recorder.turn()
        for _ in range(41):
            self.refuse(kept)
        kept.now += 60
        await kept.recorder.turn()
        found = (await kept.records())[id_]
        assert found.folded == 41
        assert found.time == NOW

    async def test_many_that_end_together_let_others_have_their_turn_and_count_once(self, kept: Kept):
        for n in range(100):
            self.refuse(kept, str(n))
            self.refuse(kept, str(n))
        await kept.recorder.turn()
        kept.now += 60
        before = len(kept.put)
        turn = asyncio.ensure_future(kept.recorder.turn())
        await asyncio.sleep(0)
        assert 0 < len(kept.recorder._folds) < 100
        self.refuse(kept, "99")  # ends the old one itself
        await turn
        assert len(kept.put) - before == 101
        folded = [each.folded for each in (await kept.records()).values()]
        assert (folded.count(1), folded.count(0)) == (100, 1)

    async def test_flushing_ends_it_too(self, kept: Kept):
        id_ = self.refuse(kept)
        self.refuse(kept)
        await kept.recorder.flush()
        assert (await kept.records())[id_].folded == 1

    async def test_one_that_stayed_alone_is_not_written_twice(self, kept: Kept):
        id_ = self.refuse(kept)
        await kept.recorder.turn()
        kept.now += 61
        await kept.recorder.turn()
        assert kept.put == [id_]

    async def test_a_new_minute_ends_the_old_one(self, kept: Kept):
        first = self.refuse(kept)
        self.refuse(kept)
        kept.now += 60
        second = self.refuse(kept)
        await kept.recorder.turn()
        found = await kept.records()
        assert (found[first].folded, found[second].folded) == (1, 0)

    async def test_a_record_that_nobody_asked_an_id_for_is_put(self, kept: Kept):
        kept.recorder.fold(record("LATE"))
        await kept.recorder.turn()
        assert list(await kept.records()) == ["LATE"]

    async def test_networks_without_end_take_no_room_without_end(self, kept: Kept):
        first = self.refuse(kept, "first")
        self.refuse(kept, "first")
        for n in range(MOST_FOLDS):
            kept.recorder.refusal_id(str(n), kept.now)
        assert len(kept.recorder._folds) == len(kept.recorder._folded) == MOST_FOLDS
        await kept.recorder.turn()
        assert (await kept.records())[first].folded == 1

    async def test_a_clock_set_back_begins_a_new_minute(self, kept: Kept):
        first = self.refuse(kept)
        kept.now -= 1000
        assert self.refuse(kept) != first


class TestRetention:
    async def test_old_records_are_forgotten_by_and_by(self):
        kept = Kept(keep=100.0, expire_every=50.0)
        kept.recorder.put(record("OLD"))
        kept.recorder.put(record("NEW", time=NOW + 90))
        await kept.recorder.turn()
        await kept.recorder.forget()
        assert "expire" not in kept.store.asked
        kept.now += 150
        await kept.recorder.forget()
        assert list(await kept.records()) == ["NEW"]
        kept.now += 40
        await kept.recorder.forget()
        assert kept.store.asked.count("expire") == 1

    async def test_a_clock_that_was_far_ahead_ends_no_forgetting(self):
        kept = Kept(expire_every=50.0)
        kept.now += 86_400
        await kept.recorder.forget()
        kept.now -= 86_400
        await kept.recorder.forget()
        assert kept.store.asked.count("expire") == 2

    async def test_a_backlog_is_worked_off_without_a_pause(self, monkeypatch):
        """Of whatever: a table that strangers fill grows no less than records do."""
        kept = Kept(expire_every=50.0)
        left = [Forgotten(more=True), Forgotten(more=True), Forgotten()]

        async def expire(**_):
            return left.pop(0)

        monkeypatch.setattr(kept.store, "expire", expire)
        kept.now += 1000
        for _ in range(5):
            await kept.recorder.forget()
            kept.now += 1
        assert left == []
        kept.now += 10
        await kept.recorder.forget()  # it would fail if it asked once more

    async def test_a_store_that_is_away_is_asked_next_time(self):
        kept = Kept(expire_every=50.0)
        kept.now += 100
        kept.store.away = True
        await kept.recorder.forget()
        kept.store.away = False
        kept.now += 50
        await kept.recorder.forget()
        assert kept.store.asked.count("expire") == 2

    async def test_no_record_waits_while_a_large_store_forgets_nor_is_lost_by_a_bug_of_it(
        self, running: Kept, monkeypatch
    ):
        forgetting, over = asyncio.Event(), asyncio.Event()

        async def expire(**_):
            forgetting.set()
            await over.wait()
            raise KeyError("a bug")

        monkeypatch.setattr(running.store, "expire", expire)
        running.now += 1000
        await forgetting.wait()
        running.recorder.put(record("A"))
        await running.written.wait()
        running.written.clear()
        over.set()
        running.recorder.put(record("B"))
        await running.written.wait()
        assert sorted(await running.records()) == ["A", "B"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"queue": 0}, "queue"),
        ({"write_every": 0.0}, "write_every"),
        ({"write_every": 60.0}, "write_every"),
        ({"keep": 0.0}, "keep"),
        ({"fold": -1.0}, "fold"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        Settings(**settings)


DECISION = Decision(
    "reject",
    12_345,
    Thresholds(5000, 10_000),
    (Contribution("DNSBL_ZEN", 12_000), Contribution("HELO_IP", 345)),
    missing=("spf",),
    decided_by=None,
)


class TestLogLine:
    def test_says_who_to_whom_what_and_why(self):
        event, facts = log_line(record(decision=DECISION, size=1234, queue_id="4ABC"))
        assert log.line(event, facts) == (
            "mail_rejected id=A client=192.0.2.7 helo=mx.example.org from=ann@example.org to=bob@example.net size=1234"
            ' score=12.345 required=5 rules="DNSBL_ZEN=12,HELO_IP=0.345" action=reject reply="550 5.7.1 no"'
            " queue_id=4ABC missing=spf duration=0.25"
        )

    @pytest.mark.parametrize(
        ("action", "event"),
        [
            ("accept", "mail_accepted"),
            ("tag", "mail_tagged"),
            ("greylist", "mail_greylisted"),
            ("defer", "mail_deferred"),
            ("reject", "mail_rejected"),
            ("drop", "mail_dropped"),
            ("abandoned", "mail_abandoned"),
        ],
    )
    def test_each_outcome_has_its_event(self, action, event):
        assert log_line(record(action=action))[0] == event
        assert event in log.EVENTS

    def test_a_session_without_mail_has_another(self):
        assert log_line(record(action="drop", recipients=(), sender=None))[0] == "session_refused"

    def test_the_port_and_the_name_that_dns_confirms_stand_there(self):
        """Who is behind NAT can be told by the port alone (RFC 2505 §3.4)."""
        client = ClientFacts(address="192.0.2.7", port=4321)
        confirmed = {"type": "ReverseName", "name": "mail.example.net", "confirmed": True}
        for evidence, name in (
            (confirmed, "mail.example.net"),
            ({**confirmed, "confirmed": False}, None),
            (None, None),
        ):
            found = (RecordedFinding("RDNS", "text", evidence),)
            facts = log_line(record(client=client, findings=found))[1]
            assert (facts["port"], facts["name"]) == (4321, name)

    def test_the_null_sender_is_shown(self):
        assert log_line(record(sender=""))[1]["from"] == "<>"

    def test_many_recipients_are_counted(self):
        many = tuple(RecordedRecipient(f"r{n}@x") for n in range(10))
        facts = log_line(record(recipients=many, more_recipients=("a", "b"), unlisted=3))[1]
        assert facts["to"] == ["r0@x", "r1@x", "r2@x", "r3@x", "r4@x", "+10"]

    def test_what_strangers_say_stays_on_one_line(self):
        line = log.line(*log_line(record(sender="a\r\nmail_accepted id=B@x", reply=Reply.of(550, "a\nb"))))
        assert "\n" not in line
        assert "\r" not in line
