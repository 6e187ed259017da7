"""What rspamd's clients ask and read."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.message.edit import Change, Edit, Insert, Remove
from gatekeeper.model import Action, Address, Reply, Thresholds, Tls, Verdict
from gatekeeper.records.answer import CheckResult
from gatekeeper.records.document import RecordedFinding
from gatekeeper.servers.checking import Told
from gatekeeper.servers.rspamd import checkv2, text, told
from tests.records.test_explain import ABOUT, decision
from tests.records.test_writer import record

THRESHOLDS = Thresholds(5000, 10_000)


def result(action: Action, *edits: Edit, reply: Reply | None = None) -> CheckResult:
    made = record(
        id="2Q077T35R98FR1",
        action=action.word,
        message_id="<a@b>",
        decision=decision(("LISTED", 4500), ("SPF_FAIL", 3000)),
        findings=(
            RecordedFinding("LISTED", "in zen.example"),
            RecordedFinding("LISTED", "in bl.example"),
            RecordedFinding("SPF_FAIL", "fail"),
        ),
    )
    return CheckResult(Verdict(action, 7500, THRESHOLDS, missing=("dkim",)), made, reply, edits)


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ([], Told()),
        ([("ip", "[2001:db8::1]")], Told(address=ip_address("2001:db8::1"))),
        ([("ip", "::ffff:192.0.2.1")], Told(address=ip_address("192.0.2.1"))),
        ([("ip", "fe80::1%eth0")], Told(address=ip_address("fe80::1"))),
        ([("ip", "unknown"), ("hostname", "unknown"), ("helo", "")], Told()),
        ([("from", "<>")], Told(sender=Address("", ""))),
        ([("from", "")], Told(sender=Address("", ""))),
        ([("from", "john doe@example.net")], Told(sender=Address("john doe", "example.net", "john doe@example.net"))),
        ([("from", "a@b"), ("from", "c@d")], Told(sender=Address("a", "b", "a@b"))),
        ([("rcpt", "a@b, <c@d>")], Told(recipients=(Address("a", "b", "a@b"), Address("c", "d", "c@d")))),
        ([("rcpt", "<a,b@c>")], Told(recipients=(Address("a,b", "c", "a,b@c"),))),
        ([("rcpt", "")], Told()),
        ([("deliver-to", "a@b")], Told(recipients=(Address("a", "b", "a@b"),))),
        ([("deliver-to", "a@b"), ("rcpt", "c@d")], Told(recipients=(Address("c", "d", "c@d"),))),
        ([("deliver-to", "someone")], Told()),
        (
            [("tls-version", "TLSv1.3"), ("tls-cipher", "TLS_AES_256_GCM_SHA384")],
            Told(tls=Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384", 0)),
        ),
        ([("file", "/etc/shadow"), ("path", "/etc/shadow"), ("settings", "{}")], Told()),
    ],
)
def test_client_and_envelope_are_read_from_the_fields(fields, found):
    assert told(fields) == found


@given(st.lists(st.tuples(st.sampled_from(["ip", "from", "rcpt", "helo", "deliver-to", "user"]), st.text(max_size=50))))
def test_fields_from_anybody_are_facts_or_unknown(fields):
    assert isinstance(told(fields), Told)


@pytest.mark.parametrize(
    ("action", "word"),
    [
        (Action.ACCEPT, "no action"),
        (Action.TAG, "add header"),
        (Action.GREYLIST, "soft reject"),
        (Action.DEFER, "soft reject"),
        (Action.REJECT, "reject"),
        (Action.DROP, "soft reject"),
    ],
)
def test_each_action_has_rspamds_word(action, word):
    assert checkv2(result(action), ABOUT)["action"] == word
    assert f"\r\nAction: {word}\r\n" in text(result(action), ABOUT).decode()


def test_rspamds_json_has_what_its_clients_read():
    answer = checkv2(result(Action.REJECT, reply=Reply.of(550, "5.7.1 no")), ABOUT)
    assert answer == {
        "is_skipped": False,
        "score": 7.5,
        "required_score": 10.0,
        "action": "reject",
        "thresholds": {"reject": 10.0, "add header": 5.0},
        "symbols": {
            "LISTED": {
                "name": "LISTED",
                "score": 4.5,
                "metric_score": 4.5,
                "description": "The client is on a list.",
                "options": ["in zen.example", "in bl.example"],
            },
            "SPF_FAIL": {
                "name": "SPF_FAIL",
                "score": 3.0,
                "metric_score": 3.0,
                "description": "The sender's domain disowns the client.",
                "options": ["fail"],
            },
        },
        "messages": {"smtp_message": "5.7.1 no"},
        "message-id": "a@b",
        "milter": {"add_headers": {}, "remove_headers": {}},
        "gatekeeper": {"id": "2Q077T35R98FR1", "action": "reject", "missing": ["dkim"], "not_run": []},
    }
    json.dumps(answer)


def test_header_edits_are_told_as_rspamd_tells_them():
    edits = (
        Remove("x-spam-status", 2),
        Remove("x-spam-status", 1),
        Remove("authentication-results", 3),
        Insert(0, "X-Spam-Status", "Yes, score=6\r\n tests=A"),
        Insert(0, "Received", "one"),
        Insert(0, "Received", "two"),
    )
    assert checkv2(result(Action.TAG, *edits), ABOUT)["milter"] == {
        "add_headers": {
            "X-Spam-Status": {"value": "Yes, score=6 tests=A", "order": 0},
            "Received": [{"value": "one", "order": 0}, {"value": "two", "order": 0}],
        },
        "remove_headers": {"x-spam-status": 0, "authentication-results": 3},
    }


@pytest.mark.parametrize(
    "edit", [Change("Subject", 1, "[SPAM] caf\udce9\r\n x"), Insert(0, "Subject", "[SPAM] caf? x")]
)
def test_a_new_subject_is_an_action_of_its_own(edit):
    answer = checkv2(result(Action.TAG, edit), ABOUT)
    assert (answer["action"], answer["subject"]) == ("rewrite subject", "[SPAM] caf? x")
    assert answer["milter"] == {"add_headers": {}, "remove_headers": {}}


def test_the_text_form_is_what_exim_reads():
    """spam.c reads it with "RSPAMD/%7s 0 EX_OK\\r\\nMetric: default; %7s %lf / %lf / %lf\\r\\n%n"."""
    answer = text(result(Action.TAG), ABOUT).decode()
    found = re.match(
        r"RSPAMD/(\S{1,7}) 0 EX_OK\r\nMetric: default; (\S{1,7}) ([\d.]+) / ([\d.]+) / ([\d.]+)\r\n"
        r"Action: ([^\r]{1,31})\r\n",
        answer,
    )
    assert found is not None
    assert found.groups() == ("1.3", "True;", "7.50", "5.00", "10.00", "add header")
    assert answer[found.end() :].split("\r\n") == [
        "Symbol: LISTED(4.5)",
        "Symbol: SPF_FAIL(3)",
        "Symbol: LISTED(0)",
        "Message-ID: a@b",
        "Record: 2Q077T35R98FR1",
        "",
    ]


def test_the_text_form_is_printable_ascii_whatever_a_stranger_wrote():
    strange = result(Action.REJECT, reply=Reply.of(550, "5.7.1 caf\u00e9\r\nAction: no action"))
    strange = replace(strange, record=replace(strange.record, message_id="<a\r\nMetric: default; False; 0 / 0 / 0>"))
    answer = text(strange, ABOUT)
    assert answer.isascii()
    assert answer.count(b"\r\nAction: ") == answer.count(b"\r\nMetric: ") == 1


def test_comments_within_comments_are_no_recipients():
    assert len(told([("rcpt", "a@b," + "(" * 5000)]).recipients) <= 1
