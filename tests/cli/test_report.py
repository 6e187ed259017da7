"""`gatekeeper report dmarc`, against a store on disk, a nameserver and a relay."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from gatekeeper.complaints.dmarc import DAY, POLICIES, ROWS, before, day_of
from gatekeeper.mailauth.dkim import verify
from gatekeeper.mailauth.dmarc import DmarcCode, evaluate
from gatekeeper.mailauth.spf import SpfCode, SpfIdentity, SpfResult
from gatekeeper.store.base import Note, Tally
from gatekeeper.store.opening import Settings, open_store
from tests.complaints.test_dmarc_report import ROW
from tests.complaints.test_dmarc_sending import POLICY
from tests.support.command_line import configuration
from tests.support.command_line import gatekeeper as call
from tests.support.dkim_signer import record as key_record
from tests.support.dmarc_report import attached, validated
from tests.support.dns_server import DnsServer
from tests.support.fake_resolver import FakeResolver
from tests.support.mail import message_of
from tests.support.next_hop import FakeNextHop


@dataclass
class Site:
    file: str
    hop: FakeNextHop
    day: str


def _file(directory: Path, text: str, nameserver: str) -> str:
    path = Path(configuration(directory, text))
    path.write_text(path.read_text().split("[dns]")[0] + f'[dns]\nnameservers = ["{nameserver}"]\n')
    return str(path)


@asynccontextmanager
async def site(directory: Path, *, relay: bool = True, more: str = "") -> AsyncIterator[Site]:
    """A configuration with the evidence of yesterday in its store."""
    async with FakeNextHop() as hop, DnsServer() as dns:
        reports = f'[complaints.dmarc]\nemail = "dmarc@example.org"\npause = "0s"\nrelay = "{hop.url if relay else ""}"'
        file = _file(directory, reports + more, dns.address)
        store = open_store(Settings(f"sqlite:{directory / 'state.db'}"))
        now = time.time()
        day = before(day_of(now - 300))
        await store.put_notes([Note(POLICIES, f"{day} example.com", POLICY.text(), now + 3 * DAY)])
        await store.tally([Tally(ROWS, f"{day} example.com {ROW.text()}", 5, now + 3 * DAY)])
        await store.close()
        yield Site(file, hop, day)


async def test_reports_are_shown_and_sent_and_never_twice(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        shown = await asyncio.to_thread(call, "report", "dmarc", "-c", here.file, "--dry-run")
        assert shown.status == 0
        assert f"# {here.day} example.com to a@example.com: shown, 1 rows" in shown.out
        assert "<count>5</count>" in shown.out
        assert here.hop.messages == []
        sent = await asyncio.to_thread(call, "report", "dmarc", "-c", here.file)
        assert (sent.status, sent.err) == (0, "2 sent\n")
        again = await asyncio.to_thread(call, "report", "dmarc", "-c", here.file, "--day", here.day)
        assert (again.status, again.out, again.err) == (0, "", "nothing is due\n")
        assert [message.recipients for message in here.hop.messages] == [["a@example.com"], ["b@example.com"]]
        validated(attached(here.hop.messages[0].data))


async def test_a_report_is_signed_with_our_key_and_passes_dmarc(tmp_path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    path = tmp_path / "key.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    path.chmod(0o600)
    keys = f'\n[[mailauth.signing.keys]]\ndomain = "example.org"\nselector = "s"\nfile = "{path}"\n'
    async with site(tmp_path, more=keys) as here:
        ended = await asyncio.to_thread(call, "report", "dmarc", "-c", here.file)
        assert ended.status == 0, ended.err
        for delivered in here.hop.messages:
            resolver = FakeResolver(
                {
                    ("s._domainkey.example.org", "TXT"): [key_record(key)],
                    ("_dmarc.example.org", "TXT"): [b"v=DMARC1; p=reject; adkim=s"],
                }
            )
            signatures = await verify(message_of(delivered.data), resolver, now=time.time())
            unknown = SpfResult(SpfCode.NONE, "", SpfIdentity.MAILFROM)
            result = await evaluate(resolver, "example.org", spf=unknown, dkim=signatures)
            assert result.code is DmarcCode.PASS, signatures


async def test_what_could_not_be_sent_now_is_status_1(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        here.hop.recipients["a@example.com"] = "451 4.3.0 later"
        ended = await asyncio.to_thread(call, "report", "dmarc", "-c", here.file, "--domain", "EXAMPLE.com")
        assert ended.status == 1
        assert ended.err.endswith("1 deferred, 1 sent\n")
        assert "outcome=deferred" in ended.err


async def test_another_domain_has_nothing_due(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        ended = await asyncio.to_thread(call, "report", "dmarc", "-c", here.file, "--domain", "example.net")
        assert (ended.status, ended.err) == (0, "nothing is due\n")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(["--day", "yesterday"], "2026-11-02"), (["--day", "2099-01-01"], "not over"), (["--domain", "a b"], "domain")],
)
async def test_a_question_that_makes_no_sense_is_status_2(tmp_path: Path, arguments: list[str], word: str) -> None:
    async with site(tmp_path) as here:
        ended = await asyncio.to_thread(call, "report", "dmarc", "-c", here.file, *arguments)
        assert ended.status == 2
        assert word in ended.err


async def test_without_a_relay_the_mend_is_said(tmp_path: Path) -> None:
    async with site(tmp_path, relay=False) as here:
        ended = await asyncio.to_thread(call, "report", "dmarc", "-c", here.file)
        assert (ended.status, ended.out) == (2, "")
        assert "relay" in ended.err


def test_reports_that_were_not_asked_for_are_not_made(tmp_path: Path) -> None:
    ended = call("report", "dmarc", "-c", configuration(tmp_path))
    assert ended.status == 2
    assert "[complaints.dmarc] an email" in ended.err


def test_a_store_that_was_never_opened_is_not_made_by_looking(tmp_path: Path) -> None:
    reports = '[complaints.dmarc]\nemail = "dmarc@example.org"\nrelay = "smtp://127.0.0.1:9"'
    ended = call("report", "dmarc", "-c", configuration(tmp_path, reports))
    assert ended.status == 2
    assert "is not there" in ended.err
    assert not (tmp_path / "state.db").exists()
