"""Two gatekeepers that share one Redis: what one learns the other knows, and mail flows while Redis is away."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.peers.conftest import CHECKS, need
from tests.peers.instances import Gatekeeper, Postfix, wait_until
from tests.peers.redis_servers import RedisServer
from tests.peers.test_front import GOOD, Client, message, records

STACKING = """
[checks.stacking]
budget = 3.0
slow_delay = "0s"
"""


@dataclass(frozen=True)
class Shared:
    """The machines and what they share."""

    redis: RedisServer
    one: Gatekeeper
    other: Gatekeeper


@pytest.fixture(scope="module")
def shared(workplace: Path, postfix: Postfix, nameserver: int) -> Iterator[Shared]:
    need("redis-server")
    redis = RedisServer(workplace / "redis-shared")
    redis.start()
    machines = []
    for name in ("machine-one", "machine-other"):
        directory = workplace / name
        directory.mkdir()
        machine = Gatekeeper(
            directory, next_hop=f"smtp://127.0.0.1:{postfix.port}", nameserver=nameserver, extra=CHECKS + STACKING
        )
        text = machine.config.read_text()
        machine.config.write_text(text.replace(f"sqlite:{directory}/state.db", f"redis://127.0.0.1:{redis.port}/0"))
        machine.start()
        machines.append(machine)
    yield Shared(redis, *machines)
    for machine in machines:
        machine.stop()
    redis.stop()


def deliver(gatekeeper: Gatekeeper, sender: str, subject: str) -> tuple[int, str]:
    with Client(gatekeeper, GOOD) as client:
        return client.deliver(sender, ["alice@example.org"], message(sender, subject))


def up(gatekeeper: Gatekeeper) -> bool:
    return 'gatekeeper_ready{part="store"} 1.0' in gatekeeper.get("/metrics")


def test_a_record_of_one_machine_is_found_by_the_other(shared: Shared) -> None:
    assert deliver(shared.one, "shared@good.test", "by one machine")[0] == 250
    [record] = records(shared.other, "--sender", "shared@good.test")
    assert record["action"] == "accept"


def test_who_harvests_at_one_machine_is_answered_alike_by_the_other(shared: Shared) -> None:
    harvester = "198.51.100.91"
    with Client(shared.one, harvester) as client:
        client.mail("probe@good.invalid")
        for n in range(7):
            client.rcpt(f"nobody{n}@example.org")
    with Client(shared.other, harvester) as client:
        client.mail("probe@good.invalid")
        code, text = client.rcpt("alice@example.org")
    assert (code, text[:5]) == (451, b"4.7.1")


def test_mail_flows_while_redis_is_away_and_its_records_arrive_when_it_is_back(shared: Shared) -> None:
    assert deliver(shared.one, "before@good.test", "before the outage")[0] == 250
    shared.redis.stop()
    longest = 0.0
    for n in range(10):
        began = time.monotonic()
        assert deliver(shared.one, "during@good.test", f"during {n}")[0] == 250
        longest = max(longest, time.monotonic() - began)
    assert longest < 10  # a verb waits a second at most, and only the first ones wait at all
    wait_until("the outage to be told", lambda: not up(shared.one))
    assert "store_away" in shared.one.log()
    shared.redis.start()
    wait_until(
        "Redis to be found back",
        lambda: deliver(shared.one, "after@good.test", "after")[0] == 250 and up(shared.one),
        60,
    )
    assert len(records(shared.other, "--sender", "during@good.test", at_least=10)) == 10
