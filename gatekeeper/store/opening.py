"""The store that the configuration names, with memory to stand in for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gatekeeper.model import setting
from gatekeeper.store.base import Store, StoreUnusable
from gatekeeper.store.fallback import Fallback
from gatekeeper.store.memory import MemoryStore

if TYPE_CHECKING:
    from gatekeeper.store.redis import RedisStore

NETWORKED = frozenset({"redis", "rediss", "redis+cluster", "redis+sentinel"})


@dataclass(frozen=True, slots=True)
class Settings:
    """[store]"""

    url: str = setting(
        "sqlite:/var/lib/gatekeeper/state.db",
        'Where state and records are kept: "sqlite:/path/to/file" for one machine; for many "redis://host:6379/0",'
        ' "rediss://host:6379/0" (TLS), "redis+cluster://host,host" or "redis+sentinel://host,host/mymaster/0";'
        ' or "memory:", which forgets at each restart.',
    )
    password: str = setting("", "What Redis or Valkey asks for; a user name stands in the url.", secret=True)

    def __post_init__(self) -> None:
        scheme, colon, rest = self.url.partition(":")
        if scheme in NETWORKED:
            from gatekeeper.store.redis_place import Place  # noqa: PLC0415  # only when this backend is asked for

            Place.read(self.url)
            return
        if self.password:
            raise ValueError(f'password: a store at "{scheme}:" asks for none; it is for Redis and Valkey')
        if scheme == "memory" and colon and not rest.strip("/"):
            return
        if scheme != "sqlite" or not colon:
            raise ValueError(
                'url begins with "sqlite:", "redis:" or is "memory:", as in "sqlite:/var/lib/gatekeeper/state.db"'
            )
        if not rest.startswith("/"):
            raise ValueError(f'url needs the whole path of the file, as in "sqlite:/var/lib/gatekeeper/{rest}"')
        if rest.endswith("/"):
            raise ValueError(f'url names a file, as in "sqlite:{rest}state.db"')

    @property
    def path(self) -> Path | None:
        """The file of a SQLite store."""
        scheme, _, rest = self.url.partition(":")
        return Path("/" + rest.lstrip("/")) if scheme == "sqlite" else None

    @property
    def networked(self) -> bool:
        """Whether other machines can reach it."""
        return self.url.partition(":")[0] in NETWORKED


def is_there(path: Path) -> bool:
    """Whether something is there. Raises StoreUnusable where whoever asks may not look."""
    try:
        return path.exists()
    except PermissionError:
        raise StoreUnusable(f"{path} cannot be read by you: run this as root or as the service's user") from None


def open_store(
    settings: Settings,
    *,
    clock: Callable[[], float] = time.monotonic,
    on_change: Callable[[bool], None] | None = None,
    process: str | None = None,
) -> Store:
    """The store; raises StoreUnusable, with the mend, when it cannot be used as configured. A Redis that does not
    answer is no such case: memory takes over until it does.

    `on_change` is told False when it goes away later on and memory takes over, and True when it is back; `clock`
    (seconds) times the attempts in between. `process` is who says so in the log.
    """
    if settings.networked:
        return Fallback(open_redis(settings), MemoryStore(), on_change, backend="redis", clock=clock, process=process)
    if settings.path is None:
        return MemoryStore()
    from gatekeeper.store.sqlite import SqliteStore  # noqa: PLC0415  # only when this backend is asked for

    return Fallback(SqliteStore(settings.path), MemoryStore(), on_change, clock=clock, process=process)


def open_redis(settings: Settings) -> RedisStore:
    """A store with a networked url, without memory to stand in for it."""
    from gatekeeper.store.redis import RedisStore  # noqa: PLC0415  # only when this backend is asked for
    from gatekeeper.store.redis_place import Place  # noqa: PLC0415

    return RedisStore(replace(Place.read(settings.url), password=settings.password or None))
