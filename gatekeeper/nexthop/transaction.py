"""One mail on its way to the next hop: opened late, replayed while that is safe, never after the dot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from gatekeeper import metrics
from gatekeeper.model import Reply
from gatekeeper.nexthop.connection import Connection
from gatekeeper.nexthop.contract import Capabilities, Command, NextHopGone, Withdrawn
from gatekeeper.nexthop.pool import Pool
from gatekeeper.wire.stuffing import END, Stuffer
from gatekeeper.wire.xclient import Client

AT_ONCE: Final = 262_144
"""Octets that are written together: up to here a message is one write, dot and all."""

_NEEDS: Final = {  # parameter -> keyword of its extension
    "SIZE": "SIZE",  # RFC 1870
    "BODY": "8BITMIME",  # RFC 6152
    "SMTPUTF8": "SMTPUTF8",  # RFC 6531
    "RET": "DSN",  # RFC 3461
    "ENVID": "DSN",
    "NOTIFY": "DSN",
    "ORCPT": "DSN",
    "AUTH": "AUTH",  # RFC 4954
}

_ONE_AT_A_TIME = Reply.of(452, "4.5.3 One recipient at a time, please send the others separately")
_NOBODY = Reply.of(554, "5.5.1 No valid recipients")
_CHANGED = Reply.of(451, "4.4.2 The mail server behind went away and did not take the mail up again; try again later")


class LateTransaction:
    """A `contract.Transaction`. It holds a connection from the first RCPT on, and lets go of one that idles."""

    def __init__(self, pool: Pool, client: Client, mail: Command) -> None:
        self.dot_sent = False
        self._pool = pool
        self._client = client
        self._mail = mail
        self._line = _line(b"MAIL FROM", mail)
        self._accepted: list[Command] = []
        self._refusal: Reply | None = None  # to MAIL or before it; what every RCPT is told
        self._connection: Connection | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._mail_answered = False
        self._over = False

    @property
    def refusal(self) -> Reply | None:
        return self._refusal

    # -- RCPT ---------------------------------------------------------------------------------------------------

    async def recipients(self, group: Sequence[Command]) -> list[Reply]:
        self._begin()
        try:
            if self._pool.url.protocol == "smtp":
                replies = await self._ask(group)
            else:  # one answer after the dot for each recipient: only one can be passed back
                replies = []
                for command in group:
                    replies += [_ONE_AT_A_TIME] if self._accepted else await self._ask([command])
        except NextHopGone:
            self._discard()
            raise
        except BaseException:
            self._over = True
            self._discard()
            raise
        self._watch()
        return replies

    async def _ask(self, group: Sequence[Command]) -> list[Reply]:
        if not group:
            return []
        if self._refusal is None:
            connection = self._current()
            if connection is not None:
                replies = await self._name(connection, group)
            else:
                replies = await self._open([*self._accepted, *group])
                again, replies = replies[: len(self._accepted)], replies[len(self._accepted) :]
                if self._refusal is None and not _all_accepted(again):
                    self._refusal = _CHANGED
        if self._refusal is not None:
            return [self._refusal] * len(group)
        self._accepted += [command for command, reply in zip(group, replies, strict=True) if reply.code // 100 == 2]
        return replies

    async def _open(self, recipients: Sequence[Command]) -> list[Reply]:
        """A connection, the client's facts, MAIL and these RCPTs; the answers to the latter.

        A refusal before them is kept in `_refusal`. A used connection that turns out to be stale is replaced once,
        as long as MAIL has not been answered.
        """
        for reuse in (True, False):
            try:
                connection, used = await self._pool.take(self._client, reuse=reuse)
            except NextHopGone as gone:
                if gone.reply is None:
                    raise
                self._refusal = gone.reply
                return []
            self._connection = connection
            try:
                replies = await self._start(connection, recipients)
            except NextHopGone:
                self._discard()
                if not used or connection.timed_out or self._mail_answered:
                    raise
                continue
            if used and self._refusal is not None and self._refusal.code == 421:
                self._refusal = None  # "idle for too long" or "shutting down", most likely
                self._discard()
                continue
            return replies
        raise AssertionError("a new connection is not a used one")

    async def _start(self, connection: Connection, recipients: Sequence[Command]) -> list[Reply]:
        self._mail_answered = False
        self._refusal = await connection.introduce(self._client, xclient_required=self._pool.xclient_required)
        self._pool.capabilities = connection.capabilities
        if self._refusal is None:
            self._refusal = _lacks(self._mail, connection.capabilities)
        if self._refusal is not None:
            return []
        forward = connection.forwarding(self._client)
        asked = connection.received + len(forward)
        try:
            return await self._name(connection, recipients, before=[*forward, self._line])
        finally:
            self._mail_answered = connection.received > asked

    async def _name(
        self, connection: Connection, recipients: Sequence[Command], *, before: Sequence[bytes] = ()
    ) -> list[Reply]:
        """The answers to these RCPTs, with `before` in the same group to begin: XFORWARD, if any, and MAIL."""
        lacking = [_lacks(command, connection.capabilities) for command in recipients]
        lines = [_line(b"RCPT TO", command) for command, lack in zip(recipients, lacking, strict=True) if lack is None]
        replies = await connection.exchange([*before, *lines])
        if before:
            mail = _answer(replies[len(before) - 1])  # whatever was said to XFORWARD; a 421 to it is MAIL's answer too
            if mail.code // 100 != 2:
                self._refusal = mail
                return []
        answers = iter(replies[len(before) :])
        return [lack or _answer(next(answers)) for lack in lacking]

    # -- DATA ---------------------------------------------------------------------------------------------------

    async def send(self, chunks: Iterable[bytes], *, wanted: Callable[[], bool]) -> Reply:
        self._begin()
        self._over = True
        if not self._accepted or self._refusal is not None:
            self._let_go()
            return _CHANGED if self._accepted else self._refusal or _NOBODY
        try:
            reply = await self._data()
            if reply.code == 354 and self._connection is not None:
                reply = await self._message(self._connection, chunks, wanted)
        except BaseException:
            self._discard()
            raise
        if self._connection is not None:
            connection, self._connection = self._connection, None
            if reply.code // 100 == 2:
                connection.messages += 1
            self._pool.give_back(connection)
        metrics.NEXT_HOP_REPLIES[f"{reply.code // 100}xx"].inc()
        return reply

    async def _data(self) -> Reply:
        """The answer to DATA, over a connection on which every accepted recipient is accepted; or a 4xx of ours."""
        for last in (False, True):
            connection = self._current()
            replayed = connection is None
            if connection is None:
                connection = await self._replay()
                if connection is None:
                    return _CHANGED
            try:
                reply = (await connection.exchange([b"DATA\r\n"]))[0]
            except NextHopGone:
                self._discard()
                if last or replayed or connection.timed_out:
                    raise
                continue
            if reply.code != 354 and reply.positive:  # whatever it means, it has no message of ours
                raise NextHopGone(f"the next hop broke the protocol: {reply}")
            return reply
        raise AssertionError("the second try returns or raises")

    async def _replay(self) -> Connection | None:
        """MAIL and all accepted RCPTs again, on another connection; None unless all are accepted again."""
        metrics.NEXT_HOP_CONNECTIONS["replayed"].inc()
        replies = await self._open(self._accepted)
        if self._refusal is None and _all_accepted(replies):
            return self._connection
        self._let_go()
        return None

    async def _message(self, connection: Connection, chunks: Iterable[bytes], wanted: Callable[[], bool]) -> Reply:
        """The message after the 354, and the answer to its dot, or one that came before."""
        limits = self._pool.settings
        stuffer = Stuffer()
        ready: list[bytes] = []
        size = 0
        for chunk in chunks:
            ready.append(stuffer.feed(chunk))
            size += len(chunk)
            if size < AT_ONCE:
                continue
            connection.write(b"".join(ready))
            ready, size = [], 0
            await asyncio.sleep(0)  # a next hop that takes all we have must not take the loop with it
            await connection.drained(limits.progress)
            if connection.early_reply is not None:
                return self._cut_short(await connection.reply(limits.command))
        ready.append(stuffer.finish())
        ready.append(END)
        if not connection.ready:
            return self._cut_short(await connection.reply(limits.command))
        if not wanted():
            raise Withdrawn
        self.dot_sent = True
        connection.write(b"".join(ready))
        try:
            return _answer(await connection.reply(limits.final))
        except NextHopGone as gone:
            raise NextHopGone(str(gone), in_doubt=True) from None

    def _cut_short(self, reply: Reply) -> Reply:
        """The next hop has answered in the middle of the message: a refusal, or it makes no sense."""
        self._discard()
        if reply.positive:
            raise NextHopGone(f"the next hop answered before the end of the message: {reply}")
        return reply

    # -- the connection -----------------------------------------------------------------------------------------

    def _current(self) -> Connection | None:
        """The connection at hand; None when there is none, or none that is fresh: the next thing is a replay."""
        if self._connection is not None and not self._connection.fresh:
            self._let_go()
        return self._connection

    def _begin(self) -> None:
        if self._over:
            raise RuntimeError("the transaction is over")
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    def _watch(self) -> None:
        """A client that takes its time shall not occupy a process of the MTA; the replay makes up for it."""
        if self._connection is not None:
            loop = asyncio.get_running_loop()
            self._idle_timer = loop.call_later(self._pool.settings.idle, self._let_go)

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.give_back_unfinished(connection)

    def _discard(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.discard(connection)

    async def park(self) -> None:
        self._begin()
        self._let_go()

    async def abort(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        self._over = True
        self._let_go()


def _line(verb: bytes, command: Command) -> bytes:
    text = " ".join([f"<{command.path}>", *command.parameters])
    if "\r" in text or "\n" in text:
        raise ValueError("a line break in a command")
    return b"%s:%s\r\n" % (verb, text.encode("utf-8", "surrogateescape"))


def _lacks(command: Command, capabilities: Capabilities) -> Reply | None:
    """A 451 when a parameter belongs to an extension that is not offered (any more)."""
    for parameter in command.parameters:
        name = parameter.partition("=")[0].upper()
        if not capabilities.offers(_NEEDS.get(name, name)):
            return Reply.of(451, f"4.3.3 The mail server behind does not know {name} at the moment; try again later")
    return None


def _answer(reply: Reply) -> Reply:
    """A reply that ends something; a 3xx means that we are out of step."""
    if reply.code // 100 == 3:
        raise NextHopGone(f"the next hop broke the protocol: {reply}")
    return reply


def _all_accepted(replies: Iterable[Reply]) -> bool:
    return all(reply.code // 100 == 2 for reply in replies)
