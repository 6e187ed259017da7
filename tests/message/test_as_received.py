"""What was added after us is taken off; what came in stays byte for byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.message.as_received import as_received, message_of
from gatekeeper.message.edit import Settings, apply, edits
from gatekeeper.message.received import received_value
from gatekeeper.model import Action, Address, BytesBody, Envelope, Message, Recipient, Session, Thresholds, Verdict

CAME = (
    b"Received: from a.example (a.example [192.0.2.1]) by b.example with SMTP id 1; Sat, 28 Nov 2026 10:00:00 +0000\r\n"
    b"Authentication-Results: other.example; spf=pass\r\nFrom: <a@sender.example>\r\nSubject:  hello\r\n there\r\n"
)
ID = "9ABCDEFGHJKMNP"


def delivered(came: bytes, prefix: str = "") -> bytes:
    """As an MTA behind us has written it into a mailbox."""
    message = Message(came, BytesBody(b"text\r\n"))
    envelope = Envelope(ID, recipients=[Recipient(Address("u", "example.org"))])
    ours = received_value(Session("s", "smtp", 0.0), envelope, hostname="mx.example.org", when=0.0)
    verdict = Verdict(Action.TAG, 6000, Thresholds(5000, 10000))
    made = edits(
        message,
        verdict,
        authserv_id="mx.example.org",
        auth_results="mx.example.org;\r\n spf=pass smtp.mailfrom=sender.example",
        settings=Settings(subject_prefix=prefix),
        received=ours,
    )
    after = (
        b"Return-Path: <a@sender.example>\r\nDelivered-To: u@example.org\r\nReceived: by mx.example.org (Postfix)\r\n"
    )
    return after + apply(message, made) + b"\r\ntext\r\n"


def test_what_we_and_those_behind_us_wrote_is_taken_off():
    found = as_received(message_of(delivered(CAME)), hostname="MX.example.org")
    assert found.message.header == CAME
    assert b"".join(found.message.body.chunks()) == b"text\r\n"
    assert found.record == ID


@pytest.mark.parametrize("prefix", ["[SPAM] ", "*** ", "[Müll] "])
def test_the_mark_in_the_subject_is_taken_off(prefix):
    found = as_received(message_of(delivered(CAME, prefix)), hostname="mx.example.org", subject_prefix=prefix)
    assert found.message.header == CAME.replace(b"Subject:  hello", b"Subject: hello")


def test_without_our_trace_what_is_known_by_name_is_taken_off():
    octets = (
        b"Return-Path: <a@b>\nX-Spam-Status: No\nX-Spam: yes\nX-Spamtrap: kept\nStatus: RO\nResent-From: <u@e>\n"
        b"Authentication-Results: mx.example.org; spf=pass\nAuthentication-Results: ;;\nSubject: x\n\nbody\n"
    )
    found = as_received(message_of(octets), hostname="mx.example.org")
    assert found.message.header == b"X-Spamtrap: kept\r\nSubject: x\r\n"
    assert found.record == ""


def test_a_trace_that_only_says_it_is_ours_takes_nothing_of_what_is_below_the_real_one():
    forged = b"Received: from x by mx.example.org (gatekeeper) with SMTP id 9ZZZZZZZZZZZZZ; x\r\n" + CAME
    found = as_received(message_of(delivered(forged)), hostname="mx.example.org")
    assert (found.message.header, found.record) == (forged, ID)


@pytest.mark.parametrize(
    ("octets", "header", "body", "separator"),
    [
        (b"", b"", b"", False),
        (b"A: b", b"A: b\r\n", b"", False),
        (b"\nbody", b"", b"body", True),
        (b"From x@y Sat\nA: b\n\nc\n", b"A: b\r\n", b"c\r\n", True),
        (b"A: b\r\n\r\nc\nd\r\n", b"A: b\r\n", b"c\r\nd\r\n", True),
    ],
)
def test_a_file_becomes_a_message(octets, header, body, separator):
    message = message_of(octets)
    assert (message.header, b"".join(message.body.chunks()), message.separator) == (header, body, separator)


@given(st.binary(max_size=300))
def test_whatever_the_bytes(octets):
    as_received(message_of(octets), hostname="mx.example.org", subject_prefix="[SPAM] ")
