"""Durations and sizes as an operator writes them: "500ms", "3s", "2h"; "64KiB", "10MiB", "25MB"."""

from __future__ import annotations

import re
from typing import Final

SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
BYTES: Final = {
    "B": 1,
    "kB": 1000,
    "KiB": 1024,
    "MB": 1000**2,
    "MiB": 1024**2,
    "GB": 1000**3,
    "GiB": 1024**3,
}
_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)(ms|s|m|h|d)")
_SIZE = re.compile(r"([0-9]{1,15})(B|kB|KiB|MB|MiB|GB|GiB)")


def duration(text: str) -> float:
    """Seconds. Raises ValueError with a sentence that names the mend."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f'"{text}" is not a duration: write a number and ms, s, m, h or d, such as "3s"')
    return round(float(match[1]) * SECONDS[match[2]], 6)


def size(text: str) -> int:
    """Bytes. Raises ValueError with a sentence that names the mend."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f'"{text}" is not a size: write a whole number and {", ".join(BYTES)}, such as "10MiB"')
    return int(match[1]) * BYTES[match[2]]


def write_duration(seconds: float) -> str:
    """The shortest text that `duration` reads as that many seconds; to the microsecond."""
    for unit in ("d", "h", "m", "s"):
        if seconds >= SECONDS[unit] and seconds % SECONDS[unit] == 0:
            return f"{int(seconds // SECONDS[unit])}{unit}"
    if seconds == 0:
        return "0s"
    whole = f"{seconds:.6f}".rstrip("0").rstrip(".")
    return f"{seconds * 1000:.3f}".rstrip("0").rstrip(".") + "ms" if seconds < 1 else whole + "s"


def write_size(count: int) -> str:
    """The shortest text that `size` reads as that many bytes."""
    for unit in ("GiB", "GB", "MiB", "MB", "KiB", "kB"):
        if count and count % BYTES[unit] == 0:
            return f"{count // BYTES[unit]}{unit}"
    return f"{count}B"
