"""`gatekeeper check`."""

import json

import pytest

from tests.support.command_line import configuration
from tests.support.command_line import gatekeeper as call

MESSAGE = b"From: a@example.net\nSubject: x\n\nhi\n"


@pytest.fixture
def message(tmp_path):
    path = tmp_path / "mail.eml"
    path.write_bytes(MESSAGE)
    return str(path)


def test_a_message_is_judged_and_the_sum_is_shown(tmp_path, message):
    ended = call("check", message, "-c", configuration(tmp_path))
    assert ended.status == 0
    assert " accept: 250 " in ended.out
    assert "DATE_MISSING" in ended.out
    assert "= accept (tag from 5, reject from 10)" in ended.out


def test_the_law_behind_a_rule_and_the_host_of_a_link_are_shown(tmp_path):
    mail = MESSAGE.replace(b"\n\nhi", b"\nMessage-ID: none\n\nhttps://gone.netlify.app/secret")
    out = call("check", "-", "-c", configuration(tmp_path), typed=mail).out
    assert "  source: RFC 5322 §3.6.4" in out
    assert "  host: gone.netlify.app\n" in out
    assert "secret" not in out


def test_a_message_may_come_from_standard_input(tmp_path):
    assert "DATE_MISSING" in call("check", "-", "-c", configuration(tmp_path), typed=MESSAGE).out


def test_what_is_promised_stands_in_the_json(tmp_path, message):
    ended = call("check", message, "--json", "-c", configuration(tmp_path))
    told = json.loads(ended.out)
    assert {"id", "action", "score", "findings", "missing", "not_run"} <= set(told)
    assert told["action"] == "accept"
    assert told["score"] == pytest.approx(sum(finding["score"] for finding in told["findings"]))
    assert {"rule", "score", "evidence"} <= set(told["findings"][0])


def test_what_the_client_said_is_judged_too(tmp_path, message):
    file = configuration(tmp_path)
    ended = call("check", message, "--helo", "192.0.2.1", "--ip", "198.51.100.1", "--json", "-c", file,
                 "--from", "<>", "--rcpt", "ann@example.org", "--rcpt", "<bob@example.org>")  # fmt: skip
    told = json.loads(ended.out)
    assert "HELO_BARE_IP" in [finding["rule"] for finding in told["findings"]]
    assert told["missing"]  # nobody answers questions here


@pytest.mark.parametrize(("score", "status"), [(2.0, 0), (4.0, 0), (6.0, 1)])
def test_the_status_is_0_for_accept_and_tag_and_1_for_a_refusal(tmp_path, message, score, status):
    policy = f"[policy]\ntag = 4.0\nreject = 6.0\n[policy.scores]\nDATE_MISSING = {score}\nMESSAGE_ID_MISSING = 0"
    assert call("check", message, "-c", configuration(tmp_path, policy)).status == status


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--ip", "mx.example"], '"mx.example" is not an IP address'),
        (["--rcpt", "a b"], '"a b": '),
        (["--from", "<a@>"], '"<a@>": '),
    ],
)
def test_what_makes_no_sense_is_status_2(tmp_path, message, arguments, said):
    ended = call("check", message, *arguments, "-c", configuration(tmp_path))
    assert (ended.status, ended.out) == (2, "")
    assert said in ended.err


def test_a_message_that_is_not_there_is_one_sentence(tmp_path):
    ended = call("check", str(tmp_path / "none.eml"), "-c", configuration(tmp_path))
    assert (ended.status, ended.out) == (2, "")
    assert ended.err == f"{tmp_path / 'none.eml'} cannot be read: No such file or directory\n"


@pytest.mark.parametrize("raw", [b"", b"\n", b"\0\xff", b"no header", b"From: " + b"(" * 50_000])
def test_any_file_is_judged(tmp_path, raw):
    (tmp_path / "odd.eml").write_bytes(raw)
    assert call("check", str(tmp_path / "odd.eml"), "-c", configuration(tmp_path)).status in {0, 1}


def test_a_configuration_that_would_not_start_is_one_sentence_and_status_2(tmp_path, message):
    more = f"[servers.smtp]\n[nexthop]\ntls = 'verify'\ntls_ca_file = '{tmp_path}/away.pem'"
    ended = call("check", message, "-c", configuration(tmp_path, more))
    assert (ended.status, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert "away.pem cannot be read: No such file or directory" in ended.err
