from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.checks.base import Tools
from gatekeeper.checks.helo import Helo, HeloName, _fault
from gatekeeper.checks.reverse_dns import ReverseDns
from gatekeeper.model import Envelope, Finding, Mail, Session
from gatekeeper.store.memory import MemoryStore
from tests.support.fake_resolver import FakeResolver

TOOLS = Tools(FakeResolver(), MemoryStore(), lambda: 0.0, "MX.example.org", frozenset({"example.org", "example.net"}))


def session_of(helo: str | None, address: str | None = "192.0.2.5", login: str | None = None) -> Session:
    return Session("s", "smtp", 0.0, address=ip_address(address) if address else None, helo=helo, login=login)


async def rules(helo: str | None, address: str | None = "192.0.2.5", login: str | None = None) -> list[str]:
    found = await Helo().inspect(Mail(session_of(helo, address, login), Envelope("e")), TOOLS)
    return [finding.rule for finding in found]


@pytest.mark.parametrize(
    "helo",
    [
        *("mail.test", "MAIL.Test", "a-b.c-d.test", "under_score.test", "xn--bcher-kva.test", "mail.test.", "9.to"),
        *("[192.0.2.5]", "sub.example.org", "example.com"),
    ],
)
async def test_a_proper_name_is_not_found(helo):
    assert await rules(helo) == []


@pytest.mark.parametrize(
    "helo",
    [
        *(
            "",
            ".",
            "a..test",
            ".test",
            "-a.test",
            "a-.test",
            "a b.test",
            "a@b.test",
            "bücher.test",
            "a\\b.test",
            "*.test",
        ),
        *("a" * 64 + ".test", ".".join(["a" * 49] * 6), "1.2.3", "300.1.2.3", "mail.123", "a,b", "mail.test:25"),
        *("[", "[]", "[192.0.2.5", "[192.0.2]", "[192.0.2.256]", "[010.0.0.1]", "[mail.test]", "[2001:db8::1]"),
        *("[IPv6:]", "[IPv6:192.0.2.5]", "[IPv6:fe80::1%eth0]", "[tag:content]", "\ud800.test", "a\0.test"),
    ],
)
async def test_what_is_neither_name_nor_literal_is_a_fault_of_syntax(helo):
    assert await rules(helo) == ["HELO_SYNTAX"]


@pytest.mark.parametrize(
    "helo", ["localhost", "WORKSTATION", "a", "localhost.localdomain", "x.localhost", "pc_1", "a."]
)
async def test_a_name_that_means_nothing_elsewhere_is_not_fully_qualified(helo):
    assert await rules(helo) == ["HELO_NOT_FQDN"]


@pytest.mark.parametrize("helo", ["192.0.2.5", "10.0.0.1", "2001:db8::1", "::1", "192.0.2.5."])
async def test_an_address_without_brackets_is_bare(helo):
    assert await rules(helo) == ["HELO_BARE_IP"]


@pytest.mark.parametrize(
    ("helo", "address", "found"),
    [
        ("[192.0.2.6]", "192.0.2.5", ["HELO_LITERAL_MISMATCH"]),
        ("[127.0.0.1]", "192.0.2.5", ["HELO_LITERAL_MISMATCH"]),
        ("[IPv6:2001:db8::1]", "192.0.2.5", ["HELO_LITERAL_MISMATCH"]),
        ("[IPv6:2001:DB8:0::1]", "2001:db8::1", []),
        ("[ipv6:2001:db8::1]", "2001:db8::1", []),
        ("[IPv6:::ffff:192.0.2.5]", "192.0.2.5", []),
        ("[192.0.2.5]", "::ffff:192.0.2.5", []),
        ("[192.0.2.6]", None, []),
    ],
)
async def test_an_address_in_brackets_has_to_be_the_client_s(helo, address, found):
    assert await rules(helo, address) == found


@pytest.mark.parametrize("helo", ["mx.example.org", "MX.EXAMPLE.ORG.", "example.org", "Example.NET"])
async def test_a_stranger_that_says_a_name_of_ours_is_found(helo):
    assert await rules(helo) == ["HELO_IS_OURS"]


@pytest.mark.parametrize(
    ("address", "login"), [("127.0.0.1", None), ("10.1.2.3", None), ("::1", None), (None, None), ("192.0.2.5", "anna")]
)
async def test_our_own_machines_and_users_may_say_our_names(address, login):
    assert await rules("mx.example.org", address, login) == []


async def test_what_was_not_said_is_not_judged():
    assert await rules(None) == []


async def test_the_evidence_is_the_name_as_it_came():
    (finding,) = await Helo().inspect(Mail(session_of("WORKSTATION"), Envelope("e")), TOOLS)
    assert finding == Finding("HELO_NOT_FQDN", HeloName("WORKSTATION"), "HELO WORKSTATION is no fully qualified name")


@given(st.text(max_size=600) | st.from_regex(r"\[[0-9A-Fa-f:.IPv%]*\]?"))
def test_any_text_breaks_one_rule_that_exists_or_none(helo):
    fault = _fault(helo, session_of(helo), TOOLS)
    assert fault is None or fault[0] in {rule.name for rule in Helo().rules()}


def test_form_alone_stays_well_below_a_tag():
    worst = sum(max(rule.score for rule in check.rules()) for check in (Helo(), ReverseDns()))
    assert worst <= 3.0


@pytest.mark.parametrize(
    ("helo", "address"),
    [
        ("198-51-100-7.isp.test", "198.51.100.7"),
        ("host7.100.51.198.isp.test", "198.51.100.7"),
        ("x-198-051-100-007.isp.test", "198.51.100.7"),
        ("c6336407.isp.test", "198.51.100.7"),
        ("cpe-198051100007.isp.test", "198.51.100.7"),
        ("dyn-12.pool.isp.test", "198.51.100.7"),
        ("a12.dsl.isp.test", "198.51.100.7"),
        ("20010db8000000000000000000000009.ip6.isp.test", "2001:db8::9"),
    ],
)
async def test_names_of_customers_lines_are_weak_evidence(helo, address):
    assert await rules(helo, address) == ["HELO_DYNAMIC"]
    score = {rule.name: rule.score for rule in Helo().rules()}
    assert score["HELO_DYNAMIC"] == min(score.values())


@pytest.mark.parametrize(
    ("helo", "address"),
    [
        ("mx7.example.com", "198.51.100.7"),
        ("mail-ed1-f51.google.test", "198.51.100.7"),
        ("o1.ptr1234.sendgrid.test", "198.51.100.7"),
        ("198-51-100-8.isp.test", "198.51.100.7"),
        ("pool.example.com", "198.51.100.7"),
        ("mx1.dynamics.test", "198.51.100.7"),
        ("198-51-100-7.isp.test", None),
    ],
)
async def test_names_of_servers_are_not_taken_for_them(helo, address):
    assert await rules(helo, address) == []
