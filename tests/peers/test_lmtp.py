"""A client -> gatekeeper -> Dovecot's LMTP -> Maildir, over a UNIX socket and over TCP: one recipient at a time."""

from __future__ import annotations

import pwd
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.peers.conftest import CHECKS, need
from tests.peers.instances import Dovecot, Gatekeeper
from tests.peers.modes import Client
from tests.peers.test_front import EXPLOITED, GOOD, message, records


@dataclass(frozen=True)
class Delivering:
    """Both programs."""

    dovecot: Dovecot
    gatekeeper: Gatekeeper


@pytest.fixture(scope="module")
def dovecot(workplace: Path) -> Iterator[Dovecot]:
    need("dovecot")
    instance = Dovecot(workplace / "dovecot", ["alice", "bob"], owner=pwd.getpwnam("nobody"))
    instance.start()
    yield instance
    instance.stop()


@pytest.fixture(scope="module", params=["unix", "tcp"])
def delivering(
    request: pytest.FixtureRequest, workplace: Path, dovecot: Dovecot, nameserver: int
) -> Iterator[Delivering]:
    directory = workplace / f"lmtp-{request.param}"
    directory.mkdir()
    next_hop = f"lmtp+unix://{dovecot.socket}" if request.param == "unix" else f"lmtp://127.0.0.1:{dovecot.port}"
    gatekeeper = Gatekeeper(
        directory, next_hop=next_hop, nameserver=nameserver, top='relay_domains = ["example.org"]', extra=CHECKS
    )
    gatekeeper.start()
    yield Delivering(dovecot, gatekeeper)
    gatekeeper.stop()


def test_mail_is_delivered_and_the_record_has_dovecots_id(delivering: Delivering) -> None:
    subject = f"by {delivering.gatekeeper.port}"
    with Client(delivering.gatekeeper.port, GOOD, name="mail.good.test") as client:
        client.mail("a@good.test")
        assert client.rcpt("alice@example.org")[0] == 250
        code, text = client.data(message("a@good.test", subject))
    assert (code, text.endswith(b" Saved")) == (250, True), text
    delivered = delivering.dovecot.wait_for_mail("alice", subject)
    assert delivered.count(b"X-Spam-Status: No") == 1
    assert b"spf=pass" in delivered
    # LMTP has no word for the client: our own Received field names it.
    assert f"[{GOOD}]".encode() in delivered
    [record] = records(delivering.gatekeeper, "--sender", "a@good.test")
    assert record["queue_id"]
    assert record["queue_id"].encode() in text


def test_each_recipient_has_a_transaction_of_its_own(delivering: Delivering) -> None:
    """One answer at the end of data cannot tell what became of two deliveries (RFC 2033 §4.2)."""
    subject = f"for both {delivering.gatekeeper.port}"
    content = message("two@good.test", subject)
    with Client(delivering.gatekeeper.port, GOOD, name="mail.good.test") as client:
        assert client.esmtp_features["limits"] == "RCPTMAX=1"
        client.mail("two@good.test")
        assert client.rcpt("alice@example.org")[0] == 250
        code, text = client.rcpt("bob@example.org")
        assert (code, text[:5]) == (452, b"4.5.3")
        assert client.data(content)[0] == 250
        client.mail("two@good.test")  # as an MTA does for those who are left
        assert client.rcpt("bob@example.org")[0] == 250
        assert client.data(content)[0] == 250
    for user in ("alice", "bob"):
        delivering.dovecot.wait_for_mail(user, subject)
        assert sum(subject.encode() in path.read_bytes() for path in delivering.dovecot.delivered(user)) == 1


def test_an_unknown_user_is_refused_in_dovecots_words_and_another_may_follow(delivering: Delivering) -> None:
    with Client(delivering.gatekeeper.port, GOOD, name="mail.good.test") as client:
        client.mail("b@good.test")
        code, text = client.rcpt("nobody@example.org")
        assert (code, text) == (550, b"5.1.1 <nobody@example.org> User doesn't exist: nobody@example.org")
        assert client.rcpt("alice@example.org")[0] == 250  # who was refused is not the one recipient
        assert client.data(message("b@good.test", "after nobody"))[0] == 250


def test_mail_for_other_domains_is_refused_by_us(delivering: Delivering) -> None:
    with Client(delivering.gatekeeper.port, GOOD, name="mail.good.test") as client:
        client.mail("c@good.test")
        code, text = client.rcpt("x@elsewhere.test")
        assert (code, text[:5]) == (550, b"5.7.1")


def test_spam_is_marked_or_refused_before_dovecot_has_it(delivering: Delivering) -> None:
    subject = f"exploited {delivering.gatekeeper.port}"
    with Client(delivering.gatekeeper.port, EXPLOITED) as client:
        client.mail("d@soft.test")
        assert client.rcpt("bob@example.org")[0] == 250
        assert client.data(message("d@soft.test", subject))[0] == 250
        client.mail("d@good.test")
        assert client.rcpt("bob@example.org")[0] == 250
        assert client.data(message("boss@forged.test", "forged from"))[0] == 550
    assert b"X-Spam-Flag: YES" in delivering.dovecot.wait_for_mail("bob", subject)
    assert not any(b"forged from" in path.read_bytes() for path in delivering.dovecot.delivered("bob"))


def test_mail_waits_while_dovecot_is_away(delivering: Delivering) -> None:
    subject = f"comes again {delivering.gatekeeper.port}"
    delivering.dovecot.stop()
    try:
        with Client(delivering.gatekeeper.port, GOOD, name="mail.good.test") as client:
            client.mail("e@good.test")
            code, text = client.rcpt("alice@example.org")
            assert code == 451, text
    finally:
        delivering.dovecot.start()
    with Client(delivering.gatekeeper.port, GOOD, name="mail.good.test") as client:
        client.mail("e@good.test")
        assert client.rcpt("alice@example.org")[0] == 250
        assert client.data(message("e@good.test", subject))[0] == 250
    delivering.dovecot.wait_for_mail("alice", subject)
