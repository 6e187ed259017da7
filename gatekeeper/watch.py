"""Keeps the health of DNS lists and nameservers: tests them in one process, and lets all processes know.

`Watch` tests, in the controller. What it finds goes into the store as notes, the log, metrics and records. `Messenger`
brings the notes to a worker's desk, and what mail has shown there back to the watch, each within half a second. Where
the store is this process's own memory there is nobody to share with, and each process has a watch of its own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import random
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gatekeeper import log, metrics
from gatekeeper.checks.base import Check
from gatekeeper.dns.desk import Alarm, Desk
from gatekeeper.dns.fresh import FAULTS, Fresh, ResolverProbe, examine_resolver
from gatekeeper.dns.health import Change, Health, Outcome, Probe, State, Target, from_note, targets_of, to_note
from gatekeeper.dns.lists import DnsList, Family
from gatekeeper.model import Reply
from gatekeeper.records.document import HEALTH, ClientFacts, Record, RecordedFinding
from gatekeeper.records.writer import Recorder
from gatekeeper.store.base import Note, Store, StoreAway
from gatekeeper.wire.notation import read_json

EVERY: Final = 0.5
"""Seconds between two looks at the store."""
AGAIN: Final = 5.0
"""Seconds, about, until a test that was not good is repeated."""
AT_ONCE: Final = 10
"""Lists tested at the same time."""
KEPT: Final = 30 * 86400.0
"""Seconds that the health of a list is remembered; whoever starts within them knows whose test point was seen."""
RENEWED: Final = 86400.0
STATES, ALARMS = "list_health", "list_alarm"
ALARM_KEPT: Final = 60.0
_NOT_ITS_DOING: Final = {Outcome.SILENT: "silent", Outcome.WORLD: "invents"}
"""What the nameservers alone do to every list at once: then they are told of, and the lists stay as they were."""


def host() -> str:
    """Whose health it is: another machine's nameservers may be refused where ours are not."""
    return socket.gethostname()


def lists_of(checks: Sequence[Check]) -> list[DnsList]:
    """The DNS lists that these checks ask: those of checks that have `lists`, and `families` to ask them about."""
    return [each for check in checks if getattr(check, "families", ()) for each in getattr(check, "lists", ())]


def listed_targets(checks: Sequence[Check]) -> list[Target]:
    """What is to be tested of the lists of these checks; a zone that two of them ask about the same, once."""
    found: dict[str, Target] = {}
    for check in checks:
        lists: tuple[DnsList, ...] = getattr(check, "lists", ())
        families: tuple[Family, ...] = getattr(check, "families", ())
        for target in targets_of(lists, families):
            found.setdefault(target.key, target)
    return list(found.values())


@dataclass(slots=True)
class _Watched:
    target: Target
    health: Health
    due: float
    noted: float = 0.0


class Watch:
    """Tests what it is given until it is cancelled. `clock` gives Unix time."""

    def __init__(
        self,
        targets: Sequence[Target],
        fresh: Callable[[], Awaitable[Fresh]],
        *,
        desk: Desk,
        store: Store,
        recorder: Recorder,
        clock: Callable[[], float],
        lists_every: float,
        resolver_every: float,
        dice: random.Random | None = None,
    ) -> None:
        """`fresh` gives somebody who asks the nameservers of the moment."""
        self._fresh = fresh
        self._desk = desk
        self._store = store
        self._recorder = recorder
        self._clock = clock
        self._every = lists_every
        self._resolver_every = resolver_every
        self._dice = dice or random.SystemRandom()
        now = clock()
        self._watched = {target.key: _Watched(target, Health(since=now), now) for target in targets}
        self._resolver_due = now
        self._faults: tuple[str, ...] | None = None
        self._places = asyncio.Semaphore(AT_ONCE)
        metrics.RESOLVER_FAULT.declare(FAULTS)
        for watched in self._watched.values():
            self._show(watched)

    async def load(self) -> None:
        """What was known when we ended. Call it before `run`, and before mail is taken."""
        try:
            notes = await self._store.notes(STATES, prefix=f"{host()} ", now=self._clock())
        except StoreAway:
            return
        for note in notes:
            watched = self._watched.get(note.key.removeprefix(f"{host()} "))
            health = _read(note)
            if watched is not None and health is not None:
                watched.health = health
                self._show(watched)
        self._desk.learn({key: watched.health for key, watched in self._watched.items()})

    async def run(self) -> None:
        await self.load()
        async with asyncio.TaskGroup() as turns:
            while True:
                turns.create_task(self._guarded())
                await asyncio.sleep(EVERY)

    @property
    def next_due(self) -> float:
        """When `turn` has something to test next (Unix time)."""
        return min((self._resolver_due, *(watched.due for watched in self._watched.values())))

    async def _guarded(self) -> None:
        try:
            await self.turn()
        except Exception as bug:  # noqa: BLE001  # a border: a bug here must not take the process down
            log.traceback_once("check_failed", bug, check="list_health")

    async def turn(self) -> list[Change]:
        """Everything that is due now, done. May be called while an earlier call is still at it."""
        await self._hear()
        now = self._clock()
        if _is_due(self._resolver_due, now, self._resolver_every):
            self._resolver_due = now + self._resolver_every * self._dice.uniform(0.8, 1.0)
            await self.examine()
        due = [watched for watched in self._watched.values() if _is_due(watched.due, now, self._every)]
        for watched in due:
            watched.due = math.inf
        changes = await asyncio.gather(*(self._test(watched) for watched in due))
        return [change for change in changes if change is not None]

    async def examine(self) -> ResolverProbe:
        """Test the nameservers; a change is told."""
        probe = await examine_resolver(await self._fresh())
        for fault in FAULTS:
            metrics.RESOLVER_FAULT[fault].set(fault in probe.faults)
        if probe.faults:
            # It is to be told soon that they are well again.
            self._resolver_due = min(self._resolver_due, self._clock() + self._every * self._dice.uniform(0.5, 0.75))
        if probe.faults != self._faults:
            first, self._faults = self._faults is None, probe.faults
            if probe.faults:
                log.event("resolver_unsound", level=logging.ERROR, faults=list(probe.faults), why=probe.why)
            else:
                log.event("resolver_sound")
            if not first or probe.faults:
                self._record("RESOLVER", f"resolver: {probe.why or 'sound'}", {"faults": list(probe.faults)})
        return probe

    async def _hear(self) -> None:
        """Alarms: of our own desk, and of the workers'."""
        alarms = self._desk.take_alarms()
        prefix = f"{host()} "
        try:
            notes = await self._store.notes(ALARMS, prefix=prefix, now=self._clock())
            if notes:
                await self._store.drop_notes(ALARMS, [note.key for note in notes])
        except StoreAway:
            notes = []
        for note in notes:
            try:
                read = read_json(note.text)
                alarms.append(Alarm(note.key.removeprefix(prefix), str(read["why"])[:200], trips=read["trips"] is True))
            except (ValueError, KeyError, TypeError):
                continue
        for alarm in alarms:
            await self._alarm(alarm)

    async def _alarm(self, alarm: Alarm) -> None:
        watched = self._watched.get(alarm.key)
        if watched is None:
            return
        now = self._clock()
        if alarm.trips:
            before = watched.health
            watched.health = before.tripped(alarm.why, now=now)
            await self._tell(watched, before)
        if watched.due - now > AGAIN and watched.due is not math.inf:
            watched.due = now

    async def _test(self, watched: _Watched) -> Change | None:
        outcome = Outcome.UNKNOWN
        try:
            async with self._places:
                fresh = await self._fresh()
                probe: Probe = await fresh.probe(watched.target)
                outcome = probe.outcome
                blamed = _NOT_ITS_DOING.get(outcome)
                if blamed is not None and blamed in (await self.examine()).faults:
                    outcome = Outcome.UNKNOWN
            metrics.LIST_TESTS[outcome.value].inc()
            before, now = watched.health, self._clock()
            watched.health = before.after(outcome, now=now)
            if watched.health.state is not before.state:
                await self._tell(watched, before)
                return Change(watched.target, before, watched.health)
            if now >= watched.noted + RENEWED or watched.health.seen != before.seen:
                await self._note(watched)
            return None
        finally:
            watched.due = self._clock() + self._pause(watched.health, outcome)

    def _pause(self, health: Health, outcome: Outcome) -> float:
        """Until the next test. What speaks against the state is looked at again soon; the rest at random times."""
        good = outcome in {Outcome.GOOD, Outcome.SLOW} or (outcome is Outcome.EMPTY and not health.seen)
        if outcome is not Outcome.UNKNOWN and good is not health.state.votes and health.held <= self._clock():
            return min(AGAIN, self._every / 20) * self._dice.uniform(0.8, 1.2)
        # So that three tests in a row still fit into the interval within which the operator is to be told.
        return self._every * self._dice.uniform(0.5, 0.75)

    # --- telling

    async def _tell(self, watched: _Watched, before: Health) -> None:
        health, each = watched.health, watched.target.list
        self._desk.learn({watched.target.key: health})
        worse = not health.state.votes or health.state is State.DEGRADED
        log.event(
            "list_state",
            level=logging.WARNING if worse else logging.INFO,
            list=watched.target.name,
            zone=each.shown,
            family=watched.target.family.value,
            before=before.state.value,
            state=health.state.value,
            votes=health.state.votes,
            why=health.why,
        )
        metrics.LIST_CHANGES.labels(watched.target.name, watched.target.family.value, health.state.value).inc()
        self._show(watched)
        whom = f"{watched.target.name} ({each.shown}, {watched.target.family.value})"
        text = f"{whom} was {before.state.value}, is {health.state.value}: {health.why}"
        facts = {
            "list": watched.target.name,
            "zone": each.shown,
            "family": watched.target.family.value,
            "before": before.state.value,
            "state": health.state.value,
            "votes": health.state.votes,
        }
        self._record("DNS_LIST", text, facts)
        await self._note(watched)

    async def _note(self, watched: _Watched) -> None:
        now = self._clock()
        note = Note(STATES, f"{host()} {watched.target.key}", to_note(watched.health), now + KEPT)
        try:
            await self._store.put_notes([note])
        except StoreAway:
            return  # our own desk knows; the others learn at the next change, or when this is tried again
        watched.noted = now

    def _record(self, rule: str, text: str, facts: Mapping[str, object]) -> None:
        now = self._clock()
        self._recorder.keep(
            Record(
                id=self._recorder.new_id(),
                time=now,
                duration=0.0,
                server="watch",
                session="",
                client=ClientFacts(),
                action=HEALTH,
                reply=Reply.of(0, text),
                findings=(RecordedFinding(f"{rule}_HEALTH", text, {"type": "Health", **facts}),),
                note=text,
            )
        )

    @staticmethod
    def _show(watched: _Watched) -> None:
        target, health = watched.target, watched.health
        for state in State:
            metrics.LIST_STATE.labels(target.name, target.family.value, state.value).set(state is health.state)
        metrics.LIST_VOTES.labels(target.name, target.family.value).set(health.state.votes)


class Messenger:
    """Between a worker's desk and the watch, by the store."""

    def __init__(self, desk: Desk, store: Store, clock: Callable[[], float]) -> None:
        self._desk = desk
        self._store = store
        self._clock = clock
        self._known: dict[str, str] = {}

    async def run(self) -> None:
        while True:
            await self.turn()
            await asyncio.sleep(EVERY)

    async def turn(self) -> None:
        """Once to and fro. While the store is away everybody goes by what they knew last."""
        now = self._clock()
        prefix = f"{host()} "
        alarms = [
            Note(
                ALARMS,
                prefix + alarm.key,
                json.dumps({"why": alarm.why[:200], "trips": alarm.trips}),
                now + ALARM_KEPT,
            )
            for alarm in self._desk.take_alarms()
        ]
        try:
            if alarms:
                await self._store.put_notes(alarms)
            notes = await self._store.notes(STATES, prefix=prefix, now=now)
        except StoreAway:
            return
        for note in notes:
            if self._known.get(note.key) != note.text:
                self._known[note.key] = note.text
                health = _read(note)
                if health is not None:
                    self._desk.learn({note.key.removeprefix(prefix): health})


def _is_due(due: float, now: float, every: float) -> bool:
    """Nothing is put off for longer than that: it was, before the clock was set back."""
    return due <= now or every < due - now < math.inf


def _read(note: Note) -> Health | None:
    try:
        return from_note(note.text)
    except ValueError:  # of another version
        return None
