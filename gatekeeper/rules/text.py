"""Text as rules see it: one spelling for what people read alike, so that a pattern need not know the disguises. Pure.

Lower case, without accents (NFKD, case folded: RFC 5198 is not enough here), without characters that nobody sees,
letters of other alphabets inside a word of ours drawn as ours, quotes and dashes plain, every run of blanks one blank.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from gatekeeper.message.lookalike import drawn_in_ascii

_ASCII = bytes(range(128))
_FEW = 12
"""Different characters up to which replacing one after the other is faster than a table."""
_ONE_OCTET = bytes([0x20 if sign < 0x20 or sign == 0x7F else sign for sign in range(128)]).lower() + bytes(
    range(128, 256)
)
"""What becomes of an octet: of ASCII by itself; others are parts of characters."""
_BLANKS = re.compile(rb"  +")
_DASHES = frozenset("‐‑‒–—―−﹘﹣－")
_SINGLE = frozenset("‘’‚‛′´ʼ＇")
_DOUBLE = frozenset("“”„‟″«»＂")
_WITH_FOREIGN = re.compile(r"(?<![a-z0-9\u0370-\u058f])[a-z0-9]*+[\u0370-\u058f][a-z0-9\u0370-\u058f]*+")
"""A whole word with such a letter in it. Nowhere else in a word is it looked for, however long the word is."""
_MIXED = re.compile(r"[a-z][\u0370-\u058f]|[\u0370-\u058f][a-z]")
_FOREIGN = re.compile("[\u0370-\u058f]")
_DRAWN = {number: drawn_in_ascii(chr(number)) for number in range(0x370, 0x590)}


def normalise(text: str) -> str:
    """The text in its one spelling. What is normalised already stays as it is. In linear time."""
    return normal_octets(text).decode()


def normal_octets(text: str) -> bytes:
    """The same as UTF-8."""
    if not text.isascii():
        signs = _foreign(text)
        spelt = [_spelling_alone(sign) for sign in signs] if len(signs) <= _FEW else [None]
        if None not in spelt:
            for sign, plain in zip(signs, spelt, strict=True):
                text = text.replace(sign, plain or "")
        else:
            text = unicodedata.normalize("NFC", _plain(unicodedata.normalize("NFC", text.lower())))
    return _BLANKS.sub(b" ", text.encode("utf-8", "replace").translate(_ONE_OCTET)).strip(b" ")


def normal_sign(sign: str) -> str:
    """What becomes of one character: some, one or none."""
    return _spelling(sign.lower())


def _plain(text: str) -> str:
    foreign = _foreign(text)
    spelt = {sign: plain for sign in foreign if (plain := _spelling(sign)) != sign}
    if len(spelt) <= _FEW:
        for sign, plain in spelt.items():
            text = text.replace(sign, plain)
    else:
        text = text.translate({ord(sign): plain for sign, plain in spelt.items()})
    if any("\u0370" <= sign < "\u0590" for sign in foreign) and _MIXED.search(text):
        text = _WITH_FOREIGN.sub(_in_one_alphabet, text)
    return text


def _foreign(text: str) -> set[str]:
    """Its different characters that are not ASCII."""
    return set(text.encode("utf-8", "replace").translate(None, _ASCII).decode())


@lru_cache(maxsize=16_384)
def _spelling_alone(sign: str) -> str | None:
    """What becomes of one that is spelt so whatever stands beside it; None for letters and marks that may join others,
    or be of another alphabet in the middle of a word.
    """
    if not (sign < "\u0300" or "\u2010" <= sign < "\u20d0" or "\u2100" <= sign < "\u2c00"):
        return None
    spelt = unicodedata.normalize("NFC", _plain(unicodedata.normalize("NFC", sign.lower())))
    return None if _FOREIGN.search(spelt) or _plain(spelt) != spelt else spelt


def _in_one_alphabet(word: re.Match[str]) -> str:
    """A word of letters of two alphabets is one in ours that is not to be found; others stay as they are."""
    if not _MIXED.search(word[0]):
        return word[0]
    return word[0].translate(_DRAWN)


@lru_cache(maxsize=16_384)
def _spelling(sign: str) -> str:
    if sign in _SINGLE:
        return "'"
    if sign in _DOUBLE:
        return '"'
    if sign in _DASHES:
        return "-"
    if sign == "ß":
        return "ss"
    kind = unicodedata.category(sign)
    if kind == "Cf" or "\ufe00" <= sign <= "\ufe0f" or "\U000e0000" <= sign <= "\U000e0fff":
        return ""  # nobody sees it
    if kind in {"Cc", "Zs", "Zl", "Zp"}:
        return " "
    apart = unicodedata.normalize("NFKD", sign).casefold()
    bare = "".join(part for part in apart if not "\u0300" <= part <= "\u036f")
    return unicodedata.normalize("NFC", bare)
