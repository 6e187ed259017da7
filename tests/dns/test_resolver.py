import asyncio
import random
import socket
from pathlib import Path
from typing import Any

import pycares
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.dns.nameservers import FIRST_REST, SICK_AFTER, impossible, parse_nameserver, read
from gatekeeper.dns.resolver import (
    AiodnsResolver,
    Answer,
    Budget,
    BudgetedResolver,
    Settings,
    Status,
    ask_all,
)
from gatekeeper.metrics import DNS_FURTHER, DNS_QUESTIONS
from tests.support.dns_server import DnsServer, Fault
from tests.support.fake_resolver import FakeResolver

SOON = 0.1  # seconds a try waits here; c-ares takes no less than 0.05


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Lab:
    """A nameserver, a resolver that asks it, and the resolver's clock."""

    def __init__(self, server: DnsServer, **settings) -> None:
        self.server = server
        self.clock = Clock()
        values: dict[str, Any] = {
            "nameservers": (server.address,),
            "timeout": 2.0,
            "tries": 2,
            "ttl_floor": 0.0,
        } | settings
        self.resolver = AiodnsResolver(Settings(**values), self.clock)

    async def ask(self, name: str, rtype: str = "A") -> Answer:
        return await self.resolver.ask(name, rtype)


@pytest.fixture
async def lab():
    """Makes labs from a zone, and closes them."""
    made = []

    async def make(zone=None, *, server=None, **settings) -> Lab:
        server = server or DnsServer(zone)
        await server.__aenter__()
        made.append(Lab(server, **settings))
        return made[-1]

    yield make
    for each in made:
        await each.resolver.close()
        await each.server.__aexit__(None, None, None)


# --- what comes back -------------------------------------------------------------------------------------------------

RECORDS = [
    ("A", ["192.0.2.1", "192.0.2.2"], ("192.0.2.1", "192.0.2.2")),
    ("AAAA", ["2001:DB8::1"], ("2001:db8::1",)),
    ("TXT", ['"v=spf1 " "-all"', '"caf\\195\\169"'], (b"v=spf1 -all", "café".encode())),
    ("MX", ["10 Mail.Example.", "0 ."], ((0, ""), (10, "mail.example"))),
    ("PTR", ["Host.Example."], ("host.example",)),
    ("PTR", ["ho\\.st.example.", "\\255.example."], ("\\255.example", "ho\\.st.example")),
    ("NS", ["NS1.Example."], ("ns1.example",)),
    ("CNAME", ["Other.Example."], ("other.example",)),
]


@pytest.mark.parametrize(("rtype", "texts", "records"), RECORDS)
async def test_records_come_as_their_type_says(lab, rtype, texts, records):
    it = await lab({("name.test", rtype): texts})
    answer = await it.ask("name.test", rtype)
    assert answer.status is Status.OK
    assert tuple(sorted(answer.records)) == tuple(sorted(records))
    assert answer.ttl == 300


def threads() -> set[Path]:
    """Of this process, those that Python does not know among them."""
    return set(Path("/proc/self/task").iterdir())


async def test_asking_needs_no_thread(lab):
    """One would have to get Python's lock from the loop for each answer."""
    it = await lab({("name.test", "A"): ["192.0.2.1"]})
    before = threads()
    assert (await it.ask("name.test", "A")).status is Status.OK
    assert threads() <= before


async def test_case_and_a_last_dot_make_no_difference(lab):
    it = await lab({("name.test", "A"): ["192.0.2.1"]})
    assert (await it.ask("Name.TEST.")).records == ("192.0.2.1",)
    assert it.resolver.cached("NAME.test", "A") is not None
    assert len(it.server.asked) == 1


async def test_a_chain_of_aliases_is_followed_and_lives_as_long_as_its_shortest_ttl(lab):
    it = await lab({("a.test", "CNAME"): ["b.test."], ("b.test", "CNAME"): ["c.test."], ("c.test", "A"): ["192.0.2.1"]})
    it.server.ttls["b.test", "CNAME"] = 20
    assert await it.ask("a.test") == Answer(Status.OK, ("192.0.2.1",), 20.0)


async def test_an_alias_to_nowhere_is_no_data(lab):
    it = await lab({("a.test", "CNAME"): ["b.test."], ("b.test", "TXT"): ['"x"']})
    assert (await it.ask("a.test")).status is Status.NODATA


async def test_aliases_in_a_circle_are_nonsense(lab):
    it = await lab({("a.test", "CNAME"): ["b.test."], ("b.test", "CNAME"): ["a.test."]})
    assert (await it.ask("a.test")).status is Status.NONSENSE


@pytest.mark.parametrize("negative_ttl", [60, None])
async def test_no_such_record_and_no_such_name_are_answers_with_soa_or_without(lab, negative_ttl):
    it = await lab(server=DnsServer({("name.test", "A"): ["192.0.2.1"]}, negative_ttl=negative_ttl))
    assert (await it.ask("name.test", "TXT")).status is Status.NODATA
    assert (await it.ask("other.test")).status is Status.NXDOMAIN
    assert (await it.ask("other.test")).certain


async def test_what_does_not_fit_into_a_packet_is_fetched_over_tcp(lab):
    long = " ".join(f'"{letter * 200}"' for letter in "abcdefghijklmnop")
    it = await lab(server=DnsServer({("big.test", "TXT"): [long]}, faults={"big.test": Fault.TRUNCATED}))
    answer = await it.ask("big.test", "TXT")
    assert [len(record) for record in answer.records] == [3200]
    assert [asked.transport for asked in it.server.asked] == ["udp", "udp", "tcp"]  # plainly, and twice by c-ares


# --- what is no answer -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Fault.SILENCE, Status.TIMEOUT),
        (Fault.SERVFAIL, Status.REFUSED),
        (Fault.REFUSED, Status.REFUSED),
        (Fault.NOTIMP, Status.REFUSED),
        (Fault.GARBAGE, Status.NONSENSE),
        (Fault.WRONG_ID, Status.TIMEOUT),
        (Fault.WRONG_QUESTION, Status.TIMEOUT),
        (Fault.WRONG_OWNER, Status.NONSENSE),
        (Fault.WRONG_TYPE, Status.NONSENSE),
    ],
)
async def test_a_server_that_misbehaves_gives_no_evidence(lab, fault, status):
    it = await lab({("name.test", "A"): ["192.0.2.1"], ("bad.test", "A"): fault}, timeout=SOON, tries=1)
    answer = await it.ask("bad.test")
    assert (answer.status, answer.certain, answer.records) == (status, False, ())
    assert (await it.ask("name.test")).status is Status.OK  # the channel has taken no harm


class Mangling(DnsServer):
    """Changes a few octets of every answer behind the id, and sometimes cuts it."""

    dice = random.Random(20)

    def _wire(self, *question) -> bytes | None:
        wire = bytearray(super()._wire(*question) or b"")
        for _ in range(self.dice.randrange(1, 6)):
            wire[self.dice.randrange(2, len(wire))] = self.dice.randrange(256)
        return bytes(wire[: self.dice.randrange(2, len(wire))] if self.dice.random() < 0.2 else wire)


async def test_whatever_octets_come_the_question_ends_with_some_status(lab):
    zone = {(f"n{number}.test", rtype): texts for number, (rtype, texts, _) in enumerate(RECORDS * 40)}
    it = await lab(server=Mangling(zone), timeout=SOON, tries=1)
    answers = await asyncio.gather(*(it.ask(*question) for question in zone))
    assert len(answers) == 320
    for answer in answers:
        assert bool(answer.records) == (answer.status is Status.OK)


async def test_records_of_a_right_and_a_wrong_owner_are_told_apart():
    a = pycares.QUERY_TYPE_A
    records = [
        pycares.DNSRecord("other.test", a, 1, 5, pycares.ARecordData("192.0.2.66")),
        pycares.DNSRecord("NAME.test", a, 1, 9, pycares.ARecordData("192.0.2.1")),
    ]
    result = pycares.DNSResult(answer=records, authority=[], additional=[])
    assert read("name.test", "A", result) == Answer(Status.OK, ("192.0.2.1",), 9.0)


async def test_a_port_where_nobody_listens_is_a_timeout():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    resolver = AiodnsResolver(Settings(nameservers=(f"127.0.0.1:{port}",), timeout=SOON, tries=1))
    assert (await resolver.ask("name.test", "A")).status is Status.TIMEOUT
    await resolver.close()


async def test_the_second_nameserver_answers_where_the_first_is_dead(lab):
    dead = await lab({("name.test", "A"): Fault.SILENCE})
    good = await lab({("name.test", "A"): ["192.0.2.1"]})
    both = AiodnsResolver(Settings(nameservers=(dead.server.address, good.server.address), timeout=SOON, tries=4))
    assert (await both.ask("name.test", "A")).records == ("192.0.2.1",)
    await both.close()


async def test_an_unanswered_question_does_not_hold_up_another(lab):
    it = await lab({("dead.test", "A"): ["192.0.2.1"], ("name.test", "A"): ["192.0.2.2"]})
    go = it.server.hold("dead.test")
    waiting = asyncio.create_task(it.ask("dead.test"))
    await it.server.arrival("dead.test")
    assert (await it.ask("name.test")).records == ("192.0.2.2",)
    assert not waiting.done()
    go.set()
    assert (await waiting).records == ("192.0.2.1",)


async def test_a_question_that_finds_no_place_in_time_is_a_timeout(lab):
    it = await lab({("a.test", "A"): ["192.0.2.1"]}, concurrency=1, timeout=SOON, tries=1)
    assert it.resolver._places.take()  # as a question does that takes longer than everybody's patience
    assert (await it.ask("a.test")).status is Status.TIMEOUT
    assert it.server.asked == []


async def test_more_questions_than_places_are_asked_one_after_another(lab):
    it = await lab({(f"n{number}.test", "A"): ["192.0.2.1"] for number in range(10)}, concurrency=2)
    answers = await asyncio.gather(*(it.ask(f"n{number}.test") for number in range(10)))
    assert {answer.status for answer in answers} == {Status.OK}


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("", Status.NXDOMAIN),
        (".", Status.NXDOMAIN),
        ("a..test", Status.NXDOMAIN),
        (".test", Status.NXDOMAIN),
        ("a" * 64 + ".test", Status.NXDOMAIN),
        (".".join(["a" * 49] * 6), Status.NXDOMAIN),
        ("a\x7fb.test", Status.NONSENSE),
        ("a b.test", Status.NONSENSE),
        ("a\\.b.test", Status.NONSENSE),
        ("a\0b.test", Status.NONSENSE),
        ("a\r\n.test", Status.NONSENSE),
        ("bücher.test", Status.NONSENSE),
    ],
)
async def test_a_name_that_cannot_be_asked_for_is_not_asked_for(lab, name, status):
    it = await lab()
    assert (await it.ask(name)).status is status
    assert it.server.asked == []


# What stands in a local part or in HELO, and so in the names that macros of SPF make.
SEEN = ["bounce+1=ann._spf.test", "66.2.0.192._ip.[192.0.2.66]._ehlo.test", "o'brien.test", "a!#%&,:<>?^`{|}~b.test"]


@pytest.mark.parametrize("name", SEEN)
async def test_a_name_of_octets_that_can_be_seen_is_asked_for(lab, name):
    it = await lab({(name, "A"): ["127.0.0.2"]})
    assert (await it.ask(name)).records == ("127.0.0.2",)
    assert (await it.ask(name, "TXT")).status is Status.NODATA
    assert (await it.ask(f"x{name}")).status is Status.NXDOMAIN
    assert it.resolver.cached(name, "A") is not None


@pytest.mark.parametrize(
    ("fault", "status", "packets"),
    [
        (Fault.TRUNCATED, Status.NONSENSE, 2),
        (Fault.GARBAGE, Status.NONSENSE, 2),
        (Fault.SILENCE, Status.TIMEOUT, 2),
        (Fault.SERVFAIL, Status.REFUSED, 1),
    ],
)
async def test_where_a_plain_question_does_not_do_such_a_name_has_no_answer(lab, fault, status, packets):
    """And no nameserver is sick for what a stranger wrote."""
    name = SEEN[0]
    it = await lab({(name, "A"): fault}, timeout=SOON, failure_ttl=0.0)
    answers = [await it.ask(name) for _ in range(2 * SICK_AFTER if fault is not Fault.SERVFAIL else 1)]
    assert {answer.status for answer in answers} == {status}
    assert {(asked.name, asked.transport) for asked in it.server.asked} == {(name, "udp")}
    assert len(it.server.asked) == packets * len(answers)
    assert not any(server.sick for server in it.resolver._servers)


async def test_such_a_name_is_asked_of_another_nameserver_where_one_does_not_answer(lab, monkeypatch):
    good, bad = await lab({(SEEN[0], "A"): ["127.0.0.2"]}), await lab({(SEEN[0], "A"): Fault.REFUSED})

    async def named() -> tuple[str, ...]:
        return bad.server.address, good.server.address

    monkeypatch.setattr("gatekeeper.dns.resolver.system_nameservers", named)
    for servers in ((bad.server.address, good.server.address), (good.server.address, bad.server.address), ()):
        both = AiodnsResolver(Settings(nameservers=servers))
        try:
            assert (await both.ask(SEEN[0], "A")).records == ("127.0.0.2",)
        finally:
            await both.close()
            assert (await both.ask("after." + SEEN[0], "A")).status is Status.TIMEOUT


@given(st.text(max_size=300))
def test_any_text_is_a_name_or_says_why_not(text):
    name = text.lower().removesuffix(".")
    if impossible(name) is None:
        assert name.isascii()
        assert 0 < len(name) <= 253


# --- the cache -------------------------------------------------------------------------------------------------------


async def test_an_answer_is_kept_for_its_ttl_and_not_longer(lab):
    it = await lab({("name.test", "A"): ["192.0.2.1"]})
    it.server.ttls["name.test", "A"] = 1
    first = await it.ask("name.test")
    it.clock.now += 0.75
    kept = it.resolver.cached("name.test", "A")
    it.clock.now += 0.25
    assert (first.ttl, kept.ttl, it.resolver.cached("name.test", "A")) == (1.0, 0.25, None)


async def test_an_expired_answer_is_asked_for_again(lab):
    it = await lab({("name.test", "A"): ["192.0.2.1"]})
    await it.ask("name.test")
    it.server.add("name.test", "A", ["192.0.2.2"])
    it.clock.now += 299
    assert (await it.ask("name.test")).records == ("192.0.2.1",)
    it.clock.now += 1
    assert (await it.ask("name.test")).records == ("192.0.2.2",)
    assert it.server.count("name.test") == 2


@pytest.mark.parametrize(("ttl", "kept"), [(0, 5), (30, 30), (2**31 - 1, 600)])
async def test_the_ttl_is_held_between_floor_and_ceiling(lab, ttl, kept):
    it = await lab(server=DnsServer({("name.test", "A"): ["192.0.2.1"]}, ttl=ttl), ttl_floor=5.0, ttl_ceiling=600.0)
    assert (await it.ask("name.test")).ttl == kept


@pytest.mark.parametrize("negative_ttl", [3600, None])
@pytest.mark.parametrize("known", [True, False])
async def test_what_does_not_exist_is_remembered_for_our_own_time_whatever_the_soa_says(lab, known, negative_ttl):
    zone = {("name.test", "TXT"): ['"x"']} if known else {}
    it = await lab(server=DnsServer(zone, negative_ttl=negative_ttl), negative_ttl=60.0)
    status = Status.NODATA if known else Status.NXDOMAIN
    assert (await it.ask("name.test")).status is status
    it.server.add("name.test", "A", ["192.0.2.1"])
    it.clock.now += 59
    assert (await it.ask("name.test")).status is status
    it.clock.now += 1
    assert (await it.ask("name.test")).status is Status.OK


async def test_a_failure_is_remembered_for_a_moment_only(lab):
    it = await lab({("name.test", "A"): Fault.SERVFAIL}, tries=1, failure_ttl=2.0)
    assert (await it.ask("name.test")).status is Status.REFUSED
    packets = it.server.count("name.test")
    it.clock.now += 1.9
    assert (await it.ask("name.test")).status is Status.REFUSED
    assert it.server.count("name.test") == packets
    it.server.add("name.test", "A", ["192.0.2.1"])
    it.clock.now += 0.1
    assert (await it.ask("name.test")).status is Status.OK


async def test_the_cache_never_holds_more_than_its_size_and_keeps_what_is_used(lab):
    it = await lab({("used.test", "A"): ["192.0.2.1"]}, cache_size=20)
    await it.ask("used.test")
    for number in range(100):
        await it.ask(f"n{number}.test")
        assert it.resolver.cached("used.test", "A") is not None
        assert len(it.resolver._young) + len(it.resolver._old) <= 20
    assert it.resolver.cached("n0.test", "A") is None


async def test_the_channel_is_renewed_without_hurting_what_is_under_way_on_the_old_one(lab):
    it = await lab({("slow.test", "A"): ["192.0.2.1"], ("name.test", "A"): ["192.0.2.2"]}, negative_ttl=60.0)
    go = it.server.hold("slow.test")
    slow = asyncio.create_task(it.ask("slow.test"))
    await it.server.arrival("slow.test")
    it.clock.now += 60
    assert (await it.ask("name.test")).records == ("192.0.2.2",)
    go.set()
    assert (await slow).records == ("192.0.2.1",)
    assert it.resolver._servers[0]._retired == set()


# --- single flight ---------------------------------------------------------------------------------------------------


async def test_fifty_equal_questions_at_once_are_one_packet(lab):
    it = await lab({("name.test", "A"): ["192.0.2.1"]})
    answers = await asyncio.gather(*(it.ask("name.test") for _ in range(50)))
    assert {answer.records for answer in answers} == {("192.0.2.1",)}
    assert len(it.server.asked) == 1


async def test_one_who_gives_up_does_not_take_the_answer_from_the_others(lab):
    it = await lab({("name.test", "A"): ["192.0.2.1"]})
    go = it.server.hold("name.test")
    first, second = (asyncio.create_task(it.ask("name.test")) for _ in range(2))
    await it.server.arrival("name.test")
    first.cancel()
    await asyncio.wait([first])
    go.set()
    assert (await second).records == ("192.0.2.1",)
    assert first.cancelled()


async def test_an_answer_nobody_waits_for_any_more_is_still_kept(lab):
    it = await lab({("name.test", "A"): ["192.0.2.1"]})
    go = it.server.hold("name.test")
    only = asyncio.create_task(it.ask("name.test"))
    await it.server.arrival("name.test")
    (flight,) = it.resolver._flights.values()
    only.cancel()
    go.set()
    await flight
    assert it.resolver.cached("name.test", "A") is not None


async def test_many_questions_are_asked_at_once_each_once(lab):
    it = await lab({(f"n{number}.test", "A"): [f"192.0.2.{number}"] for number in range(3)})
    await it.ask("n0.test")
    go = it.server.hold("n1.test")
    questions = [("n0.test", "A"), ("n1.test", "A"), ("n2.test", "A"), ("n1.test", "A")]
    waiting = asyncio.create_task(ask_all(it.resolver, questions))
    await it.server.arrival("n1.test")
    await it.server.arrival("n2.test")
    go.set()
    answers = await waiting
    assert {name: answers[name, rtype].records[0] for name, rtype in questions} == {
        f"n{number}.test": f"192.0.2.{number}" for number in range(3)
    }
    assert len(it.server.asked) == 3


# --- closing, counting -----------------------------------------------------------------------------------------------


async def test_closing_ends_questions_under_way_and_later_ones(lab):
    it = await lab({("name.test", "A"): ["192.0.2.1"]}, concurrency=1)
    it.server.hold("name.test")
    waiting = [asyncio.create_task(it.ask(name)) for name in ("name.test", "queued.test")]
    await it.server.arrival("name.test")
    await it.resolver.close()
    await it.resolver.close()
    assert [(await each).status for each in waiting] == [Status.TIMEOUT, Status.TIMEOUT]
    assert (await it.ask("other.test")).status is Status.TIMEOUT


async def test_closing_one_that_was_never_asked_does_nothing():
    await AiodnsResolver(Settings()).close()


async def test_questions_that_were_sent_are_counted_by_their_end(lab):
    it = await lab({("name.test", "A"): ["192.0.2.1"]})
    before = DNS_QUESTIONS["ok"]._value.get()
    await it.ask("name.test")
    await it.ask("name.test")
    assert DNS_QUESTIONS["ok"]._value.get() == before + 1


@pytest.mark.parametrize(("fault", "why"), [(Fault.TRUNCATED, "odd"), (Fault.SILENCE, "late")])
async def test_questions_that_one_packet_does_not_settle_are_counted(lab, fault, why):
    it = await lab(server=DnsServer({("name.test", "A"): ["192.0.2.1"]}, faults={"name.test": fault}), timeout=SOON)
    before = {each: counter._value.get() for each, counter in DNS_FURTHER._children.items()}
    await it.ask("name.test")
    after = {each: counter._value.get() for each, counter in DNS_FURTHER._children.items()}
    assert {each for each in after if after[each] > before[each]} == {why}


async def test_an_error_of_one_nameserver_is_asked_of_the_next_and_counted(lab):
    names = ("a.test", "b.test")  # each nameserver is the first for one of them
    good = await lab({(name, "A"): ["192.0.2.1"] for name in names})
    bad = await lab({(name, "A"): Fault.SERVFAIL for name in names})
    before = DNS_FURTHER["error"]._value.get()
    both = AiodnsResolver(Settings(nameservers=(bad.server.address, good.server.address)))
    try:
        assert [(await both.ask(name, "A")).status for name in names] == [Status.OK, Status.OK]
    finally:
        await both.close()
    assert DNS_FURTHER["error"]._value.get() == before + 1


def test_every_status_that_a_question_can_end_with_has_its_counter():
    ended = {status.value for status in Status} - {Status.BUDGET.value}
    assert set(DNS_QUESTIONS._children) >= ended


# --- budgets ---------------------------------------------------------------------------------------------------------


async def test_a_spent_budget_ends_questions_over_all_who_share_it():
    fake = FakeResolver({("a.test", "A"): ["192.0.2.1"]})
    budget = Budget(2)
    one, other = BudgetedResolver(fake, budget), BudgetedResolver(fake, budget)
    statuses = [(await each.ask("a.test", "A")).status for each in (one, other, one)]
    assert statuses == [Status.OK, Status.OK, Status.BUDGET]
    assert len(fake.asked) == 2
    assert not Answer(Status.BUDGET).certain


async def test_what_is_in_the_cache_costs_no_budget(lab):
    it = await lab({("a.test", "A"): ["192.0.2.1"]})
    resolver = BudgetedResolver(it.resolver, Budget(1))
    statuses = [(await resolver.ask(name, "A")).status for name in ("a.test", "a.test", "b.test", "a.test")]
    assert statuses == [Status.OK, Status.OK, Status.BUDGET, Status.OK]
    assert resolver.cached("a.test", "A") is not None


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("127.0.0.1:53", "127.0.0.1:53"),
        ("127.0.0.1", "127.0.0.1:53"),
        ("[::1]:5353", "[::1]:5353"),
        ("::1", "[::1]:53"),
        ("[2001:db8::1]", "[2001:db8::1]:53"),
    ],
)
def test_a_nameserver_is_an_address_with_a_port_or_without(written, meant):
    assert parse_nameserver(written) == meant


@pytest.mark.parametrize(
    "wrong",
    [
        {"nameservers": ("ns.example.org",)},
        {"nameservers": ("127.0.0.1:0",)},
        {"nameservers": ("127.0.0.1:dns",)},
        {"nameservers": ("127.0.0.1:53,127.0.0.2:53",)},
        {"timeout": 0.0},
        {"tries": 0},
        {"ttl_floor": 10.0, "ttl_ceiling": 5.0},
        {"negative_ttl": 0.0},
        {"failure_ttl": 3600.0},
        {"cache_size": 0},
        {"concurrency": 0},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError):
        Settings(**wrong)


async def test_without_nameservers_the_system_s_are_asked():
    resolver = AiodnsResolver(Settings(), Clock())
    assert await resolver.nameservers()
    await resolver.close()


# --- servers in turns, stale answers, hurry --------------------------------------------------------------------------


async def test_servers_take_turns(lab):
    one, two = await lab(), await lab()
    both = AiodnsResolver(Settings(nameservers=(one.server.address, two.server.address)))
    for number in range(10):
        await both.ask(f"n{number}.test", "A")
    assert (len(one.server.asked), len(two.server.asked)) == (5, 5)
    await both.close()


async def test_a_sick_server_is_left_out_and_comes_back_by_itself(lab):
    dead, good = await lab(), await lab()
    clock = Clock()
    both = AiodnsResolver(Settings(nameservers=(dead.server.address, good.server.address), timeout=SOON), clock)
    dead.server.fault = Fault.REFUSED
    for number in range(20):
        assert (await both.ask(f"n{number}.test", "A")).status is Status.NXDOMAIN
    assert len(dead.server.asked) == SICK_AFTER
    clock.now += FIRST_REST
    assert (await both.ask("trial.test", "A")).status is Status.NXDOMAIN
    await dead.server.arrival("trial.test")
    dead.server.fault = None
    clock.now += 10 * FIRST_REST
    await both.ask("again.test", "A")
    await asyncio.gather(*both._trials)
    assert not any(server.sick for server in both._servers)
    await both.close()


async def test_a_slow_server_is_overtaken_by_the_next(lab):
    slow, quick = await lab(), await lab({("name.test", "A"): ["192.0.2.1"]})
    slow.server.hold("name.test")
    both = AiodnsResolver(Settings(nameservers=(quick.server.address, slow.server.address), timeout=SOON, tries=10))
    assert (await both.ask("name.test", "A")).records == ("192.0.2.1",)
    assert slow.server.count("name.test") >= 1
    await both.close()


async def test_a_refusal_of_all_servers_is_a_refusal(lab):
    one, two = await lab({("name.test", "A"): Fault.REFUSED}), await lab({("name.test", "A"): Fault.SERVFAIL})
    both = AiodnsResolver(Settings(nameservers=(one.server.address, two.server.address)))
    assert (await both.ask("name.test", "A")).status is Status.REFUSED
    await both.close()


async def test_an_old_answer_stands_in_while_no_server_answers_as_long_as_is_set(lab):
    it = await lab({("name.test", "A"): ["192.0.2.1"]}, stale_for=1000.0, failure_ttl=2.0)
    await it.ask("name.test")
    it.server.fault = Fault.SERVFAIL
    it.clock.now += 301
    stale = await it.ask("name.test")
    assert (stale.records, stale.ttl) == (("192.0.2.1",), 30.0)
    it.clock.now += 31
    assert (await it.ask("name.test")).records == ("192.0.2.1",)
    it.clock.now += 970  # over a thousand seconds past its time, however often it was asked for
    assert (await it.ask("name.test")).status is Status.REFUSED
    it.server.fault = None
    it.clock.now += 3
    assert (await it.ask("name.test")).ttl == 300


async def test_without_the_setting_an_old_answer_is_none(lab):
    it = await lab({("name.test", "A"): ["192.0.2.1"]})
    await it.ask("name.test")
    it.server.fault = Fault.SERVFAIL
    it.clock.now += 301
    assert (await it.ask("name.test")).status is Status.REFUSED


async def test_once_most_have_answered_the_others_are_hurried_and_their_answers_kept(lab):
    it = await lab(timeout=30.0, tries=1)
    go = it.server.hold("n0.test")
    answers = await ask_all(it.resolver, [(f"n{number}.test", "A") for number in range(6)], hurry=0.01)
    assert [answer.status for answer in answers.values()] == [Status.TIMEOUT] + [Status.NXDOMAIN] * 5
    (flight,) = it.resolver._flights.values()
    go.set()
    assert (await flight).status is Status.NXDOMAIN


async def test_of_questions_in_a_hurry_each_tells_when_it_was_answered_even_by_a_spent_budget(lab):
    it = await lab({("n0.test", "A"): ["192.0.2.1"]})
    took: list[str] = []
    answers = await ask_all(
        BudgetedResolver(it.resolver, Budget(2)),
        [(f"n{number}.test", "A") for number in range(4)],
        hurry=30.0,
        took=took.append,
    )
    assert [answer.status for answer in answers.values()].count(Status.BUDGET) == 2
    assert answers["n0.test", "A"].records == ("192.0.2.1",)
    assert sorted(took) == ["n0.test", "n1.test", "n2.test", "n3.test"]


async def test_whoever_leaves_in_a_hurry_takes_no_answer_from_the_others(lab):
    it = await lab(timeout=30.0, tries=1)
    held = [it.server.hold(f"n{number}.test") for number in range(2)]
    questions = [("n0.test", "A"), ("n1.test", "A")]
    leaving, staying = (asyncio.create_task(ask_all(it.resolver, questions, hurry=30.0)) for _ in range(2))
    await it.server.arrival("n1.test")
    leaving.cancel()
    await asyncio.wait([leaving])
    for event in held:
        event.set()
    assert [answer.status for answer in (await staying).values()] == [Status.NXDOMAIN] * 2
    assert it.server.count("n0.test") == 1


# --- plain questions and what becomes of the others ------------------------------------------------------------------


async def test_a_plain_question_needs_no_task_and_no_c_ares(lab):
    it = await lab({("name.test", "A"): ["192.0.2.1"]})
    before = asyncio.all_tasks()
    flight = it.resolver.start("name.test", "A")
    assert asyncio.all_tasks() == before
    assert (await flight).records == ("192.0.2.1",)
    assert it.resolver._servers[0]._line is None


async def test_what_gets_no_answer_in_time_is_asked_again_and_ends_in_time(lab):
    it = await lab({("lost.test", "A"): ["192.0.2.1"]}, timeout=SOON, tries=10)
    it.server.faults["lost.test"] = Fault.SILENCE
    waiting = asyncio.create_task(it.ask("lost.test"))
    await it.server.arrival("lost.test")
    del it.server.faults["lost.test"]
    assert (await waiting).records == ("192.0.2.1",)
    assert it.server.count("lost.test") >= 2
    assert it.resolver._servers[0]._line is not None
    assert it.resolver._further == set()


async def test_of_one_try_there_is_no_second(lab):
    it = await lab({("lost.test", "A"): Fault.SILENCE}, timeout=SOON, tries=1)
    assert (await it.ask("lost.test")).status is Status.TIMEOUT
    assert it.server.count("lost.test") == 1
    assert it.resolver._servers[0]._failures == 1


async def test_a_question_of_two_tries_ends_when_both_are_over(lab):
    it = await lab({("lost.test", "A"): Fault.SILENCE}, timeout=SOON, tries=2)
    assert (await it.ask("lost.test")).status is Status.TIMEOUT
    assert it.server.count("lost.test") >= 2
    assert it.resolver._servers[0]._failures == 1


async def test_a_refusal_of_the_first_server_is_nothing_where_another_answers(lab):
    refusing = await lab({("name.test", "A"): Fault.REFUSED})
    good = await lab({("name.test", "A"): ["192.0.2.1"]})
    # The turn of the second is the first one.
    both = AiodnsResolver(Settings(nameservers=(good.server.address, refusing.server.address)))
    assert (await both.ask("name.test", "A")).records == ("192.0.2.1",)
    assert (refusing.server.count("name.test"), good.server.count("name.test")) == (1, 1)
    assert [server._failures for server in both._servers] == [0, 1]
    await both.close()


async def test_each_question_keeps_its_place_until_it_has_ended_in_whatever_way(lab):
    zone = {
        ("ok.test", "A"): ["192.0.2.1"],
        ("odd.test", "A"): Fault.GARBAGE,
        ("no.test", "A"): Fault.REFUSED,
        ("lost.test", "A"): Fault.SILENCE,
    }
    it = await lab(zone, timeout=SOON, tries=2, concurrency=1)
    statuses = []
    for name, _ in zone:
        waiting = it.resolver.start(name, "A")
        assert not it.resolver._places.take()
        statuses.append((await waiting).status)
        assert it.resolver._places.take()
        it.resolver._places.give_back()
    assert statuses == [Status.OK, Status.NONSENSE, Status.REFUSED, Status.TIMEOUT]
    assert it.resolver._flights == {}


async def test_closing_ends_what_is_asked_further_too(lab):
    it = await lab({("name.test", "A"): ["192.0.2.1"]}, timeout=SOON, tries=10)
    it.server.hold("name.test")
    waiting = asyncio.create_task(it.ask("name.test"))
    while not it.resolver._further:
        await asyncio.wait([waiting], timeout=SOON)
    await it.resolver.close()
    assert (await waiting).status is Status.TIMEOUT


async def test_a_bug_in_what_is_asked_further_reaches_who_waits(lab, monkeypatch):
    it = await lab({("odd.test", "A"): Fault.GARBAGE}, tries=1)

    async def broken(*_: object) -> Answer:
        raise LookupError

    monkeypatch.setattr(it.resolver._servers[0], "ask", broken)
    with pytest.raises(LookupError):
        await it.ask("odd.test")
    assert it.resolver._flights == {}


async def test_a_question_that_waited_for_its_place_ends_in_time_all_the_same(lab):
    it = await lab({("lost.test", "A"): Fault.SILENCE}, concurrency=1, timeout=10 * SOON, tries=1)
    assert it.resolver._places.take()
    flight = it.resolver.start("lost.test", "A")
    await asyncio.wait([flight], timeout=5 * SOON)
    it.resolver._places.give_back()
    assert (await flight).status is Status.TIMEOUT
    assert it.resolver._servers[0].stub._line is None  # which would wait for its whole time


async def test_many_questions_wait_for_places_without_tasks(lab):
    it = await lab({(f"n{number}.test", "A"): ["192.0.2.1"] for number in range(100)}, concurrency=10)
    before = asyncio.all_tasks()
    flights = [it.resolver.start(f"n{number}.test", "A") for number in range(100)]
    assert asyncio.all_tasks() == before
    assert {(await flight).status for flight in flights} == {Status.OK}
    assert it.resolver._servers[0]._line is None
