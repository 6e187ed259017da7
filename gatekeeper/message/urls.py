"""One address of the web as browsers read it (WHATWG URL), so that every disguise of one place has one name."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

import idna

from gatekeeper.message.domains import LONGEST_NAME, registered_domain
from gatekeeper.model import IPAddress

LONGEST = 4000
"""Characters of an address that are read."""


@dataclass(frozen=True, slots=True)
class Url:
    """An address, taken apart and never followed.

    `host` is lower case in A-labels without a dot at its end, or the plain text of `address`; where a label has what
    names of hosts do not have (`a!b.`), which browsers ask for all the same, it is `domain`. `domain` is what was
    registered of it, "" for an address in numbers and for names that nobody can have registered. `rest` is path,
    query and fragment as they came. `numeric`: written in numbers in a way that only machines read (decimal, octal,
    hexadecimal). `encoded`: the host was percent-encoded. `user` is what stood before the host, which people take
    for it.
    """

    scheme: str
    host: str
    domain: str = ""
    address: IPAddress | None = None
    port: int | None = None
    user: str = ""
    rest: str = ""
    numeric: bool = False
    encoded: bool = False

    @property
    def key(self) -> str:
        """What makes two the same."""
        return f"{self.scheme}://{self.host}{self.rest}"

    @property
    def punycode(self) -> bool:
        return "xn--" in self.host


_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]{0,20}):")
_WEB = frozenset({"http", "https", "ftp", "ws", "wss"})
_REMOVED = str.maketrans("", "", "\t\r\n\0\u200b\u200c\u200d\u2060\ufeff\xad")
_AUTHORITY = re.compile(r"[/\\]*+([^/\\?#]*+)(.*)", re.DOTALL)
_PORT = re.compile(r":(0*+[0-9]{0,5})\Z")
_HOST = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
)
_ODD_HOST = re.compile(r"(?=.{1,253}\Z)(?:[a-z0-9_!\"$&'()*+,;=`{}~-]{1,63}\.)+[a-z0-9-]{1,63}")
_NUMBER = re.compile(r"(?:0[xX]([0-9a-fA-F]*)|([0-9]+))\Z")
_IGNORED = re.compile(  # Default_Ignorable_Code_Point, which mapping takes away before any length is asked (UTS 46)
    "[\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)
_DOTS = str.maketrans({"。": ".", "．": ".", "｡": ".", "․": "."})


def parse_url(text: str) -> Url | None:
    """The address; None for what leads nowhere on the web (relative ones, `mailto:`, `cid:`, and what is none)."""
    return _parse_known(text) if len(text) <= _SHORT else _parse(text[:LONGEST])


_SHORT = 300
"""Characters of an address that is kept: letters name one address often, and those of one sender the same ones."""


def labels_to_map(text: str) -> list[str]:
    """The labels of the address's host that are not ASCII: to read each for the first time takes 20 µs and more."""
    if text.isascii() and "%" not in text:
        return []
    divided = _divided(text[:LONGEST])
    if divided is None:
        return []
    host = divided[1].rpartition("@")[2]
    if "%" in host:
        host = unquote(host, errors="replace")
    return [] if host.isascii() else [label for label in _labels(host) if not label.isascii()]


def _divided(text: str) -> tuple[str, str, str] | None:
    """Scheme, authority and what follows; None for what is not of the web."""
    if not (text.isascii() and text.isprintable()):
        text = text.translate(_REMOVED)
    text = text.strip()
    match = _SCHEME.match(text)
    if match is not None:
        scheme = match[1].lower()
        if scheme not in _WEB:
            return None
        text = text[match.end() :]
    elif text.startswith(("//", "\\\\", "/\\")):
        scheme = "http"
    else:
        return None
    found = _AUTHORITY.match(text)
    return (scheme, found[1], found[2]) if found is not None and found[1] else None


def _parse(text: str) -> Url | None:
    divided = _divided(text)
    if divided is None:
        return None
    scheme, authority, rest = divided
    user, at, host = authority.rpartition("@")
    port = _PORT.search(host)
    if port is not None:
        host = host[: port.start()]
    place = _place(host)
    if place is None:
        return None
    name, address, numeric, encoded = place
    return Url(
        scheme,
        name,
        "" if address is not None else registered_domain(name),
        address,
        int(port[1][-5:]) if port is not None and port[1] else None,
        user[:255] if at else "",
        rest,
        numeric,
        encoded,
    )


_parse_known = lru_cache(maxsize=4096)(_parse)


def parse_bare(text: str) -> Url | None:
    """A name without a scheme, as people write it and mail programs make a link of it: "www.example.com/x"."""
    url = parse_url("http://" + text)
    return url if url is not None and url.domain and not url.user else None


@lru_cache(maxsize=4096)
def _place(host: str) -> tuple[str, IPAddress | None, bool, bool] | None:
    """The host's name, its address if it is one, whether that was obscured, whether it was encoded."""
    encoded = "%" in host
    if encoded:
        host = unquote(host, errors="replace")
    if host.startswith("["):
        try:
            address: IPAddress = ipaddress.IPv6Address(host[1:-1].partition("%")[0])
        except ValueError:
            return None
        return str(address), address, False, encoded
    name = _name(host)
    if name is None:
        return None
    number = _in_numbers(name)
    if number is not None:
        return str(number), number, str(number) != host.rstrip("."), encoded
    return name, None, False, encoded


def _name(host: str) -> str | None:
    """The host's name in A-labels."""
    if host.isascii():
        name = host.lower().strip(".")
    else:
        labels = [label if label.isascii() else a_label(label) for label in _labels(host)]
        if not all(labels):
            return None
        name = ".".join(labels)
    if _HOST.fullmatch(name):
        return name
    known = registered_domain(name) if _ODD_HOST.fullmatch(name) else ""
    return known if _HOST.fullmatch(known) else None


def _labels(host: str) -> list[str]:
    """The labels of a host's name, not yet mapped; none where no more than 253 octets of A-labels come of them."""
    host = _IGNORED.sub("", host)
    if len(host) > 1000:
        return []
    host = unicodedata.normalize("NFKC", host.translate(_DOTS)).translate(_DOTS)
    labels = host.lower().strip(".").split(".")
    mapped = sum(not label.isascii() for label in labels)
    fit = all(labels) and mapped <= _MAPPED and len(labels) - 1 + sum(map(len, labels)) <= LONGEST_NAME
    return labels if fit else []


_MAPPED = LONGEST_NAME // len("xn--a.")


@lru_cache(maxsize=4096)
def a_label(label: str) -> str:
    """A label as DNS has it; "" for one that no browser takes."""
    if len(label) > 63:
        return ""
    try:
        return idna.encode(label, uts46=True, transitional=False).decode("ascii")
    except (idna.IDNAError, UnicodeError, IndexError):
        pass  # many names in use are not allowed by IDNA 2008 (emoji); browsers take them
    try:
        return "xn--" + label.encode("punycode").decode("ascii")
    except UnicodeError:
        return ""


def _in_numbers(name: str) -> ipaddress.IPv4Address | None:
    """An IPv4 address in any way that browsers read: one to four numbers, decimal, octal or hexadecimal."""
    last = name.rpartition(".")[2]
    if not last[:1].isdigit() or not _NUMBER.match(last):
        return None
    texts = name.split(".")
    if len(texts) > 4:
        return None
    numbers = []
    for text in texts:
        match = _NUMBER.match(text)
        if match is None or len(text) > 40:
            return None
        try:
            numbers.append(
                int(match[1] or "0", 16) if match[2] is None else int(text, 8 if text.startswith("0") else 10)
            )
        except ValueError:  # an 8 in an octal number
            return None
    *front, tail = numbers
    if any(number > 255 for number in front) or tail >= 256 ** (5 - len(numbers)):
        return None
    value = tail
    for n, number in enumerate(front):
        value += number << 8 * (3 - n)
    return ipaddress.IPv4Address(value)
