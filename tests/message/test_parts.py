import base64

import pytest

from gatekeeper.message.html import read_html
from gatekeeper.message.parts import Ambiguity, Mime
from tests.message.test_mime import read
from tests.support.cost import costs_of


def leaf(raw: str | bytes):
    return read(raw).parts[0]


@pytest.mark.parametrize(
    ("header", "is_html", "is_text"),
    [
        ("Content-Type: text/html", True, True),
        ("Content-Type: text/plain", False, True),
        ("Content-Type: application/octet-stream; name=invoice.HTM", True, True),
        ("Content-Type: image/svg+xml", True, True),
        ("Content-Type: application/pdf", False, False),
        ("Content-Type: message/delivery-status", False, True),
    ],
)
def test_what_programs_show_as_text_is_text(header, is_html, is_text):
    part = leaf(f"{header}\n\nx\n")
    assert (part.is_html, part.is_text) == (is_html, is_text)


def test_a_charset_inside_a_page_counts_where_the_header_names_none():
    part = leaf(b"Content-Type: text/html\n\n<meta charset=koi8-r>\xf0\xd2\n")
    assert part.text(100).endswith("Пр\r\n")


def test_a_part_in_two_charsets_is_read_in_both():
    noted: dict[Ambiguity, None] = {}
    part = leaf(b"Content-Type: text/plain; charset=koi8-r; charset=windows-1251\n\n\xf0\xd2\n")
    assert part.text(100, noted).split() == ["Пр", "рТ"]
    assert list(noted) == [Ambiguity.CHARSET]


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    ("charset", "noted"),
    [("", []), ("; charset=utf-8", [Ambiguity.CHARSET]), ("; charset=koi8-r", [Ambiguity.CHARSET])],
)
def test_a_page_that_is_marked_as_utf_16_is_read_as_that_and_as_what_was_declared(codec, charset, noted):
    octets = ("\ufeff" + "<a href=https://evil.example.com>go</a>").encode(codec)
    part = leaf(
        f"Content-Type: text/html{charset}\nContent-Transfer-Encoding: base64\n\n".encode() + base64.encodebytes(octets)
    )
    found: dict[Ambiguity, None] = {}
    assert "<a href=https://evil.example.com>go</a>" in part.text(1000, found)
    assert list(found) == noted


@pytest.mark.parametrize("charset", ["", "; charset=utf-8", "; charset=utf-16"])
def test_the_mark_of_utf_16_hides_no_ascii_from_us(charset):
    part = leaf(f"Content-Type: text/plain{charset}\n\n".encode() + b"\xff\xfesee https://evil.example.com/ now\n")
    assert "see https://evil.example.com/ now" in part.text(1000)


def test_text_in_a_charset_that_not_every_program_knows_is_read_as_it_stands_too():
    noted: dict[Ambiguity, None] = {}
    text = leaf(b"Content-Type: text/plain; charset=utf-7\n\n+AGgAdAB0AHA-\n").text(100, noted)
    assert text.split() == ["http", "+AGgAdAB0AHA-"]
    assert list(noted) == [Ambiguity.CHARSET]


def test_what_breaks_an_encoding_is_noted():
    noted: dict[Ambiguity, None] = {}
    leaf("Content-Transfer-Encoding: base64\n\naGVs*bG8=\n").text(100, noted)
    leaf("Content-Transfer-Encoding: quoted-printable\n\n=zz\n").text(100, noted)
    assert list(noted) == [Ambiguity.BASE64, Ambiguity.QUOTED_PRINTABLE]


def test_no_more_is_decoded_than_asked_for():
    part = leaf("Content-Transfer-Encoding: base64\n\n" + "QUJD" * 10_000)
    assert len(part.decoded(100)) <= 200


def test_harmless_oddities_make_no_message_ambiguous():
    assert not Mime((), (Ambiguity.TERMINATOR_MISSING, Ambiguity.EIGHT_BIT)).ambiguous
    assert Mime((), (Ambiguity.BOUNDARIES,)).ambiguous


PAGE = "<p>hello</p>"


@pytest.mark.parametrize("before", ["", "<p>x</p>", "<p>" + "y" * 60])
@pytest.mark.parametrize(
    "hidden",
    [
        "<!--" + "x" * 900 + "-->",
        "<!--" + "x" * 900 + "--!>",
        "<!-- - -->" * 90,
        " " * 900,
        "\n" * 900,
        "<style>" + "x" * 900 + "</style>",
        "<a title='" + "x" * 900 + "'>",
        '<a title="' + "x" * 900 + '">',
    ],
)
@pytest.mark.parametrize("encoding", ["8bit", "base64"])
def test_what_nobody_sees_before_a_page_does_not_take_its_room(before, hidden, encoding):
    page = before + hidden + PAGE
    raw = base64.encodebytes(page.encode()).decode() if encoding == "base64" else page
    text, whole = leaf(f"Content-Type: text/html\nContent-Transfer-Encoding: {encoding}\n\n{raw}").read(300)
    assert "hello" in read_html(text).seen
    assert not whole
    assert len(text) <= 300


@pytest.mark.parametrize("cut", range(-6, 7))
def test_a_comment_that_ends_where_a_page_is_cut_ends_there(cut):
    page = "<!--" + "x" * (200 - 7 + cut) + "-->" + PAGE + "<!--" + "y" * 900 + "-->"
    assert "hello" in read_html(leaf(f"Content-Type: text/html\n\n{page}").text(300)).seen


def test_what_hides_a_page_from_both_sides_is_passed_over():
    page = "<!--" + "x" * 900 + "-->" + PAGE + "<!-->seen<!--->too<!--" + "y" * 900 + "-->"
    assert read_html(leaf(f"Content-Type: text/html\n\n{page}").text(300)).seen.split() == ["hello", "seentoo"]


@pytest.mark.parametrize("mark", [b"\xff\xfe", b"\xfe\xff"])
@pytest.mark.parametrize("charset", ["utf-8", "windows-1252"])
def test_the_mark_of_utf_16_does_not_hide_the_end_of_a_long_text_that_is_none(mark, charset):
    raw = (
        f"Content-Type: text/html; charset={charset}\n\n".encode()
        + mark
        + b"<!--"
        + b"x" * 900
        + b"-->"
        + PAGE.encode()
    )
    assert "hello" in read_html(leaf(raw).text(600)).seen


@pytest.mark.parametrize("charset", ["utf-16", "utf-16le", "utf-16be", "utf-32le", ""])
def test_of_a_long_text_in_wide_letters_the_end_is_read_too(charset):
    octets = ("\ufeff<!--" + "x" * 500 + "-->" + PAGE).encode(charset or "utf-16")
    head = "Content-Type: text/html" + (f"; charset={charset}" if charset else "")
    raw = f"{head}\nContent-Transfer-Encoding: base64\n\n".encode() + base64.encodebytes(octets)
    text, whole = leaf(raw).read(900)
    assert "hello" in read_html(text).seen
    assert not whole


def test_of_a_long_text_beginning_and_end_are_read():
    text = leaf("Content-Type: text/plain\n\n" + "a" * 200 + "b" * 900 + "\n" * 200 + "c" * 50).text(300)
    assert (text[:200], text[-50:], len(text)) == ("a" * 200, "c" * 50, 300)


@pytest.mark.slow
@pytest.mark.parametrize("piece", ["<!--", "-->", "<!---->", "--", "<!-- -", " \n", " x", "<!--> "])
def test_a_text_that_is_too_long_costs_what_it_is_long(piece):
    def read_some(n: int) -> object:
        return leaf("Content-Type: text/html\n\n" + piece * n).text(n // 4)

    small, large = costs_of(read_some, 20_000, 80_000)
    assert large < 8 * small + 0.05
