"""Is a DNS list well: what its test points answer, and how many of those answers change its state (RFC 5782 §5). Pure.

A state never rests on one test. `k of n`: three silent tests among the last five make a list dead, two of the last
three that list what cannot be listed (or refuse us) take its vote away. It comes back by itself, after two good ones.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from gatekeeper.dns.answer import Answer, Status
from gatekeeper.dns.lists import Codes, DnsList, Family, judge
from gatekeeper.wire.notation import read_json

SLOW: Final = 1.0
"""Seconds from which on an answer is slow."""
KEPT: Final = 8
"""Outcomes that count."""
FIRST_HOLD: Final = 1800.0
LONGEST_HOLD: Final = 12 * 3600.0
"""Seconds that a tripped breaker keeps a list from voting; twice as long each time it trips again within a day."""
DAY: Final = 86400.0


class State(enum.Enum):
    """How a list stands."""

    UNTESTED = "untested"  # its test point was not seen yet: it votes, but excuses nobody
    OK = "ok"
    DEGRADED = "degraded"  # it fails or is slow now and then: it votes, but excuses nobody
    DEAD = "dead"  # it does not answer, or has nothing in it any more
    WORLD = "lists the world"  # it lists what cannot be listed, or its breaker tripped
    REFUSES = "refuses us"

    @property
    def votes(self) -> bool:
        return self in _VOTERS


_VOTERS = frozenset({State.UNTESTED, State.OK, State.DEGRADED})


class Outcome(enum.Enum):
    """What came of one test."""

    GOOD = "good"  # the test point is listed, and nothing that must not be
    SLOW = "slow"  # good, but late
    EMPTY = "empty"  # nothing is listed: it has no test point, or lost everything
    SILENT = "silent"  # no answer, or none that is one
    WORLD = "world"  # something is listed that cannot be
    REFUSED = "refused"  # it says that it will not answer us
    UNKNOWN = "unknown"  # the nameservers themselves do not answer: nothing is known about the list


@dataclass(frozen=True, slots=True)
class Target:
    """A list in one family, as it is tested."""

    list: DnsList
    family: Family

    @property
    def name(self) -> str:
        """What logs, metrics and records call the list."""
        return self.list.rule

    @property
    def key(self) -> str:
        """What it is called where the health of lists is kept: without a subscriber's key."""
        return key_of(self.list, self.family)


def key_of(each: DnsList, family: Family) -> str:
    return f"{family.value} {each.shown}"


@dataclass(frozen=True, slots=True)
class Probe:
    """The answers of one test; None for a point that is not asked for. `seconds` is how long the slowest took."""

    target: Target
    listed: Answer | None
    not_listed: Answer | None
    control: Answer
    seconds: float = 0.0

    @property
    def outcome(self) -> Outcome:
        """What these answers together mean; the worst of them counts."""
        must_not = [_reading(each) for each in (self.not_listed, self.control) if each is not None]
        must = None if self.listed is None else _reading(self.listed)
        every = [*must_not, *([must] if must is not None else [])]
        if _Reading.REFUSED in every:
            return Outcome.REFUSED
        if _Reading.LISTED in must_not or _Reading.STRANGE in every:
            return Outcome.WORLD
        if _Reading.NONE in every:
            return Outcome.SILENT
        if must is not _Reading.LISTED:
            return Outcome.EMPTY
        return Outcome.SLOW if self.seconds >= SLOW else Outcome.GOOD


class _Reading(enum.Enum):
    LISTED = enum.auto()
    ABSENT = enum.auto()
    REFUSED = enum.auto()
    STRANGE = enum.auto()  # an address outside 127/8: a parked domain, or a resolver that lies
    NONE = enum.auto()


_ANY = Codes()


def _reading(answer: Answer) -> _Reading:
    if not answer.certain:
        return _Reading.NONE
    if not answer.records:
        return _Reading.ABSENT
    said = judge(answer.records, _ANY)
    if said.refused:
        return _Reading.STRANGE if said.strange else _Reading.REFUSED
    return _Reading.LISTED


@dataclass(frozen=True, slots=True)
class Health:
    """How a list stands since when (Unix time), and why. `seen`: its test point was listed once.

    `held` is until when a tripped breaker keeps it from voting, `trips` how often that happened lately.
    """

    state: State = State.UNTESTED
    since: float = 0.0
    why: str = ""
    seen: bool = False
    held: float = 0.0
    trips: int = 0
    outcomes: tuple[Outcome, ...] = ()  # the newest last

    def after(self, test: Outcome, *, now: float) -> Health:
        """What one more test makes of it."""
        if test is Outcome.UNKNOWN:
            return self
        outcomes = (*self.outcomes, test)[-KEPT:]
        seen = self.seen or test in _WELL
        state = settle(self.state, outcomes, seen=seen)
        if self.held > now and state.votes:
            state = self.state
        if state is self.state:
            return replace(self, outcomes=outcomes, seen=seen)
        if state.votes and not self.state.votes:
            outcomes = outcomes[-2:]  # what took its vote away is over
        return replace(self, state=state, since=now, why=_WHY[state, test], seen=seen, outcomes=outcomes)

    def tripped(self, why: str, *, now: float) -> Health:
        """Without a vote for a while, whatever the tests say."""
        trips = self.trips + 1 if self.held > now - DAY else 1
        held = now + min(FIRST_HOLD * 2 ** min(trips - 1, 10), LONGEST_HOLD)
        since = self.since if self.state is State.WORLD else now
        return replace(self, state=State.WORLD, since=since, why=why, held=held, trips=trips, outcomes=())


@dataclass(frozen=True, slots=True)
class Change:
    """A list has come from one state into another."""

    target: Target
    before: Health
    after: Health


_WELL = frozenset({Outcome.GOOD, Outcome.SLOW})
_BECOMES = {
    Outcome.SILENT: State.DEAD,
    Outcome.EMPTY: State.DEAD,
    Outcome.WORLD: State.WORLD,
    Outcome.REFUSED: State.REFUSES,
}
_ENOUGH = {State.DEAD: (3, 5), State.WORLD: (2, 3), State.REFUSES: (2, 3)}
"""How many of how many tests bring a list into a state: k of n."""
_TOO_OFTEN = 3
"""So many tests of the last `KEPT` that were not good make a list degraded."""


def settle(before: State, outcomes: Sequence[Outcome], *, seen: bool) -> State:
    """The state after these outcomes, the newest last; `seen` is whether the test point ever was listed.

    A list that never had a test point is empty when it is tested, and well.
    """
    kinds = [None if each is Outcome.EMPTY and not seen else _BECOMES.get(each) for each in outcomes]
    for state, (enough, among) in _ENOUGH.items():
        if kinds[-1] is state and kinds[-among:].count(state) >= enough:
            return state
    if kinds[-1] is not None and not before.votes:
        return before
    back = not before.votes
    if back and not (len(kinds) >= 2 and kinds[-2] is None):
        return before
    if not seen:
        return State.UNTESTED
    poor = sum(1 for each in outcomes if each not in _WELL)
    slow = outcomes.count(Outcome.SLOW)
    if back:
        return State.OK
    if poor + slow >= _TOO_OFTEN:
        return State.DEGRADED
    if before is State.DEGRADED and not (len(outcomes) >= 3 and all(each is Outcome.GOOD for each in outcomes[-3:])):
        return before
    return before if kinds[-1] is not None else State.OK


class _Why(dict[tuple[State, Outcome], str]):
    def __missing__(self, key: tuple[State, Outcome]) -> str:
        state, outcome = key
        if state is State.OK:
            return "it passes its tests"
        if state is State.UNTESTED:
            return "it answers, but has no test point"
        if state is State.DEGRADED:
            return "some of its last tests failed or were slow"
        if state is State.DEAD:
            return "its test point is not listed any more" if outcome is Outcome.EMPTY else "it does not answer"
        if state is State.REFUSES:
            return "it says that it will not answer us"
        return "it lists what cannot be listed"


_WHY = _Why()


def to_note(health: Health) -> str:
    """As JSON for the store. Which tests led there is not kept."""
    return json.dumps(
        {
            "state": health.state.value,
            "since": health.since,
            "why": health.why,
            "seen": health.seen,
            "held": health.held,
            "trips": health.trips,
        }
    )


def from_note(text: str) -> Health:
    """ValueError for anything that `to_note` did not write."""
    try:
        read: Any = read_json(text)
        return Health(
            State(read["state"]),
            float(read["since"]),
            str(read["why"])[:200],
            seen=bool(read["seen"]),
            held=float(read["held"]),
            trips=int(read["trips"]),
        )
    except (KeyError, TypeError, OverflowError) as wrong:
        raise ValueError(f"not the health of a list: {type(wrong).__name__}") from wrong


def targets_of(lists: Iterable[DnsList], families: Sequence[Family]) -> list[Target]:
    """What is to be tested of these lists: each family that they are asked in."""
    return [Target(each, family) for each in lists for family in each.families if family in families]


def no_answer(answer: Answer) -> str:
    """Why an answer is none, in a word for people."""
    return {Status.REFUSED: "refused by the nameserver", Status.TIMEOUT: "silent"}.get(
        answer.status, answer.status.value
    )
