"""What one HTML tag says by itself, wherever it stands: its element, its attributes, what it does to looks.

Letters say the same tag hundreds of times, so what was read of one is kept under its own text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from itertools import islice
from typing import Final, NamedTuple

from gatekeeper.message.style import NO_SIZE, NOTHING, ONE_PIXEL, colour_of, look_of

ATTRIBUTES: Final = 200
"""Of one tag; those after them are not read."""
KNOWN: Final = 4096
"""Tags that are kept; then all are forgotten, which costs less than to know the oldest."""
LONGEST: Final = 400
"""Characters of a tag that is kept."""


class Use(StrEnum):
    """What a link is for."""

    ANCHOR = "anchor"  # somebody may click on it
    IMAGE = "image"  # fetched to be shown
    FORM = "form"  # where what is typed goes
    RESOURCE = "resource"  # a sheet, a frame, a script, an object
    BASE = "base"  # what others are relative to
    REFRESH = "refresh"  # where the page goes by itself

    __hash__ = str.__hash__  # the enumeration's own is written in Python, and every link of a page is looked up


class Looks(NamedTuple):
    """What an element does to the looks of what stands in it. Colours are 0xRRGGBB, None for one that is not known
    here, `AS_BEFORE` where the tag says nothing of it. `veils`, `shows` and `displays` are those of `style.Look`.
    """

    hides: bool
    ground: int | None
    colour: int | None
    veils: int = 0
    shows: int = 0
    displays: bool = False


AS_BEFORE: Final = -1
SAYS_NOTHING: Final = Looks(hides=False, ground=AS_BEFORE, colour=AS_BEFORE)

# What has to be done for a tag. Plain numbers, since every tag of every page is compared with them.
ENDS: Final = 0  # an element ends
BEGINS: Final = 1  # one begins that has no link and changes nothing, unless the page's own sheet names it
SHOWS: Final = 2  # one begins that has no link, and changes something only where a veil hangs
STANDS: Final = 3  # one that has neither end nor link
ENDS_ANCHOR: Final = 4
ANCHOR: Final = 5  # one begins, and nothing but its target is of interest
BEARS: Final = 6  # an element begins that may have a link, or changes the looks
RAW: Final = 7  # what follows is no HTML: a script, a sheet, a title
MALFORMED: Final = 8  # not written as it should be, or with more attributes than are read


class Tag(NamedTuple):
    """A tag. `given` are its attributes where they are of use, None where it has none. `names` are the classes and
    the id by which the page's sheet may speak of it, as there (".word", "#word"). `target` is where an anchor leads,
    "" where character references have to be undone for that.
    """

    kind: int
    breaks: bool  # whether a line ends here
    name: str
    given: Mapping[str, str] | None = None
    looks: Looks = SAYS_NOTHING
    names: frozenset[str] = frozenset()
    target: str = ""


NO_TAG: Final = Tag(MALFORMED, breaks=False, name="")


class _Known(dict[str, Tag]):
    """Tags by the text between their angles. One for all threads: the worst that may happen is to read a tag twice."""

    def __missing__(self, text: str) -> Tag:
        tag = read_tag(text)
        if len(text) <= LONGEST and tag is not NO_TAG:
            if len(self) >= KNOWN:
                self.clear()
            self[text] = tag
        return tag


TAGS_KNOWN: Final = _Known()
"""The tag for the text between two angles, which has none inside; `NO_TAG` for what is not well-formed."""


def read_tag(text: str) -> Tag:
    """Read what stands between two angles. Linear in its length."""
    match = _TAG.fullmatch(text)
    if match is None:
        return NO_TAG
    closing, name, attributes = match.groups()
    name = name.lower()
    if closing:
        return Tag(ENDS_ANCHOR if name == "a" else ENDS, name in BLOCKS, name)
    if not attributes:
        return begin_tag(name, None)
    if name in _BEARING or _STYLED.search(attributes):
        given = _attributes(attributes)
        return NO_TAG if given is None else begin_tag(name, given)
    return begin_tag(name, _NONE)


def begin_tag(name: str, given: Mapping[str, str] | None) -> Tag:
    """The tag with which an element of that (lower-case) name begins."""
    breaks = name in BLOCKS
    if name in RAW_NAMES:
        return Tag(RAW, breaks, name, given)
    if name in VOID:
        return Tag(BEARS if name in _BEARING else STANDS, breaks, name, given)
    if not given:
        return Tag(BEARS if name in _BEARING else BEGINS, breaks, name, given)
    looks, names = _looks(name, given), _names(given)
    changes = looks is not SAYS_NOTHING and looks._replace(shows=0, displays=False) != SAYS_NOTHING
    if name == "a":
        target = given.get("href") or given.get("xlink:href", "")
        target = "" if "&" in target else target.strip()
        simple = target and not names and not changes
        return Tag(ANCHOR if simple else BEARS, breaks, name, given, looks, names, target)
    if name in _BEARING or (name in _PAINTED and given.get("background")) or changes:
        return Tag(BEARS, breaks, name, given, looks, names)
    return Tag(SHOWS if looks.shows else BEGINS, breaks, name, _NONE, looks, names)


def _attributes(text: str) -> dict[str, str] | None:
    """The attributes of a well-formed tag; of two of one name the first counts (§13.2.5.33). None where there are more
    than are read: then whoever reads loosely says so.
    """
    found: dict[str, str] = {}
    matches = _ATTRIBUTE.finditer(text)
    for match in islice(matches, ATTRIBUTES):
        name, double, single, bare = match.groups("")
        found.setdefault(name.lower(), double or single or bare)
    return found if next(matches, None) is None else None


def _looks(name: str, given: Mapping[str, str]) -> Looks:
    if _LOOKS.isdisjoint(given):
        return SAYS_NOTHING
    look = look_of(given["style"]) if given.get("style") else NOTHING
    ground: int | None = AS_BEFORE
    if look.ground_unknown or given.get("background"):
        ground = None
    elif look.ground is not None:
        ground = look.ground
    elif "bgcolor" in given:
        ground = colour_of(given["bgcolor"])
    colour: int | None = AS_BEFORE
    if look.colour is not None:
        colour = look.colour
    else:
        for attribute in ("color", "text"):
            if attribute in given:
                colour = colour_of(given[attribute])
    hides = look.removes or ("hidden" in given and not look.displays)
    veils, shows = look.veils, look.shows
    if name == "font" and _FONT_SIZE.match(given.get("size", "")):  # the least of which is 1, whatever it says
        shows |= (NO_SIZE | ONE_PIXEL) & ~veils
    if not (hides or veils or shows or look.displays) and ground == colour == AS_BEFORE:
        return SAYS_NOTHING
    return Looks(hides, ground, colour, veils, shows, look.displays)


def _names(given: Mapping[str, str]) -> frozenset[str]:
    names = {f".{word}" for word in given["class"][:500].lower().split()} if "class" in given else set()
    if "id" in given:
        names.add(f"#{given['id'].lower()}")
    return frozenset(names)


_TAG = re.compile(
    r"(/?)([a-zA-Z][a-zA-Z0-9:-]*+)"
    r"((?:\s++[a-zA-Z_:-][\w:.-]*+(?:\s*+=\s*+(?:\"[^\"<>]*+\"|'[^'<>]*+'|[^\s\"'<>=`]++))?+)*+)\s*+/?"
)
_ATTRIBUTE = re.compile(r"([^\s=>/\"'<]++)(?:\s*+=\s*+(?:\"([^\"]*+)\"|'([^']*+)'|([^\s>]++)))?+")
_FONT_SIZE = re.compile(r"\s*+[+-]?[0-9]")
_STYLED = re.compile(r"style|class|hidden|color|\bid\b|background|size|width|height", re.IGNORECASE)
BLOCKS: Final = frozenset(
    (  # noqa: SIM905  # a table reads better so
        "p div br tr td th li ul ol table h1 h2 h3 h4 h5 h6 hr blockquote center section article header footer option"
    ).split()
)
CELLS: Final = frozenset({"table", "td", "th", "caption", "button"})
"""What begins or ends in one of these ends nothing that stands around it."""
ENDED_BY: Final = {
    **dict.fromkeys(BLOCKS - {"br", "tr", "td", "th", "option"}, (frozenset({"p"}), CELLS)),
    "li": (frozenset({"li"}), CELLS | {"ul", "ol"}),
    "tr": (frozenset({"tr"}), frozenset({"table"})),
    **dict.fromkeys(("td", "th"), (frozenset({"td", "th"}), frozenset({"table", "tr"}))),
    "option": (frozenset({"option"}), frozenset({"select"})),
    "a": (frozenset({"a"}), CELLS),
}
"""For an element that begins, which open ones end before it (§13.2.6.4.7), and in which this is not so."""
RAW_NAMES: Final = frozenset("script style textarea xmp noembed noframes title".split())  # noqa: SIM905  # a table reads better so
VOID: Final = frozenset("br img hr input meta link area base col embed source track wbr param".split())  # noqa: SIM905  # a table reads better so
LINKS_BY: Final = {
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
_PAINTED = frozenset({"table", "td", "body"})
FOREIGN: Final = frozenset({"svg", "math"})
"""In which other rules hold than in HTML."""
_BEARING = frozenset({"a", "meta", *FOREIGN, *LINKS_BY, *RAW_NAMES}) - _PAINTED
"""Those that have a link or a meaning; the painted ones have a link only with their background."""
_NONE: dict[str, str] = {}
_LOOKS = frozenset({"style", "hidden", "size", "background", "bgcolor", "color", "text"})
