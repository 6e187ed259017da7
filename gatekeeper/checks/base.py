"""What a check is, and what it may use.

A check is a frozen dataclass whose fields are its configuration section (`[checks.NAME]`, NAME being its module's).
It reports findings; what they are worth is the policy's business. It meets None where the server cannot know a
fact, and then finds nothing. It never asks which server it is behind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final, Protocol, runtime_checkable

from gatekeeper.dns.budget import ClientAllowance
from gatekeeper.dns.desk import Desk
from gatekeeper.dns.lists import outside
from gatekeeper.dns.resolver import Resolver
from gatekeeper.model import Finding, Group, Mail, Missing, Rule, Session, Stage
from gatekeeper.store.base import Store

MESSAGE_FORM: Final = Group("MESSAGE_GROUP_FORM", 2.2)
"""How a message is made, whoever finds it: header, MIME, trace, commercial law. So many things can be sloppy about
wanted mail that only a cap keeps all of them, with HELO and reverse DNS, below `tag`.
"""


@dataclass(frozen=True, slots=True)
class Tools:
    """What the gate hands to a check.

    `clock` gives Unix time. `hostname` is ours; `domains` are `relay_domains` in lower case.
    `desk` asks DNS lists, and knows which of them have a vote. `apart` is a resolver for what keeps to a limit of its
    own: SPF, DKIM, ARC and DMARC ask what a stranger's records and fields tell them to. What they ask is not taken from
    what the transaction may ask besides, nor the other way round. None where the transaction has no limit. `allowance`
    is what the client may still ask, in this session; None where there is no client.
    """

    resolver: Resolver
    store: Store
    clock: Callable[[], float]
    hostname: str
    domains: frozenset[str]
    desk: Desk = field(default_factory=Desk)
    apart: Resolver | None = None
    allowance: ClientAllowance | None = None


@dataclass(frozen=True, slots=True)
class ReverseName:
    """Evidence that several read: the name of the client's address; `confirmed` when the name's own addresses have the
    client's among them.
    """

    name: str
    confirmed: bool


def from_outside(session: Session) -> bool:
    """Whether a client that is none of our own brings the mail: one on the Internet that has not logged in."""
    return session.address is not None and outside(session.address) and session.login is None


class Check(Protocol):
    """One reason to distrust, or to trust."""

    name: ClassVar[str]
    """The module's name; stands in `missing` when the check fails. Where it stands is in pipeline.py's table."""

    def rules(self) -> Sequence[Rule]:
        """Every rule it can find with these settings; called once, at start."""
        ...

    async def inspect(self, mail: Mail, tools: Tools) -> Sequence[Finding | Missing]:
        """What it finds. A part of the evidence that could not be had is a `Missing` among the findings.

        Whatever is raised counts as the whole check missing. The gate sets the deadline.
        """
        ...


@runtime_checkable
class RunsAhead(Protocol):
    """A check of HELO that needs the client's address alone, and is run while a stranger waits for its greeting."""

    ahead: ClassVar[bool]


@runtime_checkable
class Glances(Protocol):
    """A check that sees at once, from what the server knows of the session and without asking anybody."""

    def glance(self, session: Session) -> Sequence[Finding]:
        """What the session's own facts show by now. May be called often."""
        ...


@runtime_checkable
class Settles(Protocol):
    """A check that keeps account of clients over sessions."""

    async def settle(self, session: Session, tools: Tools) -> None:
        """Tell the store what `session.counters` has beyond `session.settled`. Called when a transaction or the
        session has ended; may be called when there is nothing to tell.
        """
        ...


@runtime_checkable
class Foresees(Protocol):
    """A check that knows of a mail which of its rules it may still find once all recipients are known (DATA, MESSAGE).

    Without it, all of them. What it leaves out may be found all the same, where that makes no refusal milder and does
    not matter to who can share a transaction.
    """

    def foresee(self, mail: Mail) -> Sequence[str]: ...


@runtime_checkable
class Narrows(Protocol):
    """A check that knows which of its rules it can find at all at present, whoever comes. Without it, all of them."""

    def possible(self) -> Sequence[str]: ...


@runtime_checkable
class OnlyInDoubt(Protocol):
    """A check that is asked only about mail that the policy holds to be in doubt; about other mail it has no say."""

    only_in_doubt: ClassVar[bool]


@runtime_checkable
class Learns(Protocol):
    """A check that learns from how mail ended."""

    def learn(self, mail: Mail, tools: Tools, *, passed: bool) -> None:
        """A transaction has ended; `passed` is whether its message was taken. What it remembers is bounded."""
        ...

    async def flush(self, tools: Tools) -> None:
        """Bring what was learned to the store; called every second, and at the end. Raises StoreAway."""
        ...


@runtime_checkable
class Closes(Protocol):
    """A check that holds something of the world outside: a connection, a process."""

    async def close(self) -> None:
        """Let it go, at the end. May be called twice; a check that is asked again after it begins anew."""
        ...


@runtime_checkable
class Idles(Protocol):
    """A check that, with its settings, has nothing to do at some of the stages where it stands."""

    def idle_at(self, stage: Stage) -> bool:
        """Asked once, at start."""
        ...


@runtime_checkable
class Prepares(Protocol):
    """A check that has something to make before its first mail, and may find then that it cannot be made."""

    def prepare(self) -> None:
        """Called once the configuration has been read. Raises what says which file and line to mend."""
        ...
