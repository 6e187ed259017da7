from __future__ import annotations

import pytest

from gatekeeper.model import Action, Address, Session
from gatekeeper.nexthop import RelayAnswer
from gatekeeper.servers.relay_guard import LONGEST_PAUSE, OpenRelay, RelayGuard

NOBODY = Session(id="1", server="smtp", started=0.0)
ONE = Address("one", "example.org")


class Hop:
    def __init__(self, *answers: RelayAnswer) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def relay_probe(self, domain: str) -> RelayAnswer:
        self.asked.append(domain)
        return self.answers.pop(0)


class Guard(RelayGuard):
    """Notes how long it would have waited."""

    waits: list[float]

    async def wait(self, seconds: float) -> None:
        self.waits.append(seconds)


def guard(*answers: RelayAnswer, domains: frozenset[str] = frozenset()) -> tuple[Guard, Hop]:
    hop = Hop(*answers)
    made = Guard(hop, relay_domains=domains, domain="nobody.invalid")
    made.waits = []
    return made, hop


async def test_a_next_hop_that_relays_for_strangers_ends_the_program_with_the_mend():
    made, hop = guard(RelayAnswer.OPEN)
    with pytest.raises(OpenRelay, match=r"reject_unauth_destination.*or set relay_domains"):
        await made.watch()
    assert hop.asked == ["nobody.invalid"]
    assert not made.sure


async def test_it_is_asked_again_and_less_and_less_often_until_it_has_said_no():
    made, _ = guard(*[RelayAnswer.UNKNOWN] * 9, RelayAnswer.CLOSED)
    refusal = made.refusal(ONE, NOBODY)
    assert refusal is not None
    assert (refusal.action, refusal.code, refusal.enhanced) == (Action.DEFER, 451, "4.3.0")
    await made.watch()
    assert made.waits[:4] == [1, 2, 4, 8]
    assert made.waits[-1] == LONGEST_PAUSE
    assert made.refusal(ONE, NOBODY) is None
    await made.watch()


async def test_one_that_turns_out_to_be_open_later_ends_the_program_too():
    made, _ = guard(RelayAnswer.UNKNOWN, RelayAnswer.OPEN)
    with pytest.raises(OpenRelay):
        await made.watch()


async def test_where_relay_domains_are_set_nobody_is_asked():
    made, hop = guard(domains=frozenset({"example.org"}))
    await made.watch()
    assert hop.asked == []
    assert made.refusal(ONE, NOBODY) is None
    refusal = made.refusal(Address("one", "example.com"), NOBODY)
    assert refusal is not None
    assert (refusal.action, refusal.code, refusal.enhanced) == (Action.REJECT, 550, "5.7.1")
