"""One shared resolver: a cache with TTLs, single flight, deadlines, healthy servers first; above aiodns (c-ares)."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Final

from gatekeeper.dns.answer import Answer, Question, Resolver, Status
from gatekeeper.dns.budget import Budget, BudgetedResolver
from gatekeeper.dns.nameservers import (
    Nameserver,
    impossible,
    only_plainly,
    parse_nameserver,
    system_nameservers,
)
from gatekeeper.dns.places import Places
from gatekeeper.dns.stub import CLOSED, LATE, ODD, Unanswered
from gatekeeper.dns.together import ask_all
from gatekeeper.metrics import DNS_CACHE, DNS_FURTHER, DNS_QUESTIONS
from gatekeeper.model import Duration, setting

__all__ = [  # whole in one place
    "AiodnsResolver",
    "Answer",
    "Budget",
    "BudgetedResolver",
    "Question",
    "Resolver",
    "Settings",
    "Status",
    "ask_all",
]

STALE_TTL: Final = 30.0
"""Seconds for which an answer past its time is given again before the servers are asked once more (RFC 8767 §5)."""
_NOBODY: Final = Answer(Status.TIMEOUT)
_Entry = tuple[float, Answer, float]
"""Until when an answer is good, the answer, and until when it may stand in where no server answers."""


@dataclass(frozen=True, slots=True)
class Settings:
    """[dns]"""

    nameservers: tuple[str, ...] = setting(
        (), 'Who is asked, as "address:port"; empty means the nameservers of /etc/resolv.conf.'
    )
    timeout: Duration = setting(
        1.0, "How long the first try of a question waits, and how long one server may take until another is asked too."
    )
    tries: int = setting(4, "How often a question is sent before it is given up, after timeout x tries at the latest.")
    hurry: Duration = setting(
        0.5,
        "Once two thirds of the lists that are asked together have answered, how long the others may still take (or "
        "three times as long as those took, if that is more).",
    )
    ttl_floor: Duration = setting(5.0, "An answer is kept at least this long, whatever its TTL.")
    ttl_ceiling: Duration = setting(3600.0, "An answer is kept no longer than this, whatever its TTL.")
    negative_ttl: Duration = setting(60.0, "How long it is remembered that a name or a record does not exist.")
    failure_ttl: Duration = setting(2.0, "How long a question that found no answer is not asked again.")
    stale_for: Duration = setting(
        0.0, "How long past its time an answer is still used where no server answers; 0 is never (RFC 8767)."
    )
    cache_size: int = setting(50_000, "How many answers each worker keeps.")
    concurrency: int = setting(500, "How many questions each worker has under way at once; others wait their turn.")
    test_every: Duration = setting(
        3600.0, "How often the nameservers are tested: do they answer, invent answers, or belong to everybody."
    )

    lists_test_every: Duration = setting(
        300.0, "How often each DNS list is tested for whether it still lists what it must and nothing that it must not."
    )

    def __post_init__(self) -> None:
        for server in self.nameservers:
            parse_nameserver(server)
        if self.timeout <= 0 or not 1 <= self.tries <= 10:
            raise ValueError("timeout must be above 0 and tries from 1 to 10")
        if not 0 <= self.ttl_floor <= self.ttl_ceiling:
            raise ValueError("ttl_floor must be at least 0 and at most ttl_ceiling")
        if self.negative_ttl < 1 or not 0 <= self.failure_ttl <= 60:
            raise ValueError("negative_ttl must be at least 1 second, and failure_ttl from 0 to 60 seconds")
        if self.cache_size < 2 or self.concurrency < 1:
            raise ValueError("cache_size must be at least 2 and concurrency at least 1")
        if self.hurry <= 0 or self.stale_for > 7 * 86400:
            raise ValueError('hurry must be above 0, and stale_for at most "7d"')
        if self.test_every < 60 or self.lists_test_every < 10:
            raise ValueError('test_every must be at least "1m", and lists_test_every at least "10s"')


class AiodnsResolver:
    """The resolver in life. One for each process; every method belongs to the loop that asked first.

    `clock` gives seconds and never jumps; it decides about the cache and the rest of sick servers only.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._patience = settings.timeout * settings.tries
        self._places = Places(settings.concurrency, self._patience)
        # Two generations instead of a list by age: what was not asked for while one filled up goes with it.
        self._young: dict[Question, _Entry] = {}
        self._old: dict[Question, _Entry] = {}
        self._generation = settings.cache_size // 2
        self._flights: dict[Question, asyncio.Future[Answer]] = {}
        self._servers: list[Nameserver] = [self._server(parse_nameserver(each)) for each in settings.nameservers]
        self._named_until = math.inf if self._servers else -math.inf
        self._turn = 0
        self._trials: set[asyncio.Task[Answer]] = set()
        self._further: set[asyncio.Task[Answer]] = set()  # questions that had no plain answer
        self._closed = False

    def cached(self, name: str, rtype: str) -> Answer | None:
        question = (name.lower().removesuffix("."), rtype)
        entry = self._entry(question)
        if entry is None:
            return None
        left = entry[0] - self._clock()
        if left <= 0:
            return None
        _count_hit()
        answer = entry[1]
        return Answer(answer.status, answer.records, left)

    async def ask(self, name: str, rtype: str) -> Answer:
        started = self.start(name, rtype)
        # Whoever gives up waiting does not take the answer from the others.
        return started if isinstance(started, Answer) else await asyncio.shield(started)

    def start(self, name: str, rtype: str) -> Answer | asyncio.Future[Answer]:
        answer = self.cached(name, rtype)
        if answer is not None:
            return answer
        name = name.lower().removesuffix(".")
        why_not = impossible(name)
        if why_not is not None:
            return Answer(why_not, ttl=self._settings.negative_ttl)
        question = (name, rtype)
        flight = self._flights.get(question)
        if flight is None:
            if self._closed:
                return Answer(Status.TIMEOUT)
            _count_miss()
            flight = self._take_off(question)
        else:
            _count_joined()
        return flight

    async def nameservers(self) -> tuple[str, ...]:
        """Who is asked, each as "address:port"."""
        return tuple(server.address for server in await self._named())

    async def close(self) -> None:
        """Give up what is under way (TIMEOUT) and the sockets. Later questions get TIMEOUT. May be called twice."""
        self._closed = True
        self._places.close()
        for server in self._servers:
            await server.close()
        waiting = [*self._flights.values(), *self._trials, *self._further]
        if waiting:
            await asyncio.wait(waiting)

    def _take_off(self, question: Question) -> asyncio.Future[Answer]:
        """Ask as soon as there is a place, for as long as anybody has patience."""
        loop = asyncio.get_running_loop()
        flight: asyncio.Future[Answer] = loop.create_future()
        self._flights[question] = flight
        until = loop.time() + self._patience
        if self._places.take():
            self._send(question, flight, until)
        else:
            self._places.wait(partial(self._turn_came, question, flight, until))
        return flight

    def _turn_came(self, question: Question, flight: asyncio.Future[Answer], until: float, got: bool) -> None:
        if not got:
            self._land(question, flight, Answer(Status.TIMEOUT))
            return
        # A stub waits for `timeout`, whoever it asks for: it would be too long where less is left.
        left = until - asyncio.get_running_loop().time()
        self._send(question, flight, until, plainly=left >= self._settings.timeout)

    def _send(self, question: Question, flight: asyncio.Future[Answer], until: float, *, plainly: bool = True) -> None:
        """Ask plainly, which needs no task; through c-ares where that cannot be. A place is taken."""
        now = self._clock()
        if self._closed:
            self._land(question, flight, Answer(Status.TIMEOUT))
            self._places.give_back()
            return
        if now >= self._named_until:
            self._go_on(question, flight, until, self._ask_named(question))
            return
        servers = self._in_turn(self._servers, question, now)
        if only_plainly(question[0]):
            self._go_on(question, flight, until, self._ask_only_plainly(servers, question))
            return
        first = servers[0]
        stub = first.stub if plainly and not first.sick else None
        if stub is None or not stub.ask(*question, partial(self._told, question, flight, servers, until)):
            self._go_on(question, flight, until, self._race(servers, question))

    def _told(
        self,
        question: Question,
        flight: asyncio.Future[Answer],
        servers: list[Nameserver],
        until: float,
        how: Answer | Unanswered,
    ) -> None:
        """What became of a plain question to the first of the servers; `until` (the loop's) it may be asked further."""
        answer = how if isinstance(how, Answer) else Answer(Status.TIMEOUT)
        if how is ODD or (how is LATE and self._settings.tries > 1):
            further = self._race(servers, question, abreast=2 if how is LATE else 1)
            DNS_FURTHER["late" if how is LATE else "odd"].inc()
            self._go_on(question, flight, until, further)
            return
        if how is not CLOSED:
            servers[0].saw(answer.status, self._clock())
        if isinstance(how, Answer) and not answer.certain and len(servers) > 1:
            DNS_FURTHER["error"].inc()
            self._go_on(question, flight, until, self._race(servers[1:], question, worst=answer))
            return
        self._land(question, flight, answer)
        self._places.give_back()

    def _go_on(
        self,
        question: Question,
        flight: asyncio.Future[Answer],
        until: float,
        further: Coroutine[None, None, Answer],
    ) -> None:
        task = asyncio.create_task(self._ask_further(further, until), name="dns further")
        self._further.add(task)
        task.add_done_callback(partial(self._asked_further, question, flight))

    async def _ask_further(self, further: Coroutine[None, None, Answer], until: float) -> Answer:
        try:
            async with asyncio.timeout_at(until):
                return await further
        except TimeoutError:
            return Answer(Status.TIMEOUT)

    def _asked_further(self, question: Question, flight: asyncio.Future[Answer], task: asyncio.Task[Answer]) -> None:
        self._further.discard(task)
        if not task.cancelled() and task.exception() is None:
            self._land(question, flight, task.result())
        else:
            del self._flights[question]
            if not flight.done():
                error = None if task.cancelled() else task.exception()
                flight.set_exception(error) if error is not None else flight.cancel()
        self._places.give_back()

    def _land(self, question: Question, flight: asyncio.Future[Answer], answer: Answer) -> None:
        """Its end, however it came."""
        del self._flights[question]
        answer = self._kept(question, answer)
        if not flight.done():
            flight.set_result(answer)

    def _kept(self, question: Question, answer: Answer) -> Answer:
        """The answer as it is given and remembered."""
        DNS_QUESTIONS[answer.status.value].inc()
        answer = Answer(answer.status, answer.records, self._lifetime(answer))
        now = self._clock()
        end = now + answer.ttl + (self._settings.stale_for if answer.certain else 0.0)
        if not answer.certain and self._settings.stale_for:
            answer, end = self._stale(question, now) or (answer, end)
        if answer.ttl > 0:
            self._keep(question, (now + answer.ttl, answer, end))
        return answer

    async def _ask_named(self, question: Question) -> Answer:
        """Ask the system's nameservers, once they are known."""
        servers = await self._named()
        if self._closed:
            return Answer(Status.TIMEOUT)
        servers = self._in_turn(servers, question, self._clock())
        if only_plainly(question[0]):
            return await self._ask_only_plainly(servers, question)
        return await self._race(servers, question)

    async def _ask_only_plainly(self, servers: list[Nameserver], question: Question) -> Answer:
        """For a name that c-ares does not send: one server after another, until `tries` questions were sent.

        What would need c-ares (TCP, an odd packet) is no answer, and is not held against the server: it is a stranger
        who chose the name.
        """
        left = list(servers)
        worst = Answer(Status.NONSENSE)
        for turn in range(self._settings.tries):
            if not left:
                break
            server = left[turn % len(left)]
            how = await _plain(server, question)
            if isinstance(how, Answer):
                server.saw(how.status, self._clock())
                if how.certain:
                    return how
                left.remove(server)
                worst = how
            elif how is CLOSED:
                return Answer(Status.TIMEOUT)
            elif how is LATE:
                worst = Answer(Status.TIMEOUT)
        return worst

    async def _try(self, server: Nameserver, question: Question) -> Answer:
        try:
            answer = await server.ask(*question, self._clock())
        except asyncio.CancelledError:  # another was faster, or nobody waits any longer
            server.saw(Status.TIMEOUT, self._clock())
            raise
        server.saw(answer.status, self._clock())
        return answer

    async def _race(
        self, servers: list[Nameserver], question: Question, *, abreast: int = 1, worst: Answer = _NOBODY
    ) -> Answer:
        """One server after another; a slow one is waited for no longer than `timeout` before the next is asked too.

        So many begin `abreast`. `worst` is what one said that was asked before.
        """
        if len(servers) == 1 and worst is _NOBODY:
            return await self._try(servers[0], question)
        servers = list(servers)
        running: set[asyncio.Task[Answer]] = set()
        try:
            while servers or running:
                for _ in range(min(abreast, len(servers))):
                    running.add(asyncio.create_task(self._try(servers.pop(0), question), name="dns server"))
                abreast = 1
                done, running = await asyncio.wait(
                    running,
                    timeout=self._settings.timeout if servers else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for task in done:
                    answer = task.result()
                    if answer.certain:
                        return answer
                    if worst.status is Status.TIMEOUT:
                        worst = answer
            return worst
        finally:
            for task in running:
                task.cancel()

    def _in_turn(self, servers: list[Nameserver], question: Question, now: float) -> list[Nameserver]:
        """The healthy ones, a different one first each time; the sick ones last, and on trial now and then."""
        if len(servers) == 1:
            return servers
        self._turn += 1
        first = self._turn % len(servers)
        rotated = servers[first:] + servers[:first]
        for server in () if only_plainly(question[0]) else rotated:  # a trial is c-ares'
            if server.take_trial(now):
                trial = asyncio.create_task(self._try(server, question), name="dns trial")
                self._trials.add(trial)
                trial.add_done_callback(self._trials.discard)
        return sorted(rotated, key=lambda server: server.sick)

    async def _named(self) -> list[Nameserver]:
        """The servers; those of resolv.conf are looked up anew now and then, as it may have changed."""
        now = self._clock()
        if now >= self._named_until:
            self._named_until = now + self._settings.negative_ttl
            known = {server.address: server for server in self._servers}
            found = await system_nameservers() or tuple(known) or ("",)
            self._servers = [known.pop(a) if a in known else self._server(a) for a in found]
            for gone in known.values():
                await gone.close()
        return self._servers

    def _server(self, address: str) -> Nameserver:
        settings = self._settings
        return Nameserver(address, timeout=settings.timeout, tries=settings.tries, fresh_every=settings.negative_ttl)

    def _lifetime(self, answer: Answer) -> float:
        if answer.status is Status.OK:
            return min(max(answer.ttl, self._settings.ttl_floor), self._settings.ttl_ceiling)
        return self._settings.negative_ttl if answer.certain else self._settings.failure_ttl

    def _stale(self, question: Question, now: float) -> tuple[Answer, float] | None:
        """What was known before its time was over, for another moment, and its end; None where that has come."""
        entry = self._entry(question)
        if entry is None or not entry[1].certain or entry[2] <= now:
            return None
        _, answer, end = entry
        return Answer(answer.status, answer.records, min(STALE_TTL, end - now)), end

    def _entry(self, question: Question) -> _Entry | None:
        entry = self._young.get(question)
        if entry is None:
            entry = self._old.get(question)
            if entry is not None:
                self._keep(question, entry)
        return entry

    def _keep(self, question: Question, entry: _Entry) -> None:
        if len(self._young) >= self._generation:
            self._old = self._young
            self._young = {}
        self._young[question] = entry


async def _plain(server: Nameserver, question: Question) -> Answer | Unanswered:
    """A plain question to that server."""
    told: asyncio.Future[Answer | Unanswered] = asyncio.get_running_loop().create_future()

    def tell(how: Answer | Unanswered) -> None:
        if not told.done():  # nobody waits any longer
            told.set_result(how)

    return await told if server.stub is not None and server.stub.ask(*question, tell) else ODD


_count_hit, _count_joined, _count_miss = (DNS_CACHE[result].inc for result in ("hit", "joined", "miss"))
