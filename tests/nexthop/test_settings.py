from __future__ import annotations

import dataclasses

import pytest

from gatekeeper.nexthop import NextHopUrl, Settings


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("smtp://127.0.0.1:10026", NextHopUrl("smtp", "127.0.0.1", 10026)),
        ("smtp://[::1]:10026", NextHopUrl("smtp", "::1", 10026)),
        ("smtp://mail.example.org", NextHopUrl("smtp", "mail.example.org", 25)),
        ("lmtp://localhost:24", NextHopUrl("lmtp", "localhost", 24)),
        ("lmtp://localhost/", NextHopUrl("lmtp", "localhost", 24)),
        ("lmtp+unix:///run/dovecot/lmtp", NextHopUrl("lmtp", path="/run/dovecot/lmtp")),
    ],
)
def test_addresses_of_next_hops(text: str, url: NextHopUrl):
    assert NextHopUrl.parse(text) == url
    assert NextHopUrl.parse(str(url)) == url


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "does not say how"),
        ("127.0.0.1:10026", "does not say how"),
        ("http://127.0.0.1", "does not say how"),
        ("smtp://", "names no host"),
        ("smtp://:25", "names no host"),
        ("smtp://a:0", "port 0"),
        ("smtp://a:99999", "not an address"),
        ("smtp://a:smtp", "not an address"),
        ("smtp://[::1", "not an address"),
        ("smtp://::1:25", "not an address"),
        ("smtp://user@host:25", "mean nothing here"),
        ("smtp://host:25?tls=1", "mean nothing here"),
        ("smtp://host:25/path", "has a path"),
        ("lmtp+unix://run/lmtp", "three slashes"),
        ("lmtp+unix:///", "three slashes"),
    ],
)
def test_what_is_no_address_is_explained(text: str, why: str):
    with pytest.raises(ValueError, match=why):
        NextHopUrl.parse(text)


@pytest.mark.parametrize("wrong", [{"tls_ca_file": "/x"}, {"tls_name": "x", "tls": "required"}])
def test_what_to_verify_is_not_said_where_nothing_is_verified(wrong):
    with pytest.raises(ValueError, match='set tls = "verify"'):
        Settings(**wrong)


def test_every_setting_has_its_sentence():
    assert all(field.metadata["about"].endswith(".") for field in dataclasses.fields(Settings))


@pytest.mark.parametrize(
    "wrong",
    [
        {"connect": 0.0},
        {"final": -1.0},
        {"idle": 0.0},
        {"pool": -1},
        {"max_connections": 0},
        {"messages_per_connection": 0},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, float]):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Settings(**wrong)  # type: ignore[arg-type]  # wrong on purpose
