"""SMTP replies, read as they arrive and written in full (RFC 5321 §4.2, RFC 2034)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gatekeeper.model import Reply

LINE_LIMIT = 4096  # octets; RFC 5321 §4.5.3.1.5 allows 512, real servers write more
LINES_LIMIT = 128
OWN_LINE_LIMIT = 512  # with code and CRLF

_CODE = re.compile(rb"[2-5][0-5][0-9]")
_ENHANCED = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?=[ \t]|$)", re.ASCII)
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(9), *range(10, 32), 127)}  # all but the tab


class ReplyError(ValueError):
    """The peer sent something that is not a reply; nothing after it can be trusted to be in step."""


class ReplyReader:
    """Makes replies of octets in any pieces. One per connection; of no use after a ReplyError."""

    def __init__(self) -> None:
        self._rest = b""
        self._code = b""
        self._lines: list[str] = []

    @property
    def midway(self) -> bool:
        """Whether a reply has begun and is not complete."""
        return bool(self._rest or self._lines)

    def feed(self, data: bytes) -> Iterator[Reply]:
        """The replies that are complete now. Run it to its end before feeding again.

        What came before a malformed line is still given; the ReplyError comes after it. A bare LF ends a line as
        CRLF does: a next hop that writes so has still said what it said.
        """
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            reply = self._line(line.removesuffix(b"\r"))
            if reply is not None:
                yield reply
        if len(self._rest) > LINE_LIMIT:
            raise ReplyError(f"a reply line of over {LINE_LIMIT} octets")

    def _line(self, line: bytes) -> Reply | None:
        if len(line) > LINE_LIMIT:
            raise ReplyError(f"a reply line of over {LINE_LIMIT} octets")
        code, mark = line[:3], line[3:4]
        if not _CODE.fullmatch(code) or mark not in (b" ", b"-", b""):
            raise ReplyError(f"not a reply: {_text(line[:80])!r}")
        if self._lines and code != self._code:
            raise ReplyError(f"codes {_text(self._code)} and {_text(code)} in one reply")
        self._code = code
        self._lines.append(_text(line[4:]))
        if mark != b"-":
            reply = Reply(int(code), tuple(self._lines))
            self._lines = []
            return reply
        if len(self._lines) >= LINES_LIMIT:
            raise ReplyError(f"a reply of over {LINES_LIMIT} lines")
        return None


def _text(octets: bytes) -> str:
    r"""Printable ASCII and tabs as they are, everything else as \\xNN."""
    text = octets.decode("ascii", "backslashreplace")
    return text if text.isprintable() else text.translate(_CONTROL)


def encode(reply: Reply, *, passed_on: bool = False) -> bytes:
    """The reply's lines with code, hyphen and CRLF.

    Text can never begin a line of its own: control characters and non-ASCII are escaped. Lines too long for
    RFC 5321 §4.5.3.1.5 are folded into several, each with the enhanced code, unless the reply is `passed_on` as the
    next hop wrote it. Raises ValueError on a code outside 200-559.
    """
    if not 200 <= reply.code <= 559:
        raise ValueError(f"{reply.code} is not a reply code")
    lines = [_text(line.encode("ascii", "backslashreplace")) for line in reply.lines] or [""]
    if not passed_on:
        lines = [part for line in lines for part in _folded(line)]
    last = len(lines) - 1
    return b"".join(b"%d%c%s\r\n" % (reply.code, b" -"[at < last], line.encode()) for at, line in enumerate(lines))


def _folded(line: str) -> Iterator[str]:
    room = OWN_LINE_LIMIT - len("250 \r\n")
    if len(line) <= room:
        yield line
        return
    enhanced = _ENHANCED.match(line)
    prefix = f"{enhanced.group()} " if enhanced else ""
    rest = line[len(prefix) :]
    room -= len(prefix)
    while len(rest) > room:
        cut = rest.rfind(" ", room // 2, room + 1)
        if cut < 0:
            cut = room
        yield prefix + rest[:cut]
        rest = rest[cut:].removeprefix(" ")
    yield prefix + rest


def enhanced_code(reply: Reply) -> str | None:
    """The reply's enhanced status code ("5.1.1"), when it has one that agrees with its code (RFC 2034 §3)."""
    found = _ENHANCED.match(reply.lines[0]) if reply.lines else None
    if found is None or int(found[1]) != reply.code // 100:
        return None
    return found.group()
