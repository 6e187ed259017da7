"""Where a domain's aggregate reports go: to mailboxes, and to those of others only with their leave (RFC 9990 §4)."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from gatekeeper.dns.resolver import Resolver
from gatekeeper.mailauth.dmarc import organization
from gatekeeper.mailauth.dmarc_record import ReportUri, confirmed
from gatekeeper.wire.address import AddressError, normal_domain, parse_path

MOST_NAME = 253


class Standing(enum.StrEnum):
    """Whether reports may be sent there."""

    OURS = "ours"  # of the same organisation as the domain
    CONFIRMED = "confirmed"  # somebody else's, who says that they want it
    UNCONFIRMED = "unconfirmed"  # somebody else's, who does not say so
    UNKNOWN = "unknown"  # the DNS does not say now


@dataclass(frozen=True, slots=True)
class Destination:
    """A mailbox for reports. `limit` is the most octets of a message that it takes, None where it does not say."""

    address: str
    limit: int | None
    standing: Standing


def mailbox(uri: str) -> str | None:
    """The address of a mailto: URI (RFC 6068) with one of them; None for anything else. Header fields in it are left
    out.
    """
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None
    if parts.scheme.lower() != "mailto" or parts.netloc:
        return None
    try:
        text = unquote(parts.path, errors="strict") if parts.path.isascii() else ""
        address = parse_path(text)
    except (AddressError, UnicodeDecodeError):
        return None
    if not text.isascii() or address.raw != text or text.startswith("@") or normal_domain(address.domain) is None:
        return None
    return f"{text.rpartition('@')[0]}@{address.domain}"


async def destinations(resolver: Resolver, domain: str, uris: Iterable[ReportUri], *, most: int) -> list[Destination]:
    """The first `most` mailboxes of the domain's rua=, in its order, each with its standing; each address once.

    A destination whose owner names another mailbox of the same host gets it there instead.
    """
    found: dict[str, Destination] = {}
    for uri in uris:
        address = mailbox(uri.uri)
        if address is None or address.lower() in found:
            continue
        if len(found) >= most:
            break
        for one in await _confirmed(resolver, domain, address, uri.limit):
            found.setdefault(one.address.lower(), one)
    return list(found.values())[:most]


async def _confirmed(resolver: Resolver, domain: str, address: str, limit: int | None) -> Sequence[Destination]:
    """RFC 9990 §4."""
    host = address.rpartition("@")[2]
    mine, theirs = await organization(resolver, domain), await organization(resolver, host)
    if mine is None or theirs is None:
        return [Destination(address, limit, Standing.UNKNOWN)]
    if mine == theirs:
        return [Destination(address, limit, Standing.OURS)]
    name = f"{domain}._report._dmarc.{host}"
    if len(name) > MOST_NAME:
        return [Destination(address, limit, Standing.UNCONFIRMED)]
    answer = await resolver.ask(name, "TXT")
    if not answer.certain:
        return [Destination(address, limit, Standing.UNKNOWN)]
    records = confirmed(answer.records)
    if not records:
        return [Destination(address, limit, Standing.UNCONFIRMED)]
    instead = [uri for record in records for uri in record]
    if not instead:
        return [Destination(address, limit, Standing.CONFIRMED)]
    others = [(other, uri.limit) for uri in instead if (other := mailbox(uri.uri)) is not None]
    # An override that leads to yet another host is no leave for either (§4, last paragraphs).
    if not others or any(other.rpartition("@")[2] != host for other, _ in others):
        return [Destination(address, limit, Standing.UNCONFIRMED)]
    return [Destination(other, other_limit, Standing.CONFIRMED) for other, other_limit in others]
