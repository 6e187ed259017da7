"""HTML in one pass: what people see, what is hidden from them, and every link with its text. Linear, never an error.

No tree is made, since every tree builder has an input that takes it seconds. Where browsers mend what is broken this
reader takes the nearest thing that cannot be quadratic, and prefers seeing too many links to seeing too few.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from gatekeeper.message.entities import undo_entities
from gatekeeper.message.style import WHITE, Look, Sheet, alike, colour_of, look_of

CHARACTERS = 2_000_000
TAGS = 20_000
ATTRIBUTES = 200
"""Of one tag; those after them are not read."""
LINKS = 2000
LOOSE_TAG = 4
"""What a tag that is not written as it should be counts for, since it costs more."""
LOOSE = 5_000
"""Attributes of tags that are not written as they should be."""
REFERENCES = 30_000
"""Character references that are undone."""
DEPTH = 2000
"""How deep elements are followed; what is deeper has the looks of what it stands in."""


class Use(StrEnum):
    """What a link is for."""

    ANCHOR = "anchor"  # somebody may click on it
    IMAGE = "image"  # fetched to be shown
    FORM = "form"  # where what is typed goes
    RESOURCE = "resource"  # a sheet, a frame, a script, an object
    BASE = "base"  # what others are relative to
    REFRESH = "refresh"  # where the page goes by itself

    __hash__ = str.__hash__  # the enumeration's own is written in Python, and every link of a page is looked up


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


_TOKEN = re.compile(
    r"([^<]*+)(?:<(/?)([a-zA-Z][a-zA-Z0-9:-]*+)(?:>|"
    r"((?:\s++[a-zA-Z_:-][\w:.-]*+(?:\s*+=\s*+(?:\"[^\"<>]*+\"|'[^'<>]*+'|[^\s\"'<>=`]++))?+)*+)\s*+/?>)|<|\Z)"
)
"""Text, and the well-formed tag behind it, or a "<" that begins none, or the end."""
_START = re.compile(r"<(?=[a-zA-Z/!?])")
_NAME = re.compile(r"<(/?)([a-zA-Z][^\s/>]{0,40})")
_ATTRIBUTE = re.compile(r"([^\s=>/\"'<]++)(?:\s*+=\s*+(?:\"([^\"]*+)\"|'([^']*+)'|([^\s>]++)))?+")
_BETWEEN = re.compile(r"[\s/]*+")
_LOOSE = re.compile(r"(?:([^\s=>/]{1,80})[^\s=>/]*+(\s*+=\s*+)?+|=)")
_COMMENT_END = re.compile(r"--!?>")
_CONDITION = re.compile(r"<!--\s{0,20}\[if\s", re.IGNORECASE)
_CONDITION_OPENS = re.compile(r"<!(?:--)?\s{0,20}\[if[^\]>]{0,200}\]\s{0,20}(?:--)?>(?:\s{0,20}<!-->)?", re.IGNORECASE)
_CONDITION_ENDS = re.compile(r"<!(?:--)?\s{0,20}(?:<!)?\[endif\](?:--)?>", re.IGNORECASE)
_STYLED = re.compile(r"style|class|hidden|color|\bid\b|background|size|width|height", re.IGNORECASE)
_BLANKS = re.compile(r"[ \t\r\n\f\xa0\u200b\u200c\u200d\u2060\ufeff\xad\u034f]++")
_URL_IN_REFRESH = re.compile(r"url\s{0,10}=\s{0,10}[\"']?([^\"'\s>]{1,2000})", re.IGNORECASE)
_BLOCKS = frozenset(
    (  # noqa: SIM905  # a table reads better so
        "p div br tr td th li ul ol table h1 h2 h3 h4 h5 h6 hr blockquote center section article header footer option"
    ).split()
)
_RAW = frozenset("script style textarea xmp noembed noframes title".split())  # noqa: SIM905  # a table reads better so
_VOID = frozenset("br img hr input meta link area base col embed source track wbr param".split())  # noqa: SIM905  # a table reads better so
_LINKS_BY = {
    "img": (("src", Use.IMAGE),),
    "area": (("href", Use.ANCHOR),),
    "link": (("href", Use.RESOURCE),),
    "base": (("href", Use.BASE),),
    "form": (("action", Use.FORM),),
    "iframe": (("src", Use.RESOURCE),),
    "frame": (("src", Use.RESOURCE),),
    "script": (("src", Use.RESOURCE),),
    "embed": (("src", Use.RESOURCE),),
    "object": (("data", Use.RESOURCE),),
    "input": (("src", Use.IMAGE), ("formaction", Use.FORM)),
    "button": (("formaction", Use.FORM),),
    "body": (("background", Use.IMAGE),),
    "table": (("background", Use.IMAGE),),
    "td": (("background", Use.IMAGE),),
    "video": (("src", Use.RESOURCE), ("poster", Use.IMAGE)),
    "source": (("src", Use.RESOURCE),),
    "image": (("href", Use.IMAGE), ("xlink:href", Use.IMAGE), ("src", Use.IMAGE)),
    "use": (("href", Use.RESOURCE),),
    "v:rect": (("href", Use.ANCHOR),),
    "v:roundrect": (("href", Use.ANCHOR),),
    "v:fill": (("src", Use.IMAGE),),
}


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
        self._conditional = 0
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
        self._out = self._unseen if self._hidden or self._conditional or invisible else self._seen

    def _scan(self) -> None:
        position: int | None = 0
        while position is not None:
            position = self._run(position)
            if self._tags > self._room.tags:
                self._left_out["tags"] = None
                return

    def _run(self, position: int) -> int | None:
        """Well-formed tags and text from there on, which is nearly everything; where to go on, None at the end.

        Every tag of every page comes by here, so what most of them need is written out.
        """
        text, stack, opened, most = self._text, self._stack, self._open, self._room.tags
        for match in _TOKEN.finditer(text, position):
            if self._tags > most:
                return match.start()
            before, closing, name, attributes = match.groups()
            if before:
                self._out.append(before)
            if name is None:
                opens = match.end(1)
                return self._other(opens) if opens < len(text) else None
            name = name.lower()
            self._tags += 1
            if closing:
                if name in _BLOCKS:
                    self._out.append("\n")
                elif name == "a" and self._anchor is not None:
                    self._end_anchor()
                if opened.get(name):
                    if stack[-1] == (name, None):
                        stack.pop()
                        opened[name] -= 1
                    else:
                        self._take_back(name)
            elif attributes or name in _BEARING:
                end = match.end()
                after = self._element(name, attributes or "", end)
                if after != end:
                    return after
            else:
                if name in _BLOCKS:
                    self._out.append("\n")
                if stack and name not in _VOID and len(stack) < DEPTH:
                    stack.append((name, None))
                    opened[name] = opened.get(name, 0) + 1
        return None

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
            self._conditional = max(0, self._conditional - 1)
            self._settle()
            return match.end()
        match = _CONDITION_OPENS.match(text, opens)
        if match is not None:
            # One program shows it (Outlook), the others do not: its links are links, its text is hidden from most.
            if not match[0].endswith("<!-->"):
                self._conditional += 1
                self._settle()
            return match.end()
        if not text.startswith("<!--", opens):
            end = text.find(">", opens)
            return len(text) if end < 0 else end + 1
        if text.startswith((">", "->"), opens + 4):  # an empty one (§13.2.5.43)
            return text.index(">", opens) + 1
        comment_end = _COMMENT_END.search(text, opens + 4)
        if comment_end is None:
            self._broken += 1
            self._unseen.append(" " + text[opens + 4 :])
            return len(text)
        self._unseen.append(" " + text[opens + 4 : comment_end.start()])
        return comment_end.end()

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
        self._room.tags -= LOOSE_TAG - 1
        closing, name, position = match[1], match[2].lower(), match.end()
        given: dict[str, str] = {}
        steps = 0
        while position < len(text) and text[position] != ">":
            steps += 1
            self._room.loose -= 1
            position = _BETWEEN.match(text, position).end()  # type: ignore[union-attr]  # it matches nothing too
            step = _LOOSE.match(text, position)
            if step is None:  # the end of the text, or of the tag behind blanks and slashes
                break
            position = step.end()
            value = ""
            if step[2] is not None:
                value, position = self._value(position)
            if step[1]:
                given.setdefault(step[1].lower(), value)
            if steps > ATTRIBUTES or self._room.loose < 0:
                self._left_out["attributes"] = None
                position = text.find(">", position)
                position = len(text) if position < 0 else position
        if position >= len(text):
            self._broken += 1
        if closing:
            self._close(name)
            return position + 1
        return self._begin(name, given, position + 1)

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

    def _element(self, name: str, attributes: str, end: int) -> int:
        if name in _BEARING or _STYLED.search(attributes):
            return self._begin(name, _attributes(attributes), end)
        return self._begin(name, _NONE, end)

    def _begin(self, name: str, given: Mapping[str, str], end: int) -> int:
        """An element begins; where reading goes on."""
        if name in _BLOCKS:
            self._out.append("\n")
        if name == "a":
            self._end_anchor()
            if "href" in given or "xlink:href" in given:
                self._anchor = self._room.undo(given.get("href") or given.get("xlink:href", ""))
                self._anchor_from, self._anchor_unseen = len(self._seen), len(self._unseen)
        elif name in _BEARING or name in _PAINTED:
            self._bearing(name, given)
        if name in _RAW:
            return self._raw(name, end)
        if name not in _VOID:
            self._push(name, given)
        return end

    def _bearing(self, name: str, given: Mapping[str, str]) -> None:
        if name == "img":
            self._images += 1
            if given.get("alt") and self._anchor is None:
                self._out.append(f" {given['alt']} ")
        elif name == "form":
            self._forms += 1
        elif name == "script":
            self._scripts += 1
        elif name == "meta" and given.get("http-equiv", "").lower() == "refresh":
            found = _URL_IN_REFRESH.search(self._room.undo(given.get("content", "")[:4000]))
            if found is not None:
                self._link(found[1], Use.REFRESH)
        for attribute, use in _LINKS_BY.get(name, ()):
            if given.get(attribute):
                self._link(self._room.undo(given[attribute]), use)

    def _link(self, target: str, use: Use, text: str = "", *, hidden: bool | None = None) -> None:
        target = target.strip()
        if not target:
            return
        if self._room.links <= 0:
            self._left_out["links"] = None
            return
        self._room.links -= 1
        unseen = bool(self._hidden or self._conditional) if hidden is None else hidden
        self._links.append(HtmlLink(target[:TARGET], use, text, unseen))

    def _end_anchor(self) -> None:
        if self._anchor is None:
            return
        target, self._anchor = self._anchor, None
        seen = "".join(self._seen[self._anchor_from :])[:ANCHOR_TEXT]
        if seen.isalnum():  # one word, as often
            self._link(target, Use.ANCHOR, seen, hidden=bool(self._hidden))
            return
        seen = self._room.undo(seen)
        hidden = False
        if not seen.strip() and len(self._unseen) > self._anchor_unseen:
            seen = self._room.undo("".join(self._unseen[self._anchor_unseen :])[:ANCHOR_TEXT])
            hidden = True
        self._link(target, Use.ANCHOR, _BLANKS.sub(" ", seen).strip(), hidden=hidden or bool(self._hidden))

    def _raw(self, name: str, position: int) -> int:
        """What stands in a script, a sheet, a title: no tags."""
        end = _END_OF[name].search(self._text, position)
        inside = self._text[position : end.start() if end else len(self._text)]
        if name == "style":
            self._sheet.read(inside)
        elif name == "title":
            self._title.append(inside)
        elif name in {"textarea", "xmp"}:
            self._out.append(inside)
        return end.end() if end else len(self._text)

    def _push(self, name: str, given: Mapping[str, str]) -> None:
        stack = self._stack
        if _LOOKS.isdisjoint(given) and (not self._sheet.hiding or _NAMES.isdisjoint(given)):
            if not stack:
                return
            if len(stack) >= DEPTH:
                self._left_out["depth"] = None
                return
            stack.append((name, None))
            self._open[name] = self._open.get(name, 0) + 1
            return
        before = (self._hidden, self._colour, self._ground)
        self._looks(given)
        changed = before != (self._hidden, self._colour, self._ground)
        if not changed and not stack:
            return
        if len(stack) >= DEPTH:
            self._left_out["depth"] = None
            self._hidden, self._colour, self._ground = before
            return
        stack.append((name, before if changed else None))
        self._open[name] = self._open.get(name, 0) + 1
        if changed:
            self._settle()

    def _looks(self, given: Mapping[str, str]) -> None:
        """What the element's attributes make of the looks here."""
        look: Look = look_of(given["style"]) if given.get("style") else _SAYS_NOTHING
        hides = look.hides or "hidden" in given or given.get("size") == "0"
        if self._sheet.hiding and not hides:
            names = {f".{word}" for word in given.get("class", "")[:500].lower().split()}
            names.add(f"#{given.get('id', '').lower()}")
            hides = not names.isdisjoint(self._sheet.hiding)
        if look.ground_unknown or given.get("background"):
            self._ground = None
        elif look.ground is not None:
            self._ground = look.ground
        elif "bgcolor" in given:
            self._ground = colour_of(given["bgcolor"])
        if look.colour is not None:
            self._colour = look.colour
        else:
            for attribute in ("color", "text"):
                if attribute in given:
                    self._colour = colour_of(given[attribute])
        self._hidden += hides

    def _close(self, name: str) -> None:
        if name in _BLOCKS:
            self._out.append("\n")
        elif name == "a":
            self._end_anchor()
        if self._open.get(name):
            self._take_back(name)

    def _take_back(self, name: str) -> None:
        """An element that is open ends, and with it those inside it."""
        changed = False
        while True:
            element, before = self._stack.pop()
            self._open[element] -= 1
            if before is not None:
                self._hidden, self._colour, self._ground = before
                changed = True
            if element == name:
                break
        if changed:
            self._settle()


_Before = tuple[int, int | None, int | None]
TARGET = 4000
"""Characters of one link."""
ANCHOR_TEXT = 500
_UNQUOTED = re.compile(r"[^\s>]*+")
_NONE: dict[str, str] = {}
_LOOKS = frozenset({"style", "hidden", "size", "background", "bgcolor", "color", "text"})
_NAMES = frozenset({"class", "id"})
"""Attributes that change how things look; by a name in the page's own sheet."""
_SAYS_NOTHING = Look()
_BEARING = frozenset({"a", "meta", *_LINKS_BY, *_RAW}) - {
    "table",
    "td",
    "body",
}  # those three have links only where they have attributes
_PAINTED = frozenset({"table", "td", "body"})
_END_OF = {name: re.compile(rf"</{name}(?=[\s/>])[^>]*+>?|</{name}\Z", re.IGNORECASE) for name in _RAW}


@lru_cache(maxsize=1024)
def _attributes(text: str) -> dict[str, str]:
    """The attributes of a well-formed tag; of two of one name the first counts (§13.2.5.33)."""
    found: dict[str, str] = {}
    for n, (name, double, single, bare) in enumerate(_ATTRIBUTE.findall(text)):
        if n == ATTRIBUTES:
            break
        found.setdefault(name.lower(), double or single or bare)
    return found
