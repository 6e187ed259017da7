"""Dot-stuffing of a message on its way out (RFC 5321 §4.5.2): canonical CRLF in, ready for the wire out."""

from __future__ import annotations

END = b".\r\n"
"""What ends the data, once `Stuffer.finish` has ended the last line."""


class Stuffer:
    """Doubles the dots that begin lines, wherever the pieces are cut. One per message.

    The input must be canonical: every LF has its CR before it. What it must not do is checked where mail comes in.
    """

    def __init__(self) -> None:
        self._tail = b"\r\n"  # the last two octets so far; a message begins at the beginning of a line

    def feed(self, chunk: bytes) -> bytes:
        """The piece, stuffed."""
        if not chunk:
            return chunk
        before = self._tail
        self._tail = (before + chunk[-2:])[-2:]
        stuffed = chunk.replace(b"\r\n.", b"\r\n..")
        # The line break may have ended the piece before, or lie across the cut.
        if chunk[0] == 0x2E and before == b"\r\n":
            return b"." + stuffed
        if before[1] == 0x0D and chunk[:2] == b"\n.":
            return b"\n." + stuffed[1:]
        return stuffed

    def finish(self) -> bytes:
        """What is still missing at the end of the last line: b"" or a line break. The caller adds `END`."""
        if self._tail == b"\r\n":
            return b""
        return b"\n" if self._tail[1] == 0x0D else b"\r\n"
