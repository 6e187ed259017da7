"""The one reader of header fields (RFC 5322 §2.2, RFC 6532): bytes -> fields, none of them dropped."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import NamedTuple


class Defect(StrEnum):
    """What is wrong with a field; a reader more lenient than RFC 5322 might see something else in it."""

    NO_COLON = "no_colon"
    NO_NAME = "no_name"  # the colon comes first
    BLANK_BEFORE_COLON = "blank_before_colon"  # obsolete syntax (§4.5.8), which some readers take and some do not
    LEADING_BLANK = "leading_blank"  # a continuation line with nothing before it
    FOLDED_NAME = "folded_name"
    BAD_NAME = "bad_name"  # a control character, 8-bit or a blank inside the name
    NUL = "nul"
    BARE_CR = "bare_cr"
    BARE_LF = "bare_lf"  # taken as the end of a line, as most readers do
    UNTERMINATED = "unterminated"  # no CRLF at its end
    MAILBOX_LINE = "mailbox_line"  # the "From " line of an mbox file before all fields
    TOO_MANY = "too_many"  # all the fields after the first `MOST_FIELDS`, which are not read


MOST_FIELDS = 2000
"""Fields of one header that are read, which takes up to 20 ms where none of them is sound; real mail has under 300."""

_SOUND: frozenset[Defect] = frozenset()


class Field(NamedTuple):
    """One header field. (A NamedTuple: a frozen dataclass takes three times as long to make, and there are many.)

    `name` is lower case and has nothing but the characters a name may have, so that a disguised field is still found
    under its name; "" when there is none. `value` is what stood after the colon, folds included, without the CRLF at
    its end. `raw` is the whole field, its CRLF included. `index` counts from 0.
    """

    name: str
    raw_name: bytes
    value: bytes
    raw: bytes
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody asks of a field
    defects: frozenset[Defect] = _SOUND

    @property
    def text(self) -> str:
        return unfold(self.value)


@dataclass(frozen=True, slots=True)
class Header:
    """All fields in their order. The `raw` of all of them, joined, is the block they were read from."""

    fields: tuple[Field, ...]
    by_name: dict[str, list[Field]]
    malformed: tuple[Field, ...]  # those with defects

    def all(self, name: str) -> list[Field]:
        """Every field of that (lower-case) name, malformed ones too; [] when there is none."""
        return self.by_name.get(name, [])

    def first(self, name: str) -> Field | None:
        found = self.by_name.get(name)
        return found[0] if found else None


# Either a field as it should be, or whatever stands there up to a line that does not begin with a blank.
_FIELD = re.compile(
    rb"((?:([!-9;-~]++):([^\r\n]*+(?:\r\n[ \t][^\r\n]*+)*+)\r\n)|[^\n]*+\n?+(?:(?<=\n)[ \t][^\n]*+\n?+)*+)"
)
_NEXT_FIELD = re.compile(rb"\r\n(?![ \t])")
_NOT_OF_NAMES = bytes(set(range(256)) - set(range(0x21, 0x7F)) | {0x3A})
_LINE_END = re.compile(rb"\r?\n\Z")
_BARE_CR = re.compile(rb"\r(?!\n)")
_BARE_LF = re.compile(rb"(?<!\r)\n")
_MAILBOX_LINE = re.compile(rb">*From (?! *:)")
_BLANKS = b" \t\r\n"


_new = tuple.__new__  # what a named tuple's own call comes to, in half the time


class _Names(dict[bytes, str]):
    """Names of fields in lower case, by those that were written; "" for what is no name. They are the same hundred in
    every message.
    """

    MOST = 4096  # of at most `LONGEST` octets; then all are forgotten
    LONGEST = 80

    def __missing__(self, raw_name: bytes) -> str:
        name = raw_name.lower().decode("ascii") if raw_name.translate(None, _NOT_OF_NAMES) == raw_name else ""
        if len(raw_name) <= self.LONGEST:
            if len(self) >= self.MOST:
                self.clear()
            self[raw_name] = name
        return name


_NAMES = _Names()


def parse_header(block: bytes) -> Header:
    """Read a header block: all lines before the empty one, each ending in CRLF. Takes any bytes, never raises.

    What comes after `MOST_FIELDS` stands there as one malformed field without a name.
    """
    lines = block.count(b"\r\n")
    canonical = len(block) - len(block.translate(None, b"\r\n\0")) == 2 * lines and block.endswith(b"\r\n")
    return _canonical(block) if canonical and lines <= MOST_FIELDS else _any(block)


def _canonical(block: bytes) -> Header:
    """The fields of a block of whole lines without NUL: where one ends needs no more than a look for the next."""
    fields: list[Field] = []
    by_name: dict[str, list[Field]] = {}
    for index, line in enumerate(_NEXT_FIELD.split(block[:-2])):
        raw_name, colon, value = line.partition(b":")
        name = _NAMES[raw_name] if colon else ""
        if name:
            field = _new(Field, (name, raw_name, value, line + b"\r\n", index, _SOUND))
        else:
            field = _malformed(line + b"\r\n", index)
            name = field.name
        fields.append(field)
        if name in by_name:
            by_name[name].append(field)
        else:
            by_name[name] = [field]
    return Header(tuple(fields), by_name, tuple([field for field in fields if field.defects]))


def _any(block: bytes) -> Header:
    """The fields of any block."""
    if field_count(block) > MOST_FIELDS:
        found = [match.groups(b"") for match in islice(_FIELD.finditer(block), MOST_FIELDS)]
    else:
        found = _FIELD.findall(block)
    made = [  # a list is made faster than a generator is drained
        _new(Field, (_NAMES[raw_name], raw_name, value, raw, index, _SOUND))
        if raw_name and b"\0" not in value
        else _malformed(raw, index)
        for index, (raw, raw_name, value) in enumerate(found)
        if raw
    ]
    if len(made) == MOST_FIELDS and (rest := block[sum(len(field.raw) for field in made) :]):
        made.append(Field("", b"", rest, rest, MOST_FIELDS, frozenset({Defect.TOO_MANY})))
    fields = tuple(made)
    by_name: dict[str, list[Field]] = {}
    for field in fields:
        by_name.setdefault(field.name, []).append(field)
    return Header(fields, by_name, tuple([field for field in fields if field.defects]))


def field_count(block: bytes) -> int:
    """How many fields a header block has, at least; takes next to no time."""
    return block.count(b"\n") - block.count(b"\n ") - block.count(b"\n\t")


def _malformed(raw: bytes, index: int) -> Field:
    end = _LINE_END.search(raw)
    line = raw[: end.start()] if end else raw
    if index == 0 and _MAILBOX_LINE.match(line):
        return Field("", b"", line, raw, index, frozenset({Defect.MAILBOX_LINE}))
    raw_name, colon, value = line.partition(b":")
    defects = set()
    if not colon:
        raw_name, value = b"", line
        defects.add(Defect.NO_COLON)
    else:
        bare = raw_name.strip(_BLANKS)
        if not bare:
            defects.add(Defect.NO_NAME)
        if bare.translate(None, _NOT_OF_NAMES) != bare:
            defects.add(Defect.BAD_NAME)
        if b"\n" in raw_name:
            defects.add(Defect.FOLDED_NAME)
        if raw_name[-1:] in {b" ", b"\t"}:
            defects.add(Defect.BLANK_BEFORE_COLON)
    if line[:1] in {b" ", b"\t"}:
        defects.add(Defect.LEADING_BLANK)
    if b"\0" in line:
        defects.add(Defect.NUL)
    if _BARE_CR.search(line):
        defects.add(Defect.BARE_CR)
    if end is None:
        defects.add(Defect.UNTERMINATED)
    elif _BARE_LF.search(raw):
        defects.add(Defect.BARE_LF)
    name = raw_name.translate(None, _NOT_OF_NAMES).lower().decode("ascii")
    return Field(name, raw_name, value, raw, index, frozenset(defects))


def unfold(value: bytes) -> str:
    """A value on one line, without blanks at its ends: UTF-8 (RFC 6532), else Latin-1, which takes any bytes."""
    plain = value.replace(b"\r\n", b"").replace(b"\n", b"").strip(b" \t")
    try:
        return plain.decode()
    except UnicodeDecodeError:
        return plain.decode("latin-1")


_WORD = re.compile(r"=\?([A-Za-z0-9_.:+-]{1,40})(?:\*[A-Za-z0-9-]{0,40})?\?([BbQq])\?([^?]*+)\?=")
# Python knows codecs that are no charsets, some of them slow on hostile input ("punycode", "idna").
_CHARSET = re.compile(
    r"(?:iso-?8859|windows|cp|ibm|utf-?8|utf-?16|us-ascii|ascii|koi8|gb|hz-gb|big5|euc|s(?:hift)?_?-?jis|iso-2022|"
    r"ks_c_5601|tis-?620|mac|latin)[a-z0-9_.:-]*",
    re.IGNORECASE,
)
_Q = re.compile(rb"=([0-9A-Fa-f]{2})")
WORDS = 2000
"""How many encoded words of one text are decoded; the rest stays as it is."""


def decode_words(text: str) -> str:
    """The text with its encoded words (RFC 2047) decoded; what cannot be decoded stays as it stands. Never raises.

    Words of one charset that follow each other are joined before they are decoded, since many writers cut characters
    in two (against §5).
    """
    if "=?" not in text:
        return text
    out: list[str] = []
    held, charset, source = b"", "", ""  # a run of words of one charset
    position = 0
    for count, word in enumerate(_WORD.finditer(text)):
        if count >= WORDS:
            break
        between = text[position : word.start()]
        octets = _octets(word[2], word[3])
        if octets is None:
            continue  # `position` stays: the word is part of the next stretch of plain text
        if held and not between.strip() and word[1].lower() == charset:
            held, source = held + octets, source + between + word[0]
        else:
            _flush(out, held, charset, source)
            # Blanks between two words are not shown (§6.2).
            out.append("" if source and not between.strip() else between)
            held, charset, source = octets, word[1].lower(), word[0]
        position = word.end()
    _flush(out, held, charset, source)
    out.append(text[position:])
    return "".join(out)


def _flush(out: list[str], held: bytes, charset: str, source: str) -> None:
    if not source:
        return
    if not _CHARSET.fullmatch(charset):
        out.append(source)
        return
    try:
        out.append(held.decode(charset, "replace"))
    except (LookupError, ValueError):
        out.append(source)


def _octets(encoding: str, payload: str) -> bytes | None:
    try:
        plain = payload.encode("ascii")
    except UnicodeEncodeError:
        return None
    if encoding in "Qq":
        return _Q.sub(lambda pair: bytes.fromhex(pair[1].decode()), plain.replace(b"_", b" "))
    try:
        return base64.b64decode(plain.rstrip(b"=") + b"==")
    except binascii.Error:
        return None


def escape(text: str | bytes, limit: int = 200) -> str:
    """Text from a stranger for people's eyes: printable ASCII, everything else escaped, cut at `limit` with dots."""
    if isinstance(text, bytes):
        text = text[: limit + 1].decode("latin-1")
    cut = len(text) > limit
    shown = text[:limit].replace("\\", "\\\\").encode("ascii", "backslashreplace").decode()
    if not shown.isprintable():
        shown = "".join(sign if sign.isprintable() else f"\\x{ord(sign):02x}" for sign in shown)
    return shown + "..." if cut else shown
