import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.classifier import words
from gatekeeper.classifier.words import LONGEST, MOST, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("The Invoice, the INVOICE!", ["the", "invoice"]),
        ("pay $1,250 by 2031", ["pay", "$0", "000", "by", "0000"]),
        ("a I x", []),
        ("Grüße aus KÖLN", ["grüße", "aus", "köln"]),
        ("“free”\u00a0money…", ["free", "money"]),
        ("免费领取", ["免费", "费领", "领取"]),
        ("x" * (LONGEST + 1) + " short", ["short"]),
    ],
)
def test_words_are_lower_case_and_numbers_are_their_length(text, words):
    assert [word.decode() for word in words_of(text).found] == words


def test_what_nobody_sees_is_taken_out_and_counted():
    read = words_of("in\u200bvo\u00adice pay\ufeffment")
    assert read.found == (b"invoice", b"payment")
    assert read.unseen == 3


def test_letters_that_are_drawn_like_others_are_read_as_those():
    read = words_of("𝐅𝐫𝐞𝐞 money")
    assert read.found == (b"free", b"money")
    assert read.styled
    assert not words_of("½ cup, ﬁne").styled


def test_there_are_no_more_words_than_are_kept():
    assert len(words_of(" ".join(f"w{chr(97 + n % 26)}{n:x}z" for n in range(9000))).found) <= MOST
    assert len(words_of("é " + "字" * 9000).found) <= MOST


@given(st.text(max_size=400))
def test_any_text_has_words_that_are_short_utf_8(text):
    read = words_of(text)
    assert len(set(read.found)) == len(read.found)
    assert all(word and len(word.decode("utf-8", "replace")) <= LONGEST for word in read.found)


@given(st.text(st.sampled_from("aB9 \n$_-.\xa0€£’éİ½Ⓐ①\u200bﬁΩж日本\u0301½№ßſ")))
def test_texts_of_few_foreign_signs_are_split_as_those_of_many_are(text: str):
    fast = words_of(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words, "_FEW", -1)
        assert words_of(text) == fast


@given(st.text(st.sampled_from("aB9 \n$_-.\xa0€£éİ½Ⓐ①日本\u0301ßж٣ก"), max_size=90))
def test_words_are_looked_at_together_as_they_are_one_by_one(text: str):
    fast = words_of(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words, "_spaced", words._one_by_one)
        assert words_of(text) == fast
