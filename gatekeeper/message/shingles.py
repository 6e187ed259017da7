"""A digest of what a message says by which near-copies are found: least hashes of its runs of three words.

Two texts share as many of the digest's values as they share runs of words (Broder's min-hash; one permutation in
buckets, empty ones filled from their neighbours: Shrivastava and Li). What differs from copy to copy and says nothing
is left out first: digits, what is quoted, signatures, and the paragraphs that lawyers put under everything.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from zlib import crc32

BUCKETS: Final = 60
BANDS: Final = 12
"""Groups of values by which a digest is looked up: two digests meet where all values of one group agree."""
LEAST: Final = 24
"""Runs of words that a text must have: shorter ones are too much alike."""
MOST: Final = 1500
"""Words that are read."""
NEAR: Final = 0.6
"""Part of the values that near-copies share."""
CHARACTERS: Final = 40_000
_WIDTH: Final = BUCKETS // BANDS
_WORDS: Final = re.compile(
    "[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7af\u0e00-\u0e7f]"  # written without blanks: each sign is a word
    "|[^\\W\\d_]+"
)
_FORM: Final = struct.Struct(f">{BUCKETS}L")
_QUOTED: Final = re.compile(
    r"^\s*(?:-{2,}\s*(?:original message|forwarded message|message d'origine|mensaje original"
    r"|ursprüngliche nachricht|weitergeleitete nachricht).*|_{20,}|on .{5,120} wrote:|am .{5,120} schrieb.{0,80}:"
    r"|le .{5,120} a écrit\s?:)\s*$",
    re.IGNORECASE,
)
_SIGNATURE: Final = "-- "
_LEGAL: Final = re.compile(
    r"intended (?:only )?(?:recipient|for the|solely)|confidential(?:ity)? (?:notice|information|and)|without prejudice"
    r"|if you (?:have |are not |received? ?).{0,40}(?:in error|recipient)|unsubscribe|privacy policy"
    r"|all rights reserved"
    r"|please consider the environment|virus|vertrauliche? information|nicht der richtige adressat|irrtümlich erhalten"
    r"|abmelden|impressum|geschäftsführer|handelsregister|registered (?:in|office)|company (?:number|registration)"
    r"|se désabonner|destinataire|confidentiel|destinatario|confidencial|darse de baja|riservat[oe]",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Digest:
    """`values` are `BUCKETS` numbers of 32 bits."""

    values: tuple[int, ...]

    def likeness(self, other: Digest) -> float:
        """The part of values that both have: about the part of runs of words that both texts have."""
        return sum(mine == theirs for mine, theirs in zip(self.values, other.values, strict=True)) / BUCKETS

    def bands(self) -> tuple[str, ...]:
        """Keys by which near-copies meet. For a likeness of 0.8 nearly always, for 0.3 hardly ever."""
        return tuple(
            f"{n:x}{struct.pack(f'>{_WIDTH}L', *self.values[n * _WIDTH : (n + 1) * _WIDTH]).hex()}"
            for n in range(BANDS)
        )

    @property
    def name(self) -> str:
        """A short key of its own."""
        return f"{crc32(self._packed()):08x}{crc32(self._packed(), 0x9E3779B9):08x}"

    def _packed(self) -> bytes:
        return _FORM.pack(*self.values)

    def __str__(self) -> str:
        return base64.b64encode(self._packed()).decode()

    @classmethod
    def parse(cls, text: str) -> Digest:
        """What `str` gave. Raises ValueError."""
        try:
            return cls(_FORM.unpack(base64.b64decode(text, validate=True)))
        except (binascii.Error, struct.error) as error:
            raise ValueError(f"no digest: {text[:40]!r}") from error


def digest_of(texts: Iterable[str]) -> Digest | None:
    """Of what people see of a message; None where that is too short. Linear in its length, up to a cap."""
    words: list[str] = []
    for text in dict.fromkeys(texts):  # a page and its plain text say the same: the first counts unless it is short
        words = _words(text)
        if len(words) >= LEAST + 2:
            break
    return _digest(words)


def _words(text: str) -> list[str]:
    kept, left = [], CHARACTERS
    for paragraph in _paragraphs(text[: 4 * CHARACTERS]):
        kept.append(paragraph[:left])
        left -= len(paragraph)
        if left <= 0:
            break
    return _WORDS.findall("\n".join(kept).lower())[:MOST]


def _paragraphs(text: str) -> Iterable[str]:
    """Those that say something of their own."""
    paragraph: list[str] = []
    for line in text.splitlines():
        if line == _SIGNATURE or _QUOTED.match(line[:200]):
            break
        if line.lstrip()[:1] == ">":
            continue
        if line.strip():
            paragraph.append(line)
            continue
        yield from _own(paragraph)
        paragraph = []
    yield from _own(paragraph)


def _own(paragraph: list[str]) -> Iterable[str]:
    told = "\n".join(paragraph)
    if told and not _LEGAL.search(told):
        yield told


def _digest(words: list[str]) -> Digest | None:
    runs = {
        crc32(f"{a} {b} {c}".encode("utf-8", "replace")) for a, b, c in zip(words, words[1:], words[2:], strict=False)
    }
    if len(runs) < LEAST:
        return None
    least: list[int | None] = [None] * BUCKETS
    for run in sorted(runs, reverse=True):
        least[run % BUCKETS] = run
    values = []
    for n in range(BUCKETS):
        value, step = least[n], 0
        while value is None:  # from the next bucket that has one, told apart by how far it is
            step += 1
            value = least[(n + step) % BUCKETS]
        values.append(value if not step else (value * 0x9E3779B1 + step) & 0xFFFFFFFF)
    return Digest(tuple(values))
