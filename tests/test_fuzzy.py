import json
import random

import pytest

from gatekeeper import fuzzy
from gatekeeper.fuzzy import DAY, KEPT
from gatekeeper.message.shingles import Digest, digest_of
from gatekeeper.store.base import Note
from gatekeeper.store.memory import MemoryStore
from gatekeeper.store.sqlite import SqliteStore
from tests.support.fake_store import FakeStore

NOW = 1_790_000_000.0


def digest(seed: int, changed: int = 0) -> Digest:
    words = [f"word{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in random.Random(seed).choices(range(600), k=200)]
    for n in range(changed):
        words[n * 17] = "other"
    found = digest_of([" ".join(words)])
    assert found is not None
    return found


async def test_a_near_copy_of_what_was_reported_is_found_with_its_count_and_sources():
    store = MemoryStore()
    assert await fuzzy.find(store, digest(1), NOW) is None
    name = await fuzzy.report(store, digest(1), NOW, source="a")
    assert await fuzzy.report(store, digest(1, changed=3), NOW + 10, source="b") == name
    near = await fuzzy.find(store, digest(1, changed=2), NOW + 20)
    assert near is not None
    assert (near.sample, near.count, near.sources, near.first) == (name, 2, 2, NOW)
    assert 0.6 <= near.likeness < 1
    assert await fuzzy.find(store, digest(2), NOW) is None


async def test_reports_age_and_end():
    store = MemoryStore()
    await fuzzy.report(store, digest(1), NOW)
    fresh = await fuzzy.find(store, digest(1), NOW)
    old = await fuzzy.find(store, digest(1), NOW + 20 * DAY)
    assert fresh is not None
    assert old is not None
    assert fresh.weight == 1.0
    assert 0 < old.weight < 0.5
    assert await fuzzy.find(store, digest(1), NOW + KEPT + DAY) is None
    assert not await fuzzy.anything(store, NOW + KEPT + DAY)


async def test_a_report_can_be_taken_back():
    store = MemoryStore()
    await fuzzy.report(store, digest(1), NOW)
    await fuzzy.report(store, digest(1), NOW, amount=-1)
    await fuzzy.report(store, digest(2), NOW, amount=-1)  # never made: nothing is left behind
    assert await fuzzy.find(store, digest(1), NOW) is None
    assert await fuzzy.find(store, digest(2), NOW) is None


async def test_wanted_mail_spares_what_is_near_to_it():
    store = MemoryStore()
    assert await fuzzy.spare(store, digest(1), NOW) == ""  # from what?
    await fuzzy.report(store, digest(1, changed=1), NOW)
    await fuzzy.spare(store, digest(1), NOW)
    assert await fuzzy.find(store, digest(1), NOW) is None
    await fuzzy.spare(store, digest(1), NOW, amount=-1)
    assert await fuzzy.find(store, digest(1), NOW) is not None


async def test_the_last_word_of_a_message_counts_and_once():
    store = MemoryStore()

    async def count() -> int:
        near = await fuzzy.find(store, digest(1), NOW)
        return 0 if near is None else near.count

    async def say(spam: bool | None, *, key: str = "m1", with_digest: bool = True) -> int:
        told = digest(1) if with_digest else None
        await fuzzy.teach(store, key, told, spam=spam, source="ann", now=NOW)
        return await count()

    assert [await say(True), await say(True)] == [1, 1]
    assert await say(True, key="m2") == 2
    assert await say(None, with_digest=False) == 1
    assert await say(None, with_digest=False) == 1
    assert await say(False, key="m2") == 0
    assert await say(True) == 0  # somebody wants it
    assert await say(None, key="m2", with_digest=False) == 1
    assert await say(True, key="m3", with_digest=False) == 1  # without a digest there is nothing to learn


async def test_what_is_taken_back_is_taken_from_the_sample_for_which_it_was_counted():
    store = MemoryStore()
    await fuzzy.report(store, digest(1), NOW)
    between = digest(1, changed=3)
    await fuzzy.teach(store, "m1", between, spam=True, source="ann", now=NOW)
    nearer = [  # as if it had become a sample later
        Note(fuzzy.SAMPLE, between.name, f'{{"digest": "{between}", "first": {NOW}}}', NOW + KEPT),
        *(Note(fuzzy.BAND, band, between.name, NOW + KEPT) for band in between.bands()),
    ]
    await store.put_notes(nearer)
    await fuzzy.report(store, between, NOW)
    await fuzzy.teach(store, "m1", None, spam=None, source="", now=NOW)
    found = [await fuzzy.find(store, each, NOW) for each in (digest(1), between)]
    assert [near and (near.count, near.sources) for near in found] == [(1, 0), (1, 0)]


async def test_one_user_is_one_source_however_the_name_is_written():
    store = MemoryStore()
    for n, name in enumerate(("ann", "Ann", "ANN")):
        await fuzzy.teach(store, f"m{n}", digest(1), spam=True, source=name, now=NOW)
    near = await fuzzy.find(store, digest(1), NOW)
    assert near is not None
    assert (near.count, near.sources) == (3, 1)


async def test_wanted_mail_that_spared_nothing_takes_nothing_back():
    store = MemoryStore()
    await fuzzy.teach(store, "m1", digest(1), spam=False, source="ann", now=NOW)
    await fuzzy.report(store, digest(1), NOW)
    await fuzzy.teach(store, "m1", None, spam=None, source="", now=NOW)
    await fuzzy.teach(store, "m2", digest(1), spam=False, source="ann", now=NOW)
    assert await fuzzy.find(store, digest(1), NOW) is None


async def test_what_an_earlier_version_noted_can_be_taken_back():
    store = MemoryStore()
    for spam in (True, False):
        await fuzzy.report(store, digest(1), NOW)
        if not spam:
            await fuzzy.spare(store, digest(1), NOW)
        said = json.dumps({"digest": str(digest(1)), "spam": spam, "at": NOW})
        await store.put_notes([Note(fuzzy.TAUGHT, "m1", said, NOW + KEPT)])
        await fuzzy.teach(store, "m1", None, spam=spam, source="ann", now=NOW)  # as before
        await fuzzy.teach(store, "m1", None, spam=None, source="", now=NOW)
        near = await fuzzy.find(store, digest(1), NOW)
        assert (near and near.count) == (None if spam else 1)


async def test_samples_of_another_version_are_passed_over():
    store = MemoryStore()
    await fuzzy.report(store, digest(1), NOW)
    [note] = await store.notes(fuzzy.SAMPLE, now=NOW)
    for text in ("{}", "no json", "[" * 20_000, '{"digest": "x", "first": 1}'):
        await store.put_notes([Note(fuzzy.SAMPLE, note.key, text, NOW + 99)])
        assert await fuzzy.find(store, digest(1), NOW) is None


async def test_mail_that_is_like_nothing_costs_one_question():
    store = FakeStore()
    await fuzzy.report(store, digest(1), NOW)
    store.asked.clear()
    await fuzzy.find(store, digest(2), NOW)
    assert store.asked == ["notes"]


async def test_what_is_said_in_one_process_is_found_in_another(tmp_path):
    one, other = SqliteStore(tmp_path / "state.db"), SqliteStore(tmp_path / "state.db")
    try:
        await fuzzy.report(one, digest(1), NOW, source="a")
        near = await fuzzy.find(other, digest(1, changed=1), NOW)
        assert near is not None
        assert (near.count, near.sources) == (1, 1)
    finally:
        await one.close()
        await other.close()


@pytest.mark.parametrize("changed", [0, 4])
async def test_copies_of_copies_do_not_drift(changed):
    store = MemoryStore()
    first = await fuzzy.report(store, digest(1), NOW)
    await fuzzy.report(store, digest(1, changed), NOW)
    near = await fuzzy.find(store, digest(1), NOW)
    assert near is not None
    assert (near.sample, near.likeness) == (first, 1.0)
