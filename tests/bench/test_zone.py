"""The DNS server of a measurement answers for every client number, and for nobody else."""

import dns.message
import dns.query
import dns.rcode
import pytest

from gatekeeper.bench import zone


@pytest.fixture(scope="module")
def server():
    process, address = zone.start(b"v=DKIM1; p=" + b"A" * 400)
    yield address
    process.terminate()
    process.join()


def ask(server: str, name: str, rtype: str) -> tuple[str, list[str]]:
    host, port = server.split(":")
    reply = dns.query.udp(dns.message.make_query(name, rtype), host, port=int(port), timeout=10)
    texts = [item.to_text() for answer in reply.answer for item in answer]
    return dns.rcode.to_text(reply.rcode()), texts


@pytest.mark.parametrize(
    ("name", "rtype", "rcode", "found"),
    [
        ("5.1.18.198.in-addr.arpa", "PTR", "NOERROR", "c-198-18-1-5.bench.example."),
        ("c-198-18-1-5.bench.example", "A", "NOERROR", "198.18.1.5"),
        ("c-198-18-1-5.bench.example", "AAAA", "NOERROR", ""),
        ("d261.bench.example", "TXT", "NOERROR", "v=spf1"),
        ("_dmarc.d261.bench.example", "TXT", "NOERROR", "v=DMARC1; p=reject"),
        ("s1._domainkey.d261.bench.example", "TXT", "NOERROR", "v=DKIM1"),
        ("5.1.18.198.bl1.bench.example", "A", "NXDOMAIN", ""),
        ("5.128.19.198.bl1.bench.example", "A", "NOERROR", "127.0.0.2"),
        ("x.c-198-18-1-5.bench.example", "A", "NXDOMAIN", ""),
    ],
)
def test_what_is_asked_is_answered_by_rule(server: str, name: str, rtype: str, rcode: str, found: str):
    got, texts = ask(server, name, rtype)
    assert got == rcode
    assert found in " ".join(texts)
    assert bool(texts) == bool(found)
