"""Domain names that look like others to whoever reads them (UTS 39, RFC 5890 §4.4). Pure."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import idna

# Letters of other alphabets that common fonts draw like the ASCII letter.
_TWINS = str.maketrans(
    {
        twin: plain
        for plain, twins in {
            "a": "аɑα",
            "b": "Ьᑲ",
            "c": "сϲᴄ",
            "d": "ԁ",
            "e": "еҽ",
            "f": "ғ",
            "g": "ɡց",
            "h": "һհ",
            "i": "іıɩι",
            "j": "јϳ",
            "l": "ӏǀ",
            "n": "ոռ",
            "o": "оοօ",
            "p": "рρ",
            "q": "ԛգ",
            "s": "ѕꜱ",
            "u": "սʋ",
            "v": "ѵνᴠ",
            "w": "ԝѡᴡ",
            "x": "х",
            "y": "уү",
            "z": "ᴢ",
        }.items()
        for twin in twins
    }
)
_ALPHABETS = ("LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC", "GEORGIAN")


@lru_cache(maxsize=4096)
def looks_like_another(domain: str) -> bool:
    """Whether a label, as mail programs show it, mixes alphabets, or could be taken for one in ASCII letters.

    `domain` may have A-labels or U-labels. Names below a top level that is not ASCII itself are only held to one
    alphabet: nobody takes them for an ASCII name.
    """
    if "xn--" not in domain and domain.isascii():
        return False
    labels = [_shown(label) for label in domain.split(".")]
    plain_top = labels[-1].isascii()
    return any(
        len(_alphabets(label)) > 1 or (plain_top and label.translate(_TWINS).isascii())
        for label in labels
        if not label.isascii()
    )


def _shown(label: str) -> str:
    if not label.startswith("xn--"):
        return label
    try:
        return idna.ulabel(label)
    except (idna.IDNAError, UnicodeError):
        return label


def _alphabets(label: str) -> set[str]:
    """The alphabets of its letters, of those whose letters are easily taken for each other's."""
    names = (unicodedata.name(sign, "").partition(" ")[0] for sign in label if sign.isalpha())
    return {name for name in names if name in _ALPHABETS}
