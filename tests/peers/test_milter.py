"""A client -> Postfix, which asks gatekeeper's milter -> Maildir, as config/postfix/milter.main.cf sets it up."""

from __future__ import annotations

import smtplib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dkim
import pytest

from tests.peers.conftest import CHECKS, need
from tests.peers.instances import PATH, ROOT, Gatekeeper, Postfix, wait_until
from tests.peers.test_front import EXPLOITED, GOOD, TWICE, message, records, rules

SCRIPTS = Path(__file__).parent / "milter"
FORGED = (
    b"X-Spam-Flag: NO\r\nX-Spam-Status: No, score=-99 required=5 tests=FORGED\r\n"
    b"Authentication-Results: mx.example.org; dkim=pass header.d=forged.test\r\n"
    b"X-Spam-Flag: NO\r\nAuthentication-Results: elsewhere.example; spf=pass\r\n"
)


@dataclass(frozen=True)
class Milter:
    """Both programs."""

    postfix: Postfix
    gatekeeper: Gatekeeper


class Client(smtplib.SMTP):
    """A client of Postfix that seems to come from `address`: in this test Postfix takes XCLIENT from us."""

    def __init__(
        self,
        milter: Milter,
        address: str,
        *,
        name: str = "[UNAVAILABLE]",
        helo: str = "mail.good.test",
        login: str = "",
    ) -> None:
        super().__init__("127.0.0.1", milter.postfix.port, local_hostname="tests.example", timeout=60)
        self.ehlo()
        said = f"ADDR={'IPV6:' if ':' in address else ''}{address} NAME={name} PORT=40000"
        code, text = self.docmd("XCLIENT", f"{said} LOGIN={login}" if login else said)
        assert code == 220, (code, text)
        assert self.ehlo(helo)[0] == 250

    def deliver(self, sender: str, recipients: list[str], content: bytes) -> tuple[int, str]:
        code, text = self.mail(sender)
        for recipient in recipients:
            code, text = self.rcpt(recipient)
        if code == 250:
            code, text = self.data(content)
        return code, text.decode()


def start(directory: Path, nameserver: int, *, extra: str = "") -> Milter:
    directory.mkdir()
    directory.chmod(0o755)
    postfix = Postfix(
        directory / "postfix",
        ["alice", "bob", "sales", "postmaster"],
        main=f"{(ROOT / 'config/postfix/milter.main.cf').read_text()}\nsmtpd_peername_lookup = no",
    )
    # A listener as a distribution ships it, chrooted; XCLIENT is for the test alone.
    services = (postfix.etc / "master.cf").read_text().partition("\npickup ")
    (postfix.etc / "master.cf").write_text(
        f"127.0.0.1:{postfix.port} inet n - y - - smtpd\n  -o smtpd_authorized_xclient_hosts=127.0.0.1\n"
        "  -o smtpd_relay_restrictions=reject_unauth_destination\n" + "".join(services[1:])
    )
    sockets = postfix.queue / "gatekeeper"
    sockets.mkdir()
    place = directory / "gatekeeper"
    place.mkdir()
    gatekeeper = Gatekeeper(place, next_hop="smtp://127.0.0.1:1", nameserver=nameserver)
    gatekeeper.config.write_text(
        f"""hostname = "mx.example.org"
relay_domains = ["example.org"]
[servers.milter]
listen = ["unix:{sockets}/milter?mode=0660&group=postfix"]
[servers.http]
listen = ["127.0.0.1:{gatekeeper.http}"]
[dns]
nameservers = ["127.0.0.1:{nameserver}"]
[store]
url = "sqlite:{place}/state.db"
{CHECKS}
{extra}
"""
    )
    gatekeeper.start()
    postfix.start()
    return Milter(postfix, gatekeeper)


@pytest.fixture(scope="module")
def milter(workplace: Path, nameserver: int) -> Iterator[Milter]:
    need("postfix")
    both = start(
        workplace / "milter",
        nameserver,
        extra='[[policy.for]]\nrecipients = ["sales@example.org"]\nreject = 20.0\n',
    )
    yield both
    both.postfix.stop()
    both.gatekeeper.stop()


def test_swaks_delivers_and_the_record_says_so(milter: Milter) -> None:
    need("swaks")
    done = subprocess.run(
        [
            *("swaks", "--server", f"127.0.0.1:{milter.postfix.port}", "--from", "someone@good.test"),
            *("--to", "alice@example.org", "--h-Subject", "by swaks", "--xclient-addr", GOOD),
            *("--xclient-name", "mail.good.test", "--helo", "mail.good.test"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": PATH},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    queue_id = done.stdout.partition("queued as ")[2].split()[0]
    delivered = milter.postfix.wait_for_mail("alice", "by swaks").decode()
    assert "X-Spam-Status: No" in delivered
    assert "Authentication-Results: mx.example.org" in delivered
    assert "spf=pass" in delivered
    [record] = records(milter.gatekeeper, "--queue-id", queue_id)
    assert (record["action"], record["server"], record["queue_id"]) == ("accept", "milter", queue_id)
    client = record["client"]
    assert (client["address"], client["name"], client["helo"]) == (GOOD, "mail.good.test", "mail.good.test")


def test_forged_fields_are_gone_and_the_signature_still_verifies(
    milter: Milter, signing_key: tuple[bytes, str]
) -> None:
    private, record = signing_key
    content = message("someone@good.test", "signed and forged", extra="X-Folded:one\r\n\ttwo\r\nX-Tab:\tthree\r\n")
    signed = dkim.sign(
        content, b"sel", b"good.test", private, canonicalize=(b"simple", b"simple"),
        include_headers=[b"from", b"to", b"subject", b"date", b"x-folded", b"x-tab"],
    ) + content  # fmt: skip
    with Client(milter, GOOD) as client:
        code, text = client.deliver("someone@good.test", ["alice@example.org"], FORGED + signed)
    assert code == 250, text
    delivered = milter.postfix.wait_for_mail("alice", "signed and forged")
    assert b"FORGED" not in delivered
    assert b"forged.test" not in delivered
    assert b"X-Spam-Flag" not in delivered
    assert delivered.count(b"Authentication-Results: mx.example.org") == 1
    assert b"Authentication-Results: elsewhere.example" in delivered
    for result in (b"dkim=pass", b"dmarc=pass", b"spf=pass"):
        assert result in delivered
    at = delivered.index(b"DKIM-Signature:")
    assert dkim.verify(delivered[at:].replace(b"\n", b"\r\n"), dnsfunc=lambda name, timeout=5: record.encode())


def test_a_listed_client_is_tagged_and_one_listed_twice_is_refused(milter: Milter) -> None:
    with Client(milter, EXPLOITED) as client:
        code, text = client.deliver("a@soft.invalid", ["alice@example.org"], message("a@soft.invalid", "exploited"))
        assert code == 250, text
    delivered = milter.postfix.wait_for_mail("alice", "Subject: exploited").decode()
    assert "X-Spam-Flag: YES" in delivered
    assert "DNSBL_CODES_XPLOIT" in delivered
    with Client(milter, TWICE) as client:
        code, text = client.deliver("b@soft.test", ["alice@example.org"], message("b@soft.test", "twice"))
    assert code == 550
    [record] = records(milter.gatekeeper, "--sender", "b@soft.test")
    assert record["action"] == "reject"
    assert f"(id {record['id']})" in text
    assert {"DNSBL_BL", "DNSBL_CODES_SPAM"} <= rules(record)


def test_one_recipient_is_refused_by_postfix_and_the_other_gets_the_mail(milter: Milter) -> None:
    with Client(milter, GOOD) as client:
        assert client.mail("half@good.test")[0] == 250
        assert client.rcpt("alice@example.org")[0] == 250
        code, text = client.rcpt("nobody@example.org")
        assert (code, text.startswith(b"5.1.1 <nobody@example.org>")) == (550, True)
        assert client.rcpt("x@elsewhere.test")[0] == 554
        assert client.data(message("half@good.test", "half of them"))[0] == 250
    [record] = records(milter.gatekeeper, "--sender", "half@good.test")
    told = {each["address"]: each for each in record["recipients"]}
    assert [each.get("by_next_hop", False) for each in told.values()] == [False, True, True]
    # Postfix tells the enhanced code and the text, but not the basic code: the second was a 554.
    assert [told[name]["reply"] for name in ("nobody@example.org", "x@elsewhere.test")] == [
        {"code": 550, "lines": ["5.1.1 Recipient address rejected: User unknown in virtual mailbox table"]},
        {"code": 550, "lines": ["5.7.1 Relay access denied"]},
    ]
    assert record["client"]["counters"]["unknown"] == 1


def test_recipients_whose_thresholds_differ_come_again_alone(milter: Milter) -> None:
    with Client(milter, GOOD) as client:
        assert client.mail("two@good.test")[0] == 250
        assert client.rcpt("alice@example.org")[0] == 250
        code, text = client.rcpt("sales@example.org")
        assert (code, text[:5]) == (452, b"4.5.3")
        assert client.data(message("two@good.test", "for alice"))[0] == 250
        assert client.deliver("two@good.test", ["sales@example.org"], message("two@good.test", "for sales"))[0] == 250
    milter.postfix.wait_for_mail("sales", "for sales")
    assert not any(b"for sales" in path.read_bytes() for path in milter.postfix.delivered("alice"))


def test_a_forged_from_is_refused_at_the_end_of_data_in_our_words(milter: Milter) -> None:
    with Client(milter, GOOD) as client:
        code, text = client.deliver("a@good.test", ["alice@example.org"], message("boss@forged.test", "forged from"))
        assert (code, text[:6]) == (550, "5.7.1 ")
        assert "(id " in text
        # The session goes on, and nothing of the refused mail is left.
        assert client.deliver("a@good.test", ["bob@example.org"], message("a@good.test", "after it"))[0] == 250
    assert "X-Spam-Status: No" in milter.postfix.wait_for_mail("bob", "after it").decode()


def test_who_has_logged_in_and_who_is_local_pass_unseen(milter: Milter) -> None:
    with Client(milter, TWICE, login="ann") as client:
        assert client.deliver("ann@good.test", ["bob@example.org"], message("ann@good.test", "from ann"))[0] == 250
    with smtplib.SMTP("127.0.0.1", milter.postfix.port, local_hostname="tests.example", timeout=60) as local:
        local.sendmail("cron@good.test", ["bob@example.org"], message("cron@good.test", "from cron"))
    for subject in ("from ann", "from cron"):
        assert b"X-Spam-Status" not in milter.postfix.wait_for_mail("bob", subject)


def run_miltertest(milter: Milter, script: str) -> None:
    need("miltertest")
    done = subprocess.run(
        [
            *("miltertest", "-s", str(SCRIPTS / f"{script}.lua"), "-D", f"COMMON={SCRIPTS / 'common.lua'}"),
            *("-D", f"SOCKET=local:{milter.postfix.queue}/gatekeeper/milter"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": PATH},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "milter_protocol_error" not in milter.gatekeeper.log()


@pytest.mark.parametrize("script", sorted(path.stem for path in SCRIPTS.glob("*.lua") if path.stem != "common"))
def test_miltertest_gets_the_answers_it_wants(milter: Milter, script: str) -> None:
    run_miltertest(milter, script)


def test_what_miltertest_tells_stands_in_the_record(milter: Milter) -> None:
    run_miltertest(milter, "new")
    for queue_id in ("MILTERTEST1", "MILTERTEST2"):
        record = records(milter.gatekeeper, "--queue-id", queue_id)[0]
        assert (record["sender"], record["action"]) == ("new@good.test", "accept")
        assert [each["address"] for each in record["recipients"]] == ["alice@example.org", "bob@example.org"]
        assert record["client"]["counters"]["errors"] == 1


def test_who_tries_many_names_is_cut_off(workplace: Path, nameserver: int) -> None:
    need("postfix")
    quick = '[checks.stacking]\nbudget = 2.0\nslow_delay = "10ms"\n'
    both = start(workplace / "milter-stacking", nameserver, extra=quick)
    try:
        with Client(both, GOOD) as client:
            client.mail("spy@good.test")
            codes = [client.rcpt(f"name{n}@example.org")[0] for n in range(12)]
            assert set(codes) == {550}  # Postfix's own refusals stand
            code, text = client.rcpt("alice@example.org")
            assert (code, text[:6]) == (421, b"4.7.1 ")
            assert b"(id " in text
            with pytest.raises(smtplib.SMTPServerDisconnected):
                client.noop()
        wait_until("the block", lambda: refused(both) == (421, True))
    finally:
        both.postfix.stop()
        both.gatekeeper.stop()


def refused(milter: Milter) -> tuple[int, bool]:
    """How the same client fares when it comes again: the code of the first answer, and whether it was cut off."""
    with smtplib.SMTP("127.0.0.1", milter.postfix.port, local_hostname="tests.example", timeout=60) as client:
        client.ehlo()
        code, _ = client.docmd("XCLIENT", f"ADDR={GOOD} NAME=mail.good.test PORT=40001")
        try:
            client.noop()
        except smtplib.SMTPServerDisconnected:
            return code, True
    return code, False


def test_postfix_defers_while_the_milter_is_away(workplace: Path, nameserver: int) -> None:
    need("postfix")
    both = start(workplace / "milter-away", nameserver)
    try:
        both.gatekeeper.stop()
        with smtplib.SMTP("127.0.0.1", both.postfix.port, timeout=60) as client:
            client.ehlo()
            code, text = client.mail("a@good.test")
            assert (code, text[:5]) == (451, b"4.7.1")
        both.gatekeeper.start()
        with Client(both, GOOD) as client:
            assert client.deliver("a@good.test", ["alice@example.org"], message("a@good.test", "back again"))[0] == 250
    finally:
        both.postfix.stop()
        both.gatekeeper.stop()
