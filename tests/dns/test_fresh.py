import pytest

from gatekeeper.dns.answer import Status
from gatekeeper.dns.fresh import PUBLIC_RESOLVERS, Fresh, ResolverProbe, examine_resolver
from gatekeeper.dns.health import Outcome, Target
from gatekeeper.dns.lists import DnsList, Family
from gatekeeper.dns.name_lists import NameList
from tests.support.dns_server import DnsServer, Fault

V6_POINT = "2.0.0.0.0.0.f.7.f.f.f.f." + "0." * 20
POINTS = {
    ("2.0.0.127.bl.test", "A"): ["127.0.0.2"],
    (f"{V6_POINT}bl.test", "A"): ["127.0.0.2"],
    ("test.dbl.test", "A"): ["127.0.1.2"],
    ("own.bl2.test", "A"): ["127.0.0.2"],
}
TARGETS = [
    Target(DnsList("bl.test", "BL", 1.0), Family.IPV4),
    Target(DnsList("bl.test", "BL", 1.0), Family.IPV6),
    Target(NameList("dbl.test", "DBL", 1.0), Family.NAMES),
    Target(NameList("bl2.test", "BL2", 1.0, test_listed="own"), Family.NAMES),
]


def fresh(*servers: DnsServer) -> Fresh:
    return Fresh([server.address for server in servers], timeout=0.1)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: f"{target.list.name} {target.family.value}")
@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (None, Outcome.GOOD),
        (Fault.WILDCARD, Outcome.WORLD),
        (Fault.HIJACKED, Outcome.WORLD),
        (Fault.REFUSING, Outcome.REFUSED),
        (Fault.SILENCE, Outcome.SILENT),
        (Fault.SERVFAIL, Outcome.SILENT),
        (Fault.WRONG_OWNER, Outcome.SILENT),
        (Fault.WRONG_ID, Outcome.SILENT),
    ],
)
async def test_lists_of_every_kind_are_tested_both_ways(target, fault, outcome):
    async with DnsServer(POINTS) as server:
        server.fault = fault
        probe = await fresh(server).probe(target)
        assert probe.outcome is outcome


async def test_a_list_of_hashes_has_a_control_only():
    async with DnsServer() as server:
        probe = await fresh(server).probe(Target(NameList("h.test", "H", 1.0, hash="md5"), Family.HASHES))
        assert (probe.listed, probe.not_listed, probe.outcome) == (None, None, Outcome.EMPTY)
        assert [len(one.name.removesuffix(".h.test")) for one in server.asked] == [32]  # a digest as it knows them


async def test_every_question_is_asked_anew():
    async with DnsServer(POINTS) as server:
        asking = fresh(server)
        assert (await asking.ask("2.0.0.127.bl.test")).records == ("127.0.0.2",)
        server.remove("2.0.0.127.bl.test", "A")
        assert (await asking.ask("2.0.0.127.bl.test")).status is Status.NXDOMAIN


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Fault.SILENCE, Status.TIMEOUT),
        (Fault.REFUSED, Status.REFUSED),
        (Fault.NOTIMP, Status.REFUSED),
        (Fault.WRONG_OWNER, Status.NONSENSE),
        (Fault.WRONG_TYPE, Status.NONSENSE),
        (Fault.TRUNCATED, Status.OK),
    ],
)
async def test_what_comes_has_the_same_names_as_in_the_resolver(fault, status):
    async with DnsServer({("a.test", "A"): ["192.0.2.1"]}, faults={"a.test": fault}) as server:
        assert (await fresh(server).ask("a.test")).status is status


async def test_names_that_do_not_exist_and_records_that_do_not():
    async with DnsServer({("a.test", "TXT"): ['"x"'], ("b.test", "CNAME"): ["a.test."]}) as server:
        asking = fresh(server)
        statuses = [(await asking.ask(name)).status for name in ("a.test", "b.test", "c.test", "a..test", "ü.test")]
        assert statuses == [Status.NODATA, Status.NODATA, Status.NXDOMAIN, Status.NXDOMAIN, Status.NONSENSE]


async def test_another_server_is_asked_where_one_is_silent():
    async with DnsServer({("a.test", "A"): Fault.SILENCE}) as dead, DnsServer({("a.test", "A"): ["192.0.2.1"]}) as good:
        for _ in range(4):  # whichever comes first
            assert (await fresh(dead, good).ask("a.test")).records == ("192.0.2.1",)


async def test_without_servers_nobody_answers():
    assert (await Fresh([], timeout=0.1).ask("a.test")).status is Status.TIMEOUT


async def test_sound_nameservers_answer_and_invent_nothing():
    async with DnsServer({("org", "NS"): ["ns.org."]}) as server:
        assert await examine_resolver(fresh(server)) == ResolverProbe(answers=True)


async def test_nameservers_that_invent_answers_are_found_out():
    async with DnsServer({("org", "NS"): ["ns.org."]}) as server:
        server.fault = Fault.HIJACKED
        probe = await examine_resolver(fresh(server))
        assert (probe.faults, "203.0.113.7" in probe.why) == (("invents",), True)


async def test_nameservers_that_do_not_answer_are_found_out():
    async with DnsServer() as server:
        server.fault = Fault.SILENCE
        probe = await examine_resolver(fresh(server))
        assert (probe.faults, "timeout" in probe.why) == (("silent",), True)


async def test_nameservers_that_belong_to_everybody_are_found_out():
    class Told(Fresh):
        async def ask(self, name, rtype="A"):
            return await Fresh([server.address], timeout=0.1).ask(name, rtype)

    async with DnsServer({("org", "NS"): ["ns.org."]}) as server:
        address = next(iter(PUBLIC_RESOLVERS))
        probe = await examine_resolver(Told([f"{address}:53"], timeout=0.1))
        assert (probe.faults, address in probe.public) == (("public",), True)
