"""The store of many machines: Redis or Valkey, alone, with Sentinel, or as a cluster.

Every verb is one script (store/redis_scripts.py), so it is atomic there. All keys of a family (buckets, histories,
blocks, a kind of notes ...) share a hash tag: a cluster spreads families, not keys. What ends by itself is given an
end in Redis too, so that it goes even when nobody calls `expire`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gatekeeper.store import redis_lessons, search
from gatekeeper.store import redis_scripts as scripts
from gatekeeper.store.base import (
    HISTORY_KEPT,
    LESSONS,
    MOST_BLOCKS,
    MOST_LESSONS,
    MOST_RECORDS,
    MOST_ROWS,
    TRAITS,
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
    StoreAway,
    StoredRecord,
    Tally,
)
from gatekeeper.store.noticed import UNNOTICED, Noticed
from gatekeeper.store.redis_client import Client
from gatekeeper.store.redis_place import Place
from gatekeeper.wire.notation import read_json

LOOK_EVERY = 0.5
"""Seconds until a block made by another process counts here."""
FIND_WITHIN = 10.0
"""Seconds for a search of the records: only people wait for it."""
PORTION = 500
PORTIONS = 40
_LESSONS_TOGETHER = 20
LOOKED_THROUGH = 500
"""Records that one step of a search looks at."""
ROOT = "gatekeeper"
_BLOCK_KEYS = [f"{{{ROOT}:block}}:{part}" for part in ("change", "ends", "changes", "since", "reason", "record")]
_RECORDS = f"{{{ROOT}:record}}:"
_HISTORIES = f"{{{ROOT}:history}}:"
_KNOWN, _REFUSED = f"{_HISTORIES}last", f"{_HISTORIES}refused"
_BUCKET_ENDS = f"{{{ROOT}:bucket}}ends"
_SEEN_ENDS = f"{{{ROOT}:seen}}ends"
_KINDS = f"{{{ROOT}:kinds}}"
_CARRYING = f"{{{ROOT}:carrying}}"


class RedisStore:
    """Never fails when it is made: a Redis that does not answer raises StoreAway when it is asked."""

    def __init__(self, place: Place, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._client = Client(place)
        self._monotonic = monotonic
        self._blocks: dict[str, Block] = {}
        self._change = -1  # the last change of a block that is known here; -1 before the first look
        self._look_at = 0.0
        self._looked = 0.0  # when they were last known to be those in Redis
        self._noticed = Noticed()
        self._kinds: set[str] = set()  # families of notes and tallies that Redis knows of

    async def spend(self, charges: Sequence[Charge], *, now: float) -> list[float]:
        if not charges:
            return []
        arguments = [value for charge in charges for value in (repr(float(charge.cost)), repr(charge.per_second))]
        keys = [*(_bucket(charge.key) for charge in charges), _BUCKET_ENDS]
        levels = await self._client.script(scripts.SPEND, keys, [repr(now), *arguments])
        return [float(level) for level in levels]

    async def take(self, limits: Sequence[Limit], *, now: float) -> list[float]:
        if not limits:
            return []
        numbers = [repr(float(n)) for limit in limits for n in (limit.cost, limit.burst, limit.per_second)]
        keys = [*(_bucket(limit.key) for limit in limits), _BUCKET_ENDS]
        return [float(wait) for wait in await self._client.script(scripts.TAKE, keys, [repr(now), *numbers])]

    async def distinct(self, sightings: Sequence[Sighting], *, now: float) -> list[int]:
        if not sightings:
            return []
        arguments: list[Any] = [repr(now)]
        for sighting in sightings:
            arguments += [sighting.digest if sighting.member else b"", repr(sighting.window)]
        keys = [*(_set(sighting.key) for sighting in sightings), _SEEN_ENDS]
        return [int(count) for count in await self._client.script(scripts.DISTINCT, keys, arguments)]

    async def drop_sightings(self, keys: Sequence[str]) -> None:
        if keys:
            # Their places in the index of ends go when they would have ended.
            await self._client.command("DEL", *[_set(key) for key in keys])

    async def put_notes(self, notes: Sequence[Note]) -> None:
        for kind, some in _by_kind(notes):
            arguments = [value for n in some for value in (_text(n.key), _text(n.text), repr(n.until))]
            await self._client.script(scripts.PUT, await self._family("note", kind), arguments)

    async def notes(
        self, kind: str, keys: Sequence[str] = (), *, prefix: str = "", now: float, limit: int = 1000
    ) -> list[Note]:
        family = _family_keys("note", kind)
        if keys:
            wanted = sorted({_text(key) for key in keys})
            flat = await self._client.script(scripts.GET, family, [repr(now), *wanted])
        else:
            flat = await self._client.script(scripts.LIST, family, [repr(now), limit, _text(prefix)])
        return [Note(kind, key, value, float(until)) for key, value, until in _triples(flat)][:limit]

    async def swap_note(self, kind: str, key: str, *, old: str | None, new: Note | None, now: float) -> bool:
        before = ("absent", "") if old is None else ("is", _text(old))
        after = ("drop", "", "0") if new is None else ("put", _text(new.text), repr(new.until))
        family = await self._family("note", kind)
        return bool(await self._client.script(scripts.SWAP, family, [_text(key), repr(now), *before, *after]))

    async def drop_notes(self, kind: str, keys: Sequence[str]) -> int:
        wanted = sorted({_text(key) for key in keys})
        return int(await self._client.script(scripts.DROP, _family_keys("note", kind), wanted))

    async def tally(self, entries: Sequence[Tally]) -> None:
        for kind, some in _by_kind(entries):
            arguments = [value for e in some for value in (_text(e.key), e.amount, repr(e.until))]
            await self._client.script(scripts.ADD, await self._family("tally", kind), arguments)

    async def tallies(self, kind: str, *, prefix: str = "", now: float, limit: int = 100_000) -> list[Tally]:
        arguments = [repr(now), limit, _text(prefix)]
        flat = await self._client.script(scripts.LIST, _family_keys("tally", kind), arguments, within=FIND_WITHIN)
        return [Tally(kind, key, int(amount), float(until)) for key, amount, until in _triples(flat)]

    async def learn(self, kind: str, key: str, *, old: Lesson | None, new: Lesson | None) -> bool:
        before = ("absent", "") if old is None else ("is", redis_lessons.written(old))
        after: tuple[Any, ...] = ("drop", "", "")
        if new is not None:
            after = (redis_lessons.written(new), "spam" if new.spam else "ham", repr(new.until))
            await self._note_kind("lesson", kind)
        change = redis_lessons.changes(old, new)
        words = [_text(key), *before, *after, *change]
        return bool(await self._client.script(scripts.LEARN, redis_lessons.keys_of(ROOT, _text(kind)), words))

    async def lessons(self, kind: str, keys: Sequence[str] = (), *, after: str = "", limit: int = 500) -> list[Lesson]:
        texts, _, _, names, _ = redis_lessons.keys_of(ROOT, _text(kind))
        if keys:
            words = sorted({_text(key) for key in keys})
            flat = await self._client.script(scripts.LESSONS, [texts], words)
        else:
            start = f"({_text(after)}" if after else "-"
            flat = await self._client.script(scripts.LESSONS, [texts, names], [start, limit], within=FIND_WITHIN)
        parts = iter(flat)
        return [redis_lessons.read(kind, key, octets) for key, octets in zip(parts, parts, strict=True)][:limit]

    async def learned(self, kind: str, traits: Sequence[int] = ()) -> Learned:
        sums = redis_lessons.keys_of(ROOT, _text(kind))[-1]
        asked = [LESSONS, TRAITS, *traits]
        return redis_lessons.counted(asked, await self._client.command("HMGET", sums, *asked))

    async def remember(self, key: str, *, accepted: int, refused: int, now: float) -> History:
        name = _text(key)
        arguments = [name, accepted, refused, repr(now)]
        keys = [f"{_HISTORIES}h:{name}", _KNOWN, _REFUSED]
        found = await self._client.script(scripts.REMEMBER, keys, arguments)
        return _history(found)

    async def history(self, keys: Sequence[str]) -> list[History]:
        if not keys:
            return []
        names = [f"{_HISTORIES}h:{_text(key)}" for key in keys]
        found = await self._client.script(_READ_HISTORIES, names)
        return [_history(one) if one[0] is not None else History() for one in found]

    async def past(
        self, clients: Sequence[str], buckets: Sequence[str], *, now: float
    ) -> tuple[list[History], list[float]]:
        looks = [Charge(key, 0.0, 0.0) for key in buckets]
        asked = self.history(clients), self.spend(looks, now=now)  # which may live on two nodes
        histories, levels = await asyncio.gather(*asked)
        return histories, levels

    async def block(self, block: Block) -> None:
        arguments = [_text(block.key), repr(block.since), repr(block.until), _text(block.reason), _text(block.record)]
        await self._client.script(scripts.BLOCK, _BLOCK_KEYS, arguments)
        known = self._blocks.get(block.key)
        self._blocks[block.key] = block if known is None else known.extended(block)

    async def blocked(self, keys: Sequence[str], *, now: float) -> Block | None:
        """From memory; Redis is asked at most every half second which blocks have changed."""
        if self._change < 0 or self._monotonic() >= self._look_at:
            self._look_at = self._monotonic() + LOOK_EVERY  # others go on with what is known meanwhile
            await self._look(now)
        found = [self._blocks[key] for key in keys if key in self._blocks and self._blocks[key].holds(now)]
        return max(found, key=lambda block: block.until, default=None)

    async def blocks(self, *, now: float) -> list[Block]:
        _, found = await self._read_blocks("ends", now, within=FIND_WITHIN)
        return sorted(found, key=lambda block: (-block.until, block.key))

    async def unblock(self, key: str) -> bool:
        lifted = bool(await self._client.script(scripts.LIFT, _BLOCK_KEYS, [_text(key)]))
        self._blocks.pop(key, None)
        return lifted

    async def put_records(self, records: Sequence[StoredRecord]) -> None:
        newest = list({record.id: record for record in records}.values())
        if not newest:
            return
        arguments: list[Any] = [_RECORDS]
        for record in newest:
            arguments += [_text(record.id), repr(record.time), _written(record), json.dumps(_indexes(record))]
        await self._client.script(scripts.PUT_RECORDS, [_RECORDS], arguments)

    async def find_records(self, query: RecordQuery) -> list[StoredRecord]:
        if query.address:
            search.address_range(query.address)  # wrong is wrong even when there is nothing to compare it with
        wanted, found = search.most(query), dict[str, StoredRecord]()
        latest, offset = f"({query.until!r}" if query.until else "+inf", 0
        end = self._monotonic() + FIND_WITHIN
        while len(found) < wanted:
            # From where the last step ended, not by counting on: others write meanwhile, and would push all further.
            step = [_index(query), latest, repr(query.since), offset, LOOKED_THROUGH]
            looked, last, of_that_time, *texts = await self._client.script(
                scripts.FIND_RECORDS, [_RECORDS], step, within=FIND_WITHIN
            )
            some = (_read(text) for text in texts if text)
            found |= {record.id: record for record in some if search.matches(record, query)}
            if int(looked) < LOOKED_THROUGH:
                break
            moment = last.decode()
            offset = int(of_that_time) + (offset if moment == latest else 0)
            latest = moment
            if self._monotonic() >= end:
                raise StoreAway(f"the search took longer than {FIND_WITHIN:g} s: ask for a shorter time")
        return list(found.values())[:wanted]

    async def expire(self, *, now: float, records_before: float) -> Forgotten:
        told = self._noticed.by_all(self._change, self._monotonic())
        went = [await self._portions(scripts.FORGET_BLOCKS, _BLOCK_KEYS, [repr(now), told, PORTION])]
        self._blocks = {key: block for key, block in self._blocks.items() if block.until > now}
        went += [await self._portions(scripts.LIFT_BEYOND, _BLOCK_KEYS, [PORTION, MOST_BLOCKS])]
        ended = [repr(now), PORTION, MOST_ROWS]
        went += [await self._portions(scripts.FORGET_BUCKETS, [_BUCKET_ENDS], ended)]
        went += [await self._portions(scripts.FORGET_SIGHTINGS, [_SEEN_ENDS], ended)]
        unseen = [repr(now - HISTORY_KEPT), PORTION, MOST_ROWS, f"{_HISTORIES}h:"]
        went += [await self._portions(scripts.FORGET_HISTORIES, [_KNOWN], unseen)]
        went += [await self._portions(scripts.FORGET_HISTORIES, [_REFUSED, _KNOWN], unseen)]
        if self._kinds:  # of a Redis that was emptied they were gone, and what it learned since would stay for ever
            await self._client.command("SADD", _KINDS, *self._kinds)
        lessons = False
        for name in await self._client.command("SMEMBERS", _KINDS):
            what, _, kind = name.decode().partition(":")
            if what == "lesson":
                lessons |= await self._forget_lessons(kind, now)
            else:
                went += [await self._portions(scripts.FORGET_ENDED, _family_keys(what, kind), ended)]
        old = [repr(records_before), PORTION, MOST_RECORDS]
        records = await self._portions(scripts.FORGET_RECORDS, [_RECORDS], old)
        return Forgotten(records, more=lessons or max(records, *went) >= PORTION * PORTIONS)

    async def close(self) -> None:
        await self._client.close()

    async def empty(self) -> bool:
        """Whether nothing of ours is there yet; `gatekeeper store migrate` writes to no other."""
        known = [f"{_RECORDS}time", _KNOWN, _REFUSED, _BLOCK_KEYS[0], _KINDS, _BUCKET_ENDS, _SEEN_ENDS]
        return not any([await self._client.command("EXISTS", key) for key in known])

    async def half_carried(self) -> bool:
        """Whether what is there was being taken over from another store, and that did not come to its end."""
        return bool(await self._client.command("EXISTS", _CARRYING))

    async def carrying(self, *, begun: bool) -> None:
        """Remember that another store is being taken over, or that all of it is there."""
        await self._client.command(*(("SET", _CARRYING, "1") if begun else ("DEL", _CARRYING)))

    async def put_buckets(self, rows: Sequence[tuple[str, float, float, float]]) -> None:
        """Take over (key, level, at, per second) from another store, as these and the following stand there: twice is
        as once.
        """
        for key, *numbers in rows:
            words = [repr(number) for number in numbers]
            await self._client.script(scripts.PUT_BUCKET, [_bucket(key), _BUCKET_ENDS], words)

    async def put_histories(self, rows: Sequence[tuple[str, int, int, float, float]]) -> None:
        """(key, accepted, refused, first, last)."""
        for key, accepted, refused, first, last in rows:
            words = [_text(key), accepted, refused, repr(first), repr(last)]
            keys = [f"{_HISTORIES}h:{_text(key)}", _KNOWN, _REFUSED]
            await self._client.script(scripts.PUT_HISTORY, keys, words)

    async def put_tallies(self, entries: Sequence[Tally]) -> None:
        for kind, some in _by_kind(entries):
            arguments = [value for e in some for value in (_text(e.key), e.amount, repr(e.until))]
            await self._client.script(scripts.PUT, await self._family("tally", kind), arguments)

    async def put_sightings(self, rows: Sequence[tuple[str, bytes, float]], *, now: float) -> None:
        """(key, digest, until)."""
        for key, digest, until in rows:
            arguments = [repr(now), digest, repr(until - now)]
            await self._client.script(scripts.DISTINCT, [_set(key), _SEEN_ENDS], arguments)

    async def _forget_lessons(self, kind: str, now: float) -> bool:
        """Take back those that have ended, and those beyond `MOST_LESSONS` of a class. Whether there was a portion."""
        _, ham, spam, _, _ = redis_lessons.keys_of(ROOT, kind)
        full = False
        for ends in (ham, spam):
            ending = await self._client.script(scripts.ENDING_LESSONS, [ends], [repr(now), PORTION, MOST_LESSONS])
            full |= len(ending) >= PORTION
            for first in range(0, len(ending), _LESSONS_TOGETHER):
                some = [key.decode() for key in ending[first : first + _LESSONS_TOGETHER]]
                for lesson in await self.lessons(kind, some):
                    await self.learn(kind, lesson.key, old=lesson, new=None)
        return full

    async def _portions(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> int:
        total = 0
        for _ in range(PORTIONS):
            gone = int(await self._client.script(script, keys, arguments))
            total += gone
            if gone < PORTION:
                break
        return total

    async def _family(self, what: str, kind: str) -> list[str]:
        """The keys of a kind, which `expire` will know of from now on."""
        await self._note_kind(what, kind)
        return _family_keys(what, kind)

    async def _note_kind(self, what: str, kind: str) -> None:
        name = f"{what}:{_text(kind)}"
        if name not in self._kinds:
            await self._client.command("SADD", _KINDS, name)
            self._kinds.add(name)

    async def _read_blocks(self, by: str, after: float, within: float = 1.0) -> tuple[int, list[Block]]:
        arguments = [by, repr(after), MOST_BLOCKS]
        change, *flat = await self._client.script(scripts.BLOCKS, _BLOCK_KEYS, arguments, within=within)
        parts = iter([part.decode() for part in flat])
        rows = zip(parts, parts, parts, parts, parts, strict=True)
        return int(change), [
            Block(key, float(since), float(until), why, record) for key, since, until, why, record in rows
        ]

    async def _look(self, now: float) -> None:
        """Learn which blocks have changed, by the counter of changes. Whoever has not looked for long reads all of
        them: what was lifted meanwhile may have been forgotten.
        """
        began, known = self._monotonic(), self._change
        late = began - self._looked > UNNOTICED
        try:
            if known >= 0:
                change = int(await self._client.command("GET", _BLOCK_KEYS[0]) or 0)
                if change == known and not late:
                    self._looked = began
                    return
            if known < 0 or change < known or late:  # the first look, or another Redis has taken the old one's place
                change, news = await self._read_blocks("ends", now)
                self._blocks = {}
            else:
                change, news = await self._read_blocks("changes", known)
        except StoreAway:
            if known < 0:
                raise
            return  # blocks end by themselves; until then the last ones known hold
        for block in news:
            self._blocks[block.key] = block
        self._looked = began
        self._change = change


_READ_HISTORIES = """
local out = {}
for i, key in ipairs(KEYS) do out[i] = redis.call('HMGET', key, 'a', 'r', 'f', 'l') end
return out
"""


def _text(text: str) -> str:
    """Redis gets UTF-8, which has no lone surrogates."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _bucket(key: str) -> str:
    return f"{{{ROOT}:bucket}}:{_text(key)}"


def _set(key: str) -> str:
    return f"{{{ROOT}:seen}}:{_text(key)}"


def _family_keys(what: str, kind: str) -> list[str]:
    tag = f"{{{ROOT}:{what}:{_text(kind)}}}"
    return [f"{tag}:values", f"{tag}:ends", f"{tag}:keys"]


def _by_kind(items: Sequence[Any]) -> Iterator[tuple[str, list[Any]]]:
    for kind in dict.fromkeys(item.kind for item in items):
        yield kind, [item for item in items if item.kind == kind]


def _triples(flat: Sequence[bytes]) -> Iterator[tuple[str, str, str]]:
    parts = iter([part.decode() for part in flat])
    return zip(parts, parts, parts, strict=True)


def _history(found: Sequence[bytes]) -> History:
    accepted, refused, first, last = found
    return History(int(accepted), int(refused), float(first), float(last))


def _written(record: StoredRecord) -> str:
    who = (_text(record.sender), [_text(one) for one in record.recipients])
    facts = (_text(record.id), record.time, record.action, record.score, _text(record.address))
    return json.dumps([*facts, *who, _text(record.queue_id), _text(record.document)])


def _read(text: bytes) -> StoredRecord:
    name, when, action, score, address, sender, recipients, queue_id, document = read_json(text)
    return StoredRecord(name, when, action, score, address, sender, tuple(recipients), queue_id, document)


def _indexes(record: StoredRecord) -> list[str]:
    """Every index that a record stands in, by what it can be found by alone."""
    parties = dict.fromkeys((*record.recipients, *map(search.domain_of, record.recipients)))
    parties.pop("", None)
    sender = search.domain_of(record.sender)
    found = ["time", f"id:{record.id}", f"from:{record.sender}", f"address:{search.address_key(record.address).hex()}"]
    found += [f"from:{sender}"] if sender not in {"", record.sender} else []
    found += [f"queue:{record.queue_id}"] if record.queue_id else []
    return [_text(name) for name in (*found, *(f"to:{who}" for who in parties))]


def _index(query: RecordQuery) -> str:
    """The index that narrows a query most; what it does not say is compared afterwards."""
    if query.id:
        return _text(f"id:{query.id}")
    if query.queue_id:
        return _text(f"queue:{query.queue_id}")
    if query.recipient and search.party(query.recipient):
        return _text(f"to:{search.party(query.recipient)}")
    if query.sender:
        return _text(f"from:{search.party(query.sender)}")
    if query.address:
        first, last = search.address_range(query.address)
        if first == last:
            return f"address:{first.hex()}"
    return "time"
