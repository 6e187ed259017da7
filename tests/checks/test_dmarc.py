from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from gatekeeper.checks.base import Tools
from gatekeeper.checks.dmarc import Dmarc
from gatekeeper.dns.resolver import Status
from gatekeeper.mailauth.arc import ArcCode, ArcResult
from gatekeeper.mailauth.dkim import DkimResult, DkimResults
from gatekeeper.mailauth.dkim_signature import DkimCode
from gatekeeper.mailauth.dmarc import DmarcCode, DmarcResult, Override
from gatekeeper.mailauth.spf import SpfCode, SpfIdentity, SpfResult
from gatekeeper.mailauth.upstream import UpstreamResults
from gatekeeper.model import Action, Address, Envelope, Finding, Mail, Missing, Session
from gatekeeper.store.memory import MemoryStore
from tests.support.fake_resolver import FakeResolver
from tests.support.mail import message_of

FROM = "From: Joe <joe@example.com>\n\n"
FAILED = SpfResult(SpfCode.FAIL, "elsewhere.test", SpfIdentity.MAILFROM)
ALIGNED = SpfResult(SpfCode.PASS, "example.com", SpfIdentity.MAILFROM)
UNSIGNED = DkimResults()
TRUSTED = ArcResult(ArcCode.PASS, 1, trusted_pass=True)


def record(tags: str, domain: str = "example.com") -> dict[tuple[str, str], Any]:
    return {(f"_dmarc.{domain}", "TXT"): [f"v=DMARC1; {tags}".encode()]}


async def inspect(
    zone: dict[tuple[str, str], Any],
    raw: str = FROM,
    *evidence: Any,
    address: str | None = "192.0.2.1",
    login: str | None = None,
    check: Dmarc | None = None,
    chain: ArcResult | None = None,
) -> list[Finding | Missing]:
    session = Session("s", "smtp", 0.0, address=ip_address(address) if address else None, helo="mx.test", login=login)
    mail = Mail(session, Envelope("e", sender=Address("a", "elsewhere.test")), message_of(raw))
    mail.envelope.notebook.findings += [Finding("X", one) for one in evidence or (FAILED, UNSIGNED)]
    mail.envelope.notebook.findings += [Finding("ARC", chain)] if chain is not None else []
    tools = Tools(FakeResolver(zone), MemoryStore(), lambda: 0.0, "mx.example.org", frozenset())
    return list(await (check or Dmarc()).inspect(mail, tools))


def rules(found: list[Finding | Missing]) -> list[str]:
    return [one.rule if isinstance(one, Finding) else f"missing {one.name}" for one in found]


@pytest.mark.parametrize(
    ("zone", "evidence", "rule"),
    [
        (record("p=reject"), (ALIGNED, UNSIGNED), "DMARC_PASS"),
        (record("p=reject"), (), "DMARC_REJECT"),
        (record("p=quarantine"), (), "DMARC_QUARANTINE"),
        (record("p=none"), (), "DMARC_FAIL"),
        (record("p=reject; t=y"), (), "DMARC_QUARANTINE"),
        (record("p=quarantine; t=y"), (), "DMARC_FAIL"),
        ({}, (), "DMARC_NONE"),
    ],
)
async def test_each_result_is_a_rule(zone: dict[tuple[str, str], Any], evidence: tuple[Any, ...], rule: str) -> None:
    (found,) = await inspect(zone, FROM, *evidence)
    assert isinstance(found, Finding)
    assert found.rule == rule
    assert isinstance(found.evidence, DmarcResult)
    assert found.text.startswith("DMARC ")
    assert "example.com" in found.text


def test_reject_decides_alone_unless_it_is_not_enforced() -> None:
    def decisions(check: Dmarc) -> dict[str, Action]:
        return {rule.name: rule.decides for rule in check.rules() if rule.decides is not None}

    assert decisions(Dmarc()) == {"DMARC_REJECT": Action.REJECT}
    assert decisions(Dmarc(enforce=False)) == {}


async def test_mail_of_the_same_owner_is_not_refused_for_its_policy() -> None:
    vouched = DkimResults((DkimResult(DkimCode.PASS, "example.com"),), 1)
    raw = "From: joe@mail.example.com\n\n"
    assert rules(await inspect(record("p=reject", "mail.example.com"), raw, FAILED, vouched)) == ["DMARC_FAIL"]


async def test_without_an_answer_nothing_failed_and_what_might_have_been_found_is_missing() -> None:
    found = await inspect({("_dmarc.example.com", "TXT"): Status.TIMEOUT})
    assert rules(found) == ["DMARC_TEMPERROR", "missing dmarc"]
    assert isinstance(found[1], Missing)
    assert found[1].rules == ("DMARC_PASS", "DMARC_NONE", "DMARC_FAIL", "DMARC_QUARANTINE", "DMARC_REJECT")


@pytest.mark.parametrize(
    "evidence",
    [
        (SpfResult(SpfCode.TEMPERROR, "mail.example.com", SpfIdentity.MAILFROM), UNSIGNED),
        (FAILED, DkimResults((DkimResult(DkimCode.TEMPERROR, "example.com"),), 1)),
        (FAILED,),
        (UNSIGNED,),
    ],
)
async def test_a_result_that_rests_on_a_missing_one_is_missing(evidence: tuple[Any, ...]) -> None:
    found = await inspect(record("p=reject"), FROM, *evidence)
    assert rules(found) == ["DMARC_TEMPERROR", "missing dmarc"]
    assert isinstance(found[1], Missing)
    assert found[1].rules == ("DMARC_PASS", "DMARC_REJECT")


async def test_where_spf_cannot_be_known_only_a_pass_is_found() -> None:
    signed = DkimResults((DkimResult(DkimCode.PASS, "example.com"),), 1)
    assert rules(await inspect(record("p=reject"), FROM, signed, address=None)) == ["DMARC_PASS"]
    assert rules(await inspect(record("p=reject"), FROM, UNSIGNED, address=None)) == []
    assert rules(await inspect({}, FROM, UNSIGNED, address=None)) == ["DMARC_NONE"]


@pytest.mark.parametrize(("address", "login"), [("10.0.0.5", None), ("127.0.0.1", None), ("192.0.2.1", "joe")])
async def test_of_mail_of_our_own_clients_only_a_pass_is_found(address: str, login: str | None) -> None:
    """It may be signed by us a moment later."""
    signed = DkimResults((DkimResult(DkimCode.PASS, "example.com"),), 1)
    zone = record("p=reject")
    assert rules(await inspect(zone, FROM, signed, address=address, login=login)) == ["DMARC_PASS"]
    assert rules(await inspect(zone, FROM, UNSIGNED, address=address, login=login)) == []
    odd = "From: joe@example.com, ann@example.com\n\n"
    assert rules(await inspect(zone, odd, UNSIGNED, address=address, login=login)) == ["DMARC_NONE"]
    # What an upstream within our own network says of SPF counts as ever.
    silent = UpstreamResults("mx.upstream.example")
    assert rules(await inspect(zone, FROM, FAILED, UNSIGNED, silent, address=address)) == ["DMARC_REJECT"]


@pytest.mark.parametrize(
    "raw",
    [
        "From: joe@example.com\nFrom: eve@evil.test\n\n",
        "From: eve@evil.test\nFrom: joe@example.com\n\n",
        "From: eve@evil.test, joe@example.com\n\n",
    ],
)
async def test_two_authors_never_pass_and_the_stricter_policy_counts(raw: str) -> None:
    zone = record("p=reject") | record("p=none", "evil.test")
    vouched = DkimResults((DkimResult(DkimCode.PASS, "evil.test"),), 1)
    found = await inspect(zone, raw, FAILED, vouched)
    assert rules(found) == ["DMARC_AMBIGUOUS_FROM", "DMARC_REJECT"]
    assert isinstance(found[0], Finding)
    assert found[0].evidence.code is DmarcCode.PERMERROR
    both = DkimResults((DkimResult(DkimCode.PASS, "evil.test"), DkimResult(DkimCode.PASS, "example.com")), 2)
    assert rules(await inspect(zone, raw, FAILED, both)) == ["DMARC_NONE"]


async def test_many_authors_are_not_all_asked_about() -> None:
    raw = "From: " + ", ".join(f"a@d{n}.test" for n in range(9)) + "\n\n"
    zone = record("p=reject", "d3.test") | record("p=reject", "d4.test")
    assert rules(await inspect({}, raw)) == ["DMARC_AMBIGUOUS_FROM"]
    found = await inspect(zone, raw)
    assert [one.text for one in found if isinstance(one, Finding)] == [
        "d0.test, d1.test, d2.test, d3.test",
        "DMARC fail for d3.test (p=reject at d3.test)",
    ]


async def test_an_author_behind_four_others_hides_no_policy() -> None:
    def raw(others: int) -> str:
        return "From: " + ", ".join([*(f"a@d{n}.test" for n in range(others)), "joe@example.com"]) + "\n\n"

    assert rules(await inspect(record("p=reject"), raw(3))) == ["DMARC_AMBIGUOUS_FROM", "DMARC_REJECT"]
    assert rules(await inspect(record("p=reject"), raw(4))) == ["DMARC_AMBIGUOUS_FROM"]
    assert rules(await inspect({}, raw(3))) == ["DMARC_NONE"]


async def test_an_author_too_long_to_be_read_hides_nothing() -> None:
    raw = "From: " + "x" * 100_000 + " <joe@example.com>\n\n"
    assert rules(await inspect(record("p=reject"), raw)) == ["DMARC_AMBIGUOUS_FROM"]


async def test_one_of_two_authors_without_an_answer_is_missing() -> None:
    raw = "From: eve@evil.test, joe@example.com\n\n"
    found = await inspect(record("p=reject") | {("_dmarc.evil.test", "TXT"): Status.REFUSED}, raw)
    assert rules(found) == ["DMARC_AMBIGUOUS_FROM", "DMARC_REJECT", "missing dmarc"]


@pytest.mark.parametrize(
    "raw", ["Subject: no author\n\n", "From: undisclosed\n\n", "From:\n\n", "From: joe@[192.0.2.1]\n\n"]
)
async def test_no_author_no_pass(raw: str) -> None:
    assert "DMARC_PASS" not in rules(await inspect({}, raw, ALIGNED, UNSIGNED))


async def test_without_a_message_nothing_is_found() -> None:
    mail = Mail(Session("s", "smtp", 0.0), Envelope("e"))
    tools = Tools(FakeResolver(), MemoryStore(), lambda: 0.0, "mx.example.org", frozenset())
    assert list(await Dmarc().inspect(mail, tools)) == []


# Mail that was sent on (RFC 9989 §7.4).

LISTED = "List-Id: <talk.lists.test>\nFrom: Joe <joe@example.com>\n\n"
BY_LIST = DkimResults((DkimResult(DkimCode.PASS, "lists.test"), DkimResult(DkimCode.FAIL, "example.com")), 2)
LIST_SENT = SpfResult(SpfCode.PASS, "lists.test", SpfIdentity.MAILFROM)


@pytest.mark.parametrize(
    "field", ["List-Id: <a.lists.test>", "List-Post: <mailto:a@lists.test>", "Resent-From: a@b.test"]
)
@pytest.mark.parametrize("evidence", [(FAILED, BY_LIST), (LIST_SENT, UNSIGNED)])
async def test_what_a_list_vouches_for_is_marked_and_not_refused(field: str, evidence: tuple[Any, ...]) -> None:
    (found,) = await inspect(record("p=reject"), f"{field}\n{FROM}", *evidence)
    assert isinstance(found, Finding)
    assert (found.rule, found.evidence.policy, found.evidence.override) == (
        "DMARC_QUARANTINE",
        "reject",
        "mailing_list",
    )
    assert "sent on" in found.text


@pytest.mark.parametrize(
    ("raw", "evidence"),
    [
        (LISTED, (FAILED, UNSIGNED)),  # nobody vouches for the list
        (LISTED, (FAILED, DkimResults((DkimResult(DkimCode.FAIL, "lists.test"),), 1))),
        (FROM, (LIST_SENT, BY_LIST)),  # no list
        ("X-List: x\n" + FROM, (LIST_SENT, BY_LIST)),
        ("From: joe@example.com, eve@evil.test\nList-Id: <a.lists.test>\n\n", (LIST_SENT, BY_LIST)),
    ],
)
async def test_what_only_claims_to_be_from_a_list_is_refused(raw: str, evidence: tuple[Any, ...]) -> None:
    assert "DMARC_REJECT" in rules(await inspect(record("p=reject"), raw, *evidence))


@pytest.mark.parametrize("policy", ["reject", "quarantine"])
async def test_a_trusted_sealer_s_word_takes_the_place_of_the_policy(policy: str) -> None:
    (found,) = await inspect(record(f"p={policy}"), FROM, FAILED, UNSIGNED, chain=TRUSTED)
    assert isinstance(found, Finding)
    assert (found.rule, found.evidence.code, found.evidence.override) == (
        "DMARC_ARC", DmarcCode.FAIL, Override.TRUSTED_FORWARDER,
    )  # fmt: skip
    assert "sealer" in found.text


@pytest.mark.parametrize(
    ("status", "rule"),
    [
        (ArcCode.PASS, "DMARC_QUARANTINE"),
        (ArcCode.TEMPERROR, "DMARC_QUARANTINE"),
        (ArcCode.FAIL, "DMARC_REJECT"),
        (ArcCode.NONE, "DMARC_REJECT"),
    ],
)
async def test_a_stranger_s_chain_only_softens(status: ArcCode, rule: str) -> None:
    chain = ArcResult(status, 1)
    assert rules(await inspect(record("p=reject"), FROM, FAILED, UNSIGNED, chain=chain)) == [rule]
    assert rules(await inspect(record("p=quarantine"), FROM, FAILED, UNSIGNED, chain=chain)) == ["DMARC_QUARANTINE"]
    check = Dmarc(soften=False)
    assert rules(await inspect(record("p=reject"), FROM, FAILED, UNSIGNED, chain=chain, check=check)) == [
        "DMARC_REJECT"
    ]


async def test_a_chain_changes_nothing_about_what_passes_or_asks_for_nothing() -> None:
    for tags, evidence, rule in (("p=reject", ALIGNED, "DMARC_PASS"), ("p=none", FAILED, "DMARC_FAIL")):
        (found,) = await inspect(record(tags), FROM, evidence, UNSIGNED, chain=TRUSTED)
        assert isinstance(found, Finding)
        assert (found.rule, found.evidence.override) == (rule, None)


async def test_nothing_is_softened_where_that_is_off_or_the_policy_is_milder() -> None:
    check = Dmarc(soften=False)
    assert rules(await inspect(record("p=reject"), LISTED, LIST_SENT, BY_LIST, check=check)) == ["DMARC_REJECT"]
    (found,) = await inspect(record("p=quarantine"), LISTED, LIST_SENT, BY_LIST)
    assert isinstance(found, Finding)
    assert (found.rule, found.evidence.override) == ("DMARC_QUARANTINE", None)


SAW_IT_PASS = UpstreamResults("mx.upstream.example", attested=("example.com",))


async def test_what_a_trusted_upstream_saw_pass_is_not_refused() -> None:
    (found,) = await inspect(record("p=reject"), FROM, FAILED, UNSIGNED, SAW_IT_PASS)
    assert isinstance(found, Finding)
    assert found.rule == "DMARC_ARC"
    assert found.evidence.override is Override.TRUSTED_FORWARDER
    other = UpstreamResults("mx.upstream.example", attested=("example.net", "mail.example.com"))
    assert rules(await inspect(record("p=reject"), FROM, FAILED, UNSIGNED, other)) == ["DMARC_REJECT"]


async def test_where_an_upstream_says_nothing_of_spf_a_fail_cannot_be_told() -> None:
    silent = UpstreamResults("mx.upstream.example")
    assert await inspect(record("p=reject"), FROM, UNSIGNED, silent) == []
    signed = DkimResults((DkimResult(DkimCode.PASS, "example.com"),), 1)
    assert rules(await inspect(record("p=reject"), FROM, signed, silent)) == ["DMARC_PASS"]
