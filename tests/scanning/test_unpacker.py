import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gatekeeper.message.filetypes import FileType
from gatekeeper.message.transfer import Encoding
from gatekeeper.scanning import unpacker as module
from gatekeeper.scanning.unpacker import COMMAND, Packed, Unpacker, UnpackerAway
from tests.support.archives import PROGRAM, zipped

ARCHIVE = Packed("a.zip", memoryview(zipped({"a.exe": PROGRAM})), Encoding.AS_IS)


def saying(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", f"import sys, time, os; {code}"]


@asynccontextmanager
async def unpacker(command=COMMAND, seconds: float = 5.0, memory: int = 64 * 1_048_576) -> AsyncIterator[Unpacker]:
    made = Unpacker(seconds=seconds, memory=memory, command=command)
    try:
        yield made
    finally:
        await made.close()


async def test_one_process_serves_many_and_is_started_when_first_needed():
    async with unpacker() as looks:
        assert looks.pid is None
        reports = await asyncio.gather(*(looks.look([ARCHIVE, ARCHIVE], wanted=["exe"]) for _ in range(3)))
        first = looks.pid
        assert {report.files[1].type for report in reports} == {FileType.PE}
        await looks.look([ARCHIVE])
        assert looks.pid == first


async def test_one_that_was_killed_is_replaced():
    async with unpacker() as looks:
        await looks.look([ARCHIVE])
        assert looks._child is not None
        first = looks._child.process
        first.kill()
        first.wait(10)
        assert (await looks.look([ARCHIVE])).members == 1
        assert looks.pid not in {None, first.pid}


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("time.sleep(60)", "too long"),
        ("sys.exit(3)", "died"),
        ("os.write(1, b'\\xff' * 100)", "died"),
        ("os.write(1, b'\\0\\0\\0\\2{}'); time.sleep(60)", "died"),
        ("os.write(1, b'\\0\\0\\0\\x09{'); sys.exit()", "died"),
    ],
)
async def test_whatever_it_does_it_is_told_and_its_end(code, why, monkeypatch):
    monkeypatch.setattr(module, "SLACK", 0.0)
    async with unpacker(saying(code), seconds=1.0) as looks:
        with pytest.raises(UnpackerAway, match=why):
            await looks.look([ARCHIVE])
        assert looks.pid is None


async def test_a_program_that_is_not_there_is_told():
    async with unpacker(["/nonexistent"]) as looks:
        with pytest.raises(UnpackerAway):
            await looks.look([ARCHIVE])


async def test_memory_beyond_its_limit_is_its_own_end():
    large = Packed("a", memoryview(bytes(30 * 1_048_576)), Encoding.AS_IS)
    async with unpacker(memory=8 * 1_048_576) as looks:
        with pytest.raises(UnpackerAway):
            await looks.look([large])
        assert (await looks.look([ARCHIVE])).members == 1


async def test_only_so_many_wait(monkeypatch):
    monkeypatch.setattr(module, "QUEUE", 2)
    async with unpacker() as looks:
        results = await asyncio.gather(*(looks.look([ARCHIVE]) for _ in range(4)), return_exceptions=True)
        assert sum(isinstance(each, UnpackerAway) for each in results) == 2


async def test_whoever_gives_up_leaves_no_answer_for_the_next():
    async with unpacker() as looks:
        asking = asyncio.create_task(looks.look([ARCHIVE]))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert (await looks.look([ARCHIVE])).members == 1


async def test_it_is_replaced_now_and_then_and_ended_when_nobody_needs_it(monkeypatch):
    monkeypatch.setattr(module, "REQUESTS", 1)
    async with unpacker() as looks:
        await looks.look([ARCHIVE])
        assert looks.pid is None
    monkeypatch.setattr(module, "REQUESTS", 10)
    monkeypatch.setattr(module, "IDLE", 0.0)
    async with unpacker() as looks:
        await looks.look([ARCHIVE])
        assert looks._child is not None
        process = looks._child.process
        while looks.pid is not None:  # noqa: ASYNC110 - there is nothing to wait for but the loop
            await asyncio.sleep(0)
        process.wait(10)
