"""Names that look like others: characters that people cannot tell apart, and scripts that do not go together.

A small table of our own after Unicode's (UTS #39): the characters that occur in names and are drawn like ASCII.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from gatekeeper.message.domains import own_label

# What people see when they see it: Cyrillic, Greek, Armenian, Cherokee, and Latin letters that are not ASCII.
_DRAWN_LIKE = {
    **dict(zip("аᴀαɑаӑӓạạ", "a" * 9, strict=True)),
    **dict(zip("ЬƄьᏏЂв", "b" * 6, strict=True)),
    **dict(zip("сϲᴄҫ", "c" * 4, strict=True)),
    **dict(zip("ԁɗժᏧđ", "d" * 5, strict=True)),
    **dict(zip("еҽєёεẹɛ", "e" * 7, strict=True)),
    **dict(zip("ƒſғ", "f" * 3, strict=True)),
    **dict(zip("ɡցԍǥ", "g" * 4, strict=True)),
    **dict(zip("һհᏂн", "h" * 4, strict=True)),
    **dict(zip("іıɩιӏɪї¡ị", "i" * 9, strict=True)),
    **dict(zip("јϳʝ", "j" * 3, strict=True)),
    **dict(zip("кκќҝ", "k" * 4, strict=True)),
    **dict(zip("ⅼłɭǀ", "l" * 4, strict=True)),
    **dict(zip("мɱ", "m" * 2, strict=True)),
    **dict(zip("ոпηŋռ", "n" * 5, strict=True)),
    **dict(zip("оοօσӧøơọ๐", "o" * 9, strict=True)),
    **dict(zip("рρƿ", "p" * 3, strict=True)),
    **dict(zip("ԛգզ", "q" * 3, strict=True)),
    **dict(zip("гᴦꮁʀ", "r" * 4, strict=True)),
    **dict(zip("ѕꜱʂ", "s" * 3, strict=True)),
    **dict(zip("тτŧ", "t" * 3, strict=True)),
    **dict(zip("υսʋцᴜ", "u" * 5, strict=True)),
    **dict(zip("ѵνᴠ", "v" * 3, strict=True)),
    **dict(zip("ѡԝաωɯ", "w" * 5, strict=True)),
    **dict(zip("хχҳ", "x" * 3, strict=True)),
    **dict(zip("уүγʏỵ", "y" * 5, strict=True)),
    **dict(zip("ᴢʐżᏃ", "z" * 4, strict=True)),
}
# Those that even a second look does not tell from ASCII; and what ASCII may stand between them.
_TWINS = frozenset("аеорсхуіјѕԁһӏԛԝ" + "ονυ" + "օոսցհզ" + "0123456789-")
_TABLE = str.maketrans(_DRAWN_LIKE)
# What is told apart on paper, and not in a hurry.
_IN_A_HURRY = str.maketrans({"0": "o", "1": "l", "i": "l", "5": "s", "3": "e", "4": "a", "$": "s", "|": "l"})


@lru_cache(maxsize=8192)
def skeleton(name: str) -> str:
    """What a name looks like: two that look alike have one skeleton. For comparison only, it is no name itself."""
    seen = _drawn(name).translate(_IN_A_HURRY)
    return seen.replace("rn", "m").replace("vv", "w").replace("cl", "d").replace("-", "")


def _drawn(name: str) -> str:
    """The name in ASCII as far as its characters look like it, accents left away."""
    text = unicodedata.normalize("NFKC", name[:255]).lower().translate(_TABLE)
    if text.isascii():
        return text
    apart = unicodedata.normalize("NFD", text)
    return "".join(sign for sign in apart if not unicodedata.combining(sign)).translate(_TABLE)


# First and last character of each script that may stand in a name.
_SCRIPTS = (
    ("latin", 0x61, 0x7A),
    ("latin", 0xDF, 0x24F),
    ("latin", 0x250, 0x2AF),
    ("latin", 0x1D00, 0x1EFF),
    ("greek", 0x370, 0x3FF),
    ("greek", 0x1F00, 0x1FFF),
    ("cyrillic", 0x400, 0x52F),
    ("armenian", 0x530, 0x58F),
    ("hebrew", 0x590, 0x5FF),
    ("arabic", 0x600, 0x6FF),
    ("thai", 0xE00, 0xE7F),
    ("cherokee", 0x13A0, 0x13FF),
    ("cherokee", 0xAB70, 0xABBF),
    ("hangul", 0x1100, 0x11FF),
    ("hangul", 0xAC00, 0xD7AF),
    ("kana", 0x3040, 0x30FF),
    ("bopomofo", 0x3100, 0x312F),
    ("han", 0x3400, 0x9FFF),
)
_TOGETHER = (
    frozenset({"latin", "han", "kana"}),
    frozenset({"latin", "han", "hangul"}),
    frozenset({"latin", "han", "bopomofo"}),
)
"""Scripts that one language writes with (UTS #39 §5.2, highly restrictive)."""


def scripts(label: str) -> frozenset[str]:
    """The scripts of a label's letters."""
    found = set()
    for sign in label.lower():
        number = ord(sign)
        for name, first, last in _SCRIPTS:
            if first <= number <= last:
                found.add(name)
                break
    return frozenset(found)


def mixed(label: str) -> bool:
    """Whether the label has letters that no language writes together."""
    if label.isascii():
        return False
    found = scripts(label)
    return len(found) > 1 and not any(found <= allowed for allowed in _TOGETHER)


def unicode_of(host: str) -> str:
    """A name in A-labels as people see it; labels that are no Punycode stay."""
    if "xn--" not in host:
        return host
    return ".".join(_unicode_label(label) for label in host.split("."))


def _unicode_label(label: str) -> str:
    if not label.startswith("xn--") or len(label) > 63:
        return label
    try:
        return label[4:].encode("ascii").decode("punycode") or label
    except (UnicodeError, ValueError, OverflowError):
        return label


def disguised(host: str) -> bool:
    """Whether a name in A-labels shows letters that mean to be taken for others: scripts mixed in a label, or a label
    of foreign letters that all look like ASCII under a suffix that is ASCII.
    """
    if "xn--" not in host:
        return False
    labels = unicode_of(host).split(".")
    if any(mixed(label) for label in labels):
        return True
    foreign = [label for label in labels[:-1] if not label.isascii()]
    return labels[-1].isascii() and any(_TWINS.issuperset(label) for label in foreign)


def imitated(domain: str, known: Iterable[str]) -> str:
    """Which of the `known` registered domains a registered domain looks like without being it; "" for none."""
    label = own_label(unicode_of(domain))
    seen = skeleton(label)
    if len(seen) < SHORTEST:
        return ""
    for other in known:
        theirs = own_label(other)
        if label == theirs:
            continue  # the same word under another suffix: theirs, or a namesake's
        if skeleton(theirs) == seen:
            return other
    return ""


SHORTEST = 5
"""Letters of a name that is worth imitating; shorter ones look like many."""

BRANDS = tuple(
    f"{name}.com"
    for name in (  # noqa: SIM905  # a table reads better so
        "amazon apple microsoft google paypal netflix facebook instagram whatsapp linkedin outlook office365 icloud "
        "dropbox docusign adobe ebay walmart costco fedex coinbase binance blockchain metamask wellsfargo citibank "
        "barclays santander hsbcbank chasebank bankofamerica americanexpress mastercard steampowered spotify youtube "
        "twitter telegram github gitlab shopify alibaba aliexpress samsung verizon vodafone telekom deutschepost "
        "postbank sparkasse volksbank commerzbank booking airbnb expedia norton mcafee geeksquad godaddy namecheap"
    ).split()
)
"""Whom mail most often pretends to come from. Only the label counts."""
_BRANDS_BY_LOOK = {skeleton(own_label(brand)): own_label(brand) for brand in BRANDS}


@lru_cache(maxsize=4096)
def imitated_brand(domain: str) -> str:
    """The brand whose label a registered domain looks like without being it; "" for none."""
    label = own_label(unicode_of(domain))
    brand = _BRANDS_BY_LOOK.get(skeleton(label), "")
    return "" if brand == label or label.replace("-", "") == brand else brand


def drawn_in_ascii(text: str) -> str:
    """The text in lower case, its letters drawn in ASCII as far as they look like it; for comparison only."""
    return _drawn(text)
