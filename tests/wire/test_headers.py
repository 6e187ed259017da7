"""Every field is read, none is lost, and what is odd about one is told."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatekeeper.wire import headers
from gatekeeper.wire.headers import MOST_FIELDS, Defect, decode_words, escape, field_count, parse_header, unfold
from tests.support.cost import cost_of


def test_fields_keep_their_order_case_and_folds():
    block = b"From: a@example.com\r\nSUBJECT:  one\r\n\ttwo \r\nX-Empty:\r\nsubject:three\r\n"
    header = parse_header(block)
    assert [field.name for field in header.fields] == ["from", "subject", "x-empty", "subject"]
    subject = header.first("subject")
    assert subject is not None
    assert (subject.raw_name, subject.value, subject.index) == (b"SUBJECT", b"  one\r\n\ttwo ", 1)
    assert subject.raw == b"SUBJECT:  one\r\n\ttwo \r\n"
    assert subject.text == "one\ttwo"
    assert [field.text for field in header.all("subject")] == ["one\ttwo", "three"]
    assert header.first("date") is None
    assert header.all("date") == []
    assert header.malformed == ()


def test_an_empty_block_has_no_fields():
    assert parse_header(b"").fields == ()


@pytest.mark.parametrize(
    ("raw", "name", "value", "defects"),
    [
        (b"no colon at all\r\n", "", b"no colon at all", {Defect.NO_COLON}),
        (b": value\r\n", "", b" value", {Defect.NO_NAME}),
        (b"From : a@b\r\n", "from", b" a@b", {Defect.BLANK_BEFORE_COLON}),
        (b"From\t: a@b\r\n", "from", b" a@b", {Defect.BLANK_BEFORE_COLON}),
        (b" From: a@b\r\n", "from", b" a@b", {Defect.LEADING_BLANK}),
        (b"Fr\0om: a@b\r\n", "from", b" a@b", {Defect.BAD_NAME, Defect.NUL}),
        (b"Fr\xc3\xb6om: a@b\r\n", "from", b" a@b", {Defect.BAD_NAME}),
        (b"Fr om: a@b\r\n", "from", b" a@b", {Defect.BAD_NAME}),
        (b"From\r\n : a@b\r\n", "from", b" a@b", {Defect.FOLDED_NAME, Defect.BLANK_BEFORE_COLON}),
        (b"Fr\r\n om: a@b\r\n", "from", b" a@b", {Defect.FOLDED_NAME, Defect.BAD_NAME}),
        (b"From: a\0@b\r\n", "from", b" a\0@b", {Defect.NUL}),
        (b"From: a\r@b\r\n", "from", b" a\r@b", {Defect.BARE_CR}),
        (b"From: a@b\n", "from", b" a@b", {Defect.BARE_LF}),
        (b"From: a@b\n c\r\n", "from", b" a@b\n c", {Defect.BARE_LF}),
        (b"From: a@b", "from", b" a@b", {Defect.UNTERMINATED}),
        (b"From joe Mon Jan  1 00:00:00 2024\r\n", "", b"From joe Mon Jan  1 00:00:00 2024", {Defect.MAILBOX_LINE}),
        (b">From joe\r\n", "", b">From joe", {Defect.MAILBOX_LINE}),
    ],
)
def test_a_malformed_field_is_kept_under_its_name_with_its_defects(
    raw: bytes, name: str, value: bytes, defects: set[Defect]
):
    header = parse_header(raw)
    (field,) = header.fields
    assert (field.name, field.value, field.raw) == (name, value, raw)
    assert set(field.defects) == defects
    assert header.malformed == (field,)


def test_a_line_hidden_behind_a_bare_lf_is_seen():
    header = parse_header(b"Subject: x\nFrom: b@evil.example\r\nFrom: a@example.com\r\n")
    assert len(header.all("from")) == 2


def test_a_malformed_field_does_not_hurt_its_neighbours():
    header = parse_header(b"From: a@b\r\njunk\r\n more junk\r\nTo: c@d\r\n")
    assert [(field.name, field.index) for field in header.fields] == [("from", 0), ("", 1), ("to", 2)]
    assert header.fields[1].raw == b"junk\r\n more junk\r\n"


@given(st.binary(max_size=400) | st.lists(st.sampled_from(list(b'aF:\r\n \t\0\xff>"')), max_size=60).map(bytes))
@settings(deadline=None)
def test_no_byte_is_ever_lost(block: bytes):
    header = parse_header(block)
    assert b"".join(field.raw for field in header.fields) == block
    assert [field.index for field in header.fields] == list(range(len(header.fields)))
    assert sum(len(same) for same in header.by_name.values()) == len(header.fields)
    for field in header.fields:
        assert field.raw
        assert field.name.isascii()
        assert field.name == field.name.lower()
        if not field.defects:
            assert field.raw == field.raw_name + b":" + field.value + b"\r\n"
            assert b"\0" not in field.raw
            assert b"\r" not in field.value.replace(b"\r\n ", b"").replace(b"\r\n\t", b"")


LINES = st.sampled_from(
    [b"A: b\r\n", b"from:\r\n", b" c\r\n", b"\t\r\n", b"\r\n", b":\r\n", b"junk\r\n", b"A b:c\r\n", b"A :\r\n",
     b"From x\r\n", b">From x: y\r\n", b"\xff: \xff\r\n", b"\x01:\r\n", b"\x7f:\x00\r\n", b"A: \n", b"A: \r", b"A"]
)  # fmt: skip


@given(st.lists(LINES, max_size=12).map(b"".join))
def test_whole_lines_are_read_as_any_octets_are(block: bytes):
    assert parse_header(block) == headers._any(block)


def test_what_is_kept_of_names_has_an_end():
    for n in range(2 * headers._Names.MOST + 5):
        assert parse_header(b"X-%d: y\r\n" % n).fields[0].name == f"x-{n}"
    assert len(headers._NAMES) <= headers._Names.MOST
    long = b"X" * (headers._Names.LONGEST + 1)
    assert parse_header(long + b": y\r\n").first("x" * len(long)) is not None
    assert long not in headers._NAMES


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        lambda n: b"A: b\r\n" * n,
        lambda n: b"A: " + b"x" * 20 * n + b"\r\n",
        lambda n: b"A:" + b"\r\n " * n + b"\r\n",
        lambda n: b"A:" + b"\r\n " * n + b"\r",
        lambda n: b"junk\r\n \r\n" * n,
        lambda n: b"a" * n,
        lambda n: b" " * n,
        lambda n: b"\n" * n,
        lambda n: b"\r" * n,
        lambda n: b"\r\n " * n,
    ],
)
def test_hostile_headers_are_read_in_linear_time(make):
    def cost(count: int) -> float:
        block = make(count)
        return cost_of(lambda: parse_header(block))

    cost(1000)
    assert cost(40_000) < 12 * max(cost(10_000), 0.002)


def test_what_comes_after_the_most_fields_that_are_read_stands_there_as_one():
    for line in (b"A: b\r\n c\r\n", b"junk\r\n", b"A: b\n", b"A :\0\r\n"):
        whole = parse_header(line * MOST_FIELDS)
        assert len(whole.fields) == MOST_FIELDS
        assert not any(Defect.TOO_MANY in field.defects for field in whole.malformed)
        more = parse_header(line * (MOST_FIELDS + 500))
        assert len(more.fields) == MOST_FIELDS + 1
        assert (more.fields[-1].name, more.fields[-1].raw) == ("", line * 500)
        assert more.malformed[-1].defects == {Defect.TOO_MANY}
        assert field_count(line * (MOST_FIELDS + 500)) == MOST_FIELDS + 500


def test_a_value_is_unfolded_as_utf8_or_else_latin1():
    assert unfold(b" one\r\n two\r\n\tthree ") == "one two\tthree"
    assert unfold("Grüße".encode()) == "Grüße"
    assert unfold("Grüße".encode("latin-1")) == "Grüße"


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        ("plain", "plain"),
        ("=?utf-8?q?Gr=C3=BC=C3=9Fe_an_Euch?=", "Grüße an Euch"),
        ("=?UTF-8?B?R3LDvMOfZQ==?=", "Grüße"),
        ("=?utf-8?B?R3LDvMOfZQ?=", "Grüße"),
        ("=?iso-8859-1*de?q?Gr=FC=DFe?=", "Grüße"),
        ("a =?utf-8?q?b?= c", "a b c"),
        ("=?utf-8?q?a?= =?utf-8?q?b?=", "ab"),
        ("=?utf-8?q?a?=\t=?latin-1?q?=FC?=", "aü"),
        ("=?utf-8?q?=C3?= =?utf-8?q?=BC?=", "ü"),
        ("=?utf-8?q?a b?=", "a b"),
        ("=?utf-8?q?=C3?=", "\ufffd"),
        ("=?utf-8?b?!?= x", " x"),  # signs outside the alphabet are skipped (RFC 2045 §6.8)
        ("=?utf-8?b?A?= x", "=?utf-8?b?A?= x"),
        ("=?no-such?q?a?=", "=?no-such?q?a?="),
        ("=?punycode?q?a?=", "=?punycode?q?a?="),
        ("=?unicode_escape?q?=5C?=", "=?unicode_escape?q?=5C?="),
        ("=?utf-8?x?a?=", "=?utf-8?x?a?="),
        ("=?utf-8?q?ü?=", "=?utf-8?q?ü?="),
        ("=?utf-8?q?a", "=?utf-8?q?a"),
        ("=??q?a?=", "=??q?a?="),
    ],
)
def test_encoded_words_are_decoded_where_they_can_be(text: str, decoded: str):
    assert decode_words(text) == decoded


@given(st.text(max_size=200) | st.text(alphabet="=?utf-8bqQB_+/ A\t", max_size=120))
@settings(deadline=None)
def test_decoding_words_never_fails(text: str):
    decode_words(text)


@given(st.binary(max_size=60), st.sampled_from(["utf-16", "iso-2022-jp", "hz-gb-2312", "gb18030", "big5", "euc-kr"]))
@settings(deadline=None)
def test_decoding_any_octets_of_any_charset_never_fails(octets: bytes, charset: str):
    quoted = "".join(f"={octet:02X}" for octet in octets)
    decode_words(f"=?{charset}?q?{quoted}?=")


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["=?utf-8?q?a?= ", "=?", "=?a?q?", "=?a?b?AAAA?=", "=?utf-8?q?" + "=" * 20])
def test_encoded_words_cost_no_more_than_their_length(unit: str):
    def cost(count: int) -> float:
        text = unit * count
        return cost_of(lambda: decode_words(text))

    cost(100)
    assert cost(20_000) < 12 * max(cost(5000), 0.002)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("a\r\nb\0", "a\\x0d\\x0ab\\x00"),
        ("Grüße \u202e", "Gr\\xfc\\xdfe \\u202e"),
        (b"\xff\\", "\\xff\\\\"),
        ("x" * 300, "x" * 200 + "..."),
        (b"x" * 300, "x" * 200 + "..."),
    ],
)
def test_text_from_strangers_is_shown_in_printable_ascii(text: str | bytes, shown: str):
    assert escape(text) == shown


@given(st.text() | st.binary())
def test_what_is_shown_is_always_printable_ascii(text: str | bytes):
    shown = escape(text, 50)
    assert shown.isascii()
    assert shown.isprintable()
