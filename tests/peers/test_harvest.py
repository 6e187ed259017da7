"""Harvesting a real Postfix through the SMTP server: a dictionary of 10,000 names of which 3% exist, from one address,
from 200 networks, and the same in the hands of all of them; and a smarthost that nobody may mistake for one of these.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gatekeeper.store.opening import Settings, open_store
from tests.peers.conftest import need
from tests.peers.instances import Gatekeeper, Postfix
from tests.peers.test_front import Client, message, records, rules

NAMES, REAL = 10_000, 300
SETTINGS = '[checks.stacking]\nslow_delay = "0s"\n'
"""The defaults, but that nobody waits."""


def dictionary(seed: int) -> tuple[list[str], list[str]]:
    """The names to try, in their order, and those of them that exist: first names with initials and numbers."""
    chance = random.Random(seed)
    parts = [
        a + b for a in ("an", "be", "cor", "da", "el", "fri", "ger", "ha") for b in ("na", "rt", "lis", "mo", "ke")
    ]
    names = sorted({f"{a}.{b}{n}" for a in parts for b in parts for n in range(1, 9)})
    chance.shuffle(names)
    assert len(names) >= NAMES
    names = names[:NAMES]
    return names, sorted(chance.sample(names, REAL))


GUESSES, EXIST = dictionary(2505)


@pytest.fixture(scope="module")
def hop(workplace: Path) -> Iterator[Postfix]:
    need("postfix")
    good = [f"reader{n}" for n in range(50)]
    # Postfix itself slows down who is refused often, and gatekeeper is who asks.
    quick = "smtpd_error_sleep_time = 0\nsmtpd_soft_error_limit = 100000\nsmtpd_hard_error_limit = 100000\n"
    instance = Postfix(workplace / "harvest-postfix", ["postmaster", *EXIST, *good], main=quick)
    instance.start()
    yield instance
    instance.stop()


@pytest.fixture
def front(workplace: Path, hop: Postfix, nameserver: int) -> Iterator[Gatekeeper]:
    """One for each test: what a harvester has done is not to be held against the next one."""
    directory = Path(tempfile.mkdtemp(prefix="harvest-", dir=workplace))
    asyncio.run(remember(f"sqlite:{directory}/state.db", "ip:192.0.2.99", "net:192.0.2.0/24"))
    instance = Gatekeeper(
        directory,
        next_hop=f"smtp://127.0.0.1:{hop.port}",
        nameserver=nameserver,
        top='relay_domains = ["example.org"]',
        smtp="errors = 100000\nidle_commands = 100000\nrecipients = 10000\n",
        extra=SETTINGS,
    )
    instance.start()
    yield instance
    instance.stop()


async def remember(url: str, *keys: str) -> None:
    """Those sent 500 messages that were wanted, from three days ago until now."""
    store = open_store(Settings(url))
    for key in keys:
        await store.remember(key, accepted=0, refused=0, now=time.time() - 3 * 86400)
        await store.remember(key, accepted=500, refused=0, now=time.time())
    await store.close()


@dataclass
class Harvest:
    """What a harvester has heard: in which order which names were told to exist, or not, or nothing."""

    told: list[tuple[str, int]] = field(default_factory=list)
    refusals: set[bytes] = field(default_factory=set)

    def learned_after(self, spent: int) -> float:
        """The share of the real names that were told to exist after so many were told to be unknown."""
        unknown = learned = 0
        for name, code in self.told:
            unknown += code == 550
            learned += code == 250 and name in EXIST and unknown >= spent
        return learned / REAL

    @property
    def learned(self) -> int:
        return len({name for name, code in self.told if code == 250})


def probe(gatekeeper: Gatekeeper, address: str, names: Sequence[str], harvest: Harvest) -> None:
    """One session that names these until it is cut off, five names to a transaction, as harvesters do."""
    try:
        with Client(gatekeeper, address, helo=f"h{address.replace('.', '-')}.example") as client:
            for n in range(0, len(names), 5):
                client.mail("a@good.invalid")
                for name in names[n : n + 5]:
                    code, text = client.rcpt(f"{name}@example.org")
                    harvest.told.append((name, code))
                    if code == 451:
                        harvest.refusals.add(text.partition(b" (id ")[0])
                    if code == 421:
                        return
                client.rset()
    except (AssertionError, OSError):  # turned away as soon as it had said who it is
        return


def turned_away(gatekeeper: Gatekeeper, address: str) -> bool:
    try:
        with Client(gatekeeper, address):
            return False
    except (AssertionError, OSError):
        return True


def asked(hop: Postfix) -> int:
    """Recipients that Postfix has refused so far, by its own log."""
    return hop.log().count("User unknown in virtual mailbox table")


def test_one_address_learns_next_to_nothing(front: Gatekeeper, hop: Postfix) -> None:
    harvest, before = Harvest(), asked(hop)
    for n in range(0, NAMES, 100):
        probe(front, "198.51.100.77", GUESSES[n : n + 100], harvest)
    told = [code for _, code in harvest.told]
    assert told.count(550) <= 25
    assert harvest.learned_after(10) < 0.01
    assert len(harvest.refusals) == 1, harvest.refusals
    assert turned_away(front, "198.51.100.77")
    assert asked(hop) - before <= 25
    found = records(front, "--address", "198.51.100.77")
    assert {"STACKING_SLOW", "STACKING_BLIND", "STACKING_BLOCKED"} <= {rule for one in found for rule in rules(one)}


@pytest.mark.parametrize("order", ["one after the other", "all together"])
def test_two_hundred_networks_learn_next_to_nothing(front: Gatekeeper, hop: Postfix, order: str) -> None:
    harvest, before = Harvest(), asked(hop)
    shares = [(f"10.{n}.7.7", GUESSES[n::200]) for n in range(200)]
    if order == "one after the other":
        for address, names in shares:
            probe(front, address, names, harvest)
    else:
        for turn in range(0, 50, 10):
            for address, names in shares:
                probe(front, address, names[turn : turn + 10], harvest)
    told = [code for _, code in harvest.told]
    assert 250 <= told.count(550) <= 280  # the domain's budget
    assert harvest.learned_after(250) < 0.01
    assert len(harvest.refusals) == 1, harvest.refusals
    assert asked(hop) - before == told.count(550)
    assert "domain_probed" in front.log()
    assert 'gatekeeper_stacking_causes_total{cause="domain"} 0.0' not in front.get("/metrics")
    found = records(front, "--address", "10.0.0.0/8")
    assert "STACKING_DOMAIN" in {rule for one in found for rule in rules(one)}


def test_two_hundred_networks_with_the_same_dictionary_are_found_as_such(front: Gatekeeper, hop: Postfix) -> None:
    harvest = Harvest()
    for n in range(200):
        probe(front, f"10.{n}.7.7", GUESSES[:50], harvest)
    assert harvest.learned_after(20) < 0.01  # the first client's own budget
    assert len(harvest.refusals) == 1, harvest.refusals
    assert "dictionary_attack" in front.log()
    assert 'gatekeeper_stacking_causes_total{cause="dictionary"} 0.0' not in front.get("/metrics")
    found = records(front, "--address", "10.0.0.0/8")
    assert "STACKING_DICTIONARY" in {rule for one in found for rule in rules(one)}


@pytest.mark.parametrize(
    ("address", "each", "recipients"),
    [("192.0.2.99", 50, 5000), ("203.0.113.10", 50, 5000), ("203.0.113.10", 1, 500)],
    ids=["with a history, in the middle of a harvest", "on its first day", "on its first day, one by one"],
)
def test_a_smarthost_that_mistypes_two_in_a_hundred_is_never_limited(
    front: Gatekeeper, hop: Postfix, address: str, each: int, recipients: int
) -> None:
    if address == "192.0.2.99":
        harvest = Harvest()
        for n in range(30):
            probe(front, f"10.{n}.7.7", GUESSES[n::200], harvest)
        assert harvest.told[-1][1] == 451
    chance, codes, before = random.Random(each), [], steps(front)
    with Client(front, address, helo="smarthost.good.test") as client:
        for n in range(0, recipients, each):
            client.mail("lists@good.invalid")
            taken = 0
            for k in range(n, n + each):
                good = f"reader{k % 50}"
                name = f"{good}x{k}" if chance.random() < 0.02 else good
                code, text = client.rcpt(f"{name}@example.org")
                codes.append(code)
                assert code == (250 if name == good else 550), (n, k, text)
                taken += code == 250
            if taken:
                code, text = client.data(message("lists@good.invalid", f"to {taken}"))
                assert code == 250, text
            else:
                client.rset()
    assert codes.count(550) >= 0.01 * recipients
    assert steps(front) == before


def steps(gatekeeper: Gatekeeper) -> list[str]:
    """How many clients have been slowed, told no names, and refused."""
    return [line for line in gatekeeper.get("/metrics").splitlines() if line.startswith("gatekeeper_stacking_steps")]
