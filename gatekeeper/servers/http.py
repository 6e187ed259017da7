"""The HTTP server of the controller: /metrics, /healthz and /readyz, for monitoring (RFC 9110, RFC 9112).

h11 does the protocol: a well-kept reader of bytes that waits for nobody. What it does not know, time and number,
stands here: a stranger gets one deadline for a whole request, a bounded head, and one of a bounded number of places.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from types import MappingProxyType

import h11

from gatekeeper import log
from gatekeeper.metrics import CONTENT_TYPE
from gatekeeper.model import Duration, setting
from gatekeeper.wire.listen import read_listen

HEAD_BYTES = 16384
"""A request line and header fields longer than this are answered 431."""
READ_BYTES = 4096
PARTING_SECONDS = 1.0

WHY_UNREADY: Mapping[str, str] = MappingProxyType(
    {
        "worker": "no worker is running",
        "store": "the store does not answer; memory takes over",
        "next_hop": "the next hop has not answered",
        "relay_probe": "the next hop has not yet refused to relay for strangers",
    }
)
"""What /readyz says for each part that is not ready."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`[servers.http]`."""

    listen: tuple[str, ...] = setting(
        ("127.0.0.1:8025",), "Where /metrics, /healthz and /readyz are served; they are open to whoever can connect."
    )
    timeout: Duration = setting(10.0, "A request that is not complete and answered after this time is cut off.")
    connections: int = setting(64, "Connections at once; one more is answered 503.")

    def __post_init__(self) -> None:
        for address in self.listen:
            read_listen(address)
        if not 0 < self.timeout <= 300:
            raise ValueError('timeout is between nothing and five minutes, as in "10s"')
        if not 1 <= self.connections <= 10000:
            raise ValueError("connections is between 1 and 10000")


@dataclass(frozen=True, slots=True)
class Page:
    """One answer."""

    status: HTTPStatus
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    fields: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class HttpServer:
    """Serves the pages until `close`.

    `exposition` returns the metrics page; `unready` names the parts that are not ready (empty when all are). Both may
    read files: they run in a thread.
    """

    settings: Settings
    exposition: Callable[[], bytes]
    unready: Callable[[], Sequence[str]]
    _servers: list[asyncio.Server] = field(default_factory=list, init=False)
    _open: set[asyncio.Task[None]] = field(default_factory=set, init=False)

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Accept connections from these listening sockets, which belong to the server from now on."""
        for listener in sockets:
            self._servers.append(await asyncio.start_server(self._connection, sock=listener, limit=READ_BYTES))

    async def close(self) -> None:
        """Stop listening and cut off what is open: nobody loses more than a page. May be called twice."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        open_now = list(self._open)
        for task in open_now:
            task.cancel()
        await asyncio.gather(*open_now, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:  # cannot be: asyncio runs this as a task
            return
        self._open.add(task)
        writer.transport.set_write_buffer_limits(0)  # so that drain() waits for the last byte, within the deadline
        try:
            if len(self._open) <= self.settings.connections:
                await self._converse(reader, writer)
            elif len(self._open) <= 2 * self.settings.connections:
                page = _refusal(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections")
                writer.write(_written(h11.Connection(h11.SERVER), page, head_only=False))
                await self._part(reader, writer)
        except (TimeoutError, ConnectionError, asyncio.CancelledError):
            pass  # slow, gone, or we are closing: all that is left to do is to hang up
        except Exception as error:  # noqa: BLE001  the border around a connection: a bug ends this one, the others live on
            log.traceback_once("session_failed", error, server="http")
        finally:
            self._open.discard(task)
            if writer.transport.get_write_buffer_size():
                writer.transport.abort()  # close() would wait for a peer that does not read
            else:
                writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        while connection.our_state is h11.IDLE:
            async with asyncio.timeout(self.settings.timeout):
                try:
                    request = await _request(connection, reader)
                except h11.RemoteProtocolError as error:
                    page = _refusal(HTTPStatus(error.error_status_hint), "not a request we read")
                    writer.write(_written(connection, page, head_only=False))
                    break
                if request is None:
                    return
                page = await self._answer(request)
                writer.write(_written(connection, page, head_only=request.method == b"HEAD"))
                await writer.drain()
            if connection.our_state is connection.their_state is h11.DONE:
                connection.start_next_cycle()
        await self._part(reader, writer)

    async def _part(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Let the last answer arrive: closing with unread bytes would reset the connection under it (RFC 9112 §9.6)."""
        async with asyncio.timeout(min(PARTING_SECONDS, self.settings.timeout)):
            await writer.drain()
            writer.write_eof()
            while await reader.read(READ_BYTES):
                pass

    async def _answer(self, request: h11.Request) -> Page:
        if request.method not in {b"GET", b"HEAD"}:
            return _refusal(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD", ("Allow", "GET, HEAD"))
        path = request.target.partition(b"?")[0]
        if path == b"/healthz":
            return Page(HTTPStatus.OK, b"alive\n")
        if path == b"/readyz":
            return _readiness(await asyncio.to_thread(self.unready))
        if path == b"/metrics":
            return Page(HTTPStatus.OK, await asyncio.to_thread(self.exposition), CONTENT_TYPE)
        return _refusal(HTTPStatus.NOT_FOUND, "the pages here are /metrics, /healthz and /readyz")


def _readiness(unready: Sequence[str]) -> Page:
    why = {part: WHY_UNREADY.get(part, "not ready") for part in unready}
    body = json.dumps({"ready": not why, "why": why}).encode() + b"\n"
    return Page(HTTPStatus.SERVICE_UNAVAILABLE if why else HTTPStatus.OK, body, "application/json")


def _refusal(status: HTTPStatus, why: str, *fields: tuple[str, str]) -> Page:
    return Page(status, why.encode() + b"\n", fields=fields)


async def _request(connection: h11.Connection, reader: asyncio.StreamReader) -> h11.Request | None:
    """The next request, or None when the client has left. Raises h11.RemoteProtocolError."""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            break
        if isinstance(event, h11.ConnectionClosed):
            return None
        connection.receive_data(await reader.read(READ_BYTES))
    # No page takes a body. Without one, this is the request's end; with one, the connection is closed after the answer.
    with contextlib.suppress(h11.RemoteProtocolError):
        connection.next_event()
    return event


def _written(connection: h11.Connection, page: Page, *, head_only: bool) -> bytes:
    fields = [
        ("Date", formatdate(usegmt=True)),
        ("Content-Type", page.content_type),
        ("Content-Length", str(len(page.body))),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        *page.fields,
    ]
    if connection.their_state is not h11.DONE:
        fields.append(("Connection", "close"))
    response = h11.Response(status_code=page.status, reason=page.status.phrase.encode(), headers=fields)
    parts = [connection.send(response)]
    if not head_only:
        parts.append(connection.send(h11.Data(data=page.body)))
    parts.append(connection.send(h11.EndOfMessage()))
    return b"".join(part for part in parts if part)
