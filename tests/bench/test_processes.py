"""What a process takes of the machine, and that a program which is measured ends with its measurement."""

import os
import shutil
import sys

import pytest

from gatekeeper.bench import processes


def test_a_process_has_cpu_and_memory_and_is_in_its_own_tree():
    own = os.getpid()
    sum(range(2_000_000))
    assert processes.cpu(own) > 0
    assert processes.machine_cpu() > processes.cpu(own)
    assert processes.rss(own) > 1 << 20
    assert processes.tree(own)[0] == own
    assert processes.children(1 << 30) == []


def test_a_program_ends_when_it_is_left():
    with processes.running((sys.executable, "-c", "input()")) as process:
        assert process.poll() is None
    assert process.poll() is not None


def test_a_sink_of_our_own_stands_in_for_smtp_sink(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with processes.sink() as (port, pid, name):
        assert port
        assert processes.rss(pid)
        assert "smtp-sink" in name


def test_a_gatekeeper_that_does_not_start_is_told_with_its_last_words(tmp_path):
    log = tmp_path / "log"
    log.write_text("the address is taken")
    with processes.running((sys.executable, "-c", "")) as process:
        process.wait()
        with pytest.raises(RuntimeError, match="the address is taken"):
            processes.roles(process, log)
