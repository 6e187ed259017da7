"""ARC: which chains pass, and whose word is taken."""

from __future__ import annotations

import re
from collections.abc import Sequence

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.dns.resolver import Status
from gatekeeper.mailauth.arc import ArcCode, ArcResult, verify_arc
from tests.support.arc_sealer import sealed
from tests.support.dkim_signer import record, signed
from tests.support.fake_resolver import FakeResolver
from tests.support.mail import message_of

NOW = 1_800_000_000.0
KEY = rsa.generate_private_key(65537, 1024)
OTHER = rsa.generate_private_key(65537, 1024)
MAIL = (
    b"From: Joe <joe@example.com>\r\nTo: list@lists.example\r\nSubject: dinner\r\n"
    b"Date: Mon, 1 Jan 2026 00:00:00 +0000\r\n\r\nHi.\r\n"
)
PASSED = "dmarc=pass header.from=example.com"
ZONE: dict[tuple[str, str], list[bytes] | Status] = {
    (f"sel._domainkey.{domain}", "TXT"): [record(KEY)]
    for domain in ("lists.example", "mx.example", "stranger.example", "example.com")
}
ONCE = sealed(MAIL, KEY, domain="lists.example", results=PASSED)
TWICE = sealed(ONCE, KEY, domain="mx.example", results="spf=fail smtp.mailfrom=x@lists.example")


async def result(
    raw: bytes, *, trusted: Sequence[str] = (), zone: dict[tuple[str, str], list[bytes] | Status] | None = None
) -> ArcResult:
    return await verify_arc(message_of(raw), FakeResolver(ZONE | (zone or {})), now=NOW, trusted=frozenset(trusted))


async def test_without_a_chain_there_is_nothing_to_say_and_nothing_is_asked() -> None:
    resolver = FakeResolver(ZONE)
    assert await verify_arc(message_of(MAIL), resolver, now=NOW) == ArcResult(ArcCode.NONE)
    assert not resolver.asked


async def test_a_chain_as_it_was_sealed_passes() -> None:
    def key(name: bytes, timeout: float = 5) -> bytes:
        return record(KEY)

    assert dkim.arc_verify(TWICE, dnsfunc=key)[0] == b"pass"  # dkimpy's word for what the test's sealer makes
    assert await result(ONCE) == ArcResult(ArcCode.PASS, 1, ("lists.example",))
    assert await result(TWICE) == ArcResult(ArcCode.PASS, 2, ("lists.example", "mx.example"))


@pytest.mark.parametrize(
    ("was", "became", "why"),
    [
        (b"Hi.", b"Ho.", "body"),
        (b"dinner", b"supper", "newest message signature does not verify"),
        (b"From: Joe", b"From: evil@evil.example\r\nFrom: Joe", "more From fields"),
        (b"Subject: dinner", b"Subject: pay\r\nSubject: dinner", "more subject fields"),
        (b"spf=fail", b"spf=pass", "seal 2 does not verify"),
        (b"header.from=example.com", b"header.from=evil.example", "seal 1 does not verify"),
        (b"cv=pass", b"cv=fail", "set 2 says cv=fail"),
        (b"cv=pass", b"cv=none", "set 2 says cv=none"),
        (b"ARC-Seal: i=2;", b"ARC-Seal: i=3;", "gap"),
        (b"ARC-Seal: i=2;", b"ARC-Seal: i=1;", "two arc-seal in set 1"),
        (b"ARC-Seal: i=2;", b"ARC-Seal: i=0;", "without an instance"),
        (b"ARC-Seal: i=2;", b"ARC-Seal: i=999;", "without an instance"),
        (b"ARC-Seal: i=2;", b"ARC-Seal: ", "without an instance"),
        (b"ARC-Seal: i=2;", b"ARC-Seal : i=2;", "not a proper field"),
        (b"ARC-Seal: i=2;", b"X-Seal: i=2;", "gap"),
        (b"ARC-Seal: i=2;", b"ARC-Seal: h=from; i=2;", "a seal with h="),
        (b"ARC-Seal: i=2;", b"ARC-Seal: i=2; i=2;", "not a list of tags"),
    ],
)
async def test_a_chain_that_was_tampered_with_fails(was: bytes, became: bytes, why: str) -> None:
    assert was in TWICE, TWICE
    got = await result(TWICE.replace(was, became, 1))
    assert got.status is ArcCode.FAIL
    assert why in got.reason
    assert (got.sealers, got.attested, got.trusted_pass) == ((), (), False)


async def test_whose_key_cannot_be_had_now_is_not_judged() -> None:
    for domain in ("lists.example", "mx.example"):
        got = await result(TWICE, zone={(f"sel._domainkey.{domain}", "TXT"): Status.TIMEOUT})
        assert (got.status, got.reason) == (ArcCode.TEMPERROR, "no answer about the key")
    gone = await result(TWICE, zone={("sel._domainkey.lists.example", "TXT"): Status.NXDOMAIN})
    assert (gone.status, gone.reason) == (ArcCode.FAIL, "there is no such key")
    wrong = await result(TWICE, zone={("sel._domainkey.mx.example", "TXT"): [record(OTHER)]})
    assert wrong.reason == "newest message signature does not verify"


async def test_a_chain_that_is_broken_at_its_end_costs_one_question() -> None:
    resolver = FakeResolver(ZONE)
    got = await verify_arc(message_of(TWICE.replace(b"dinner", b"supper")), resolver, now=NOW)
    assert got.status is ArcCode.FAIL
    assert resolver.asked == [("sel._domainkey.mx.example", "TXT")]


def chain(count: int) -> bytes:
    raw = MAIL
    for number in range(count):
        raw = sealed(raw, KEY, domain="mx.example" if number % 2 else "lists.example", results=PASSED)
    return raw


@pytest.mark.slow
async def test_fifty_sets_pass_and_sixty_do_not() -> None:
    fifty = chain(50)
    got = await result(fifty)
    assert (got.status, got.instances) == (ArcCode.PASS, 50)
    short = await verify_arc(message_of(fifty), FakeResolver(ZONE), now=NOW, most=49)
    assert (short.status, short.reason) == (ArcCode.FAIL, "more than 49 sets")
    set_50 = fifty.partition(b"From: Joe")[0].partition(b"ARC-Seal: i=49")[0] or fifty[:0]
    sixty = b"".join(re.sub(rb"i=50;", f"i={n};".encode(), set_50) for n in range(51, 61)) + fifty
    got = await result(sixty)
    assert (got.status, got.instances, got.reason) == (ArcCode.FAIL, 60, "more than 50 sets")


async def test_a_chain_of_more_keys_than_anybody_has_costs_nothing() -> None:
    raw = MAIL
    for number in range(17):
        raw = sealed(raw, KEY, domain=f"s{number}.example", results=PASSED)
    zone = {(f"sel._domainkey.s{number}.example", "TXT"): [record(KEY)] for number in range(17)}
    resolver = FakeResolver(zone)
    got = await verify_arc(message_of(raw), resolver, now=NOW)
    assert (got.status, got.reason) == (ArcCode.FAIL, "more than 16 keys")
    assert not resolver.asked


# Whose word is taken.


async def test_nobody_is_trusted_by_himself() -> None:
    got = await result(ONCE)
    assert (got.trusted, got.attested, got.trusted_pass) == ((), (), False)


async def test_a_trusted_sealer_saw_the_author_pass() -> None:
    got = await result(ONCE, trusted=["lists.example"])
    assert (got.trusted, got.attested, got.trusted_pass) == (("lists.example",), ("example.com",), True)


async def test_behind_a_stranger_nobody_is_trusted() -> None:
    """Whoever had the message last could have written anything into it."""
    behind = sealed(ONCE, KEY, domain="stranger.example", results="dmarc=fail")
    got = await result(behind, trusted=["lists.example"])
    assert (got.status, got.trusted, got.trusted_pass) == (ArcCode.PASS, (), False)
    assert (await result(TWICE, trusted=["lists.example", "mx.example"])).trusted_pass
    assert not (await result(TWICE, trusted=["mx.example"])).trusted_pass  # it has only passed on what others said


@pytest.mark.parametrize(
    ("results", "attested"),
    [
        ("dmarc=pass", ()),
        ("dmarc=pass header.from=other.example", ("other.example",)),
        ("dmarc=fail header.from=example.com", ()),
        ("dkim=pass header.d=example.com", ("example.com",)),
        ("dkim=pass header.i=@Example.COM", ("example.com",)),
        ("dkim=pass header.i=@sub.example.com", ("sub.example.com",)),
        ("spf=pass smtp.mailfrom=joe@example.com", ("example.com",)),
        ("spf=pass smtp.mailfrom=example.com; dkim=pass header.d=esp.example", ("example.com", "esp.example")),
        ('spf=pass smtp.mailfrom="x; dmarc=pass header.from=example.com"', ()),
        ("spf=pass (header.from=example.com dmarc=pass)", ()),
        ("x-dmarc=pass header.from=example.com", ()),
    ],
)
async def test_only_what_a_result_says_of_a_domain_is_attested(results: str, attested: tuple[str, ...]) -> None:
    got = await result(sealed(MAIL, KEY, domain="lists.example", results=results), trusted=["lists.example"])
    assert (got.status, got.attested) == (ArcCode.PASS, attested)
    assert got.trusted_pass == ("example.com" in attested)


async def test_an_author_in_doubt_is_vouched_for_by_nobody() -> None:
    doubtful = MAIL.replace(b"Joe <joe@example.com>", b"joe@example.com (<x@evil.example>)")
    got = await result(sealed(doubtful, KEY, domain="lists.example", results=PASSED), trusted=["lists.example"])
    assert (got.status, got.attested, got.trusted_pass) == (ArcCode.PASS, ("example.com",), False)


async def test_a_chain_and_a_signature_stand_side_by_side() -> None:
    raw = sealed(signed(MAIL, KEY), KEY, domain="lists.example", results=PASSED)
    assert (await result(raw)).status is ArcCode.PASS


@given(st.binary(max_size=60), st.sampled_from([b"ARC-Seal", b"ARC-Message-Signature", b"ARC-Authentication-Results"]))
async def test_any_field_has_a_result(value: bytes, name: bytes) -> None:
    for raw in (name + b": " + value + b"\r\n" + MAIL, name + b": i=2; " + value + b"\r\n" + ONCE):
        assert (await result(raw)).status in ArcCode
