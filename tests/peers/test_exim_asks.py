"""Exim asks gatekeeper about each message (`spam=`, variant=rspamd), as config/exim/gatekeeper.conf sets it up.

Debian's exim4-daemon-heavy has content scanning; like the light one it is unpacked for these tests alone.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.peers.instances import ROOT, Exim, Gatekeeper
from tests.peers.packages import absent, unpacked
from tests.peers.test_front import EXPLOITED, GOOD, TWICE, message, records

PACKAGES = ("exim4-daemon-heavy", "libnss-wrapper")


@dataclass(frozen=True)
class Asking:
    """Exim speaks SMTP on standard input here, so that a test can say who the client is."""

    exim: Exim

    def deliver(self, address: str, sender: str, content: bytes) -> str:
        """What Exim said to the whole session."""
        commands = f"EHLO mail.good.test\r\nMAIL FROM:<{sender}>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n".encode()
        stuffed = content.replace(b"\r\n.", b"\r\n..")
        done = subprocess.run(
            [str(self.exim.program), "-C", str(self.exim.directory / "exim.conf"), "-bs", "-oMa", address],
            input=commands + stuffed + b".\r\nQUIT\r\n",
            capture_output=True,
            timeout=60,
            check=False,
            env={**os.environ, **self.exim.environment},
        )
        return done.stdout.decode()


@pytest.fixture(scope="module")
def asking(workplace: Path, gatekeeper: Gatekeeper) -> Asking:
    root = unpacked(workplace / "exim-heavy-packages", PACKAGES)
    exim = Exim(root, workplace / "exim-heavy", ["alice"])
    shipped = (ROOT / "config/exim/gatekeeper.conf").read_text().replace("8025", str(gatekeeper.http))
    settings, _, acl = shipped.partition("begin acl\n")
    conf = exim.directory / "exim.conf"
    written = conf.read_text().replace("acl_smtp_data = content\n", settings)
    conf.write_text(written.replace("begin acl\n", f"begin acl\n{acl}"))
    if why := exim.unable():
        absent(f"Exim does not run here: {why}")
    return Asking(exim)


def test_a_clean_message_arrives_with_our_score(asking: Asking, gatekeeper: Gatekeeper) -> None:
    said = asking.deliver(GOOD, "clean-exim@good.test", message("clean-exim@good.test", "clean by Exim"))
    assert "250 OK id=" in said, said
    delivered = asking.exim.wait_for_mail("alice", "clean by Exim")
    assert b"X-Spam-Score: " in delivered
    assert b"X-Spam-Flag" not in delivered
    [record] = records(gatekeeper, "--sender", "clean-exim@good.test")
    assert (record["server"], record["action"], record["client"]["address"]) == ("http", "accept", GOOD)
    assert record["queue_id"] == said.partition("250 OK id=")[2].split()[0]


def test_a_listed_client_is_marked_and_one_listed_twice_is_refused_in_our_words(asking: Asking) -> None:
    said = asking.deliver(
        EXPLOITED, "exploited-exim@soft.invalid", message("exploited-exim@soft.invalid", "exploited by Exim")
    )
    assert "250 OK id=" in said, said
    assert b"X-Spam-Flag: YES" in asking.exim.wait_for_mail("alice", "exploited by Exim")
    said = asking.deliver(TWICE, "twice-exim@soft.test", message("twice-exim@soft.test", "twice by Exim"))
    assert "550 5.7.1 " in said, said
    assert "(id " in said
