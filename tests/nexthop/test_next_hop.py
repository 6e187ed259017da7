from __future__ import annotations

import pytest

from gatekeeper import log
from gatekeeper.nexthop import NextHopGone, RelayAnswer
from tests.nexthop.conversation import CLIENT, MAIL, ONE, QUEUED, client_of, deliver
from tests.support.next_hop import XCLIENT, FakeNextHop


async def test_capabilities_are_unknown_until_heard():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        assert hop.capabilities is None
        capabilities = await hop.probe()
        assert capabilities.keywords["SIZE"] == "10240000"
        assert capabilities.offers("DSN")
        assert not capabilities.offers("fake.example")
        assert hop.capabilities == capabilities
        await fake.left(1)
    assert fake.verbs == ["EHLO", "QUIT"]


async def test_the_probe_asks_as_an_outside_client():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        fake.capabilities |= XCLIENT
        fake.replies["EHLO"] = ["250-fake\n250-XCLIENT ADDR NAME\n250 ETRN", "250-fake\n250 SIZE 5"]
        assert (await hop.probe()).keywords == {"SIZE": "5"}
    assert "ADDR=192.0.2.1" in fake.log[1]


async def test_every_connection_refreshes_the_capabilities():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        await hop.probe()
        fake.capabilities["SIZE"] = "99"
        await deliver(hop)
        assert hop.capabilities is not None
        assert hop.capabilities.keywords["SIZE"] == "99"


@pytest.mark.parametrize("point", ["connect", "EHLO", "XCLIENT"])
async def test_a_probe_that_is_refused_says_how(point: str):
    async with FakeNextHop(replies={point: "554 5.7.1 no"}) as fake, client_of(fake) as hop:
        fake.capabilities |= XCLIENT
        with pytest.raises(NextHopGone) as gone:
            await hop.probe()
        assert gone.value.reply is not None
        assert gone.value.reply.code == 554


async def test_an_open_relay_is_found_with_xclient_and_without():
    for capabilities in ({}, XCLIENT):
        async with FakeNextHop() as fake, client_of(fake) as hop:
            fake.capabilities |= capabilities
            assert await hop.relay_probe() is RelayAnswer.OPEN
            await fake.left(1)
        assert "RCPT TO:<probe@relay-test.invalid>" in fake.log
        assert fake.verbs[-1] == "QUIT"
        assert "DATA" not in fake.verbs


async def test_a_next_hop_that_relays_for_us_only_is_closed_through_xclient_alone():
    async with FakeNextHop(relay_domains={"example.org"}) as fake, client_of(fake) as hop:
        assert await hop.relay_probe() is RelayAnswer.OPEN  # it takes us for a local client
        fake.capabilities |= XCLIENT
        assert await hop.relay_probe("other.invalid", client_address="2001:db8::1") is RelayAnswer.CLOSED
    assert "RCPT TO:<probe@other.invalid>" in fake.log
    assert any("ADDR=IPV6:2001:db8::1" in line for line in fake.log)


async def test_once_closed_by_xclient_no_mail_goes_without_it(caplog: pytest.LogCaptureFixture):
    async with FakeNextHop(relay_domains={"example.org"}) as fake, client_of(fake) as hop:
        fake.capabilities |= XCLIENT
        assert await hop.relay_probe() is RelayAnswer.CLOSED
        assert await deliver(hop) == QUEUED
        del fake.capabilities["XCLIENT"]
        fake.drop_all()
        await fake.left(2)
        [reply] = await hop.transaction(CLIENT, MAIL).recipients([ONE])
        assert reply.code == 451
        assert any(
            "no longer offers XCLIENT" in log.Line("logfmt", dated=False).format(record) for record in caplog.records
        )
        fake.capabilities |= XCLIENT
        assert await deliver(hop) == QUEUED


async def test_closed_to_ourselves_is_closed_to_everybody():
    async with FakeNextHop(recipients={"probe@relay-test.invalid": "550 5.7.1 no"}) as fake, client_of(fake) as hop:
        assert await hop.relay_probe() is RelayAnswer.CLOSED
        assert await deliver(hop) == QUEUED


@pytest.mark.parametrize(
    ("point", "reply"),
    [
        ("connect", "554 5.7.1 no"),
        ("EHLO", "550 5.7.1 no"),
        ("XCLIENT", "550 5.7.1 Error: insufficient authorization"),
        ("MAIL", "550 5.7.1 no"),
        ("MAIL", "421 4.3.2 bye"),
        ("RCPT", "450 4.7.25 cannot find your name"),
        ("RCPT", "354 hm"),
    ],
)
async def test_anything_but_an_answer_to_the_recipient_tells_nothing(point: str, reply: str):
    async with FakeNextHop(replies={point: reply}) as fake, client_of(fake) as hop:
        fake.capabilities |= XCLIENT
        assert await hop.relay_probe() is RelayAnswer.UNKNOWN


async def test_a_next_hop_that_is_away_tells_nothing():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        fake.die("RCPT")
        assert await hop.relay_probe() is RelayAnswer.UNKNOWN
        await fake.stop()
        assert await hop.relay_probe() is RelayAnswer.UNKNOWN


async def test_whether_the_next_hop_tells_the_clients_facts_itself():
    for hand_on, known, expected in (("auto", XCLIENT, True), ("auto", {}, False), ("none", XCLIENT, False)):
        async with FakeNextHop() as fake, client_of(fake, hand_on=hand_on) as hop:
            fake.capabilities |= known
            await hop.probe()
            assert hop.takes_xclient is expected
