"""Which store a URL opens."""

from pathlib import Path

import pytest

from gatekeeper.store.base import StoreUnusable
from gatekeeper.store.fallback import Fallback
from gatekeeper.store.memory import MemoryStore
from gatekeeper.store.opening import Settings, open_store


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:/var/lib/gatekeeper/state.db", "/var/lib/gatekeeper/state.db"),
        ("sqlite:///var/lib/gatekeeper/state.db", "/var/lib/gatekeeper/state.db"),
        ("memory:", None),
        ("memory://", None),
    ],
)
def test_these_are_understood(url, path):
    assert Settings(url).path == (Path(path) if path else None)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://127.0.0.1/x", "is no number of a database"),
        ("redis://:secret@127.0.0.1/0", "a password does not stand here"),
        ("sqlite:state.db", 'as in "sqlite:/var/lib/gatekeeper/state.db"'),
        ("sqlite:/var/lib/gatekeeper/", 'as in "sqlite:/var/lib/gatekeeper/state.db"'),
        ("/var/lib/gatekeeper/state.db", 'begins with "sqlite:"'),
        ("sqlite", 'begins with "sqlite:"'),
        ("memory:/x", 'is "memory:"'),
        ("", 'begins with "sqlite:"'),
    ],
)
def test_these_are_refused_with_the_mend(url, said):
    with pytest.raises(ValueError, match="url") as refused:
        Settings(url)
    assert said in str(refused.value)


async def test_a_file_has_memory_to_stand_in(tmp_path):
    store = open_store(Settings(f"sqlite:{tmp_path}/state.db"))
    assert isinstance(store, Fallback)
    await store.close()


def test_memory_stands_alone():
    assert isinstance(open_store(Settings("memory:")), MemoryStore)


def test_a_file_that_cannot_be_used_ends_the_start(tmp_path):
    with pytest.raises(StoreUnusable):
        open_store(Settings(f"sqlite:{tmp_path}/nowhere/state.db"))


@pytest.mark.parametrize("url", ["redis://h", "rediss://u@h:1/2", "redis+cluster://a,b", "redis+sentinel://a,b/m/0"])
async def test_a_redis_has_memory_to_stand_in_and_need_not_be_there(url):
    assert Settings(url).networked
    store = open_store(Settings(url, password="secret"))
    assert isinstance(store, Fallback)
    await store.close()


def test_a_password_is_for_redis_alone():
    with pytest.raises(ValueError, match="asks for none"):
        Settings("memory:", password="secret")
