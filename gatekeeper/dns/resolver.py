"""One shared resolver: a cache with TTLs, single flight, deadlines and budgets above aiodns (c-ares)."""

from __future__ import annotations

import asyncio
import enum
import ipaddress
import re
import time
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import aiodns
import pycares
from aiodns import error

from gatekeeper.metrics import DNS_CACHE, DNS_QUESTIONS
from gatekeeper.model import Duration, setting


class Status(enum.Enum):
    """How a question ended. Only OK, NODATA and NXDOMAIN are answers; the others are no evidence of anything."""

    OK = "ok"  # there are records
    NODATA = "nodata"  # the name exists, without records of this type
    NXDOMAIN = "nxdomain"  # the name does not exist
    REFUSED = "refused"  # the server will not or cannot say (REFUSED, SERVFAIL, NOTIMP)
    TIMEOUT = "timeout"  # nobody answered in time
    NONSENSE = "nonsense"  # what came was not an answer, or the name cannot be asked for
    BUDGET = "budget"  # not asked: the message's budget is spent


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a question.

    `records` by type: A, AAAA text of an address · TXT bytes, its strings joined · MX (preference, host; "" is the
    null MX of RFC 7505) · PTR, NS, CNAME text of a name, lower case without the last dot, octets that are no letters
    escaped as in a zone file. `ttl` in seconds, what is left of it.
    """

    status: Status
    records: tuple[Any, ...] = ()
    ttl: float = 0.0

    @property
    def certain(self) -> bool:
        """Whether this is an answer at all, be it yes or no."""
        return self.status in _CERTAIN


_CERTAIN = frozenset({Status.OK, Status.NODATA, Status.NXDOMAIN})


Question = tuple[str, str]
"""A name in lower case without its last dot, and a record type."""


class Resolver(Protocol):
    """Who answers questions; `AiodnsResolver` in life, a dict in tests."""

    async def ask(self, name: str, rtype: str) -> Answer:
        """Never raises for anything a name or a peer can do. Equal questions under way share one."""
        ...

    def cached(self, name: str, rtype: str) -> Answer | None:
        """The answer if it needs no question, else None. Saves the caller a task where many are asked at once."""
        ...


@dataclass(frozen=True, slots=True)
class Settings:
    """[dns]"""

    nameservers: tuple[str, ...] = setting(
        (), 'Who is asked, as "address:port"; empty means the nameservers of /etc/resolv.conf.'
    )
    timeout: Duration = setting(1.0, "How long the first try of a question waits; each further try waits longer.")
    tries: int = setting(4, "How often a question is sent before it is given up, after timeout x tries at the latest.")
    ttl_floor: Duration = setting(5.0, "An answer is kept at least this long, whatever its TTL.")
    ttl_ceiling: Duration = setting(3600.0, "An answer is kept no longer than this, whatever its TTL.")
    negative_ttl: Duration = setting(60.0, "How long it is remembered that a name or a record does not exist.")
    failure_ttl: Duration = setting(2.0, "How long a question that found no answer is not asked again.")
    cache_size: int = setting(50_000, "How many answers each worker keeps.")
    concurrency: int = setting(500, "How many questions each worker has under way at once; others wait their turn.")

    def __post_init__(self) -> None:
        for server in self.nameservers:
            _nameserver(server)
        if self.timeout <= 0 or not 1 <= self.tries <= 10:
            raise ValueError("timeout must be above 0 and tries from 1 to 10")
        if not 0 <= self.ttl_floor <= self.ttl_ceiling:
            raise ValueError("ttl_floor must be at least 0 and at most ttl_ceiling")
        if self.negative_ttl < 1 or not 0 <= self.failure_ttl <= 60:
            raise ValueError("negative_ttl must be at least 1 second, and failure_ttl from 0 to 60 seconds")
        if self.cache_size < 2 or self.concurrency < 1:
            raise ValueError("cache_size must be at least 2 and concurrency at least 1")


class AiodnsResolver:
    """The resolver in life. One for each process; every method belongs to the loop that asked first.

    `clock` gives seconds and never jumps; it decides about the cache only.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._patience = settings.timeout * settings.tries
        self._places = asyncio.Semaphore(settings.concurrency)
        # Two generations instead of a list by age: what was not asked for while one filled up goes with it.
        self._young: dict[Question, tuple[float, Answer]] = {}
        self._old: dict[Question, tuple[float, Answer]] = {}
        self._generation = settings.cache_size // 2
        self._flights: dict[Question, asyncio.Task[Answer]] = {}
        self._line: _Line | None = None
        self._retired: set[_Line] = set()  # with questions under way
        self._closed = False

    def cached(self, name: str, rtype: str) -> Answer | None:
        question = (name.lower().removesuffix("."), rtype)
        entry = self._young.get(question)
        if entry is None:
            entry = self._old.get(question)
            if entry is None:
                return None
            self._keep(question, entry)
        left = entry[0] - self._clock()
        if left <= 0:
            return None
        _count_hit()
        answer = entry[1]
        return Answer(answer.status, answer.records, left)

    async def ask(self, name: str, rtype: str) -> Answer:
        answer = self.cached(name, rtype)
        if answer is not None:
            return answer
        name = name.lower().removesuffix(".")
        impossible = _impossible(name)
        if impossible is not None:
            return Answer(impossible, ttl=self._settings.negative_ttl)
        question = (name, rtype)
        flight = self._flights.get(question)
        if flight is None:
            if self._closed:
                return Answer(Status.TIMEOUT)
            _count_miss()
            flight = asyncio.create_task(self._fetch(question), name=f"dns {rtype}")
            self._flights[question] = flight
        else:
            _count_joined()
        # Whoever gives up waiting does not take the answer from the others.
        return await asyncio.shield(flight)

    async def close(self) -> None:
        """Give up what is under way (TIMEOUT) and the sockets. Later questions get TIMEOUT. May be called twice."""
        self._closed = True
        if self._line is not None:
            await self._retire(self._line)
            self._line = None
        for line in self._retired:
            line.channel.cancel()
        if self._flights:
            await asyncio.wait(self._flights.values())

    async def _fetch(self, question: Question) -> Answer:
        """Ask the nameservers, and keep what came of it."""
        try:
            try:
                async with asyncio.timeout(self._patience), self._places:
                    answer = await self._send(question)
            except TimeoutError:
                answer = Answer(Status.TIMEOUT)
            DNS_QUESTIONS[answer.status.value].inc()
            answer = Answer(answer.status, answer.records, self._lifetime(answer))
            if answer.ttl > 0:
                self._keep(question, (self._clock() + answer.ttl, answer))
            return answer
        finally:
            del self._flights[question]

    async def _send(self, question: Question) -> Answer:
        if self._closed:
            return Answer(Status.TIMEOUT)
        name, rtype = question
        try:
            line = await self._fresh_line()
        except (pycares.AresError, OSError):  # no descriptors left, for example
            return Answer(Status.TIMEOUT)
        line.pending += 1
        try:
            return _read(name, rtype, await line.channel.query_dns(name, rtype))
        except error.DNSError as failure:
            return Answer(_ENDINGS.get(failure.args[0], Status.NONSENSE))
        finally:
            line.pending -= 1
            if line in self._retired:
                await self._retire(line)

    async def _fresh_line(self) -> _Line:
        """The c-ares channel, renewed now and then.

        c-ares has a cache that pycares cannot switch off; it keeps "no such record" for up to an hour whatever the
        zone says. A new channel costs a tenth of a millisecond and has forgotten everything.
        """
        now = self._clock()
        old = self._line
        if old is None or now - old.opened >= self._settings.negative_ttl:
            self._line = _Line(self._settings, now)
            if old is not None:
                await self._retire(old)
            return self._line
        return old

    async def _retire(self, line: _Line) -> None:
        """Close a channel as soon as nothing is under way on it."""
        if line.pending:
            self._retired.add(line)
        else:
            self._retired.discard(line)
            await line.channel.close()

    def _lifetime(self, answer: Answer) -> float:
        if answer.status is Status.OK:
            return min(max(answer.ttl, self._settings.ttl_floor), self._settings.ttl_ceiling)
        return self._settings.negative_ttl if answer.certain else self._settings.failure_ttl

    def _keep(self, question: Question, entry: tuple[float, Answer]) -> None:
        if len(self._young) >= self._generation:
            self._old = self._young
            self._young = {}
        self._young[question] = entry


async def ask_all(resolver: Resolver, questions: Iterable[Question]) -> dict[Question, Answer]:
    """The answer to each, asked at once; a task is made only for what is not in the cache."""
    answers: dict[Question, Answer] = {}
    unknown: dict[Question, None] = {}
    for question in questions:
        answer = resolver.cached(*question)
        if answer is None:
            unknown[question] = None
        else:
            answers[question] = answer
    if len(unknown) == 1:
        for question in unknown:
            answers[question] = await resolver.ask(*question)
    elif unknown:
        async with asyncio.TaskGroup() as group:
            tasks = {question: group.create_task(resolver.ask(*question)) for question in unknown}
        answers.update((question, task.result()) for question, task in tasks.items())
    return answers


class Budget:
    """How many questions a message may still cause, over all checks (DNS is asked for whatever a stranger writes)."""

    __slots__ = ("left",)

    def __init__(self, questions: int) -> None:
        self.left = questions


class BudgetedResolver:
    """A resolver that answers BUDGET once the budget is spent. What is in the cache costs nothing."""

    __slots__ = ("_budget", "_resolver")

    def __init__(self, resolver: Resolver, budget: Budget) -> None:
        self._resolver = resolver
        self._budget = budget

    def cached(self, name: str, rtype: str) -> Answer | None:
        return self._resolver.cached(name, rtype)

    async def ask(self, name: str, rtype: str) -> Answer:
        answer = self._resolver.cached(name, rtype)
        if answer is not None:
            return answer
        if self._budget.left <= 0:
            return Answer(Status.BUDGET)
        self._budget.left -= 1
        return await self._resolver.ask(name, rtype)


_count_hit, _count_joined, _count_miss = (DNS_CACHE[result].inc for result in ("hit", "joined", "miss"))


class _OnTheLoop(aiodns.DNSResolver):
    """aiodns whose sockets the loop watches, as it does by itself where c-ares cannot have a thread.

    With the thread each answer has to get Python's lock from a busy loop, and then to wake it: twice the cost of a
    question under load. What the thread does besides, noticing a new resolv.conf, a new channel each minute does too.
    """

    def _make_channel(self, **kwargs: Any) -> tuple[bool, pycares.Channel]:
        here = weakref.ref(self)  # no cycle: the channel is to be closed as soon as nobody has it

        def watch(fd: int, readable: bool, writable: bool) -> None:
            resolver = here()
            if resolver is not None:
                resolver._sock_state_cb(fd, readable, writable)

        return False, pycares.Channel(sock_state_cb=watch, timeout=self._timeout, **kwargs)


class _Line:
    """A c-ares channel, when it was opened and how many of its questions are under way."""

    __slots__ = ("channel", "opened", "pending")

    def __init__(self, settings: Settings, now: float) -> None:
        servers = [_nameserver(server) for server in settings.nameservers] or None
        self.channel = _OnTheLoop(servers, timeout=settings.timeout, tries=settings.tries)
        self.opened = now
        self.pending = 0


# What c-ares says, where it is not simply nonsense.
_ENDINGS = {
    error.ARES_ENODATA: Status.NODATA,
    error.ARES_ENOTFOUND: Status.NXDOMAIN,
    error.ARES_EREFUSED: Status.REFUSED,
    error.ARES_ESERVFAIL: Status.REFUSED,
    error.ARES_ENOTIMP: Status.REFUSED,
    error.ARES_ETIMEOUT: Status.TIMEOUT,
    error.ARES_ECONNREFUSED: Status.TIMEOUT,  # nobody is there
    error.ARES_ECANCELLED: Status.TIMEOUT,  # we closed
    error.ARES_EDESTRUCTION: Status.TIMEOUT,
    error.ARES_ENOMEM: Status.TIMEOUT,
    error.ARES_EFILE: Status.TIMEOUT,
}


def _nameserver(text: str) -> str:
    """A nameserver as c-ares wants it; written as "127.0.0.1:53", "[::1]:53" or an address alone."""
    host, port = text, "53"
    if text.count(":") == 1 or "]:" in text:
        host, _, port = text.rpartition(":")
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
        if not 1 <= int(port) <= 65535:
            raise ValueError
    except ValueError:
        raise ValueError(f'{text!r} is no nameserver; write an address and a port, such as "127.0.0.1:53"') from None
    return f"[{address}]:{int(port)}" if address.version == 6 else f"{address}:{int(port)}"


# The octets that c-ares sends; it refuses a name with any other.
_SENDABLE = re.compile(r"[a-z0-9_./*-]+")


def _impossible(name: str) -> Status | None:
    """Why a name (lower case, without the last dot) cannot be asked for, or None (RFC 1035 §2.3.4).

    A name that breaks the lengths cannot exist. One with octets that c-ares does not send might: that is no answer.
    """
    if len(name) > 253 or not all(0 < len(label) < 64 for label in name.split(".")):
        return Status.NXDOMAIN
    return None if _SENDABLE.fullmatch(name) else Status.NONSENSE


def _name(text: str) -> str:
    return text.lower().removesuffix(".")


# By type: c-ares' number for it, and what a record of it becomes.
_TYPES: dict[str, tuple[int, Callable[[Any], Any]]] = {
    "A": (pycares.QUERY_TYPE_A, lambda data: data.addr),
    "AAAA": (pycares.QUERY_TYPE_AAAA, lambda data: data.addr),
    "TXT": (pycares.QUERY_TYPE_TXT, lambda data: data.data),
    "MX": (pycares.QUERY_TYPE_MX, lambda data: (data.priority, _name(data.exchange))),
    "PTR": (pycares.QUERY_TYPE_PTR, lambda data: _name(data.dname)),
    "NS": (pycares.QUERY_TYPE_NS, lambda data: _name(data.nsdname)),
    "CNAME": (pycares.QUERY_TYPE_CNAME, lambda data: _name(data.cname)),
}
_MOST_ALIASES = 16


def _read(name: str, rtype: str, result: pycares.DNSResult) -> Answer:
    """The records that answer the question: those at its name, or at the end of its chain of aliases.

    The TTL is the smallest on the way. Records that nobody asked for are dropped; nothing but such is no answer.
    """
    number, value = _TYPES[rtype]
    aliases: dict[str, tuple[str, int]] = {}
    if rtype != "CNAME":
        aliases = {
            _name(record.name): (_name(record.data.cname), record.ttl)
            for record in result.answer
            if isinstance(record.data, pycares.CNAMERecordData)
        }
    ttls = []
    owner = name
    for _ in range(_MOST_ALIASES):
        if owner not in aliases:
            break
        owner, ttl = aliases[owner]
        ttls.append(ttl)
    else:
        return Answer(Status.NONSENSE)  # a loop, or near enough
    found = [record for record in result.answer if record.type == number and _name(record.name) == owner]
    ttls += (record.ttl for record in found)
    if found:
        return Answer(Status.OK, tuple(value(record.data) for record in found), float(min(ttls)))
    return Answer(Status.NODATA if aliases or not result.answer else Status.NONSENSE)
