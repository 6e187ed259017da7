import base64
import binascii

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.message.transfer import PIECE, Encoding, beginning, encoding_of, undo
from tests.support.cost import costs_of


@pytest.mark.parametrize(
    ("value", "encoding", "known"),
    [
        ("7bit", Encoding.AS_IS, True),
        ("BASE64", Encoding.BASE64, True),
        ("Quoted-Printable", Encoding.QUOTED_PRINTABLE, True),
        ('"base64"', Encoding.BASE64, False),
        ("base64 (really)", Encoding.BASE64, False),
        ("x-nonsense", Encoding.AS_IS, False),
        ("", Encoding.AS_IS, True),
    ],
)
def test_the_field_is_read_as_leniently_as_programs_do(value, encoding, known):
    assert encoding_of(value) == (encoding, known)


@pytest.mark.parametrize(
    ("octets", "expected", "broken"),
    [
        (b"aGVsbG8=\r\n", b"hello", False),
        (b"aGVs\r\nbG8=", b"hello", False),
        (b"aGVsbG8", b"hello", False),  # no padding
        (b"aGVs!bG8=", b"hello", True),  # what is no code is passed over
        (b"aGVsbG8=d29ybGQ=", b"helloworld", True),  # two ends: some stop at the first
        (b"aGVsbG8=\r\n-- \r\nfooter", None, True),
        (b"a", b"", True),
        (b"", b"", False),
        (b"====", b"", False),
    ],
)
def test_base64_is_read_wherever_there_is_any(octets, expected, broken):
    made = undo(octets, Encoding.BASE64)
    assert made.broken == broken
    if expected is not None:
        assert made.octets == expected
    else:
        assert made.octets.startswith(b"hello")


@pytest.mark.parametrize(
    ("octets", "expected", "broken"),
    [
        (b"a=3Db", b"a=b", False),
        (b"a=3db", b"a=b", False),
        (b"long=\r\n line", b"long line", False),
        (b"long= \t\r\n line", b"long line", False),
        (b"=ZZ=4", b"=ZZ=4", True),
        (b"end=", b"end", False),
    ],
)
def test_quoted_printable_is_read(octets, expected, broken):
    made = undo(octets, Encoding.QUOTED_PRINTABLE)
    assert (made.octets, made.broken) == (expected, broken)


def test_uuencode_is_read():
    made = undo(b"begin 644 f\r\n%:&5L;&\\\r\n`\r\nend\r\n", Encoding.UUENCODE)
    assert made.octets == b"hello"
    assert undo(b"no such thing", Encoding.UUENCODE).broken


@pytest.mark.parametrize("line", [b"x" * PIECE, b"begin", b"a begin of", b"\n", b"\r"])
@pytest.mark.parametrize("short", range(9))
def test_a_file_in_uuencode_begins_wherever_a_line_does(line, short):
    before = (line * (PIECE // len(line) + 1))[: PIECE - short]
    for end in (b"\r\n", b"\n", b"\r"):
        octets = before + end + b"begin 644 f" + end + b"%:&5L;&\\" + end + b"end"
        assert undo(octets, Encoding.UUENCODE).octets == b"hello"


def test_lines_of_uuencode_that_promise_more_than_they_hold_make_no_more_of_it():
    bomb = b"begin 644 f\r\n" + b"M\r\n" * 1000
    assert len(undo(bomb, Encoding.UUENCODE).octets) <= len(bomb)


@given(st.binary(max_size=300))
def test_what_was_encoded_comes_back(octets):
    assert undo(base64.encodebytes(octets), Encoding.BASE64).octets == octets
    # As octets, not as text: of text the library makes all line ends alike.
    written = binascii.b2a_qp(octets, istext=False)
    assert undo(written, Encoding.QUOTED_PRINTABLE).octets == octets


@given(st.binary(max_size=300), st.sampled_from(Encoding))
def test_anything_is_undone(octets, encoding):
    assert isinstance(undo(octets, encoding).octets, bytes)


@pytest.mark.slow
@pytest.mark.parametrize("encoding", [Encoding.BASE64, Encoding.QUOTED_PRINTABLE, Encoding.UUENCODE])
@pytest.mark.parametrize("piece", [b"=", b" ", b"\t\r\n", b"A", b"QUJD=", b"= ", b"begin 1 a\r\n", b"M\r\n"])
def test_cost_grows_with_the_length_alone(encoding, piece):
    small, large = costs_of(lambda n: undo(piece * n, encoding), 50_000, 200_000)
    assert large < 8 * small + 0.05


@given(st.binary(max_size=400), st.integers(0, 300))
def test_base64_may_end_early_and_says_the_same_until_then(octets, limit):
    code = base64.encodebytes(octets)
    made = undo(code, Encoding.BASE64, limit).octets
    assert made == octets[: len(made)]
    assert len(made) >= min(limit, len(octets))


PADDINGS = [
    (Encoding.BASE64, b"\r\n"),
    (Encoding.BASE64, b" *\x80"),
    (Encoding.BASE64, b"="),
    (Encoding.QUOTED_PRINTABLE, b"=\r\n"),
    (Encoding.QUOTED_PRINTABLE, b"= \t\n"),
    (Encoding.QUOTED_PRINTABLE, b"=" + b" " * 70_000 + b"\r\n"),
    (Encoding.UUENCODE, b"no begin of it\r\n"),
]


@pytest.mark.parametrize(("encoding", "padding"), PADDINGS)
@pytest.mark.parametrize("before", [b"", b"some: "])
def test_what_readers_pass_over_takes_no_room_however_much_there_is(encoding, padding, before):
    octets = b"hello" * 2000
    if encoding is Encoding.UUENCODE:
        lines = b"".join(binascii.b2a_uu(octets[n : n + 45]) for n in range(0, len(octets), 45))
        code = before + padding * 30_000 + b"begin 644 f\r\n" + lines + b"end\r\n"
    else:
        write = base64.b64encode if encoding is Encoding.BASE64 else bytes
        code = write(before) + padding * (200_000 // len(padding)) + write(octets)
    some, _ = beginning(memoryview(code), encoding, 1000)
    assert octets[:900] in undo(some, encoding).octets
    assert len(some) < 80_000
    some, whole = beginning(memoryview(code), encoding, len(code))
    assert undo(some, encoding).octets == undo(code, encoding).octets
    assert whole


def test_of_much_that_is_no_code_it_is_still_seen_that_there_was_some():
    for junk, broken in ((b"\r\n", False), (b"*\n", True)):
        some, _ = beginning(memoryview(b"\n" * 3000 + junk + b"\n" * 3000 + b"QUJD"), Encoding.BASE64, 100)
        assert undo(some, Encoding.BASE64).broken is broken


@given(
    st.lists(st.sampled_from([b"=", b" ", b"\r", b"\n", b"A", b"=4", b"QUJD", b"\r\n"]), max_size=60), st.integers(1, 9)
)
def test_the_beginning_says_what_the_whole_says(pieces, limit):
    code = b"".join(pieces)
    for encoding in Encoding:
        some, whole = beginning(memoryview(code), encoding, limit)
        if whole and encoding is not Encoding.QUOTED_PRINTABLE:  # of that two breaks may make another escape
            assert undo(some, encoding).octets == undo(code, encoding).octets
