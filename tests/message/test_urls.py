from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.message import urls
from gatekeeper.message.urls import labels_to_map, parse_bare, parse_url
from tests.support.cost import costs_of


@pytest.mark.parametrize(
    ("text", "host", "domain"),
    [
        ("http://www.Example.co.uk/x?y#z", "www.example.co.uk", "example.co.uk"),
        (" HTTPS://example.com.", "example.com", "example.com"),
        ("https:\\\\example.com\\a", "example.com", "example.com"),
        ("http:example.com", "example.com", "example.com"),
        ("http:////example.com/", "example.com", "example.com"),
        ("//example.com/a", "example.com", "example.com"),
        ("ht\ntp://exam\tple.com", "example.com", "example.com"),
        ("http://exam\u200bple.com", "example.com", "example.com"),
        ("http://%65xample.com/", "example.com", "example.com"),
        ("http://ex。ample.com", "ex.ample.com", "ample.com"),
        ("http://ｅｘample.com", "example.com", "example.com"),
        ("http://bücher.example.com", "xn--bcher-kva.example.com", "example.com"),
        ("http://☃.net/", "xn--n3h.net", "xn--n3h.net"),
        ("http://user:pw@example.com:8080/x", "example.com", "example.com"),
        ("http://a_b.example.com", "a_b.example.com", "example.com"),
        ("http://intranet/", "intranet", ""),
        ("http://evil\ufe0f.com/", "evil.com", "evil.com"),
        ("http://evil" + "\ufe0f" * 60 + ".com/", "evil.com", "evil.com"),
        ("http://e" + "\U000e0101\u034f\u180b" * 900 + "vil.com/", "evil.com", "evil.com"),
        ("http://☃\ufe0f.net/", "xn--n3h.net", "xn--n3h.net"),
        ("http://-a.evil.example.com/", "example.com", "example.com"),
        ("http://a-.example.com/", "example.com", "example.com"),
        ("http://www.a!b$.evil.example.com:80/", "example.com", "example.com"),
    ],
)
def test_an_address_is_named_in_one_way(text, host, domain):
    url = parse_url(text)
    assert url is not None
    assert (url.host, url.domain, url.address) == (host, domain, None)


@pytest.mark.parametrize(
    ("text", "address", "numeric"),
    [
        ("http://192.0.2.1/x", "192.0.2.1", False),
        ("http://3221225985/", "192.0.2.1", True),
        ("http://0xC0.0x0.0x2.0x1", "192.0.2.1", True),
        ("http://0300.0.02.01", "192.0.2.1", True),
        ("http://192.513", "192.0.2.1", True),
        ("http://[2001:db8::1]:80/", "2001:db8::1", False),
        ("http://%31%39%32.0.2.1/", "192.0.2.1", False),
    ],
)
def test_an_address_in_numbers_is_that_address(text, address, numeric):
    url = parse_url(text)
    assert url is not None
    assert (url.address, url.numeric, url.domain) == (ip_address(address), numeric, "")


@pytest.mark.parametrize(
    ("port", "number"), [("", None), ("443", 443), ("0000443", 443), ("0" * 3000 + "8443", 8443), ("000000", 0)]
)
def test_a_port_may_have_any_number_of_zeros_before_it(port, number):
    url = parse_url(f"https://evil.example.com:{port}/x")
    assert url is not None
    assert (url.host, url.port) == ("evil.example.com", number)


def test_what_stands_before_the_host_is_told():
    url = parse_url("https://www.paypal.com%2flogin@evil.example.com:8443/p")
    assert url is not None
    assert (url.user, url.host, url.port, url.rest) == ("www.paypal.com%2flogin", "evil.example.com", 8443, "/p")
    assert parse_url("http://%65vil.com").encoded  # type: ignore[union-attr]  # it is one


@pytest.mark.parametrize(
    "text",
    ["", "mailto:a@b.example", "cid:x", "javascript:alert(1)", "data:text/html,x", "/relative", "#top", "x.html",
     "http://", "http:///", "http://a b.com", "http://{{host}}/", "http://[::1", "http://..", "http://-", "tel:1",
     "http://" + "a" * 64 + ".com", "http://a!b", "http://a!b.com", "http://-a.co.uk", "http://" + "a!." * 90 + "com",
     "http://{{host}}.zz-top/", "http://a^b.evil.com", "http://x.com:000123456/"],
)  # fmt: skip
def test_what_leads_nowhere_is_none(text):
    assert parse_url(text) is None


@pytest.mark.parametrize("host", ["999.1.1.1", "1.2.3.4.5", "08.1.1.1", "256.0.0.1", "4294967296"])
def test_numbers_that_are_no_address_are_a_name_that_nobody_has(host):
    url = parse_url(f"http://{host}/")
    assert url is not None
    assert (url.address, url.domain) == (None, "")


def test_a_name_without_a_scheme():
    assert parse_bare("www.example.com/x").host == "www.example.com"  # type: ignore[union-attr]  # it is one
    assert parse_bare("nosuchsuffix.zz-top") is None
    assert parse_bare("user@example.com") is None


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("http://www.example.com/ü.ä", []),
        ("http://ü@example.com/", []),
        ("http://Bücher.example.com:80/", ["bücher"]),
        ("ht\ntp:/\t/ü。ä.example.com", ["ü", "ä"]),
        ("http://%C3%BC.%c3%a4.example.com", ["ü", "ä"]),
        ("http://ü\ufe0f⒈ä.example.com", ["ü1", "ä"]),
        ("mailto:ü@ä.example.com", []),
        ("http://" + "ü." * 43 + "com", []),
        ("http://" + "ü" * 250 + ".com", []),
        ("http://ü..ä.com", []),
    ],
)
def test_what_has_to_be_mapped_is_known_before_it_is(text, labels):
    assert labels_to_map(text) == labels


def test_a_name_that_dns_cannot_have_is_not_mapped(monkeypatch):
    monkeypatch.setattr(urls, "a_label", lambda label: pytest.fail(label))
    for host in ("ä." * 43 + "com", "ä" + ".a" * 127, "ä." + "b" * 252, "ä..com", "\u2024ä…ä"):
        assert parse_url(f"http://{host}/") is None


@given(st.text(max_size=120), st.sampled_from(["http://", "https:", "//", ""]))
def test_anything_is_read_and_a_host_can_be_asked_for(text, scheme):
    url = parse_url(scheme + text)
    if url is not None:
        assert url.host.isascii()
        assert url.host == url.host.lower()
        assert 0 < len(url.host) <= 253
        again = parse_url(f"http://[{url.host}]/" if ":" in url.host else f"http://{url.host}/")
        assert again is not None
        assert (again.host, again.domain, again.address) == (url.host, url.domain, url.address)


@pytest.mark.slow
@pytest.mark.parametrize("piece", ["/", "@", ".", "%41", "a", "é", "0x", "1.", ":", "\\", ":0", "!.", "\ufe0f", "0"])
def test_cost_does_not_grow_beyond_what_is_read(piece):
    small, large = costs_of(lambda n: parse_url("http://" + piece * n), 10_000, 40_000)
    assert large < 8 * small + 0.05


@given(
    st.text(alphabet="htps:/\\.@%0x1[]a#?é\t\u200b ", max_size=40).map("http://".__add__),
    st.sampled_from("\t\r\n\0\u200b"),
)
def test_an_address_is_the_same_kept_or_not_and_whatever_is_strewn_into_it(text, sign):
    read = urls._parse(text)
    assert parse_url(text) == parse_url(text) == read
    assert urls._parse(sign.join(text)) == read
