"""`gatekeeper bench`."""

import pytest

from gatekeeper.bench import run
from tests.support.command_line import gatekeeper


def test_its_settings_reach_the_measurement(monkeypatch: pytest.MonkeyPatch):
    asked = []

    def measure(plan: run.Plan, *, console: object, as_json: bool) -> int:
        asked.append((plan, as_json))
        return 1

    monkeypatch.setattr(run, "run", measure)
    done = gatekeeper("bench", "--messages", "5", "--sessions", "2", "--size", "3000", "--workers", "3", "--json")
    assert asked == [(run.Plan(messages=5, sessions=2, octets=3000, workers=3), True)]
    assert done.status == 1


def test_what_cannot_be_measured_is_one_sentence_and_2():
    done = gatekeeper("bench", "--size", "10")
    assert done.status == 2
    assert "at least 2000 octets" in done.err
