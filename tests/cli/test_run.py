"""`gatekeeper run`."""

import subprocess
import sys
from typing import Any

import pytest

from gatekeeper import supervisor
from tests.support.command_line import gatekeeper as call


@pytest.mark.parametrize("status", [0, 1, 2])
def test_the_supervisor_is_given_the_file_and_gives_the_status(monkeypatch, status):
    given = []

    def run(path: str) -> Any:
        given.append(path)
        return status

    monkeypatch.setattr(supervisor, "run", run)
    assert call("run", "-c", "/some/file.toml").status == status
    assert given == ["/some/file.toml"]


def test_a_configuration_that_is_wrong_ends_with_status_2_and_no_traceback(tmp_path):
    """In a process of its own: the supervisor sets up the metrics of the whole process it runs in."""
    (tmp_path / "g.toml").write_text("x = 1")
    command = [sys.executable, "-m", "gatekeeper", "run", "-c", str(tmp_path / "g.toml")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert "x: unknown setting" in ended.stderr
    assert "Traceback" not in ended.stderr
