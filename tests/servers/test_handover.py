"""What one version of the supervisor hands to the next."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.servers.handover import VARIABLE, HandedChild, HandedProcess, Handover, take_handover

HANDOVER = Handover(
    sockets={"127.0.0.1:25": [7, 8]},
    systemd={"smtp": [3]},
    lifeline=(5, 6),
    place="/run/gatekeeper/x",
    snapshot="/run/gatekeeper/x/configuration2.toml",
    snapshots=2,
    children=(HandedChild("worker0", "worker", 77, serving=True, report=9, ready=False),),
    drain=60.0,
)
LATER = {"drain"}
"""Keys that the first version did not write."""


def test_it_is_read_back_once():
    environment = {VARIABLE: HANDOVER.to_json(), "OTHER": "x"}
    assert take_handover(environment) == HANDOVER
    assert environment == {"OTHER": "x"}
    assert take_handover(environment) is None


def test_every_descriptor_must_stay_open():
    assert HANDOVER.descriptors() == [3, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("key", list(json.loads(HANDOVER.to_json())))
@pytest.mark.parametrize("value", ["missing", None, "x", [1]])
def test_what_it_did_not_write_is_a_value_error(key, value):
    found = json.loads(HANDOVER.to_json())
    if value == "missing":
        del found[key]
    else:
        found[key] = value
    try:
        take_handover({VARIABLE: json.dumps(found)})
    except ValueError:
        return
    assert key in {"place", "snapshot", "snapshots"} or (key in LATER and value in ("missing", None))


def test_one_of_the_first_version_is_read():
    found = {key: value for key, value in json.loads(HANDOVER.to_json()).items() if key not in LATER}
    for child in found["children"]:
        del child["report"], child["ready"]
    children = (HandedChild("worker0", "worker", 77, serving=True),)
    assert take_handover({VARIABLE: json.dumps(found)}) == replace(HANDOVER, drain=None, children=children)


@given(st.text())
def test_garbage_is_a_value_error(text):
    with pytest.raises(ValueError):
        take_handover({VARIABLE: text})


def test_keys_of_a_later_version_do_no_harm():
    text = json.dumps(json.loads(HANDOVER.to_json()) | {"more": 1})
    assert take_handover({VARIABLE: text}) == HANDOVER


def test_a_handed_process_ends_like_any_other():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    handed = HandedProcess(child.pid)
    assert handed.poll() is None
    handed.terminate()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert handed.poll() == -signal.SIGTERM
    assert handed.poll() == -signal.SIGTERM
    handed.terminate()
    child.returncode = 0  # it was waited for above


def test_a_process_that_somebody_else_has_waited_for_is_gone():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert HandedProcess(child.pid).poll() == 0
