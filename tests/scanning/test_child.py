"""The process by itself, over its pipes."""

import base64
import signal
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.message.archives.member import Late
from gatekeeper.message.archives.walk import Report
from gatekeeper.message.filetypes import FileType
from gatekeeper.message.transfer import Encoding, undo
from gatekeeper.scanning import child
from gatekeeper.scanning.frames import LENGTH, FileHead, Request, read_report, request_frame
from gatekeeper.scanning.unpacker import COMMAND
from tests.support.archives import PROGRAM, zipped

MIB = 1_048_576


def run(requests: bytes, memory: int = 64 * MIB) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run([*COMMAND, str(memory)], input=requests, capture_output=True, timeout=60, check=False)


def ask(octets: bytes, encoding: Encoding = Encoding.BASE64, seconds: float = 5.0) -> bytes:
    return request_frame(Request((FileHead("a.zip", encoding, len(octets)),), ("exe",), seconds)) + octets


def answers(said: bytes) -> list[Report]:
    found = []
    while said:
        length = int.from_bytes(said[:LENGTH])
        found.append(read_report(said[LENGTH : LENGTH + length]))
        said = said[LENGTH + length :]
    return found


def test_it_answers_one_after_the_other_and_ends_when_nobody_is_there():
    archive = zipped({"a.exe": PROGRAM})
    done = run(ask(base64.encodebytes(archive)) + ask(archive, Encoding.AS_IS) + b"\0\0")
    assert done.returncode == 0
    assert [report.files[1].type for report in answers(done.stdout)] == [FileType.PE, FileType.PE]


def test_time_that_is_over_is_told_and_the_next_request_is_heard():
    archive = base64.encodebytes(zipped({"a.exe": PROGRAM}))
    late, good = answers(run(ask(archive, seconds=-1.0) + ask(archive)).stdout)
    assert [each.value for each in late.left_out] == ["time"]
    assert len(good.files) == 2


ENDLESS = """
import itertools, sys
from gatekeeper.message.archives import walk
from gatekeeper.scanning import child
def read(octets, budget):
    for _ in itertools.count():
        pass
walk._READERS[walk.FileType.RAR] = read
sys.exit(child.main(sys.argv[1:]))
"""


def test_a_reader_that_does_not_end_is_interrupted_and_what_was_found_is_told():
    archive, endless = zipped({"a.exe": PROGRAM}), b"Rar!\x1a\x07\x00"
    heads = [FileHead(name, Encoding.AS_IS, len(each)) for name, each in (("a.zip", archive), ("b.rar", endless))]
    request = request_frame(Request((*heads, heads[0]), ("exe",), 0.1)) + archive + endless + archive
    command = [COMMAND[0], "-c", ENDLESS, str(64 * MIB)]
    done = subprocess.run(
        command, input=request + ask(archive, Encoding.AS_IS), capture_output=True, timeout=60, check=False
    )
    late, good = answers(done.stdout)
    assert [each.path for each in late.files] == ["a.zip", "a.zip//a.exe", "b.rar"]
    assert [each.value for each in late.left_out] == ["time"]
    assert [trait.value for trait in late.files[2].traits] == ["slow"]
    assert len(good.files) == 2
    assert done.returncode == 0


def test_what_comes_too_late_is_not_raised():
    with child._late_after(60.0):
        handler = signal.getsignal(signal.SIGPROF)
        assert callable(handler)
        with pytest.raises(Late):
            handler(signal.SIGPROF, None)
    handler(signal.SIGPROF, None)
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)


def test_memory_that_is_spent_ends_it():
    done = run(ask(bytes(40 * MIB), Encoding.AS_IS), memory=16 * MIB)
    assert done.returncode == child.OUT_OF_MEMORY
    assert done.stdout == b""


@given(st.binary(max_size=200) | st.text("AQ=\r\n*", max_size=200).map(str.encode), st.integers(1, 50))
def test_base64_in_pieces_is_read_as_elsewhere(octets, size):
    pieces = iter([octets[n : n + size] for n in range(0, len(octets), size)] + [b""])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(child, "PIECE", size)
        patched.setattr(child, "_read", lambda count: next(pieces))
        made = child._decoded(FileHead("a", Encoding.BASE64, len(octets)))
    assert made == undo(octets, Encoding.BASE64).octets


def test_it_has_no_modules_that_talk_to_the_world():
    code = "import gatekeeper.scanning.child, sys; print(sorted({'asyncio', 'socket', 'ssl'} & set(sys.modules)))"
    done = subprocess.run(
        [COMMAND[0], "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
