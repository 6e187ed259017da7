"""Whom an account is kept for beside a client and its network: the name it says in HELO; and how a name is written."""

from __future__ import annotations

from hashlib import blake2b

from gatekeeper.model import Address

HELO_LIMIT = 100
"""Characters of a HELO name that count; what differs only behind them is taken for the same."""


def helo_key(name: str | None) -> str | None:
    """Everybody who says that name; None where none is known."""
    return f"helo:{name.lower()[:HELO_LIMIT]}" if name else None


def name_key(address: Address) -> str:
    """A mailbox in a key of the store. Not the name itself: the store is not to be a directory of those who exist."""
    written = str(address).lower().encode("utf-8", "surrogateescape")
    return blake2b(written, digest_size=12).hexdigest()
