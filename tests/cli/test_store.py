"""`gatekeeper store migrate`: mistakes. With a real Redis: tests/peers/test_redis.py."""

from pathlib import Path

from tests.support.closed import closed_to_us
from tests.support.command_line import configuration, with_records
from tests.support.command_line import gatekeeper as call


def test_a_store_that_is_no_redis_is_no_target(tmp_path):
    ended = call("store", "migrate", "-c", configuration(tmp_path))
    assert ended.status == 2
    assert "is no Redis to carry it to" in ended.err


def _redis(tmp_path: Path) -> str:
    file = tmp_path / "redis.toml"
    file.write_text('hostname = "mx.example.org"\n[store]\nurl = "redis://127.0.0.1:1/0"\n')
    return str(file)


def test_a_file_that_is_not_there_is_told(tmp_path):
    ended = call("store", "migrate", str(tmp_path / "none.db"), "-c", _redis(tmp_path))
    assert ended.status == 2
    assert "is not there" in ended.err


def test_a_file_that_is_closed_to_who_calls_is_told(tmp_path, monkeypatch):
    closed_to_us(tmp_path / "closed", monkeypatch)
    ended = call("store", "migrate", str(tmp_path / "closed" / "state.db"), "-c", _redis(tmp_path))
    assert (ended.status, ended.err.count("\n")) == (2, 1)
    assert "closed/state.db cannot be read by you: run this as root" in ended.err


def test_a_redis_that_does_not_answer_is_told(tmp_path):
    with_records(tmp_path)
    ended = call("store", "migrate", str(tmp_path / "state.db"), "-c", _redis(tmp_path))
    assert ended.status == 2
    assert "Redis" in ended.err
