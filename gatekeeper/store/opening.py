"""The store that the configuration names, with memory to stand in for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gatekeeper.model import setting
from gatekeeper.store.base import Store
from gatekeeper.store.fallback import Fallback
from gatekeeper.store.memory import MemoryStore

_NETWORKED = {"redis", "rediss", "redis+cluster", "redis+sentinel"}


@dataclass(frozen=True, slots=True)
class Settings:
    """[store]"""

    url: str = setting(
        "sqlite:/var/lib/gatekeeper/state.db",
        'Where state and records are kept: "sqlite:/path/to/file", or "memory:", which forgets at each restart.',
    )

    def __post_init__(self) -> None:
        scheme, colon, rest = self.url.partition(":")
        if scheme in _NETWORKED:
            raise ValueError(f'url: this build has no Redis backend yet, so no "{scheme}:"; use "sqlite:/path/to/file"')
        if scheme == "memory" and colon and not rest.strip("/"):
            return
        if scheme != "sqlite" or not colon:
            raise ValueError('url begins with "sqlite:" or is "memory:", as in "sqlite:/var/lib/gatekeeper/state.db"')
        if not rest.startswith("/"):
            raise ValueError(f'url needs the whole path of the file, as in "sqlite:/var/lib/gatekeeper/{rest}"')
        if rest.endswith("/"):
            raise ValueError(f'url names a file, as in "sqlite:{rest}state.db"')

    @property
    def path(self) -> Path | None:
        """The file of a SQLite store."""
        scheme, _, rest = self.url.partition(":")
        return Path("/" + rest.lstrip("/")) if scheme == "sqlite" else None


def open_store(
    settings: Settings,
    *,
    clock: Callable[[], float] = time.monotonic,
    on_change: Callable[[bool], None] | None = None,
) -> Store:
    """The store; raises StoreUnusable, with the mend, when it cannot be used as configured.

    `on_change` is told False when it goes away later on and memory takes over, and True when it is back; `clock`
    (seconds) times the attempts in between.
    """
    if settings.path is None:
        return MemoryStore()
    from gatekeeper.store.sqlite import SqliteStore  # noqa: PLC0415  # only when this backend is asked for

    return Fallback(SqliteStore(settings.path), MemoryStore(), on_change, clock=clock)
