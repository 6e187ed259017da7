"""What whoever asks about one message is answered, by `check --json` and by `POST /v1/check`. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gatekeeper.message.edit import Edit
from gatekeeper.model import Reply, Verdict
from gatekeeper.records.document import Record
from gatekeeper.records.explain import Explanation, Row, explain


@dataclass(frozen=True, slots=True)
class CheckResult:
    """How a message would fare: the verdict that counts, its record, the answer when it is a refusal, the edits when
    it is none.
    """

    verdict: Verdict
    record: Record
    reply: Reply | None
    edits: tuple[Edit, ...] = ()


def answer(explanation: Explanation) -> dict[str, Any]:
    """What is promised whatever else stands there: id, action, score, findings, missing, not_run."""
    record = explanation.record
    decision = record.decision
    rows: dict[tuple[str, str], Row] = {}  # a recipient may be shown what the message had: once is enough here
    for section in explanation.sections:
        for row in section.rows:
            rows.setdefault((row.rule, row.text), row)
    return {
        "id": record.id,
        "action": record.action,
        "score": record.millis / 1000,
        "findings": [
            {"rule": row.rule, "score": (row.millis or 0) / 1000, "evidence": row.evidence, "text": row.text}
            for row in rows.values()
        ],
        "missing": list(decision.missing) if decision else [],
        "not_run": list(decision.not_run) if decision else [],
    }


def answered(result: CheckResult, about: Mapping[str, str]) -> dict[str, Any]:
    """`answer`, with what only the one who asks needs: the reply, the thresholds, what to change in the header.

    `about` is each rule's sentence.
    """
    thresholds = result.verdict.thresholds
    return answer(explain(result.record, about)) | {
        "reply": None if result.reply is None else str(result.reply),
        "tag": thresholds.tag / 1000,
        "reject": thresholds.reject / 1000,
        "incomplete": result.verdict.incomplete,
        "edits": [{"edit": type(edit).__name__.lower()} | dataclasses.asdict(edit) for edit in result.edits],
    }
