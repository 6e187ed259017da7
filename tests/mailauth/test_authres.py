from __future__ import annotations

import re
from collections.abc import Callable

from hypothesis import example, given
from hypothesis import strategies as st

from gatekeeper.mailauth.arc import ArcCode, ArcResult
from gatekeeper.mailauth.authres import Method, write
from gatekeeper.mailauth.dkim import DkimResult, DkimResults
from gatekeeper.mailauth.dkim_signature import DkimCode
from gatekeeper.mailauth.dmarc import DmarcCode, DmarcResult
from gatekeeper.mailauth.dmarc_record import DmarcPolicy
from gatekeeper.mailauth.spf import SpfCode, SpfIdentity, SpfResult
from gatekeeper.wire.auth_results import read

SPF = SpfResult(SpfCode.PASS, "example.com", SpfIdentity.MAILFROM)
DKIM = DkimResult(DkimCode.PASS, "example.com", "sel", "rsa-sha256", "@example.com", "AbC/+1==", key_bits=2048)
DMARC = DmarcResult(
    DmarcCode.PASS, "example.com", DmarcPolicy.REJECT, DmarcPolicy.REJECT, "example.com", aligned_spf=True
)


def test_a_message_that_passes_everything() -> None:
    assert write("mx.example.org", spf=SPF, dkim=DkimResults((DKIM,), 1), dmarc=DMARC) == (
        "mx.example.org;\r\n"
        "\tspf=pass smtp.mailfrom=example.com;\r\n"
        '\tdkim=pass (2048-bit key) header.d=example.com header.s=sel header.a=rsa-sha256 header.b="AbC/+1==";\r\n'
        "\tdmarc=pass (p=reject) header.from=example.com"
    )


def test_a_message_that_fails_everything() -> None:
    spf = SpfResult(SpfCode.PERMERROR, "mx.test", SpfIdentity.HELO, reason='bad "term"')
    dkim = DkimResult(DkimCode.FAIL, "example.com", reason="the body is not what was signed", testing=True)
    dmarc = DmarcResult(
        DmarcCode.FAIL, "example.com", DmarcPolicy.QUARANTINE, DmarcPolicy.REJECT, "example.com", testing=True
    )
    assert write("mx.example.org", spf=spf, dkim=DkimResults((dkim,), 1), dmarc=dmarc) == (
        "mx.example.org;\r\n"
        "\tspf=permerror reason=\"bad 'term'\" smtp.helo=mx.test;\r\n"
        '\tdkim=fail (domain is testing) reason="the body is not what was signed" header.d=example.com;\r\n'
        "\tdmarc=fail (p=reject t=y) header.from=example.com"
    )


def test_a_message_that_nobody_signed() -> None:
    none = DmarcResult(DmarcCode.NONE, "example.com")
    assert write("mx", dkim=DkimResults(), dmarc=none) == "mx;\r\n\tdkim=none;\r\n\tdmarc=none header.from=example.com"


def test_nothing_looked_at_is_none() -> None:
    assert write("mx.example.org") == "mx.example.org;\r\n\tnone"


def test_the_state_of_the_chain_is_said_as_far_as_it_is_known() -> None:
    passed = ArcResult(ArcCode.PASS, 2, ("a.example", "lists.example"))
    assert write("mx", arc=passed) == "mx;\r\n\tarc=pass (i=2 lists.example)"
    assert write("mx", arc=ArcResult(ArcCode.NONE)) == "mx;\r\n\tarc=none"
    failed = ArcResult(ArcCode.FAIL, 3, reason="seal 2 does not verify")
    assert write("mx", arc=failed) == 'mx;\r\n\tarc=fail (i=3) reason="seal 2 does not verify"'
    assert write("mx", arc=ArcResult(ArcCode.TEMPERROR, 3)) == "mx;\r\n\tnone"


def test_nothing_passes_where_two_readers_might_see_two_authors() -> None:
    found = read(
        write(
            "mx",
            spf=SPF,
            dkim=DkimResults((DKIM,), 1),
            dmarc=DMARC,
            arc=ArcResult(ArcCode.PASS, 1),
            doubts=("several_fields", "route"),
            others=[Method("iprev", "pass")],
        ).encode()
    )
    assert found is not None
    assert [(one.method, one.result) for one in found.results] == [
        ("spf", "policy"), ("dkim", "policy"), ("dmarc", "policy"), ("arc", "policy"), ("iprev", "pass"),
    ]  # fmt: skip
    assert found.results[0].reason == "two readers might see two authors: several_fields, route"


def test_what_we_write_is_what_we_read() -> None:
    found = read(write("mx.example.org", spf=SPF, dkim=DkimResults((DKIM,), 1), dmarc=DMARC).encode())
    assert found is not None
    assert found.all("dkim")[0].get("header.b") == "AbC/+1=="
    assert found.all("dmarc")[0].get("header.from") == "example.com"


def test_other_methods_follow() -> None:
    iprev = Method("iprev", "pass", (("policy.iprev", "2001:db8::1"),), comment="mx.example.com")
    assert write("mx", spf=SPF, others=[iprev]).endswith(
        ';\r\n\tiprev=pass (mx.example.com) policy.iprev="2001:db8::1"'
    )


READERS: dict[str, Callable[[str], str]] = {
    "strings, then comments": lambda text: re.sub(r"\([^()\\]*\)", "", re.sub(r'"(?:[^"\\]|\\.)*"', "Q", text)),
    "comments, then strings": lambda text: re.sub(r'"(?:[^"\\]|\\.)*"', "Q", re.sub(r"\([^()]*\)", "", text)),
    "comments alone": lambda text: re.sub(r"\([^()]*\)", "", text),
    "strings without quoted pairs": lambda text: re.sub(r'"[^"]*"', "Q", text),
    "neither": lambda text: text,
}


VALUE = st.text() | st.text('"\\();= \r\nab')


@given(VALUE, VALUE, VALUE, VALUE, VALUE)
@example('"', "0", "0", "0", ";")
@example("\\", '"; dmarc=pass (', ")", "(", '"')
def test_no_value_can_say_more_than_a_value(a: str, b: str, c: str, d: str, e: str) -> None:
    spf = SpfResult(SpfCode.PASS, a, SpfIdentity.MAILFROM, reason=b)
    dkim = DkimResult(DkimCode.PASS, a, b, c, d, e, reason=e)
    dmarc = DmarcResult(DmarcCode.FAIL, c, reason=d)
    other = Method("iprev", "fail", (("policy.iprev", e),), comment=a, reason=b)
    text = write("mx.example.org", spf=spf, dkim=DkimResults((dkim,), 1), dmarc=dmarc, others=[other])
    lines = text.split("\r\n")
    assert all(line.isascii() and line.replace("\t", "", 1).isprintable() for line in lines)
    assert len(lines) == 5
    assert max(map(len, lines)) < 998
    # Whichever way it is read, with care or without, the results are ours and no others.
    for name, reader in READERS.items():
        words = [part.split()[0] for part in reader(text).split(";")[1:]]
        assert words == ["spf=pass", "dkim=pass", "dmarc=fail", "iprev=fail"], name
    found = read(text.encode())
    assert found is not None
    assert [one.method for one in found.results] == ["spf", "dkim", "dmarc", "iprev"]
