import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, multiprocess
from prometheus_client.parser import text_string_to_metric_families

from gatekeeper import metrics
from gatekeeper.model import Action, Stage


def in_slot(directory: Path, slot: str, program: str) -> None:
    """Run a program that uses `metrics` in a process of that slot."""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(directory), "GATEKEEPER_SLOT": slot}
    subprocess.run(
        [sys.executable, "-c", "from gatekeeper import metrics as m\n" + program], env=environment, check=True
    )


def samples(text: bytes) -> dict[str, float]:
    return {
        sample.name + json.dumps(sample.labels, sort_keys=True): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_counters_of_all_slots_are_summed_and_outlive_their_process(tmp_path: Path):
    in_slot(tmp_path, "worker0", "m.CONNECTIONS.inc(2); m.MESSAGES['reject'].inc()")
    in_slot(tmp_path, "worker1", "m.CONNECTIONS.inc(3)")
    in_slot(tmp_path, "worker0", "m.CONNECTIONS.inc(10)")
    metrics.forget_gauges(tmp_path, "worker0")
    found = samples(metrics.exposition(tmp_path))
    assert found["gatekeeper_connections_total{}"] == 15
    assert found['gatekeeper_messages_total{"action": "reject"}'] == 1
    assert found['gatekeeper_messages_total{"action": "accept"}'] == 0


@pytest.mark.parametrize("moment", ["before it is looked at", "before it is read"])
def test_a_file_that_goes_while_the_page_is_made_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
):
    in_slot(tmp_path, "worker0", "m.SESSIONS.inc(4)")
    gone = tmp_path / "gauge_sum_gone_pid1.db"
    look, listed = Path.glob, [gone] if moment == "before it is looked at" else []

    def glob(directory: Path, pattern: str):
        yield from look(directory, pattern)
        if listed:
            yield listed.pop()

    def merge(files: list[str], accumulate: bool = True):
        if str(gone) in files:
            gone.unlink()
        return merged(files, accumulate)

    merged: Any = multiprocess.MultiProcessCollector.merge
    if moment == "before it is read":
        gone.write_bytes(b"0")
        monkeypatch.setattr(multiprocess.MultiProcessCollector, "merge", staticmethod(merge))
    monkeypatch.setattr(Path, "glob", glob)
    assert samples(metrics.exposition(tmp_path))["gatekeeper_sessions{}"] == 4


def test_sessions_of_a_dead_process_do_not_count(tmp_path: Path):
    in_slot(tmp_path, "worker0", "m.SESSIONS.inc(4)")
    in_slot(tmp_path, "worker1", "m.SESSIONS.inc(3)")
    assert samples(metrics.exposition(tmp_path))["gatekeeper_sessions{}"] == 7
    metrics.forget_gauges(tmp_path, "worker0")
    assert samples(metrics.exposition(tmp_path))["gatekeeper_sessions{}"] == 3


def test_files_do_not_pile_up_over_generations(tmp_path: Path):
    for _ in range(3):
        in_slot(tmp_path, "worker0", "m.CONNECTIONS.inc()")
    assert {file.name.split("_")[-1] for file in tmp_path.iterdir()} == {"worker0.db"}


def test_what_a_process_without_a_slot_left_is_forgotten(tmp_path: Path):
    in_slot(tmp_path, "worker0", "m.CONNECTIONS.inc()")
    in_slot(tmp_path, "pid77", "m.CONNECTIONS.inc()")
    metrics.forget_unslotted(tmp_path)
    assert {file.name.split("_")[-1] for file in tmp_path.iterdir()} == {"worker0.db"}


def test_a_slot_whose_name_would_be_misread_is_refused(tmp_path: Path):
    with pytest.raises(subprocess.CalledProcessError):
        in_slot(tmp_path, "worker_0", "")


def test_a_process_that_is_just_starting_does_not_break_the_page(tmp_path: Path):
    in_slot(tmp_path, "worker0", "m.CONNECTIONS.inc()")
    (tmp_path / "counter_worker1.db").touch()
    assert samples(metrics.exposition(tmp_path))["gatekeeper_connections_total{}"] == 1


def test_the_parents_counters_stand_beside_those_of_the_workers(tmp_path: Path):
    program = f"""
from pathlib import Path
counters = m.supervisor_counters(Path({str(tmp_path)!r}))
counters.reloads["kept"].inc()
counters.worker_restarts.inc(2)
"""
    environment = {key: value for key, value in os.environ.items() if key != "PROMETHEUS_MULTIPROC_DIR"}
    subprocess.run([sys.executable, "-c", "from gatekeeper import metrics as m" + program], env=environment, check=True)
    in_slot(tmp_path, "worker0", "")
    found = samples(metrics.exposition(tmp_path))
    assert found['gatekeeper_reloads_total{"result": "kept"}'] == 1
    assert found['gatekeeper_reloads_total{"result": "loaded"}'] == 0
    assert found["gatekeeper_worker_restarts_total{}"] == 2


def test_without_slots_the_process_shows_its_own_numbers():
    found = samples(metrics.exposition(None))
    assert found["gatekeeper_sessions{}"] == 0
    assert 'gatekeeper_build_info{"version": "0.1.0"}' in found


ALL_READY = "m.READY.declare(m.PARTS); [m.READY[part].set(1) for part in m.PARTS]"


@pytest.mark.parametrize(
    ("programs", "expected"),
    [
        ([], ("worker",)),
        ([""], ("worker",)),  # the controller: it declares nothing
        (["", ALL_READY], ()),
        ([ALL_READY, ALL_READY], ()),
        ([ALL_READY, "m.READY.declare(m.PARTS)"], ("next_hop", "relay_probe", "room", "store")),
        ([ALL_READY, ALL_READY + "; m.READY['store'].set(0)"], ("store",)),
    ],
)
@pytest.mark.slow
def test_a_part_is_ready_when_it_is_in_every_worker(tmp_path: Path, programs: list[str], expected: tuple[str, ...]):
    for number, program in enumerate(programs):
        in_slot(tmp_path, f"worker{number}", program)
    assert metrics.unready(tmp_path) == expected


def test_a_worker_that_has_ended_does_not_make_us_ready(tmp_path: Path):
    in_slot(tmp_path, "worker0", ALL_READY)
    metrics.forget_gauges(tmp_path, "worker0")
    assert metrics.unready(tmp_path) == ("worker",)


def test_children_are_kept_and_strangers_cannot_make_labels():
    kinds = metrics.Children(Counter("kinds", "Kinds.", ["kind"], registry=CollectorRegistry()), ["known"])
    assert kinds["known"] is kinds["known"]
    kinds["known"].inc()
    for stranger in ("other", "x", "'; drop"):
        kinds[stranger].inc()
    shown = {sample.labels["kind"]: sample.value for sample in next(iter(kinds.metric.collect())).samples}
    assert {kind: value for kind, value in shown.items() if value != 0} == {"known": 1, "other": 3}


def test_closed_sets_are_shown_from_the_start():
    found = samples(metrics.exposition(None))
    for action in Action:
        assert f'gatekeeper_messages_total{{"action": "{action.word}"}}' in found
    for stage in Stage:
        assert f'gatekeeper_judge_seconds_count{{"stage": "{stage.name.lower()}"}}' in found
    for side in ("client", "next_hop"):
        assert f'gatekeeper_relay_in_doubt_total{{"side": "{side}"}}' in found


def test_every_metric_has_our_prefix_and_says_what_it_counts():
    families = list(metrics.REGISTRY.collect())
    assert families
    for family in families:
        assert family.name.startswith("gatekeeper_")
        assert family.documentation.endswith(".") or family.name == "gatekeeper_build_info"


def test_promtool_accepts_the_page(tmp_path: Path):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    in_slot(tmp_path, "worker0", "m.READY.declare(m.PARTS); m.FINDINGS['X'].inc(); m.JUDGE_SECONDS['rcpt'].observe(1)")
    for page in (metrics.exposition(tmp_path), metrics.exposition(None)):
        checked = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, check=False)
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
