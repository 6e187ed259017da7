"""Every promise judged in every mode that is set up, and how that is told: as lines, or as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gatekeeper.doctor.attachments import attachments
from gatekeeper.doctor.facts import Attachment, Facts, Mode
from gatekeeper.doctor.promise import Judgement, Promise, Standing
from gatekeeper.doctor.table import PROMISES


@dataclass(frozen=True, slots=True)
class Row:
    """One promise in one mode."""

    attachment: Attachment
    promise: Promise
    judgement: Judgement

    @property
    def mode(self) -> Mode:
        return self.attachment.mode


@dataclass(frozen=True, slots=True)
class Report:
    """What `gatekeeper doctor` says."""

    rows: tuple[Row, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing is left that a line would mend."""
        return all(row.judgement.standing is not Standing.BROKEN for row in self.rows)


def examine(facts: Facts) -> Report:
    """Pure: the same facts get the same report."""
    return Report(
        tuple(
            Row(attachment, promise, promise.judges[attachment.mode](facts, attachment))
            for attachment in attachments(facts.configuration, facts.postfix)
            for promise in PROMISES
            if attachment.mode in promise.judges
        )
    )


def word(standing: Standing) -> str:
    """One of the three things that can be said about a promise."""
    return Standing.BROKEN.value if standing is Standing.IMPOSSIBLE else standing.value


def title(attachment: Attachment) -> str:
    """The line above a mode's promises."""
    if attachment.mode is Mode.ALL:
        return "in every mode"
    parts = [", ".join(map(str, attachment.listen))]
    if attachment.entrances:
        parts.insert(0, "Postfix " + ", ".join(map(str, attachment.entrances)))
    if attachment.inner is not None:
        parts.append(f"Postfix {attachment.inner}")
    return f"{attachment.mode.value}: {' > '.join(parts)}"


def lines(row: Row) -> Iterator[str]:
    """A promise as people read it."""
    judgement = row.judgement
    yield f"  {word(judgement.standing):<19} {row.promise.name:<13} {row.promise.sentence}"
    if judgement.standing is Standing.IMPOSSIBLE:
        yield f"{'':23}not in this mode: {judgement.why}"
    elif judgement.standing is not Standing.HOLDS or judgement.mend is not None:
        yield f"{'':23}{judgement.why}"
    if judgement.mend is not None:
        yield f"{'':23}{'mend' if judgement.standing is Standing.BROKEN else 'better'}: {judgement.mend}"


def to_json(report: Report) -> dict[str, Any]:
    """`possible` tells what no line would mend in that mode from what one would."""
    return {
        "sound": report.sound,
        "promises": [
            {
                "mode": row.mode.value,
                "promise": row.promise.name,
                "sentence": row.promise.sentence,
                "standing": word(row.judgement.standing),
                "possible": row.judgement.standing is not Standing.IMPOSSIBLE,
                "why": row.judgement.why,
                "mend": None
                if row.judgement.mend is None
                else {
                    "file": row.judgement.mend.file,
                    "place": row.judgement.mend.place,
                    "line": row.judgement.mend.line,
                },
            }
            for row in report.rows
        ],
    }
