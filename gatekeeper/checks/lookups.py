"""Did this client's mail cause so many DNS questions that we did not ask all of them?

What is not asked speaks for nobody and against nobody, so whoever spends `[gate] dns_questions_per_client` on mail that
asks for much would have the rest of its mail judged without lists, SPF, DKIM and DMARC. A stranger is put off in place
of that; its allowance comes back within a minute. Who has sent wanted mail for some time is judged by what is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from gatekeeper.checks.base import Tools, from_outside
from gatekeeper.checks.keys import client_key
from gatekeeper.model import Action, Duration, Finding, Kind, Mail, Rule, Stage, setting

SPENT: Final = "LOOKUPS_SPENT"


@dataclass(frozen=True, slots=True)
class Unasked:
    """How many DNS questions were not asked in this session because of the client's allowance."""

    questions: int


@dataclass(frozen=True, slots=True)
class Lookups:
    """[checks.lookups]"""

    name: ClassVar[str] = "lookups"

    known_messages: int = setting(3, "How many messages accepted make a client known, which is never put off here.")
    known_since: Duration = setting(86400.0, "How long ago the first of them must have been.")

    def __post_init__(self) -> None:
        if self.known_messages < 1:
            raise ValueError("known_messages must be at least 1")

    def rules(self) -> Sequence[Rule]:
        about = "More DNS look-ups were caused than are made for one client in a minute; try again later."
        return (Rule(SPENT, 0.0, about, kind=Kind.RATE, decides=Action.DEFER),)

    def foresee(self, mail: Mail) -> Sequence[str]:  # noqa: ARG002 - of no mail
        """What is found later puts off, and lets nobody in."""
        return ()

    async def inspect(self, mail: Mail, tools: Tools) -> Sequence[Finding]:
        address, allowance = mail.session.address, tools.allowance
        if allowance is None or not allowance.denied or address is None or not from_outside(mail.session):
            return ()
        if mail.stage is not Stage.MESSAGE and mail.session.shows_messages:
            return ()  # more is to be asked
        [history] = await tools.store.history([client_key(address)])
        if history.wanted(messages=self.known_messages, before=tools.clock() - self.known_since):
            return ()
        return (Finding(SPENT, Unasked(allowance.denied), f"{allowance.denied} questions were not asked"),)
