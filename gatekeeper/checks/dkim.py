"""Does a domain vouch for the message (RFC 6376)?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from gatekeeper.checks.base import Tools
from gatekeeper.mailauth.dkim import DkimResult, DkimResults, verify
from gatekeeper.mailauth.dkim_signature import DkimCode
from gatekeeper.model import Finding, Kind, Mail, Missing, Rule, setting

PASS = Rule("DKIM_PASS", -0.1, "A domain vouches for the message as it is.", kind=Kind.IDENTITY)
NONE = Rule("DKIM_NONE", 0.1, "No domain signed the message.", kind=Kind.IDENTITY)
TEMPERROR = Rule(
    "DKIM_TEMPERROR", 0.0, "Whether a domain vouches for the message could not be found out now.", kind=Kind.IDENTITY
)
FAIL = Rule(
    "DKIM_FAIL", 0.5, "The message is not the one that was signed.", kind=Kind.IDENTITY, enhanced="7.20"
)  # RFC 7372 §3.1
PARTIAL = Rule("DKIM_PARTIAL", 0.5, "The signature leaves text of the message uncovered.", kind=Kind.IDENTITY)
WEAK_KEY = Rule("DKIM_WEAK_KEY", 0.2, "The key is too short to prove anything.", kind=Kind.IDENTITY)
POLICY = Rule("DKIM_POLICY", 0.2, "The signature is too old or too weak to prove anything.", kind=Kind.IDENTITY)
INVALID = Rule("DKIM_INVALID", 0.3, "The signature or its key cannot be used.", kind=Kind.IDENTITY)

Test = Callable[[DkimResult], bool]
# The first rule that one signature meets is found: who vouches needs no excuse for a broken signature beside it.
BY_RESULT: tuple[tuple[Rule, Test], ...] = (
    (PASS, lambda one: one.vouches),
    (TEMPERROR, lambda one: one.code is DkimCode.TEMPERROR),
    (FAIL, lambda one: one.code is DkimCode.FAIL),
    (PARTIAL, lambda one: one.partial),
    (WEAK_KEY, lambda one: one.weak_key),
    (POLICY, lambda one: one.code is DkimCode.POLICY),
    (INVALID, lambda one: one.code in (DkimCode.NEUTRAL, DkimCode.PERMERROR)),
)


@dataclass(frozen=True, slots=True)
class Dkim:
    """[checks.dkim]"""

    name: ClassVar[str] = "dkim"

    signatures: int = setting(8, "How many signatures of a message are verified, from the top.")

    def __post_init__(self) -> None:
        if not 1 <= self.signatures <= 50:
            raise ValueError("signatures must be from 1 to 50")

    def rules(self) -> Sequence[Rule]:
        return (*(rule for rule, _ in BY_RESULT), NONE)

    async def inspect(self, mail: Mail, tools: Tools) -> Sequence[Finding | Missing]:
        if mail.message is None:
            return ()
        results = await verify(mail.message, tools.resolver, now=tools.clock(), most=self.signatures)
        rule, shown = _found(results)
        found: list[Finding | Missing] = [Finding(rule.name, results, "; ".join(map(_text, shown)))]
        if rule is TEMPERROR:
            others = tuple(other.name for other in self.rules() if other is not TEMPERROR)
            found.append(Missing("dkim", others, shown[0].reason))
        return found


def _found(results: DkimResults) -> tuple[Rule, list[DkimResult]]:
    """A rule, and the signatures it is about. Signed with a key that is being tried is as unsigned (§3.6.1, t=y)."""
    serious = [one for one in results.results if not one.testing]
    for rule, met in BY_RESULT:
        about = [one for one in serious if met(one)]
        if about:
            return rule, about
    return NONE, []


def _text(one: DkimResult) -> str:
    return f"{one.domain or '?'}: {one.code}" + (f" ({one.reason})" if one.reason else "")
