"""clamd's protocol (clamd(8)): a session, a stream in chunks, and what the answer means. Pure.

A session begins with zIDSESSION; answers in it have the number of the command before them. A chunk is its length in
four octets and that many octets; an empty one ends the stream.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

SESSION: Final = b"zIDSESSION\0"
STREAM: Final = b"zINSTREAM\0"
END_OF_STREAM: Final = b"\0\0\0\0"
CHUNK: Final = 262_144
ANSWER: Final = 4096
"""Octets of an answer; what is longer is none."""
_NUMBERED: Final = re.compile(r"[0-9]{1,10}: ")
_NAME: Final = re.compile(r"[\x21-\x7e]{1,200}")


class Result(StrEnum):
    """What a scan came to."""

    CLEAN = "clean"
    FOUND = "found"
    TOO_LARGE = "too_large"  # more than its StreamMaxLength
    ERROR = "error"  # it could not look at it, or its words are none that we know


@dataclass(frozen=True, slots=True)
class Answer:
    """`text` is the name of what was found, or what went wrong."""

    result: Result
    text: str = ""


def chunk(octets: bytes | memoryview) -> bytes:
    """One chunk of a stream; not for an empty one, which ends it."""
    return len(octets).to_bytes(4) + octets


def read_answer(line: bytes) -> Answer:
    """What clamd said, without the NUL that ends it. Never raises."""
    text = line.decode("utf-8", "backslashreplace").strip()
    numbered = _NUMBERED.match(text)
    if numbered is not None:
        text = text[numbered.end() :]
    if "size limit exceeded" in text:
        return Answer(Result.TOO_LARGE, text[:200])
    stream, colon, said = text.partition(": ")
    if not colon or stream != "stream":
        return Answer(Result.ERROR, text[:200])
    if said == "OK":
        return Answer(Result.CLEAN)
    if said.endswith(" FOUND") and _NAME.fullmatch(name := said.removesuffix(" FOUND")):
        return Answer(Result.FOUND, name)
    return Answer(Result.ERROR, text[:200])
