"""A next hop behind a wire that can fail after any octet, in either direction: cut, silent from there, or garbled.

hop = FarNextHop()
hop.arm(Cut("to_us", 17, "reset"))     # counted from now on, and once
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass, field
from typing import Literal

from tests.support.next_hop import FakeNextHop

Way = Literal["from_us", "to_us"]
How = Literal["close", "reset", "half", "stall", "garble"]


@dataclass(frozen=True, slots=True)
class Cut:
    """After `octets` in that direction; "half" closes that direction alone, and the other one goes on.

    "stall" swallows all that follows in that direction; "garble" changes the next octet alone, and all goes on.
    """

    way: Way
    octets: int
    how: How


@dataclass
class FarNextHop(FakeNextHop):
    """`passed` is how many octets went in each direction since `arm` was called."""

    cut: Cut | None = None
    passed: dict[Way, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._wire: asyncio.Server | None = None
        self._wires: set[asyncio.Task[None]] = set()
        self.arm(None)

    @property
    def url(self) -> str:
        assert self._wire is not None
        return f"smtp://127.0.0.1:{self._wire.sockets[0].getsockname()[1]}"

    async def start(self) -> None:
        await super().start()
        self._wire = await asyncio.start_server(self._carry, "127.0.0.1", 0)

    async def stop(self) -> None:
        assert self._wire is not None
        self._wire.close()
        await super().stop()
        for task in list(self._wires):
            task.cancel()
        await asyncio.gather(*self._wires, return_exceptions=True)

    def arm(self, cut: Cut | None) -> None:
        self.cut = cut
        self.passed = {"from_us": 0, "to_us": 0}

    async def quiet(self) -> None:
        """Until every connection has ended on both sides."""
        async with asyncio.timeout(10):
            while self._wires:
                await asyncio.wait(self._wires)
        await self.left(self.connections)

    async def _carry(self, near: asyncio.StreamReader, near_writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._wires.add(task)
        far, far_writer = await asyncio.open_connection("127.0.0.1", self.port)
        both = (near_writer, far_writer)
        try:
            await asyncio.gather(
                self._pump(near, far_writer, "from_us", both), self._pump(far, near_writer, "to_us", both)
            )
        finally:
            for each in both:
                each.close()
            for each in both:
                with contextlib.suppress(OSError):
                    await each.wait_closed()
            self._wires.discard(task)

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        way: Way,
        both: tuple[asyncio.StreamWriter, ...],
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 18):
                cut = self.cut if self.cut is not None and self.cut.way == way else None
                if cut is not None and cut.how == "garble":
                    data = self._garbled(data, cut.octets - self.passed[way])
                    cut = None
                elif cut is not None:
                    data = data[: cut.octets - self.passed[way]]
                writer.write(data)
                await writer.drain()
                self.passed[way] += len(data)
                if cut is not None and self.passed[way] == cut.octets:
                    self.cut = None
                    if cut.how == "stall":
                        while await reader.read(1 << 18):
                            pass
                    elif cut.how != "half":
                        for each in both:
                            _end(each, cut.how)
                        return
                    break
            writer.write_eof()

    def _garbled(self, data: bytes, place: int) -> bytes:
        """With the octet at that place, if it is among these, made one that no protocol has there."""
        if place >= len(data):
            return data
        self.cut = None
        return data[:place] + bytes([data[place] ^ 0x80]) + data[place + 1 :]


def _end(writer: asyncio.StreamWriter, how: How) -> None:
    if how == "reset":
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()
    else:
        writer.close()
