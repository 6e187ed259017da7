"""Histories on their way to the store."""

from ipaddress import ip_address

import pytest

from gatekeeper.checks import histories
from gatekeeper.checks.histories import Histories
from gatekeeper.model import Session
from gatekeeper.store.memory import MemoryStore
from tests.support.fake_store import FakeStore

NOW = 1_800_000_000.0
KEYS = ["ip:192.0.2.1", "net:192.0.2.0/24", "helo:mx.example.net"]


def client(address: str | None = "192.0.2.1", helo: str | None = "mx.example.net") -> Session:
    made = Session("s", "smtp", NOW, helo=helo)
    made.address = None if address is None else ip_address(address)
    return made


async def accepted(store: MemoryStore, keys: list[str]) -> list[int]:
    return [one.accepted for one in await store.history(keys)]


async def test_a_client_is_known_by_address_network_and_helo():
    kept, store = Histories(), MemoryStore()
    kept.remember(client(), accepted=1)
    kept.remember(client(), accepted=2, refused=1)
    await kept.settle(store, now=NOW)
    assert await accepted(store, KEYS) == [3, 3, 3]
    assert (await store.history(KEYS[:1]))[0].refused == 1


async def test_a_client_without_an_address_has_none():
    kept, store = Histories(), FakeStore()
    kept.remember(client(address=None), accepted=1)
    await kept.settle(store, now=NOW)
    assert store.asked == []


async def test_it_is_told_once():
    kept, store = Histories(), MemoryStore()
    kept.note(["a"], accepted=1)
    await kept.settle(store, now=NOW)
    await kept.settle(store, now=NOW)
    assert await accepted(store, ["a"]) == [1]


async def test_what_the_store_does_not_take_is_told_when_it_is_back():
    kept, store = Histories(), FakeStore()
    kept.note(["a"], accepted=1)
    store.away = True
    await kept.settle(store, now=NOW)
    kept.note(["a"], accepted=1)
    store.away = False
    await kept.settle(store, now=NOW)
    assert await accepted(store, ["a"]) == [2]


async def test_more_keys_than_the_limit_are_not_kept(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(histories, "MOST", 3)
    kept, store = Histories(), MemoryStore()
    for n in range(10):
        kept.note([str(n), "0"], accepted=1)
    await kept.settle(store, now=NOW)
    assert await accepted(store, ["0", "1", "2", "3"]) == [11, 1, 1, 0]
