"""Keeps records: queued when the outcome is known, written together within a second, forgotten after a while.

Nobody waits for a record. What does not fit is dropped and counted; a SIGKILL loses the last second of records.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from gatekeeper import log, metrics
from gatekeeper.model import Duration, setting
from gatekeeper.records.document import ABANDONED, Record, points
from gatekeeper.records.ids import new_id
from gatekeeper.records.record import stored
from gatekeeper.store.base import Store, StoreAway, StoredRecord

AT_ONCE = 100
"""Records in one transaction."""
IN_A_ROW = 10
"""Folds ended before others have a turn on the loop; one takes some 0.1 ms."""
MOST_FOLDS = 5_000
SHOWN = 5
"""Recipients and replies that a log line shows."""


@dataclass(frozen=True, slots=True)
class Settings:
    """[records]"""

    keep: Duration = setting(14 * 86400.0, "How long a record is kept.")
    queue: int = setting(5_000, "Records of one worker that may wait to be written; more are dropped and counted.")
    write_every: Duration = setting(0.5, "How often the records that wait are written, all together.")
    fold: Duration = setting(60.0, "How long identical refusals of one network share one record.")
    expire_every: Duration = setting(300.0, "How often old records, ended blocks and empty counters are forgotten.")

    def __post_init__(self) -> None:
        if self.queue < 1:
            raise ValueError("queue must be at least 1, or no record could ever be kept")
        if not 0 < self.write_every <= 10:
            raise ValueError('write_every must be above 0 and at most "10s": what waits is lost in a power cut')
        if self.keep <= 0 or self.fold <= 0 or self.expire_every <= 0:
            raise ValueError("keep, fold and expire_every must be above 0")


@dataclass(slots=True)
class _Fold:
    """Identical refusals of one network that share an id: the first one's record, and how many came after it."""

    key: str
    id: str
    since: float
    record: Record | None = None
    more: int = 0


class Recorder:
    """The records of one process. `run` writes them until it is cancelled; then `flush` writes what is left."""

    def __init__(self, store: Store, clock: Callable[[], float], settings: Settings) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        # As documents: what they are made from takes three times as much, and while a store is slow many wait.
        self._queue: OrderedDict[str, StoredRecord] = OrderedDict()
        self._folds: OrderedDict[str, _Fold] = OrderedDict()  # by key, oldest first
        self._folded: dict[str, _Fold] = {}  # the same by id
        # Not all workers at the same moment.
        self._expire_at = clock() + settings.expire_every * (0.5 + secrets.randbelow(1000) / 1000)

    def new_id(self) -> str:
        return new_id(self._clock())

    def put(self, record: Record) -> None:
        """Log it and queue it. An id that is still waiting is replaced."""
        event, facts = log_line(record)
        log.event(event, **facts)
        self.keep(record)

    def keep(self, record: Record) -> None:
        """Queue it, where it is no mail's and has been logged in other words. Never raises."""
        if record.id not in self._queue and len(self._queue) >= self._settings.queue:
            metrics.RECORDS_DROPPED["queue_full"].inc()
            return
        try:
            self._queue[record.id] = stored(record)
        except Exception as bug:  # noqa: BLE001  # a border: the records must not take the mail down with them
            log.traceback_once("records_lost", bug, count=1)
            metrics.RECORDS_DROPPED["failed"].inc()

    def refusal_id(self, key: str, now: float) -> str:
        """The id for a refusal before DATA; `key` says what makes two of them identical (network, rule, answer).

        Within a minute of the first one it is the same.
        """
        fold = self._folds.get(key)
        if fold is not None and 0 <= now - fold.since < self._settings.fold:
            return fold.id
        if fold is not None:
            self._end(fold)
        if len(self._folds) >= MOST_FOLDS:
            self._end(next(iter(self._folds.values())))
        fold = _Fold(key, new_id(now), now)
        self._folds[key] = self._folded[fold.id] = fold
        return fold.id

    def counts(self, refusal_id: str) -> bool:
        """Count one more under the id of a refusal whose record is there already; False where it has yet to be made."""
        fold = self._folded.get(refusal_id)
        if fold is None or fold.record is None:
            return False
        fold.more += 1
        metrics.RECORDS_FOLDED.inc()
        return True

    def fold(self, record: Record) -> None:
        """Keep a record made with a `refusal_id`: the first is put at once, so that it can be found; others count."""
        fold = self._folded.get(record.id)
        if fold is None:
            self.put(record)
        elif fold.record is None:
            fold.record = record
            self.put(record)
        else:
            fold.more += 1
            metrics.RECORDS_FOLDED.inc()

    async def run(self) -> None:
        """Write and end folds, and beside it forget, again and again; a bug in one turn does not end the others."""
        async with asyncio.TaskGroup() as works:
            works.create_task(self._keep_writing())
            works.create_task(self._keep_forgetting())

    async def _keep_writing(self) -> None:
        while True:
            await asyncio.sleep(self._settings.write_every)
            try:
                await self.turn()
            except Exception as bug:  # noqa: BLE001  # a border: the records must not take the mail down with them
                log.traceback_once("records_lost", bug, count=len(self._queue))
                self._drop("failed", len(self._queue))

    async def _keep_forgetting(self) -> None:
        while True:
            await asyncio.sleep(self._settings.write_every)
            try:
                await self.forget()
            except Exception as bug:  # noqa: BLE001  # a border: as above
                log.traceback_once("forgetting_failed", bug)

    async def turn(self) -> None:
        """What is to be written now."""
        now = self._clock()
        ended = [fold for fold in self._folds.values() if not 0 <= now - fold.since < self._settings.fold]
        for number, fold in enumerate(ended, 1):
            if self._folds.get(fold.key) is fold:  # another refusal may have ended it meanwhile
                self._end(fold)
            if number % IN_A_ROW == 0:
                await asyncio.sleep(0)
        await self._write()

    async def forget(self) -> None:
        """What has to go, where it is time. In a large store that takes long, and no record waits for it."""
        now = self._clock()
        if 0 < self._expire_at - now <= 2 * self._settings.expire_every:  # more: the clock was set back since
            return
        self._expire_at = now + self._settings.expire_every
        try:
            forgotten = await self._store.expire(now=now, records_before=now - self._settings.keep)
        except StoreAway:
            return  # the next time will do
        if forgotten.more:
            self._expire_at = now + self._settings.write_every

    async def flush(self) -> None:
        """Write everything, folds too. What the store does not take is lost, and said to be. May be called twice."""
        for fold in list(self._folds.values()):
            self._end(fold)
        if not await self._write():
            log.event("records_lost", level=logging.ERROR, count=len(self._queue), why="the store is away")
            self._drop("store_away", len(self._queue))

    def _end(self, fold: _Fold) -> None:
        """Its minute is over, and the record says how many it stands for."""
        self._folds.pop(fold.key, None)
        self._folded.pop(fold.id, None)
        if fold.record is not None and fold.more:
            self.put(replace(fold.record, folded=fold.more))

    async def _write(self) -> bool:
        """Whether everything was written; what was not stays in the queue.

        The store is called upon with nothing too: so one that was away comes back, with what it owes, though no mail
        comes. Monitoring may be keeping mail from us until then.
        """
        if not self._queue:
            try:
                await self._store.put_records(())
            except StoreAway:
                return True  # there is nothing to lose
        while self._queue:
            some = list(itertools.islice(self._queue.values(), AT_ONCE))
            try:
                await self._store.put_records(some)
            except StoreAway:
                return False
            metrics.RECORDS_WRITTEN.inc(len(some))
            for record in some:
                if self._queue.get(record.id) is record:  # a newer one may have come meanwhile
                    del self._queue[record.id]
        return True

    def _drop(self, reason: str, count: int) -> None:
        for _ in range(count):
            self._queue.popitem(last=False)
        metrics.RECORDS_DROPPED[reason].inc(count)


_EVENTS = {
    "accept": "mail_accepted",
    "tag": "mail_tagged",
    "greylist": "mail_greylisted",
    "defer": "mail_deferred",
    "reject": "mail_rejected",
    "drop": "mail_dropped",
    ABANDONED: "mail_abandoned",
}


def log_line(record: Record) -> tuple[str, dict[str, Any]]:
    """The event and the facts of a record's one line: who, to whom, what and why. Facts are escaped by the log."""
    everyone = [one.address for one in record.recipients]
    count = len(everyone) + len(record.more_recipients) + record.unlisted
    shown = everyone[:SHOWN] + ([f"+{count - SHOWN}"] if count > SHOWN else [])
    decision = record.decision
    rules = [f"{one.rule}={points(one.millis)}" for one in record.contributions]
    event = _EVENTS.get(record.action, "mail_deferred")
    if record.action == "drop" and not everyone:
        event = "session_refused"
    return event, {
        "id": record.id,
        "client": record.client.address,
        "port": record.client.port,
        "name": record.client.name or _confirmed_name(record),
        "helo": record.client.helo,
        "from": None if record.sender is None else record.sender or "<>",
        "to": shown or None,
        "size": record.size,
        "message_id": record.message_id or None,
        "score": None if decision is None else points(decision.millis),
        "required": None if decision is None else points(decision.thresholds.tag),
        "rules": rules or None,
        "decided_by": None if decision is None else decision.decided_by,
        "action": record.action,
        "reply": _first_line(record),
        "queue_id": record.queue_id or None,
        "missing": None if decision is None else list(decision.missing) or None,
        "note": record.note or None,
        "folded": record.folded or None,
        "duration": record.duration,
    }


def _confirmed_name(record: Record) -> str | None:
    """The client's name as DNS has it both ways, where that was looked up."""
    for one in record.findings:
        if one.evidence is not None and one.evidence.get("type") == "ReverseName" and one.evidence.get("confirmed"):
            return str(one.evidence.get("name"))
    return None


def _first_line(record: Record) -> str:
    return f"{record.reply.code} {record.reply.lines[0] if record.reply.lines else ''}"[:200]
