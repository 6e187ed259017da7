"""What the tests of this package share: a client of a fake next hop, and some mail."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from gatekeeper.model import Reply
from gatekeeper.nexthop import Client, Command, NextHop, NextHopUrl, Settings
from tests.support.next_hop import FakeNextHop

CLIENT = Client(address="198.51.100.7", port=40000, name="mail.example.net", helo="helo.example.net", protocol="ESMTP")
OTHER = Client(address="2001:db8::9", port=None, name=None, helo="[IPv6:2001:db8::9]", protocol="SMTP")
MAIL = Command("sender@example.net")
ONE = Command("one@example.org")
TWO = Command("two@example.org")
NO = Command("no@example.org")
TEXT = b"Subject: hello\r\n\r\n.dot\r\ntext\r\n"
LARGE = [b"x" * 998 + b"\r\n"] * 5000
OK = Reply.of(250, "2.1.5 Ok")
QUEUED = Reply.of(250, "2.0.0 Ok: queued as 4XfAkE")


class Clock:
    """Time that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def yes() -> bool:
    return True


def no() -> bool:
    return False


@asynccontextmanager
async def client_of(
    fake: FakeNextHop, clock: Callable[[], float] | None = None, **settings: Any
) -> AsyncIterator[NextHop]:
    hop = NextHop(
        NextHopUrl.parse(fake.url),
        Settings(**settings),
        hostname="gatekeeper.example",
        clock=clock or Clock(),
    )
    try:
        yield hop
    finally:
        await hop.close()


async def deliver(hop: NextHop, *recipients: Command, client: Client = CLIENT, text: bytes = TEXT) -> Reply:
    """A whole mail; every recipient must be accepted."""
    transaction = hop.transaction(client, MAIL)
    replies = await transaction.recipients(recipients or [ONE])
    assert all(reply.code == 250 for reply in replies), replies
    return await transaction.send([text], wanted=yes)
