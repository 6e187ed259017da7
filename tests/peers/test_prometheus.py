"""The alert rules that ship, proven by promtool: each is told when it should be, and not before."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.peers.conftest import need
from tests.peers.instances import program

pytestmark = pytest.mark.peers
RULES = Path(__file__).parents[2] / "config" / "prometheus" / "gatekeeper.rules.yml"
CASES = Path(__file__).parent / "prometheus" / "gatekeeper.test.yml"


def promtool(*arguments: str | Path) -> str:
    need("promtool")
    command = [program("promtool") or "promtool", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_rules_are_rules() -> None:
    assert "SUCCESS" in promtool("check", "rules", RULES)


def test_each_alert_is_told_when_it_should_be(tmp_path: Path) -> None:
    rules: dict[str, Any] = yaml.safe_load(RULES.read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            del rule["annotations"]  # promtool would compare every word of them
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules))
    (tmp_path / "cases.yml").write_text(CASES.read_text().replace("[RULES]", f"[{tmp_path / 'rules.yml'}]"))
    assert "SUCCESS" in promtool("test", "rules", tmp_path / "cases.yml")


def test_every_alert_has_a_case_in_which_it_is_told() -> None:
    alerts = set(re.findall(r"alert: (\w+)", RULES.read_text()))
    told = {
        case["alertname"]
        for test in yaml.safe_load(CASES.read_text())["tests"]
        for case in test["alert_rule_test"]
        if case["exp_alerts"]
    }
    assert told == alerts
