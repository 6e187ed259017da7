"""The targets run on their seeds and on what fuzzing has found; and what is looked for is seen when it is there."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.fuzz.engine import Watched, blindly, keep
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

FOUND = sorted((Path(__file__).parent / "found").glob("*"))
"""Inputs that once raised something or were slow, each named TARGET-DIGEST."""


@pytest.mark.parametrize("name", TARGETS)
def test_a_parser_takes_its_seeds_and_what_a_few_mutations_make_of_them(name: str):
    ticks = iter(range(10_000))  # a clock that tells how often it was asked: nothing here is timed
    watched = Watched(TARGETS[name], slower=1e9, clock=lambda: float(next(ticks)))
    for seed in TARGETS[name].seeds:
        watched.take(seed)
    blindly(watched, 100)
    assert watched.runs > len(TARGETS[name].seeds)
    assert watched.faults == {}


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.name)
def test_what_was_found_once_is_read_now(path: Path):
    watched = Watched(TARGETS[path.name.rpartition("-")[0]])
    watched.take(path.read_bytes())
    assert watched.faults == {}


def test_what_is_raised_is_kept_once_with_its_shortest_input(tmp_path: Path):
    def broken(octets: bytes) -> None:
        if b"!" in octets:
            raise KeyError(octets)

    watched = Watched(Target(broken))
    for octets in (b"ab!cd", b"b!", b"xxxx!", b"fine"):
        watched.take(octets)
    (told,) = keep("parser", watched, tmp_path)
    assert told.startswith("parser: KeyError at test_targets.py:")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"b!"]


def test_what_costs_the_square_of_its_length_is_found_by_repeating_a_piece():
    spent = [0.0]

    def quadratic(octets: bytes) -> None:
        spent[0] += 1e-8 * octets.count(b"(") ** 2

    watched = Watched(Target(quadratic, seeds=(b"a(b)",)), clock=lambda: spent[0])
    for _ in range(1000):
        watched.take(b"a(b)")
    assert [what.partition(":")[0] for what in watched.faults] == ["slow"]


def test_mutations_reach_what_the_seed_does_not_say():
    seen = set()
    watched = Watched(Target(lambda octets: seen.add(octets), seeds=(b"a: b; c", b"(x)")), clock=time.perf_counter)
    blindly(watched, 0.05)
    assert len(seen) > 20
