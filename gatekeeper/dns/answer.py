"""What a question to the DNS comes to: an answer, or one of the ways in which there is none."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Protocol, cast, runtime_checkable


class Status(enum.Enum):
    """How a question ended. Only OK, NODATA and NXDOMAIN are answers; the others are no evidence of anything."""

    OK = "ok"  # there are records
    NODATA = "nodata"  # the name exists, without records of this type
    NXDOMAIN = "nxdomain"  # the name does not exist
    REFUSED = "refused"  # the server will not or cannot say (REFUSED, SERVFAIL, NOTIMP)
    TIMEOUT = "timeout"  # nobody answered in time
    NONSENSE = "nonsense"  # what came was not an answer, or the name cannot be asked for
    BUDGET = "budget"  # not asked: the message's budget is spent


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a question.

    `records` by type: A, AAAA text of an address · TXT bytes, its strings joined · MX (preference, host; "" is the
    null MX of RFC 7505) · PTR, NS, CNAME text of a name, lower case without the last dot, octets that are no letters
    escaped as in a zone file. `ttl` in seconds, what is left of it.
    """

    status: Status
    records: tuple[Any, ...] = ()
    ttl: float = 0.0

    @property
    def certain(self) -> bool:
        """Whether this is an answer at all, be it yes or no."""
        status = self.status
        return status is Status.OK or status is Status.NXDOMAIN or status is Status.NODATA


Question = tuple[str, str]
"""A name in lower case without its last dot, and a record type."""


class Resolver(Protocol):
    """Who answers questions; `AiodnsResolver` in life, a dict in tests."""

    async def ask(self, name: str, rtype: str) -> Answer:
        """Never raises for anything a name or a peer can do. Equal questions under way share one."""
        ...

    def cached(self, name: str, rtype: str) -> Answer | None:
        """The answer if it needs no question, else None. Saves the caller a task where many are asked at once."""
        ...


@runtime_checkable
class Starts(Protocol):
    """A resolver that can begin a question without anybody waiting yet: no task for each that is asked together."""

    def start(self, name: str, rtype: str) -> Answer | asyncio.Future[Answer]:
        """The answer if there is one by now, or who will have it: shared, so it is not to be cancelled."""
        ...


MOST_ALIASES: Final = 16


def end_of_aliases(name: str, aliases: Mapping[str, tuple[str, int]]) -> tuple[str, list[int]] | None:
    """Where a chain of aliases (each with its TTL) leads, and the TTLs on the way; None for a loop, or near enough."""
    ttls: list[int] = []
    for _ in range(MOST_ALIASES):
        if name not in aliases:
            return name, ttls
        name, ttl = aliases[name]
        ttls.append(ttl)
    return None


@cache
def _can_start(kind: type) -> bool:
    return issubclass(kind, Starts)  # a protocol is dear to ask


def starts_of(resolver: Resolver) -> Starts | None:
    """The same resolver, if it can begin a question without anybody waiting."""
    return cast("Starts", resolver) if _can_start(type(resolver)) else None
