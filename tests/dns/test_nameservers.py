import asyncio
import logging

import pytest

from gatekeeper.dns.answer import Status
from gatekeeper.dns.nameservers import (
    FIRST_REST,
    PORT_KEPT,
    SICK_AFTER,
    Nameserver,
    host_and_port,
    parse_nameserver,
    system_nameservers,
)
from gatekeeper.metrics import DNS_NAMESERVER_UP
from tests.support.dns_server import DnsServer, Fault


@pytest.fixture
async def server():
    """One that is never asked."""
    made = Nameserver("127.0.0.1:9", timeout=1.0, tries=1, fresh_every=60.0)
    yield made
    await made.close()


def up(server: Nameserver) -> float:
    return float(DNS_NAMESERVER_UP[server.shown]._value.get())


def test_one_failure_or_four_do_not_make_a_server_sick(server):
    for _ in range(SICK_AFTER - 1):
        server.saw(Status.TIMEOUT, 0.0)
    server.saw(Status.NXDOMAIN, 0.0)
    for _ in range(SICK_AFTER - 1):
        server.saw(Status.REFUSED, 0.0)
    assert not server.sick


def test_a_server_that_answers_nothing_is_sick_is_told_and_comes_back_by_itself(server, caplog):
    caplog.set_level(logging.INFO, "gatekeeper")
    for _ in range(SICK_AFTER):
        server.saw(Status.TIMEOUT, 10.0)
    assert (server.sick, up(server)) == (True, 0)
    server.saw(Status.OK, 11.0)
    assert (server.sick, up(server)) == (False, 1)
    assert [record.msg for record in caplog.records] == ["nameserver_sick", "nameserver_back"]


def test_a_sick_server_is_tried_again_later_and_later(server):
    assert not server.take_trial(0.0)
    for _ in range(SICK_AFTER):
        server.saw(Status.TIMEOUT, 0.0)
    assert not server.take_trial(FIRST_REST - 0.1)
    assert server.take_trial(FIRST_REST)
    assert not server.take_trial(FIRST_REST + 1.9)
    assert server.take_trial(FIRST_REST + 2.0)


async def test_a_refusal_is_not_asked_for_twice():
    async with DnsServer({("a.test", "A"): Fault.SERVFAIL}) as dns:
        server = Nameserver(dns.address, timeout=1.0, tries=4, fresh_every=60.0)
        assert (await server.ask("a.test", "A", 0.0)).status is Status.REFUSED
        assert dns.count("a.test") == 1
        await server.close()


async def test_closing_ends_what_is_under_way():
    async with DnsServer({("a.test", "A"): ["192.0.2.1"]}) as dns:
        server = Nameserver(dns.address, timeout=5.0, tries=1, fresh_every=60.0)
        dns.hold("a.test")
        waiting = asyncio.create_task(server.ask("a.test", "A", 0.0))
        await dns.arrival("a.test")
        await server.close()
        await server.close()
        assert (await waiting).status is Status.TIMEOUT


def test_a_nameserver_is_taken_apart_as_it_was_written():
    assert host_and_port(parse_nameserver("192.0.2.1")) == ("192.0.2.1", 53)
    assert host_and_port(parse_nameserver("[2001:db8::1]:5353")) == ("2001:db8::1", 5353)
    assert host_and_port("[fe80::1%eth0]:53") == ("fe80::1", 53)


async def test_the_system_has_nameservers_with_ports():
    found = await system_nameservers()
    assert found
    assert all(host_and_port(each)[1] for each in found)


async def test_a_port_is_kept_for_some_questions_only():
    async with DnsServer() as dns:
        server = Nameserver(dns.address, timeout=1.0, tries=1, fresh_every=1e9)
        await server.ask("a.test", "A", 0.0)
        first = server._line
        for number in range(PORT_KEPT):
            await server.ask(f"n{number}.test", "A", 0.0)
        assert server._line is not first
        await server.close()
