"""Paths and domain names are read strictly, and hidden routes are found."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatekeeper.model import Address
from gatekeeper.wire.address import (
    PATH_OCTETS,
    AddressError,
    domain_of,
    doubts_about,
    hidden_domains,
    mailbox_text,
    normal_domain,
    parse_path,
    routes,
    source_route,
    told_mailbox,
)
from tests.support.cost import cost_of


@pytest.mark.parametrize(
    ("path", "local", "domain"),
    [
        ("", "", ""),
        ("user@example.com", "user", "example.com"),
        ("John.Doe+tag@Mail.Example.COM", "John.Doe+tag", "mail.example.com"),
        ("user@example.com.", "user", "example.com"),
        ("postmaster", "postmaster", ""),
        ("PostMaster", "PostMaster", ""),
        ("postmaster@example.com", "postmaster", "example.com"),
        ("!#$%&'*+-/=?^_`{|}~@example.com", "!#$%&'*+-/=?^_`{|}~", "example.com"),
        ("user@localhost", "user", "localhost"),
        ("user@my_host.example.com", "user", "my_host.example.com"),
        ("user@3com.com", "user", "3com.com"),
        ("a..b.@docomo.example", "a..b.", "docomo.example"),
        ('"john doe"@example.com', "john doe", "example.com"),
        (r'"john\"\\doe"@example.com', 'john"\\doe', "example.com"),
        ('"a@b"@example.com', "a@b", "example.com"),
        ("user@[192.0.2.1]", "user", "[192.0.2.1]"),
        ("user@[IPv6:2001:DB8:0::1]", "user", "[ipv6:2001:db8::1]"),
        ("@one.example,@two.example:user@three.example", "user", "three.example"),
        ('@one.example:"a b"@three.example', "a b", "three.example"),
        ("юзер@example.com", "юзер", "example.com"),
        ("user@Пример.рф", "user", "xn--e1afmkfd.xn--p1ai"),
        ("user@faß.de", "user", "xn--fa-hia.de"),
        ("x" * 100 + "@example.com", "x" * 100, "example.com"),  # SRS and VERP make them this long
        ("u@" + "x" * 63 + ".example", "u", "x" * 63 + ".example"),
    ],
)
def test_what_the_grammar_allows_is_read(path: str, local: str, domain: str):
    assert parse_path(path) == Address(local, domain, path)


@pytest.mark.parametrize(
    "path",
    [
        "user",
        "@example.com",
        "user@",
        '""@example.com',
        "user@@example.com",
        "user@a@example.com",
        "john doe@example.com",
        " user@example.com",
        "user@example.com ",
        "<user@example.com>",
        "user@exa mple.com",
        "user(comment)@example.com",
        "user,other@example.com",
        "user;other@example.com",
        "user\\@example.com",
        'us"er@example.com',
        '"user@example.com',
        '"user"x@example.com',
        "user@-example.com",
        "user@example-.com",
        "user@.example.com",
        "user@example..com",
        "user@example.com..",
        "user@192.0.2.1",
        "user@192.0.2.1.",
        "user@example.123",
        "user@[192.0.2]",
        "user@[192.0.2.1",
        "user@[IPv6:2001:db8::g]",
        "user@[IPv6:fe80::1%eth0]",
        "user@[2001:db8::1]",
        "user@[tag:value]",
        "user@[192.0.2.1]x",
        "@one.example:",
        "@one.example user@two.example",
        "@one..example:user@two.example",
        "user\0@example.com",
        "user@example.com\r\n",
        "user@example.com\n",
        "us\x7fer@example.com",
        "us\x85er@example.com",
        "us\u2028er@example.com",
        "us\u202eer@example.com",
        "us\ud800er@example.com",
        "user@ex\xa0ample.com",
        "user@ｅｘａｍｐｌｅ.com",
        "user@例え。jp",
        "user@\u200b.com",
        "u@" + "x" * 64 + ".example",
        "u@" + "x." * 126 + "xx",
        "x" * 250 + "@a.de",
        "ю" * 125 + "@a.de",
    ],
)
def test_everything_else_is_refused_with_a_reason_fit_for_a_reply(path: str):
    with pytest.raises(AddressError) as refused:
        parse_path(path)
    assert str(refused.value).isascii()
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 60


def test_an_invisible_character_is_allowed_only_where_languages_need_it():
    assert parse_path("می\u200cخواهم@example.com").local == "می\u200cخواهم"


def test_a_source_route_is_told_and_can_be_left_out():
    address = parse_path("@One.example,@two.example.:user@three.example")
    assert source_route(address) == ("one.example", "two.example")
    assert mailbox_text(address.raw) == "user@three.example"
    assert mailbox_text("user@three.example") == "user@three.example"
    assert source_route(parse_path("user@three.example")) == ()


@pytest.mark.parametrize(
    ("path", "hidden"),
    [
        ("user@ours.example", ()),
        ("user%other.example@ours.example", ("other.example",)),
        ("user%Other.Example.@ours.example", ("other.example",)),
        ("other.example!user@ours.example", ("other.example",)),
        ("a!b!user@ours.example", ("a", "b")),
        ('"user@other.example"@ours.example', ("other.example",)),
        ('"@other.example:user"@ours.example', ("other.example",)),
        ("user%other.example%ours.example@ours.example", ("other.example", "ours.example")),
        ("a!user%b@ours.example", ("a", "b")),
        ('"user%[192.0.2.1]"@ours.example', ("[192.0.2.1]",)),
        ("100%@ours.example", ()),
        ("user%other.example", None),
        ("@other.example:user@ours.example", ("other.example",)),
        ("SRS0=ab=cd=other.example=user@ours.example", ()),
        ("postmaster", ()),
    ],
)
def test_hosts_hidden_in_the_local_part_are_found(path: str, hidden: tuple[str, ...] | None):
    if hidden is None:
        with pytest.raises(AddressError):
            parse_path(path)
    else:
        assert hidden_domains(parse_path(path)) == hidden


def test_one_stranger_among_the_hidden_domains_is_enough():
    ours = frozenset({"ours.example", "also.example"})
    assert routes(parse_path("user@ours.example"), ours) is None
    assert routes(parse_path("user%also.example@ours.example"), ours) is None
    assert routes(parse_path("user%evil.example%also.example@ours.example"), ours) == "evil.example"
    assert routes(parse_path("user%also.example%evil.example@ours.example"), ours) == "evil.example"


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("Example.COM", "example.com"),
        ("example.com.", "example.com"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("a_b.bücher.example", "a_b.xn--bcher-kva.example"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("localhost", "localhost"),
        ("", None),
        (".", None),
        ("a..b", None),
        ("192.0.2.1", None),
        ("[192.0.2.1]", None),
        ("2001:db8::1", None),
        ("exa mple.com", None),
        ("example.com\n", None),
        ("a" * 64, None),
        (".".join(["a" * 63] * 4), None),
        ("ü." * 200, None),
        ("good.example]ü", None),  # a bad last label must not leave the others standing
        ("good.example.\ud800", None),
        ("ü]ü.example", None),
        ("bücher.example.", "xn--bcher-kva.example"),
        ("bücher..example", None),
    ],
)
def test_domains_have_one_spelling(text: str, domain: str | None):
    assert normal_domain(text) == domain


def test_the_domain_of_a_text_is_known_only_for_a_mailbox():
    assert domain_of("user@Example.com") == "example.com"
    assert domain_of("postmaster") is None
    assert domain_of("<user@example.com>") is None


@given(st.text(max_size=300) | st.text(alphabet='a@.[]":\\<>,%!-_ü\u200d1\0 \r\n', max_size=60))
@settings(deadline=None)
def test_any_text_is_an_address_or_a_refusal(text: str):
    try:
        address = parse_path(text)
    except AddressError:
        return
    assert address.raw == text
    assert len(text.encode()) <= PATH_OCTETS
    assert address.domain.isascii()
    assert address.domain == address.domain.lower()
    assert not address.domain.endswith(".")
    assert not set(str(address)) & {"\0", "\r", "\n"}
    assert routes(address, frozenset(hidden_domains(address))) is None


@given(st.text(max_size=80) | st.text(alphabet="aA1.-_üß\u200d]?@ｅ。", max_size=30))
@settings(deadline=None, max_examples=500)
def test_a_normal_domain_is_normal_already_and_has_lost_no_label(text: str):
    domain = normal_domain(text)
    if domain is not None:
        assert normal_domain(domain) == domain
        assert domain.count(".") == text.removesuffix(".").count(".")


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["a", "ü", "ü.", "a-", "@a,", '"\\', "%", "!", "xn--a."])
def test_a_long_path_costs_no_more_than_its_length(unit: str):
    def cost(length: int) -> float:
        text = "u@" + unit * length
        return cost_of(lambda: [(domain_of(text), normal_domain(text[2:])) for _ in range(20)])

    cost(100)
    assert cost(100_000) < 40 * max(cost(120), 0.001)


@pytest.mark.parametrize(
    ("text", "local", "domain"),
    [
        ("a@example.org", "a", "example.org"),
        ("john doe@Example.org", "john doe", "example.org"),
        ("a@b@example.org", "a@b", "example.org"),
        ("postmaster", "postmaster", ""),
        ("root", "root", ""),
        ("", "", ""),
        ("a@[192.0.2.1]", "a", "[192.0.2.1]"),
        ("a@bad..domain", "a@bad..domain", ""),
        ("@", "@", ""),
        ("a\x07b@x y", "a\x07b@x y", ""),
    ],
)
def test_a_mailbox_that_a_mail_server_tells_may_lack_its_quotes(text, local, domain):
    assert told_mailbox(text) == Address(local, domain, text)


@pytest.mark.parametrize(
    ("path", "doubts"),
    [
        ("a@b.example", ()),
        ("", ()),
        ("SRS0=x=y=c.example=a@b.example", ()),
        ("a%c.example@b.example", ()),  # one mailbox for everybody but a mailer of long ago
        ("@c.example:a@b.example", ("route",)),
        ("c.example!a@b.example", ()),
        ('"a b"@b.example', ()),
        ('"a@c.example"@b.example', ("nested",)),
        ('"a\\"b"@b.example', ("quoted_pair",)),
        ('"a\\@c.example"@b.example', ("nested", "quoted_pair")),
        ("=?utf-8?q?a=40c.example?=@b.example", ("encoded_word",)),
        ("prvs=1=?x?=a@b.example", ()),
        ('@c.example:"a@d.example"@b.example', ("route", "nested")),
    ],
)
def test_what_two_readers_of_a_path_might_read_differently(path: str, doubts: tuple[str, ...]):
    assert doubts_about(parse_path(path)) == doubts
