"""What a trusted host before us found out about a message, by its Authentication-Results (RFC 8601 §4, §7.1). Pure.

Where mail comes by an MX of somebody else's (a filter service, a secondary MX, a forwarder of our own), the client is
that host, and SPF, which asks about the client, cannot be evaluated here. It was there, and its field says so. But
anybody can write a field in its name: only what stands where nobody but it can have written is believed, and only of
mail that it brings itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network

from gatekeeper.mailauth.arc import authenticated
from gatekeeper.mailauth.spf import SpfCode, SpfIdentity, SpfResult
from gatekeeper.message.header import header_of
from gatekeeper.model import Address, IPAddress, Message, setting
from gatekeeper.wire.address import AddressError, doubts_about, normal_domain, parse_path
from gatekeeper.wire.auth_results import Result, read
from gatekeeper.wire.headers import Field

MOST_RECEIVED = 10
_ID = re.compile(r"[A-Za-z0-9._-]{1,253}")
_PLAIN = re.compile(rb"[ \t]*(?:\r\n[ \t]+)?([A-Za-z0-9._-]{1,253})(?:[ \t]+1)?[ \t]*(?:\r\n[ \t]+)?(?:;|\Z)")
_OLD_WORDS = {"hardfail": SpfCode.FAIL}  # RFC 5451 §2.4.2; some still write it


@dataclass(frozen=True)  # without slots, for what is worked out once
class Upstream:
    """[[checks.spf.upstreams]]; ValueError says what to mend."""

    authserv_id: str = field(metadata={"about": "The name at the beginning of its Authentication-Results fields."})
    clients: tuple[str, ...] = field(
        metadata={"about": "The addresses or networks from which it brings us mail; nobody else is believed."}
    )
    received: int = setting(
        1, "How many Received fields it puts on top of every message. What stands above the last of them is its own."
    )
    removes_forged: bool = setting(
        False,
        "Whether it removes, from all that it takes, fields in its own name (RFC 8601 section 5). Then those below "
        "that Received field, up to the next one, are believed too: Postfix with a milter writes them there.",
    )

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.authserv_id):
            raise ValueError(f'authserv_id: {self.authserv_id!r} is no plain name, such as "mx.upstream.example"')
        if not self.clients:
            raise ValueError('clients: say from where it brings mail, such as ["192.0.2.0/28"]')
        for client in self.clients:
            try:
                network = ip_network(client, strict=False)
            except ValueError:
                raise ValueError(f'clients: "{client}" is no address or network, such as "192.0.2.0/28"') from None
            if not network.prefixlen:
                raise ValueError(f'clients: "{client}" is everybody: anybody could say what they like')
        if not 1 <= self.received <= MOST_RECEIVED:
            raise ValueError(f"received must be from 1 to {MOST_RECEIVED}")

    @cached_property
    def networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        return tuple(ip_network(client, strict=False) for client in self.clients)

    def brings(self, address: IPAddress) -> bool:
        """Whether that client is this upstream."""
        return any(address in network for network in self.networks)


@dataclass(frozen=True, slots=True)
class UpstreamResults:
    """What the upstream that brought a message says of it; no results where it says nothing that can be believed.

    `attested` are the domains that it saw authenticated: of DMARC the author's own, else only that very domain.
    """

    authserv_id: str
    results: tuple[Result, ...] = ()
    attested: tuple[str, ...] = ()


def results_by(upstream: Upstream, message: Message) -> UpstreamResults:
    """Its own fields, all read; nothing of them where one cannot be read, or where what surrounds them is malformed.

    The name has to stand there plainly: what another reader must first unquote or uncomment to see a name in it, the
    upstream may not have recognised as one in its name, and so not removed.
    """
    found: list[Result] = []
    for each in _its_own(upstream, header_of(message).fields):
        plain = _PLAIN.match(each.value)
        if plain is None or plain[1].decode().lower() != upstream.authserv_id.lower():
            continue
        said = read(each.value)
        if said is None:
            return UpstreamResults(upstream.authserv_id)
        found += said.results
    attested = dict.fromkeys(domain for result in found for domain in authenticated(result))
    return UpstreamResults(upstream.authserv_id, tuple(found), tuple(attested))


def _its_own(upstream: Upstream, fields: Sequence[Field]) -> Iterable[Field]:
    """The Authentication-Results in the part of the header that the upstream wrote; () where that cannot be told."""
    marks = [place for place, each in enumerate(fields) if each.name == "received"]
    if len(marks) < upstream.received:
        return ()
    end = marks[upstream.received - 1]
    if upstream.removes_forged:
        end = marks[upstream.received] if len(marks) > upstream.received else len(fields)
    own = fields[: max(end, marks[upstream.received - 1] + 1)]
    if any(each.defects for each in own):
        return ()
    return [each for each in own if each.name == "authentication-results"]


def spf_by(found: UpstreamResults, sender: Address) -> SpfResult | None:
    """What it says of SPF for the envelope sender (of the HELO name, for the null sender); None where that is not
    known: it says nothing or two things, it could not find out, or names a sender that can be read in two ways.
    """
    names = ("smtp.mailfrom", "smtp.mfrom") if sender.domain else ("smtp.mailfrom", "smtp.mfrom", "smtp.helo")
    said: set[tuple[SpfCode, str, SpfIdentity]] = set()
    for result in found.results:
        named = [name for name in names if result.get(name)]
        if result.method != "spf" or not named:
            continue
        code, domain = _code(result.result), _domain(result.get(named[0]))
        if code is None or domain is None:
            return None
        said.add((code, domain, SpfIdentity.MAILFROM if sender.domain else SpfIdentity.HELO))
    if len(said) != 1:
        return None
    code, domain, identity = said.pop()
    return SpfResult(code, domain, identity, reason=f"as {found.authserv_id} says")


def _code(word: str) -> SpfCode | None:
    """None for what is not known, and for an answer that it could not have: it will not look again for us."""
    try:
        code = _OLD_WORDS.get(word) or SpfCode(word)
    except ValueError:
        return None
    return None if code is SpfCode.TEMPERROR else code


def _domain(tested: str) -> str | None:
    if "@" not in tested:
        return normal_domain(tested)
    try:
        address = parse_path(tested)
    except AddressError:
        return None
    return address.domain if address.domain and not doubts_about(address) else None
