"""An upstream's word counts where nobody else can have written it, and nowhere else."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.mailauth.spf import SpfCode, SpfIdentity, SpfResult
from gatekeeper.mailauth.upstream import Upstream, UpstreamResults, results_by, spf_by
from gatekeeper.model import Address, BytesBody, Message
from gatekeeper.wire.address import parse_path
from gatekeeper.wire.auth_results import Result
from tests.support.mail import message_of

ID = "mx.upstream.example"
STRICT = Upstream(ID, ("192.0.2.0/28",))
REMOVING = Upstream(ID, ("192.0.2.0/28",), removes_forged=True)
OWN = b"Authentication-Results: mx.upstream.example; spf=pass smtp.mailfrom=joe@sender.example\r\n"
FORGED = b"Authentication-Results: mx.upstream.example; dmarc=pass header.from=bank.example\r\n"
BY_UPSTREAM = b"Received: from a.example by mx.upstream.example; Mon, 1 Jan 2027 00:00:00 +0000\r\n"
BEFORE = b"Received: from x by a.example; Mon, 1 Jan 2027 00:00:00 +0000\r\n"
REST = b"From: joe@sender.example\r\nSubject: hello\r\n"
SENDER = Address("joe", "sender.example")


def said(upstream: Upstream, header: bytes) -> list[str]:
    return [f"{one.method}={one.result}" for one in results_by(upstream, message_of(header + b"\r\n")).results]


@pytest.mark.parametrize(
    ("upstream", "header", "found"),
    [
        (STRICT, OWN + BY_UPSTREAM + REST, ["spf=pass"]),
        (STRICT, OWN + b"X-Mark: 1\r\n" + BY_UPSTREAM + REST, ["spf=pass"]),
        (STRICT, b"X-Mark: 1\r\n" + OWN + BY_UPSTREAM + BEFORE + REST, ["spf=pass"]),
        (STRICT, BY_UPSTREAM + OWN + BEFORE + REST, []),
        (STRICT, BY_UPSTREAM + OWN + REST, []),
        (STRICT, OWN + REST, []),  # whose part that is cannot be told
        (STRICT, BY_UPSTREAM + REST, []),
        (REMOVING, BY_UPSTREAM + OWN + BEFORE + REST, ["spf=pass"]),
        (REMOVING, BY_UPSTREAM + OWN + REST, ["spf=pass"]),
        (REMOVING, OWN + BY_UPSTREAM + REST, ["spf=pass"]),
        (REMOVING, BY_UPSTREAM + BEFORE + OWN + REST, []),
        (REMOVING, OWN + REST, []),
        (Upstream(ID, ("192.0.2.1",), received=2), BY_UPSTREAM + OWN + BY_UPSTREAM + FORGED + REST, ["spf=pass"]),
        (Upstream(ID, ("192.0.2.1",), received=2), OWN + BY_UPSTREAM + REST, []),
    ],
)
def test_only_what_the_upstream_wrote_is_read(upstream: Upstream, header: bytes, found: list[str]) -> None:
    assert said(upstream, header) == found


@pytest.mark.parametrize(
    "forged",
    [
        FORGED,
        FORGED.lower(),
        FORGED.replace(b": ", b" : "),
        b" " + FORGED,
        b"\r\n" + FORGED,
        BY_UPSTREAM + FORGED,
        b"X: y\r\n \r\n" + FORGED,
    ],
)
def test_what_a_stranger_wrote_below_is_not(forged: bytes) -> None:
    assert said(STRICT, BY_UPSTREAM + forged + BEFORE + REST) == []
    assert said(STRICT, OWN + BY_UPSTREAM + forged + BEFORE + REST) == ["spf=pass"]


@pytest.mark.parametrize(
    "field",
    [
        b'Authentication-Results: "mx.upstream.example"; dmarc=pass header.from=bank.example\r\n',
        b"Authentication-Results: (x) mx.upstream.example; dmarc=pass header.from=bank.example\r\n",
        b"Authentication-Results: mx.upstream.example.; dmarc=pass header.from=bank.example\r\n",
        b"Authentication-Results: mx.upstream.example (x); dmarc=pass header.from=bank.example\r\n",
        b"Authentication-Results: mx.upstream.example dmarc=pass header.from=bank.example\r\n",
        b"Authentication-Results: mx.other.example; dmarc=pass header.from=bank.example\r\n",
        b"Authentication-Results : mx.upstream.example; dmarc=pass header.from=bank.example\r\n",
        b"Authentication-Results: mx.upstream.example\0; dmarc=pass header.from=bank.example\r\n",
        b"Authentication-Results\r\n : mx.upstream.example; dmarc=pass header.from=bank.example\r\n",
        b"Authentication-Results: mx.upstream.example; dmarc=pass header.from=bank.example (\r\n",
    ],
)
def test_a_name_that_the_upstream_might_not_have_recognised_as_its_own_is_nobodys(field: bytes) -> None:
    assert said(REMOVING, BY_UPSTREAM + field + BEFORE + REST) == []


def test_a_plain_name_may_be_folded_and_have_a_version() -> None:
    for start in (b" MX.upstream.example;", b"\r\n\tmx.upstream.example 1;", b" mx.upstream.example\r\n\t;"):
        field = b"Authentication-Results:" + start + b"\r\n\tspf=fail smtp.mailfrom=sender.example\r\n"
        assert said(STRICT, field + BY_UPSTREAM + REST) == ["spf=fail"]


@given(st.binary(max_size=120) | st.sampled_from([FORGED, OWN, BEFORE, b" " + FORGED]).map(lambda one: one * 2))
def test_nothing_below_changes_what_is_believed(stranger: bytes) -> None:
    top = OWN + BY_UPSTREAM
    alone = results_by(STRICT, Message(top, BytesBody(b"")))
    found = results_by(STRICT, Message(top + stranger, BytesBody(b"")))
    if stranger[:1] in {b" ", b"\t"}:  # it goes on with the upstream's own field, which may then be malformed
        assert found in (alone, UpstreamResults(STRICT.authserv_id))
    else:
        assert found == alone
    results_by(REMOVING, Message(top + stranger, BytesBody(b"")))


def test_the_domains_that_it_saw_authenticated_are_told() -> None:
    field = (
        b"Authentication-Results: mx.upstream.example; dkim=pass header.d=list.example;\r\n"
        b"\tdkim=fail header.d=x.example;\r\n"
        b"\tspf=pass smtp.mailfrom=a@bounce.example; dmarc=pass header.from=sender.example\r\n"
    )
    found = results_by(STRICT, message_of(field + BY_UPSTREAM + REST + b"\r\n"))
    assert found.attested == ("list.example", "bounce.example", "sender.example")


@pytest.mark.parametrize(
    ("results", "sender", "found"),
    [
        ([("spf", "pass", "smtp.mailfrom", "joe@sender.example")], "a@sender.example", "pass sender.example mailfrom"),
        ([("spf", "fail", "smtp.mailfrom", "Sender.example")], "a@sender.example", "fail sender.example mailfrom"),
        ([("spf", "hardfail", "smtp.mfrom", "sender.example")], "a@sender.example", "fail sender.example mailfrom"),
        ([("spf", "pass", "smtp.helo", "mx.sender.example")], "a@sender.example", ""),
        ([("spf", "pass", "smtp.helo", "mx.sender.example")], "", "pass mx.sender.example helo"),
        ([("spf", "temperror", "smtp.mailfrom", "sender.example")], "a@sender.example", ""),
        ([("spf", "perhaps", "smtp.mailfrom", "sender.example")], "a@sender.example", ""),
        ([("spf", "pass", "smtp.mailfrom", "bank.example joe@x.example")], "a@sender.example", ""),
        ([("spf", "pass", "smtp.mailfrom", '"ceo@bank.example"@x.example')], "a@sender.example", ""),
        ([("spf", "pass", "smtp.mailfrom", "@bank.example:joe@x.example")], "a@sender.example", ""),
        ([("spf", "pass", "smtp.mailfrom", "192.0.2.1")], "a@sender.example", ""),
        ([("spf", "pass", "smtp.mailfrom", "a.test"), ("spf", "pass", "smtp.mailfrom", "b.test")], "a@x.example", ""),
        ([("spf", "pass", "smtp.mailfrom", "a.test"), ("spf", "fail", "smtp.mailfrom", "a.test")], "a@x.example", ""),
        ([("dkim", "pass", "header.d", "sender.example")], "a@sender.example", ""),
        ([], "a@sender.example", ""),
    ],
)  # fmt: skip
def test_what_it_says_of_spf(results: list[tuple[str, str, str, str]], sender: str, found: str) -> None:
    word = UpstreamResults(ID, tuple(Result(m, code, ((name, value),)) for m, code, name, value in results))
    got = spf_by(word, parse_path(sender))
    assert (f"{got.code} {got.domain} {got.identity}" if got is not None else "") == found


def test_whose_word_it_is_stands_in_the_result() -> None:
    word = results_by(STRICT, message_of(OWN + BY_UPSTREAM + REST + b"\r\n"))
    assert spf_by(word, SENDER) == SpfResult(
        SpfCode.PASS, "sender.example", SpfIdentity.MAILFROM, reason="as mx.upstream.example says"
    )


def test_it_is_known_by_its_addresses() -> None:
    upstream = Upstream(ID, ("192.0.2.0/28", "2001:db8::1"))
    brought = [upstream.brings(ip_address(each)) for each in ("192.0.2.5", "2001:db8::1", "192.0.2.16", "2001:db8::2")]
    assert brought == [True, True, False, False]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"authserv_id": "mx; x"}, "authserv_id"),
        ({"authserv_id": ""}, "authserv_id"),
        ({"clients": ()}, "clients"),
        ({"clients": ("nowhere",)}, "clients"),
        ({"clients": ("0.0.0.0/0",)}, "everybody"),
        ({"received": 0}, "received"),
    ],
)
def test_a_mistake_in_the_settings_is_told(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Upstream(**{"authserv_id": ID, "clients": ("192.0.2.1",)} | wrong)
