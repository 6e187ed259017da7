"""The catastrophe: DNS lists die, list the world, refuse us, are hijacked, each in turn and then all at once.

Lists of addresses, of domains, of mail addresses by their digest, and of welcome clients and domains.

No good mail is rejected because of it, spam on the lists that are well stays caught, the operator is told within one
test interval, and each list votes again by itself. The real gate, resolver, desk and watch; the watch's time is faked.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import pytest

from gatekeeper import app
from gatekeeper.config import configuration as config
from gatekeeper.dns.fresh import Fresh
from gatekeeper.dns.health import State
from gatekeeper.dns.lists import reversed_labels
from gatekeeper.dns.name_lists import digest
from gatekeeper.model import Action, Address
from gatekeeper.records.document import HEALTH, from_document
from gatekeeper.servers.checking import Told, check
from gatekeeper.store.base import RecordQuery
from gatekeeper.store.memory import MemoryStore
from gatekeeper.watch import Watch, listed_targets
from tests.support.dns_server import DnsServer, Fault

UNWANTED = [f"bl{number}.test" for number in range(9)]
DOMAINS = ["dbl0.test", "dbl1.test"]
MAILBOXES = "hbl.test"
WELCOME, WELCOME_DOMAINS = "wl.test", "dwl.test"
ZONES = [*UNWANTED, *DOMAINS, MAILBOXES, WELCOME, WELCOME_DOMAINS]
INTERVAL = 300.0
OFF = ("helo", "reverse_dns", "spf", "headers", "dkim", "dmarc", "stacking")
TEST_MAILBOX = "test@hbl.example"
DISASTERS = {
    "goes dead": (Fault.SILENCE, State.DEAD),
    "lists the world": (Fault.WILDCARD, State.WORLD),
    "refuses us": (Fault.REFUSING, State.REFUSES),
    "is hijacked": (Fault.HIJACKED, State.WORLD),
}


def settings(nameserver: str, more: str) -> str:
    lists = [
        f'[[checks.dnsbl.lists]]\nzone = "{zone}"\nname = "BL{n}"\nscore = 4.0\nipv6 = false\n'
        for n, zone in enumerate(UNWANTED)
    ]
    lists.append(f'[[checks.dnsbl.lists]]\nzone = "{WELCOME}"\nname = "WL"\nscore = -5.0\nipv6 = false\n')
    lists += [
        f'[[checks.uribl.lists]]\nzone = "{zone}"\nname = "N{n}"\nscore = 6.0\n' for n, zone in enumerate(DOMAINS)
    ]
    lists.append(f'[[checks.uribl.lists]]\nzone = "{MAILBOXES}"\nname = "HBL"\nscore = 6.0\nof = ["from"]\n')
    lists.append(f'hash = "sha1"\ntest_listed = "{TEST_MAILBOX}"\n')
    lists.append(f'[[checks.uribl.lists]]\nzone = "{WELCOME_DOMAINS}"\nname = "DWL"\nscore = -5.0\nof = ["from"]\n')
    off = [f"[checks.{name}]\nenabled = false\n" for name in OFF]
    dns = f'[dns]\nnameservers = ["{nameserver}"]\ntimeout = "1s"\ntries = 4\nhurry = "200ms"\n{more}'
    return "".join(['hostname = "mx.example.org"\n', dns, '[store]\nurl = "memory:"\n', *lists, *off])


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True, slots=True)
class Letter:
    """Whom it comes from; its domain is the author's, and that of the link in it."""

    address: ipaddress.IPv4Address
    domain: str

    @property
    def author(self) -> str:
        return f"a@{self.domain}"

    @property
    def raw(self) -> bytes:
        return f"From: {self.author}\r\nSubject: hello\r\n\r\nhttp://www.{self.domain}/\r\n".encode()

    def name_on(self, zone: str) -> str:
        """What a list is asked about it."""
        if zone == MAILBOXES:
            return f"{digest(self.author, 'sha1', 'hex')}.{zone}"
        return f"{self.domain if zone in {*DOMAINS, WELCOME_DOMAINS} else reversed_labels(self.address)}.{zone}"


@dataclass
class World:
    """A nameserver with lists of every kind, one process of ours, and clients without end."""

    dns: DnsServer
    parts: app.Parts
    watch: Watch
    clock: Clock
    clients: Iterator[ipaddress.IPv4Address]
    why: dict[Letter, list[str]] = field(default_factory=dict)  # what was missing of each
    rejected: int = 0
    good: int = 0

    def letter(self, zones: list[str]) -> Letter:
        address = next(self.clients)
        letter = Letter(address, f"d{int(address)}.com")
        for zone in zones:
            self.dns.add(letter.name_on(zone), "A", ["127.0.0.2"])
        return letter

    async def judge(self, letter: Letter) -> Action:
        told = Told(
            address=letter.address, sender=Address("a", "example.net"), recipients=(Address("b", "example.org"),)
        )
        result = await check(self.parts.gate, letter.raw, told, server="check", now=self.clock(), keep=False)
        self.why[letter] = [f"{one.name}: {one.why}" for one in result.record.missing]
        return result.verdict.action

    async def mail(self, ill: list[str], *, good: int, spam: int) -> None:
        """Good mail, of which none may be rejected; and spam, caught as long as enough lists are well."""
        wanted = [self.letter([]) for _ in range(good - 3)]
        # Good senders whom some lists wrong, and whom a welcome list excuses.
        wanted += [self.letter([*UNWANTED[:2], WELCOME]), self.letter([*UNWANTED[3:6], WELCOME])]
        wanted.append(self.letter([*DOMAINS, WELCOME_DOMAINS]))
        unwanted = [self.letter(UNWANTED[n % 4 :: 2] + UNWANTED[1 + n % 2 :: 3]) for n in range(spam - 1)]
        unwanted.append(self.letter([*DOMAINS, MAILBOXES]))  # of a client that no list knows
        actions: list[Action] = []
        everybody = [*wanted, *unwanted]
        for first in range(0, len(everybody), 5):  # more at once is too much for a nameserver in Python
            actions += await asyncio.gather(*(self.judge(letter) for letter in everybody[first : first + 5]))
        self.good += good
        self.rejected += actions[:good].count(Action.REJECT)
        if len(ill) <= 1:
            caught = dict(zip(unwanted, actions[good:], strict=True))
            assert {each: self.why[each] for each, action in caught.items() if action is not Action.REJECT} == {}

    async def pass_time(self, seconds: float) -> None:
        """The watch does all that is due meanwhile."""
        end = self.clock.now + seconds
        while (due := self.watch.next_due) <= end:
            self.clock.now = max(self.clock.now, due)
            await self.watch.turn()
        self.clock.now = end

    def states(self) -> dict[str, State]:
        targets = listed_targets(self.parts.configuration.checks)
        assert len(targets) == len(ZONES)
        return {each.list.zone: self.parts.desk.health(each.list, each.family).state for each in targets}

    async def told(self, since: float) -> set[str]:
        """The zones of which the records say something since then."""
        await self.parts.recorder.flush()
        records = await self.parts.store.find_records(RecordQuery(action=HEALTH, since=since, limit=1000))
        findings = [finding for one in records for finding in from_document(one.document).findings]
        return {finding.evidence["zone"] for finding in findings if finding.evidence and "zone" in finding.evidence}


@contextlib.asynccontextmanager
async def world(dns_settings: str = "") -> AsyncIterator[World]:
    points = [f"2.0.0.127.{each}" for each in [*UNWANTED, WELCOME]]
    points += [f"test.{each}" for each in [*DOMAINS, WELCOME_DOMAINS]]
    points.append(f"{digest(TEST_MAILBOX, 'sha1', 'hex')}.{MAILBOXES}")
    zone = {(each, "A"): ["127.0.0.2"] for each in points}
    async with DnsServer({**zone, ("org", "NS"): ["ns.org."]}) as dns:
        configuration = config.read(settings(dns.address, dns_settings), "f")
        clock = Clock()
        parts = app.assemble(configuration, MemoryStore(records=100_000), clock=clock)

        async def fresh() -> Fresh:
            return Fresh([dns.address], timeout=0.15)

        watch = Watch(
            listed_targets(configuration.checks),
            fresh,
            desk=parts.desk,
            store=parts.store,
            recorder=parts.recorder,
            clock=clock,
            lists_every=INTERVAL,
            resolver_every=3600.0,
            dice=random.Random(5),
        )
        clients = (ipaddress.IPv4Address(0x0B000000 + number * 257) for number in range(1, 60_000))
        try:
            yield World(dns, parts, watch, clock, clients)
        finally:
            await parts.close()


async def disaster(world: World, name: str, zones: list[str], *, good: int, spam: int) -> None:
    """Before, during and after; told within an interval, and back by itself."""
    fault, state = DISASTERS[name]
    await world.mail([], good=good, spam=spam)
    began = world.clock.now
    world.dns.under.update(dict.fromkeys(zones, fault))
    await world.mail(zones, good=good, spam=spam)  # nobody knows yet
    await world.pass_time(INTERVAL)
    assert {zone: world.states()[zone] for zone in zones} == dict.fromkeys(zones, state)
    assert await world.told(began) >= set(zones)
    assert not any(world.states()[zone] is not State.OK for zone in ZONES if zone not in zones)
    await world.mail(zones, good=good, spam=spam)  # everybody knows
    world.dns.under.clear()
    await world.pass_time(INTERVAL)
    assert set(world.states().values()) == {State.OK}
    await world.mail([], good=good, spam=spam)


@pytest.mark.slow
async def test_one_list_or_all_of_them_break_in_each_way_and_no_good_mail_is_rejected():
    async with world() as it:
        await it.pass_time(INTERVAL)
        assert set(it.states().values()) == {State.OK}
        for number, name in enumerate(DISASTERS):
            await disaster(it, name, [ZONES[13 - number]], good=12, spam=3)
            if name != "goes dead":  # waiting for ten silent lists takes long
                await disaster(it, name, ZONES, good=12, spam=3)
        assert (it.good, it.rejected) == (7 * 4 * 12, 0)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_ten_thousand_messages_of_the_same_clients_cost_one_question_for_each_name():
    """Counted at the nameserver; of the control questions there is one for each listing at most."""
    async with world('negative_ttl = "1h"\n') as it:
        clients = [
            it.letter(UNWANTED[n % 3 : 9 : 3] if n % 4 == 0 else DOMAINS[:1] if n % 4 == 1 else []) for n in range(200)
        ]
        for first in range(0, 200, 4):
            await asyncio.gather(*(it.judge(letter) for letter in clients[first : first + 4]))
        sent = len(it.dns.asked)
        for _ in range(49):
            await asyncio.gather(*(it.judge(letter) for letter in clients))
        assert len(it.dns.asked) == sent
        names = Counter((name, rtype) for name, rtype, _ in {(one.name, one.rtype, one.id) for one in it.dns.asked})
        assert set(names.values()) == {1}
        of_lists = [name for name, _ in names if name.endswith(".test")]
        asked = 200 * len([*UNWANTED, *DOMAINS, MAILBOXES])
        assert asked < len(of_lists) <= asked + 150 + 50


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", DISASTERS)
async def test_each_list_in_turn_and_all_at_once_over_a_thousand_good_messages(name):
    async with world() as it:
        await it.pass_time(INTERVAL)
        for zones in [*([zone] for zone in ZONES), ZONES]:
            await disaster(it, name, zones, good=25, spam=4)
        assert it.good >= 1000
        assert it.rejected == 0
