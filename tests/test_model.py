"""The nouns: what little they can say about themselves."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.model import (
    NAMED_MOST,
    Action,
    Address,
    BytesBody,
    Counters,
    Envelope,
    Finding,
    Heard,
    Mail,
    Message,
    Missing,
    Recipient,
    Reply,
    Session,
    Stage,
    Thresholds,
    Verdict,
    millis,
    names,
    setting,
)


def test_actions_stand_in_order_and_only_the_first_two_let_mail_pass():
    assert [action.word for action in sorted(Action)] == ["accept", "tag", "greylist", "defer", "reject", "drop"]
    assert [action for action in Action if not action.refuses] == [Action.ACCEPT, Action.TAG]


def test_stages_stand_in_the_order_of_a_conversation():
    assert [stage.name for stage in sorted(Stage)] == ["CONNECT", "HELO", "MAIL", "RCPT", "DATA", "MESSAGE"]


@pytest.mark.parametrize(
    ("code", "positive", "temporary", "permanent"),
    [
        (199, False, False, False),
        (250, True, False, False),
        (354, True, False, False),
        (421, False, True, False),
        (499, False, True, False),
        (550, False, False, True),
    ],
)
def test_a_reply_is_what_its_code_says(code, positive, temporary, permanent):
    reply = Reply.of(code, "x")
    assert (reply.positive, reply.temporary, reply.permanent) == (positive, temporary, permanent)


def test_a_reply_of_several_lines_is_shown_on_one():
    assert str(Reply(550, ("5.1.1 no", "really"))) == "550 5.1.1 no / really"


@pytest.mark.parametrize(
    ("address", "text", "null"),
    [
        (Address("a", "b.example"), "a@b.example", False),
        (Address("", ""), "", True),
        (Address("postmaster", ""), "postmaster", False),
    ],
)
def test_an_address_is_written_as_people_do(address, text, null):
    assert (str(address), address.null) == (text, null)


@given(st.integers(-10_000_000, 10_000_000))
def test_a_score_of_three_decimals_is_kept_exactly(thousandths):
    assert millis(thousandths / 1000) == thousandths
    assert Verdict(Action.ACCEPT, thousandths, Thresholds(0, 0)).score == thousandths / 1000


@pytest.mark.parametrize(
    ("message", "whole"),
    [
        (Message(b"A: b\r\n", BytesBody(b"text\r\n")), b"A: b\r\n\r\ntext\r\n"),
        (Message(b"A: b\r\n", BytesBody(b""), separator=False), b"A: b\r\n"),
        (Message(b"", BytesBody(b"text\r\n")), b"\r\ntext\r\n"),
        (Message(b"", BytesBody(b""), separator=False), b""),
    ],
)
def test_a_message_is_its_header_an_empty_line_and_its_body_each_time_it_is_read(message, whole):
    assert b"".join(message.chunks()) == b"".join(message.chunks()) == whole
    assert message.size == len(whole)


def test_evidence_is_looked_for_in_the_session_then_the_transaction_then_the_recipient():
    mail = Mail(Session("s", "smtp", 0.0), Envelope("e"), recipient=Recipient(Address("a", "b.example")))
    assert mail.recipient is not None
    assert mail.evidence(str) is None
    mail.recipient.notebook.findings.append(Finding("C", "recipient's"))
    mail.envelope.notebook.findings.append(Finding("B", "transaction's"))
    assert mail.evidence(str) == "transaction's"
    mail.session.notebook.findings += [Finding("A", 1), Finding("A2", "session's")]
    assert mail.evidence(str) == "session's"
    assert [finding.rule for finding in mail.findings()] == ["A", "A2", "B", "C"]
    assert mail.evidence(bytes) is None
    mail.recipient = None
    assert [finding.rule for finding in mail.findings()] == ["A", "A2", "B"]


def test_what_is_missing_is_named_once_in_order():
    assert names([Missing("b", (), ""), Missing("a", (), ""), Missing("b", ("X",), "again")]) == ("b", "a")


def test_no_two_sessions_share_what_can_change():
    one, other = Session("1", "smtp", 0.0), Session("2", "smtp", 0.0)
    one.counters.unknown += 1
    one.notebook.done.add(Stage.CONNECT)
    one.memo["x"] = 1
    assert (other.counters.unknown, other.notebook.done, other.memo) == (0, set(), {})
    assert one.settled is not one.counters


def test_a_setting_keeps_its_sentence():
    @dataclasses.dataclass
    class Settings:
        patience: float = setting(3.0, "How long.")

    [field] = dataclasses.fields(Settings)
    assert (Settings().patience, field.metadata["about"]) == (3.0, "How long.")


def test_what_was_heard_of_names_is_bounded_and_the_latest_stay():
    session = Session("1", "smtp", 0.0)
    for n in range(3 * NAMED_MOST):
        session.hear(Address(f"n{n}", "example.org"), Heard.UNKNOWN, null_sender=n % 2 == 0)
    assert len(session.named) <= NAMED_MOST
    assert session.named[-1].address.local == f"n{3 * NAMED_MOST - 1}"
    assert session.counters.null_probes == 3 * NAMED_MOST // 2


def test_a_bounce_that_is_taken_is_no_probe():
    session = Session("1", "smtp", 0.0)
    session.hear(Address("n", "example.org"), Heard.KNOWN, null_sender=True)
    assert session.counters.null_probes == 0


@pytest.mark.parametrize(("action", "messages", "delivered"), [(Action.ACCEPT, 1, 3), (Action.TAG, 0, 0)])
def test_what_is_marked_as_spam_earns_its_client_nothing(action, messages, delivered):
    counters = Counters()
    counters.take(action, 3)
    assert (counters.messages, counters.delivered) == (messages, delivered)
