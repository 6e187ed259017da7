"""How the header is made, and how a text looks whatever it says. Names no person, host, date or path. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from string import ascii_lowercase, ascii_uppercase, digits

from gatekeeper.classifier.structure import shape, size
from gatekeeper.classifier.words import Words, foreign, words_of
from gatekeeper.message.domains import registered_domain
from gatekeeper.message.header import Author
from gatekeeper.wire.address import normal_domain
from gatekeeper.wire.headers import Header, decode_words

# Which fields a sender's program writes. What lists, relays and receivers add tells where mail was collected.
_WRITTEN = frozenset(
    (  # noqa: SIM905  # a list of words reads better so
        "reply-to sender organization x-mailer user-agent x-priority importance priority x-msmail-priority x-mimeole "
        "in-reply-to references thread-index thread-topic content-language accept-language "
        "disposition-notification-to return-receipt-to list-unsubscribe list-unsubscribe-post feedback-id precedence "
        "auto-submitted errors-to mime-version content-class x-originating-ip x-php-originating-script "
        "x-accept-language cc to message-id date x-report-abuse x-csa-complaints x-campaign x-campaignid"
    ).split()
)
_ANSWER = re.compile(r"\s*(?:re|fwd?|aw|wg|sv|antw|tr|rif)\s?(?:\[\d+\])?:", re.IGNORECASE)
_MONEY = re.compile(  # it begins with what the engine looks for fast
    r"[$€£¥\d](?:(?<=[$€£¥])\s?\d|(?<=\d)[\d,.]{0,15}\s?(?:usd|eur|gbp|dollars?|euros?|million)\b)", re.IGNORECASE
)
_LARGE = re.compile(r"\d[,.]\d{3}[,.]\d{3}")
_COIN = re.compile(r"\b(?:bc1[a-z0-9]{20,60}|[13][a-km-zA-HJ-NP-Z1-9]{25,34}|0x[0-9a-fA-F]{40})\b")
_COINS = frozenset({b"btc", b"bitcoin", b"wallet", b"crypto", b"ethereum", b"usdt"})
_PHONE = re.compile(r"\d[\d ().-]{7,17}\d")
_SHOUTED = re.compile(r"\b[A-Z]{4,}\b")
_SCRIPTS = (
    ("latin-1", 0xC0, 0xFF),
    ("greek", 0x370, 0x3FF),
    ("cyrillic", 0x400, 0x52F),
    ("hebrew or arabic", 0x590, 0x6FF),
    ("kana", 0x3040, 0x30FF),
    ("chinese", 0x3400, 0x9FFF),
    ("hangul", 0xAC00, 0xD7AF),
)
_MIXED = re.compile("[a-zA-Z][\u0400-\u052f\u0370-\u03ff]|[\u0400-\u052f\u0370-\u03ff][a-zA-Z]")
_FREE = frozenset(
    (  # noqa: SIM905  # a list of words reads better so
        "gmail.com googlemail.com yahoo.com hotmail.com outlook.com live.com aol.com icloud.com msn.com mail.com "
        "gmx.de gmx.net gmx.com web.de mail.ru yandex.ru qq.com 163.com 126.com protonmail.com proton.me yahoo.co.uk "
        "yahoo.fr hotmail.co.uk hotmail.fr rediffmail.com zoho.com t-online.de free.fr orange.fr libero.it"
    ).split()
)
LOOKED_AT = 6000
"""Characters of a text whose looks are measured."""


def of_header(header: Header, author: Author, domain: str) -> Iterator[str]:
    """`domain` is the registered domain of the author, "" for none."""
    names = header.by_name
    yield from ("field:" + name for name in names if name in _WRITTEN)
    if header.malformed:
        yield "field:malformed"
    yield from _of_author(header, author, domain)
    yield from _of_program(header)
    yield from _of_id(header, domain)
    for name in ("to", "cc"):
        field = header.first(name)
        if field is not None:
            value = field.value[:9999].lower()
            yield f"{name}:{'undisclosed' if b'undisclosed' in value else size(value.count(b'@'))}"
    priority = header.first("x-priority") or header.first("importance")
    if priority is not None:
        yield "priority:" + priority.text.strip()[:6].lower()
    subject = header.first("subject")
    if subject is not None:
        yield "subject written:" + _written(subject.value[:500].strip())
        text = decode_words(subject.text)[:200]
        answers = _ANSWER.match(text) is not None
        yield f"answers:{answers} {'references' in names or 'in-reply-to' in names}"


def _written(raw: bytes) -> str:
    if raw.startswith(b"=?"):
        return raw[2:14].decode("ascii", "replace").partition("?")[0].lower()
    return "plain" if raw.isascii() else "8-bit"


def _of_author(header: Header, author: Author, domain: str) -> Iterator[str]:
    if not author.mailboxes:
        yield "from:none"
        return
    for doubt in author.ambiguities:
        yield "from:" + doubt.value
    mailbox = author.mailboxes[0]
    name = decode_words(mailbox.name)[:200]
    local = mailbox.address.local
    yield "from under:" + mailbox.address.domain.rpartition(".")[2][:10]
    yield f"from:{'free' if domain in _FREE else 'own'} {'named' if name else 'bare'}"
    yield "from local:" + shape(local, 8)
    yield "from labels:" + str(min(mailbox.address.domain.count("."), 5))
    if any(character.isdigit() for character in domain):
        yield "from:digits"
    if "@" in name:
        yield f"from name:{'another' if domain not in name.lower() else 'same'} address"
    if name.isupper():
        yield "from name:upper case"
    if not name.isascii():
        yield "from name:not ascii"
    yield from ("from name:" + word.decode("utf-8", "replace") for word in words_of(name).found[:8])
    label = domain.partition(".")[0]
    yield f"from name like domain:{bool(label) and label in name.lower().replace(' ', '')}"
    for field in ("reply-to", "sender"):
        other = _domain_of(header, field)
        if other is not None:
            yield f"{field}:{'same' if other == domain else 'free' if other in _FREE else 'another'}"


def _domain_of(header: Header, name: str) -> str | None:
    """The registered domain of the first address in a field; None where there is none."""
    field = header.first(name)
    if field is None:
        return None
    found = _DOMAIN.search(field.text[:1000])
    if found is None:
        return ""
    return registered_domain(normal_domain(found[1]) or "")


_DOMAIN = re.compile(r"@([\w.-]{1,253})")


def _of_program(header: Header) -> Iterator[str]:
    for name in ("x-mailer", "user-agent"):
        field = header.first(name)
        if field is not None:
            yield from ("program:" + word.decode("utf-8", "replace") for word in words_of(field.text[:60]).found[:4])


def _of_id(header: Header, domain: str) -> Iterator[str]:
    field = header.first("message-id")
    if field is None:
        yield "id:none"
        return
    host = field.text.strip().strip("<>")[:500].rpartition("@")[2]
    other = registered_domain(host.lower().strip(".")) if host.isascii() else ""
    yield f"id at:{'author' if other and other == domain else 'name' if other else 'no name'}"


def of_text(place: str, text: str, words: Words) -> Iterator[str]:
    """How a text looks. `place` is "text" or "subject"."""
    looked = text[:LOOKED_AT]
    count = len(looked) + 1
    strange = frozenset() if looked.isascii() else foreign(looked)
    octets = looked.encode("utf-8", "surrogatepass")
    # Most of a text are small letters and blanks: whatever is looked for without them is looked for in what is left,
    # and in the whole only where there it may be.
    signs = octets.translate(None, _COMMON)
    plain = not any(map(str.isdecimal, strange))  # all its digits are ASCII: octets will do to look for numbers
    yield f"{place} length:{size(len(text))}"
    yield f"{place} words:{size(len(words.found))}"
    if words.unseen:
        yield f"{place} unseen:{size(words.unseen)}"
    if words.styled:
        yield f"{place}:styled"
    yield f"{place} long words:{min(words.long, 5)}"
    shouted = _shouted(looked, octets, strange) if b"AAAA" in signs.translate(_CAPITALS) else 0
    yield f"{place} shouted:{min(9, 20 * shouted // count)}"
    yield f"{place} marks:{min(signs.count(b'!'), 5)} {min(signs.count(b'?'), 3)}"
    if strange or b"$" in signs or (b"USD" in signs and b"USD" in octets) or b"illion" in octets:
        yield f"{place} money:{min(_sums_of_money(looked, octets, strange), 5)}"
    if not plain:
        millions = _LARGE.search(looked) is not None
    else:
        millions = b"0,000,000" in signs.translate(_NUMBERS) and b"0,000,000" in octets.translate(_NUMBERS)
    if millions:
        yield f"{place} money:millions"
    if strange:
        others = [ord(character) for character in strange]
        yield f"{place} not ascii:{size(len(others))}"
        emoji = len([1 for each in others if 0x2600 <= each <= 0x27BF or 0x1F300 <= each <= 0x1FAFF])
        yield f"{place} emoji:{min(emoji, 4)}"
        scripts = [name for name, first, last in _SCRIPTS if any(first <= each <= last for each in others)]
        yield from (f"{place} script:{name}" for name in scripts)
        if ("cyrillic" in scripts or "greek" in scripts) and _MIXED.search(looked):
            yield f"{place} script:mixed"
        if 0xFFFD in others:
            yield f"{place} script:broken"
    if place != "text":
        return
    # An address of a coin is a word that is too long, which plain text has been looked through for.
    if (words.long or strange) and not _COINS.isdisjoint(words.found) and _COIN.search(looked):
        yield "text coin:yes"
    if not plain:
        phones = len(list(islice(_PHONE.finditer(looked), 3)))
    elif len(signs.translate(None, _NO_DIGITS)) > 1:
        phones = len(list(islice(_PHONE_OCTETS.finditer(octets.translate(_DIALLED)), 3)))
    else:
        phones = 0
    yield f"text phone:{phones}"
    lines = signs.count(b"\n") + 1
    quoted = int(octets.startswith((b">", b"|")))
    if b"\n>" in signs or b"\n|" in signs:
        quoted += octets.count(b"\n>") + octets.count(b"\n|")
    yield f"text lines:{size(lines)}"
    yield f"text line length:{size(count / lines)}"
    yield f"text quoted:{min(9, 10 * quoted // lines)}"
    if b"\n--" in signs and (b"\n-- \n" in octets or b"\n-- \r\n" in octets):
        yield "text:signature"


def _shouted(text: str, octets: bytes, strange: frozenset[str]) -> int:
    """Letters of words that are four capitals or more."""
    if strange:
        signs = [sign for sign in strange if not sign.isalnum()]
        if len(signs) > _FEW:
            return sum(map(len, _SHOUTED.findall(text)))
        for sign in signs:
            text = text.replace(sign, " ")
        octets = text.encode("utf-8", "surrogatepass")
    octets = octets.translate(_CAPITALS)
    return sum(map(len, _SHOUTED_OCTETS.findall(octets))) if b"AAAA" in octets else 0


def _sums_of_money(text: str, octets: bytes, strange: frozenset[str]) -> int:
    """How often a sum of money is named."""
    if (
        (_has_unit(octets) and _UNIT.search(octets))
        or not _CASED_OTHERWISE.isdisjoint(strange)
        or any(map(str.isdecimal, strange))
    ):
        return len(_MONEY.findall(text))
    if not _CURRENCIES.isdisjoint(strange):
        return len(_CURRENCY.findall(text))
    return len(_DOLLARS.findall(text)) if b"$" in octets else 0


def _has_unit(octets: bytes) -> bool:
    """Whether `_UNIT` may find anything: to look for five words is faster than for a pattern."""
    small = octets.lower()
    return any(unit in small for unit in (b"million", b"dollar", b"usd", b"eur", b"gbp"))


_FEW = 12
"""Different signs up to which replacing one after the other is faster than a pattern."""
_UNIT = re.compile(rb"[0-9][,.]{0,15}[^0-9a-z]{0,3}(?:usd|eur|gbp|dollar|million)", re.IGNORECASE)
"""Whether a sum may have its unit behind it; a blank before that may be of three octets."""
_CASED_OTHERWISE = frozenset("\u017f\u0130\u0131\u212a")
"""Letters that a pattern takes for ASCII ones when case does not count."""
_CURRENCIES = frozenset("€£¥")
_CURRENCY = re.compile(r"[$€£¥]\s?\d")
_DOLLARS = re.compile(r"\$\s?\d")


def _table(*kinds: tuple[str, str], others: str = "x") -> bytes:
    """For `bytes.translate`: each of the characters becomes the one that stands for its kind."""
    table = bytearray(others.encode() * 256)
    for characters, kind in kinds:
        for character in characters.encode():
            table[character] = ord(kind)
    return bytes(table)


_COMMON = bytes([octet for octet in range(256) if octet > 127 or chr(octet) in f" {ascii_lowercase}"])
_NO_DIGITS = bytes([octet for octet in range(256) if chr(octet) not in digits])
_NO_LETTERS = "".join([chr(octet) for octet in range(128) if not (chr(octet).isalnum() or octet == ord("_"))])
_CAPITALS = _table((ascii_uppercase, "A"), (_NO_LETTERS, " "))
_SHOUTED_OCTETS = re.compile(rb"AAAA(?<![Ax]AAAA)A*+(?!x)")
_NUMBERS = _table((digits, "0"), (",.", ","))
_DIALLED = _table((digits, "0"), (" ().-", " "))
_PHONE_OCTETS = re.compile(rb"0[0 ]{7,17}0")
