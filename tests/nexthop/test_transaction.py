from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gatekeeper.model import Reply
from gatekeeper.nexthop import Client, Command, NextHop, NextHopGone, NextHopUrl, Settings, Withdrawn
from tests.support.next_hop import XCLIENT, XFORWARD, FakeNextHop

CLIENT = Client(address="198.51.100.7", port=40000, name="mail.example.net", helo="mail.example.net", protocol="ESMTP")
OTHER = Client(address="2001:db8::9", port=None, name=None, helo="[IPv6:2001:db8::9]", protocol="SMTP")
MAIL = Command("sender@example.net")
ONE = Command("one@example.org")
TWO = Command("two@example.org")
NO = Command("no@example.org")
TEXT = b"Subject: hello\r\n\r\n.dot\r\ntext\r\n"
LARGE = [b"x" * 998 + b"\r\n"] * 3000


class Clock:
    """Time that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def yes() -> bool:
    return True


@asynccontextmanager
async def behind(
    fake: FakeNextHop, clock: Callable[[], float] | None = None, **settings: object
) -> AsyncIterator[NextHop]:
    """A client of that fake."""
    hop = NextHop(
        NextHopUrl.parse(fake.url),
        Settings(**settings),  # type: ignore[arg-type]  # each test names its own
        hostname="gatekeeper.example",
        clock=clock or Clock(),
    )
    try:
        yield hop
    finally:
        await hop.close()


async def deliver(hop: NextHop, *recipients: Command, client: Client = CLIENT, text: bytes = TEXT) -> Reply:
    transaction = hop.transaction(client, MAIL)
    replies = await transaction.recipients(recipients or [ONE])
    assert all(reply.code == 250 for reply in replies)
    return await transaction.send([text], wanted=yes)


async def test_a_message_goes_through_with_the_next_hops_own_answers():
    async with FakeNextHop() as fake, behind(fake) as hop:
        fake.recipients["no@example.org"] = "550-5.1.1 No such user\n550 5.1.1 really"
        transaction = hop.transaction(CLIENT, Command("s@example.net", ("SIZE=31", "RET=HDRS", "ENVID=aBc")))
        replies = await transaction.recipients([Command("One@example.org", ("NOTIFY=NEVER", "ORCPT=rfc822;One@x")), NO])
        assert replies == [Reply.of(250, "2.1.5 Ok"), Reply(550, ("5.1.1 No such user", "5.1.1 really"))]
        assert await transaction.send([TEXT], wanted=yes) == Reply.of(250, "2.0.0 Ok: queued as 4XfAkE")
    [message] = fake.messages
    assert message.sender == "s@example.net"
    assert message.sender_parameters == ("SIZE=31", "RET=HDRS", "ENVID=aBc")
    assert message.recipients == ["One@example.org"]
    assert message.recipient_parameters == [("NOTIFY=NEVER", "ORCPT=rfc822;One@x")]
    assert message.data == TEXT


async def test_nothing_is_opened_before_the_first_recipient():
    async with FakeNextHop() as fake, behind(fake) as hop:
        await hop.transaction(CLIENT, MAIL).abort()
    assert fake.connections == 0
