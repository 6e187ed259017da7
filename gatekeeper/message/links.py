"""Every link of a message, from its text, HTML and header, each named in one way and what is odd about it said.

Nothing is ever fetched: a filter that follows links confirms addresses, subscribes people and can be led anywhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum
from urllib.parse import unquote

from gatekeeper.message.domains import own_label
from gatekeeper.message.html import HtmlLink, Page
from gatekeeper.message.linkify import DOTS, InText, links_in
from gatekeeper.message.lookalike import disguised, imitated_brand
from gatekeeper.message.shorteners import SHORTENERS
from gatekeeper.message.tags import Use
from gatekeeper.message.urls import Url, labels_to_map, parse_bare, parse_url
from gatekeeper.wire.headers import Header, decode_words

PLACES = 3 * DOTS
"""How many places of all texts of one message are looked at, that could be in a link."""
MAPPED = 10_000
"""Characters of labels that are not ASCII, in names of hosts of one message, that are mapped: some thousand labels."""
MOST = 500
"""Links of one message that are kept; those that say most about it first, others are counted."""


class Trait(StrEnum):
    """What is odd about a link."""

    DECEPTIVE = "deceptive"  # its text shows another domain
    LOOK_ALIKE = "look_alike"  # its name is made to look like another
    NUMERIC = "numeric"  # an IP address, written so that people cannot read it
    ADDRESS = "address"  # an IP address
    USER_INFO = "user_info"  # a name before an @, which people take for the host
    ENCODED_HOST = "encoded_host"  # the host percent-encoded, for no reason
    SHORTENER = "shortener"  # where it leads cannot be seen
    PORT = "port"  # a port that is not the scheme's
    PUNYCODE = "punycode"  # a name with other than ASCII letters; most are honest


class Place(IntEnum):
    """Where a link stands, those that people follow first."""

    ANCHOR = 1  # something in HTML to click on
    FORM = 2  # where what somebody types goes
    TEXT = 3  # in plain text, or in the text of HTML
    SUBJECT = 4
    NESTED = 5  # inside another link, which leads on to it
    IMAGE = 6
    RESOURCE = 7  # a sheet, a script, a frame
    BARE = 8  # a name in text without scheme or "www.", which some programs make a link of
    HIDDEN = 9  # where people do not see it: hidden text, a comment
    HEADER = 10  # List-Unsubscribe and its like

    @property
    def word(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Link:
    """A link. `text` is what people see of it; `shown` the domain that this text names, where it names one."""

    url: Url
    place: Place
    text: str = ""
    shown: str = ""
    traits: tuple[Trait, ...] = ()
    imitates: str = ""
    field: str = ""  # the header field's name, for Place.HEADER

    @property
    def telling(self) -> tuple[int, int]:
        """For sorting: the most telling first."""
        weight = min((_WEIGHT.get(trait, 9) for trait in self.traits), default=9)
        return (weight, int(self.place))


_WEIGHT = {
    Trait.LOOK_ALIKE: 0,
    Trait.NUMERIC: 1,
    Trait.USER_INFO: 2,
    Trait.ENCODED_HOST: 3,
    Trait.DECEPTIVE: 4,
    Trait.ADDRESS: 5,
}


@dataclass(frozen=True, slots=True, eq=False)
class Links:
    """All links of a message, the most telling first, each once. `addresses` are mail addresses in its text, lower
    case. `left_out` is how many links and addresses there were beyond what is kept.
    """

    links: tuple[Link, ...] = ()
    addresses: tuple[str, ...] = ()
    left_out: int = 0

    def __iter__(self) -> Iterator[Link]:
        return iter(self.links)

    def __len__(self) -> int:
        return len(self.links)

    @property
    def domains(self) -> tuple[str, ...]:
        """The registered domains, the most telling first."""
        return tuple(dict.fromkeys(link.url.domain for link in self.links if link.url.domain))


@dataclass(slots=True)
class Gatherer:
    """Takes links from each part of a message, and then gives them all."""

    _found: dict[str, Link] = field(default_factory=dict)
    _addresses: dict[str, None] = field(default_factory=dict)
    _left_out: int = 0
    _places: int = PLACES
    _mapped: set[str] = field(default_factory=set)
    _to_map: int = MAPPED

    def text(self, text: str, place: Place = Place.TEXT, *, but: Collection[str] = ()) -> None:
        """Plain text. `place` may be SUBJECT or HIDDEN. `but`: what stands in it and is no link of its own."""
        if "." not in text and "://" not in text:
            return
        found = self._in(text)
        self._left_out += found.left_out
        for each in found.links:
            if each not in but:
                self._url(self._parsed(each), place)
        for each in found.bare:
            if each in but:
                continue
            bare = place if each.startswith("www.") or place is Place.HIDDEN else Place.BARE
            self._url(parse_bare(each), bare)
        if place is not Place.HIDDEN:
            self._mail(found.addresses)

    def page(self, page: Page) -> None:
        """HTML: its links, and those that stand in its text without being any."""
        if page.left_out:
            self._left_out += 1
        links = dict.fromkeys(page.links)  # letters and newsletters say many of theirs twice
        base = next((self._parsed(link.target) for link in links if link.use is Use.BASE), None)
        for link in links:
            self._html(link, base)
        # What a link's text names is what it shows, not where anything leads.
        shown = [self._in(link.text) for link in page.links if "." in link.text]
        but = {name for one in shown for name in (*one.links, *one.bare)}
        self.text(page.seen, but=but)
        self.text(page.hidden, Place.HIDDEN, but=but)

    def header(self, header: Header) -> None:
        """The fields that name addresses for programs (RFC 2369, RFC 8058), and the subject."""
        for name in _FIELDS:
            for each in header.all(name)[:5]:
                for part in each.text[:8000].split("<")[1:50]:
                    target = part.partition(">")[0].strip()
                    self._url(self._parsed(target), Place.HEADER, source=name)
        for each in header.all("subject")[:3]:
            self.text(decode_words(each.text[:2000]), Place.SUBJECT)

    def links(self) -> Links:
        ordered = sorted(self._found.values(), key=lambda link: link.telling)
        left_out = self._left_out + max(0, len(ordered) - MOST) + max(0, len(self._addresses) - MOST)
        return Links(tuple(ordered[:MOST]), tuple(self._addresses)[:MOST], left_out)

    def _in(self, text: str) -> InText:
        if self._places <= 0:
            self._left_out += text.count("://") or "." in text
            return _NONE
        found = links_in(text, min(DOTS, self._places))
        self._places -= found.looked
        return found

    def _parsed(self, text: str) -> Url | None:
        return parse_url(text) if self._has_room(text) else None

    def _has_room(self, text: str) -> bool:
        """Whether an address may be read, for what of its host's name has to be mapped."""
        new = {label for label in labels_to_map(text) if label not in self._mapped}
        if not new:
            return True
        self._to_map = max(-1, self._to_map - sum(map(len, new)))
        if self._to_map < 0:
            self._left_out += 1
            return False
        self._mapped |= new
        return True

    def _html(self, link: HtmlLink, base: Url | None) -> None:
        if link.use is Use.BASE:
            return
        place = _PLACES[link.use]
        if link.hidden and place is Place.ANCHOR:
            place = Place.HIDDEN
        target = link.target
        if target[:7].lower() == "mailto:":
            self._mail(_mailto(target))
            return
        url = self._parsed(target)
        if url is None and ":" not in target[:12] and not target.startswith(("#", "{", "[", "%")):
            bare = (target[:4].lower() == "www." or base is None) and self._has_room("http://" + target)
            url = parse_bare(target) if bare else None
            if url is None and base is not None and target:
                url = replace(base, rest="/" + target[:500].lstrip("/"))
        self._url(url, place, text=link.text)

    def _url(self, url: Url | None, place: Place, *, text: str = "", source: str = "", nested: bool = False) -> None:
        if url is None or (not url.domain and url.address is None):
            return
        key = url.key
        before = self._found.get(key)
        if before is None and len(self._found) >= 4 * MOST:
            self._left_out += 1
            return
        shown = self._shown(text) if place is Place.ANCHOR and text else ""
        link = _judged(url, place, text, source, shown)
        if before is None or link.telling < before.telling:
            self._found[key] = link
        if not nested and len(url.rest) > 8:
            inner = _nested(url.rest)
            if inner:
                self._url(self._parsed(inner), Place.NESTED, nested=True)

    def _shown(self, text: str) -> str:
        """The registered domain that a link's text names: it shows an address, or is nothing but a name."""
        if "." not in text or "@" in text:
            return ""
        found = links_in(text[:300])
        if found.links:
            url = self._parsed(found.links[0])
        elif found.bare and (found.bare[0].startswith("www.") or " " not in text.strip()):
            url = parse_bare(found.bare[0])
        else:
            return ""
        return "" if url is None else url.domain or url.host

    def _mail(self, addresses: Iterable[str]) -> None:
        for address in addresses:
            if len(self._addresses) < 2 * MOST:
                self._addresses[address.lower()] = None
            else:
                self._left_out += 1


_NONE = InText()
_PLACES = {
    Use.ANCHOR: Place.ANCHOR,
    Use.FORM: Place.FORM,
    Use.REFRESH: Place.ANCHOR,
    Use.IMAGE: Place.IMAGE,
    Use.RESOURCE: Place.RESOURCE,
}
_FIELDS = ("list-unsubscribe", "list-help", "list-subscribe", "list-post", "list-owner", "list-archive")
_PORTS = {"http": 80, "https": 443, "ftp": 21}


def _judged(url: Url, place: Place, text: str, source: str, shown: str) -> Link:
    """The link with what is odd about it."""
    traits = []
    if url.address is not None:
        traits.append(Trait.NUMERIC if url.numeric else Trait.ADDRESS)
    if url.user and place is not Place.HEADER:
        traits.append(Trait.USER_INFO)
    if url.encoded:
        traits.append(Trait.ENCODED_HOST)
    if url.port is not None and url.port != _PORTS.get(url.scheme):
        traits.append(Trait.PORT)
    if url.punycode:
        traits.append(Trait.PUNYCODE)
    imitates = imitated_brand(url.domain) if url.domain else ""
    if imitates or disguised(url.host):
        traits.append(Trait.LOOK_ALIKE)
    if url.domain in SHORTENERS or url.host in SHORTENERS:
        traits.append(Trait.SHORTENER)
    if shown and _another(shown, url):
        traits.append(Trait.DECEPTIVE)
    return Link(url, place, text[:200], shown, tuple(traits), imitates, source)


def _another(shown: str, url: Url) -> bool:
    """Whether people would be surprised: neither that domain, nor the same name elsewhere, nor one that leads there."""
    if not url.domain:
        return shown != url.host
    if shown == url.domain or own_label(shown) == own_label(url.domain):
        return False
    return own_label(shown) not in unquote(url.rest[:2000]).lower()


def _nested(rest: str) -> str:
    """The address inside another one's path or query, which it leads on to; the last one, "" where there is none."""
    lower = rest.lower()
    if "http" not in lower[1:]:
        return ""
    text = rest if "://" in lower else unquote(rest)
    if "://" not in text:
        text = unquote(text)
    place = max(text.lower().rfind("http://", 1), text.lower().rfind("https://", 1))
    if place < 0:
        return ""
    target = text[place:]
    return target.partition("&")[0] if "%2f" not in target.lower()[:12] else unquote(target)


def _mailto(target: str) -> list[str]:
    """The addresses of a `mailto:` link (RFC 6068)."""
    listed = unquote(target[7:2000].partition("?")[0])
    return [each.strip() for each in listed.split(",")[:50] if "@" in each]
