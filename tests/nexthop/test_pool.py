from __future__ import annotations

import asyncio

import pytest

from gatekeeper import metrics
from gatekeeper.nexthop import NextHopGone
from tests.nexthop.conversation import CLIENT, MAIL, NO, OK, ONE, OTHER, QUEUED, TEXT, Clock, client_of, deliver, yes
from tests.support.next_hop import XCLIENT, FakeNextHop


async def test_a_connection_serves_one_mail_after_another():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        for _ in range(3):
            assert await deliver(hop) == QUEUED
        assert fake.connections == 1
    assert fake.verbs == ["EHLO", *["MAIL", "RCPT", "DATA", "."] * 3]


async def test_mails_at_the_same_time_have_connections_of_their_own():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        first, second = hop.transaction(CLIENT, MAIL), hop.transaction(OTHER, MAIL)
        assert await first.recipients([ONE]) == await second.recipients([ONE]) == [OK]
        assert fake.connections == 2
        assert await first.send([TEXT], wanted=yes) == await second.send([TEXT], wanted=yes) == QUEUED


@pytest.mark.parametrize("refusal", ["450 4.2.1 later", "550 5.1.1 no"])
async def test_a_connection_that_refused_anything_is_not_reused(refusal: str):
    async with FakeNextHop(recipients={"no@example.org": refusal}) as fake, client_of(fake) as hop:
        transaction = hop.transaction(CLIENT, MAIL)
        await transaction.recipients([NO, ONE])
        assert await transaction.send([TEXT], wanted=yes) == QUEUED
        await fake.left(1)
        transaction = hop.transaction(CLIENT, MAIL)
        await transaction.recipients([NO])
        await transaction.abort()
        await fake.left(2)
        assert await deliver(hop) == QUEUED
        assert fake.connections == 3
    assert fake.verbs.count("QUIT") == 2


async def test_a_connection_that_idled_is_replaced():
    clock = Clock()
    async with FakeNextHop() as fake, client_of(fake, clock) as hop:
        await deliver(hop)
        clock.now += 5.0
        await deliver(hop)
        assert fake.connections == 1
        clock.now += 5.1
        await deliver(hop)
        assert fake.connections == 2


async def test_idle_connections_are_let_go_without_being_asked_for():
    async with FakeNextHop() as fake, client_of(fake, asyncio.get_running_loop().time, idle=0.01) as hop:
        await deliver(hop)
        await fake.left(1)
    assert fake.verbs[-1] == "QUIT"


async def test_a_connection_that_the_next_hop_closed_while_it_idled_is_not_used():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        await deliver(hop)
        fake.drop_all()
        await fake.left(1)
        assert await deliver(hop) == QUEUED
        assert fake.connections == 2


async def test_a_stale_connection_is_replaced_once_while_mail_has_no_answer():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        await deliver(hop)
        fake.die("MAIL")
        assert await deliver(hop) == QUEUED
        assert fake.connections == 2
        fake.die("MAIL", times=2)
        with pytest.raises(NextHopGone):
            await deliver(hop)
        assert fake.connections == 3


async def test_a_stale_connection_is_replaced_when_it_dies_at_xclient():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        fake.capabilities |= XCLIENT
        await deliver(hop)
        fake.die("XCLIENT")
        assert await deliver(hop, client=OTHER) == QUEUED
        assert fake.connections == 2


async def test_a_used_connection_that_says_421_at_once_is_replaced():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        await deliver(hop)
        fake.replies["MAIL"] = ["421 4.4.2 Error: timeout exceeded"]
        assert await deliver(hop) == QUEUED
        assert fake.connections == 2


async def test_a_used_connection_that_dies_after_the_answer_to_mail_is_not_replaced():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        await deliver(hop)
        fake.die("RCPT")
        with pytest.raises(NextHopGone):
            await hop.transaction(CLIENT, MAIL).recipients([ONE])
        assert fake.connections == 1


async def test_a_refused_reset_is_the_end_of_a_connection():
    async with FakeNextHop(replies={"RSET": "421 4.3.0 shutting down"}) as fake, client_of(fake) as hop:
        transaction = hop.transaction(CLIENT, MAIL)
        await transaction.recipients([ONE])
        await transaction.abort()
        assert await deliver(hop) == QUEUED
        assert fake.connections == 2


async def test_the_connection_that_knows_the_client_is_preferred():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        fake.capabilities |= XCLIENT
        first, second = hop.transaction(CLIENT, MAIL), hop.transaction(OTHER, MAIL)
        await first.recipients([ONE])
        await second.recipients([ONE])
        await first.send([TEXT], wanted=yes)
        await second.send([TEXT], wanted=yes)
        await deliver(hop, client=CLIENT)
        assert fake.verbs.count("XCLIENT") == 2
    assert fake.messages[2].connection == 1


async def test_only_so_many_are_kept():
    async with FakeNextHop() as fake, client_of(fake, pool=1) as hop:
        transactions = [hop.transaction(CLIENT, MAIL) for _ in range(3)]
        for transaction in transactions:
            await transaction.recipients([ONE])
        for transaction in transactions:
            await transaction.send([TEXT], wanted=yes)
        await fake.left(2)
        await deliver(hop)
        assert fake.connections == 3


async def test_a_connection_is_replaced_after_so_many_messages():
    async with FakeNextHop() as fake, client_of(fake, messages_per_connection=2) as hop:
        for _ in range(3):
            await deliver(hop)
        assert [message.connection for message in fake.messages] == [1, 1, 2]


async def test_no_more_connections_than_allowed():
    in_use = metrics.NEXT_HOP_IN_USE._value.get()
    async with FakeNextHop() as fake, client_of(fake, max_connections=1, connect=0.05) as hop:
        transaction = hop.transaction(CLIENT, MAIL)
        await transaction.recipients([ONE])
        before = metrics.NEXT_HOP_CONNECTIONS["exhausted"]._value.get()
        with pytest.raises(NextHopGone, match="all 1 connections"):
            await hop.transaction(CLIENT, MAIL).recipients([ONE])
        assert metrics.NEXT_HOP_CONNECTIONS["exhausted"]._value.get() == before + 1
        waiting = asyncio.create_task(hop.transaction(CLIENT, MAIL).recipients([ONE]))
        await asyncio.sleep(0)
        assert (metrics.NEXT_HOP_IN_USE._value.get(), metrics.NEXT_HOP_WAITING._value.get()) == (in_use + 1, 1)
        await transaction.send([TEXT], wanted=yes)
        assert await waiting == [OK]
        assert (metrics.NEXT_HOP_IN_USE._value.get(), metrics.NEXT_HOP_WAITING._value.get()) == (in_use + 1, 0)


@pytest.mark.slow
async def test_no_place_is_lost_by_failures_of_any_kind():
    async with FakeNextHop() as fake, client_of(fake, max_connections=1, command=0.5) as hop:
        for point in ("connect", "EHLO", "MAIL", "RCPT", "dot"):
            fake.die(point)
            with pytest.raises(NextHopGone):
                await deliver(hop)
        for point in ("connect", "EHLO", "MAIL"):
            fake.replies[point] = ["550 5.0.0 no"]
            [reply] = await hop.transaction(CLIENT, MAIL).recipients([ONE])
            assert reply.code == 550
        await fake.stop()
        with pytest.raises(NextHopGone):
            await deliver(hop)
        await fake.start()
        assert await deliver(hop) == QUEUED


async def test_close_ends_idle_and_busy_connections_alike():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        await deliver(hop)
        busy = hop.transaction(CLIENT, MAIL)
        await busy.recipients([ONE])
        other = hop.transaction(OTHER, MAIL)
        await other.recipients([ONE])
        await other.abort()
        await hop.close()
        await hop.close()
        await fake.left(2)
        await busy.abort()


async def test_going_away_and_coming_back_are_logged_once(caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    async with FakeNextHop() as fake, client_of(fake) as hop:
        await fake.stop()
        for _ in range(2):
            with pytest.raises(NextHopGone):
                await deliver(hop)
        await fake.start()
        await deliver(hop)
        transaction = hop.transaction(OTHER, MAIL)
        await transaction.recipients([ONE])
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split()[0] for line in lines if line.startswith("next_hop")] == ["next_hop_away", "next_hop_back"]
