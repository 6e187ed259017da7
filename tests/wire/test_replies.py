from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.model import Reply
from gatekeeper.wire.replies import LINE_LIMIT, LINES_LIMIT, ReplyError, ReplyReader, encode, enhanced_code

LINES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=600)
CODES = st.integers(200, 559)


@pytest.mark.parametrize(
    ("octets", "replies"),
    [
        (b"250 Ok\r\n", [Reply.of(250, "Ok")]),
        (b"250\r\n", [Reply.of(250, "")]),
        (b"250 \r\n", [Reply.of(250, "")]),
        (b"250  two\r\n", [Reply.of(250, " two")]),
        (b"250-a\r\n250-\r\n250 c\r\n", [Reply(250, ("a", "", "c"))]),
        (b"250-a\r\n250\r\n", [Reply(250, ("a", ""))]),
        (b"220 hi\n250 lax\n", [Reply.of(220, "hi"), Reply.of(250, "lax")]),
        (b"550 5.1.1 <j\xc3\xbc@x>\t\x00\x1b[1m\r\n", [Reply.of(550, r"5.1.1 <j\xc3\xbc@x>" + "\t" + r"\x00\x1b[1m")]),
        (b"250 a\rb\r\n", [Reply.of(250, r"a\x0db")]),
        (b"250 half", []),
        (b"250-half\r\n", []),
        (b"", []),
    ],
)
def test_replies_are_read_whole(octets: bytes, replies: list[Reply]):
    assert list(ReplyReader().feed(octets)) == replies


@pytest.mark.parametrize("cut", range(1, 26))
def test_replies_are_read_in_any_pieces(cut: int):
    reader = ReplyReader()
    octets = b"250-first\r\n250 x\r\n354 go\r\n"
    assert [*reader.feed(octets[:cut]), *reader.feed(octets[cut:])] == [
        Reply(250, ("first", "x")),
        Reply.of(354, "go"),
    ]
    assert not reader.midway


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b"hello\r\n", "not a reply"),
        (b"\r\n", "not a reply"),
        (b"25\r\n", "not a reply"),
        (b"2500 x\r\n", "not a reply"),
        (b"250_x\r\n", "not a reply"),
        (b"199 x\r\n", "not a reply"),
        (b"600 x\r\n", "not a reply"),
        (b"260 x\r\n", "not a reply"),
        ("２５０ x\r\n".encode(), "not a reply"),
        (b"\x00\xff\r\n", r"not a reply: '\\\\x00\\\\xff'"),
        (b"250-a\r\n251 b\r\n", "codes 250 and 251"),
        (b"250-a\r\n550 b\r\n", "codes 250 and 550"),
        (b"250 " + b"x" * LINE_LIMIT + b"\r\n", "over 4096"),
        (b"250 " + b"x" * LINE_LIMIT, "over 4096"),
        (b"250-x\r\n" * LINES_LIMIT, "over 128 lines"),
    ],
)
def test_what_is_no_reply_is_an_error(octets: bytes, why: str):
    with pytest.raises(ReplyError, match=why):
        list(ReplyReader().feed(octets))


def test_what_came_before_the_nonsense_still_counts():
    replies = ReplyReader().feed(b"250 taken\r\nnonsense\r\n")
    assert next(replies) == Reply.of(250, "taken")
    with pytest.raises(ReplyError):
        next(replies)


@given(st.lists(st.binary(max_size=50), max_size=20))
def test_any_octets_give_replies_or_an_error(pieces: list[bytes]):
    reader = ReplyReader()
    said = ""
    try:
        for piece in pieces:
            for reply in reader.feed(piece):
                said += encode(reply, passed_on=True).decode("ascii")
    except ReplyError as error:
        said += str(error)
    assert said.isascii()


@given(CODES, st.lists(st.text(max_size=600), max_size=5))
def test_a_written_reply_is_one_reply_of_short_lines(code: int, lines: list[str]):
    wire = encode(Reply(code, tuple(lines)))
    assert wire.isascii()
    assert all(len(line) <= 512 for line in wire.splitlines(keepends=True))
    if code // 10 % 10 <= 5:
        [reply] = ReplyReader().feed(wire)
        assert reply.code == code


@given(CODES.filter(lambda code: code // 10 % 10 <= 5), st.lists(LINES, min_size=1, max_size=5))
def test_a_reply_that_is_passed_on_is_what_it_was(code: int, lines: list[str]):
    reply = Reply(code, tuple(lines))
    assert list(ReplyReader().feed(encode(reply, passed_on=True))) == [reply]


@pytest.mark.parametrize(
    ("reply", "wire"),
    [
        (Reply.of(250, "Ok"), b"250 Ok\r\n"),
        (Reply(550, ("5.1.1 a", "5.1.1 b")), b"550-5.1.1 a\r\n550 5.1.1 b\r\n"),
        (Reply(250, ()), b"250 \r\n"),
        (Reply.of(550, "no\r\n250 yes"), rb"550 no\x0d\x0a250 yes" + b"\r\n"),
        (Reply.of(550, "é\udcff\ud800"), rb"550 \xe9\udcff\ud800" + b"\r\n"),
    ],
)
def test_text_never_makes_a_line_of_its_own(reply: Reply, wire: bytes):
    assert encode(reply) == wire


def test_long_lines_of_ours_are_folded_with_their_enhanced_code():
    words = "5.7.1 " + "word " * 200 + "x" * 700
    [reply] = ReplyReader().feed(encode(Reply.of(550, words)))
    assert len(reply.lines) > 2
    assert all(line.startswith("5.7.1 ") for line in reply.lines)
    assert " ".join(line.removeprefix("5.7.1 ") for line in reply.lines).replace(" ", "") == words[6:].replace(" ", "")
    assert len(encode(Reply.of(550, words), passed_on=True).splitlines()) == 1


@pytest.mark.parametrize("code", [0, 99, 199, 560, 1000, -1])
def test_a_code_that_is_none_is_not_written(code: int):
    with pytest.raises(ValueError, match="not a reply code"):
        encode(Reply.of(code, "x"))


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply.of(250, "2.1.5 Ok"), "2.1.5"),
        (Reply.of(550, "5.7.23"), "5.7.23"),
        (Reply(450, ("4.2.1 a", "4.2.2 b")), "4.2.1"),
        (Reply.of(550, "4.2.1 disagrees"), None),
        (Reply.of(550, "5.1.1234 x"), None),
        (Reply.of(550, "5.1.1: x"), None),
        (Reply.of(550, "see 5.1.1"), None),
        (Reply.of(354, "3.0.0 x"), None),
        (Reply.of(550, "５.1.1 x"), None),
        (Reply(550, ()), None),
    ],
)
def test_enhanced_codes(reply: Reply, code: str | None):
    assert enhanced_code(reply) == code
