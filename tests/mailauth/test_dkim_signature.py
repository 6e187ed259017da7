from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.mailauth.dkim_signature import name_of, without_signature


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (b"Example.COM", "example.com"),
        (b"example.com.", "example.com"),
        (b"a_b-c.example", "a_b-c.example"),
        ("bücher.example".encode(), "xn--bcher-kva.example"),
        (b"-a.example", None),
        (b"a..example", None),
        (b"a b", None),
        (b"", None),
        (b"\xff.example", None),
        (b"x" * 64, None),
        (b"x." * 127, None),
    ],
)
def test_what_is_a_name(value: bytes, name: str | None) -> None:
    assert name_of(value) == name


@given(st.binary(max_size=300))
def test_a_name_is_always_one_that_dns_can_be_asked_for(value: bytes) -> None:
    name = name_of(value)
    assert name is None or (name.isascii() and all(0 < len(label) < 64 for label in name.split(".")))


@pytest.mark.parametrize(
    ("value", "without"),
    [
        (b" v=1; b=abc; d=x", b" v=1; b=; d=x"),
        (b" bh=abc;\r\n\tb = a\r\n b", b" bh=abc;\r\n\tb ="),
        (b" b=", b" b="),
        (b" v=1", b" v=1"),
    ],
)
def test_a_signature_is_over_itself_without_its_value(value: bytes, without: bytes) -> None:
    assert without_signature(value) == without
