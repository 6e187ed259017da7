"""The client's address in a PROXY header before everything else, for an MTA that takes no XCLIENT (`wire/proxy.py`)."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final

from gatekeeper.wire.proxy import LOCAL, Endpoint, encode
from gatekeeper.wire.xclient import Client

_NOBODY: Final = "0.0.0.0"  # a client whose address is not known; never ours, which the MTA may trust
_HERE: Final = {4: "127.0.0.1", 6: "::1"}


def header_for(client: Client | None, peer: object) -> bytes:
    """The header of a connection for that client, or of one of our own for None. `peer` is as the socket has it.

    Both ends must be of one family. The client took our listener for its destination, which says nothing to the MTA:
    it is told its own address where that is of the client's family, else its loopback.
    """
    if client is None:
        return LOCAL
    address = ip_address(client.address or _NOBODY)
    destination = Endpoint(ip_address(_HERE[address.version]), 0)
    if isinstance(peer, tuple) and len(peer) >= 2:
        host = ip_address(str(peer[0]).partition("%")[0])
        destination = Endpoint(host if host.version == address.version else destination.address, int(peer[1]))
    return encode(Endpoint(address, client.port or 0), destination)
