"""Could two mail programs see two messages, so that a filter is shown another one than people (RFC 2045, 2046)?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from gatekeeper.checks.base import MESSAGE_FORM, Tools
from gatekeeper.message.content import read_content
from gatekeeper.message.parts import HARMLESS
from gatekeeper.model import Finding, Kind, Mail, Missing, Rule

MIME_AMBIGUOUS = Rule(
    "MIME_AMBIGUOUS", 0.7, "Two mail programs might show two different messages.", Kind.FORM, group=MESSAGE_FORM
)
MIME_SLOPPY = Rule(
    "MIME_SLOPPY",
    0.1,
    "The parts of the message break rules that harmless programs break too.",
    Kind.FORM,
    group=MESSAGE_FORM,
)
MIME_LEFT_OUT = Rule(
    "MIME_LEFT_OUT", 0.2, "The message has more parts, or deeper ones, than are read.", Kind.FORM, group=MESSAGE_FORM
)


@dataclass(frozen=True, slots=True)
class AmbiguityEvidence:
    """In which ways readers may differ (`message/parts.py` says what each means), and the parts of all readings."""

    ambiguities: tuple[str, ...]
    parts: int
    other_readings: int


@dataclass(frozen=True, slots=True)
class LeftOutEvidence:
    """Which budgets were spent."""

    budgets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mime:
    """[checks.mime]"""

    name: ClassVar[str] = "mime"

    def rules(self) -> Sequence[Rule]:
        return (MIME_AMBIGUOUS, MIME_SLOPPY, MIME_LEFT_OUT)

    async def inspect(self, mail: Mail, tools: Tools) -> Sequence[Finding | Missing]:  # noqa: ARG002
        if mail.message is None:
            return ()
        content = await read_content(mail.message)
        found = []
        telling = tuple(each.value for each in content.ambiguities if each not in HARMLESS)
        slips = tuple(each.value for each in content.ambiguities if each in HARMLESS)
        parts = content.mime.parts
        if telling or slips:
            others = sum(1 for part in parts if part.reading)
            rule = MIME_AMBIGUOUS if telling else MIME_SLOPPY
            evidence = AmbiguityEvidence(telling or slips, len(parts), others)
            found.append(Finding(rule.name, evidence, ", ".join(evidence.ambiguities).replace("_", " ")))
        if content.left_out:
            budgets = tuple(each.value for each in content.left_out)
            found.append(
                Finding(MIME_LEFT_OUT.name, LeftOutEvidence(budgets), f"beyond the budget: {', '.join(budgets)}")
            )
        return found
