"""Content-Transfer-Encoding undone, as leniently as mail programs do (RFC 2045 §6), and never an error."""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass
from enum import StrEnum

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_NOT_BASE64 = bytes(set(range(256)) - set(_ALPHABET))
_NOT_CODE = _NOT_BASE64 + b"="
_BLANK_OR_BASE64 = _ALPHABET + b"\r\n\t "
_BLANK_BEFORE_END = re.compile(rb"(?<![ \t])[ \t]++(?=\r?\n|\Z)")
_BAD_ESCAPE = re.compile(rb"=(?![0-9A-Fa-f]{2}|\r?\n|\Z)")
_LINES = re.compile(rb"[^\r\n]++")
_ENDS = re.compile(rb"={3,}+")
_SOFT_BREAK = re.compile(rb"=[ \t]*+\r?\n")
_SOFT_BREAK_CUT = re.compile(rb"=[ \t]*+\r?\Z")
_BEGIN = b"begin "
PIECE = 65_536
"""Octets that are looked at at once for code among what is none."""
SEGMENTS = 64
"""How many pieces of base64, each with its own end, are read in one part."""
UU_LINES = 20_000
ESCAPES_IN = 256 * 1024
"""Octets of quoted-printable in which escapes that are none are looked for."""


class Encoding(StrEnum):
    """How the octets of a part are written."""

    AS_IS = "as_is"  # 7bit, 8bit, binary, and whatever nobody knows
    BASE64 = "base64"
    QUOTED_PRINTABLE = "quoted-printable"
    UUENCODE = "uuencode"  # no standard, and still read


_NAMES = {
    "": Encoding.AS_IS,
    "7bit": Encoding.AS_IS,
    "8bit": Encoding.AS_IS,
    "binary": Encoding.AS_IS,
    "base64": Encoding.BASE64,
    "quoted-printable": Encoding.QUOTED_PRINTABLE,
    "x-uuencode": Encoding.UUENCODE,
    "uuencode": Encoding.UUENCODE,
    "x-uue": Encoding.UUENCODE,
    "uue": Encoding.UUENCODE,
}
_TOKEN = re.compile(r"[\s\"']*+([A-Za-z0-9-]{1,40})")


def encoding_of(value: str) -> tuple[Encoding, bool]:
    """The encoding that a field's value names, and whether it does so in the way the standard knows."""
    known = _NAMES.get(value.lower())
    if known is not None:
        return known, True
    token = _TOKEN.match(value)
    known = _NAMES.get(token[1].lower()) if token else None
    return (known or Encoding.AS_IS), False


@dataclass(frozen=True, slots=True)
class Decoded:
    """The octets, and whether readers may see others: something that is no code stood among them."""

    octets: bytes
    broken: bool = False


_LONGER = {Encoding.AS_IS: 1, Encoding.BASE64: 2, Encoding.QUOTED_PRINTABLE: 3, Encoding.UUENCODE: 2}
LONGEST = max(_LONGER.values())
"""How many times as long as its text a part may be, what is no code left out."""


def beginning(octets: memoryview, encoding: Encoding, limit: int) -> tuple[bytes, bool]:
    """Encoded octets that make `limit` others, about, and whether they are all there are.

    What readers pass over (RFC 2045 §6.7, §6.8) takes none of the room, however much of it comes first. Linear in the
    number of octets, and what is kept of them is not more than some times `limit`.
    """
    if encoding is Encoding.UUENCODE:
        octets = octets[max(_begin(octets), 0) :]
    most = limit * _LONGER[encoding]
    first = bytes(octets[:most])
    if len(octets) <= most:
        return first, True
    if encoding is Encoding.BASE64:
        return _base64_beginning(octets, first, (limit // 3 + 1) * 4)
    if encoding is Encoding.QUOTED_PRINTABLE and len(_SOFT_BREAK_CUT.sub(b"", _SOFT_BREAK.sub(b"", first))) < 2 * limit:
        return _quoted_beginning(octets, most)
    return first, False


def code_in(octets: bytes, encoding: Encoding) -> int:
    """How many of these octets are code, at least, and not passed over. Cheap."""
    if encoding is Encoding.BASE64:
        return len(octets.translate(None, _NOT_CODE))
    if encoding is Encoding.QUOTED_PRINTABLE:
        return len(octets.translate(None, b"= \t\r\n"))
    return len(octets)


def _base64_beginning(octets: memoryview, first: bytes, wanted: int) -> tuple[bytes, bool]:
    count, place, odd = code_in(first, Encoding.BASE64), len(first), False
    found = bytearray(first)
    while count < wanted and place < len(octets):
        piece = bytes(octets[place : place + PIECE])
        place += len(piece)
        code = _ENDS.sub(b"==", piece.translate(None, _NOT_BASE64))
        count += code_in(code, Encoding.BASE64)
        found += code
        if not odd and piece.translate(None, _BLANK_OR_BASE64):
            odd = True
            found += b"*"  # one for all, so that it is seen that there are such
    return bytes(found), place >= len(octets)


def _quoted_beginning(octets: memoryview, wanted: int) -> tuple[bytes, bool]:
    found, carry, place = bytearray(), b"", 0
    while len(found) < wanted and place < len(octets):
        piece = carry + bytes(octets[place : place + PIECE])
        place += PIECE
        piece = _SOFT_BREAK.sub(b"", piece.replace(b"=\r\n", b""))  # most are of that kind, and so it is faster
        cut, carry = _SOFT_BREAK_CUT.search(piece), b""
        if cut is not None:
            carry = b"=\r" if piece.endswith(b"\r") else b"="
            piece = piece[: cut.start()]
        found += piece
    return bytes(found + carry), place >= len(octets)


def undo(octets: bytes, encoding: Encoding, limit: int | None = None) -> Decoded:
    """What the octets stand for; after `limit` of them, about, it may end. Linear in their number, never raises."""
    if encoding is Encoding.BASE64:
        return _base64(octets, limit)
    if encoding is Encoding.QUOTED_PRINTABLE:
        return _quoted_printable(octets)
    if encoding is Encoding.UUENCODE:
        return _uuencode(octets)
    return Decoded(octets)


def _base64(octets: bytes, limit: int | None = None) -> Decoded:
    """What is no code is passed over. Where an end stands in the middle some stop and some go on: all of it is read."""
    code = octets.translate(None, _NOT_BASE64)
    if b"===" in code:
        code = _ENDS.sub(b"==", code)
    if limit is not None:
        code = code[: (limit // 3 + 1) * 4]
    broken = bool(octets.translate(None, _BLANK_OR_BASE64))
    body = code.rstrip(b"=")
    if b"=" not in body:
        return Decoded(_plain_base64(body), broken or len(body) % 4 == 1)
    pieces = [piece for piece in body.split(b"=", SEGMENTS) if piece]
    return Decoded(b"".join(_plain_base64(piece.replace(b"=", b"")) for piece in pieces), broken=True)


def _plain_base64(code: bytes) -> bytes:
    left = len(code) % 4
    if left == 1:  # six bits are no octet
        code, left = code[:-1], 0
    return binascii.a2b_base64(code + b"=" * (-left % 4))


def _quoted_printable(octets: bytes) -> Decoded:
    if b" \r\n" in octets or b"\t\r\n" in octets:
        octets = _BLANK_BEFORE_END.sub(b"", octets)  # added on the way (RFC 2045 §6.7, rule 3)
    return Decoded(binascii.a2b_qp(octets), _BAD_ESCAPE.search(octets[:ESCAPES_IN]) is not None)


def _uuencode(octets: bytes) -> Decoded:
    begin = _begin(memoryview(octets))
    if begin < 0:
        return Decoded(octets, broken=True)
    found, broken = [], False
    lines = _LINES.finditer(octets, begin)
    next(lines)
    for n, match in enumerate(lines):
        line = match[0]
        if line.startswith(b"end") or n > UU_LINES:
            break
        try:
            found.append(binascii.a2b_uu(line)[: len(line)])  # it would make zeros of what a short line lacks
        except binascii.Error:
            broken = True
    return Decoded(b"".join(found), broken)


def _begin(octets: memoryview) -> int:
    """Where the first line that begins a file stands, -1 where none does. Lets others go on in between."""
    if octets[: len(_BEGIN)] == _BEGIN:
        return 0
    for place in range(0, len(octets), PIECE):
        piece = bytes(octets[place : place + PIECE + len(_BEGIN)])
        found = [at for end in (b"\n", b"\r") if (at := piece.find(end + _BEGIN)) >= 0]
        if found:
            return place + min(found) + 1
    return -1
