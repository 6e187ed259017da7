"""Keys: who is one client, and that a name is not written down."""

from ipaddress import ip_address

from gatekeeper.checks.keys import client_key, network_key
from gatekeeper.checks.stacking.keys import HELO_LIMIT, helo_key, name_key
from gatekeeper.model import Address


def test_hosts_of_one_64_are_one_client_and_of_one_56_one_network():
    assert client_key(ip_address("2001:db8:1:2::1")) == client_key(ip_address("2001:db8:1:2:ffff::9"))
    assert network_key(ip_address("2001:db8:1:2::1")) == network_key(ip_address("2001:db8:1:ff::1"))
    assert network_key(ip_address("2001:db8:1:2::1")) != network_key(ip_address("2001:db8:1:100::1"))
    assert client_key(ip_address("192.0.2.1")) == "ip:192.0.2.1"
    assert network_key(ip_address("192.0.2.1")) == "net:192.0.2.0/24"


def test_a_helo_name_is_the_same_in_any_case_and_of_bounded_length():
    assert helo_key("Mail.Example.NET") == helo_key("mail.example.net") == "helo:mail.example.net"
    assert helo_key(None) is None
    assert helo_key("") is None
    assert len(helo_key("x" * 1000) or "") == len("helo:") + HELO_LIMIT


def test_a_name_is_not_written_down_and_its_case_does_not_matter():
    key = name_key(Address("Alice", "example.org"))
    assert "alice" not in key.lower()
    assert key == name_key(Address("alice", "example.org"))
    assert key != name_key(Address("alice", "example.net"))
    name_key(Address("\udcff", "example.org"))  # whatever a stranger writes
