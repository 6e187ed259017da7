"""One shared resolver: a cache with TTLs, single flight, deadlines and budgets above aiodns (c-ares)."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, Protocol


class Status(enum.Enum):
    """How a question ended. Only OK, NODATA and NXDOMAIN are answers; the others are no evidence of anything."""

    OK = "ok"  # there are records
    NODATA = "nodata"  # the name exists, without records of this type
    NXDOMAIN = "nxdomain"  # the name does not exist
    REFUSED = "refused"  # the server will not or cannot say (REFUSED, SERVFAIL, NOTIMP)
    TIMEOUT = "timeout"  # nobody answered in time
    NONSENSE = "nonsense"  # what came was not an answer
    BUDGET = "budget"  # not asked: the message's budget is spent


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a question.

    `records` by type: A, AAAA text of an address · TXT bytes, its strings joined · MX (preference, host) ·
    PTR, NS, CNAME text of a name, lower case without the last dot. `ttl` in seconds, what is left of it.
    """

    status: Status
    records: tuple[Any, ...] = ()
    ttl: float = 0.0

    @property
    def certain(self) -> bool:
        """Whether this is an answer at all, be it yes or no."""
        return self.status in (Status.OK, Status.NODATA, Status.NXDOMAIN)


class Resolver(Protocol):
    """Who answers questions; `AiodnsResolver` in life, a dict in tests."""

    async def ask(self, name: str, rtype: str) -> Answer:
        """Never raises for anything a name or a peer can do. Equal questions under way share one."""
        ...
