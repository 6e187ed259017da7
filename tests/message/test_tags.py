import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.message import tags
from gatekeeper.message.tags import ATTRIBUTES, NO_TAG, TAGS_KNOWN, Looks, begin_tag, read_tag


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("p", tags.BEGINS),
        ("P class=x", tags.BEGINS),
        ("p style='padding:0'", tags.BEGINS),
        ("p style='font-size:9px'", tags.SHOWS),
        ("font size=2", tags.SHOWS),
        ("a href=x style='font-size:9px'", tags.ANCHOR),
        ("p style='font-size:0'", tags.BEARS),
        ("td background", tags.BEGINS),
        ("td background=x", tags.BEARS),
        ("br/", tags.STANDS),
        ("/p ", tags.ENDS),
        ("/A", tags.ENDS_ANCHOR),
        ("a href=' x '", tags.ANCHOR),
        ("a href='x?a&amp;b'", tags.BEARS),
        ("a href=x class=y", tags.BEARS),
        ("a name=x", tags.BEARS),
        ("p style='display:none'", tags.BEARS),
        ("form", tags.BEARS),
        ("script src=x", tags.RAW),
        ("p class='", tags.MALFORMED),
        (" p", tags.MALFORMED),
        ("", tags.MALFORMED),
        ("!--", tags.MALFORMED),
    ],
)
def test_a_tag_is_of_the_kind_that_says_what_to_do(text, kind):
    assert read_tag(text).kind == kind


def test_what_a_tag_does_to_the_looks_is_read_once():
    assert read_tag("p style='display:none;color:#fff' bgcolor=black").looks == Looks(True, 0x000000, 0xFFFFFF)
    assert read_tag("font color=nosuch").looks == Looks(False, tags.AS_BEFORE, None)
    assert read_tag("td background=x.png").looks == Looks(False, None, tags.AS_BEFORE)
    assert read_tag("p class='A  b' id=C").names == {".a", ".b", "#c"}
    assert read_tag("a href='  x '").target == "x"


def test_of_two_attributes_of_one_name_the_first_counts_and_those_beyond_the_budget_do_not():
    assert read_tag("img SRC=a src=b").given == {"src": "a"}
    many = " ".join(f"a{n}=1" for n in range(ATTRIBUTES))
    assert read_tag(f"img {many} src=b") is NO_TAG  # and whoever reads such says that something was left out


def test_what_is_kept_of_strangers_tags_has_an_end():
    for n in range(2 * tags.KNOWN + 5):
        assert TAGS_KNOWN[f"a href=x{n}"].target == f"x{n}"
    assert len(TAGS_KNOWN) <= tags.KNOWN
    long = "a href=" + "x" * tags.LONGEST
    assert TAGS_KNOWN[long].target
    assert long not in TAGS_KNOWN


@given(st.text(max_size=60) | st.text(alphabet="pa /=\"'x\t", max_size=30))
def test_any_text_is_a_tag_or_none_and_what_is_kept_is_what_would_be_read(text):
    assert TAGS_KNOWN[text] == TAGS_KNOWN[text] == read_tag(text)
    assert read_tag(text) == NO_TAG or read_tag(text).name


def test_an_element_without_attributes_begins_as_it_is_written():
    assert read_tag("div") == begin_tag("div", None)
