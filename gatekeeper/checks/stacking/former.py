"""The operator's list of former addresses: a file with one on each line."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from gatekeeper import copies
from gatekeeper.wire.address import AddressError, parse_path

NOBODY: Final[frozenset[str]] = frozenset()
MOST: Final = 200_000
SIZE_MOST: Final = 32 * 1024 * 1024


def read_former(path: str) -> frozenset[str]:
    """The addresses of that file, in lower case. `#` begins a comment; empty lines are nothing.

    Raises ValueError, with file, line and the mend, when it cannot be read or a line is no address.
    """
    there = Path(copies.readable(path))
    try:
        if there.stat().st_size > SIZE_MOST:
            raise ValueError(f"{path} is larger than {SIZE_MOST // 1024**2} MiB: is it a list of addresses?")
        text = there.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ValueError(f"{path} cannot be read: {why}") from error
    found = parse_former(text, path)
    if len(found) > MOST:
        raise ValueError(f"{path} has {len(found)} addresses; at most {MOST} are taken")
    return found


def parse_former(text: str, named: str = "former") -> frozenset[str]:
    """The same for text. `named` is the file that an error speaks of. Pure."""
    found = set()
    for number, line in enumerate(text.split("\n"), 1):
        written = line.partition("#")[0].strip()
        if not written:
            continue
        try:
            address = parse_path(written)
        except AddressError:
            address = None
        if address is None or not address.local or not address.domain:
            raise ValueError(f'{named}:{number}: "{written[:80]}" is no address such as name@example.org')
        found.add(str(address).lower())
    return frozenset(found)
