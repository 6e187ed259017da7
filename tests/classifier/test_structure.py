import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.classifier.structure import of_links, of_pages, of_parts, shape, size
from gatekeeper.message.content import content_of
from tests.support.mail import message_of


def traits(text: str, author: str = "") -> set[str]:
    content = content_of(message_of(text))
    return {*of_parts(content), *of_pages(content.texts), *of_links(content, author)}


def page(html: str, author: str = "") -> set[str]:
    return traits(f"Content-Type: text/html\n\n{html}\n", author)


@pytest.mark.parametrize(
    ("html", "trait"),
    [
        ('<a href="https://x.example.com/">go</a>', "link anchor:https"),
        ('<a href="https://x.example.co.uk/">go</a>', "link anchor under:co.uk"),
        ('<a href="http://192.0.2.1/">go</a>', "link anchor:address"),
        ('<a href="https://a1.com/">go</a>', "link anchor:digits"),
        ('<a href="https://a.com/' + "0123456789abcdef" * 2 + '">go</a>', "link anchor:code"),
        ('<form action="https://a.com/"><input></form>', "form:yes"),
        ("<p>text</p>", "images:0"),
        ('<p>x</p><div style="display:none">' + "hidden " * 40 + "</div>", "hidden share:3"),
    ],
)
def test_a_page_has_the_trait(html, trait):
    assert trait in page(html)


def test_links_are_compared_with_the_author():
    assert "links to author:4" in page('<a href="https://www.example.com/">x</a>', "example.com")
    assert "links to author:0" in page('<a href="https://www.example.net/">x</a>', "example.com")


def test_parts_are_told_by_type_and_file():
    found = traits(
        "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nhi\n"
        '--b\nContent-Type: application/pdf; name="a.PDF"\nContent-Disposition: attachment\n\nx\n--b--\n'
    )
    assert {
        "parts:2",
        "type:text/plain",
        "type:application/pdf",
        "file:pdf",
        "disposed:attachment application",
    } <= found


def test_sizes_and_shapes():
    assert [size(n) for n in (0, 1, 2, 3, 1000)] == ["0", "1", "1", "2", "9"]
    assert shape("1a-Bc99") == "9a-Aa9"


@given(st.integers(0, 1 << 42) | st.integers(0, 41).map(lambda bits: (1 << bits) - 1))
def test_sizes_of_whole_numbers_are_those_of_others(count):
    assert size(count) == size(float(count)) == str(int(math.log2(count + 1)))
