"""An independent reader of DMARC reports, parsedmarc, reads ours; and one goes its whole way through Postfix.

It brings forty packages along, so it lives in a virtual environment of its own inside ours, made at the first run with
pip; where that cannot be done these tests skip, in CI too.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import smtplib
import subprocess
import sys
import time
import venv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gatekeeper.complaints.dmarc import DAY, POLICIES, ROWS, Published, Row, Signature, before, day_of
from gatekeeper.complaints.dmarc_report import Report, Reporter, message, xml
from gatekeeper.mailauth.dkim_signature import DkimCode
from gatekeeper.mailauth.dmarc import Override
from gatekeeper.mailauth.dmarc_record import record_of
from gatekeeper.mailauth.spf import SpfCode
from gatekeeper.store.opening import Settings, open_store
from tests.peers.conftest import need
from tests.peers.instances import Gatekeeper, Postfix, start_unbound

READER = "parsedmarc==11.1.0"
WHERE = Path(sys.prefix) / "parsedmarc"
# Whatever it warns of goes to standard error.
READ = """
import json, logging, sys, parsedmarc
logging.basicConfig(level=logging.WARNING)
parsed = [parsedmarc.parse_report_file(name, offline=True, always_use_local_files=True) for name in sys.argv[1:]]
print(json.dumps(parsed, default=str))
"""
REPORTER = Reporter(
    "mx.example.org", "dmarc@mx.example.org", "Ex & Co <Ltd>", "https://example.org/?a&b", "gatekeeper 1"
)
RECORD = record_of([b"v=DMARC1; p=reject; sp=quarantine; np=none; t=y; aspf=s; fo=1:d; rua=mailto:a@example.com"])
assert RECORD is not None
ROW = Row("192.0.2.1", "pass", True, True, "example.com", "example.com", (), "example.com", "pass")
REPORT = Report("202611270123456789abcdef", "2026-11-27", "example.com", Published.by(RECORD), ((ROW, 3),), "secret")


@pytest.fixture(scope="module")
def python() -> Path:
    found = WHERE / "bin" / "python"
    if not (WHERE / "ready").exists():
        venv.create(WHERE, with_pip=True, clear=True)
        install = [str(found), "-m", "pip", "install", "-q", READER]
        ran = subprocess.run(install, capture_output=True, text=True, check=False, timeout=600)
        if ran.returncode:
            pytest.skip(f"{READER} cannot be installed: {ran.stderr.strip()[-300:]}")
        (WHERE / "ready").touch()
    return found


def parsed(python: Path, *names: str) -> list[dict[str, Any]]:
    """What the reader makes of files; nothing may be said about any."""
    ran = subprocess.run([str(python), "-c", READ, *names], capture_output=True, text=True, check=False, timeout=100)
    assert (ran.returncode, ran.stderr) == (0, "")
    found = json.loads(ran.stdout)
    assert {one["report_type"] for one in found} == {"aggregate"}
    return [one["report"] for one in found]


def read(python: Path, directory: Path, *reports: Report) -> list[dict[str, Any]]:
    """What the reader makes of each, as mail and as XML alone."""
    names = []
    for number, report in enumerate(reports):
        document = xml(report, REPORTER)
        mail = message(report, REPORTER, document, to="a@example.com", number=0, now=1_795_830_000.0)
        for suffix, octets in (("xml", document), ("eml", mail)):
            path = directory / f"{number}.{suffix}"
            path.write_bytes(octets)
            names.append(str(path))
    found = parsed(python, *names)
    assert found[0::2] == found[1::2]  # the mail and the bare document say the same
    return found[0::2]


def test_what_is_written_is_what_is_read(python: Path, tmp_path: Path) -> None:
    (report,) = read(python, tmp_path, REPORT)
    assert report["xml_namespace"] == "urn:ietf:params:xml:ns:dmarc-2.0"
    told = report["report_metadata"]
    assert (told["org_name"], told["org_email"]) == (REPORTER.organization, REPORTER.email)
    assert (told["report_id"], told["begin_date"], told["end_date"]) == (
        REPORT.id, "2026-11-27 00:00:00", "2026-11-27 23:59:59",
    )  # fmt: skip
    assert told["errors"] == []
    published = {
        name: report["policy_published"][name] for name in ("domain", "p", "sp", "np", "aspf", "testing", "fo")
    }
    assert published == {
        "domain": "example.com", "p": "reject", "sp": "quarantine", "np": "none", "aspf": "s", "testing": "y",
        "fo": "1:d",
    }  # fmt: skip
    (row,) = report["records"]
    assert (row["source"]["ip_address"], row["count"]) == ("192.0.2.1", 3)
    assert row["policy_evaluated"]["disposition"] == "pass"
    assert row["alignment"] == {"spf": True, "dkim": True, "dmarc": True}


def test_every_value_that_a_row_may_have(python: Path, tmp_path: Path) -> None:
    rows = [replace(ROW, spf_result=code.value) for code in SpfCode]
    rows += [replace(ROW, signatures=(Signature("example.com", "s", code.value),)) for code in DkimCode]
    rows += [replace(ROW, disposition=done) for done in ("none", "quarantine", "reject")]
    rows += [replace(ROW, disposition="none", reasons=((why.value, "x & y"),)) for why in Override]
    rows += [replace(ROW, address="2001:db8::1", sender=""), replace(ROW, sender=None, spf_result="", spf_domain="")]
    rows += [replace(ROW, author='a<b>&"c', sender="\x00\x1b]\ud800", spf_domain="]]>")]
    (report,) = read(python, tmp_path, replace(REPORT, rows=tuple((row, 1) for row in rows)))
    assert len(report["records"]) == len(rows)
    assert {row["policy_evaluated"]["disposition"] for row in report["records"]} == {
        "pass", "none", "quarantine", "reject",
    }  # fmt: skip


def test_a_big_report_and_one_with_errors(python: Path, tmp_path: Path) -> None:
    many = tuple((replace(ROW, address=f"10.{n >> 8}.{n & 255}.1"), n + 1) for n in range(3000))
    wrong = replace(REPORT, published=replace(REPORT.published, wrong=("sp",)))
    big, odd = read(python, tmp_path, replace(REPORT, rows=many), wrong)
    assert sum(row["count"] for row in big["records"]) == 3000 * 3001 // 2
    assert odd["report_metadata"]["errors"] == ["the record has a value that cannot be read: sp="]


RECORDS = [
    "sender.test. IN A 192.0.2.10",
    'sender.test. IN TXT "v=spf1 ip4:192.0.2.10 -all"',
    '_dmarc.sender.test. IN TXT "v=DMARC1; p=quarantine; rua=mailto:alice@example.org"',
    'sender.test._report._dmarc.example.org. IN TXT "v=DMARC1"',
]
MAIL = """\
Date: {date}
From: joe@sender.test
To: bob@example.org
Subject: x
Message-ID: <{n}@sender.test>

x
"""


def test_from_mail_that_comes_in_to_the_report_in_a_mailbox(python: Path, workplace: Path, postfix: Postfix) -> None:
    need("postfix", "unbound")
    directory = workplace / "dmarc"
    directory.mkdir()
    resolver, nameserver = start_unbound(directory, RECORDS, {})
    reports = '[complaints.dmarc]\nemail = "dmarc@example.net"\npause = "0s"\n[policy]\nreject = 20.0'
    instance = Gatekeeper(directory, next_hop=f"smtp://127.0.0.1:{postfix.port}", nameserver=nameserver, extra=reports)
    try:
        instance.start()
        for n, address in enumerate(("192.0.2.10", "192.0.2.10", "192.0.2.66")):
            send(instance.port, address, MAIL.format(date=email.utils.formatdate(), n=n))
        instance.stop()  # what was counted goes to the store
        asyncio.run(a_day_later(directory))
        shown = instance.call("report", "dmarc", "--dry-run")
        assert shown.returncode == 0, shown.stderr
        sent = instance.call("report", "dmarc")
        assert (sent.returncode, sent.stderr.decode()) == (0, "1 sent\n"), sent.stdout
        assert instance.call("report", "dmarc").stderr == b"nothing is due\n"
    finally:
        instance.stop()
        resolver.stop()
    report_id = shown.stdout.partition(b"<report_id>")[2].partition(b"<")[0].decode()
    mail = postfix.wait_for_mail("alice", "Report Domain: sender.test")
    assert report_id  # a dry run makes one up: nothing is remembered
    path = directory / "report.eml"
    path.write_bytes(mail)
    (report,) = parsed(python, str(path))
    assert (report["policy_published"]["domain"], report["policy_published"]["p"]) == ("sender.test", "quarantine")
    rows = {row["source"]["ip_address"]: row for row in report["records"]}
    assert {address: row["count"] for address, row in rows.items()} == {"192.0.2.10": 2, "192.0.2.66": 1}
    done = {address: row["policy_evaluated"]["disposition"] for address, row in rows.items()}
    assert done == {"192.0.2.10": "pass", "192.0.2.66": "quarantine"}


def send(port: int, address: str, text: str) -> None:
    """As a client at that address would."""
    with smtplib.SMTP("127.0.0.1", port, local_hostname="mail.sender.test") as client:
        client.ehlo()
        assert client.docmd("XCLIENT", f"ADDR={address} NAME=[UNAVAILABLE]")[0] == 220
        client.ehlo()
        client.sendmail("joe@sender.test", ["bob@example.org"], text)


async def a_day_later(directory: Path) -> None:
    """What was counted today as if it had been yesterday."""
    store, now = open_store(Settings(f"sqlite:{directory}/state.db")), time.time()
    today, yesterday = day_of(now), before(day_of(now - 300))
    if today != yesterday:
        for note in await store.notes(POLICIES, now=now):
            await store.put_notes([replace(note, key=note.key.replace(today, yesterday, 1), until=now + DAY)])
            await store.drop_notes(POLICIES, [note.key])
        for row in await store.tallies(ROWS, now=now):
            await store.tally([replace(row, key=row.key.replace(today, yesterday, 1), until=now + DAY)])
    await store.close()
