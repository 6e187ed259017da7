from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.servers import spool as module
from gatekeeper.servers.spool import IN_MEMORY, THREADS, Draft, HeaderTooLong, Spool, SpoolFull
from tests.support.mail import message_of

MIB = 1 << 20


class Hashes:
    def __init__(self, header: bytes) -> None:
        self.header = header
        self.body = b""

    def update(self, chunk: bytes, /) -> None:
        self.body += chunk


def spool_of(directory: Path | None = None, **limits) -> Spool:
    return Spool(directory, **{"memory": 10 * MIB, "disk": 10 * MIB, "hashes": Hashes, **limits})


async def written(draft: Draft, *pieces: bytes):
    for piece in pieces:
        await draft.write(piece)
    return await draft.finish()


@given(st.lists(st.sampled_from([b"a: b\r\n", b"\r\n", b"x", b"\r", b"\n", b"y\r\n"]), max_size=12), st.data())
def test_a_message_is_split_at_its_first_empty_line_however_it_comes(parts, data):
    text = b"".join(parts)
    text = text.replace(b"\r\n", b"\n").replace(b"\r", b"").replace(b"\n", b"\r\n")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    pieces = [text[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    draft = spool_of().draft()
    message = asyncio.run(written(draft, *pieces))
    expected = message_of(text)
    assert (message.header, message.separator) == (expected.header, expected.separator)
    assert b"".join(message.chunks()) == text
    assert draft.size == message.size == len(text)


async def test_a_large_body_goes_to_a_file_without_a_name_and_is_hashed_on_its_way(tmp_path: Path):
    spool = spool_of(tmp_path)
    draft = spool.draft()
    body = bytes(range(256)) * 4096
    pieces = [body[at : at + 60_000] for at in range(0, len(body), 60_000)]
    message = await written(draft, b"Subject: x\r\n\r", b"\n", *pieces)
    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240 - a test
    assert message.header == b"Subject: x\r\n"
    assert message.body.size == len(body)
    assert [len(chunk) for chunk in message.body.chunks()] == [IN_MEMORY] * 4
    assert b"".join(message.body.chunks()) == b"".join(message.body.chunks()) == body
    hashes = message.memo["body_hashes"]
    assert (hashes.header, hashes.body) == (message.header, body)
    assert spool.memory_left > 9 * MIB
    assert spool.disk_left == 9 * MIB
    draft.close()
    draft.close()
    assert (spool.memory_left, spool.disk_left) == (10 * MIB, 10 * MIB)


async def test_a_small_one_stays_in_memory(tmp_path: Path):
    draft = spool_of(tmp_path / "never made").draft()
    message = await written(draft, b"\r\n", b"x" * (IN_MEMORY - 10))
    assert message.memo == {}
    draft.close()


@pytest.mark.parametrize(
    ("limits", "size"), [({"memory": 1000}, 1001), ({"disk": 1000}, IN_MEMORY * 2), ({"disk": IN_MEMORY * 2}, MIB)]
)
async def test_a_full_spool_says_so_and_gets_its_room_back(limits, size, tmp_path: Path):
    spool = spool_of(tmp_path, **limits)
    memory, disk = spool.memory_left, spool.disk_left
    draft = spool.draft()
    with pytest.raises(SpoolFull):
        await written(draft, b"\r\n", *[b"x" * 1000] * (size // 1000 + 1))
    draft.close()
    assert (spool.memory_left, spool.disk_left) == (memory, disk)


async def test_all_messages_share_the_room():
    spool = spool_of(memory=1000)
    one, two = spool.draft(), spool.draft()
    await one.write(b"x" * 600)
    with pytest.raises(SpoolFull):
        await two.write(b"x" * 600)
    one.close()
    await two.write(b"x" * 600)
    two.close()


async def test_a_full_disk_is_a_full_spool(monkeypatch: pytest.MonkeyPatch):
    class Full:
        def write(self, _: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self) -> None: ...

    monkeypatch.setattr(module, "TemporaryFile", lambda **_: Full())
    draft = spool_of().draft()
    with pytest.raises(SpoolFull, match="No space"):
        await written(draft, b"\r\n", b"x" * MIB)
    draft.close()


@pytest.mark.parametrize("text", [b"a: b\r\n" * 200, b"x" * 1001, b"a: b\r\n" * 200 + b"\r\nbody"])
async def test_a_header_may_not_be_endless(text):
    spool = spool_of(header=1000)
    for pieces in ([text], [text[at : at + 7] for at in range(0, len(text), 7)]):
        draft = spool.draft()
        with pytest.raises(HeaderTooLong):
            await written(draft, *pieces)
        draft.close()


async def test_the_file_stays_open_while_a_thread_writes_to_it():
    began, go = threading.Event(), threading.Event()

    class Slow(Hashes):
        def update(self, chunk: bytes, /) -> None:
            began.set()
            go.wait(10)
            super().update(chunk)

    spool = spool_of(hashes=Slow)
    draft = spool.draft()
    writing = asyncio.ensure_future(written(draft, b"\r\n", b"x" * MIB))
    await asyncio.to_thread(began.wait, 10)
    file = draft._file
    assert file is not None
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    draft.close()
    assert not file.closed
    thread = draft._writing
    assert thread is not None
    go.set()
    await thread
    await asyncio.sleep(0)
    assert file.closed


class Stuck:
    """A disk that takes nothing before `go`. `began` counts the writes that are under way or done."""

    def __init__(self) -> None:
        self.began = threading.Semaphore(0)
        self.go = threading.Event()
        self.closed = False

    def write(self, octets: memoryview) -> int:
        self.began.release()
        self.go.wait(10)
        return len(octets)

    def close(self) -> None:
        self.closed = True

    def fileno(self) -> int:
        return -1


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stuck]:
    disk = Stuck()
    monkeypatch.setattr(module, "TemporaryFile", lambda **_: disk)
    yield disk
    disk.go.set()


async def test_a_disk_that_does_not_answer_is_a_full_spool_and_its_room_is_taken_until_it_does(stuck: Stuck):
    spool = spool_of(patience=0.01)
    draft = spool.draft()
    with pytest.raises(SpoolFull, match="does not answer"):
        await written(draft, b"\r\n", b"x" * MIB)
    draft.close()
    draft.close()
    assert [stuck.closed] == [False]
    assert (spool.memory_left, spool.disk_left) == (9 * MIB - 2, 9 * MIB)
    writing = draft._writing
    assert writing is not None
    stuck.go.set()
    await writing
    await asyncio.sleep(0)
    assert stuck.closed
    assert (spool.memory_left, spool.disk_left) == (10 * MIB, 10 * MIB)


async def test_a_disk_that_hangs_keeps_no_more_than_its_threads_and_others_find_theirs_free(stuck: Stuck):
    spool = spool_of(patience=0.01)
    for _ in range(THREADS + 3):
        draft = spool.draft()
        with pytest.raises(SpoolFull, match="does not answer"):
            await written(draft, b"\r\n", b"x" * MIB)
        draft.close()
    assert spool.memory_left >= (10 - THREADS) * MIB - 2 * THREADS
    assert spool.disk_left == (10 - THREADS) * MIB
    assert spool._threads._work_queue.empty()
    await asyncio.wait_for(asyncio.to_thread(str), 10)
    stuck.go.set()
    spool.patience = 10
    draft = spool.draft()
    message = await written(draft, b"\r\n", b"x" * MIB)
    assert message.body.size == MIB
    draft.close()


async def test_where_there_is_no_room_for_a_thread_the_spool_is_full_and_no_longer_than_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    spool = spool_of(tmp_path, patience=10)
    began: list[bytes] = []
    append = Draft._append

    def noting(draft: Draft, block: bytes) -> None:
        began.append(block[:1])
        append(draft, block)

    monkeypatch.setattr(Draft, "_append", noting)
    with monkeypatch.context() as crowded:
        crowded.setattr(threading.Thread, "start", refusing)
        for _ in range(THREADS + 1):
            draft = spool.draft()
            with pytest.raises(SpoolFull, match="can't start new thread"):
                await written(draft, b"\r\n", b"x" * MIB)
            draft.close()
    assert (spool.memory_left, spool.disk_left) == (10 * MIB, 10 * MIB)
    draft = spool.draft()
    message = await written(draft, b"\r\n", b"y" * MIB)
    assert message.body.size == MIB
    assert set(began) == {b"y"}
    draft.close()


def refusing(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


async def test_one_that_leaves_while_it_waits_for_a_thread_takes_none(stuck: Stuck):
    spool = spool_of(patience=10)
    drafts = [spool.draft() for _ in range(THREADS + 1)]
    writing = [asyncio.ensure_future(written(draft, b"\r\n", b"x" * MIB)) for draft in drafts]
    for _ in range(THREADS):
        assert await asyncio.to_thread(stuck.began.acquire, timeout=10)
    writing[-1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing[-1]
    drafts[-1].close()
    assert spool.disk_left == (10 - THREADS) * MIB
    stuck.go.set()
    assert [(await one).body.size for one in writing[:-1]] == [MIB] * THREADS
    for draft in drafts:
        draft.close()
    assert (spool.memory_left, spool.disk_left) == (10 * MIB, 10 * MIB)
