"""Where the operator's lists come from: files, and what `gatekeeper lists add` has put into the store.

A process looks every half second, as long as mail comes in, whether a file or what was added has changed. A file that
has become wrong changes nothing: what it said before stays in force, and the log says which line to mend.
"""

from __future__ import annotations

import asyncio
import glob
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from gatekeeper import log, metrics
from gatekeeper.checks.list_index import ListIndex
from gatekeeper.store.base import Note, Store, StoreAway
from gatekeeper.wire.list_lines import BadLine, ListEntry, parse_line, write_line
from gatekeeper.wire.notation import read_json

LOOK_EVERY: Final = 0.5
WAITS: Final = 5.0
"""Seconds that whoever looks waits for what has changed; a file may have half a million lines."""
FILE_MOST: Final = 32 * 1024 * 1024
ADDED_MOST: Final = 10_000
"""Entries that can be added by command; longer lists are files."""
PROBLEMS_SHOWN: Final = 10
NOTES: Final = "list_entry"
CHANGES: Final = "list_changes"
FOREVER: Final = 4_000_000_000.0
"""When a note ends that has no end."""
ADDED: Final = "added"


class TooMany(Exception):
    """No more can be added by command. The text is for the operator, with the mend."""


@dataclass(frozen=True, slots=True)
class Read:
    """What the files say: the entries of the good lines, and what is wrong with the others, as "FILE:LINE: ..."."""

    entries: tuple[ListEntry, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Added:
    """An entry that was added by command: by whom and when (Unix time); `key` is its note's."""

    key: str
    entry: ListEntry
    by: str = ""
    at: float = 0.0


def read_files(patterns: Sequence[str]) -> Read:
    """Every file, in the order given; of a pattern with a star, in the order of the names. It may be missing then."""
    entries: list[ListEntry] = []
    problems: list[str] = []
    for path in _paths(patterns):
        try:
            if Path(path).stat().st_size > FILE_MOST:
                problems.append(f"{path}: bigger than {FILE_MOST} bytes: split it, or write networks for addresses")
                continue
            text = Path(path).read_text("utf-8-sig")
        except UnicodeDecodeError:
            problems.append(f"{path}: not UTF-8 text: save the file as UTF-8")
            continue
        except OSError as failure:
            problems.append(f"{path}: cannot be read: {failure.strerror}; make it, even empty, or take it out of files")
            continue
        for number, line in enumerate(text.splitlines(), 1):
            try:
                entry = parse_line(line, f"{path}:{number}")
            except BadLine as wrong:
                problems.append(f"{path}:{number}: {wrong}")
                continue
            if entry is not None:
                entries.append(entry)
    return Read(tuple(entries), tuple(problems))


def summary(problems: Sequence[str]) -> str:
    """The first few, as one text."""
    more = len(problems) - PROBLEMS_SHOWN
    return "; ".join(problems[:PROBLEMS_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _paths(patterns: Sequence[str]) -> list[str]:
    found: list[str] = []
    for pattern in patterns:
        found += sorted(glob.glob(pattern)) if glob.has_magic(pattern) else [pattern]  # noqa: PTH207  # whole paths, where Path wants a beginning
    return list(dict.fromkeys(found))


def _states(patterns: Sequence[str]) -> tuple[object, ...]:
    """What changes when a file does."""
    states: list[object] = []
    for path in _paths(patterns):
        try:
            stat = Path(path).stat()
            states.append((path, stat.st_mtime_ns, stat.st_size, stat.st_ino))
        except OSError as failure:
            states.append((path, failure.errno))
    return tuple(states)


def note_of(added: Added) -> Note:
    text = json.dumps({"line": write_line(added.entry), "by": added.by, "at": added.at})
    return Note(NOTES, added.key, text, FOREVER if added.entry.until is None else added.entry.until)


def added_of(note: Note) -> Added | None:
    """None for what a newer version wrote and this one does not understand."""
    try:
        kept = read_json(note.text)
        entry = parse_line(kept["line"], ADDED)
        return None if entry is None else Added(note.key, entry, str(kept.get("by", "")), float(kept.get("at", 0)))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


async def added_entries(store: Store, *, now: float) -> list[Added]:
    """What was added and has not ended, the newest first. Raises StoreAway."""
    notes = await store.notes(NOTES, now=now, limit=ADDED_MOST)
    return await asyncio.to_thread(_understood, notes)


def _understood(notes: Sequence[Note]) -> list[Added]:
    return [added for note in reversed(notes) if (added := added_of(note)) is not None]


async def put_added(store: Store, entry: ListEntry, *, by: str, now: float, token: str) -> Added:
    """Add it, in front of all others and in the place of one about the same; `token` is new each time.

    Raises TooMany.
    """
    there = await added_entries(store, now=now)
    old = [one.key for one in there if _same(one.entry, entry)]
    if len(there) - len(old) >= ADDED_MOST:
        raise TooMany(f"{ADDED_MOST} entries have been added: put them into a file that [checks.operator_lists] names")
    added = Added(f"{round(now * 1000):015d}-{token}", replace(entry, place=ADDED), by, now)
    await store.put_notes([note_of(added)])
    if old:
        await store.drop_notes(NOTES, old)
    await _tell(store, token)
    return added


async def drop_added(store: Store, keys: Sequence[str], *, token: str) -> int:
    """How many there were."""
    gone = await store.drop_notes(NOTES, keys)
    await _tell(store, token)
    return gone


async def _tell(store: Store, token: str) -> None:
    """Every process that looks learns that it has to read again."""
    await store.put_notes([Note(CHANGES, "last", token, FOREVER)])


def _same(one: ListEntry, other: ListEntry) -> bool:
    return (one.about, one.pattern) == (other.about, other.pattern)


@dataclass(slots=True)
class ListSource:
    """The lists of one process. `index` is what is in force."""

    files: tuple[str, ...]
    index: ListIndex = field(default_factory=ListIndex)
    monotonic: Callable[[], float] = time.monotonic
    _filed: ListIndex = field(default_factory=ListIndex)
    _states: tuple[object, ...] = ()
    _added: tuple[ListEntry, ...] = ()
    _change: str = ""
    _look_at: float = 0.0
    _looking: asyncio.Task[None] | None = None

    def start(self, read: Read) -> None:
        """What was read when the configuration was."""
        self._filed = ListIndex(read.entries)
        self._states = _states(self.files)
        self._use(ListIndex(self._added, self._filed))

    async def fresh(self, store: Store, *, now: float) -> ListIndex:
        """The index, after a look whether anything has changed where the last one is half a second old."""
        if self._looking is None and self.monotonic() >= self._look_at:
            self._look_at = self.monotonic() + LOOK_EVERY  # others go on with what is known meanwhile
            # A task of its own: whoever looks may leave, and what has changed would be read again, or not at all.
            looking = self._looking = asyncio.create_task(self._look(store, now), name="operator lists")
            await asyncio.wait([looking], timeout=WAITS)
            if looking.done():
                looking.result()
        return self.index

    async def _look(self, store: Store, now: float) -> None:
        try:
            changed = await self._look_at_store(store, now)
            if self.files:
                changed |= await self._look_at_files()
            if changed:
                self._use(await asyncio.to_thread(ListIndex, self._added, self._filed))
                log.event("lists_changed", lines=len(self._filed), added=len(self._added))
        finally:
            self._looking = None

    async def _look_at_store(self, store: Store, now: float) -> bool:
        try:
            notes = await store.notes(CHANGES, ["last"], now=now)
            change = notes[0].text if notes else ""
            if change == self._change or getattr(store, "away", False):
                return False  # while the store is away what was known of it stays
            added = await added_entries(store, now=now)
        except StoreAway:
            return False
        if getattr(store, "away", False):
            return False
        self._change, self._added = change, tuple([one.entry for one in added])
        return True

    async def _look_at_files(self) -> bool:
        states = await asyncio.to_thread(_states, self.files)
        if states == self._states:
            return False
        self._states = states
        read = await asyncio.to_thread(read_files, self.files)
        metrics.LIST_PROBLEMS.set(len(read.problems))
        if read.problems:
            log.event("lists_refused", level=logging.ERROR, error=summary(read.problems))
            return False
        self._filed = await asyncio.to_thread(ListIndex, read.entries)
        return True

    def _use(self, index: ListIndex) -> None:
        self.index = index
        metrics.LIST_ENTRIES.set(len(self.index))
