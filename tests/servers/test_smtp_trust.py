"""Whose word is taken about the client, and who may send where."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatekeeper import nexthop
from gatekeeper.model import Action, Stage
from gatekeeper.servers.overload import Gauges
from tests.servers.proxy import HELLO, proxy
from tests.support.certificates import Authority
from tests.support.fake_gate import FakeGate
from tests.support.next_hop import ALL, XCLIENT, XFORWARD, FakeNextHop

MAIL = "MAIL FROM:<s@example.net>"
RCPT = "RCPT TO:<one@example.org>"
TRUST = ("127.0.0.1/32",)


async def test_xclient_goes_back_to_the_greeting_with_another_client():
    async with proxy(trust=TRUST) as p, p.client() as client:
        said = await client(HELLO)
        assert "250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN" in said
        assert "250 XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE" in said
        assert (
            await client("XCLIENT ADDR=192.0.2.7 PORT=1234 NAME=mx.example.com LOGIN=bob") == "220 mx.example.org ESMTP"
        )
        session = p.gate.sessions[0]
        assert (str(session.address), session.port, session.name, session.login, session.helo) == (
            "192.0.2.7",
            1234,
            "mx.example.com",
            "bob",
            None,
        )
        assert await client(MAIL) == "503 5.5.1 Say EHLO first"
        await client("EHLO mx.example.com")
        assert (await client.mail())[:3] == "250"
    assert p.gate.seen[0] == (Stage.CONNECT, "127.0.0.1", None)
    assert (Stage.CONNECT, "192.0.2.7", None) in p.gate.seen
    assert (Stage.MAIL, "192.0.2.7", "mx.example.com") in p.gate.seen
    assert b"mx.example.com" in p.hop.messages[0].data
    assert b"[192.0.2.7]" in p.hop.messages[0].data


async def test_what_is_known_of_one_client_is_not_said_of_the_next_of_the_same_session():
    gate = FakeGate(known={"192.0.2.7"})
    async with proxy(trust=(*TRUST, "192.0.2.7/32"), gate=gate) as p, p.client() as client:
        await client("XCLIENT ADDR=192.0.2.7")  # a proxy too, which goes on to name another
        await client(HELLO)
        p.server.overload.take(Gauges(memory=0.8), now=0.0)
        assert (await client.mail())[:3] == "250"
        [session] = p.gate.sessions
        session.names_at_once = 1
        assert session.familiar is True
        await client("XCLIENT ADDR=198.51.100.7")
        after = p.gate.sessions[0]
        assert (after.familiar, after.names_at_once) == (None, None)
        await client(HELLO)
        assert (await client(MAIL))[:3] == "451"
        assert after.familiar is False


@pytest.mark.parametrize("address", ["198.51.100.7", "IPV6:2001:db8::7", "[UNAVAILABLE]"])
async def test_whom_xclient_names_cannot_name_another(address):
    """A transparent proxy passes on what its client says: it could be one of ours for the asking, and send anywhere."""
    async with proxy(trust=(*TRUST, "unix"), ours=("192.0.2.1/32",)) as p, p.client() as client:
        await client.say(HELLO, f"XCLIENT ADDR={address} NAME=[UNAVAILABLE]", "EHLO stranger.example.net")
        before = str(p.gate.sessions[0].address)
        for said in ("XCLIENT ADDR=192.0.2.1 LOGIN=boss", "XCLIENT LOGIN=boss", "XFORWARD ADDR=192.0.2.1"):
            assert await client(said) == "550 5.7.0 Not allowed from here"
        said = await client("EHLO stranger.example.net")
        assert "XCLIENT" not in said
        assert "XFORWARD" not in said
        session = p.gate.sessions[0]
        assert (str(session.address), session.login, session.trusted) == (before, None, False)
        await client(MAIL)
        assert (await client("RCPT TO:<x@elsewhere.example>"))[:9] == "550 5.7.1"


async def test_a_proxy_that_another_one_names_may_name_its_client():
    async with proxy(trust=(*TRUST, "192.0.2.7/32")) as p, p.client() as client:
        await client.say("EHLO outer.example.org", "XCLIENT ADDR=192.0.2.7 NAME=inner.example.org")
        assert "XCLIENT" in await client("EHLO inner.example.org")
        assert (await client("XCLIENT ADDR=198.51.100.7"))[:3] == "220"
        assert "XCLIENT" not in await client("EHLO mx.example.com")
        assert str(p.gate.sessions[0].address) == "198.51.100.7"


async def test_xclient_that_names_no_address_is_still_the_proxys_word():
    async with proxy(trust=TRUST) as p, p.client() as client:
        await client.say(HELLO, "XCLIENT NAME=mx.example.com")
        assert (await client("XCLIENT ADDR=198.51.100.7"))[:3] == "220"
        assert not p.gate.sessions[0].trusted


async def test_a_helo_told_by_xclient_is_not_overruled_by_the_proxys_own():
    async with proxy(trust=TRUST) as p, p.client() as client:
        await client("XCLIENT ADDR=IPV6:2001:db8::7 HELO=told.example.com PROTO=SMTP NAME=[UNAVAILABLE]")
        await client("EHLO proxy.example.org")
        session = p.gate.sessions[0]
        assert (str(session.address), session.helo, session.extended, session.name) == (
            "2001:db8::7",
            "told.example.com",
            False,
            None,
        )


@pytest.mark.parametrize("argument", ["", "FOO=1", "ADDR=x", "PORT=0", "PROTO=LMTP", "ADDR"])
async def test_a_malformed_xclient_changes_nothing(argument):
    async with proxy(trust=TRUST) as p, p.client() as client:
        await client(HELLO)
        assert (await client(f"XCLIENT {argument}"))[:9] == "501 5.5.4"
        assert str(p.gate.sessions[0].address) == "127.0.0.1"


@pytest.mark.parametrize("verb", ["XCLIENT", "XFORWARD"])
async def test_neither_is_taken_in_the_middle_of_a_mail_or_from_strangers(verb):
    async with proxy(trust=TRUST) as p, p.client() as client:
        await client.say(HELLO, MAIL)
        assert (await client(f"{verb} ADDR=192.0.2.7"))[:9] == "503 5.5.1"
        async with p.client(source="127.0.0.2") as stranger:
            assert "XCLIENT" not in await stranger(HELLO)
            assert await stranger(f"{verb} ADDR=192.0.2.7") == "550 5.7.0 Not allowed from here"
            assert p.gate.sessions[1].counters.errors == 1
            assert str(p.gate.sessions[1].address) == "127.0.0.2"


async def test_a_client_that_xclient_names_may_be_refused_at_once():
    async with proxy(trust=TRUST) as p, p.client() as client:
        p.gate.say(Stage.CONNECT, Action.DROP)
        assert (await client("XCLIENT ADDR=192.0.2.7"))[:3] == "421"
        assert await client.gone()


async def test_a_client_that_xclient_names_counts_in_the_limits_as_one_that_connects():
    async with proxy(trust=TRUST, connections_per_address=1) as p:
        async with p.client() as one, p.client() as two, p.client() as three:
            assert (await one("XCLIENT ADDR=192.0.2.7"))[:3] == "220"
            assert await two("XCLIENT ADDR=192.0.2.7") == (
                "421 4.7.0 Too many connections from your address, try again later"
            )
            assert await two.gone()
            assert (await three("XCLIENT ADDR=192.0.2.8"))[:3] == "220"
            await one("QUIT")
            assert await one.gone()
            await p.gate.until("left", 2)
            async with p.client() as four:
                assert (await four("XCLIENT ADDR=192.0.2.7"))[:3] == "220"  # the first one's place is free again
        await p.gate.until("left", 4)
        assert p.server._admission.open == 0
        assert not p.server._admission._by_address


async def test_xforward_names_the_client_of_one_mail():
    hop = FakeNextHop(capabilities={**ALL, **XFORWARD})
    async with proxy(hop=hop, trust=TRUST) as p, p.client() as client:
        await client("EHLO postfix.example.org")
        assert await client("XFORWARD NAME=mx.example.com ADDR=192.0.2.7 PORT=1234") == "250 2.0.0 Ok"
        assert await client("XFORWARD PROTO=ESMTP HELO=helo.example.com IDENT=4XyZ SOURCE=REMOTE") == "250 2.0.0 Ok"
        assert (await client.mail())[:3] == "250"
        assert str(p.gate.sessions[0].address) == "127.0.0.1"
        assert p.gate.sessions[0].helo == "postfix.example.org"
        assert (await client.mail())[:3] == "250"
    assert (Stage.MESSAGE, "192.0.2.7", "helo.example.com") in p.gate.seen
    assert p.gate.seen[-1] == (Stage.MESSAGE, "127.0.0.1", "postfix.example.org")
    first, second = p.hop.messages
    assert (first.xforward["ADDR"], first.xforward["HELO"]) == ("192.0.2.7", "helo.example.com")
    assert second.xforward["ADDR"] == "127.0.0.1"
    assert not first.data.startswith(b"Received:"), "Postfix before us has written it"
    assert second.data.startswith(b"Received:")


async def test_the_tls_of_a_proxys_link_is_not_its_clients(tmp_path):
    authority = Authority(tmp_path)
    context = authority.client()
    async with proxy(trust=TRUST, tls=authority.tls(required=True)) as p, p.client() as client:
        await client(HELLO)
        await client.start_tls(context)
        await client(HELLO)
        session = p.gate.sessions[0]
        assert session.tls is not None
        assert (await client("XFORWARD ADDR=192.0.2.7"))[:3] == "250"
        assert session.tls is None
        await client("RSET")
        assert session.tls is not None, "the proxy itself is the client again"
        await client("XCLIENT ADDR=192.0.2.7")
        assert session.tls is None
        assert "STARTTLS" not in await client("EHLO mx.example.com"), "there is TLS on the way here"
        assert await client("STARTTLS") == "503 5.5.1 TLS is there already"
        assert (await client.mail())[:3] == "250"
    assert b"TLS" not in p.hop.messages[0].data.partition(b"Subject")[0]


async def test_xclient_that_names_no_other_address_leaves_the_tls_that_there_is(tmp_path):
    authority = Authority(tmp_path)
    async with proxy(trust=TRUST, tls=authority.tls()) as p, p.client() as client:
        await client(HELLO)
        await client.start_tls(authority.client())
        await client.say(HELLO, "XCLIENT LOGIN=bob")
        assert p.gate.sessions[0].tls is not None


async def test_what_xclient_says_is_not_undone_by_an_xforward_before_it():
    """Else a stranger would go on as the proxy, which may be one of ours and send anywhere."""
    async with proxy(trust=TRUST, ours=TRUST) as p, p.client() as client:
        await client.say(HELLO, "XFORWARD ADDR=192.0.2.7", "XCLIENT ADDR=198.51.100.7")
        assert str(p.gate.sessions[0].address) == "198.51.100.7"
        await client.say("EHLO stranger.example.net", MAIL)
        assert (await client("RCPT TO:<x@elsewhere.example>"))[:9] == "550 5.7.1"
        await client("RSET")
        assert str(p.gate.sessions[0].address) == "198.51.100.7"


async def test_a_server_that_forwards_for_others_is_not_cut_off_for_one_of_them():
    async with proxy(trust=TRUST) as p, p.client() as client:
        p.gate.say(Stage.RCPT, Action.DROP)
        await client.say(HELLO, "XFORWARD ADDR=192.0.2.7", MAIL)
        assert (await client(RCPT))[:9] == "451 4.7.1"
        assert await client("RSET") == "250 2.0.0 Ok"
        assert not p.gate.sessions[0].blocked


async def test_a_next_hop_that_is_told_by_xclient_writes_the_received_field_itself():
    hop = FakeNextHop(capabilities={**ALL, **XCLIENT})
    async with proxy(hop=hop) as p, p.client() as client:
        await client(HELLO)
        assert (await client.mail())[:3] == "250"
    assert p.hop.messages[0].xclient["ADDR"] == "127.0.0.1"
    assert not p.hop.messages[0].data.startswith(b"Received:")
    async with proxy(hop=hop, hop_settings=nexthop.Settings(hand_on="none")) as p, p.client() as client:
        await client(HELLO)
        assert (await client.mail())[:3] == "250"
    assert p.hop.messages[1].data.startswith(b"Received:")


async def test_the_mails_of_one_client_share_a_connection_that_knows_it():
    """Postfix takes no second XCLIENT, so that a connection is for one client only."""
    async with proxy(hop=FakeNextHop(xclient_once=True)) as p, p.client() as client:
        before = p.hop.connections
        await client(HELLO)
        assert [(await client.mail())[:3] for _ in range(3)] == ["250"] * 3
        assert p.hop.connections - before == 1


async def test_a_peer_on_a_unix_socket_may_be_trusted(tmp_path: Path):
    async with proxy(unix=tmp_path / "s", trust=("unix",)) as p, p.client() as client:
        assert "XCLIENT" in await client(HELLO)
        assert p.gate.sessions[0].address is None
        assert (await client.mail())[:3] == "250"
    async with proxy(unix=tmp_path / "t") as p, p.client() as client:
        assert "XCLIENT" not in await client(HELLO)


# --- never an open relay ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "x@elsewhere.example",
        "x@sub.example.org",
        "x%elsewhere.example@example.org",
        "elsewhere.example!x@example.org",
        '"x@elsewhere.example"@example.org',
        "x@[192.0.2.1]",
        "x@example.org.elsewhere.example",
        "@example.org:x@elsewhere.example",
    ],
)
async def test_other_domains_are_refused_however_they_are_written(path):
    async with proxy() as p, p.client() as client:
        await client.say(HELLO, MAIL)
        said = await client(f"RCPT TO:<{path}>")
        assert said.startswith("550 5.7.1 We do not relay mail for this domain (id ")
        assert [to for to, _ in p.gate.refusals] != []
        assert p.gate.sessions[0].counters.refused == 1
        await client("RSET")
    assert p.hop.messages == []
    assert not any("elsewhere" in line for line in p.hop.log)
    assert p.gate.finished == []


@pytest.mark.parametrize(
    "path", ["one@example.org", "one@EXAMPLE.ORG", "Postmaster", "a%b@example.org", "a!b@example.org"]
)
async def test_our_domains_are_asked_of_the_next_hop(path):
    async with proxy() as p, p.client() as client:
        await client.say(HELLO, MAIL)
        assert (await client(f"RCPT TO:<{path}>"))[:3] == ("550" if "%" in path or "!" in path else "250")


async def test_clients_that_are_ours_may_send_anywhere():
    async with proxy(ours=("127.0.0.2/32",)) as p, p.client(source="127.0.0.2") as client:
        await client(HELLO)
        assert (await client.mail(to="x@elsewhere.example"))[:3] == "250"
        assert Stage.RCPT in p.gate.judged


async def test_without_relay_domains_nobody_gets_further_than_rcpt_until_the_next_hop_has_refused_a_stranger():
    hop = FakeNextHop(capabilities={**ALL, **XCLIENT}, relay_domains={"example.org"})
    async with proxy(hop=hop, relay_domains=frozenset(), trust=TRUST) as p, p.client() as client:
        await client.say("XCLIENT ADDR=198.51.100.7", HELLO, MAIL)
        assert (await client(RCPT)).startswith("451 4.3.0 Not ready to take mail yet")
        assert await p.server.guard.probe()
        assert (await client(RCPT))[:3] == "250"
        assert (await client("RCPT TO:<x@elsewhere.example>"))[:3] == "554"
