"""Address lists are read as they stand, and every way of reading them differently is told."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatekeeper.wire import mailboxes
from gatekeeper.wire.mailboxes import LIMIT, MOST, AddressList, Ambiguity, Mailbox, parse_address_list
from tests.support.cost import cost_of


def read(value: str | bytes) -> list[tuple[str, str]]:
    return [(mailbox.name, str(mailbox.address)) for mailbox in parse_address_list(value).mailboxes]


@pytest.mark.parametrize(
    ("value", "mailboxes"),
    [
        ("", []),
        (" ", []),
        ("a@example.com", [("", "a@example.com")]),
        (" a@Example.COM \r\n", [("", "a@example.com")]),
        ("<a@example.com>", [("", "a@example.com")]),
        ("< a@example.com >", [("", "a@example.com")]),
        ("Ann <a@example.com>", [("Ann", "a@example.com")]),
        ("Ann B. Clark<a@example.com>", [("Ann B. Clark", "a@example.com")]),
        ("Ann\r\n Clark\r\n <a@example.com>", [("Ann Clark", "a@example.com")]),
        ('"Clark, Ann" <a@example.com>', [("Clark, Ann", "a@example.com")]),
        ('"Ann \\"A\\"" <a@example.com>', [('Ann "A"', "a@example.com")]),
        ('"a@other.example" <a@example.com>', [("a@other.example", "a@example.com")]),
        ("a@example.com <a@example.com>", [("a@example.com", "a@example.com")]),
        ('"<a@example.com>" <b@example.com>', [("<a@example.com>", "b@example.com")]),
        ("a@example.com (Ann)", [("", "a@example.com")]),
        ("(Ann (A)) a@example.com", [("", "a@example.com")]),
        ("Ann (at home) <a@example.com> (x)", [("Ann", "a@example.com")]),
        ("=?utf-8?q?J=C3=B6rg?= <a@example.com>", [("=?utf-8?q?J=C3=B6rg?=", "a@example.com")]),
        ("Jörg <jörg@bücher.example>", [("Jörg", "jörg@xn--bcher-kva.example")]),
        ("Ann [x] <a@example.com>", [("Ann [x]", "a@example.com")]),
        ("a@[192.0.2.1]", [("", "a@[192.0.2.1]")]),
        ('"a b"@example.com', [("", "a b@example.com")]),
        ("a@one.example, Bob <b@two.example>", [("", "a@one.example"), ("Bob", "b@two.example")]),
        (",a@one.example,, ", [("", "a@one.example")]),
        ("x" * 70 + "@example.com", [("", "x" * 70 + "@example.com")]),
    ],
)
def test_usual_lists_are_read_without_doubt(value: str, mailboxes: list[tuple[str, str]]):
    assert read(value) == mailboxes
    assert parse_address_list(value).ambiguities == ()
    assert parse_address_list(value.encode()) == parse_address_list(value)


@pytest.mark.parametrize(
    ("value", "ambiguity", "addresses"),
    [
        ("root", "malformed", []),
        ("<>", "malformed", []),
        ("Clark, Ann <a@example.com>", "malformed", ["a@example.com"]),
        ("john doe@example.com", "malformed", []),
        ("a@b@example.com", "malformed", []),
        ("a@192.0.2.1", "malformed", []),
        ("a@one.example; b@two.example", "malformed", ["a@one.example", "b@two.example"]),
        ("<@any.example,@evil.example:a@example.com>", "route", ["a@example.com"]),
        ("@any.example:a@example.com", "nested", ["a@example.com"]),
        ("=?utf-8?q?a?=@example.com", "encoded_word", ["=?utf-8?q?a?=@example.com"]),
        ("=?utf-8?b?YUBiLmV4YW1wbGU=?=", "malformed", []),
        ('"a\\"b"@example.com', "quoted_pair", ['a"b@example.com']),
        ("<a@example.com>\\,<b@evil.example>", "trailing", ["a@example.com", "b@evil.example"]),
        ("Ann\\<a@example.com>", "quoted_pair", ["a@example.com"]),
        ("a(b)@example.com", "comment", ["a@example.com"]),
        ("a@(b)example.com", "comment", ["a@example.com"]),
        ("a@exa(b)mple.com", "comment", []),
        ("a @ example.com", "spaced", ["a@example.com"]),
        ("a@\r\n example.com", "spaced", ["a@example.com"]),
        ("a\0@example.com", "control", []),
        ("A\0nn <a@example.com>", "control", ["a@example.com"]),
        ("Ann\x1b$B <a@example.com>", "control", ["a@example.com"]),
        ("Ann\r<a@example.com>", "control", ["a@example.com"]),
        ("Ann\nX: y <a@example.com>", "control", ["a@example.com"]),
        ('"Ann <a@example.com>', "unbalanced", []),
        ('Ann" <a@example.com>', "unbalanced", []),
        ("Ann <a@example.com", "unbalanced", []),
        ("Ann (x <a@example.com>", "unbalanced", []),
        ("Ann) <a@example.com>", "unbalanced", ["a@example.com"]),
        ("a@example.com>", "unbalanced", []),
        ("<a@example.com> b@evil.example", "trailing", ["a@example.com"]),
        ("<<a@example.com>>", "trailing", []),
        ("a@evil.example <a@example.com>", "nested", ["a@example.com"]),
        ("@evil.example <a@example.com>", "nested", ["a@example.com"]),
        ('"<a@evil.example>" <a@example.com>', "nested", ["a@example.com"]),
        ("a@example.com (<b@evil.example>)", "nested", ["a@example.com"]),
        ("=?utf-8?b?PGFAZXZpbC5leGFtcGxlPg==?= <a@example.com>", "nested", ["a@example.com"]),
        ('"a@evil.example"@example.com', "nested", ["a@evil.example@example.com"]),
        ("Team: a@one.example, b@two.example;", "group", ["a@one.example", "b@two.example"]),
        ("undisclosed-recipients:;", "group", []),
        ("a@evil.example: b@example.com;", "nested", ["b@example.com"]),
        ("Team: a@one.example", "unbalanced", ["a@one.example"]),
        ("a: b: c@one.example;;", "malformed", ["c@one.example"]),
        ("a@ｅxample.com", "malformed", []),
    ],
)
def test_what_two_readers_would_read_differently_is_told(value: str, ambiguity: str, addresses: list[str]):
    found = parse_address_list(value)
    assert Ambiguity(ambiguity) in found.ambiguities
    assert [str(mailbox.address) for mailbox in found.mailboxes] == addresses


def test_bytes_that_are_not_utf8_are_told():
    found = parse_address_list(b"J\xf6rg <a@example.com>")
    assert found.ambiguities == (Ambiguity.EIGHT_BIT,)
    assert [mailbox.name for mailbox in found.mailboxes] == ["Jörg"]


def test_a_list_beyond_the_limit_is_not_read():
    assert parse_address_list("a@b.c," * LIMIT) == AddressList((), (Ambiguity.TOO_LONG,))
    assert parse_address_list("a@example.com", limit=5) == AddressList((), (Ambiguity.TOO_LONG,))


def test_of_a_long_list_the_first_thousand_are_read():
    whole = parse_address_list(",".join(["a@b.example"] * MOST))
    assert (len(whole.mailboxes), whole.ambiguities) == (MOST, ())
    cut = parse_address_list(",".join([""] * 100 + ["a@b.example"] * MOST))
    assert (len(cut.mailboxes), cut.ambiguities) == (MOST - 100, (Ambiguity.TOO_LONG,))


ALPHABET = 'ab@.,:;<>()[]"\\ \t\r\n=?qü\0\ud800-'


@given(st.text(max_size=200) | st.text(alphabet=ALPHABET, max_size=60) | st.binary(max_size=120))
@settings(deadline=None, max_examples=400)
def test_any_value_is_read_into_clean_addresses(value: str | bytes):
    found = parse_address_list(value)
    assert len(set(found.ambiguities)) == len(found.ambiguities)
    for mailbox in found.mailboxes:
        assert mailbox.address.local
        assert mailbox.address.domain.isascii()
        assert not re.search(r"[\0\r\n]", str(mailbox.address))


@given(st.text(alphabet=ALPHABET, max_size=40), st.text(alphabet=ALPHABET, max_size=20))
@settings(deadline=None, max_examples=400)
def test_a_second_domain_never_passes_unseen(before: str, after: str):
    """Whatever stands around an address: it is either told, quoted plainly, or the address read is that very one."""
    found = parse_address_list(f"{before}<x@evil.example>{after}")
    if not found.ambiguities and len(found.mailboxes) == 1:
        assert found.mailboxes[0].address.domain == "evil.example"


def test_a_mailbox_keeps_its_name_and_raw_address():
    (mailbox,) = parse_address_list("Ann <A@Example.com>").mailboxes
    assert isinstance(mailbox, Mailbox)
    assert (mailbox.name, mailbox.address.raw) == ("Ann", "A@Example.com")


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        lambda n: '"' + '\\"' * n,
        lambda n: '"' * n,
        lambda n: '"\\' * n,
        lambda n: "(" * n,
        lambda n: "()" * n,
        lambda n: "(\\" * n,
        lambda n: "<" * n,
        lambda n: "<>" * n,
        lambda n: "@" * n,
        lambda n: "[" * n,
        lambda n: "[" * n + "]",
        lambda n: ":;" * n,
        lambda n: "a@b.c," * n,
        lambda n: "a " * n,
        lambda n: "a" * n,
        lambda n: " " * n + "x",
        lambda n: "a" + " " * n + "<",
        lambda n: '"' + "<@a" * n + '" <a@b.c>',
        lambda n: "=?utf-8?q?a?= " * n + "<a@b.c>",
        lambda n: "a." * n + "@b.c",
        lambda n: "a@" + "b." * n + "c",
        lambda n: "\r" * n,
    ],
)
def test_hostile_lists_are_read_in_linear_time(make):
    def cost(count: int) -> float:
        value = make(count)
        return cost_of(lambda: parse_address_list(value, limit=1_000_000))

    cost(1000)
    assert cost(16_000) < 12 * max(cost(4000), 0.002)


@given(
    st.lists(
        st.sampled_from(
            (  # noqa: SIM905
                'a@b.c|Joe <j@x.org>|"Q, r" <q@x.org>|<a@b>|,|, |,\r\n\t|joe|  |@|"|\\|<|>|(c)|;|:|é|x@1.2.3.4|'
                "a..b@c.d|a@xn--80ak6aa92e.com|раypal@x.org|a@раypal.com|\x0b|\xa0|A@B.C <d@e.f>|=?utf-8?q?x?="
            ).split("|")
        ),
        max_size=7,
    ).map("".join)
)
def test_ordinary_lists_are_read_as_the_long_way_reads_them(text):
    read = parse_address_list(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mailboxes, "_several", lambda _text: None)
        assert parse_address_list(text) == read


def test_an_ordinary_list_is_not_taken_apart_sign_by_sign(monkeypatch):
    monkeypatch.setattr(mailboxes, "_entries", None)
    read = parse_address_list('A <a@x.org>, "B, c" <b@X.org>,\r\n\tc@x.org')
    assert [(box.name, str(box.address)) for box in read.mailboxes] == [
        ("A", "a@x.org"),
        ("B, c", "b@x.org"),
        ("", "c@x.org"),
    ]
