"""The ARC test suite: 171 chains to be verified. docs/conformance.md explains what differs."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from gatekeeper.mailauth.arc import verify_arc
from tests.support.corpora import corpora
from tests.support.fake_resolver import FakeResolver
from tests.support.mail import message_of

NOW = 1_720_000_000.0
SUITE = corpora("arc") / "ValiMail__arc_test_suite"
DIFFERENT = {
    "ams_fields_c_na": "fail",  # without c= a signature is simple/simple (RFC 6376 §3.5), and this one is relaxed
    "ams_fields_h_empty": "fail",  # h= must name From (RFC 6376 §5.4)
    # The suite leaves open what a chain is that says of itself that it has failed; RFC 8617 §5.2 says: failed.
    "cv_fail_i1_as_cv_fail": "fail",
    "cv_fail_i2_as2_fail": "fail",
    "cv_fail_i2_as1_fail": "fail",
}


def cases(file: str) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    scenarios = list(yaml.safe_load_all((SUITE / file).read_text()))
    return [(name, case, scenario) for scenario in scenarios for name, case in scenario["tests"].items()]


def zone(scenario: dict[str, Any]) -> FakeResolver:
    records = scenario.get("txt-records") or {}
    return FakeResolver({(name, "TXT"): [text.encode()] for name, text in records.items()})


def test_the_whole_suite_is_here() -> None:
    assert len(cases("arc-draft-validation-tests.yml")) == 171


@pytest.mark.parametrize(("name", "case", "scenario"), cases("arc-draft-validation-tests.yml"))
async def test_a_chain_ends_as_the_suite_says(name: str, case: dict[str, Any], scenario: dict[str, Any]) -> None:
    got = await verify_arc(message_of(case["message"]), zone(scenario), now=NOW)
    assert got.status.value == DIFFERENT.get(name, (case["cv"] or "").lower()), got
