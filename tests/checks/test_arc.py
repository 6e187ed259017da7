from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from gatekeeper.checks.arc import Arc
from gatekeeper.checks.base import Tools
from gatekeeper.dns.resolver import Status
from gatekeeper.mailauth.arc import ArcCode, ArcResult
from gatekeeper.model import Envelope, Finding, Mail, Missing, Session
from gatekeeper.store.memory import MemoryStore
from tests.support.arc_sealer import sealed
from tests.support.dkim_signer import record
from tests.support.fake_resolver import FakeResolver
from tests.support.mail import message_of

NAME = ("sel._domainkey.lists.example", "TXT")
KEY = rsa.generate_private_key(65537, 1024)
MAIL = b"From: Joe <joe@example.com>\r\nTo: ann@example.net\r\nSubject: dinner\r\n\r\nHi.\r\n"
SEALED = sealed(MAIL, KEY, domain="lists.example", results="dmarc=pass header.from=example.com")


async def inspect(raw: bytes | None, key: Any = None, check: Arc | None = None) -> list[Finding | Missing]:
    mail = Mail(Session("s", "smtp", 0.0), Envelope("e"), message_of(raw) if raw is not None else None)
    resolver = FakeResolver({NAME: [record(KEY)] if key is None else key})
    tools = Tools(resolver, MemoryStore(), lambda: 1_800_000_000.0, "mx.example.org", frozenset())
    return list(await (check or Arc()).inspect(mail, tools))


@pytest.mark.parametrize(
    ("raw", "check", "rule", "text"),
    [
        (SEALED, Arc(), "ARC_PASS", "ARC pass, 1 sets (lists.example)"),
        (SEALED, Arc(trusted=("Lists.Example",)), "ARC_TRUSTED", "ARC pass, 1 sets (lists.example)"),
        (SEALED, Arc(trusted=("example.com",)), "ARC_PASS", "ARC pass, 1 sets (lists.example)"),
        (
            SEALED.replace(b"Hi.", b"Ho."),
            Arc(trusted=("lists.example",)),
            "ARC_FAIL",
            "ARC fail, 1 sets (the body is not what was signed)",
        ),
    ],
)
async def test_each_state_of_a_chain_is_a_rule(raw: bytes, check: Arc, rule: str, text: str) -> None:
    (found,) = await inspect(raw, check=check)
    assert isinstance(found, Finding)
    assert (found.rule, found.text) == (rule, text)
    assert isinstance(found.evidence, ArcResult)
    assert found.evidence.trusted_pass == (rule == "ARC_TRUSTED")


async def test_without_a_chain_or_a_message_nothing_is_found() -> None:
    assert await inspect(MAIL) == []
    assert await inspect(None) == []


async def test_without_an_answer_every_other_rule_is_missing() -> None:
    found, missing = await inspect(SEALED, Status.TIMEOUT)
    assert isinstance(found, Finding)
    assert (found.rule, found.evidence.status) == ("ARC_TEMPERROR", ArcCode.TEMPERROR)
    assert missing == Missing("arc", ("ARC_PASS", "ARC_TRUSTED", "ARC_FAIL"), "no answer about the key")


async def test_how_many_sets_are_read_can_be_set() -> None:
    twice = sealed(SEALED, KEY, domain="lists.example")
    assert [one.rule for one in await inspect(twice) if isinstance(one, Finding)] == ["ARC_PASS"]
    assert [one.rule for one in await inspect(twice, check=Arc(sets=1)) if isinstance(one, Finding)] == ["ARC_FAIL"]
    for wrong in ({"sets": 0}, {"sets": 51}, {"trusted": ("not a name",)}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Arc(**wrong)
