import base64
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from gatekeeper.checks.attachments import FEW, Attachments, FileEvidence, LeftOutEvidence
from gatekeeper.checks.base import Tools
from gatekeeper.message.attachments import MOST
from gatekeeper.model import Envelope, Finding, Mail, Missing, Session
from gatekeeper.scanning.unpacker import Unpacker
from gatekeeper.store.memory import MemoryStore
from tests.support.archives import PROGRAM, encrypted, iso, nested, ole, rar5, zipped
from tests.support.fake_resolver import FakeResolver
from tests.support.mail import message_of

TOOLS = Tools(FakeResolver({}), MemoryStore(), lambda: 0.0, "mx.example.org", frozenset())


def mail_with(files: Mapping[str, bytes]) -> Mail:
    parts = [
        f'--b\nContent-Type: application/octet-stream; name="{name}"\nContent-Transfer-Encoding: base64\n'
        f"Content-Disposition: attachment\n\n{base64.encodebytes(octets).decode()}"
        for name, octets in files.items()
    ]
    mail = Mail(Session("s", "smtp", 0.0), Envelope("e"))
    mail.message = message_of("Content-Type: multipart/mixed; boundary=b\n\n" + "\n".join(parts) + "--b--\n")
    return mail


@asynccontextmanager
async def checked(check: Attachments | None = None) -> AsyncIterator[Attachments]:
    made = check or Attachments()
    try:
        yield made
    finally:
        await made.close()


async def found(files: Mapping[str, bytes], check: Attachments | None = None) -> dict[str, Finding]:
    async with checked(check) as made:
        findings = await made.inspect(mail_with(files), TOOLS)
    assert not [each for each in findings if isinstance(each, Missing)]
    return {each.rule: each for each in findings if isinstance(each, Finding)}


@pytest.mark.parametrize(
    ("name", "octets", "rules"),
    [
        ("a.exe", PROGRAM, {"ATTACHMENT_PROGRAM", "ATTACHMENT_FORBIDDEN"}),
        ("a.pdf", PROGRAM, {"ATTACHMENT_PROGRAM", "ATTACHMENT_DISGUISED"}),
        ("a.pdf.js", b"x", {"ATTACHMENT_FORBIDDEN", "ATTACHMENT_DISGUISED"}),
        ("a.png", b"%PDF-1.7", {"ATTACHMENT_MISMATCH"}),
        ("a.zip", zipped({"a.exe": PROGRAM}), {"ARCHIVE_PROGRAM", "ARCHIVE_FORBIDDEN"}),
        ("a.zip", nested(b"x", 2), {"ARCHIVE_NESTED"}),
        ("a.zip", nested(b"x", 9), {"ARCHIVE_NESTED", "ARCHIVE_BOMB"}),
        ("a.zip", zipped({"a.txt": "x"})[:-30], {"ARCHIVE_BROKEN"}),
        ("a.zip", encrypted(zipped({"a.txt": "x"})), {"ARCHIVE_ENCRYPTED"}),
        ("a.rar", rar5(["a.txt"], hidden=True), {"ARCHIVE_ENCRYPTED"}),
        ("a.iso", iso({"a.exe": PROGRAM}), {"ATTACHMENT_DISK_IMAGE", "ARCHIVE_PROGRAM", "ARCHIVE_FORBIDDEN"}),
        ("a.vhd", b"unknown", {"ATTACHMENT_DISK_IMAGE"}),
        ("a.lnk", b"L\0\0\0\x01\x14\x02\0", {"ATTACHMENT_SHORTCUT", "ATTACHMENT_FORBIDDEN"}),
        ("a.hta", b"<html><hta:application>", {"ATTACHMENT_SCRIPT", "ATTACHMENT_FORBIDDEN"}),
        ("a.html", b"<html><script>x", {"ATTACHMENT_PAGE_SCRIPT"}),
        (
            "a.html",
            b"<html><script>document.write(atob(x))</script><input type=password>",
            {"ATTACHMENT_PAGE_SCRIPT", "ATTACHMENT_PAGE_SMUGGLES", "ATTACHMENT_ASKS_PASSWORD"},
        ),
        ("a.svg", b"<svg><script>x", {"ATTACHMENT_SVG_SCRIPT"}),
        ("a.one", bytes.fromhex("e4525c7b8cd8a74daeb15378d02996d3"), {"ATTACHMENT_ONENOTE"}),
        ("a.doc", ole({"_VBA_PROJECT": b"x"}), {"ATTACHMENT_MACRO"}),
        ("a.doc", ole({"_VBA_PROJECT": b"AutoOpen"}), {"ATTACHMENT_MACRO_RUNS"}),
        ("a.xls", ole({"EncryptedPackage": b"x"}), {"DOCUMENT_ENCRYPTED"}),
        ("a.doc", ole({"Equation Native": b"x"}), {"ATTACHMENT_EXPLOIT"}),
        ("a.xlsm", zipped({"[Content_Types].xml": "", "xl/macrosheets/a.xml": ""}), {"ATTACHMENT_XLM"}),
        ("a.rtf", b"{\\rtf1\\objdata 01", {"ATTACHMENT_OBJECT"}),
        ("a.docx", zipped({"[Content_Types].xml": "", "word/document.xml": "<x/>"}), set()),
        ("a.txt", b"#!/bin/sh\n", set()),
        ("a.jpg", b"\xff\xd8\xff\xe0", set()),
    ],
)
async def test_what_a_file_is_and_has_inside_is_found(name, octets, rules):
    assert set(await found({name: octets})) == rules


async def test_a_zip_with_something_before_it_is_looked_into_whatever_its_size():
    for behind in (0, 500_000):
        octets = b"X" + zipped({"invoice.pdf.exe": PROGRAM, "b": random.Random(7).randbytes(behind)})
        assert {"ARCHIVE_PROGRAM"} <= set(await found({"a.zip": octets}))
        mail = mail_with({})
        head = 'Content-Type: application/octet-stream; name="a.zip"\nContent-Transfer-Encoding: base64\n\n'
        mail.message = message_of(head + base64.encodebytes(octets).decode())
        async with checked() as check:
            findings = await check.inspect(mail, TOOLS)
        assert "ARCHIVE_PROGRAM" in {each.rule for each in findings if isinstance(each, Finding)}


async def test_evidence_names_the_files_escaped_and_cut():
    findings = await found({f"{'x' * 300}\u202e{n}.exe": PROGRAM for n in range(10)})
    evidence = findings["ATTACHMENT_PROGRAM"].evidence
    assert isinstance(evidence, FileEvidence)
    assert (evidence.count, len(evidence.names), set(evidence.types)) == (1, 1, {"pe"})  # they look the same, cut
    assert all(name.isascii() and len(name) < 200 for name in evidence.names)
    assert "right_to_left_override" in findings["ATTACHMENT_DISGUISED"].evidence.odd


async def test_scripts_in_a_project_are_its_own():
    files: dict[str, bytes | str] = {f"src/{n}.js": "x" for n in range(FEW + 1)}
    assert await found({"a.zip": zipped(files)}) == {}
    assert set(await found({"a.zip": zipped(files | {"a.lnk": b"x"})})) == {"ARCHIVE_FORBIDDEN"}


async def test_what_is_forbidden_is_a_setting():
    assert await found({"a.js": b"x"}, Attachments(allowed=("JS",))) == {}
    assert set(await found({"a.dwg": b"x"}, Attachments(forbidden=("dwg",)))) == {"ATTACHMENT_FORBIDDEN"}


async def test_what_was_not_looked_at_is_said():
    findings = await found({f"{n}.txt": b"x" for n in range(MOST + 1)})
    assert findings["ATTACHMENTS_LEFT_OUT"].evidence == LeftOutEvidence(MOST, 0, ("files",))
    small = Attachments(max_size=100, memory=1000)
    findings = await found({"a.zip": zipped({"a.exe": PROGRAM * 9})}, small)
    assert findings["ATTACHMENTS_LEFT_OUT"].evidence == LeftOutEvidence(1, 0, ("size",))


async def test_without_looking_inside_the_outside_counts():
    assert set(await found({"a.zip": zipped({"a.exe": PROGRAM})}, Attachments(look_inside=False))) == set()


async def test_a_process_that_is_away_is_missing_and_the_rest_counts():
    check = Attachments()
    check.__dict__["_unpacker"] = Unpacker(seconds=1.0, memory=1, command=["/nonexistent"])
    findings = await check.inspect(mail_with({"a.zip": zipped({"a": "x"}), "b.exe": PROGRAM}), TOOLS)
    assert [each.rule for each in findings if isinstance(each, Finding)] == [
        "ATTACHMENT_PROGRAM",
        "ATTACHMENT_FORBIDDEN",
    ]
    [missing] = [each for each in findings if isinstance(each, Missing)]
    assert missing.name == "attachments:inside"
    assert "ARCHIVE_BOMB" in missing.rules


async def test_mail_without_files_finds_nothing_and_starts_nothing():
    check = Attachments()
    mail = Mail(Session("s", "smtp", 0.0), Envelope("e"))
    assert await check.inspect(mail, TOOLS) == ()
    mail.message = message_of("Subject: x\n\nhello\n")
    assert await check.inspect(mail, TOOLS) == ()
    assert check._unpacker.pid is None


@pytest.mark.parametrize("settings", [{"forbidden": (".exe",)}, {"seconds": 0.0}, {"memory": 1}, {"allowed": ("",)}])
def test_settings_that_cannot_be_are_refused(settings):
    with pytest.raises(ValueError):
        Attachments(**settings)


def test_only_programs_come_near_to_a_refusal_by_themselves():
    assert [rule.name for rule in Attachments().rules() if rule.score >= 5.0] == ["ATTACHMENT_PROGRAM"]
