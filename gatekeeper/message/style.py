"""Which styles hide text from people: zero size, no display, off the screen, the colour of the ground (CSS 2.2).

Not a style engine: it reads what stands in a tag, and the simplest rules of a page's own sheet. Where it cannot know
the ground's colour it calls nothing hidden.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

_REMOVING = {
    "display": r"none",
    "opacity": r"(?:0++(?:\.0*+)?|\.0++)%?",
    "max-height": r"0++(?:\.0*+)?(?:[a-z]{1,4}|%)?",
    "max-width": r"0++(?:\.0*+)?(?:[a-z]{1,4}|%)?",
    "text-indent": r"-\d{3,}+[^;]*+",
    "clip": r"rect\(\s*+0[^;]*+",
}
_ANY_REMOVING = "|".join(rf"{name}\s*+:\s*+{says}" for name, says in _REMOVING.items())
_MAY_REMOVE = re.compile(rf"(?:\A|;)\s*+(?:{_ANY_REMOVING})")
_DISPLAYS = re.compile(r"(?:\A|;)\s*+display\s*+:(?!\s*+none)")
_REMOVES = {name: re.compile(says) for name, says in _REMOVING.items()}
_SIZE = re.compile(r"(?:\A|;)\s*+(font(?:-size)?)\s*+:([^;]*+)")
_ZERO = re.compile(r"(?:0++(?:\.0*+)?|\.0++)(?:px|pt|pc|em|rem|ex|ch|cm|mm|in|q|vw|vh|%)?")
_ONE = re.compile(r"1px")
_OF_FONT = re.compile(r"(?:\s*+/|\s)\s*+\S")
"""What stands behind the size in "font", which is no declaration without."""
_RELATIVE = re.compile(r"[\d.]++(?:em|ex|ch|%)|larger")
_VISIBILITY = re.compile(r"(?:\A|;)\s*+visibility\s*+:([^;]*+)")
_AS_AROUND = ("inherit", "unset", "smaller")
_REMARK = re.compile(r"/\*(?s:.*?)(?:\*/|\Z)")
_POSITION = re.compile(r"position\s*+:\s*+(?:absolute|fixed)")
_FAR = re.compile(r"(?:left|top|right|margin-left|margin-top)\s*+:\s*+-\d{3,}+")
_ZERO_BOX = re.compile(r"(?<![a-z-])(?:height|width)\s*+:\s*+0(?:px|pt|em|%)?(?![\d.])")
_COLOUR = re.compile(r"(?<![a-z-])color\s*+:\s*+([^;!]{1,60})")
_GROUND = re.compile(r"background(?:-color)?\s*+:\s*+([^;!]{1,80})")
_RGB = re.compile(r"rgba?\(\s*+(\d{1,3})[\s,]++(\d{1,3})[\s,]++(\d{1,3})")
_HEX = re.compile(r"#([0-9a-f]{6}|[0-9a-f]{3})(?![0-9a-f])")
_NAMED = {
    "white": 0xFFFFFF,
    "black": 0x000000,
    "red": 0xFF0000,
    "green": 0x008000,
    "blue": 0x0000FF,
    "yellow": 0xFFFF00,
    "silver": 0xC0C0C0,
    "gray": 0x808080,
    "grey": 0x808080,
    "snow": 0xFFFAFA,
    "ivory": 0xFFFFF0,
    "whitesmoke": 0xF5F5F5,
    "ghostwhite": 0xF8F8FF,
    "navy": 0x000080,
    "lightgray": 0xD3D3D3,
    "lightgrey": 0xD3D3D3,
}
_WORD = re.compile(r"[a-z]+")
WHITE = 0xFFFFFF
STYLE = 2000
"""Characters of one style that are read."""
SHEET = 200_000
"""Characters of a page's sheet that are read."""
BRACES = 10_000
RULES = 500
"""Rules of a page's sheet that are read."""


NO_SIZE = 1
ONE_PIXEL = 2
"""Apart from `NO_SIZE`, since of it "1400%" is a size that people read."""
NOT_VISIBLE = 4


@dataclass(frozen=True, slots=True)
class Look:
    """What a style says. Colours are 0xRRGGBB, None where it says nothing; `ground_unknown`: a picture, a gradient.

    `removes`: nothing in such an element is seen, whatever it says of itself. `veils` hide what stands in it until an
    element inside `shows` it again, since size and visibility are inherited; both are sums of `NO_SIZE` and its like.
    `displays`: it says that the element is there, which counts before what an attribute or another rule says.
    """

    removes: bool = False
    colour: int | None = None
    ground: int | None = None
    ground_unknown: bool = False
    veils: int = 0
    shows: int = 0
    displays: bool = False

    @property
    def hides(self) -> bool:
        """Whether text that stands in it and says nothing of itself is hidden."""
        return self.removes or self.veils > 0


NOTHING = Look()


@lru_cache(maxsize=2048)
def look_of(style: str) -> Look:
    """Read the declarations of one style."""
    text = style[:STYLE].lower()
    if "/*" in text:
        text = _REMARK.sub("", text)
    removes = _MAY_REMOVE.search(text) is not None and _removes(text)
    if not removes and "position" in text:
        removes = _POSITION.search(text) is not None and _FAR.search(text) is not None
    if not removes and "overflow" in text:
        removes = _ZERO_BOX.search(text) is not None
    veils, shows = _veils(text) if "font" in text or "visibility" in text else (0, 0)
    displays = "display" in text and _DISPLAYS.search(text) is not None
    if "color" not in text and "background" not in text:
        said = removes or veils or shows or displays
        return Look(removes, veils=veils, shows=shows, displays=displays) if said else NOTHING
    colour, ground = _COLOUR.search(text), _GROUND.search(text)
    painted = None if ground is None else colour_of(ground[1])
    unknown = ground is not None and (painted is None or "url(" in ground[1]) and "transparent" not in ground[1]
    return Look(removes, None if colour is None else colour_of(colour[1]), painted, unknown, veils, shows, displays)


def _removes(text: str) -> bool:
    """Whether a property that can remove text does so as often as it is declared: which counts is a browser's art."""
    said: dict[str, bool] = {}
    for declaration in text.split(";"):
        name, _, value = declaration.partition(":")
        name = name.strip()
        if name in _REMOVES:
            said[name] = said.get(name, True) and _REMOVES[name].fullmatch(_value(value)) is not None
    return any(said.values())


def _value(text: str) -> str:
    """What is declared, without "!important". All of it counts: what browsers do not understand they pass over."""
    text = text.strip()
    said = text.removesuffix("important")
    return said.rstrip()[:-1].rstrip() if said != text and said.rstrip().endswith("!") else text


def _veils(text: str) -> tuple[int, int]:
    """What a style veils and what it shows. Where it says both, it shows: which of them counts is a browser's art."""
    veils = shows = 0
    for name, said in dict.fromkeys(_SIZE.findall(text)):
        value = _value(said)
        if _says(_ZERO, value, name):
            veils |= NO_SIZE
        elif _says(_ONE, value, name):
            veils |= ONE_PIXEL
        elif _RELATIVE.match(value):  # to nothing, which stays so
            shows |= ONE_PIXEL
        elif not value.startswith(_AS_AROUND):
            shows |= NO_SIZE | ONE_PIXEL
    for said in dict.fromkeys(_VISIBILITY.findall(text)):
        value = _value(said)
        if value in {"hidden", "collapse"}:
            veils |= NOT_VISIBLE
        elif not value.startswith(_AS_AROUND):
            shows |= NOT_VISIBLE
    veils &= ~shows
    if veils & (NO_SIZE | ONE_PIXEL) == ONE_PIXEL:  # which is a size: what stands inside may be a multiple of it
        shows |= NO_SIZE
    return veils, shows


def _says(size: re.Pattern[str], value: str, name: str) -> bool:
    """Whether a value is that size, and for "font" begins with it."""
    if name == "font-size":
        return size.fullmatch(value) is not None
    found = size.match(value)
    return found is not None and _OF_FONT.match(value, found.end()) is not None


def colour_of(text: str) -> int | None:
    """A colour as 0xRRGGBB; None for what is none, or is not known here."""
    text = text.strip().lower()
    found = _HEX.search(text)
    if found is not None:
        digits = found[1]
        return int(digits if len(digits) == 6 else "".join(digit * 2 for digit in digits), 16)
    found = _RGB.search(text)
    if found is not None:
        red, green, blue = (min(255, int(found[n])) for n in (1, 2, 3))
        return red << 16 | green << 8 | blue
    if len(text) == 6:
        try:
            return int(text, 16)  # "bgcolor=ffffff"
        except ValueError:
            pass
    word = _WORD.match(text)
    return _NAMED.get(word[0]) if word else None


@lru_cache(maxsize=1024)
def alike(one: int, other: int) -> bool:
    """Whether people cannot tell two colours apart: no channel differs by more than 12 of 255."""
    return all(abs((one >> shift & 255) - (other >> shift & 255)) <= 12 for shift in (16, 8, 0))


_SELECTOR = re.compile(r"(?:^|[\s,])(?:[a-z]{0,10})([.#][a-z0-9_-]{1,60})(?=\s*+(?:,|$))")


_BRACE = re.compile(r"[{}]")


class Sheet:
    """The rules of a page's sheet that hide what has a class or an id; those for some screens only are passed over."""

    __slots__ = ("hiding", "paints", "removing", "veiling")

    def __init__(self) -> None:
        self.hiding: set[str] = set()
        self.removing: set[str] = set()  # those of them whose text nothing shows again
        self.veiling: dict[str, tuple[int, int]] = {}  # what is veiled and what is shown
        self.paints = False  # whether it gives anything a ground that we do not follow

    def read(self, text: str) -> None:
        """Add the rules in `text`. Linear in its length."""
        text = text[:SHEET].lower()
        depth = rules = selector_from = opened = 0
        selector = ""
        for n, brace in enumerate(_BRACE.finditer(text)):
            if n > BRACES:
                return
            if brace[0] == "{":
                depth += 1
                if depth == 1:
                    selector, opened = text[selector_from : brace.start()][-STYLE:], brace.end()
            elif depth:
                depth -= 1
                if not depth:
                    selector_from = brace.end()
                    selector = selector.rpartition(";")[2]
                    rules += 1
                    if rules > RULES:
                        return
                    if "@" not in selector:  # what is for some screens only hides nothing from the others
                        self._rule(selector, text[opened : brace.start()][:STYLE])

    def _rule(self, selector: str, declarations: str) -> None:
        look = look_of(declarations)
        if look.ground is not None or look.ground_unknown:
            self.paints = True
        if not (look.hides or look.shows or look.displays):
            return
        names = _SELECTOR.findall(selector)
        if look.hides:
            self.hiding.update(names)
        if look.removes:
            self.removing.update(names)
        elif look.displays:
            self.removing.difference_update(names)
        if look.veils or look.shows:
            for name in names:
                veils, shows = self.veiling.get(name, (0, 0))
                self.veiling[name] = veils & ~look.shows | look.veils, shows & ~look.veils | look.shows

    def veils_of(self, names: Iterable[str]) -> tuple[int, int]:
        """What the rules for all of these names veil and what they show; where they say both, they show."""
        veils = shows = 0
        for name in names:
            if name in self.veiling:
                veils, shows = veils | self.veiling[name][0], shows | self.veiling[name][1]
        return veils & ~shows, shows
