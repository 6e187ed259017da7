"""What the demonstration's nameserver answers."""

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from gatekeeper.demo.zone import ZoneServer
from gatekeeper.dns.resolver import AiodnsResolver, Settings, Status

ZONE = ZoneServer({"Mail.example": {"A": ["192.0.2.1", "192.0.2.2"], "TXT": ['"v=spf1 " "-all"']}})


def ask(name: str, rtype: str) -> dns.message.Message:
    answer = ZONE.answer(dns.message.make_query(name, rtype).to_wire())
    assert answer is not None
    return dns.message.from_wire(answer)


def test_it_answers_what_it_knows_in_any_case():
    answer = ask("mail.EXAMPLE", "A")
    assert answer.rcode() == dns.rcode.NOERROR
    assert sorted(record.to_text() for record in answer.answer[0]) == ["192.0.2.1", "192.0.2.2"]
    assert answer.flags & dns.flags.RA


def test_a_known_name_without_the_type_has_no_data_and_an_unknown_one_does_not_exist():
    assert (ask("mail.example", "MX").rcode(), ask("mail.example", "MX").answer) == (dns.rcode.NOERROR, [])
    assert ask("other.example", "A").rcode() == dns.rcode.NXDOMAIN


@pytest.mark.parametrize("data", [b"", b"\0", b"GET / HTTP/1.1\r\n\r\n", bytes(600)])
def test_what_is_no_query_is_not_answered_or_refused(data):
    answer = ZONE.answer(data)
    assert answer is None or dns.message.from_wire(answer).rcode() == dns.rcode.FORMERR


async def test_our_resolver_gets_its_answers():
    server = ZoneServer({"mail.example": {"TXT": ['"one"']}})
    port = await server.open()
    resolver = AiodnsResolver(Settings(nameservers=(f"127.0.0.1:{port}",)))
    try:
        answer = await resolver.ask("mail.example", "TXT")
        assert (answer.status, list(answer.records)) == (Status.OK, [b"one"])
        assert (await resolver.ask("nobody.example", "A")).status is Status.NXDOMAIN
    finally:
        await resolver.close()
        server.close()
