"""The parts of a message (RFC 2045, 2046), in linear time and within budgets, in every reading that matters.

Mail programs differ over messages that break the rules, and senders who want to be seen by people and not by filters
break them for that. So this reader does not choose: where a message can be read in two ways it says how
(`Ambiguity`), and gives the parts of each reading that a common program would take. Whoever judges looks at all.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import NamedTuple

from gatekeeper.message.header import header_of
from gatekeeper.message.parameters import Oddity, Parameterised, parse_parameterised
from gatekeeper.message.parts import LIMITS, Ambiguity, LeftOut, Limits, Mime, Part
from gatekeeper.message.transfer import Encoding, encoding_of
from gatekeeper.model import Message
from gatekeeper.wire.headers import Defect, Header, parse_header

LINE = 4096
"""Octets of a line that are compared with a boundary, which has at most 70 (RFC 2046 §5.1.1), and more in life."""
NEAR = 128
"""Octets behind a boundary that are looked through for the next one before the rest is, hyphen by hyphen."""
PIECE = 16 * 1024
"""Octets that are searched in one call, which no other thread can interrupt; ten times as fast without a hyphen."""
LOOKED_THROUGH = 64
"""How many of the lines that begin with a boundary are looked at, for each boundary."""
LONGER = 8
"""How many of them are taken for it."""


def mime_of(message: Message) -> Mime:
    """The parts of a message, read at the first call. Never raises.

    Takes as long as the message is large: `message/content.py` has the way that holds nobody up.
    """
    made: Mime | None = message.memo.get("mime")
    if made is None:
        chunks = list(message.body.chunks())
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        made = message.memo["mime"] = parse_mime(header_of(message), body)
    return made


def parse_mime(header: Header, body: bytes, limits: Limits = LIMITS) -> Mime:
    """Read the body of a message (canonical CRLF) under its header. Takes any bytes, never raises."""
    reader = _Reader(limits)
    if len(body) > limits.body:
        body = body[: limits.body]
        reader.left_out[LeftOut.BODY] = None
    reader.entity(_Section(_Source(body, reader), 0, len(body)), header)
    broken = next((each.index for each in header.malformed if not each.defects.isdisjoint(_NO_FIELD)), None)
    if broken is not None:  # some programs end the header there, and the message begins
        reader.noted[Ambiguity.HEADER_BROKEN] = None
        rest = b"".join([each.raw for each in header.fields[broken:]]) + b"\r\n" + body
        shorter = parse_header(b"".join([each.raw for each in header.fields[:broken]]))
        reader.entity(_Section(_Source(rest, reader), 0, len(rest), reading=1), shorter)
    return Mime(tuple(reader.parts), tuple(reader.noted), tuple(reader.left_out))


class _Source:
    """Octets, and where in them each line stands that may be a boundary: found once, looked up by every container."""

    __slots__ = ("_at", "_in_order", "_named", "_places", "_reader", "octets", "view")

    def __init__(self, octets: bytes, reader: _Reader) -> None:
        self.octets = octets
        self.view = memoryview(octets)
        self._reader = reader
        self._at: dict[bytes, list[int]] | None = None
        self._in_order: list[bytes] = []  # the different ones, sorted
        self._places: list[int] = []  # where those stand that name anything
        self._named: list[bytes] = []  # and what stands there

    def lines(self) -> dict[bytes, list[int]]:
        """For each line that begins with two hyphens, without these and blanks at its end: where it begins."""
        if self._at is not None:
            return self._at
        found: dict[bytes, list[int]] = {}
        octets, count = self.octets, 0
        most, find = self._reader.limits.delimiters, octets.find
        position = 0 if octets.startswith(b"--") else _line_after(octets, 0)
        while position >= 0:
            if count == most:
                self._reader.left_out[LeftOut.DELIMITERS] = None
                break
            count += 1
            end = find(b"\n", position, position + LINE)
            line = octets[position + 2 : end if end >= 0 else position + LINE].rstrip(b" \t\r\n")
            found.setdefault(line, []).append(position)
            if line:
                self._places.append(position)
                self._named.append(line)
            near = find(b"\n--", position, position + NEAR)
            position = near + 1 if near >= 0 else _line_after(octets, position + NEAR - 2)
        self._at, self._in_order = found, sorted(found)
        return found

    def beginning_with(self, mark: bytes) -> tuple[list[bytes], bool]:
        """The different lines that begin so, at most `LOOKED_THROUGH` of them, and whether that are all."""
        self.lines()
        first = bisect_left(self._in_order, mark)
        end = bisect_right(self._in_order, mark, first, key=lambda line: line[: len(mark)])
        return self._in_order[first : min(end, first + LOOKED_THROUGH)], end - first <= LOOKED_THROUGH

    def first_line(self, start: int, end: int) -> bytes:
        """The first of the lines from `start` to `end` that has more than hyphens; b"" where none has."""
        self.lines()
        n = bisect_left(self._places, start)
        return self._named[n] if n < len(self._places) and self._places[n] < end else b""


class _Section(NamedTuple):
    """Where something stands: from `start` to `end` of a source, and its place in the tree."""

    source: _Source
    start: int
    end: int
    number: str = ""
    depth: int = 0
    reading: int = 0
    digest: bool = False  # in a multipart/digest, where a part without a type is a message (RFC 2046 §5.1.5)

    def inner(self, number: int, start: int, end: int, *, reading: int, digest: bool = False) -> _Section:
        name = f"{self.number}.{number}" if self.number else str(number)
        return _Section(self.source, start, end, name, self.depth + 1, reading, digest)


@dataclass(slots=True)
class _Reader:
    limits: Limits
    parts: list[Part] = field(default_factory=list)
    noted: dict[Ambiguity, None] = field(default_factory=dict)
    left_out: dict[LeftOut, None] = field(default_factory=dict)
    headers: int = 0  # octets read of them
    undone: int = 0  # octets of containers that were encoded
    others: int = 0  # parts in other readings than the first
    around: list[bytes] = field(default_factory=list)  # the boundaries of the containers that are being read

    def entity(self, at: _Section, header: Header) -> None:
        """One message or part, in each way its header can be read; its body stands at `at`."""
        if not self._has_room(at.reading):
            return
        contents = self._contents(header, digest=at.digest)
        encodings = self._encodings(header)
        if len(contents) == 1 and len(encodings) == 1:
            self._inside(self._part(at, header, contents[0], encodings[0]), at)
            return
        seen: set[tuple[str, Encoding, str]] = set()
        for content in contents:
            for encoding in encodings:
                boundary = content.first("boundary") if content.value.startswith("multipart/") else ""
                if (content.value, encoding, boundary) in seen:
                    continue
                if len(seen) >= self.limits.readings:
                    self.left_out[LeftOut.READINGS] = None
                    return
                there = at._replace(reading=at.reading + len(seen))
                seen.add((content.value, encoding, boundary))
                self._inside(self._part(there, header, content, encoding), there)

    def section(self, at: _Section) -> None:
        """A part that begins with a header of its own."""
        octets = at.source.octets
        if octets.startswith(b"\r\n", at.start, at.end):
            self.entity(at._replace(start=at.start + 2), _EMPTY)
            return
        most = min(at.end, at.start + self.limits.header)
        stop = octets.find(b"\r\n\r\n", at.start, most)
        if stop >= 0:
            stop, body = stop + 2, stop + 4
        else:
            stop = body = most
            if most < at.end:
                self.left_out[LeftOut.HEADER] = None
            elif at.end > at.start:
                self.noted[Ambiguity.HEADER_ENDLESS] = None
        self.headers += stop - at.start
        if self.headers > self.limits.headers:
            self.left_out[LeftOut.HEADER] = None
            return
        block = octets[at.start : stop]
        if not block.isascii():
            self.noted[Ambiguity.EIGHT_BIT] = None
        header = parse_header(block)
        self.entity(at._replace(start=body), header)
        if header.malformed:
            self._broken_header(at, header)

    def _broken_header(self, at: _Section, header: Header) -> None:
        """The reading of those programs that end a header at the first line that is no field."""
        place = at.start
        for each in header.fields:
            if not each.defects.isdisjoint(_NO_FIELD):
                break
            place += len(each.raw)
        else:
            return
        self.noted[Ambiguity.HEADER_BROKEN] = None
        shorter = parse_header(at.source.octets[at.start : place])
        self.entity(at._replace(start=place, reading=at.reading + 1), shorter)

    def _has_room(self, reading: int) -> bool:
        if len(self.parts) >= self.limits.parts or (reading and self.others >= self.limits.others):
            self.left_out[LeftOut.PARTS] = None
            return False
        return True

    # -- what a header says

    def _contents(self, header: Header, *, digest: bool) -> list[Parameterised]:
        """Each Content-Type that a program might take; plain text where there is none."""
        fields = header.all("content-type")
        if not fields:
            return _DIGESTED if digest else _PLAIN
        found = [parse_parameterised(each.text) for each in fields[: self.limits.readings]]
        if len(fields) > 1 and len({(each.value, each.first("boundary")) for each in found}) > 1:
            self.noted[Ambiguity.CONTENT_TYPES] = None
        if fields[0].defects - {Defect.UNTERMINATED}:
            self.noted[Ambiguity.CONTENT_TYPES] = None
            found += _PLAIN  # to whom the field is none
        for each in found:
            if each.value.startswith("multipart/") and len(each.parameters.get("boundary", ())) > 1:
                self.noted[Ambiguity.BOUNDARIES] = None
            elif not _DIFFER.isdisjoint(each.oddities):
                self.noted[Ambiguity.PARAMETER] = None
        return [each if "/" in each.value else _as_text(each) for each in found]

    def _encodings(self, header: Header) -> list[Encoding]:
        fields = header.all("content-transfer-encoding")
        if not fields:
            return _AS_IS
        found: dict[Encoding, None] = {}
        for each in fields[: self.limits.readings]:
            encoding, known = encoding_of(each.text)
            found[encoding] = None
            if not known:
                self.noted[Ambiguity.ENCODING_UNKNOWN] = None
                if encoding is not Encoding.AS_IS:
                    found[Encoding.AS_IS] = None  # to whom the word is unknown
        if len(found) > 1 and len(fields) > 1:
            self.noted[Ambiguity.ENCODINGS] = None
        return list(found)

    def _part(self, at: _Section, header: Header, content: Parameterised, encoding: Encoding) -> Part | None:
        if not self._has_room(at.reading):
            return None
        self.others += at.reading > 0
        disposition = header.first("content-disposition")
        disposed = _NOWHERE if disposition is None else parse_parameterised(disposition.text)
        if not _DIFFER.isdisjoint(disposed.oddities):
            self.noted[Ambiguity.PARAMETER] = None
        names = (*disposed.parameters.get("filename", ()), *content.parameters.get("name", ()))
        part = Part(
            at.number,
            at.depth,
            at.reading,
            content.value,
            content,
            encoding,
            disposed.value,
            tuple(dict.fromkeys([name.strip() for name in names])) if names else (),
            header,
            at.source.view[at.start : at.end],
            container=content.value.startswith("multipart/") or content.value in _MESSAGES,
        )
        self.parts.append(part)
        return part

    # -- what a container holds

    def _inside(self, part: Part | None, at: _Section) -> None:
        if part is None or not part.container:
            return
        if part.depth >= self.limits.depth:
            self.left_out[LeftOut.DEPTH] = None
            return
        if part.encoding is not Encoding.AS_IS:
            self.noted[Ambiguity.ENCODED_MULTIPART] = None
            room = self.limits.undone - self.undone
            if room <= 0:
                self.left_out[LeftOut.BODY] = None
                return
            made = part.decoded(room).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
            self.undone += len(made)
            self._inside_of(part, at._replace(source=_Source(made, self), start=0, end=len(made)))
            if part.media in _MESSAGES:  # which most programs decode; over multiparts they are divided
                at = at._replace(reading=at.reading + 1)
        self._inside_of(part, at)

    def _inside_of(self, part: Part, at: _Section) -> None:
        if part.media in _MESSAGES:
            self.section(at.inner(1, at.start, at.end, reading=at.reading))
            return
        boundaries = [each for each in part.content.parameters.get("boundary", ()) if each]
        if not boundaries:
            self.noted[Ambiguity.BOUNDARY_MISSING] = None
            guess = at.source.first_line(at.start, at.end).decode("utf-8", "replace")
            boundaries = [guess] if guess else []
        found = False
        for n, boundary in enumerate(boundaries[: self.limits.readings]):
            found |= self._multipart(part, at, boundary, at.reading + n)
        if not found:
            if boundaries:
                self.noted[Ambiguity.BOUNDARY_UNUSED] = None
            if at.end > at.start:  # programs show what is there as text
                self._part(at.inner(1, at.start, at.end, reading=at.reading), part.header, _PLAIN[0], part.encoding)

    def _multipart(self, part: Part, at: _Section, boundary: str, reading: int) -> bool:
        """The parts between the lines of that boundary; whether there are any."""
        lines = at.source.lines()
        whole = boundary.encode("utf-8", "replace")
        mark = whole.rstrip(b" \t")
        opens = _between(lines.get(mark), at)
        closes = _between(lines.get(mark + b"--"), at)
        if whole != mark:
            closes = sorted({*closes, *_between(lines.get(whole + b"--"), at)})
        if mark in self.around:
            self.noted[Ambiguity.BOUNDARY_NESTED] = None
        digest = part.media == "multipart/digest"
        self.around.append(mark)
        found = self._split(at, opens, closes, reading, digest=digest)
        longer = self._beginning_with(mark, at)
        if longer:
            self.noted[Ambiguity.BOUNDARY_PREFIX] = None
            found |= self._split(at, sorted({*opens, *longer}), closes, reading + 1, digest=digest)
        self.around.pop()
        return found

    def _beginning_with(self, mark: bytes, at: _Section) -> list[int]:
        """Lines that begin with the boundary and go on, which the standard's own words let count (§5.1.1)."""
        found, whole = at.source.beginning_with(mark)
        if not whole:
            self.left_out[LeftOut.DELIMITERS] = None
        lines = at.source.lines()
        longer = [line for line in found if line[len(mark) :].strip() not in {b"", b"--"}]
        return [place for line in longer[:LONGER] for place in _between(lines[line], at)]

    def _split(self, at: _Section, opens: list[int], closes: list[int], reading: int, *, digest: bool) -> bool:
        if not opens:
            return False
        last = closes[0] if closes else at.end
        if not closes:
            self.noted[Ambiguity.TERMINATOR_MISSING] = None
        ends = sorted([*opens, *closes])
        octets = at.source.octets
        late = False
        for n, place in enumerate(opens, 1):
            if not self._has_room(reading):
                break
            if place > last and not late:
                late = True
                self.noted[Ambiguity.TERMINATOR_EARLY] = None
                reading += 1
            line_end = octets.find(b"\n", place, at.end)
            begin = line_end + 1 if line_end >= 0 else at.end
            follows = bisect_right(ends, place)
            stop = at.end
            if follows < len(ends):  # the line end before a boundary belongs to it (§5.1.1)
                stop = ends[follows]
                stop -= 2 if octets[stop - 2 : stop] == b"\r\n" else 1
            self.section(at.inner(n, begin, max(begin, stop), reading=reading, digest=digest))
        return True


_PLAIN = [Parameterised("text/plain")]
_DIGESTED = [Parameterised("message/rfc822")]
_NOWHERE = Parameterised("")
_EMPTY = parse_header(b"")
_AS_IS = [Encoding.AS_IS]
_MESSAGES = frozenset({"message/rfc822", "message/global", "message/news"})
_NO_FIELD = frozenset({Defect.NO_COLON, Defect.NO_NAME})
_DIFFER = frozenset({Oddity.REPEATED, Oddity.CONTINUED, Oddity.UNBALANCED, Oddity.TOO_MANY})


def _as_text(content: Parameterised) -> Parameterised:
    """What is no type is plain text (RFC 2045 §5.2)."""
    return Parameterised("text/html" if content.value == "html" else "text/plain", content.parameters, content.oddities)


def _line_after(octets: bytes, position: int) -> int:
    """Where the next line begins with two hyphens, -1 where none does. Lets others go on in between."""
    while position < len(octets):
        end = position + PIECE
        hyphen = octets.find(b"-", position, end + 2)  # ten times as fast, and base64 has none
        if hyphen >= 0:
            place = octets.find(b"\n--", max(position, hyphen - 1), end + 2)
            if place >= 0:
                return place + 1
        position = end
    return -1


def _between(places: list[int] | None, at: _Section) -> list[int]:
    return places[bisect_left(places, at.start) : bisect_left(places, at.end)] if places else []
