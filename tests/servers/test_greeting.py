"""The pause in the greeting: who waits, who is turned away, who never notices it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from gatekeeper import metrics
from gatekeeper.model import Action, Stage
from gatekeeper.servers import greeting
from gatekeeper.servers.greeting import Greeter
from gatekeeper.servers.overload import Gauges, Level
from tests.servers.proxy import HELLO, Proxy, proxy
from tests.support.smtp_client import GONE, SmtpClient

STRANGER = b"PROXY TCP4 198.51.100.7 192.0.2.2 40000 25\r\n"
NEIGHBOUR = b"PROXY TCP4 198.51.100.8 192.0.2.2 40000 25\r\n"
INSIDE = b"PROXY TCP4 10.1.2.3 192.0.2.2 40000 25\r\n"
LONG, SHORT = 50.0, 0.01
TEASER, GREETING = "220-mx.example.org ESMTP", "220 mx.example.org ESMTP"


@contextlib.asynccontextmanager
async def door(delay: float = LONG, **settings: Any) -> AsyncIterator[tuple[Proxy, int]]:
    """A proxy that takes PROXY headers at a port, so that clients seem to come from anywhere."""
    options = {"trust": ("127.0.0.1/32",), "greeting_delay": delay, **settings}
    async with proxy(**options) as p:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            await p.server.start([sock], "proxy_listen")
            yield p, sock.getsockname()[1]
            await p.server.stop_accepting()


def count(result: str) -> float:
    return metrics.REGISTRY.get_sample_value("gatekeeper_greetings_total", {"result": result}) or 0.0


@contextlib.contextmanager
def counted(result: str, times: int = 1):
    before = count(result)
    yield
    assert count(result) - before == times


async def line(client: SmtpClient) -> str:
    return (await asyncio.wait_for(client.reader.readline(), 20)).decode().strip()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - there is nothing to wait for but the loop
            await asyncio.sleep(0)


async def test_a_stranger_hears_the_rest_of_the_greeting_after_a_pause_and_its_mail_is_taken():
    async with door(SHORT) as (p, port), SmtpClient(port, first=STRANGER) as client:
        with counted("waited", 0):
            assert client.greeting == f"{TEASER}\n{GREETING}"
            assert (await client(HELLO))[:3] == "250"
            assert (await client.mail())[:3] == "250"
        session = p.gate.sessions[-1]
        assert (str(session.address), session.familiar, session.spoke_early) == ("198.51.100.7", False, None)


async def test_who_speaks_into_the_pause_is_turned_away_without_a_session():
    async with door() as (p, port), SmtpClient(port, first=STRANGER, greet=False) as client:
        assert await line(client) == TEASER
        with counted("early"):
            client.send("EHLO zombie\r\nMAIL FROM:<a@b.example>\r\n")
            assert (await line(client))[:3] == "421"
            assert await line(client) == ""
        assert p.gate.turned_away == [(None, "EHLO zombie\r\nMAIL FROM:<a@b.example>\r\n", None)]
        assert p.gate.judged == []
        assert p.server.sessions == 0
        assert p.hop.connections <= 1  # the probe


async def test_who_speaks_before_the_first_line_is_too():
    async with door() as (p, port), SmtpClient(port, first=STRANGER + b"EHLO zombie\r\n", greet=False) as client:
        assert (await line(client))[:3] == "421"
        assert await line(client) == ""
        assert p.gate.turned_away == [(None, "EHLO zombie\r\n", None)]


@pytest.mark.parametrize(
    ("said", "protocol"), [(b"GET / HTTP/1.1\r\n\r\n", "http"), (b"\x16\x03\x01\x02\x00\x01", "tls")]
)
async def test_other_protocols_are_told_once(said, protocol):
    async with door() as (p, port), SmtpClient(port, first=STRANGER, greet=False) as client:
        assert await line(client) == TEASER
        with counted("not_smtp"):
            client.send(said)
            assert (await line(client))[:3] == "421"
        assert p.gate.turned_away[0][0] == protocol


async def test_where_early_talking_only_counts_the_client_waits_on_and_is_heard_afterwards():
    async with door(SHORT) as (p, port):
        p.gate.patient = True
        async with SmtpClient(port, first=STRANGER + b"EHLO client.example.net\r\n") as client:
            assert client.greeting.endswith(GREETING)
            assert (await client.reply())[:4] == "250-"
            assert p.gate.sessions[-1].spoke_early == "EHLO client.example.net\r\n"
            assert (await client.mail())[:3] == "250"
        assert not p.server._greeter._passed


async def test_whose_mail_was_wanted_before_does_not_wait_and_may_speak_at_once():
    async with door() as (p, port):
        p.gate.known.add("198.51.100.7")
        with counted("familiar"):
            async with SmtpClient(port, first=STRANGER + b"EHLO client.example.net\r\n") as client:
                assert client.greeting == GREETING
                assert (await client.reply())[:4] == "250-"
                assert p.gate.sessions[-1].familiar is True


async def test_who_has_waited_does_not_wait_again_and_nor_does_its_64():
    async with door(SHORT) as (p, port):
        async with SmtpClient(port, first=STRANGER) as client:
            assert client.greeting.startswith(TEASER)
        with counted("passed"):
            async with SmtpClient(port, first=STRANGER) as client:
                assert client.greeting == GREETING
        async with SmtpClient(port, first=NEIGHBOUR) as client:
            assert client.greeting.startswith(TEASER)
        assert p.gate.looked_up == [["198.51.100.7"], ["198.51.100.7"], ["198.51.100.8"]]


async def test_nobody_from_inside_waits_nor_whoever_is_exempt_nor_anybody_where_it_is_switched_off():
    async with door(greeting_exempt=("198.51.100.8/32",)) as (p, port):
        for first in (INSIDE, NEIGHBOUR):
            async with SmtpClient(port, first=first) as client:
                assert client.greeting == GREETING
        async with p.client() as client:
            assert client.greeting == GREETING
    async with door(0.0) as (p, port), SmtpClient(port, first=STRANGER) as client:
        assert client.greeting == GREETING
        assert p.gate.looked_up == []


async def test_clients_that_come_together_are_looked_up_together():
    async with door(SHORT) as (p, port):
        clients = [SmtpClient(port, first=STRANGER) for _ in range(20)]
        async with contextlib.AsyncExitStack() as stack:
            await asyncio.gather(*(stack.enter_async_context(client) for client in clients))
        assert sum(map(len, p.gate.looked_up)) == 20
        assert len(p.gate.looked_up) < 20


async def test_a_client_that_leaves_the_pause_costs_nothing_more():
    async with door() as (p, port):
        with counted("left", 2):
            async with SmtpClient(port, first=STRANGER, greet=False) as client:
                assert await line(client) == TEASER
                client.half_close()
                assert await line(client) == ""
            async with SmtpClient(port, first=STRANGER, greet=False) as client:
                assert await line(client) == TEASER
                client.reset()
                await until(lambda: not p.server._greeter.waiting)
        assert p.server._admission.open == 0
        assert p.gate.sessions == []


async def test_a_drain_lets_those_that_wait_have_a_mail():
    async with door() as (p, port), SmtpClient(port, greet=False) as later:
        async with SmtpClient(port, first=STRANGER, greet=False) as client:
            assert await line(client) == TEASER
            await until(lambda: p.server.arriving == 2)
            drained = asyncio.ensure_future(p.server.drain(30))
            await asyncio.sleep(0)
            [waiting] = p.server._greeter.waiting
            waiting._waited()
            later.send(INSIDE)
            for each in (client, later):
                assert await line(each) == GREETING
                await each(HELLO)
                assert (await each.mail())[:3] == "250"
                assert (await each.reply())[:9] == "421 4.3.2"
                each.writer.close()
            await drained
            assert p.server.sessions == p.server.arriving == p.server._admission.open == 0


async def test_a_drain_that_is_over_tells_those_that_wait():
    async with door() as (p, port), SmtpClient(port, greet=False) as silent:
        async with SmtpClient(port, first=STRANGER, greet=False) as client:
            assert await line(client) == TEASER
            await until(lambda: p.server.arriving == 2)
            await p.server.drain(0.01)
            assert (await line(client))[:9] == "421 4.3.2"
            assert await line(client) == ""
            assert await silent.gone()
            assert p.server.arriving == 0


async def test_a_block_is_said_at_the_end_of_the_greeting():
    async with door(SHORT) as (p, port):
        p.gate.say(Stage.CONNECT, Action.DROP)
        async with SmtpClient(port, first=STRANGER, greet=False) as client:
            assert await line(client) == TEASER
            assert (await line(client))[:3] == "421"
            assert await line(client) == ""


@pytest.mark.parametrize("where", ["familiar", "turn_away", "session"])
async def test_a_bug_before_there_is_a_session_ends_one_client_at_most(monkeypatch, where):
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret")

    async with door(SHORT, bugs=True) as (p, port):
        monkeypatch.setattr(p.server if where == "session" else p.gate, where, broken)
        first = STRANGER + (b"EHLO zombie\r\n" if where == "turn_away" else b"")
        async with SmtpClient(port, first=first, greet=False) as client:
            if where == "familiar":
                assert await line(client) == TEASER
                assert await line(client) == GREETING
            else:
                if where == "session":
                    assert await line(client) == TEASER
                assert (await line(client))[:9] == "421 4.3.0"
                assert await line(client) == ""
        monkeypatch.undo()
        async with SmtpClient(port, first=NEIGHBOUR) as client:
            assert client.greeting.endswith(GREETING)
        await until(lambda: p.server.sessions <= 1)


# --- bounds ----------------------------------------------------------------------------------------------------------


async def test_a_flood_into_the_pause_is_not_kept():
    async with door() as (p, port):
        p.gate.patient = True
        async with SmtpClient(port, first=STRANGER, greet=False) as client:
            assert await line(client) == TEASER
            client.send(b"x" * 200_000)
            await until(lambda: any(one._first for one in p.server._greeter.waiting))
            (one,) = p.server._greeter.waiting
            for _ in range(50):
                await asyncio.sleep(0)
            assert len(one._first) < 300_000
            assert one._transport is not None
            assert not one._transport.is_reading()
            client.reset()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_who_has_waited_is_forgotten_after_a_while_and_the_oldest_first_where_there_are_too_many(monkeypatch):
    from ipaddress import ip_address

    monkeypatch.setattr(greeting, "REMEMBERED", 3)
    clock = Clock()
    greeter = Greeter(None, hostname="x", delay=1.0, passed_for=60.0, clock=clock)  # type: ignore[arg-type]
    addresses = [ip_address(f"192.0.2.{n}") for n in range(5)]
    for address in addresses:
        greeter.passed(address)
    assert [greeter.has_waited(address) for address in addresses] == [False, False, True, True, True]
    clock.now += 61.0
    assert not any(greeter.has_waited(address) for address in addresses)
    assert len(greeter._passed) == 0
    greeter.passed(ip_address("2001:db8::1"))
    assert greeter.has_waited(ip_address("2001:db8::ffff"))  # one client moves through its /64


# --- overload --------------------------------------------------------------------------------------------------------


async def test_under_pressure_strangers_are_put_off_first_and_those_whose_mail_is_wanted_last():
    async with door(SHORT) as (p, port):
        p.gate.known.add("198.51.100.8")
        p.server.overload.take(Gauges(memory=0.8), now=1.0)
        async with SmtpClient(port, first=STRANGER) as client, SmtpClient(port, first=NEIGHBOUR) as known:
            assert client.greeting[:9] == "421 4.3.2"
            assert await client.gone()
            assert known.greeting == GREETING
            assert (await known(HELLO))[:3] == "250"
            assert (await known.mail())[:3] == "250"
        p.server.overload.take(Gauges(memory=1.0), now=2.0)
        async with SmtpClient(port, first=NEIGHBOUR) as known, p.client() as ours:
            assert known.greeting[:9] == "421 4.3.2"
            assert ours.greeting[:9] == "421 4.3.2"
        p.server.overload.take(Gauges(), now=3.0)
        p.server.overload.take(Gauges(), now=9.0)
        async with SmtpClient(port, first=STRANGER) as client:
            assert client.greeting.endswith(GREETING)


async def test_a_pressure_that_comes_during_the_pause_or_the_session_is_felt_too():
    async with door(SHORT) as (p, port), SmtpClient(port, first=STRANGER) as client:
        assert (await client(HELLO))[:3] == "250"
        p.server.overload.take(Gauges(sessions=0.8), now=1.0)
        assert (await client("MAIL FROM:<s@example.net>"))[:9] == "451 4.3.2"
        assert p.server.overload.level is Level.STRAINED


async def test_room_is_made_by_strangers_that_only_idle(monkeypatch):
    monkeypatch.setattr("gatekeeper.servers.smtp_server.GIVES_WAY", -1.0)
    async with door(SHORT) as (p, port), SmtpClient(port, first=STRANGER) as client:
        p.gate.known.add("198.51.100.8")
        async with SmtpClient(port, first=NEIGHBOUR) as known, SmtpClient(port, first=STRANGER) as busy:
            assert (await busy(HELLO))[:3] == "250"
            assert (await busy("MAIL FROM:<s@example.net>"))[:3] == "250"
            p.server.overload.take(Gauges(sessions=0.8), now=1.0)
            assert (await client.reply())[:9] == "421 4.3.2"
            assert (await known(HELLO))[:3] == "250"
            assert (await busy("RCPT TO:<one@example.org>"))[:3] == "250"


# --- a client that does not wait for its turn later ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("burst", "verb"),
    [
        ("EHLO client.example.net\r\nMAIL FROM:<s@example.net>\r\n", "EHLO"),
        ("HELO client.example.net\r\nMAIL FROM:<s@example.net>\r\n", "HELO"),
        ("NOOP\r\nEHLO client.example.net\r\nMAIL FROM:<s@example.net>\r\n", "NOOP"),
    ],
)
async def test_commands_ahead_of_ehlos_answer_are_a_fact_that_drops(burst, verb):
    async with door(SHORT) as (p, port), SmtpClient(port, first=STRANGER) as client:
        client.send(burst)
        while (said := await client.reply())[:3] == "250":
            pass
        assert said[:3] == "421"
        assert await client.reply() == GONE
        assert p.gate.turned_away == [(None, None, verb)]


async def test_behind_helo_nothing_may_be_pipelined_and_behind_data_nothing_at_all():
    async with door(SHORT) as (p, port):
        p.gate.patient = True
        async with SmtpClient(port, first=STRANGER) as client:
            await client.say("HELO client.example.net")
            await client.burst("MAIL FROM:<s@example.net>", "RCPT TO:<one@example.org>")
            assert p.gate.sessions[-1].pipelined == "MAIL"
        async with SmtpClient(port, first=STRANGER) as client:
            await client.say(HELLO)
            client.send(
                "MAIL FROM:<s@example.net>\r\nRCPT TO:<one@example.org>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\n"
            )
            assert [(await client.reply())[:3] for _ in range(4)] == ["250", "250", "354", "250"]
            assert p.gate.sessions[-1].pipelined == "DATA"


async def test_groups_that_rfc_2920_allows_are_no_fact_and_nor_is_anything_from_inside():
    async with door(SHORT) as (p, port):
        async with SmtpClient(port, first=STRANGER) as client:
            await client.say(HELLO)
            await client.burst("RSET", "MAIL FROM:<s@example.net>", "RCPT TO:<one@example.org>", "DATA")
            client.send(
                "Subject: x\r\n\r\nx\r\n.\r\nMAIL FROM:<s@example.net>\r\nRCPT TO:<one@example.org>\r\nQUIT\r\n"
            )
            assert [(await client.reply())[:3] for _ in range(4)] == ["250", "250", "250", "221"]
            assert p.gate.sessions[-1].pipelined is None
        async with SmtpClient(port, first=INSIDE) as client:
            await client.burst(HELLO, "MAIL FROM:<s@example.net>")
            assert p.gate.sessions[-1].pipelined is None
