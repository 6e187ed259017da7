"""STARTTLS: what it changes, what it forgets, and who tries to get around it."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gatekeeper import metrics
from gatekeeper.model import Stage
from tests.servers.proxy import HELLO, Proxy, proxy
from tests.support.certificates import Authority
from tests.support.next_hop import ALL, XCLIENT, FakeNextHop

MAIL = "MAIL FROM:<s@example.net>"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def context(authority: Authority) -> ssl.SSLContext:
    return authority.client()


@pytest.fixture
async def p(authority: Authority) -> AsyncIterator[Proxy]:
    async with proxy(tls=authority.tls()) as made:
        yield made


def counted(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


# --- STARTTLS --------------------------------------------------------------------------------------------------------


async def test_a_mail_over_starttls_tells_of_it_in_received_and_in_the_session(p, context):
    async with p.client() as client:
        assert "STARTTLS" in await client(HELLO)
        await client.start_tls(context)
        assert "STARTTLS" not in await client(HELLO)
        assert (await client.mail())[:3] == "250"
        session = p.gate.sessions[0]
        assert session.tls is not None
        assert session.tls.version == "TLSv1.3"
        assert await client("QUIT") == "221 2.0.0 Bye"
    received = p.hop.messages[0].data.partition(b";")[0]
    assert b"(using TLSv1.3 with cipher %s (%d bits))" % (session.tls.cipher.encode(), session.tls.bits) in received
    assert b" with ESMTPS id " in received


async def test_it_tells_of_tls_even_where_the_next_hop_writes_the_clients_received_field(authority, context):
    hop = FakeNextHop(capabilities={**ALL, **XCLIENT})
    async with proxy(hop=hop, tls=authority.tls()) as p, p.client() as client:
        await client(HELLO)
        await client.start_tls(context)
        await client(HELLO)
        assert (await client.mail())[:3] == "250"
    assert b"using TLSv1.3" in p.hop.messages[0].data


async def test_what_was_said_before_is_forgotten(p, context):
    async with p.client() as client:
        await client("EHLO clear.example.net")
        await client.start_tls(context)
        assert await client(MAIL) == "503 5.5.1 Say EHLO first"
        await client("HELO tls.example.net")
        assert (await client.mail())[:3] == "250"
    assert {helo for stage, _, helo in p.gate.seen if stage == Stage.MAIL} == {"tls.example.net"}
    assert b"with SMTP id" in p.hop.messages[0].data


async def test_a_client_that_was_judged_by_its_first_name_is_judged_anew(p, context):
    async with p.client() as client:
        await client("EHLO clear.example.net")
        await client.say(MAIL, "RSET")
        p.gate.sessions[0].notebook.done.add(Stage.HELO)  # as a gate does
        renewed = p.gate.renewed
        await client.start_tls(context)
        assert p.gate.renewed == renewed + 1


@pytest.mark.parametrize(
    ("before", "command", "answer"),
    [
        ((HELLO,), "STARTTLS now", "501 5.5.4 Syntax: STARTTLS"),
        ((HELLO, MAIL), "STARTTLS", "503 5.5.1 Not during a mail"),
    ],
)
async def test_starttls_out_of_place_changes_nothing(p, before, command, answer):
    async with p.client() as client:
        await client.say(*before)
        assert await client(command) == answer
        assert await client("NOOP") == "250 2.0.0 Ok"


async def test_starttls_is_had_once(p, context):
    async with p.client() as client:
        await client.start_tls(context)
        assert await client("STARTTLS") == "503 5.5.1 TLS is there already"


async def test_without_a_certificate_it_is_neither_offered_nor_taken():
    async with proxy() as p, p.client() as client:
        assert "STARTTLS" not in await client(HELLO)
        assert await client("STARTTLS") == "502 5.5.1 Command not implemented"


async def test_where_tls_is_required_there_is_no_mail_without(authority, context):
    async with proxy(tls=authority.tls(required=True)) as p, p.client() as client:
        await client(HELLO)
        assert await client(MAIL) == "530 5.7.0 Say STARTTLS first"
        await client.start_tls(context)
        await client(HELLO)
        assert (await client.mail())[:3] == "250"


async def test_two_megabytes_and_a_pipelined_burst_pass_over_tls(p, context):
    async with p.client() as client:
        await client.start_tls(context)
        await client(HELLO)
        answers = await client.burst(MAIL, "RCPT TO:<one@example.org>", "DATA")
        assert [answer[:3] for answer in answers] == ["250", "250", "354"]
        text = (b"y" * 76 + b"\r\n") * 27_000
        assert (await client.message(b"Subject: x\r\n\r\n" + text))[:3] == "250"
    assert p.hop.messages[0].data.endswith(text)


# --- hostile ---------------------------------------------------------------------------------------------------------


async def test_text_injected_behind_starttls_is_thrown_away_and_counted(p, context, caplog):
    before = counted("gatekeeper_starttls_injections_total")
    with caplog.at_level(logging.WARNING, "gatekeeper"):
        async with p.client() as another:
            await another(HELLO)
            another.send("STARTTLS\r\nNOOP\r\n")
            assert await another.reply() == "220 2.0.0 Ready to start TLS"
        async with p.client() as client:
            await client(HELLO)
            client.send("STARTTLS\r\nEHLO evil.example.net\r\nMAIL FROM:<evil@example.net>\r\nRCPT TO:<one@exam")
            assert await client.reply() == "220 2.0.0 Ready to start TLS"
            await client.shake_hands(context)
            assert await client("NOOP") == "250 2.0.0 Ok"
            assert await client(MAIL) == "503 5.5.1 Say EHLO first"
            await client(HELLO)
            assert (await client.mail())[:3] == "250"
    assert [message.sender for message in p.hop.messages] == ["s@example.net"]
    assert "evil" not in str(p.gate.seen)
    assert counted("gatekeeper_starttls_injections_total") == before + 2
    assert [record.message for record in caplog.records].count("starttls_injection") == 1, "folded"


@pytest.mark.parametrize(
    "octets",
    [
        b"EHLO client.example.net\r\n",
        b"\0" * 2000,
        b"\x16\x03\x01\xff\xff" + b"\xff" * 2000,
        b"\x80\x2e\x01\x00\x02" + b"\0" * 50,  # SSLv2
        b"\x15\x03\x01\x00\x02\x02\x28",  # an alert
    ],
)
async def test_garbage_in_the_handshake_ends_the_session_alone(p, octets):
    async with p.client() as client, p.client() as other:
        assert (await client("STARTTLS"))[:3] == "220"
        client.send(octets)
        client.half_close()
        while (await client.reader.read(1000)) != b"":
            pass
        await p.gate.until("left")
        await other(HELLO)
        assert (await other.mail())[:3] == "250"


async def test_a_client_that_stops_in_the_handshake_is_cut_off(authority):
    before = counted("gatekeeper_tls_handshakes_total", result="late")
    async with proxy(tls=authority.tls(handshake_timeout=0.05)) as p, p.client() as client:
        assert (await client("STARTTLS"))[:3] == "220"
        client.send(b"\x16\x03\x01\x02\x00\x01")
        assert await client.reader.read() == b""
        await p.gate.until("left")
    assert counted("gatekeeper_tls_handshakes_total", result="late") == before + 1


async def test_a_drain_does_not_wait_for_a_handshake(p):
    async with p.client() as client:
        assert (await client("STARTTLS"))[:3] == "220"
        await p.server.drain(0.001)
        assert await client.reader.read() == b""
        assert p.server.sessions == 0


async def test_a_client_that_leaves_in_the_middle_of_a_mail_over_tls_leaves_nothing_behind(p, context):
    async with p.client() as client:
        await client.start_tls(context)
        await client.say(HELLO, MAIL, "RCPT TO:<one@example.org>", "DATA")
        client.send("Subject: x\r\n")
        client.writer.transport.abort()
        await p.gate.until("left")
    assert p.hop.messages == []
    assert p.gate.finished[0].note == "client_gone"


async def test_a_client_that_closes_tls_before_its_answer_has_sent_no_mail(p, context):
    p.gate.hold(Stage.MESSAGE)
    async with p.client() as client:
        await client.start_tls(context)
        await client.say(HELLO, MAIL, "RCPT TO:<one@example.org>", "DATA")
        client.send("Subject: x\r\n\r\n.\r\nQUIT\r\n")
        await p.gate.until("judged", 5)
        client.writer.close()
        while not next(iter(p.server._sessions)).conversation.ended:  # noqa: ASYNC110  # see below
            await asyncio.sleep(0)  # turns of the loop are all that is waited for
        p.gate.go(Stage.MESSAGE)
        await p.gate.until("left")
    assert p.hop.messages == []
