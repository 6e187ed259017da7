"""What macros say about a client and its mail."""

from __future__ import annotations

import pytest

from gatekeeper.model import Tls
from gatekeeper.servers.milter_facts import MacroTable, read_address
from gatekeeper.wire.milter import Connect, Macros


def table(letter: bytes, **values: str) -> MacroTable:
    made = MacroTable()
    made.take(Macros(letter, values))
    return made


@pytest.mark.parametrize(
    ("client", "macros", "address", "name", "port"),
    [
        (Connect("mail.example.net", "4", 25, "192.0.2.1"), {}, "192.0.2.1", "mail.example.net", 25),
        (Connect("[192.0.2.1]", "4", 0, "192.0.2.1"), {}, "192.0.2.1", None, None),
        (Connect("unknown", "U", 0, ""), {}, "None", None, None),
        (Connect("[192.0.2.1]", "4", 0, "192.0.2.1"), {"client_ptr": "ptr.example.net", "client_port": "26"},
         "192.0.2.1", "ptr.example.net", 26),
        (Connect("a.example", "4", 25, "192.0.2.1"), {"client_ptr": "b.example", "client_port": "26"},
         "192.0.2.1", "a.example", 25),
        (Connect("unknown", "U", 0, ""), {"client_ptr": "unknown", "client_addr": "192.0.2.2", "client_port": "x"},
         "192.0.2.2", None, None),
        (Connect("h", "L", 0, "/run/x"), {}, "None", "h", None),
    ],
)  # fmt: skip
def test_the_client(client, macros, address, name, port):
    told = table(b"C", **macros)
    found = (str(told.client_address(client)), told.client_name(client), told.client_port(client))
    assert found == (address, name, port)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("IPv6:2001:db8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", "None"),
        ("localhost", "None"),
        ("192.0.2.256", "None"),
    ],
)
def test_an_address(text, address):
    assert str(read_address(text)) == address


@pytest.mark.parametrize(
    ("values", "tls"),
    [
        ({}, None),
        ({"tls_version": "", "cipher": "X"}, None),
        ({"tls_version": "TLSv1.3", "cipher": "X", "cipher_bits": "256"}, Tls("TLSv1.3", "X", 256)),
        ({"tls_version": "TLSv1.3", "cipher_bits": "many"}, Tls("TLSv1.3", "", 0)),
        ({"tls_version": "TLSv1.3", "cipher_bits": "1234567"}, Tls("TLSv1.3", "", 0)),
        ({"tls_version": "TLSv1.3", "cipher_bits": "٣"}, Tls("TLSv1.3", "", 0)),
    ],
)
def test_tls(values, tls):
    assert table(b"H", **values).tls() == tls


@pytest.mark.parametrize(
    ("values", "reply"),
    [
        ({}, "None"),
        ({"rcpt_mailer": "virtual", "rcpt_host": "example.org", "rcpt_addr": "one@example.org"}, "None"),
        ({"rcpt_mailer": "error"}, "550 "),
        ({"rcpt_mailer": "error", "rcpt_host": "5.1.1", "rcpt_addr": "User unknown"}, "550 5.1.1 User unknown"),
        ({"rcpt_mailer": "error", "rcpt_host": "4.2.2", "rcpt_addr": "Full"}, "450 4.2.2 Full"),
        ({"rcpt_mailer": "error", "rcpt_host": "5.1.1", "rcpt_addr": "553 5.1.1 No"}, "553 5.1.1 No"),
        ({"rcpt_mailer": "error", "rcpt_host": "", "rcpt_addr": "451-later"}, "451 later"),
        ({"rcpt_mailer": "error", "rcpt_host": "5.1.1", "rcpt_addr": "5٣٣ x"}, "550 5.1.1 5٣٣ x"),
    ],
)
def test_a_refusal_is_told_once(values, reply):
    told = table(b"R", **values)
    assert str(told.take_refusal()) == reply
    assert told.take_refusal() is None


@pytest.mark.parametrize(
    ("values", "login"),
    [({}, None), ({"auth_type": "EXTERNAL"}, "EXTERNAL"), ({"auth_type": "PLAIN", "auth_authen": "ann"}, "ann")],
)
def test_a_login_is_told_once(values, login):
    told = table(b"M", **values)
    assert told.take_mail() == (login, "")
    assert told.take_mail() == (None, "")


def test_the_queue_id_is_the_last_one_told_and_the_next_mails_is_not_it():
    told = table(b"T", i="ONE")
    told.take(Macros(b"E", {}))
    assert told.queue_id == "ONE"
    told.take(Macros(b"M", {"i": "TWO"}))
    assert told.queue_id == "ONE"
    assert told.take_mail() == (None, "TWO")
    told.take(Macros(b"E", {"i": "THREE"}))
    assert told.queue_id == "THREE"


def test_nothing_of_a_mail_is_left_when_it_ends_and_nothing_of_a_client_either():
    told = table(b"H", tls_version="TLSv1.3")
    for letter in (b"M", b"R", b"T", b"E"):
        told.take(Macros(letter, {"i": "ONE", "auth_authen": "ann", "rcpt_mailer": "error"}))
    told.end_mail()
    assert (told.queue_id, told.take_mail(), told.take_refusal()) == ("", (None, ""), None)
    assert told.tls() is not None
    told.end_client()
    assert told.tls() is None
