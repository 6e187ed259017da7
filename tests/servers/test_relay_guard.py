from __future__ import annotations

import pytest

from gatekeeper.model import Action, Address, Session
from gatekeeper.nexthop import Capabilities, RelayAnswer
from gatekeeper.servers.relay_guard import LONGEST_PAUSE, OFFERS_KNOWN, OpenRelay, RelayGuard

NOBODY = Session(id="1", server="smtp", started=0.0)
ONE = Address("one", "example.org")


class Hop:
    def __init__(self, *answers: RelayAnswer) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def relay_probe(self, domain: str) -> RelayAnswer:
        self.asked.append(domain)
        return self.answers.pop(0)


def guard(*answers: RelayAnswer, domains: frozenset[str] = frozenset()) -> tuple[RelayGuard, Hop]:
    hop = Hop(*answers)
    return RelayGuard(hop, relay_domains=domains, domain="nobody.invalid"), hop


async def asked_at(
    made: RelayGuard, hop: Hop, until: int, *, offers: dict[int, Capabilities] | None = None
) -> list[int]:
    """The seconds at which it asks, when it is called every second."""
    found, offered = [], None
    for now in range(until + 1):
        offered = (offers or {}).get(now, offered)
        before = len(hop.asked)
        await made.keep(float(now), offered)
        found += [now] * (len(hop.asked) - before)
    return found


async def test_a_next_hop_that_relays_for_strangers_ends_the_program_with_the_mend():
    made, hop = guard(RelayAnswer.OPEN)
    with pytest.raises(OpenRelay, match=r"reject_unauth_destination.*or set relay_domains"):
        await made.probe()
    assert hop.asked == ["nobody.invalid"]
    assert not made.sure


async def test_it_is_asked_again_and_less_and_less_often_until_it_has_said_no():
    made, hop = guard(*[RelayAnswer.UNKNOWN] * 8, RelayAnswer.CLOSED)
    refusal = made.refusal(ONE, NOBODY)
    assert refusal is not None
    assert (refusal.action, refusal.code, refusal.enhanced) == (Action.DEFER, 451, "4.3.0")
    assert await asked_at(made, hop, 300) == [0, 1, 3, 7, 15, 31, 63, 123, 183]
    assert LONGEST_PAUSE == 60
    assert made.refusal(ONE, NOBODY) is None


async def test_one_that_turns_out_to_be_open_later_ends_the_program_too():
    made, hop = guard(RelayAnswer.UNKNOWN, RelayAnswer.OPEN)
    with pytest.raises(OpenRelay):
        await asked_at(made, hop, 10)


async def test_one_that_has_refused_is_asked_every_hour():
    made, hop = guard(*[RelayAnswer.CLOSED] * 3)
    assert await made.probe()
    assert await asked_at(made, hop, 2 * 3600 - 1) == [0, 3600]


async def test_one_that_offers_something_new_is_asked_soon_and_what_it_has_offered_before_is_nothing_new():
    made, hop = guard(*[RelayAnswer.CLOSED] * 9)
    for_us, told, changed = (Capabilities({"SIZE": size}) for size in ("1", "2", "3"))
    flapping = {n: for_us if n % 2 else told for n in range(100)}
    assert await asked_at(made, hop, 300, offers=flapping | {150: changed, 151: told, 152: changed}) == [0, 60, 150]


def test_only_so_many_offers_are_known():
    made, _ = guard()
    offers = [Capabilities({"SIZE": str(n)}) for n in range(OFFERS_KNOWN + 1)]
    assert [made._is_new(each) for each in (*offers, offers[-1], offers[0])] == [True] * len(offers) + [False, True]
    assert len(made._offers) == OFFERS_KNOWN


async def test_one_that_begins_to_relay_has_mail_deferred_until_it_refuses_again(caplog):
    caplog.set_level("INFO", "gatekeeper")
    made, hop = guard(RelayAnswer.CLOSED, RelayAnswer.OPEN, RelayAnswer.OPEN, RelayAnswer.UNKNOWN, RelayAnswer.CLOSED)
    await made.keep(0.0, None)
    await made.keep(3600.0, None)
    assert made.refusal(ONE, NOBODY) is not None
    assert not made.sure
    for later in (3601.0, 3603.0):
        await made.keep(later, None)
        assert not made.sure
    await made.keep(3607.0, None)
    assert made.refusal(ONE, NOBODY) is None
    assert len(hop.asked) == 5
    assert caplog.messages == ["relay_closed", "relay_open", "relay_unknown", "relay_closed"]


async def test_what_it_has_said_counts_while_it_is_away():
    made, hop = guard(RelayAnswer.CLOSED, RelayAnswer.UNKNOWN, RelayAnswer.CLOSED)
    assert await asked_at(made, hop, 3660) == [0, 3600, 3660]
    assert made.sure


async def test_where_relay_domains_are_set_nobody_is_asked():
    made, hop = guard(domains=frozenset({"example.org"}))
    assert await asked_at(made, hop, 10) == []
    assert await made.probe()
    assert hop.asked == []
    assert made.refusal(ONE, NOBODY) is None
    refusal = made.refusal(Address("one", "example.com"), NOBODY)
    assert refusal is not None
    assert (refusal.action, refusal.code, refusal.enhanced) == (Action.REJECT, 550, "5.7.1")
