import asyncio
import logging

import pytest

from gatekeeper.dns import desk as module
from gatekeeper.dns.answer import Answer, Status
from gatekeeper.dns.breaker import HISTORY, WINDOW
from gatekeeper.dns.desk import MOST_CHECKED, SILENT_IN_A_ROW, TOGETHER, Alarm, Desk, Inquiry, Vote
from gatekeeper.dns.health import Health, State, key_of
from gatekeeper.dns.lists import DnsList, Family, Listing
from gatekeeper.dns.resolver import AiodnsResolver, Budget, BudgetedResolver, Settings
from gatekeeper.metrics import LIST_ANSWERS, LIST_CONTROLS, LIST_SECONDS, REGISTRY
from tests.support.dns_server import DnsServer, Fault
from tests.support.fake_resolver import FakeResolver

BL, OTHER = DnsList("bl.test", "BL", 3.0), DnsList("other.test", "OTHER", 3.0)
LISTED = (Listing("", ("127.0.0.2",)),)
KEY = key_of(BL, Family.IPV4)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Gatekept(FakeResolver):
    """Holds every control question until it is let through, and counts them. Control names have an octet over 127."""

    def __init__(self, zone, **settings) -> None:
        super().__init__(zone, **settings)
        self.gate = asyncio.Event()
        self.controls: list[str] = []
        self.came = asyncio.Event()

    async def ask(self, name: str, rtype: str) -> Answer:
        if ".127." in name:
            self.controls.append(name)
            self.came.set()
            await self.gate.wait()
        return await super().ask(name, rtype)


def about(number: int, each: DnsList = BL) -> Inquiry:
    return Inquiry(each, f"{number}.2.0.192")


async def poll(desk: Desk, resolver, *inquiries: Inquiry, family: Family = Family.IPV4) -> list[Vote]:
    return await desk.poll(inquiries, family, resolver=resolver)


async def poll_of(desk: Desk, number: int, resolver, *inquiries: Inquiry, family: Family = Family.IPV4) -> list[Vote]:
    """The same for a client of that number, whose mail was taken before."""
    desk.took_mail_of(f"ip:{number}", f"net:{number}")
    return await desk.poll(inquiries, family, resolver=resolver, client=f"ip:{number}")


def zone_of(*numbers: int) -> dict[tuple[str, str], list[str]]:
    return {(about(number).name, "A"): ["127.0.0.2"] for number in numbers}


async def test_votes_come_in_the_order_of_the_questions():
    resolver = FakeResolver({(about(1, OTHER).name, "A"): ["127.0.0.2"]})
    votes = await poll(Desk(), resolver, about(1), about(1, OTHER), about(2))
    assert [(vote.inquiry, vote.listed, vote.why) for vote in votes] == [
        (about(1), (), ""),
        (about(1, OTHER), LISTED, ""),
        (about(2), (), ""),
    ]


async def test_domains_have_a_control_of_their_own():
    resolver = FakeResolver({("spam.example.bl.test", "A"): ["127.0.0.2"]})
    [vote] = await poll(Desk(), resolver, Inquiry(BL, "spam.example"), family=Family.NAMES)
    assert vote.listed == LISTED
    assert resolver.asked[-1][0].endswith(".invalid.bl.test")


# --- the control question ------------------------------------------------------------------------------------------


async def test_a_control_is_sent_after_the_answer_came_and_shared_by_those_who_had_theirs_before():
    resolver = Gatekept(zone_of(1, 2, 3))
    clock = Clock()
    desk = Desk(clock=clock)
    first = asyncio.create_task(poll(desk, resolver, about(1)))
    await resolver.came.wait()
    assert len(resolver.controls) == 1
    # These two have their answers only now, while a control is under way already: it says nothing about them.
    clock.now += TOGETHER
    others = [asyncio.create_task(poll(desk, resolver, about(number))) for number in (2, 3)]
    resolver.came.clear()
    await resolver.came.wait()
    resolver.gate.set()
    votes = [*await first, *(await others[0]), *(await others[1])]
    assert {vote.listed for vote in votes} == {LISTED}
    assert len(resolver.controls) == 2
    assert len(set(resolver.controls)) == 2  # never the same name: no cache knows it


async def test_listings_that_come_shortly_after_a_control_share_the_next_one():
    resolver = Gatekept(zone_of(*range(1, 50)))
    resolver.gate.set()
    desk = Desk()
    await asyncio.gather(*(poll(desk, resolver, about(number)) for number in range(1, 50)))
    assert len(resolver.controls) <= 2


async def test_a_result_lives_as_long_as_its_listing():
    resolver, clock = Gatekept(zone_of(1), ttl=60.0), Clock()
    resolver.gate.set()
    desk = Desk(clock=clock)
    await poll(desk, resolver, about(1))
    clock.now += 59.9
    await poll(desk, resolver, about(1))
    assert len(resolver.controls) == 1
    clock.now += 0.2
    await poll(desk, resolver, about(1))
    assert len(resolver.controls) == 2


@pytest.mark.parametrize("status", [Status.TIMEOUT, Status.REFUSED, Status.NONSENSE])
async def test_a_control_that_is_not_answered_makes_the_listing_missing(status):
    class Half(FakeResolver):
        async def ask(self, name, rtype):
            return Answer(status) if ".127." in name else await super().ask(name, rtype)

    before = LIST_CONTROLS["silent"]._value.get()
    desk = Desk()
    [vote] = await poll(desk, Half(zone_of(1)), about(1))
    assert not vote.listed
    assert "was not answered" in vote.why
    assert LIST_CONTROLS["silent"]._value.get() == before + 1
    assert [alarm.key for alarm in desk.take_alarms()] == [KEY]


async def test_a_listing_from_the_time_of_a_wildcard_stays_missing_when_the_list_is_well_again(caplog):
    async with DnsServer() as server:
        server.under["bl.test"] = Fault.WILDCARD
        resolver, clock = AiodnsResolver(Settings(nameservers=(server.address,))), Clock()
        desk = Desk(resolver, clock=clock)
        caplog.set_level(logging.WARNING, "gatekeeper")
        [vote] = await poll(desk, resolver, about(1))
        assert "was listed (127.0.0.2)" in vote.why
        server.under.clear()
        [again] = await poll(desk, resolver, about(1))  # its answer is still in the cache
        assert again.why == vote.why
        [other] = await poll(desk, resolver, about(2))
        assert (other.listed, other.why) == ((), "")
        assert [record.msg for record in caplog.records] == ["list_control_failed"]
        await resolver.close()


async def test_one_who_gives_up_does_not_take_the_control_from_the_others():
    resolver = Gatekept(zone_of(1, 2))
    desk = Desk()
    first, second = (asyncio.create_task(poll(desk, resolver, about(number))) for number in (1, 2))
    await resolver.came.wait()
    first.cancel()
    await asyncio.wait([first])
    resolver.gate.set()
    assert (await second)[0].listed == LISTED


@pytest.mark.slow
async def test_what_is_kept_of_controls_has_a_limit(monkeypatch):
    monkeypatch.setattr(module, "MOST_CHECKED", 10)
    resolver = FakeResolver(zone_of(*range(1, 100)))
    desk = Desk()
    for number in range(1, 100):
        await poll(desk, resolver, about(number))
        assert len(desk._checked) <= 10
    assert about(99).name in desk._checked
    assert MOST_CHECKED > 10


# --- health --------------------------------------------------------------------------------------------------------


async def test_what_is_learned_about_one_list_leaves_the_others():
    desk = Desk()
    desk.learn({KEY: Health(State.DEAD)})
    desk.learn({key_of(OTHER, Family.IPV4): Health(State.REFUSES)})
    assert [desk.health(each, Family.IPV4).state for each in (BL, OTHER)] == [State.DEAD, State.REFUSES]
    assert desk.health(BL, Family.IPV6).state is State.UNTESTED


async def test_a_list_that_refuses_raises_an_alarm_once():
    resolver = FakeResolver({(about(number).name, "A"): ["127.255.255.254"] for number in range(5)})
    desk = Desk()
    votes = await poll(desk, resolver, *map(about, range(5)))
    assert {vote.why for vote in votes} == {"refused by answering 127.255.255.254"}
    assert desk.take_alarms() == [Alarm(KEY, "refused by answering 127.255.255.254")]
    assert desk.take_alarms() == []


async def test_a_list_that_is_silent_many_times_in_a_row_raises_an_alarm_and_one_answer_ends_the_row():
    resolver = FakeResolver({(about(number).name, "A"): Status.TIMEOUT for number in range(100)})
    desk = Desk()
    for number in range(SILENT_IN_A_ROW - 1):
        await poll(desk, resolver, about(number))
    await poll(desk, resolver, about(200))
    for number in range(SILENT_IN_A_ROW - 1):
        await poll(desk, resolver, about(number))
    assert desk.take_alarms() == []
    await poll(desk, resolver, about(50))
    assert [alarm.key for alarm in desk.take_alarms()] == [KEY]


async def jump(desk: Desk, *, familiar: bool) -> list[Vote]:
    """Clients that no list names, and then a window full of those that BL alone does."""
    resolver = FakeResolver({(f"{n}.1.{BL.suffix}", "A"): ["127.0.0.2"] for n in range(WINDOW)})

    async def come(host: str) -> list[Vote]:
        if familiar:
            desk.took_mail_of(f"ip:{host}", f"net:{host}")
        return await desk.poll(
            [Inquiry(BL, host), Inquiry(OTHER, host)], Family.IPV4, resolver=resolver, client=f"ip:{host}"
        )

    for number in range((HISTORY + 1) * WINDOW):
        await come(f"{number}.0")
    return [vote for number in range(WINDOW) for vote in await come(f"{number}.1")]


@pytest.mark.slow
async def test_a_jump_of_lone_hits_takes_the_vote_away_at_once():
    desk = Desk()
    votes = await jump(desk, familiar=True)
    assert votes[0].listed
    assert votes[-2].why == "has no vote: lists the world"
    assert not votes[-1].why
    [alarm] = desk.take_alarms()
    assert (alarm.key, alarm.trips) == (KEY, True)


@pytest.mark.slow
async def test_a_wave_of_strangers_that_one_list_alone_names_does_not():
    desk = Desk()
    votes = await jump(desk, familiar=False)
    assert all(vote.listed for vote in votes if vote.inquiry.list is BL)
    assert desk.take_alarms() == []


def test_familiar_clients_are_kept_up_to_a_limit(monkeypatch):
    monkeypatch.setattr(module, "MOST_FAMILIAR", 3)
    desk = Desk()
    for number in (1, 2, 3, 1, 4):
        desk.took_mail_of(f"ip:{number}", "net:1")
    assert list(desk._familiar) == [hash("ip:3"), hash("ip:1"), hash("ip:4")]


async def test_good_senders_on_a_list_take_its_vote_away_and_leave_ipv6_alone():
    desk = Desk()
    for number in range(10):
        desk.wronged(["bl.test"], Family.IPV4, sender=f"ip:{number}", now=0.0)
    assert desk.health(BL, Family.IPV4).state is State.WORLD
    assert desk.health(BL, Family.IPV6).state is State.UNTESTED
    assert all(alarm.trips for alarm in desk.take_alarms())


async def test_many_names_of_one_message_are_one_step_towards_a_jump():
    """Or one stranger with a message full of listed names could take a list's vote away."""
    resolver = FakeResolver({(f"n{n}.{BL.suffix}", "A"): ["127.0.0.2"] for n in range(10 * WINDOW)})
    desk = Desk()
    for number in range(HISTORY * WINDOW):
        await poll_of(desk, number, resolver, Inquiry(BL, f"good{number}"), family=Family.NAMES)
    for first in range(0, 500, 20):
        inquiries = [Inquiry(BL, f"n{first + n}") for n in range(20)]
        votes = await poll_of(desk, first, resolver, *inquiries, family=Family.NAMES)
        assert all(vote.listed for vote in votes)
    assert desk.take_alarms() == []


@pytest.mark.slow
async def test_lists_that_name_the_same_under_different_labels_are_not_alone():
    zone = {(f"x{n}.{BL.suffix}", "A"): ["127.0.0.2"] for n in range(WINDOW)}
    zone |= {(f"y{n}.{OTHER.suffix}", "A"): ["127.0.0.2"] for n in range(WINDOW)}
    desk = Desk()
    for number in range(HISTORY * WINDOW):
        await poll_of(desk, number, FakeResolver({}), Inquiry(BL, f"good{number}"), Inquiry(OTHER, f"good{number}"))
    for n in range(WINDOW - 1):
        inquiries = [Inquiry(BL, f"x{n}", f"n{n}"), Inquiry(OTHER, f"y{n}", f"n{n}")]
        await poll_of(desk, n, FakeResolver(zone), *inquiries)
    assert desk.take_alarms() == []


# --- what is told of answers -----------------------------------------------------------------------------------------


def answers_of(each: DnsList, result: str) -> float:
    return REGISTRY.get_sample_value("gatekeeper_dns_list_answers_total", {"list": each.rule, "result": result}) or 0.0


def timed(each: DnsList) -> float:
    return REGISTRY.get_sample_value("gatekeeper_dns_list_seconds_count", {"list": each.rule}) or 0.0


async def test_each_answer_is_counted_and_timed_under_the_name_of_the_list_s_rules():
    each = DnsList("counted.test", "COUNTED", 1.0)
    for metric in (LIST_ANSWERS, LIST_SECONDS):
        metric.declare([each.rule])
    zone: dict[tuple[str, str], list[str] | Status] = {
        ("1.counted.test", "A"): ["127.0.0.2"],
        ("2.counted.test", "A"): ["127.255.255.254"],
        ("3.counted.test", "A"): Status.TIMEOUT,
    }
    before, counted = timed(each), {result: answers_of(each, result) for result in LIST_ANSWERS.RESULTS}
    clock = Clock()

    class Slow(FakeResolver):
        async def ask(self, name, rtype):
            clock.now += 0.0304
            return await super().ask(name, rtype)

    desk = Desk(clock=clock)
    [vote] = await poll(desk, Slow(zone), Inquiry(each, "1"))
    assert (vote.listed, vote.seconds) == (LISTED, 0.03)
    for labels in ("2", "3", "4"):
        await poll(desk, Slow(zone), Inquiry(each, labels))
    assert timed(each) == before + 4
    assert {result: answers_of(each, result) for result in LIST_ANSWERS.RESULTS} == {
        result: number + 1 for result, number in counted.items()
    }


async def test_what_was_in_the_cache_or_not_asked_took_no_time_and_says_nothing_about_the_list():
    each = DnsList("untimed.test", "UNTIMED", 1.0)
    LIST_SECONDS.declare([each.rule])

    class Known(FakeResolver):
        def cached(self, name, rtype):
            return Answer(Status.OK, ("127.0.0.2",), 60.0) if name == "1.untimed.test" else None

    desk = Desk(FakeResolver({}))
    for _ in range(2 * SILENT_IN_A_ROW):
        votes = await poll(desk, BudgetedResolver(Known({}), Budget(0)), Inquiry(each, "1"), Inquiry(each, "2"))
        assert [(vote.listed, vote.why, vote.seconds) for vote in votes] == [(LISTED, "", None), ((), "budget", None)]
    assert timed(each) == 0
    assert desk.take_alarms() == []


# --- deadlines that shrink -------------------------------------------------------------------------------------------


async def test_once_most_lists_have_answered_a_slow_one_is_not_waited_for_and_still_comes_into_the_cache():
    lists = [DnsList(f"l{number}.test", f"L{number}", 1.0) for number in range(6)]
    slow = Inquiry(lists[0], "5.2.0.192")
    async with DnsServer() as server:
        go = server.hold(slow.name)
        resolver = AiodnsResolver(Settings(nameservers=(server.address,), timeout=30.0, tries=1))
        desk = Desk(resolver, hurry=0.05)
        votes = await desk.poll([Inquiry(each, "5.2.0.192") for each in lists], Family.IPV4, resolver=resolver)
        assert [vote.why for vote in votes] == ["timeout", "", "", "", "", ""]
        [flight] = resolver._flights.values()
        go.set()
        await flight
        assert resolver.cached(slow.name, "A") is not None
        await resolver.close()
