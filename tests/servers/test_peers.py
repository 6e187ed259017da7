from __future__ import annotations

from ipaddress import ip_address

import pytest

from gatekeeper.servers.peers import Peers


@pytest.mark.parametrize(
    ("texts", "address", "there"),
    [
        ((), "192.0.2.1", False),
        (("192.0.2.0/24",), "192.0.2.1", True),
        (("192.0.2.1",), "192.0.2.1", True),
        (("192.0.2.0/24",), "192.0.3.1", False),
        (("192.0.2.0/24",), "::1", False),
        (("2001:db8::/32", "unix"), "2001:db8::1", True),
        (("192.0.2.0/24",), None, False),
        (("unix",), None, True),
        (("unix",), "127.0.0.1", False),
    ],
)
def test_peers_are_named_by_network_or_by_their_kind_of_socket(texts, address, there):
    assert ((None if address is None else ip_address(address)) in Peers(texts)) is there


@pytest.mark.parametrize("text", ["localhost", "192.0.2.1/24", "", "UNIX"])
def test_anything_else_is_refused_with_the_mend(text):
    with pytest.raises(ValueError, match=r"write a network as"):
        Peers((text,))
