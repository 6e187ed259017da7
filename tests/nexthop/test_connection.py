from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gatekeeper.model import Reply
from gatekeeper.nexthop import NextHopGone, Settings
from gatekeeper.nexthop import connection as module
from gatekeeper.nexthop.connection import Connection
from tests.nexthop.conversation import CLIENT, Clock
from tests.support.next_hop import XCLIENT, FakeNextHop

NOOP = b"NOOP\r\n"


@asynccontextmanager
async def connected(
    fake: FakeNextHop, settings: Settings | None = None, clock: Clock | None = None
) -> AsyncIterator[Connection]:
    connection = Connection(
        settings=settings or Settings(), hello=b"EHLO", hostname="gatekeeper.example", clock=clock or Clock()
    )
    await asyncio.get_running_loop().create_connection(lambda: connection, "127.0.0.1", fake.port)
    try:
        await connection.greet()
        yield connection
    finally:
        connection.abort()
        await connection.closed


async def test_small_writes_do_not_wait_for_each_other():
    async with FakeNextHop() as fake, connected(fake) as connection:
        assert connection._transport is not None
        sock = connection._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_a_group_goes_in_one_write_and_comes_back_in_order():
    async with FakeNextHop(replies={"NOOP": ["250 a", "451 b", "250 c"]}) as fake, connected(fake) as connection:
        replies = await connection.exchange([NOOP] * 3)
        assert [str(reply) for reply in replies] == ["250 a", "451 b", "250 c"]
        assert await connection.exchange([]) == []
        assert connection.refused
        assert not connection.reusable
    assert fake.reads[1] == NOOP * 3


async def test_after_a_421_nothing_more_is_waited_for():
    async with FakeNextHop(replies={"NOOP": ["250 a", "421 bye"]}) as fake, connected(fake) as connection:
        assert [reply.code for reply in await connection.exchange([NOOP] * 4)] == [250, 421, 421, 421]
        assert not connection.ready
        with pytest.raises(NextHopGone, match="is closing"):
            await connection.exchange([NOOP])


async def test_it_is_not_fresh_when_it_was_silent_for_too_long():
    clock = Clock()
    async with FakeNextHop() as fake, connected(fake, clock=clock) as connection:
        clock.now += 5.0
        assert connection.fresh
        clock.now += 0.1
        assert connection.ready
        assert not connection.fresh
        await connection.exchange([NOOP])
        assert connection.fresh


async def test_what_is_said_unasked_puts_it_out_of_step():
    async with FakeNextHop(replies={"NOOP": "250 a\n250 b"}) as fake, connected(fake) as connection:
        await connection.exchange([NOOP])
        assert connection.early_reply == Reply.of(250, "b")
        assert not connection.ready


async def test_a_reset_is_taken_for_good_when_it_is_answered():
    async with FakeNextHop() as fake, connected(fake) as connection:
        connection.reset()
        assert connection.ready
        assert await connection.settled()
        fake.replies["RSET"] = "500 what?"
        connection.reset()
        assert not await connection.settled()


async def test_a_reset_without_an_answer_is_the_end():
    async with FakeNextHop() as fake, connected(fake, Settings(command=0.05)) as connection:
        fake.hold("RSET")
        connection.reset()
        assert not await connection.settled()
        assert connection.timed_out


@pytest.mark.parametrize("nonsense", ["hello there", "250-a\n550 b", "250 " + "x" * 5000])
async def test_a_broken_protocol_ends_the_connection(nonsense: str):
    async with FakeNextHop(replies={"NOOP": nonsense}) as fake, connected(fake) as connection:
        with pytest.raises(NextHopGone, match="broke the protocol"):
            await connection.exchange([NOOP])
        await fake.left(1)


async def test_quit_is_said_and_the_next_hop_closes():
    async with FakeNextHop() as fake, connected(fake) as connection:
        connection.quit()
        connection.quit()
        assert not connection.ready
        await connection.closed
        await fake.left(1)
    assert fake.verbs == ["EHLO", "QUIT"]


async def test_a_next_hop_that_does_not_close_after_quit_is_left(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "FAREWELL", 0.01)
    async with FakeNextHop() as fake, connected(fake) as connection:
        fake.hold("QUIT")
        connection.quit()
        await connection.closed
        fake.go("QUIT")


async def test_writing_to_a_lost_connection_is_noticed_by_the_missing_answer():
    async with FakeNextHop() as fake, connected(fake) as connection:
        fake.drop_all()
        await connection.closed
        connection.write(NOOP)
        with pytest.raises(NextHopGone, match="closed the connection"):
            await connection.exchange([NOOP])
        with pytest.raises(NextHopGone, match="closed the connection"):
            await connection.drained(1.0)
        connection.quit()
        connection.abort()


async def test_a_next_hop_that_is_slow_but_takes_something_is_waited_for():
    async with FakeNextHop() as fake, connected(fake) as connection:
        assert connection._transport is not None
        connection._transport.set_write_buffer_limits(high=1)
        fake.hold("NOOP")
        connection.write(NOOP + b"NOOP " + b"x" * (1 << 24) + b"\r\n")
        waiting = asyncio.create_task(connection.drained(10.0))
        await fake.saw("NOOP")
        assert not waiting.done()
        fake.go("NOOP")
        await waiting


async def test_the_same_client_is_introduced_once():
    async with FakeNextHop(capabilities=dict(XCLIENT)) as fake, connected(fake) as connection:
        assert connection.serves(CLIENT)
        assert await connection.introduce(CLIENT) is None
        assert await connection.introduce(CLIENT) is None
        assert connection.client == CLIENT
    assert fake.verbs == ["EHLO", "XCLIENT", "EHLO"]


async def test_where_xclient_is_required_its_absence_is_a_refusal():
    async with FakeNextHop() as fake, connected(fake) as connection:
        reply = await connection.introduce(CLIENT, xclient_required=True)
        assert reply is not None
        assert reply.code == 451
        assert not connection.reusable


async def test_an_ehlo_that_is_refused_after_xclient_is_the_answer():
    async with FakeNextHop(capabilities=dict(XCLIENT)) as fake, connected(fake) as connection:
        fake.replies["EHLO"] = "504 5.5.2 need fully-qualified hostname"
        reply = await connection.introduce(CLIENT)
        assert reply == Reply.of(504, "5.5.2 need fully-qualified hostname")
        assert connection.client is None
