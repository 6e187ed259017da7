"""One request and its answer: bounds, bodies, and the line that Exim opens with."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, cast

import h11
import pytest

from gatekeeper.servers.http_exchange import HEAD_BYTES, BodyCutOff, BodyTooLarge, ClientReader, Exchange, Page, refusal


class Written:
    """What a writer was given."""

    def __init__(self) -> None:
        self.octets = b""

    def write(self, octets: bytes) -> None:
        self.octets += octets


def exchange(*pieces: bytes) -> tuple[Exchange, Written]:
    """One whose peer sends these and then closes its side."""
    reader, written = ClientReader(), Written()
    for piece in pieces:
        reader.feed_data(piece)
    reader.feed_eof()
    return Exchange(reader, cast("Any", written), private=True), written


HEAD = b"POST /v1/check HTTP/1.1\r\nHost: x\r\n"


async def read(given: Exchange, most: int = 100) -> tuple[bytes, list[int]]:
    """The body, and the portions of which was told."""
    assert await given.next_request() is not None
    portions: list[int] = []
    return await given.body(most, taking=portions.append), portions


async def test_a_body_is_read_to_its_end_and_each_portion_is_told():
    body, portions = await read(exchange(HEAD + b"Content-Length: 5\r\n\r\n", b"hello")[0])
    assert (body, sum(portions)) == (b"hello", 5)
    body, portions = await read(
        exchange(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n")[0]
    )
    assert (body, sum(portions)) == (b"hello", 5)


async def test_a_request_without_a_body_has_an_empty_one():
    assert (await read(exchange(HEAD + b"\r\n")[0]))[0] == b""


@pytest.mark.parametrize(
    "sent", [b"Content-Length: 101\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n" + b"a\r\n0123456789\r\n" * 11]
)
async def test_a_body_that_is_too_large_is_known_before_it_is_here(sent: bytes):
    with pytest.raises(BodyTooLarge):
        await read(exchange(HEAD + sent)[0])


@pytest.mark.parametrize("sent", [b"Content-Length: 5\r\n\r\nhell", b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"])
async def test_a_body_that_does_not_end_is_cut_off(sent: bytes):
    with pytest.raises(BodyCutOff):
        await read(exchange(HEAD + sent)[0])


async def test_whoever_takes_portions_may_refuse_them():
    def full(_: int) -> None:
        raise MemoryError

    given, _ = exchange(HEAD + b"Content-Length: 5\r\n\r\nhello")
    await given.next_request()
    with pytest.raises(MemoryError):
        await given.body(100, taking=full)


async def test_who_waits_to_go_on_is_told_when_the_body_is_wanted_and_not_before():
    given, written = exchange(HEAD + b"Expect: 100-continue\r\nContent-Length: 0\r\n\r\n")
    given_up, untold = exchange(HEAD + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    await given_up.next_request()
    given_up.skip_body()
    assert untold.octets == b""
    await given.next_request()
    assert written.octets == b""
    await given.body(100, taking=lambda _: None)


async def test_a_connection_goes_on_only_after_a_whole_request():
    given, _ = exchange(HEAD + b"Content-Length: 5\r\n\r\nhello")
    await read(given)
    given.write(Page(HTTPStatus.OK, b"x"))
    given.go_on()
    assert given.open
    given, written = exchange(HEAD + b"Content-Length: 5\r\n\r\nhello")
    await given.next_request()
    given.write(refusal(HTTPStatus.UNAUTHORIZED, "no"))
    given.go_on()
    assert not given.open
    assert b"Connection: close\r\n" in written.octets


@pytest.mark.parametrize("pieces", [(b"CHECK RSPAMC/1.3\r\n",), (b"CHE", b"CK RSPAMC/1.3\r", b"\n")])
async def test_exims_line_is_a_request(pieces: tuple[bytes, ...]):
    given, written = exchange(*pieces, b"Content-length: 5\r\nFrom: <a@b>\r\n\r\nhello")
    assert (await read(given))[0] == b"hello"
    assert (given.rspamc, given.announced) == (b"CHECK", 5)
    assert given.request is not None
    assert (given.request.target, (b"from", b"<a@b>") in list(given.request.headers)) == (b"/rspamc", True)
    given.write(Page(HTTPStatus.OK, b"RSPAMD/1.3 0 EX_OK\r\n"))
    given.go_on()
    assert not given.open
    assert written.octets == b"RSPAMD/1.3 0 EX_OK\r\n"


async def test_exim_is_refused_by_what_is_no_verdict():
    given, written = exchange(b"SYMBOLS RSPAMC/1.2\n\r\n")
    await given.next_request()
    given.write(refusal(HTTPStatus.FORBIDDEN, "no"))
    assert written.octets == b"RSPAMD/1.3 1 EX_ERROR\r\nError: no\n"


@pytest.mark.parametrize(
    "sent", [b"CHECK RSPAMC/1.3", b"CHECK RSPAMC/1.3 x\r\n\r\n", b"PURGE RSPAMC/1.3\r\n\r\n", b"C" * 99]
)
async def test_what_only_looks_like_exims_line_is_no_request(sent: bytes):
    given, _ = exchange(sent)
    with pytest.raises(h11.RemoteProtocolError):
        await given.next_request()
    assert given.rspamc == b""


async def test_a_head_has_a_limit():
    given, _ = exchange(b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 2 * HEAD_BYTES)
    with pytest.raises(h11.RemoteProtocolError):
        await given.next_request()


async def test_who_leaves_without_a_word_has_no_request():
    assert await exchange()[0].next_request() is None
