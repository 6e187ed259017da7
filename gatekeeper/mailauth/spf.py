"""Sender Policy Framework (RFC 7208): may this address send mail for this domain? pyspf's one home.

pyspf evaluates and never asks: `dns()` answers from a dict. A name that is not there yet stops the evaluation, all
missing names are fetched together through the shared resolver, and the evaluation, which is cheap, starts again.
What is overridden here besides `dns()` is what a stranger's record could make slow, or what pyspf asks needlessly.
"""

from __future__ import annotations

import asyncio
import enum
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast
from urllib.parse import quote

import spf

from gatekeeper.dns.resolver import Answer, Budget, BudgetedResolver, Question, Resolver, Status, ask_all
from gatekeeper.model import Address, IPAddress

Answers = dict[Question, Answer]

TIME_LIMIT = 20.0  # seconds for one evaluation (RFC 7208 §4.6.4)
MOST_ROUNDS = 30  # ten terms, their addresses, an explanation: what is legitimate stays far below
MOST_RECORD = 8192  # octets of one SPF record; RFC 7208 §3.4 asks for 450
MOST_TERM = 512  # octets of one term
MOST_TERMS = 1000  # of one evaluation
MOST_LABEL = 63
MOST_NAME = 253
MOST_EXPLANATION = 400  # characters shown to a peer
MOST_PREFETCHED = 40  # names asked for before it is known that they are needed
MOST_HOSTS = 10  # of one MX or PTR answer (RFC 7208 §4.6.4)
MOST_QUESTIONS = 120  # one evaluation: ten terms, each with the names of ten hosts, and what is around them
REMEMBERED = 2048  # evaluations whose outcome is kept
REMEMBERED_OCTETS = 4096  # of the answers that one of them rests on; a longer one is worked out again
REMEMBERED_TERMS = 8192

NAMES_A_RECORD = re.compile(rb"(?:^| )[+?~-]?(?:include:|redirect=)([A-Za-z0-9._-]{1,253})(?= |$)", re.IGNORECASE)
MACRO = re.compile(r"%(?:%|_|-|\{([a-zA-Z])([0-9]*)([rR]?)([-.+,/_=]*)\})")
OF_ANSWERS = re.compile(r"%\{[pP]")  # the macro that depends on more than the claim
VISIBLE = re.compile(r"[\x21-\x7e]*")
ASKABLE = re.compile(r"[!-\[\]-~]*")  # visible, and no backslash: others the resolver does not ask for
UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


class SpfCode(enum.StrEnum):
    """The results of RFC 7208 §2.6, as RFC 8601 §2.7.2 spells them."""

    NONE = "none"  # the domain says nothing, or is no domain
    NEUTRAL = "neutral"  # the domain says that it does not say
    PASS = "pass"  # the address may send for the domain  # noqa: S105  # a result, not a word to keep
    POLICY = "policy"  # it may, but two readers might see two senders (RFC 8601 §2.7.2); never made by check_host
    FAIL = "fail"  # it may not
    SOFTFAIL = "softfail"  # it probably may not
    TEMPERROR = "temperror"  # an answer could not be had now
    PERMERROR = "permerror"  # what the domain publishes cannot be understood


class SpfIdentity(enum.StrEnum):
    """Whose domain was asked (RFC 7208 §2.3, §2.4)."""

    MAILFROM = "mailfrom"  # the domain of the reverse-path
    HELO = "helo"  # the client's own name; also stands for the reverse-path when that is empty


@dataclass(frozen=True, slots=True)
class SpfResult:
    """What became of one SPF check.

    `explanation` is what the domain wants told on a fail (RFC 7208 §6.2): its own words, printable ASCII, bounded,
    "" when there are none. `reason` says why an error is one. `unasked`, of a temperror: what decides was not asked, or
    what came is no answer, and asking again soon will not help.
    """

    code: SpfCode
    domain: str
    identity: SpfIdentity
    explanation: str = ""
    reason: str = ""
    unasked: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """Who claims to be whom: the arguments of check_host() (RFC 7208 §4.1)."""

    address: IPAddress
    local: str
    domain: str
    identity: SpfIdentity
    helo: str
    receiver: str = "unknown"


def mail_from(address: IPAddress, sender: Address, helo: str | None, receiver: str = "unknown") -> Claim:
    """The MAIL FROM identity; of a null sender that is postmaster at the client's own name (RFC 7208 §2.4)."""
    if sender.domain:
        return Claim(address, sender.local, sender.domain, SpfIdentity.MAILFROM, helo or "unknown", receiver)
    return helo_of(address, helo or "", receiver)


def helo_of(address: IPAddress, helo: str, receiver: str = "unknown") -> Claim:
    """The HELO identity (RFC 7208 §2.3)."""
    return Claim(address, "postmaster", helo.rstrip(".").lower(), SpfIdentity.HELO, helo or "unknown", receiver)


async def check_host(
    resolver: Resolver, claim: Claim, *, time_limit: float = TIME_LIMIT, questions: int = MOST_QUESTIONS
) -> SpfResult:
    """RFC 7208 §4. Never raises; takes at most `time_limit` seconds. A temperror is no evidence of anything.

    A record whose evaluation needs the answers to more than `questions`, cached or not, is a permerror. A third more
    are asked in all: some are asked ahead, or because they were needed the last time.
    """
    if not _is_domain(claim.domain):
        return SpfResult(SpfCode.NONE, claim.domain, claim.identity)
    try:
        async with asyncio.timeout(time_limit):
            return await _check(BudgetedResolver(resolver, Budget(questions * 4 // 3)), claim, questions)
    except TimeoutError:
        return SpfResult(SpfCode.TEMPERROR, claim.domain, claim.identity, reason="evaluation took too long")


async def _check(resolver: Resolver, claim: Claim, questions: int) -> SpfResult:
    answers: Answers = {}
    known = _remembered(claim, questions)
    if known is not None:
        # The questions of last time are asked again, all at once; equal answers have an equal outcome.
        await _fetch(resolver, known.answers, answers)
        if all(_same(answers[question], before) for question, before in known.answers.items()):
            return known.result
    else:
        await _fetch(resolver, [(claim.domain, "TXT")], answers)
    prefetched: set[Question] = set()
    notes = _Notes()
    for _ in range(MOST_ROUNDS):
        most = min(MOST_PREFETCHED, questions * 2 // 3)
        await _prefetch(resolver, answers, prefetched, "AAAA" if claim.address.version == 6 else "A", most=most)
        evaluation = _Evaluation(claim, answers, questions, notes)
        result = evaluation.run()
        if not evaluation.missing:
            _remember(claim, evaluation, answers, result)
            return result
        await _fetch(resolver, evaluation.missing, answers)
    return SpfResult(SpfCode.PERMERROR, claim.domain, claim.identity, reason="too many look-ups")


async def _fetch(resolver: Resolver, questions: Iterable[Question], answers: Answers) -> None:
    answers.update(await ask_all(resolver, [question for question in questions if question not in answers]))


async def _prefetch(resolver: Resolver, answers: Answers, seen: set[Question], address_type: str, *, most: int) -> None:
    """Ask for what the answers at hand name, while it would otherwise be asked for one by one.

    Included and redirected records, and the addresses of MX and PTR hosts; nested ones too, breadth first.
    """
    while True:
        wanted: dict[Question, Any] = {}
        for question, answer in answers.items():
            if question not in seen:
                seen.add(question)
                for name, rtype in _named_by(question, answer, address_type):
                    if (name, rtype) not in answers and len(answers) + len(wanted) < most:
                        wanted[name, rtype] = None
        if not wanted:
            return
        await _fetch(resolver, wanted, answers)


def _named_by(question: Question, answer: Answer, address_type: str) -> list[Question]:
    rtype = question[1]
    if rtype == "TXT":
        return [
            (name.decode("ascii").rstrip(".").lower(), "TXT")
            for text in answer.records
            if text[:7].lower() == b"v=spf1 " and len(text) <= MOST_RECORD
            for name in NAMES_A_RECORD.findall(text)
            if _is_domain(name.decode("ascii").rstrip("."))
        ]
    if rtype == "MX" and len(answer.records) <= MOST_HOSTS:
        return [(host.lower(), address_type) for _, host in answer.records if host]
    if rtype == "PTR":
        return [(host.lower(), address_type) for host in answer.records[:MOST_HOSTS]]
    return []


def _is_domain(name: str) -> bool:
    """A name of several labels that DNS can be asked for (RFC 7208 §4.3)."""
    labels = name.rstrip(".").split(".")
    return (
        len(labels) > 1
        and len(name) <= MOST_NAME + 1
        and all(0 < len(label) <= MOST_LABEL for label in labels)
        and name.isascii()
        and not name.startswith("[")
    )


# Remembering. An outcome depends on the claim, on how much may be asked and on what DNS said, on nothing else. So it is
# kept together with the answers it rests on, and is used again only when the same questions have the same answers: how
# long is the resolver's business, by the records' TTLs.


@dataclass(frozen=True, slots=True)
class _Known:
    local: str | None  # None when the records did not look at it
    helo: str | None
    receiver: str | None
    answers: Answers
    result: SpfResult


_known: dict[tuple[IPAddress, str, SpfIdentity, int], _Known] = {}


def forget() -> None:
    """Remember no outcome any more. It is never needed for what is right, only for who counts questions."""
    _known.clear()
    _terms.clear()


def _remembered(claim: Claim, questions: int) -> _Known | None:
    known = _known.get((claim.address, claim.domain, claim.identity, questions))
    if (
        known is None
        or known.local not in (None, claim.local)
        or known.helo not in (None, claim.helo)
        or known.receiver not in (None, claim.receiver)
    ):
        return None
    return known


def _remember(claim: Claim, evaluation: _Evaluation, answers: Answers, result: SpfResult) -> None:
    letters = evaluation.letters
    used = {question: answers[question] for question in evaluation.used}
    small = sum(len(record) for answer in used.values() for record in answer.records) <= REMEMBERED_OCTETS
    if result.code is SpfCode.TEMPERROR or "t" in letters or not small:
        return
    if len(_known) >= REMEMBERED:
        _known.pop(next(iter(_known)))
    _known[claim.address, claim.domain, claim.identity, evaluation.most] = _Known(
        local=claim.local if letters & {"l", "s"} else None,
        helo=claim.helo if "h" in letters else None,
        receiver=claim.receiver if "r" in letters else None,
        answers=used,
        result=result,
    )


def _same(now: Answer, before: Answer) -> bool:
    return now.records == before.records and now.certain == before.certain


class _Unanswered(BaseException):
    """The evaluation needs an answer that is not there yet.

    A BaseException, because pyspf has places that swallow every Exception.
    """


_terms: dict[tuple[str, str, str], tuple[Any, ...]] = {}


@dataclass(frozen=True, slots=True)
class _Notes:
    """What one run leaves to the next: the terms with macros and the texts that it has expanded, by the domain they
    were read at, and the macros met, in lower case. What `%{p}` came to stays so: its answers do not change.
    """

    terms: dict[tuple[str, str], tuple[Any, ...]] = field(default_factory=dict)
    texts: dict[tuple[str, str], str] = field(default_factory=dict)
    letters: set[str] = field(default_factory=set)


class _Evaluation(spf.query):  # type: ignore[misc]  # pyspf has no types
    """One run of pyspf over the answers at hand. `missing` says what to ask before the next one."""

    def __init__(self, claim: Claim, answers: Answers, questions: int, notes: _Notes) -> None:
        super().__init__(
            str(claim.address), f"{claim.local}@{claim.domain}", claim.helo, receiver=claim.receiver, strict=True
        )
        # Set, not split from the address: a quoted local part may hold an "@".
        self.l, self.o, self.d = claim.local or "postmaster", claim.domain, claim.domain
        self.claim = claim
        self.answers = answers
        self.most = questions
        self.missing: list[Question] = []
        self.used: dict[Question, None] = {}
        self.together: list[Question] = []  # the hosts that the last MX or PTR answer names
        self.notes = notes
        self.letters = notes.letters
        self.unasked = False
        self.depth = 0
        self.terms = 0
        self.explained: tuple[str, str] | None = None  # where the explanation is, and the domain that says so

    def run(self) -> SpfResult:
        """The outcome; worth nothing while `missing` is not empty."""
        code, why, explanation = "permerror", "", ""
        try:
            code, _, why = self.check()
            if code == "fail" and self.explained is not None:
                explanation = self.explanation(*self.explained)
        except _Unanswered:
            pass
        except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError) as odd:
            # What a record makes pyspf stumble over is a record that cannot be understood.
            code, why = "permerror", f"{type(odd).__name__}: {odd}"
        reason = printable(why) if code in ("permerror", "temperror") else ""
        unasked = code == "temperror" and self.unasked
        return SpfResult(SpfCode(code), self.claim.domain, self.claim.identity, explanation, reason, unasked)

    def explanation(self, name: str, domain: str) -> str:
        """RFC 7208 §6.2: exactly one TXT record, ASCII, its macros expanded; anything else is no explanation."""
        self.d = domain
        try:
            texts = self.dns_txt(name, ignore_void=True)
            if len(texts) != 1 or len(texts[0]) > MOST_TERM:
                return ""
            return printable(self.expand(texts[0].decode("ascii"), stripdot=False))
        except (spf.PermError, spf.TempError, UnicodeDecodeError):
            return ""

    # What pyspf calls.

    def dns(self, name: str, qtype: str, cnames: Any = None, ignore_void: bool = False) -> list[Any]:  # noqa: ARG002  # the resolver follows CNAMEs
        name = str(name).rstrip(".").lower()
        # A name that DNS cannot hold matches nothing; one with a UTF-8 local part in it neither (RFC 8616 §4).
        if len(name) > MOST_NAME or not name.isascii() or not all(0 < len(x) <= MOST_LABEL for x in name.split(".")):
            return []
        question = (name, qtype)
        if len(self.used) >= self.most and question not in self.used:
            raise spf.PermError("too many look-ups")
        answer = self.answers.get(question)
        if answer is None:
            others = self.together if question in self.together else []
            self.missing += dict.fromkeys((question, *(one for one in others if one not in self.answers)))
            raise _Unanswered
        self.used[question] = None
        if answer.status is Status.NONSENSE and not ASKABLE.fullmatch(name):
            return []  # nor does this one, or a client could have a forged sender left open by its HELO
        if not answer.certain:
            self.unasked = answer.status in (Status.BUDGET, Status.NONSENSE)
            raise spf.TempError(f"no answer for {name} {qtype}")
        if answer.status is not Status.OK and not ignore_void:
            self.void_lookups += 1
            if self.void_lookups > spf.MAX_VOID_LOOKUPS:
                raise spf.PermError(f"more than {spf.MAX_VOID_LOOKUPS} look-ups found nothing")
        if qtype in {"MX", "PTR"}:
            self.together = _named_by(question, answer, self.A)
        # pyspf sorts lists in place, and takes a TXT record as the list of its strings.
        return [(text,) for text in answer.records] if qtype == "TXT" else list(answer.records)

    def dns_spf(self, domain: str) -> str | None:
        record = cast("str | None", super().dns_spf(domain))
        if record is not None and len(record) > MOST_RECORD:
            raise spf.PermError("record is too long")
        return record

    def check1(self, record: str, domain: str, recursion: int) -> tuple[str, int, str]:
        before, self.depth = self.depth, recursion
        if not recursion:  # a redirect takes its own explanation along (RFC 7208 §6.2)
            self.explained = None
        try:
            return cast("tuple[str, int, str]", super().check1(record, domain, recursion))
        finally:
            self.depth = before

    def get_explanation(self, spec: str) -> None:
        """Only remembered: it is asked for when, and only when, the result is a fail (RFC 7208 §6.2)."""
        if not self.depth:
            self.explained = (spec, self.d)

    def expand_domain(self, arg: str) -> str:
        if len(arg) > MOST_TERM or any(len(label) > MOST_LABEL for label in MACRO.sub("", arg).split(".")):
            raise spf.PermError("domain is too long", arg[:MOST_LABEL])
        return cast("str", super().expand_domain(arg))

    def validate_mechanism(self, mech: str) -> tuple[Any, ...]:
        """The same for the same term, domain and address family; with a macro in it, for the same claim."""
        self.terms += 1
        if self.terms > MOST_TERMS or len(mech) > MOST_TERM:
            raise spf.PermError("record is too long")
        if "%" in mech:
            noted = self.notes.terms.get((mech, self.d))
            if noted is None:
                noted = self.notes.terms[mech, self.d] = super().validate_mechanism(mech)
            elif OF_ANSWERS.search(mech):
                self.getp()  # which counts as used in each run
            return noted
        key = (mech, self.d, self.v)
        found = _terms.get(key)
        if found is None:
            found = super().validate_mechanism(mech)
            if len(_terms) >= REMEMBERED_TERMS:
                _terms.pop(next(iter(_terms)))
            _terms[key] = found
        return found

    def cidrmatch(self, ipaddrs: list[str], n: int) -> bool:
        try:
            return any(self.ipaddr in _network(address, n) for address in ipaddrs)
        except ValueError as wrong:
            raise spf.PermError(str(wrong)) from None

    def validated_ptrs(self) -> list[str]:
        """RFC 7208 §5.5: an error while looking for names means that there is no match, not that all is off."""
        try:
            names = self.dns_ptr(self.i)[:MOST_HOSTS]
        except spf.TempError:
            return []
        valid = []
        for name in names:
            try:
                if self.cidrmatch(self.dns_a(name, self.A), self.cidrmax):
                    valid.append(name)
            except spf.TempError:
                continue
        return valid

    def expand(self, s: str, stripdot: bool = True) -> str:
        """RFC 7208 §7, in linear time and with the truncation of §7.3. `stripdot` is False in an explanation."""
        if "%" not in s or not stripdot:
            return self._expanded(s, stripdot)
        noted = self.notes.texts.get((s, self.d))
        if noted is None:
            noted = self.notes.texts[s, self.d] = self._expanded(s, stripdot)
        elif OF_ANSWERS.search(s):
            self.getp()
        return noted

    def _expanded(self, s: str, stripdot: bool) -> str:
        parts: list[str] = []
        end = 0
        for macro in MACRO.finditer(s):
            parts += (
                _literal(s[end : macro.start()], explaining=not stripdot),
                self._macro(macro, explaining=not stripdot),
            )
            end = macro.end()
        parts.append(_literal(s[end:], explaining=not stripdot))
        expanded = "".join(parts)
        if not stripdot:
            return expanded
        expanded = expanded.removesuffix(".")
        if len(expanded) > MOST_NAME:
            expanded = expanded[expanded.find(".", len(expanded) - MOST_NAME - 1) + 1 :]
        return expanded

    def _macro(self, macro: re.Match[str], *, explaining: bool) -> str:
        letter, digits, reverse, delimiters = macro.groups()
        if letter is None:
            return {"%%": "%", "%_": " ", "%-": "%20"}[macro.group()]
        lower = letter.lower()
        self.letters.add(lower)
        if lower not in "slodiphcrtv":
            raise spf.PermError("unknown macro", macro.group())
        if lower in "crt" and not explaining:
            raise spf.PermError("c, r and t stand in explanations only", macro.group())
        if digits and not int(digits):
            raise spf.PermError("no labels", macro.group())
        value = self.getp() if lower == "p" else getattr(self, lower)
        if digits or reverse or delimiters:
            labels = re.split(f"[{re.escape(delimiters)}]", value) if delimiters else value.split(".")
            if reverse:
                labels.reverse()
            value = ".".join(labels[-int(digits) :] if digits else labels)
        return quote(value, safe="~") if letter != lower else value


def _literal(text: str, *, explaining: bool) -> str:
    if "%" in text:
        raise spf.PermError("a % that begins no macro")
    if not explaining and not VISIBLE.fullmatch(text):
        raise spf.PermError("a character that no name may have")
    return text


@lru_cache(maxsize=REMEMBERED)
def _network(address: str, prefix: int) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network((address, prefix), strict=False)


def printable(text: str) -> str:
    """A stranger's words, fit to be shown to another stranger: printable ASCII, bounded."""
    return UNPRINTABLE.sub("?", text[:MOST_EXPLANATION])
