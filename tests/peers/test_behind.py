"""A client -> Postfix -> gatekeeper -> Postfix -> Maildir, as config/postfix/behind.master.cf sets it up."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.peers.conftest import CHECKS, need
from tests.peers.instances import Gatekeeper, Postfix, free_port
from tests.peers.test_front import GOOD, TWICE, message, records, rules


@dataclass(frozen=True)
class Behind:
    """Both programs; `port` is where clients come in."""

    postfix: Postfix
    gatekeeper: Gatekeeper
    port: int


class Client(smtplib.SMTP):
    """A client of Postfix that seems to come from `address`: in this test Postfix takes XCLIENT from us."""

    def __init__(self, behind: Behind, address: str, *, name: str = "[UNAVAILABLE]") -> None:
        super().__init__("127.0.0.1", behind.port, local_hostname="tests.example", timeout=60)
        self.ehlo()
        code, text = self.docmd("XCLIENT", f"ADDR={address} NAME={name} PORT=40000")
        assert code == 220, text
        assert self.ehlo("mail.good.test")[0] == 250


def start(directory: Path, nameserver: int, *, options: str = "", extra: str = "") -> Behind:
    entrance, middle = free_port(), free_port()
    directory.mkdir()
    directory.chmod(0o755)
    postfix = Postfix(
        directory / "postfix",
        ["alice", "bob", "postmaster", "gone", "full"],  # the last two are refused by the second listener
        shipped="behind.master.cf",
        replacing={
            "smtp inet": f"127.0.0.1:{entrance} inet",
            "127.0.0.1:10025": f"127.0.0.1:{middle}",
            "smtpd_proxy_options=": f"smtpd_proxy_options={options}",
        },
        main="smtpd_authorized_xclient_hosts = 127.0.0.1\nsmtpd_relay_restrictions = reject_unauth_destination",
    )
    place = directory / "gatekeeper"
    place.mkdir()
    gatekeeper = Gatekeeper(
        place,
        next_hop=f"smtp://127.0.0.1:{postfix.port}",
        nameserver=nameserver,
        extra=f'[nexthop]\nfinal = "50s"\n{CHECKS}\n{extra}',
        port=middle,
    )
    postfix.start()
    gatekeeper.start()
    return Behind(postfix, gatekeeper, entrance)


@pytest.fixture(scope="module")
def behind(workplace: Path, nameserver: int) -> Iterator[Behind]:
    need("postfix")
    both = start(workplace / "behind", nameserver)
    yield both
    both.gatekeeper.stop()
    both.postfix.stop()


def test_mail_goes_through_and_the_checks_judge_the_true_client(behind: Behind) -> None:
    with Client(behind, GOOD, name="mail.good.test") as client:
        client.sendmail("a@good.test", ["alice@example.org"], message("a@good.test", "through the middle"))
    delivered = behind.postfix.wait_for_mail("alice", "through the middle").decode()
    assert "spf=pass" in delivered
    [record] = records(behind.gatekeeper, "--address", f"{GOOD}/32", "--sender", "a@good.test")
    assert record["client"]["address"] == GOOD
    assert record["client"]["helo"] == "mail.good.test"
    assert {"RDNS_CONFIRMED", "SPF_PASS"} <= rules(record)


def test_both_logs_and_the_received_field_show_the_true_client(behind: Behind) -> None:
    with Client(behind, GOOD, name="mail.good.test") as client:
        client.sendmail("a@good.test", ["bob@example.org"], message("a@good.test", "who is it"))
    delivered = behind.postfix.wait_for_mail("bob", "who is it").decode()
    assert "from mail.good.test (mail.good.test [192.0.2.10])" in delivered
    assert "orig_client=mail.good.test[192.0.2.10]" in behind.postfix.log()
    assert delivered.count("\nReceived:") == 2  # Postfix twice; gatekeeper adds none of its own


def test_a_listed_client_is_refused_for_its_own_address_in_our_words(behind: Behind) -> None:
    with Client(behind, TWICE) as client:
        client.mail("b@good.test")
        code, text = client.rcpt("alice@example.org")
        assert code == 550, text
        assert b"(id " in text
        assert client.noop()[0] == 250


def test_a_reject_at_the_end_of_data_reaches_the_client_and_nothing_is_delivered(behind: Behind) -> None:
    with Client(behind, GOOD) as client:
        client.mail("c@forged.test")
        assert client.rcpt("alice@example.org")[0] == 250
        assert client.rcpt("bob@example.org")[0] == 250
        code, text = client.data(message("c@forged.test", "refused for both"))
        assert code == 550, text
        assert client.noop()[0] == 250  # one answer for all recipients, and the session goes on
    [record] = records(behind.gatekeeper, "--sender", "c@forged.test")
    assert record["action"] == "reject"
    assert len(record["recipients"]) == 2
    assert all("refused for both" not in p.read_text() for u in ("alice", "bob") for p in behind.postfix.delivered(u))


@pytest.mark.parametrize(
    ("recipient", "code", "words"),
    [
        ("nobody@example.org", 550, b"User unknown"),
        ("gone@example.org", 550, b"Moved away in spring"),
        ("full@example.org", 452, b"Mailbox full"),
        ("x@elsewhere.test", 554, b"Relay access denied"),
    ],
)
def test_a_refused_recipient_is_refused_alone(behind: Behind, recipient: str, code: int, words: bytes) -> None:
    with Client(behind, GOOD) as client:
        client.mail("d@good.test")
        assert client.rcpt("alice@example.org")[0] == 250
        refused, text = client.rcpt(recipient)
        assert (refused, words in text) == (code, True), text
        assert client.data(message("d@good.test", f"without {recipient}"))[0] == 250
    behind.postfix.wait_for_mail("alice", f"without {recipient}")


def test_postfix_answers_vrfy_with_nothing(behind: Behind) -> None:
    with Client(behind, GOOD) as client:
        assert client.verify("alice@example.org")[0] == client.verify("nobody@example.org")[0] == 502
        assert client.docmd("EXPN", "alice")[0] == 500


def test_nobody_relays_by_connecting_to_the_middle(behind: Behind) -> None:
    with smtplib.SMTP("127.0.0.1", behind.gatekeeper.port, timeout=60) as client:
        client.ehlo("stranger.test")
        client.mail("a@good.test")
        assert client.rcpt("x@elsewhere.test")[0] == 554


def test_postfix_says_451_while_gatekeeper_is_away(behind: Behind) -> None:
    behind.gatekeeper.stop()
    try:
        with Client(behind, GOOD) as client:
            client.mail("e@good.test")
            code, text = client.rcpt("alice@example.org")
            assert code == 451, text
    finally:
        behind.gatekeeper.start()


def test_with_speed_adjust_one_refusal_fails_the_message_for_all(workplace: Path, nameserver: int) -> None:
    """Why the shipped file does without it."""
    need("postfix")
    both = start(workplace / "speed_adjust", nameserver, options="speed_adjust")
    try:
        with Client(both, GOOD) as client:
            client.mail("f@good.test")
            assert client.rcpt("alice@example.org")[0] == 250
            assert client.rcpt("gone@example.org")[0] == 250
            code, text = client.data(message("f@good.test", "adjusted"))
        assert code >= 400, text
        assert not both.postfix.delivered("alice")
    finally:
        both.gatekeeper.stop()
        both.postfix.stop()
