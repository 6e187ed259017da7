"""STARTTLS towards the next hop, by setting."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path
from typing import Any

import pytest

from gatekeeper.nexthop import NextHopGone, NextHopUrl, Settings
from gatekeeper.nexthop.protection import CannotVerify, Protection
from tests.nexthop.conversation import CLIENT, MAIL, ONE, QUEUED, client_of, deliver
from tests.support.certificates import Authority
from tests.support.next_hop import XCLIENT, FakeNextHop

URL = NextHopUrl.parse("smtp://127.0.0.1:25")
LEVELS = ("opportunistic", "required", "verify")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, name="127.0.0.1")


def believing(authority: Authority, level: str, **more: Any) -> dict[str, Any]:
    return {"tls": level, **({"tls_ca_file": str(authority.ca_file)} if level == "verify" else {}), **more}


@pytest.mark.parametrize("level", LEVELS)
async def test_mail_goes_over_tls_and_what_was_offered_before_does_not_count(authority, level):
    async with FakeNextHop(tls=authority.server()) as fake, client_of(fake, **believing(authority, level)) as hop:
        before, after = "250-x\n250-STARTTLS\n250 SIZE 1", "250-x\n250-PIPELINING\n250 SIZE 99"
        fake.replies["EHLO"] = [before, after]
        assert await deliver(hop) == QUEUED
        assert await deliver(hop) == QUEUED
        assert fake.messages[0].secure
        assert hop.capabilities is not None
        assert hop.capabilities.keywords == {"PIPELINING": "", "SIZE": "99"}
    assert fake.verbs[:4] == ["EHLO", "STARTTLS", "EHLO", "MAIL"]
    assert fake.connections == 1


async def test_it_is_not_asked_for_unless_it_is_set(authority):
    async with FakeNextHop(tls=authority.server()) as fake, client_of(fake) as hop:
        assert await deliver(hop) == QUEUED
    assert "STARTTLS" not in fake.verbs


async def test_xclient_comes_after_it(authority):
    async with FakeNextHop(tls=authority.server()) as fake, client_of(fake, tls="required") as hop:
        fake.capabilities |= XCLIENT
        assert await deliver(hop) == QUEUED
        assert fake.messages[0].xclient["ADDR"] == CLIENT.address
        assert fake.messages[0].secure
    assert fake.verbs[:5] == ["EHLO", "STARTTLS", "EHLO", "XCLIENT", "EHLO"]


@pytest.mark.parametrize("refusal", [None, "454 4.7.0 TLS not available"])
@pytest.mark.parametrize("level", LEVELS)
async def test_without_it_mail_goes_on_only_where_it_is_not_required(authority, level, refusal):
    fake = FakeNextHop(tls=authority.server() if refusal else None, replies={"STARTTLS": refusal} if refusal else {})
    async with fake, client_of(fake, **believing(authority, level)) as hop:
        if level == "opportunistic":
            assert await deliver(hop) == QUEUED
            assert await deliver(hop) == QUEUED
            assert fake.connections == 1, "a refused STARTTLS is no reason to give the connection up"
        else:
            with pytest.raises(NextHopGone, match="starts no TLS"):
                await deliver(hop)
            assert not hop.answering
            assert "MAIL" not in fake.verbs


@pytest.mark.parametrize("level", LEVELS)
async def test_a_handshake_that_fails_is_the_end_or_the_clear(authority, level, caplog):
    hidden = authority.server()
    hidden.minimum_version = ssl.TLSVersion.TLSv1_3
    async with FakeNextHop(tls=hidden) as fake, client_of(fake, **believing(authority, level)) as hop:
        assert hop._pool._protection is not None
        hop._pool._protection.context.maximum_version = ssl.TLSVersion.TLSv1_2
        if level == "opportunistic":
            with caplog.at_level(logging.WARNING, "gatekeeper"):
                assert await deliver(hop) == QUEUED
                fake.drop_all()
                await fake.left(2)
                assert await deliver(hop) == QUEUED
            assert [record.message for record in caplog.records] == ["next_hop_in_the_clear"]
            assert not fake.messages[0].secure
        else:
            with pytest.raises(NextHopGone, match="TLS handshake"):
                await deliver(hop)
            assert fake.messages == []


@pytest.mark.parametrize("level", LEVELS)
async def test_an_alert_that_comes_after_the_handshake_is_a_handshake_that_failed(authority, level, caplog):
    wanting = authority.server()
    wanting.minimum_version = ssl.TLSVersion.TLSv1_3
    wanting.verify_mode = ssl.CERT_REQUIRED  # a client certificate, which we do not have
    async with FakeNextHop(tls=wanting) as fake, client_of(fake, **believing(authority, level)) as hop:
        if level == "opportunistic":
            with caplog.at_level(logging.WARNING, "gatekeeper"):
                assert await deliver(hop) == QUEUED
            assert [record.message for record in caplog.records] == ["next_hop_in_the_clear"]
            assert not fake.messages[0].secure
        else:
            with pytest.raises(NextHopGone, match="after the TLS handshake"):
                await deliver(hop)
            assert fake.messages == []


async def test_a_next_hop_that_falls_silent_after_the_handshake_is_not_asked_in_the_clear(authority):
    async with FakeNextHop(tls=authority.server()) as fake, client_of(fake, tls="opportunistic", command=0.2) as hop:
        fake.replies["EHLO"] = ["250-x\n250-STARTTLS\n250 SIZE 1"]
        fake.replies["STARTTLS"] = ["220 go"]
        held = asyncio.create_task(deliver(hop))
        await fake.saw("STARTTLS")
        fake.hold("EHLO")
        with pytest.raises(NextHopGone, match="no answer"):
            await held
        fake.go("EHLO")
        assert fake.connections == 1


async def test_a_certificate_that_is_not_believed_stops_mail_only_where_it_is_verified(authority, tmp_path):
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other", name="127.0.0.1")
    for level in ("opportunistic", "required"):
        async with FakeNextHop(tls=stranger.server()) as fake, client_of(fake, **believing(authority, level)) as hop:
            assert await deliver(hop) == QUEUED
            assert fake.messages[0].secure
    async with FakeNextHop(tls=stranger.server()) as fake, client_of(fake, **believing(authority, "verify")) as hop:
        with pytest.raises(NextHopGone, match="certificate verify failed"):
            await deliver(hop)
        assert fake.messages == []


@pytest.mark.parametrize(("name", "good"), [("", True), ("127.0.0.1", True), ("mail.example.org", False)])
async def test_the_name_must_be_right(authority, name, good):
    settings = believing(authority, "verify", tls_name=name)
    async with FakeNextHop(tls=authority.server()) as fake, client_of(fake, **settings) as hop:
        if good:
            assert await deliver(hop) == QUEUED
        else:
            with pytest.raises(NextHopGone, match="certificate"):
                await deliver(hop)


async def test_answers_that_were_injected_before_the_handshake_are_not_believed(authority):
    said = {"STARTTLS": "220 go\n250-evil\n250 SIZE 1"}
    async with FakeNextHop(tls=authority.server(), replies=dict(said)) as fake, client_of(fake, tls="required") as hop:
        with pytest.raises(NextHopGone, match="in the clear"):
            await hop.transaction(CLIENT, MAIL).recipients([ONE])


async def test_lmtp_knows_it_too(authority, tmp_path):
    fake = FakeNextHop(tls=authority.server(), unix=tmp_path / "lmtp")
    async with fake, client_of(fake, **believing(authority, "verify", tls_name="127.0.0.1")) as hop:
        assert (await deliver(hop)).code == 250
        assert fake.messages[0].secure


@pytest.mark.parametrize(
    ("more", "url", "mend"),
    [
        ({"tls_ca_file": "/nowhere/ca.pem"}, "smtp://h", "cannot be read: No such file or directory; put it there"),
        ({"tls_ca_file": __file__}, "smtp://h", "holds no certificate in PEM"),
        ({}, "lmtp+unix:///run/x", "write it as tls_name"),
    ],
)
def test_what_cannot_be_verified_is_said_at_the_start(more, url, mend):
    with pytest.raises(CannotVerify, match=mend):
        Protection.of(Settings(tls="verify", **more), NextHopUrl.parse(url))


def test_the_systems_authorities_are_believed_where_none_are_named():
    found = Protection.of(Settings(tls="verify"), URL)
    assert found is not None
    assert (found.needed, found.name, found.context.verify_mode) == (True, "127.0.0.1", ssl.CERT_REQUIRED)
    assert Protection.of(Settings(), URL) is None
