"""What all readers of archives have in common: a member, what is odd about it, and the budget that they share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum


class Trait(StrEnum):
    """What is told of a file or an archive beside its type."""

    ENCRYPTED = "encrypted"  # with a password
    NAMES_HIDDEN = "names_hidden"  # the list of names is encrypted too
    BROKEN = "broken"  # it ends too early, or is not what its marks say
    AMBIGUOUS = "ambiguous"  # two programs would unpack different files
    OVERLAPPING = "overlapping"  # members share the octets they are made from
    LYING = "lying_size"  # a member is larger than it says
    RATIO = "ratio"  # unpacked it would be enormous
    SLOW = "slow"  # a small file that takes all the time there is
    DEPTH = "depth"  # archives in archives, deeper than is looked at
    MACRO = "macro"  # a document with VBA
    MACRO_RUNS = "macro_runs"  # which runs when the document is opened or closed
    XLM = "xlm"  # Excel 4 macro sheets
    OBJECT = "object"  # a file embedded in a document, to be clicked on
    EQUATION = "equation"  # an object of the old equation editor, which is known for holes only
    REMOTE = "remote_template"  # a document that fetches a template, which may have macros
    SCRIPT = "script"  # a page with script in it
    SMUGGLES = "smuggles"  # whose script makes a file, or a page, out of text
    ASKS = "asks_for_password"  # a page with a field for a password


class Late(Exception):
    """The time is over. Whoever has a clock may raise it into a reader, anywhere, once `Budget.late` says so too."""


class LeftOut(StrEnum):
    """Which budget was spent."""

    MEMBERS = "members"
    UNPACKED = "unpacked"
    TIME = "time"
    SIZE = "size"  # a file that is too large to be looked into
    KEPT = "kept"  # more that is worth telling than is told


@dataclass(frozen=True, slots=True)
class Limits:
    """Budgets of all attachments of one message. Octets, unless said otherwise."""

    depth: int = 6  # archives in archives
    members: int = 5000
    steps: int = 500_000  # records of archives that make no member
    opened: int = 500  # members whose beginning is looked at
    unpacked: int = 48 * 1_048_576  # made in all
    held: int = 10 * 1_048_576  # of archives that stand in others, at any time
    page: int = 262_144  # of a page that is looked at for script
    ratio: int = 200  # times its own size
    enormous: int = 100 * 1_048_576  # what an archive may claim to become, whatever its ratio
    name: int = 255  # characters of a name
    kept: int = 100  # files that are told of


LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Member:
    """One file inside of another. `size` is what is claimed, None where nothing is. `read` gives its first octets, at
    most that many, and charges them to the budget; None where they cannot be had (encrypted, an unknown method).
    """

    name: str
    size: int | None = None
    traits: tuple[Trait, ...] = ()
    read: Callable[[int], bytes] | None = None


@dataclass(slots=True)
class Opened:
    """What a reader made of an archive. `members` are as far as the budget went."""

    members: list[Member] = field(default_factory=list)
    traits: dict[Trait, None] = field(default_factory=dict)

    def note(self, *traits: Trait) -> None:
        self.traits.update(dict.fromkeys(traits))


def never() -> bool:
    return False


@dataclass(slots=True)
class Budget:
    """What is left. `late` says whether the time is over: whoever may read a clock gives it."""

    limits: Limits = LIMITS
    late: Callable[[], bool] = never
    members: int = 0
    steps: int = 0
    opened: int = 0
    held: int = 0
    unpacked: int = 0
    left_out: dict[LeftOut, None] = field(default_factory=dict)

    def member(self) -> bool:
        """Whether one more may be listed."""
        if self.members >= self.limits.members:
            self.left_out[LeftOut.MEMBERS] = None
            return False
        self.members += 1
        return not (self.members % 64 == 0 and self.over())

    def step(self, count: int = 1) -> bool:
        """Whether so many more records may be passed that make no member: of those too a file may have any number."""
        before, self.steps = self.steps, self.steps + count
        if self.steps > self.limits.steps:
            self.left_out[LeftOut.MEMBERS] = None
            return False
        return not (before // 256 != self.steps // 256 and self.over())

    def over(self) -> bool:
        if self.late():
            self.left_out[LeftOut.TIME] = None
            return True
        return False

    def room(self, wanted: int) -> int:
        """How many octets of those wanted may still be made."""
        left = self.limits.unpacked - self.unpacked
        if left < wanted:
            self.left_out[LeftOut.UNPACKED] = None
        return max(0, min(wanted, left))

    def made(self, octets: int) -> None:
        self.unpacked += octets


def octets_of(view: memoryview) -> bytes:
    """As bytes, without a copy where they are some already."""
    whole = view.obj
    return whole if isinstance(whole, bytes) and len(whole) == view.nbytes else bytes(view)
