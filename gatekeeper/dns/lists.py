"""DNS lists, the pure part: whom to ask about, under which name, and what an answer means (RFC 5782)."""

from __future__ import annotations

import enum
import ipaddress
import math
import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from gatekeeper.dns.dead_lists import death_of
from gatekeeper.model import GROUP_LINE, IPAddress, setting

# Addresses that stay within somebody's own walls; no list of the world's can know them. The networks for
# documentation are not among them: examples and tests live there.
_INNER = tuple(
    ipaddress.ip_network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.168.0.0/16", "224.0.0.0/4", "240.0.0.0/4"),
        *("::/128", "::1/128", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
    )
)
_INNER_RANGES = {
    version: tuple((int(net.network_address), int(net.broadcast_address)) for net in _INNER if net.version == version)
    for version in (4, 6)
}


def plain(address: IPAddress) -> IPAddress:
    """An IPv4 address that came mapped into IPv6 (RFC 4291 §2.5.5.2) as what it is."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def outside(address: IPAddress) -> bool:
    """Whether an address belongs to the Internet, so that asking the world about it makes sense."""
    address = plain(address)
    number = int(address)
    return not any(low <= number <= high for low, high in _INNER_RANGES[address.version])


def reversed_labels(address: IPAddress) -> str:
    """Octets from the last to the first ("5.2.0.192"), or nibbles of IPv6 (RFC 5782 §2.1, §2.4)."""
    address = plain(address)
    if address.version == 4:
        first, second, third, fourth = address.packed
        return f"{fourth}.{third}.{second}.{first}"
    return ".".join(reversed(address.packed.hex()))


class Family(enum.Enum):
    """What a list is asked about; its health is another for each, as the servers of each may be."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"
    NAMES = "names"  # domains
    HASHES = "hashes"  # digests, of e-mail addresses for example


_V6_LISTED, _V6_NOT_LISTED = "::ffff:7f00:2", "::ffff:7f00:1"  # RFC 5782 §5
_CANNOT_BE_LISTED = 127 << 24 | 1 << 23
_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"


def control_labels(family: Family, dice: random.Random) -> str:
    """The labels of something that no list can list, another one each time: no cache can know the answer.

    An address of 127.128.0.0/9, which is nobody's (mapped into IPv6 for lists of those); a name below `invalid`,
    which cannot exist (RFC 6761 §6.4); a digest of nothing.
    """
    if family is Family.NAMES:
        return f"c{dice.getrandbits(64):016x}.invalid"
    if family is Family.HASHES:
        return "".join(dice.choices(_LETTERS, k=52))  # as long as SHA-256 is in base 32
    number = _CANNOT_BE_LISTED | dice.getrandbits(23)
    if family is Family.IPV4:
        return reversed_labels(ipaddress.IPv4Address(number))
    return nibbles(ipaddress.IPv6Address(0xFFFF << 32 | number))


def nibbles(address: ipaddress.IPv6Address) -> str:
    """From the last to the first, of a mapped IPv4 address too (RFC 5782 §2.4)."""
    return ".".join(reversed(address.packed.hex()))


_NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63}){0,10}")


def _test_labels(text: str) -> str | None:
    text = text.lower().removesuffix(".")
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text if _NAME.fullmatch(text) and len(text) <= 64 else None
    return nibbles(address) if isinstance(address, ipaddress.IPv6Address) else reversed_labels(address)


def _number(text: str) -> int:
    return int(ipaddress.IPv4Address(text))


_LISTS_SPEAK_IN = ipaddress.ip_network("127.0.0.0/8")
_LOW, _HIGH = int(_LISTS_SPEAK_IN.network_address), int(_LISTS_SPEAK_IN.broadcast_address)
_NEVER = frozenset(_number(text) for text in ("127.0.0.0", "127.0.0.1", "127.0.0.255", "127.0.1.255"))
_ERRORS = _number("127.255.255.0") >> 8


def _never_listed(number: int) -> bool:
    """Answers by which lists refuse or report errors, and those that no list gives for a listing (RFC 5782 §2.3)."""
    return number in _NEVER or number >> 8 == _ERRORS


@dataclass(frozen=True, slots=True)
class Pattern:
    """One pattern of a code map: the addresses from `low` to `high` that share a bit with `bits` (0: all of them)."""

    low: int
    high: int
    bits: int
    name: str

    def matches(self, number: int) -> bool:
        return self.low <= number <= self.high and (not self.bits or bool(number & self.bits))


_PATTERN = re.compile(r"(?P<net>(?:[0-9]{1,3}\.){3})(?:(?P<low>[0-9]{1,3})-(?P<high>[0-9]{1,3})|&(?P<bits>[0-9]{1,3}))")


def parse_pattern(text: str, name: str) -> Pattern:
    """A pattern as it is written in the configuration; ValueError says what is wrong with it.

    "127.0.0.2" one address · "127.0.0.4-7" a range of the last octet · "127.0.0.&8" addresses whose last octet has
    that bit (one of those bits) · "127.0.0.0/29" a network.
    """
    try:
        pattern = _parse_pattern(text, name)
    except ValueError:
        raise ValueError(
            f'{text!r} is no code; write "127.0.0.2", "127.0.0.4-7", "127.0.0.&8" or "127.0.0.8/30"'
        ) from None
    if not _LOW <= pattern.low <= pattern.high <= _HIGH:
        raise ValueError(f"the code {text!r} reaches outside 127.0.0.0/8, where no list answers")
    if (pattern.low == pattern.high and _never_listed(pattern.low)) or pattern.low >> 8 == pattern.high >> 8 == _ERRORS:
        raise ValueError(f"the code {text!r} never means listed; lists refuse questions with it. Remove it")
    return pattern


def _parse_pattern(text: str, name: str) -> Pattern:
    match = _PATTERN.fullmatch(text)
    if match is None:
        network = ipaddress.IPv4Network(text)
        return Pattern(int(network.network_address), int(network.broadcast_address), 0, name)
    base = _number(match["net"] + "0")
    if match["bits"]:
        bits = int(match["bits"])
        if not 1 <= bits <= 255:
            raise ValueError
        return Pattern(base, base + 255, bits, name)
    low, high = int(match["low"]), int(match["high"])
    if not low <= high <= 255:
        raise ValueError
    return Pattern(base + low, base + high, 0, name)


@dataclass(frozen=True, slots=True)
class Codes:
    """A list's code map. Empty: every answer in 127/8 but the refusing ones means listed, under the name ""."""

    patterns: tuple[Pattern, ...] = ()

    @classmethod
    def parse(cls, names: Mapping[str, str]) -> Codes:
        """From pattern -> name of the code."""
        return cls(tuple(parse_pattern(text, name) for text, name in names.items()))


@dataclass(frozen=True, slots=True)
class ListCode:
    """What one pattern of a code map stands for: a part of the list with a name, and a score where it has its own."""

    name: str = field(metadata={"about": "The end of the rule's name, in A-Z, 0-9 and _."})
    score: float | None = setting(None, "Points of the rule; the list's score where it is left out.")


# Spamhaus, Abusix and others put it into the name: "u5t6...4fq.zen.dq.spamhaus.net".
_KEY = re.compile(r"(?<![^.])[a-z0-9]{20,}(?![^.])", re.IGNORECASE)


def without_key(zone: str) -> str:
    return _KEY.sub("(key)", zone)


@dataclass(frozen=True)  # without slots, for what is worked out once
class DnsList:
    """One list as it is configured; ValueError says what to mend."""

    prefix: ClassVar[str] = "DNSBL"
    """How the names of its rules begin."""

    zone: str = field(metadata={"about": "The zone that is asked.", "shown": without_key})
    name: str = field(metadata={"about": "The list's part of its rules' names, in A-Z, 0-9 and _."})
    score: float | None = setting(None, "Points of a listing; below 0 for a list of welcome senders.")
    codes: Mapping[str, ListCode] = field(
        default_factory=dict,
        hash=False,
        metadata={
            "about": 'What its answers mean ("127.0.0.2", "127.0.0.4-7", "127.0.0.&8"); with them only these count.'
        },
    )
    ipv6: bool = setting(True, "Whether it is asked about IPv6 addresses too.")
    group: str = setting("", "Lists of one group count together no more than the group's cap.")
    test_listed: str = setting(
        "",
        "What it must list: an address, a name, for hash lists a mail address; 127.0.0.2 where empty, or TEST on lists "
        "of names (RFC 5782).",
    )
    test_not_listed: str = setting("", "What it must not list: 127.0.0.1, or INVALID on lists of names, where empty.")
    test_listed_ipv6: str = setting("", "The same for IPv6: ::FFFF:7F00:2 where empty.")
    test_not_listed_ipv6: str = setting("", "The same for IPv6: ::FFFF:7F00:1 where empty.")

    def __post_init__(self) -> None:
        if len(self.zone) > _LONGEST_ZONE or not _ZONE.fullmatch(self.zone):
            raise ValueError(f'{self.zone!r} is no zone; write a domain name such as "zen.spamhaus.org"')
        if (death := death_of(self.zone)) is not None:
            raise ValueError(f"zone: {self.zone} {death}. Remove it")
        for name in (self.name, *(code.name for code in self.codes.values())):
            if not _RULE_PART.fullmatch(name):
                raise ValueError(f"{name!r} cannot be part of a rule's name; use A-Z, 0-9 and _")
            if GROUP_LINE in f"_{name}_":
                raise ValueError(f"{name!r} would look like a group of lists; give it another name")
        scores: dict[str, float] = {}
        for pattern, code in self.codes.items():
            parse_pattern(pattern, code.name)
            score = self.score if code.score is None else code.score
            if score is None:
                raise ValueError(f"the code {pattern!r} of {self.name} has no score; give it one, or give the list one")
            if scores.setdefault(code.name, score) != score:
                raise ValueError(f"{self.name} has two codes {code.name} with different scores; give one another name")
        if not scores and self.score is None:
            raise ValueError(f"the list {self.name} has no score; give it one, or codes that have")
        if self.group and not _GROUP.fullmatch(self.group):
            raise ValueError(f"{self.group!r} cannot be a group's name; use letters, digits and _")
        for name in ("test_listed", "test_not_listed", "test_listed_ipv6", "test_not_listed_ipv6"):
            text = getattr(self, name)
            if text and self.test_labels(text) is None:
                raise ValueError(f"{name}: {text!r} is neither an address nor a name")
        if not all(math.isfinite(score) for score in (*scores.values(), self.score or 0.0)):
            raise ValueError(f"a score of {self.name} is no finite number")

    @cached_property
    def suffix(self) -> str:
        """The zone as it is asked."""
        return self.zone.lower().removesuffix(".")

    @cached_property
    def shown(self) -> str:
        """The zone as it may be shown: the key of a subscriber, which is a label of its own, is left out."""
        return without_key(self.suffix)

    @property
    def welcomes(self) -> bool:
        """Whether being on it is an excuse."""
        return any(score < 0 for score in self.scores.values())

    @cached_property
    def rule(self) -> str:
        """What it is called in rules, metrics, logs and reports."""
        return f"{self.prefix}_{self.name}"

    @cached_property
    def rules(self) -> Mapping[str, str]:
        """The rule of each code by its name; "" stands for a list without codes."""
        return {code: f"{self.rule}_{code}" if code else self.rule for code in self.scores}

    @property
    def families(self) -> tuple[Family, ...]:
        """What it is asked about."""
        return (Family.IPV4, Family.IPV6) if self.ipv6 else (Family.IPV4,)

    def control_labels(self, family: Family, dice: random.Random) -> str:
        """The labels of something that it cannot list, another one each time."""
        return control_labels(family, dice)

    def test_points(self, family: Family) -> tuple[str, str]:
        """The labels of what it must list and of what it must not, to be put before the zone; "" where nobody knows."""
        if family is Family.IPV6:
            given = self.test_listed_ipv6 or _V6_LISTED, self.test_not_listed_ipv6 or _V6_NOT_LISTED
        elif family is Family.IPV4:
            given = self.test_listed or "127.0.0.2", self.test_not_listed or "127.0.0.1"
        elif family is Family.NAMES:
            given = self.test_listed or "test", self.test_not_listed or "invalid"
        else:
            given = self.test_listed, self.test_not_listed
        listed, not_listed = (self.test_labels(text) or "" for text in given)
        return listed, not_listed

    def test_labels(self, text: str) -> str | None:
        """What stands before the zone for a test point as it is written; None for what cannot."""
        return _test_labels(text)

    @cached_property
    def meaning(self) -> Codes:
        return Codes.parse({pattern: code.name for pattern, code in self.codes.items()})

    @cached_property
    def scores(self) -> Mapping[str, float]:
        """The score of each code by its name; "" stands for a list without codes."""
        if not self.codes:
            return {"": self.score or 0.0}
        return {code.name: (self.score or 0.0) if code.score is None else code.score for code in self.codes.values()}


_RULE_PART = re.compile(r"[A-Z0-9_]{1,40}")
_GROUP = re.compile(r"[A-Za-z0-9_]{1,40}")
_ZONE = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
_LONGEST_ZONE = 253 - 64  # before it stand 32 nibbles with their dots


@dataclass(frozen=True, slots=True)
class Listing:
    """A code that was answered, and the addresses that said so (the first few)."""

    name: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ListAnswer:
    """What a list said.

    `refused`: it said that it would not say, or something that no list says; then nothing is listed, and nothing is
    known either. `strange`: the addresses outside 127/8 and those the code map does not name.
    """

    listed: tuple[Listing, ...] = ()
    refused: bool = False
    strange: tuple[str, ...] = ()


_MOST_SHOWN = 8


def judge(records: Iterable[str], codes: Codes) -> ListAnswer:
    """What the A records of an answer mean.

    One refusing code, or one address outside 127/8 (a parked domain, a resolver that lies), spoils the whole answer.
    """
    found: dict[str, list[str]] = {}
    strange: list[str] = []
    refused = False
    for text in records:
        try:
            number = _number(text)
        except ValueError:  # no A record
            number = 0
        if not _LOW <= number <= _HIGH:
            refused = True
            strange.append(text)
        elif _never_listed(number):
            refused = True
        elif not codes.patterns:
            found.setdefault("", []).append(text)
        else:
            names = dict.fromkeys(pattern.name for pattern in codes.patterns if pattern.matches(number))
            for name in names:
                found.setdefault(name, []).append(text)
            if not names:
                strange.append(text)
    if refused:
        return ListAnswer(refused=True, strange=tuple(strange[:_MOST_SHOWN]))
    return ListAnswer(
        tuple(Listing(name, tuple(addresses[:_MOST_SHOWN])) for name, addresses in found.items()),
        strange=tuple(strange[:_MOST_SHOWN]),
    )
