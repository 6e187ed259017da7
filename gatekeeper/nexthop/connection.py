"""One connection to the next hop: groups of commands out, replies in, each wait with its deadline (RFC 5321, 2920)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import cast

from gatekeeper import log
from gatekeeper.model import Reply
from gatekeeper.nexthop.contract import Capabilities, NextHopGone
from gatekeeper.nexthop.protection import NoTls, Protection
from gatekeeper.nexthop.proxied import header_for
from gatekeeper.nexthop.settings import Settings
from gatekeeper.wire.replies import ReplyError, ReplyReader
from gatekeeper.wire.xclient import Client, encode_xclient, encode_xforward

FAREWELL = 5.0  # seconds that the peer gets to close after our QUIT


class Connection(asyncio.Protocol):
    """For one task at a time. Replies are kept in order of arrival; whoever sent a command takes as many as it sent.

    Every coroutine raises NextHopGone when the connection ends or the deadline passes before the answer; the
    connection is of no use then.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        hello: bytes,
        hostname: str,
        clock: Callable[[], float],
        client: Client | None = None,
    ) -> None:
        """`client` is for whom it is opened, where a PROXY header tells that (None: for ourselves)."""
        self.capabilities = Capabilities()
        self.client: Client | None = None  # told by XCLIENT or PROXY, and still in force
        self.refused = False  # it has refused a command; an MTA counts that against the connection
        self.timed_out = False
        self.received = 0  # replies so far
        self.messages = 0  # that it has taken
        self.used = clock()  # when it last said something
        self._settings = settings
        self._hello_verb = hello
        self._hostname = hostname
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._reader = ReplyReader()
        self._replies: deque[Reply] = deque()
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._lost: str | None = None  # why nothing more will come
        self._paused = False
        self._resetting = False
        self._farewell: asyncio.TimerHandle | None = None
        self.shut_out = (
            False  # closed before a greeting, or with a 421 for one: so an MTA that takes no such PROXY header
        )
        self._proxied = settings.hand_on == "proxy"
        if self._proxied:
            self.client = client
        self.closed = self._loop.create_future()

    # -- called by the loop -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._proxied:  # in one segment: receivers may expect that
            self._transport.write(header_for(self.client, transport.get_extra_info("peername")))

    def data_received(self, data: bytes) -> None:
        if self._farewell is not None:
            return
        try:
            for reply in self._reader.feed(data):
                self._replies.append(reply)
                self.received += 1
                self.used = self._clock()
        except ReplyError as error:
            self._lose(f"broke the protocol: {error}")
            self.abort()
        if self._replies:
            self._wake()

    def eof_received(self) -> None:
        self._lose("closed the connection")

    def connection_lost(self, error: Exception | None) -> None:
        self._lose("closed the connection" if error is None else f"was lost: {error}")
        if self._farewell is not None:
            self._farewell.cancel()
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._wake()

    def _lose(self, why: str) -> None:
        self._lost = self._lost or why
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # -- waiting ------------------------------------------------------------------------------------------------

    async def _event(self, limit: float) -> None:
        """Until a reply, a loss, or room to write. Raises TimeoutError."""
        waiter = self._waiter = self._loop.create_future()
        late = self._loop.call_later(limit, _expire, waiter)  # a fifth of what `asyncio.timeout` costs
        try:
            await waiter
        finally:
            late.cancel()
            self._waiter = None

    async def reply(self, limit: float) -> Reply:
        """The next reply."""
        while not self._replies:
            if self._lost is not None:
                raise NextHopGone(f"the next hop {self._lost}")
            try:
                await self._event(limit)
            except TimeoutError:
                self.timed_out = True
                raise NextHopGone(f"the next hop gave no answer for {limit:g} s") from None
        reply = self._replies.popleft()
        if not 200 <= reply.code < 400:
            self.refused = True
        return reply

    @property
    def ready(self) -> bool:
        """Whether it is in step: open, and nothing said unasked."""
        return self._lost is None and len(self._replies) <= self._resetting

    @property
    def fresh(self) -> bool:
        """Whether it is ready and has not been silent for too long."""
        return self.ready and self._clock() - self.used <= self._settings.idle

    @property
    def reusable(self) -> bool:
        if self._proxied:  # it is that client's for good
            return False
        return self.fresh and not self.refused and self.messages < self._settings.messages_per_connection

    @property
    def early_reply(self) -> Reply | None:
        """What it said before it was asked, such as a refusal in the middle of the message."""
        return self._replies[0] if self._replies else None

    # -- commands -----------------------------------------------------------------------------------------------

    async def exchange(self, lines: Sequence[bytes], limit: float | None = None) -> list[Reply]:
        """A group of commands (with CRLF) in one write; one at a time when PIPELINING is not offered (RFC 2920).

        `limit` seconds (the setting `command`) are for each answer. After a 421 no answer follows: the rest of the
        group gets the same.
        """
        if self._replies and self._replies[0].code != 421:
            raise NextHopGone(f"the next hop spoke unasked: {self._replies[0]}")
        limit = self._settings.command if limit is None else limit
        replies: list[Reply] = []
        together = len(lines) == 1 or self.capabilities.offers("PIPELINING")
        if together and lines:
            self.write(lines[0] if len(lines) == 1 else b"".join(lines))
        for line in lines:
            if not together:
                self.write(line)
            reply = await self.reply(limit)
            if reply.code == 421:
                self._lose("is closing the connection")
                return replies + [reply] * (len(lines) - len(replies))
            replies.append(reply)
        return replies

    def write(self, data: bytes) -> None:
        """Without waiting; what is written to a lost connection is known by the reply that never comes."""
        if self._transport is not None and self._lost is None:
            self._transport.write(data)

    async def drained(self, limit: float) -> None:
        """Until there is room for more, or something was said or lost. `limit` is for some octets, not for all."""
        if self._transport is None:
            return
        left = self._transport.get_write_buffer_size()
        while self._paused and self._lost is None and not self._replies:
            try:
                await self._event(limit)
            except TimeoutError:
                still = self._transport.get_write_buffer_size()
                if still >= left:
                    self.timed_out = True
                    raise NextHopGone(f"the next hop took nothing of the message for {limit:g} s") from None
                left = still
        if self._lost is not None and not self._replies:
            raise NextHopGone(f"the next hop {self._lost}")

    async def greet(self, protection: Protection | None = None) -> None:
        """The greeting, EHLO or LHLO, and with `protection` STARTTLS. The NextHopGone of a refusal carries it.

        The name is our own, or the client's where it is known already. Raises NoTls when a handshake fails.
        """
        name = self._hostname if self.client is None else self._name_of(self.client)
        try:
            greeting = await self.reply(self._settings.greeting)
        except NextHopGone:
            self.shut_out = not self.timed_out
            raise
        self.shut_out = greeting.code == 421
        reply = await self._hello(name) if greeting.code == 220 else greeting
        if greeting.code != 220 or reply.code != 250:
            raise NextHopGone(f"the next hop does not want us: {reply}", reply=_refusal(reply))
        if protection is not None and await self._start_tls(protection):
            reply = await self._hello_over_tls(name)  # what it said before does not count (RFC 3207 §4.2)
            if reply.code != 250:
                raise NextHopGone(f"the next hop does not want us: {reply}", reply=_refusal(reply))

    async def _hello_over_tls(self, name: str) -> Reply:
        """With TLS 1.3 our side of the handshake is done before the other has looked at it: its alert comes after."""
        try:
            return await self._hello(name)
        except NextHopGone as gone:
            if self.timed_out:
                raise
            raise NoTls(f"the next hop ended the connection after the TLS handshake: {gone}") from None

    async def _start_tls(self, protection: Protection) -> bool:
        """Whether it speaks TLS now. Raises NextHopGone where it must and does not."""
        refusal: Reply | None = None
        if self.capabilities.offers("STARTTLS"):
            reply = (await self.exchange([b"STARTTLS\r\n"]))[0]
            if reply.code == 220:
                await self._shake_hands(protection)
                return True
            refusal = _refusal(reply)
            self.refused = False  # opportunistic means that this is none
        if protection.needed or (refusal is not None and refusal.code == 421):
            raise NextHopGone(f"the next hop starts no TLS: {refusal or 'STARTTLS is not offered'}")
        return False

    async def _shake_hands(self, protection: Protection) -> None:
        if self._transport is None or self._replies or self._reader.midway:
            raise NextHopGone("the next hop spoke in the clear where TLS had to begin")
        limit = self._settings.greeting
        try:
            async with asyncio.timeout(limit + 1):  # in case that the connection was lost on the way into it
                made = await self._loop.start_tls(
                    self._transport,
                    self,
                    protection.context,
                    server_hostname=protection.name,
                    ssl_handshake_timeout=limit,
                    ssl_shutdown_timeout=FAREWELL,
                )
        except OSError as error:
            raise NoTls(f"the TLS handshake with the next hop failed: {error}") from None
        if made is None:  # uvloop, when the connection was closing already
            raise NoTls("the next hop closed the connection before the TLS handshake")
        self._transport = made

    def _name_of(self, client: Client) -> str:
        return client.helo if client.helo and _is_name(client.helo) else self._hostname

    async def _hello(self, name: str) -> Reply:
        reply = (await self.exchange([b"%s %s\r\n" % (self._hello_verb, name.encode())]))[0]
        if reply.code == 250:
            self.capabilities = Capabilities.of(reply)
        return reply

    def serves(self, client: Client) -> bool:
        """Whether the next hop can be brought to take this client for the one it speaks with."""
        return self.client in (None, client) or self.capabilities.takes_client

    async def introduce(self, client: Client, *, xclient_required: bool = False) -> Reply | None:
        """Hand the client's facts on by XCLIENT, if that is the way and they are not in force already; a refusal, or
        None. It ends its group, and EHLO follows in the client's name.
        """
        way = self._settings.hand_on
        if self.client == client or not (
            way == "xclient" or (way == "auto" and (xclient_required or self.capabilities.takes_client))
        ):
            return None
        return await self._xclient(client)

    def forwarding(self, client: Client) -> list[bytes]:
        """The XFORWARDs that go before every MAIL where XCLIENT was not the way, since the end of a transaction
        forgets them; they may stand in its group, as Postfix sends them. Only the MTA's log is served by them: a
        refusal stops no mail.
        """
        if self.client == client or self._settings.hand_on in ("none", "proxy"):
            return []
        offered = self.capabilities.keywords.get("XFORWARD")
        return [] if offered is None else encode_xforward(client, offered.upper().split())

    async def _xclient(self, client: Client) -> Reply | None:
        offered = self.capabilities.keywords.get("XCLIENT", "").upper().split()
        if not self.capabilities.takes_client:
            self.refused = True
            return Reply.of(451, "4.3.0 The mail server behind does not take the client's address; try again later")
        refusal = await self._tell(encode_xclient(client, offered))
        if refusal is not None and _is_our_fault(refusal):
            # Such as an IPv6 address where Postfix has inet_protocols=ipv4. The client cannot mend that; one that is
            # unknown is no local one either.
            log.event("client_not_handed_on", level=logging.WARNING, ip=client.address, reply=refusal)
            unknown = Client(address=None, port=None, name=None, helo=None, protocol=client.protocol)
            refusal = await self._tell(encode_xclient(unknown, offered))
        if refusal is not None:
            if _is_our_fault(refusal):
                return Reply.of(451, "4.3.0 The mail server behind did not understand us; try again later")
            return refusal
        reply = await self._hello(self._name_of(client))
        if reply.code != 250:
            return _refusal(reply)
        self.client = client
        return None

    async def _tell(self, commands: Sequence[bytes]) -> Reply | None:
        """These XCLIENTs, each a group of its own; the first refusal."""
        for command in commands:
            reply = (await self.exchange([command]))[0]
            if reply.code != 220:  # XCLIENT_README: the greeting again, now for the client
                return _refusal(reply)
        return None

    # -- the end ------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Send RSET; its answer is taken by `settled` before the next use."""
        self.write(b"RSET\r\n")
        self._resetting = True

    async def settled(self) -> bool:
        """Whether the connection may be used again, once a RSET that is under way has been answered."""
        if self._resetting:
            self._resetting = False
            try:
                reply = await self.reply(self._settings.command)
            except NextHopGone:
                return False
            if not reply.positive:
                return False
        return self.reusable

    def quit(self) -> None:
        """Say QUIT if that can still be heard, and close. Does not wait; `closed` is done afterwards."""
        if self._transport is None or not self.ready:
            self.abort()
            return
        self._transport.write(b"QUIT\r\n")
        self._lost = "was told QUIT"
        self._farewell = self._loop.call_later(FAREWELL, self.abort)

    def abort(self) -> None:
        """Close at once; what is not sent yet is not sent. May be called twice."""
        self._lose("was left")
        if self._transport is not None:
            with contextlib.suppress(OSError):
                self._transport.abort()


def _expire(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError())


def _refusal(reply: Reply) -> Reply:
    """The same, which is handed to clients. Raises NextHopGone for what is none: nobody may take it for a yes."""
    if reply.positive:
        raise NextHopGone(f"the next hop broke the protocol: {reply}")
    return reply


def _is_name(text: str) -> bool:
    """Whether it can stand after EHLO without meaning anything else."""
    return len(text) <= 255 and text.isascii() and text.isprintable() and " " not in text


def _is_our_fault(refusal: Reply) -> bool:
    """Whether an XCLIENT was refused for its form, rather than the client for what it is."""
    return 500 <= refusal.code <= 504
