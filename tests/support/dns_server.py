"""A nameserver on loopback, UDP and TCP, that answers from a dict and misbehaves as it is told."""

from __future__ import annotations

import asyncio
import enum
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, cast

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset


class Fault(enum.Enum):
    """What the server does with a question instead of answering it."""

    SILENCE = "silence"  # nothing comes back
    SERVFAIL = "servfail"
    REFUSED = "refused"
    NOTIMP = "notimp"
    GARBAGE = "garbage"  # bytes that are no DNS message, under the right id
    WRONG_ID = "wrong id"  # the answer to another packet
    WRONG_QUESTION = "wrong question"  # an answer whose question section has another name
    WRONG_OWNER = "wrong owner"  # the right question, records of another name
    WRONG_TYPE = "wrong type"  # the right question, a record of another type
    TRUNCATED = "truncated"  # TC and no records over UDP; TCP answers properly
    WILDCARD = "wildcard"  # every address question is answered 127.0.0.2: a DNS list that lists the world
    REFUSING = "refusing"  # every address question is answered 127.255.255.254: a DNS list that refuses us
    HIJACKED = "hijacked"  # every address question is answered with somebody's web server


@dataclass(frozen=True)
class Asked:
    """One packet that came in."""

    name: str
    rtype: str
    transport: str  # "udp" or "tcp"
    id: int = field(default=0, compare=False)  # the same where a question is only sent again


Zone = Mapping[tuple[str, str], Iterable[str] | Fault]


class DnsServer:
    """`async with DnsServer({("a.test", "A"): ["192.0.2.1"]}) as server:` listens at `server.address`.

    The zone maps (name, type) to records as text in zone-file form, or to a `Fault`; `faults` maps a name to one for
    every type, `under` a domain to one for every name below it, and `fault` is one for every question. A CNAME is
    followed as far as the zone goes. Unknown names are NXDOMAIN, known ones NODATA; both come with a SOA whose
    minimum is `negative_ttl`, or without one where that is None. `ttls` gives single record sets another TTL. What
    came in stands in `asked`.
    """

    def __init__(
        self,
        zone: Zone | None = None,
        *,
        faults: Mapping[str, Fault] | None = None,
        ttl: int = 300,
        negative_ttl: int | None = 60,
    ) -> None:
        self.fault: Fault | None = None
        self.ttl = ttl
        self.negative_ttl = negative_ttl
        self.ttls: dict[tuple[str, str], int] = {}
        self.faults: dict[str, Fault] = {_plain(name): fault for name, fault in (faults or {}).items()}
        self.under: dict[str, Fault] = {}
        self.asked: list[Asked] = []
        self._owners: Counter[str] = Counter()
        self._zone: dict[tuple[str, str], list[str] | Fault] = {}
        self._held: dict[str, asyncio.Event] = {}
        self._arrivals = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        for (name, rtype), records in (zone or {}).items():
            self.add(name, rtype, records)

    def add(self, name: str, rtype: str, records: Iterable[str] | Fault, *, ttl: int | None = None) -> None:
        """Set what is answered from now on."""
        key = _plain(name), rtype.upper()
        self._owners[key[0]] += key not in self._zone
        self._zone[key] = records if isinstance(records, Fault) else list(records)
        if ttl is not None:
            self.ttls[key] = ttl

    def remove(self, name: str, rtype: str) -> None:
        del self._zone[_plain(name), rtype.upper()]
        self._owners[_plain(name)] -= 1

    def hold(self, name: str) -> asyncio.Event:
        """Answers about that name wait until the event is set."""
        return self._held.setdefault(_plain(name), asyncio.Event())

    async def arrival(self, name: str) -> None:
        """Until a question about that name has come in."""
        async with self._arrivals:
            await self._arrivals.wait_for(lambda: self.count(name) > 0)

    def count(self, name: str, rtype: str | None = None) -> int:
        """How many packets asked for that name."""
        return sum(
            asked.name == _plain(name) and (rtype is None or asked.rtype == rtype.upper()) for asked in self.asked
        )

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        while True:
            self._udp, _ = await loop.create_datagram_endpoint(lambda: _Udp(self), local_addr=("127.0.0.1", 0))
            self.port: int = self._udp.get_extra_info("sockname")[1]
            try:
                self._tcp = await asyncio.start_server(self._converse, "127.0.0.1", self.port)
            except OSError:  # somebody has that port for TCP: take another
                self._udp.close()
            else:
                break
        self.address = f"127.0.0.1:{self.port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._udp.close()
        self._tcp.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def serve(self, packet: bytes, transport: str, send: Callable[[bytes], None]) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(packet, transport, send))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, packet: bytes, transport: str, send: Callable[[bytes], None]) -> None:
        query = dns.message.from_wire(packet)
        question = query.question[0]
        name = _plain(question.name.to_text())
        rtype = dns.rdatatype.to_text(question.rdtype)
        self.asked.append(Asked(name, rtype, transport, query.id))
        async with self._arrivals:
            self._arrivals.notify_all()
        if name in self._held:
            await self._held[name].wait()
        wire = self._wire(query, name, rtype, transport)
        if wire is not None:
            send(wire)

    def _wire(self, query: dns.message.Message, name: str, rtype: str, transport: str) -> bytes | None:
        value = self._zone.get((name, rtype))
        fault = self.fault or self.faults.get(name) or (value if isinstance(value, Fault) else None)
        fault = fault or next((each for domain, each in self.under.items() if name.endswith(f".{domain}")), None)
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        match fault:
            case Fault.SILENCE:
                return None
            case Fault.GARBAGE:
                return query.to_wire()[:2] + b"\xff" * 40
            case Fault.SERVFAIL | Fault.REFUSED | Fault.NOTIMP:
                response.set_rcode(dns.rcode.from_text(fault.name))
                return response.to_wire()
            case Fault.TRUNCATED if transport == "udp":
                response.flags |= dns.flags.TC
                return response.to_wire()
            case Fault.WRONG_OWNER:
                response.answer.append(dns.rrset.from_text("other.invalid.", self.ttl, "IN", *_some(rtype)))
                return response.to_wire()
            case Fault.WRONG_TYPE:
                wrong = _some("TXT" if rtype != "TXT" else "A")
                response.answer.append(dns.rrset.from_text(f"{name}.", self.ttl, "IN", *wrong))
                return response.to_wire()
            case Fault.WILDCARD | Fault.REFUSING | Fault.HIJACKED if rtype == "A":
                response.answer.append(dns.rrset.from_text(f"{name}.", self.ttl, "IN", "A", _INVENTED[fault]))
                return response.to_wire()
        self._fill(response, name, rtype)
        if fault is Fault.WRONG_ID:
            response.id = (query.id + 1) & 0xFFFF
        if fault is Fault.WRONG_QUESTION:
            response.question[0].name = dns.name.from_text("other.invalid.")
        return response.to_wire(max_size=65535)

    def _fill(self, response: dns.message.Message, name: str, rtype: str) -> None:
        if not self._owners[name]:
            response.set_rcode(dns.rcode.NXDOMAIN)
        seen: set[str] = set()
        while name not in seen:
            seen.add(name)
            for found in (rtype, "CNAME"):
                records = self._zone.get((name, found))
                if records and not isinstance(records, Fault):
                    ttl = self.ttls.get((name, found), self.ttl)
                    response.answer.append(dns.rrset.from_text(f"{name}.", ttl, "IN", found, *records))
                    if found == rtype:
                        return
                    name = _plain(records[0])
                    break
        if self.negative_ttl is not None and not response.answer:
            soa = f"ns.invalid. host.invalid. 1 3600 600 86400 {self.negative_ttl}"
            response.authority.append(dns.rrset.from_text(f"{name}.", self.negative_ttl, "IN", "SOA", soa))

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def send(wire: bytes) -> None:
            writer.write(struct.pack("!H", len(wire)) + wire)

        try:
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                self.serve(await reader.readexactly(length), "tcp", send)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


_INVENTED = {Fault.WILDCARD: "127.0.0.2", Fault.REFUSING: "127.255.255.254", Fault.HIJACKED: "203.0.113.7"}


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self.server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.server.serve(data, "udp", lambda wire: self.transport.sendto(wire, addr))


def _plain(name: str) -> str:
    return name.lower().rstrip(".")


def _some(rtype: str) -> tuple[str, str]:
    """A record of that type."""
    samples = {
        "A": "192.0.2.99",
        "AAAA": "2001:db8::99",
        "TXT": '"other"',
        "MX": "10 mail.other.invalid.",
    }
    return rtype, samples.get(rtype, "other.invalid.")
