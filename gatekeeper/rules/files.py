"""Which files hold rules, and what stands in them: TOML as it is, with the mistakes of form named."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from gatekeeper import copies
from gatekeeper.rules.rule import RuleProblem

LARGEST: Final = 1024 * 1024
"""Octets of one file."""
MOST: Final = 200
"""Files."""
_LINE: Final = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


class Source(NamedTuple):
    """A file and what was in it."""

    file: str
    data: dict[str, Any]


def shipped_directory() -> Path:
    """Where the rules that come with gatekeeper stand: inside the package, or in the tree that it is run from."""
    inside = Path(__file__).with_name("shipped")
    return inside if inside.is_dir() else Path(__file__).parents[2] / "config" / "rules"


def read_files(patterns: Sequence[str], *, shipped: bool) -> tuple[list[Source], list[RuleProblem]]:
    """The shipped files, then the site's, in the order given; of a pattern with a star, in the order of the names."""
    problems: list[RuleProblem] = []
    paths = [str(path) for path in sorted(shipped_directory().glob("*.toml"))] if shipped else []
    if shipped and not paths:
        problems.append(RuleProblem("", ("shipped",), f"{shipped_directory()} has no rules: install gatekeeper anew"))
    for pattern in patterns:
        paths += copies.matching(pattern)
    if len(paths) > MOST:
        problems.append(RuleProblem("", ("paths",), f"{len(paths)} files: {MOST} are the most; put rules together"))
        paths = paths[:MOST]
    sources = []
    for path in dict.fromkeys(paths):
        read = _read(path, _stamp(path))
        if isinstance(read, RuleProblem):
            problems.append(read)
        else:
            sources.append(Source(path, read))
    return sources, problems


def stamps(patterns: Sequence[str], *, shipped: bool) -> tuple[object, ...]:
    """Another value once any of the files has changed."""
    paths = sorted(str(path) for path in shipped_directory().glob("*.toml")) if shipped else []
    for pattern in patterns:
        paths += copies.matching(pattern)
    return tuple((path, _stamp(path)) for path in paths)


def _there(path: str) -> str:
    """Where to read it: the site's as they were when the configuration was, and ours, which belong to the program."""
    return path if Path(path).parent == shipped_directory() else copies.readable(path)


def _stamp(path: str) -> tuple[int, int]:
    try:
        about = Path(_there(path)).stat()
    except OSError:
        return (0, 0)
    return (about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=MOST)
def _read(path: str, stamp: tuple[int, int]) -> dict[str, Any] | RuleProblem:
    """What is in it; kept as long as it is the same file. Nobody may change what comes back."""
    if stamp[1] > LARGEST:
        return RuleProblem(path, (), f"bigger than {LARGEST} bytes: split it")
    text = ""
    try:
        text = Path(_there(path)).read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
        return tomllib.loads(text)
    except OSError as failure:
        return RuleProblem(path, (), f"cannot be read: {failure.strerror}; make it, or take it out of paths")
    except UnicodeDecodeError:
        return RuleProblem(path, (), "not UTF-8 text: save the file as UTF-8")
    except tomllib.TOMLDecodeError as wrong:
        said = str(wrong)
        at = _LINE.search(said)
        mend = "; patterns stand in single quotes: seen = 'gift ?card'" if "escape" in said.lower() else ""
        mend = "; two rules have one name: give one another" if "Cannot declare" in said else mend
        line = int(at[1]) if at and at[1] else text.count("\n") + 1
        return RuleProblem(path, (), f"not TOML: {_LINE.sub('', said)}{mend}", line)
    except (ValueError, RecursionError) as wrong:
        return RuleProblem(path, (), f"not TOML that can be read: {type(wrong).__name__}")
