"""The other ways into the SMTP server: TLS from the beginning, and a PROXY header before everything else."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gatekeeper.servers import tls
from gatekeeper.servers.smtp_server import ENTRANCES
from gatekeeper.servers.smtp_settings import Settings
from gatekeeper.wire.proxy import LOCAL, SIGNATURE
from tests.servers.proxy import HELLO, Proxy, proxy
from tests.support.certificates import Authority
from tests.support.smtp_client import GONE, SmtpClient

TRUST = ("127.0.0.1/32",)
V4 = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 25\r\n"
V6 = b"PROXY TCP6 2001:db8::7 2001:db8::1 40000 25\r\n"
UNKNOWN = b"PROXY UNKNOWN\r\n"
SSL = (
    SIGNATURE
    + b"\x21\x11\x00\x32"
    + bytes([192, 0, 2, 7, 198, 51, 100, 1, 0x9C, 0x40, 0, 25])
    + b"\x20\x00\x23\x01\0\0\0\0\x21\x00\x07TLSv1.2\x23\x00\x11ECDHE-RSA-AES-GCM"
)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def context(authority: Authority) -> ssl.SSLContext:
    return authority.client()


# --- TLS from the beginning ------------------------------------------------------------------------------------------


async def test_tls_may_come_before_everything_else(authority, context):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        async with proxy(tls_listen=("127.0.0.1:465",), tls=authority.tls(required=True)) as p:
            assert p.server.entrances == ("listen", "proxy_listen", "tls_listen")
            await p.server.start([sock], "tls_listen")
            async with SmtpClient(sock.getsockname()[1], tls=context) as client:
                assert client.greeting == "220 mx.example.org ESMTP"
                assert "STARTTLS" not in await client(HELLO)
                assert (await client.mail())[:3] == "250"
            async with SmtpClient(sock.getsockname()[1], greet=False) as client:
                client.send("EHLO client.example.net\r\n")
                assert await client.reader.read(4) in (b"", b"\x15\x03\x03\x00", b"\x15\x03\x01\x00")
    assert b"ESMTPS" in p.hop.messages[0].data


async def test_a_certificate_that_cannot_be_used_is_told_at_the_start(authority):
    authority.key.unlink()
    with pytest.raises(tls.TlsUnusable, match="put it there"):
        async with proxy(tls=authority.tls()):
            pass


# --- PROXY -----------------------------------------------------------------------------------------------------------


async def proxied(p: Proxy, sock: socket.socket) -> int:
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    await p.server.start([sock], "proxy_listen")
    return int(sock.getsockname()[1])


@pytest.fixture
async def behind(authority: Authority) -> AsyncIterator[tuple[Proxy, int]]:
    """A proxy's entrance, and its port."""
    with socket.socket() as sock:
        async with proxy(trust=TRUST, connections_per_address=1, tls=authority.tls(), greeting_delay=0.0) as p:
            yield p, await proxied(p, sock)


@pytest.mark.parametrize(
    ("header", "address", "port", "trusted"),
    [
        (V4, "192.0.2.7", 40000, False),
        (V6, "2001:db8::7", 40000, False),
        (V4.replace(b"192.0.2.7", b"127.0.0.1").replace(b"40000", b"0"), "127.0.0.1", None, True),
        (UNKNOWN, "None", None, False),
    ],
)
async def test_the_client_is_the_one_that_the_header_names(behind, header, address, port, trusted):
    p, at = behind
    async with SmtpClient(at, first=header) as client:
        session = p.gate.sessions[0]
        assert (str(session.address), session.port, session.trusted) == (address, port, trusted)
        assert ("XCLIENT" in await client(HELLO)) == trusted
        assert (await client.mail())[:3] == "250"
    assert p.gate.seen[0][1] == (None if address == "None" else address)
    assert p.hop.messages[0].xforward.get("ADDR", "") == ""  # not offered here; the next hop tells in its own tests


async def test_a_probe_of_the_proxys_own_has_the_sockets_address(behind):
    p, at = behind
    async with SmtpClient(at, first=LOCAL) as client:
        session = p.gate.sessions[0]
        assert (str(session.address), session.port) == ("127.0.0.1", client.writer.get_extra_info("sockname")[1])
        assert session.trusted


async def test_tls_works_behind_the_header(behind, context):
    p, at = behind
    async with SmtpClient(at, first=V6) as client:
        await client(HELLO)
        await client.start_tls(context)
        await client(HELLO)
        assert (await client.mail())[:3] == "250"
    assert b"[IPv6:2001:db8::7]" in p.hop.messages[0].data
    assert b"ESMTPS" in p.hop.messages[0].data


async def test_tls_that_ended_at_the_proxy_is_told_and_not_offered_again(behind):
    p, at = behind
    async with SmtpClient(at, first=SSL) as client:
        assert "STARTTLS" not in await client(HELLO)
        assert (await client.mail())[:3] == "250"
    assert b"(using TLSv1.2 with cipher ECDHE-RSA-AES-GCM)" in p.hop.messages[0].data


async def test_limits_are_those_of_the_clients_and_not_of_the_proxy(behind):
    p, at = behind
    async with SmtpClient(at, first=V4) as one, SmtpClient(at, first=V6) as two, SmtpClient(at, first=V4) as three:
        assert one.greeting[:3] == two.greeting[:3] == "220"
        assert three.greeting == "421 4.7.0 Too many connections from your address, try again later"
        assert await three.gone()
        await one("QUIT")
        await p.gate.until("left")
    async with SmtpClient(at, first=V4) as again:
        assert again.greeting[:3] == "220"


@pytest.mark.parametrize(
    ("first", "source"),
    [(b"EHLO client.example.net\r\n", "127.0.0.1"), (V4, "127.0.0.2"), (b"\x16\x03\x01", "127.0.0.1")],
)
async def test_without_a_header_or_from_a_stranger_there_is_no_session(behind, first, source):
    p, at = behind
    async with SmtpClient(at, first=first, source=source, greet=False) as client:
        assert await client.reply() == GONE
    assert p.gate.sessions == []


async def test_a_header_where_none_is_expected_is_no_header():
    async with proxy(trust=TRUST) as p, p.client(first=V4) as client:
        assert (await client.reply())[:3] == "421"
        assert await client.gone()
        assert p.gate.turned_away == [("PROXY header", None, None)]
        assert str(p.gate.sessions[0].address) == "127.0.0.1"


@pytest.mark.slow
async def test_a_drain_hangs_up_on_connections_without_a_header(behind):
    p, at = behind
    async with SmtpClient(at, first=V4[:9], greet=False) as client, SmtpClient(at, first=V6) as other:
        draining = asyncio.ensure_future(p.server.drain(10))
        assert await client.reply() == GONE
        assert (await other.reply())[:3] == "421"
        other.writer.close()
        await draining


async def test_sessions_are_limited_by_network():
    async with proxy(connections_per_network=2, connections_per_address=2) as p:
        async with p.client() as one, p.client(source="127.0.0.2") as two, p.client(source="127.0.0.3") as three:
            assert [client.greeting[:3] for client in (one, two, three)] == ["220", "220", "421"]


def test_the_settings_that_open_a_socket_are_the_servers_entrances():
    assert {name for name in Settings.__slots__ if name.endswith("listen")} == set(ENTRANCES)


# --- any octets ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
async def test_any_octets_behind_a_header_or_instead_of_it_leave_the_server_as_it_was(behind, seed):
    _, at = behind
    chance = random.Random(seed)
    starts = (b"", V4, V6, UNKNOWN, LOCAL, SSL, SIGNATURE, b"PROXY TCP4 ")
    octets = chance.choice(starts) + chance.randbytes(chance.randrange(300)) + chance.choice((b"", b"\r\nSTARTTLS\r\n"))
    async with SmtpClient(at, first=octets, greet=False) as client:
        client.half_close()
        while await client.reader.read(1000):
            pass
    async with SmtpClient(at, first=V6) as after:
        assert after.greeting[:3] == "220"
        await after(HELLO)
        assert (await after.mail())[:3] == "250"
