"""What a server sees of the next hop: the values that go to it, and the verbs of one transaction."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gatekeeper.model import Reply


class NextHopGone(Exception):
    """No (further) answer from the next hop.

    `in_doubt` is whether our final dot had gone on without an answer: it may have the message or not (RFC 1047).
    `reply` is what it said last, when its greeting, XCLIENT or EHLO was a refusal.
    """

    def __init__(self, why: str, *, in_doubt: bool = False, reply: Reply | None = None) -> None:
        super().__init__(why)
        self.in_doubt = in_doubt
        self.reply = reply


class Withdrawn(Exception):
    """The client left before our final dot went on: nothing was committed."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the next hop's EHLO offers: keyword (upper case) -> parameters as written."""

    keywords: dict[str, str] = field(default_factory=dict)

    def offers(self, keyword: str) -> bool:
        return keyword in self.keywords

    @property
    def takes_client(self) -> bool:
        """Whether XCLIENT can tell it who the client is. Without ADDR, as smtp-sink has it, it names nobody."""
        return "ADDR" in self.keywords.get("XCLIENT", "").upper().split()

    @classmethod
    def of(cls, reply: Reply) -> Capabilities:
        """From the reply to EHLO or LHLO, whose first line is only a greeting (RFC 5321 §4.1.1.1)."""
        keywords: dict[str, str] = {}
        for line in reply.lines[1:]:
            keyword, _, parameters = line.strip().partition(" ")
            keywords.setdefault(keyword.upper(), parameters.strip())
        return cls(keywords)


@dataclass(frozen=True, slots=True)
class Command:
    """A MAIL or RCPT argument: the path between the angle brackets as it came, and its parameters with their case."""

    path: str
    parameters: tuple[str, ...] = ()


class RelayAnswer(enum.Enum):
    """What the next hop says to an outside client that wants mail relayed to a domain of nobody's."""

    OPEN = "open"  # it would take it: whoever stands in front of it is an open relay
    CLOSED = "closed"  # a 5xx
    UNKNOWN = "unknown"  # it was away, or refused something before, or only for now


class Transaction(Protocol):
    """One mail on its way to the next hop. Not safe for two tasks at once. `abort` or a finished `send` ends it."""

    dot_sent: bool
    """Whether the final dot went on: a `send` that ends without an answer then leaves the message in doubt."""

    @property
    def refusal(self) -> Reply | None:
        """What the next hop said against the client or the sender, before any recipient; each RCPT was told it."""
        ...

    async def recipients(self, group: Sequence[Command]) -> list[Reply]:
        """Send these RCPTs in one group (the first time with XCLIENT/XFORWARD and MAIL before them); their replies.

        When the next hop refuses its greeting, XCLIENT or MAIL, each gets that reply. A parameter that it turns out
        not to know is a 451. Raises NextHopGone, and then none of this group is accepted.
        """
        ...

    async def send(self, chunks: Iterable[bytes], *, wanted: Callable[[], bool]) -> Reply:
        """DATA, the message (canonical CRLF, not stuffed), the dot; the next hop's final reply.

        `wanted()` is asked right before the dot goes on; False closes the connection instead: `Withdrawn`.
        An idle or lost connection is replaced before DATA and MAIL and every accepted RCPT are replayed; unless
        all are accepted again the answer is a 451. Nothing is replayed once the dot was sent. Raises NextHopGone.
        """
        ...

    async def park(self) -> None:
        """Let go of the connection, if there is one, for the client is made to wait: the next step opens another."""
        ...

    async def abort(self) -> None:
        """Give the transaction up (RSET, or close). May be called twice, and after `send`."""
        ...
