"""The client of a measurement: what it sends is counted, and what is refused is told with its reason."""

from __future__ import annotations

import asyncio
import contextlib

from gatekeeper.bench import load
from gatekeeper.bench.letters import Letter
from gatekeeper.bench.sink import Sink

LETTER = Letter("198.18.0.1", "c.bench.example", "a@d1.bench.example", b"Subject: x\r\n\r\nx\r\n.\r\n")


@contextlib.asynccontextmanager
async def serving(factory=Sink):
    server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


class Refusing(Sink):
    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(b"250-x\r\n250 y\r\n" if data.startswith(b"EHLO") else b"550 5.7.1 no\r\n")


async def test_every_letter_goes_its_way_and_is_timed():
    async with serving() as port:
        outcome = await load.send([LETTER] * 30, talk=load.smtp(port, named=False), sessions=5, seconds=60)
    assert (outcome.accepted, len(outcome.latencies), outcome.failures) == (30, 30, {})
    assert 0 < outcome.latency(0.5) <= outcome.latency(0.99)
    assert outcome.rate > 0


async def test_a_refusal_is_told_with_its_reason():
    async with serving(Refusing) as port:
        outcome = await load.send([LETTER] * 3, talk=load.smtp(port, named=True), sessions=2, seconds=60)
    assert (outcome.accepted, outcome.failures) == (0, {"550 5.7.1 no": 3})
    assert (outcome.latency(0.5), outcome.rate) == (0.0, 0.0)


async def test_nobody_there_is_told_too_and_what_is_late_is_not_begun():
    async with serving() as port:
        pass
    outcome = await load.send([LETTER] * 2, talk=load.smtp(port, named=False), sessions=1, seconds=60)
    assert outcome.failures == {"ConnectionRefusedError": 2}
    late = await load.send([LETTER] * 2, talk=load.smtp(port, named=False), sessions=1, seconds=-1)
    assert not late.failures


async def test_idle_sessions_are_open_until_they_are_left():
    async with serving() as port, load.idle(5, port=port) as count:
        assert count == 5
