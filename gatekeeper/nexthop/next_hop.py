"""The next hop as the rest of the program knows it: what it offers, whether it relays, and transactions with it."""

from __future__ import annotations

import time
from collections.abc import Callable

from gatekeeper.model import Reply
from gatekeeper.nexthop.contract import Capabilities, Command, NextHopGone, RelayAnswer, Transaction
from gatekeeper.nexthop.pool import Pool
from gatekeeper.nexthop.settings import NextHopUrl, Settings
from gatekeeper.nexthop.transaction import LateTransaction
from gatekeeper.wire.xclient import Client

OUTSIDE = "192.0.2.1"  # RFC 5737: nobody's, and so nobody's local client
STRANGER = "relay-test.invalid"  # RFC 2606


class NextHop:
    """One per process and next hop; any number of tasks may use it. Whoever made it closes it."""

    def __init__(
        self,
        url: NextHopUrl,
        settings: Settings,
        *,
        hostname: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = url
        self._hostname = hostname
        self._pool = Pool(url, settings, hostname=hostname, clock=clock)

    @property
    def capabilities(self) -> Capabilities | None:
        """As last heard; each new connection refreshes them. None before the first."""
        return self._pool.capabilities

    @property
    def takes_xclient(self) -> bool:
        """Whether it takes a client's facts for its own client's, and tells them in its own Received field."""
        return self._pool.hands_on

    @property
    def answering(self) -> bool:
        """Whether it has ever answered, and did so the last time that it was asked."""
        return self._pool.capabilities is not None and not self._pool.away

    def transaction(self, client: Client, mail: Command) -> Transaction:
        """A mail from this client. Nothing is opened before its first RCPT."""
        return LateTransaction(self._pool, client, mail)

    async def probe(self) -> Capabilities:
        """What the next hop offers to an outside client, or where a PROXY header comes first, to us.

        Raises NextHopGone, with its reply if it refused.
        """
        connection = await self._pool.open()
        try:
            refusal = await connection.introduce(self._outsider(OUTSIDE))
            if refusal is not None:
                raise NextHopGone(f"the next hop refused an outside client: {refusal}", reply=refusal)
            self._pool.capabilities = connection.capabilities
            return connection.capabilities
        finally:
            connection.quit()

    async def relay_probe(self, domain: str = STRANGER, *, client_address: str = OUTSIDE) -> RelayAnswer:
        """Whether an outside client could have mail relayed to `domain`, which must be nobody's; never raises.

        With XCLIENT we ask as `client_address`; once the answer to that is CLOSED, mail goes on only over connections
        that take XCLIENT, since without it the next hop would take every stranger for us. Without XCLIENT we ask as
        ourselves: what is refused to us is refused to everybody behind us.
        """
        try:
            return await self._ask_to_relay(f"probe@{domain}", client_address)
        except NextHopGone:
            return RelayAnswer.UNKNOWN

    async def _ask_to_relay(self, recipient: str, client_address: str) -> RelayAnswer:
        outsider = self._outsider(client_address)
        connection = await self._pool.open(outsider)
        try:
            if await connection.introduce(outsider) is not None:
                return RelayAnswer.UNKNOWN
            group = [b"MAIL FROM:<>\r\n", b"RCPT TO:<%s>\r\n" % recipient.encode()]
            mail, answer = await connection.exchange(group)
            if _class(mail) != 2:
                return RelayAnswer.UNKNOWN
            if _class(answer) == 2:
                return RelayAnswer.OPEN
            if _class(answer) != 5:
                return RelayAnswer.UNKNOWN
            self._pool.xclient_required = self._pool.settings.hand_on != "proxy" and connection.client is not None
            return RelayAnswer.CLOSED
        finally:
            connection.quit()

    def _outsider(self, address: str) -> Client:
        """With a name, so that a refusal of nameless clients does not stand before the answer about relaying."""
        return Client(address=address, port=None, name=STRANGER, helo=self._hostname, protocol="ESMTP")

    async def close(self) -> None:
        """Close every connection, those in the middle of a transaction too. May be called twice."""
        await self._pool.close()


def _class(reply: Reply) -> int:
    return reply.code // 100
