import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.message import linkify
from gatekeeper.message.linkify import FOUND, links_in
from tests.support.cost import costs_of


@pytest.mark.parametrize(
    ("text", "links", "bare", "addresses"),
    [
        ("see http://a.example.com/x, or not", ("http://a.example.com/x",), (), ()),
        ("(https://a.example.com/x(1))", ("https://a.example.com/x(1)",), (), ()),
        ("<http://a.example.com>", ("http://a.example.com",), (), ()),
        ("hxxp://evil.example.com/", ("http://evil.example.com/",), (), ()),
        ("go to www.example.com.", (), ("www.example.com",), ()),
        ("go to Example.COM", (), (), ()),  # a sentence that goes on, it seems
        ("EXAMPLE.COM/Path now", (), ("example.com/Path",), ()),
        ("write to Bob.Smith@Example.org!", (), (), ("bob.smith@example.org",)),
        ("end.Next sentence, node.js, 1.5 and e.g. this", (), (), ()),
        ("http://a.example.com http://a.example.com", ("http://a.example.com",), (), ()),
        ("x://y a:// ://", (), (), ()),
        ("HTTP://EXAMPLE.com/É", ("http://EXAMPLE.com/É",), (), ()),
        ("", (), (), ()),
    ],
)
def test_what_mail_programs_make_links_of_is_found(text, links, bare, addresses):
    found = links_in(text)
    assert (found.links, found.bare, found.addresses) == (links, bare, addresses)


def test_what_is_beyond_the_budget_is_counted():
    found = links_in(" ".join(f"http://h{n}.example.com/" for n in range(FOUND + 1)))
    assert (len(found.links), found.left_out) == (FOUND, 1)


@given(st.text(max_size=200) | st.text(alphabet="htp:/w.@a -com(),", max_size=200))
def test_anything_is_read(text):
    found = links_in(text)
    assert all("://" in link for link in found.links)


def around_each_dot(text: str) -> tuple[dict[str, None], dict[str, None]]:
    """What stands alone, sign by sign."""
    bare: dict[str, None] = {}
    addresses: dict[str, None] = {}
    position = text.find(".")
    while position >= 0:
        end = position + 1
        if text[position - 1 : position].isalnum() and text[end : end + 1].isalnum():
            start = position
            while start > max(0, position - 100) and re.match(r"[\w@.+%=~-]", text[start - 1], re.ASCII):
                start -= 1
            behind = re.compile(r"[\w.-]*(?:/[^\s<>\"`{}|^]*)?", re.ASCII).match(text, position)
            end = max(end, behind.end() if behind else end)
            linkify._sort_in(text[start:end].rstrip(linkify._TRAILING + "-"), bare, addresses)
        position = text.find(".", end)
    return bare, addresses


SIGNS = st.sampled_from(
    [*".@/-_ aé%+)=~A", ".com", "www.", "x.org", "co.uk", "a@b.de", "Foo.Bar", "..", "@c.net", "a" * 60, "ß.", ".ß"]
)


@given(st.lists(SIGNS, max_size=20).map("".join))
def test_dots_are_passed_over_only_where_there_is_nothing(text):
    bare, addresses = around_each_dot(text)
    found = links_in(text)
    assert (found.bare, found.addresses) == (tuple(bare), tuple(addresses))


@pytest.mark.slow
@pytest.mark.parametrize(
    "piece",
    ["://", "http://a.com/x ", "a.", ".", "a@b.co ", "a", "www.", "http://", "http://a/)", "1.a", "f.exame@", "a@"],
)
def test_cost_grows_with_the_size_alone(piece):
    small, large = costs_of(lambda n: links_in(piece * n), 20_000, 80_000)
    assert large < 8 * small + 0.05
