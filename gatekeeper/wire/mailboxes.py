"""The one reader of address lists in header fields (RFC 5322 §3.4, RFC 6532): mailboxes, and what is doubtful.

Mail programs differ in what they show for an odd From field, and some send such fields to be taken for somebody else
("Composition Kills", USENIX Security 2020). So this reader does not guess: wherever two readers might see two
addresses it says so, and whoever authenticates the author then has none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from gatekeeper.model import Address
from gatekeeper.wire.address import AddressError, mailbox_text, normal_domain, parse_mailbox, parse_path
from gatekeeper.wire.headers import decode_words
from gatekeeper.wire.lookalike import looks_like_another


class Ambiguity(StrEnum):
    """Why two readers of an address list might not see the same addresses."""

    MALFORMED = "malformed"  # an entry that is no mailbox
    ROUTE = "route"  # <@a,@b:user@c>, obsolete (§4.4)
    ENCODED_WORD = "encoded_word"  # inside an address, where RFC 2047 §5 forbids it
    QUOTED_PAIR = "quoted_pair"  # a backslash in an address or between words
    COMMENT = "comment"  # inside an address, obsolete (§4.4)
    SPACED = "spaced"  # blanks inside an address, obsolete
    CONTROL = "control"  # NUL and other control characters
    EIGHT_BIT = "eight_bit"  # bytes that are not UTF-8
    UNBALANCED = "unbalanced"  # a quote, comment or bracket that does not end
    TRAILING = "trailing"  # something after the closing angle bracket
    NESTED = "nested"  # a name, comment or local part that holds an address at another domain
    GROUP = "group"  # a group, which many readers do not know (RFC 6854)
    TOO_LONG = "too_long"  # more than we read
    LOOK_ALIKE = "look_alike"  # a domain that is easily taken for another (`wire/lookalike.py`)
    SEVERAL_ADDRESSES = "several_addresses"  # where one is expected (`message/header.py`)
    SEVERAL_FIELDS = "several_fields"
    MALFORMED_FIELD = "malformed_field"
    SEVERAL_SENDERS = "several_senders"  # Sender fields, or addresses in one
    SENDER = "sender"  # the Sender field can be read in two ways


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An address and the display name before it, without its quotes, encoded words as they came; "" for no name."""

    name: str
    address: Address


@dataclass(frozen=True, slots=True)
class AddressList:
    mailboxes: tuple[Mailbox, ...]
    ambiguities: tuple[Ambiguity, ...] = ()


LIMIT = 65_536
"""Octets of one field that are read; a longer one is `TOO_LONG` and has no mailboxes."""
MOST = 500
"""Entries of one field that are read, empty ones too; one with more is `TOO_LONG`, and the rest of it is left out."""

_COMMON = re.compile(
    r'(?:"([^"\\<>\x00-\x1f\x7f]*+)"|([^"\\<>@,;:()\[\]\x00-\x1f\x7f]*+))\s*+<([^<>@"\s]++@[^<>@"\s]++)>'
    r'|([^<>@"\s()\[\],;:\\]++@[^<>@"\s()\[\],;:\\]++)',
    re.ASCII,
)
_BETWEEN = r"[ \t\r\n]*+"
_ADDRESS = r'([^<>@"\s()\[\],;:\\]++@[^<>@"\s()\[\],;:\\]++)'
_ENTRY = re.compile(  # of a list that nobody could read in two ways
    rf'{_BETWEEN}(?:(?:"([^"\\<>\x00-\x1f\x7f]*+)"|([^"\\<>@,;:()\[\]\x00-\x1f\x7f]*+)){_BETWEEN}<{_ADDRESS}>'
    rf"|{_ADDRESS}){_BETWEEN}(?:,|\Z)",
    re.ASCII,
)
_TOKEN = re.compile(
    r"""(?P<blank>[ \t\r\n]+)
      | (?P<quoted>"(?:[^"\\]|\\.)*+(?:"|\\?\Z))  # one that does not end goes to the end
      | (?P<literal>\[[^\[\]\\]*+\])
      | (?P<special>[<>@,;:()\[\]\\])
      | (?P<word>[^ \t\r\n"<>@,;:()\[\]\\]+)""",
    re.VERBOSE | re.DOTALL,
)
_IN_COMMENT = re.compile(r"[()]|\\.", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|\n(?![ \t])")
_PAIR = re.compile(r"\\(.)", re.DOTALL)
_ANGLED = re.compile(r"@([^<>@]{1,255})>")
_AT = re.compile(r"@([^\s<>@,;:()\"]{1,255})")


def parse_address_list(value: bytes | str, limit: int = LIMIT) -> AddressList:
    """The value of From, Sender, Reply-To, To, Cc. In linear time; never raises. () where there is no mailbox."""
    doubts: dict[Ambiguity, None] = {}
    if len(value) > limit:
        return AddressList((), (Ambiguity.TOO_LONG,))
    if isinstance(value, bytes):
        try:
            text = value.decode()
        except UnicodeDecodeError:
            text = value.decode("latin-1")
            doubts[Ambiguity.EIGHT_BIT] = None
    else:
        text = value
    text = text.strip(" \t\r\n")
    if _CONTROL.search(text):
        doubts[Ambiguity.CONTROL] = None
    if not doubts and "=?" not in text and (common := _COMMON.fullmatch(text)) is not None:
        try:
            name = (common[1] or common[2] or "").rstrip(" \t")
            address = parse_path(common[3] or common[4])
            doubt = (Ambiguity.LOOK_ALIKE,) if looks_like_another(address.domain) else ()
            return AddressList((Mailbox(name, address),), doubt)
        except AddressError:
            pass  # the long way says what is wrong
    if not doubts and "," in text and "=?" not in text and (several := _several(text)) is not None:
        return several
    mailboxes: list[Mailbox] = []
    for number, entry in enumerate(_entries(text, doubts)):
        if number == MOST:
            doubts[Ambiguity.TOO_LONG] = None
            break
        mailbox = _mailbox(entry, doubts)
        if mailbox is not None:
            mailboxes.append(mailbox)
    return AddressList(tuple(mailboxes), tuple(doubts))


def _several(text: str) -> AddressList | None:
    """A list in which every entry is an ordinary one, as the long way reads it; None for any other."""
    mailboxes: list[Mailbox] = []
    doubts: tuple[Ambiguity, ...] = ()
    position = 0
    while position < len(text):
        if len(mailboxes) == MOST:
            return AddressList(tuple(mailboxes), (*doubts, Ambiguity.TOO_LONG))
        entry = _ENTRY.match(text, position)
        if entry is None:
            return None
        quoted, name, angled, bare = entry.groups("")
        if "  " in name:  # of which the long way makes one blank
            return None
        try:
            address = parse_path(angled or bare)
        except AddressError:
            return None
        if looks_like_another(address.domain):
            doubts = (Ambiguity.LOOK_ALIKE,)
        mailboxes.append(Mailbox((quoted or name).strip(), address))
        position = entry.end()
    return AddressList(tuple(mailboxes), doubts)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # "blank", "quoted", "literal", "special", "word", "comment"
    text: str


def _tokens(text: str, doubts: dict[Ambiguity, None]) -> Iterator[_Token]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:  # the pattern has a place for every character
            raise AssertionError(position)
        if match[0] == "(":
            end = _end_of_comment(text, position)
            if end is None:
                doubts[Ambiguity.UNBALANCED] = None
                return
            yield _Token("comment", text[position:end])
            position = end
            continue
        position = match.end()
        if match.lastgroup == "quoted" and (len(match[0]) < 2 or match[0][-1] != '"' or _ends_escaped(match[0])):
            doubts[Ambiguity.UNBALANCED] = None
        yield _Token(match.lastgroup, match[0])


def _ends_escaped(quoted: str) -> bool:
    """Whether the quote at the end is a quoted pair, that is: after an odd number of backslashes."""
    inside = quoted[1:-1]
    return (len(inside) - len(inside.rstrip("\\"))) % 2 == 1


def _end_of_comment(text: str, start: int) -> int | None:
    depth = 0
    for match in _IN_COMMENT.finditer(text, start):
        if match[0] == "(":
            depth += 1
        elif match[0] == ")":
            depth -= 1
            if not depth:
                return match.end()
    return None


def _entries(text: str, doubts: dict[Ambiguity, None]) -> Iterator[list[_Token]]:
    """The list cut at its commas; the frames of groups are taken off."""
    entry: list[_Token] = []
    angle = group = False
    for token in _tokens(text, doubts):
        sign = token.text if token.kind == "special" else ""
        if sign == "<":
            angle = True
        elif sign == ">":
            angle = False
        if not sign or angle or sign not in ",:;":
            entry.append(token)
            continue
        if sign == ":":
            if group:
                doubts[Ambiguity.MALFORMED] = None
            group = True
            doubts[Ambiguity.GROUP] = None  # what stood before is the group's name
            if any(held.text == "@" for held in entry):
                doubts[Ambiguity.NESTED] = None
        else:
            yield entry
            if sign == ";":
                if not group:
                    doubts[Ambiguity.MALFORMED] = None
                group = False
        entry = []
    if group:
        doubts[Ambiguity.UNBALANCED] = None
    yield entry


def _mailbox(entry: list[_Token], doubts: dict[Ambiguity, None]) -> Mailbox | None:
    if all(token.kind in {"blank", "comment"} for token in entry):
        return None  # empty entries are obsolete syntax and harmless
    opens = next((i for i, token in enumerate(entry) if token.text == "<"), None)
    if any(token.kind == "special" and token.text in ")>" for token in entry[:opens]):
        doubts[Ambiguity.UNBALANCED] = None
    if opens is None:
        name: list[_Token] = []
        spec = entry
    else:
        closes = next((i for i in range(opens + 1, len(entry)) if entry[i].text == ">"), None)
        if closes is None:
            doubts[Ambiguity.UNBALANCED] = None
            return None
        name, spec = entry[:opens], entry[opens + 1 : closes]
        if any(token.kind not in {"blank", "comment"} for token in entry[closes + 1 :]):
            doubts[Ambiguity.TRAILING] = None
    address = _address(spec, doubts)
    if address is None:
        doubts[Ambiguity.MALFORMED] = None
        return None
    comments = (token for token in entry if token.kind == "comment")
    if any(token.text == "\\" for token in name):
        doubts[Ambiguity.QUOTED_PAIR] = None
    if _names_another(address, name, comments):
        doubts[Ambiguity.NESTED] = None
    if looks_like_another(address.domain):
        doubts[Ambiguity.LOOK_ALIKE] = None
    return Mailbox(_text(name), address)


def _address(spec: list[_Token], doubts: dict[Ambiguity, None]) -> Address | None:
    """An addr-spec (§3.4.1). Comments and blanks around it are usual, those inside are not."""
    solid = [i for i, token in enumerate(spec) if token.kind not in {"blank", "comment"}]
    if not solid:
        return None
    inside = spec[solid[0] : solid[-1] + 1]
    if any(token.kind == "comment" for token in inside):
        doubts[Ambiguity.COMMENT] = None
    if any(token.kind == "blank" for token in inside):
        doubts[Ambiguity.SPACED] = None
    if _words_side_by_side(inside):
        return None
    text = "".join(token.text for token in inside if token.kind not in {"blank", "comment"})
    if "\\" in text:
        doubts[Ambiguity.QUOTED_PAIR] = None
    if "=?" in text:
        doubts[Ambiguity.ENCODED_WORD] = None
    if text.startswith("@"):
        doubts[Ambiguity.ROUTE] = None
    try:
        local, domain = parse_mailbox(mailbox_text(text))
    except AddressError:
        return None
    if any(sign in '@<>,"' for sign in local):
        doubts[Ambiguity.NESTED] = None
    return Address(local, domain, text)


def _words_side_by_side(inside: list[_Token]) -> bool:
    """`john doe@example.com`: with the blank taken out it would be somebody else."""
    before = ""
    parted = False
    for token in inside:
        if token.kind in {"blank", "comment"}:
            parted = True
            continue
        if parted and not (before[-1:] in {"@", "."} or token.text[0] in "@."):
            return True
        before, parted = token.text, False
    return False


def _names_another(address: Address, name: list[_Token], comments: Iterable[_Token]) -> bool:
    """Whether a reader that takes names, comments or encoded words apart finds an address at another domain there."""
    domains: list[str] = []
    bare = "".join(token.text for token in name if token.kind not in {"quoted", "comment"})
    if "@" in bare:
        domains += _AT.findall(bare) or [""]
    for text in (*(token.text for token in name if token.kind == "quoted"), *(token.text for token in comments)):
        if "@" in text:
            domains += _ANGLED.findall(text)
    whole = "".join(token.text for token in name)
    if "=?" in whole:
        domains += _ANGLED.findall(decode_words(whole))
    return any(normal_domain(domain.strip()) != address.domain for domain in domains)


def _text(name: list[_Token]) -> str:
    parts = (
        _PAIR.sub(r"\1", token.text[1:-1]) if token.kind == "quoted" else " " if token.kind == "blank" else token.text
        for token in name
        if token.kind != "comment"
    )
    return "".join(parts).strip()
