"""All patterns in one automaton (Hyperscan's, or Vectorscan's where that is in the wheel): linear, whatever comes.

The one module that knows the library. It works on octets: patterns that would need it to know UTF-8 are refused when
they are read (`rules/loading.py`), since that makes automata several times as large.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
import threading
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

try:
    import hyperscan
except ImportError:  # no wheel for this machine: docs/decisions/rules-need-a-linear-engine.md
    hyperscan = None  # type: ignore[assignment,unused-ignore]

AVAILABLE: Final = hyperscan is not None
LARGEST: Final = 32 * 1024 * 1024
"""Octets of the automaton."""


class PatternError(ValueError):
    """The engine cannot take a pattern; `number` is whose, None where it is all of them together."""

    def __init__(self, text: str, number: int | None = None) -> None:
        super().__init__(text)
        self.number = number


class Automaton:
    """Tells which patterns match. May be used by several threads at once."""

    def __init__(self, patterns: Sequence[str], *, cache: Path | None = None, largest: int = LARGEST) -> None:
        """Compile them, or take what an earlier process has left in the directory `cache`.

        Raises PatternError. Takes about a second for several hundred patterns that are not in the cache.
        """
        self.size = 0
        self._database = None
        self._local = threading.local()
        if not patterns or not AVAILABLE:
            return
        encoded = [pattern.encode() for pattern in patterns]
        made = _kept(encoded, cache) or _compiled(encoded, cache)
        self.size = made.size()
        if self.size > largest:
            number, size = max(enumerate(_sizes(encoded)), key=lambda each: each[1])
            raise PatternError(
                f"all patterns together make an automaton of {self.size} octets, and {largest} is the most; this one "
                f"takes {size} by itself: write smaller numbers into its {{}}",
                number,
            )
        self._database = made

    def scan(self, octets: bytes) -> dict[int, int]:
        """The numbers of the patterns that match, and where each match was first seen to end."""
        found: dict[int, int] = {}
        if self._database is None or not octets:
            return found
        scratch = getattr(self._local, "scratch", None)
        if scratch is None:
            scratch = self._local.scratch = hyperscan.Scratch(self._database)

        def seen(number: int, _start: int, end: int, _flags: int, _context: object) -> None:
            found.setdefault(number, end)

        self._database.scan(octets, match_event_handler=seen, scratch=scratch)
        return found


def _compiled(patterns: Sequence[bytes], cache: Path | None) -> hyperscan.Database:
    made = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    flags = hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_MULTILINE
    try:
        made.compile(
            expressions=list(patterns),
            ids=list(range(len(patterns))),
            elements=len(patterns),
            flags=[flags] * len(patterns),
        )
    except hyperscan.error as wrong:
        text = str(wrong.args[0] if wrong.args else wrong).rstrip(". ")
        if len(patterns) > 1:
            for number in reversed(range(len(patterns))):  # it does not say which; the site's own come last
                try:
                    _compiled([patterns[number]], None)
                except PatternError as alone:
                    raise PatternError(str(alone), number) from None
        raise PatternError(text, 0 if len(patterns) == 1 else None) from None
    _keep(patterns, cache, made)
    return made


def _sizes(patterns: Sequence[bytes]) -> list[int]:
    return [_compiled([pattern], None).size() for pattern in patterns]


# --- what an earlier process has compiled ------------------------------------------------------------------------


def _name(patterns: Sequence[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    digest.update(f"{version('hyperscan')} {_processor()}".encode())
    for pattern in patterns:
        digest.update(len(pattern).to_bytes(4) + pattern)
    return f"rules-{digest.hexdigest()}.automaton"


def _processor() -> str:
    """An automaton is made for one kind of processor; the library refuses another's, and this keeps them apart."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("ascii", "replace").splitlines():
            if line.startswith(("flags", "Features")):
                return line
    return ""


def _kept(patterns: Sequence[bytes], cache: Path | None) -> hyperscan.Database | None:
    """None where there is none, or it is not ours alone to write: the library trusts what it is given."""
    if cache is None or not _ours_alone(cache):
        return None
    try:
        with (cache / _name(patterns)).open("rb") as file:
            about = os.fstat(file.fileno())
            if about.st_uid != os.geteuid() or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return None
            digest, octets = file.read(32), file.read(2 * LARGEST)
            os.utime(file.fileno())  # what is in use goes last
        if digest != hashlib.blake2b(octets, digest_size=32).digest():
            return None
        found = hyperscan.loadb(octets, hyperscan.HS_MODE_BLOCK)
        found.scan(
            b" ", match_event_handler=lambda *_: None, scratch=hyperscan.Scratch(found)
        )  # made for this processor?
        return found
    except (OSError, hyperscan.error):
        return None


def _keep(patterns: Sequence[bytes], cache: Path | None, made: hyperscan.Database) -> None:
    """Put it there whole or not at all; where that cannot be, the next process compiles for itself."""
    if cache is None:
        return
    with contextlib.suppress(OSError):
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _ours_alone(cache):
            return
        octets = hyperscan.dumpb(made)
        with tempfile.NamedTemporaryFile(dir=cache, delete=False) as file:
            file.write(hashlib.blake2b(octets, digest_size=32).digest() + octets)
        place = cache / _name(patterns)
        Path(file.name).rename(place)
        for old in sorted(cache.glob("rules-*.automaton"), key=lambda path: path.stat().st_mtime)[:-_KEPT]:
            old.unlink(missing_ok=True)


_KEPT: Final = 8
"""Automata that stay in the cache: those of the rules before a reload, of a trial, of another file."""


def _ours_alone(directory: Path) -> bool:
    try:
        about = directory.stat()
    except OSError:
        return False
    return about.st_uid == os.geteuid() and not about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def cache_directory() -> Path | None:
    """Where compiled automata are kept: systemd's CacheDirectory, else the user's own cache; None without either."""
    if given := os.environ.get("CACHE_DIRECTORY"):
        return Path(given.partition(":")[0])
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / "gatekeeper"
    home = os.environ.get("HOME")
    return Path(home) / ".cache" / "gatekeeper" if home and home != "/" else None
