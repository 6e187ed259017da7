"""Messages to be checked, by HTTP: `POST /v1/check`, and rspamd's `/checkv2` and RSPAMC/1.3 for its clients.

The message is the body as it is. Client and envelope stand in fields of the request, named as rspamd names them, or
for /v1/check in its query.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl

import h11

from gatekeeper import log, metrics
from gatekeeper.message.reading import read_message
from gatekeeper.model import Message
from gatekeeper.records.answer import CheckResult, answered
from gatekeeper.servers import rspamd
from gatekeeper.servers.checking import Told
from gatekeeper.servers.http_exchange import BODY_READ_BYTES, BodyCutOff, BodyTooLarge, Exchange, Page, refusal

Judge = Callable[[Message, Told], Awaitable[CheckResult]]
"""From a message and what is told of it to its verdict; records it too."""

JSON: Final = "application/json"
OWN: Final = b"/v1/check"
RSPAMD: Final = b"/checkv2"
RSPAMC: Final = b"/rspamc"
"""A path for what comes as RSPAMC/1.3; nobody can ask for it by HTTP."""

IN_QUERY: Final[Mapping[str, str]] = {
    "ip": "ip",
    "helo": "helo",
    "hostname": "hostname",
    "from": "from",
    "rcpt": "rcpt",
    "user": "user",
    "queue_id": "queue-id",
    "tls_version": "tls-version",
    "tls_cipher": "tls-cipher",
}
"""What may stand in the query of /v1/check, and the field that says the same."""


MOST_IN_QUERY: Final = 1000
COPIES: Final = 2
"""How often the memory of a message is counted: as it came, and as what checks read out of it."""
HELD_BESIDES: Final = 4 * BODY_READ_BYTES
"""Octets that are counted for each check whatever its message: what is read ahead of it, and what is known of it."""
CODED: Final = frozenset({"compression", "key"})
"""Fields by which rspamc says that it has compressed or encrypted the message."""


class Refused(Exception):
    """The request is not judged; `counted` is why, for the metric."""

    def __init__(self, status: HTTPStatus, counted: str, why: str, *fields: tuple[str, str]) -> None:
        super().__init__(why)
        self.status, self.counted, self.why, self.fields = status, counted, why, fields


@dataclass(slots=True)
class Checks:
    """`about` is each rule's sentence. `memory` is what checks may take together, `taken` what they take now, in octets
    (`held` says for what).
    """

    judge: Judge
    about: Mapping[str, str]
    token: str
    message_size: int
    memory: int
    upload_timeout: float
    taken: int = field(default=0, init=False)
    unauthorised: log.Folded = field(default_factory=lambda: log.Folded("check_unauthorised"), init=False)

    def answers(self, path: bytes) -> bool:
        return path in {OWN, RSPAMD, RSPAMC}

    async def answer(self, exchange: Exchange, request: h11.Request) -> Page:
        try:
            page = await self._judged(exchange, request)
        except Refused as refused:
            metrics.HTTP_CHECKS[refused.counted].inc()
            return _refusal(exchange, refused)
        except asyncio.CancelledError:  # `drain` has waited long enough
            metrics.HTTP_CHECKS["shutdown"].inc()
            raise
        metrics.HTTP_CHECKS["judged"].inc()
        return page

    async def _judged(self, exchange: Exchange, request: h11.Request) -> Page:
        path, _, query = request.target.partition(b"?")
        if path == RSPAMC and exchange.rspamc == b"PING":
            return Page(HTTPStatus.OK, b"RSPAMD/1.3 0 PONG\r\n")
        if path == RSPAMC and not exchange.rspamc:
            raise Refused(HTTPStatus.NOT_FOUND, "unreadable", "messages are checked at /v1/check and /checkv2")
        if request.method != b"POST":
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "unreadable", "only POST", ("Allow", "POST"))
        fields = [(name.decode("ascii"), value.decode("utf-8", "replace")) for name, value in request.headers]
        self._admit(exchange, dict(fields))
        told = rspamd.told([*(_in_query(query) if path == OWN else ()), *fields])
        with self._room() as taking:
            # Read here, so that nobody holds the octets as they came while they are judged.
            result = await self.judge(read_message(await self._message(exchange, dict(fields), taking)), told)
        if path == OWN:
            return _json(answered(result, self.about))
        if path == RSPAMD:
            return _json(rspamd.checkv2(result, self.about))
        return Page(HTTPStatus.OK, rspamd.text(result, self.about))

    def _admit(self, exchange: Exchange, fields: Mapping[str, str]) -> None:
        """Who does not come by loopback or a UNIX socket shows the token; what is shown must be right anyhow."""
        shown = _token(fields)
        led = "origin" in fields and (shown is None or not self.token)
        if exchange.private and led:  # a browser on this machine, by some page, whatever that page shows
            raise Refused(HTTPStatus.FORBIDDEN, "unauthorised", "messages are not checked for web pages")
        if exchange.private and (shown is None or not self.token):
            return
        if not self.token:
            why = "messages are checked here by loopback and UNIX sockets only, since [servers.http] has no token"
            raise Refused(HTTPStatus.FORBIDDEN, "unauthorised", why)
        if shown is None:
            challenge = ("WWW-Authenticate", 'Bearer realm="gatekeeper"')
            raise Refused(HTTPStatus.UNAUTHORIZED, "unauthorised", "a bearer token is needed here", challenge)
        if not hmac.compare_digest(shown.encode("utf-8", "replace"), self.token.encode()):
            peer = exchange.writer.get_extra_info("peername")
            self.unauthorised.event(level=logging.WARNING, peer=peer[0] if peer else None)
            challenge = ("WWW-Authenticate", 'Bearer realm="gatekeeper", error="invalid_token"')
            raise Refused(HTTPStatus.UNAUTHORIZED, "unauthorised", "the bearer token is wrong", challenge)

    async def _message(self, exchange: Exchange, fields: Mapping[str, str], taking: Callable[[int], None]) -> bytes:
        if fields.get("content-encoding", "identity").lower() != "identity" or not fields.keys().isdisjoint(CODED):
            why = "messages come as they are, neither compressed nor encrypted"
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unreadable", why)
        try:
            async with asyncio.timeout(self.upload_timeout):
                raw = await exchange.body(self.message_size, taking=taking)
        except BodyTooLarge:
            why = f"a message may have {self.message_size} octets here"
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", why) from None
        except TimeoutError:
            why = f"the message did not arrive within {self.upload_timeout:g} s"
            raise Refused(HTTPStatus.REQUEST_TIMEOUT, "slow", why) from None
        except BodyCutOff:
            raise Refused(HTTPStatus.BAD_REQUEST, "unreadable", "the message was cut off") from None
        if not raw:
            raise Refused(HTTPStatus.BAD_REQUEST, "unreadable", "there is no message: it is the body of the request")
        return raw

    @contextlib.contextmanager
    def _room(self) -> Iterator[Callable[[int], None]]:
        """The memory of one check, until it is answered; what is called with each portion raises Refused."""
        mine = 0

        def take(octets: int) -> None:
            nonlocal mine
            if self.taken + octets > self.memory:
                raise busy("too many messages are being checked, try again in a moment")
            mine += octets
            self.taken += octets

        try:
            take(held(0))
            yield lambda octets: take(COPIES * octets)
        finally:
            self.taken -= mine


def held(octets: int) -> int:
    """What the check of a message of that size is counted as."""
    return COPIES * octets + HELD_BESIDES


def busy(why: str) -> Refused:
    return Refused(HTTPStatus.SERVICE_UNAVAILABLE, "busy", why, ("Retry-After", "5"))


def _in_query(query: bytes) -> Iterator[tuple[str, str]]:
    """The fields that the query stands for. Raises Refused for a name that is none, since a typing error would go
    unnoticed otherwise.
    """
    try:
        given = parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=MOST_IN_QUERY)
    except ValueError:
        raise Refused(HTTPStatus.BAD_REQUEST, "unreadable", "a query that cannot be read") from None
    for name, value in given:
        if name not in IN_QUERY:
            raise Refused(HTTPStatus.BAD_REQUEST, "unreadable", f"the query may have {', '.join(IN_QUERY)}")
        yield IN_QUERY[name], value


def _token(fields: Mapping[str, str]) -> str | None:
    """As a bearer token (RFC 6750 §2.1), or as rspamc -P tells it."""
    scheme, _, token = fields.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return fields.get("password")


def _json(answer: Mapping[str, Any]) -> Page:
    return Page(HTTPStatus.OK, json.dumps(answer).encode() + b"\n", JSON)


def _refusal(exchange: Exchange, refused: Refused) -> Page:
    if exchange.rspamc:
        return refusal(refused.status, refused.why)
    body = json.dumps({"error": refused.why}).encode() + b"\n"
    return Page(refused.status, body, JSON, fields=refused.fields)
