"""Text -> the words that a classifier learns by: lower case, numbers by their length, in bounded room. Linear."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

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
# Scripts that are written without blanks between words; of those, every two neighbours make a word.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]{2,}")


@dataclass(frozen=True, slots=True)
class Words:
    """The different words of a text, in order. `unseen`: characters that nobody sees, such as zero-width blanks.

    `styled`: letters that are drawn like others ("𝐅𝐫𝐞𝐞"), read as what they look like. `long`: words beyond the limit.
    """

    found: tuple[bytes, ...] = ()
    unseen: int = 0
    styled: bool = False
    long: int = 0


def words_of(text: str) -> Words:
    """The words of a text, as UTF-8. Never raises."""
    if text.isascii():
        split = dict.fromkeys(text.encode("ascii").translate(_ASCII).split())
        kept = [word for word in split if 1 < len(word) <= LONGEST or word == b"$"]
        left_out = len(split) - len(kept)  # many are of one letter, few are long
        return Words(tuple(kept[:MOST]), long=left_out and len([1 for word in split if len(word) > LONGEST]))
    unseen = 0
    if not _HAS_UNSEEN.isdisjoint(foreign(text)):
        text, unseen = _UNSEEN.subn("", text)
    read = unicodedata.normalize("NFKC", text)
    words: list[bytes] = []
    long = 0
    for word in dict.fromkeys(_split(read.lower())):
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
    return Words(tuple(dict.fromkeys(words))[:MOST], unseen, _is_styled(text, read), long)


def foreign(text: str) -> frozenset[str]:
    """The different characters of a text that are not ASCII."""
    octets = text.encode("utf-8", "surrogatepass").translate(None, _OF_ASCII)
    return frozenset(octets.decode("utf-8", "surrogatepass"))


def _split(text: str) -> list[bytes]:
    """What `_WORD` finds, as UTF-8. A text of few foreign signs, which most are, is split without asking it."""
    signs = [sign for sign in foreign(text) if not sign.isalnum()]
    if len(signs) > _FEW:
        return [word.encode("utf-8", "replace") for word in _WORD.findall(text)]
    for sign in signs:
        text = text.replace(sign, " " + sign if sign in "€£¥" else " ")
    return text.encode("utf-8", "replace").translate(_BLANKS).replace(b"$", b" $").split()


def _is_styled(text: str, read: str) -> bool:
    """Whether there are mathematical or enclosed letters in it, as nobody's keyboard has them."""
    return text != read and _STYLED.search(text) is not None


_STYLED = re.compile("[\u24b6-\u24e9\uff21-\uff5a\U0001d400-\U0001d7ff\U0001f130-\U0001f189]")
