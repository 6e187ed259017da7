import codecs
from encodings.aliases import aliases

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.message.charset import codec_of, decode, hides_ascii


@pytest.mark.parametrize(
    ("octets", "charset", "text"),
    [
        (b"plain", "", "plain"),
        ("grün".encode(), "", "grün"),  # undeclared UTF-8
        ("grün".encode("latin-1"), "", "grün"),  # undeclared Latin-1
        ("grün".encode(), "us-ascii", "grün"),
        ("grün".encode("latin-1"), "us-ascii", "grün"),
        (b"\x93quoted\x94", "iso-8859-1", "“quoted”"),  # Windows' quotes, declared as Latin-1
        ("Привет".encode("koi8-r"), "koi8-r", "Привет"),
        ("中文".encode("gb18030"), "GB2312", "中文"),
        ("한국어".encode("cp949"), '"ks_c_5601-1987"', "한국어"),
        ("日本".encode("iso-2022-jp"), "ISO-2022-JP", "日本"),
        (b"\xff\xfea\x00b\x00", "utf-16", "ab"),
        (codecs.BOM_UTF8 + b"x", "utf-8", "x"),
        (b"\xff\xfea\x00b\x00", "", "ab"),
        (b"\xfe\xff\x00a\x00b", "no-such-charset", "ab"),
        (b"\xff\xfea\x00b\x00", "utf-16be", "ab"),
        (b"\xff\xfea", "", "�"),
        (b"\xff\xfea", "windows-1252", "ÿþa"),
        (b"+AGEAYg-", "utf-7", "ab"),
        (b"caf\xe9", "no-such-charset", "café"),
        (b"x", "idna", "x"),  # Python's codec of that name is no charset
        (b"a\xffb", "utf-8", "a�b"),
    ],
)
def test_octets_become_the_text_that_mail_programs_show(octets, charset, text):
    assert decode(octets, charset) == text


@pytest.mark.parametrize("name", ["punycode", "idna", "bz2", "rot13", "unicode_escape", "", "x" * 500, "\0", "é"])
def test_what_is_no_charset_has_no_codec(name):
    assert codec_of(name) is None


def test_charsets_in_which_ascii_means_something_else_are_known():
    assert [hides_ascii(name) for name in ("utf-7", "UTF-16LE", "hz-gb-2312", "iso-2022-kr")] == [True] * 4
    assert not any(hides_ascii(name) for name in ("utf-8", "iso-8859-15", "koi8-r", "no-such", ""))


CHARSETS = [
    "utf-8",
    "utf-7",
    "utf-16",
    "hz-gb-2312",
    "iso-2022-jp",
    "gb2312",
    "big5",
    "euc-kr",
    "windows-1258",
    "cp437",
]


def test_ascii_is_read_the_short_way_only_where_the_long_one_reads_the_same():
    names = {name: codec for each in aliases for name in (each, each.replace("_", "-")) if (codec := codec_of(name))}
    octets = bytes(range(128)) + b"~{ab~} +AGE- \x1b$B$2\x1b(B \x0eab\x0f =?x\\~"
    assert {"cp932", "big5hkscs", "hz", "utf-7", "iso2022_jp", "cp037"} <= set(names.values())
    for name, codec in names.items():
        assert decode(octets, name) == octets.decode(codec, "replace"), name


@given(st.binary(max_size=300), st.one_of(st.sampled_from(CHARSETS), st.text(max_size=30)))
def test_anything_becomes_text(octets, charset):
    assert isinstance(decode(octets, charset), str)
