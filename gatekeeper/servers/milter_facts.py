"""What a mail server tells in macros beside its commands, and what that says about a client and its mail."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address
from types import MappingProxyType
from typing import Final

from gatekeeper.model import IPAddress, Reply, Tls
from gatekeeper.wire.milter import Connect, Macros

UNKNOWN: Final = "unknown"
"""What Postfix calls a client without a name."""
_NONE: Final[Mapping[str, str]] = MappingProxyType({})
_OF_A_MAIL: Final = (b"M", b"R", b"T", b"L", b"N", b"B", b"E")


class MacroTable:
    """What was told last for each command. `queue_id` is "" until the mail has one."""

    __slots__ = ("_told", "queue_id")

    def __init__(self) -> None:
        self._told: dict[bytes, Mapping[str, str]] = {}
        self.queue_id = ""

    def take(self, macros: Macros) -> None:
        """They replace those of the same command."""
        self._told[macros.letter] = macros.values
        if macros.letter != b"M":  # it is the next mail's, and the one before may not have ended
            self.queue_id = macros.values.get("i") or self.queue_id

    def client_address(self, client: Connect) -> IPAddress | None:
        """None where the mail server does not know it."""
        return read_address(client.address or self._get(b"C", "client_addr"))

    def client_port(self, client: Connect) -> int | None:
        return client.port or _number(self._get(b"C", "client_port")) or None

    def client_name(self, client: Connect) -> str | None:
        """The name that the mail server has verified, else what DNS says without proof."""
        for name in (client.name, self._get(b"C", "client_ptr")):
            if name and name != UNKNOWN and not name.startswith("["):
                return name
        return None

    def tls(self) -> Tls | None:
        version = self._get(b"H", "tls_version")
        if not version:
            return None
        return Tls(version, self._get(b"H", "cipher"), _number(self._get(b"H", "cipher_bits")))

    def take_mail(self) -> tuple[str | None, str]:
        """Who has logged in for the mail that begins, or at least how (None for nobody), and its queue id. Once."""
        told = self._told.pop(b"M", _NONE)
        return told.get("auth_authen") or told.get("auth_type") or None, told.get("i", "")

    def take_refusal(self) -> Reply | None:
        """What the mail server has answered the recipient itself, when it has refused it. Gives it once.

        Postfix tells the enhanced code and the text, Sendmail the whole reply.
        """
        told = self._told.pop(b"R", _NONE)
        if told.get("rcpt_mailer") != "error":
            return None
        text, status = told.get("rcpt_addr", ""), told.get("rcpt_host", "")
        code = 450 if status.startswith("4") else 550
        if re.match(r"[45][0-9]{2}(?![0-9])", text):
            code, text = int(text[:3]), text[3:].lstrip(" -")
        return Reply.of(code, text if not status or text.startswith(status) else f"{status} {text}")

    def end_mail(self) -> None:
        for letter in _OF_A_MAIL:
            self._told.pop(letter, None)
        self.queue_id = ""

    def end_client(self) -> None:
        self._told.clear()
        self.queue_id = ""

    def _get(self, letter: bytes, name: str) -> str:
        return self._told.get(letter, _NONE).get(name, "")


def read_address(told: str) -> IPAddress | None:
    """An address as mail servers write it: Sendmail puts "IPv6:" before some. None for what is none."""
    try:
        address = ip_address(told.removeprefix("IPv6:").partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _number(told: str) -> int:
    return int(told) if told.isascii() and told.isdecimal() and len(told) <= 5 else 0
