import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.message.shingles import BUCKETS, LEAST, NEAR, Digest, digest_of
from tests.support.cost import growth_of

WORDS = [f"{a}{b}{c}" for a in "bdfgklmn" for b in "aeiou" for c in ("rt", "nd", "st", "lm", "ck")]


def prose(seed: int, count: int) -> list[str]:
    return random.Random(seed).choices(WORDS, k=count)


def digest(words: list[str]) -> Digest:
    found = digest_of([" ".join(words)])
    assert found is not None
    return found


@given(st.integers(0, 10_000), st.integers(60, 600), st.integers(0, 10_000))
def test_near_copies_are_near_and_meet(seed, count, change):
    words = prose(seed, count)
    other = list(words)
    for at in random.Random(change).sample(range(count), count // 40):
        other[at] = "changed"
    one, two = digest(words), digest(other)
    assert one.likeness(two) >= NEAR
    assert not set(one.bands()).isdisjoint(two.bands())


@given(st.integers(0, 10_000), st.integers(10_001, 20_000), st.integers(40, 600), st.integers(40, 600))
def test_other_texts_are_far(seed, other, count, length):
    assert digest(prose(seed, count)).likeness(digest(prose(other, length))) < NEAR / 2


def test_numbers_case_and_layout_do_not_matter():
    text = " ".join(prose(1, 60))
    assert digest_of([text]) == digest_of([f"  {text.upper()}\n 17 ".replace("\n", "\r\n")])


def test_a_short_text_has_no_digest():
    assert digest_of([" ".join(prose(1, LEAST))]) is None
    assert digest_of(["buy now " * 200]) is None  # the same few runs over and over
    assert digest_of([]) is None


@pytest.mark.parametrize(
    "boilerplate",
    [
        (
            "\n\nThis message and its attachments are intended only for the intended recipient and may be privileged. "
            "Anybody else must delete all copies of it at once and must not use what it says in any way at all."
        ),
        "\n-- \n" + " ".join(prose(9, 80)),
        "\n\nOn Monday, 1 June 2026, somebody wrote:\n" + "\n".join(f"> {word}" for word in prose(9, 80)),
        "\n\n-----Original Message-----\n" + " ".join(prose(9, 80)),
    ],
)
def test_what_stands_under_everything_does_not_count(boilerplate):
    text = " ".join(prose(1, 60))
    assert digest_of([text + boilerplate]) == digest_of([text])
    assert digest_of(["Thanks, see you there." + boilerplate]) is None


def test_scripts_without_blanks_have_a_digest():
    signs = [chr(0x4E00 + n * 7 % 3000) for n in range(200)]
    assert digest_of(["".join(signs)]) is not None


def test_the_first_text_that_is_long_enough_counts():
    long = " ".join(prose(1, 60))
    assert digest_of(["short", long]) == digest_of([long])


def test_a_digest_survives_being_written():
    made = digest(prose(1, 60))
    assert Digest.parse(str(made)) == made
    assert len(made.values) == BUCKETS
    for text in ("", "x", "AAAA"):
        with pytest.raises(ValueError, match="no digest"):
            Digest.parse(text)


@given(st.text(max_size=400))
def test_any_text_is_read(text):
    digest_of([text])


def test_cost_grows_with_the_size_alone():
    assert growth_of(lambda n: digest_of(["on a " * n + "\n"]), 5000) < 3.0
