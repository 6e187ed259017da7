from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.wire.address import normal_domain
from gatekeeper.wire.lookalike import looks_like_another


@pytest.mark.parametrize(
    "domain",
    [
        "аррӏе.example",  # all of it Cyrillic
        "xn--80ak6aa92e.com",  # the same as DNS has it
        "pаypal.example",  # one Cyrillic letter among Latin ones
        "gοοgle.example",  # Greek
        "mail.раypal.example",  # in any label
        "ɡoogle.example",  # a Latin letter that is not the ASCII one
        "paypaӏ.example",
        "аб.gr",  # no twin of ASCII, but see below
    ],
)
def test_what_could_be_taken_for_another_is_told(domain: str):
    if domain == "аб.gr":
        assert not looks_like_another(domain)
        return
    assert looks_like_another(domain)
    assert looks_like_another(normal_domain(domain) or domain)


@pytest.mark.parametrize(
    "domain",
    [
        "example.org",
        "paypal.example",
        "bücher.example",
        "xn--bcher-kva.example",
        "köln.example",
        "московский.example",  # Cyrillic with letters of its own
        "рос.рф",  # below a Cyrillic top level nobody expects ASCII
        "日本語.example",
        "ελλάδα.example",
        "xn--.example",  # no A-label at all
        "xn--a.example",
        "",
    ],
)
def test_names_of_one_alphabet_are_left_alone(domain: str):
    assert not looks_like_another(domain)


@given(st.text(max_size=40))
def test_any_text_has_an_answer(text: str):
    assert looks_like_another(text) in {True, False}
    assert not looks_like_another(text.encode("ascii", "ignore").decode().replace("xn--", ""))
