"""What we sign and seal verifies: by dkimpy's word and by our own."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.mailauth.arc import ArcCode, verify_arc
from gatekeeper.mailauth.arc_chain import chain_of
from gatekeeper.mailauth.dkim import verify
from gatekeeper.mailauth.dkim_sign import SigningKey, arc_set, dkim_signature
from gatekeeper.message.header import header_of
from tests.support.arc_sealer import sealed
from tests.support.dkim_signer import record, relaxed_body
from tests.support.fake_resolver import FakeResolver
from tests.support.mail import message_of

NOW = 1_700_000_000.0
RSA = SigningKey("example.com", "sel", rsa.generate_private_key(65537, 2048))
ED = SigningKey("example.com", "sel", ed25519.Ed25519PrivateKey.generate())
MAIL = (
    b"From: Joe <joe@example.com>\r\nTo: ann@example.net,\r\n\tbob@example.net\r\nSubject: dinner\r\n"
    b"Date: Mon, 1 Jan 2026 00:00:00 +0000\r\nList-Unsubscribe: <https://a.example/>\r\n"
    b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\r\nHi.\r\n\r\n  Hungry \t yet?  \r\n\r\n\r\n"
)


def signed(raw: bytes, key: SigningKey = RSA) -> bytes:
    message = message_of(raw)
    value = dkim_signature(header_of(message), body_hash(raw), key, now=NOW)
    return b"DKIM-Signature: " + value.encode() + b"\r\n" + raw


def body_hash(raw: bytes) -> bytes:
    return hashlib.sha256(relaxed_body(raw.partition(b"\r\n\r\n")[2])).digest()


def sealed_by_us(raw: bytes, *, passed: bool | None = None, results: str = "mx.example; dmarc=pass") -> bytes:
    message = message_of(raw)
    chain = chain_of(message)
    made = arc_set(
        header_of(message),
        chain,
        body_hash(raw),
        RSA,
        results=results,
        passed=bool(chain.sets) if passed is None else passed,
        now=NOW,
    )
    fields = (("ARC-Seal", made.seal), ("ARC-Message-Signature", made.message_signature))
    block = "".join(f"{name}: {value}\r\n" for name, value in (*fields, ("ARC-Authentication-Results", made.results)))
    return block.encode() + raw


def resolver(key: SigningKey = RSA) -> FakeResolver:
    return FakeResolver({("sel._domainkey.example.com", "TXT"): [record(key.private)]})


def dns(name: bytes, timeout: float = 5) -> bytes:
    return record(RSA.private)


def test_dkimpy_verifies_what_we_sign() -> None:
    assert dkim.verify(signed(MAIL), dnsfunc=dns)
    assert not dkim.verify(signed(MAIL).replace(b"dinner", b"supper"), dnsfunc=dns)


@pytest.mark.parametrize("key", [RSA, ED])
async def test_we_verify_what_we_sign(key: SigningKey) -> None:
    (found,) = (await verify(message_of(signed(MAIL, key)), resolver(key), now=NOW)).results
    assert (found.vouches, found.uncovered, found.domain) == (True, (), "example.com")


async def test_nobody_can_add_what_readers_are_shown() -> None:
    for name in (b"From", b"To", b"Cc", b"Subject", b"Reply-To", b"Date"):
        forged = name + b": x@evil.example\r\n" + signed(MAIL)
        assert not dkim.verify(forged, dnsfunc=dns) or name == b"Cc"
        (found,) = (await verify(message_of(forged), resolver(), now=NOW)).results
        assert not found.vouches, name


def test_lines_are_not_too_long_and_fields_are_named_as_often_as_they_stand_there() -> None:
    raw = signed(b"To: x@example.net\r\n" * 30 + MAIL)
    field = raw.partition(b"To: x")[0]
    assert max(map(len, field.split(b"\r\n"))) <= 78
    names = re.sub(rb"\s", b"", field.partition(b"h=")[2].partition(b";")[0]).split(b":")
    assert (names.count(b"from"), names.count(b"to"), names.count(b"cc"), names.count(b"sender")) == (2, 21, 1, 0)
    assert names.count(b"list-unsubscribe-post") == 2


def test_dkimpy_verifies_what_we_seal() -> None:
    once = sealed_by_us(signed(MAIL))
    assert dkim.arc_verify(once, dnsfunc=dns)[0] == b"pass"
    twice = sealed_by_us(once)
    assert dkim.arc_verify(twice, dnsfunc=dns)[0] == b"pass"
    assert dkim.arc_verify(twice.replace(b"dinner", b"supper"), dnsfunc=dns)[0] == b"fail"


async def test_we_verify_what_we_seal_on_top_of_others() -> None:
    private: Any = RSA.private
    raw = sealed_by_us(sealed(MAIL, private, domain="example.com"))
    got = await verify_arc(message_of(raw), resolver(), now=NOW, trusted={"example.com"})
    assert (got.status, got.instances) == (ArcCode.PASS, 2)
    assert b"i=2; mx.example; dmarc=pass" in raw


def test_a_chain_that_must_not_be_sealed_is_not() -> None:
    private: Any = RSA.private
    once = sealed(MAIL, private, domain="example.com")
    for raw, passed in ((once, False), (MAIL, True), (once.replace(b"i=1", b"i=2"), True)):
        with pytest.raises(ValueError, match="no set may be added"):
            sealed_by_us(raw, passed=passed)


@given(st.lists(st.sampled_from(["Subject: a", "subject:  b", "To:\r\n\tc@d.example", "From: e@f.example", "X: y"])))
def test_any_header_is_signed_so_that_it_verifies(lines: list[str]) -> None:
    raw = ("From: a@example.com\r\n" + "".join(f"{line}\r\n" for line in lines)).encode() + b"\r\nbody\r\n"
    assert dkim.verify(signed(raw), dnsfunc=dns)
