"""What a check is, and what it may use.

A check is a frozen dataclass whose fields are its configuration section (`[checks.NAME]`, NAME being its module's).
It reports findings; what they are worth is the policy's business. It meets None where the server cannot know a
fact, and then finds nothing. It never asks which server it is behind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from gatekeeper.dns.resolver import Resolver
from gatekeeper.model import Finding, Mail, Missing, Rule, Session
from gatekeeper.store.base import Store


@dataclass(frozen=True, slots=True)
class Tools:
    """What the gate hands to a check.

    `clock` gives Unix time. `hostname` is ours; `domains` are `relay_domains` in lower case.
    """

    resolver: Resolver
    store: Store
    clock: Callable[[], float]
    hostname: str
    domains: frozenset[str]


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
