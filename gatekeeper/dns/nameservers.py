"""The nameservers that are asked, through aiodns (c-ares): a channel and a health for each, and how answers are read.

One channel for each server instead of one for all: so we know which of them answers, leave out the sick one instead of
waiting for it first, and take whichever answer comes first once a server is slow.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Final

import aiodns
import pycares
from aiodns import error

from gatekeeper import log
from gatekeeper.dns.answer import Answer, Status, end_of_aliases
from gatekeeper.dns.stub import Stub
from gatekeeper.metrics import DNS_NAMESERVER_UP

SICK_AFTER: Final = 5
"""Questions in a row without an answer that make a server sick; some names have no answer anywhere."""
FIRST_REST: Final = 1.0
LONGEST_REST: Final = 30.0
"""Seconds that a sick server is left alone; twice as long each time."""
PORT_KEPT: Final = 200
"""Questions from one UDP port."""


class Nameserver:
    """One server: its channel, and how it has been. Belongs to the loop that asked first."""

    def __init__(self, address: str, *, timeout: float, tries: int, fresh_every: float) -> None:
        """`address` as c-ares takes it, "" for whatever c-ares finds by itself. `fresh_every`: see `_fresh_line`."""
        self.address = address
        self._timeout = timeout
        self._tries = tries
        self._fresh_every = fresh_every
        self._line: _Line | None = None
        self._retired: set[_Line] = set()  # with questions under way
        self._failures = 0
        self._rest = FIRST_REST
        self._due = 0.0  # when a sick one is tried again
        self.sick = False
        # The plain way to it; an address of one link alone, or that c-ares finds by itself, has none.
        self.stub = Stub(*host_and_port(address), wait=timeout) if address and "%" not in address else None
        DNS_NAMESERVER_UP.declare([self.shown])
        DNS_NAMESERVER_UP[self.shown].set(1)

    @property
    def shown(self) -> str:
        return self.address or "system"

    async def ask(self, name: str, rtype: str, now: float) -> Answer:
        """One question to this server alone, sent again as c-ares thinks fit. The TTL is the answer's own."""
        try:
            line = await self._fresh_line(now)
        except (pycares.AresError, OSError):  # no descriptors left, for example
            return Answer(Status.TIMEOUT)
        line.pending += 1
        line.asked += 1
        try:
            return read(name, rtype, await line.channel.query_dns(name, rtype))
        except error.DNSError as failure:
            return Answer(_ENDINGS.get(failure.args[0], Status.NONSENSE))
        finally:
            line.pending -= 1
            if line in self._retired:
                await self._retire(line)

    def saw(self, status: Status, now: float) -> None:
        """How a question to it ended."""
        if status in _HEALTHY:
            self._failures = 0
            if self.sick:
                self.sick = False
                self._rest = FIRST_REST
                DNS_NAMESERVER_UP[self.shown].set(1)
                log.event("nameserver_back", server=self.shown)
            return
        self._failures += 1
        if self._failures >= SICK_AFTER and not self.sick:
            self.sick = True
            self._due = now + self._rest
            DNS_NAMESERVER_UP[self.shown].set(0)
            log.event("nameserver_sick", level=logging.WARNING, server=self.shown, last=status.value)

    def take_trial(self, now: float) -> bool:
        """Whether it is sick and one more question is due to see whether it still is; the next is due later."""
        if not self.sick or now < self._due:
            return False
        self._rest = min(self._rest * 2, LONGEST_REST)
        self._due = now + self._rest
        return True

    async def close(self) -> None:
        """What is under way ends with TIMEOUT. May be called twice."""
        if self.stub is not None:
            self.stub.close()
        if self._line is not None:
            await self._retire(self._line)
            self._line = None
        for line in self._retired:
            line.channel.cancel()

    async def _fresh_line(self, now: float) -> _Line:
        """The c-ares channel, renewed now and then.

        c-ares has a cache that pycares cannot switch off; it keeps "no such record" for up to an hour whatever the
        zone says. A new channel costs a tenth of a millisecond and has forgotten everything.
        """
        old = self._line
        if old is None or now - old.opened >= self._fresh_every or old.asked >= PORT_KEPT:
            self._line = _Line(self.address, self._timeout, self._tries, now)
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


_HEALTHY = frozenset({Status.OK, Status.NODATA, Status.NXDOMAIN})


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

    @property
    def servers(self) -> Sequence[str]:
        """Those it found in resolv.conf, as c-ares writes them: "127.0.0.1:53", "[::1]:53"."""
        return tuple(self._channel.servers)


class _Line:
    """A c-ares channel, when it was opened and how many questions it has had and has under way."""

    __slots__ = ("asked", "channel", "opened", "pending")

    def __init__(self, address: str, timeout: float, tries: int, now: float) -> None:
        # NOCHECKRESP: a refusal is an answer; c-ares would ask the same server again, and there may be a better one.
        # STAYOPEN: a socket for each question is half of its cost. A port is kept for some questions only: whoever
        # would forge an answer is to guess it anew.
        flags = pycares.ARES_FLAG_EDNS | pycares.ARES_FLAG_NOCHECKRESP | pycares.ARES_FLAG_STAYOPEN
        self.channel = _OnTheLoop([address] if address else None, timeout=timeout, tries=tries, flags=flags)
        self.opened = now
        self.asked = 0
        self.pending = 0


async def system_nameservers() -> tuple[str, ...]:
    """What resolv.conf names, each as "address:port"; 127.0.0.1 where it names none. Empty where nothing can be had."""
    try:
        found = _OnTheLoop(None)
    except (pycares.AresError, OSError):
        return ()
    try:
        return tuple(dict.fromkeys(found.servers))
    finally:
        await found.close()


def parse_nameserver(text: str) -> str:
    """A nameserver as c-ares wants it; written as "127.0.0.1:53", "[::1]:53" or an address alone. ValueError."""
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


def host_and_port(nameserver: str) -> tuple[str, int]:
    """Of "address:port" as `parse_nameserver` gives it."""
    host, _, port = nameserver.rpartition(":")
    return host.strip("[]").partition("%")[0], int(port)


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

# The octets that c-ares sends; it refuses a name with any other. A plain question may have all that can be seen, as
# they stand in the macros of SPF, but for the backslash, which in a name that came from DNS is no octet of it.
_SENDABLE = re.compile(r"[a-z0-9_./*-]+")
_VISIBLE = re.compile(r"[!-\[\]-~]+")
_POSSIBLE = re.compile(r"(?!.{254})[a-z0-9_/*-]{1,63}(?:\.[a-z0-9_/*-]{1,63})*")


def impossible(name: str) -> Status | None:
    """Why a name (lower case, without the last dot) cannot be asked for, or None (RFC 1035 §2.3.4).

    A name that breaks the lengths cannot exist. One with octets that are not sent might: that is no answer.
    """
    if _POSSIBLE.fullmatch(name):
        return None
    if len(name) > 253 or not all(0 < len(label) < 64 for label in name.split(".")):
        return Status.NXDOMAIN
    return None if _VISIBLE.fullmatch(name) else Status.NONSENSE


def only_plainly(name: str) -> bool:
    """Whether c-ares would not ask for a name that can be asked for."""
    return _SENDABLE.fullmatch(name) is None


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


def read(name: str, rtype: str, result: pycares.DNSResult) -> Answer:
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
    end = end_of_aliases(name, aliases)
    if end is None:
        return Answer(Status.NONSENSE)
    owner, ttls = end
    found = [record for record in result.answer if record.type == number and _name(record.name) == owner]
    ttls += (record.ttl for record in found)
    if found:
        return Answer(Status.OK, tuple(value(record.data) for record in found), float(min(ttls)))
    return Answer(Status.NODATA if aliases or not result.answer else Status.NONSENSE)
