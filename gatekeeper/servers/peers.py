"""Clients that the configuration names: by network, and "unix" for whoever comes over a UNIX socket."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network
from typing import Final

from gatekeeper.model import IPAddress

UNIX: Final = "unix"


class Peers:
    """`192.0.2.1 in peers`; None is a peer on a UNIX socket."""

    def __init__(self, texts: Iterable[str]) -> None:
        """Raises ValueError with a sentence that names the mend."""
        written = tuple(texts)
        self._unix = UNIX in written
        found = []
        for text in written:
            if text == UNIX:
                continue
            try:
                found.append(ip_network(text))
            except ValueError as error:
                raise ValueError(f'{error}; write a network as "192.0.2.0/24" or "2001:db8::/32"') from None
        self._networks = tuple(found)

    def __contains__(self, address: IPAddress | None) -> bool:
        if address is None:
            return self._unix
        return any(address in network for network in self._networks)
