"""Why a record says what it says: every finding with its sentence and its score, and a sum that is exact. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gatekeeper.model import GROUP_LINE, Contribution, Kind, Missing
from gatekeeper.records.document import Decision, Record, RecordedFinding, RecordedRecipient, points, to_plain

ALREADY_COUNTED = "counted above"
NOT_COUNTED = "does not count here"
NOT_KEPT = "evidence not kept"


@dataclass(frozen=True, slots=True)
class Row:
    """One finding. `about` is what its rule means, `text` what was seen (from the network: escape it where shown).

    `millis` is None where it takes no part in the sum; `remark` says why, or what else is worth knowing.
    """

    rule: str
    millis: int | None
    about: str
    text: str
    remark: str = ""
    evidence: Mapping[str, Any] | None = None

    @property
    def score(self) -> str:
        return "" if self.millis is None else points(self.millis)

    @property
    def source(self) -> str:
        """The law or standard that a rule from a file comes from, "" for none."""
        source = (self.evidence or {}).get("source")
        return source if isinstance(source, str) and self._of_a_file else ""

    @property
    def hosts(self) -> list[str]:
        """Of the links that a rule from a file was met by (from the network, too)."""
        hosts = (self.evidence or {}).get("hosts")
        return [each for each in hosts if isinstance(each, str)] if isinstance(hosts, list) and self._of_a_file else []

    @property
    def _of_a_file(self) -> bool:
        return (self.evidence or {}).get("type") == "RuleEvidence"


@dataclass(frozen=True, slots=True)
class Section:
    """One decision: the message's (`recipient` is "") or a recipient's own. The rows sum up to `millis`."""

    recipient: str
    rows: tuple[Row, ...]
    decision: Decision | None
    missing: tuple[Missing, ...] = ()
    reply: str = ""
    by_next_hop: bool = False

    @property
    def millis(self) -> int:
        return sum(row.millis for row in self.rows if row.millis is not None)

    @property
    def score(self) -> str:
        return points(self.millis)

    @property
    def exact(self) -> bool:
        """Whether the sum is the score that was decided on; False only for a record that somebody has edited."""
        return self.decision is None or self.decision.millis == self.millis


@dataclass(frozen=True, slots=True)
class Explanation:
    """`message` is the decision that the client was answered by; `recipients` those that were judged otherwise, or
    refused, or had findings of their own.
    """

    record: Record
    message: Section
    recipients: tuple[Section, ...]

    @property
    def sections(self) -> tuple[Section, ...]:
        return (self.message, *self.recipients)


def explain(record: Record, about: Mapping[str, str] | None = None) -> Explanation:
    """`about` is each rule's sentence, by its name; a rule that is not used any more has none."""
    sentences = about or {}
    own = [finding for one in record.recipients for finding in one.findings]
    message = Section(
        recipient="",
        rows=_rows(record.contributions, record.findings, own, sentences, record.decision),
        decision=record.decision,
        missing=record.missing,
        reply=str(record.reply),
    )
    recipients = tuple(
        [_recipient(one, record, sentences) for one in record.recipients if _differs(one, record.decision)]
    )
    return Explanation(record, message, recipients)


def lines(explanation: Explanation) -> list[str]:
    """The explanation as plain text; what came from the network is not escaped yet."""
    record = explanation.record
    text = [f"{record.id} {record.action}: {record.reply}"]
    if record.next_hop is not None:
        text.append(f"next hop: {record.next_hop}")
    if record.folded:
        text.append(f"stands for {record.folded} identical refusals more")
    for section in explanation.sections:
        text.append("")
        if section.recipient:
            text.append(f"for <{section.recipient}>: {section.reply or 'not answered'}")
        width = max((len(row.score) for row in section.rows), default=0)
        width = max(width, len(section.score))
        for row in section.rows:
            text.append(f"{row.score:>{width}}  {row.rule}  {_sentence(row)}")
            text += [f"{'':>{width}}    {line}" for line in (*_behind(row), *_moved(row.evidence))]
        if section.decision is not None:
            text.append(f"{section.score:>{width}}  = {_conclusion(section.decision)}")
            text += _gaps(section)
    return text


def to_json(explanation: Explanation) -> dict[str, Any]:
    """For `--json`: the record, and the sums of its sections."""
    return to_plain(explanation.record) | {
        "explanation": [
            {
                "recipient": section.recipient or None,
                "score": section.millis / 1000,
                "rows": [
                    {
                        "rule": row.rule,
                        "score": None if row.millis is None else row.millis / 1000,
                        "about": row.about,
                        "text": row.text,
                        "remark": row.remark,
                        "source": row.source,
                        "hosts": row.hosts,
                    }
                    for row in section.rows
                ],
            }
            for section in explanation.sections
        ]
    }


def _differs(recipient: RecordedRecipient, shared: Decision | None) -> bool:
    refused = recipient.reply is not None and not recipient.reply.positive
    return refused or bool(recipient.findings) or (recipient.decision is not None and recipient.decision != shared)


def _recipient(recipient: RecordedRecipient, record: Record, about: Mapping[str, str]) -> Section:
    decision = recipient.decision
    contributions = decision.contributions if decision else ()
    return Section(
        recipient=recipient.address,
        rows=_rows(contributions, recipient.findings, record.findings, about, decision),
        decision=decision,
        missing=recipient.missing,
        reply="" if recipient.reply is None else str(recipient.reply),
        by_next_hop=recipient.by_next_hop,
    )


def _rows(
    contributions: Iterable[Contribution],
    first: Iterable[RecordedFinding],
    then: Iterable[RecordedFinding],
    about: Mapping[str, str],
    decision: Decision | None,
) -> tuple[Row, ...]:
    """A row for each contribution, with the evidence behind it; then those of the `first` findings left without one.

    The policy counts a rule once, by its first finding, and not at all where the recipient is exempt from it.
    """
    waiting: dict[str, list[RecordedFinding]] = {}
    for finding in first:
        waiting.setdefault(finding.rule, []).append(finding)
    elsewhere: dict[str, RecordedFinding] = {}
    for finding in then:
        elsewhere.setdefault(finding.rule, finding)
    rows = []
    counted = set()
    for one in contributions:
        counted.add(one.rule)
        own = waiting.get(one.rule)
        found = own.pop(0) if own else elsewhere.get(one.rule)
        decides = decision is not None and decision.decided_by == one.rule
        remark = "decides alone" if decides else "" if found or GROUP_LINE in one.rule else NOT_KEPT
        rows.append(
            Row(
                one.rule,
                one.millis,
                about.get(one.rule, ""),
                found.text if found else "",
                remark,
                found.evidence if found else None,
            )
        )
    for rest in waiting.values():
        for finding in rest:
            remark = ALREADY_COUNTED if finding.rule in counted else NOT_COUNTED
            rows.append(Row(finding.rule, None, about.get(finding.rule, ""), finding.text, remark, finding.evidence))
    return tuple(rows)


def _sentence(row: Row) -> str:
    parts = [part for part in (row.about, row.text) if part]
    sentence = " ".join(dict.fromkeys(parts)) if parts else ""
    return f"{sentence} ({row.remark})".strip() if row.remark else sentence


def _behind(row: Row) -> list[str]:
    """What a rule from a file rests on, and the links that it was met by."""
    told = [f"source: {row.source}"] if row.source else []
    return [*told, f"host: {', '.join(row.hosts)}"] if row.hosts else told


def _moved(evidence: Mapping[str, Any] | None) -> list[str]:
    """What moved a classifier, as sums of their own: traits and the rest, by the shipped model and by the site's."""
    if not evidence:
        return []
    told = []
    for whose, traits, rest, counts in (
        ("the shipped model", "traits", "rest", "shipped"),
        ("what was taught here", "site_traits", "site_rest", "site"),
    ):
        listed = evidence.get(traits)
        named = [each for each in listed if _names_a_move(each)] if isinstance(listed, list) else []
        if named:
            whole = sum([each["moved"] for each in named]) + _number(evidence, rest)
            told += [f"{each['moved']:+.3f}  {each.get('name', '')}" for each in named]
            told.append(f"{_number(evidence, rest):+.3f}  all other traits")
            told.append(f"{whole:+.3f}  = log-odds of spam by {whose}, counted as {_number(evidence, counts):+.3f}")
    return told


def _names_a_move(trait: object) -> bool:
    return isinstance(trait, dict) and isinstance(trait.get("moved"), int | float)


def _number(evidence: Mapping[str, Any], name: str) -> float:
    value = evidence.get(name)
    return value if isinstance(value, int | float) else 0.0


def _conclusion(decision: Decision) -> str:
    words = f"{decision.action} (tag from {points(decision.thresholds.tag)}, reject from "
    words += f"{points(decision.thresholds.reject)})"
    if decision.decided_by:
        words += f", decided by {decision.decided_by} alone"
    if decision.held:
        words += f", {decision.held} held back, since more was to come"
    if decision.thresholds.exempt:
        words += f", exempt from {' and '.join(sorted(_kind(kind) for kind in decision.thresholds.exempt))}"
    if decision.incomplete:
        words += ", incomplete: what was missing could have changed it"
    return words


def _kind(kind: Kind) -> str:
    return f"{kind.value} rules"


def _gaps(section: Section) -> list[str]:
    known = {one.name for one in section.missing}
    text = [f"missing: {one.name} ({one.why})" for one in section.missing]
    if section.decision is not None:
        text += [f"missing: {name}" for name in section.decision.missing if name not in known]
        if section.decision.not_run:
            text.append(f"not run: {', '.join(section.decision.not_run)}")
    return text
