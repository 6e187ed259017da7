"""How a message is built: its parts, its HTML, its links, as traits that say nothing of who wrote it to whom. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from gatekeeper.message.content import Content, Text
from gatekeeper.message.links import Place, Trait
from gatekeeper.message.transfer import Encoding

PAGES = 3
PARTS = 40
LINKS = 100

_EXTENSION = re.compile(r"\.([a-zA-Z0-9]{1,5})$")
_HEX = re.compile(r"[0-9a-f]{12,}|[A-Za-z0-9_-]{24,}")
_RUNS = (re.compile(r"[0-9]+"), re.compile(r"[a-z]+"), re.compile(r"[A-Z]+"))


def size(count: float) -> str:
    """A number's order of magnitude, in powers of two."""
    if type(count) is int and 0 <= count < _EXACT:
        return _ORDERS[(count + 1).bit_length()]
    return str(int(math.log2(count + 1)))


_EXACT = 1 << 40
"""Below it both ways say the same, and counting bits is faster; beyond it a float knows not every number."""
_ORDERS = [str(bits - 1) for bits in range(42)]


def shape(text: str, longest: int = 16) -> str:
    """A made-up name's pattern: "1a-Bc99" -> "9a-Aa9"."""
    for run, letter in zip(_RUNS, "9aA", strict=True):
        text = run.sub(letter, text)
    return text[:longest]


def of_parts(content: Content) -> Iterator[str]:
    """The tree of parts, and of each what it is said to be."""
    parts = [part for part in content.mime.parts if not part.reading][:PARTS]
    if not parts:
        return
    leaves = [part for part in parts if not part.container]
    yield "parts:" + str(min(len(leaves), 9))
    for part in leaves:
        yield "type:" + part.media[:40]
        if part.is_text:
            if part.encoding is Encoding.BASE64 and part.decoded(2000).isascii():
                yield "type:text in base64 for no reason"
        elif part.name:
            found = _EXTENSION.search(part.name)
            yield "file:" + (found[1].lower() if found else "none")
        if part.disposition:
            yield f"disposed:{part.disposition[:12]} {part.media.partition('/')[0][:12]}"
    for each in content.ambiguities:
        yield "ambiguous:" + each.value


def of_pages(texts: tuple[Text, ...]) -> Iterator[str]:
    """What the HTML is made with: names of tags, attributes and styles, and how many."""
    seen = sum(len(text.seen) for text in texts)
    pages = [text for text in texts if text.page is not None]
    plain = sum(len(text.seen) for text in texts if text.page is None)
    yield f"pages:{min(len(pages), 3)} {'plain' if plain else 'no plain'}"
    if plain and pages:
        yield "plain to html:" + size(8 * plain / (1 + seen - plain))
    for text in pages[:PAGES]:
        page = text.page
        if page is None:
            continue
        yield "tags:" + size(page.tags)
        yield "text in source:" + size(64 * len(text.seen) / (1 + len(text.part.octets)))
        yield "images:" + size(page.images)
        yield "text to images:" + (size(len(text.seen) / page.images) if page.images else "none")
        yield "hidden:" + size(len(text.hidden))
        yield f"hidden share:{int(4 * len(text.hidden) / (1 + len(text.hidden) + len(text.seen)))}"
        if page.forms:
            yield "form:yes"
        if page.scripts:
            yield "script:yes"
        if page.broken:
            yield "broken:yes"
        if not page.title:
            yield "title:no"


def of_links(content: Content, author: str) -> Iterator[str]:
    """Where links stand and how they are made. `author` is the registered domain of From, "" for none."""
    links = [link for link in content.links if link.place is not Place.HEADER][:LINKS]
    yield "links:" + size(len(links))
    yield "addresses:" + size(len(content.links.addresses))
    if not links:
        return
    domains = {link.url.domain for link in links if link.url.domain}
    yield "link domains:" + str(min(len(domains), 9))
    anchors = [link for link in links if link.place in _FOLLOWED]
    yield "anchors:" + size(len(anchors))
    if author and anchors:
        own = sum(link.url.domain == author for link in anchors)
        yield f"links to author:{4 * own // len(anchors)}"
        label = author.partition(".")[0]
        yield f"links like author:{any(label in link.url.domain for link in anchors)}"
    images = {link.url.domain for link in links if link.place is Place.IMAGE}
    if images:
        yield f"images from:{'own' if images <= {link.url.domain for link in anchors} else 'elsewhere'}"
    known: set[tuple[Place, str, str, bool, tuple[Trait, ...]]] = set()
    for link in links:
        url = link.url
        looks = (link.place, url.scheme, url.domain, _HEX.search(url.rest[:400]) is not None, link.traits)
        if looks not in known:  # most links of a message are made as others of it
            known.add(looks)
            yield from _of_link(*looks)


_FOLLOWED = frozenset({Place.ANCHOR, Place.TEXT, Place.FORM})


def _of_link(place: Place, scheme: str, domain: str, code: bool, traits: tuple[Trait, ...]) -> Iterator[str]:
    link = f"link {place.word}"
    for trait in traits:
        yield f"{link}:{trait.value}"
    yield f"{link}:{scheme}"
    if domain:
        yield f"{link} under:{domain.partition('.')[2]}"
        if any(map(str.isdigit, domain)):
            yield f"{link}:digits"
    if code:
        yield f"{link}:code"
