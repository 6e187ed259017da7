"""A client -> Sendmail, which asks gatekeeper's milter as config/sendmail/gatekeeper.mc has it -> a mailbox.

Sendmail's packages conflict with Postfix's, so they are unpacked for these tests alone, as Exim's are. It needs name
spaces of its own (`sendmail`); where they cannot be had these tests skip, in CI too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.peers.conftest import CHECKS
from tests.peers.instances import Gatekeeper, wait_until
from tests.peers.packages import unpacked
from tests.peers.sendmail import PACKAGES, Sendmail
from tests.peers.test_front import EXPLOITED, GOOD, TWICE, message, records, rules
from tests.peers.test_milter import FORGED


@dataclass(frozen=True)
class Asking:
    """Both programs."""

    sendmail: Sendmail
    gatekeeper: Gatekeeper


@pytest.fixture(scope="module")
def asking(workplace: Path, nameserver: int) -> Iterator[Asking]:
    root = unpacked(workplace / "sendmail-packages", PACKAGES)
    place = workplace / "before-sendmail"
    place.mkdir()
    sockets = place / "run"
    sockets.mkdir()
    addresses = (GOOD, EXPLOITED, TWICE)
    sendmail = Sendmail(root, workplace / "sendmail", ["alice", "bob"], sockets=sockets, addresses=addresses)
    if why := sendmail.unable():
        pytest.skip(f"Sendmail does not run here: {why}")
    gatekeeper = Gatekeeper(place, next_hop="smtp://127.0.0.1:1", nameserver=nameserver)
    gatekeeper.config.write_text(
        f"""hostname = "mx.example.org"
relay_domains = ["example.org"]
[servers.milter]
listen = ["unix:{sockets}/milter?mode=0600"]
[servers.http]
listen = ["127.0.0.1:{gatekeeper.http}"]
[dns]
nameservers = ["127.0.0.1:{nameserver}"]
[store]
url = "sqlite:{place}/state.db"
[[policy.for]]
recipients = ["bob@example.org"]
reject = 20.0
{CHECKS}
"""
    )
    gatekeeper.start()
    sendmail.start()
    yield Asking(sendmail, gatekeeper)
    sendmail.stop()
    gatekeeper.stop()


def test_a_clean_message_passes_and_forged_fields_are_gone(asking: Asking) -> None:
    with asking.sendmail.client(GOOD) as client:
        assert client.mail("clean@good.test")[0] == 250
        assert client.rcpt("alice@example.org")[0] == 250
        code, text = client.data(FORGED + message("clean@good.test", "clean by Sendmail"))
        assert code == 250, text
    delivered = asking.sendmail.wait_for_mail("alice", "clean by Sendmail").decode()
    assert "X-Spam-Status: No" in delivered
    assert delivered.count("Authentication-Results: mx.example.org") == 1
    assert "FORGED" not in delivered
    assert "X-Spam-Flag" not in delivered
    [record] = records(asking.gatekeeper, "--sender", "clean@good.test")
    client_seen = record["client"]
    assert (record["action"], record["server"], client_seen["address"]) == ("accept", "milter", GOOD)
    assert client_seen["helo"] == "mail.good.test"
    assert client_seen["port"] > 0
    assert record["queue_id"] in text.decode()


def test_a_listed_client_is_tagged(asking: Asking) -> None:
    with asking.sendmail.client(EXPLOITED) as client:
        assert client.mail("tagged@soft.test")[0] == 250
        assert client.rcpt("alice@example.org")[0] == 250
        assert client.data(message("tagged@soft.test", "tagged by Sendmail"))[0] == 250
    delivered = asking.sendmail.wait_for_mail("alice", "tagged by Sendmail").decode()
    assert "X-Spam-Flag: YES" in delivered
    assert "DNSBL_CODES_XPLOIT" in delivered


def test_one_listed_twice_is_refused_at_rcpt_in_our_words(asking: Asking) -> None:
    with asking.sendmail.client(TWICE) as client:
        assert client.mail("twice@soft.test")[0] == 250
        code, text = client.rcpt("alice@example.org")
        assert (code, text[:6]) == (550, b"5.7.1 ")
        [record] = records(asking.gatekeeper, "--sender", "twice@soft.test")
        assert f"(id {record['id']})".encode() in text
    assert record["action"] == "reject"
    assert {"DNSBL_BL", "DNSBL_CODES_SPAM"} <= rules(record)


def test_a_forged_from_is_refused_at_the_end_of_data_and_the_session_goes_on(asking: Asking) -> None:
    with asking.sendmail.client(GOOD) as client:
        assert client.mail("end@good.test")[0] == 250
        assert client.rcpt("alice@example.org")[0] == 250
        code, text = client.data(message("boss@forged.test", "forged by Sendmail"))
        assert (code, text[:6]) == (550, b"5.7.1 ")
        assert b"(id " in text
        assert client.mail("after@good.test")[0] == 250
        assert client.rcpt("alice@example.org")[0] == 250
        assert client.data(message("after@good.test", "after it by Sendmail"))[0] == 250
    asking.sendmail.wait_for_mail("alice", "after it by Sendmail")
    assert not any(b"forged by Sendmail" in path.read_bytes() for path in asking.sendmail.delivered("alice"))


def test_recipients_are_refused_one_by_one_by_us_and_by_sendmail(asking: Asking) -> None:
    with asking.sendmail.client(GOOD) as client:
        assert client.mail("half@good.test")[0] == 250
        assert client.rcpt("alice@example.org")[0] == 250
        code, text = client.rcpt("nobody@example.org")
        assert (code, text[:5]) == (550, b"5.1.1")
        code, text = client.rcpt("bob@example.org")
        assert (code, text[:5]) == (452, b"4.5.3")
        code, text = client.rcpt("x@elsewhere.test")
        assert (code, text[:5]) == (550, b"5.7.1")
        assert client.data(message("half@good.test", "half by Sendmail"))[0] == 250
    [record] = [
        each
        for each in records(asking.gatekeeper, "--sender", "half@good.test", at_least=2)
        if each["action"] == "accept"
    ]
    # Sendmail as Debian builds it agrees to tell of those that it refuses itself, and does not.
    assert [each["address"] for each in record["recipients"]] == ["alice@example.org", "bob@example.org"]
    assert "unknown" not in record["client"]["counters"]


def test_nobody_learns_who_exists(asking: Asking) -> None:
    with asking.sendmail.client(GOOD) as client:
        assert client.verify("alice")[0] == client.verify("nobody")[0] == 252
        assert client.expn("alice")[0] == 502


def test_while_gatekeeper_is_away_clients_come_again(asking: Asking) -> None:
    asking.gatekeeper.stop()
    try:
        with asking.sendmail.client(GOOD) as client:
            answers = [client.mail("away@good.test"), client.rcpt("alice@example.org")]
        assert any(code in {451, 452, 421} for code, _ in answers), answers
    finally:
        asking.gatekeeper.start()
    wait_until("the milter's socket", (asking.sendmail.sockets / "milter").exists)
