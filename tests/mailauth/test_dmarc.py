from __future__ import annotations

from typing import Any

import pytest

from gatekeeper.dns.resolver import Status
from gatekeeper.mailauth.dkim import DkimResult, DkimResults
from gatekeeper.mailauth.dkim_signature import DkimCode
from gatekeeper.mailauth.dmarc import DmarcCode, DmarcResult, evaluate
from gatekeeper.mailauth.dmarc_record import DmarcPolicy
from gatekeeper.mailauth.spf import SpfCode, SpfIdentity, SpfResult
from tests.support.fake_resolver import FakeResolver

UNSIGNED = DkimResults()


def spf(domain: str, code: SpfCode = SpfCode.PASS) -> SpfResult:
    return SpfResult(code, domain, SpfIdentity.MAILFROM)


def dkim(*domains: str, code: DkimCode = DkimCode.PASS, **more: Any) -> DkimResults:
    return DkimResults(tuple(DkimResult(code, domain, **more) for domain in domains), len(domains))


def zone(**records: str) -> dict[tuple[str, str], Any]:
    return {
        (f"_dmarc.{name.replace('_', '.')}", "TXT"): [f"v=DMARC1; {text}".encode()] for name, text in records.items()
    }


NO_SPF = spf("elsewhere.test", SpfCode.FAIL)
EXAMPLE = zone(example_com="p=reject")


async def run(
    author: str, dns: dict[tuple[str, str], Any], spf: SpfResult | None = NO_SPF, dkim: DkimResults | None = UNSIGNED
) -> DmarcResult:
    return await evaluate(FakeResolver(dns), author, spf=spf, dkim=dkim)


async def test_equal_domains_pass_after_one_question() -> None:
    for results in ({"spf": spf("example.com")}, {"dkim": dkim("other.test", "example.com")}):
        resolver = FakeResolver(EXAMPLE)
        got = await evaluate(resolver, "example.com", **({"spf": NO_SPF, "dkim": UNSIGNED} | results))  # type: ignore[arg-type]  # two kinds of results
        assert (got.code, got.aligned_spf, got.aligned_dkim) == (DmarcCode.PASS, "spf" in results, "dkim" in results)
        assert resolver.asked == [("_dmarc.example.com", "TXT")]


@pytest.mark.parametrize(
    ("author", "other", "tags", "code"),
    [
        ("example.com", "mail.example.com", "p=reject", DmarcCode.PASS),
        ("news.example.com", "mail.example.com", "p=reject", DmarcCode.PASS),
        ("news.example.com", "example.com", "p=reject; adkim=r; aspf=r", DmarcCode.PASS),
        ("example.com", "mail.example.com", "p=reject; adkim=s; aspf=s", DmarcCode.FAIL),
        ("example.com", "example.com", "p=reject; adkim=s; aspf=s", DmarcCode.PASS),
        ("example.com", "notexample.com", "p=reject", DmarcCode.FAIL),
        ("example.com", "example.org", "p=reject", DmarcCode.FAIL),
        ("example.com", "com", "p=reject", DmarcCode.FAIL),
        ("example.com", "", "p=reject", DmarcCode.FAIL),
    ],
)
async def test_alignment(author: str, other: str, tags: str, code: DmarcCode) -> None:
    dns = zone(example_com=tags)
    assert (await run(author, dns, spf=spf(other))).code is code
    assert (await run(author, dns, dkim=dkim(other))).code is code


async def test_each_mechanism_has_its_own_strictness() -> None:
    dns = zone(example_com="p=reject; adkim=s; aspf=r")
    assert (await run("example.com", dns, dkim=dkim("a.example.com"))).code is DmarcCode.FAIL
    assert (await run("example.com", dns, spf=spf("a.example.com"))).code is DmarcCode.PASS


async def test_an_organisation_within_an_organisation_is_another() -> None:
    dns = zone(example_com="p=reject", dept_example_com="p=reject; psd=n")
    assert (await run("dept.example.com", dns, spf=spf("example.com"))).code is DmarcCode.FAIL
    assert (await run("example.com", dns, spf=spf("dept.example.com"))).code is DmarcCode.FAIL
    assert (await run("a.dept.example.com", dns, spf=spf("b.dept.example.com"))).code is DmarcCode.PASS


async def test_neighbours_under_a_public_suffix_are_strangers() -> None:
    for record in ("p=reject; psd=y", "p=reject"):
        dns = zone(co_uk=record)
        got = await run("bank.co.uk", dns, spf=spf("evil.co.uk"))
        assert got.code is not DmarcCode.PASS
        assert not got.registered


@pytest.mark.parametrize(
    "signed",
    [
        dkim("example.com", code=DkimCode.FAIL),
        dkim("example.com", code=DkimCode.POLICY, partial=True),
        dkim("example.com", testing=True),
        dkim("example.com", code=DkimCode.PERMERROR),
        dkim("example.com", code=DkimCode.NEUTRAL),
    ],
)
async def test_a_signature_that_does_not_vouch_counts_for_nothing(signed: DkimResults) -> None:
    assert (await run("example.com", EXAMPLE, dkim=signed)).code is DmarcCode.FAIL


@pytest.mark.parametrize("code", [code for code in SpfCode if code not in (SpfCode.PASS, SpfCode.TEMPERROR)])
async def test_only_a_pass_of_spf_counts(code: SpfCode) -> None:
    assert (await run("example.com", EXAMPLE, spf=spf("example.com", code))).code is DmarcCode.FAIL


@pytest.mark.parametrize(
    ("author", "record", "exists", "policy"),
    [
        ("example.com", "p=quarantine; sp=none; np=reject", True, "quarantine"),
        ("a.example.com", "p=quarantine; sp=none; np=reject", True, "none"),
        ("a.example.com", "p=quarantine; sp=none; np=reject", False, "reject"),
        ("a.example.com", "p=quarantine", False, "quarantine"),
        ("a.example.com", "p=reject; t=y", True, "quarantine"),
        ("a.example.com", "p=quarantine; t=y", True, "none"),
        ("example.com", "p=none; t=y", True, "none"),
    ],
)
async def test_what_the_owner_wants(author: str, record: str, exists: bool, policy: str) -> None:
    dns = zone(example_com=record) | ({(author, "MX"): [(1, "mx.test")]} if exists else {})
    got = await run(author, dns)
    assert (got.code, got.policy, got.record_domain) == (DmarcCode.FAIL, policy, "example.com")
    assert got.testing is ("t=y" in record)


async def test_a_public_suffix_speaks_for_those_who_do_not() -> None:
    dns = zone(bank="p=quarantine; np=reject; psd=y", giant_bank="p=none")
    assert (await run("a.mega.bank", dns)).policy is DmarcPolicy.REJECT
    assert (await run("a.giant.bank", dns)).policy is DmarcPolicy.NONE
    assert (await run("bank", dns)).code is DmarcCode.NONE


@pytest.mark.parametrize(
    "author",
    [
        "",
        "localhost",
        "192.0.2.1",
        "[192.0.2.1]",
        "2001:db8::1",
        "a..b",
        "x" * 64 + ".test",
        "x." * 130 + "test",
        "é.test",
    ],
)
async def test_an_author_without_a_domain_has_no_policy_and_asks_nothing(author: str) -> None:
    resolver = FakeResolver()
    assert (await evaluate(resolver, author, spf=NO_SPF, dkim=UNSIGNED)).code is DmarcCode.NONE
    assert not resolver.asked


async def test_no_record_and_too_many_records_are_no_policy() -> None:
    assert (await run("example.com", {})).code is DmarcCode.NONE
    several = {("_dmarc.example.com", "TXT"): [b"v=DMARC1; p=reject", b"v=DMARC1; p=none"]}
    assert (await run("example.com", several)).code is DmarcCode.NONE
    assert (await run("example.com", zone(example_com="rua=nobody"))).code is DmarcCode.NONE


# What is not known is not held against anybody.


@pytest.mark.parametrize("status", [Status.TIMEOUT, Status.REFUSED, Status.NONSENSE, Status.BUDGET])
async def test_a_record_that_cannot_be_had_is_a_temperror(status: Status) -> None:
    for name in ("_dmarc.a.example.com", "_dmarc.example.com", "_dmarc.com"):
        assert (await run("a.example.com", {(name, "TXT"): status})).code is DmarcCode.TEMPERROR, name


async def test_whether_a_name_exists_may_have_no_answer() -> None:
    dns = zone(example_com="p=none; np=reject") | {("a.example.com", "A"): Status.TIMEOUT}
    assert (await run("a.example.com", dns)).code is DmarcCode.TEMPERROR
    dns = zone(example_com="p=reject") | {("a.example.com", "A"): Status.TIMEOUT}
    assert (await run("a.example.com", dns)).code is DmarcCode.FAIL


async def test_a_temperror_of_spf_or_dkim_is_never_a_fail_where_it_could_have_been_a_pass() -> None:
    for domain in ("example.com", "mail.example.com"):
        unsure = spf(domain, SpfCode.TEMPERROR)
        assert (await run("example.com", EXAMPLE, spf=unsure)).code is DmarcCode.TEMPERROR
        assert (
            await run("example.com", EXAMPLE, dkim=dkim(domain, code=DkimCode.TEMPERROR))
        ).code is DmarcCode.TEMPERROR
        assert (await run("example.com", EXAMPLE, spf=unsure, dkim=dkim("example.com"))).code is DmarcCode.PASS


async def test_a_temperror_of_a_stranger_changes_nothing() -> None:
    stranger = dkim("other.test", code=DkimCode.TEMPERROR)
    assert (
        await run("example.com", EXAMPLE, spf=spf("other.test", SpfCode.TEMPERROR), dkim=stranger)
    ).code is DmarcCode.FAIL


async def test_what_nobody_looked_at_is_never_a_fail() -> None:
    assert (await run("example.com", EXAMPLE, spf=None)).code is DmarcCode.TEMPERROR
    assert (await run("example.com", EXAMPLE, dkim=None)).code is DmarcCode.TEMPERROR
    assert (await run("example.com", EXAMPLE, spf=None, dkim=dkim("example.com"))).code is DmarcCode.PASS


async def test_a_domain_of_the_same_owner_is_told_apart_from_a_stranger() -> None:
    dns = zone(mail_example_com="p=reject")
    kin = await run("mail.example.com", dns, dkim=dkim("example.com"))
    assert (kin.code, kin.registered) == (DmarcCode.FAIL, True)
    assert not (await run("mail.example.com", dns, dkim=dkim("example.org"))).registered
    assert not (
        await run("mail.example.com", zone(mail_example_com="p=reject; adkim=s"), dkim=dkim("example.com"))
    ).registered
    neighbours = await run("me.github.io", zone(me_github_io="p=reject"), dkim=dkim("you.github.io"))
    assert (neighbours.code, neighbours.registered) == (DmarcCode.FAIL, False)


async def test_many_signers_do_not_multiply_questions() -> None:
    resolver = FakeResolver(EXAMPLE)
    strangers = dkim(*(f"s{n}.test" for n in range(50)))
    await evaluate(resolver, "a.b.c.d.e.f.g.h.i.j.example.com", spf=NO_SPF, dkim=strangers)
    assert len(resolver.asked) == 8
    relatives = dkim(*(f"{n}.a.b.c.d.e.f.g.h.i.j.example.com" for n in range(8)))
    assert (await evaluate(resolver, "example.com", spf=NO_SPF, dkim=relatives)).code is DmarcCode.PASS
    assert len(resolver.asked) < 30


async def test_relatives_without_end_are_not_all_asked_about() -> None:
    apart = zone(**{f"n{n}_a_b_example_com": "p=none; psd=n" for n in range(8)})
    resolver = FakeResolver(zone(a_b_example_com="p=reject; psd=n") | apart)
    relatives = dkim(*(f"a.b.c.d.e.n{n}.a.b.example.com" for n in range(8)))
    got = await evaluate(resolver, "a.b.example.com", spf=NO_SPF, dkim=relatives)
    assert (got.code, got.reason) == (DmarcCode.TEMPERROR, "too many look-ups")
    assert len(resolver.asked) <= 24


@pytest.mark.parametrize("code", [SpfCode.PASS, SpfCode.TEMPERROR])
async def test_a_stranger_under_the_same_registry_is_not_asked_about_and_leaves_nothing_open(code: SpfCode) -> None:
    silent = {(f"_dmarc.{name}", "TXT"): Status.TIMEOUT for name in ("evil.co.uk", "a.evil.co.uk")}
    resolver = FakeResolver(zone(bank_co_uk="p=reject") | silent)
    crowd = dkim(*(f"a.b.c.d.e.f.g.n{n}.evil.co.uk" for n in range(8)), "evil.co.uk", "a.evil.co.uk")
    got = await evaluate(resolver, "bank.co.uk", spf=spf("evil.co.uk", code), dkim=crowd)
    assert (got.code, got.policy) == (DmarcCode.FAIL, DmarcPolicy.REJECT)
    assert not [name for name, _ in resolver.asked if "evil" in name]
    assert (await run("bank.co.uk", zone(bank_co_uk="p=reject"), dkim=dkim("mail.bank.co.uk"))).code is DmarcCode.PASS
