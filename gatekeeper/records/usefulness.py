"""What each DNS list was worth: its hits, what it found alone, where all else spoke against it, what it changed. Pure.

Each record is judged again by the policy from the findings that it keeps, with all lists and then without each. So the
report says what the policy of today would have made of it, whatever scores were in force then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gatekeeper.model import Action, Address, Finding, Missing, Verdict
from gatekeeper.policy import Policy
from gatekeeper.records.document import Record, RecordedFinding

GOOD = 0.2
"""Mail is good to everything else when, without the list, it passes with at most this part of the score for `tag`."""
EVIDENCE = frozenset({"ListEvidence", "NameListEvidence"})
"""The types of evidence by which a finding is known to be a list's."""


@dataclass(frozen=True, slots=True)
class KnownList:
    """A list as it is configured: the name in its rules, its zone as it may be shown, and its rules."""

    name: str
    zone: str
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ListWorth:
    """What one list was worth in a period; every number counts mails.

    `unique`: no other list that speaks the same way was hit. `contrary`: everything else said the opposite; for a
    list of unwanted senders the mail was good without it, for one of welcome senders it was marked or refused.
    `changed`: what switching the list off would have changed, by "reject>accept" (with it, without it). `unanswered`:
    it gave no answer that counts. `p50` and `p95` are seconds that questions took which led to a hit and were not
    answered from the cache; None where there are none.
    """

    name: str
    zone: str
    hits: int = 0
    unique: int = 0
    contrary: int = 0
    unanswered: int = 0
    changed: Mapping[str, int] = field(default_factory=dict)
    p50: float | None = None
    p95: float | None = None

    @property
    def changes(self) -> int:
        return sum(self.changed.values())


@dataclass(frozen=True, slots=True)
class Worth:
    """`mails` were looked at. `overlap` says of each two lists how many mails both hit."""

    mails: int
    lists: tuple[ListWorth, ...]
    overlap: Mapping[tuple[str, str], int]


@dataclass(slots=True)
class _Count:
    zone: str
    hits: int = 0
    unique: int = 0
    contrary: int = 0
    unanswered: int = 0
    changed: Counter[str] = field(default_factory=Counter)
    milliseconds: Counter[int] = field(default_factory=Counter)


class Weighing:
    """Takes records one by one, and then says what each list was worth. Keeps counts only."""

    def __init__(self, policy: Policy, lists: Iterable[KnownList]) -> None:
        self._policy = policy
        known = tuple(lists)
        self._list_of = {rule: each.name for each in known for rule in each.rules}
        self._welcome = {each.name for each in known if all(policy.score(rule) < 0 for rule in each.rules)}
        self._counts: dict[str, _Count] = {each.name: _Count(each.zone) for each in known}
        self._overlap: Counter[tuple[str, str]] = Counter()
        self._mails = 0

    def add(self, record: Record) -> None:
        """A record counts for all the mails that it stands for."""
        weight = 1 + record.folded
        self._mails += weight
        findings = [*record.findings, *(one for each in record.recipients for one in each.findings)]
        hit: dict[str, None] = {}
        for finding in findings:
            name = self._name_of(finding)
            if name is not None:
                hit[name] = None
                self._time(name, finding.evidence)
        for name in {each for one in _missing(record) if (each := self._list_of_missing(one)) is not None}:
            self._counts[name].unanswered += weight
        for name in hit:
            self._counts[name].hits += weight
            others = [other for other in hit if other != name]
            if not any((other in self._welcome) == (name in self._welcome) for other in others):
                self._counts[name].unique += weight
            for other in others:
                self._overlap[name, other] += weight
        if hit:
            self._judge(record, hit, weight)

    def worth(self) -> Worth:
        """Lists in the order of their hits."""
        found = [
            ListWorth(
                name,
                count.zone,
                count.hits,
                count.unique,
                count.contrary,
                count.unanswered,
                dict(count.changed.most_common()),
                _quantile(count.milliseconds, 0.5),
                _quantile(count.milliseconds, 0.95),
            )
            for name, count in self._counts.items()
        ]
        found.sort(key=lambda one: (-one.hits, one.name))
        return Worth(self._mails, tuple(found), dict(self._overlap))

    def _name_of(self, finding: RecordedFinding) -> str | None:
        """The list that a finding is of; one that is not configured any more goes by its zone."""
        name = self._list_of.get(finding.rule)
        if name is not None:
            return name
        evidence = finding.evidence or {}
        if evidence.get("type") not in EVIDENCE or not isinstance(zone := evidence.get("zone"), str):
            return None
        self._counts.setdefault(zone, _Count(zone))
        self._list_of[finding.rule] = zone
        return zone

    def _list_of_missing(self, missing: Missing) -> str | None:
        return next((name for rule in missing.rules if (name := self._list_of.get(rule)) is not None), None)

    def _time(self, name: str, evidence: Mapping[str, Any] | None) -> None:
        seconds = (evidence or {}).get("seconds")
        if isinstance(seconds, int | float):
            self._counts[name].milliseconds[min(round(seconds * 1000), LONGEST)] += 1

    def _judge(self, record: Record, hit: Iterable[str], weight: int) -> None:
        whole = judged_again(record, self._policy)
        for name in hit:
            rules = {rule for rule, whose in self._list_of.items() if whose == name}
            rest = judged_again(record, self._policy, without=rules)
            if rest.action != whole.action:
                self._counts[name].changed[f"{whole.action.word}>{rest.action.word}"] += weight
            if name in self._welcome:
                self._counts[name].contrary += weight * (rest.action >= Action.TAG)
            elif rest.action == Action.ACCEPT and rest.millis <= GOOD * rest.thresholds.tag:
                self._counts[name].contrary += weight


LONGEST = 60_000
"""Milliseconds beyond which a question's time is not told apart."""


def judged_again(record: Record, policy: Policy, *, without: Iterable[str] = ()) -> Verdict:
    """What the policy makes of a record's findings, leaving out those of some rules, and what was missing of them.

    Each recipient is judged by what was found of the message and of it, and the whole as the gate does.
    """
    left_out = frozenset(without)
    missing = [one for one in record.missing if not left_out.issuperset(one.rules)]
    shared = _plain(record.findings, left_out)
    verdicts = {
        recipient.address: policy.decide(
            [*shared, *_plain(recipient.findings, left_out)],
            thresholds=policy.thresholds(_address(recipient.address)),
            missing=[*missing, *(one for one in recipient.missing if not left_out.issuperset(one.rules))],
        )
        for recipient in record.recipients
    }
    return policy.combine(verdicts) if verdicts else policy.decide(shared, missing=missing)


def _plain(findings: Sequence[RecordedFinding], without: frozenset[str]) -> list[Finding]:
    return [Finding(one.rule, None, one.text) for one in findings if one.rule not in without]


def _address(text: str) -> Address:
    local, at, domain = text.rpartition("@")
    return Address(local, domain) if at else Address(text, "")


def _missing(record: Record) -> list[Missing]:
    return [*record.missing, *(one for each in record.recipients for one in each.missing)]


def _quantile(milliseconds: Counter[int], part: float) -> float | None:
    """The nearest-rank quantile, in seconds."""
    total = milliseconds.total()
    if not total:
        return None
    rank, seen = part * total, 0
    for value in sorted(milliseconds):
        seen += milliseconds[value]
        if seen >= rank:
            return value / 1000
    return None


def to_json(worth: Worth) -> dict[str, Any]:
    """For `--json`."""
    return {
        "mails": worth.mails,
        "lists": [
            {
                "name": one.name,
                "zone": one.zone,
                "hits": one.hits,
                "unique": one.unique,
                "contrary": one.contrary,
                "unanswered": one.unanswered,
                "changed": dict(one.changed),
                "p50": one.p50,
                "p95": one.p95,
                "overlap": {
                    other.name: worth.overlap[one.name, other.name]
                    for other in worth.lists
                    if (one.name, other.name) in worth.overlap
                },
            }
            for one in worth.lists
        ],
    }
