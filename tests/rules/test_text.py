"""One spelling for what people read alike."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.rules import text
from gatekeeper.rules.text import normal_sign, normalise


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("  Two\r\n\twords ", "two words"),
        ("v\u200bi\u00adagra", "viagra"),  # what nobody sees
        ("GESCHÄFT Straße été ñandú", "geschaft strasse ete nandu"),
        ("𝐁𝐨𝐥𝐝 ﬁne Ａ", "bold fine a"),  # NFKC
        ("“quoted” ‘text’ – dash", "\"quoted\" 'text' - dash"),
        ("pаypаl is а word", "paypal is а word"),  # Cyrillic a: within a word, and alone
        ("привет мир", "привет мир"),
        ("e\u0301te\u0301", "ete"),
        ("中奖！", "中奖!"),
        ("a\x00b\x0bc", "a b c"),
        ("か\u3099", "が"),
        ("", ""),
    ],
)
def test_text_is_brought_into_one_spelling(written, read):
    assert normalise(written) == read


@given(st.text(max_size=200))
def test_whatever_comes_is_normalised_once_and_for_all(text):
    once = normalise(text)
    assert normalise(once) == once
    assert "  " not in once
    assert once == once.strip()
    once.encode()  # can be looked at by the engine


def test_a_word_of_two_alphabets_is_one_in_ours_and_only_such_a_word():
    assert normalise("p\u0430yp\u0430l") == "paypal"
    assert normalise("\u0440\u0440 p\u0430y1\u0440") == "\u0440\u0440 pay1p"
    assert normalise("\u043f\u0440\u0438\u0432\u0435\u0442 pay") == "\u043f\u0440\u0438\u0432\u0435\u0442 pay"


def test_a_long_word_beside_a_foreign_one_costs_what_its_length_explains():
    assert normalise("\u03b1 " + "rgo" * 80_000).endswith("rgo")  # squared, it would take a quarter of an hour


def test_many_different_signs_are_as_good_as_few():
    text = "ÀÁÂÃÄÅÇÈÉÊËÌÍÎÏÑÒÓÔÕÖÙÚÛÜ"
    assert normalise(text) == "aaaaaaceeeeiiiinooooouuuu"


def test_a_sign_that_nobody_sees_becomes_none():
    assert (normal_sign("\u200b"), normal_sign("É"), normal_sign("x")) == ("", "e", "x")


@given(st.text(st.sampled_from("aB9 \n\x00\xa0€’“—éÅ½Ⓐ\u200b\xadﬁΩжа\u0301ßſ日")))
def test_texts_of_few_foreign_signs_are_spelt_as_those_of_many_are(written: str):
    fast = normalise(written)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "_FEW", -1)
        assert normalise(written) == fast
