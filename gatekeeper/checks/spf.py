"""Is the client allowed to send for the domain it names (RFC 7208)?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from gatekeeper.checks.base import Tools, from_outside
from gatekeeper.mailauth.spf import Claim, SpfCode, SpfResult, check_host, helo_of, mail_from
from gatekeeper.mailauth.upstream import Upstream, results_by, spf_by
from gatekeeper.model import Action, Address, Duration, Finding, Kind, Mail, Missing, Rule, Stage, setting
from gatekeeper.wire.address import doubts_about

# RFC 7372 §3.2: X.7.23 for a fail, X.7.24 for what could not be evaluated.
RULES = {
    SpfCode.PASS: Rule("SPF_PASS", 0.0, "The client may send for the sender's domain.", kind=Kind.IDENTITY),
    SpfCode.POLICY: Rule(
        "SPF_AMBIGUOUS",
        0.0,
        "The client may send for the sender's domain, but two readers might see two senders.",
        kind=Kind.IDENTITY,
    ),
    SpfCode.FAIL: Rule(
        "SPF_FAIL",
        3.0,
        "The sender's domain says that this client may not send for it.",
        kind=Kind.IDENTITY,
        enhanced="7.23",
    ),
    SpfCode.SOFTFAIL: Rule(
        "SPF_SOFTFAIL",
        1.0,
        "The sender's domain says that this client probably may not send for it.",
        kind=Kind.IDENTITY,
        enhanced="7.23",
    ),
    SpfCode.NEUTRAL: Rule(
        "SPF_NEUTRAL",
        0.0,
        "The sender's domain does not say whether this client may send for it.",
        kind=Kind.IDENTITY,
    ),
    SpfCode.NONE: Rule("SPF_NONE", 0.1, "The sender's domain does not say who may send for it.", kind=Kind.IDENTITY),
    SpfCode.PERMERROR: Rule(
        "SPF_PERMERROR",
        0.5,
        "What the sender's domain says about its clients cannot be understood.",
        kind=Kind.IDENTITY,
        enhanced="7.24",
    ),
    SpfCode.TEMPERROR: Rule(
        "SPF_TEMPERROR",
        0.0,
        "Who may send for the sender's domain could not be found out now.",
        kind=Kind.IDENTITY,
        enhanced="7.24",
    ),
}
UNASKED = Rule(
    "SPF_UNASKED",
    0.0,
    "Who may send for the sender's domain could not be asked, and cannot be soon.",
    kind=Kind.IDENTITY,
    enhanced="7.24",
)
# Of the client's own name (RFC 7208 §2.3). A name borrowed is worse than a name about which nobody says anything.
HELO_RULES = {
    SpfCode.PASS: Rule(
        "SPF_HELO_PASS", 0.0, "The client may use the name by which it calls itself.", kind=Kind.IDENTITY
    ),
    SpfCode.FAIL: Rule(
        "SPF_HELO_FAIL",
        1.5,
        "The owner of the name by which the client calls itself says that the client may not use it.",
        kind=Kind.IDENTITY,
        enhanced="7.23",
    ),
    SpfCode.SOFTFAIL: Rule(
        "SPF_HELO_SOFTFAIL",
        0.5,
        "The owner of the name by which the client calls itself says that the client probably may not use it.",
        kind=Kind.IDENTITY,
        enhanced="7.23",
    ),
    SpfCode.NEUTRAL: Rule(
        "SPF_HELO_NEUTRAL",
        0.0,
        "The owner of the name by which the client calls itself does not say whether it may.",
        kind=Kind.IDENTITY,
    ),
    SpfCode.NONE: Rule(
        "SPF_HELO_NONE", 0.0, "Nobody says who may use the name by which the client calls itself.", kind=Kind.IDENTITY
    ),
    SpfCode.PERMERROR: Rule(
        "SPF_HELO_PERMERROR",
        0.0,
        "What is said about the name by which the client calls itself cannot be understood.",
        kind=Kind.IDENTITY,
        enhanced="7.24",
    ),
    SpfCode.TEMPERROR: Rule(
        "SPF_HELO_TEMPERROR",
        0.0,
        "Whether the client may use the name by which it calls itself could not be found out now.",
        kind=Kind.IDENTITY,
        enhanced="7.24",
    ),
}

UPSTREAM = Rule(
    "SPF_UPSTREAM", 0.0, "An upstream that we trust brought the message and says what it found.", kind=Kind.IDENTITY
)
MOST_SHOWN = 10
QUESTIONS, HELO_QUESTIONS = 30, 15
"""What a record may need to be asked. RFC 7208 §4.6.4 lets it be 111, which nobody needs, and a sender's records must
not use up what the rest of the transaction has to ask.
"""


@dataclass(frozen=True, slots=True)
class HeloSpfResult:
    """The result for the client's own name; DMARC does not look at it. Where the sender is empty, that name stands in
    for it, and there is only an SpfResult (RFC 7208 §2.4).
    """

    result: SpfResult


@dataclass(frozen=True, slots=True)
class Spf:
    """[checks.spf]"""

    name: ClassVar[str] = "spf"

    helo: bool = setting(True, "Ask about the client's own name too, beside the sender's domain.")
    upstreams: tuple[Upstream, ...] = setting(
        (),
        "Hosts of others through which mail for us comes. SPF cannot be evaluated of mail that they bring; what they "
        "found out about it before (SPF, DKIM, DMARC) is taken in its place.",
    )
    defer: bool = setting(False, "Put mail off (451) as long as SPF cannot be looked up.")
    timeout: Duration = setting(7.0, "How long the evaluation may take; after that it counts as missing.")
    helo_timeout: Duration = setting(2.0, "The same for the client's own name.")

    def __post_init__(self) -> None:
        if min(self.timeout, self.helo_timeout) <= 0:
            raise ValueError("timeout and helo_timeout must be longer than nothing, such as '7s' and '2s'")
        ids = [each.authserv_id.lower() for each in self.upstreams]
        if len(set(ids)) < len(ids):
            raise ValueError("upstreams: an authserv_id stands there twice; write all its clients into one")

    def rules(self) -> Sequence[Rule]:
        rules = dict(RULES)
        if self.defer:
            rules[SpfCode.TEMPERROR] = replace(RULES[SpfCode.TEMPERROR], decides=Action.DEFER)
        return (*rules.values(), UNASKED, *(HELO_RULES.values() if self.helo else ()), UPSTREAM)

    def idle_at(self, stage: Stage) -> bool:
        return stage is Stage.MESSAGE and not self.upstreams

    def foresee(self, mail: Mail) -> Sequence[str]:
        return [rule.name for rule in self.rules()] if self._upstream(mail) is not None else ()

    async def inspect(self, mail: Mail, tools: Tools) -> Sequence[Finding | Missing]:
        upstream = self._upstream(mail)
        if mail.stage is Stage.MESSAGE or upstream is not None:
            return () if upstream is None else _word_of(upstream, mail)
        address, sender, helo = mail.session.address, mail.envelope.sender, mail.session.helo
        if address is None or sender is None or not (sender.domain or helo):
            return ()
        if not from_outside(mail.session):
            return ()  # no record names the clients of our own networks, and who logs in may be anywhere
        asked = mail_from(address, sender, helo, tools.hostname)
        resolver = tools.apart or tools.resolver
        result = await check_host(resolver, asked, time_limit=self.timeout, questions=QUESTIONS)
        result = _believed(result, sender)
        rule = UNASKED if result.unasked else RULES[result.code]
        found: list[Finding | Missing] = [Finding(rule.name, result, _text(asked, result))]
        if result.code is SpfCode.TEMPERROR:
            found.append(Missing("spf", _others(RULES), result.reason))
        if self.helo and helo and sender.domain:
            found += await self._own_name(helo_of(address, helo, tools.hostname), tools)
        return found

    def _upstream(self, mail: Mail) -> Upstream | None:
        """The upstream that brings this mail, if one does."""
        address = mail.session.address
        if address is None:
            return None
        return next((each for each in self.upstreams if each.brings(address)), None)

    async def _own_name(self, asked: Claim, tools: Tools) -> Sequence[Finding | Missing]:
        resolver = tools.apart or tools.resolver
        result = await check_host(resolver, asked, time_limit=self.helo_timeout, questions=HELO_QUESTIONS)
        found = Finding(HELO_RULES[result.code].name, HeloSpfResult(result), _text(asked, result))
        if result.code is SpfCode.TEMPERROR:
            return (found, Missing("spf:helo", _others(HELO_RULES), result.reason))
        return (found,)


def _word_of(upstream: Upstream, mail: Mail) -> Sequence[Finding]:
    """What stands in the message; nothing before it has come."""
    sender = mail.envelope.sender
    if mail.message is None or mail.stage is not Stage.MESSAGE:
        return ()
    word = results_by(upstream, mail.message)
    said = ", ".join(f"{one.method}={one.result}" for one in word.results[:MOST_SHOWN]) or "nothing"
    found = [Finding(UPSTREAM.name, word, f"{upstream.authserv_id} says {said}")]
    result = None if sender is None else spf_by(word, sender)
    if sender is not None and result is not None:
        result = _believed(result, sender)
        text = f"SPF {result.code} at {result.domain} ({result.reason})"
        found.append(Finding(RULES[result.code].name, result, text))
    return found


def _believed(result: SpfResult, sender: Address) -> SpfResult:
    """A pass for a sender that somebody else might read as another's is none: neither here, nor for DMARC."""
    doubts = doubts_about(sender)
    if result.code is not SpfCode.PASS or not doubts:
        return result
    return replace(result, code=SpfCode.POLICY, reason=f"two readers might see two senders: {', '.join(doubts)}")


def _others(rules: Mapping[SpfCode, Rule]) -> tuple[str, ...]:
    """What might have been found instead of a temperror."""
    return tuple(rule.name for code, rule in rules.items() if code is not SpfCode.TEMPERROR)


def _text(asked: Claim, result: SpfResult) -> str:
    said = result.explanation or result.reason
    return f"SPF {result.code} for {asked.address} at {result.domain}" + (f" ({said})" if said else "")
