"""Content-Transfer-Encoding undone, as leniently as mail programs do (RFC 2045 §6), and never an error."""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass
from enum import StrEnum

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_NOT_BASE64 = bytes(set(range(256)) - set(_ALPHABET))
_BLANK_OR_BASE64 = _ALPHABET + b"\r\n\t "
_BLANK_BEFORE_END = re.compile(rb"(?<![ \t])[ \t]++(?=\r?\n|\Z)")
_BAD_ESCAPE = re.compile(rb"=(?![0-9A-Fa-f]{2}|\r?\n|\Z)")
_LINES = re.compile(rb"[^\r\n]++")
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
    found, broken, inside = [], False, False
    for n, match in enumerate(_LINES.finditer(octets)):
        line = match[0]
        if not inside:
            inside = line.startswith(b"begin ")
            continue
        if line.startswith(b"end") or n > UU_LINES:
            break
        try:
            found.append(binascii.a2b_uu(line)[: len(line)])  # it would make zeros of what a short line lacks
        except binascii.Error:
            broken = True
    return Decoded(b"".join(found), broken) if inside else Decoded(octets, broken=True)
