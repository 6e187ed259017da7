"""Authentication-Results is read from its beginning to its end, or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatekeeper.wire.auth_results import MOST_OCTETS, AuthResults, Result, authserv_id_of, read
from tests.support.corpora import corpora
from tests.support.cost import growth_of

GMAIL = (
    b' mx.google.com;\r\n       dkim=pass header.i=@example.com header.s=s1 header.b="Ab+/c=";\r\n'
    b"       spf=pass (google.com: domain of a@b.example designates 192.0.2.1 as permitted sender)"
    b" smtp.mailfrom=SRS0=x=y=b.example=a@c.example;\r\n"
    b"       dmarc=pass (p=REJECT sp=REJECT dis=NONE) header.from=example.com"
)
OUTLOOK = b"spf=pass (sender IP is 192.0.2.1) smtp.mailfrom=a.example; dkim=none"


def test_every_result_and_property_is_read():
    assert read(GMAIL) == AuthResults(
        "mx.google.com",
        (
            Result("dkim", "pass", (("header.i", "@example.com"), ("header.s", "s1"), ("header.b", "Ab+/c="))),
            Result("spf", "pass", (("smtp.mailfrom", "SRS0=x=y=b.example=a@c.example"),)),
            Result("dmarc", "pass", (("header.from", "example.com"),)),
        ),
    )


@pytest.mark.parametrize(
    ("value", "results"),
    [
        (b"mx 1; none", ()),
        (b"mx; none;", ()),
        (b"mx; (a) none (b)", ()),
        (b"mx", ()),
        (b"mx;", ()),
        (b"mx; none=pass", (Result("none", "pass"),)),
        (b"mx; DKIM / 1 = PASS", (Result("dkim", "pass"),)),
        (b"mx; dkim=pass;", (Result("dkim", "pass"),)),
        (b"mx; dmarc=pass action=none header.from=a.example", (
            Result("dmarc", "pass", (("action", "none"), ("header.from", "a.example"))),
        )),
        (b'mx; dkim=fail reason="it is \\"bad\\"; dkim=pass" header.d=a.example', (
            Result("dkim", "fail", (("header.d", "a.example"),), 'it is "bad"; dkim=pass'),
        )),
        (b'mx; spf=pass (x; dkim=pass) smtp . mailfrom = "a b"@c.example', (
            Result("spf", "pass", (("smtp.mailfrom", '"a b"@c.example'),)),
        )),
        (b"mx; spf=pass smtp.mailfrom=; dkim=none", (
            Result("spf", "pass", (("smtp.mailfrom", ""),)), Result("dkim", "none"),
        )),
    ],
)  # fmt: skip
def test_what_the_grammar_allows_is_read(value: bytes, results: tuple[Result, ...]):
    assert read(value) == AuthResults("mx", results)


@pytest.mark.parametrize(
    "value",
    [
        OUTLOOK,  # without an authserv-id: nobody's word
        b"mx; dkim",
        b"mx; dkim=",
        b"mx; =pass",
        b"mx; dkim=pass (never ends; dkim=fail",
        b"mx; dkim=pass header.d",
        b'mx; dkim=pass header.d="never ends; dkim=fail',
        b"mx; dkim=pass @x",
        b"mx; none dkim=pass",
        b"mx; dkim=pass;; dkim=fail",
        b"mx; dkim=pass\r x=y",
        b"mx; dkim=p\xe4ss",
        b"mx" + b"; dkim=pass" * 101,
        b"mx; dkim=pass" + b" a.b=c" * 51,
        b"mx; none" + b" " * MOST_OCTETS,
    ],
)
def test_what_cannot_be_read_whole_is_not_believed(value: bytes):
    assert read(value) is None


def test_properties_are_found_by_their_name():
    found = read(GMAIL)
    assert found is not None
    [dkim] = found.all("dkim")
    assert (dkim.get("header.s"), dkim.get("header.d")) == ("s1", "")


def test_the_fields_of_other_implementations_are_read():
    cases = json.loads((corpora("authres") / "authres_headers_msgauth.json").read_text())["cases"]
    assert len(cases) == 12
    for case in cases:
        found = read(case["value"].encode())
        assert (found is not None) == case["parses"], case
        assert found is None or found.authserv_id == case["authserv_id"]


@given(st.binary(max_size=80) | st.text(alphabet='mx ();"\\1=.a/\t', max_size=60).map(str.encode))
@settings(deadline=None)
def test_whatever_is_read_is_from_somebody(value: bytes):
    found = read(value)
    assert found is None or found.authserv_id == authserv_id_of(value)


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        lambda n: b"mx; dkim=pass " + b"(" * n,
        lambda n: b"mx; dkim=pass " + b"()" * (n // 2),
        lambda n: b"mx; dkim=pass " + b" " * n + b"x",
        lambda n: b"mx; dkim=pass a.b=" + b'"' * n,
        lambda n: b"mx; dkim=pass a.b=" + b'"\\a"' * (n // 4) + b"\\",
        lambda n: b"mx" + b";" * n,
        lambda n: b"mx; " + b"a" * n,
        lambda n: b"mx; " + b"a." * (n // 2) + b"=",
    ],
)
def test_a_hostile_field_is_read_in_linear_time(make: Callable[[int], bytes]):
    values = {size: make(size) for size in (14_000, 28_000)}
    assert growth_of(lambda size: [read(values[size]) for _ in range(40)], 14_000) < 3


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b" mx.example.org; spf=pass", "mx.example.org"),
        (b"mx.example.org", "mx.example.org"),
        (b" mx.example.org 1; none", "mx.example.org"),
        (b"(a(b)\\)) mx.example.org (c) 1 (d) ; none", "mx.example.org"),
        (b"\r\n\tmx.example.org\r\n\t1\r\n\t; none", "mx.example.org"),
        (b' "mx example"; none', "mx example"),
        (b' "m\\x"; none', "mx"),
        ("bücher.example; none".encode(), "bücher.example"),
        (b"mx1; none", "mx1"),
        (b"", None),
        (b"; none", None),
        (b'""; none', None),
        (b'"mx; none', None),
        (b"spf=pass smtp.mailfrom=x", None),
        (b"mx/1; none", None),
        (b"mx 1x; none", None),
        (b"mx spf=pass; none", None),
        (b"(mx; none", None),
        (b"mx (; none", None),
        (b"mx\0; none", None),
        (b"mx\r; none", None),
        (b"m\xfcx; none", None),
        (b"=?utf-8?q?mx?=; none", None),
    ],
)
def test_whose_results_they_are_is_read_or_not_at_all(value: bytes, found: str | None):
    assert authserv_id_of(value) == found


@given(st.binary(max_size=80) | st.text(alphabet='mx ();"\\1=\t', max_size=40).map(str.encode))
@settings(deadline=None)
def test_any_results_field_is_read_or_not(value: bytes):
    found = authserv_id_of(value)
    assert found is None or (found and found.isprintable())


@pytest.mark.parametrize(
    "value", [b"(" * 100_000, b"()" * 100_000, b" " * 100_000, b'"' + b"\\a" * 100_000, b"a" * 100_000]
)
def test_a_hostile_results_field_is_read_at_once(value: bytes):
    assert authserv_id_of(value + b"=") is None
