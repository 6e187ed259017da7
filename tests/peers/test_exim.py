"""A client -> gatekeeper -> Exim -> Maildir: a next hop without XCLIENT, so that `relay_domains` is needed.

Exim's package conflicts with Postfix's, so it is fetched and unpacked for these tests alone, never installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.peers.conftest import CHECKS
from tests.peers.instances import Exim, Gatekeeper
from tests.peers.modes import Client
from tests.peers.packages import absent, unpacked
from tests.peers.test_front import GOOD, message, records

PACKAGES = ("exim4-daemon-light", "libnss-wrapper")


@dataclass(frozen=True)
class Relaying:
    """Both programs."""

    exim: Exim
    gatekeeper: Gatekeeper


@pytest.fixture(scope="module")
def relaying(workplace: Path, nameserver: int) -> Iterator[Relaying]:
    exim = Exim(unpacked(workplace / "exim-packages", PACKAGES), workplace / "exim", ["alice", "bob"])
    if why := exim.unable():
        absent(f"Exim does not run here: {why}")
    directory = workplace / "before-exim"
    directory.mkdir()
    gatekeeper = Gatekeeper(
        directory,
        next_hop=f"smtp://127.0.0.1:{exim.port}",
        nameserver=nameserver,
        top='relay_domains = ["example.org"]',
        extra=CHECKS,
    )
    exim.start()
    gatekeeper.start()
    yield Relaying(exim, gatekeeper)
    gatekeeper.stop()
    exim.stop()


def test_mail_arrives_and_the_record_has_exims_id(relaying: Relaying) -> None:
    content = message("a@good.test", "by Exim")
    with Client(relaying.gatekeeper.port, GOOD, name="mail.good.test") as client:
        client.mail("a@good.test")
        assert client.rcpt("alice@example.org")[0] == 250
        assert client.rcpt("bob@example.org")[0] == 250
        code, text = client.data(content)
    assert code == 250, text
    for user in ("alice", "bob"):
        delivered = relaying.exim.wait_for_mail(user, "by Exim")
        assert delivered.count(b"X-Spam-Status: No") == 1
        assert b"spf=pass" in delivered
        assert f"[{GOOD}]".encode() in delivered  # Exim cannot be told of the client: our Received field names it
        assert delivered.replace(b"\r\n", b"\n").endswith(b"\n\nHello.\n.hidden dot\n")
    [record] = records(relaying.gatekeeper, "--sender", "a@good.test")
    assert text == f"OK id={record['queue_id']}".encode()


@pytest.mark.parametrize(
    ("recipient", "code", "words"),
    [
        ("nobody@example.org", 550, "Unrouteable address"),
        ("gone@example.org", 550, "5.1.6 Moved away in spring"),
        ("full@example.org", 451, "4.2.2 Mailbox full, come back later"),
    ],
)
def test_who_exim_refuses_is_refused_in_its_words(relaying: Relaying, recipient: str, code: int, words: str) -> None:
    with Client(relaying.gatekeeper.port, GOOD, name="mail.good.test") as client:
        client.mail("b@good.test")
        assert client.rcpt("alice@example.org")[0] == 250
        assert client.rcpt(recipient) == (code, words.encode())
        assert client.data(message("b@good.test", f"without {recipient}"))[0] == 250
    relaying.exim.wait_for_mail("alice", f"without {recipient}")


def test_what_exim_refuses_at_the_end_is_refused_in_its_words(relaying: Relaying) -> None:
    with Client(relaying.gatekeeper.port, GOOD, name="mail.good.test") as client:
        client.mail("c@good.test")
        assert client.rcpt("alice@example.org")[0] == 250
        assert client.data(message("c@good.test", "unwanted")) == (550, b"5.7.1 Exim does not want this")


def test_mail_for_other_domains_is_refused_by_us(relaying: Relaying) -> None:
    with Client(relaying.gatekeeper.port, GOOD, name="mail.good.test") as client:
        client.mail("d@good.test")
        code, text = client.rcpt("x@elsewhere.test")
        assert (code, text[:5]) == (550, b"5.7.1")
