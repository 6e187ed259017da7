"""Ratios within a round, medians over rounds, and the tables made of them."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from bench.ratios import CPU, P50, RATE, Row, Taken, compared, failures, shares, show, spread


def taken(rate: float = 100.0, **given: object) -> Taken:
    usual = {"cpu": {"worker": 0.002}, "p50": 0.01, "p99": 0.05, "others": 0.0, "failures": {}}
    return Taken(rate=rate, **{**usual, **given})  # type: ignore[arg-type]


def shown(results: dict[str, list[Taken]]) -> str:
    out = io.StringIO()
    show(Console(file=out, width=120, color_system=None), {"row": Row("ours", "theirs", (CPU, RATE))}, results)
    return out.getvalue()


@pytest.mark.parametrize(
    ("values", "text"),
    [((), ""), ((1.5,), "1.50"), ((3.0, 1.0, 2.0), "2.00 (1.00 to 3.00)"), ((1.0, 2.0), "1.50 (1.00 to 2.00)")],
)
def test_a_figure_is_its_median_and_how_far_it_went(values: tuple[float, ...], text: str):
    assert spread(values, ".2f") == text


def test_a_ratio_is_taken_within_a_round_and_not_of_medians():
    ours = [taken(100), taken(900), taken(300)]
    theirs = [taken(50), taken(300), taken(600)]  # of the medians it would be 1.00
    assert compared(RATE, ours, theirs) == ("2.00 (0.50 to 3.00) ×", "300 (100 to 900)", "300 (50 to 600)")


def test_what_is_added_is_a_difference():
    assert compared(P50, [taken(p50=0.012)], [taken(p50=0.002)]) == ("+10.0", "12.0", "2.0")


@pytest.mark.parametrize("theirs", [[], [taken(0)]])
def test_without_the_other_one_there_is_no_ratio(theirs: list[Taken]):
    assert compared(RATE, [taken(100)], theirs)[:2] == ("", "100")


def test_the_cpu_of_a_message_is_that_of_all_processes_and_each_is_named_the_most_first():
    each = [taken(cpu={"smtpd": 0.001, "worker": 0.004, "idle": 0.0}), taken(cpu={"worker": 0.006, "smtpd": 0.003})]
    assert compared(CPU, each, ())[1] == "7.00 (5.00 to 9.00)"
    assert shares(each) == "worker 5.00, smtpd 2.00"


def test_what_was_not_accepted_is_added_up():
    assert failures([taken(failures={"550 no": 2}), taken(failures={"550 no": 1, "421": 1})]) == {"550 no": 3, "421": 1}


def test_the_tables_have_ratios_shares_failures_and_strangers():
    text = shown({"ours": [taken(failures={"550 [no]": 3}, others=1.2)], "theirs": [taken(cpu={"normal": 0.001})]})
    assert all(part in text for part in ("row: ours", "2.00 ×", "1.00 ×", "worker 2.00", "normal 1.00"))
    assert "3 not accepted (ours): 550 [no]" in text
    assert "Other programs kept up to 1.2 processors busy" in text


def test_a_quiet_run_without_the_other_program_says_no_more_than_it_knows():
    text = shown({"ours": [taken()]})
    assert "×" not in text
    assert "not accepted" not in text
    assert "Other programs" not in text
