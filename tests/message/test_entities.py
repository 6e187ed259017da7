import html

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.message.entities import undo_entities
from tests.support.cost import costs_of


@pytest.mark.parametrize(
    ("text", "undone"),
    [
        ("a &amp; b", "a & b"),
        ("&#104;&#x74;tp", "http"),
        ("&#0000000104;", "h"),
        ("&#x00000068", "h"),
        ("&nosuch; & &#; &#x;", "&nosuch; & &#; &#x;"),
        ("&#99999999999;", "�"),
        ("&#" + "9" * 5000 + ";", "�"),
        ("none", "none"),
    ],
)
def test_references_become_characters(text, undone):
    assert undo_entities(text) == undone


@given(st.text(alphabet="&#xX;0123456789abclt ", max_size=60))
def test_it_reads_as_pythons_own_reader_wherever_that_can(text):
    assert undo_entities(text) == html.unescape(text) or "�" in undo_entities(text)


@pytest.mark.slow
@pytest.mark.parametrize("piece", ["&", "&#", "&#x", "&#9", "&#0", "&amp", "&lt;&"])
def test_twice_as_much_takes_about_twice_as_long(piece):
    small, large = costs_of(lambda n: undo_entities(piece * n), 40_000, 160_000)
    assert large < 8 * small + 0.05
