"""Lists of names and of mail addresses, the pure part: what they are asked about, and under which name (RFC 5782 §3).

A list of domains is asked for the name itself. A hash list is asked for the digest of a mail address, so that neither
the list nor anybody on the way can read whose it is.
"""

from __future__ import annotations

import base64
import hashlib
import random
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import ClassVar, Literal

from gatekeeper.dns.lists import DnsList, Family
from gatekeeper.model import setting

Of = Literal["links", "sender", "from", "reply_to", "dkim", "helo", "reverse_name"]


class Subject(StrEnum):
    """What a name was found in; the values are those of `of`."""

    LINKS = "links"  # links of the message; for a hash list: mail addresses in its text
    SENDER = "sender"  # the envelope's sender
    FROM = "from"  # the author
    REPLY_TO = "reply_to"  # who answers go to
    DKIM = "dkim"  # a signature's domain
    HELO = "helo"  # what the client says to be
    REVERSE_NAME = "reverse_name"  # the client's name, where it leads back to its address


ADDRESSES = frozenset({Subject.LINKS, Subject.SENDER, Subject.FROM, Subject.REPLY_TO})
"""Where mail addresses are found."""


@dataclass(frozen=True)
class NameList(DnsList):
    """One list of names as it is configured; ValueError says what to mend."""

    prefix: ClassVar[str] = "URIBL"

    of: tuple[Of, ...] = setting(("links",), "Whose names it is asked about.")
    ask: Literal["domain", "name", "both"] = setting(
        "domain", 'Which name: "domain" that was registered, the whole "name", or "both".'
    )
    addresses: bool = setting(False, "Whether it is asked about links to IP addresses too, reversed as for hosts.")
    hash: Literal["none", "md5", "sha1", "sha256"] = setting(
        "none", "For a list of mail addresses: the digest under which it is asked about them."
    )
    encoding: Literal["hex", "base32"] = setting("hex", "How the digest is written.")
    fold: bool = setting(
        True, 'Whether "a+b@example.org" is asked about as "a@example.org", and Gmail\'s addresses without dots.'
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.of:
            raise ValueError(f'{self.name} is asked about nothing; write of = ["links"]')
        if self.hash != "none" and not ADDRESSES.issuperset(self.subjects):
            known = ", ".join(f'"{each.value}"' for each in Subject if each in ADDRESSES)
            raise ValueError(f"of: {self.name} is a list of mail addresses, which are found in {known} only")
        if self.hash == "sha256" and self.encoding == "hex":
            raise ValueError(
                f'encoding: a SHA-256 of {self.name} is too long for a name in hexadecimal; write "base32"'
            )
        if self.hash != "none" and self.addresses:
            raise ValueError(f"addresses: {self.name} is a list of mail addresses; leave this out")

    @cached_property
    def subjects(self) -> frozenset[Subject]:
        return frozenset(Subject(each) for each in self.of)

    @property
    def hashes(self) -> bool:
        return self.hash != "none"

    @property
    def families(self) -> tuple[Family, ...]:
        if self.hashes:
            return (Family.HASHES,)
        return (Family.NAMES, *super().families) if self.addresses else (Family.NAMES,)

    def test_points(self, family: Family) -> tuple[str, str]:
        """`test_listed` names a domain, or what stands for a mail address; it is no address of a host."""
        if family is not Family.IPV4:
            return super().test_points(family)
        return "2.0.0.127", "1.0.0.127"

    def test_labels(self, text: str) -> str | None:
        if self.hashes and "@" in text:
            return self.labels_of_mailbox(text)
        return super().test_labels(text)

    def control_labels(self, family: Family, dice: random.Random) -> str:
        """For a hash list, the digest of nobody's address, in the form it knows."""
        if family is Family.HASHES:
            return digest(f"{dice.getrandbits(128):032x}", self.hash, self.encoding)
        return super().control_labels(family, dice)

    def labels_of_mailbox(self, mailbox: str) -> str:
        """What stands before its zone for a mail address."""
        return digest(folded(mailbox) if self.fold else mailbox.lower(), self.hash, self.encoding)


def digest(text: str, algorithm: str, encoding: str) -> str:
    """The digest as a label: hexadecimal, or base32 without padding (a SHA-256 fits into 63 octets only so)."""
    made = hashlib.new(algorithm, text.encode("utf-8", "surrogateescape"), usedforsecurity=False).digest()
    return base64.b32encode(made).decode().rstrip("=").lower() if encoding == "base32" else made.hex()


def folded(mailbox: str) -> str:
    """The address that stands for all that lead to the same mailbox, as hash lists have it: lower case, nothing from
    a "+" on, and Gmail's without dots and under one name.
    """
    local, _, domain = mailbox.strip().lower().rpartition("@")
    local = local.partition("+")[0] or local
    if domain in _GMAIL:
        return f"{local.replace('.', '')}@gmail.com"
    return f"{local}@{domain}"


_GMAIL = frozenset({"gmail.com", "googlemail.com"})
