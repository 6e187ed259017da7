from __future__ import annotations

from ipaddress import ip_address

import pytest

from gatekeeper.checks.base import Tools
from gatekeeper.checks.lookups import SPENT, Lookups, Unasked
from gatekeeper.dns.budget import BudgetedResolver, ClientBudgets
from gatekeeper.model import Action, Envelope, Finding, Mail, Session, Stage
from gatekeeper.policy import Policy, Settings
from gatekeeper.store.base import StoreAway
from gatekeeper.store.memory import MemoryStore
from tests.support.fake_resolver import FakeResolver
from tests.support.fake_store import FakeStore

NOW = 1_800_000_000.0
DAY = 86400.0


def mail(address: str | None = "192.0.2.5", *, stage: Stage = Stage.MESSAGE, shows_messages: bool = True) -> Mail:
    made = Mail(Session("s", "smtp", NOW, address=None if address is None else ip_address(address)), Envelope("e"))
    made.stage, made.session.shows_messages = stage, shows_messages
    return made


async def tools(store: MemoryStore | FakeStore, *, asked: int, most: int = 3) -> Tools:
    allowance = ClientBudgets(most, lambda: 0.0).of("ip:192.0.2.5")
    resolver = BudgetedResolver(FakeResolver(), allowance)
    for n in range(asked):
        await resolver.ask(f"n{n}.example", "A")
    return Tools(resolver, store, lambda: NOW, "mx.example.org", frozenset(), allowance=allowance)


async def found(one: Mail, *, asked: int, past: tuple[int, int, float] = (0, 0, 0.0)) -> list[str]:
    """The rules for a client with that past: messages accepted, refused, and how long ago the first was."""
    store = MemoryStore()
    accepted, refused, ago = past
    if accepted or refused:
        await store.remember("ip:192.0.2.5", accepted=accepted, refused=refused, now=NOW - ago)
    return [each.rule for each in await Lookups().inspect(one, await tools(store, asked=asked))]


async def test_a_stranger_is_put_off_when_what_it_sent_was_not_asked_about():
    assert await found(mail(), asked=3) == []
    assert await found(mail(), asked=4) == [SPENT]
    [finding] = await Lookups().inspect(mail(), await tools(MemoryStore(), asked=5))
    assert isinstance(finding, Finding)
    assert finding.evidence == Unasked(2)
    verdict = Policy(Settings(), Lookups().rules()).decide([finding])
    assert (verdict.action, verdict.code) == (Action.DEFER, 451)
    assert "in a minute" in verdict.reason


@pytest.mark.parametrize(
    ("past", "rules"),
    [
        ((3, 0, 2 * DAY), []),
        ((2, 0, 2 * DAY), [SPENT]),
        ((3, 0, DAY / 2), [SPENT]),  # who sends much for the first time is no sender of wanted mail yet
        ((10, 2, 2 * DAY), []),
        ((10, 3, 2 * DAY), [SPENT]),
        ((0, 500, 2 * DAY), [SPENT]),
    ],
)
async def test_who_has_sent_wanted_mail_for_some_time_is_judged_by_what_is_known(past, rules):
    assert await found(mail(), asked=9, past=past) == rules


@pytest.mark.parametrize("address", [None, "10.0.0.1", "127.0.0.1"])
async def test_our_own_clients_and_unknown_ones_are_let_alone(address):
    assert await found(mail(address), asked=9) == []


async def test_who_has_logged_in_is_let_alone():
    own = mail()
    own.session.login = "anna"
    assert await found(own, asked=9) == []


async def test_it_waits_for_the_message_where_one_is_shown():
    assert await found(mail(stage=Stage.DATA), asked=9) == []
    assert await found(mail(stage=Stage.DATA, shows_messages=False), asked=9) == [SPENT]


async def test_without_a_limit_or_a_client_nothing_is_found():
    assert await Lookups().inspect(mail(), await tools(MemoryStore(), asked=9, most=0)) == ()
    without = Tools(FakeResolver(), MemoryStore(), lambda: NOW, "mx.example.org", frozenset())
    assert await Lookups().inspect(mail(), without) == ()


async def test_a_store_that_is_away_is_asked_only_where_something_was_not():
    store = FakeStore()
    store.away = True
    assert await Lookups().inspect(mail(), await tools(store, asked=3)) == ()
    with pytest.raises(StoreAway):
        await Lookups().inspect(mail(), await tools(store, asked=4))


def test_a_client_is_known_by_a_message_at_least():
    with pytest.raises(ValueError, match="at least 1"):
        Lookups(known_messages=0)
