"""What a query matches."""

import contextlib
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.store import search
from gatekeeper.store.base import RecordQuery

NETWORKS = st.one_of(
    st.builds(lambda a, n: ipaddress.ip_network((int(a), n), strict=False), st.ip_addresses(v=4), st.integers(0, 32)),
    st.builds(
        lambda a, n: ipaddress.ip_network((int(a), n), strict=False),
        st.ip_addresses(v=6).filter(lambda a: int(a) >> 96),
        st.integers(0, 128),
    ),
)


@given(NETWORKS, st.ip_addresses().filter(lambda a: a.version == 4 or int(a) >> 96))
def test_a_network_holds_exactly_its_addresses(network, address):
    first, last = search.address_range(str(network))
    assert (first <= search.address_key(str(address)) <= last) == (address in network)


@given(st.text())
def test_any_text_has_a_key_and_any_query_an_answer(text):
    search.address_key(text)
    search.domain_of(search.party(text))
    with contextlib.suppress(ValueError):
        search.address_range(text)


def test_a_mapped_address_is_the_ipv4_address():
    assert search.address_key("::ffff:192.0.2.1") == search.address_key("192.0.2.1")


def test_what_is_no_address_sorts_outside_every_network():
    first, _ = search.address_range("0.0.0.0/0")
    assert search.address_key("unix") == b""
    assert search.address_key("unix") < first


@pytest.mark.parametrize(
    ("address", "domain"),
    [("user@example.org", "@example.org"), ("a@b@c", "@c"), ("postmaster", ""), ("", ""), ("@d", "@d")],
)
def test_the_domain_is_what_follows_the_last_at(address, domain):
    assert search.domain_of(address) == domain


def test_no_query_asks_for_more_than_the_limit():
    assert search.most(RecordQuery(limit=10**9)) == search.MOST_FOUND
    assert search.most(RecordQuery(limit=-5)) == 0
