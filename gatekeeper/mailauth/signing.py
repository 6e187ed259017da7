"""Whose mail we sign, with which key (RFC 6376 §5), and what we seal because we change it (RFC 8617 §5)."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gatekeeper.mailauth.arc import ArcCode, ArcResult
from gatekeeper.mailauth.arc_chain import MOST_SETS, chain_of
from gatekeeper.mailauth.bodies import body_of, made_before, signatures_of
from gatekeeper.mailauth.dkim_canonical import BodyHashes, Canon
from gatekeeper.mailauth.dkim_key import LEAST_BITS
from gatekeeper.mailauth.dkim_sign import (
    MESSAGE_SIGNATURE_NAME,
    RESULTS_NAME,
    SEAL_NAME,
    SigningKey,
    arc_set,
    dkim_signature,
)
from gatekeeper.mailauth.dkim_signature import name_of
from gatekeeper.message.edit import Change, Edit, Insert, Remove, apply
from gatekeeper.message.header import author_of
from gatekeeper.message.reading import read_message
from gatekeeper.model import Mail, Message, Session, setting
from gatekeeper.wire.address import normal_domain
from gatekeeper.wire.headers import parse_header

BODY = (Canon.RELAXED, None)
MOST_SIGNING_BITS = 4096
"""A signature with a longer key takes more than ten milliseconds, and many verifiers do not take it."""
TRACE = frozenset({"authentication-results", "received"})
"""Fields that anybody adds on the way, beside our own X-Spam fields: no change of the message."""
OPEN_TO_ALL = 0o007


class SigningUnusable(Exception):
    """We cannot sign as configured; the text is one sentence for the operator, with the mend."""


@dataclass(frozen=True, slots=True)
class KeyFile:
    """[[mailauth.signing.keys]]"""

    domain: str = setting("", "The domain that signs: mail of authors at it and at its subdomains.")
    selector: str = setting("", "Where the public key is published: SELECTOR._domainkey.DOMAIN.")
    file: str = setting("", "The private key, RSA or Ed25519, in PEM; not to be read by everybody.")

    def __post_init__(self) -> None:
        if normal_domain(self.domain) is None or "." not in self.domain:
            raise ValueError(f'domain: "{self.domain}" is not a domain name, such as "example.org"')
        if name_of(self.selector.encode()) is None:
            raise ValueError(f'selector: "{self.selector}" is not a selector, such as "mail2026"')
        if not self.file:
            raise ValueError("file: name the file that holds the private key")


@dataclass(frozen=True)  # without slots, for what is worked out once
class Settings:
    """[mailauth.signing]: signatures for mail that is ours, seals for mail that we change. Nothing without a key."""

    keys: tuple[KeyFile, ...] = setting(
        (), "The keys. Several of one domain all sign, as RSA and Ed25519 side by side (RFC 8463)."
    )
    logins: bool = setting(True, "Mail of clients that have logged in is ours to sign.")
    networks: tuple[str, ...] = setting((), "Clients in these networks send mail that is ours to sign.")
    seal: Literal["never", "changed", "always"] = setting(
        "changed",
        'Which mail from others gets an ARC seal: "changed", what we change beyond adding trace fields, as by a '
        'subject prefix; "always", as where the next hop passes mail on to other organisations; or "never".',
    )
    seal_domain: str = setting("", "Whose key seals; the first key's domain when empty.")

    def __post_init__(self) -> None:
        for network in self.networks:
            try:
                ip_network(network, strict=False)
            except ValueError:
                raise ValueError(f'networks: "{network}" is no network, such as "192.0.2.0/24"') from None
        twice = [
            key for key in self.keys if sum((key.domain, key.selector) == (k.domain, k.selector) for k in self.keys) > 1
        ]
        if twice:
            raise ValueError(f"keys: {twice[0].selector}._domainkey.{twice[0].domain} stands there twice")
        if self.seal_domain and normal_domain(self.seal_domain) not in {normal_domain(key.domain) for key in self.keys}:
            raise ValueError(f'seal_domain: there is no key of "{self.seal_domain}"')

    @cached_property
    def ours(self) -> tuple[IPv4Network | IPv6Network, ...]:
        return tuple(ip_network(network, strict=False) for network in self.networks)


def load_key(given: KeyFile) -> SigningKey:
    """The key in its file. Raises SigningUnusable."""
    path = Path(given.file)
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            pem = file.read(65536)
    except OSError as error:
        raise SigningUnusable(f"the signing key {path} cannot be read: {error.strerror}") from None
    if stat.S_IMODE(mode) & OPEN_TO_ALL:
        raise SigningUnusable(f"the signing key {path} is open to everybody on this machine: chmod 0640 {path}")
    try:
        private = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise SigningUnusable(f"{path} is no private key in PEM form without a pass phrase") from None
    if isinstance(private, RSAPrivateKey):
        if not LEAST_BITS <= private.key_size <= MOST_SIGNING_BITS:
            raise SigningUnusable(
                f"{path} is an RSA key of {private.key_size} bits: take 2048 (openssl genrsa -out {path} 2048)"
            )
    elif not isinstance(private, Ed25519PrivateKey):
        raise SigningUnusable(f"{path} is neither an RSA nor an Ed25519 key, which DKIM needs")
    domain, selector = normal_domain(given.domain), name_of(given.selector.encode())
    return SigningKey(domain or given.domain, selector or given.selector, private)


@dataclass(frozen=True, slots=True)
class Signer:
    """All our keys, and when they are used. Safe for many messages at once."""

    settings: Settings
    keys: tuple[SigningKey, ...] = field(default=())

    @classmethod
    def of(cls, settings: Settings) -> Signer | None:
        """None where there is no key. Raises SigningUnusable."""
        keys = tuple(load_key(each) for each in settings.keys)
        return cls(settings, keys) if keys else None

    def ours(self, session: Session) -> bool:
        """Whether that client's mail is ours to sign."""
        if session.login is not None and self.settings.logins:
            return True
        address = session.address
        return address is not None and any(address in network for network in self.settings.ours)

    def keys_for(self, domain: str | None) -> tuple[SigningKey, ...]:
        """Those of the domain, or of the nearest one above it; () for a stranger's domain, which we never sign for."""
        while domain:
            found = tuple(key for key in self.keys if key.domain == domain)
            if found:
                return found
            domain = domain.partition(".")[2]
        return ()

    def seals(self, mail: Mail) -> bool:
        """Whether a set may be added to that message's chain: nobody repairs one that has failed (RFC 8617 §5.1)."""
        if mail.message is None or self.settings.seal == "never" or self.ours(mail.session):
            return False
        if author_of(mail.message).ambiguities:
            return False  # what two readers read differently is not vouched for
        chain = chain_of(mail.message)
        if chain.broken or len(chain.sets) >= MOST_SETS:
            return False
        found = mail.evidence(ArcResult)
        return not chain.sets or (found is not None and found.status is ArcCode.PASS)

    async def prepare(self, mail: Mail) -> None:
        """What takes time with a large body is done here, beforehand; raises OSError for a body that is gone."""
        message = mail.message
        if message is not None and ((self.ours(mail.session) and self._author_keys(message)) or self.seals(mail)):
            await body_of(message, [BODY])

    def added(self, mail: Mail, edits: Sequence[Edit], *, results: str, now: float) -> list[Edit]:
        """The fields that come last, over the message with these edits: DKIM signatures on ours, a seal on others'.

        `results` is the value of our Authentication-Results, `now` Unix time. () also where `prepare` did not come
        to its end.
        """
        message = mail.message
        hashes = None if message is None else made_before(message, [BODY])
        body = None if hashes is None else hashes.digest(*BODY)
        if message is None or body is None:
            return []
        if self.ours(mail.session):
            header = parse_header(apply(message, list(edits)))
            keys = self._author_keys(message)
            return [
                Insert(0, "DKIM-Signature", dkim_signature(header, body.digest, key, now=now)) for key in reversed(keys)
            ]
        if not self.seals(mail) or (self.settings.seal == "changed" and not changes(message, edits)):
            return []
        header, chain = parse_header(apply(message, list(edits))), chain_of(message)
        made = arc_set(header, chain, body.digest, self._sealing_key, results=results, passed=bool(chain.sets), now=now)
        return [
            Insert(0, RESULTS_NAME, made.results),
            Insert(0, MESSAGE_SIGNATURE_NAME, made.message_signature),
            Insert(0, SEAL_NAME, made.seal),
        ]

    def sign(self, raw: bytes, *, domain: str, now: float) -> bytes:
        """A message that we wrote ourselves (a report), signed for that domain; as it was where there is no key."""
        message = read_message(raw)
        hashes = BodyHashes([BODY])
        for chunk in message.body.chunks():
            hashes.update(chunk)
        body = hashes.digest(*BODY)
        if body is None:
            raise AssertionError("that hash was asked for")
        header = parse_header(message.header)
        inserts: list[Edit] = [
            Insert(0, "DKIM-Signature", dkim_signature(header, body.digest, key, now=now))
            for key in reversed(self.keys_for(domain))
        ]
        return b"".join((apply(message, inserts), b"\r\n" if message.separator else b"", *message.body.chunks()))

    def _author_keys(self, message: Message) -> tuple[SigningKey, ...]:
        """For the one author beyond doubt, and only where nobody has signed with that key before."""
        signed = {(one.signature.domain, one.signature.selector) for one in signatures_of(message) if one.signature}
        return tuple(
            key for key in self.keys_for(author_of(message).domain) if (key.domain, key.selector) not in signed
        )

    @property
    def _sealing_key(self) -> SigningKey:
        """RSA where there is one: few verifiers of ARC know another algorithm."""
        domain = normal_domain(self.settings.seal_domain) or self.keys[0].domain
        of_domain = [key for key in self.keys if key.domain == domain] or list(self.keys)
        return next((key for key in of_domain if isinstance(key.private, RSAPrivateKey)), of_domain[0])


def changes(message: Message, edits: Iterable[Edit]) -> bool:
    """Whether the edits do more than add trace fields: what others have signed may not verify after them."""
    covered = {name for one in signatures_of(message) if one.signature is not None for name in one.signature.names}
    newest = chain_of(message).newest
    covered.update(newest.names if newest is not None else ())
    for edit in edits:
        name = edit.name.lower()
        if isinstance(edit, Change) or (isinstance(edit, Remove) and name in covered):
            return True
        if isinstance(edit, Insert) and name not in TRACE and not name.startswith("x-spam-"):
            return True
    return False
