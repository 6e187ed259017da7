"""Where each key of a TOML file stands, so that an error can name its line. Pure; tomllib says nothing about lines.

It reads the grammar of TOML 1.0 far enough to find keys, tables and the items of lists. Whether the file is right is
tomllib's business: on a wrong one the scan goes on at the next line, and never raises.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right

Path = tuple[str | int, ...]

_SPACE = re.compile(r"[ \t]*")
_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")  # also between the items of a list, where line ends mean nothing
_LINE = re.compile(r"[^\n]*\n?")
_KEY = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""")
_STRING = re.compile(
    r'''"""(?:[^"\\]|\\.|"(?!""))*"{3,5}|\'\'\'(?:[^']|'(?!''))*'{3,5}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*\'''', re.DOTALL
)
_PLAIN = re.compile(r"[^,\]}#\n]*")
_DEEPEST = 50


def positions(text: str) -> dict[Path, int]:
    """Path -> line number from 1. A path is made of keys and of indices into lists; tables have the line of their
    first mention.
    """
    scanner = _Scanner(text)
    scanner.document()
    return scanner.found


def nearest_line(found: dict[Path, int], path: Path) -> int:
    """The line of that path, or of the innermost part of it that stands in the file; 0 when none does."""
    while path and path not in found:
        path = path[:-1]
    return found.get(path, 0)


class _Scanner:
    def __init__(self, text: str) -> None:
        self.found: dict[Path, int] = {}
        self._text = text
        self._at = 0
        self._line_ends = [match.start() for match in re.finditer("\n", text)]
        self._last: dict[Path, int] = {}  # list of tables -> index of its last one

    def document(self) -> None:
        table: Path = ()
        while self._at < len(self._text):
            self._skip(_BLANK)
            if self._take("[["):
                table = self._header(of_list=True)
                self._skip(_LINE)
            elif self._take("["):
                table = self._header(of_list=False)
                self._skip(_LINE)
            else:
                self._pair(table, 0)
                self._skip(_LINE)

    def _header(self, *, of_list: bool) -> Path:
        line = self._line()
        path: Path = ()
        keys = self._keys()
        for number, key in enumerate(keys, 1):
            path = (*path, key)
            self.found.setdefault(path, line)
            if of_list and number == len(keys):
                self._last[path] = self._last.get(path, -1) + 1
            if path in self._last:
                path = (*path, self._last[path])
                self.found.setdefault(path, line)
        return path

    def _pair(self, table: Path, depth: int) -> None:
        line = self._line()
        path = table
        for key in self._keys():
            path = (*path, key)
            self.found.setdefault(path, line)
        self._skip(_SPACE)
        if path != table and self._take("="):
            self._skip(_SPACE)
            self._value(path, depth)

    def _value(self, path: Path, depth: int) -> None:
        if depth > _DEEPEST:
            return
        if self._take("["):
            self._items(path, depth)
        elif self._take("{"):
            self._inline_table(path, depth)
        elif not self._skip(_STRING):
            self._skip(_PLAIN)

    def _items(self, path: Path, depth: int) -> None:
        index = 0
        while self._at < len(self._text):
            self._skip(_BLANK)
            if self._take("]"):
                return
            before = self._at
            self.found.setdefault((*path, index), self._line())
            self._value((*path, index), depth + 1)
            self._skip(_BLANK)
            if self._take(","):
                index += 1
            elif self._at == before:  # not a list after all
                return

    def _inline_table(self, path: Path, depth: int) -> None:
        while self._at < len(self._text):
            self._skip(_BLANK)
            if self._take("}"):
                return
            before = self._at
            self._pair(path, depth + 1)
            self._skip(_BLANK)
            if not self._take(",") and self._at == before:
                return

    def _keys(self) -> list[str]:
        keys: list[str] = []
        while True:
            self._skip(_SPACE)
            match = _KEY.match(self._text, self._at)
            if match is None:
                return keys
            self._at = match.end()
            keys.append(_unquoted(match[0]))
            self._skip(_SPACE)
            if not self._take("."):
                return keys

    def _line(self) -> int:
        return bisect_right(self._line_ends, self._at - 1) + 1

    def _take(self, token: str) -> bool:
        if not self._text.startswith(token, self._at):
            return False
        self._at += len(token)
        return True

    def _skip(self, pattern: re.Pattern[str]) -> bool:
        match = pattern.match(self._text, self._at)
        if match is None or match.end() == self._at:
            return False
        self._at = match.end()
        return True


def _unquoted(key: str) -> str:
    if key[0] not in "\"'":
        return key
    try:
        return str(tomllib.loads(f"key = {key}")["key"])
    except tomllib.TOMLDecodeError:  # an escape that TOML does not know; tomllib has said so already
        return key[1:-1]
