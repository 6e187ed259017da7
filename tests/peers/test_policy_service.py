"""A client -> Postfix, which asks gatekeeper's policy service -> Maildir, as config/postfix/policy_service.main.cf
sets it up."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.peers.conftest import CHECKS, need
from tests.peers.instances import ROOT, Gatekeeper, Postfix, free_port
from tests.peers.test_front import EXPLOITED, GOOD, TWICE, message, records, rules


@dataclass(frozen=True)
class Asking:
    """Both programs. At `open_port` Postfix answers VRFY, and knows no networks of its own."""

    postfix: Postfix
    gatekeeper: Gatekeeper
    open_port: int


class Client(smtplib.SMTP):
    """A client of Postfix that seems to come from `address`: in this test Postfix takes XCLIENT from us."""

    def __init__(self, asking: Asking, address: str, *, name: str = "[UNAVAILABLE]", port: int | None = None) -> None:
        super().__init__("127.0.0.1", port or asking.postfix.port, local_hostname="tests.example", timeout=60)
        self.ehlo()
        assert self.docmd("XCLIENT", f"ADDR={address} NAME={name} PORT=40000")[0] == 220
        assert self.ehlo("mail.good.test")[0] == 250

    def deliver(self, sender: str, recipients: list[str], content: bytes) -> tuple[int, str]:
        code, text = self.mail(sender)
        for recipient in recipients:
            code, text = self.rcpt(recipient)
        if code == 250:
            code, text = self.data(content)
        return code, text.decode()


def start(directory: Path, nameserver: int, *, extra: str = "", service: str = "", unix: bool = False) -> Asking:
    directory.mkdir()
    directory.chmod(0o755)
    port, open_port = free_port(), free_port()
    shipped = (ROOT / "config/postfix/policy_service.main.cf").read_text()
    certificate = trustme.CA().issue_cert("mail.example.org")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(directory / "cert.pem"))
    ours = "unix:gatekeeper/policy" if unix else f"inet:127.0.0.1:{port}"
    postfix = Postfix(
        directory / "postfix",
        ["alice", "bob", "sales", "postmaster"],
        main=f"""{shipped.replace("inet:127.0.0.1:10028", ours)}
smtpd_peername_lookup = no
max_idle = 1s
smtpd_tls_chain_files = {directory}/cert.pem
smtpd_tls_security_level = may
tls_random_source = dev:/dev/urandom
""",
    )
    listener = "127.0.0.1:{} inet n - y - - smtpd\n  -o smtpd_authorized_xclient_hosts=127.0.0.1\n"
    services = (postfix.etc / "master.cf").read_text().partition("\npickup ")
    (postfix.etc / "master.cf").write_text(
        listener.format(postfix.port)
        + listener.format(open_port)
        + f"  -o disable_vrfy_command=no -o mynetworks=192.0.2.99\n"
        f"  -o smtpd_etrn_restrictions=check_policy_service,{ours}\n"
        + "tlsmgr unix - - n 1000? 1 tlsmgr\n"
        + "".join(services[1:])
    )
    sockets = postfix.queue / "gatekeeper"
    sockets.mkdir()
    place = directory / "gatekeeper"
    place.mkdir()
    gatekeeper = Gatekeeper(place, next_hop="smtp://127.0.0.1:1", nameserver=nameserver)
    listen = f"unix:{sockets}/policy?mode=0660&group=postfix" if unix else f"127.0.0.1:{port}"
    gatekeeper.config.write_text(
        f"""hostname = "mx.example.org"
relay_domains = ["example.org"]
[servers.policy_service]
listen = ["{listen}"]
{service}
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
    return Asking(postfix, gatekeeper, open_port)


def running(directory: Path, nameserver: int, **given: Any) -> Iterator[Asking]:
    need("postfix")
    asking = start(directory, nameserver, **given)
    yield asking
    asking.postfix.stop()
    asking.gatekeeper.stop()


@pytest.fixture(scope="module")
def asking(workplace: Path, nameserver: int) -> Iterator[Asking]:
    own = '[[policy.for]]\nrecipients = ["sales@example.org"]\nreject = 20.0\n'
    yield from running(workplace / "policy", nameserver, extra=own, service='remembered = "100ms"')


def test_a_mail_that_passes_is_marked_and_its_record_knows_the_client(asking: Asking) -> None:
    with Client(asking, GOOD, name="mail.good.test") as client:
        code, text = client.deliver(
            "someone@good.test", ["alice@example.org", "bob@example.org"], message("someone@good.test", "passes")
        )
    assert code == 250, text
    delivered = asking.postfix.wait_for_mail("alice", "Subject: passes").decode()
    assert delivered.count("X-Spam-Status: No, score=") == 1
    assert delivered.index("X-Spam-Status: ") < delivered.index("Received: from ")
    queue_id = text.partition("queued as ")[2].split()[0]
    [record] = records(asking.gatekeeper, "--queue-id", queue_id)
    assert (record["action"], record["server"], record["sender"]) == ("accept", "policy_service", "someone@good.test")
    client_facts = record["client"]
    assert {key: client_facts[key] for key in ("address", "port", "name", "helo", "extended")} == {
        "address": GOOD,
        "port": 40000,
        "name": "mail.good.test",
        "helo": "mail.good.test",
        "extended": True,
    }
    assert client_facts["counters"] == {"recipients": 2, "accepted": 2, "messages": 1, "delivered": 2}
    assert [each["address"] for each in record["recipients"]] == ["alice@example.org", "bob@example.org"]
    assert "SPF_PASS" in rules(record)


def test_a_listed_client_is_marked_and_one_listed_twice_is_refused(asking: Asking) -> None:
    with Client(asking, EXPLOITED) as client:
        code, text = client.deliver("a@soft.invalid", ["alice@example.org"], message("a@soft.invalid", "exploited"))
        assert code == 250, text
    delivered = asking.postfix.wait_for_mail("alice", "Subject: exploited").decode()
    assert "X-Spam-Status: Yes, score=" in delivered
    assert "DNSBL_CODES_XPLOIT" in delivered
    with Client(asking, TWICE) as client:
        code, text = client.deliver("b@soft.test", ["alice@example.org"], message("b@soft.test", "twice"))
    assert code == 550
    assert "<alice@example.org>: Recipient address rejected: " in text
    [record] = records(asking.gatekeeper, "--sender", "b@soft.test")
    assert record["action"] == "reject"
    assert f"(id {record['id']})" in text
    assert {"DNSBL_BL", "DNSBL_CODES_SPAM"} <= rules(record)


def test_recipients_whose_thresholds_differ_come_again_alone(asking: Asking) -> None:
    with Client(asking, GOOD) as client:
        assert client.mail("two@good.test")[0] == 250
        assert client.rcpt("alice@example.org")[0] == 250
        code, text = client.rcpt("sales@example.org")
        assert (code, text[:5]) == (452, b"4.5.3")
        assert client.data(message("two@good.test", "for alice"))[0] == 250
        assert client.deliver("two@good.test", ["sales@example.org"], message("two@good.test", "for sales"))[0] == 250
    asking.postfix.wait_for_mail("sales", "for sales")


def test_what_postfix_refuses_after_us_is_counted(asking: Asking) -> None:
    with Client(asking, GOOD) as client:
        assert client.mail("half@good.test")[0] == 250
        assert client.rcpt("alice@example.org")[0] == 250
        code, text = client.rcpt("nobody@example.org")
        assert (code, text[:6]) == (550, b"5.1.1 ")
        assert client.rcpt("x@elsewhere.test")[0] == 554  # smtpd_relay_restrictions: we are not asked
        assert client.data(message("half@good.test", "half of them"))[0] == 250
        assert client.mail("left@good.test")[0] == 250
        assert client.rcpt("alice@example.org")[0] == 250
    [record] = records(asking.gatekeeper, "--sender", "half@good.test")
    assert record["client"]["counters"]["unknown"] == 1
    # That the client has left is known when the same smtpd asks about another one, or ends.
    [record] = records(asking.gatekeeper, "--sender", "left@good.test")
    assert (record["action"], record["note"]) == ("abandoned", "client_gone")


def test_the_first_chunk_of_bdat_is_asked_about_as_data(asking: Asking) -> None:
    content = message("chunks@good.test", "in chunks")
    with Client(asking, GOOD) as client:
        client.mail("chunks@good.test")
        client.rcpt("alice@example.org")
        client.send(b"BDAT %d\r\n%b" % (len(content) - 10, content[:-10]))
        assert client.getreply()[0] == 250
        client.send(b"BDAT 10 LAST\r\n" + content[-10:])
        assert client.getreply()[0] == 250
    assert asking.postfix.wait_for_mail("alice", "in chunks").count(b"X-Spam-Status: ") == 1
    [record] = records(asking.gatekeeper, "--sender", "chunks@good.test")
    assert (record["action"], record["note"]) == ("accept", "")


def test_an_address_in_utf8_is_read(asking: Asking) -> None:
    with Client(asking, GOOD) as client:
        client.command_encoding = "utf-8"
        client.mail("jürgen@good.test", ["SMTPUTF8"])
        client.rcpt("alice@example.org")
        assert client.data(message("someone@good.test", "utf8"))[0] == 250
    [record] = records(asking.gatekeeper, "--sender", "jürgen@good.test")
    assert record["action"] == "accept"


def test_what_tls_has_agreed_on_stands_in_the_record(asking: Asking) -> None:
    with smtplib.SMTP("127.0.0.1", asking.open_port, timeout=60) as client:
        client.starttls(context=ssl._create_unverified_context())
        client.sendmail("tls@good.test", ["alice@example.org"], message("tls@good.test", "by TLS"))
    [record] = records(asking.gatekeeper, "--sender", "tls@good.test")
    assert record["client"]["tls"]["version"] == "TLSv1.3"
    assert record["client"]["tls"]["bits"] >= 128


def test_who_is_local_is_not_asked_about(asking: Asking) -> None:
    with smtplib.SMTP("127.0.0.1", asking.postfix.port, timeout=60) as local:
        local.sendmail("cron@good.test", ["bob@example.org"], message("cron@good.test", "from cron"))
    assert b"X-Spam-Status" not in asking.postfix.wait_for_mail("bob", "from cron")


def test_vrfy_and_etrn_are_asked_about(asking: Asking) -> None:
    def dunno() -> int:
        lines = asking.gatekeeper.get("/metrics").splitlines()
        [line] = [each for each in lines if each.startswith('gatekeeper_policy_answers_total{answer="dunno"}')]
        return int(float(line.split()[-1]))

    before = dunno()
    with Client(asking, GOOD, port=asking.open_port) as client:
        assert client.docmd("VRFY", "alice@example.org")[0] == 252
        assert client.docmd("VRFY", "nobody@example.org")[0] == 550
        assert client.docmd("ETRN", "example.org")[0] in {250, 458, 459}
        assert client.deliver("v@good.test", ["bob@example.org"], message("v@good.test", "after VRFY"))[0] == 250
    [record] = records(asking.gatekeeper, "--sender", "v@good.test")
    assert record["client"]["counters"]["verifies"] == 3
    assert dunno() - before >= 5


def test_who_tries_names_gets_the_same_answer_for_every_name_and_is_then_cut_off(
    workplace: Path, nameserver: int
) -> None:
    quick = '[checks.stacking]\nbudget = 2.0\nslow_delay = "10ms"\n'
    for asking in running(workplace / "policy-stacking", nameserver, extra=quick):
        codes: list[int] = []
        with Client(asking, GOOD, port=asking.open_port) as client:
            while not codes or codes[-1] != 421:
                codes.append(client.docmd("VRFY", "alice@example.org" if len(codes) % 2 else "nobody@example.org")[0])
        slowed = codes.index(451)
        assert codes[:slowed] == ([550, 252] * slowed)[:slowed]
        assert set(codes[slowed:-1]) == {451}
        with Client(asking, GOOD) as client:
            client.mail("a@good.test")
            assert client.rcpt("alice@example.org")[0] == 421
            with pytest.raises(smtplib.SMTPServerDisconnected):
                client.noop()


def test_a_chrooted_postfix_finds_the_unix_socket(workplace: Path, nameserver: int) -> None:
    for asking in running(workplace / "policy-unix", nameserver, unix=True, service='prepend = "rcpt"'):
        with Client(asking, GOOD) as client:
            code, text = client.deliver("u@good.test", ["alice@example.org"], message("u@good.test", "by UNIX"))
        assert code == 250, text
        assert asking.postfix.wait_for_mail("alice", "by UNIX").count(b"X-Spam-Status: ") == 1


def test_postfix_defers_while_nobody_answers(workplace: Path, nameserver: int) -> None:
    for asking in running(workplace / "policy-away", nameserver):
        with Client(asking, GOOD) as client:
            client.mail("a@good.test")
            assert client.rcpt("alice@example.org")[0] == 250
            asking.gatekeeper.stop()
            code, text = client.rcpt("bob@example.org")
            assert (code, text[:5]) == (451, b"4.3.5")
            asking.gatekeeper.start()
            assert client.rcpt("bob@example.org")[0] == 250  # what was told before is not known any more
            assert client.data(message("a@good.test", "goes on"))[0] == 250
        assert b"X-Spam-Status: No" in asking.postfix.wait_for_mail("bob", "goes on")
