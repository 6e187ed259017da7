"""Against a clamd that follows a script."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from gatekeeper.scanning.clamd import FAILURES, KEPT, PAUSE, Clamd, ClamdAway
from gatekeeper.wire.clamd import Answer, Result
from gatekeeper.wire.listen import UnixAddress

Part = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def command(reader: asyncio.StreamReader) -> bytes:
    return (await reader.readuntil(b"\0"))[:-1]


async def stream(reader: asyncio.StreamReader) -> bytes:
    assert await command(reader) == b"zINSTREAM"
    found = b""
    while length := int.from_bytes(await reader.readexactly(4)):
        found += await reader.readexactly(length)
    return found


async def honest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    count = 0
    while True:
        count += 1
        found = b"VIRUS" in await stream(reader)
        writer.write(f"{count}: stream: {'Test.Virus FOUND' if found else 'OK'}\0".encode())


class Scripted:
    """One part for each connection, the last one for all that follow."""

    def __init__(self, *parts: Part) -> None:
        self.parts = parts
        self.connections = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        part = self.parts[min(self.connections, len(self.parts) - 1)]
        self.connections += 1
        try:
            assert await command(reader) == b"zIDSESSION"
            await part(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def clamd(
    tmp_path, *parts: Part, seconds: float = 5.0, clock=lambda: 0.0
) -> AsyncIterator[tuple[Clamd, Scripted]]:
    scripted = Scripted(*parts)
    server = await asyncio.start_unix_server(scripted.talk, str(tmp_path / "s"))
    made = Clamd(UnixAddress(str(tmp_path / "s")), timeout=seconds, sessions=2, clock=clock)
    try:
        yield made, scripted
    finally:
        await made.close()
        server.close()


def octets(*chunks: bytes):
    return lambda: iter(chunks)


async def test_one_session_is_used_again(tmp_path):
    async with clamd(tmp_path, honest) as (client, scripted):
        assert await client.scan(octets(b"x" * 600_000, b"VIRUS")) == Answer(Result.FOUND, "Test.Virus")
        assert await client.scan(octets(b"hello")) == Answer(Result.CLEAN)
        assert await client.scan(octets()) == Answer(Result.CLEAN)
        assert scripted.connections == 1


async def test_at_most_so_many_sessions_are_open(tmp_path):
    async with clamd(tmp_path, honest) as (client, scripted):
        await asyncio.gather(*(client.scan(octets(b"x")) for _ in range(8)))
        assert scripted.connections <= 2


async def test_a_session_that_ended_meanwhile_is_replaced(tmp_path):
    async def once(reader, writer):
        await stream(reader)
        writer.write(b"1: stream: OK\0")
        await reader.readexactly(1)  # then it goes, in the middle of the next command

    async with clamd(tmp_path, once, honest) as (client, scripted):
        for _ in range(3):
            assert (await client.scan(octets(b"x"))).result is Result.CLEAN
        assert scripted.connections == 2


async def test_a_session_that_was_not_needed_for_long_is_not_used_again(tmp_path):
    now = [0.0]
    async with clamd(tmp_path, honest, clock=lambda: now[0]) as (client, scripted):
        await client.scan(octets(b"x"))
        now[0] = KEPT + 1
        await client.scan(octets(b"x"))
        assert scripted.connections == 2


async def too_large(reader, writer):
    await command(reader)
    await reader.readexactly(4)
    writer.write(b"INSTREAM size limit exceeded. ERROR\0")
    await writer.drain()


async def test_too_large_is_an_answer(tmp_path):
    async with clamd(tmp_path, too_large) as (client, _):
        for _n in range(FAILURES + 1):
            assert (await client.scan(octets(*[b"x" * 262_144] * 20))).result is Result.TOO_LARGE


def says(octets_: bytes) -> Part:
    async def part(reader, writer):
        await stream(reader)
        writer.write(octets_)

    return part


async def silent(reader, writer):
    await reader.read()


async def gone(reader, writer):
    writer.close()


FAULTS = {
    "silent": silent,
    "gone": gone,
    "half": says(b"1: stream: O"),
    "garbage": says(b"\xff\xfe\0"),
    "endless": says(b"x" * 100_000),
    "error": says(b"1: stream: Can't open file ERROR\0"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_whatever_it_does_it_is_told(tmp_path, fault):
    async with clamd(tmp_path, FAULTS[fault], seconds=0.2 if fault == "silent" else 5.0) as (client, _):
        with pytest.raises(ClamdAway):
            await client.scan(octets(b"x"))


async def test_one_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ClamdAway):
        await Clamd(UnixAddress(str(tmp_path / "none")), timeout=1.0, sessions=1).scan(octets(b"x"))


async def test_after_some_failures_it_is_left_alone_for_a_while_and_then_asked_again(tmp_path):
    now = [0.0]
    async with clamd(tmp_path, *[gone] * FAILURES, honest, clock=lambda: now[0]) as (client, scripted):
        for _ in range(FAILURES + 2):
            with pytest.raises(ClamdAway):
                await client.scan(octets(b"x"))
        assert scripted.connections == FAILURES
        now[0] = PAUSE + 1
        assert (await client.scan(octets(b"x"))).result is Result.CLEAN


async def test_a_scan_that_is_given_up_leaves_no_answer_for_the_next(tmp_path):
    async with clamd(tmp_path, honest) as (client, _):
        await client.scan(octets(b"x"))
        asking = asyncio.create_task(client.scan(octets(b"VIRUS")))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert (await client.scan(octets(b"x"))).result is Result.CLEAN
