import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.message.lookalike import (
    BRANDS,
    disguised,
    drawn_in_ascii,
    imitated,
    imitated_brand,
    mixed,
    skeleton,
    unicode_of,
)
from gatekeeper.message.urls import a_label


@pytest.mark.parametrize(
    ("one", "other"),
    [("paypal", "раураl"), ("paypal", "paypa1"), ("microsoft", "rnicr0soft"), ("google", "gοοgle"), ("apple", "äpple"),
     ("amazon", "ａｍａｚｏｎ"), ("wells", "vvells"), ("bank", "ba-nk")],
)  # fmt: skip
def test_names_that_look_alike_have_one_skeleton(one, other):
    assert skeleton(one) == skeleton(other)


@pytest.mark.parametrize(
    ("host", "found"),
    [
        (a_label("pаypal") + ".com", True),  # one Cyrillic letter
        (a_label("раурау") + ".com", True),  # all Cyrillic, all like Latin ones
        (a_label("москва") + ".com", False),  # Cyrillic, and like nothing else
        (a_label("раурау") + "." + a_label("рф"), False),  # under its own country's suffix
        (a_label("bücher") + ".de", False),
        (a_label("日本カタカナ") + ".com", False),
        (a_label("日本") + "login.com", False),
        ("example.com", False),
        ("xn--a-\x00.com", False),
        ("xn--99999999.com", False),
    ],
)
def test_names_that_mean_to_be_taken_for_others_are_found(host, found):
    assert disguised(host) is found


@pytest.mark.parametrize(
    ("domain", "brand"),
    [
        ("paypa1.com", "paypal"),
        ("rnicrosoft.net", "microsoft"),
        (a_label("аmazon") + ".com", "amazon"),
        ("paypal.com", ""),
        ("paypal.de", ""),
        ("pay-pal.com", ""),
        ("example.com", ""),
        ("goo.gl", ""),
    ],
)
def test_brands_are_recognised_behind_a_disguise(domain, brand):
    assert imitated_brand(domain) == brand


def test_our_own_domains_are_recognised_too():
    ours = ["example.org", "kontoret.se"]
    assert imitated("examp1e.com", ours) == "example.org"
    assert imitated("k0nt0ret.com", ours) == "kontoret.se"
    assert imitated("example.com", ours) == ""  # the same word: a namesake's, or ours
    assert imitated("ab.com", ["a6.com"]) == ""  # too short to look like anything


def test_no_brand_looks_like_another():
    assert len({skeleton(brand.partition(".")[0]) for brand in BRANDS}) == len(BRANDS)


def test_scripts_of_one_language_go_together():
    assert not mixed("日本のlogin")
    assert mixed("loginπ")


@given(st.text(max_size=80))
def test_anything_can_be_compared(text):
    skeleton(text)
    disguised(f"xn--{text}.com")
    assert unicode_of("xn--" + text)


def test_text_is_drawn_in_ascii_as_far_as_it_looks_like_it():
    assert drawn_in_ascii("Раураl") == "paypal"
