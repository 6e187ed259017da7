"""Whose name a message uses, and whether it may: the names are data (`[brands]`), matched together with the rules."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from gatekeeper.message.content import Content
from gatekeeper.message.domains import own_label
from gatekeeper.message.links import Place

LONGEST: Final = 3
"""Words of a brand's name at most."""
BEGINNING: Final = 400
"""Octets of the text in which a brand that is spoken of has to be named first."""
_LINKS: Final = frozenset({Place.ANCHOR, Place.FORM, Place.TEXT})


def brand_pattern(name: str) -> str:
    """What finds a brand's name in normalised text, word for word."""
    before = r"\b" if name[0].isascii() else ""
    after = r"\b" if name[-1].isascii() else ""
    return f"{before}{re.escape(name)}{after}"


def brand_facts(
    named: Mapping[str, Collection[str]], brands: Mapping[str, tuple[str, ...]], content: Content, home: str
) -> dict[str, int]:
    """The facts about brands that are not 0. `named` has the brands by where their names stand: "author", "subject",
    "seen". `home` is the author's registered domain, "" where it is not known.
    """
    found: dict[str, int] = {}
    if _stranger(named.get("author", ()), brands, home):
        found["brand_name"] = 1
    subject = _stranger(named.get("subject", ()), brands, home)
    if subject:
        found["brand_subject"] = 1
    spoken_of = subject or _stranger(named.get("seen", ()), brands, home)
    if spoken_of:
        domains = {link.url.domain for link in content.links if link.place in _LINKS}
        if domains and not any(_is(domain, spoken_of, brands) for domain in domains):
            found["brand_links"] = 1
    return found


def _stranger(names: Iterable[str], brands: Mapping[str, tuple[str, ...]], home: str) -> str:
    """A brand that is named and whose domain the author's is not; "" where one of those that are named is at home."""
    strange = ""
    for name in names:
        if _is(home, name, brands):
            return ""
        strange = strange or name
    return strange


def _is(domain: str, brand: str, brands: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether a registered domain is the brand's: one that is listed, or its own word under another suffix."""
    return domain in brands[brand] or (bool(domain) and own_label(domain) == brand.replace(" ", "").replace(".", ""))
