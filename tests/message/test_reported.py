"""Which messages a report is about: attached, redirected, quoted, or none."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.message.as_received import message_of
from gatekeeper.message.reported import MOST, reported

USER = "alice@example.org"
SPAM = b"From: <a@sender.example>\r\nSubject: win\r\nMessage-ID: <1@sender.example>\r\n\r\nplay now\r\n"


def report(*parts: bytes, text: bytes = b"see below", sender: bytes = b"Alice <alice@example.org>") -> bytes:
    made = b"From: " + sender + b'\r\nSubject: Fwd: win\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n'
    return made + b"".join(b"--b\r\n" + part + b"\r\n" for part in (b"\r\n" + text, *parts)) + b"--b--\r\n"


def attached(octets: bytes) -> bytes:
    return b"Content-Type: message/rfc822\r\n\r\n" + octets


def headers_of(octets: bytes, user: str = USER) -> list[bytes]:
    return [one.message.header for one in reported(message_of(octets), user=user)]


HEADER = SPAM.partition(b"\r\n\r\n")[0] + b"\r\n"


def test_what_is_attached_is_reported_each_of_it():
    other = SPAM.replace(b"win", b"loan")
    assert headers_of(report(attached(SPAM), attached(other))) == [HEADER, HEADER.replace(b"win", b"loan")]


def test_a_file_that_is_a_message_is_one_however_it_is_written():
    named = b"Content-Type: application/octet-stream; name=win.eml\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    assert headers_of(report(named + base64.encodebytes(SPAM))) == [HEADER]
    encoded = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    assert headers_of(report(encoded + base64.encodebytes(SPAM))) == [HEADER]


def test_what_a_reported_message_has_attached_belongs_to_it():
    inner = report(attached(SPAM), sender=b"<a@sender.example>").replace(b"--b", b"--c").replace(b'"b"', b'"c"')
    assert headers_of(report(attached(inner))) == [inner.partition(b"\r\n\r\n")[0] + b"\r\n"]


def test_of_many_the_first_are_taken():
    assert len(headers_of(report(*[attached(SPAM)] * (MOST + 5)))) == MOST


def test_a_redirected_message_is_reported_itself():
    redirected = b"Resent-From: <alice@example.org>\r\n" + report(attached(SPAM), sender=b"<a@sender.example>")
    (found,) = reported(message_of(redirected), user=USER)
    assert found.whole
    assert found.message.header.startswith(b"Resent-From")


def test_a_message_of_somebody_else_is_reported_itself():
    assert headers_of(SPAM) == [HEADER]


@pytest.mark.parametrize("user", ["alice@example.org", "ALICE", "alice@login.example"])
def test_a_users_own_words_report_nothing(user):
    assert headers_of(b"From: Alice <alice@example.org>\r\nSubject: spam!\r\n\r\nplease stop it\r\n", user) == []


@pytest.mark.parametrize(
    "above",
    [
        "---------- Forwarded message ---------\nFrom: A <a@sender.example>\nDate: Sat\nSubject: win\nTo: me\n\n",
        "Begin forwarded message:\n\n> From: A <a@sender.example>\n> Subject: win\n> Date: today\n>\n> ",
        "-----Original Message-----\nFrom: A [mailto:a@sender.example]\nSent: today\nTo: me\nSubject: win\n\n",
        "-------- Weitergeleitete Nachricht --------\nBetreff: \twin\nDatum: heute\nVon: A <a@sender.example>\n\n\n",
        "________________________________\nFrom: A <a@sender.example>\nSent: today\nSubject: win\n\n",
    ],
)
def test_a_quoted_message_is_found_under_its_mark(above):
    octets = (
        b"From: <alice@example.org>\r\nSubject: Fwd: win\r\n\r\nsee this\n\n" + above.encode() + b"play now\nfor free\n"
    )
    (found,) = reported(message_of(octets), user=USER)
    assert not found.whole
    assert found.message.header.startswith(b"From: <a@sender.example>\r\nSubject: win\r\n")
    assert b"".join(found.message.body.chunks()) == b"play now\r\nfor free"


def test_a_line_between_hyphens_without_fields_is_no_mark():
    assert headers_of(b"From: <alice@example.org>\r\n\r\n---- a title ----\r\nsome: text\r\nmore\r\n") == []


@given(st.text(alphabet="->_ab:@\n*From Subject", max_size=400))
def test_whatever_the_text(text):
    for one in reported(message_of(b"From: <alice@example.org>\r\n\r\n" + text.encode()), user=USER):
        assert one.message.header.count(b"\r\n") >= 1
