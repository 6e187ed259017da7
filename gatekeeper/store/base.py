"""The verbs of the store. Each is atomic in every backend; the same contract tests run on all of them.

Keys are short text such as "ip:192.0.2.1" or "net:192.0.2.0/24". Times are Unix seconds given by the caller: a
backend reads no clock, so that a test can move time. A backend raises `StoreAway` when it cannot answer, at once
or within its own deadline of one second, and never anything else for a fault outside the program; after it, it is
not known whether a change was made. Text may hold any character; lone surrogates are written as backslash escapes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Protocol

HISTORY_KEPT = 90 * 86400.0
"""Seconds after which a client that did not come back is forgotten."""
UNLEAKING_KEPT = 30 * 86400.0
"""Seconds after which a bucket that never leaks is forgotten."""
AHEAD = 600.0
"""Seconds by which clocks may differ. A time further ahead was told by a clock that was wrong, and does not count."""
DISTINCT_MOST = 2048
"""Members of one set that are told apart; a set that is full counts as this many."""
NOTE_MOST = 65_536
"""Characters of one note's text."""
MOST_ROWS = 2_000_000
"""Buckets, histories, sightings, notes and tallies that are kept, of each; in Redis of each kind of notes and tallies.

Of more than that those that would end first go; of histories first those of whom nothing was ever accepted, since
anybody can have as many of them as there are names to say in HELO; of notes and tallies those of the kind that has
most, so that what strangers cause does not push out what an operator has entered.
"""
MOST_BLOCKS = 100_000
"""Blocks that are kept; of more than that, those that would end first are lifted."""
MOST_RECORDS = 10_000_000
"""Records that are kept, some 30 GB; of more than that, the oldest go."""
MOST_LESSONS = 5_000
"""Lessons of one kind and class that are kept; of more than that, those that would end first go."""
LESSONS, TRAITS = -1, -2
"""Stand among the traits, in the sums that a backend keeps: the lessons of a class, and how many traits they have."""
MOST_TRAITS = 1_000
"""Traits of one lesson; who has more to teach chooses among them."""


class StoreAway(Exception):
    """The store did not answer, or is full or locked; the caller goes on without it."""


class StoreUnusable(Exception):
    """At start: the store cannot be used as configured. The text is one sentence for the operator, with the mend."""


@dataclass(frozen=True, slots=True)
class Charge:
    """Something spent from a leaky bucket: `cost` units now, leaking at `per_second` units a second.

    A negative cost gives back. The rate is the caller's word each time: it counts for the time since the last change.
    """

    key: str
    cost: float
    per_second: float


@dataclass(frozen=True, slots=True)
class Bucket:
    """A leaky bucket as it stood when it was last changed (`at`), leaking at `per_second`. A backend that does this
    sum in its own language is held to this one by the contract tests.
    """

    level: float = 0.0
    at: float = 0.0
    per_second: float = 0.0

    def spend(self, charge: Charge, *, now: float) -> Bucket:
        leaked = max(0.0, self.level - charge.per_second * max(0.0, now - self.at))
        at = max(self.at, now) if self.at <= now + AHEAD else now
        return Bucket(max(0.0, leaked + charge.cost), at, charge.per_second)

    def drained(self, now: float) -> bool:
        if self.per_second <= 0:
            return self.level <= 0 or self.at < now - UNLEAKING_KEPT
        return self.level <= self.per_second * (now - self.at)


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit on a rate (GCRA): `cost` units now, of `burst` that may come at once and `per_second` in the long run.

    It is a leaky bucket with a brim, kept under the same keys as those of `Charge`. What costs more than the burst
    has room when nothing else was taken.
    """

    key: str
    cost: float
    burst: float
    per_second: float

    def wait(self, level: float) -> float:
        """Seconds until a bucket at this level has room; 0.0 now, infinity where it never leaks."""
        over = level + min(self.cost, self.burst) - self.burst
        if over <= 1e-9:  # a sum of fractions: a billionth is nobody's
            return 0.0
        return over / self.per_second if self.per_second > 0 else float("inf")


@dataclass(frozen=True, slots=True)
class Sighting:
    """`member` was seen under `key`, and counts there for `window` seconds. Only a digest of the member is kept; the
    empty one is nobody: it only looks.
    """

    key: str
    member: str
    window: float

    @property
    def digest(self) -> bytes:
        return blake2b(self.member.encode("utf-8", "surrogateescape"), digest_size=8).digest()


@dataclass(frozen=True, slots=True)
class Note:
    """Something small to be remembered until then, such as JSON text. A `kind` is one user's own name space."""

    kind: str
    key: str
    text: str
    until: float

    def __post_init__(self) -> None:
        if len(self.text) > NOTE_MOST:
            raise ValueError(f"the note {self.kind}:{self.key} has {len(self.text)} characters, more than {NOTE_MOST}")


@dataclass(frozen=True, slots=True)
class Tally:
    """A counter, kept until then: `amount` is what is added, or what it has come to."""

    kind: str
    key: str
    amount: int
    until: float


@dataclass(frozen=True, slots=True)
class Lesson:
    """A message that was learned under `kind`, one name space of traits: kept so that it can be taken back exactly.

    `key` is the message's digest. `traits` are whole numbers of 32 bits, ascending, each once, at most `MOST_TRAITS`;
    they count as `spam` or as ham for as long as the lesson stands. `text` is JSON text that the store does not read.
    It ends at `until`.
    """

    kind: str
    key: str
    spam: bool
    traits: tuple[int, ...]
    text: str
    until: float

    def __post_init__(self) -> None:
        if len(self.traits) > MOST_TRAITS or len(self.text) > NOTE_MOST:
            raise ValueError(f"the lesson {self.kind}:{self.key} is too long")
        if any(not 0 <= trait < 1 << 32 for trait in self.traits):
            raise ValueError(f"the lesson {self.kind}:{self.key} has a trait that is no number of 32 bits")

    @property
    def sums(self) -> Iterator[tuple[int, int]]:
        """What it adds to the sums of its class: `LESSONS`, `TRAITS`, and each trait."""
        yield LESSONS, 1
        yield TRAITS, len(self.traits)
        for trait in self.traits:
            yield trait, 1

    @property
    def packed(self) -> bytes:
        """The traits in four octets each."""
        return struct.pack(f"<{len(self.traits)}I", *self.traits)

    @staticmethod
    def unpacked(octets: bytes) -> tuple[int, ...]:
        return struct.unpack(f"<{len(octets) // 4}I", octets)


@dataclass(frozen=True, slots=True)
class Learned:
    """What a kind has learned: messages of either class, how many traits they had together, and in how many messages of
    each class (ham, spam) a trait was. Traits that were in none stand not in `counts`.
    """

    ham: int = 0
    spam: int = 0
    ham_traits: int = 0
    spam_traits: int = 0
    counts: Mapping[int, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, sums: Mapping[int, tuple[int, int]]) -> Learned:
        """From the sums that were asked for, `LESSONS` and `TRAITS` among them."""
        (ham, spam), (ham_traits, spam_traits) = sums.get(LESSONS, (0, 0)), sums.get(TRAITS, (0, 0))
        counts = {trait: both for trait, both in sums.items() if trait >= 0 and any(both)}
        return cls(ham, spam, ham_traits, spam_traits, counts)


@dataclass(frozen=True, slots=True)
class History:
    """What is known of a client's past: messages accepted and refused, first and last seen (Unix time)."""

    accepted: int = 0
    refused: int = 0
    first: float = 0.0
    last: float = 0.0

    def wanted(self, *, messages: int, before: float) -> bool:
        """Whether at least so many messages were accepted, and five for each refused, the first `before` then."""
        return self.accepted >= max(messages, 5 * self.refused) and self.first <= before


@dataclass(frozen=True, slots=True)
class Block:
    """A client that is refused until `until`; it ends by itself. `reason` is a rule name, `record` an id or ""."""

    key: str
    since: float
    until: float
    reason: str
    record: str = ""

    def holds(self, now: float) -> bool:
        """Whether it stands now; one that begins later was made by a clock that was wrong."""
        return self.until > now and self.since <= now + AHEAD

    def extended(self, other: Block) -> Block:
        """What stands after `other` was asked for the same key: the later end wins, with its reason and record.

        One that goes on without a gap keeps its beginning. One that begins only when `other` has ended was made by a
        clock that was wrong, and gives way: until then it would hold nobody, and keep all others from it.
        """
        if self.since > other.until:
            return other
        if other.until <= self.until:
            return self if self.since <= other.since else replace(self, since=other.since)
        return other if other.since > self.until else replace(other, since=min(self.since, other.since))


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record as the store sees it: what can be searched for, and `document`, JSON text that it does not read.

    `sender` ("" for the null sender) and `recipients` are addresses in lower case. `address` is the client's IP
    address or "". `queue_id` is the next hop's.
    """

    id: str
    time: float
    action: str
    score: float
    address: str
    sender: str
    recipients: tuple[str, ...]
    queue_id: str
    document: str


@dataclass(frozen=True, slots=True)
class RecordQuery:
    """Which records to find; empty fields do not restrict. `sender` and `recipient` match a whole address, or a
    domain written "@example.org"; a sender "<>" is the null sender. `address` is one IP address or a CIDR network.
    `since` <= time < `until`. Newest first, at most `limit` (and never more than 10,000).
    """

    id: str = ""
    sender: str = ""
    recipient: str = ""
    address: str = ""
    queue_id: str = ""
    action: str = ""
    since: float = 0.0
    until: float = 0.0
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What a call of `expire` came to: how many records went, and whether more of anything is due than it took."""

    records: int = 0
    more: bool = False


class Store(Protocol):
    """What every backend offers. Safe for many tasks at once; `close` may be called twice."""

    async def spend(self, charges: Sequence[Charge], *, now: float) -> list[float]:
        """Add each cost to its bucket, in order, and return each level afterwards. A cost of 0 only looks.

        A level never leaks below 0; a clock that jumps backwards leaks nothing.
        """
        ...

    async def take(self, limits: Sequence[Limit], *, now: float) -> list[float]:
        """All or nothing: only if every limit has room is each charged. Returns, in order, the seconds until each has
        room for its cost; 0.0 for one that has. Whoever was refused has spent nothing, so that asking again early
        does not make the wait longer.
        """
        ...

    async def distinct(self, sightings: Sequence[Sighting], *, now: float) -> list[int]:
        """Note each sighting, in order, and return how many different members its key has afterwards, at most
        `DISTINCT_MOST`. One seen again counts from now on.
        """
        ...

    async def drop_sightings(self, keys: Sequence[str]) -> None:
        """Forget every member under these keys."""
        ...

    async def put_notes(self, notes: Sequence[Note]) -> None:
        """All in one; each replaces what its kind had under its key."""
        ...

    async def notes(
        self, kind: str, keys: Sequence[str] = (), *, prefix: str = "", now: float, limit: int = 1000
    ) -> list[Note]:
        """Those of a kind that have not ended, ordered by key: under these keys, or all whose key begins with `prefix`.

        One that was put is there at once for every process.
        """
        ...

    async def swap_note(self, kind: str, key: str, *, old: str | None, new: Note | None, now: float) -> bool:
        """Put `new` (None: nothing) in the place of the note that has the text `old` (None: no note); False, and
        nothing done, when something else is there. Of several who try it with the same `old` one succeeds.
        """
        ...

    async def drop_notes(self, kind: str, keys: Sequence[str]) -> int:
        """How many there were."""
        ...

    async def tally(self, entries: Sequence[Tally]) -> None:
        """Add to counters, all in one; the later end counts."""
        ...

    async def tallies(self, kind: str, *, prefix: str = "", now: float, limit: int = 100_000) -> list[Tally]:
        """Those of a kind that have not ended and whose key begins with `prefix`, ordered by key."""
        ...

    async def learn(self, kind: str, key: str, *, old: Lesson | None, new: Lesson | None) -> bool:
        """Put `new` (None: nothing) in the place of the lesson `old` (None: none), and count its traits in the place of
        those of `old`: all of it, or False and nothing, when something else than `old` stands there.
        """
        ...

    async def lessons(self, kind: str, keys: Sequence[str] = (), *, after: str = "", limit: int = 500) -> list[Lesson]:
        """Those under these keys, or all whose key comes after `after`; ordered by key."""
        ...

    async def learned(self, kind: str, traits: Sequence[int] = ()) -> Learned:
        """The sum of all lessons that stand: how many, and what they say of these traits."""
        ...

    async def remember(self, key: str, *, accepted: int, refused: int, now: float) -> History:
        """Add to a client's history and return it."""
        ...

    async def history(self, keys: Sequence[str]) -> list[History]:
        """One each, in order; `History()` for the unknown."""
        ...

    async def past(
        self, clients: Sequence[str], buckets: Sequence[str], *, now: float
    ) -> tuple[list[History], list[float]]:
        """In one question: the `history` of each client, and how full each bucket was when it was last charged,
        0.0 where it has run empty since.
        """
        ...

    async def block(self, block: Block) -> None:
        """Begin a block, or extend it; an existing later end stays."""
        ...

    async def blocked(self, keys: Sequence[str], *, now: float) -> Block | None:
        """The block with the latest end among those keys that has not ended, or None."""
        ...

    async def blocks(self, *, now: float) -> list[Block]:
        """Those that have not ended, the latest end first."""
        ...

    async def unblock(self, key: str) -> bool:
        """Whether there was one."""
        ...

    async def put_records(self, records: Sequence[StoredRecord]) -> None:
        """One transaction, or nothing for no records. An id that exists already is replaced."""
        ...

    async def find_records(self, query: RecordQuery) -> list[StoredRecord]:
        """Raises ValueError, with a sentence, for an `address` that is none."""
        ...

    async def expire(self, *, now: float, records_before: float) -> Forgotten:
        """Forget ended blocks, sightings, notes, tallies and lessons, drained buckets, clients not seen for
        `HISTORY_KEPT`, and old records; then what is beyond `MOST_ROWS`, `MOST_BLOCKS`, `MOST_LESSONS` and
        `MOST_RECORDS`. Works in bounded portions: what is left over goes next time, and `more` says that there is some.

        Memory has smaller bounds of its own, and keeps them at every change.
        """
        ...

    async def close(self) -> None: ...
