import asyncio
from dataclasses import replace
from ipaddress import ip_address

import pytest

from gatekeeper.checks.base import Tools
from gatekeeper.checks.dnsbl import Dnsbl, ListEvidence
from gatekeeper.dns.desk import Desk
from gatekeeper.dns.health import Health, State, key_of
from gatekeeper.dns.lists import DnsList, Family, ListCode
from gatekeeper.dns.resolver import AiodnsResolver, Budget, BudgetedResolver, Settings, Status
from gatekeeper.model import Envelope, Finding, Group, Kind, Mail, Missing, Session
from gatekeeper.store.memory import MemoryStore
from tests.support.dns_server import DnsServer, Fault
from tests.support.fake_resolver import FakeResolver

ZEN = DnsList(
    "zen.test",
    "ZEN",
    2.0,
    {"127.0.0.2": ListCode("SBL", 4.0), "127.0.0.4-7": ListCode("XBL"), "127.0.0.&8": ListCode("BIT")},
)
PLAIN = DnsList("bl.test", "PLAIN", 3.0)
WELCOME = DnsList("wl.test", "WELCOME", -2.0, ipv6=False)
CHECK = Dnsbl((ZEN, PLAIN, WELCOME))
NAME = "5.2.0.192"


def mail_from(address: str | None) -> Mail:
    session = Session("s", "smtp", 0.0, address=ip_address(address) if address else None)
    return Mail(session, Envelope("e"))


def tools_with(resolver) -> Tools:
    """A welcome list excuses nobody before it has been tested: here it was."""
    desk = Desk(clock=lambda: 0.0)
    desk.learn({key_of(WELCOME, Family.IPV4): Health(State.OK)})
    return Tools(resolver, MemoryStore(), lambda: 0.0, "mx.example.org", frozenset({"example.org"}), desk)


async def inspect(zone, address: str | None = "192.0.2.5", check: Dnsbl = CHECK) -> list[Finding | Missing]:
    return list(await check.inspect(mail_from(address), tools_with(FakeResolver(zone))))


def rules_of(results) -> list[str]:
    return [result.rule for result in results if isinstance(result, Finding)]


async def test_an_address_on_a_list_is_found_with_what_the_list_said():
    assert await inspect({(f"{NAME}.bl.test", "A"): ["127.0.0.3"]}) == [
        Finding(
            "DNSBL_PLAIN",
            ListEvidence("bl.test", f"{NAME}.bl.test", ("127.0.0.3",), 300, 0.0),
            "192.0.2.5 is on bl.test (127.0.0.3)",
        )
    ]


async def test_an_address_on_no_list_is_not_found():
    assert await inspect({}) == []


async def test_an_ipv6_address_is_asked_for_where_the_list_knows_ipv6():
    resolver = FakeResolver({})
    await CHECK.inspect(mail_from("2001:db8::1"), tools_with(resolver))
    nibbles = "1" + ".0" * 23 + ".8.b.d.0.1.0.0.2"
    assert resolver.asked == [(f"{nibbles}.zen.test", "A"), (f"{nibbles}.bl.test", "A")]


async def test_a_mapped_address_is_asked_for_as_ipv4():
    found = await inspect({(f"{NAME}.bl.test", "A"): ["127.0.0.2"]}, "::ffff:192.0.2.5")
    assert rules_of(found) == ["DNSBL_PLAIN"]


async def test_codes_give_rules_of_their_own_and_only_declared_ones_count():
    found = await inspect({(f"{NAME}.zen.test", "A"): ["127.0.0.2", "127.0.0.13", "127.0.0.6", "127.0.0.16"]})
    assert rules_of(found) == ["DNSBL_ZEN_SBL", "DNSBL_ZEN_BIT", "DNSBL_ZEN_XBL"]
    assert await inspect({(f"{NAME}.zen.test", "A"): ["127.0.0.16"]}) == []


@pytest.mark.parametrize("status", [Status.TIMEOUT, Status.REFUSED, Status.NONSENSE, Status.BUDGET])
async def test_a_list_that_gives_no_answer_is_missing_and_the_others_still_count(status):
    found = await inspect({(f"{NAME}.zen.test", "A"): status, (f"{NAME}.wl.test", "A"): ["127.0.0.2"]})
    assert found[0] == Missing("dnsbl:ZEN", ("DNSBL_ZEN_SBL", "DNSBL_ZEN_XBL", "DNSBL_ZEN_BIT"), status.value)
    assert rules_of(found) == ["DNSBL_WELCOME"]


@pytest.mark.parametrize("record", ["127.255.255.254", "127.0.0.1", "127.0.1.255", "203.0.113.7"])
async def test_a_list_that_refuses_or_lies_is_missing_and_lists_nobody(record):
    found = await inspect({(f"{NAME}.bl.test", "A"): [record, "127.0.0.2"]})
    assert found == [Missing("dnsbl:PLAIN", ("DNSBL_PLAIN",), f"refused by answering {record}, 127.0.0.2")]


@pytest.mark.parametrize("address", [None, "127.0.0.1", "10.0.0.1", "192.168.1.1", "::1", "fe80::1", "::ffff:10.0.0.1"])
async def test_nobody_is_asked_about_an_unknown_or_inner_address(address):
    resolver = FakeResolver({})
    assert not await CHECK.inspect(mail_from(address), tools_with(resolver))
    assert resolver.asked == []


async def test_without_lists_nothing_is_asked_or_found():
    assert await inspect({}, check=Dnsbl()) == []
    assert Dnsbl().rules() == []


def test_every_rule_has_its_score_and_is_a_list_s():
    scores = {rule.name: rule.score for rule in CHECK.rules()}
    assert scores == {
        "DNSBL_ZEN_SBL": 4.0,
        "DNSBL_ZEN_XBL": 2.0,
        "DNSBL_ZEN_BIT": 2.0,
        "DNSBL_PLAIN": 3.0,
        "DNSBL_WELCOME": -2.0,
    }
    assert {(rule.kind, rule.enhanced, rule.decides) for rule in CHECK.rules()} == {(Kind.LIST, "7.1", None)}


@pytest.mark.parametrize(
    ("lists", "mend"),
    [
        ((PLAIN, DnsList("other.test", "PLAIN", 1.0)), "another name"),
        ((ZEN, DnsList("other.test", "ZEN_SBL", 1.0)), "another name"),
        ((PLAIN, DnsList("BL.test.", "AGAIN", 1.0)), "into one list"),
    ],
)
def test_lists_that_collide_are_refused(lists, mend):
    with pytest.raises(ValueError, match=mend):
        Dnsbl(lists)


async def test_a_subscriber_s_key_reaches_neither_evidence_nor_text_nor_reason():
    key = "u5t6abcd2efgh3ijkl4mnopqrs"
    check = Dnsbl((DnsList(f"{key}.zen.test", "KEYED", 1.0),))
    name = f"{NAME}.{key}.zen.test", "A"
    for answer in (["127.0.0.2"], ["127.255.255.250"], Status.TIMEOUT):
        assert key not in repr(await inspect({name: answer}, check=check))
    assert key not in repr(check.rules())


async def test_lists_are_asked_at_once_and_a_spent_budget_is_missing_evidence():
    zone = {(f"{NAME}.{each.suffix}", "A"): ["127.0.0.2"] for each in CHECK.lists}
    async with DnsServer(zone) as server:
        resolver = AiodnsResolver(Settings(nameservers=(server.address,)))
        for each in CHECK.lists:
            server.hold(f"{NAME}.{each.suffix}")
        tools = tools_with(resolver)
        waiting = asyncio.create_task(CHECK.inspect(mail_from("192.0.2.5"), tools))
        for each in CHECK.lists:
            await server.arrival(f"{NAME}.{each.suffix}")  # none waits for another's answer
        for each in CHECK.lists:
            server.hold(f"{NAME}.{each.suffix}").set()
        assert rules_of(await waiting) == ["DNSBL_ZEN_SBL", "DNSBL_PLAIN", "DNSBL_WELCOME"]

        spent = replace(tools, resolver=BudgetedResolver(resolver, Budget(0)))
        assert len(rules_of(await CHECK.inspect(mail_from("192.0.2.5"), spent))) == 3  # known already
        missing = await CHECK.inspect(mail_from("192.0.2.6"), spent)
        assert [result.why for result in missing if isinstance(result, Missing)] == ["budget"] * 3
        await resolver.close()


async def test_a_dead_list_costs_its_own_evidence_only():
    async with DnsServer(
        {(f"{NAME}.bl.test", "A"): ["127.0.0.2"]}, faults={f"{NAME}.zen.test": Fault.SILENCE}
    ) as server:
        resolver = AiodnsResolver(Settings(nameservers=(server.address,), timeout=0.1, tries=1))
        found = await CHECK.inspect(mail_from("192.0.2.5"), tools_with(resolver))
        assert [result.name for result in found if isinstance(result, Missing)] == ["dnsbl:ZEN"]
        assert rules_of(found) == ["DNSBL_PLAIN"]
        await resolver.close()


# --- a new listing counts only after a control question ---------------------------------------------------------------


async def test_after_a_listing_the_list_is_asked_for_what_cannot_be_listed():
    resolver = FakeResolver({(f"{NAME}.bl.test", "A"): ["127.0.0.2"]})
    found = await CHECK.inspect(mail_from("192.0.2.5"), tools_with(resolver))
    assert rules_of(found) == ["DNSBL_PLAIN"]
    [control] = resolver.asked[3:]
    labels = control[0].removesuffix(".bl.test").split(".")
    assert labels[3] == "127"
    assert int(labels[2]) >= 128


class Everybody(FakeResolver):
    """A list that lists whatever it is asked."""

    async def ask(self, name, rtype):
        if name.endswith(".bl.test"):
            self.answers[name, rtype] = ["127.0.0.2"]
        return await super().ask(name, rtype)


async def test_a_list_that_lists_everybody_is_missing():
    [missing] = await CHECK.inspect(mail_from("192.0.2.5"), tools_with(Everybody()))
    assert isinstance(missing, Missing)
    assert (missing.name, missing.rules) == ("dnsbl:PLAIN", ("DNSBL_PLAIN",))
    assert "control question failed" in missing.why


@pytest.mark.parametrize("state", [State.DEAD, State.WORLD, State.REFUSES])
async def test_a_list_without_a_vote_is_not_asked_and_is_missing(state):
    resolver = FakeResolver({(f"{NAME}.bl.test", "A"): ["127.0.0.2"]})
    tools = tools_with(resolver)
    tools.desk.learn({key_of(PLAIN, Family.IPV4): Health(state)})
    found = await CHECK.inspect(mail_from("192.0.2.5"), tools)
    assert found == [Missing("dnsbl:PLAIN", ("DNSBL_PLAIN",), f"has no vote: {state.value}")]
    assert (f"{NAME}.bl.test", "A") not in resolver.asked


async def test_the_health_of_ipv6_is_its_own():
    nibbles = "1" + ".0" * 23 + ".8.b.d.0.1.0.0.2"
    tools = tools_with(FakeResolver({(f"{nibbles}.bl.test", "A"): ["127.0.0.2"]}))
    tools.desk.learn({key_of(PLAIN, Family.IPV4): Health(State.DEAD)})
    assert rules_of(await CHECK.inspect(mail_from("2001:db8::1"), tools)) == ["DNSBL_PLAIN"]


@pytest.mark.parametrize("state", [each for each in State if each is not State.OK])
async def test_a_welcome_list_that_is_not_well_excuses_nobody(state):
    tools = tools_with(FakeResolver({(f"{NAME}.wl.test", "A"): ["127.0.0.2"]}))
    tools.desk.learn({key_of(WELCOME, Family.IPV4): Health(state)})
    found = await CHECK.inspect(mail_from("192.0.2.5"), tools)
    assert [(type(each), getattr(each, "rules", None)) for each in found] == [(Missing, ("DNSBL_WELCOME",))]


# --- groups -----------------------------------------------------------------------------------------------------------


def test_lists_of_a_group_share_its_cap():
    lists = tuple(DnsList(f"{name}.test", name.upper(), 3.0, group="copies") for name in ("a", "b"))
    groups = [rule.group for rule in Dnsbl((*lists, PLAIN), {"copies": 4.0}).rules()]
    assert groups == [Group("DNSBL_GROUP_COPIES", 4.0)] * 2 + [None]


@pytest.mark.parametrize(
    ("group", "groups", "mend"),
    [
        ("copies", {}, "copies = 5.0"),
        ("copies", {"copies": 0.0}, "above 0"),
        ("copies", {"copies": float("inf")}, "above 0"),
        ("", {"copies": 5.0}, 'no list has the group "copies"'),
        ("co pies", {"co pies": 5.0}, "letters, digits"),
    ],
)
def test_groups_that_make_no_sense_are_refused(group, groups, mend):
    with pytest.raises(ValueError, match=mend):
        Dnsbl((DnsList("a.test", "A", 1.0, group=group),), groups)


def test_a_list_cannot_look_like_a_group():
    with pytest.raises(ValueError, match="look like a group"):
        DnsList("a.test", "GROUP_A", 1.0)


@pytest.mark.parametrize(("address", "counted"), [("192.0.2.5", 1), ("::ffff:192.0.2.5", 1), ("192.0.3.5", 0)])
async def test_what_lists_say_of_a_client_whose_mail_was_taken_tells_about_the_lists(address, counted):
    tools = tools_with(FakeResolver({}))
    tools.desk.took_mail_of("ip:192.0.2.5", "net:192.0.2.0/24")
    await CHECK.inspect(mail_from(address), tools)
    assert tools.desk._of(key_of(PLAIN, Family.IPV4)).breaker._asked == counted
