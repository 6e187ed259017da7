"""The next hop of a measurement: takes everything, keeps nothing, and sees the dot wherever the message is cut."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.bench.sink import Sink

SAID = (
    b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubject: x\r\n\r\n..dot\r\nDATA\r\n.\r\n"
    b"MAIL FROM:<>\r\nRCPT TO:<c@d>\r\nDATA\r\n.\r\nQUIT\r\n"
)


class Wire:
    def __init__(self) -> None:
        self.said, self.closed = b"", False

    def write(self, octets: bytes) -> None:
        self.said += octets

    def close(self) -> None:
        self.closed = True


@given(st.lists(st.integers(0, len(SAID)), max_size=12))
def test_two_messages_are_taken_however_the_octets_come(cuts: list[int]):
    sink, wire = Sink(), Wire()
    sink.connection_made(cast("asyncio.BaseTransport", cast("Any", wire)))
    places = [0, *sorted(cuts), len(SAID)]
    for start, end in itertools.pairwise(places):
        sink.data_received(SAID[start:end])
    codes = [line[:3] for line in wire.said.split(b"\r\n") if line[3:4] == b" "]
    assert codes == [b"220", b"250", b"250", b"250", b"354", b"250", b"250", b"250", b"354", b"250", b"221"]
    assert wire.closed


def test_of_a_large_message_nothing_is_kept():
    sink = Sink()
    sink.connection_made(cast("asyncio.BaseTransport", cast("Any", Wire())))
    sink.data_received(b"DATA\r\n")
    for _ in range(100):
        sink.data_received(b"x" * 10_000)
        assert len(sink._rest) < 20_000
