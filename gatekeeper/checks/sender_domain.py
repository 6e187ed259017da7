"""Does the sender's domain exist, and does it take mail, so that somebody could be answered (RFC 5321 §5.1, RFC 7505)?

RFC 2505 §2.9: what cannot be looked up now is put off and never refused for good. Our own domains and the null sender
are not asked about (§2.6).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from gatekeeper.checks.base import Tools
from gatekeeper.dns.resolver import Answer, Status, ask_all
from gatekeeper.model import Action, Finding, Kind, Mail, Missing, Rule, setting
from gatekeeper.wire.address import normal_domain

UNREACHABLE: Final = "SENDER_UNREACHABLE"
NULL_MX: Final = "SENDER_NULL_MX"
UNSURE: Final = "SENDER_UNSURE"


@dataclass(frozen=True, slots=True)
class SenderDomainAnswer:
    """The domain that was asked about, and how the question about its MX (or, without one, its address) ended."""

    domain: str
    status: str


@dataclass(frozen=True, slots=True)
class SenderDomain:
    """[checks.sender_domain]"""

    name: ClassVar[str] = "sender_domain"

    unreachable: Literal["score", "defer", "reject"] = setting(
        "score",
        'What a sender means whose domain does not exist or has no server: "score", or "defer" (4xx) or "reject" '
        "(5xx); with these two, one that cannot be looked up now is deferred.",
    )
    null_mx: Literal["score", "reject"] = setting(
        "reject", 'What a sender means whose domain says that it takes no mail (RFC 7505): "score" or "reject".'
    )

    def rules(self) -> Sequence[Rule]:
        wanted = {"score": None, "defer": Action.DEFER, "reject": Action.REJECT}
        return (
            Rule(
                UNREACHABLE,
                1.0,
                "The sender's domain does not exist, or has neither MX nor address.",
                kind=Kind.IDENTITY,
                decides=wanted[self.unreachable],
                enhanced="1.8",
            ),
            Rule(
                NULL_MX,
                2.5,
                "The sender's domain says that it takes no mail (RFC 7505).",
                kind=Kind.IDENTITY,
                decides=wanted[self.null_mx],
                enhanced="7.27",
            ),
            Rule(
                UNSURE,
                0.0,
                "The sender's domain cannot be looked up at the moment.",
                kind=Kind.IDENTITY,
                decides=None if self.unreachable == "score" else Action.DEFER,
                enhanced="4.3",
            ),
        )

    async def inspect(self, mail: Mail, tools: Tools) -> Sequence[Finding | Missing]:
        sender = mail.envelope.sender
        if sender is None or mail.session.login is not None:
            return ()
        domain = normal_domain(sender.domain)  # None for a literal, which is its own address
        if domain is None or domain in tools.domains:
            return ()
        mx = await tools.resolver.ask(domain, "MX")
        if not mx.certain:
            return self._unsure(domain, mx)
        if mx.status is Status.OK:
            if [host for _, host in mx.records] == [""]:
                evidence = SenderDomainAnswer(domain, mx.status.value)
                return (Finding(NULL_MX, evidence, f"{domain} says that it takes no mail (RFC 7505)"),)
            return ()
        if mx.status is Status.NODATA:
            answers = await ask_all(tools.resolver, ((domain, rtype) for rtype in ("A", "AAAA")))
            if any(answer.status is Status.OK for answer in answers.values()):
                return ()
            unsure = next((answer for answer in answers.values() if not answer.certain), None)
            if unsure is not None:
                return self._unsure(domain, unsure)
        evidence = SenderDomainAnswer(domain, mx.status.value)
        why = "does not exist" if mx.status is Status.NXDOMAIN else "has neither MX nor address"
        return (Finding(UNREACHABLE, evidence, f"the sender's domain {domain} {why}"),)

    def _unsure(self, domain: str, answer: Answer) -> Sequence[Finding | Missing]:
        missing = Missing(self.name, (UNREACHABLE, NULL_MX), answer.status.value)
        if self.unreachable == "score" or answer.status is Status.BUDGET:
            return (missing,)
        evidence = SenderDomainAnswer(domain, answer.status.value)
        return (missing, Finding(UNSURE, evidence, f"{domain} cannot be looked up at the moment, please try again"))
