from __future__ import annotations

import pytest

from gatekeeper.checks.base import Tools
from gatekeeper.checks.sender_domain import SenderDomain, SenderDomainAnswer
from gatekeeper.dns.resolver import Status
from gatekeeper.model import Action, Address, Envelope, Finding, Mail, Missing, Session
from gatekeeper.policy import Policy, Settings
from gatekeeper.store.memory import MemoryStore
from tests.support.fake_resolver import FakeResolver, Zone

FAILURES = [Status.TIMEOUT, Status.REFUSED, Status.NONSENSE]
DEFERS = SenderDomain(unreachable="defer")


async def found(
    zone: Zone, domain: str = "sender.test", *, check: SenderDomain | None = None, login: str | None = None
) -> list[Finding | Missing]:
    tools = Tools(FakeResolver(zone), MemoryStore(), lambda: 0.0, "mx.example.org", frozenset({"example.org"}))
    session = Session("s", "smtp", 0.0, login=login)
    sender = Address("a", domain) if domain else Address("", "")
    return list(await (check or SenderDomain()).inspect(Mail(session, Envelope("e", sender)), tools))


def rules(results: list[Finding | Missing]) -> list[str]:
    return [one.rule for one in results if isinstance(one, Finding)]


@pytest.mark.parametrize(
    "zone",
    [
        {("sender.test", "MX"): [(10, "mx.sender.test")]},
        {("sender.test", "MX"): [(10, "mx.sender.test"), (20, "")]},
        {("sender.test", "MX"): Status.NODATA, ("sender.test", "A"): ["192.0.2.1"]},
        {("sender.test", "MX"): Status.NODATA, ("sender.test", "AAAA"): ["2001:db8::1"]},
        {("sender.test", "MX"): Status.NODATA, ("sender.test", "A"): Status.TIMEOUT, ("sender.test", "AAAA"): ["::2"]},
    ],
)
async def test_a_domain_with_mx_or_address_can_be_answered(zone):
    assert await found(zone) == []


async def test_a_null_mx_is_refused_as_its_owner_asks():
    (finding,) = await found({("sender.test", "MX"): [(0, "")]})
    assert isinstance(finding, Finding)
    assert finding.evidence == SenderDomainAnswer("sender.test", "ok")
    verdict = Policy(Settings(), SenderDomain().rules()).decide([finding])
    assert (verdict.action, verdict.code, verdict.enhanced) == (Action.REJECT, 550, "5.7.27")


@pytest.mark.parametrize(
    "zone",
    [
        {},  # NXDOMAIN
        {
            ("sender.test", "MX"): Status.NODATA,
            ("sender.test", "A"): Status.NODATA,
            ("sender.test", "AAAA"): Status.NODATA,
        },
    ],
)
@pytest.mark.parametrize(
    ("setting", "action"), [("score", Action.ACCEPT), ("defer", Action.DEFER), ("reject", Action.REJECT)]
)
async def test_one_that_is_not_there_is_what_the_operator_says(zone, setting, action):
    check = SenderDomain(unreachable=setting)
    results = await found(zone, check=check)
    assert rules(results) == ["SENDER_UNREACHABLE"]
    findings = [one for one in results if isinstance(one, Finding)]
    assert Policy(Settings(), check.rules()).decide(findings).action is action


@pytest.mark.parametrize("status", FAILURES)
@pytest.mark.parametrize("at", ["MX", "A"])
async def test_what_cannot_be_looked_up_is_no_evidence(status, at):
    zone = {("sender.test", "MX"): Status.NODATA, ("sender.test", "A"): Status.NODATA, ("sender.test", at): status}
    (missing,) = await found(zone | {("sender.test", "AAAA"): Status.NODATA})
    assert isinstance(missing, Missing)
    assert set(missing.rules) == {"SENDER_UNREACHABLE", "SENDER_NULL_MX"}


@pytest.mark.parametrize("status", FAILURES)
@pytest.mark.parametrize("setting", ["defer", "reject"])
async def test_where_it_is_refused_what_cannot_be_looked_up_is_put_off_and_never_refused_for_good(status, setting):
    """RFC 2505 §2.9."""
    check = SenderDomain(unreachable=setting)
    results = await found({("sender.test", "MX"): status}, check=check)
    assert rules(results) == ["SENDER_UNSURE"]
    missing = [one for one in results if isinstance(one, Missing)]
    findings = [one for one in results if isinstance(one, Finding)]
    verdict = Policy(Settings(), check.rules()).decide(findings, missing=missing)
    assert (verdict.action, verdict.code) == (Action.DEFER, 451)


async def test_a_spent_budget_of_questions_puts_nobody_off():
    results = await found({("sender.test", "MX"): Status.BUDGET}, check=DEFERS)
    assert rules(results) == []
    assert isinstance(results[0], Missing)


@pytest.mark.parametrize("domain", ["", "example.org", "[192.0.2.1]"])
async def test_the_null_sender_our_own_domains_and_literals_are_not_asked_about(domain):
    """RFC 2505 §2.6."""
    assert await found({}, domain, check=SenderDomain(unreachable="reject")) == []


async def test_nor_is_whoever_has_logged_in():
    assert await found({}, login="user") == []
