"""Whose mail is signed, what is sealed, and what never is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ed25519, rsa

from gatekeeper.mailauth.arc import ArcCode, ArcResult
from gatekeeper.mailauth.dkim_sign import SigningKey
from gatekeeper.mailauth.signing import KeyFile, Settings, Signer, SigningUnusable, changes, load_key
from gatekeeper.message.edit import Change, Edit, Insert, Remove, apply
from gatekeeper.model import BytesBody, Envelope, Finding, Mail, Message, Session
from tests.support.arc_sealer import sealed
from tests.support.dkim_signer import record, signed
from tests.support.mail import message_of

NOW = 1_700_000_000.0
RSA = rsa.generate_private_key(65537, 2048)
ED = ed25519.Ed25519PrivateKey.generate()
KEYS = (SigningKey("example.org", "r", RSA), SigningKey("example.org", "e", ED), SigningKey("example.net", "r", RSA))
OURS = b"From: ann@example.org\r\nTo: joe@example.com\r\nSubject: dinner\r\n\r\nHi.\r\n"
THEIRS = OURS.replace(b"ann@example.org", b"joe@example.com")
SUBJECT: list[Edit] = [Change("Subject", 1, "[SPAM] dinner")]
TRACE: list[Edit] = [
    Remove("x-spam-flag", 1),
    Insert(0, "X-Spam-Score", "0.0"),
    Insert(0, "Authentication-Results", "mx.example.org; none"),
]
KEY_FILE = KeyFile("example.org", "r", "unused")


def signer(**settings: Any) -> Signer:
    return Signer(Settings(keys=(KEY_FILE,), **settings), KEYS)


def mail(raw: bytes, *, login: str | None = None, address: str = "192.0.2.1", arc: ArcCode | None = None) -> Mail:
    session = Session("s", "smtp", 0.0, address=ip_address(address), login=login)
    made = Mail(session, Envelope("e"), message_of(raw))
    if arc is not None:
        made.envelope.notebook.findings.append(Finding("ARC", ArcResult(arc, 1)))
    return made


async def added(one: Signer, given: Mail, edits: list[Edit]) -> list[Edit]:
    await one.prepare(given)
    return one.added(given, edits, results="mx.example.org; dmarc=pass header.from=example.com", now=NOW)


def result(given: Mail, edits: list[Edit]) -> bytes:
    assert given.message is not None
    return apply(given.message, edits) + b"\r\n" + b"".join(given.message.body.chunks())


def dns(name: bytes, timeout: float = 5) -> bytes:
    return record(ED if name.startswith(b"e.") else RSA)


async def test_mail_of_who_has_logged_in_is_signed_with_every_key_of_the_domain() -> None:
    given = mail(OURS, login="ann")
    made = await added(signer(), given, [])
    assert [edit.name for edit in made] == ["DKIM-Signature"] * 2
    raw = result(given, made)
    first, second = (field.partition(b" t=")[0] for field in raw.split(b"DKIM-Signature: ")[1:])
    assert first == b"v=1; a=rsa-sha256; c=relaxed/relaxed;\r\n d=example.org; s=r;"
    assert second == b"v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n d=example.org; s=e;"
    assert dkim.verify(raw, dnsfunc=dns)


async def test_what_is_signed_is_the_message_as_it_goes_out() -> None:
    given = mail(b"X-Spam-Flag: NO\r\n" + OURS, login="ann")
    edits = [*TRACE, *SUBJECT]
    raw = result(given, edits + await added(signer(), given, edits))
    assert b"Subject: [SPAM] dinner" in raw
    assert dkim.verify(raw, dnsfunc=dns)


@pytest.mark.parametrize(
    ("raw", "options", "settings", "count"),
    [
        (OURS, {}, {}, 0),  # anybody may write our domain into From
        (OURS, {"login": "ann"}, {"logins": False}, 0),
        (OURS, {"address": "10.0.0.7"}, {"networks": ("10.0.0.0/8",)}, 2),
        (OURS, {"address": "2001:db8::7"}, {"networks": ("10.0.0.0/8", "2001:db8::/32")}, 2),
        (OURS, {"address": "10.0.0.7"}, {"networks": ("10.0.0.0/24",), "logins": False}, 2),
        (THEIRS, {"login": "ann"}, {}, 0),  # nobody signs for a stranger's domain
        (OURS.replace(b"example.org", b"sub.example.org"), {"login": "ann"}, {}, 2),
        (OURS.replace(b"example.org", b"notexample.org"), {"login": "ann"}, {}, 0),
        (OURS.replace(b"example.org", b"example.net"), {"login": "ann"}, {}, 1),
        (OURS.replace(b"ann@example.org", b"ann@example.org, joe@example.com"), {"login": "ann"}, {}, 0),
        (b"From: joe@example.com\r\n" + OURS, {"login": "ann"}, {}, 0),
        (OURS.replace(b"From", b"X-From"), {"login": "ann"}, {}, 0),
        (signed(OURS, RSA, d="example.org", s="r"), {"login": "ann"}, {}, 1),  # with that key it is signed
    ],
)
async def test_whose_mail_is_signed(raw: bytes, options: Any, settings: Any, count: int) -> None:
    made = await added(signer(**settings), mail(raw, **options), [])
    assert len(made) == count


async def test_what_we_change_is_sealed_and_what_we_do_not_is_not() -> None:
    raw = signed(THEIRS, RSA, s="sel")
    given = mail(raw)
    assert await added(signer(), given, TRACE) == []
    edits = [*TRACE, *SUBJECT]
    made = await added(signer(), given, edits)
    assert [edit.name for edit in made] == ["ARC-Authentication-Results", "ARC-Message-Signature", "ARC-Seal"]
    out = result(given, edits + made)
    assert not dkim.verify(out, dnsfunc=dns)
    assert dkim.arc_verify(out, dnsfunc=dns)[0] == b"pass"
    assert b"ARC-Authentication-Results: i=1; mx.example.org; dmarc=pass header.from=example.com" in out
    assert [edit.name for edit in await added(signer(seal="always"), mail(raw), TRACE)][-1:] == ["ARC-Seal"]
    assert await added(signer(seal="never"), mail(raw), edits) == []


async def test_a_chain_goes_on_only_if_it_has_passed() -> None:
    raw = sealed(THEIRS, RSA, domain="lists.example")
    for arc, count in ((ArcCode.PASS, 3), (ArcCode.FAIL, 0), (ArcCode.TEMPERROR, 0), (None, 0)):
        given = mail(raw, arc=arc)
        assert signer().seals(given) == bool(count)
        made = await added(signer(), given, SUBJECT)
        assert len(made) == count
        if made:
            out = result(given, SUBJECT + made)
            assert b"ARC-Seal: i=2;" in out
            assert b"cv=pass" in out.partition(b"i=2;")[2].partition(b"ARC-")[0]
            assert dkim.arc_verify(out, dnsfunc=dns)[0] == b"pass"
    broken = mail(raw.replace(b"ARC-Seal: i=1", b"ARC-Seal: i=4"), arc=ArcCode.PASS)
    assert not signer().seals(broken)
    assert await added(signer(seal="always"), broken, SUBJECT) == []


async def test_what_two_readers_read_differently_is_not_sealed() -> None:
    doubtful = mail(b"From: x@evil.example\r\n" + THEIRS)
    assert await added(signer(seal="always"), doubtful, SUBJECT) == []


async def test_our_own_mail_is_signed_and_not_sealed() -> None:
    made = await added(signer(seal="always"), mail(THEIRS, login="ann"), SUBJECT)
    assert made == []


async def test_the_key_that_seals_is_rsa_if_there_is_one_and_of_the_domain_that_is_set() -> None:
    for settings, domain in (({}, "example.org"), ({"seal_domain": "Example.NET"}, "example.net")):
        keys = (KEY_FILE, KeyFile("example.net", "r", "unused"))
        one = Signer(Settings(keys=keys, seal="always", **settings), (KEYS[1], KEYS[0], KEYS[2]))  # type: ignore[arg-type]
        seal = (await added(one, mail(THEIRS), []))[-1]
        assert isinstance(seal, Insert)
        assert f"d={domain}; s=r" in seal.value
        assert "a=rsa-sha256" in seal.value


def test_without_a_hash_there_is_no_signature() -> None:
    """`prepare` has not come to its end: the message goes on without."""
    assert signer().added(mail(OURS, login="ann"), [], results="", now=NOW) == []


async def test_a_body_that_is_gone_is_an_error_of_preparing() -> None:
    class Gone(BytesBody):
        def chunks(self) -> Iterator[bytes]:
            raise OSError(5, "gone")

    given = mail(OURS, login="ann")
    given.message = Message(message_of(OURS).header, Gone(b""))
    with pytest.raises(OSError, match="gone"):
        await signer().prepare(given)


async def test_nothing_is_hashed_for_mail_that_needs_no_signature() -> None:
    given = mail(THEIRS)
    await signer(seal="never").prepare(given)
    assert given.message is not None
    assert "body_hashes" not in given.message.memo


def test_a_report_of_our_own_is_signed() -> None:
    raw = signer().sign(OURS, domain="example.net", now=NOW)
    assert raw.endswith(OURS)
    assert dkim.verify(raw, dnsfunc=dns)
    assert signer().sign(THEIRS, domain="example.com", now=NOW) == THEIRS


def test_which_edits_change_a_message() -> None:
    plain, covered = message_of(OURS), message_of(signed(OURS, RSA, h="from:x-spam-flag"))
    assert not changes(plain, TRACE)
    assert changes(covered, TRACE)  # a field goes that somebody has signed
    assert changes(plain, SUBJECT)
    assert changes(plain, [Insert(0, "Subject", "[SPAM]")])
    assert not changes(plain, [Insert(0, "Received", "from x")])


# Keys and settings.


def pem(key: Any) -> bytes:
    return bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def key_file(directory: Path, content: bytes, *, mode: int = 0o600) -> KeyFile:
    path = directory / "key.pem"
    path.write_bytes(content)
    path.chmod(mode)
    return KeyFile("Example.ORG", "Mail", str(path))


def test_a_key_is_read_from_its_file(tmp_path: Path) -> None:
    for key in (RSA, ED):
        found = load_key(key_file(tmp_path, pem(key), mode=0o640))
        assert (found.domain, found.selector, type(found.private)) == ("example.org", "mail", type(key))
    one = Signer.of(Settings(keys=(key_file(tmp_path, pem(ED)),)))
    assert one is not None
    assert [key.algorithm for key in one.keys] == ["ed25519-sha256"]
    assert Signer.of(Settings()) is None


@pytest.mark.parametrize(
    ("content", "mode", "why"),
    [
        (pem(RSA), 0o644, "chmod 0640"),
        (pem(RSA), 0o602, "open to everybody"),
        (b"nonsense", 0o600, "no private key in PEM form"),
        (pem(rsa.generate_private_key(65537, 1024))[:-100], 0o600, "no private key in PEM form"),
        (pem(dsa.generate_private_key(1024)), 0o600, "neither an RSA nor an Ed25519 key"),
    ],
)
def test_a_key_that_cannot_be_used_names_the_mend(tmp_path: Path, content: bytes, mode: int, why: str) -> None:
    with pytest.raises(SigningUnusable, match=why):
        load_key(key_file(tmp_path, content, mode=mode))


@pytest.mark.slow
def test_a_key_that_is_too_long_or_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SigningUnusable, match="cannot be read: No such file"):
        load_key(KeyFile("example.org", "r", str(tmp_path / "none.pem")))
    given = key_file(tmp_path, pem(rsa.generate_private_key(65537, 4608)))
    with pytest.raises(SigningUnusable, match="4608 bits: take 2048"):
        load_key(given)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda: KeyFile("localhost", "r", "f"), "domain: "),
        (lambda: KeyFile("example.org", "r r", "f"), "selector: "),
        (lambda: KeyFile("example.org", "r", ""), "file: "),
        (lambda: Settings(networks=("10.0.0.0/99",)), "networks: "),
        (lambda: Settings(seal_domain="example.org"), "seal_domain: "),
        (lambda: Settings(keys=(KEY_FILE, replace(KEY_FILE, file="other"))), "stands there twice"),
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        wrong()
