from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.mailauth.dmarc_record import (
    DmarcPolicy,
    Found,
    ReportUri,
    confirmed,
    considered,
    is_public_suffix,
    organizational_domain,
    record_of,
    registered_domain,
    report_uris,
    walk,
)
from tests.support.cost import cost_of

NONE, QUARANTINE, REJECT = DmarcPolicy.NONE, DmarcPolicy.QUARANTINE, DmarcPolicy.REJECT


@pytest.mark.parametrize(
    ("text", "policies"),
    [
        (b"v=DMARC1; p=reject", (REJECT, REJECT, REJECT)),
        (b"v=DMARC1;p=reject;sp=none", (REJECT, NONE, NONE)),
        (b"v=DMARC1; p=none; sp=quarantine; np=reject;", (NONE, QUARANTINE, REJECT)),
        (b"v=DMARC1; p=none; np=reject", (NONE, NONE, REJECT)),
        (b"v = DMARC1 ; P = Reject ; unknown = x ; ; =", (REJECT, REJECT, REJECT)),
        (b"v=DMARC1; p=reject; p=none", (REJECT, REJECT, REJECT)),
        (b"v=DMARC1; p=reject; pct=10; rf=afrf; ri=1", (REJECT, REJECT, REJECT)),
        (b"v=DMARC1; p=refuse; rua=mailto:a@b.test", (NONE, NONE, NONE)),
        (b"v=DMARC1; p=reject; sp=refuse; rua=mailto:a@b.test", (NONE, NONE, NONE)),
        (b"v=DMARC1", (NONE, NONE, NONE)),
    ],
)
def test_what_a_record_asks_for(text: bytes, policies: tuple[DmarcPolicy, ...]) -> None:
    record = record_of([text])
    assert record is not None
    assert (record.policy, record.subdomains, record.missing) == policies


@pytest.mark.parametrize(
    ("texts"),
    [
        [],
        [b""],
        [b"v=spf1 -all"],
        [b"v=DMARC2; p=reject"],
        [b"v=dmarc1; p=reject"],
        [b"p=reject; v=DMARC1"],
        [b"v=DMARC1 p=reject"],
        [b"v=DMARC1; p=reject", b"v=DMARC1; p=none"],
        [b"v=DMARC1; p=reject" + b" " * 10_000],
    ],
)
def test_what_is_no_record(texts: list[bytes]) -> None:
    assert record_of(texts) is None


def test_other_texts_beside_a_record_do_not_matter() -> None:
    assert record_of([b"v=spf1 -all", b"v=DMARC1; p=reject", b"hello"]) is not None


@pytest.mark.parametrize(
    ("text", "applies"),
    [
        (b"v=DMARC1; p=none", True),
        (b"v=DMARC1", False),
        (b"v=DMARC1; psd=y", False),
        (b"v=DMARC1; rua=mailto:a@b.test", True),
        (b"v=DMARC1; p=bad; rua=nobody", False),
        (b"v=DMARC1; p=bad; rua=nobody, https://b.test/", True),
    ],
)
def test_a_record_without_a_policy_applies_where_reports_are_wanted(text: bytes, applies: bool) -> None:
    record = record_of([text])
    assert record is not None
    assert record.applies is applies


@pytest.mark.parametrize(
    ("tags", "testing"),
    [
        ("t=y", True),
        ("t=n", False),
        ("t=maybe", False),
        ("", False),
        ("pct=0", True),
        ("pct=0; t=n", False),
        ("pct=50", False),
    ],
)
def test_a_policy_that_is_being_tried(tags: str, testing: bool) -> None:
    record = record_of([f"v=DMARC1; p=reject; {tags}".encode()])
    assert record is not None
    assert record.testing is testing


def test_while_it_is_tried_a_policy_is_one_level_milder() -> None:
    assert [policy.milder for policy in (NONE, QUARANTINE, REJECT)] == [NONE, NONE, QUARANTINE]


@pytest.mark.parametrize("labels", range(1, 60))
def test_a_walk_asks_eight_times_at_most_and_ends_at_the_top(labels: int) -> None:
    names = walk(".".join(f"l{n}" for n in range(labels)))
    assert len(names) == min(labels, 8)
    assert names[-1] == f"l{labels - 1}"


def found(*records: tuple[str, str]) -> list[Found]:
    return [Found(name, record) for name, text in records if (record := record_of([f"v=DMARC1; {text}".encode()]))]


@pytest.mark.parametrize(
    ("domain", "records", "organization"),
    [
        ("a.example.com", [], "a.example.com"),
        ("a.example.com", [("example.com", "p=none")], "example.com"),
        ("a.b.example.com", [("b.example.com", "psd=n"), ("example.com", "p=none")], "b.example.com"),
        ("a.b.bank.test", [("bank.test", "psd=y")], "b.bank.test"),
        ("bank.test", [("bank.test", "psd=y")], "bank.test"),
        ("a.example.com", [("example.com", "p=none"), ("com", "p=none")], "example.com"),
        ("a.example.com", [("com", "p=none")], "a.example.com"),
        ("a.example.co.uk", [("co.uk", "p=reject"), ("uk", "p=reject")], "a.example.co.uk"),
        ("a.example.co.uk", [("co.uk", "p=reject; psd=y")], "example.co.uk"),
        ("co.uk", [("co.uk", "p=reject")], "co.uk"),
    ],
)
def test_whose_organisation_a_domain_belongs_to(domain: str, records: list[tuple[str, str]], organization: str) -> None:
    assert organizational_domain(domain, considered(domain, found(*records))) == organization


@pytest.mark.parametrize(
    ("name", "public"), [("com", True), ("co.uk", True), ("example.com", False), ("github.io", False)]
)
def test_what_only_a_registry_has(name: str, public: bool) -> None:
    assert is_public_suffix(name) is public


@pytest.mark.parametrize(
    ("name", "registered"),
    [
        ("a.b.example.com", "example.com"),
        ("com", None),
        ("x.y.github.io", "y.github.io"),
        ("a.xn--bcher-kva.co.uk", "xn--bcher-kva.co.uk"),
    ],
)
def test_what_somebody_registered(name: str, registered: str | None) -> None:
    assert registered_domain(name) == registered


@given(st.lists(st.one_of(st.binary(max_size=300), st.binary(max_size=300).map(b"v=DMARC1;".__add__)), max_size=4))
def test_any_texts_are_a_record_or_none(texts: list[bytes]) -> None:
    record = record_of(texts)
    assert record is None or record.policy in DmarcPolicy


@pytest.mark.parametrize(
    ("text", "uris"),
    [
        ("mailto:a@b.test", [("mailto:a@b.test", None)]),
        (" mailto:a@b.test!10m , mailto:c@d.test!50K,x", [("mailto:a@b.test", 10 * 2**20), ("mailto:c@d.test", 51200)]),
        ("mailto:a@b.test!1g,mailto:a@b.test!1T", [("mailto:a@b.test", 2**30), ("mailto:a@b.test", 2**40)]),
        ("mailto:a@b.test!7", [("mailto:a@b.test", 7)]),
        ("mailto:a@b.test!0", [("mailto:a@b.test", None)]),
        ("mailto:a@b.test!10x,mailto:a@b.test!", []),
        ("https://b.test/x?y=z", [("https://b.test/x?y=z", None)]),
        ("nobody,:x,,mailto: a@b.test", []),
    ],
)
def test_where_reports_are_wanted(text: str, uris: list[tuple[str, int | None]]) -> None:
    assert [(one.uri, one.limit) for one in report_uris(text)] == uris


def test_not_too_many_are_read() -> None:
    assert len(report_uris("mailto:a@b.test," * 10_000)) == 10


@pytest.mark.parametrize(
    ("tags", "options", "wrong"),
    [
        (b"p=none; fo=1:d:s", "1:d:s", ()),
        (b"p=none; fo=2", "0", ("fo",)),
        (b"p=none; adkim=x; aspf=; t=maybe; psd=q; sp=no", "0", ("sp", "adkim", "aspf", "t", "psd")),
        (b"p=none; rua=nobody,mailto:a@b.test", "0", ("rua",)),
        (b"p=none; ri=86400; unknown=x", "0", ()),
    ],
)
def test_what_cannot_be_read_is_named_and_has_its_default(tags: bytes, options: str, wrong: tuple[str, ...]) -> None:
    record = record_of([b"v=DMARC1; " + tags])
    assert record is not None
    assert (record.failure_options, record.wrong) == (options, wrong)
    assert (record.strict_dkim, record.strict_spf, record.testing, record.suffix) == (False, False, False, None)


def test_the_name_of_the_version_in_any_case() -> None:
    assert record_of([b"V=DMARC1; p=none"]) is not None


def test_a_record_that_confirms_a_destination() -> None:
    assert confirmed([b"v=spf1 -all"]) == []
    assert confirmed([b"v=DMARC1"]) == [()]
    assert confirmed([b"v=DMARC1; rua=mailto:a@b.test", b"v=DMARC1;"]) == [(ReportUri("mailto:a@b.test"),), ()]


@pytest.mark.slow
@pytest.mark.parametrize("unit", [b"a=b;", b"rua=mailto:a@b.test,", b" ", b"v=DMARC1;", b"=", b"\xff"])
def test_cost_grows_no_faster_than_the_record(unit: bytes) -> None:
    def read(octets: int) -> None:
        for _ in range(60):
            record_of([b"v=DMARC1; p=none; rua=" + unit * (octets // len(unit))])

    assert cost_of(lambda: read(8000)) / cost_of(lambda: read(1000)) < 16  # in proportion it is 8, and 64 if squared
