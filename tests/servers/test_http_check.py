"""Messages to be checked by HTTP, and strangers who want something else."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import tracemalloc
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from gatekeeper import metrics
from gatekeeper.message.edit import Insert
from gatekeeper.model import Action, Address, Message, Reply, Verdict
from gatekeeper.records.answer import CheckResult
from gatekeeper.records.document import RecordedFinding
from gatekeeper.servers import http
from gatekeeper.servers.checking import Told
from gatekeeper.servers.http import HttpServer, Settings
from gatekeeper.servers.http_check import held
from tests.records.test_explain import ABOUT, THRESHOLDS, decision
from tests.records.test_writer import record
from tests.servers.test_http import converse, responses

MESSAGE = b"From: a@example.net\r\nSubject: x\r\n\r\nhi\r\n"
TOKEN = "0123456789abcdef0123"


def result(action: Action = Action.TAG, reply: Reply | None = None) -> CheckResult:
    verdict = Verdict(action, 7500, THRESHOLDS)
    made = record(
        id="2Q077T35R98FR1",
        action=action.word,
        decision=decision(("LISTED", 7500), action=action.word),
        findings=(RecordedFinding("LISTED", "in zen.example"),),
    )
    return CheckResult(verdict, made, reply, (Insert(0, "X-Spam-Flag", "YES"),))


@dataclass
class Judged:
    """A judge that says what it is told, and what it was asked."""

    answer: CheckResult = field(default_factory=result)
    asked: list[tuple[bytes, Told]] = field(default_factory=list)
    waiting: asyncio.Event | None = None
    error: Exception | None = None
    began: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, message: Message, told: Told) -> CheckResult:
        self.asked.append((b"".join(message.chunks()), told))
        self.began.set()
        if self.waiting is not None:
            await self.waiting.wait()
        if self.error is not None:
            raise self.error
        return self.answer


@dataclass
class Served:
    judge: Judged
    port: int
    server: HttpServer

    async def ask(self, sent: bytes) -> tuple[int, dict[str, str], Any]:
        """The one answer to these octets; its body as JSON."""
        ((status, fields, body),) = responses(await converse(self, sent), ["POST"])  # type: ignore[arg-type]  # it has a port
        return status, fields, json.loads(body)

    async def post(
        self, path: str = "/v1/check", *fields: str, message: bytes = MESSAGE
    ) -> tuple[int, dict[str, str], Any]:
        return await self.ask(post(path, *fields, message=message))


def post(path: str, *fields: str, message: bytes = MESSAGE) -> bytes:
    head = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(message)}", *fields]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + message


@contextlib.asynccontextmanager
async def serving(*, public: bool = False, **settings: Any) -> AsyncIterator[Served]:
    judge = Judged()
    with socket.create_server(("0.0.0.0" if public else "127.0.0.1", 0)) as listener:
        known = Settings(**settings)
        server = HttpServer(known, exposition=lambda: b"", unready=tuple, judge=judge, about=ABOUT)
        await server.start([listener])
        try:
            async with asyncio.timeout(60):
                yield Served(judge, listener.getsockname()[1], server)
        finally:
            await server.close()
    assert server.checks is not None
    assert server.checks.taken == 0, "memory is given back"


async def test_a_message_is_judged_and_the_verdict_is_json():
    async with serving() as served:
        status, fields, told = await served.post()
    assert (status, fields["content-type"]) == (200, "application/json")
    assert (told["id"], told["action"], told["score"]) == ("2Q077T35R98FR1", "tag", 7.5)
    assert told["findings"] == [{"rule": "LISTED", "score": 7.5, "evidence": None, "text": "in zen.example"}]
    assert (told["missing"], told["not_run"], told["reply"]) == ([], [], None)
    assert served.judge.asked == [(MESSAGE, Told())]


ENVELOPE = Told(
    address=ip_address("192.0.2.1"),
    name="mail.example.net",
    helo="helo.example",
    login="ann",
    sender=Address("a", "example.net", "a@example.net"),
    recipients=(Address("b", "example.org", "b@example.org"), Address("c", "example.org", "c@example.org")),
    queue_id="4ABC",
)


async def test_the_envelope_stands_in_fields():
    fields = (
        *("IP: 192.0.2.1", "Hostname: mail.example.net", "Helo: helo.example", "User: ann", "From: <a@example.net>"),
        *("Rcpt: b@example.org", "Rcpt: <c@example.org>", "Queue-Id: 4ABC", "Pass: all", "Settings: {}"),
    )
    async with serving() as served:
        await served.post("/v1/check", *fields)
        await served.post("/checkv2", *fields)
    assert [told for _, told in served.judge.asked] == [ENVELOPE, ENVELOPE]


async def test_the_envelope_may_stand_in_the_query_which_goes_first():
    query = (
        "ip=192.0.2.1&hostname=mail.example.net&helo=helo.example&user=ann&from=a%40example.net"
        "&rcpt=b@example.org&rcpt=c@example.org&queue_id=4ABC"
    )
    async with serving() as served:
        await served.post(f"/v1/check?{query}", "IP: 198.51.100.7")
    assert served.judge.asked[0][1] == ENVELOPE


@pytest.mark.parametrize("query", ["sender=a@example.net", "ip=1&x=2", "%ff" * 3, "&".join(["rcpt=a@b"] * 1500)])
async def test_a_query_that_says_something_else_is_refused(query: str):
    async with serving() as served:
        status, _, told = await served.post(f"/v1/check?{query}")
    assert (status, list(told)) == (400, ["error"])
    assert not served.judge.asked


async def test_rspamds_form_is_answered_in_rspamds_form():
    async with serving() as served:
        served.judge.answer = result(Action.REJECT, Reply.of(550, "5.7.1 no (id 2Q)"))
        _, _, told = await served.post("/checkv2")
    assert (told["is_skipped"], told["action"], told["score"], told["required_score"]) == (False, "reject", 7.5, 10.0)
    assert told["messages"] == {"smtp_message": "5.7.1 no (id 2Q)"}


async def test_chunks_are_put_together():
    async with serving() as served:
        head = b"POST /checkv2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        status, _, _ = await served.ask(
            head + b"10\r\n" + MESSAGE[:16] + b"\r\n%x\r\n" % len(MESSAGE[16:]) + MESSAGE[16:] + b"\r\n0\r\n\r\n"
        )
        assert status == 200
    assert served.judge.asked[0][0] == MESSAGE


async def test_several_messages_share_a_connection():
    async with serving() as served:
        answer = await converse(served, post("/v1/check") + post("/checkv2") + post("/v1/check"))  # type: ignore[arg-type]  # it has a port
    assert [status for status, _, _ in responses(answer, ["POST"] * 3)] == [200] * 3


async def test_who_waits_to_be_told_to_go_on_is_told():
    async with serving() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        head, _, body = post("/v1/check", "Expect: 100-continue").partition(b"\r\n\r\n")
        writer.write(head + b"\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        writer.close()


@pytest.mark.parametrize("fields", [("Authorization: Bearer wrong",), ("Content-Encoding: gzip",)])
async def test_who_waits_to_be_told_to_go_on_is_refused_at_once(fields: tuple[str, ...]):
    async with serving(token=TOKEN) as served:
        head, _, _ = post("/v1/check", "Expect: 100-continue", *fields).partition(b"\r\n\r\n")
        status, answered, _ = await served.ask(head + b"\r\n\r\n")
    assert (status in {401, 415}, answered["connection"]) == (True, "close")


@pytest.mark.parametrize("sent", [b"Content-Length: 101", b"Transfer-Encoding: chunked"])
async def test_a_message_that_is_too_large_is_413(sent: bytes):
    async with serving(message_size=100) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(b"POST /v1/check HTTP/1.1\r\nHost: x\r\n" + sent + b"\r\n\r\n")
        if sent.startswith(b"T"):
            for _ in range(11):
                writer.write(b"a\r\n0123456789\r\n")
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"100 octets" in answer
        writer.close()
    assert not served.judge.asked


async def test_a_message_that_arrives_too_slowly_is_408():
    async with serving(upload_timeout=0.01) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(post("/v1/check")[:-1])
        assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
        writer.close()


async def test_a_message_that_is_cut_off_is_not_judged():
    async with serving() as served:
        status, _, told = await served.ask(post("/v1/check")[:-1])
    assert (status, told) == (400, {"error": "the message was cut off"})
    assert not served.judge.asked


async def test_no_message_is_no_message():
    async with serving() as served:
        assert (await served.post(message=b""))[0] == 400


async def test_messages_together_take_so_much_memory():
    async with serving(message_size=100, message_memory=held(100) + held(0)) as served:
        served.judge.waiting = asyncio.Event()
        first = asyncio.create_task(served.post(message=b"x" * 80))
        await served.judge.began.wait()
        status, fields, _ = await served.post(message=b"y" * 80)
        assert (status, fields["retry-after"]) == (503, "5")
        served.judge.waiting.set()
        assert (await first)[0] == 200
        assert (await served.post(message=b"y" * 80))[0] == 200


@pytest.mark.parametrize("field", ["Compression: zstd", "Content-Encoding: zstd", "Key: abc"])
async def test_messages_that_are_compressed_or_encrypted_are_refused(field: str):
    async with serving() as served:
        assert (await served.post("/checkv2", field))[0] == 415


@pytest.mark.parametrize("path", ["/v1/check", "/checkv2"])
async def test_a_check_is_posted(path: str):
    async with serving() as served:
        answer = await converse(served, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())  # type: ignore[arg-type]  # it has a port
    ((status, fields, _),) = responses(answer)
    assert (status, fields["allow"]) == (405, "POST")


async def test_a_path_that_is_ours_alone_is_not_there_for_others():
    async with serving() as served:
        assert (await served.post("/rspamc"))[0] == 404


@pytest.mark.parametrize(
    ("public", "token", "fields", "status"),
    [
        (False, "", (), 200),
        (False, "", ("Authorization: Bearer whatever",), 200),
        (False, TOKEN, (), 200),
        (False, TOKEN, (f"Authorization: Bearer {TOKEN}",), 200),
        (False, TOKEN, ("Authorization: Bearer wrong",), 401),
        (False, "", ("Origin: http://evil.example",), 403),
        (True, "", (), 403),
        (True, "", (f"Authorization: Bearer {TOKEN}",), 403),
        (True, TOKEN, (), 401),
        (True, TOKEN, ("Authorization: Basic abc",), 401),
        (True, TOKEN, ("Authorization: Bearer",), 401),
        (True, TOKEN, ("Authorization: Bearer caf\u00e9",), 401),
        (True, TOKEN, (f"Password: {TOKEN}x",), 401),
        (True, TOKEN, (f"Authorization: bearer {TOKEN}",), 200),
        (True, TOKEN, (f"Password: {TOKEN}",), 200),
    ],
)
async def test_who_comes_from_elsewhere_shows_the_token(public: bool, token: str, fields: tuple[str, ...], status: int):
    async with serving(public=public, token=token) as served:
        answered, told, _ = await served.post("/checkv2", *fields)
    assert answered == status
    assert ("www-authenticate" in told) == (status == 401)
    assert bool(served.judge.asked) == (status == 200)


async def test_a_unix_socket_needs_no_token(tmp_path: Path):
    judge, known = Judged(), Settings(token=TOKEN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "http"))
        listener.listen()
        server = HttpServer(known, exposition=lambda: b"", unready=tuple, judge=judge)
        await server.start([listener])
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "http"))
        writer.write(post("/v1/check"))
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        writer.close()
        await server.close()


EXIM = (
    b"CHECK RSPAMC/1.3\r\nContent-length: %d\r\nQueue-Id: 1abcde-000001-AB\r\nFrom: <a@example.net>\r\n"
    b"Recipient-Number: 2\r\nRcpt: <b@example.org>\r\nRcpt: <c@example.org>\r\nHelo: helo.example\r\n"
    b"Hostname: mail.example.net\r\nIP: 192.0.2.1\r\nUser: ann\r\n\r\n" % len(MESSAGE)
) + MESSAGE


async def test_what_exim_asks_is_answered_as_exim_reads_it():
    async with serving() as served:
        answer = await converse(served, EXIM)  # type: ignore[arg-type]  # it has a port
    assert answer.decode().split("\r\n")[:4] == [
        "RSPAMD/1.3 0 EX_OK",
        "Metric: default; True; 7.50 / 5.00 / 10.00",
        "Action: add header",
        "Symbol: LISTED(7.5)",
    ]
    [(raw, told)] = served.judge.asked
    assert raw == MESSAGE
    assert told == Told(
        **{name: getattr(ENVELOPE, name) for name in ENVELOPE.__slots__} | {"queue_id": "1abcde-000001-AB"}
    )


async def test_exims_connection_is_closed_after_the_answer():
    async with serving() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        for n in range(len(EXIM)):
            writer.write(EXIM[n : n + 1])
            if n < 40:
                await asyncio.sleep(0)
        assert (await reader.read()).startswith(b"RSPAMD/1.3 0 EX_OK\r\n")
        writer.close()


async def test_exim_is_refused_in_words_that_are_no_verdict():
    async with serving(public=True, token=TOKEN) as served:
        answer = await converse(served, EXIM)  # type: ignore[arg-type]  # it has a port
    assert answer == b"RSPAMD/1.3 1 EX_ERROR\r\nError: a bearer token is needed here\n"


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"PING RSPAMC/1.3\r\n\r\n", b"RSPAMD/1.3 0 PONG\r\n"),
        (b"LEARN RSPAMC/1.3\r\n\r\n", b"HTTP/1.1 400 "),
        (b"CHECK RSPAMC/2.0\r\n\r\n", b"HTTP/1.1 400 "),
        (b"CHECK", b""),
        (b"CHECK RSPAMC/1.3\r\nno field\r\n\r\n", b"RSPAMD/1.3 1 EX_ERROR\r\n"),
        (b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 200 "),
    ],
)
async def test_other_requests_of_rspamds_clients(sent: bytes, answer: bytes):
    async with serving() as served:
        assert (await converse(served, sent)).startswith(answer)  # type: ignore[arg-type]  # it has a port


async def test_a_bug_in_judging_ends_that_connection_only(caplog: pytest.LogCaptureFixture):
    async with serving() as served:
        served.judge.error = RuntimeError("a bug")
        assert await converse(served, post("/v1/check")) == b""  # type: ignore[arg-type]  # it has a port
        served.judge.error = None
        assert (await served.post())[0] == 200
    assert "session_failed" in caplog.messages


# --- the end of the server ---------------------------------------------------------------------------------------


async def until(true: Callable[[], object]) -> None:
    while not true():  # noqa: ASYNC110  what is waited for has no event
        await asyncio.sleep(0)


async def talk(served: Served, sent: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(sent)
    return reader, writer


@contextlib.asynccontextmanager
async def draining(served: Served, seconds: float = 60.0) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(served.server.drain(seconds))
    await until(lambda: not served.server._sockets)  # nobody can come any more
    yield task
    await task


async def test_a_check_under_way_is_answered_before_the_end():
    async with serving() as served:
        served.judge.waiting = asyncio.Event()
        reader, writer = await talk(served, post("/v1/check"))
        exim, exims = await talk(served, EXIM)
        await until(lambda: len(served.judge.asked) == 2)
        async with draining(served) as end:
            with pytest.raises(ConnectionError):
                await talk(served, b"")
            assert not end.done()
            served.judge.waiting.set()
            ((status, fields, body),) = responses(await reader.read(), ["POST"])
            assert (status, fields["connection"]) == (200, "close")
            assert json.loads(body)["action"] == "tag"
            assert (await exim.read()).startswith(b"RSPAMD/1.3 0 EX_OK\r\n")
        for each in (writer, exims):
            each.close()


@pytest.mark.parametrize("cut", [20, -5], ids=["in its head", "in its body"])
async def test_a_request_of_which_something_has_come_is_waited_for(cut: int):
    sent = post("/v1/check")
    async with serving() as served:
        reader, writer = await talk(served, sent[:cut])
        await until(lambda: any(each.reader.heard for each in served.server._open.values()))
        async with draining(served):
            writer.write(sent[cut:])
            ((status, fields, _),) = responses(await reader.read(), ["POST"])
            assert (status, fields["connection"]) == (200, "close")
            writer.close()


async def test_an_idle_client_is_hung_up_on_and_what_it_sent_ahead_is_not_begun():
    async with serving() as served:
        idle, one = await talk(served, b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"pong" in await idle.readuntil(b"pong\r\n")
        served.judge.waiting = asyncio.Event()
        ahead, two = await talk(served, post("/v1/check") + post("/v1/check"))
        await served.judge.began.wait()
        async with draining(served):
            assert await idle.read() == b""
            served.judge.waiting.set()
            ((status, fields, _),) = responses(await ahead.read(), ["POST"])
            assert (status, fields["connection"]) == (200, "close")
        assert len(served.judge.asked) == 1
        for each in (one, two):
            each.close()


async def test_a_client_that_was_let_in_may_ask_and_one_that_says_nothing_is_hung_up_on(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(http, "FIRST_REQUEST_SECONDS", 0.2)
    async with serving() as served:
        reader, writer = await talk(served, b"")
        silent, other = await talk(served, b"")
        async with draining(served):
            writer.write(post("/v1/check"))
            assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
            assert await silent.read() == b""
        for each in (writer, other):
            each.close()


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (post("/v1/check"), b"HTTP/1.1 503 "),
        (post("/v1/check")[:-3], b"HTTP/1.1 503 "),
        (EXIM, b"RSPAMD/1.3 1 EX_ERROR\r\n"),
    ],
)
async def test_whoever_has_no_answer_in_time_is_told_to_come_again(sent: bytes, told: bytes):
    async with serving() as served:
        served.judge.waiting = asyncio.Event()
        reader, writer = await talk(served, sent)
        checks = served.server.checks
        await until(lambda: checks is not None and checks.taken)
        if sent.endswith(MESSAGE):
            await served.judge.began.wait()
        before = metrics.HTTP_CHECKS["shutdown"]._value.get()
        await served.server.drain(0.0)
        answer = await reader.read()
        assert answer.startswith(told)
        assert metrics.HTTP_CHECKS["shutdown"]._value.get() == before + 1
        writer.close()


async def test_the_memory_counted_is_what_a_check_holds():
    size = 8_000_000
    raw = b"From: a@example.net\r\n\r\n" + b"x" * 998 * (size // 1000) + b"\r\n"
    async with serving(message_size=10_000_000, message_memory=held(10_000_000)) as served:
        served.judge.waiting = asyncio.Event()
        _, writer = await talk(served, b"")
        tracemalloc.start()
        try:
            head = f"POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Length: {len(raw)}\r\n\r\n"
            before = tracemalloc.get_traced_memory()[0]
            writer.write(head.encode())
            view = memoryview(raw)
            for at in range(0, len(raw), 65536):
                writer.write(view[at : at + 65536])
                await writer.drain()
            await served.judge.began.wait()
            served.judge.asked.clear()
            now, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert served.server.checks is not None
        taken = served.server.checks.taken
        assert taken == held(len(raw))
        assert now - before <= taken
        assert peak - before <= taken + len(raw)  # the copy of this test's judge
        served.judge.waiting.set()
        writer.close()
