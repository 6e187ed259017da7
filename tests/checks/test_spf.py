from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

import pytest

from gatekeeper.checks.base import Tools
from gatekeeper.checks.spf import HeloSpfResult, Spf
from gatekeeper.dns.resolver import Status
from gatekeeper.mailauth.spf import SpfCode, SpfIdentity, SpfResult, forget
from gatekeeper.mailauth.upstream import Upstream
from gatekeeper.model import Action, Address, Envelope, Finding, Mail, Missing, Session, Stage
from gatekeeper.store.memory import MemoryStore
from gatekeeper.wire.address import parse_path
from tests.support.fake_resolver import FakeResolver
from tests.support.mail import message_of

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
    login: str | None = None,
    check: Spf | None = None,
) -> list[Finding | Missing]:
    session = Session("s", "smtp", 0.0, address=ip_address(address) if address else None, helo=helo, login=login)
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


@pytest.mark.parametrize(
    ("address", "login"),
    [
        ("10.0.0.5", None),
        ("::ffff:10.0.0.5", None),
        ("fd00::5", None),
        ("127.0.0.1", None),
        ("169.254.0.5", None),
        ("192.0.2.1", "joe"),
        ("2001:db8::1", "joe"),
    ],
)
async def test_clients_of_our_own_are_not_asked_about(address: str, login: str | None) -> None:
    zone = {("example.com", "TXT"): [b"v=spf1 -all"], ("mx.example.net", "TXT"): [b"v=spf1 -all"]}
    assert await inspect(zone, address=address, login=login) == []


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


MACRO = {("example.com", "TXT"): [b"v=spf1 exists:%{l}.ok.test -all"]}


@pytest.mark.parametrize(
    ("status", "rule"),
    [
        (Status.TIMEOUT, "SPF_TEMPERROR"),
        (Status.REFUSED, "SPF_TEMPERROR"),
        (Status.NONSENSE, "SPF_UNASKED"),
        (Status.BUDGET, "SPF_UNASKED"),
    ],
)
async def test_what_will_not_be_known_soon_defers_nothing(status: Status, rule: str) -> None:
    check = Spf(defer=True, helo=False)
    found, missing = await inspect(MACRO | {("joe.ok.test", "A"): status}, check=check)
    assert isinstance(found, Finding)
    assert (found.rule, found.evidence.code) == (rule, SpfCode.TEMPERROR)
    assert isinstance(missing, Missing)
    assert "SPF_FAIL" in missing.rules
    decides = {one.name: one.decides for one in check.rules()}[rule]
    assert decides is (Action.DEFER if rule == "SPF_TEMPERROR" else None)


def test_a_time_limit_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="timeout"):
        Spf(timeout=0.0)


UPSTREAM = Spf(upstreams=(Upstream("mx.upstream.example", ("192.0.2.1",)),))
RECEIVED = "Received: from a.example by mx.upstream.example; Mon, 1 Jan 2027 00:00:00 +0000\n"


async def brought(said: str, *, address: str = "192.0.2.1", stage: Stage = Stage.MESSAGE) -> list[Finding | Missing]:
    """What is found of a message to which its client, the upstream, has put this on top."""
    session = Session("s", "smtp", 0.0, address=ip_address(address), helo="mx.upstream.example")
    tools = Tools(FakeResolver({}), MemoryStore(), lambda: 0.0, "mx.example.org", frozenset())
    header = f"Authentication-Results: mx.upstream.example; {said}\n{RECEIVED}" if said else RECEIVED
    message = message_of(f"{header}From: joe@example.com\n\nHi.\n") if stage is Stage.MESSAGE else None
    mail = Mail(session, Envelope("e", sender=SENDER), message, stage=stage)
    return list(await UPSTREAM.inspect(mail, tools))


async def test_of_mail_that_an_upstream_brings_its_own_word_is_taken() -> None:
    assert await brought("", stage=Stage.MAIL) == []  # the client is not the sender's, and nobody else is known yet
    word, found = await brought("spf=softfail smtp.mailfrom=joe@example.com; dkim=none")
    assert isinstance(word, Finding)
    assert (word.rule, word.text) == ("SPF_UPSTREAM", "mx.upstream.example says spf=softfail, dkim=none")
    assert isinstance(found, Finding)
    assert found.rule == "SPF_SOFTFAIL"
    assert found.evidence == SpfResult(
        SpfCode.SOFTFAIL, "example.com", SpfIdentity.MAILFROM, reason="as mx.upstream.example says"
    )


async def test_an_upstream_that_says_nothing_of_spf_leaves_it_unknown() -> None:
    for said in ("", "none", "dkim=none", "spf=temperror smtp.mailfrom=example.com"):
        assert [one.rule for one in await brought(said) if isinstance(one, Finding)] == ["SPF_UPSTREAM"]


async def test_nobody_else_is_taken_for_an_upstream() -> None:
    assert await brought("spf=pass smtp.mailfrom=example.com", address="192.0.2.2") == []
    found, _ = await brought("", address="192.0.2.2", stage=Stage.MAIL)
    assert isinstance(found, Finding)
    assert found.rule == "SPF_NONE"


def test_without_upstreams_there_is_nothing_to_do_at_the_message() -> None:
    assert Spf().idle_at(Stage.MESSAGE)
    assert not UPSTREAM.idle_at(Stage.MESSAGE)
    assert not Spf().idle_at(Stage.MAIL)


def test_only_of_an_upstreams_mail_something_may_be_found_later() -> None:
    def foreseen(address: str | None) -> Sequence[str]:
        session = Session("s", "smtp", 0.0, address=ip_address(address) if address else None)
        return UPSTREAM.foresee(Mail(session, Envelope("e")))

    assert "SPF_PASS" in foreseen("192.0.2.1")
    assert not foreseen("192.0.2.2")
    assert not foreseen(None)


def test_an_upstream_stands_there_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        Spf(upstreams=(Upstream("a.example", ("192.0.2.1",)), Upstream("A.example", ("192.0.2.2",))))
