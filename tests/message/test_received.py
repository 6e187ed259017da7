"""Our trace field says what we know, and repeats nothing of a stranger's that is not a name."""

from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatekeeper.message.received import received_value
from gatekeeper.model import Envelope, Recipient, Session, Tls
from gatekeeper.wire.address import parse_path

WHEN = 880127706.0


def value(session: Session, *recipients: str, parameters: tuple[str, ...] = ()) -> str:
    envelope = Envelope("4F2", parameters=parameters)
    envelope.recipients = [Recipient(parse_path(path)) for path in recipients]
    return received_value(session, envelope, hostname="mx.example.org", when=WHEN)


def test_everything_known_is_said():
    session = Session("s", "smtp", 0.0, ip_address("192.0.2.1"), 2525, "Mail.Example.com", "mail.example.com", True)
    session.tls = Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256)
    assert value(session, "a@example.org") == (
        "from mail.example.com (mail.example.com [192.0.2.1])\r\n"
        " (using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256 bits))\r\n"
        " by mx.example.org (gatekeeper) with ESMTPS id 4F2\r\n"
        " for <a@example.org>;\r\n"
        " Fri, 21 Nov 1997 15:55:06 +0000"
    )


def test_bits_that_nobody_told_are_not_said():
    session = Session("s", "smtp", 0.0, extended=True, tls=Tls("TLSv1.3", "TLS_AES_128", 0))
    assert "\r\n (using TLSv1.3 with cipher TLS_AES_128)\r\n" in value(session)


def test_what_is_unknown_is_called_so():
    nobody = Session("s", "smtp", 0.0)
    assert value(nobody) == (
        "from unknown (unknown)\r\n"
        " by mx.example.org (gatekeeper) with SMTP id 4F2;\r\n Fri, 21 Nov 1997 15:55:06 +0000"
    )


def test_several_recipients_do_not_learn_of_each_other():
    assert " for " not in value(Session("s", "smtp", 0.0), "a@example.org", "b@example.org")


@pytest.mark.parametrize(
    ("extended", "parameters", "login", "word"),
    [
        (False, (), None, "SMTP"),
        (None, (), None, "SMTP"),
        (True, ("SIZE=3",), None, "ESMTP"),
        (True, ("smtputf8",), None, "UTF8SMTP"),
        (True, (), "joe", "ESMTPA"),
    ],
)
def test_the_protocol_has_its_registered_word(extended: bool | None, parameters: tuple[str, ...], login, word: str):
    session = Session("s", "smtp", 0.0, extended=extended, login=login)
    assert f" with {word} id " in value(session, parameters=parameters)


@pytest.mark.parametrize(
    ("helo", "said"),
    [
        ("[192.0.2.9]", "[192.0.2.9]"),
        ("[IPv6:2001:DB8::9]", "[ipv6:2001:db8::9]"),
        ("joe's pc", "unknown"),
        ("a) by evil.example with ESMTP id 1; (", "unknown"),
        ("[x]", "unknown"),
        ("", "unknown"),
        ("192.0.2.9", "unknown"),
    ],
)
def test_a_greeting_that_is_no_name_is_not_repeated(helo: str, said: str):
    session = Session("s", "smtp", 0.0, ip_address("2001:db8::1"), helo=helo)
    assert value(session).startswith(f"from {said} (unknown [IPv6:2001:db8::1])\r\n")


@given(st.text(), st.text(), st.text())
@settings(deadline=None)
def test_no_stranger_can_end_a_line_or_a_clause(helo: str, name: str, cipher: str):
    session = Session("s", "smtp", 0.0, name=name, helo=helo, tls=Tls("TLSv1.3", cipher, 256))
    lines = value(session).split("\r\n")
    assert len(lines) == 4
    assert all(line.isascii() and line.isprintable() for line in lines)
    assert "".join(lines).count(";") == 1
    assert "".join(lines).count("(") == "".join(lines).count(")")
