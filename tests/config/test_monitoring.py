"""The dashboard and the alert rules that ship speak of metrics that exist, with labels and values that they have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gatekeeper import metrics
from gatekeeper.dns.health import State

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "config" / "grafana" / "gatekeeper.json"
RULES = ROOT / "config" / "prometheus" / "gatekeeper.rules.yml"
NAME = re.compile(r"\b(gatekeeper_[a-z_]+)(\{[^}]*\})?")
LABEL = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
OF_PROMETHEUS = {"instance", "job", "le"}
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}


def expressions_of(node: Any) -> Iterator[str]:
    """Every expression in the dashboard."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in {"expr", "definition"} and isinstance(value, str):
                yield value
            else:
                yield from expressions_of(value)
    elif isinstance(node, list):
        for value in node:
            yield from expressions_of(value)


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


EXPRESSIONS = [*expressions_of(json.loads(DASHBOARD.read_text())), *(rule["expr"] for rule in rules())]


def known() -> dict[str, tuple[set[str], dict[str, set[str]]]]:
    """By the name of each series: its labels, and the values of those that are declared from the start."""
    found: dict[str, tuple[set[str], dict[str, set[str]]]] = {}
    for metric in {id(m): m for m in metrics.REGISTRY._collector_to_names}.values():
        labels = set(metric._labelnames)  # type: ignore[attr-defined]  # of every metric
        for family in metric.collect():
            values: dict[str, set[str]] = {}
            for sample in family.samples:
                for label, value in sample.labels.items():
                    values.setdefault(label, set()).add(value)
            for suffix in SUFFIXES[family.type]:
                found[family.name + suffix] = (labels, values)
    return found


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_metric_and_label_that_is_asked_for_exists(expression):
    series = known()
    for name, selector in NAME.findall(expression):
        assert name in series, name
        labels, values = series[name]
        for label, operator, value in LABEL.findall(selector):
            assert label in labels | OF_PROMETHEUS, (name, label)
            if label in OF_PROMETHEUS or not values.get(label) or name.startswith("gatekeeper_dns_list"):
                continue
            for each in value.split("|") if "~" in operator else [value]:
                assert each in values[label], (name, label, each)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_what_is_grouped_by_is_a_label_of_what_is_asked_for(expression):
    series = known()
    asked = {label for name, _ in NAME.findall(expression) if name in series for label in series[name][0]}
    for group in re.findall(r"\bby \(([^)]*)\)", expression):
        assert {label.strip() for label in group.split(",")} <= asked | OF_PROMETHEUS, expression


def test_results_of_lists_are_those_that_are_counted():
    asked = set(re.findall(r'gatekeeper_dns_list_answers_total\{[^}]*result=~?"([^"]+)"', "\n".join(EXPRESSIONS)))
    assert {each for one in asked for each in one.split("|")} <= set(metrics.ListAnswers.RESULTS)


def test_states_of_lists_are_those_that_there_are_and_all_without_a_vote_are_told():
    asked = set(re.findall(r'gatekeeper_dns_list_state\{[^}]*state=~?"([^"]+)"', "\n".join(EXPRESSIONS)))
    states = {each for one in asked for each in one.split("|")}
    assert states == {state.value for state in State if not state.votes}


def test_every_alert_says_what_is_wrong_and_what_to_do():
    for rule in rules():
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"]
        assert len(rule["annotations"]["description"]) > 30


def test_panels_do_not_lie_upon_each_other():
    panels = json.loads(DASHBOARD.read_text())["panels"]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not taken & cells, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_what_the_operator_is_told_to_watch_is_in_the_rules():
    """docs/monitoring.md names the alerts that ship."""
    named = set(re.findall(r"`(Gatekeeper\w+)`", (ROOT / "docs" / "monitoring.md").read_text()))
    assert named == {rule["alert"] for rule in rules()}
