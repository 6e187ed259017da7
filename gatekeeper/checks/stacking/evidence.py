"""The rules of recipient stacking, and the evidence that stands behind each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gatekeeper.checks.stacking.settings import Settings
from gatekeeper.model import Action, Kind, Rule

SLOW = "STACKING_SLOW"
BLIND = "STACKING_BLIND"
BLOCKED = "STACKING_BLOCKED"
DICTIONARY = "STACKING_DICTIONARY"
DOMAIN = "STACKING_DOMAIN"
TRAP = "STACKING_TRAP"
TRAPPED = "STACKING_TRAPPED"


@dataclass(frozen=True, slots=True)
class Probing:
    """How much of its budget a client has spent: `spent` points of `budget`, by `whom` ("ip:...", "net:..." or
    "helo:...").
    """

    whom: str
    spent: float
    budget: float
    unknown: int  # recipients refused by the next hop in this session
    abandoned: int  # accepted recipients given up in this session
    names: int = 0  # different names that count for `whom` within the window


@dataclass(frozen=True, slots=True)
class Blocked:
    """An automatic block: whom it names, when it began and when it ends by itself (Unix time)."""

    whom: str
    since: float
    until: float


@dataclass(frozen=True, slots=True)
class Dictionary:
    """A client that tried `names` of the unknown names that at least `clients` others try within the window too."""

    whom: str
    names: int
    clients: int


@dataclass(frozen=True, slots=True)
class DomainProbed:
    """Unknown names of a recipient domain that clients without a good history tried within the window, of how many
    they may; and why this one is not answered: "wait", it is to come again for its one name, or "asked", it has had it.
    """

    domain: str
    unknown: int
    budget: int
    why: str


@dataclass(frozen=True, slots=True)
class TrapNamed:
    """A client named a trap: a "former" address, or a "hot" name that many tried and the next hop refused to it;
    `since` is Unix time.
    """

    whom: str
    kind: str
    since: float


def rules(settings: Settings) -> Sequence[Rule]:
    """All of them. Where names are not told one rule decides, so that there is one answer: STACKING_BLIND."""
    return (
        Rule(SLOW, 0.5, "The client tries recipients that do not exist.", kind=Kind.RATE, delay=settings.slow_delay),
        Rule(
            BLIND,
            0.0,
            "Too many recipients that do not exist were tried; try again later.",
            kind=Kind.RATE,
            decides=Action.DEFER,
            delay=settings.slow_delay,
        ),
        Rule(
            BLOCKED,
            0.0,
            "Too many recipients were tried without sending mail; this address is refused for a while.",
            kind=Kind.RATE,
            decides=Action.DROP,
        ),
        Rule(DICTIONARY, 1.0, "The client tries the same unknown names as many others do.", kind=Kind.RATE),
        Rule(DOMAIN, 0.0, "Unknown names of this domain are tried from many places.", kind=Kind.RATE),
        Rule(
            TRAP,
            5.0,
            "There is no such mailbox here.",
            kind=Kind.RATE,
            decides=Action.REJECT if settings.trap_mail == "refuse" else None,
            enhanced="1.1",
        ),
        Rule(TRAPPED, 4.0, "The client wrote to a trap lately.", kind=Kind.RATE),
    )
