"""Octets -> text, as mail programs and browsers decode them (WHATWG Encoding): whatever comes, text comes out."""

from __future__ import annotations

import codecs
import re
from functools import lru_cache

# What is declared, and what programs take it for: Windows' supersets, in which the octets mean what was meant.
_TAKEN_FOR = {
    "ascii": "utf-8",
    "usascii": "utf-8",
    "iso88591": "cp1252",
    "latin1": "cp1252",
    "iso88599": "cp1254",
    "iso885911": "cp874",
    "tis620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "gb231280": "gb18030",
    "cp936": "gb18030",
    "ksc56011987": "cp949",
    "ksc5601": "cp949",
    "euckr": "cp949",
    "shiftjis": "cp932",
    "sjis": "cp932",
    "xsjis": "cp932",
    "big5": "big5hkscs",
    "unicode11utf7": "utf-7",
    "iso88598i": "cp1255",
    "iso88598": "cp1255",
    "windows31j": "cp932",
    "xgbk": "gb18030",
    "utf8mb4": "utf-8",
    "unicode": "utf-16",
    "ucs2": "utf-16",
}
# Python knows codecs that are no charsets, some of them slow on hostile input ("punycode", "idna", "bz2").
_CHARSET = re.compile(
    r"(?:iso-?8859|windows|cp|ibm|utf-?(?:7|8|16|32)|us-?ascii|ascii|koi8|gb|hz|big5|euc|iso-2022|johab|mac|latin)"
    r"[a-z0-9_.:-]{0,30}"
)
_PLAIN = re.compile(r"[^a-z0-9]")


@lru_cache(maxsize=256)
def codec_of(charset: str) -> str | None:
    """Python's codec for a charset's name, by what programs take it for; None for a name that is none."""
    name = charset.strip(" \t\r\n\"'").lower()[:40]
    taken = _TAKEN_FOR.get(_PLAIN.sub("", name))
    if taken is None:
        if not _CHARSET.fullmatch(name):
            return None
        taken = name.replace("windows-", "cp") if name.startswith("windows-") else name
    try:
        return codecs.lookup(taken).name
    except (LookupError, ValueError):
        return None


def decode(octets: bytes, charset: str = "") -> str:
    """The text; octets that mean nothing become U+FFFD. An unknown charset, or none, is UTF-16 behind its mark, UTF-8
    where that fits and else Windows-1252, which takes any octets. Never raises.
    """
    wide = wide_codec(octets, charset)
    if wide is not None:
        return octets.decode(wide, "replace")
    codec = codec_of(charset) if charset else None
    if codec is None or codec == "utf-8":
        try:
            return octets.decode("utf-8-sig" if octets[:3] == codecs.BOM_UTF8 else "utf-8")
        except UnicodeDecodeError:
            if codec is not None and charset and _PLAIN.sub("", charset.lower()).startswith("utf8"):
                return octets.decode("utf-8", "replace")
            return octets.decode("cp1252", "replace")
    if octets.isascii() and _like_ascii(codec):  # which is read fifty times as fast
        return octets.decode("ascii")
    try:
        return octets.decode(codec, "replace")
    except (LookupError, ValueError, UnicodeError):
        return octets.decode("cp1252", "replace")


def wide_codec(octets: bytes, charset: str = "") -> str | None:
    """Python's codec where text is read so that each letter is two octets or four; by its mark, where it has one."""
    codec = codec_of(charset) if charset else None
    if marked_as_utf16(octets) and (codec is None or codec.startswith("utf-16")):
        return "utf-16"
    return codec if codec is not None and codec.startswith(("utf-16", "utf-32")) else None


def marked_as_utf16(octets: bytes) -> bool:
    """Whether browsers read it as UTF-16, whatever was declared, and others by what was."""
    return octets[:2] in _UTF16


def hides_ascii(charset: str) -> bool:
    """Whether a program that does not know the charset sees other text than one that does: its octets are ASCII that
    means something else (UTF-7, HZ, ISO-2022), or no ASCII at all (UTF-16).
    """
    codec = codec_of(charset)
    return codec is not None and codec.startswith(_OTHER_THAN_ASCII)


_UTF16 = frozenset({codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE})
_OTHER_THAN_ASCII = ("utf-7", "utf-16", "utf-32", "hz", "iso2022")
_ASCII = bytes(range(128))


@lru_cache(maxsize=256)
def _like_ascii(codec: str) -> bool:
    """Whether octets that are ASCII mean in that codec what they mean in ASCII, each by itself."""
    return not codec.startswith(_OTHER_THAN_ASCII) and _ASCII.decode(codec, "replace") == _ASCII.decode("ascii")
