from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.wire.stuffing import END, Stuffer

PIECES = st.lists(st.sampled_from([b"\r\n", b".", b"a", b"..", b"\r\n.", b".\r\n", b"text"]), max_size=30)


def naive(message: bytes) -> bytes:
    if message and not message.endswith(b"\r\n"):
        message += b"\r\n"
    return re.sub(rb"(?m)^\.", b"..", message) + b".\r\n"


def stuffed(chunks: list[bytes]) -> bytes:
    stuffer = Stuffer()
    return b"".join([*(stuffer.feed(chunk) for chunk in chunks), stuffer.finish(), END])


@given(PIECES, st.data())
def test_wherever_the_message_is_cut_the_dots_are_doubled(pieces: list[bytes], data: st.DataObject):
    message = b"".join(pieces)
    chunks = []
    while message:
        size = data.draw(st.integers(0, len(message)))
        if size == 0:
            chunks.append(b"")
            size = 1
        chunks.append(message[:size])
        message = message[size:]
    assert stuffed(chunks) == naive(b"".join(pieces))


def test_octet_by_octet():
    message = b".\r\n..\r\n\r\n.a\r\nb.\r\n."
    assert stuffed([bytes([octet]) for octet in message]) == naive(message)


def test_an_empty_message_is_only_its_end():
    assert stuffed([]) == stuffed([b""]) == b".\r\n"


def test_a_cut_within_the_last_line_break_is_mended():
    assert stuffed([b"a\r"]) == b"a\r\n.\r\n"
