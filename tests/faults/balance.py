"""The ledger of both ends: what clients were told, what the next hop has, and whether the two balance."""

from __future__ import annotations

import collections
import dataclasses
from dataclasses import dataclass, field

NEAR = 5.0
"""Seconds around the end of a session within which a kill may have been what ended it: the machine may be busy."""


@dataclass(slots=True)
class Attempt:
    """One message that a client tried to hand over."""

    id: str
    dotted: float = 0.0  # when its final dot was said (monotonic time); 0 for never
    ended: float = 0.0  # when the answer came, or the connection broke
    began: float = 0.0
    answer: str = ""  # to the final dot, or to DATA; "" for none
    port: int = 0  # the client's
    silences: int = 0  # sessions given up for want of an answer


@dataclass
class Ledger:
    """Both ends, the kills, and what does not balance."""

    attempts: list[Attempt] = field(default_factory=list)
    copies: collections.Counter[str] = field(default_factory=collections.Counter)
    kills: list[tuple[float, str]] = field(default_factory=list)  # when, and what; they excuse a session that broke
    harms: list[str] = field(default_factory=list)  # what was done to those around; it excuses nothing
    doubts: list[tuple[float, int]] = field(default_factory=list)
    """When gatekeeper told of a mail in doubt (monotonic time), and which port its client had. By its log: the counter
    of a supervisor that is killed begins anew."""

    def faults(self) -> list[str]:
        """Every line that breaks the promise."""
        found = []
        for attempt in self.attempts:
            copies = self.copies[attempt.id]
            promised = attempt.answer.startswith("250")
            if copies > 1:
                found.append(f"{attempt.id}: {copies} copies")
            elif promised and not copies:
                found.append(f"{attempt.id}: acknowledged and lost")
            elif copies and not promised and not self._cut_off(attempt) and not self._doubted(attempt):
                since = min((attempt.ended - when for when, _ in self.kills if when <= attempt.ended), default=-1.0)
                found.append(
                    f"{attempt.id}: a copy, no acknowledgement ({attempt.answer!r}), no kill and no doubt; it ended"
                    f" {attempt.ended - attempt.dotted:.1f} s after its dot and {since:.1f} s after a kill"
                )
        known = {attempt.id for attempt in self.attempts}
        found += [f"{each}: a copy that nobody sent" for each in self.copies if each not in known]
        return found

    def _cut_off(self, attempt: Attempt) -> bool:
        """Whether its session broke without an answer to its dot, at about the time of a kill."""
        killed = any(abs(attempt.ended - when) < NEAR for when, _ in self.kills)
        return killed and attempt.dotted > 0 and not attempt.answer

    def _doubted(self, attempt: Attempt) -> bool:
        """Whether it was told to be in doubt: its client is known by its port, which is soon another's."""
        return any(port == attempt.port and abs(attempt.ended - when) < NEAR for when, port in self.doubts)

    def tally(self) -> Tally:
        extra = sum(self.copies[attempt.id] == 1 and not attempt.answer.startswith("250") for attempt in self.attempts)
        return Tally(
            attempts=len(self.attempts),
            acknowledged=sum(attempt.answer.startswith("250") for attempt in self.attempts),
            refused=sum(attempt.answer[:1] in {"4", "5"} for attempt in self.attempts),
            cut=sum(not attempt.answer for attempt in self.attempts),
            copies_of_those=extra,
            kills=dict(collections.Counter([*(what for _, what in self.kills), *self.harms])),
            in_doubt=len(self.doubts),
            silences=sum(attempt.silences for attempt in self.attempts),
            longest=max((attempt.ended - attempt.began for attempt in self.attempts if attempt.answer), default=0.0),
            faults=self.faults(),
        )


@dataclass
class Tally:
    """What came of one ledger, or of several."""

    attempts: int = 0
    acknowledged: int = 0
    refused: int = 0  # told so
    cut: int = 0  # told nothing
    copies_of_those: int = 0
    kills: dict[str, int] = field(default_factory=dict)
    in_doubt: int = 0
    silences: int = 0  # sessions given up for want of an answer
    longest: float = 0.0  # seconds from connect to the answer
    faults: list[str] = field(default_factory=list)

    def __add__(self, other: Tally) -> Tally:
        kills = dict(collections.Counter(self.kills) + collections.Counter(other.kills))
        added = {
            each.name: getattr(self, each.name) + getattr(other, each.name)
            for each in dataclasses.fields(self)
            if each.name not in {"kills", "longest"}
        }
        return Tally(kills=kills, longest=max(self.longest, other.longest), **added)

    def __str__(self) -> str:
        told = ", ".join(f"{count} x {what}" for what, count in sorted(self.kills.items()))
        return (
            f"{self.attempts} attempts: {self.acknowledged} acknowledged, each with one copy; {self.refused} refused,"
            f" {self.cut} cut off, {self.copies_of_those} of them with a copy;"
            f" {sum(self.kills.values())} faults ({told}); told to be in doubt: {self.in_doubt};"
            f" longest answer {self.longest:.2f} s, sessions without one in time: {self.silences};"
            f" lines that do not balance: {len(self.faults)}"
        )
