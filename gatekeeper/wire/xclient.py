"""XCLIENT and XFORWARD, how one mail server tells another who the client is (Postfix XCLIENT_README, XFORWARD_README).

Values are xtext (RFC 3461 §4). Commands stay within 512 octets.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address

from gatekeeper.model import Reply

COMMAND_LIMIT = 512  # octets with CRLF, RFC 5321 §4.5.3.1.4
VALUE_LIMIT = 255  # characters once decoded

_ANOTHER_TIME = "[TEMPUNAVAIL]"  # for it reject_unknown_client_hostname is a 450 and not a 550
_XCHARS = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-Fa-f]{2})*", re.ASCII)
_HEX = re.compile(rb"\+([0-9A-Fa-f]{2})")
_SPECIAL = re.compile(rb"[^!-*,-<>-~]")
_UNPRINTABLE = re.compile(r"[^!-~]")
# RFC 1123 §2.1 with the underscores that live in real reverse zones; a trailing dot is not part of a name here.
_HOST = re.compile(r"(?=.{1,255}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
                   r"(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*\Z", re.ASCII)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Client:
    """The client's facts as handed on by XCLIENT or XFORWARD; None is sent as [UNAVAILABLE]."""

    address: str | None
    port: int | None
    name: str | None  # only when forward-confirmed: the MTA believes it
    helo: str | None
    protocol: str  # "SMTP" or "ESMTP"
    name_unsure: bool = False  # there may be one; the DNS did not say
    ident: str | None = field(default=None, compare=False)  # the mail's, not the client's: told by XFORWARD alone


class Kind(enum.Enum):
    """Which of the two commands."""

    XCLIENT = "XCLIENT"  # the server takes the facts as its own client's, access rules and all
    XFORWARD = "XFORWARD"  # the server keeps them for its log


ATTRIBUTES = {
    Kind.XCLIENT: ("NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN", "DESTADDR", "DESTPORT", "REVERSE_NAME"),
    Kind.XFORWARD: ("NAME", "ADDR", "PORT", "PROTO", "HELO", "IDENT", "SOURCE", "DOMAIN"),
}
"""What `decode` understands; a server offers these or fewer after the keyword in its EHLO."""


class BadAttribute(ValueError):
    """The command is malformed. `reply` is the answer to it."""

    def __init__(self, kind: Kind, why: str) -> None:
        super().__init__(why)
        self.reply = Reply.of(501, f"5.5.4 Bad {kind.value} syntax: {why}")


def xtext_encode(text: str) -> str:
    """RFC 3461 §4. Non-ASCII goes as its UTF-8; surrogate escapes go as the octets they stand for."""
    octets = text.encode("utf-8", "surrogateescape")
    return _SPECIAL.sub(lambda found: b"+%02X" % found[0][0], octets).decode()


def xtext_decode(text: str) -> str:
    """The reverse. Octets that are not UTF-8 become surrogate escapes. Raises ValueError on what is not xtext.

    Lower-case digits are taken, and "=" is not: Postfix before 2.3 did not encode at all, and Postfix itself
    refuses what it cannot read.
    """
    if not _XCHARS.fullmatch(text):
        raise ValueError("not xtext")
    return _HEX.sub(lambda found: bytes([int(found[1], 16)]), text.encode()).decode("utf-8", "surrogateescape")


def decode(args: str, *, kind: Kind) -> dict[str, str | None]:
    """The attributes after the verb, names in upper case; None for [UNAVAILABLE] and [TEMPUNAVAIL].

    ADDR and DESTADDR are canonical addresses without "IPV6:" (an XFORWARD address that is no IP address is None:
    Postfix allows it and it tells us nothing); PORT is decimal digits; PROTO is upper case. In other values what is
    not printable ASCII is a "?", as Postfix does: a stranger's HELO must not make the command fail. A repeated
    attribute counts as it was last given. Raises BadAttribute.
    """
    words = args.split()
    if not words:
        raise BadAttribute(kind, "attribute=value is missing")
    found: dict[str, str | None] = {}
    for word in words:
        name, equals, value = word.partition("=")
        name = name.upper()
        if not equals or name not in ATTRIBUTES[kind]:
            raise BadAttribute(kind, f"unknown attribute {_shown(name)}")
        try:
            found[name] = _value(kind, name, xtext_decode(value))
        except ValueError:
            raise BadAttribute(kind, f"bad {name} value") from None
    return found


def _value(kind: Kind, name: str, value: str) -> str | None:
    if value.upper() in ("[UNAVAILABLE]", "[TEMPUNAVAIL]"):
        return None
    if not value or len(value) > VALUE_LIMIT:
        raise ValueError
    if name in ("ADDR", "DESTADDR"):
        try:
            address = ip_address(value[5:] if value[:5].upper() == "IPV6:" else value)
        except ValueError:
            if kind is Kind.XFORWARD:
                return None
            raise
        if isinstance(address, IPv6Address):
            if address.scope_id is not None:
                raise ValueError
            return str(address.ipv4_mapped or address)
        return str(address)
    if name in ("PORT", "DESTPORT"):
        if not (value.isascii() and value.isdigit() and len(value) <= 5 and 0 < int(value) < 65536):
            raise ValueError
        return str(int(value))
    if name == "PROTO":
        value = value.upper()
        if len(value) > 64 or (kind is Kind.XCLIENT and value not in ("SMTP", "ESMTP")):
            raise ValueError
    return _UNPRINTABLE.sub("?", value)


def _shown(text: str) -> str:
    return _UNPRINTABLE.sub("?", text)[:40]


def encode_xclient(client: Client, offered: Collection[str]) -> list[bytes]:
    """The XCLIENT command, with CRLF, for the attributes that the peer `offered` (upper case).

    It is one: Postfix takes no second from the client that the first has made of us. Where HELO does not fit, it is
    left to the EHLO that follows. NAME is always told, if only as [UNAVAILABLE]: an MTA would otherwise go on with the
    name it found for us. [] when ADDR is not offered, since without it nothing would be handed on.
    """
    if "ADDR" not in offered:
        return []
    attributes = _attributes(client)
    if attributes[0] == ("NAME", None) and client.name_unsure:
        attributes[0] = ("NAME", _ANOTHER_TIME)
    commands = list(_commands(Kind.XCLIENT, attributes, offered))
    if len(commands) > 1:
        commands = list(_commands(Kind.XCLIENT, attributes, [name for name in offered if name != "HELO"]))
    return commands


def encode_xforward(client: Client, offered: Collection[str]) -> list[bytes]:
    """XFORWARD commands, with CRLF, for the attributes that the peer `offered` (upper case); [] for none."""
    attributes = [*_attributes(client), ("IDENT", client.ident), ("SOURCE", "REMOTE")]
    return list(_commands(Kind.XFORWARD, attributes, offered))


def _attributes(client: Client) -> list[tuple[str, str | None]]:
    address = client.address
    if address is not None and ":" in address:
        address = f"IPV6:{address}"
    name = client.name if client.name and _HOST.match(client.name) else None
    return [
        ("NAME", name),
        ("ADDR", address),
        ("PORT", None if client.port is None else str(client.port)),
        ("PROTO", client.protocol),
        ("HELO", client.helo),
    ]


def _commands(kind: Kind, attributes: Iterable[tuple[str, str | None]], offered: Collection[str]) -> Iterator[bytes]:
    verb = kind.value
    line = verb
    for name, value in attributes:
        if name not in offered:
            continue
        word = f" {name}={_encoded(value)}"
        if len(verb) + len(word) + 2 > COMMAND_LIMIT:  # a value made of escapes; no command could hold it
            word = f" {name}=[UNAVAILABLE]"
        if len(line) + len(word) + 2 > COMMAND_LIMIT:
            yield f"{line}\r\n".encode()
            line = verb
        line += word
    if line != verb:
        yield f"{line}\r\n".encode()


def _encoded(value: str | None) -> str:
    if not value or len(value) > VALUE_LIMIT:
        return "[UNAVAILABLE]"
    return xtext_encode(_UNPRINTABLE.sub("?", value))
