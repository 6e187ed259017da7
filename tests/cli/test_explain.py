"""`gatekeeper explain`."""

import json

import pytest

from gatekeeper.config import defaults
from tests.support.command_line import REJECTED, with_records
from tests.support.command_line import gatekeeper as call


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return with_records(tmp_path_factory.mktemp("records"))


def test_every_finding_is_shown_with_its_score_and_the_exact_sum(file):
    ended = call("explain", REJECTED, "-c", file)
    assert ended.status == 0
    lines = ended.out.splitlines()
    assert lines[0] == f"{REJECTED} reject: 550 5.7.23 no"
    assert any(line.startswith("  10  SPF_FAIL  The sender's domain says") for line in lines)
    assert any(line.startswith(" 0.5  HELO_BARE_IP  ") for line in lines)
    assert any(line.startswith("10.5  = reject (tag from 5, reject from 10)") for line in lines)
    assert "missing: dkim (timeout)" in lines


def test_what_came_from_the_network_is_only_text(file):
    out = call("explain", REJECTED, "-c", file).out
    assert "[red]x[/red]\\x1b[31m" in out
    assert "\x1b" not in out


def test_an_id_may_be_written_as_people_do(file):
    assert call("explain", f"{REJECTED[:4]}-{REJECTED[4:]}".lower().replace("0", "o"), "-c", file).status == 0


def test_json_has_the_record_and_the_sums(file):
    told = json.loads(call("explain", REJECTED, "--json", "-c", file).out)
    assert told["id"] == REJECTED
    assert told["explanation"][0]["score"] == sum(row["score"] for row in told["explanation"][0]["rows"]) == 10.5


@pytest.mark.parametrize("unknown", ["2Q0745CZM54SRZ", "x", "--", "\x1b[31m"])
def test_an_id_that_nobody_has_is_status_1(file, unknown):
    ended = call("explain", "-c", file, "--", unknown)
    assert (ended.status, ended.out) == (1, "")
    assert "no record has the id" in ended.err
    assert "\x1b" not in ended.err


def test_a_rule_is_explained_even_when_its_check_is_switched_off(tmp_path):
    file = with_records(tmp_path, "[checks.spf]\nenabled = false")
    about = next(rule.about for check in defaults().checks for rule in check.rules() if rule.name == "SPF_FAIL")
    assert about in call("explain", REJECTED, "-c", file).out
