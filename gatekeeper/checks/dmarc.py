"""Is the author's domain the one that vouches for the message, and what does it ask for if not (RFC 9989)?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from gatekeeper.checks.base import Tools, from_outside
from gatekeeper.mailauth.arc import ArcCode, ArcResult
from gatekeeper.mailauth.dkim import DkimResults
from gatekeeper.mailauth.dkim_signature import DkimCode
from gatekeeper.mailauth.dmarc import DmarcCode, DmarcResult, Override, evaluate
from gatekeeper.mailauth.dmarc_record import DmarcPolicy
from gatekeeper.mailauth.spf import SpfCode, SpfResult
from gatekeeper.mailauth.upstream import UpstreamResults
from gatekeeper.message.header import Author, author_of, header_of
from gatekeeper.model import Action, Finding, Kind, Mail, Missing, Rule, setting
from gatekeeper.wire.mailboxes import Ambiguity

MOST_AUTHORS = 4  # domains that are asked about where there are several authors
# What mailing lists (RFC 2919, RFC 2369) and whoever sends mail on (RFC 5322 §3.6.6) write into a header.
INDIRECT = ("list-id", "list-post", "mailing-list", "x-mailing-list", "x-beenthere", "resent-from", "resent-sender")

PASS = Rule("DMARC_PASS", -0.5, "The author's domain vouches for the message.", kind=Kind.IDENTITY)
NONE = Rule("DMARC_NONE", 0.0, "No policy of the author's domain stands against the message.", kind=Kind.IDENTITY)
# RFC 9989 §5.4: p=none must not change what becomes of the mail.
FAIL = Rule(
    "DMARC_FAIL",
    0.0,
    "The author's domain does not vouch for the message, and asks for nothing, or a domain of the same owner does.",
    kind=Kind.IDENTITY,
)
ARC = Rule(
    "DMARC_ARC",
    0.0,
    "The author's domain does not vouch for the message any more, but a trusted sealer or upstream saw that it did.",
    kind=Kind.IDENTITY,
)
QUARANTINE = Rule(
    "DMARC_QUARANTINE",
    5.0,
    "The author's domain does not vouch for the message, and wants such mail treated as suspicious.",
    kind=Kind.IDENTITY,
)
REJECT = Rule(
    "DMARC_REJECT",
    6.0,
    "The author's domain does not vouch for the message, and wants such mail refused.",
    kind=Kind.IDENTITY,
    enhanced="7.1",
)
AMBIGUOUS = Rule(
    "DMARC_AMBIGUOUS_FROM",
    3.0,
    "Who the author is depends on who reads the From field, and one of them is a domain that does not vouch for it.",
    kind=Kind.IDENTITY,
)
TEMPERROR = Rule(
    "DMARC_TEMPERROR",
    0.0,
    "Whether the author's domain vouches for the message could not be found out now.",
    kind=Kind.IDENTITY,
)
OVERRIDDEN = {Override.TRUSTED_FORWARDER: ARC, Override.MAILING_LIST: QUARANTINE}
FAILED = {DmarcPolicy.NONE: FAIL, DmarcPolicy.QUARANTINE: QUARANTINE, DmarcPolicy.REJECT: REJECT}


WHY = {
    Override.TRUSTED_FORWARDER: " (a trusted sealer or upstream saw it pass)",
    Override.MAILING_LIST: " (sent on by a mailing list or forwarder)",
}


@dataclass(frozen=True, slots=True)
class Dmarc:
    """[checks.dmarc]"""

    name: ClassVar[str] = "dmarc"

    enforce: bool = setting(
        True, "Refuse what fails where the author's domain asks for it (p=reject); otherwise it only scores."
    )
    soften: bool = setting(
        True,
        "Of mail that a mailing list or forwarder vouches for, take p=reject for p=quarantine: mark it, do not refuse.",
    )

    def rules(self) -> Sequence[Rule]:
        reject = replace(REJECT, decides=Action.REJECT) if self.enforce else REJECT
        return (PASS, NONE, FAIL, ARC, QUARANTINE, reject, AMBIGUOUS, TEMPERROR)

    async def inspect(self, mail: Mail, tools: Tools) -> Sequence[Finding | Missing]:
        if mail.message is None:
            return ()
        spf, dkim = mail.evidence(SpfResult), mail.evidence(DkimResults)
        author = author_of(mail.message)
        if author.ambiguities:
            return await self._ambiguous(author, mail, tools)
        result = await evaluate(tools.apart or tools.resolver, author.domain or "", spf=spf, dkim=dkim)
        if result.code is DmarcCode.TEMPERROR and spf is None and not _spf_possible(mail):
            return ()  # without a client of its own, a stranger's, there is no SPF: a fail cannot be told from a pass
        return self._single(replace(result, override=self._override(mail, result, spf, dkim)))

    def _override(
        self, mail: Mail, result: DmarcResult, spf: SpfResult | None, dkim: DkimResults | None
    ) -> Override | None:
        """Why the policy of a message that fails is not applied as it stands."""
        if result.code is not DmarcCode.FAIL or result.policy is DmarcPolicy.NONE or result.registered:
            return None
        chain = mail.evidence(ArcResult)
        upstream = mail.evidence(UpstreamResults)
        if (chain is not None and chain.trusted_pass) or (upstream is not None and result.domain in upstream.attested):
            return Override.TRUSTED_FORWARDER
        # A chain that passes is whole, whoever made it; one whose keys could not be had now might be. Either gets a
        # forger no further than a domain of his own would.
        whole = chain is not None and chain.status in (ArcCode.PASS, ArcCode.TEMPERROR)
        softened = self.soften and result.policy is DmarcPolicy.REJECT
        return Override.MAILING_LIST if softened and (whole or _sent_on(mail, spf, dkim)) else None

    def _softened(
        self, mail: Mail, result: DmarcResult, spf: SpfResult | None, dkim: DkimResults | None
    ) -> DmarcResult:
        """As for mail with a clear author, but nobody's word sets the policy aside: of which author was it?"""
        override = self._override(mail, result, spf, dkim)
        return result if override is None else replace(result, override=Override.MAILING_LIST)

    def _single(self, result: DmarcResult) -> Sequence[Finding | Missing]:
        if result.code is DmarcCode.TEMPERROR:
            return (_finding(TEMPERROR, result), self._missing(result))
        rule = {DmarcCode.PASS: PASS, DmarcCode.FAIL: _failed(result)}.get(result.code, NONE)
        return (_finding(rule, result),)

    async def _ambiguous(self, author: Author, mail: Mail, tools: Tools) -> Sequence[Finding | Missing]:
        """Nothing passes. But each domain that may be taken for the author's has its say, and the strictest counts:
        whoever forges an author must not get off more lightly for adding a second one.

        A domain whose signature is good has vouched, though nobody is told of a pass: its own mail is not refused in
        its name for being written oddly.
        """
        spf, dkim = mail.evidence(SpfResult), mail.evidence(DkimResults)
        if Ambiguity.TOO_LONG not in author.ambiguities:  # else there may be a From that nobody has signed
            dkim = _vouching(dkim)
        asked = author.domains[:MOST_AUTHORS]
        resolver = tools.apart or tools.resolver
        results = [await evaluate(resolver, domain, spf=spf, dkim=dkim) for domain in asked if domain]
        if len(asked) == 1:
            results = [self._softened(mail, one, spf, dkim) for one in results]
        failed = [one for one in results if one.code is DmarcCode.FAIL]
        # Too long to be read, or behind too many others, is how one would hide whose policy it is.
        hides = Ambiguity.TOO_LONG in author.ambiguities or len(author.domains) > MOST_AUTHORS
        rule = AMBIGUOUS if failed or hides else NONE
        result = DmarcResult(DmarcCode.PERMERROR, "", reason="there is not one author")
        found: list[Finding | Missing] = [Finding(rule.name, result, ", ".join(asked))]
        if failed:
            strictest = max(failed, key=lambda one: one.policy.rank)
            found.append(_finding(_failed(strictest), strictest))
        if spf is not None or _spf_possible(mail):
            found += [self._missing(one) for one in results if one.code is DmarcCode.TEMPERROR][:1]
        return found

    def _missing(self, result: DmarcResult) -> Missing:
        """What might have been found, given the policy, as far as that is known."""
        possible = (PASS, FAILED[result.policy]) if result.record_domain else (PASS, NONE, FAIL, QUARANTINE, REJECT)
        return Missing("dmarc", tuple(rule.name for rule in possible), result.reason)


def _failed(result: DmarcResult) -> Rule:
    """What an owner wants is not done to mail that an owner's domain vouches for, however it is spelt (§5.4)."""
    if result.registered:
        return FAIL
    return FAILED[result.policy] if result.override is None else OVERRIDDEN[result.override]


def _vouching(dkim: DkimResults | None) -> DkimResults | None:
    """The same, with those signatures passing that do not for the sake of an unclear author alone."""
    if dkim is None:
        return None
    return replace(
        dkim, results=tuple(replace(one, code=DkimCode.PASS) if one.ambiguous else one for one in dkim.results)
    )


def _sent_on(mail: Mail, spf: SpfResult | None, dkim: DkimResults | None) -> bool:
    """Whether a mailing list or forwarder seems to have sent it on, and says so under its own name (RFC 9989 §7.4).

    Lists change what was signed. But the list's own domain vouches then, and its owner answers for it; whoever forges
    an author from just anywhere and adds a List-Id has nobody who does.
    """
    vouched = (spf is not None and spf.code is SpfCode.PASS) or any(
        one.vouches for one in (dkim.results if dkim else ())
    )
    header = header_of(mail.message) if mail.message is not None else None
    return vouched and header is not None and any(header.first(name) is not None for name in INDIRECT)


def _spf_possible(mail: Mail) -> bool:
    if mail.evidence(UpstreamResults) is not None:
        return False
    sender = mail.envelope.sender
    return from_outside(mail.session) and sender is not None and bool(sender.domain or mail.session.helo)


def _finding(rule: Rule, result: DmarcResult) -> Finding:
    text = f"DMARC {result.code} for {result.domain}"
    if result.record_domain:
        text += f" (p={result.published} at {result.record_domain})"
    if result.reason:
        text += f" ({result.reason})"
    if result.override is not None:
        text += WHY[result.override]
    return Finding(rule.name, result, text)
