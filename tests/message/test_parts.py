import pytest

from gatekeeper.message.parts import Ambiguity, Mime
from tests.message.test_mime import read


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
