"""A PROXY header towards the next hop: for each client its own connection, and LOCAL for our own."""

from __future__ import annotations

import logging
from ipaddress import ip_address

import pytest

from gatekeeper.nexthop import NextHopGone, RelayAnswer
from gatekeeper.nexthop.proxied import header_for
from gatekeeper.wire.proxy import Endpoint, ProxyHeader, ProxyReader
from gatekeeper.wire.xclient import Client
from tests.nexthop.conversation import CLIENT, MAIL, ONE, OTHER, QUEUED, client_of, deliver
from tests.support.next_hop import XCLIENT, XFORWARD, FakeNextHop


def client(address: str | None, port: int | None = 40000) -> Client:
    return Client(address=address, port=port, name=None, helo=None, protocol="ESMTP")


@pytest.mark.parametrize(
    ("who", "peer", "source", "destination"),
    [
        (client("192.0.2.7"), ("127.0.0.1", 10026), ("192.0.2.7", 40000), ("127.0.0.1", 10026)),
        (client("2001:db8::7"), ("::1", 10026, 0, 0), ("2001:db8::7", 40000), ("::1", 10026)),
        (client("2001:db8::7"), ("127.0.0.1", 10026), ("2001:db8::7", 40000), ("::1", 10026)),
        (client("192.0.2.7"), ("fe80::1%eth0", 25, 0, 2), ("192.0.2.7", 40000), ("127.0.0.1", 25)),
        (client("192.0.2.7", None), "", ("192.0.2.7", 0), ("127.0.0.1", 0)),
        (client(None), ("127.0.0.1", 10026), ("0.0.0.0", 40000), ("127.0.0.1", 10026)),
    ],
)
def test_the_header_says_who_the_client_is(who, peer, source, destination):
    header = ProxyReader().feed(header_for(who, peer))
    ends = [Endpoint(ip_address(address), port) for address, port in (source, destination)]
    assert header == ProxyHeader(2, source=ends[0], destination=ends[1])


def test_a_connection_of_our_own_says_so():
    assert ProxyReader().feed(header_for(None, ("127.0.0.1", 25))) == ProxyHeader(2, local=True)


async def test_each_client_has_a_connection_of_its_own_and_none_is_used_again():
    async with FakeNextHop(proxy=True) as fake, client_of(fake, hand_on="proxy") as hop:
        fake.capabilities |= XCLIENT | XFORWARD
        for who in (CLIENT, CLIENT, OTHER):
            assert await deliver(hop, client=who) == QUEUED
        await fake.left(3)
        assert [str(header.source.address) for header in fake.headers if header.source] == [
            "198.51.100.7",
            "198.51.100.7",
            "2001:db8::9",
        ]
        assert len(fake.reads[0]) in (28, 52), "the header is one segment, and nothing goes with it"
    assert [line for line in fake.log if line.startswith("EHLO")] == [
        "EHLO helo.example.net",
        "EHLO helo.example.net",
        "EHLO [IPv6:2001:db8::9]",
    ]
    assert not {"XCLIENT", "XFORWARD"} & set(fake.verbs), "it has been told already"


async def test_a_replay_after_an_idle_next_hop_tells_of_the_same_client():
    async with FakeNextHop(proxy=True) as fake, client_of(fake, hand_on="proxy") as hop:
        transaction = hop.transaction(CLIENT, MAIL)
        assert (await transaction.recipients([ONE]))[0].code == 250
        fake.drop_all()
        await fake.left(1)
        assert await transaction.send([b"x\r\n"], wanted=lambda: True) == QUEUED
    assert [header.source for header in fake.headers] == [fake.headers[0].source] * 2
    assert fake.headers[0].source is not None


async def test_capabilities_are_asked_for_as_ourselves_and_relaying_as_an_outside_client():
    async with FakeNextHop(proxy=True) as fake, client_of(fake, hand_on="proxy") as hop:
        await hop.probe()
        assert fake.headers[0].local
        fake.recipients["probe@relay-test.invalid"] = "554 5.7.1 Relay access denied"
        assert await hop.relay_probe() is RelayAnswer.CLOSED
        assert fake.headers[1].source is not None
        assert str(fake.headers[1].source.address) == "192.0.2.1"
        assert hop.takes_xclient, "it writes the client into its own Received field"
        assert await deliver(hop) == QUEUED
        assert hop.answering


@pytest.mark.parametrize("said", ["", "421 4.3.0 fake.example Server local error"])
async def test_a_next_hop_that_takes_no_ipv6_address_is_told_of_an_unknown_client(caplog, said):
    async with FakeNextHop(proxy=True) as fake, client_of(fake, hand_on="proxy") as hop:
        if said:
            fake.replies["connect"] = [said]
        else:
            fake.die("connect")
        with caplog.at_level(logging.WARNING, "gatekeeper"):
            assert await deliver(hop, client=OTHER) == QUEUED
            assert await deliver(hop, client=OTHER) == QUEUED  # and is not tried again for a while
            assert await deliver(hop, client=CLIENT) == QUEUED
        await fake.left(4)
        assert [str(header.source.address) for header in fake.headers if header.source] == [
            *("2001:db8::9", "0.0.0.0", "0.0.0.0", "198.51.100.7")
        ]
        assert hop.answering
    assert caplog.messages == ["client_not_handed_on"]
    assert [line for line in fake.log if line.startswith("EHLO")][1] == "EHLO [IPv6:2001:db8::9]", "its own name"


async def test_it_was_not_the_address_where_the_next_hop_hangs_up_on_everybody():
    async with FakeNextHop(proxy=True) as fake, client_of(fake, hand_on="proxy") as hop:
        fake.die("connect", times=2)
        with pytest.raises(NextHopGone):
            await deliver(hop, client=OTHER)
        fake.die("connect", times=1)
        with pytest.raises(NextHopGone):
            await deliver(hop, client=CLIENT)  # which has no other address to be told
        assert await deliver(hop, client=OTHER) == QUEUED
        await fake.left(4)
        assert str(fake.headers[-1].source and fake.headers[-1].source.address) == "2001:db8::9"


async def test_a_client_that_the_next_hop_refuses_does_not_make_it_count_as_away():
    async with FakeNextHop(proxy=True) as fake, client_of(fake, hand_on="proxy") as hop:
        await hop.probe()
        fake.replies["connect"] = ["554 5.7.1 Not you"]
        [reply] = await hop.transaction(CLIENT, MAIL).recipients([ONE])
        assert str(reply) == "554 5.7.1 Not you"
        assert hop.answering
        fake.die("connect")
        with pytest.raises(NextHopGone):
            await hop.transaction(CLIENT, MAIL).recipients([ONE])
        assert not hop.answering
