from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from gatekeeper.checks.base import Tools
from gatekeeper.checks.spf import HeloSpfResult, Spf
from gatekeeper.dns.resolver import Status
from gatekeeper.mailauth.spf import SpfCode, SpfIdentity, SpfResult, forget
from gatekeeper.model import Action, Address, Envelope, Finding, Mail, Missing, Session
from gatekeeper.store.memory import MemoryStore
from gatekeeper.wire.address import parse_path
from tests.support.fake_resolver import FakeResolver

SENDER = Address("joe", "example.com")


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    forget()


async def inspect(
    zone: dict[tuple[str, str], Any],
    *,
    address: str | None = "192.0.2.1",
    sender: Address | None = SENDER,
    helo: str | None = "mx.example.net",
    check: Spf | None = None,
) -> list[Finding | Missing]:
    session = Session("s", "smtp", 0.0, address=ip_address(address) if address else None, helo=helo)
    tools = Tools(FakeResolver(zone), MemoryStore(), lambda: 0.0, "mx.example.org", frozenset())
    return list(await (check or Spf()).inspect(Mail(session, Envelope("e", sender=sender)), tools))


@pytest.mark.parametrize(
    ("record", "rule", "code"),
    [
        ("v=spf1 ip4:192.0.2.1 -all", "SPF_PASS", SpfCode.PASS),
        ("v=spf1 -all", "SPF_FAIL", SpfCode.FAIL),
        ("v=spf1 ~all", "SPF_SOFTFAIL", SpfCode.SOFTFAIL),
        ("v=spf1 ?all", "SPF_NEUTRAL", SpfCode.NEUTRAL),
        ("something else", "SPF_NONE", SpfCode.NONE),
        ("v=spf1 what", "SPF_PERMERROR", SpfCode.PERMERROR),
    ],
)
async def test_each_result_is_a_rule_with_the_result_as_evidence(record: str, rule: str, code: SpfCode) -> None:
    (found, _) = await inspect({("example.com", "TXT"): [record.encode()]})
    assert isinstance(found, Finding)
    assert found.rule == rule
    assert isinstance(found.evidence, SpfResult)
    assert (found.evidence.code, found.evidence.identity) == (code, SpfIdentity.MAILFROM)
    assert found.text.startswith(f"SPF {code} for 192.0.2.1 at example.com")


@pytest.mark.parametrize(
    "path",
    [
        "@other.example:joe@example.com",
        '"joe@other.example"@example.com',
        '"joe\\"x"@example.com',
        "=?utf-8?q?joe=40other.example?=@example.com",
    ],
)
async def test_a_sender_that_two_readers_read_differently_does_not_pass(path: str) -> None:
    zone = {("example.com", "TXT"): [b"v=spf1 ip4:192.0.2.1 -all"]}
    (found, _) = await inspect(zone, sender=parse_path(path))
    assert isinstance(found, Finding)
    assert found.rule == "SPF_AMBIGUOUS"
    assert found.evidence.code is SpfCode.POLICY
    (found, _) = await inspect(zone, sender=parse_path(path), address="192.0.2.9")
    assert isinstance(found, Finding)
    assert found.rule == "SPF_FAIL"  # a fail is no less of one


@pytest.mark.parametrize(
    "path", ["joe%other.example@example.com", "other.example!joe@example.com", '"joe"@example.com']
)
async def test_what_everybody_takes_for_the_same_domain_passes(path: str) -> None:
    (found, _) = await inspect({("example.com", "TXT"): [b"v=spf1 ip4:192.0.2.1 -all"]}, sender=parse_path(path))
    assert isinstance(found, Finding)
    assert found.rule == "SPF_PASS"


async def test_without_an_answer_every_other_rule_is_missing() -> None:
    found, missing, _ = await inspect({("example.com", "TXT"): Status.TIMEOUT})
    assert isinstance(found, Finding)
    assert found.rule == "SPF_TEMPERROR"
    assert isinstance(missing, Missing)
    assert missing.name == "spf"
    assert set(missing.rules) == {
        "SPF_PASS", "SPF_FAIL", "SPF_SOFTFAIL", "SPF_NEUTRAL", "SPF_NONE", "SPF_PERMERROR", "SPF_AMBIGUOUS",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("address", "sender", "helo"),
    [(None, SENDER, "mx.test"), ("192.0.2.1", None, "mx.test"), ("192.0.2.1", Address("", ""), None)],
)
async def test_what_cannot_be_known_here_is_not_found(
    address: str | None, sender: Address | None, helo: str | None
) -> None:
    assert await inspect({}, address=address, sender=sender, helo=helo) == []


async def test_an_empty_sender_is_judged_by_the_client_s_name_once() -> None:
    (found,) = await inspect({("mx.example.net", "TXT"): [b"v=spf1 -all"]}, sender=Address("", ""))
    assert isinstance(found, Finding)
    assert (found.rule, found.evidence.identity) == ("SPF_FAIL", SpfIdentity.HELO)


async def test_a_borrowed_name_is_found_beside_the_sender() -> None:
    found = await inspect(
        {
            ("example.com", "TXT"): [b"v=spf1 +all"],
            ("mx.example.net", "TXT"): [b"v=spf1 -all exp=why.test"],
            ("why.test", "TXT"): [b"not ours"],
        }
    )
    assert [one.rule for one in found if isinstance(one, Finding)] == ["SPF_PASS", "SPF_HELO_FAIL"]
    own = found[1]
    assert isinstance(own, Finding)
    assert isinstance(own.evidence, HeloSpfResult)
    assert own.text == "SPF fail for 192.0.2.1 at mx.example.net (not ours)"


@pytest.mark.parametrize(
    ("record", "rule"),
    [
        ("v=spf1 +all", "SPF_HELO_PASS"),
        ("v=spf1 -all", "SPF_HELO_FAIL"),
        ("v=spf1 ~all", "SPF_HELO_SOFTFAIL"),
        ("v=spf1 ?all", "SPF_HELO_NEUTRAL"),
        ("", "SPF_HELO_NONE"),
        ("v=spf1 what", "SPF_HELO_PERMERROR"),
    ],
)
async def test_each_result_for_the_client_s_name_is_a_rule(record: str, rule: str) -> None:
    zone = {("example.com", "TXT"): [b"v=spf1 +all"], ("mx.example.net", "TXT"): [record.encode()]}
    found = await inspect(zone)
    assert [one.rule for one in found if isinstance(one, Finding)] == ["SPF_PASS", rule]


async def test_both_identities_are_asked_about_where_they_are_one_domain() -> None:
    zone = {("example.com", "TXT"): [b"v=spf1 exists:%{l}.ok.test -all"], ("joe.ok.test", "A"): ["127.0.0.2"]}
    found = await inspect(zone, helo="example.com")
    assert [one.rule for one in found if isinstance(one, Finding)] == ["SPF_PASS", "SPF_HELO_FAIL"]


async def test_the_client_s_name_without_an_answer_is_missing_by_itself() -> None:
    found = await inspect({("example.com", "TXT"): [b"v=spf1 +all"], ("mx.example.net", "TXT"): Status.REFUSED})
    assert [one.rule for one in found if isinstance(one, Finding)] == ["SPF_PASS", "SPF_HELO_TEMPERROR"]
    (missing,) = [one for one in found if isinstance(one, Missing)]
    assert missing.name == "spf:helo"
    assert "SPF_HELO_FAIL" in missing.rules
    assert "SPF_HELO_TEMPERROR" not in missing.rules


async def test_the_client_s_name_is_not_asked_about_where_that_is_off() -> None:
    check = Spf(helo=False)
    assert len(await inspect({("mx.example.net", "TXT"): [b"v=spf1 -all"]}, check=check)) == 1
    assert "SPF_HELO_FAIL" not in {rule.name for rule in check.rules()}


def test_a_temperror_defers_only_where_that_is_set() -> None:
    def decisions(check: Spf) -> dict[str, Action]:
        return {rule.name: rule.decides for rule in check.rules() if rule.decides is not None}

    assert decisions(Spf()) == {}
    assert decisions(Spf(defer=True)) == {"SPF_TEMPERROR": Action.DEFER}


def test_a_time_limit_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="timeout"):
        Spf(timeout=0.0)
