"""Pages for monitoring, and strangers who do not want pages."""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Sequence

import h11
import pytest

from gatekeeper.servers.http import HttpServer, Settings, is_private


class Served:
    """A running server and what its pages are made from."""

    def __init__(self) -> None:
        self.unready: list[str] = []
        self.page = b"# HELP x X.\n"
        self.port = 0


Serve = Callable[..., contextlib.AbstractAsyncContextManager[Served]]


@pytest.fixture
def serve() -> Serve:
    @contextlib.asynccontextmanager
    async def serving(settings: Settings | None = None) -> AsyncIterator[Served]:
        served = Served()
        listener = socket.create_server(("127.0.0.1", 0))
        served.port = listener.getsockname()[1]
        server = HttpServer(
            settings or Settings(), exposition=lambda: served.page, unready=lambda: tuple(served.unready)
        )
        await server.start([listener])
        try:
            yield served
        finally:
            await server.close()
            await server.close()

    return serving


async def converse(served: Served, sent: bytes) -> bytes:
    """Everything that is answered to what was sent, until the server hangs up or our side was closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(sent)
    writer.write_eof()
    async with asyncio.timeout(20):
        answer = await reader.read()
    writer.close()
    return answer


def responses(answer: bytes, methods: Sequence[str] = ("GET",)) -> list[tuple[int, dict[str, str], bytes]]:
    """The answers on one connection, read by a strict client."""
    client = h11.Connection(h11.CLIENT)
    client.receive_data(answer)
    found = []
    for method in methods:
        client.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        client.send(h11.EndOfMessage())
        response = client.next_event()
        assert isinstance(response, h11.Response)
        body = b""
        while isinstance(event := client.next_event(), h11.Data):
            body += event.data
        assert isinstance(event, h11.EndOfMessage)
        found.append((response.status_code, {k.decode(): v.decode() for k, v in response.headers}, body))
        if client.our_state is client.their_state is h11.DONE:
            client.start_next_cycle()
    return found


async def get(served: Served, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    answer = await converse(served, f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return responses(answer, [method])[0]


async def test_the_metrics_page_is_what_prometheus_reads(serve: Serve):
    async with serve() as served:
        status, fields, body = await get(served, "/metrics?x=1")
    assert (status, body) == (200, served.page)
    assert fields["content-type"].startswith("text/plain; version=0.0.4")
    assert fields["cache-control"] == "no-store"


async def test_healthz_says_that_the_process_lives(serve: Serve):
    async with serve() as served:
        served.unready = ["worker"]
        assert (await get(served, "/healthz"))[::2] == (200, b"alive\n")


async def test_readyz_is_503_and_says_why_until_every_part_is_ready(serve: Serve):
    async with serve() as served:
        served.unready = ["next_hop", "store"]
        status, fields, body = await get(served, "/readyz")
        assert (status, fields["content-type"]) == (503, "application/json")
        assert json.loads(body) == {
            "ready": False,
            "why": {
                "next_hop": "the next hop has not answered",
                "store": "the store does not answer; memory takes over",
            },
        }
        served.unready = []
        status, _, body = await get(served, "/readyz")
        assert (status, json.loads(body)) == (200, {"ready": True, "why": {}})


async def test_ping_is_answered_as_rspamd_does(serve: Serve):
    async with serve() as served:
        assert (await get(served, "/ping"))[::2] == (200, b"pong\r\n")


@pytest.mark.parametrize("path", ["/v1/check", "/checkv2", "/rspamc"])
async def test_without_a_judge_no_message_is_checked(serve: Serve, path: str):
    async with serve() as served:
        assert (await get(served, path))[0] == 404


@pytest.mark.parametrize(
    ("address", "private"), [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("0.0.0.0", False), ("::", False)]
)
def test_a_listener_is_private_where_only_this_machine_reaches_it(address: str, private: bool):
    class Listener(socket.socket):
        def getsockname(self) -> tuple[str, int]:
            return address, 8025

    with Listener(socket.AF_INET) as listener:
        assert is_private(listener) is private


async def test_head_has_the_fields_of_get_and_no_body(serve: Serve):
    async with serve() as served:
        status, fields, body = await get(served, "/metrics", "HEAD")
    assert (status, body, fields["content-length"]) == (200, b"", str(len(served.page)))


async def test_several_requests_share_a_connection(serve: Serve):
    one = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    async with serve() as served:
        answer = await converse(served, one * 3)
    assert [status for status, _, _ in responses(answer, ["GET"] * 3)] == [200] * 3


async def test_http_1_0_is_answered_and_closed(serve: Serve):
    async with serve() as served:
        ((status, fields, _),) = responses(await converse(served, b"GET /healthz HTTP/1.0\r\n\r\n"))
    assert (status, fields["connection"]) == (200, "close")


@pytest.mark.parametrize("path", ["/", "/metrics/", "/../metrics", "//metrics", "/%6detrics", "http://x/metrics", "*"])
async def test_there_are_no_other_pages(serve: Serve, path: str):
    async with serve() as served:
        assert (await get(served, path))[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "X"])
async def test_other_methods_are_405(serve: Serve, method: str):
    async with serve() as served:
        status, fields, _ = await get(served, "/metrics", method)
    assert (status, fields["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("body", [b"Content-Length: 5\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\nzz"])
async def test_a_body_is_not_read_and_ends_the_connection(serve: Serve, method: str, body: bytes):
    async with serve() as served:
        answer = await converse(served, method.encode() + b" /healthz HTTP/1.1\r\nHost: x\r\n" + body)
    ((status, fields, _),) = responses(answer, [method])
    assert (status, fields["connection"]) == (405 if method == "POST" else 200, "close")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\r\n\r\n\r\n", 400),
        (b"EHLO mx.example.org\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),  # TLS
        (b"GET /healthz HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 5_000 + b"\r\n", 431),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    ],
)
async def test_what_is_not_a_request_is_refused_and_hung_up_on(serve: Serve, sent: bytes, status: int):
    async with serve() as served:
        ((answered, fields, body),) = responses(await converse(served, sent))
    assert (answered, fields["connection"]) == (status, "close")
    assert b"example" not in body


@pytest.mark.parametrize("sent", [b"", b"GET /healthz", b"GET /healthz HTTP/1.1\r\nHost: x\r\n"])
async def test_a_client_that_leaves_early_is_let_go(serve: Serve, sent: bytes):
    async with serve() as served:
        answer = await converse(served, sent)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")
        assert (await get(served, "/healthz"))[0] == 200


async def test_a_client_that_goes_on_sending_after_a_refusal_gets_it_all_the_same(serve: Serve):
    async with serve() as served, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(b"nonsense\r\n\r\n" + b"a" * 50_000)
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        writer.close()


async def test_a_crowd_far_beyond_the_limit_is_hung_up_on_at_once(serve: Serve):
    async with serve(Settings(connections=1)) as served, asyncio.timeout(20):
        talks = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(3)]
        assert await talks[2][0].read() == b""
        for _, writer in talks:
            writer.close()


async def test_a_client_that_never_finishes_its_request_is_cut_off(serve: Serve):
    async with serve(Settings(timeout=0.05)) as served, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        assert await reader.read() == b""
        writer.close()


async def test_a_client_that_does_not_read_is_cut_off(serve: Serve):
    async with serve(Settings(timeout=0.2, connections=1)) as served, asyncio.timeout(20):
        served.page = b"x" * 50_000_000
        _, writer = await asyncio.open_connection("127.0.0.1", served.port, limit=1024)  # takes no more than that
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await get(served, "/healthz"))[0] == 503
        while (await get(served, "/healthz"))[0] != 200:
            pass
        writer.close()


class Stuck(list[str]):
    """Is not read before it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()

    def __iter__(self):
        self.let_go.wait(20)
        return iter(())


async def test_a_page_that_takes_too_long_ends_the_connection(serve: Serve):
    async with serve(Settings(timeout=0.05)) as served, asyncio.timeout(20):
        served.unready = stuck = Stuck()
        assert await converse(served, b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n") == b""
        stuck.let_go.set()


async def test_one_connection_too_many_is_answered_503(serve: Serve):
    async with serve(Settings(connections=1)) as served, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        answer = await converse(served, b"")
        ((status, fields, _),) = responses(answer)
        assert (status, fields["connection"]) == (503, "close")
        writer.close()
        await writer.wait_closed()


async def test_a_bug_in_a_page_ends_that_connection_only(serve: Serve, caplog: pytest.LogCaptureFixture):
    async with serve() as served:
        served.page = None  # type: ignore[assignment]  # that is the bug
        assert await converse(served, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n") == b""
        assert (await get(served, "/healthz"))[0] == 200


async def test_closing_cuts_off_idle_connections(serve: Serve):
    async with serve() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"alive\n")
    async with asyncio.timeout(20):
        assert await reader.read() == b""
    writer.close()


@pytest.mark.parametrize(
    ("wrong", "mend"),
    [
        ({"listen": ("8025",)}, "127.0.0.1:25"),
        ({"timeout": 0.0}, "10s"),
        ({"upload_timeout": 0.0}, "60s"),
        ({"message_size": 0}, "64MiB"),
        ({"message_size": 1 << 20, "message_memory": 2 << 20}, "3MiB"),
        ({"token": "short"}, "openssl rand"),
        ({"token": "caf\u00e9 au lait, twice"}, "openssl rand"),
        ({"connections": 0}, "between 1 and"),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, object], mend: str):
    with pytest.raises(ValueError) as refused:
        Settings(**wrong)  # type: ignore[arg-type]  # a table of wrong values
    assert mend in str(refused.value)
