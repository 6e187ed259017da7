from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.mailauth.dkim import verify
from gatekeeper.mailauth.dkimpy import NotTags, sign, tag_list
from tests.support.dkim_signer import record
from tests.support.fake_resolver import FakeResolver
from tests.support.mail import message_of


def test_tags_keep_their_order_and_lose_their_folds():
    assert list(tag_list(b" v=1; a = rsa ;\r\n\tb=x\r\n y;").items()) == [(b"v", b"1"), (b"a", b"rsa"), (b"b", b"x y")]


@pytest.mark.parametrize("text", [b"v", b"v=1;;a=b", b"v=1; v=1", b"=1", b"1=v"])
def test_what_is_no_list_of_tags_is_told(text: bytes):
    with pytest.raises(NotTags):
        tag_list(text)


@given(st.binary(max_size=100))
def test_any_text_is_tags_or_not(text: bytes):
    try:
        tags = tag_list(text)
    except NotTags:
        return
    assert all(tags)


async def test_our_own_mail_is_signed():
    key = rsa.generate_private_key(65537, 1024)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    raw = b"From: a@example.com\r\nSubject: report\r\n\r\ntext\r\n"
    made = sign(raw, domain="example.com", selector="s", private_key=pem) + raw
    resolver = FakeResolver({("s._domainkey.example.com", "TXT"): [record(key)]})
    assert (await verify(message_of(made), resolver, now=1_800_000_000.0)).results[0].vouches
