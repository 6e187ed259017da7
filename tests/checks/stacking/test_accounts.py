"""Accounts: different names cost once, over sessions and workers; address, network, HELO name; what gives back."""

import pytest

from gatekeeper.checks.stacking import BLIND, SLOW, Stacking, helo_key
from gatekeeper.checks.stacking.evidence import Probing
from gatekeeper.model import Address
from gatekeeper.store.fallback import Fallback
from gatekeeper.store.memory import MemoryStore
from tests.checks.stacking.play import Client, Place, unknown
from tests.support.fake_store import FakeStore


async def spent(place: Place, address: str, *, helo: str | None = None) -> float:
    """Points of that client's address, in a session of its own."""
    return await place.client(address, helo=helo).spent()


async def test_the_same_name_costs_once_within_the_window_and_again_after_it():
    place = Place(Stacking(slow_delay=0.0, window=600.0, refill=1e9))
    for _ in range(30):
        client = place.client("192.0.2.1")
        await client.name("nobody")
        await client.leave()
    assert await spent(place, "192.0.2.1") == pytest.approx(1.0, abs=0.01)
    place.now += 601
    client = place.client("192.0.2.1")
    await client.name("nobody")
    await client.leave()
    assert await spent(place, "192.0.2.1") == pytest.approx(2.0, abs=0.01)


async def test_where_a_full_set_cannot_tell_every_name_costs():
    class Full(MemoryStore):
        async def distinct(self, sightings, *, now):
            return [2048 for _ in sightings]

    place = Place(Stacking(slow_delay=0.0, dictionary_clients=0, domain_budget=0, helo_networks=0), store=Full())
    client = place.client("192.0.2.1")
    for name in unknown(5):
        client.hear(name)
    await client.leave()
    assert await spent(place, "192.0.2.1") == pytest.approx(5.0, abs=0.1)


async def test_two_workers_keep_one_account():
    place = Place()
    other = place.worker(Stacking(slow_delay=0.0))
    steps = []
    for n, name in enumerate(unknown(60)):
        client = (place, other)[n % 2].client("192.0.2.1")
        steps.append(await client.name(name))
        await client.leave()
    assert steps.count("550") <= 21
    assert steps[-1] != "550"


async def test_a_helo_name_that_probing_networks_share_has_a_budget():
    place = Place(Stacking(slow_delay=0.0, domain_budget=0))
    names = iter(unknown(1000))
    for n in range(60):
        client = place.client(f"10.{n}.0.1", helo="ylmf-pc")
        await client.names([next(names) for _ in range(2)])
        await client.leave()
    [finding] = await place.client("10.200.0.1", helo="YLMF-PC").findings("anybody")
    assert finding.rule == BLIND
    assert isinstance(finding.evidence, Probing)
    assert finding.evidence.whom == "helo:ylmf-pc"
    assert await place.client("10.200.0.2", helo="mail.example.net").findings("anybody") == []
    assert not await place.client("10.200.0.1", helo="ylmf-pc").blocked()


async def test_nobody_is_turned_away_for_a_helo_name_alone():
    place = Place(Stacking(slow_delay=0.0, domain_budget=0))
    names = iter(unknown(4000))
    for n in range(200):
        client = place.client(f"10.{n}.0.1", helo="ylmf-pc")
        await client.names([next(names) for _ in range(3)])
        await client.leave()
    assert (await place.client("10.250.0.1", helo="ylmf-pc").findings("anybody"))[0].rule == BLIND


async def test_a_helo_name_of_one_network_is_no_crowd():
    place = Place(Stacking(slow_delay=0.0, domain_budget=0, network_factor=100.0, helo_factor=1.0))
    names = iter(unknown(1000))
    for n in range(60):
        client = place.client(f"192.0.2.{n}", helo="mail.example.net")
        await client.name(next(names))
        await client.leave()
    assert await place.client("192.0.2.200", helo="mail.example.net").findings("anybody") == []


async def test_a_client_with_mail_of_its_own_does_not_answer_for_its_helo_name():
    place = Place(Stacking(slow_delay=0.0, domain_budget=0))
    names = iter(unknown(1000))
    for n in range(60):
        client = place.client(f"10.{n}.0.1", helo="localhost")
        await client.names([next(names) for _ in range(2)])
        await client.leave()
    await place.known("203.0.113.9", accepted=1)
    assert await place.client("203.0.113.9", helo="localhost").findings("anybody") == []


async def test_a_helo_name_with_a_good_past_is_not_held_against_anybody():
    place = Place(Stacking(slow_delay=0.0, domain_budget=0))
    helo = helo_key("out.provider.example") or ""
    await place.store.remember(helo, accepted=2000, refused=0, now=place.now - 2 * 86400)  # by the gate
    names = iter(unknown(1000))
    for n in range(60):
        client = place.client(f"10.{n}.0.1", helo="out.provider.example")
        await client.names([next(names) for _ in range(2)])
        await client.leave()
    assert await place.client("203.0.113.77", helo="out.provider.example").findings("anybody") == []


async def test_probing_with_the_null_sender_costs_more_and_the_null_sender_alone_nothing():
    place = Place(exist=frozenset({"anna"}))
    client = place.client("192.0.2.1")
    client.sender = client.sender.__class__("", "")
    for _ in range(50):
        assert await client.name("anna") == "250"
        client.deliver()
    await client.leave()
    assert await spent(place, "192.0.2.1") == 0
    client = place.client("192.0.2.2")
    client.sender = client.sender.__class__("", "")
    await client.name(unknown(1)[0])
    client.give_up("anna")
    await client.leave()
    assert await spent(place, "192.0.2.2") == pytest.approx(2.5, abs=0.01)  # 1 + 0.5, and 0.5 + 0.5
    assert client.session.counters.null_probes == 2


async def test_strangers_who_say_a_helo_name_with_a_good_past_do_not_spoil_it():
    place = Place(Stacking(slow_delay=0.0, domain_budget=0))
    helo = helo_key("mta.pool.example") or ""
    await place.store.remember(helo, accepted=40, refused=0, now=place.now - 10 * 86400)
    for n in range(12):
        client = place.client(f"10.{n}.1.1", helo="mta.pool.example")
        await client.names(unknown(10, start=n * 100))
        await client.leave()
    await place.store.remember(helo, accepted=0, refused=1000, now=place.now)  # what the gate refused under it
    assert await place.client("203.0.113.5", helo="mta.pool.example").findings("anna") == []


async def test_a_helo_name_under_which_little_wanted_mail_has_come_is_held_against_strangers():
    for accepted, days in ((4, 10.0), (40, 0.5)):
        place = Place(Stacking(slow_delay=0.0, domain_budget=0))
        helo = helo_key("ylmf-pc") or ""
        await place.store.remember(helo, accepted=accepted, refused=0, now=place.now - days * 86400)
        for n in range(12):
            client = place.client(f"10.{n}.1.1", helo="ylmf-pc")
            await client.names(unknown(10, start=n * 100))
            await client.leave()
        assert (await place.client("203.0.113.5", helo="ylmf-pc").findings("anna"))[0].rule == BLIND


def nobody(client: Client) -> Client:
    client.sender = Address("", "")
    return client


async def test_bounces_to_forged_senders_do_not_get_a_client_with_a_good_history_refused():
    """Whoever forges senders at our domains makes it try names that do not exist, as many as he likes."""
    place = Place(Stacking(slow_delay=0.0), exist=frozenset({"anna"}))
    await place.known("192.0.2.25", accepted=5, days=90)
    answers = []
    for name in unknown(300):
        client = nobody(place.client("192.0.2.25"))
        answers.append(await client.name(name))
        await client.leave()
        place.now += 2
    assert not await place.client("192.0.2.25").blocked()
    assert set(answers[:10]) == {"550"}
    assert answers[-10:].count(BLIND) >= 8  # it is told a name now and then, as the budget comes back
    assert len(place.asked) < 40
    client = place.client("192.0.2.25")
    assert await client.findings("anna") == []  # its mail that has a sender goes on
    assert await spent(place, "192.0.2.25") == 0
    [found] = await nobody(place.client("192.0.2.25")).findings("anna")
    assert found.rule == BLIND
    assert isinstance(found.evidence, Probing)
    assert found.evidence.whom == "ip:192.0.2.25"
    place.now += 3600
    assert await nobody(place.client("192.0.2.25")).name("anna") == "250"


async def test_a_session_that_stays_open_may_bounce_again_when_its_budget_has_come_back():
    place = Place(Stacking(slow_delay=0.0), exist=frozenset({"anna"}))
    await place.known("192.0.2.25", accepted=5, days=90)
    client = nobody(place.client("192.0.2.25"))
    assert (await client.names([*unknown(60), "anna"]))[-1] == BLIND
    place.now += 3600
    assert await client.name("anna") == "250"


async def test_what_a_client_tries_with_a_sender_is_held_against_its_bounces_too():
    place = Place(Stacking(slow_delay=0.0))
    await place.known("192.0.2.25", accepted=5, days=90)
    client = place.client("192.0.2.25")
    await client.names(unknown(30))
    assert BLIND in {one.rule for one in await nobody(client).findings("anna")}


async def test_a_client_without_a_good_history_has_one_budget_for_all():
    place = Place(Stacking(slow_delay=0.0, domain_budget=0))
    for name in unknown(60):
        client = nobody(place.client("192.0.2.26"))
        await client.name(name)
        await client.leave()
    assert await place.client("192.0.2.26").blocked()


async def test_giving_up_the_same_recipient_again_and_again_teaches_nothing_new():
    place = Place(exist=frozenset({"anna"}))
    for _ in range(100):  # a mail server that verifies the sender of each mail that it gets
        client = place.client("192.0.2.1")
        assert await client.name("anna") == "250"
        client.give_up("anna")
        await client.leave()
    assert await spent(place, "192.0.2.1") <= 0.5


async def test_delivered_mail_gives_back_but_cannot_be_saved_up():
    place = Place(Stacking(slow_delay=0.0, room_per_message=0.0, refill=1e9))
    client = place.client("192.0.2.1")
    for _ in range(100):
        client.deliver(recipients=10)
    await client.names(unknown(8))
    await client.leave()
    assert await spent(place, "192.0.2.1") == pytest.approx(8.0, abs=0.1)
    client = place.client("192.0.2.1")
    client.deliver(recipients=100)
    await client.leave()
    assert await spent(place, "192.0.2.1") == pytest.approx(3.0, abs=0.1)


async def test_a_slip_of_the_pen_costs_less_and_a_former_address_nothing(tmp_path):
    (tmp_path / "former").write_text("left@example.org\n")
    check = Stacking(slow_delay=0.0, former=str(tmp_path / "former"))
    place = Place(check, exist=frozenset({"johnsmith"}))
    client = place.client("192.0.2.1")
    assert await client.names(["johnsmith", "jonsmith", "left", "LEFT"]) == ["250", "550", "550", "550"]
    await client.leave()
    assert await spent(place, "192.0.2.1") == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("jump", [-86400.0, 86400.0 * 365, -1.0])
async def test_clocks_that_jump_break_nothing_and_forgive_no_more_than_time_does(jump):
    place = Place()
    client = place.client("192.0.2.1")
    await client.names(unknown(15))
    place.now += jump
    step = await client.names(unknown(30, start=100))
    await client.leave()
    assert step.count("550") <= 20
    if jump < 0:
        assert step.count("550") <= 6
    place.now -= jump
    assert await place.client("198.51.100.1").name("anybody") == "550"


async def test_a_store_that_is_away_is_not_evidence_and_what_comes_after_counts():
    store = FakeStore()
    place = Place(store=store)
    client = place.client("192.0.2.1")
    store.away = True
    with pytest.raises(Exception, match="switched away"):
        await client.findings("anybody")
    store.away = False
    steps = await client.names(unknown(25))
    assert steps.count("550") <= 21
    assert BLIND in steps


async def test_a_session_asks_no_more_at_once_than_it_may_still_learn():
    place = Place()
    client = place.client("192.0.2.1")
    await client.findings("anybody")
    assert client.session.names_at_once == 16
    for name in unknown(15):
        client.hear(name)
    assert (await client.findings("another"))[0].rule == SLOW
    assert 3 <= (client.session.names_at_once or 0) <= 5
    others = [place.client("192.0.2.1") for _ in range(20)]
    for n, other in enumerate(others):
        await other.findings(f"someone{n}")
    assert others[-1].session.names_at_once == 1


async def test_while_the_store_is_away_memory_keeps_the_budgets_and_then_the_store_goes_on():
    primary = FakeStore()
    clock = [0.0]
    store = Fallback(primary, MemoryStore(), clock=lambda: clock[0])
    place = Place(store=store, exist=frozenset({"anna"}))
    assert (await place.client("192.0.2.1").names(unknown(15))).count("550") == 15
    primary.away = True
    client = place.client("192.0.2.1")
    steps = await client.names(unknown(80, start=100))
    await client.leave()
    assert 15 <= steps.count("550") <= 21  # it begins anew, and is as good as ever
    assert steps[-1] != "550"
    assert await place.client("203.0.113.1").name("anna") == "250"  # nobody else is harmed
    primary.away = False
    clock[0] += 60
    assert await place.client("203.0.113.1").name("anna") == "250"
    steps = await place.client("192.0.2.9").names(unknown(80, start=300))
    assert steps.count("550") <= 21
