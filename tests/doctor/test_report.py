"""What the doctor says."""

import json
from typing import Any

from gatekeeper.doctor.facts import Mode, NextHopFacts
from gatekeeper.doctor.promise import Standing
from gatekeeper.doctor.report import Report, Row, examine, lines, title, to_json, word
from gatekeeper.nexthop import Capabilities
from tests.support.doctor import SMTP, facts, postfix, service

LISTENER = service(
    "127.0.0.1:10026",
    smtpd_relay_restrictions="reject_unauth_destination",
    smtpd_authorized_xclient_hosts="127.0.0.1",
)
GOOD: dict[str, Any] = {
    "behind": postfix(LISTENER, service("127.0.0.1:smtp")),
    "next_hop": NextHopFacts(Capabilities({}), takes_xclient=True),
}


def of(report: Report, name: str) -> Row:
    return next(row for row in report.rows if row.promise.name == name)


def test_what_is_impossible_in_the_mode_is_sound():
    report = examine(facts(SMTP, **GOOD))
    assert report.sound
    assert {row.promise.name for row in report.rows if row.judgement.standing is Standing.IMPOSSIBLE} == {"tls-shown"}


def test_what_a_line_would_mend_is_not_sound():
    report = examine(facts(SMTP + 'trust = ["0.0.0.0/0"]\n', **GOOD))
    assert not report.sound
    assert [row.promise.name for row in report.rows if row.judgement.standing is Standing.BROKEN] == ["trust"]


def test_only_what_concerns_the_mode_is_judged():
    report = examine(facts(SMTP, **GOOD))
    assert {row.mode for row in report.rows} == {Mode.FRONT, Mode.ALL}
    assert not {"asked", "in-time", "quick"} & {row.promise.name for row in report.rows}


def test_a_promise_is_told_in_one_of_three_words_with_its_mend():
    assert {word(each) for each in Standing} == {"holds", "does not hold here", "cannot tell"}
    report = examine(facts(SMTP + 'trust = ["0.0.0.0/0"]\n', **GOOD))
    first, why, mend = lines(of(report, "trust"))
    assert first.startswith("  does not hold here  trust ")
    assert "0.0.0.0/0" in why
    assert mend.strip() == 'mend: gatekeeper.toml: [servers.smtp]: trust = ["127.0.0.1/32"]'
    assert len(list(lines(of(report, "client-shown")))) == 1
    _, why = lines(of(report, "tls-shown"))
    assert why.strip().startswith("not in this mode: XCLIENT has no word for TLS")


def test_a_mode_is_titled_with_the_way_that_mail_goes():
    report = examine(facts(SMTP, **GOOD))
    assert title(report.rows[0].attachment) == "front: 127.0.0.1:10025 > Postfix 127.0.0.1:10026 inet"
    assert title(report.rows[-1].attachment) == "in every mode"


def test_json_has_everything():
    said = to_json(examine(facts(SMTP + 'trust = ["0.0.0.0/0"]\n', **GOOD)))
    assert json.loads(json.dumps(said)) == said
    assert said["sound"] is False
    by_name = {each["promise"]: each for each in said["promises"]}
    assert by_name["trust"]["mend"] == {
        "file": "gatekeeper.toml",
        "place": "[servers.smtp]",
        "line": 'trust = ["127.0.0.1/32"]',
    }
    assert (by_name["tls-shown"]["standing"], by_name["tls-shown"]["possible"]) == ("does not hold here", False)
    assert by_name["client-shown"]["mode"] == "front"


def test_an_empty_configuration_has_its_surroundings_only():
    assert {row.mode for row in examine(facts("")).rows} == {Mode.ALL}
