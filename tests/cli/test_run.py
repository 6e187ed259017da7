"""`gatekeeper run`."""

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
    (tmp_path / "g.toml").write_text("x = 1")
    ended = call("run", "-c", str(tmp_path / "g.toml"))
    assert ended.status == 2
    assert "x: unknown setting" in ended.err
    assert "Traceback" not in ended.err
