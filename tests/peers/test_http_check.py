"""rspamd's own client, and Exim's form of the same, ask gatekeeper about messages."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import urllib.request
from pathlib import Path

from tests.peers.conftest import need
from tests.peers.instances import PATH, Gatekeeper, program
from tests.peers.test_front import EXPLOITED, GOOD, TWICE, message, records

ENVELOPE = ("--helo", "mail.good.test", "--hostname", "mail.good.test", "-r", "alice@example.org")


def rspamc(gatekeeper: Gatekeeper, content: bytes, *arguments: str) -> str:
    need("rspamc")
    done = subprocess.run(
        [program("rspamc") or "rspamc", "-h", f"127.0.0.1:{gatekeeper.http}", *arguments],
        input=content,
        capture_output=True,
        timeout=60,
        check=False,
        env={"PATH": PATH},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.decode()


def test_rspamc_prints_our_verdict_on_a_clean_message(gatekeeper: Gatekeeper) -> None:
    content = message("clean@good.test", "clean")
    said = rspamc(gatekeeper, content, "-i", GOOD, "-F", "clean@good.test", *ENVELOPE)
    assert "Action: no action" in said
    assert "Spam: false" in said
    assert re.search(r"^Score: -?[\d.]+ / 10\.00$", said, re.MULTILINE)
    assert re.search(r"^Symbol: SPF_PASS \(", said, re.MULTILINE)
    [record] = records(gatekeeper, "--sender", "clean@good.test")
    assert (record["server"], record["action"], record["client"]["address"]) == ("http", "accept", GOOD)


def test_rspamc_prints_our_verdict_on_a_listed_client(gatekeeper: Gatekeeper) -> None:
    content = message("exploited@soft.invalid", "exploited")
    said = rspamc(gatekeeper, content, "-i", EXPLOITED, "-F", "exploited@soft.invalid", *ENVELOPE)
    assert "Action: add header" in said
    assert "Symbol: DNSBL_CODES_XPLOIT (5.50)" in said
    said = rspamc(
        gatekeeper, message("twice-http@soft.test", "twice"), "-i", TWICE, "-F", "twice-http@soft.test", *ENVELOPE
    )
    assert "Action: reject" in said
    assert re.search(r"smtp_message: 5\.7\.1 .*\(id \w+\)", said)


def test_our_own_form_says_the_same_and_more(gatekeeper: Gatekeeper) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{gatekeeper.http}/v1/check?ip={EXPLOITED}&from=own@soft.invalid&rcpt=alice@example.org",
        data=message("own@soft.invalid", "own form"),
        headers={"Content-Type": "message/rfc822"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        told = json.load(answer)
    assert {"id", "action", "score", "findings", "missing", "not_run"} <= set(told)
    assert told["action"] == "tag"
    [record] = records(gatekeeper, "--sender", "own@soft.invalid")
    assert record["id"] == told["id"]
    checked = gatekeeper.call(
        *("check", "-", "--json", "--ip", EXPLOITED, "--from", "own@soft.invalid", "--rcpt", "alice@example.org"),
        stdin=message("own@soft.invalid", "own form"),
    )
    assert json.loads(checked.stdout)["score"] == told["score"]


def test_exims_form_is_answered_as_exim_reads_it(gatekeeper: Gatekeeper) -> None:
    content = message("exim@soft.invalid", "by Exim")
    with socket.create_connection(("127.0.0.1", gatekeeper.http), timeout=60) as exim:
        exim.sendall(
            b"CHECK RSPAMC/1.3\r\nContent-length: %d\r\nQueue-Id: 1abcde-000001-AB\r\nFrom: <exim@soft.invalid>\r\n"
            b"Recipient-Number: 1\r\nRcpt: <alice@example.org>\r\nHelo: mail.good.test\r\nIP: %s\r\n\r\n%s"
            % (len(content), EXPLOITED.encode(), content)
        )
        answer = b""
        while more := exim.recv(65536):
            answer += more
    assert re.match(
        rb"RSPAMD/1\.3 0 EX_OK\r\nMetric: default; True; [\d.]+ / 5\.00 / 10\.00\r\nAction: add header\r\n", answer
    )
    [record] = records(gatekeeper, "--queue-id", "1abcde-000001-AB")
    assert record["sender"] == "exim@soft.invalid"


def test_http_alone_needs_no_other_server(nameserver: int, workplace: Path) -> None:
    """As docs/modes/http.md and config/exim/gatekeeper.conf have it: one section, and no workers."""
    directory = workplace / "http-alone"
    directory.mkdir()
    alone = Gatekeeper(directory, next_hop="smtp://127.0.0.1:9", nameserver=nameserver)
    before, _, after = alone.config.read_text().partition("[servers.smtp]")
    alone.config.write_text(before + after[after.index("[servers.http]") :])
    alone.start()
    try:
        assert json.loads(alone.get("/readyz"))["ready"] is True
        assert 'gatekeeper_ready{part="store"} 1.0' in alone.get("/metrics")
        request = urllib.request.Request(
            f"http://127.0.0.1:{alone.http}/v1/check?ip={GOOD}&from=clean@good.test",
            data=message("clean@good.test", "x"),
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert json.load(answer)["action"] == "accept"
    finally:
        assert alone.stop() == 0
    assert "workers=0" in alone.log()
