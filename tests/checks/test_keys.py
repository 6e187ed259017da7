"""The names under which the store knows clients and the domains that vouch for mail."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from gatekeeper.checks.keys import (
    client_key,
    identities,
    identity_keys,
    long_good,
    mailbox,
    network_key,
    sender_confirmed,
    signers,
)
from gatekeeper.mailauth.dkim import DkimResult, DkimResults
from gatekeeper.mailauth.dkim_signature import DkimCode
from gatekeeper.mailauth.spf import SpfCode, SpfIdentity, SpfResult
from gatekeeper.model import Address, Envelope, Finding, Mail, Session
from gatekeeper.store.base import History


def mail(*evidence: object, sender: str = "ann@example.net") -> Mail:
    local, _, domain = sender.rpartition("@")
    made = Mail(Session("s", "smtp", 0.0), Envelope("e", Address(local, domain)))
    made.envelope.notebook.findings = [Finding("X", one) for one in evidence]
    return made


def spf(domain: str, code: SpfCode = SpfCode.PASS, identity: SpfIdentity = SpfIdentity.MAILFROM) -> SpfResult:
    return SpfResult(code, domain, identity)


def dkim(*domains: str, code: DkimCode = DkimCode.PASS) -> DkimResults:
    return DkimResults(tuple(DkimResult(code, domain) for domain in domains), len(domains))


@pytest.mark.parametrize(
    ("address", "client", "network"),
    [
        ("192.0.2.7", "ip:192.0.2.7", "net:192.0.2.0/24"),
        ("2001:db8:1:2:3::4", "ip:2001:db8:1:2::/64", "net:2001:db8:1::/56"),
    ],
)
def test_a_client_and_its_network(address, client, network):
    assert (client_key(ip_address(address)), network_key(ip_address(address))) == (client, network)


def test_case_makes_no_other_mailbox():
    assert mailbox(Address("Ann", "example.net")) == "ann@example.net"


def test_who_is_behind_a_mail_is_told_by_spf_and_by_signatures_whether_the_authors_or_not():
    found = mail(spf("example.net"), dkim("esp.example", "example.net", "example.com"))
    assert identities(found) == ["example.net", "esp.example", "example.com"]
    assert identity_keys(found) == ("dom:example.net", "dom:esp.example", "dom:example.com")


def test_what_did_not_pass_shows_nothing():
    assert identities(mail(spf("example.net", SpfCode.SOFTFAIL), dkim("example.net", code=DkimCode.FAIL))) == []
    assert identities(mail()) == []


def test_a_stranger_cannot_name_many():
    assert len(identities(mail(dkim(*(f"d{n}.example" for n in range(20)))))) == 4
    assert len(signers(mail(dkim("a.example", "a.example")))) == 1


@pytest.mark.parametrize(
    ("evidence", "confirmed"),
    [
        ([], False),
        ([spf("example.net")], True),
        ([spf("other.example")], False),
        ([spf("example.net", SpfCode.NEUTRAL)], False),
        ([spf("example.net", identity=SpfIdentity.HELO)], False),
        ([dkim("example.net")], True),
        ([dkim("net")], False),
        ([dkim("other.example")], False),
        ([spf("example.net", SpfCode.FAIL), dkim("example.net")], True),
    ],
)
def test_a_sender_is_confirmed_by_its_own_domain_only(evidence, confirmed):
    assert sender_confirmed(mail(*evidence)) is confirmed


def test_a_domain_vouches_for_what_is_below_it():
    assert sender_confirmed(mail(dkim("example.net"), sender="ann@mail.example.net"))
    assert not sender_confirmed(mail(dkim("mail.example.net"), sender="ann@example.net"))
    assert not sender_confirmed(mail(dkim("ample.net"), sender="ann@example.net"))


def test_the_null_sender_is_nobody_to_be_confirmed():
    assert not sender_confirmed(mail(spf("example.net"), sender="@"))


def test_a_past_is_long_and_good_or_not():
    now = 100 * 86400.0
    old = History(accepted=20, refused=2, first=now - 14 * 86400)
    assert long_good(old, now)
    for other in (
        History(),
        replace(old, accepted=19, refused=0),
        replace(old, refused=3),
        replace(old, first=now - 13 * 86400),
        replace(old, first=0.0),
    ):
        assert not long_good(other, now)
