"""`gatekeeper demo`."""

import pytest

from gatekeeper.demo import play
from tests.support.command_line import gatekeeper as call


@pytest.mark.parametrize("status", [0, 1])
def test_what_was_chosen_is_played_and_gives_the_status(monkeypatch, tmp_path, status):
    calls = []

    def run(directory, *, smtp_port, http_port, stay, console):
        calls.append((directory, smtp_port, http_port, stay))
        return status

    monkeypatch.setattr(play, "run", run)
    arguments = ("--directory", str(tmp_path), "--smtp-port", "2525", "--http-port", "8080", "--no-stay")
    assert call("demo", *arguments).status == status
    assert calls == [(tmp_path, 2525, 8080, False)]


def test_what_stands_in_its_way_is_one_sentence(tmp_path):
    (tmp_path / "state.db").touch()
    ended = call("demo", "--directory", str(tmp_path), "--no-stay")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.count("\n") == 1
    assert f"{tmp_path} holds another gatekeeper's files" in ended.err
