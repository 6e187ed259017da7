"""`python -m bench.mailauth`: mail authentication by itself, beside stock dkimpy and stock pyspf on the same messages.

The messages are real ones (GATEKEEPER_CORPORA names their directory), each signed for the occasion with one RSA-2048
key, since nobody publishes keys of 2005 any more. All answers of the DNS are at hand, as in a warm cache; so what is
measured is our own work and nothing else. Without corpora only the made-up messages are measured.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import gc
import json
import logging
import os
import random
import statistics
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from time import process_time
from typing import Any

import dkim
import spf
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from rich.console import Console
from rich.table import Table

from gatekeeper.dns.resolver import Answer, Status
from gatekeeper.mailauth.arc import verify_arc
from gatekeeper.mailauth.dkim import load_key, verify
from gatekeeper.mailauth.dkim_sign import SigningKey
from gatekeeper.mailauth.dmarc import evaluate
from gatekeeper.mailauth.signing import KeyFile, Settings, Signer
from gatekeeper.mailauth.spf import check_host, mail_from
from gatekeeper.message.header import author_of
from gatekeeper.message.reading import read_message
from gatekeeper.model import Address

DOMAIN, SELECTOR, CLIENT = "bench.example", "bench", "192.0.2.9"
NOW = 1_700_000_000.0
TOO_LONG = 0.050
"""Seconds of CPU that no hostile message may take."""


class Names:
    """What the DNS says, always at hand."""

    def __init__(self, records: dict[tuple[str, str], list[Any]]) -> None:
        self._records = records

    def cached(self, name: str, rtype: str) -> Answer:
        found = self._records.get((name.lower().rstrip("."), rtype))
        return Answer(Status.OK, tuple(found), 300.0) if found else Answer(Status.NXDOMAIN, (), 300.0)

    async def ask(self, name: str, rtype: str) -> Answer:
        return self.cached(name, rtype)

    def txt(self, name: bytes, timeout: float = 5) -> bytes | None:  # noqa: ARG002 - dkimpy's form
        return self._records.get((name.decode("latin-1").lower().rstrip("."), "TXT"), [None])[0]

    def for_pyspf(self, name: str, qtype: str, *_: Any, **__: Any) -> list[Any]:
        found = self._records.get((name.lower().rstrip("."), qtype), [])
        return [((name, qtype), (text,) if qtype == "TXT" else text) for text in found]


@dataclass(frozen=True)
class Cost:
    """Seconds of CPU of each message, and the longest turn that another session would have waited for."""

    each: list[float]
    longest: float = 0.0
    raised: int = 0

    @property
    def mean(self) -> float:
        return statistics.fmean(self.each)


def new_key() -> tuple[rsa.RSAPrivateKey, bytes]:
    key = rsa.generate_private_key(65537, 2048)
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return key, b"v=DKIM1; k=rsa; p=" + base64.b64encode(public)


def names(record: bytes) -> Names:
    return Names(
        {
            (DOMAIN, "TXT"): [b"v=spf1 include:_spf.bench.example mx -all"],
            ("_spf.bench.example", "TXT"): [b"v=spf1 ip4:198.51.100.0/24 ip4:192.0.2.0/24 ?all"],
            (f"_dmarc.{DOMAIN}", "TXT"): [b"v=DMARC1; p=reject"],
            (f"{SELECTOR}._domainkey.{DOMAIN}", "TXT"): [record],
        }
    )


def corpus(count: int, key: rsa.RSAPrivateKey) -> list[bytes]:
    """That many real messages, each with our signature on top; the same ones each time."""
    root = Path(os.environ.get("GATEKEEPER_CORPORA") or Path(__file__).parents[2] / "shared" / "corpora") / "corpora"
    index = root / "index.jsonl"
    if not index.is_file():
        return []
    paths = [root / json.loads(line)["path"] for line in index.read_text().splitlines()]
    chosen = random.Random(1).sample(paths, count)
    return [signed(path.read_bytes(), key) for path in chosen]


def signed(raw: bytes, key: rsa.RSAPrivateKey) -> bytes:
    signer = Signer(Settings(keys=(KeyFile(DOMAIN, SELECTOR, "-"),)), (SigningKey(DOMAIN, SELECTOR, key),))
    message = read_message(raw)
    whole = b"".join(message.chunks())
    return signer.sign(whole, domain=DOMAIN, now=NOW)


def made_up(octets: int, key: rsa.RSAPrivateKey) -> bytes:
    head = f"From: Ann <ann@{DOMAIN}>\r\nTo: bob@example.org\r\nSubject: a letter\r\nDate: x\r\nMessage-ID: <1@x>\r\n"
    line = b"The quick brown fox jumps over the lazy dog, and nobody minds that at all.\r\n"
    return signed(head.encode() + b"\r\n" + line * (octets // len(line)), key)


async def ours(raw: bytes, resolver: Names, *, dmarc: bool = True) -> None:
    """What the checks do: SPF, DKIM, ARC, DMARC."""
    message = read_message(raw)
    sender = mail_from(ip_address(CLIENT), Address("ann", DOMAIN), "mail.bench.example")
    by_spf = await check_host(resolver, sender)
    by_dkim = await verify(message, resolver, now=NOW)
    await verify_arc(message, resolver, now=NOW)
    if dmarc:
        await evaluate(resolver, author_of(message).domain or "", spf=by_spf, dkim=by_dkim)


async def with_ticker(work: Callable[[], Coroutine[Any, Any, None]]) -> float:
    """The longest turn meanwhile, in seconds of CPU."""
    longest, before = 0.0, process_time()

    async def tick() -> None:
        nonlocal longest, before
        while True:
            now = process_time()
            longest, before = max(longest, now - before), now
            await asyncio.sleep(0)

    ticker = asyncio.ensure_future(tick())
    await asyncio.sleep(0)
    await work()
    await asyncio.sleep(0)
    ticker.cancel()
    return longest


def by_us(messages: Sequence[bytes], resolver: Names, *, rounds: int = 3, dmarc: bool = True) -> Cost:
    """The cheapest of some rounds for each message."""
    each, longest, raised = [], 0.0, 0

    async def run() -> None:
        nonlocal longest, raised
        for raw in messages:
            costs = []
            for _ in range(rounds):
                begin = process_time()
                try:
                    await ours(raw, resolver, dmarc=dmarc)
                except Exception as error:  # noqa: BLE001 - that there is none is what is measured
                    raised += 1
                    print(f"raised {type(error).__name__}: {error}", file=sys.stderr)
                costs.append(process_time() - begin)
            each.append(min(costs))
            turns = [await with_ticker(lambda raw=raw: ours(raw, resolver)) for _ in range(2)]  # type: ignore[misc]
            longest = max(longest, min(turns))

    asyncio.run(run())
    return Cost(each, longest, raised)


def by_stock(messages: Sequence[bytes], resolver: Names, *, rounds: int = 3) -> Cost:
    """The same with dkimpy (every signature, and the chain where there is one) and pyspf's check2; but no DMARC."""
    logging.getLogger("dkimpy").setLevel(logging.CRITICAL)
    spf.DNSLookup = resolver.for_pyspf
    each, raised = [], 0
    for raw in messages:
        costs = []
        for _ in range(rounds):
            begin = process_time()
            spf.check2(CLIENT, f"ann@{DOMAIN}", "mail.bench.example")
            try:
                message = dkim.DKIM(raw)
                for place in range(min(8, sum(name.lower() == b"dkim-signature" for name, _ in message.headers))):
                    message.verify(place, dnsfunc=resolver.txt)
                if any(name.lower() == b"arc-seal" for name, _ in message.headers):
                    dkim.arc_verify(raw, dnsfunc=resolver.txt)
            except Exception:  # noqa: BLE001 - it has many ways to fail
                raised += 1
            costs.append(process_time() - begin)
        each.append(min(costs))
    return Cost(each, raised=raised)


HOSTILE: dict[str, Callable[[bytes], bytes]] = {
    "100 kB of blanks in a line": lambda raw: raw + b" " * 100_000 + b"x\r\n",
    "100 kB of blanks in the subject": lambda raw: raw.replace(b"Subject: a", b"Subject: a" + b" " * 100_000, 1),
    "200 signatures": lambda raw: raw.partition(b"From: Ann")[0] * 200 + raw,
    "2000 lines without a colon": lambda raw: b"no colon here\r\n" * 1990 + raw,
    "60 ARC sets": lambda raw: (
        b"".join(
            f"ARC-Seal: i={n}; a=rsa-sha256; cv=pass; d={DOMAIN}; s=s; b=AA\r\n"
            f"ARC-Message-Signature: i={n}; a=rsa-sha256; d={DOMAIN}; s=s; h=from; bh=AA; b=AA\r\n"
            f"ARC-Authentication-Results: i={n}; x; none\r\n".encode()
            for n in range(1, 61)
        )
        + raw
    ),
    "7000 names in h=": lambda raw: raw.replace(b"h=from", b"h=from" + b":x" * 7000, 1),
    "60 kB of addresses in From": lambda raw: raw.replace(b"From: Ann", b"From: " + b"a@b.example," * 5000 + b"Ann", 1),
}
KEYS: dict[str, bytes] = {
    "a key of 30,000 bits": b"v=DKIM1; p="
    + base64.b64encode(
        bytes.fromhex("30820ec2300d06092a864886f70d010101050003820eaf003082")
        + b"\x0e\xaa\x02\x82\x0e\xa7\x00"
        + b"\xff" * 3750
        + b"\x02\x03\x01\x00\x01"
    ),
    "a TXT of 1 MB": b"v=DKIM1; p=" + b"A" * 1_000_000,
    "100,000 unknown tags": b"v=DKIM1; " + b"".join(b"x%d=y; " % n for n in range(100_000)) + b"p=AAAA",
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.mailauth", description=__doc__)
    parser.add_argument("--messages", type=int, default=1000, help="how many real messages (default: 1000)")
    options = parser.parse_args(arguments)
    key, record = new_key()
    resolver = names(record)
    console = Console(width=120)
    table = Table("messages", "CPU ms each", "worst ms", "longest turn ms", "raised", title="SPF, DKIM, ARC, DMARC")
    gc.collect()
    gc.freeze()
    failed = False
    real = corpus(options.messages, key)
    if real:
        mine, stock = by_us(real, resolver, dmarc=False), by_stock(real, resolver)
        _row(table, f"{len(real)} real ones, gatekeeper", by_us(real, resolver))
        _row(table, f"{len(real)} real ones, gatekeeper without DMARC", mine)
        _row(table, f"{len(real)} real ones, dkimpy and pyspf", stock)
        table.add_section()
        ratio = stock.mean / mine.mean
        failed |= ratio < 3 or mine.raised > 0 or mine.longest > 0.020
    for octets in (2_000, 10_000, 100_000, 2_000_000):
        raw = made_up(octets, key)
        _row(table, f"{octets:,} octets, gatekeeper", by_us([raw] * 5, resolver, rounds=10))
        _row(table, f"{octets:,} octets, dkimpy and pyspf", by_stock([raw] * 5, resolver, rounds=3))
    table.add_section()
    letter = made_up(10_000, key)
    for name, make in HOSTILE.items():
        cost = by_us([make(letter)], resolver)
        failed |= max(cost.each) > TOO_LONG
        _row(table, name, cost)
    for name, text in KEYS.items():
        load_key.cache_clear()
        cost = by_us([letter], names(text), rounds=1)
        failed |= max(cost.each) > TOO_LONG
        _row(table, name, cost)
    console.print(table)
    if real:
        console.print(
            f"dkimpy and pyspf cost {ratio:.1f} times as much as gatekeeper without DMARC on the same messages."
        )
    return int(failed)


def _row(table: Table, name: str, cost: Cost) -> None:
    turn = f"{cost.longest * 1000:.2f}" if cost.longest else ""
    table.add_row(name, f"{cost.mean * 1000:.3f}", f"{max(cost.each) * 1000:.2f}", turn, str(cost.raised))


if __name__ == "__main__":
    sys.exit(main())
