"""HTML's character references undone (HTML standard §13.5), in linear time and whatever stands there."""

from __future__ import annotations

import html
import re
from functools import lru_cache
from html.entities import html5

# Python's own reading fails for numbers of more than 4300 digits, and is slow for long ones.
_LEADING_ZEROS = re.compile(r"&#([xX]?)0++(?=[0-9a-fA-F])")
_REFERENCE = re.compile(r"&(?:#[0-9]++;?|#[xX][0-9a-fA-F]++;?|[^\t\n\f <&#;]{1,32};?)")
_SHORT = max(len(name) for name in html5 if not name.endswith(";"))
_BEGIN = frozenset(name[:2] for name in html5)
_TOO_LARGE = re.compile(r"&#(?:[0-9]{8,}+|[xX][0-9a-fA-F]{7,}+);?")


def undo_entities(text: str) -> str:
    """The text with its references replaced; what is none stays. Never raises."""
    if "&" not in text:
        return text
    if "&#" in text:
        text = _TOO_LARGE.sub("\ufffd", _LEADING_ZEROS.sub(r"&#\1", text))
    return _REFERENCE.sub(_undone, text)


def _undone(match: re.Match[str]) -> str:
    reference = match[0]
    if reference[1:3] not in _BEGIN and reference[1] != "#":
        return reference  # no name begins like that, and nobody has to remember it
    return _one(reference)


@lru_cache(maxsize=2048)
def _one(reference: str) -> str:
    """What one reference stands for. Python's own tries each beginning of what is no name, which takes ten times as
    long: the names that may go without a semicolon are short.
    """
    if reference[1] == "#":
        return html.unescape(reference)
    name = reference[1:]
    known = html5.get(name)
    if known is not None:
        return known
    for end in range(min(len(name) - 1, _SHORT), 1, -1):
        known = html5.get(name[:end])
        if known is not None:
            return known + name[end:]
    return reference
