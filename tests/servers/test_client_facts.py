from __future__ import annotations

from ipaddress import ip_address

from gatekeeper.model import Session, Tls
from gatekeeper.servers.client_facts import ClientFacts

BEFORE = ClientFacts(ip_address("127.0.0.1"), 5, "localhost", "proxy", True, "bob", Tls("TLSv1.3", "X", 256))


def test_a_new_address_is_a_new_client():
    assert BEFORE.told({"ADDR": "192.0.2.7"}) == ClientFacts(ip_address("192.0.2.7"), None, None, None, None, None)


def test_what_is_not_told_stays_and_what_cannot_be_known_goes():
    told = BEFORE.told({"NAME": None, "HELO": "x", "PROTO": "SMTP"})
    assert told == ClientFacts(ip_address("127.0.0.1"), 5, None, "x", False, "bob", BEFORE.tls)


def test_everything_at_once():
    told = BEFORE.told(
        {"ADDR": "2001:db8::1", "PORT": "25", "NAME": "n", "HELO": "h", "PROTO": "ESMTP", "LOGIN": None, "IDENT": "i"}
    )
    assert told == ClientFacts(ip_address("2001:db8::1"), 25, "n", "h", True, None)


def test_an_address_that_nobody_knows_is_unknown():
    assert BEFORE.told({"ADDR": None}).address is None


def test_they_go_into_a_session_and_come_out_of_it():
    session = Session(id="1", server="smtp", started=0.0)
    BEFORE.to(session)
    assert ClientFacts.of(session) == BEFORE
