"""Whom an account is kept for: a client, its network, the name it says in HELO; and how a name is written there."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from hashlib import blake2b

from gatekeeper.model import Address, IPAddress

HELO_LIMIT = 100
"""Characters of a HELO name that count; what differs only behind them is taken for the same."""


@lru_cache(maxsize=4096)  # both are asked for several times in each session
def client_key(address: IPAddress) -> str:
    """One client: an IPv4 address, or the /64 that an IPv6 host moves in."""
    if address.version == 4:
        return f"ip:{address}"
    return f"ip:{ipaddress.ip_network((int(address), 64), strict=False)}"


@lru_cache(maxsize=4096)
def network_key(address: IPAddress) -> str:
    """Its neighbourhood: a /24 or a /56."""
    length = 24 if address.version == 4 else 56
    return f"net:{ipaddress.ip_network((int(address), length), strict=False)}"


def helo_key(name: str | None) -> str | None:
    """Everybody who says that name; None where none is known."""
    return f"helo:{name.lower()[:HELO_LIMIT]}" if name else None


def name_key(address: Address) -> str:
    """A mailbox in a key of the store. Not the name itself: the store is not to be a directory of those who exist."""
    written = str(address).lower().encode("utf-8", "surrogateescape")
    return blake2b(written, digest_size=12).hexdigest()
