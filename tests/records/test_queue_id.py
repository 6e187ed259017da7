"""The next hop's name for a message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.model import Reply
from gatekeeper.records.queue_id import queue_id


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2.0.0 Ok: queued as 4A7BC1F", "4A7BC1F"),
        ("2.0.0 Ok: queued as 4ZxYzW1kQz9rV", "4ZxYzW1kQz9rV"),
        ("2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as 4A7BC1F", "4A7BC1F"),
        ("OK id=1rABCd-0000000012-3EfG", "1rABCd-0000000012-3EfG"),
        ("2.0.0 45A1xYz7012345 Message accepted for delivery", "45A1xYz7012345"),
        ("2.0.0 3f6a1b2c Message accepted for delivery", "3f6a1b2c"),
        ("2.0.0 <bob@example.net> 0K3dFmFhAmRtDAAAbY8Hkw Saved", "0K3dFmFhAmRtDAAAbY8Hkw"),
        ("2.0.0 <bob@example.net> 0K3dFmFhAmRtDAAAbY8Hkw:T2 Saved", "0K3dFmFhAmRtDAAAbY8Hkw:T2"),
        ("2.6.0 <a@b> [InternalId=8160437862401, Hostname=x.example] Queued mail for delivery", "8160437862401"),
        ("Message Queued (3D6F8E2A-1B2C-4D5E.1)", "3D6F8E2A-1B2C-4D5E.1"),
        ("ok 1700000000 qp 12345", "12345"),
        ("2.0.0 OK", ""),
        ("2.0.0 Ok: queued as ", ""),
        ("", ""),
    ],
)
def test_each_servers_way_to_say_it(text, expected):
    assert queue_id(Reply.of(250, text)) == expected


def test_a_refusal_names_nothing():
    assert queue_id(Reply.of(451, "4.3.0 queued as 4A7BC1F")) == ""
    assert queue_id(None) == ""


def test_it_may_stand_in_any_line():
    assert queue_id(Reply(250, ("2.0.0 thanks", "2.0.0 Ok: queued as 4ABC"))) == "4ABC"


@given(st.text(max_size=3000))
def test_any_reply_has_a_short_answer(text):
    assert len(queue_id(Reply.of(250, text))) <= 64
