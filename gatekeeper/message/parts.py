"""A part of a message and everything that can be said of it: its text in every charset that a program would take."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from gatekeeper.message.charset import decode, hides_ascii, marked_as_utf16, wide_codec
from gatekeeper.message.parameters import Parameterised
from gatekeeper.message.transfer import LONGEST, Encoding, beginning, undo
from gatekeeper.wire.headers import Header


class Ambiguity(StrEnum):
    """Why two programs may see different parts."""

    CONTENT_TYPES = "content_types"  # several Content-Type fields, or a malformed one
    ENCODINGS = "encodings"  # several Content-Transfer-Encoding fields that do not agree
    ENCODING_UNKNOWN = "encoding_unknown"  # a name that the standard does not know
    ENCODED_MULTIPART = "encoded_multipart"  # an encoding where none may be (RFC 2045 §6.4)
    PARAMETER = "parameter"  # a parameter that can be read in two ways
    BOUNDARIES = "boundaries"  # several boundaries
    BOUNDARY_MISSING = "boundary_missing"  # none is named
    BOUNDARY_UNUSED = "boundary_unused"  # the one that is named does not occur
    BOUNDARY_PREFIX = "boundary_prefix"  # lines begin with it and go on
    BOUNDARY_NESTED = "boundary_nested"  # a part has its container's boundary
    TERMINATOR_MISSING = "terminator_missing"
    TERMINATOR_EARLY = "terminator_early"  # parts follow the last boundary
    HEADER_BROKEN = "header_broken"  # a line in a part's header is no field: some end the header there
    HEADER_ENDLESS = "header_endless"  # no empty line ends a part's header
    BASE64 = "base64"  # characters that are no code, or an end in the middle
    QUOTED_PRINTABLE = "quoted_printable"
    CHARSET = "charset"  # the octets mean another text to a program that does not know the charset
    EIGHT_BIT = "eight_bit"  # an 8-bit part header


# What many harmless programs do every day; of interest, and no more than that.
HARMLESS = frozenset({Ambiguity.TERMINATOR_MISSING, Ambiguity.EIGHT_BIT, Ambiguity.QUOTED_PRINTABLE})


@dataclass(frozen=True, slots=True)
class Limits:
    """Budgets of one message; what goes beyond them is left out, and said so."""

    parts: int = 500  # over all readings
    others: int = 200  # of those, in other readings than the first
    depth: int = 20
    header: int = 65_536  # octets of one part's header
    headers: int = 1_048_576  # octets of all parts' headers
    body: int = 64 * 1_048_576  # octets of the message that are looked at
    text: int = 262_144  # decoded octets of text
    undone: int = 1_048_576  # decoded octets of containers that are encoded, with all that they hold
    delimiters: int = 5_000  # lines that begin with two hyphens
    readings: int = 4  # of one part


LIMITS = Limits()


class LeftOut(StrEnum):
    """Which budget was spent."""

    PARTS = "parts"
    DEPTH = "depth"
    HEADER = "header"
    BODY = "body"
    TEXT = "text"
    DELIMITERS = "delimiters"
    READINGS = "readings"
    HTML = "html"  # tags, attributes or references of all pages (html.Room)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One part in one reading.

    `number` is its place ("1.2"; "" is the message itself). `reading` is 0 for what most programs see, and counts up
    for what others see in the same place. `media` is its type in lower case, `names` every file name that a program
    could show. `octets` are still encoded, a view that costs nothing.
    """

    number: str
    depth: int
    reading: int
    media: str
    content: Parameterised
    encoding: Encoding
    disposition: str
    names: tuple[str, ...]
    header: Header
    octets: memoryview
    container: bool = False

    @property
    def name(self) -> str:
        return self.names[0] if self.names else ""

    @property
    def charset(self) -> str:
        return self.content.first("charset")

    @property
    def is_html(self) -> bool:
        return self.media in _HTML or self.name.lower().endswith(_HTML_NAMES)

    @property
    def is_text(self) -> bool:
        """Whether programs show it as text; a file that is attached is one only if it is text."""
        return not self.container and (self.media.startswith(("text/", "message/")) or self.is_html)

    def decoded(self, limit: int) -> bytes:
        """At most `limit` octets (about) with the transfer encoding undone. Never raises."""
        return undo(self._beginning(limit)[0], self.encoding).octets

    def text(self, limit: int, noted: dict[Ambiguity, None] | None = None) -> str:
        """The text, of at most `limit` octets. `noted` gets what makes readers differ."""
        return self.read(limit, noted)[0]

    def read(self, limit: int, noted: dict[Ambiguity, None] | None = None) -> tuple[str, bool]:
        """The same, and whether that is all of it."""
        some, all_there = self._beginning(limit)
        made = undo(some, self.encoding, limit + 1)
        charsets = self.content.parameters.get("charset") or (self._declared_inside(made.octets),)
        declared = any(charsets)
        names = [*charsets[:CHARSETS]]
        marked = marked_as_utf16(made.octets)
        if marked and declared:
            names.append("utf-16")
        if any(hides_ascii(charset) for charset in charsets) or (marked and not declared):
            names.append("windows-1252" if marked else "")
        most = limit // len(names)
        whole = all_there and len(made.octets) <= most
        if whole or (self.reading and len(made.octets) <= most):  # of much that is no code nothing further is sought
            texts = dict.fromkeys(decode(made.octets[:most], name) for name in names)
        else:
            texts = self._texts_shown(names, made.octets, most)
        if noted is not None:
            if made.broken:
                noted[_BROKEN.get(self.encoding, Ambiguity.ENCODINGS)] = None
            if len(texts) > 1 and declared:
                noted[Ambiguity.CHARSET] = None
        return "\n".join(texts), whole

    def _beginning(self, limit: int) -> tuple[bytes, bool]:
        """Encoded octets that make `limit` others, and whether they are all there are."""
        octets = self.octets
        if self.reading:  # in all readings but the first the same octets may stand hundreds of times
            octets = octets[: limit * LONGEST + PASSED]
        some, all_there = beginning(octets, self.encoding, limit)
        return some, all_there and len(octets) == len(self.octets)

    def _texts_shown(self, charsets: list[str], octets: bytes, most: int) -> dict[str, None]:
        """What is shown of a text that is too long and begins with these octets, in each charset."""
        shown: dict[str | None, bytes] = {}
        texts: dict[str, None] = {}
        for charset in charsets:
            wide = wide_codec(octets, charset)
            if wide not in shown:
                shown[wide] = self._shown(most, wide)
            texts[decode(shown[wide], charset if wide is None else "utf-8")] = None
        return texts

    def _shown(self, most: int, wide: str | None) -> bytes:
        """Of a text that is too long its beginning, and its end without what nobody sees: that may come first.

        In UTF-8 where a letter of ASCII is more than one octet, which is read by the codec `wide`.
        """
        octets = self.decoded(FURTHER * most)[: FURTHER * most]
        if wide is not None:
            octets = octets.decode(wide, "replace").encode()
        place = most * 2 // 3
        head = octets[:place]
        if self.is_html:
            begun = head.rfind(b"<!--")
            ended = _COMMENT_END.search(octets, begun + 2) if begun >= 0 else None
            if ended is not None and ended.end() > place:  # it was cut in a comment
                place = ended.start()
            stop = max(octets.rfind(b"-->") + 3, octets.rfind(b"--!>") + 4, place)  # each before it has its end
            rest = octets[place:stop]
            rest = (_COMMENT.sub(b"", rest) if b"<!--" in rest else rest) + octets[stop:]
        else:
            rest = octets[place:]
        if rest.translate(_BLANK).find(b" " * BLANKS) >= 0:  # a twentieth of what the next line costs
            rest = _BLANKS.sub(b"\r\n", rest)
        room = most - len(head)
        if len(rest) > room:
            joint = (_ends(head) if self.is_html else b"\r\n")[:room]
            rest = joint + rest[len(rest) - room + len(joint) :]
        return head + rest

    def _declared_inside(self, octets: bytes) -> str:
        """What an HTML page says of its charset, where its header does not."""
        if not self.is_html:
            return ""
        found = _META_CHARSET.search(octets[:2048])
        return found[1].decode("ascii", "replace") if found else ""


CHARSETS = 3
"""In how many charsets one part is read, where it names several."""
PASSED = 131_072
"""Octets that are no code and are passed over in other readings than the first, beside what is read."""
FURTHER = 8
"""How many times its budget a text is looked through for what people see."""
_COMMENT = re.compile(rb"<!--(?:-?>|.*?--!?>)", re.DOTALL)
_COMMENT_END = re.compile(rb"--!?>")
BLANKS = 64
"""So many blanks in a row are one, in a text that is too long."""
_BLANK = bytes.maketrans(b"\t\r\n", b"   ")
_BLANKS = re.compile(rb"[ \t\r\n]{%d,}+" % BLANKS)
_RAW = (b"style", b"script", b"title", b"textarea")
_BROKEN = {Encoding.BASE64: Ambiguity.BASE64, Encoding.QUOTED_PRINTABLE: Ambiguity.QUOTED_PRINTABLE}
_HTML = frozenset({"text/html", "application/xhtml+xml", "image/svg+xml"})
_HTML_NAMES = (".html", ".htm", ".shtml", ".xhtml", ".svg")
_META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s{0,8}=\s{0,8}[\"']?([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)


def _ends(head: bytes) -> bytes:
    """What ends whatever stands open where a page was cut, so that what follows is read as its text."""
    lower = head.lower()
    return b"-->\"'>" + b"".join(b"</%b>" % raw for raw in _RAW if lower.rfind(b"<" + raw) > lower.rfind(b"</" + raw))


@dataclass(frozen=True, slots=True, eq=False)
class Mime:
    """All parts, containers before what they hold; those of other readings after those of the first."""

    parts: tuple[Part, ...]
    ambiguities: tuple[Ambiguity, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    @property
    def leaves(self) -> Iterator[Part]:
        return (part for part in self.parts if not part.container)

    @property
    def ambiguous(self) -> bool:
        """Whether two programs might show two different messages."""
        return not HARMLESS.issuperset(self.ambiguities)
