"""The ARC test suite: 171 chains to verify, 17 messages to seal. docs/conformance.md explains what differs."""

from __future__ import annotations

import re
from typing import Any

import dkim
import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from gatekeeper.mailauth.arc import ArcCode, verify_arc
from gatekeeper.mailauth.arc_chain import chain_of
from gatekeeper.mailauth.bodies import body_of
from gatekeeper.mailauth.dkim_sign import SigningKey, arc_set
from gatekeeper.mailauth.signing import BODY
from gatekeeper.message.header import header_of
from tests.support.corpora import corpora
from tests.support.fake_resolver import FakeResolver
from tests.support.mail import message_of

pytestmark = pytest.mark.slow  # a suite of others, whole

NOW = 1_720_000_000.0
SUITE = corpora("arc") / "ValiMail__arc_test_suite"
DIFFERENT = {
    "ams_fields_c_na": "fail",  # without c= a signature is simple/simple (RFC 6376 §3.5), and this one is relaxed
    "ams_fields_h_empty": "fail",  # h= must name From (RFC 6376 §5.4)
    # The suite leaves open what a chain is that says of itself that it has failed; RFC 8617 §5.2 says: failed.
    "cv_fail_i1_as_cv_fail": "fail",
    "cv_fail_i2_as2_fail": "fail",
    "cv_fail_i2_as1_fail": "fail",
}


def cases(file: str) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    scenarios = list(yaml.load_all((SUITE / file).read_text(), yaml.CSafeLoader))
    return [(name, case, scenario) for scenario in scenarios for name, case in scenario["tests"].items()]


def zone(scenario: dict[str, Any]) -> FakeResolver:
    records = scenario.get("txt-records") or {}
    return FakeResolver({(name, "TXT"): [text.encode()] for name, text in records.items()})


def test_the_whole_suite_is_here() -> None:
    assert len(cases("arc-draft-validation-tests.yml")) == 171


@pytest.mark.parametrize(("name", "case", "scenario"), cases("arc-draft-validation-tests.yml"))
async def test_a_chain_ends_as_the_suite_says(name: str, case: dict[str, Any], scenario: dict[str, Any]) -> None:
    got = await verify_arc(message_of(case["message"]), zone(scenario), now=NOW)
    assert got.status.value == DIFFERENT.get(name, (case["cv"] or "").lower()), got


FAILED_BEFORE = {"i1_base_fail", "i2_base_fail", "no_additional_sig"}
"""Messages whose chain has failed before it came to us: nobody adds to it (RFC 8617 §5.1.2 lets a sealer leave it)."""


def set_of(case: dict[str, Any]) -> bytes:
    """The suite's own set for its message."""
    names = (("ARC-Seal", "AS"), ("ARC-Message-Signature", "AMS"), ("ARC-Authentication-Results", "AAR"))
    return b"".join(f"{name}: {written(case[key], tags=key != 'AAR')}\r\n".encode() for name, key in names)


def written(value: str, *, tags: bool) -> str:
    """In the form that the suite's README fixes: one blank after each semicolon, and none within tags."""
    return re.sub(r"\s+", "", value).replace(";", "; ") if tags else "\r\n ".join(value.strip().split("\n"))


def test_the_whole_sealing_suite_is_here() -> None:
    assert len(cases("arc-draft-sign-tests.yml")) == 17


@pytest.mark.parametrize(("name", "case", "scenario"), cases("arc-draft-sign-tests.yml"))
async def test_what_the_suite_seals_and_what_we_seal_in_its_place(
    name: str, case: dict[str, Any], scenario: dict[str, Any]
) -> None:
    private = serialization.load_pem_private_key(scenario["privatekey"].encode(), None)
    assert isinstance(private, rsa.RSAPrivateKey)
    key = SigningKey(scenario["domain"], scenario["sel"], private)
    published = FakeResolver({(f"{key.selector}._domainkey.{key.domain}", "TXT"): [key.record.encode()]})
    message = message_of(case["message"])
    raw = b"".join(message.chunks())
    before = await verify_arc(message, published, now=NOW)
    assert (before.status is ArcCode.FAIL) == (name in FAILED_BEFORE)
    if before.status is ArcCode.FAIL:
        return
    if case["AS"]:
        assert (await verify_arc(message_of(set_of(case) + raw), published, now=NOW)).status is ArcCode.PASS
    body = await body_of(message, [BODY])
    digest = body.digest(*BODY)
    assert digest is not None
    made = arc_set(
        header_of(message), chain_of(message), digest.digest, key,
        results="lists.example.org; none", passed=before.status is ArcCode.PASS, now=NOW,
    )  # fmt: skip
    names = ("ARC-Seal", "ARC-Message-Signature", "ARC-Authentication-Results")
    values = (made.seal, made.message_signature, made.results)
    block = b"".join(f"{name}: {value}\r\n".encode() for name, value in zip(names, values, strict=True))
    assert dkim.arc_verify(block + raw, dnsfunc=lambda _, timeout=5: key.record.encode())[0] == b"pass"
