"""Messages put together again from milter packets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.model import Message
from gatekeeper.servers.milter_intake import Intake
from gatekeeper.servers.receiving import HEADER_TOO_LONG, NO_ROOM, TOO_MANY_FIELDS
from gatekeeper.servers.spool import IN_MEMORY, Spool
from gatekeeper.wire.headers import MOST_FIELDS
from gatekeeper.wire.milter import HeaderField, Negotiate
from gatekeeper.wire.milter_answers import agree
from tests.support.milter_client import POSTFIX

AGREED = agree(Negotiate(*POSTFIX))


def spool(memory: int = 1 << 20, disk: int = 1 << 22, header: int = 1 << 16) -> Spool:
    return Spool(None, memory=memory, disk=disk, header=header)


async def taken(intake: Intake, fields: list[tuple[bytes, bytes]], *chunks: bytes) -> Message | None:
    for name, value in fields:
        intake.field(HeaderField(name, value))
    for chunk in chunks:
        await intake.body(chunk)
    return await intake.message()


def text(message: Message | None) -> bytes:
    assert message is not None
    return b"".join(message.chunks())


@pytest.mark.parametrize(
    ("fields", "chunks", "expected", "framing"),
    [
        ([(b"A", b" 1"), (b"B", b" 2\n\t3")], [b"x\r\n", b"y\r\n"], b"A: 1\r\nB: 2\r\n\t3\r\n\r\nx\r\ny\r\n", ()),
        ([(b"A", b" 1")], [], b"A: 1\r\n\r\n", ()),
        ([], [b"x\r\n"], b"\r\nx\r\n", ()),
        ([], [], b"\r\n", ()),
        ([(b"A", b" 1")], [b"x\r", b"\ny\n"], b"A: 1\r\n\r\nx\r\ny\r\n", ("bare_lf",)),
        ([(b"A", b" 1")], [b"\r\n\r\n", b"x"], b"A: 1\r\n\r\n\r\n\r\nx", ()),
    ],
)
async def test_a_message_is_what_it_was(fields, chunks, expected, framing):
    room = spool()
    intake = Intake(room, AGREED)
    message = await taken(intake, fields, *chunks)
    assert text(message) == expected
    assert message is not None
    assert message.framing == framing
    intake.close()
    assert room.memory_left == 1 << 20


async def test_a_large_body_goes_to_a_file_and_is_given_back():
    room = spool()
    intake = Intake(room, AGREED)
    line = b"x" * 76 + b"\r\n"
    message = await taken(intake, [(b"A", b" 1")], *([line * 800] * 20))
    assert room.disk_left < 1 << 22
    assert text(message) == b"A: 1\r\n\r\n" + line * 16000
    intake.close()
    intake.close()
    assert (room.memory_left, room.disk_left) == (1 << 20, 1 << 22)


async def test_a_header_that_is_too_long_is_refused_at_the_end_and_takes_no_room_until_then():
    room = spool(header=1000)
    intake = Intake(room, AGREED)
    assert await taken(intake, [(b"A", b"x" * 400)] * 3, b"x\r\n", b"y\r\n") is None
    assert intake.refusal == HEADER_TOO_LONG
    assert room.memory_left == 1 << 20


async def test_a_header_of_more_fields_than_are_read_is_refused():
    room = spool(memory=1 << 20)
    intake = Intake(room, AGREED)
    assert await taken(intake, [(b"A", b"x")] * MOST_FIELDS, b"x\r\n") is not None
    intake.close()
    intake = Intake(room, AGREED)
    assert await taken(intake, [(b"A", b"x")] * (MOST_FIELDS + 1), b"x\r\n") is None
    assert intake.refusal == TOO_MANY_FIELDS


@pytest.mark.parametrize(
    "room", [spool(memory=1000), spool(memory=300), spool(disk=IN_MEMORY + 5000)], ids=["memory", "header", "disk"]
)
async def test_without_room_a_message_is_deferred_and_its_rest_passed_over(room):
    before = room.memory_left, room.disk_left
    intake = Intake(room, AGREED)
    assert await taken(intake, [(b"A", b"x" * 400)], *([b"x" * 200_000 + b"\r\n"] * 4)) is None
    assert intake.refusal == NO_ROOM
    assert (room.memory_left, room.disk_left) == before


async def test_room_that_ends_with_the_last_piece_is_room_that_is_not_there():
    room = spool(disk=IN_MEMORY + 1000)
    intake = Intake(room, AGREED)
    assert await taken(intake, [(b"A", b" 1")], b"x" * (IN_MEMORY + 1), b"y" * 2000) is None
    assert intake.refusal == NO_ROOM


@given(
    st.lists(st.tuples(st.just(b"X"), st.text("a \t:\r\n", max_size=12).map(str.encode)), max_size=4),
    st.lists(st.text("ab\r\n", max_size=8).map(str.encode), max_size=4),
)
async def test_whatever_comes_the_header_stays_in_the_header_and_the_body_in_the_body(fields, chunks):
    intake = Intake(spool(), AGREED)
    message = await taken(intake, fields, *chunks)
    assert message is not None
    assert message.header.count(b"X:") >= len(fields)
    assert b"\r\n\r\n" not in message.header
    body = b"".join(message.body.chunks())
    assert body.replace(b"\r\n", b"\n") == b"".join(chunks).replace(b"\r\n", b"\n")
    intake.close()
