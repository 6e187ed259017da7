"""Text on the operator's screen: coloured on a terminal, plain elsewhere, and never what a stranger wants it to do."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING

from gatekeeper.log import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

STYLES = {
    "accept": "green",
    "tag": "yellow",
    "greylist": "yellow",
    "defer": "magenta",
    "reject": "red",
    "drop": "bold red",
}
"""The colour of an action's word."""


def console() -> Console:
    """Standard output; as wide as need be where nobody looks at it, so that a line stays a line for grep."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 1000)


def text(value: object, style: str = "") -> Text:
    """One cell: markup has no meaning in it, and control characters are shown as escapes."""
    from rich.text import Text

    return Text(printable(str(value)), style=style)


def action(word: str) -> Text:
    return text(word, STYLES.get(word, ""))


def local_time(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):  # beyond the years that Python knows, here or in UTC
        return "after 9998"
