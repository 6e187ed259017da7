"""What is measured and in which order; the programs themselves are left out here."""

from __future__ import annotations

import argparse
import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from bench import beside, processes, yardstick
from gatekeeper.checks.uribl import Uribl
from gatekeeper.config import configuration


def test_every_row_is_measured_and_who_is_compared_comes_one_after_the_other_in_each_round():
    named = {name for row in yardstick.ROWS.values() for name in (row.ours, row.theirs)}
    assert named == {*yardstick.ORDER}
    assert yardstick.order(named, 0) == [*yardstick.ORDER]
    assert yardstick.order(named, 1) == [*reversed(yardstick.ORDER)]
    assert yardstick.order({yardstick.SCAN, yardstick.ALL}, 2) == [yardstick.SCAN, yardstick.ALL]


def test_no_stranger_is_met_twice_and_sizes_are_those_of_mail():
    mix = yardstick.Mix()
    known = {letter.address for letter in mix.familiar}
    first, second = mix.letters(40), mix.letters(40)
    strangers = Counter(letter.address for letter in first + second if letter.address not in known)
    assert len(strangers) == 40
    assert {*strangers.values()} == {1}
    large = [len(letter.wire) > 50_000 for letter in first]
    assert sum(large) == 4
    assert mix.listed().address not in known


@pytest.mark.parametrize("text", ["0", "51", "-1"])
def test_a_run_without_end_is_refused(text: str):
    with pytest.raises(argparse.ArgumentTypeError, match="from 1 to 50"):
        yardstick._within(1, 50)(text)


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("bench.postfix.SBIN", "")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    found = yardstick.unable()
    assert found[yardstick.FRONT] == "not here: postfix (install postfix)"
    assert "install rspamd" in found[yardstick.SCAN]
    assert "install rspamd" in found[yardstick.MILTER]
    assert yardstick.ALL not in found


def test_the_signal_that_ends_it_does_so_once_and_by_way_of_everything_started():
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as ended:
            yardstick._told_to_end(signal.SIGTERM, None)
        assert ended.value.code == 128 + signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_machine_is_named_by_its_cores():
    assert yardstick.machine().startswith(f"cores {min(os.sched_getaffinity(0))}")


def test_a_process_is_called_what_it_calls_itself_or_by_its_file():
    assert processes.called(os.getpid()) == Path("/proc/self/comm").read_text().strip()
    assert processes.called(1 << 30) == "gone"


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_measured_beside_rspamd_is_a_configuration_with_a_list_of_names(tmp_path, workers: int):
    text = processes._settings(
        tmp_path,
        port=1,
        http=2,
        next_hop=3,
        nameserver="127.0.0.1:4",
        checks=True,
        only=beside.OUR_URIBL,
        without=(),
        smtp="",
        drain="1s",
        workers=workers,
    )
    read = configuration.read(text, "f")
    assert {each.zone for check in read.checks if isinstance(check, Uribl) for each in check.lists} == {beside.URIBL}
