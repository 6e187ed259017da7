"""Learning from a site's own mail: what people call spam and ham becomes lessons in the store, and can be taken back.

A lesson is one message. Each time somebody says what it is, that is an act of its own, by whom and when; the last one
counts. So a message that many report counts once, and taking back one person's acts leaves what others said.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import blake2b

from gatekeeper.classifier import site
from gatekeeper.classifier.traits import Traits, traits_of
from gatekeeper.message.content import content_of
from gatekeeper.message.header import header_of
from gatekeeper.message.shingles import Digest, digest_of
from gatekeeper.model import Duration, Message, setting
from gatekeeper.store.base import DISTINCT_MOST, Lesson, Note, Sighting, Store, StoreAway, Tally
from gatekeeper.wire.address import normal_domain
from gatekeeper.wire.notation import read_object

SITE = "site"
"""The kind under which everybody's lessons stand."""
DAY = 86400.0
ACTS = 8
"""Acts of one lesson that are kept, the newest."""
NAME = 200
"""Characters of a user's name that are kept."""
ATTEMPTS = 20
CONTESTED = "others change the same lesson again and again"
"""How often others may come first before the store counts as away, and why then."""
KINDS = "learning"
"""The kind of the notes that say which domains have lessons of their own."""
TALLIES = "learning"
"""The kind of the counters of what was asked, `CLASS SOURCE OUTCOME` their keys."""
TALLIES_KEPT = 10 * 365 * DAY


class Source(StrEnum):
    """How a message came to be learned."""

    COMMAND = "command"  # the operator, from files
    MAIL = "mail"  # a user, by mail to an address of ours
    IMAP = "imap"  # a user, by moving it into a mailbox or out of it


class Outcome(StrEnum):
    """What became of a message that was to be learned."""

    LEARNED = "learned"
    MOVED = "moved"  # it had been learned as the other class
    KNOWN = "known"  # it had been learned as that
    LIMITED = "limited"  # its user has taught enough for a day
    EMPTY = "empty"  # there is nothing in it to learn from


@dataclass(frozen=True, slots=True)
class Settings:
    """[classifier.learning]"""

    per_user_day: int = setting(
        200, "How many messages one user may teach in 24 hours, by mail and by moving them; others are refused."
    )
    keep: Duration = setting(365 * DAY, "How long what was learned counts; then it is forgotten, and unlearned.")
    per_domain: bool = setting(
        False,
        "Whether what a user teaches counts for mail to that user's domain alone; what the command learns from files "
        "counts for all. For whoever serves domains that have nothing to do with each other.",
    )
    spam: str = setting("spam", "The local part of the address to which users send spam; docs/learning.md.")
    ham: str = setting("ham", "The same for wanted mail that was marked as spam.")

    def __post_init__(self) -> None:
        if not 1 <= self.per_user_day < DISTINCT_MOST:
            raise ValueError(f"per_user_day must lie between 1 and {DISTINCT_MOST - 1}")
        if self.keep < DAY:
            raise ValueError('keep must be at least a day: write "365d"')
        if not self.spam or not self.ham or self.spam.lower() == self.ham.lower():
            raise ValueError('spam and ham must be two different local parts, such as "spam" and "ham"')


@dataclass(frozen=True, slots=True)
class Act:
    """Somebody's word on a message. `at` is Unix time; `by` "" is nobody known."""

    by: str
    source: str
    at: float
    spam: bool


@dataclass(frozen=True, slots=True)
class Taught:
    """A lesson as people see it: `id` is its key; `message_id` and `record` (of ours) are "" where not known."""

    id: str
    kind: str
    spam: bool
    acts: tuple[Act, ...]
    message_id: str = ""
    record: str = ""

    @property
    def at(self) -> float:
        return self.acts[-1].at


@dataclass(frozen=True, slots=True)
class Material:
    """What a message gives to learn from. `id` is the same for each copy of one message."""

    id: str
    traits: tuple[int, ...]
    message_id: str = ""
    record: str = ""
    digest: Digest | None = None  # by which near-copies are found


def material(message: Message, *, whole: bool = True, record: str = "") -> Material:
    """From a message as it was received; one that is not `whole` teaches its words alone.

    Takes as long as the message is large.
    """
    traits = traits_of(message) if message.size else Traits((), ())
    if not whole:
        traits = Traits(traits.words, ())
    field = header_of(message).first("message-id")
    message_id = "" if field is None else " ".join(field.text.split())[:250]
    seen = tuple(content_of(message).seen)
    said = " ".join(" ".join(seen).split())[:100_000]
    of = [message_id or _described(message), said]
    key = blake2b("\0".join(of).encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()
    return Material(key, site.chosen(traits), message_id, record, digest_of(seen))


def _described(message: Message) -> str:
    fields = (header_of(message).first(name) for name in ("from", "date", "subject"))
    return "\0".join("" if field is None else " ".join(field.text.split()) for field in fields)


def kind_of(domain: str | None) -> str:
    """The name space of a domain's own lessons; of the whole site's without one, or with what is none."""
    name = None if domain is None else normal_domain(domain)
    return SITE if name is None else f"domain:{name}"


async def domain_kinds(store: Store, *, now: float, limit: int = 100_000) -> list[str]:
    """The kinds of domains that have lessons of their own."""
    return [note.key for note in await store.notes(KINDS, now=now, limit=limit)]


@dataclass(frozen=True, slots=True)
class Teacher:
    """Who teaches: `by` whom, how it came to us, and for which `domain` it counts (None: for all)."""

    by: str
    source: Source
    domain: str | None = None


class Lessons:
    """Learns into a store, and takes back. Every method raises StoreAway; nothing is half done then.

    The store must be the one that all share, and not memory that stands in for it.
    """

    def __init__(self, store: Store, settings: Settings, clock: Callable[[], float]) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock

    async def learn(self, what: Material, *, spam: bool, teacher: Teacher) -> Outcome:
        """Learn one message. Users are limited; the operator's own command is not."""
        outcome = await self._learn(what, spam=spam, teacher=teacher)
        key = f"{'spam' if spam else 'ham'} {teacher.source} {outcome}"
        await self._store.tally([Tally(TALLIES, key, 1, self._clock() + TALLIES_KEPT)])
        return outcome

    async def _learn(self, what: Material, *, spam: bool, teacher: Teacher) -> Outcome:
        if not what.traits:
            return Outcome.EMPTY
        now = self._clock()
        if teacher.source is not Source.COMMAND and await self._spent(teacher.by[:NAME], what.id, now):
            return Outcome.LIMITED
        act = Act(teacher.by[:NAME], str(teacher.source), now, spam)
        kind = kind_of(teacher.domain)
        if kind != SITE:
            await self._store.put_notes([Note(KINDS, kind, "{}", now + self._settings.keep + DAY)])
        for _ in range(ATTEMPTS):
            old = next(iter(await self._store.lessons(kind, [what.id])), None)
            new = _with(old, act, what, kind, now + self._settings.keep)
            if new is None:
                return Outcome.KNOWN
            if await self._store.learn(kind, what.id, old=old, new=new):
                if old is None:
                    return Outcome.LEARNED
                return Outcome.KNOWN if old.spam == spam else Outcome.MOVED
        raise StoreAway(CONTESTED)

    async def _spent(self, user: str, what: str, now: float) -> bool:
        """Count the message for its user; whether that is more than a day's."""
        (count,) = await self._store.distinct([Sighting(f"learning:{user.lower()}", what, DAY)], now=now)
        return count > self._settings.per_user_day

    async def taught(self) -> AsyncIterator[Taught]:
        """Every lesson, those of one kind ordered by id."""
        for kind in (SITE, *await domain_kinds(self._store, now=self._clock())):
            after = ""
            while page := await self._store.lessons(kind, after=after):
                for lesson in page:
                    yield _read(lesson)
                after = page[-1].key

    async def one(self, taught: Taught) -> Taught | None:
        """That lesson as it stands now; None where it was taken back."""
        return next((_read(lesson) for lesson in await self._store.lessons(taught.kind, [taught.id])), None)

    async def undo(self, taught: Taught, *, by: str | None = None, since: float = 0.0) -> bool:
        """Take back what `by` (None: anybody) said of it at `since` or later; whether there was anything to take back.

        What others said then counts again.
        """
        for _ in range(ATTEMPTS):
            old = next(iter(await self._store.lessons(taught.kind, [taught.id])), None)
            if old is None:
                return False
            known = _read(old)
            kept = tuple(act for act in known.acts if not (act.at >= since and by in {None, act.by}))
            if len(kept) == len(known.acts):
                return False
            new = None
            if kept:
                text = _written(kept, known.message_id, known.record)
                new = replace(old, spam=kept[-1].spam, text=text, until=kept[-1].at + self._settings.keep)
            if await self._store.learn(taught.kind, taught.id, old=old, new=new):
                return True
        raise StoreAway(CONTESTED)


def _with(old: Lesson | None, act: Act, what: Material, kind: str, until: float) -> Lesson | None:
    """The lesson with one act more; None where that would say nothing new."""
    if old is None:
        return Lesson(kind, what.id, act.spam, what.traits, _written((act,), what.message_id, what.record), until)
    known = _read(old)
    last = known.acts[-1] if known.acts else None
    if last is not None and (last.by, last.spam) == (act.by, act.spam):
        return None
    acts = (*(each for each in known.acts if each.by != act.by), act)[-ACTS:]
    text = _written(acts, known.message_id or what.message_id, known.record or what.record)
    return replace(old, spam=act.spam, text=text, until=until)


def _written(acts: Sequence[Act], message_id: str, record: str) -> str:
    rows = [[act.by, act.source, round(act.at, 3), act.spam] for act in acts]
    return json.dumps({"acts": rows, "message_id": message_id, "record": record})


def _read(lesson: Lesson) -> Taught:
    kept = read_object(lesson.text)
    try:
        acts = tuple(Act(*row) for row in kept.get("acts", ()))
    except TypeError:  # not as we write them: nobody is known to have said it
        acts = ()
    return Taught(lesson.key, lesson.kind, lesson.spam, acts, kept.get("message_id", ""), kept.get("record", ""))
