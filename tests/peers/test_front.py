"""swaks -> gatekeeper -> Postfix -> Maildir, with DNS from unbound and lists from rbldnsd."""

from __future__ import annotations

import json
import re
import smtplib
import subprocess
import sys
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import Any

import dkim
import pytest

from gatekeeper.mailauth.dkim import sign
from tests.peers.conftest import need
from tests.peers.instances import PATH, Gatekeeper, Postfix, program, wait_until

GOOD, LISTED, TWICE, EXPLOITED, STRANGER = "192.0.2.10", "192.0.2.60", "192.0.2.66", "192.0.2.67", "198.51.100.30"


def message(sender: str, subject: str, *, extra: str = "", body: str = "Hello.\r\n.hidden dot\r\n") -> bytes:
    return (
        f"{extra}Date: {formatdate(usegmt=True)}\r\nFrom: <{sender}>\r\nTo: <alice@example.org>\r\n"
        f"Subject: {subject}\r\nMessage-ID: {make_msgid(domain='good.test')}\r\n\r\n{body}"
    ).encode()


class Client(smtplib.SMTP):
    """An SMTP client that seems to come from `address`."""

    def __init__(
        self, gatekeeper: Gatekeeper, address: str, *, name: str = "[UNAVAILABLE]", helo: str = "mail.good.test"
    ) -> None:
        super().__init__("127.0.0.1", gatekeeper.port, local_hostname="tests.example", timeout=60)
        self.ehlo()
        prefix = "IPV6:" if ":" in address else ""
        code, text = self.docmd("XCLIENT", f"ADDR={prefix}{address} NAME={name} PORT=40000")
        assert code == 220, text
        assert self.ehlo(helo)[0] == 250

    def octets(self, sent: bytes) -> None:
        """Exactly these, whatever smtplib would make of them."""
        assert self.sock is not None
        self.sock.sendall(sent)

    def deliver(self, sender: str, recipients: list[str], content: bytes) -> tuple[int, str]:
        code, text = self.mail(sender)
        for recipient in recipients:
            code, text = self.rcpt(recipient)
        if code == 250:
            code, text = self.data(content)
        return code, text.decode()


def records(gatekeeper: Gatekeeper, *filters: str, at_least: int = 1) -> list[dict[str, Any]]:
    """What `gatekeeper records` finds, once it is written."""
    found: list[dict[str, Any]] = []

    def there() -> bool:
        done = gatekeeper.call("records", "--json", *filters)
        assert done.returncode in (0, 1), done.stderr.decode()
        found[:] = [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"{")]
        return len(found) >= at_least

    wait_until(f"a record with {filters}", there)
    return found


def rules(record: dict[str, Any]) -> set[str]:
    """Every rule that was found, of the message or of one of its recipients."""
    findings = [f for part in (record, *record.get("recipients", ())) for f in part.get("findings", ())]
    return {f["rule"] for f in findings}


def test_swaks_delivers_into_postfix(gatekeeper: Gatekeeper, postfix: Postfix) -> None:
    need("swaks")
    done = subprocess.run(
        [
            *("swaks", "--server", f"127.0.0.1:{gatekeeper.port}", "--from", "someone@good.test"),
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
    assert "queued as" in done.stdout
    delivered = postfix.wait_for_mail("alice", "by swaks").decode()
    assert "X-Spam-Status: No" in delivered
    assert "Authentication-Results: mx.example.org" in delivered


def test_forged_fields_are_gone_and_the_signature_still_verifies(
    gatekeeper: Gatekeeper, postfix: Postfix, signing_key: tuple[bytes, str]
) -> None:
    private, record = signing_key
    content = message("someone@good.test", "signed and forged")
    signed = sign(content, domain="good.test", selector="sel", private_key=private) + content
    forged = (
        b"X-Spam-Flag: NO\r\nX-Spam-Status: No, score=-99 required=5 tests=FORGED\r\n"
        b"Authentication-Results: mx.example.org; dkim=pass header.d=forged.test\r\n"
        b"Authentication-Results: elsewhere.example; spf=pass\r\n"
    ) + signed
    with Client(gatekeeper, GOOD) as client:
        code, text = client.deliver("someone@good.test", ["alice@example.org"], forged)
    assert code == 250, text
    delivered = postfix.wait_for_mail("alice", "signed and forged")
    assert b"FORGED" not in delivered
    assert b"forged.test" not in delivered
    assert delivered.count(b"Authentication-Results: mx.example.org") == 1
    assert b"Authentication-Results: elsewhere.example" in delivered
    assert b"dkim=pass" in delivered
    assert b"dmarc=pass" in delivered
    assert b"spf=pass" in delivered
    at = delivered.index(b"DKIM-Signature:")
    assert dkim.verify(delivered[at:].replace(b"\n", b"\r\n"), dnsfunc=lambda name, timeout=5: record.encode())


def test_postfix_shows_the_true_client(gatekeeper: Gatekeeper, postfix: Postfix) -> None:
    with Client(gatekeeper, GOOD, name="mail.good.test", helo="mail.good.test") as client:
        assert client.deliver("a@good.test", ["bob@example.org"], message("a@good.test", "true client"))[0] == 250
    delivered = postfix.wait_for_mail("bob", "true client").decode()
    assert "from mail.good.test (mail.good.test [192.0.2.10])" in delivered
    assert "with ESMTP" in delivered
    wait_until("Postfix's log", lambda: "mail.good.test[192.0.2.10]" in postfix.log())


def test_postfix_is_told_the_name_that_dns_confirms_and_no_other(gatekeeper: Gatekeeper, postfix: Postfix) -> None:
    for address, sender, seen in ((GOOD, "a@good.test", "mail.good.test"), (STRANGER, "b@good.invalid", "unknown")):
        with Client(gatekeeper, address, helo="mail.good.test") as client:
            code, text = client.deliver(sender, ["bob@example.org"], message(sender, f"named {seen}"))
            assert code == 250, text
        delivered = postfix.wait_for_mail("bob", f"named {seen}").decode()
        assert f"from mail.good.test ({seen} [{address}])" in delivered


def test_a_client_with_very_long_names_is_served(gatekeeper: Gatekeeper, postfix: Postfix) -> None:
    """Postfix takes one XCLIENT and no second: afterwards it is the client who would say it."""
    long = ".".join(["a" * 60] * 4)
    with Client(gatekeeper, GOOD, name=long, helo=long) as client:
        code, text = client.deliver("a@good.test", ["bob@example.org"], message("a@good.test", "long names"))
    assert code == 250, text
    assert postfix.wait_for_mail("bob", "long names").count(long.encode()) >= 2


@pytest.mark.parametrize(
    ("recipient", "words"),
    [
        (
            "nobody@example.org",
            "550 5.1.1 <nobody@example.org>: Recipient address rejected: User unknown in virtual mailbox table",
        ),
        ("gone@example.org", "550 5.1.6 <gone@example.org>: Recipient address rejected: Moved away in spring"),
        ("full@example.org", "452 4.2.2 <full@example.org>: Recipient address rejected: Mailbox full, come back later"),
        ("x@elsewhere.test", "554 5.7.1 <x@elsewhere.test>: Relay access denied"),
    ],
)
def test_a_recipient_that_postfix_refuses_is_refused_in_its_words(
    gatekeeper: Gatekeeper, recipient: str, words: str
) -> None:
    with Client(gatekeeper, GOOD) as client:
        client.mail("a@good.test")
        code, text = client.rcpt(recipient)
        assert f"{code} {text.decode()}" == words
        assert client.rcpt("alice@example.org")[0] == 250  # the others are not touched


def test_a_listed_client_is_tagged_and_one_listed_twice_is_refused(gatekeeper: Gatekeeper, postfix: Postfix) -> None:
    with Client(gatekeeper, EXPLOITED, helo="mail.good.test") as client:
        code, text = client.deliver("a@soft.invalid", ["alice@example.org"], message("a@soft.invalid", "exploited"))
        assert code == 250, text
    delivered = postfix.wait_for_mail("alice", "exploited").decode()
    assert "X-Spam-Flag: YES" in delivered
    assert "DNSBL_CODES_XPLOIT" in delivered
    with Client(gatekeeper, TWICE) as client:
        code, text = client.deliver("b@soft.test", ["alice@example.org"], message("b@soft.test", "twice"))
    assert code == 550
    assert "192.0.2.66" in text
    named = re.search(r"\(id (\S+)\)", text)
    assert named is not None
    found = records(gatekeeper, "--sender", "b@soft.test")
    assert [one["id"] for one in found] == [named[1]], found
    record = found[0]
    assert (record["action"], record["sender"]) == ("reject", "b@soft.test")
    assert {"DNSBL_BL", "DNSBL_CODES_SPAM"} <= rules(record)


def test_a_listed_ipv6_client_is_found(gatekeeper: Gatekeeper) -> None:
    with Client(gatekeeper, "2001:db8:bad::25") as client:
        assert client.deliver("six@good.invalid", ["alice@example.org"], message("six@good.invalid", "six"))[0] == 250
    [record] = records(gatekeeper, "--sender", "six@good.invalid")
    assert "DNSBL_BL6" in rules(record)
    assert record["action"] == "tag"


def test_a_list_that_refuses_us_lists_nobody(gatekeeper: Gatekeeper) -> None:
    with Client(gatekeeper, STRANGER) as client:
        code, text = client.deliver("refused@good.invalid", ["alice@example.org"], message("refused@good.invalid", "r"))
        assert code == 250, text
    [record] = records(gatekeeper, "--sender", "refused@good.invalid")
    assert [m["name"] for m in record["missing"]] == ["dnsbl:REFUSES"]
    assert not any("REFUSES" in rule for rule in rules(record))


def test_a_forged_from_is_refused_by_its_domains_policy(gatekeeper: Gatekeeper, postfix: Postfix) -> None:
    with Client(gatekeeper, GOOD) as client:
        code, text = client.deliver("a@good.test", ["alice@example.org"], message("boss@forged.test", "forged from"))
    assert code == 550
    assert text.startswith("5.7.1 ")
    assert not any(b"forged from" in p.read_bytes() for p in postfix.delivered("alice"))


def test_verify_and_expand_reveal_nothing(gatekeeper: Gatekeeper) -> None:
    with Client(gatekeeper, GOOD) as client:
        known, unknown = client.verify("alice@example.org"), client.verify("nobody@example.org")
        assert known == unknown
        assert known[0] == 252
        assert client.expn("staff")[0] == 502
        assert client.docmd("ETRN", "example.org")[0] == 502


def test_dsn_parameters_and_smtputf8_reach_postfix(gatekeeper: Gatekeeper, postfix: Postfix) -> None:
    with Client(gatekeeper, GOOD) as client:
        assert {"dsn", "smtputf8", "pipelining", "8bitmime", "size", "limits", "enhancedstatuscodes"} <= set(
            client.esmtp_features
        )
        code, text = client.docmd("MAIL", "FROM:<a@good.test> BODY=8BITMIME RET=HDRS ENVID=QQ314159")
        assert code == 250, text
        code, text = client.docmd(
            "RCPT", "TO:<alice@example.org> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Alice@Example.ORG"
        )
        assert code == 250, text
        assert client.data(message("a@good.test", "with dsn"))[0] == 250
    wait_until(
        "the envelope id in Postfix's bounce of success",
        lambda: "with dsn" in "".join(p.read_text(errors="replace") for p in postfix.delivered("alice")),
    )
    client = Client(gatekeeper, GOOD)
    client.octets("MAIL FROM:<jürgen@good.test> SMTPUTF8\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n".encode())
    assert [client.getreply()[0] for _ in range(3)] == [250, 250, 354]
    client.octets(message("jürgen@good.test", "from jürgen") + b".\r\n")
    assert client.getreply()[0] == 250
    client.close()
    assert "jürgen" in postfix.wait_for_mail("bob", "from jürgen").decode()


def test_the_null_sender_and_an_empty_message_pass(gatekeeper: Gatekeeper) -> None:
    client = Client(gatekeeper, GOOD)
    client.octets(b"MAIL FROM:<>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n")
    assert [client.getreply()[0] for _ in range(3)] == [250, 250, 354]
    client.octets(b".\r\nQUIT\r\n")
    assert client.getreply()[0] == 250
    assert client.getreply()[0] == 221
    client.close()


def test_fifty_megabytes_arrive_whole(gatekeeper: Gatekeeper, postfix: Postfix) -> None:
    lines = b"".join(b"%07d %s\r\n" % (n, b"x" * 68) for n in range(655_360))  # 50 MiB and a bit
    with Client(gatekeeper, GOOD) as client:
        code, text = client.deliver(
            "big@good.test", ["bob@example.org"], message("big@good.test", "fifty", body="") + lines
        )
        assert code == 250, text
    delivered = postfix.wait_for_mail("bob", "Subject: fifty")
    assert lines.replace(b"\r\n", b"\n") in delivered


def test_check_gives_the_score_of_the_live_path_and_explain_adds_up(gatekeeper: Gatekeeper, tmp_path: Path) -> None:
    content = message("same@soft.test", "same score")
    with Client(gatekeeper, EXPLOITED, helo="mail.good.test") as client:
        code, text = client.deliver("same@soft.test", ["alice@example.org"], content)
    [record] = records(gatekeeper, "--sender", "same@soft.test")
    file = tmp_path / "message.eml"
    file.write_bytes(content)
    done = gatekeeper.call(
        *("check", str(file), "--ip", EXPLOITED, "--helo", "mail.good.test", "--from", "same@soft.test"),
        *("--rcpt", "alice@example.org", "--json"),
    )
    checked = json.loads(done.stdout)
    score = record["decision"]["millis"] / 1000
    assert score >= 5.0
    assert checked["score"] == score
    assert checked["action"] == record["action"]
    assert {f["rule"] for f in checked["findings"]} == rules(record)
    assert done.returncode == (1 if code >= 400 else 0), text
    explained = gatekeeper.call("explain", record["id"], "--json")
    told = json.loads(explained.stdout)
    [section] = told["explanation"]
    assert sum(round(row["score"] * 1000) for row in section["rows"]) == record["decision"]["millis"]
    assert section["score"] == score


def test_the_records_are_found_by_queue_id_address_and_recipient(gatekeeper: Gatekeeper) -> None:
    with Client(gatekeeper, GOOD) as client:
        _code, text = client.deliver(
            "find@good.test", ["alice@example.org", "bob@example.org"], message("find@good.test", "f")
        )
    queue_id = text.rpartition(" ")[2]
    [record] = records(gatekeeper, "--queue-id", queue_id)
    assert record["queue_id"] == queue_id
    for filters in (
        ("--recipient", "bob@example.org"),
        ("--address", f"{GOOD}/32"),
        ("--id", record["id"]),
        ("--since", "1h"),
    ):
        assert any(r["id"] == record["id"] for r in records(gatekeeper, *filters))


def test_prometheus_accepts_the_metrics(gatekeeper: Gatekeeper) -> None:
    need("promtool")
    text = gatekeeper.get("/metrics")
    done = subprocess.run(
        [program("promtool") or "promtool", "check", "metrics"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'gatekeeper_messages_total{action="accept"}' in text
    assert gatekeeper.get("/healthz").strip()
    assert gatekeeper.get("/readyz").strip()


def test_a_misspelt_key_is_named_with_its_line_and_the_right_spelling(tmp_path: Path) -> None:
    file = tmp_path / "gatekeeper.toml"
    file.write_text('hostname = "mx.example.org"\n[policy]\ntag = 5.0\nrejct = 10.0\n')
    done = subprocess.run(
        [sys.executable, "-m", "gatekeeper", "config", "check", str(file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    told = done.stdout + done.stderr
    assert f"{file}:4" in told
    assert "rejct" in told
    assert "reject" in told.replace("rejct", "")
