from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.complaints.dmarc import DAY, DEAD
from gatekeeper.complaints.dmarc_deaths import LONGEST, MOST_IDS, Deaths
from gatekeeper.store.base import Note
from gatekeeper.store.memory import MemoryStore


def deaths() -> tuple[Deaths, MemoryStore, list[float]]:
    store, now = MemoryStore(), [1e9]
    return Deaths(store, lambda: now[0]), store, now


async def test_each_refusal_lasts_longer_up_to_a_limit() -> None:
    dead, _, now = deaths()
    lasting = []
    for _ in range(8):
        death = await dead.refused("A@example.com")
        lasting.append((death.until - now[0]) / DAY)
        assert (await dead.of(["a@EXAMPLE.com"]))["a@example.com"] == death
        now[0] = death.until + 1
    assert lasting == [2, 4, 8, 16, 32, 64, 64, 64]
    assert LONGEST == 64 * DAY


async def test_several_refusals_at_a_time_are_one() -> None:
    dead, _, _ = deaths()
    assert [(await dead.refused("a@example.com")).refusals for _ in range(3)] == [1, 1, 1]


async def test_a_refusal_long_ago_is_forgiven() -> None:
    dead, _, now = deaths()
    await dead.refused("a@example.com")
    now[0] += 40 * DAY
    assert await dead.of(["a@example.com"]) == {}
    assert await dead.of([]) == {}


async def test_what_came_back_is_found_by_its_id_once() -> None:
    dead, store, now = deaths()
    await dead.sent("id@example.org", "a@example.com")
    await dead.bounced(["id@example.org", "other@example.org"])
    assert list(await dead.of(["a@example.com"])) == ["a@example.com"]
    now[0] += 3 * DAY
    await dead.bounced(["id@example.org"])
    (note,) = await store.notes(DEAD, now=now[0])
    assert '"refusals": 1' in note.text


async def test_what_another_version_wrote_counts_for_nothing() -> None:
    dead, store, now = deaths()
    for text in ("[]", "[" * 20_000):
        await store.put_notes([Note(DEAD, "a@example.com", text, now[0] + 9)])
        assert (await dead.of(["a@example.com"]))["a@example.com"].until == 0.0


def test_a_bounce_tells_a_few_ids_and_a_delay_none() -> None:
    ids = [f"20261127{n:016x}.0@example.org" for n in range(MOST_IDS + 5)]
    text = b"\r\n".join(b"Message-ID: <%s>" % one.encode() for one in ids)
    assert Deaths.told_by(text) == ids[:MOST_IDS]
    assert Deaths.told_by(b"Action: delayed\r\n" + text) == []
    assert Deaths.told_by(b"Action: delayed\r\nAction: failed\r\n" + text) == ids[:MOST_IDS]


@given(st.binary())
def test_any_bounce_can_be_read(bounce: bytes) -> None:
    assert isinstance(Deaths.told_by(bounce), list)


@pytest.mark.parametrize("text", [b"<" * 100_000, b"<20261127" * 20_000, b"Action:" + b" " * 100_000])
def test_a_hostile_bounce_tells_nothing(text: bytes) -> None:
    assert Deaths.told_by(text) == []
