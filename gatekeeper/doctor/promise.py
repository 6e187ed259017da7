"""What a promise is: a sentence, how it stands in each mode, and the line that would mend it where it does not hold."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gatekeeper.doctor.facts import Attachment, Facts, Mode


class Standing(enum.Enum):
    """How a promise stands in the configuration at hand; the value is the word of the JSON."""

    HOLDS = "holds"
    BROKEN = "does not hold here"  # a line would mend it
    IMPOSSIBLE = "not in this mode"  # no line would
    UNKNOWN = "cannot tell"


@dataclass(frozen=True, slots=True)
class Mend:
    """One line, and where it goes. `place` is the section of our file, or the service of master.cf; "" for neither."""

    file: str
    line: str
    place: str = ""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.file, self.place, self.line) if part)


@dataclass(frozen=True, slots=True)
class Judgement:
    """How one promise stands, and why. A `mend` beside HOLDS or UNKNOWN is advice."""

    standing: Standing
    why: str
    mend: Mend | None = None


Judge = Callable[[Facts, Attachment], Judgement]


@dataclass(frozen=True, slots=True)
class Never:
    """The judge for a mode in which the promise cannot hold, whatever is set."""

    why: str

    def __call__(self, _facts: Facts, _attachment: Attachment) -> Judgement:
        return Judgement(Standing.IMPOSSIBLE, self.why)


@dataclass(frozen=True, slots=True)
class Always:
    """The judge for a mode in which the promise holds by itself."""

    why: str

    def __call__(self, _facts: Facts, _attachment: Attachment) -> Judgement:
        return Judgement(Standing.HOLDS, self.why)


@dataclass(frozen=True, slots=True)
class Promise:
    """`judges` by mode; a mode that is left out has nothing to do with it."""

    name: str
    sentence: str
    judges: Mapping[Mode, Judge]


def holds(why: str, *, advice: Mend | None = None) -> Judgement:
    return Judgement(Standing.HOLDS, why, advice)


def broken(why: str, mend: Mend) -> Judgement:
    return Judgement(Standing.BROKEN, why, mend)


def unknown(why: str, advice: Mend | None = None) -> Judgement:
    return Judgement(Standing.UNKNOWN, why, advice)


def in_main(facts: Facts, line: str) -> Mend:
    directory = facts.postfix.directory if facts.postfix else "/etc/postfix"
    return Mend(f"{directory}/main.cf", line)


def in_master(facts: Facts, service: object, line: str) -> Mend:
    directory = facts.postfix.directory if facts.postfix else "/etc/postfix"
    return Mend(f"{directory}/master.cf", line, str(service))


def in_ours(facts: Facts, section: str, line: str) -> Mend:
    return Mend(facts.file, line, f"[{section}]" if section else "")


def listed(values: object) -> str:
    """A list of texts as TOML has it."""
    items = [str(each) for each in values] if isinstance(values, list | tuple) else [str(values)]
    return "[" + ", ".join(f'"{each}"' for each in items) + "]"
