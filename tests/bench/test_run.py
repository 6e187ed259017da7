"""The measurement from its start to its table."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from gatekeeper.bench import run
from gatekeeper.checks.dnsbl import Dnsbl
from gatekeeper.config import configuration
from gatekeeper.pipeline import CHECKS


def row(**given: object) -> run.Row:
    usual = {
        "what": run.PASS,
        "accepted": 9,
        "rate": 500.0,
        "cpu": 0.002,
        "workers_cpu": 0.0018,
        "p50": 0.01,
        "p99": 0.05,
    }
    return run.Row(**{**usual, "memory": 70_000_000, "others": 0.0, "failures": {}, **given})  # type: ignore[arg-type]


def shown(*rows: run.Row) -> str:
    out = io.StringIO()
    run._show(Console(file=out, width=100, color_system=None), run.Plan(), rows, 5300.0)
    return out.getvalue()


def test_the_table_has_each_row_and_what_a_processor_can_do():
    text = shown(row(), row(what=run.NEW, cpu=0.01))
    assert all(part in text for part in (run.PASS, run.NEW, "2.00", "500", "100", "10.0", "50.0", "70", "5.3 kB"))
    assert "Other programs" not in text
    assert "not accepted" not in text


def test_a_machine_with_others_on_it_and_mail_that_was_refused_are_told():
    text = shown(row(others=1.2, failures={"550 [no]": 3}))
    assert "Other programs kept 1.2 processors busy" in text
    assert "3 not accepted (no checks): 550 [no]" in text


@pytest.mark.parametrize("wrong", [{"messages": 0}, {"sessions": 0}, {"workers": 0}, {"octets": 100}])
def test_a_plan_of_nothing_is_refused(wrong: dict[str, int]):
    with pytest.raises(ValueError, match="at least"):
        run.Plan(**wrong)


@pytest.mark.parametrize("checks", [False, True])
def test_what_is_measured_is_a_configuration(tmp_path, checks: bool):
    text = run.settings(tmp_path, 2, port=1, http=2, next_hop=3, nameserver="127.0.0.1:4", checks=checks)
    read = configuration.read(text, "f")
    on = {type(check) for check in read.checks}
    assert on == (set(CHECKS) if checks else set())
    assert [len(check.lists) for check in read.checks if isinstance(check, Dnsbl)] == ([6] if checks else [])
    assert read.supervisor.workers == 2


@pytest.mark.slow
def test_a_few_messages_are_measured_for_programs():
    out = io.StringIO()
    plan = run.Plan(messages=20, sessions=4)
    assert run.run(plan, console=Console(file=out, width=100), as_json=True) == 0
    told = json.loads(out.getvalue())
    assert [each["accepted"] for each in told["rows"]] == [20, 20, 20]
    assert all(each["cpu"] >= 0 and each["memory"] > 1 << 20 for each in told["rows"])
    assert told["idle"] >= 0
