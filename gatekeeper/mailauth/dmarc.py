"""DMARC (RFC 9989): does anybody vouch for this author, and what does the author's domain want done if not?"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, replace

from gatekeeper.dns.resolver import Answer, Question, Resolver, Status, ask_all
from gatekeeper.mailauth.dkim import DkimResults
from gatekeeper.mailauth.dkim_signature import DkimCode
from gatekeeper.mailauth.dmarc_record import (
    DmarcPolicy,
    DmarcRecord,
    Found,
    considered,
    organizational_domain,
    record_of,
    registered_domain,
    walk,
)
from gatekeeper.mailauth.spf import SpfCode, SpfResult

MOST_NAME = 253
MOST_QUESTIONS = 24  # about one author: a walk is at most 8, and names above are shared
SHARED_LABELS = 2  # "example.com": domains that share less are of different organisations


class DmarcCode(enum.StrEnum):
    """The results of RFC 9989 §9.1 (the method "dmarc" of RFC 8601)."""

    NONE = "none"  # the author's domain has no policy, or there is no such domain
    PASS = "pass"  # a domain of the author's organisation vouches for the message  # noqa: S105  # a result
    FAIL = "fail"  # none does
    TEMPERROR = "temperror"  # an answer that decides could not be had now
    PERMERROR = "permerror"  # there is not one author


class Override(enum.StrEnum):
    """Why something else is done than the author's domain asks for (RFC 9990 §3.1.6)."""

    MAILING_LIST = "mailing_list"  # it seems to have come by a mailing list
    TRUSTED_FORWARDER = "trusted_forwarder"  # somebody we believe vouches for where it came from
    LOCAL_POLICY = "local_policy"  # we do it differently
    POLICY_TEST_MODE = "policy_test_mode"  # the domain is trying its policy (t=y)
    OTHER = "other"  # anything else


@dataclass(frozen=True, slots=True)
class DmarcResult:
    """What became of one author's domain.

    `policy` is what its owner wants done with a message that fails: of p=, sp= and np= the one that applies, a level
    milder while it is being tried (`testing`). `published` is that one as it was written. `record_domain` is where
    the record stands, "" without one, and `record` is what it says. `registered`, of a fail: a domain vouches that is
    registered to the author's organisation, though no record says that they are one. Before RFC 9989 that passed, and
    some still count on it. `override` is why the policy is not to be applied, as whoever looked at the rest of the
    message says.
    """

    code: DmarcCode
    domain: str
    policy: DmarcPolicy = DmarcPolicy.NONE
    published: DmarcPolicy = DmarcPolicy.NONE
    record_domain: str = ""
    aligned_spf: bool = False
    aligned_dkim: bool = False
    testing: bool = False
    registered: bool = False
    reason: str = ""
    record: DmarcRecord | None = None
    override: Override | None = None


async def evaluate(resolver: Resolver, author: str, *, spf: SpfResult | None, dkim: DkimResults | None) -> DmarcResult:
    """RFC 9989 §5.3 for one author's domain, in A-labels and lower case.

    `spf` is the result for MAIL FROM (for an empty one, that for the HELO name that stands in for it; RFC 9989
    §4.4.2, RFC 7208 §2.4). None, or a temperror, is an unknown: if it could have made the message pass, the result
    is a temperror and never a fail. Never raises.
    """
    if not _is_domain(author):
        return DmarcResult(DmarcCode.NONE, author, reason="the author has no domain")
    tree = _Tree(resolver)
    try:
        policy = await _policy(tree, author)
        if policy is None:
            return DmarcResult(DmarcCode.NONE, author)
        stated, record = policy
        return await _aligned(tree, stated, record, spf=spf, dkim=dkim)
    except _Unanswered as unanswered:
        return DmarcResult(DmarcCode.TEMPERROR, author, reason=str(unanswered))


async def organization(resolver: Resolver, domain: str) -> str | None:
    """The organizational domain (RFC 9989 §4.10.2); None when an answer that decides cannot be had now."""
    try:
        return await _Tree(resolver).organization(domain)
    except _Unanswered:
        return None


async def _policy(tree: _Tree, author: str) -> tuple[DmarcResult, DmarcRecord] | None:
    """Policy discovery (§4.10.1): the author's domain, else its organisation's, else the public suffix above."""
    own = await tree.record(author)
    if own is not None:
        found = Found(author, own)
    else:
        above = await tree.records(author)
        organization = organizational_domain(author, above)
        at = [one for one in above if one.name == organization] or [one for one in above if one.record.suffix]
        if not at:
            return None
        found = at[0]
    record = found.record
    if not record.applies:
        return None
    policy = record.policy
    if found.name != author:
        policy = record.subdomains
        if record.missing is not policy and not await tree.exists(author):
            policy = record.missing
    stated = DmarcResult(
        DmarcCode.FAIL,
        author,
        policy=policy.milder if record.testing else policy,
        published=policy,
        record_domain=found.name,
        testing=record.testing,
        record=record,
    )
    return stated, record


async def _aligned(
    tree: _Tree, stated: DmarcResult, record: DmarcRecord, *, spf: SpfResult | None, dkim: DkimResults | None
) -> DmarcResult:
    """Identifier alignment (§4.10.2), and what it makes of the result."""
    author = stated.domain
    spf_domains = [spf.domain] if spf is not None and spf.code is SpfCode.PASS else []
    signers = dkim.results if dkim is not None else ()
    dkim_domains = [one.domain for one in signers if one.vouches]
    # One record at the author's own domain and an equal identifier: no walk can say otherwise.
    aligned_spf = author in spf_domains
    aligned_dkim = author in dkim_domains
    if not aligned_spf and not aligned_dkim:
        aligned_spf = await tree.same_organization(author, spf_domains, strict=record.strict_spf)
        aligned_dkim = await tree.same_organization(author, dkim_domains, strict=record.strict_dkim)
    if aligned_spf or aligned_dkim:
        return replace(stated, code=DmarcCode.PASS, aligned_spf=aligned_spf, aligned_dkim=aligned_dkim)
    if spf is None:
        return replace(stated, code=DmarcCode.TEMPERROR, reason="SPF is not known")
    if dkim is None:
        return replace(stated, code=DmarcCode.TEMPERROR, reason="DKIM is not known")
    unsure_spf = [spf.domain] if spf.code is SpfCode.TEMPERROR else []
    unsure_dkim = [one.domain for one in signers if one.code is DkimCode.TEMPERROR]
    if await tree.same_organization(author, unsure_spf, strict=record.strict_spf):
        return replace(stated, code=DmarcCode.TEMPERROR, reason="SPF had no answer")
    if await tree.same_organization(author, unsure_dkim, strict=record.strict_dkim):
        return replace(stated, code=DmarcCode.TEMPERROR, reason="DKIM had no answer")
    relaxed = [*([] if record.strict_spf else spf_domains), *([] if record.strict_dkim else dkim_domains)]
    ours = registered_domain(author)
    return replace(stated, registered=ours is not None and ours in map(registered_domain, filter(_is_domain, relaxed)))


class _Unanswered(Exception):
    """A question that decides had no answer."""


class _Tree:
    """What DNS says about DMARC, each name asked once for one message."""

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self.answers: dict[Question, Answer] = {}

    async def ask(self, questions: Iterable[Question]) -> list[Answer]:
        """In their order; raises `_Unanswered` when one of them has no answer."""
        wanted = list(questions)
        new = {one for one in wanted if one not in self.answers}
        if len(self.answers) + len(new) > MOST_QUESTIONS:
            raise _Unanswered("too many look-ups")
        self.answers.update(await ask_all(self.resolver, [one for one in wanted if one in new]))
        for question in wanted:
            if not self.answers[question].certain:
                raise _Unanswered(f"no answer about {question[0]}")
        return [self.answers[question] for question in wanted]

    async def record(self, name: str) -> DmarcRecord | None:
        (answer,) = await self.ask([(f"_dmarc.{name}", "TXT")])
        return record_of(answer.records)

    async def records(self, domain: str) -> list[Found]:
        """What a tree walk from that domain finds and counts, from the longest name to the shortest.

        The whole walk goes out at once: a walk that stops early for psd= is rare, one that waits eight times is slow.
        """
        names = walk(domain)
        answers = await self.ask((f"_dmarc.{name}", "TXT") for name in names)
        found = []
        for name, answer in zip(names, answers, strict=True):
            record = record_of(answer.records)
            if record is not None:
                found.append(Found(name, record))
        return considered(domain, found)

    async def exists(self, domain: str) -> bool:
        """RFC 9989 §3.2.13: whatever is not NXDOMAIN exists."""
        (answer,) = await self.ask([(domain, "A")])
        return answer.status is not Status.NXDOMAIN

    async def organization(self, domain: str) -> str:
        return organizational_domain(domain, await self.records(domain))

    async def same_organization(self, author: str, domains: Iterable[str], *, strict: bool) -> bool:
        """Whether any of the domains is aligned with the author's (§4.4): equal, or of one organisation."""
        others = set(domains)
        if author in others:
            return True
        near = [other for other in others if _is_domain(other) and _shared(author, other) >= SHARED_LABELS]
        if strict or not near:
            return False
        organization = await self.organization(author)
        # An organisation is above its members, so whoever is not below the author's is not asked about: a stranger
        # under the same registry ("co.uk") could see to it that no answer comes, and leave open what is a fail.
        below = f".{organization}"
        for other in sorted(near):
            if f".{other}".endswith(below) and await self.organization(other) == organization:
                return True
        return False


def _shared(one: str, other: str) -> int:
    """How many labels two names share at their ends."""
    count = 0
    for left, right in zip(reversed(one.split(".")), reversed(other.split(".")), strict=False):
        if left != right:
            break
        count += 1
    return count


def _is_domain(name: str) -> bool:
    """Two labels or more and no address: what can have a policy of its own or of an organisation."""
    labels = name.split(".")
    return (
        len(labels) > 1
        and len(name) <= MOST_NAME - len("_dmarc.")
        and all(0 < len(label) < 64 for label in labels)
        and name.isascii()
        and not labels[-1].isdigit()
        and not name.startswith("[")
    )
