"""What leaves us verifies at the next verifier, in each way to stand in front of Postfix: the judges are Mail::DKIM,
which asks the test's nameserver itself, and dkimpy.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dkim
import pytest

from tests.peers import test_behind, test_front, test_milter
from tests.peers.conftest import CHECKS, need
from tests.peers.instances import PATH, Gatekeeper, Postfix
from tests.peers.test_front import EXPLOITED, GOOD, message

JUDGE = Path(__file__).parent / "mail_dkim.pl"
MODES = ("front", "behind", "milter")


class Judge:
    """Verifies delivered mail."""

    def __init__(self, nameserver: int, records: dict[bytes, bytes]) -> None:
        self._port = nameserver
        self._records = records

    def dkim(self, raw: bytes) -> str:
        ours = "pass" if dkim.verify(raw, dnsfunc=self._dns) else "fail"
        return self._both(ours, self._mail_dkim("dkim", raw))

    def arc(self, raw: bytes) -> str:
        return self._both(dkim.arc_verify(raw, dnsfunc=self._dns)[0].decode(), self._mail_dkim("arc", raw))

    def _both(self, one: str, other: str) -> str:
        return one if one == other else f"dkimpy says {one}, Mail::DKIM {other}"

    def _dns(self, name: bytes, timeout: float = 5) -> bytes | None:
        return self._records.get(name.rstrip(b"."))

    def _mail_dkim(self, what: str, raw: bytes) -> str:
        done = subprocess.run(
            ["perl", str(JUDGE), what, str(self._port)],
            input=raw,
            capture_output=True,
            timeout=60,
            check=True,
            env={"PATH": PATH},
        )
        return done.stdout.decode().split()[0]


@pytest.fixture(scope="module")
def judge(nameserver: int, signing_key: tuple[bytes, str]) -> Judge:
    need("perl")
    found = subprocess.run(
        ["perl", "-MMail::DKIM::ARC::Verifier", "-MNet::DNS", "-e", "1"], capture_output=True, check=False
    )
    if found.returncode:
        need("Mail::DKIM for perl (libmail-dkim-perl)")
    text = signing_key[1].encode()
    return Judge(nameserver, {b"sel._domainkey.good.test": text, b"own._domainkey.example.org": text})


class Place:
    """One mode at work: deliver as a client of it, and see what has arrived."""

    def __init__(self, mode: str, whole: Any, postfix: Postfix, gatekeeper: Gatekeeper) -> None:
        self.mode = mode
        self.postfix = postfix
        self.gatekeeper = gatekeeper
        self._whole = whole

    def deliver(self, address: str, sender: str, content: bytes, subject: str, *, login: str = "") -> bytes:
        """What stands in alice's mailbox, with the fields that Postfix put above ours taken off."""
        client: Any
        if self.mode == "front":
            client = test_front.Client(self._whole, address)
        elif self.mode == "behind":
            client = test_behind.Client(self._whole, address)
        else:
            client = test_milter.Client(self._whole, address, login=login)
        with client:
            client.mail(sender)
            client.rcpt("alice@example.org")
            code, text = client.data(content)
            assert code == 250, text
        return self.postfix.wait_for_mail("alice", subject).replace(b"\n", b"\r\n")


def settings(directory: Path, private: bytes, *, sealing: bool, networks: str = "") -> str:
    key = directory / "own.pem"
    key.write_bytes(private)
    key.chmod(0o600)
    seal = "changed" if sealing else "never"
    return f"""
[policy]
reject = 50.0
[message.edit]
subject_prefix = "[SPAM] "
[mailauth.signing]
networks = [{networks}]
seal = "{seal}"
[[mailauth.signing.keys]]
domain = "example.org"
selector = "own"
file = "{key}"
"""


def start(mode: str, workplace: Path, nameserver: int, private: bytes, *, sealing: bool) -> Place:
    directory = workplace / f"signing-{mode}-{sealing}"
    extra = settings(workplace, private, sealing=sealing, networks='"192.0.2.10/32"')
    if mode == "behind":
        both = test_behind.start(directory, nameserver, extra=extra)
        return Place(mode, both, both.postfix, both.gatekeeper)
    if mode == "milter":
        milter = test_milter.start(directory, nameserver, extra=extra)
        return Place(mode, milter, milter.postfix, milter.gatekeeper)
    directory.mkdir()
    directory.chmod(0o755)
    postfix = Postfix(directory / "postfix", ["alice", "postmaster"])
    postfix.start()
    place = directory / "gatekeeper"
    place.mkdir()
    gatekeeper = Gatekeeper(
        place, next_hop=f"smtp://127.0.0.1:{postfix.port}", nameserver=nameserver, extra=CHECKS + extra
    )
    gatekeeper.start()
    return Place(mode, gatekeeper, postfix, gatekeeper)


@pytest.fixture(scope="module", params=[f"{mode}{seal}" for mode in MODES for seal in ("", "+seal")])
def place(
    request: pytest.FixtureRequest, workplace: Path, nameserver: int, signing_key: tuple[bytes, str]
) -> Iterator[Place]:
    need("postfix")
    mode, _, seal = request.param.partition("+")
    one = start(mode, workplace, nameserver, signing_key[0], sealing=bool(seal))
    one.mode = mode
    yield one
    one.gatekeeper.stop()
    one.postfix.stop()


def signed(content: bytes, private: bytes, canon: bytes) -> bytes:
    fields = [b"from", b"to", b"subject", b"date", b"x-folded"]
    made: bytes = dkim.sign(content, b"sel", b"good.test", private, canonicalize=(canon, canon), include_headers=fields)
    return made + content


@pytest.mark.parametrize("canon", [b"simple", b"relaxed"])
def test_a_message_that_we_tag_still_verifies_or_is_sealed(
    place: Place, judge: Judge, signing_key: tuple[bytes, str], canon: bytes, request: pytest.FixtureRequest
) -> None:
    sealing = request.node.callspec.params["place"].endswith("+seal")
    subject = f"tagged {canon.decode()}"
    content = message(
        "a@good.test", subject, extra="X-Spam-Flag: NO\r\nX-Folded: one\r\n\ttwo\r\n", body="Hello.  \r\n\r\n\r\n"
    )
    raw = place.deliver(EXPLOITED, "a@soft.invalid", signed(content, signing_key[0], canon), subject)
    assert b"\r\nX-Spam-Flag: YES" in raw
    assert b"X-Spam-Flag: NO" not in raw
    assert b"dkim=pass" in raw
    if not sealing:
        assert judge.dkim(raw) == "pass"
        assert b"ARC-Seal" not in raw
        return
    assert f"Subject: [SPAM] {subject}".encode() in raw
    assert judge.dkim(raw) == "fail"
    assert judge.arc(raw) == "pass"
    assert b"ARC-Authentication-Results: i=1; mx.example.org;" in raw


def test_a_message_that_we_do_not_tag_verifies_and_is_not_sealed(
    place: Place, judge: Judge, signing_key: tuple[bytes, str]
) -> None:
    content = signed(message("b@good.test", "welcome"), signing_key[0], b"simple")
    raw = place.deliver("192.0.2.11", "b@soft.invalid", content, "welcome")
    assert b"X-Spam-Status: No" in raw
    assert b"ARC-Seal" not in raw
    assert judge.dkim(raw) == "pass"


def test_our_own_mail_is_signed_on_its_way_out(place: Place, judge: Judge) -> None:
    for author, is_ours in (("ann@example.org", True), ("joe@good.test", False)):
        raw = place.deliver(GOOD, author, message(author, f"from {author}"), f"from {author}")
        assert raw.count(b"DKIM-Signature:") == is_ours
        if is_ours:
            assert judge.dkim(raw) == "pass"
            assert b"d=example.org; s=own" in raw
    stranger = place.deliver("192.0.2.12", "x@soft.invalid", message("eve@example.org", "not from ann"), "not from ann")
    assert b"DKIM-Signature:" not in stranger


def test_who_has_logged_in_is_signed_and_not_judged(place: Place, judge: Judge) -> None:
    if place.mode != "milter":
        pytest.skip("only a milter hears of logins")
    content = message("ann@example.org", "logged in")
    raw = place.deliver(EXPLOITED, "ann@example.org", content, "logged in", login="ann")
    assert b"X-Spam" not in raw
    assert judge.dkim(raw) == "pass"
