from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from gatekeeper.checks.base import Tools
from gatekeeper.checks.dkim import Dkim
from gatekeeper.dns.resolver import Status
from gatekeeper.mailauth.dkim import DkimResults
from gatekeeper.mailauth.dkim_signature import DkimCode
from gatekeeper.model import Envelope, Finding, Mail, Missing, Session
from gatekeeper.store.memory import MemoryStore
from tests.support.dkim_signer import record, signed
from tests.support.fake_resolver import FakeResolver
from tests.support.mail import message_of

NAME = ("sel._domainkey.example.com", "TXT")
KEY = rsa.generate_private_key(65537, 1024)
MAIL = b"From: Joe <joe@example.com>\r\nTo: ann@example.net\r\nSubject: dinner\r\n\r\nHi.\r\n"
SHORT = (  # 512 bits
    b"p=MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBALgSoqXVSEmfcIsOzw7oRuCCOwsmtX/SJnTWxYyj2leFxfS/AVJ+dYfY+hXqMsT7l+MZvvh/R1Wz"
    b"N4MO/kI/7XsCAwEAAQ=="
)


async def inspect(raw: bytes | None, key: Any = None, check: Dkim | None = None) -> list[Finding | Missing]:
    mail = Mail(Session("s", "smtp", 0.0), Envelope("e"), message_of(raw) if raw is not None else None)
    resolver = FakeResolver({NAME: [record(KEY)] if key is None else key})
    tools = Tools(resolver, MemoryStore(), lambda: 1_800_000_000.0, "mx.example.org", frozenset())
    return list(await (check or Dkim()).inspect(mail, tools))


@pytest.mark.parametrize(
    ("raw", "key", "rule", "text"),
    [
        (MAIL, None, "DKIM_NONE", ""),
        (signed(MAIL, KEY), None, "DKIM_PASS", "example.com: pass"),
        (
            signed(MAIL, KEY).replace(b"Hi.", b"Ho."),
            None,
            "DKIM_FAIL",
            "example.com: fail (the body is not what was signed)",
        ),
        (signed(MAIL, KEY, limit=1), None, "DKIM_PARTIAL", "example.com: policy (4 octets of the body are not signed)"),
        (signed(MAIL, KEY, x="1000"), None, "DKIM_POLICY", "example.com: policy (signature has expired)"),
        (signed(MAIL, KEY), [SHORT], "DKIM_WEAK_KEY", "example.com: policy (a key of 512 bits proves nothing)"),
        (signed(MAIL, KEY), [], "DKIM_INVALID", "example.com: permerror (there is no such key)"),
        (signed(MAIL, KEY, d="?"), None, "DKIM_INVALID", "?: neutral (d= or s= is not a name)"),
        (signed(MAIL, KEY), [record(KEY, "v=DKIM1; t=y")], "DKIM_NONE", ""),
        (signed(MAIL, KEY).replace(b"Hi.", b"Ho."), [record(KEY, "v=DKIM1; t=y")], "DKIM_NONE", ""),
    ],
)
async def test_each_result_is_a_rule(raw: bytes, key: Any, rule: str, text: str) -> None:
    (found,) = await inspect(raw, key)
    assert isinstance(found, Finding)
    assert (found.rule, found.text) == (rule, text)
    assert isinstance(found.evidence, DkimResults)


async def test_who_vouches_needs_no_excuse_for_a_broken_signature() -> None:
    (found,) = await inspect(signed(MAIL, KEY, d="other.test").partition(b"From:")[0] + signed(MAIL, KEY))
    assert isinstance(found, Finding)
    assert found.rule == "DKIM_PASS"
    assert [one.code for one in found.evidence.results] == [DkimCode.PERMERROR, DkimCode.PASS]


async def test_without_an_answer_every_other_rule_is_missing() -> None:
    found, missing = await inspect(signed(MAIL, KEY), Status.TIMEOUT)
    assert isinstance(found, Finding)
    assert (found.rule, found.evidence.results[0].code) == ("DKIM_TEMPERROR", DkimCode.TEMPERROR)
    assert missing == Missing(
        "dkim",
        ("DKIM_PASS", "DKIM_FAIL", "DKIM_PARTIAL", "DKIM_WEAK_KEY", "DKIM_POLICY", "DKIM_INVALID", "DKIM_NONE"),
        "no answer about the key",
    )


async def test_without_a_message_nothing_is_found() -> None:
    assert await inspect(None) == []


async def test_how_many_signatures_are_verified_can_be_set() -> None:
    raw = signed(MAIL, KEY).partition(b"From:")[0] * 3 + MAIL
    (found,) = await inspect(raw, check=Dkim(signatures=2))
    assert isinstance(found, Finding)
    assert (len(found.evidence.results), found.evidence.found) == (2, 3)
    with pytest.raises(ValueError, match="1 to 50"):
        Dkim(signatures=0)
