from __future__ import annotations

from dataclasses import fields

import pytest

from gatekeeper.servers import tls
from gatekeeper.servers.smtp_settings import Settings


def test_the_defaults_are_good_and_every_setting_is_explained():
    Settings()
    assert all(field.metadata["about"].endswith(".") for field in fields(Settings))


@pytest.mark.parametrize(
    ("wrong", "mend"),
    [
        ({"proxy_listen": ("127.0.0.1:1",)}, "name the networks of your proxies"),
        ({"proxy_listen": ("127.0.0.1:10026",), "trust": ("unix",)}, "name the mail server behind us"),
        ({"tls_listen": ("127.0.0.1:1",)}, r"add a section \[servers.smtp.tls\]"),
        ({"connections_per_network": 0}, "connections_per_network must be at least 1"),
        ({"proxy_timeout": 0.0}, "proxy_timeout must be longer than nothing"),
        ({"trust": ("nonsense",)}, "write a network as"),
        ({"ours": ("192.0.2.1/24",)}, "write a network as"),
        ({"listen": ("nonsense",)}, "write one of"),
        ({"next_hop": "http://x"}, "smtp://host:port"),
        ({"next_hop": "smtp://127.0.0.1:10025"}, "name the mail server behind us"),
        ({"next_hop": "smtp://localhost:10025"}, "name the mail server behind us"),
        ({"listen": ("0.0.0.0:25",), "next_hop": "smtp://127.0.0.1:25"}, "name the mail server behind us"),
        ({"listen": ("[::]:25",), "next_hop": "smtp://[::1]:25"}, "name the mail server behind us"),
        ({"listen": ("unix:/run/x",), "next_hop": "lmtp+unix:///run/x"}, "name the mail server behind us"),
        ({"relay_probe_domain": "a b"}, "relay-test.invalid"),
        ({"message_size": 0}, "message_size must be more than nothing"),
        ({"recipients": 0}, "recipients must be at least 1"),
        ({"data_timeout": 0.0}, "data_timeout must be longer than nothing"),
        ({"line_timeout": 0.0}, "line_timeout must be longer than nothing"),
        ({"first_mail": 0.0}, "first_mail must be longer than nothing"),
        ({"envelope_total": 0.0}, "envelope_total must be longer than nothing"),
        ({"greeting_delay": 61.0}, 'greeting_delay must be at most "60s"'),
        ({"greeting_delay": -1.0}, "greeting_delay must be"),
        ({"greeting_exempt": ("nonsense",)}, "write a network as"),
        ({"slowed_at_once": 0}, "slowed_at_once must be at least 1"),
    ],
)
def test_a_bad_setting_is_refused_with_the_mend(wrong, mend):
    with pytest.raises(ValueError, match=mend):
        Settings(**wrong)


@pytest.mark.parametrize(
    "good",
    [
        {"listen": ("127.0.0.1:25",), "next_hop": "smtp://127.0.0.2:25"},
        {"listen": ("192.0.2.1:25",), "next_hop": "smtp://127.0.0.1:25"},
        {"listen": ("systemd:smtp",), "next_hop": "lmtp+unix:///run/x"},
        {"proxy_listen": ("[::]:25",), "trust": ("192.0.2.1/32",)},
        {"tls_listen": ("[::]:465",), "tls": tls.Settings()},
    ],
)
def test_a_next_hop_that_is_somebody_else_is_good(good):
    Settings(**good)
