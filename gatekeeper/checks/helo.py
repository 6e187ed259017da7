"""Is the name the client said one that a mail server may say (RFC 5321 §4.1.1.1, §4.1.4)?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import ClassVar

from gatekeeper.checks.base import Tools, from_outside
from gatekeeper.dns.lists import plain
from gatekeeper.model import Finding, IPAddress, Mail, Rule, Session
from gatekeeper.wire.address import normal_domain

SYNTAX = "HELO_SYNTAX"
NOT_FQDN = "HELO_NOT_FQDN"
IS_OURS = "HELO_IS_OURS"
LITERAL_MISMATCH = "HELO_LITERAL_MISMATCH"
BARE_IP = "HELO_BARE_IP"
DYNAMIC = "HELO_DYNAMIC"

# At most one of these is ever found. All rules of form together, those of reverse DNS and of the header too, stay
# below the default of `tag` (tests/test_pipeline.py).
_RULES = (
    Rule(SYNTAX, 1.0, "The client's HELO is neither a domain name nor an address in brackets."),
    Rule(NOT_FQDN, 0.8, "The client's HELO is a name that means nothing outside its own network."),
    Rule(IS_OURS, 1.5, "The client comes from outside and says a name of ours."),
    Rule(LITERAL_MISMATCH, 1.0, "The client's HELO is an address that is not the client's."),
    Rule(BARE_IP, 1.2, "The client's HELO is an address without brackets."),
    Rule(DYNAMIC, 0.5, "The client's HELO is a name such as providers give to lines of customers."),
)
# Weak evidence, and worth as little: rented servers have such names too, and mail from home is no crime. Words that
# stand in them, beside a number; each as a whole part between dots, hyphens and digits.
_POOL_WORDS = frozenset(
    (
        *("adsl", "broadband", "cable", "client", "cpe", "cust", "customer", "dhcp", "dial", "dialup"),
        *("dsl", "dyn", "dynamic", "dynip", "fttb", "ftth", "pool", "ppp", "pppoe", "user", "vdsl", "wlan"),
    )
)
_PARTS = re.compile(r"[a-z]+")
_NUMBERS = re.compile(r"[0-9]+")
# What resolvers answer by themselves, or never (RFC 6761 §6.3); "localdomain" is what Linux systems came with.
_LOCAL = (".localhost", ".localdomain")


@dataclass(frozen=True, slots=True)
class HeloName:
    """What the client said after HELO or EHLO, as it came."""

    helo: str


@dataclass(frozen=True, slots=True)
class Helo:
    """[checks.helo]"""

    name: ClassVar[str] = "helo"

    def rules(self) -> Sequence[Rule]:
        return _RULES

    async def inspect(self, mail: Mail, tools: Tools) -> Sequence[Finding]:
        helo = mail.session.helo
        if helo is None:
            return ()
        found = _fault(helo, mail.session, tools)
        if found is None:
            return ()
        rule, text = found
        return (Finding(rule, HeloName(helo), text),)


def _fault(helo: str, session: Session, tools: Tools) -> tuple[str, str] | None:
    """The rule that the name breaks and the sentence that says how, or None."""
    if helo.startswith("["):
        literal = _literal(helo)
        if literal is None:
            return SYNTAX, f"HELO {helo} is no address in brackets"
        if session.address is not None and plain(literal) != plain(session.address):
            return LITERAL_MISMATCH, f"HELO {helo} came from {session.address}"
        return None
    if _bare(helo):
        return BARE_IP, f"HELO {helo} is an address without brackets"
    domain = normal_domain(helo) if helo.isascii() else None
    if domain is None:
        return SYNTAX, f"HELO {helo} is no domain name"
    if "." not in domain or domain.endswith(_LOCAL):
        return NOT_FQDN, f"HELO {helo} is no fully qualified name"
    if (domain == tools.hostname.lower() or domain in tools.domains) and from_outside(session):  # our own machines may
        return IS_OURS, f"HELO {helo} is a name of ours, and came from {session.address}"
    if session.address is not None and _dynamic(domain, plain(session.address)):
        return DYNAMIC, f"HELO {helo} is a name such as providers give to lines of customers"
    return None


def _dynamic(domain: str, address: IPAddress) -> bool:
    """Whether the name spells the client's own address, or has a number beside a word for many lines."""
    digits = domain.replace(".", "").replace("-", "")
    packed = address.packed.hex()
    if packed in digits:
        return True
    if address.version == 4:
        octets = [str(octet) for octet in address.packed]
        numbers = [number.lstrip("0") or "0" for number in _NUMBERS.findall(domain)]
        for wanted in (octets, octets[::-1]):
            if any(numbers[n : n + 4] == wanted for n in range(len(numbers) - 3)):
                return True
        if "".join(octet.zfill(3) for octet in octets) in digits:
            return True
    host, _, rest = domain.partition(".")
    numbered = any(sign.isdigit() for sign in host)
    return numbered and "." in rest and not _POOL_WORDS.isdisjoint(_PARTS.findall(domain))


def _literal(text: str) -> IPAddress | None:
    """An address literal (RFC 5321 §4.1.3); other kinds than IPv4 and IPv6 were never registered."""
    if not text.endswith("]") or "%" in text:
        return None
    inside = text[1:-1]
    try:
        return IPv6Address(inside[5:]) if inside[:5].lower() == "ipv6:" else IPv4Address(inside)
    except ValueError:
        return None


def _bare(text: str) -> bool:
    name = text.removesuffix(".")
    if ":" not in name and not name[-1:].isdigit():
        return False  # without trying, which costs most names more than all other questions
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
