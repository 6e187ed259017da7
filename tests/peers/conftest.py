"""Real peers, started once for all tests that talk to them; where one is absent its tests say so and skip."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.instances import Gatekeeper, Postfix, program, start_rbldnsd, start_unbound


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in Path(item.fspath).parents:
            item.add_marker(pytest.mark.peers)


def need(*programs: str) -> None:
    """Skip where a program is absent; in CI, and when peers were to be installed, that is a failure."""
    absent = [p for p in programs if program(p) is None]
    if {"postfix", "dovecot"} & set(programs) and os.geteuid() != 0:
        absent.append("root, which a private mail server needs")
    if not absent:
        return
    why = f"not on this machine: {', '.join(absent)} (PEERS=install make test, as root, installs what it needs)"
    if os.environ.get("CI") == "true" or os.environ.get("PEERS") == "install":
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture(scope="session")
def workplace() -> Iterator[Path]:
    """A directory that other users may enter, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="gatekeeper-peers-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


ZONES = {
    "bl.test": ("ip4set", ":127.0.0.2:listed\n127.0.0.2\n192.0.2.66\n"),
    "codes.test": (
        "ip4set",
        "127.0.0.2 :127.0.0.2:test\n192.0.2.67 :127.0.0.4:exploited\n192.0.2.66 :127.0.0.2:spammer\n",
    ),
    "refuses.test": ("ip4set", "192.0.2.0/24 :127.255.255.254:open resolver\n198.51.100.0/24 :127.255.255.254:open\n"),
    "bl6.test": ("ip6trie", ":127.0.0.2:listed\n2001:db8:bad::/48\n"),
}

RECORDS = [
    'good.test. IN TXT "v=spf1 ip4:192.0.2.10 -all"',
    "good.test. IN A 192.0.2.10",
    "mail.good.test. IN A 192.0.2.10",
    "10.2.0.192.in-addr.arpa. IN PTR mail.good.test.",
    '_dmarc.good.test. IN TXT "v=DMARC1; p=reject"',
    'forged.test. IN TXT "v=spf1 ip4:198.51.100.9 -all"',
    "forged.test. IN A 198.51.100.9",
    '_dmarc.forged.test. IN TXT "v=DMARC1; p=reject"',
    'soft.test. IN TXT "v=spf1 -all"',
    "soft.test. IN A 198.51.100.9",
]


@pytest.fixture(scope="session")
def signing_key() -> tuple[bytes, str]:
    """An RSA key for good.test: the private part (PEM) and the TXT record of its public part."""
    import base64

    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private, "v=DKIM1; k=rsa; p=" + base64.b64encode(public).decode()


@pytest.fixture(scope="session")
def nameserver(workplace: Path, signing_key: tuple[bytes, str]) -> Iterator[int]:
    """The port of an unbound that knows the test's names and asks an rbldnsd for its lists."""
    need("unbound", "rbldnsd")
    directory = workplace / "dns"
    directory.mkdir()
    lists, list_port = start_rbldnsd(directory, ZONES)
    text = signing_key[1]
    parts = " ".join(f'"{text[i : i + 200]}"' for i in range(0, len(text), 200))
    names = ("sel._domainkey.good.test", "own._domainkey.example.org")
    records = [*RECORDS, *(f"{name}. IN TXT {parts}" for name in names)]
    resolver, port = start_unbound(directory, records, dict.fromkeys(ZONES, list_port))
    yield port
    resolver.stop()
    lists.stop()


@pytest.fixture(scope="session")
def postfix(workplace: Path) -> Iterator[Postfix]:
    need("postfix")
    instance = Postfix(workplace / "postfix", ["alice", "bob", "postmaster"])
    instance.start()
    yield instance
    instance.stop()


CHECKS = """
[[checks.dnsbl.lists]]
zone = "bl.test"
name = "BL"
score = 6.0
[[checks.dnsbl.lists]]
zone = "codes.test"
name = "CODES"
score = 1.0
codes = { "127.0.0.2" = { name = "SPAM", score = 5.0 }, "127.0.0.4-7" = { name = "XPLOIT", score = 5.5 } }
[[checks.dnsbl.lists]]
zone = "refuses.test"
name = "REFUSES"
score = 9.0
[[checks.dnsbl.lists]]
zone = "bl6.test"
name = "BL6"
score = 6.0
"""


@pytest.fixture(scope="session")
def gatekeeper(workplace: Path, postfix: Postfix, nameserver: int) -> Iterator[Gatekeeper]:
    """gatekeeper in front of that Postfix, asking that resolver."""
    directory = workplace / "gatekeeper"
    directory.mkdir()
    instance = Gatekeeper(directory, next_hop=f"smtp://127.0.0.1:{postfix.port}", nameserver=nameserver, extra=CHECKS)
    instance.start()
    yield instance
    instance.stop()
