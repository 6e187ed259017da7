"""Asks the lists for the checks: who has a vote is asked, and a new listing counts only after a control question.

A list that begins to list everything would do so between two tests of its health. So after each new listing the list
is asked for something that cannot be listed, and only if it does not list that either the listing stands.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from gatekeeper import log
from gatekeeper.dns.answer import Answer, Resolver, Status
from gatekeeper.dns.breaker import Breaker
from gatekeeper.dns.health import Health, State, key_of
from gatekeeper.dns.lists import DnsList, Family, Listing, judge
from gatekeeper.dns.together import ask_unknown
from gatekeeper.metrics import LIST_ANSWERS, LIST_CONTROLS, LIST_SECONDS, LIST_TRIPS

TOGETHER: Final = 0.02
"""Seconds between two control questions to one list; listings that come meanwhile share the next one."""
MOST_CHECKED: Final = 20_000
MOST_FAMILIAR: Final = 10_000
"""Clients whose mail was taken that are kept in mind; those of whom nothing came for longest go first."""
SILENT_IN_A_ROW: Final = 10
"""Answers in a row that a list fails to give before its test is asked for early."""
LOGGED_EVERY: Final = 60.0
_REFUSED = "refused by answering "
_NO_ANSWER = frozenset({Status.TIMEOUT.value, Status.REFUSED.value, Status.NONSENSE.value})


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A question to a list: `labels` stand before its zone (reversed octets, a domain, a digest).

    `about` is what they stand for, where lists have different labels for the same.
    """

    list: DnsList
    labels: str
    about: str = ""

    @property
    def name(self) -> str:
        return f"{self.labels}.{self.list.suffix}"

    @property
    def subject(self) -> str:
        return self.about or self.labels


@dataclass(frozen=True, slots=True)
class Vote:
    """What a list said. `why` is empty, or why nothing is known; then nothing is listed.

    `ttl` in seconds. `seconds` is how long the question took; None where none was sent for it.
    """

    inquiry: Inquiry
    listed: tuple[Listing, ...] = ()
    ttl: float = 0.0
    why: str = ""
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that mail has shown about a list between two tests. `trips`: the list loses its vote at once."""

    key: str
    why: str
    trips: bool = False


class _Known:
    """What the desk knows about a list in one family."""

    __slots__ = ("breaker", "control", "health", "logged", "sent", "silent")

    def __init__(self) -> None:
        self.health = Health()
        self.breaker = Breaker()
        self.control: asyncio.Task[str] | None = None  # not sent yet
        self.sent = -TOGETHER
        self.silent = 0
        self.logged = -LOGGED_EVERY


class Desk:
    """The one place that asks lists. `clock` gives seconds and never jumps.

    `resolver` is asked control questions, which no message's budget pays for; where it is None, the caller's is.
    """

    def __init__(
        self,
        resolver: Resolver | None = None,
        *,
        hurry: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
        dice: random.Random | None = None,
    ) -> None:
        self._resolver = resolver
        self._hurry = hurry
        self._clock = clock
        self._dice = dice or random.Random()  # noqa: S311  # a control name has to be new, not secret
        self._known: dict[str, _Known] = {}
        self._checked: dict[str, tuple[float, str]] = {}  # a listing's name: until when, and why it does not count
        self._alarms: dict[str, Alarm] = {}
        self._familiar: OrderedDict[int, int] = OrderedDict()  # a client: its network, both hashed: half the memory

    # --- health

    def learn(self, healths: Mapping[str, Health]) -> None:
        """How lists stand, by `key_of`; those that are not named stay as they were."""
        for key, health in healths.items():
            self._of(key).health = health

    def health(self, each: DnsList, family: Family) -> Health:
        return self._of(key_of(each, family)).health

    def take_alarms(self) -> list[Alarm]:
        """What has shown since the last call; one of each list."""
        alarms, self._alarms = self._alarms, {}
        return list(alarms.values())

    def wronged(self, zones: Iterable[str], family: Family, *, sender: str, now: float) -> None:
        """These lists (zones as shown) named a sender that authenticates and has been good for long."""
        for zone in zones:
            key = f"{family.value} {zone}"
            why = self._of(key).breaker.wronged(sender, now=now)
            if why:
                self._trip(key, why, "wronged")

    def took_mail_of(self, client: str, network: str) -> None:
        """That client's mail was taken: what lists say about it from now on tells about the lists."""
        whom = hash(client)
        self._familiar[whom] = hash(network)
        self._familiar.move_to_end(whom)
        if len(self._familiar) > MOST_FAMILIAR:
            self._familiar.popitem(last=False)

    # --- asking

    async def poll(
        self, inquiries: Sequence[Inquiry], family: Family, *, resolver: Resolver, client: str = ""
    ) -> list[Vote]:
        """What each list says, in their order. Lists without a vote are not asked; nothing is raised.

        `client` is whose mail it is about, as `took_mail_of` names it.
        """
        votes: list[Vote] = []
        unknown: list[int] = []
        for number, inquiry in enumerate(inquiries):
            why = self._kept_out(inquiry.list, family)
            answer = None if why else resolver.cached(inquiry.name, "A")
            if answer is None and not why:
                unknown.append(number)
            votes.append(Vote(inquiry, why=why) if answer is None else self._read(inquiry, family, answer))
        if unknown:
            questions = [(inquiries[number].name, "A") for number in unknown]
            began = self._clock()
            ended: dict[str, float] = {}

            def took(name: str) -> None:
                ended[name] = self._clock() - began

            different = list(dict.fromkeys(questions))
            answers = await ask_unknown(resolver, different, hurry=self._hurry, took=took)
            waited = self._clock() - began
            for number, question in zip(unknown, questions, strict=True):
                answer = answers[question]
                seconds = None if answer.status is Status.BUDGET else round(ended.get(question[0], waited), 3)
                votes[number] = self._read(inquiries[number], family, answer, seconds)
            self._notice(votes, unknown, family, self._familiar.get(hash(client)))
        listing = [number for number, vote in enumerate(votes) if vote.listed]
        if listing:
            whys = await self._control([votes[number] for number in listing], family, resolver)
            for number, why in zip(listing, whys, strict=True):
                if why:
                    votes[number] = Vote(
                        inquiries[number], ttl=votes[number].ttl, why=why, seconds=votes[number].seconds
                    )
        for vote in votes:
            LIST_ANSWERS.count(vote.inquiry.list.rule, _result(vote))
        return votes

    def _notice(self, votes: Sequence[Vote], new: Iterable[int], family: Family, network: int | None) -> None:
        """What new answers tell about the lists themselves. `network` is a familiar client's, None for others."""
        listed = Counter([v.inquiry.subject for v in votes if v.listed and not v.inquiry.list.welcomes])
        lone: dict[str, bool] = {}
        for number in new:
            vote = votes[number]
            each = vote.inquiry.list
            if vote.seconds is None:
                continue
            LIST_SECONDS[each.rule].observe(vote.seconds)
            key = key_of(each, family)
            known = self._of(key)
            if vote.why in _NO_ANSWER:
                known.silent += 1
                if known.silent == SILENT_IN_A_ROW:
                    self._alarm(key, f"{SILENT_IN_A_ROW} questions in a row had no answer")
                continue
            known.silent = 0
            if not vote.why and not each.welcomes:
                lone[key] = lone.get(key, False) or (bool(vote.listed) and listed[vote.inquiry.subject] == 1)
        if network is None:
            return  # fifty bots that one list alone names would take its vote away when it is needed most
        # Once for all that is asked of a list together, or one message full of names would be as much as fifty clients.
        for key, one in lone.items():
            why = self._of(key).breaker.saw(network, lone=one)
            if why:
                self._trip(key, why, "jump")

    def _kept_out(self, each: DnsList, family: Family) -> str:
        """Why a list has no vote now, or ""."""
        state = self._of(key_of(each, family)).health.state
        if not state.votes:
            return f"has no vote: {state.value}"
        if each.welcomes and state is not State.OK:
            return f"{state.value}: it excuses nobody"
        return ""

    def _read(self, inquiry: Inquiry, family: Family, answer: Answer, seconds: float | None = None) -> Vote:
        if not answer.certain:
            return Vote(inquiry, why=answer.status.value, seconds=seconds)
        if not answer.records:
            return Vote(inquiry, ttl=answer.ttl, seconds=seconds)
        said = judge(answer.records, inquiry.list.meaning)
        if said.refused:
            why = f"{_REFUSED}{', '.join(answer.records[:8])}"
            self._alarm(key_of(inquiry.list, family), why)
            return Vote(inquiry, ttl=answer.ttl, why=why, seconds=seconds)
        return Vote(inquiry, said.listed, answer.ttl, seconds=seconds)

    # --- the control question

    async def _control(self, votes: Sequence[Vote], family: Family, resolver: Resolver) -> list[str]:
        """Why each listing does not count, or ""."""
        now = self._clock()
        whys: list[str] = []
        waiting: dict[int, asyncio.Future[str]] = {}
        for number, vote in enumerate(votes):
            until, why = self._checked.get(vote.inquiry.name, (0.0, ""))
            whys.append(why)
            if until <= now:
                waiting[number] = self._next_control(vote.inquiry.list, family, resolver)
        for number, control in waiting.items():
            whys[number] = await asyncio.shield(control)
            self._keep(votes[number], whys[number], now)
        return whys

    def _next_control(self, each: DnsList, family: Family, resolver: Resolver) -> asyncio.Future[str]:
        """The control question that is sent next: whoever waits for it had its answer before it was sent."""
        known = self._of(key_of(each, family))
        if known.control is None:
            known.control = asyncio.create_task(
                self._ask_control(known, each, family, self._resolver or resolver), name="dns list control"
            )
        return known.control

    async def _ask_control(self, known: _Known, each: DnsList, family: Family, resolver: Resolver) -> str:
        wait = known.sent + TOGETHER - self._clock()
        if wait > 0:
            await asyncio.sleep(min(wait, TOGETHER))
        known.control = None  # from here on it is being sent: who comes now waits for another
        known.sent = self._clock()
        name = f"{each.control_labels(family, self._dice)}.{each.suffix}"
        answer = await resolver.ask(name, "A")
        if answer.certain and not answer.records:
            LIST_CONTROLS["passed"].inc()
            return ""
        result = "listed" if answer.records else "silent"
        LIST_CONTROLS[result].inc()
        said = ", ".join(answer.records[:3]) if answer.records else answer.status.value
        shown = name.removesuffix(each.suffix) + each.shown
        why = f"its control question failed: {shown} was {'listed' if answer.records else 'not answered'} ({said})"
        if known.sent - known.logged >= LOGGED_EVERY:
            known.logged = known.sent
            log.event(
                "list_control_failed", level=logging.WARNING, list=each.rule, zone=each.shown, result=result, said=said
            )
        self._alarm(key_of(each, family), why)
        return why

    def _keep(self, vote: Vote, why: str, now: float) -> None:
        """The result belongs to the listing and lives as long as it: a list that is well again did not say it again."""
        if len(self._checked) >= MOST_CHECKED:
            for gone in list(self._checked)[: MOST_CHECKED // 2]:
                del self._checked[gone]
        self._checked.pop(vote.inquiry.name, None)
        self._checked[vote.inquiry.name] = (now + vote.ttl, why)

    # --- alarms

    def _trip(self, key: str, why: str, kind: str) -> None:
        LIST_TRIPS[kind].inc()
        known = self._of(key)
        known.health = replace(known.health, state=State.WORLD, why=why)  # until whoever tests it has heard of this
        log.event("list_tripped", level=logging.WARNING, list=key, why=why)
        self._alarms[key] = Alarm(key, why, trips=True)

    def _alarm(self, key: str, why: str) -> None:
        self._alarms.setdefault(key, Alarm(key, why))

    def _of(self, key: str) -> _Known:
        known = self._known.get(key)
        if known is None:  # keys are lists of the configuration: no stranger makes more
            known = self._known[key] = _Known()
        return known


def _result(vote: Vote) -> str:
    """As metrics count it."""
    if not vote.why:
        return "listed" if vote.listed else "not_listed"
    return "refused" if vote.why.startswith(_REFUSED) else "unanswered"
