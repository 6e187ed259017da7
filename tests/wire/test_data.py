from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.wire.data import DataReader
from gatekeeper.wire.stuffing import END, Stuffer

PADDED = (b"\r\n. \r\n", b"\r\n.\t\r\n", b"\r\n .\r\n", b"\r\n..\r\n")
"""Ends only to a reader that trims; to everybody who keeps to the RFC they are lines like others."""
LAX_ENDS = (
    *(b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\n.\r", b"\r\n.\r", b"\r.\r", b"\r.\n", b"\r.\r\n", b"\n\n.\n\n"),
    *(b"\r\r\n.\r\n"[:-2], b"\r\n.\r\r\n", b"\r\n\r.\r\n", b"\r\n.\n\r\n"[:-2], b"\r\n.\r\0\n", b"\n\r.\n\r"),
    *(
        b"\r\n\0.\r\n",
        b"\r\n.\0\r\n",
        b"\0\r\n.\0\n",
        b"\r\0\n.\r\n",
        b"\r\n\x0c.\n",
        b"\x0b.\r",
        b"\x85.\n",
        b"\n\n.\r\n",
    ),
    *PADDED,
)
"""Whatever some server has taken, or might take, for the end of a message. None of them holds CRLF.CRLF."""
HOSTILE = st.lists(st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"\r\n.", b"x", b"\0", b"\r\n.\r\n"]), max_size=30)


def read(*pieces: bytes) -> tuple[bytes, DataReader]:
    reader = DataReader()
    text = b""
    for piece in pieces:
        assert not reader.ended
        text += reader.feed(piece)
    return text, reader


@pytest.mark.parametrize(
    ("wire", "text", "rest"),
    [
        (b".\r\n", b"", b""),
        (b"\r\n.\r\n", b"\r\n", b""),
        (b"a: b\r\n\r\nx\r\n.\r\n", b"a: b\r\n\r\nx\r\n", b""),
        (b"..\r\n.\r\n", b".\r\n", b""),
        (b"...\r\n..x\r\n.\r\n", b"..\r\n.x\r\n", b""),
        (b".x\r\n.\r\n", b"x\r\n", b""),
        (b"x\r\n.\r\nQUIT\r\n", b"x\r\n", b"QUIT\r\n"),
        (b"x\r\n.\r\n.\r\n", b"x\r\n", b".\r\n"),
        (b"x.\r\n.\r\n", b"x.\r\n", b""),
    ],
)
def test_data_ends_at_the_first_dot_alone_on_a_line(wire, text, rest):
    found, reader = read(wire)
    assert (found, reader.ended, reader.rest) == (text, True, rest)
    assert not reader.bare_lf
    assert not reader.bare_cr
    assert not reader.nul


@pytest.mark.parametrize("ending", LAX_ENDS)
@pytest.mark.parametrize("cut", range(9))
def test_no_other_ending_ends_it_however_it_is_cut(ending, cut):
    """CVE-2023-51764, CVE-2023-51765, CVE-2023-51766; and what goes on to the next hop is one message."""
    wire = b"x" + ending + b"MAIL FROM:<evil@x>\r\n.\r\n"
    pieces = [wire[: 1 + cut], wire[1 + cut :]] if cut < len(ending) else [wire[n : n + 1] for n in range(len(wire))]
    text, reader = read(*pieces)
    assert reader.ended
    assert b"MAIL FROM:<evil@x>" in text
    assert reader.rest == b""
    assert reader.bare_lf or reader.bare_cr or reader.nul or ending in PADDED
    if not reader.bare_cr:
        stuffer = Stuffer()
        onward = stuffer.feed(text) + stuffer.finish() + END
        assert onward.count(b"\r\n.\r\n") == 1
        assert onward.endswith(b"\r\n.\r\n")
        assert onward.count(b"\n") == onward.count(b"\r\n") == onward.count(b"\r")


def test_bare_lf_becomes_crlf_and_its_dots_stay():
    text, reader = read(b"a\nb\r\n\n..c\n.d\r\n.\r\n")
    assert text == b"a\r\nb\r\n\r\n..c\r\n.d\r\n"
    assert reader.bare_lf


@pytest.mark.parametrize("wire", [b"a\rb\r\n.\r\n", b"\ra\r\n.\r\n", b"a\r\r\n.\r\n", b"\r\r\n.\r\n"])
def test_a_bare_cr_is_seen(wire):
    assert read(wire)[1].bare_cr


def test_a_nul_is_seen():
    assert read(b"a\0b\r\n.\r\n")[1].nul


@given(st.lists(st.binary(max_size=40), max_size=8), st.data())
def test_what_was_stuffed_comes_back_however_it_is_cut(lines, data):
    text = b"".join(line.replace(b"\r", b"").replace(b"\n", b"") + b"\r\n" for line in lines)
    stuffer = Stuffer()
    wire = stuffer.feed(text) + stuffer.finish() + END + b"QUIT\r\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=6)))
    found, reader = read(*pieces(wire, cuts))
    assert (found, reader.rest + tail(wire, reader, cuts)) == (text, b"QUIT\r\n")
    assert not reader.bare_lf
    assert not reader.bare_cr


@given(HOSTILE, st.data())
def test_pieces_make_no_difference_and_what_comes_out_is_canonical(parts, data):
    wire = b"".join(parts) + b"\r\n.\r\n"
    whole, one = read(wire)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=6)))
    found, other = read(*pieces(wire, cuts))
    assert found == whole
    assert (other.bare_lf, other.bare_cr, other.nul) == (one.bare_lf, one.bare_cr, one.nul)
    assert other.rest + tail(wire, other, cuts) == one.rest
    assert one.ended
    if not one.bare_cr:
        assert whole.count(b"\n") == whole.count(b"\r\n")
        # What a strict next hop makes of it is one message, and the same.
        stuffer = Stuffer()
        again, reader = read(stuffer.feed(whole) + stuffer.finish() + END)
        assert (again, reader.rest) == (whole, b"")


def pieces(wire: bytes, cuts: list[int]) -> list[bytes]:
    """Cut where it says, up to and with the piece in which a strict reader ends."""
    end = (b"\r\n" + wire).index(b"\r\n.\r\n") + 3
    made = []
    for start, stop in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        made.append(wire[start:stop])
        if stop >= end:
            break
    return made


def tail(wire: bytes, reader: DataReader, cuts: list[int]) -> bytes:
    """What was never fed, because the end had come."""
    return wire[sum(map(len, pieces(wire, cuts))) :]
