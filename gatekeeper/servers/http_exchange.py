"""One HTTP request and its answer on a connection: what h11 does not know, bounds and deadlines (RFC 9110, RFC 9112).

Exim's rspamd variant opens with a line of its own, `CHECK RSPAMC/1.3`, and goes on as HTTP/1.0 does. It is read as
such; whoever answers knows by `rspamc`.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final

import h11

HEAD_BYTES: Final = 16384
"""A request line and header fields longer than this are answered 431."""
READ_BYTES: Final = 4096
"""Of a head at once: less than HEAD_BYTES, which h11 compares with what is not complete."""
BODY_READ_BYTES: Final = 65536
RSPAMC_LINE: Final = re.compile(rb"(CHECK|SYMBOLS|PING) RSPAMC/1\.[0-9]\r?\n")
_RSPAMC_MOST: Final = 24
"""Octets of the longest such line: what is longer without a line end is HTTP."""


@dataclass(frozen=True, slots=True)
class Page:
    """One answer."""

    status: HTTPStatus
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    fields: tuple[tuple[str, str], ...] = ()


def refusal(status: HTTPStatus, why: str, *fields: tuple[str, str]) -> Page:
    return Page(status, why.encode() + b"\n", fields=fields)


class ClientReader(asyncio.StreamReader):
    """A StreamReader that tells how much has come."""

    def __init__(self) -> None:
        super().__init__(limit=BODY_READ_BYTES)
        self.heard = 0

    def feed_data(self, data: Any) -> None:
        self.heard += len(data)
        super().feed_data(data)


class BodyTooLarge(Exception):
    """More than the caller takes; what is left of it stays unread."""


class BodyCutOff(Exception):
    """It ended before its end, or is no body."""


@dataclass(slots=True)
class Exchange:
    """One connection. `private` is whether its listener is on loopback or a UNIX socket."""

    reader: ClientReader
    writer: asyncio.StreamWriter
    private: bool
    connection: h11.Connection = field(
        default_factory=lambda: h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
    )
    request: h11.Request | None = None
    rspamc: bytes = b""  # the verb, where the request came as RSPAMC
    answered: int = 0  # requests so far
    last: bool = False  # no request is read after the one in hand
    _begun: bool = False
    _read: int = 0  # octets that were taken from the reader
    _waiting: bool = False  # for a request of which nothing was read

    @property
    def open(self) -> bool:
        """Whether another request may come."""
        return self.connection.our_state is h11.IDLE

    async def next_request(self) -> h11.Request | None:
        """The next request, or None when the client has left. Raises h11.RemoteProtocolError."""
        self._waiting = not self.connection.trailing_data[0]
        try:
            if not self._begun:
                self._begun = True
                self.connection.receive_data(await self._first())
            while True:
                event = self.connection.next_event()
                if isinstance(event, h11.Request):
                    self.request = event
                    return event
                if isinstance(event, h11.ConnectionClosed):
                    return None
                self.connection.receive_data(await self._more(READ_BYTES))
                self._waiting = False
        finally:
            self._waiting = False

    @property
    def idle(self) -> bool:
        """Whether nothing of a further request has come."""
        return self._waiting and self._read == self.reader.heard

    def leave(self) -> None:
        """Let an idle one see its end: `next_request` returns None."""
        with contextlib.suppress(RuntimeError):  # uvloop's, for one that is being closed
            self.writer.transport.pause_reading()  # type: ignore[attr-defined]  # what has a reader can pause it
        self.reader.feed_eof()

    async def _more(self, most: int) -> bytes:
        octets = await self.reader.read(most)
        self._read += len(octets)
        return octets

    async def _first(self) -> bytes:
        """What comes first, with the request line of RSPAMC made one of HTTP."""
        first = await self._more(READ_BYTES)
        while first and b"\n" not in first and len(first) < _RSPAMC_MOST and first[:1] in b"CSP":
            more = await self._more(READ_BYTES)
            if not more:
                break
            first += more
        line = RSPAMC_LINE.match(first)
        if line is None:
            return first
        self.rspamc = line[1]
        return b"POST /rspamc HTTP/1.0\r\n" + first[line.end() :]

    def skip_body(self) -> None:
        """No body is wanted. Without one this is the request's end; with one the connection ends after the answer."""
        if self.connection.their_state is h11.SEND_BODY and not self.connection.they_are_waiting_for_100_continue:
            with contextlib.suppress(h11.RemoteProtocolError):
                self.connection.next_event()

    @property
    def announced(self) -> int | None:
        """How long the body will be, as far as it was said."""
        for name, value in self.request.headers if self.request else ():
            if name == b"content-length":
                return int(value)
        return None

    async def body(self, most: int, *, taking: Callable[[int], None]) -> bytes:
        """All of it, at most so many octets; `taking` hears of each portion before it is kept, and may raise.

        Raises BodyTooLarge, as soon as that is known, and BodyCutOff. The deadline is the caller's.
        """
        if (self.announced or 0) > most:
            raise BodyTooLarge
        if self.connection.they_are_waiting_for_100_continue:  # RFC 9110 §10.1.1
            go_on = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
            self.writer.write(self.connection.send(go_on) or b"")
        # Not a list of pieces: a client that sends tiny ones would make each cost an object. What BytesIO has gathered
        # it gives without a copy, unlike a bytearray.
        body = io.BytesIO()
        size = 0
        try:
            while True:
                event = self.connection.next_event()
                if isinstance(event, h11.Data):
                    size += len(event.data)
                    if size > most:
                        raise BodyTooLarge
                    taking(len(event.data))
                    body.write(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    return body.getvalue()
                elif event is h11.NEED_DATA:
                    self.connection.receive_data(await self._more(BODY_READ_BYTES))
                else:
                    raise BodyCutOff
        except h11.RemoteProtocolError as error:
            raise BodyCutOff from error

    def write(self, page: Page) -> None:
        """The answer. It closes the connection unless the whole request was read and another may come."""
        self.answered += 1
        if self.rspamc:
            error = b"" if page.status == HTTPStatus.OK else b"RSPAMD/1.3 1 EX_ERROR\r\nError: "  # no verdict to Exim
            self.writer.write(error + page.body)
            self.connection.send_failed()  # nothing that h11 knows was sent, nor will be
            return
        head_only = self.request is not None and self.request.method == b"HEAD"
        fields = [
            ("Date", formatdate(usegmt=True)),
            ("Content-Type", page.content_type),
            ("Content-Length", str(len(page.body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            *page.fields,
        ]
        if self.last or self.connection.their_state is not h11.DONE:
            fields.append(("Connection", "close"))
        response = h11.Response(status_code=page.status, reason=page.status.phrase.encode(), headers=fields)
        parts = [self.connection.send(response)]
        if not head_only:
            parts.append(self.connection.send(h11.Data(data=page.body)))
        parts.append(self.connection.send(h11.EndOfMessage()))
        self.writer.write(b"".join(part for part in parts if part))

    def go_on(self) -> None:
        """The answer has left; make ready for another request, if one may come."""
        if self.connection.our_state is self.connection.their_state is h11.DONE:
            self.connection.start_next_cycle()
            self.request = None
