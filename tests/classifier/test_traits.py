from zlib import crc32

from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.classifier import traits as module
from gatekeeper.classifier.traits import MOST, names_of, traits_of
from gatekeeper.message.reading import read_message
from tests.support.mail import message_of

LETTER = """From: Anna <anna@example.com>
Subject: Your invoice
Content-Type: text/html

<p>Please pay the invoice <a href="https://example.com/pay">here</a></p>
"""


def test_traits_are_the_same_in_every_process():
    # CRC-32 of the name, which no process salts: a model learned elsewhere would be worth nothing otherwise.
    assert 0x021CCE68 in traits_of(message_of(LETTER)).words  # word:invoice
    assert traits_of(message_of(LETTER)) == traits_of(message_of(LETTER))


def test_each_trait_has_a_name_and_only_those_wanted_are_given():
    message = message_of(LETTER)
    traits = traits_of(message)
    names = names_of(message, traits.ids)
    assert set(names) == set(traits.ids)
    assert {"word:invoice", "subject:invoice", "anchor:here", "link anchor:https"} <= set(names.values())
    one = next(number for number, name in names.items() if name == "word:invoice")
    assert names_of(message, [one]) == {one: "word:invoice"}


def test_traits_are_made_once():
    message = message_of(LETTER)
    assert traits_of(message) is traits_of(message)


def test_a_trait_counts_once_and_there_is_an_end_to_them():
    words = " ".join(f"{a}{b}{c}" for a in "abcdefghij" for b in "klmnopqrst" for c in "uvwxyzabcd")
    links = "".join(f'<a href="https://h{n}.example{n}.com/{n}">w{n}</a>' for n in range(3000))
    traits = traits_of(message_of(f"Subject: {words}\nContent-Type: text/html\n\n{words * 3}{links}\n"))
    assert len(set(traits.ids)) == len(traits.ids) <= MOST


@given(
    st.binary(max_size=600)
    | st.lists(
        st.sampled_from(
            [
                b"From:",
                b"<",
                b"@",
                b"\r\n",
                b"Subject: =?utf-8?b?",
                b"?=",
                b"Content-Type: text/html;",
                b"\r\n\r\n",
                b"<a href=http://",
                b"\xff\xfe",
                b"multipart/mixed; boundary=b",
                b"--b\r\n",
                b"9" * 50,
                b"$",
                b"\xe2\x80\x8b",
            ]
        ),
        max_size=40,
    ).map(b"".join)
)
def test_any_octets_have_traits_with_names(octets):
    message = read_message(octets)
    traits = traits_of(message)
    assert len(traits.ids) <= MOST
    assert set(names_of(message, traits.ids)) == set(traits.ids)
    assert all(0 <= trait < 1 << 32 for trait in traits.ids)


def test_names_that_have_the_same_number_are_one_trait(monkeypatch):
    monkeypatch.setattr(module, "crc32", lambda octets, start=0: crc32(octets, start) % 16)
    monkeypatch.setattr(module, "_numbers", module._Numbers())
    message = message_of(LETTER)
    traits = traits_of(message)
    assert len(set(traits.ids)) == len(traits.ids) <= 16
    assert set(names_of(message, traits.ids)) == set(traits.ids)


def test_strangers_fill_what_is_kept_of_names_up_to_its_end(monkeypatch):
    monkeypatch.setattr(module, "NAMES_KEPT", 3)
    numbers = module._Numbers()
    for name in ("a", "b", "c", "d\ud800", "a", "a"):
        assert numbers[name] == crc32(name.encode("utf-8", "replace"))
        assert len(numbers) <= 3
