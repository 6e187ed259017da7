"""Text -> the words that a classifier learns by: lower case, numbers by their length, in bounded room. Linear."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import NamedTuple

LONGEST = 20
"""Characters of a word that is kept; longer ones are addresses, codes and noise."""
MOST = 2000
"""Different words of one text that are kept, those that stand first."""


def _plain(octet: int) -> int:
    character = chr(octet)
    if character.isdigit():
        return ord("0")
    return ord(character.lower()) if character.isalpha() or character == "$" else ord(" ")


_ASCII = bytes([_plain(octet) if octet < 128 else ord(" ") for octet in range(256)])
_BLANKS = bytes([octet if chr(octet).isalnum() or octet > 127 or octet == 0x24 else 0x20 for octet in range(256)])
"""What becomes of the octets of UTF-8 where words are split: of ASCII letters, digits and "$" stay."""
_LETTERS = frozenset([b"%c" % octet for octet in b"abcdefghijklmnopqrstuvwxyz0123456789"])
_OF_ASCII = bytes(range(128))
_FEW = 12
"""Different signs up to which replacing one after the other is faster than a pattern."""
_WORD = re.compile(r"[$€£¥]?[^\W_]+|[$€£¥]")
_DIGITS = re.compile(r"\d")
_UNSEEN = re.compile("[\u200b-\u200f\u2060-\u2064\ufeff\xad\u034f\u180e\U000e0020-\U000e007f]")
_HAS_UNSEEN = frozenset(
    chr(code)
    for first, last in ((0x200B, 0x200F), (0x2060, 0x2064), (0xE0020, 0xE007F))
    for code in range(first, last + 1)
) | set("\ufeff\xad\u034f\u180e")
_ZEROS = bytes([ord("0") if chr(octet).isdigit() and octet < 128 else octet for octet in range(256)])
# Scripts that are written without blanks between words; of those, every two neighbours make a word.
_OF_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_UNSPACED = re.compile(f"[{_OF_UNSPACED}]{{2,}}")
_BY_CHARACTER = re.compile(f"[{_OF_UNSPACED}\\d]")


class Words(NamedTuple):
    """The different words of a text, in order. `unseen`: characters that nobody sees, such as zero-width blanks.

    `styled`: letters that are drawn like others ("𝐅𝐫𝐞𝐞"), read as what they look like. `long`: words beyond the limit.
    """

    found: tuple[bytes, ...] = ()
    unseen: int = 0
    styled: bool = False
    long: int = 0


_NONE = Words()


def words_of(text: str) -> Words:
    """The words of a text, as UTF-8. Never raises."""
    if text.isascii():
        if not text:
            return _NONE
        kept, long = _kept(dict.fromkeys(text.encode("ascii").translate(_ASCII).split()))
        return Words(tuple(kept[:MOST]), long=long)
    signs, unseen = foreign(text), 0
    if not _HAS_UNSEEN.isdisjoint(signs):
        text, unseen = _UNSEEN.subn("", text)
        signs -= _HAS_UNSEEN
    if len(signs) <= _FEW and _ALONE.keys() >= signs:
        words, long = _of_any_script(_divided(text, {sign: _ALONE[sign] for sign in signs}).lower())
        return Words(tuple(words)[:MOST], unseen, _STYLED.search("".join(signs)) is not None, long)
    read = unicodedata.normalize("NFKC", text)
    words, long = _of_any_script(_split(read.lower()))
    styled = text != read and _STYLED.search("".join(signs)) is not None
    return Words(tuple(words)[:MOST], unseen, styled, long)


def _kept(words: dict[bytes, None]) -> tuple[list[bytes], int]:
    """Those of ASCII words that are neither too short nor too long, and how many are too long."""
    for letter in _LETTERS & words.keys():
        del words[letter]
    if max(map(len, words), default=0) <= LONGEST:
        return list(words), 0
    kept = [word for word in words if len(word) <= LONGEST]
    return kept, len(words) - len(kept)


def _of_any_script(octets: bytes) -> tuple[Iterable[bytes], int]:
    """Of words in lower case with blanks between those that are kept, and how many are too long."""
    if octets.count(b" ") < MOST - 1:  # no more words than are kept
        if octets.isascii():
            kept, long = _kept(dict.fromkeys(octets.translate(_ASCII).split()))
            return kept, long and len([word for word in dict.fromkeys(octets.split()) if len(word) > LONGEST])
        if _BY_CHARACTER.search("".join(frozenset(octets.translate(None, _OF_ASCII).decode()))) is None:
            return _spaced(octets)
    return _one_by_one(octets)


def _spaced(octets: bytes) -> tuple[Iterable[bytes], int]:
    """The same for words of which none is to be looked at character by character, unless it is long."""
    words = dict.fromkeys(octets.translate(_ZEROS).split())
    for letter in _LETTERS & words.keys():
        del words[letter]
    if max(map(len, words), default=0) <= LONGEST:
        return words, 0
    long = [word for word in dict.fromkeys(octets.split()) if len(word) > LONGEST and len(word.decode()) > LONGEST]
    return [word for word in words if len(word) <= LONGEST or len(word.decode()) <= LONGEST], len(long)


def _one_by_one(octets: bytes) -> tuple[Iterable[bytes], int]:
    """The same whatever comes."""
    words: list[bytes] = []
    long = 0
    for word in dict.fromkeys(octets.split()):
        if len(words) >= MOST:
            break
        if word.isascii():
            if 1 < len(word) <= LONGEST or word == b"$":
                words.append(word.translate(_ASCII))
            else:
                long += len(word) > LONGEST
            continue
        spelt = word.decode("utf-8", "replace")
        if (run := _UNSPACED.search(spelt)) is not None:
            words += [run[0][n : n + 2].encode("utf-8", "replace") for n in range(min(len(run[0]) - 1, 200))]
        elif len(spelt) <= LONGEST:
            words.append(_DIGITS.sub("0", spelt).encode("utf-8", "replace"))
        else:
            long += 1
    return dict.fromkeys(words), long


def foreign(text: str) -> frozenset[str]:
    """The different characters of a text that are not ASCII."""
    octets = text.encode("utf-8", "surrogatepass").translate(None, _OF_ASCII)
    return frozenset(octets.decode("utf-8", "surrogatepass"))


def _split(text: str) -> bytes:
    """What `_WORD` finds, as UTF-8, with blanks between; where few signs are to be replaced, without asking it."""
    signs = [sign for sign in foreign(text) if not sign.isalnum()]
    if len(signs) > _FEW:
        return " ".join(_WORD.findall(text)).encode("utf-8", "replace")
    return _divided(text, dict(zip(signs, map(_between, signs), strict=True)))


def _divided(text: str, spelling: Mapping[str, str]) -> bytes:
    for sign, spelt in spelling.items():
        text = text.replace(sign, spelt)
    return text.encode("utf-8", "replace").translate(_BLANKS).replace(b"$", b" $")


def _between(sign: str) -> str:
    """What stands for a sign where words are split: those of money begin a word, others that are no letter end it."""
    return sign if sign.isalnum() else " " + sign if sign in "€£¥" else " "


_STYLED = re.compile("[\u24b6-\u24e9\uff21-\uff5a\U0001d400-\U0001d7ff\U0001f130-\U0001f189]")
"""Mathematical and enclosed letters, as nobody's keyboard has them."""
_ALONE = {
    sign: "".join(map(_between, unicodedata.normalize("NFKC", sign).lower()))
    for sign in map(chr, (*range(0x80, 0x300), *range(0x2010, 0x20D0), *range(0x2100, 0x2C00)))
}
"""Letters and signs that never become one with those beside them: for each what stands for it, in lower case."""
