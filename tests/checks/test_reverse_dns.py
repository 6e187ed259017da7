from ipaddress import ip_address

import pytest

from gatekeeper.checks.base import Tools
from gatekeeper.checks.reverse_dns import ReverseDns, ReverseName
from gatekeeper.dns.resolver import Status
from gatekeeper.model import Envelope, Finding, Mail, Missing, Session
from gatekeeper.store.memory import MemoryStore
from tests.support.fake_resolver import FakeResolver

CHECK = ReverseDns()
PTR = "5.2.0.192.in-addr.arpa"
ALL = ("RDNS_NONE", "RDNS_UNCONFIRMED", "RDNS_CONFIRMED")


async def inspect(zone, address: str | None = "192.0.2.5", told: str | None = None):
    session = Session("s", "smtp", 0.0, address=ip_address(address) if address else None, name=told)
    resolver = FakeResolver(zone)
    tools = Tools(resolver, MemoryStore(), lambda: 0.0, "mx.example.org", frozenset())
    return list(await CHECK.inspect(Mail(session, Envelope("e")), tools)), resolver.asked


async def test_a_name_that_leads_back_is_confirmed():
    found, _ = await inspect({(PTR, "PTR"): ["mail.test"], ("mail.test", "A"): ["192.0.2.9", "192.0.2.5"]})
    assert found == [
        Finding("RDNS_CONFIRMED", ReverseName("mail.test", confirmed=True), "192.0.2.5 is mail.test"),
    ]


async def test_ipv6_is_confirmed_by_aaaa():
    address = ip_address("2001:db8::5")
    zone = {(address.reverse_pointer, "PTR"): ["mail.test"], ("mail.test", "AAAA"): ["2001:db8::5"]}
    found, _ = await inspect(zone, str(address))
    assert found[0].evidence == ReverseName("mail.test", confirmed=True)


@pytest.mark.parametrize("status", [Status.NXDOMAIN, Status.NODATA])
async def test_an_address_without_a_name_is_found(status):
    found, _ = await inspect({(PTR, "PTR"): status})
    assert found == [Finding("RDNS_NONE", None, "192.0.2.5 has no name")]


@pytest.mark.parametrize("forward", [["192.0.2.9"], Status.NXDOMAIN, Status.NODATA])
async def test_a_name_that_does_not_lead_back_is_unconfirmed(forward):
    found, _ = await inspect({(PTR, "PTR"): ["mail.test"], ("mail.test", "A"): forward})
    assert found == [
        Finding(
            "RDNS_UNCONFIRMED", ReverseName("mail.test", confirmed=False), "mail.test does not lead back to 192.0.2.5"
        )
    ]


@pytest.mark.parametrize("status", [Status.TIMEOUT, Status.REFUSED, Status.NONSENSE, Status.BUDGET])
async def test_a_failing_look_up_is_no_evidence(status):
    assert (await inspect({(PTR, "PTR"): status}))[0] == [Missing("reverse_dns", ALL, status.value)]
    zone = {(PTR, "PTR"): ["a.test", "b.test"], ("a.test", "A"): status, ("b.test", "A"): ["192.0.2.9"]}
    assert (await inspect(zone))[0] == [Missing("reverse_dns", ALL, status.value)]


async def test_one_name_that_leads_back_is_enough_whatever_the_others_do():
    zone = {(PTR, "PTR"): ["a.test", "b.test"], ("a.test", "A"): Status.TIMEOUT, ("b.test", "A"): ["192.0.2.5"]}
    assert (await inspect(zone))[0][0].evidence == ReverseName("b.test", confirmed=True)


async def test_only_the_first_few_names_are_looked_up():
    zone = {(PTR, "PTR"): [f"n{number}.test" for number in range(1000)]}
    found, asked = await inspect(zone)
    assert [rule.rule for rule in found] == ["RDNS_UNCONFIRMED"]
    assert asked == [(PTR, "PTR"), *((f"n{number}.test", "A") for number in range(5))]


async def test_the_name_a_trusted_peer_told_goes_first_and_is_verified_like_any_other():
    names = [f"n{number}.test" for number in range(10)]
    zone = {(PTR, "PTR"): names, ("n9.test", "A"): ["192.0.2.5"]}
    assert (await inspect(zone, told="N9.test."))[0][0].evidence == ReverseName("n9.test", confirmed=True)
    zone = {(PTR, "PTR"): ["a.test"], ("told.test", "A"): ["192.0.2.5"]}
    assert (await inspect(zone, told="told.test"))[0][0].rule == "RDNS_UNCONFIRMED"


@pytest.mark.parametrize("name", ["", "192.0.2.5", "a\\.b.test", "\\255\\000.test", "x y", "-a.test"])
async def test_a_ptr_record_that_is_no_host_s_name_is_looked_up_nowhere(name):
    found, asked = await inspect({(PTR, "PTR"): [name]})
    assert found[0].rule == "RDNS_UNCONFIRMED"
    assert len(asked) == 1


@pytest.mark.parametrize("address", [None, "10.0.0.1", "127.0.0.1", "::1", "fe80::1"])
async def test_nobody_is_asked_about_an_unknown_or_inner_address(address):
    assert await inspect({}, address) == ([], [])


def test_the_rules_are_weak_and_carry_the_code_for_reverse_dns():
    assert {rule.name: rule.score for rule in CHECK.rules()} == dict(zip(ALL, (1.0, 0.6, 0.0), strict=True))
    assert {rule.enhanced for rule in CHECK.rules()} == {"7.25"}


@pytest.mark.parametrize("names", [0, 21])
def test_a_cap_that_makes_no_sense_is_refused(names):
    with pytest.raises(ValueError, match="from 1 to 20"):
        ReverseDns(names)
