import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.wire.process import Failed, ProcessStart, Role, failed_line, read_report, ready_line

START = ProcessStart(
    role=Role.WORKER,
    config_path="/etc/gatekeeper/gatekeeper.toml",
    snapshot="/run/gatekeeper/x/configuration1.toml",
    slot="worker0",
    workers=2,
    ready_fd=7,
    lifeline_fd=8,
    metrics_directory="/run/gatekeeper/x",
    drain=30.0,
    sockets={"smtp.listen": (3, 4), "http.listen": ()},
)


def test_what_the_supervisor_writes_the_process_reads():
    assert ProcessStart.from_environment({"GATEKEEPER_START": START.to_json()}) == START


def test_a_program_started_by_hand_says_so():
    with pytest.raises(ValueError, match="gatekeeper run"):
        ProcessStart.from_environment({})


@pytest.mark.parametrize("key", list(json.loads(START.to_json())))
@pytest.mark.parametrize("value", ["missing", None, [], {"a": 1}])
def test_what_it_did_not_write_is_a_value_error(key: str, value: object):
    found = json.loads(START.to_json())
    if value == "missing":
        del found[key]
    else:
        found[key] = value
    with pytest.raises(ValueError):
        ProcessStart.from_json(json.dumps(found))


@given(st.text())
def test_garbage_is_a_value_error(text: str):
    with pytest.raises(ValueError):
        ProcessStart.from_json(text)


@given(st.text())
def test_a_failure_is_one_line_that_fits_into_a_pipe_at_once(sentence: str):
    line = failed_line(sentence)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert len(line) <= 4096
    assert isinstance(read_report(line), Failed)


def test_reports_are_read_back():
    assert read_report(ready_line()) is None
    assert read_report(failed_line("the store\ncannot be opened")) == Failed("the store cannot be opened")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (b"", "without a word"),
        (b"read", "'read'"),
        (b"hello\xff\n", "hello"),
        (b"ready\nready\n", "ready"),
    ],
)
def test_any_other_report_is_a_failure(line: bytes, sentence: str):
    report = read_report(line)
    assert report is not None
    assert sentence in report.sentence
