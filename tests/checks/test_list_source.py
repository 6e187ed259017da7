"""Where the operator's lists come from: files that change, and what was added to the store."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from gatekeeper import metrics
from gatekeeper.checks import list_source
from gatekeeper.checks.list_index import ListIndex
from gatekeeper.checks.list_source import (
    ADDED,
    FILE_MOST,
    NOTES,
    ListSource,
    TooMany,
    added_entries,
    added_of,
    drop_added,
    note_of,
    put_added,
    read_files,
    summary,
)
from gatekeeper.store.base import Note
from gatekeeper.wire.list_lines import ListEntry
from tests.support.fake_store import FakeStore

NOW = 1_800_000_000.0
DENY = ListEntry("deny", "address", "192.0.2.7/32", ADDED, "floods")


class Source:
    """A source whose half seconds a test lets pass."""

    def __init__(self, *files: Path) -> None:
        self.time = 0.0
        self.store = FakeStore()
        self.source = ListSource(tuple(map(str, files)), monotonic=lambda: self.time)
        self.source.start(read_files(self.source.files))

    async def patterns(self, *, wait: float = 0.6) -> list[str]:
        self.time += wait
        return [entry.pattern for entry in (await self.source.fresh(self.store, now=NOW)).entries]


def written(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_every_bad_line_is_named_with_its_file(tmp_path):
    file = written(tmp_path / "a.list", "# ours", "deny address 192.0.2.7", "deny address 192.0.2", "", "nonsense")
    read = read_files([str(file)])
    assert [entry.place for entry in read.entries] == [f"{file}:2"]
    assert [problem.partition(": ")[0] for problem in read.problems] == [f"{file}:3", f"{file}:5"]
    assert "write 192.0.2.1" in summary(read.problems)


def test_files_are_read_in_order_and_a_star_may_find_none(tmp_path):
    written(tmp_path / "b.list", "deny name b.example")
    written(tmp_path / "a.list", "deny name a.example")
    last = written(tmp_path / "z", "deny name z.example")
    read = read_files([str(last), str(tmp_path / "*.list"), str(tmp_path / "*.none"), str(last)])
    assert [entry.pattern for entry in read.entries] == ["z.example", "a.example", "b.example"]
    assert read.problems == ()


def test_a_file_that_cannot_be_read_is_a_problem_with_its_mend(tmp_path):
    (tmp_path / "latin").write_bytes(b"deny name \xe9.example\n")
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(FILE_MOST + 1)
    read = read_files([str(tmp_path / "none"), str(tmp_path / "latin"), str(big), str(tmp_path)])
    assert ["make it, even empty" in p or "UTF-8" in p or "split it" in p for p in read.problems] == [True] * 4


def test_many_problems_are_told_in_part():
    assert summary([str(n) for n in range(15)]).endswith("; 9; and 5 more")


async def test_a_file_that_changes_is_in_force_within_half_a_second(tmp_path):
    file = written(tmp_path / "a.list", "deny name a.example")
    one = Source(file)
    assert await one.patterns() == ["a.example"]
    written(file, "deny name a.example", "deny name b.example")
    assert await one.patterns(wait=0.1) == ["a.example"]
    assert await one.patterns(wait=0.5) == ["a.example", "b.example"]


async def test_a_file_that_becomes_wrong_changes_nothing_until_it_is_mended(tmp_path):
    file = written(tmp_path / "a.list", "deny name a.example")
    one = Source(file)
    written(file, "deny name a.example", "deny nmae b.example")
    assert await one.patterns() == ["a.example"]
    assert metrics.LIST_PROBLEMS._value.get() == 1
    file.unlink()
    assert await one.patterns() == ["a.example"]
    written(file, "deny name b.example")
    assert await one.patterns() == ["b.example"]
    assert metrics.LIST_PROBLEMS._value.get() == 0


async def test_a_file_that_comes_and_goes_where_a_star_stands(tmp_path):
    one = Source(tmp_path / "*.list")
    assert await one.patterns() == []
    file = written(tmp_path / "a.list", "deny name a.example")
    assert await one.patterns() == ["a.example"]
    file.unlink()
    assert await one.patterns() == []


async def test_what_is_added_stands_in_front_and_is_seen_by_every_process(tmp_path):
    file = written(tmp_path / "a.list", "allow address 192.0.2.7")
    one, other = Source(file), Source(file)
    other.store = one.store
    added = await put_added(one.store, DENY, by="root", now=NOW, token="1")
    for each in (one, other):
        assert await each.patterns() == ["192.0.2.7/32", "192.0.2.7/32"]
        assert each.source.index.entries[0].action == "deny"
    await drop_added(one.store, [added.key], token="2")
    for each in (one, other):
        assert await each.patterns() == ["192.0.2.7/32"]


async def test_the_newest_is_first_and_one_about_the_same_takes_the_olds_place():
    store = FakeStore()
    await put_added(store, DENY, by="", now=NOW, token="1")
    await put_added(store, ListEntry("deny", "name", "a.example"), by="", now=NOW + 1, token="2")
    await put_added(store, ListEntry("allow", "address", "192.0.2.7/32"), by="ann", now=NOW + 2, token="3")
    added = await added_entries(store, now=NOW)
    assert [(one.entry.action, one.entry.pattern, one.by) for one in added] == [
        ("allow", "192.0.2.7/32", "ann"),
        ("deny", "a.example", ""),
    ]


async def test_an_entry_with_an_end_is_forgotten_by_itself():
    store = FakeStore()
    await put_added(store, ListEntry("deny", "name", "a.example", until=NOW + 10), by="", now=NOW, token="1")
    assert len(await added_entries(store, now=NOW + 9)) == 1
    assert await added_entries(store, now=NOW + 10) == []


async def test_while_the_store_is_away_what_was_added_stays():
    one = Source()
    await put_added(one.store, DENY, by="", now=NOW, token="1")
    assert await one.patterns() == ["192.0.2.7/32"]
    one.store.away = True
    assert await one.patterns() == ["192.0.2.7/32"]
    one.store.away = False
    assert await one.patterns() == ["192.0.2.7/32"]


class Builds:
    """Indexes are built in a thread that does not end before `go`; `sizes` is how many entries each was given."""

    def __init__(self) -> None:
        self.began, self.go = threading.Event(), threading.Event()
        self.sizes: list[int] = []

    def __call__(self, entries: Sequence[ListEntry] = (), then: ListIndex | None = None) -> ListIndex:
        self.sizes.append(len(entries))
        self.began.set()
        assert self.go.wait(10)
        return ListIndex(entries, then)


@pytest.fixture
def builds() -> Iterator[Builds]:
    made = Builds()
    yield made
    made.go.set()


async def test_while_an_index_is_built_the_old_one_counts_and_no_other_is_begun(tmp_path, builds, monkeypatch):
    file = written(tmp_path / "a.list", "deny name a.example")
    one = Source(file)
    monkeypatch.setattr(list_source, "ListIndex", builds)
    written(file, "deny name b.example", "deny name c.example")
    looking = asyncio.ensure_future(one.patterns())
    assert await asyncio.to_thread(builds.began.wait, 10)
    assert await one.patterns() == ["a.example"]
    assert builds.sizes == [2]
    builds.go.set()
    assert await looking == ["b.example", "c.example"]


async def test_whoever_has_waited_long_enough_goes_by_the_old_index(tmp_path, builds, monkeypatch):
    file = written(tmp_path / "a.list", "deny name a.example")
    one = Source(file)
    monkeypatch.setattr(list_source, "ListIndex", builds)
    monkeypatch.setattr(list_source, "WAITS", 0.0)
    written(file, "deny name b.example", "deny name c.example")
    assert await one.patterns() == ["a.example"]
    builds.go.set()
    looking = one.source._looking
    assert looking is not None
    await looking
    assert await one.patterns(wait=0.0) == ["b.example", "c.example"]


async def test_what_has_changed_is_in_force_though_whoever_saw_it_has_left(tmp_path, builds, monkeypatch):
    file = written(tmp_path / "a.list", "deny name a.example")
    one = Source(file)
    monkeypatch.setattr(list_source, "ListIndex", builds)
    written(file, "deny name b.example", "deny name c.example")
    seeing = asyncio.ensure_future(one.patterns())
    assert await asyncio.to_thread(builds.began.wait, 10)
    seeing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await seeing
    looking = one.source._looking
    assert looking is not None
    builds.go.set()
    await looking
    assert await one.patterns(wait=0.0) == ["b.example", "c.example"]


async def test_what_is_added_does_not_build_the_files_again(tmp_path, builds, monkeypatch):
    one = Source(written(tmp_path / "a.list", *[f"deny name {n}.example" for n in range(50)]))
    monkeypatch.setattr(list_source, "ListIndex", builds)
    builds.go.set()
    await put_added(one.store, DENY, by="root", now=NOW, token="1")
    assert len(await one.patterns()) == 51
    assert builds.sizes == [1]


async def test_nothing_is_looked_at_more_often_than_that():
    one = Source()
    await one.patterns()
    one.store.asked.clear()
    for _ in range(50):
        await one.patterns(wait=0.0)
    assert one.store.asked == []


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"line": 5}', '{"line": "allow everybody in"}', '{"line": "# x"}', "[" * 20_000]
)
def test_a_note_that_is_not_understood_is_passed_over(text):
    assert added_of(Note(NOTES, "k", text, NOW)) is None


async def test_a_note_is_read_as_it_was_written():
    added = await put_added(FakeStore(), DENY, by="ann", now=NOW, token="1")
    assert added_of(note_of(added)) == added


async def test_what_can_be_added_is_bounded(monkeypatch):
    monkeypatch.setattr(list_source, "ADDED_MOST", 5)
    store = FakeStore()
    for n in range(5):
        await put_added(store, ListEntry("deny", "name", f"{n}.example"), by="", now=NOW + n, token=str(n))
    with pytest.raises(TooMany, match="put them into a file"):
        await put_added(store, ListEntry("deny", "name", "x.example"), by="", now=NOW, token="x")
    await put_added(
        store, ListEntry("allow", "name", "3.example"), by="", now=NOW + 9, token="y"
    )  # in the old one's place
    assert len(await added_entries(store, now=NOW)) == 5
