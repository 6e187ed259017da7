"""Where keys stand in a TOML file."""

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gatekeeper.config.positions import Path, nearest_line, positions

FILE = '''\
# a comment with = and [brackets]
hostname = "mx.example.org"   # after it
"quoted key" = 1
'literal.key' = 2

[servers.smtp]
listen = [
  "127.0.0.1:25",  # one, with ] inside
  "[::1]:25",
]
trust = []
text = """
[not.a.section]
key = 1
"""
plain = \'\'\'
[nor.this]\'\'\'
a.b . "c" = true
inline = { x = 1, y = { z = [1, 2] } }

  [[checks.dnsbl.lists]]
zone = "one"
[[checks.dnsbl.lists]]
zone = "two"
[checks.dnsbl.lists.deeper]
key = 1
[[ checks . dnsbl . lists ]]
codes = { "127.0.0.2" = {name = "SBL", score = 4.0}, "127.0.0.4-7" = {name = "XBL"} }
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("hostname",), 2),
        (("quoted key",), 3),
        (("literal.key",), 4),
        (("servers",), 6),
        (("servers", "smtp"), 6),
        (("servers", "smtp", "listen"), 7),
        (("servers", "smtp", "listen", 0), 8),
        (("servers", "smtp", "listen", 1), 9),
        (("servers", "smtp", "trust"), 11),
        (("servers", "smtp", "text"), 12),
        (("servers", "smtp", "plain"), 16),
        (("servers", "smtp", "a", "b", "c"), 18),
        (("servers", "smtp", "inline", "x"), 19),
        (("servers", "smtp", "inline", "y", "z", 1), 19),
        (("checks", "dnsbl", "lists"), 21),
        (("checks", "dnsbl", "lists", 0), 21),
        (("checks", "dnsbl", "lists", 0, "zone"), 22),
        (("checks", "dnsbl", "lists", 1), 23),
        (("checks", "dnsbl", "lists", 1, "zone"), 24),
        (("checks", "dnsbl", "lists", 1, "deeper", "key"), 26),
        (("checks", "dnsbl", "lists", 2, "codes", "127.0.0.4-7", "name"), 28),
    ],
)
def test_each_key_stands_on_its_line(path, line):
    assert positions(FILE)[path] == line


def test_nothing_else_is_taken_for_a_key():
    found = positions(FILE)
    assert ("not",) not in found
    assert ("nor",) not in found
    assert ("servers", "smtp", "key") not in found


def _paths(value: Any, path: Path = ()) -> Iterator[Path]:
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _paths(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _paths(inner, (*path, index))


def test_every_path_that_tomllib_sees_has_a_line_and_no_other():
    assert set(positions(FILE)) == set(_paths(tomllib.loads(FILE))) - {()}


def test_a_path_that_is_not_there_has_the_line_of_what_surrounds_it():
    found = positions(FILE)
    assert nearest_line(found, ("checks", "dnsbl", "lists", 1, "score")) == 23
    assert nearest_line(found, ("policy", "tag")) == 0


@pytest.mark.parametrize(
    "text", ['a = "unclosed', "a = '''unclosed\nb = 1", "[unclosed\nb = 1", "= 3\nb = 1", "[" * 5000]
)
def test_a_wrong_file_is_scanned_as_far_as_it_goes(text):
    found = positions(text)
    assert all(1 <= line <= text.count("\n") + 1 for line in found.values())


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", ["b = [" * 5000, "b = {a=" * 5000, "a." * 5000 + "b=1", "'" * 5000, "b = [\n" * 5000, '"\\' * 5000]
)
def test_a_hostile_file_is_scanned_without_harm(text):
    positions(text)


TOML = st.text(alphabet="ab.=[]{}\"'#\\\n\r ,1_-\t", max_size=200)


@given(TOML)
@example("[[a]]\n[a.b]\n[[a]]")
@example("a = [[1], [2]]")
def test_it_never_raises_and_its_lines_are_in_the_file(text):
    found = positions(text)
    assert all(1 <= line <= text.count("\n") + 1 for line in found.values())


@given(TOML)
@example('a = [ [1, 2], {b = "]"} ]\n["c"]\nd.e = 1')
def test_what_is_toml_has_a_line_for_every_path(text):
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert set(_paths(data)) - {()} <= set(positions(text.replace("\r\n", "\n")))
