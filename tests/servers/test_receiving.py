from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from gatekeeper.servers import receiving
from gatekeeper.servers.conversation import ClientGone, ClientSilent, Conversation
from gatekeeper.servers.receiving import Limits, Received, receive
from gatekeeper.servers.spool import Spool

LIMITS = Limits(size=1000, received_fields=5, silence=10.0, rate=100, total=1000.0, bare_newline="normalise")


class Slow(Conversation):
    """Gives one piece after the other, each after so many seconds of a clock that nobody waits for."""

    def __init__(self, *pieces: tuple[float, bytes]) -> None:
        self.loop = Clock()
        super().__init__(cast("Any", self.loop), line_limit=100, patience=1)
        self.pieces = list(pieces)

    async def text(self, deadline: float) -> bytes:
        if not self.pieces:
            raise ClientGone
        seconds, piece = self.pieces.pop(0)
        if self.loop.now + seconds > deadline:
            raise ClientSilent
        self.loop.now += seconds
        return piece


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def time(self) -> float:
        return self.now


async def received(talk: Slow, limits: Limits = LIMITS) -> Received:
    draft = Spool(None, memory=10_000, disk=10_000).draft()
    try:
        return await receive(talk, draft, limits)
    finally:
        draft.close()


async def test_what_comes_is_a_message():
    talk = Slow((1, b"a: b\r\n\r"), (1, b"\nx\r\n."), (1, b"\r\nQUIT\r\n"))
    got = await received(talk)
    assert got.message is not None
    assert b"".join(got.message.chunks()) == b"a: b\r\n\r\nx\r\n"
    assert talk.line_here() == b"QUIT\r"


async def test_the_timer_follows_progress():
    steady = [(5.0, b"x" * 500)] * 20
    await received(Slow(*steady, (1, b"\r\n.\r\n")), replace(LIMITS, size=100_000))


@pytest.mark.parametrize(
    ("pieces", "limits"),
    [
        ([(10.1, b"x")], LIMITS),
        ([(1, b"x"), (10.1, b"x")], LIMITS),
        ([(5, b"x")] * 3, LIMITS),  # two octets in ten seconds are no progress
        ([(5, b"x" * 500)] * 300, replace(LIMITS, size=10_000_000)),  # enough is enough
    ],
)
async def test_silence_dribbling_and_endless_sending_end_it(pieces, limits):
    with pytest.raises(ClientSilent):
        await received(Slow(*pieces, (0, b"\r\n.\r\n")), limits)


async def test_a_client_that_goes_leaves_nothing():
    with pytest.raises(ClientGone):
        await received(Slow((1, b"x\r\n.")))


async def test_what_is_too_big_is_read_to_its_end_without_being_kept():
    talk = Slow((0, b"a: b\r\n\r\n"), *[(0, b"x" * 900)] * 1000, (0, b"\r\n.\r\nNOOP\r\n"))
    got = await received(talk, replace(LIMITS, rate=1))
    assert got == Received(refusal=receiving.TOO_BIG)
    assert talk.line_here() == b"NOOP\r"


async def test_the_first_reason_counts():
    talk = Slow((0, b"x\0" * 600), (0, b"\r\n.\r\n"))
    assert (await received(talk)).refusal == receiving.TOO_BIG
