"""A DNS server for the demonstration: answers from a few records and says NXDOMAIN to everything else (RFC 1035)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping, Sequence
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

Records = Mapping[str, Mapping[str, Sequence[str]]]
"""name without the last dot -> type -> record texts as in a zone file"""

_TTL = 300


class ZoneServer(asyncio.DatagramProtocol):
    """Serves `records` over UDP on loopback; `open` it inside a running loop, `close` it once."""

    def __init__(self, records: Records) -> None:
        self._records = {name.lower() + ".": types for name, types in records.items()}
        self._transport: asyncio.DatagramTransport | None = None

    async def open(self) -> int:
        """The port it answers on."""
        here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        here.bind(("127.0.0.1", 0))
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, sock=here)
        return int(here.getsockname()[1])

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self.answer(data)
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, addr)

    def answer(self, data: bytes) -> bytes | None:
        """The reply to one query; None for what is not a query."""
        try:
            query = dns.message.from_wire(data)
            response = dns.message.make_response(query)
        except dns.exception.DNSException:
            return None
        response.flags |= dns.flags.RA
        if len(query.question) != 1:
            response.set_rcode(dns.rcode.FORMERR)
            return response.to_wire()
        question = query.question[0]
        types = self._records.get(question.name.to_text().lower())
        if types is None:
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif texts := types.get(dns.rdatatype.to_text(question.rdtype)):
            response.answer.append(dns.rrset.from_text(question.name, _TTL, "IN", question.rdtype, *texts))
        return response.to_wire(max_size=65535)
