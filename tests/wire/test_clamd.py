import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.wire.clamd import Answer, Result, chunk, read_answer


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b"1: stream: OK", Answer(Result.CLEAN)),
        (b"stream: OK", Answer(Result.CLEAN)),
        (b"12: stream: Win.Test.EICAR_HDB-1 FOUND", Answer(Result.FOUND, "Win.Test.EICAR_HDB-1")),
        (b"INSTREAM size limit exceeded. ERROR", Answer(Result.TOO_LARGE, "INSTREAM size limit exceeded. ERROR")),
        (b"1: stream: Can't allocate memory ERROR", Answer(Result.ERROR, "stream: Can't allocate memory ERROR")),
        (b"stream: two words FOUND", Answer(Result.ERROR, "stream: two words FOUND")),
        (b"", Answer(Result.ERROR)),
    ],
)
def test_what_clamd_says_is_understood(line, answer):
    assert read_answer(line) == answer


@given(st.binary(max_size=100))
def test_any_answer_is_read(line):
    read_answer(line)
    read_answer(b"1: stream: " + line + b" FOUND")


def test_a_chunk_says_how_long_it_is():
    assert chunk(b"abc") == chunk(memoryview(b"abc")) == b"\0\0\0\x03abc"
