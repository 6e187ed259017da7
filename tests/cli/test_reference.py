"""What is made from the code is what stands in the repository."""

import re
from pathlib import Path

import pytest

from gatekeeper import log, metrics, pipeline
from gatekeeper.cli import reference

ROOT = Path(__file__).parents[2]
PAGES = reference.pages()


@pytest.mark.parametrize("path", PAGES)
def test_the_file_in_the_repository_is_the_one_that_is_made(path):
    assert (ROOT / path).is_file(), "run `make reference`"
    assert (ROOT / path).read_text() == PAGES[path], "run `make reference`"


def test_every_rule_has_its_sentence():
    assert [rule.name for check in pipeline.CHECKS for rule in check().rules() if not rule.about] == []
    assert all(
        f"`{rule.name}`" in PAGES["docs/reference/rules.md"] for check in pipeline.CHECKS for rule in check().rules()
    )


def test_rules_that_come_from_a_law_or_standard_say_which():
    page = PAGES["docs/reference/rules.md"]
    sources = {rule.name: rule.source for check in pipeline.CHECKS for rule in check().rules() if rule.source}
    assert sources["LAW_SEXUALLY_EXPLICIT"] == "CAN-SPAM §5(d); 16 CFR 316.4"
    for name, source in sources.items():
        assert re.search(rf"^\| `{name}` \|.*\| {re.escape(source)} \|$", page, re.MULTILINE)


def test_every_metric_has_its_sentence_and_stands_there_once():
    found = [next(iter(metric.describe())) for metric in reference._metrics()]
    assert [family.name for family in found if not family.documentation] == []
    assert len({family.name for family in found}) == len(found)
    assert "| `gatekeeper_messages_total` | counter | `action` |" in PAGES["docs/reference/metrics.md"]
    assert "`gatekeeper_reloads_total`" in PAGES["docs/reference/metrics.md"]


def test_no_metric_is_left_out():
    shown = set(re.findall(r"^\| `(\w+)` \|", PAGES["docs/reference/metrics.md"], re.MULTILINE))
    found = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for collector in {id(each): each for each in metrics.REGISTRY._collector_to_names}.values()
        for family in collector.describe()  # type: ignore[attr-defined]  # of every metric
    }
    assert found <= shown


def test_every_event_has_its_sentence():
    assert all(about.endswith(".") for about in log.EVENTS.values())


def test_settings_of_lists_stand_below_their_list():
    page = PAGES["docs/reference/settings.md"]
    assert "`lists[].zone`" in page
    assert "`lists[].codes.*.name`" in page
    assert "| `enabled` | `true` |" in page


def test_the_pages_are_written_where_they_belong(tmp_path):
    reference.write(tmp_path)
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*") if path.is_file()} == set(PAGES)
