"""Does the client wait for its turn: for the greeting, for EHLO's answer, where a group of commands must end?

RFC 5321 §4.3.1 and RFC 2920 §3.1 say when. Mail servers keep to it; programs that only push mail out do not look at
answers. A client whose mail was wanted before is not judged by this. Nobody is asked, so that refusing costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from gatekeeper.checks.base import Tools
from gatekeeper.model import Action, Finding, Mail, Rule, Session, setting

EARLY: Final = "SPOKE_EARLY"
PIPELINED: Final = "PIPELINED_EARLY"
NOT_SMTP: Final = "NOT_SMTP"
SCORE: Final = 1.5
"""Points of a rule that is not to drop by itself."""

Consequence = Literal["drop", "score"]


@dataclass(frozen=True, slots=True)
class TurnNotWaitedFor:
    """What the client said too early (its beginning), or the command whose answer it did not wait for."""

    said: str


@dataclass(frozen=True, slots=True)
class OtherProtocol:
    """What the client speaks in the place of SMTP, as `wire.openings` names it."""

    protocol: str


@dataclass(frozen=True, slots=True)
class Manners:
    """[checks.manners]"""

    name: ClassVar[str] = "manners"

    early: Consequence = setting(
        "drop", 'Clients that speak before the greeting is complete: "drop" (421 and close) or "score".'
    )
    pipelining: Consequence = setting(
        "drop", 'Clients that send commands ahead where RFC 2920 does not let them: "drop" or "score".'
    )

    def rules(self) -> Sequence[Rule]:
        return (
            _rule(EARLY, self.early, "The client spoke before the greeting was complete (RFC 5321 section 4.3.1)."),
            _rule(PIPELINED, self.pipelining, "The client did not wait for an answer it must wait for (RFC 2920)."),
            Rule(NOT_SMTP, 0.0, "The client does not speak SMTP.", decides=Action.DROP, enhanced="5.1"),
        )

    async def inspect(self, mail: Mail, tools: Tools) -> Sequence[Finding]:  # noqa: ARG002 - a check's signature
        """What came to light since the server asked last; what is known already is not found twice."""
        known = {finding.rule for finding in mail.session.notebook.findings}
        return [finding for finding in self.glance(mail.session) if finding.rule not in known]

    def glance(self, session: Session) -> Sequence[Finding]:
        if session.speaks is not None:
            return (Finding(NOT_SMTP, OtherProtocol(session.speaks), f"this is SMTP, and you speak {session.speaks}"),)
        if session.familiar:
            return ()
        found = []
        if session.spoke_early is not None:
            evidence = TurnNotWaitedFor(session.spoke_early)
            found.append(Finding(EARLY, evidence, "you spoke before the greeting was complete"))
        if session.pipelined is not None:
            evidence = TurnNotWaitedFor(session.pipelined)
            found.append(Finding(PIPELINED, evidence, f"you did not wait for the answer to {session.pipelined}"))
        return found


def _rule(name: str, consequence: Consequence, about: str) -> Rule:
    drops = consequence == "drop"
    return Rule(name, 0.0 if drops else SCORE, about, decides=Action.DROP if drops else None, enhanced="5.1")
