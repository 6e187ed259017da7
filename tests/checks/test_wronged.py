from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from gatekeeper.checks import wronged as module
from gatekeeper.checks.dnsbl import ListEvidence
from gatekeeper.checks.keys import LONG_GOOD
from gatekeeper.checks.uribl import NameListEvidence
from gatekeeper.checks.wronged import MOST, Wronged
from gatekeeper.dns.breaker import GOOD_SENDERS
from gatekeeper.dns.desk import Desk
from gatekeeper.dns.health import State
from gatekeeper.dns.lists import DnsList, Family
from gatekeeper.mailauth.dkim import DkimResult, DkimResults
from gatekeeper.mailauth.dkim_signature import DkimCode
from gatekeeper.mailauth.spf import SpfCode, SpfIdentity, SpfResult
from gatekeeper.model import Envelope, Finding, Mail, Session
from gatekeeper.store.memory import MemoryStore

NOW = 1_700_000_000.0
GOOD, LONG = LONG_GOOD
LIST = DnsList("bl.test", "BL", 3.0)


def mail_of(number: int, *evidence: Any, address: str = "192.0.{}.1") -> Mail:
    mail = Mail(Session("s", "smtp", 0.0, address=ip_address(address.format(number))), Envelope("e"))
    mail.envelope.notebook.findings += [Finding("RULE", each) for each in evidence]
    return mail


def of_address() -> ListEvidence:
    return ListEvidence("bl.test", "x.bl.test", ("127.0.0.2",), 300)


def of_domain(domain: str) -> NameListEvidence:
    return NameListEvidence("bl.test", (f"{domain} (links)",), ("127.0.0.2",), 300, None, (domain,))


def spf(domain: str, code: SpfCode = SpfCode.PASS) -> SpfResult:
    return SpfResult(code, domain, SpfIdentity.MAILFROM)


def signed(*domains: str) -> DkimResults:
    return DkimResults(tuple(DkimResult(DkimCode.PASS, domain=domain) for domain in domains), len(domains))


async def state_after(
    mails: list[Mail], key: str, family: Family, *, accepted: int = GOOD, score: float = 3.0
) -> State:
    """How the list stands after mails of senders that all have that history."""
    store, desk, wronged = MemoryStore(), Desk(), Wronged()
    for number, mail in enumerate(mails):
        await store.remember(key.format(number), accepted=accepted, refused=0, now=NOW - LONG)
        wronged.note(mail, lambda _: score)
    await wronged.settle(store, desk, now=NOW)
    return desk.health(LIST, family).state


SENDERS = range(GOOD_SENDERS)


async def test_a_list_of_addresses_wrongs_clients_whose_mail_authenticates():
    mails = [mail_of(n, of_address(), spf("client.example")) for n in SENDERS]
    assert await state_after(mails, "ip:192.0.{}.1", Family.IPV4) is State.WORLD
    assert await state_after(mails[1:], "ip:192.0.{}.1", Family.IPV4) is State.UNTESTED
    assert await state_after(mails, "ip:192.0.{}.1", Family.IPV4, accepted=GOOD - 1) is State.UNTESTED
    assert await state_after(mails, "ip:192.0.{}.1", Family.IPV4, score=-1.0) is State.UNTESTED
    doubtful = [mail_of(n, of_address(), spf("client.example", SpfCode.FAIL)) for n in SENDERS]
    assert await state_after(doubtful, "ip:192.0.{}.1", Family.IPV4) is State.UNTESTED


async def test_ipv6_clients_are_wronged_in_ipv6():
    mails = [mail_of(n, of_address(), spf("client.example"), address="2001:db8:a{}::1") for n in SENDERS]
    assert await state_after(mails, "ip:2001:db8:a{}::/64", Family.IPV6) is State.WORLD


@pytest.mark.parametrize("shown", [spf, signed])
async def test_a_list_of_domains_wrongs_the_domains_that_are_behind_the_mail(shown):
    mails = [mail_of(n, of_domain(f"good{n}.com"), shown(f"mail.good{n}.com")) for n in SENDERS]
    assert await state_after(mails, "dom:mail.good{}.com", Family.NAMES) is State.WORLD


@pytest.mark.parametrize(
    ("address", "key", "family"),
    [
        ("192.0.2.{}", "ip:192.0.2.{}", Family.IPV4),
        ("2001:db8:0:a{}::1", "ip:2001:db8:0:a{}::/64", Family.IPV6),
    ],
)
async def test_the_addresses_of_one_network_are_one_sender(address: str, key: str, family: Family):
    mails = [mail_of(n, of_address(), spf("client.example"), address=address) for n in SENDERS]
    assert await state_after(mails, key, family) is State.UNTESTED


async def test_names_under_one_registered_domain_are_one_sender():
    mails = [mail_of(n, of_domain("good.com"), spf(f"mail{n}.good.com")) for n in SENDERS]
    assert await state_after(mails, "dom:mail{}.good.com", Family.NAMES) is State.UNTESTED


async def test_a_message_is_of_one_sender_however_many_have_signed_it():
    domains = tuple(f"good{n}.com" for n in SENDERS)
    named = replace(of_domain(""), domains=domains)
    mails = [mail_of(n, named, signed(*domains[n:], *domains[:n])) for n in SENDERS]
    assert await state_after(mails, "dom:good{}.com", Family.NAMES) is State.UNTESTED


async def test_other_domains_in_the_mail_of_good_senders_wrong_nobody():
    mails = [mail_of(n, of_domain(f"link{n}.com"), spf(f"good{n}.com")) for n in SENDERS]
    assert await state_after(mails, "dom:good{}.com", Family.NAMES) is State.UNTESTED


async def test_the_same_sender_often_counts_once():
    mails = [mail_of(1, of_address(), spf("client.example")) for _ in range(50)]
    assert await state_after(mails, "ip:192.0.1.1", Family.IPV4) is State.UNTESTED


def test_what_is_kept_has_a_limit(monkeypatch):
    monkeypatch.setattr(module, "MOST", 5)
    wronged = Wronged()
    for number in range(20):
        wronged.note(mail_of(number, of_address(), spf("client.example")), lambda _: 1.0)
    assert list(wronged._doubted) == [f"ip:192.0.{number}.1" for number in range(15, 20)]
    assert MOST > 5


async def test_whoever_has_been_looked_up_is_forgotten():
    wronged = Wronged()
    wronged.note(mail_of(1, of_address(), spf("client.example")), lambda _: 1.0)
    await wronged.settle(MemoryStore(), Desk(), now=NOW)
    assert not wronged._doubted
