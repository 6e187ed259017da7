"""What a stranger can make long costs no more than its length: verifying takes linear time, and has a result."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from gatekeeper.mailauth.arc import ArcCode, verify_arc
from gatekeeper.mailauth.dkim import load_key, verify
from gatekeeper.mailauth.dkim_signature import DkimCode
from tests.support.arc_sealer import sealed
from tests.support.cost import cost_of
from tests.support.dkim_signer import record, signed
from tests.support.fake_resolver import FakeResolver
from tests.support.mail import message_of

NOW = 1_800_000_000.0
KEY = rsa.generate_private_key(65537, 1024)
NAME = ("sel._domainkey.example.com", "TXT")
HEAD = b"From: joe@example.com\r\nTo: a@b.example\r\nSubject: x\r\n"
SIGNATURE = signed(HEAD + b"\r\nHi.\r\n", KEY).partition(b"From:")[0]

MESSAGES: dict[str, Callable[[int], bytes]] = {
    "a line of blanks in the body": lambda n: SIGNATURE + HEAD + b"\r\n" + b" " * n + b"x\r\n",
    "lines of blanks in the body": lambda n: SIGNATURE + HEAD + b"\r\n" + (b" " * 99 + b"\r\n") * (n // 100) + b"x\r\n",
    "tabs in the body": lambda n: SIGNATURE + HEAD + b"\r\n" + b"\t " * (n // 2) + b"\r\n",
    "empty lines in the body": lambda n: SIGNATURE + HEAD + b"\r\n" + b"\r\n" * (n // 2) + b"x",
    "a line of blanks in a signed field": lambda n: signed(HEAD + b"Date: a" + b" " * n + b"b\r\n\r\nHi.\r\n", KEY),
    "a line of blanks in the signature": lambda n: SIGNATURE[:-2] + b" " * n + b"\r\n" + HEAD + b"\r\nHi.\r\n",
    "folds in a signed field": lambda n: signed(HEAD + b"Date: a" + b"\r\n \t" * (n // 4) + b" b\r\n\r\nHi.\r\n", KEY),
    "signatures": lambda n: SIGNATURE * (n // 500) + HEAD + b"\r\nHi.\r\n",
    "names in h=": lambda n: SIGNATURE.replace(b"h=from", b"h=from" + b":x" * (n // 60)) + HEAD + b"\r\nHi.\r\n",
    "fields that h= names": lambda n: (
        SIGNATURE.replace(b"h=from", b"h=from" + b":x" * 7000) + b"X: y\r\n" * (n // 40) + HEAD + b"\r\nHi.\r\n"
    ),
    "unknown tags": lambda n: (
        SIGNATURE[:-2] + b"".join(b"; x%d=y" % k for k in range(n // 40)) + b"\r\n" + HEAD + b"\r\nHi.\r\n"
    ),
    "one tag many times": lambda n: SIGNATURE[:-2] + b"; z=y" * (n // 20) + b"\r\n" + HEAD + b"\r\nHi.\r\n",
    "lines without a colon": lambda n: SIGNATURE + b"no colon here\r\n" * (n // 15) + HEAD + b"\r\nHi.\r\n",
    "authors": lambda n: SIGNATURE + b"From: a@b.example\r\n" * (n // 20) + HEAD + b"\r\nHi.\r\n",
    "one author of many addresses": lambda n: SIGNATURE + b"From: " + b"a@b.example," * (n // 12) + b"\r\n\r\nHi.\r\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_costs_no_more_than_its_length(name: str) -> None:
    resolver = FakeResolver({NAME: [record(KEY)]})

    def cost(size: int) -> float:
        raw = MESSAGES[name](size)

        async def many() -> None:
            for _ in range(5):
                results = await verify(message_of(raw), resolver, now=NOW)
                assert all(one.code in DkimCode for one in results.results)
                await verify_arc(message_of(raw), resolver, now=NOW)

        return cost_of(lambda: asyncio.run(many()))

    assert cost(400_000) < 3 * cost(200_000) + 0.02


KEYS: dict[str, Callable[[int], bytes]] = {
    "a long record": lambda n: b"v=DKIM1; p=" + b"A" * n,
    "unknown tags": lambda n: b"v=DKIM1; " + b"".join(b"x%d=y; " % k for k in range(n // 10)) + b"p=AAAA",
    "one tag many times": lambda n: b"v=DKIM1; " + b"p=AAAA; " * (n // 8),
    "blanks": lambda n: b"v=DKIM1; p=" + b" " * n + b"AAAA",
    "flags": lambda n: b"v=DKIM1; t=" + b"y:" * (n // 2) + b"; p=AAAA",
    "a giant number": lambda n: b"v=DKIM1; p=" + base64.b64encode(giant(n)),
}


def giant(octets: int) -> bytes:
    """A SubjectPublicKeyInfo whose modulus has that many octets."""

    def tlv(tag: int, content: bytes) -> bytes:
        size = len(content).to_bytes(4, "big")
        return bytes((tag, 0x84)) + size + content

    number = tlv(0x02, b"\0" + b"\xff" * octets) + tlv(0x02, b"\x01\x00\x01")
    algorithm = bytes.fromhex("300d06092a864886f70d0101010500")
    return tlv(0x30, algorithm + tlv(0x03, b"\0" + tlv(0x30, number)))


@pytest.mark.parametrize("name", KEYS)
async def test_a_key_of_any_length_is_settled(name: str) -> None:
    for size in (3750, 100_000, 1_000_000):  # 30,000 bits; a megabyte of TXT
        got = await verify(
            message_of(SIGNATURE + HEAD + b"\r\nHi.\r\n"), FakeResolver({NAME: [KEYS[name](size)]}), now=NOW
        )
        assert got.results[0].code in {DkimCode.PERMERROR, DkimCode.POLICY}


@pytest.mark.slow
@pytest.mark.parametrize("name", KEYS)
def test_a_key_costs_no_more_than_its_length(name: str) -> None:
    def cost(size: int) -> float:
        records = [KEYS[name](size)]
        resolver = FakeResolver({NAME: records})
        raw = message_of(SIGNATURE + HEAD + b"\r\nHi.\r\n")

        def once() -> None:
            for _ in range(20):
                load_key.cache_clear()
                asyncio.run(verify(raw, resolver, now=NOW))

        return cost_of(once)

    assert cost(400_000) < 3 * cost(200_000) + 0.02


async def test_two_hundred_signatures_are_counted_and_eight_are_verified() -> None:
    got = await verify(
        message_of(SIGNATURE * 200 + HEAD + b"\r\nHi.\r\n"), FakeResolver({NAME: [record(KEY)]}), now=NOW
    )
    assert (len(got.results), got.found) == (8, 200)
    assert all(one.vouches for one in got.results)


@pytest.mark.slow
async def test_a_chain_of_fifty_asks_each_key_once() -> None:
    raw = HEAD + b"\r\nHi.\r\n"
    for _ in range(50):
        raw = sealed(raw, KEY, domain="example.com")
    resolver = FakeResolver({NAME: [record(KEY)]})
    got = await verify_arc(message_of(raw), resolver, now=NOW)
    assert (got.status, got.instances) == (ArcCode.PASS, 50)
    assert len(resolver.asked) == 1
