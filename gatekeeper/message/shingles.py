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
MOST: Final = 1000
"""Words that are read."""
NEAR: Final = 0.6
"""Part of the values that near-copies share."""
CHARACTERS: Final = 8000
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
_BEGINS: Final = frozenset({"--", "__", "on", "am", "le"})
"""How a line begins that may introduce a quotation: most lines need no pattern."""
_LEGAL: Final = (
    *("intended recipient", "intended only", "intended solely", "intended for the", "without prejudice"),
    *("confidentiality notice", "confidential information", "confidential and", "in error", "not the recipient"),
    *("unsubscribe", "privacy policy", "all rights reserved", "consider the environment", "virus", "registered office"),
    *("registered in", "company number", "company registration", "vertrauliche information", "vertraulich"),
    *("nicht der richtige adressat", "irrtümlich erhalten", "abmelden", "impressum", "geschäftsführer"),
    *("handelsregister", "se désabonner", "destinataire", "confidentiel", "destinatario", "confidencial"),
    *("darse de baja", "riservate", "riservato"),
)
"""Words of a paragraph that is not its author's own. In lower case: to look for each costs less than a pattern."""
_ONE: Final = 0x9E3779B1
_TWO: Final = 0x85EBCA6B
_ALL: Final = 0xFFFFFFFF


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
    return _WORDS.findall("\n".join(kept))[:MOST]


def _paragraphs(text: str) -> Iterable[str]:
    """Those that say something of their own, in lower case."""
    paragraph: list[str] = []
    for line in text.lower().splitlines():
        beginning = line.lstrip()[:2]
        if line == _SIGNATURE or (beginning in _BEGINS and _QUOTED.match(line[:200])):
            break
        if beginning[:1] == ">":
            continue
        if line.strip():
            paragraph.append(line)
            continue
        yield from _own(paragraph)
        paragraph = []
    yield from _own(paragraph)


def _own(paragraph: list[str]) -> Iterable[str]:
    told = "\n".join(paragraph)
    if told and not any(words in told for words in _LEGAL):
        yield told


def _digest(words: list[str]) -> Digest | None:
    hashes = [crc32(word.encode("utf-8", "replace")) for word in words]
    runs = {
        (one * _ONE + two * _TWO + three) & _ALL
        for one, two, three in zip(hashes, hashes[1:], hashes[2:], strict=False)
    }
    if len(runs) < LEAST:
        return None
    least: dict[int, int] = {}
    for run in runs:
        bucket = run % BUCKETS
        if run < least.get(bucket, _ALL + 1):
            least[bucket] = run
    values = []
    for n in range(BUCKETS):
        step = 0
        while (value := least.get((n + step) % BUCKETS)) is None:  # from the next bucket that has one
            step += 1
        values.append((value * _ONE + step) & _ALL if step else value)
    return Digest(tuple(values))
