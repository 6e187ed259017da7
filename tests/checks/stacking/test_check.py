"""Recipient stacking: slowed, then blind, then refused; room for good clients; it ends by itself."""

from ipaddress import ip_address

import pytest

from gatekeeper.checks.base import Tools
from gatekeeper.checks.keys import client_key, network_key
from gatekeeper.checks.stacking import BLIND, BLOCKED, SLOW, Blocked, Probing, Stacking
from gatekeeper.model import Action, Address, Envelope, Kind, Mail, Recipient, Session, Stage
from gatekeeper.store.base import StoreAway
from gatekeeper.store.memory import MemoryStore
from tests.support.fake_resolver import FakeResolver

CHECK = Stacking(budget=10, blind_at=2, block_at=3, refill=3600, network_factor=4, block_for=600)


class Clock:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tools(clock) -> Tools:
    return Tools(FakeResolver({}), MemoryStore(), clock, "mx.example.org", frozenset({"example.org"}))


def mail_from(address: str | None, stage: Stage = Stage.RCPT) -> Mail:
    session = Session("s", "smtp", 0.0, address=ip_address(address) if address else None)
    envelope = Envelope("e", sender=Address("", ""))
    return Mail(session, envelope, recipient=Recipient(Address("who", "example.org")), stage=stage)


async def rules(mail: Mail, tools: Tools, stage: Stage = Stage.RCPT) -> list[str]:
    mail.stage = stage
    return [f.rule for f in await CHECK.inspect(mail, tools)]


async def probe(mail: Mail, tools: Tools, times: int) -> list[list[str]]:
    """RCPT after RCPT to names that the next hop refuses, when it is asked."""
    steps = []
    for n in range(times):
        mail.recipient = Recipient(Address(f"{mail.session.address}-{n}", "example.org"))
        step = await rules(mail, tools)
        if BLIND not in step and BLOCKED not in step:
            mail.session.counters.unknown += 1
        steps.append(step)
    return steps


async def test_a_client_is_slowed_then_blind_then_refused(tools):
    steps = await probe(mail_from("192.0.2.1"), tools, 40)
    order = [s[0] if s else "" for s in steps]
    assert order[:10] == [""] * 10
    assert order[10:19] == [SLOW] * 9
    assert set(order[19:29]) <= {SLOW, BLIND}
    assert order[-1] == BLOCKED
    assert order == sorted(order, key=["", SLOW, BLIND, BLOCKED].index)


async def test_the_next_session_of_a_refused_client_is_refused_at_once(tools, clock):
    await probe(mail_from("192.0.2.1"), tools, 40)
    mail = mail_from("192.0.2.1")
    [finding] = await CHECK.inspect(mail_from("192.0.2.1", Stage.CONNECT), tools)
    assert finding.rule == BLOCKED
    assert isinstance(finding.evidence, Blocked)
    assert finding.evidence.until == clock.now + 600
    clock.now += 601
    assert await rules(mail, tools, Stage.CONNECT) == []


async def test_a_spent_budget_refills(tools, clock):
    await probe(mail_from("192.0.2.1"), tools, 15)
    assert await rules(mail_from("192.0.2.1"), tools) == [SLOW]
    clock.now += 3600
    assert await rules(mail_from("192.0.2.1"), tools) == []


async def test_sessions_of_one_client_share_a_budget(tools):
    for _ in range(11):
        mail = mail_from("192.0.2.1")
        await probe(mail, tools, 1)
        await CHECK.settle(mail.session, tools)
    assert await rules(mail_from("192.0.2.1"), tools) == [SLOW]
    assert await rules(mail_from("198.51.100.1"), tools) == []


async def test_a_network_has_a_budget_of_its_own(tools):
    for host in range(1, 50):
        mail = mail_from(f"192.0.2.{host}")
        await probe(mail, tools, 1)
        await CHECK.settle(mail.session, tools)
    mail = mail_from("192.0.2.77")
    [finding] = await CHECK.inspect(mail, tools)
    assert finding.rule == SLOW
    assert isinstance(finding.evidence, Probing)
    assert finding.evidence.whom == "net:192.0.2.0/24"


async def test_a_networks_block_spares_a_client_whose_mail_was_wanted(tools, clock):
    await tools.store.remember(client_key(ip_address("192.0.2.9")), accepted=3, refused=0, now=clock.now)
    for host in range(100, 250):
        mail = mail_from(f"192.0.2.{host}")
        await probe(mail, tools, 2)
        await CHECK.settle(mail.session, tools)
    assert await rules(mail_from("192.0.2.8"), tools, Stage.CONNECT) == [BLOCKED]
    assert await rules(mail_from("192.0.2.9"), tools, Stage.CONNECT) == []


async def test_giving_up_after_recipients_were_accepted_costs(tools):
    mail = mail_from("192.0.2.1")
    mail.session.counters.abandoned = 21
    await CHECK.settle(mail.session, tools)
    assert await rules(mail_from("192.0.2.1"), tools) == [SLOW]


async def test_verify_costs_and_can_end_in_a_block(tools):
    mail = mail_from("192.0.2.1")
    mail.session.counters.verifies = 100
    await CHECK.settle(mail.session, tools)
    assert await rules(mail_from("192.0.2.1"), tools, Stage.CONNECT) == [BLOCKED]


async def test_nothing_is_charged_twice(tools):
    mail = mail_from("192.0.2.1")
    mail.session.counters.unknown = 9
    for _ in range(5):
        assert await rules(mail, tools) == []
    await CHECK.settle(mail.session, tools)
    assert await rules(mail_from("192.0.2.1"), tools) == []


@pytest.mark.slow
async def test_a_smarthost_with_two_typos_in_a_hundred_is_never_slowed(tools, clock):
    key, net = client_key(ip_address("192.0.2.1")), network_key(ip_address("192.0.2.1"))
    for sent in range(5000):
        if sent % 10 == 0:
            mail = mail_from("192.0.2.1")
        mail.session.counters.unknown += sent % 50 == 49
        assert await rules(mail, tools) == []
        mail.session.counters.messages += 1
        for k in (key, net):
            await tools.store.remember(k, accepted=1, refused=0, now=clock.now)


async def test_a_block_ends_the_other_sessions_of_the_client_too(tools):
    other = mail_from("192.0.2.1")
    assert await rules(other, tools) == []
    await probe(mail_from("192.0.2.1"), tools, 40)
    assert await rules(other, tools) == [BLOCKED]


async def test_a_mail_server_that_only_tries_again_gets_out_of_its_block(tools, clock):
    """What waits in its queue is tried every ten minutes; it must not be kept out by that for as long as it waits."""
    check = Stacking()
    waiting = [f"known{n}" for n in range(10)]
    mail = mail_from("192.0.2.1")
    for _ in range(25):  # a list of old addresses
        mail.stage = Stage.RCPT
        mail.session.counters.unknown += BLIND not in [f.rule for f in await check.inspect(mail, tools)]
    await check.settle(mail.session, tools)
    rounds = 0
    while waiting:
        rounds += 1
        assert rounds < 24, "four hours and still nothing delivered"
        clock.now += 600
        mail = mail_from("192.0.2.1", Stage.CONNECT)
        if await check.inspect(mail, tools):
            continue
        for name in list(waiting):
            mail.stage = Stage.RCPT
            found = [f.rule for f in await check.inspect(mail, tools)]
            if BLOCKED in found:
                break
            if BLIND not in found:
                waiting.remove(name)


async def test_a_large_budget_comes_back_as_fast_as_a_small_one(tools, clock):
    """A provider with one stale address in a hundred, a thousand mails an hour, for days."""
    address = ip_address("192.0.2.1")
    keys = client_key(address), network_key(address)
    for key in keys:
        await tools.store.remember(key, accepted=2000, refused=0, now=clock.now)
    for _hour in range(24 * 14):
        mail = mail_from("192.0.2.1")
        mail.session.counters.unknown = 15
        assert await rules(mail, tools) == []
        await CHECK.settle(mail.session, tools)
        clock.now += 3600


async def test_a_wanted_client_does_not_answer_for_its_neighbours(tools, clock):
    await tools.store.remember(client_key(ip_address("192.0.2.9")), accepted=3, refused=0, now=clock.now)
    for host in range(100, 200):
        mail = mail_from(f"192.0.2.{host}")
        await probe(mail, tools, 1)
        await CHECK.settle(mail.session, tools)
    assert await rules(mail_from("192.0.2.8"), tools) == [BLIND]
    assert await rules(mail_from("192.0.2.9"), tools) == []


@pytest.mark.parametrize(("name", "counted"), [("postmaster", False), ("Abuse", False), ("who", True)])
async def test_writing_to_postmaster_while_names_are_not_told_is_no_probe(tools, name, counted):
    await probe(mail_from("192.0.2.1"), tools, 22)
    mail = mail_from("192.0.2.1")
    mail.recipient = Recipient(Address(name, "example.org"))
    spent = set()
    for n in range(5):
        if counted:
            mail.recipient = Recipient(Address(f"{name}{n}", "example.org"))
        [finding] = await CHECK.inspect(mail, tools)
        assert finding.rule == BLIND
        spent.add(finding.evidence.spent)
    assert (len(spent) > 1) is counted


@pytest.mark.parametrize("what", ["unknown", "abandoned", "verifies"])
async def test_many_sessions_of_one_question_each_add_up(tools, what):
    """QUIT, RSET or VRFY after each name, a new connection for the next."""
    for _ in range(45 if what == "unknown" else 85):
        mail = mail_from("192.0.2.1", Stage.CONNECT)
        if await CHECK.inspect(mail, tools):
            return
        setattr(mail.session.counters, what, 1)
        await CHECK.settle(mail.session, tools)
    pytest.fail("never blocked")


async def test_moving_within_a_64_or_a_56_does_not_begin_anew(tools):
    for n in range(35):
        mail = mail_from(f"2001:db8:1:2::{n:x}")
        mail.session.counters.unknown = 1
        await CHECK.settle(mail.session, tools)
    assert await rules(mail_from("2001:db8:1:2:ffff::1"), tools, Stage.CONNECT) == [BLOCKED]
    for n in range(130):
        mail = mail_from(f"2001:db8:2:{n % 256:x}::1")
        mail.session.counters.unknown = 1
        await CHECK.settle(mail.session, tools)
    assert await rules(mail_from("2001:db8:2:ff::1"), tools, Stage.CONNECT) == [BLOCKED]
    assert await rules(mail_from("2001:db8:2:100::1"), tools, Stage.CONNECT) == []


async def test_the_null_sender_alone_is_no_reason(tools):
    mail = mail_from("192.0.2.1")
    mail.session.counters.recipients = 1000
    assert await rules(mail, tools) == []


async def test_ipv6_hosts_of_one_64_are_one_client():
    assert client_key(ip_address("2001:db8:1:2::1")) == client_key(ip_address("2001:db8:1:2:ffff::9"))
    assert network_key(ip_address("2001:db8:1:2::1")) == network_key(ip_address("2001:db8:1:ff::1"))
    assert client_key(ip_address("192.0.2.1")) == "ip:192.0.2.1"
    assert network_key(ip_address("192.0.2.1")) == "net:192.0.2.0/24"


async def test_where_the_address_cannot_be_known_nothing_is_found(tools):
    assert await rules(mail_from(None), tools) == []
    assert await rules(mail_from(None), tools, Stage.CONNECT) == []
    await CHECK.settle(mail_from(None).session, tools)


async def test_a_store_that_is_away_is_missing_evidence_not_a_finding(tools):
    class Away(MemoryStore):
        async def past(self, clients, buckets, *, now):
            raise StoreAway("gone")

    away = Tools(tools.resolver, Away(), tools.clock, tools.hostname, tools.domains)
    with pytest.raises(StoreAway):
        await CHECK.inspect(mail_from("192.0.2.1"), away)


def test_its_rules_decide_mildly_and_alike():
    by_name = {r.name: r for r in CHECK.rules()}
    assert by_name[BLIND].decides == Action.DEFER
    assert by_name[BLOCKED].decides == Action.DROP
    assert by_name[SLOW].decides is None
    assert all(r.kind == Kind.RATE for r in by_name.values())


@pytest.mark.parametrize("bad", [{"budget": 0}, {"refill": 0}, {"blind_at": 0.5}, {"blind_at": 5, "block_at": 4}])
def test_settings_that_make_no_sense_are_refused(bad):
    with pytest.raises(ValueError, match=r"budget|blind_at"):
        Stacking(**bad)
