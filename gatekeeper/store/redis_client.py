"""How Redis or Valkey is asked: one server, Sentinel or a cluster, and what each fault is told as.

Nothing is tried twice here: a caller waits for less than a second, and memory takes over (store/fallback.py).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from redis.asyncio import ConnectionPool, Redis, RedisCluster, Sentinel, SentinelConnectionPool
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, NoScriptError, RedisError

from gatekeeper.store.base import StoreAway
from gatekeeper.store.redis_place import Place

DEADLINE = 0.8
"""Seconds that a verb may take: whoever meets a server that has gone silent is held up by less than a second."""
PATIENCE = 0.6
"""Seconds that one read, write or connection may take; below the deadline, so that its answer says why."""
MOST_AT_ONCE = 16
"""Questions of one process that are under way at once; others wait their turn within the deadline."""

T = TypeVar("T")
Argument = Any
"""str, bytes, int or float: what Redis takes as a word."""


class Client:
    """Runs commands and scripts; raises StoreAway for every fault outside the program. Connects when first asked."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._redis = _open(place)
        self._places = asyncio.Semaphore(MOST_AT_ONCE)

    async def command(self, *words: Argument, within: float = DEADLINE) -> Any:
        return await self._guarded(lambda: self._redis.execute_command(*words), within)

    async def script(
        self, script: str, keys: Sequence[str], arguments: Sequence[Argument] = (), *, within: float = DEADLINE
    ) -> Any:
        """Run a Lua script; its text is sent only when the server does not have it yet."""
        return await self._guarded(lambda: self._run(script, keys, arguments), within)

    async def _run(self, script: str, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        digest = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
        try:
            return await self._redis.execute_command("EVALSHA", digest, len(keys), *keys, *arguments)
        except NoScriptError:
            return await self._redis.execute_command("EVAL", script, len(keys), *keys, *arguments)

    async def _guarded(self, answer: Callable[[], Awaitable[T]], within: float) -> T:
        try:
            async with asyncio.timeout(within), self._places:
                if self.place.scheme == "redis+cluster":
                    # Until it knows the cluster's plan it would send keys to any node. Nothing once it does.
                    await self._redis.initialize()
                return await answer()
        except TimeoutError:
            raise StoreAway(f"Redis gave no answer within {within:g} s") from None
        except (AuthenticationError, NoPermissionError) as failure:
            raise StoreAway(
                f"Redis does not let us in: mend user in [store] url, and password ({failure})"
            ) from failure
        except (RedisError, OSError, AttributeError, RecursionError) as failure:
            # AttributeError: redis-py closes all connections of a cluster when one breaks, under those who write.
            raise StoreAway(f"Redis: {str(failure) or type(failure).__name__}") from failure

    async def close(self) -> None:
        try:
            async with asyncio.timeout(DEADLINE):
                await self._redis.aclose()
        except (TimeoutError, RedisError, OSError):
            return  # whoever does not answer needs no farewell


def _open(place: Place) -> Any:
    login: dict[str, Any] = {"username": place.user, "password": place.password}
    once: dict[str, Any] = {
        "socket_timeout": PATIENCE,
        "socket_connect_timeout": PATIENCE,
        "retry": Retry(NoBackoff(), 0),
    }
    if place.scheme == "redis+cluster":
        nodes = [ClusterNode(host, port) for host, port in place.hosts]
        # One more try: a node that has gone is noticed by its fault, and asked for in the new plan of the cluster.
        again = {**once, "retry": Retry(NoBackoff(), 1)}
        return RedisCluster(
            startup_nodes=nodes, max_connections=MOST_AT_ONCE * 2, reinitialize_steps=0, **login, **again
        )
    if place.scheme == "redis+sentinel":
        untyped: Any = Sentinel
        sentinel = untyped(list(place.hosts), sentinel_kwargs=once, **once)
        pool_of: Any = SentinelConnectionPool
        pool = pool_of(place.service, sentinel, db=place.database, max_connections=MOST_AT_ONCE * 2, **login, **once)
        return Redis(connection_pool=pool)
    (host, port), tls = place.hosts[0], place.scheme == "rediss"
    scheme = "rediss" if tls else "redis"
    address = f"[{host}]" if ":" in host else host
    shared = ConnectionPool.from_url(
        f"{scheme}://{address}:{port}/{place.database}", max_connections=MOST_AT_ONCE * 2, **login, **once
    )
    return Redis(connection_pool=shared)
