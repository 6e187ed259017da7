import asyncio
import logging
import random

import pytest

from gatekeeper import metrics
from gatekeeper.checks.dnsbl import Dnsbl
from gatekeeper.checks.helo import Helo
from gatekeeper.dns.answer import Answer, Status
from gatekeeper.dns.desk import Desk
from gatekeeper.dns.fresh import Fresh
from gatekeeper.dns.health import Health, Probe, State, to_note
from gatekeeper.dns.lists import DnsList, Family
from gatekeeper.records.document import HEALTH, from_document
from gatekeeper.records.writer import Recorder, Settings
from gatekeeper.store.base import Note, RecordQuery
from gatekeeper.watch import KEPT, STATES, Messenger, Watch, host, listed_targets
from tests.support.fake_store import FakeStore

BL = DnsList("bl.test", "BL", 3.0, ipv6=False)
WL = DnsList("wl.test", "WL", -3.0, ipv6=False)
TARGETS = listed_targets([Dnsbl((BL, WL)), Helo()])
YES, NO, LOST = Answer(Status.OK, ("127.0.0.2",)), Answer(Status.NXDOMAIN), Answer(Status.TIMEOUT)
GOOD, SILENT, WORLD = (YES, NO, NO), (LOST, LOST, LOST), (YES, YES, YES)


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Scripted(Fresh):
    """Answers as it is told: `lists` by name of the list, the nameservers by `made_up` and `org`."""

    def __init__(self) -> None:
        super().__init__(["192.0.2.53:53"], timeout=0.1)
        self.lists = {"BL": GOOD, "WL": GOOD}
        self.made_up, self.org = NO, Answer(Status.OK, ("ns.org.",))
        self.probed: list[str] = []

    async def ask(self, name, rtype="A"):
        return self.org if name == "org" else self.made_up

    async def probe(self, target):
        self.probed.append(target.list.name)
        return Probe(target, *self.lists[target.list.name])


class Lab:
    def __init__(self, store=None) -> None:
        self.clock = Clock()
        self.store = store or FakeStore()
        self.desk = Desk()
        self.fresh = Scripted()
        self.recorder = Recorder(self.store, self.clock, Settings())
        self.watch = self.another(self.desk)

    def another(self, desk: Desk) -> Watch:
        async def fresh() -> Fresh:
            return self.fresh

        return Watch(
            TARGETS,
            fresh,
            desk=desk,
            store=self.store,
            recorder=self.recorder,
            clock=self.clock,
            lists_every=300.0,
            resolver_every=3600.0,
            dice=random.Random(1),
        )

    async def pass_time(self, seconds: float) -> None:
        end = self.clock.now + seconds
        while (due := self.watch.next_due) <= end:
            self.clock.now = max(self.clock.now, due)
            await self.watch.turn()
        self.clock.now = end

    async def records(self) -> list[str]:
        await self.recorder.flush()
        found = await self.store.find_records(RecordQuery(action=HEALTH))
        return [from_document(each.document).note for each in reversed(found)]

    def state(self, each: DnsList = BL, desk: Desk | None = None) -> State:
        return (desk or self.desk).health(each, Family.IPV4).state


@pytest.fixture
async def lab():
    """One whose lists have been tested well."""
    it = Lab()
    await it.pass_time(1)
    return it


def events(caplog) -> list[str]:
    return [record.msg for record in caplog.records]


def test_checks_with_lists_are_what_is_tested():
    assert [(each.list.name, each.family) for each in TARGETS] == [("BL", Family.IPV4), ("WL", Family.IPV4)]


async def test_lists_are_tested_at_once_after_the_start(lab):
    assert (lab.state(), lab.state(WL)) == (State.OK, State.OK)
    assert sorted(lab.fresh.probed) == ["BL", "WL"]


async def test_then_they_are_tested_at_random_times_within_each_interval(lab):
    lab.fresh.probed.clear()
    await lab.pass_time(3000)
    assert 10 <= lab.fresh.probed.count("BL") <= 21


@pytest.mark.parametrize(("answers", "state"), [(SILENT, State.DEAD), (WORLD, State.WORLD), ((NO, NO, NO), State.DEAD)])
async def test_a_change_is_known_within_one_interval_logged_counted_and_recorded(lab, answers, state, caplog):
    caplog.set_level(logging.INFO, "gatekeeper")
    lab.fresh.lists["BL"] = answers
    await lab.pass_time(300)
    assert (lab.state(), lab.state(WL)) == (state, State.OK)
    assert events(caplog) == ["list_state"]
    assert caplog.records[0].levelno == logging.WARNING
    shown = metrics.LIST_STATE.labels("DNSBL_BL", "ipv4", state.value)._value.get()
    votes = [metrics.LIST_VOTES.labels(name, "ipv4")._value.get() for name in ("DNSBL_BL", "DNSBL_WL")]
    assert (shown, votes) == (1, [0, 1])
    assert f"DNSBL_BL (bl.test, ipv4) was ok, is {state.value}" in (await lab.records())[-1]


@pytest.mark.parametrize("times", [1, 2])
async def test_one_timeout_or_two_in_a_row_change_no_state(lab, times, caplog):
    caplog.set_level(logging.INFO, "gatekeeper")
    lab.fresh.lists["BL"] = SILENT
    lab.fresh.probed.clear()
    while lab.fresh.probed.count("BL") < times:
        lab.clock.now = max(lab.clock.now, lab.watch.next_due)
        await lab.watch.turn()
    lab.fresh.lists["BL"] = GOOD
    await lab.pass_time(3000)
    assert lab.state() is State.OK
    assert events(caplog) == []


async def test_a_list_back_from_the_dead_votes_again_by_itself(lab):
    lab.fresh.lists["BL"] = SILENT
    await lab.pass_time(1000)
    assert lab.state() is State.DEAD
    lab.fresh.lists["BL"] = GOOD
    await lab.pass_time(300)
    assert lab.state() is State.OK
    assert "is ok: it passes its tests" in (await lab.records())[-1]


# --- the nameservers -------------------------------------------------------------------------------------------------


async def test_silent_nameservers_are_told_of_and_leave_the_lists_as_they_were(lab, caplog):
    caplog.set_level(logging.INFO, "gatekeeper")
    lab.fresh.lists = {"BL": SILENT, "WL": SILENT}
    lab.fresh.made_up = lab.fresh.org = LOST
    await lab.pass_time(1000)
    assert (lab.state(), lab.state(WL)) == (State.OK, State.OK)
    assert events(caplog) == ["resolver_unsound"]
    assert metrics.RESOLVER_FAULT["silent"]._value.get() == 1
    lab.fresh.lists = {"BL": GOOD, "WL": GOOD}
    lab.fresh.made_up, lab.fresh.org = NO, Answer(Status.OK, ("ns.org.",))
    await lab.pass_time(300)
    assert events(caplog) == ["resolver_unsound", "resolver_sound"]
    assert metrics.RESOLVER_FAULT["silent"]._value.get() == 0
    assert [text.split(":")[0] for text in await lab.records()][-2:] == ["resolver", "resolver"]


async def test_nameservers_that_invent_answers_are_told_of_instead_of_every_list(lab, caplog):
    caplog.set_level(logging.INFO, "gatekeeper")
    lab.fresh.lists = {"BL": WORLD, "WL": WORLD}
    lab.fresh.made_up = Answer(Status.OK, ("203.0.113.7",))
    await lab.pass_time(300)
    assert (lab.state(), events(caplog)) == (State.OK, ["resolver_unsound"])
    assert metrics.RESOLVER_FAULT["invents"]._value.get() == 1
    lab.fresh.made_up = NO
    await lab.watch.examine()


async def test_the_nameservers_are_tested_hourly(lab):
    asked: list[float] = []
    lab.watch.examine = lambda: _note(asked, lab.clock.now)
    await lab.pass_time(24 * 3600)
    assert 24 <= len(asked) <= 30


async def _note(asked: list[float], now: float) -> None:
    asked.append(now)


# --- many processes --------------------------------------------------------------------------------------------------


async def test_a_clock_that_is_set_back_puts_no_test_off(lab):
    lab.fresh.made_up = YES
    lab.clock.now -= 86400.0
    lab.fresh.probed.clear()
    await lab.watch.turn()
    assert lab.fresh.probed == ["BL", "WL"]
    assert metrics.RESOLVER_FAULT["invents"]._value.get() == 1
    lab.fresh.probed.clear()
    await lab.watch.turn()
    assert lab.fresh.probed == []


async def test_a_worker_learns_of_a_change_at_its_next_look(lab):
    desk = Desk()
    messenger = Messenger(desk, lab.store, lab.clock)
    await messenger.turn()
    assert lab.state(desk=desk) is State.OK
    lab.fresh.lists["BL"] = SILENT
    await lab.pass_time(300)
    await messenger.turn()
    assert (lab.state(desk=desk), lab.state(WL, desk)) == (State.DEAD, State.OK)


async def test_while_the_store_is_away_everybody_goes_by_what_they_knew(lab):
    desk = Desk()
    messenger = Messenger(desk, lab.store, lab.clock)
    await messenger.turn()
    lab.store.away = True
    lab.fresh.lists["BL"] = WORLD
    await lab.pass_time(300)
    await messenger.turn()
    assert (lab.state(), lab.state(desk=desk)) == (State.WORLD, State.OK)


async def test_an_alarm_of_a_worker_is_followed_by_a_test_at_once(lab):
    desk = Desk()
    desk._alarm("ipv4 bl.test", "refused")
    await Messenger(desk, lab.store, lab.clock).turn()
    lab.fresh.probed.clear()
    await lab.watch.turn()
    assert lab.fresh.probed == ["BL"]
    lab.fresh.probed.clear()
    await lab.watch.turn()
    assert lab.fresh.probed == []


async def test_a_breaker_that_trips_in_one_worker_takes_the_vote_away_in_all(lab, caplog):
    one, other = Desk(), Desk()
    messengers = [Messenger(desk, lab.store, lab.clock) for desk in (one, other)]
    for messenger in messengers:
        await messenger.turn()
    for number in range(5):
        one.wronged(["bl.test"], Family.IPV4, sender=f"ip:{number}", now=0.0)
    assert lab.state(desk=one) is State.WORLD
    await messengers[0].turn()
    assert lab.state(desk=one) is State.WORLD  # what the store still says is older
    await lab.watch.turn()
    for messenger in messengers:
        await messenger.turn()
    assert (lab.state(), lab.state(desk=one), lab.state(desk=other)) == (State.WORLD,) * 3
    assert "have long been good" in (await lab.records())[-1]
    await lab.pass_time(1700)
    assert lab.state() is State.WORLD
    await lab.pass_time(600)  # its half hour is over, and its tests are good
    assert lab.state() is State.OK


async def test_notes_and_alarms_that_nobody_of_ours_wrote_are_left_alone(lab):
    for kind in (STATES, "list_alarm"):
        for key, text in [
            (f"{host()} ipv4 bl.test", "no JSON"),
            (f"{host()} ipv4 deep.test", "[" * 20_000),
            (f"{host()} ipv4 gone.test", to_note(Health(State.DEAD))),
            ("elsewhere ipv4 wl.test", to_note(Health(State.DEAD))),
        ]:
            await lab.store.put_notes([Note(kind, key, text, lab.clock.now + 60)])
    await Messenger(lab.desk, lab.store, lab.clock).turn()
    await lab.watch.turn()
    await lab.another(lab.desk).load()
    assert lab.state(WL) is State.OK


async def test_whoever_starts_knows_how_the_lists_stood(lab):
    lab.fresh.lists["BL"] = (NO, NO, NO)  # its test point was seen, and is gone
    await lab.pass_time(300)
    desk = Desk()
    lab.watch = lab.another(desk)
    await lab.watch.load()
    assert lab.state(desk=desk) is State.DEAD
    await lab.pass_time(KEPT / 100)
    assert lab.state(desk=desk) is State.DEAD


async def test_a_bug_in_one_turn_is_logged_and_ends_nothing(lab, caplog, monkeypatch):
    turned = asyncio.Event()

    async def broken():
        turned.set()
        raise RuntimeError("bug")

    monkeypatch.setattr(lab.watch, "turn", broken)
    running = asyncio.create_task(lab.watch.run())
    await turned.wait()
    assert (events(caplog), running.done()) == (["check_failed"], False)
    running.cancel()
    await asyncio.wait([running])
