"""What did those see who had the message before us, and does one whom we trust vouch for its author (RFC 8617)?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from gatekeeper.checks.base import Tools
from gatekeeper.mailauth.arc import ArcCode, ArcResult, verify_arc
from gatekeeper.mailauth.arc_chain import MOST_SETS
from gatekeeper.model import Finding, Kind, Mail, Missing, Rule, setting
from gatekeeper.wire.address import normal_domain

# Anybody can make a chain that passes: only a trusted sealer's word is worth something.
PASS = Rule("ARC_PASS", 0.0, "The chain of those who handled the message is whole.", kind=Kind.IDENTITY)
TRUSTED = Rule("ARC_TRUSTED", -0.5, "A trusted sealer saw that the author's domain vouches.", kind=Kind.IDENTITY)
FAIL = Rule("ARC_FAIL", 0.0, "The chain of those who handled the message is broken.", kind=Kind.IDENTITY)
TEMPERROR = Rule("ARC_TEMPERROR", 0.0, "Whether the chain is whole could not be found out now.", kind=Kind.IDENTITY)
BY_CODE = {ArcCode.PASS: PASS, ArcCode.FAIL: FAIL, ArcCode.TEMPERROR: TEMPERROR}


@dataclass(frozen=True, slots=True)
class Arc:
    """[checks.arc]"""

    name: ClassVar[str] = "arc"

    trusted: tuple[str, ...] = setting(
        (),
        "Domains of sealers whose word is taken about how a message was authenticated before they changed it: mailing "
        'lists and forwarders that you know, such as "lists.example.net". Nobody is trusted by default.',
    )
    sets: int = setting(MOST_SETS, "A chain of more sets than this has failed.")

    def __post_init__(self) -> None:
        for domain in self.trusted:
            if normal_domain(domain) is None:
                raise ValueError(f'trusted: "{domain}" is not a domain name, such as "lists.example.net"')
        if not 1 <= self.sets <= MOST_SETS:
            raise ValueError(f"sets must be from 1 to {MOST_SETS}")

    def rules(self) -> Sequence[Rule]:
        return (PASS, TRUSTED, FAIL, TEMPERROR)

    async def inspect(self, mail: Mail, tools: Tools) -> Sequence[Finding | Missing]:
        if mail.message is None:
            return ()
        trusted = frozenset(normal_domain(domain) or domain for domain in self.trusted)
        resolver = tools.apart or tools.resolver
        result = await verify_arc(mail.message, resolver, now=tools.clock(), trusted=trusted, most=self.sets)
        if result.status is ArcCode.NONE:
            return ()
        rule = TRUSTED if result.trusted_pass else BY_CODE[result.status]
        found: list[Finding | Missing] = [Finding(rule.name, result, _text(result))]
        if rule is TEMPERROR:
            others = tuple(other.name for other in self.rules() if other is not TEMPERROR)
            found.append(Missing("arc", others, result.reason))
        return found


def _text(result: ArcResult) -> str:
    why = result.reason or ", ".join(result.sealers[-3:])
    return f"ARC {result.status}, {result.instances} sets" + (f" ({why})" if why else "")
