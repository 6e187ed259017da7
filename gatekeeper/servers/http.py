"""The HTTP server of the controller: /metrics, /healthz, /readyz for monitoring, and messages to be checked.

h11 does the protocol: a well-kept reader of bytes that waits for nobody. What it does not know, time and number,
stands here and in `http_exchange`: a stranger gets a deadline for each part of a request, a bounded head and body, and
one of a bounded number of places.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import ip_address
from types import MappingProxyType

import h11

from gatekeeper import log
from gatekeeper.metrics import CONTENT_TYPE
from gatekeeper.model import Duration, IPAddress, Size, setting
from gatekeeper.servers.http_check import Checks, Judge, held
from gatekeeper.servers.http_exchange import READ_BYTES, ClientReader, Exchange, Page, refusal
from gatekeeper.servers.listener import Listener
from gatekeeper.wire.listen import read_listen

PARTING_SECONDS = 1.0
FIRST_REQUEST_SECONDS = 1.0
"""How long a client that has connected and said nothing yet may still begin when we are told to end."""
TOKEN_LENGTH = 16

WHY_UNREADY: Mapping[str, str] = MappingProxyType(
    {
        "worker": "no worker is running",
        "store": "the store does not answer; memory takes over",
        "next_hop": "the next hop has not answered",
        "relay_probe": "the next hop has not yet refused to relay for strangers",
        "room": "there is so much to do that everybody is put off",
    }
)
"""What /readyz says for each part that is not ready."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`[servers.http]`."""

    listen: tuple[str, ...] = setting(
        ("127.0.0.1:8025",), "Where pages and checks are served; the pages are open to whoever can connect."
    )
    token: str = setting(
        "",
        "What checks must show (Authorization: Bearer ...) unless they come by loopback or a UNIX socket; without one "
        "only those are answered.",
        secret=True,
    )
    timeout: Duration = setting(10.0, "How long the head of a request, and the reading of an answer, may take.")
    upload_timeout: Duration = setting(60.0, "How long a message to be checked may take to arrive.")
    message_size: Size = setting(64 << 20, "The largest message that is checked; a larger one is answered 413.")
    message_memory: Size = setting(
        256 << 20,
        "Memory that checks may take together, each counted as twice its message and 256 KiB; one more is answered "
        "503.",
    )
    connections: int = setting(64, "Connections at once; one more is answered 503.")

    def __post_init__(self) -> None:
        for address in self.listen:
            read_listen(address)
        if self.token and (len(self.token) < TOKEN_LENGTH or not _is_token(self.token)):
            raise ValueError(
                f"token has {TOKEN_LENGTH} or more letters, digits and -._~+/, as `openssl rand -hex 24` gives"
            )
        if not 0 < self.timeout <= 300:
            raise ValueError('timeout is between nothing and five minutes, as in "10s"')
        if not 0 < self.upload_timeout <= 3600:
            raise ValueError('upload_timeout is between nothing and one hour, as in "60s"')
        if self.message_size < 1:
            raise ValueError('message_size is more than nothing, as in "64MiB"')
        if held(self.message_size) > self.message_memory:
            raise ValueError(
                "message_memory has room for one message at least, which is counted as twice message_size and 256 KiB: "
                f'write "{-(-held(self.message_size) >> 20)}MiB" or more, or a smaller message_size'
            )
        if not 1 <= self.connections <= 10000:
            raise ValueError("connections is between 1 and 10000")


def _is_token(text: str) -> bool:
    """RFC 6750 §2.1."""
    return text.isascii() and all(each.isalnum() or each in "-._~+/=" for each in text)


@dataclass(slots=True)
class HttpServer:
    """Serves until `drain` or `close`.

    `exposition` returns the metrics page; `unready` names the parts that are not ready (empty when all are). Both may
    read files: they run in a thread. `judge` says what becomes of a message; without it none is checked. `about` is
    each rule's sentence.
    """

    settings: Settings
    exposition: Callable[[], bytes]
    unready: Callable[[], Sequence[str]]
    judge: Judge | None = None
    about: Mapping[str, str] = field(default_factory=dict)
    checks: Checks | None = field(default=None, init=False)
    _listeners: list[Listener] = field(default_factory=list, init=False)
    _sockets: list[socket.socket] = field(default_factory=list, init=False)
    _open: dict[asyncio.Task[None], Exchange] = field(default_factory=dict, init=False)
    _draining: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        if self.judge is not None:
            self.checks = Checks(
                judge=self.judge,
                about=self.about,
                token=self.settings.token,
                message_size=self.settings.message_size,
                memory=self.settings.message_memory,
                upload_timeout=self.settings.upload_timeout,
            )

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Accept connections from these listening sockets, which belong to the server from now on."""
        for sock in sockets:
            listener = Listener([sock], functools.partial(self._take, private=is_private(sock)))
            listener.start()
            self._listeners.append(listener)
            self._sockets.append(sock)

    def _take(
        self,
        _connection: socket.socket,
        _address: IPAddress | None,
        _port: int | None,
        *,
        private: bool,
    ) -> asyncio.Protocol:
        reader = ClientReader()
        return asyncio.StreamReaderProtocol(reader, functools.partial(self._connection, reader, private=private))

    async def drain(self, seconds: float) -> None:
        """Accept nothing more, answer what is in hand, and after `seconds` tell 503 to whoever has no answer yet.

        In hand is each request of which anything has come, and the first one of a client that was let in. Connections
        that wait for a further request are closed. May be called again, with less patience.
        """
        self._draining = True
        for listener in self._listeners:
            await listener.stop()
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()
        for exchange in self._open.values():
            exchange.last = True
            if exchange.idle and exchange.answered:
                exchange.leave()
        late = asyncio.get_running_loop().call_later(FIRST_REQUEST_SECONDS, self._dismiss)
        try:
            if self._open:
                await asyncio.wait(self._open, timeout=seconds)
        finally:
            late.cancel()
        left = list(self._open)
        if left and any(not self._open[task].idle for task in left):
            log.event("sessions_cut_off", level=logging.WARNING, server="http", count=len(left))
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _dismiss(self) -> None:
        for exchange in self._open.values():
            if exchange.idle:
                exchange.leave()

    async def close(self) -> None:
        """Stop listening and cut off what is open. May be called twice."""
        await self.drain(0.0)

    async def _connection(
        self, client: ClientReader, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, private: bool
    ) -> None:
        task = asyncio.current_task()
        if task is None:  # cannot be: asyncio runs this as a task
            return
        exchange = self._open[task] = Exchange(client, writer, private, last=self._draining)
        writer.transport.set_write_buffer_limits(0)  # so that drain() waits for the last byte, within the deadline
        try:
            if len(self._open) <= self.settings.connections:
                await self._converse(exchange)
            elif len(self._open) <= 2 * self.settings.connections:
                exchange.write(refusal(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections"))
                await self._part(exchange)
        except asyncio.CancelledError:
            await self._give_up(exchange)
        except (TimeoutError, ConnectionError):
            pass  # slow or gone: all that is left to do is to hang up
        except Exception as error:  # noqa: BLE001  the border around a connection: a bug ends this one, the others live on
            log.traceback_once("session_failed", error, server="http")
        finally:
            del self._open[task]
            if writer.transport.get_write_buffer_size():
                writer.transport.abort()  # close() would wait for a peer that does not read
            else:
                writer.close()

    async def _give_up(self, exchange: Exchange) -> None:
        """We are told to end: a request without an answer is told to come again."""
        if exchange.request is None or exchange.connection.our_state is not h11.SEND_RESPONSE:
            return
        with contextlib.suppress(TimeoutError, ConnectionError):
            exchange.last = True
            exchange.write(refusal(HTTPStatus.SERVICE_UNAVAILABLE, "going down, try again", ("Retry-After", "5")))
            await self._part(exchange)

    async def _converse(self, exchange: Exchange) -> None:
        while exchange.open:
            async with asyncio.timeout(self.settings.timeout):
                try:
                    request = await exchange.next_request()
                except h11.RemoteProtocolError as error:
                    exchange.write(refusal(HTTPStatus(error.error_status_hint), "not a request we read"))
                    break
            if request is None:
                return
            page = await self._answer(exchange, request)
            async with asyncio.timeout(self.settings.timeout):
                exchange.write(page)
                await exchange.writer.drain()
            exchange.go_on()
        await self._part(exchange)

    async def _part(self, exchange: Exchange) -> None:
        """Let the last answer arrive: closing with unread bytes would reset the connection under it (RFC 9112 §9.6)."""
        async with asyncio.timeout(min(PARTING_SECONDS, self.settings.timeout)):
            await exchange.writer.drain()
            exchange.writer.write_eof()
            while await exchange.reader.read(READ_BYTES):
                pass

    async def _answer(self, exchange: Exchange, request: h11.Request) -> Page:
        path = request.target.partition(b"?")[0]
        if self.checks is not None and self.checks.answers(path):
            return await self.checks.answer(exchange, request)
        exchange.skip_body()
        if request.method not in {b"GET", b"HEAD"}:
            return refusal(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD", ("Allow", "GET, HEAD"))
        async with asyncio.timeout(self.settings.timeout):
            return await self._page(path)

    async def _page(self, path: bytes) -> Page:
        if path == b"/healthz":
            return Page(HTTPStatus.OK, b"alive\n")
        if path == b"/ping":
            return Page(HTTPStatus.OK, b"pong\r\n", "text/plain")
        if path == b"/readyz":
            return _readiness(await asyncio.to_thread(self.unready))
        if path == b"/metrics":
            return Page(HTTPStatus.OK, await asyncio.to_thread(self.exposition), CONTENT_TYPE)
        return refusal(HTTPStatus.NOT_FOUND, "the pages here are /metrics, /healthz and /readyz")


def is_private(listener: socket.socket) -> bool:
    """Whether nobody but programs on this machine can reach it."""
    if listener.family == socket.AF_UNIX:
        return True
    return ip_address(str(listener.getsockname()[0]).partition("%")[0]).is_loopback


def _readiness(unready: Sequence[str]) -> Page:
    why = {part: WHY_UNREADY.get(part, "not ready") for part in unready}
    body = json.dumps({"ready": not why, "why": why}).encode() + b"\n"
    return Page(HTTPStatus.SERVICE_UNAVAILABLE if why else HTTPStatus.OK, body, "application/json")
