"""HTML in one pass: what people see, what is hidden from them, and every link with its text. Linear, never an error.

No tree is made, since every tree builder has an input that takes it seconds. Where browsers mend what is broken this
reader takes the nearest thing that cannot be quadratic, and prefers seeing too many links to seeing too few.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import length_hint
from typing import NamedTuple

from gatekeeper.message import tags
from gatekeeper.message.entities import undo_entities
from gatekeeper.message.style import NOT_VISIBLE, WHITE, Sheet, alike
from gatekeeper.message.tags import ATTRIBUTES, TAGS_KNOWN, Tag, Use, begin_tag

CHARACTERS = 2_000_000
TAGS = 6_000
LINKS = 1000
LOOSE_TAG = 4
"""What a tag that is not written as it should be counts for, since it costs more."""
LOOSE = 5_000
"""Attributes of tags that are not written as they should be."""
REFERENCES = 30_000
"""Character references that are undone."""
WINDOW = 65_536
"""Characters, about, that are cut into pieces at once."""
DEPTH = 2000
"""How deep elements are followed; what is deeper has the looks of what it stands in."""
LOOKED_UP = 50_000
"""Open elements, over a page, among which those are sought that end without a tag of their own."""


class HtmlLink(NamedTuple):
    """A link as it stands there, entities undone. `text` is what people see of it, cut; `hidden`: they see nothing.

    A tuple, since it is made a thousand times a page and a frozen dataclass takes three times as long for it.
    """

    target: str
    use: Use
    text: str = ""
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """What a page shows and what it does not. `hidden` has comments too. `left_out` is which budgets were spent."""

    seen: str = ""
    hidden: str = ""
    title: str = ""
    links: tuple[HtmlLink, ...] = ()
    images: int = 0
    forms: int = 0
    scripts: int = 0
    tags: int = 0
    broken: int = 0  # tags that do not end, quotes that do not close
    left_out: tuple[str, ...] = ()


@dataclass(slots=True)
class Room:
    """What is left of the budgets of one message, whose pages all take from it."""

    tags: int = TAGS
    links: int = LINKS
    loose: int = LOOSE
    references: int = REFERENCES

    @property
    def spent(self) -> bool:
        """Whether something of a page was not read for want of room, links aside, which are counted."""
        return self.tags < 0 or self.loose < 0 or self.references < 0

    def undo(self, text: str) -> str:
        """Character references undone, as many as there is room for; the others stay as they are."""
        count = text.count("&")
        if not count:
            return text
        if count <= self.references:
            self.references -= count
            return undo_entities(text)
        end = 0
        for _ in range(max(0, self.references)):
            end = text.index("&", end) + 1
        self.references = -1
        return undo_entities(text[: end - 1]) + text[end - 1 :] if end else text


_START = re.compile(r"<(?=[a-zA-Z/!?])")
_STARTS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ/!?")
_NAME = re.compile(r"<(/?)([a-zA-Z][^\s/>]{0,40})")
_LOOSE = re.compile(r"[\s/]*+(?:([^\s=>/]{1,80})[^\s=>/]*+(\s*+=\s*+)?+|(=)|)")
_COMMENT_END = re.compile(r"--!?>")
_CONDITION_OPENS = re.compile(
    r"<!--\s{0,20}\[if[^\]>]{0,200}\]\s{0,20}>(\s{0,20}(?:<!-->|<!--\s{0,20}-->))?", re.IGNORECASE
)
_CONDITION_ENDS = re.compile(r"<!--\s{0,20}(?:<!)?\[endif\]-->", re.IGNORECASE)
_BLANKS = re.compile(r"[ \t\r\n\f\xa0\u200b\u200c\u200d\u2060\ufeff\xad\u034f]++")
_REFRESH = re.compile(r"\s*+[\d.]++\s*+[;,]?+\s*+(?:url\s*+=\s*+)?+[\"']?+([^\"'\s>]{1,2000})", re.IGNORECASE)
_URL_IN_REFRESH = re.compile(r"url\s{0,10}=\s{0,10}[\"']?([^\"'\s>]{1,2000})", re.IGNORECASE)


def read_html(text: str, room: Room | None = None) -> Page:
    """Read a page, or a piece of one, with what `room` has left. Never raises, whatever stands there."""
    return _Scanner(text, Room() if room is None else room).page()


class _Scanner:
    """One pass over a page. `_hidden` counts what hides around the place; `_stack` has what an end tag takes back."""

    def __init__(self, text: str, room: Room) -> None:
        self._room = room
        self._left_out: dict[str, None] = {}
        if len(text) > CHARACTERS:
            text = text[:CHARACTERS]
            self._left_out["characters"] = None
        self._text = text
        self._seen: list[str] = []
        self._unseen: list[str] = []
        self._title: list[str] = []
        self._links: list[HtmlLink] = []
        self._sheet = Sheet()
        self._out = self._seen  # where text goes, as things look here
        self._stack: list[tuple[str, _Before | None]] = []  # an element, and the looks before it if it changed them
        self._open: dict[str, int] = {}  # how often each element stands in the stack
        self._hidden = 0
        self._veils = 0  # what hides here until an element shows it again
        self._to_look_up = LOOKED_UP
        self._conditional = False
        self._foreign = False  # whether an svg or the like has begun, which may end in more ways than are followed
        self._ground: int | None = WHITE
        self._colour: int | None = 0
        self._anchor: str | None = None
        self._anchor_from = self._anchor_unseen = 0
        self._images = self._forms = self._scripts = self._tags = self._broken = 0
        self._quotes_left = {'"': True, "'": True}

    def page(self) -> Page:
        self._scan()
        self._end_anchor()
        undo = self._room.undo
        seen, unseen, title = undo("".join(self._seen)), undo("".join(self._unseen)), undo("".join(self._title))
        self._room.tags -= self._tags
        if self._room.references < 0:
            self._left_out["references"] = None
        return Page(
            seen,
            unseen,
            title.strip(),
            tuple(self._links),
            self._images,
            self._forms,
            self._scripts,
            self._tags,
            self._broken,
            tuple(self._left_out),
        )

    def _settle(self) -> None:
        """Where text goes from here on: the looks have changed."""
        invisible = (
            self._colour is not None
            and self._ground is not None
            and (self._colour or self._ground != WHITE)
            and not self._sheet.paints
            and alike(self._colour, self._ground)
        )
        hidden = self._hidden or self._veils or self._conditional or invisible
        self._out = self._unseen if hidden else self._seen

    def _scan(self) -> None:
        position = 0
        while position < len(self._text) and self._tags <= self._room.tags:
            end = self._text.find("<", position + WINDOW)
            position = self._read(position, end if end >= 0 else len(self._text))
        if self._tags > self._room.tags:
            self._left_out["tags"] = None

    def _read(self, start: int, stop: int) -> int:
        """What stands from `start` to `stop`, where a "<" is or the end; where to go on, which may be beyond.

        Every tag of every page comes by here, so what most of them need is written out: a piece is what stands
        between two "<", and a well-formed tag has none, so it ends at the first ">".
        """
        pieces = self._text[start:stop].split("<")
        coming = iter(pieces)
        stack, opened, hiding = self._stack, self._open, self._sheet.hiding
        count, most = self._tags, self._room.tags
        passed, place = 0, start - 1  # a piece, and where the "<" before it stands
        append = self._out.append
        if words := next(coming):
            append(words)
        for piece in coming:
            text, closed, words = piece.partition(">")
            tag = TAGS_KNOWN[text] if closed else tags.NO_TAG
            kind, breaks, name, given, _, names, target = tag
            count += 1
            if breaks:
                append("\n")
                if stack and kind != tags.ENDS and (self._hidden or self._veils):
                    self._end_before(name)
                    append = self._out.append
            if kind == tags.ENDS:
                if stack:
                    top, before = stack[-1]
                    if top == name and before is None:
                        stack.pop()
                        opened[name] -= 1
                    elif opened.get(name):
                        self._take_back(name)
                        append = self._out.append
                    elif breaks and (self._hidden or self._veils):
                        self._end_inside(name)
                        append = self._out.append
            elif kind <= tags.SHOWS and not ((names or kind == tags.SHOWS) and (self._veils or (names and hiding))):
                if stack:
                    if len(stack) < DEPTH:
                        stack.append((name, None))
                        opened[name] = opened.get(name, 0) + 1
                    elif given is not None:
                        self._left_out["depth"] = None
            elif kind == tags.ANCHOR:
                if self._anchor is not None:
                    self._end_anchor()
                self._anchor, self._anchor_from, self._anchor_unseen = target, len(self._seen), len(self._unseen)
                if stack:
                    self._push(tag)
                    append = self._out.append
            elif kind < tags.RAW:
                if kind == tags.ENDS_ANCHOR:
                    self._end_anchor()
                    if stack and opened.get(name):
                        self._take_back(name)
                elif kind != tags.STANDS:
                    self._begin(tag)
                append = self._out.append
            elif kind == tags.MALFORMED and piece[:1] not in _STARTS:  # a "<" that begins none
                count -= 1
                words = "<" + piece
            else:
                here = len(pieces) - length_hint(coming) - 1
                place += sum(map(len, pieces[passed:here])) + here - passed
                if kind == tags.RAW:
                    end = self._raw(tag, place + len(text) + 2)
                else:
                    self._tags = count - 1
                    end = self._other(place)
                    count, most = self._tags, self._room.tags
                if end >= stop:
                    self._tags = count
                    return end
                passed = here
                while (behind := place + 1 + len(pieces[passed])) < end:
                    next(coming)
                    passed, place = passed + 1, behind
                words = self._text[end:behind]
                append = self._out.append
            if count > most:
                break
            if words:
                append(words)
        self._tags = count
        return stop

    def _other(self, opens: int) -> int:
        """What begins with "<" and is no well-formed tag."""
        text = self._text
        if text.startswith("<!", opens):
            return self._declaration(opens)
        start = _START.match(text, opens)
        if start is not None:
            return self._loose(opens)
        start = _START.search(text, opens)
        end = start.start() if start is not None else len(text)
        self._out.append(text[opens:end])
        return end

    # -- what is not a tag

    def _declaration(self, opens: int) -> int:
        """A comment, a condition for one mail program, a document type."""
        text = self._text
        self._tags += 1
        match = _CONDITION_ENDS.match(text, opens)
        if match is not None:
            return match.end()
        match = _CONDITION_OPENS.match(text, opens)
        if match is not None:
            return match.end() if match[1] or self._conditional else self._condition(match.end())
        if not text.startswith("<!--", opens):  # "<![if !mso]>" too, which hides its text from nobody
            end = text.find(">", opens)
            return len(text) if end < 0 else end + 1
        if text.startswith((">", "->"), opens + 4):  # an empty one (§13.2.5.43)
            return text.index(">", opens) + 1
        comment_end = _COMMENT_END.search(text, opens + 4)
        if comment_end is None:
            self._broken += not self._conditional  # a comment's end is not sought beyond that of the one around it
            self._unseen.append(" " + text[opens + 4 :])
            return len(text)
        self._unseen.append(" " + text[opens + 4 : comment_end.start()])
        return comment_end.end()

    def _condition(self, start: int) -> int:
        """What one program shows (Word, which is Outlook's) and is one comment to the others, up to its first end.

        Its links are links and its text is hidden from most. Its elements neither end there nor hide what follows.
        """
        text = self._text
        comment_end = _COMMENT_END.search(text, start)
        before = self._stack, self._open, self._hidden, self._veils, self._colour, self._ground
        anchor, quotes_left = (self._anchor, self._anchor_from, self._anchor_unseen), self._quotes_left
        self._text = text[start : comment_end.start() if comment_end is not None else len(text)]
        self._stack, self._open, self._quotes_left = [], {}, dict.fromkeys(quotes_left, True)
        self._anchor, self._conditional = None, True
        self._settle()
        self._scan()
        self._end_anchor()
        self._text, self._quotes_left, self._conditional = text, quotes_left, False
        self._stack, self._open, self._hidden, self._veils, self._colour, self._ground = before
        self._anchor, self._anchor_from, self._anchor_unseen = anchor
        self._settle()
        return comment_end.end() if comment_end is not None else len(text)

    def _loose(self, opens: int) -> int:
        """A tag that is not written as it should be, or a "<" that begins none."""
        text = self._text
        match = _NAME.match(text, opens)
        if match is None:
            if text.startswith(("</", "<?"), opens):  # a comment to browsers
                end = text.find(">", opens)
                return len(text) if end < 0 else end + 1
            self._out.append("<")  # "</" at the end of the text
            return opens + 1
        self._tags += 1
        room, end = self._room, len(text)
        room.tags -= LOOSE_TAG - 1
        closing, name, position = match[1], match[2].lower(), match.end()
        given: dict[str, str] = {}
        steps = 0
        while position < end and text[position] != ">":
            steps += 1
            room.loose -= 1
            step = _LOOSE.match(text, position)
            attribute, equals, _ = step.groups()  # type: ignore[union-attr]  # it matches nothing too
            position = step.end()  # type: ignore[union-attr]
            if step.lastindex is None:  # type: ignore[union-attr]  # the end of the text, or of the tag
                break
            value = ""
            if equals is not None:
                value, position = self._value(position)
            if attribute:
                given.setdefault(attribute.lower(), value)
            if steps > ATTRIBUTES or room.loose < 0:
                self._left_out["attributes"] = None
                position = text.find(">", position)
                position = end if position < 0 else position
        if position >= len(text):
            self._broken += 1
        if name in tags.BLOCKS:
            self._out.append("\n")
            if not closing:
                self._end_before(name)
        if closing:
            self._close(name)
            return position + 1
        tag = begin_tag(name, given)
        if tag.kind == tags.RAW:
            return self._raw(tag, position + 1)
        self._begin(tag)
        return position + 1

    def _value(self, position: int) -> tuple[str, int]:
        """An attribute's value from there, and where it ends. A quote that is never closed quotes nothing."""
        text = self._text
        quote = text[position : position + 1]
        if quote in {'"', "'"}:
            end = text.find(quote, position + 1) if self._quotes_left[quote] else -1
            if end >= 0:
                return text[position + 1 : end], end + 1
            self._quotes_left[quote] = False
            self._broken += 1
            position += 1
        bare = _UNQUOTED.match(text, position)
        return (bare[0], bare.end()) if bare is not None else ("", position)

    # -- elements

    def _begin(self, tag: Tag) -> None:
        """An element begins, of any kind but those that hold no HTML."""
        name, given = tag.name, tag.given or _NONE
        if name == "a":
            self._end_anchor()
            if "href" in given or "xlink:href" in given:
                self._anchor = tag.target or self._room.undo(given.get("href") or given.get("xlink:href", "")).strip()
                self._anchor_from, self._anchor_unseen = len(self._seen), len(self._unseen)
        elif tag.kind == tags.BEARS:
            self._bearing(name, given)
        if name not in tags.VOID:
            self._push(tag)

    def _bearing(self, name: str, given: Mapping[str, str]) -> None:
        if name == "img":
            self._images += 1
            if given.get("alt") and self._anchor is None:
                self._out.append(f" {given['alt']} ")
        elif name == "form":
            self._forms += 1
        elif name == "script":
            self._scripts += 1
        elif name in tags.FOREIGN:
            self._foreign = True
        elif name == "meta" and given.get("http-equiv", "").lower() == "refresh":
            content = self._room.undo(given.get("content", "")[:4000])
            found = _REFRESH.match(content) or _URL_IN_REFRESH.search(content)
            if found is not None:
                self._link(found[1].strip(), Use.REFRESH, hidden=self._unseen_here)
        for attribute, use in tags.LINKS_BY.get(name, ()):
            if given.get(attribute):
                self._link(self._room.undo(given[attribute]).strip(), use, hidden=self._unseen_here)

    @property
    def _unseen_here(self) -> bool:
        return self._hidden > 0 or self._conditional or self._veils & NOT_VISIBLE > 0

    def _link(self, target: str, use: Use, text: str = "", *, hidden: bool) -> None:
        if not target:
            return
        room = self._room
        if room.links <= 0:
            self._left_out["links"] = None
            return
        room.links -= 1
        self._links.append(_new(HtmlLink, (target[:TARGET], use, text, hidden)))

    def _end_anchor(self) -> None:
        target = self._anchor
        if target is None:
            return
        self._anchor = None
        pieces, hidden, room = self._seen, self._hidden > 0, self._room
        alone = len(pieces) == self._anchor_from + 1
        seen = (pieces[-1] if alone else "".join(pieces[self._anchor_from :]))[:ANCHOR_TEXT]
        if seen.isalnum() and target and room.links > 0:  # one word, as often
            room.links -= 1
            self._links.append(_new(HtmlLink, (target[:TARGET], _ANCHOR, seen, hidden)))
            return
        seen = room.undo(seen)
        if not seen.strip() and len(self._unseen) > self._anchor_unseen:
            seen = room.undo("".join(self._unseen[self._anchor_unseen :])[:ANCHOR_TEXT])
            hidden = True
        elif self._veils & NOT_VISIBLE and not seen.strip():  # a picture, which the size of letters does not hide
            hidden = True
        self._link(target, _ANCHOR, _in_one_line(seen), hidden=hidden)

    def _raw(self, tag: Tag, position: int) -> int:
        """What stands in a script, a sheet, a title: no tags, unless it is one in an svg (§13.2.6.5). Where it ends."""
        name = tag.name
        self._bearing(name, tag.given or _NONE)
        end = (_START if self._foreign else _END_OF[name]).search(self._text, position)
        inside = self._text[position : end.start() if end else len(self._text)]
        if name == "style" and not self._conditional:
            self._sheet.read(inside)
        elif name == "title":
            self._title.append(inside)
        elif name in {"textarea", "xmp"}:
            self._out.append(inside)
        if end is None:
            return len(self._text)
        return end.start() if self._foreign else end.end()

    def _push(self, tag: Tag) -> None:
        stack, hidden = self._stack, self._hidden
        name, (hides, ground, colour, veils, shows, displays), names = tag.name, tag.looks, tag.names
        if name == "a" and (hidden or self._veils) and self._open.get("a"):
            self._end_before(name)
            hidden = self._hidden
        veiled, sheet = self._veils, self._sheet
        if names and not names.isdisjoint(sheet.veiling):
            by_names = sheet.veils_of(names)
            veiled = veiled & ~by_names[1] | by_names[0]
        veiled = veiled & ~shows | veils
        if hides or (names and not displays and not names.isdisjoint(sheet.removing)):
            hidden += 1
        if ground == tags.AS_BEFORE:
            ground = self._ground
        if colour == tags.AS_BEFORE:
            colour = self._colour
        changed = hidden != self._hidden or veiled != self._veils or colour != self._colour or ground != self._ground
        if not changed and not stack:
            return
        if len(stack) >= DEPTH:
            self._left_out["depth"] = None
            return
        self._open[name] = self._open.get(name, 0) + 1
        if not changed:
            stack.append((name, None))
            return
        stack.append((name, (self._hidden, self._veils, self._colour, self._ground)))
        self._hidden, self._veils, self._colour, self._ground = hidden, veiled, colour, ground
        self._settle()

    def _close(self, name: str) -> None:
        if name == "a":
            self._end_anchor()
        if self._open.get(name):
            self._take_back(name)
        elif name in tags.BLOCKS:
            self._end_inside(name)

    def _end_before(self, name: str) -> None:
        """What is open ends where an element of that name begins: paragraphs, cells, items of lists."""
        ended, around = tags.ENDED_BY.get(name, _NEVER)
        lowest = len(self._stack)
        for n in self._upwards():
            element = self._stack[n][0]
            if element in ended or element == "p":
                lowest = n
            if element in ended or element in around:
                break
        self._take_back_to(lowest)

    def _end_inside(self, name: str) -> None:
        """What is open in an element that began before anything of interest did ends with it."""
        if name in {"p", "br"}:
            return
        around = _TABLE if name in {"tr", "td", "th", "table"} else tags.CELLS
        lowest = len(self._stack)
        for n in self._upwards():
            if self._stack[n][0] in around:
                break
            lowest = n
        self._take_back_to(lowest)

    def _upwards(self) -> Iterator[int]:
        """The places of open elements, from the innermost on, as far as there is time for them."""
        for n in range(len(self._stack) - 1, -1, -1):
            self._to_look_up -= 1
            if self._to_look_up < 0:
                return
            yield n

    def _take_back_to(self, lowest: int) -> None:
        while len(self._stack) > lowest:
            self._take_back(self._stack[-1][0])

    def _take_back(self, name: str) -> None:
        """An element that is open ends, and with it those inside it."""
        changed = False
        while True:
            element, before = self._stack.pop()
            self._open[element] -= 1
            if before is not None:
                self._hidden, self._veils, self._colour, self._ground = before
                changed = True
            if element == name:
                break
        if changed:
            self._settle()


_Before = tuple[int, int, int | None, int | None]
TARGET = 4000
"""Characters of one link."""
ANCHOR_TEXT = 500
_UNQUOTED = re.compile(r"[^\s>]*+")
_NONE: dict[str, str] = {}
_NEVER: tuple[frozenset[str], frozenset[str]] = (frozenset(), tags.CELLS)
_TABLE = frozenset({"table"})
_ANCHOR = Use.ANCHOR
_END_OF = {name: re.compile(rf"</{name}(?=[\s/>])[^>]*+>?|</{name}\Z", re.IGNORECASE) for name in tags.RAW_NAMES}
_new = tuple.__new__  # what a named tuple's own call comes to, in half the time


def _in_one_line(text: str) -> str:
    """Blanks of every kind as one each, none at the ends."""
    if "  " not in text and text.isascii() and text.isprintable():
        return text.strip()
    return _BLANKS.sub(" ", text).strip()
