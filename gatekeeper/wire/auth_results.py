"""The one reader of Authentication-Results (RFC 8601 §2.2): who wrote it, and what it says. Pure; never raises."""

from __future__ import annotations

import re
from dataclasses import dataclass

MOST_OCTETS = 32_768
"""A longer value is not read."""
MOST_RESULTS = 100
MOST_PROPERTIES = 50

_COMMENT_SIGN = re.compile(r"[()]|\\.")
_VALUE = re.compile(r"""([^\x00-\x20()<>@,;:\\"/\[\]?=\x7f]+)|"((?:[^"\\]|\\.)*+)\"""")
_VERSION = re.compile(r"[0-9]{1,9}(?![^\s;(])")
_PAIR = re.compile(r"\\(.)")
_KEYWORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*+")
_NUMBER = re.compile(r"[0-9]{1,9}")
# Addresses and Base64 stand there without quotes, too, though they are no tokens.
_PLAIN = re.compile(r'(?:[^\s;()"\\]|"(?:[^"\\]|\\.)*+")++')


@dataclass(frozen=True, slots=True)
class Result:
    """One resinfo. `properties` are ("ptype.property", value) pairs; names and results are in lower case."""

    method: str
    result: str
    properties: tuple[tuple[str, str], ...] = ()
    reason: str = ""

    def get(self, name: str) -> str:
        """The first property of that name; "" when there is none."""
        return next((value for key, value in self.properties if key == name), "")


@dataclass(frozen=True, slots=True)
class AuthResults:
    """What a whole field says; no results is `none`."""

    authserv_id: str
    results: tuple[Result, ...] = ()

    def all(self, method: str) -> list[Result]:
        return [one for one in self.results if one.method == method]


def read(value: bytes) -> AuthResults | None:
    """A field that can be read from its beginning to its end; None for any other: half of one is believed by nobody."""
    text = _text_of(value)
    if text is None:
        return None
    head = _head(text)
    if head is None:
        return None
    authserv_id, at = head
    results: list[Result] = []
    while at < len(text):
        start = past_comments(text, at + 1)  # `at` is at a semicolon
        if start is None:
            return None
        if start == len(text):
            break  # one at the end is usual
        if not results and _says_none(text, start):
            return AuthResults(authserv_id)
        read_one = _result(text, start)
        if read_one is None or len(results) == MOST_RESULTS:
            return None
        result, at = read_one
        results.append(result)
    return AuthResults(authserv_id, tuple(results))


def authserv_id_of(value: bytes) -> str | None:
    """Who an Authentication-Results field claims to be from (RFC 8601 §2.2); None when that cannot be read.

    Comments, quoting and the version number are understood, as any reader that believes the field might do.
    """
    text = _text_of(value)
    head = None if text is None else _head(text)
    return None if head is None else head[0]


def _text_of(value: bytes) -> str | None:
    if len(value) > MOST_OCTETS:
        return None
    try:
        text = value.replace(b"\r\n", b"").decode().replace("\t", " ")
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() else None


def _head(text: str) -> tuple[str, int] | None:
    """The authserv-id, and where the semicolon after it stands (or the end)."""
    start = past_comments(text, 0)
    match = None if start is None else _VALUE.match(text, start)
    if match is None:
        return None
    end = past_comments(text, match.end())
    if end is not None and (version := _VERSION.match(text, end)) is not None and end > match.end():
        end = past_comments(text, version.end())
    if end is None or (end < len(text) and text[end] != ";"):
        return None
    authserv_id = match[1] or _PAIR.sub(r"\1", match[2]).strip()
    return (authserv_id, end) if authserv_id else None


def _says_none(text: str, at: int) -> bool:
    """Whether the word "none" is all there is."""
    if text[at : at + 4].lower() != "none":
        return False
    end = past_comments(text, at + 4)
    if end is not None and text[end : end + 1] == ";":
        end = past_comments(text, end + 1)
    return end == len(text)


def _result(text: str, at: int) -> tuple[Result, int] | None:
    """One resinfo, and where the semicolon after it stands (or the end)."""
    method = _KEYWORD.match(text, at)
    place = None if method is None else past_comments(text, method.end())
    if method is None or place is None:
        return None
    if text[place : place + 1] == "/":  # the version of the method
        place = past_comments(text, place + 1)
        version = None if place is None else _NUMBER.match(text, place)
        place = None if version is None else past_comments(text, version.end())
    if place is None or text[place : place + 1] != "=":
        return None
    place = past_comments(text, place + 1)
    word = None if place is None else _KEYWORD.match(text, place)
    if word is None:
        return None
    found: list[tuple[str, str]] = []
    reason = ""
    end = word.end()
    while True:
        after = past_comments(text, end)
        if after is None:
            return None
        if after == len(text) or text[after] == ";":
            return Result(method[0].lower(), word[0].lower(), tuple(found), reason), after
        pair = _pair(text, after) if after > end else None
        if pair is None or len(found) == MOST_PROPERTIES:
            return None
        name, value, end = pair
        if name == "reason":
            reason = value
        else:
            found.append((name, value))


def _pair(text: str, at: int) -> tuple[str, str, int] | None:
    """`ptype.property=value` or `reason=value`; other names without a dot are read as well, some write such."""
    name = _KEYWORD.match(text, at)
    if name is None:
        return None
    whole, place = name[0], past_comments(text, name.end())
    if place is not None and text[place : place + 1] == ".":
        place = past_comments(text, place + 1)
        rest = None if place is None else _KEYWORD.match(text, place)
        if rest is None:
            return None
        whole, place = f"{whole}.{rest[0]}", past_comments(text, rest.end())
    if place is None or text[place : place + 1] != "=":
        return None
    place = past_comments(text, place + 1)
    match = None if place is None else _PLAIN.match(text, place)
    if match is None:
        return (whole.lower(), "", place) if place is not None else None
    value = match[0]
    if value.startswith('"') and (quoted := _VALUE.fullmatch(value)) is not None:
        value = _PAIR.sub(r"\1", quoted[2])
    return whole.lower(), value, match.end()


def past_comments(text: str, position: int) -> int | None:
    """The place after blanks and comments; None when a comment does not end."""
    while position < len(text):
        if text[position] == " ":
            position += 1
        elif text[position] == "(":
            depth = 0
            for sign in _COMMENT_SIGN.finditer(text, position):
                depth += {"(": 1, ")": -1}.get(sign[0], 0)
                if not depth and sign[0] == ")":
                    position = sign.end()
                    break
            else:
                return None
        else:
            break
    return position
