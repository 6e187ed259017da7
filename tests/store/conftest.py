"""Every backend, for the tests that all of them have to pass."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gatekeeper.store.base import Store
from gatekeeper.store.fallback import Fallback
from gatekeeper.store.memory import MemoryStore
from gatekeeper.store.sqlite import SqliteStore

BACKENDS = ("memory", "sqlite", "fallback")


def open_backend(name: str, directory: Path) -> Store:
    if name == "memory":
        return MemoryStore()
    if name == "sqlite":
        return SqliteStore(directory / "state.db")
    return Fallback(SqliteStore(directory / "state.db"), MemoryStore())


@pytest.fixture(params=BACKENDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    opened = open_backend(request.param, tmp_path)
    yield opened
    await opened.close()
