"""Users teach gatekeeper: by mail through Postfix's pipe, and by moving mail in Dovecot's IMAP."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gatekeeper.classifier.learning import Lessons, Settings, Taught
from gatekeeper.store.sqlite import SqliteStore
from tests.peers.conftest import need
from tests.peers.instances import ROOT, Gatekeeper, Postfix, free_port, program, wait_until
from tests.peers.modes import Client
from tests.peers.teaching import Bridge, Mailboxes, submit
from tests.peers.test_front import GOOD
from tests.support.lessons import OFFER, PLAIN, mail

ANN, BOB = "ann@example.org", "bob@example.org"
SPAM, HAM = "spam@example.org", "ham@example.org"


@dataclass(frozen=True)
class Site:
    """All programs of one site."""

    gatekeeper: Gatekeeper
    postfix: Postfix
    mailboxes: Mailboxes
    submission: int
    bridge: Bridge

    def lessons(self) -> list[Taught]:
        """The newest first; from the store itself, which is quicker than a command."""

        async def read() -> list[Taught]:
            store = SqliteStore(self.gatekeeper.directory / "state.db")
            try:
                return [one async for one in Lessons(store, Settings(), time.time).taught()]
            finally:
                await store.close()

        return sorted(asyncio.run(read()), key=lambda one: -one.at)

    def classes(self) -> list[str]:
        return ["spam" if one.spam else "ham" for one in self.lessons()]

    def report(self, *mails: bytes, user: str, to: str, together: int = 1) -> None:
        """Forward them as attachments, so many in one mail, and wait until the last has gone through the pipe."""
        before = len(self.bridge.calls)
        reports = [forwarded(user, *mails[first : first + together]) for first in range(0, len(mails), together)]
        submit(self.submission, user, to, reports)
        wait_until("the pipe", lambda: len(self.bridge.calls) == before + len(reports))
        wait_until("the queue to be empty", self.queue_is_empty)

    def queue_is_empty(self) -> bool:
        return not any(
            path.is_file() for name in ("active", "incoming") for path in (self.postfix.queue / name).rglob("*")
        )

    def undo(self, user: str) -> str:
        return self.gatekeeper.call("learn", "undo", "--user", user).stdout.decode()

    def delivered(self, number: int, words: str) -> bytes:
        """A message from outside, as it came into bob's mailbox."""
        octets = mail(words, number, sender="news@good.test")
        with Client(self.gatekeeper.port, GOOD, name="mail.good.test") as client:
            client.mail("news@good.test")
            assert client.rcpt(BOB)[0] == 250
            code, text = client.data(octets)
            assert code == 250, text
        identity = next(line for line in octets.decode().split("\r\n") if line.startswith("Message-ID"))
        return self.postfix.wait_for_mail("bob", identity)


def forwarded(user: str, *mails: bytes) -> bytes:
    author = user or "stranger@elsewhere.test"
    head = f'From: <{author}>\r\nSubject: Fwd\r\nContent-Type: multipart/mixed; boundary="="\r\n\r\n'
    part = b"--=\r\nContent-Type: message/rfc822\r\nContent-Disposition: attachment\r\n\r\n"
    attached = b"".join(part + one + b"\r\n" for one in mails)
    return head.encode() + b"--=\r\n\r\nplease learn this\r\n" + attached + b"--=--\r\n"


@pytest.fixture(scope="module")
def site(workplace: Path, nameserver: int) -> Iterator[Site]:
    need("postfix", "dovecot", "sievec")
    directory = workplace / "learning"
    directory.mkdir()
    directory.chmod(0o755)
    submission = free_port()
    place = directory / "gatekeeper"
    place.mkdir()
    started: list[Gatekeeper] = []

    def called(words: list[str], stdin: bytes) -> subprocess.CompletedProcess[bytes]:
        return started[0].call(*words, stdin=stdin)

    bridge = Bridge(directory / "gatekeeper-learn", called)
    script = str(directory / "gatekeeper-learn")
    mailboxes = Mailboxes(directory / "dovecot", [ANN, BOB], lambda path: path.symlink_to(script))
    postfix = Postfix(
        directory / "postfix",
        ["bob", "spam", "ham"],
        main=f"transport_maps = inline:{{ {{ {SPAM} = learn: }}, {{ {HAM} = learn: }} }}\n"
        "learn_destination_recipient_limit = 1\nminimal_backoff_time = 1s\nqueue_run_delay = 1s\n",
    )
    pipe = (ROOT / "config/postfix/learn.master.cf").read_text()
    pipe = pipe.replace("user=gatekeeper", "user=nobody").replace("/opt/gatekeeper/bin/gatekeeper", script)
    with (postfix.etc / "master.cf").open("a") as services:
        services.write(
            f"""{pipe}
127.0.0.1:{submission} inet n - n - - smtpd
  -o smtpd_sasl_auth_enable=yes -o smtpd_sasl_type=dovecot -o smtpd_sasl_path=inet:127.0.0.1:{mailboxes.logins}
  -o smtpd_relay_restrictions=permit_sasl_authenticated,reject_unauth_destination
"""
        )
    gatekeeper = Gatekeeper(place, next_hop=f"smtp://127.0.0.1:{postfix.port}", nameserver=nameserver)
    started.append(gatekeeper)
    mailboxes.start()
    postfix.start()
    gatekeeper.start()
    yield Site(gatekeeper, postfix, mailboxes, submission, bridge)
    gatekeeper.stop()
    postfix.stop()
    mailboxes.stop()
    bridge.close()


def test_without_a_login_nothing_is_learned(site: Site) -> None:
    site.report(mail(OFFER, 500), user="", to=SPAM)
    assert site.bridge.calls[-1] == ["learn", "--mail", "--user", "", "--recipient", SPAM]
    assert "nothing learned: without a login nobody teaches" in site.postfix.log()
    assert site.lessons() == []


def test_a_report_is_learned_as_its_recipient_says_and_attributed(site: Site) -> None:
    site.report(mail(OFFER, 501), user=ANN, to=SPAM)
    site.report(mail(PLAIN, 501), user=BOB, to=HAM)
    acts = [one.acts[0] for one in site.lessons()]
    assert [(act.spam, act.by, act.source) for act in acts] == [(False, BOB, "mail"), (True, ANN, "mail")]
    assert f"spam from {ANN}: 1 learned" in site.postfix.log()
    for user in (ANN, BOB):
        assert site.undo(user) == "taken back: 1\n"


def test_a_mail_without_a_message_in_it_comes_back_with_the_reason(site: Site) -> None:
    mine = b"From: <ann@example.org>\r\nSubject: too much spam\r\n\r\nplease do something\r\n"
    submit(site.submission, ANN, SPAM, [mine])
    wait_until("the bounce", lambda: "nothing to learn: forward the message as an attachment" in site.postfix.log())
    assert site.lessons() == []


def test_while_the_store_is_away_the_report_waits_in_the_queue(site: Site) -> None:
    held = [sys.executable, "-c", _HOLD, str(site.gatekeeper.directory / "state.db")]
    with subprocess.Popen(held, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        submit(site.submission, ANN, SPAM, [forwarded(ANN, mail(OFFER, 502))])
        wait_until("a deferral", lambda: "status=deferred" in site.postfix.log())
        holder.communicate()
    subprocess.run([program("postqueue") or "postqueue", "-c", str(site.postfix.etc), "-f"], check=True, timeout=60)
    wait_until("the lesson", lambda: len(site.lessons()) == 1)
    assert site.undo(ANN) == "taken back: 1\n"


_HOLD = """
import sqlite3, sys
store = sqlite3.connect(sys.argv[1], isolation_level=None)
store.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


def test_moving_mail_teaches_and_throwing_it_away_does_not(site: Site) -> None:
    with site.mailboxes.login(BOB) as client:
        for number in (1, 2):
            client.append("INBOX", "", "", mail(OFFER, 600 + number))
        client.select("INBOX")
        assert client.uid("COPY", "1", "Archive")[0] == "OK"
        assert client.uid("MOVE", "1:2", "Junk")[0] == "OK"
        assert site.classes() == ["spam", "spam"]
        assert {(act.by, act.source) for one in site.lessons() for act in one.acts} == {(BOB, "imap")}
        client.select("Junk")
        assert client.uid("MOVE", "1", "Wastebasket")[0] == "OK"
        assert site.classes() == ["spam", "spam"]
        assert client.uid("MOVE", "2", "Archive")[0] == "OK"
        assert site.classes() == ["ham", "spam"], site.mailboxes.log()
        client.select("Wastebasket")
        assert client.uid("MOVE", "1", "INBOX")[0] == "OK"  # out of the bin: nobody was asked
    assert site.classes() == ["ham", "spam"], site.mailboxes.log()
    assert site.undo(BOB) == "taken back: 2\n"


def test_twenty_corrections_change_the_verdict_on_the_next_and_undo_takes_it_back(site: Site) -> None:
    flag = b"X-Spam-Flag: YES"
    assert flag not in site.delivered(700, OFFER)
    site.report(*(mail(OFFER, 700 + number) for number in range(20)), user=ANN, to=SPAM, together=5)
    assert site.classes() == ["spam"] * 20
    marked = site.delivered(721, OFFER)
    assert flag in marked, marked.decode() + site.gatekeeper.log()
    assert b"CLASSIFIER_SPAM" in marked
    assert flag not in site.delivered(721, PLAIN)
    assert site.undo(ANN) == "taken back: 20\n"
    wait_until("what was learned to be forgotten", lambda: site.lessons() == [])
    assert flag not in site.delivered(722, OFFER)
