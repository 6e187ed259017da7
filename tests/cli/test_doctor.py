"""`gatekeeper doctor`."""

import json

import pytest

from gatekeeper.doctor import gather
from gatekeeper.doctor.facts import ResolverFacts
from tests.support.command_line import configuration, gatekeeper


@pytest.fixture(autouse=True)
def nothing_around(monkeypatch):
    """Neither Postfix nor patience."""
    monkeypatch.setattr(gather, "SBIN", "")
    monkeypatch.setenv("PATH", "")


def test_what_a_line_would_mend_is_shown_with_the_line_and_status_1(tmp_path):
    file = configuration(tmp_path, '[servers.http]\nlisten = ["0.0.0.0:0"]')
    shown = gatekeeper("doctor", "-c", file)
    assert shown.status == 1
    assert "in every mode" in shown.out
    assert f'mend: {file}: [servers.http]: listen = ["127.0.0.1:0"]' in shown.out
    assert "cannot tell" in shown.out


def test_json_is_one_object(tmp_path):
    shown = gatekeeper("doctor", "--json", "-c", configuration(tmp_path))
    said = json.loads(shown.out)
    standing = {each["promise"]: each["standing"] for each in said["promises"]}
    assert standing["resolver"] == "does not hold here"  # nobody answers there
    assert standing["store"] == "holds"
    assert (said["sound"], shown.status) == (False, 1)


def test_status_0_when_all_holds_that_can(tmp_path, monkeypatch):
    async def answering(*_arguments):
        return ResolverFacts(("127.0.0.1",), answers=True)

    monkeypatch.setattr(gather, "_resolver", answering)
    assert gatekeeper("doctor", "-c", configuration(tmp_path)).status == 0


def test_a_wrong_configuration_is_status_2(tmp_path):
    shown = gatekeeper("doctor", "-c", configuration(tmp_path, "nonsense = 1"))
    assert (shown.status, "nonsense" in shown.err) == (2, True)
