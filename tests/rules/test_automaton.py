"""All patterns at once, in linear time."""

import os
import threading

import pytest

from gatekeeper.rules import automaton
from gatekeeper.rules.automaton import Automaton, PatternError, cache_directory


def test_it_tells_which_patterns_match_and_where():
    made = Automaton(["gift ?cards?", "^x", "nothing"])
    assert set(made.scan(b"buy giftcards\nx")) == {0, 1}
    assert made.scan(b"") == {}
    assert Automaton([]).scan(b"gift card") == {}


@pytest.mark.parametrize("pattern", [r"(?<!no )card", r"(a)\1", "(?:open", "x*"])
def test_what_the_engine_cannot_take_is_refused_by_its_number(pattern):
    with pytest.raises(PatternError) as refused:
        Automaton(["good", pattern, "fine"])
    assert refused.value.number == 1


def test_an_automaton_that_is_too_large_names_the_largest_pattern():
    with pytest.raises(PatternError, match="smaller numbers") as refused:
        Automaton(["small", "a.{1,200}b.{1,200}c", "tiny"], largest=1000)
    assert refused.value.number == 1


def test_what_was_compiled_once_is_read_from_the_cache(tmp_path, monkeypatch):
    place = tmp_path / "cache"
    first = Automaton(["gift ?card", "中奖"], cache=place)
    assert [file.suffix for file in place.iterdir()] == [".automaton"]
    monkeypatch.setattr(automaton, "_compiled", lambda *_: pytest.fail("compiled again"))
    again = Automaton(["gift ?card", "中奖"], cache=place)
    assert set(again.scan("中奖 gift card".encode())) == {0, 1} == set(first.scan("中奖 gift card".encode()))


@pytest.mark.parametrize("spoil", ["cut", "changed", "writable", "others'"])
def test_a_cache_that_cannot_be_trusted_is_compiled_anew(tmp_path, spoil, monkeypatch):
    place = tmp_path / "cache"
    Automaton(["gift ?card"], cache=place)
    (file,) = place.iterdir()
    if spoil == "cut":
        file.write_bytes(file.read_bytes()[:-10])
    elif spoil == "changed":
        file.write_bytes(file.read_bytes().replace(b"gift", b"gxft") + b"x")
    elif spoil == "writable":
        place.chmod(0o777)
    else:
        monkeypatch.setattr("os.geteuid", lambda: 4321)
    assert set(Automaton(["gift ?card"], cache=place).scan(b"giftcard")) == {0}


def test_the_cache_keeps_few_and_does_without_where_it_cannot_write(tmp_path):
    for number in range(12):
        Automaton([f"x{number}"], cache=tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 8
    file = tmp_path / "file"
    file.write_text("")
    assert set(Automaton(["card"], cache=file / "cache").scan(b"card")) == {0}


def test_what_is_in_use_stays_in_the_cache(tmp_path):
    place = tmp_path / "cache"
    Automaton(["in use"], cache=place)
    (used,) = place.iterdir()
    for number in range(12):
        os.utime(used, (1, 1))
        Automaton(["in use"], cache=place)
        Automaton([f"x{number}"], cache=place)
    assert used.exists()


def test_several_threads_may_look_at_once():
    made = Automaton(["gift ?card", "x{3}"])
    found: list[dict[int, int]] = []
    threads = [
        threading.Thread(target=lambda: found.append(made.scan(b"xxx" * 50_000 + b"gift card"))) for _ in range(4)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert [set(each) for each in found] == [{0, 1}] * 4


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({"CACHE_DIRECTORY": "/var/cache/gatekeeper"}, "/var/cache/gatekeeper"),
        ({"XDG_CACHE_HOME": "/c", "HOME": "/h"}, "/c/gatekeeper"),
        ({"HOME": "/h"}, "/h/.cache/gatekeeper"),
        ({"HOME": "/"}, None),
        ({}, None),
    ],
)
def test_the_cache_is_where_the_system_says(environment, place, monkeypatch):
    for name in ("CACHE_DIRECTORY", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = cache_directory()
    assert (None if found is None else str(found)) == place
