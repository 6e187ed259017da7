"""A message from a file is the message that the wire would have delivered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.message.reading import read_message


@pytest.mark.parametrize(
    ("raw", "header", "body", "separator", "framing"),
    [
        (b"A: b\n\nhello\n", b"A: b\r\n", b"hello\r\n", True, ()),
        (b"A: b\r\n\r\nhello\r\n", b"A: b\r\n", b"hello\r\n", True, ()),
        (b"A: b\r\n\r\nhel\nlo", b"A: b\r\n", b"hel\r\nlo\r\n", True, ("bare_lf",)),
        (b"From x@y Mon\nA: b\n\nhello\n", b"A: b\r\n", b"hello\r\n", True, ()),
        (b"A: b\n", b"A: b\r\n", b"", False, ()),
        (b"\nhello\n", b"", b"hello\r\n", True, ()),
        (b"", b"", b"", False, ()),
        (b"A: b\n\n", b"A: b\r\n", b"", True, ()),
    ],
)
def test_a_file_becomes_header_and_body(raw, header, body, separator, framing):
    message = read_message(raw)
    assert (message.header, b"".join(message.body.chunks()), message.separator, message.framing) == (
        header,
        body,
        separator,
        framing,
    )


@given(st.binary(max_size=400))
def test_what_was_read_is_canonical_and_reads_the_same_again(raw):
    message = read_message(raw)
    whole = b"".join(message.chunks())
    assert whole.count(b"\n") == whole.count(b"\r\n")
    again = read_message(whole) if not whole.startswith(b"From ") else message
    assert (again.header, list(again.body.chunks())) == (message.header, list(message.body.chunks()))
