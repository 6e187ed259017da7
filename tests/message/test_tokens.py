"""What stands between blanks is split once, for short texts in ASCII alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.message.content import Content, Text, content_of
from gatekeeper.message.tokens import MOST, tokens_of
from gatekeeper.model import Message
from gatekeeper.rules.text import normalise
from tests.support.mail import message_of


def message_with(*texts: str) -> Message:
    message = message_of("Subject: x\n\nx")
    made = content_of(message)
    message.memo["content"] = Content(
        made.mime, tuple([Text(made.mime.parts[0], text) for text in texts]), made.links, (), ()
    )
    return message


def test_each_text_is_a_line_of_what_is_different_in_it():
    message = message_with("The invoice,\r\n the\tINVOICE!\n", "", "two")
    first, empty, second = tokens_of(message) or ()
    assert first == (b"the invoice, the invoice!", 4, {b"the": None, b"invoice,": None, b"invoice!": None})
    assert empty == (b"", 0, {})
    assert second.line == b"two"
    assert tokens_of(message) is tokens_of(message)


@pytest.mark.parametrize("texts", [("caf\u00e9",), ("plain", "\u200b"), ("x" * (MOST - 1), "yy")])
def test_others_are_left_to_those_who_read_them(texts):
    assert tokens_of(message_with(*texts)) is None


@given(st.text(st.characters(max_codepoint=127), max_size=300))
def test_the_line_is_the_normalised_text(text):
    (made,) = tokens_of(message_with(text)) or ()
    assert made.line.decode() == normalise(text)
    assert made.many == len(made.line.split())
    assert list(made.different) == list(dict.fromkeys(made.line.split()))
