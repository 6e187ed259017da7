from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from gatekeeper.dns.resolver import Status
from gatekeeper.doctor.facts import Mode, SigningFact
from gatekeeper.doctor.promise import Standing
from gatekeeper.doctor.signing_keys import look_at, published
from gatekeeper.mailauth.signing import KeyFile
from tests.support.dkim_signer import record
from tests.support.doctor import attachment, facts
from tests.support.fake_resolver import FakeResolver

RSA = rsa.generate_private_key(65537, 2048)
ED = ed25519.Ed25519PrivateKey.generate()
NAME = "mail._domainkey.example.org"
HERE = attachment(Mode.ALL)


def key_file(directory: Path, key: Any, mode: int = 0o600) -> KeyFile:
    path = directory / "key.pem"
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(key.private_bytes(*form))
    path.chmod(mode)
    return KeyFile("example.org", "mail", str(path))


@pytest.mark.parametrize("key", [RSA, ED])
async def test_a_key_that_is_published_as_it_is_holds(tmp_path: Path, key: Any) -> None:
    (found,) = await look_at([key_file(tmp_path, key)], FakeResolver({(NAME, "TXT"): [record(key)]}))
    assert (found.name, found.fault) == (NAME, "")
    assert found.record.encode() == record(key)
    assert published(facts(signing=(found,)), HERE).standing is Standing.HOLDS


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (Status.NXDOMAIN, "there is no such TXT record"),
        ([record(ED)], "another key than the file"),
        ([b"v=DKIM1; p="], "key was revoked"),
        ([record(RSA, "v=DKIM1; t=y")], "t=y"),
        ([record(RSA, "v=DKIM1; s=other")], "leaves mail out"),
    ],
)
async def test_a_key_that_is_not_names_the_record_that_would_mend_it(tmp_path: Path, answer: Any, fault: str) -> None:
    (found,) = await look_at([key_file(tmp_path, RSA)], FakeResolver({(NAME, "TXT"): answer}))
    assert fault in found.fault
    judged = published(facts(signing=(found,)), HERE)
    assert judged.standing is Standing.BROKEN
    assert str(judged.mend) == f'DNS: {NAME}. TXT "{record(RSA).decode()}"'


async def test_of_several_records_one_may_be_the_one(tmp_path: Path) -> None:
    (found,) = await look_at([key_file(tmp_path, RSA)], FakeResolver({(NAME, "TXT"): [record(ED), record(RSA)]}))
    assert found.fault == ""


async def test_without_an_answer_nothing_is_said_for_sure(tmp_path: Path) -> None:
    (found,) = await look_at([key_file(tmp_path, RSA)], FakeResolver({(NAME, "TXT"): Status.TIMEOUT}))
    assert published(facts(signing=(found,)), HERE).standing is Standing.UNKNOWN


async def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    given = key_file(tmp_path, RSA, 0o644)
    (found,) = await look_at([given], FakeResolver())
    judged = published(facts(signing=(found,)), HERE)
    assert judged.standing is Standing.BROKEN
    assert "chmod 0640" in judged.why
    assert str(judged.mend) == f'gatekeeper.toml: [[mailauth.signing.keys]]: file = "{given.file}"'


def test_without_keys_nothing_is_promised() -> None:
    assert published(facts(), HERE).standing is Standing.HOLDS
    assert published(facts(signing=(SigningFact(NAME, "f", "?", "why", unsure=True),)), HERE).why == f"{NAME}: why"
