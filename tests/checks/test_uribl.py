import re
from ipaddress import ip_address

import pytest

from gatekeeper.checks.base import Tools
from gatekeeper.checks.uribl import NameListEvidence, NamesLeftOut, Uribl
from gatekeeper.dns.answer import Answer
from gatekeeper.dns.desk import Desk
from gatekeeper.dns.health import Health, State, key_of
from gatekeeper.dns.lists import Family, ListCode
from gatekeeper.dns.name_lists import NameList, Of
from gatekeeper.dns.resolver import Budget, BudgetedResolver, Status
from gatekeeper.mailauth.dkim import DkimResult, DkimResults
from gatekeeper.mailauth.dkim_signature import DkimCode
from gatekeeper.model import Address, Envelope, Finding, Group, Kind, Mail, Missing, Session, Stage
from gatekeeper.store.memory import MemoryStore
from gatekeeper.watch import listed_targets
from tests.support.fake_resolver import FakeResolver
from tests.support.mail import message_of

DBL = NameList("dbl.test", "DBL", 5.0)
ALL: tuple[Of, ...] = ("links", "sender", "from", "reply_to", "dkim", "helo", "reverse_name")
WIDE = NameList("wide.test", "WIDE", 2.0, of=ALL)
HBL = NameList("hbl.test", "HBL", 3.0, of=("links", "from", "reply_to", "sender"), hash="sha1")
PAGE = 'Content-Type: text/html\nFrom: a@author.example.com\n\n<a href="http://www.evil.example.net/x">x</a>\n'


def tools_with(resolver, domains=frozenset(), desk: Desk | None = None) -> Tools:
    desk = desk or Desk(clock=lambda: 0.0)
    return Tools(resolver, MemoryStore(), lambda: 0.0, "mx.example.org", frozenset(domains), desk)


def mail_of(raw: str | None = PAGE, **session) -> Mail:
    mail = Mail(Session("s", "smtp", 0.0, address=ip_address("192.0.2.5"), **session), Envelope("e"))
    mail.message = None if raw is None else message_of(raw)
    return mail


async def inspect(zone, *lists: NameList, raw: str | None = PAGE, **changes) -> list[Finding | Missing]:
    check = Uribl(lists or (DBL,), **changes)
    return list(await check.inspect(mail_of(raw), tools_with(FakeResolver(zone))))


def rules_of(results) -> list[str]:
    return [result.rule for result in results if isinstance(result, Finding)]


async def test_a_domain_in_a_link_is_found_with_what_the_list_said():
    assert await inspect({("example.net.dbl.test", "A"): ["127.0.1.2"]}) == [
        Finding(
            "URIBL_DBL",
            NameListEvidence("dbl.test", ("www.evil.example.net (links)",), ("127.0.1.2",), 300, 0.0, ("example.net",)),
            "www.evil.example.net (links) on dbl.test (127.0.1.2)",
        )
    ]


async def test_a_message_whose_names_are_on_no_list_has_no_finding():
    assert await inspect({}) == []


@pytest.mark.parametrize("status", [Status.TIMEOUT, Status.REFUSED, Status.NONSENSE])
async def test_a_list_that_gives_no_answer_is_missing(status):
    assert await inspect({("example.net.dbl.test", "A"): status}) == [
        Missing("uribl:DBL", ("URIBL_DBL",), status.value)
    ]


@pytest.mark.parametrize("record", ["127.255.255.254", "127.0.0.1", "127.0.1.255", "203.0.113.7"])
async def test_a_list_that_refuses_lists_nobody(record):
    found = await inspect({("example.net.dbl.test", "A"): [record]})
    assert found == [Missing("uribl:DBL", ("URIBL_DBL",), f"refused by answering {record}")]


async def test_codes_give_rules_of_their_own():
    coded = NameList(
        "dbl.test", "DBL", 2.0, {"127.0.1.2": ListCode("SPAM", 5.0), "127.0.1.4-6": ListCode("PHISH", 6.0)}
    )
    found = await inspect({("example.net.dbl.test", "A"): ["127.0.1.4", "127.0.1.99"]}, coded)
    assert rules_of(found) == ["URIBL_DBL_PHISH"]
    assert {rule.name: rule.score for rule in Uribl((coded,)).rules()} == {
        "URIBL_DBL_SPAM": 5.0,
        "URIBL_DBL_PHISH": 6.0,
        "URIBL_LEFT_OUT": 0.0,
    }


@pytest.mark.parametrize(
    ("ask", "asked"),
    [
        ("domain", ["example.net.l.test"]),
        ("name", ["www.evil.example.net.l.test"]),
        ("both", ["example.net.l.test", "www.evil.example.net.l.test"]),
    ],
)
async def test_a_list_is_asked_for_the_name_it_wants(ask, asked):
    resolver = FakeResolver({})
    await Uribl((NameList("l.test", "L", 1.0, ask=ask),)).inspect(mail_of(), tools_with(resolver))
    assert [name for name, _ in resolver.asked] == asked


async def test_every_name_in_a_mail_is_asked_about_where_the_list_wants_it():
    resolver = FakeResolver({})
    mail = mail_of(
        "From: a@author.example.com\nReply-To: b@reply.example.de\nContent-Type: text/html\n\n<a href=http://link.example.net>\n",
        helo="mx.helo.example.fr",
    )
    mail.envelope.sender = Address("c", "sender.example.it")
    mail.session.notebook.findings.append(
        Finding("RDNS_CONFIRMED", type("Name", (), {"name": "host.reverse.example.nl"})())
    )
    signature = DkimResult(DkimCode.PASS, domain="signer.example.se")
    mail.envelope.notebook.findings.append(Finding("DKIM_PASS", DkimResults((signature,), 1)))
    await Uribl((WIDE,)).inspect(mail, tools_with(resolver))
    assert [name for name, _ in resolver.asked] == [
        f"example.{suffix}.wide.test" for suffix in ("fr", "nl", "it", "com", "de", "se", "net")
    ]


async def test_what_a_list_is_not_for_it_is_not_asked():
    resolver = FakeResolver({})
    await Uribl((NameList("l.test", "L", 1.0, of=("sender",)),)).inspect(mail_of(), tools_with(resolver))
    assert resolver.asked == []


async def test_addresses_of_hosts_in_links_are_asked_where_the_list_knows_them():
    raw = "\nhttp://3221225989/ http://[2001:db8::1]/ http://10.0.0.1/\n"
    resolver = FakeResolver({})
    lists = (NameList("ip.test", "IP", 1.0, addresses=True, ipv6=False), DBL)
    await Uribl(lists).inspect(mail_of(raw), tools_with(resolver))
    assert resolver.asked == [("5.2.0.192.ip.test", "A")]


async def test_mail_addresses_are_asked_for_by_their_digest_and_shown_as_they_are():
    raw = "From: Bob+x@Author.example.com\nReply-To: drop@box.example.net\n\nwrite to me@text.example.org\n"
    digest = f"{HBL.labels_of_mailbox('drop@box.example.net')}.hbl.test"
    found = await inspect({(digest, "A"): ["127.0.3.2"]}, HBL, raw=raw)
    assert rules_of(found) == ["URIBL_HBL"]
    assert found[0].evidence.names == ("drop@box.example.net (reply_to)",)  # type: ignore[union-attr]  # a finding
    resolver = FakeResolver({})
    await Uribl((HBL,)).inspect(mail_of(raw), tools_with(resolver))
    expected = ["bob@author.example.com", "drop@box.example.net", "me@text.example.org"]
    assert [name for name, _ in resolver.asked] == [f"{HBL.labels_of_mailbox(each)}.hbl.test" for each in expected]


async def test_a_name_is_asked_about_once_however_often_and_at_whatever_stage():
    resolver = FakeResolver({})
    check = Uribl((WIDE,))
    mail = mail_of(None, helo="mx.example.net")
    mail.envelope.sender = Address("a", "example.net")
    mail.stage = Stage.MAIL
    await check.inspect(mail, tools_with(resolver))
    mail.message, mail.stage = (
        message_of("From: b@example.net\n\nhttp://a.example.net http://b.example.net\n"),
        Stage.MESSAGE,
    )
    await check.inspect(mail, tools_with(resolver))
    await check.inspect(mail, tools_with(resolver))
    assert [name for name, _ in resolver.asked] == ["example.net.wide.test"]


async def test_our_own_domains_and_those_that_are_ignored_are_not_asked_about():
    resolver = FakeResolver({})
    raw = "From: a@example.org\n\nhttp://www.example.org http://x.known.example.com http://known.example.com\n"
    check = Uribl((WIDE, HBL), ignore=("known.example.com",))
    await check.inspect(mail_of(raw), tools_with(resolver, {"example.org", "www.example.org"}))
    assert resolver.asked == []


async def test_a_message_with_thirty_links_stays_within_its_budget_and_says_what_it_left_out():
    raw = "From: a@author.example\n\n" + " ".join(f"http://www.host{n}.com/" for n in range(30)) + "\n"
    resolver = FakeResolver({("host0.com.dbl.test", "A"): ["127.0.1.2"]})
    found = await Uribl((DBL,), names=10).inspect(mail_of(raw), tools_with(resolver))
    assert len([name for name, _ in resolver.asked if ".invalid." not in name]) == 10
    assert rules_of(found) == ["URIBL_DBL", "URIBL_LEFT_OUT"]
    left_out = found[1].evidence  # type: ignore[union-attr]  # a finding
    assert isinstance(left_out, NamesLeftOut)
    assert (left_out.asked, left_out.left_out, len(left_out.some)) == (10, 20, 8)
    assert left_out.some[0] == "www.host10.com (links)"


async def test_people_s_addresses_that_were_not_asked_about_are_not_kept():
    raw = "\n" + " ".join(f"person{n}@mail{n}.com" for n in range(3)) + "\n"
    found = await inspect({}, HBL, raw=raw, names=1)
    assert rules_of(found) == ["URIBL_LEFT_OUT"]
    assert found[0].evidence.some == ("…@mail1.com (links)", "…@mail2.com (links)")  # type: ignore[union-attr]  # a finding


async def test_the_most_telling_links_are_asked_about_first():
    raw = "Content-Type: text/html\n\n" + "".join(f"<img src=http://img{n}.com/>" for n in range(30))
    raw += '<a href="http://paypa1.com/">x</a><a href="http://anchor.com/">y</a>\n'
    resolver = FakeResolver({})
    await Uribl((DBL,), names=2).inspect(mail_of(raw), tools_with(resolver))
    assert [name for name, _ in resolver.asked] == ["paypa1.com.dbl.test", "anchor.com.dbl.test"]


async def test_questions_have_a_budget_over_all_lists():
    raw = "\n" + " ".join(f"http://host{n}.com/" for n in range(30)) + "\n"
    resolver = FakeResolver({})
    lists = tuple(NameList(f"l{n}.test", f"L{n}", 1.0) for n in range(4))
    found = await Uribl(lists, questions=10).inspect(mail_of(raw), tools_with(resolver))
    assert len(resolver.asked) == 8  # all lists are asked about a name, or none
    assert rules_of(found) == ["URIBL_LEFT_OUT"]


async def test_a_spent_budget_of_the_transaction_is_missing_evidence():
    spent = BudgetedResolver(FakeResolver({}), Budget(0))
    found = await Uribl((DBL,)).inspect(mail_of(), tools_with(spent))
    assert found == [Missing("uribl:DBL", ("URIBL_DBL",), "budget")]


# --- lists judge themselves, as those of addresses do


IP = NameList("ip.test", "IP", 1.0, addresses=True)
LISTED_BY = {
    DBL: (Family.NAMES, PAGE, "example.net"),
    HBL: (Family.HASHES, "From: bob@author.example.com\n\nx\n", HBL.labels_of_mailbox("bob@author.example.com")),
    IP: (Family.IPV4, "\nhttp://192.0.2.5/\n", "5.2.0.192"),
}
KINDS = pytest.mark.parametrize("each", LISTED_BY, ids=["names", "hashes", "addresses"])


@KINDS
async def test_a_listing_counts_only_after_a_control_question_of_its_own_kind(each):
    family, raw, labels = LISTED_BY[each]
    sound = FakeResolver({(f"{labels}.{each.suffix}", "A"): ["127.0.0.2"]})
    found = await Uribl((each,)).inspect(mail_of(raw), tools_with(sound))
    assert rules_of(found) == [each.rule]
    control = sound.asked[-1][0].removesuffix(f".{each.suffix}")
    kinds = {Family.NAMES: r"c[0-9a-f]{16}\.invalid", Family.HASHES: "[0-9a-f]{40}", Family.IPV4: r"(\d+\.){3}127"}
    assert re.fullmatch(kinds[family], control)


@KINDS
async def test_what_a_list_says_that_lists_the_world_is_missing_and_raises_an_alarm(each):
    family, raw, _ = LISTED_BY[each]

    class World(FakeResolver):
        async def ask(self, name, rtype):
            return Answer(Status.OK, ("127.0.0.2",), 300.0)

    tools = tools_with(World())
    [missing] = await Uribl((each,)).inspect(mail_of(raw), tools)
    assert isinstance(missing, Missing)
    assert missing.rules == (each.rule,)
    assert missing.why.startswith("its control question failed")
    assert [alarm.key for alarm in tools.desk.take_alarms()] == [key_of(each, family)]


@KINDS
@pytest.mark.parametrize("state", [state for state in State if not state.votes])
async def test_a_list_without_a_vote_is_not_asked_and_missing(each, state):
    family, raw, labels = LISTED_BY[each]
    resolver, desk = FakeResolver({(f"{labels}.{each.suffix}", "A"): ["127.0.0.2"]}), Desk()
    desk.learn({key_of(each, family): Health(state)})
    found = await Uribl((each,)).inspect(mail_of(raw), tools_with(resolver, desk=desk))
    assert found == [Missing(f"uribl:{each.name}", (each.rule,), f"has no vote: {state.value}")]
    assert resolver.asked == []


@pytest.mark.parametrize(
    ("state", "rules"), [(State.OK, ["URIBL_WELCOME"]), (State.UNTESTED, []), (State.DEGRADED, [])]
)
async def test_a_list_of_welcome_domains_excuses_only_while_it_is_well(state, rules):
    welcome = NameList("wl.test", "WELCOME", -2.0)
    desk = Desk()
    desk.learn({key_of(welcome, Family.NAMES): Health(state)})
    resolver = FakeResolver({("example.net.wl.test", "A"): ["127.0.0.2"]})
    found = await Uribl((welcome,)).inspect(mail_of(), tools_with(resolver, desk=desk))
    assert rules_of(found) == rules
    assert [each.rules for each in found if isinstance(each, Missing)] == ([] if rules else [("URIBL_WELCOME",)])


async def test_names_and_addresses_of_one_list_stand_apart():
    desk = Desk()
    desk.learn({key_of(IP, Family.IPV4): Health(State.DEAD)})
    resolver = FakeResolver({("example.net.ip.test", "A"): ["127.0.0.2"]})
    found = await Uribl((IP,)).inspect(
        mail_of("\nhttp://192.0.2.5/ http://example.net/\n"), tools_with(resolver, desk=desk)
    )
    assert rules_of(found) == ["URIBL_IP"]
    assert [each.why for each in found if isinstance(each, Missing)] == ["has no vote: dead"]


def test_what_its_lists_are_asked_about_is_what_is_tested():
    tested = [(each.name, each.family) for each in listed_targets([Uribl((DBL, HBL, IP))])]
    assert tested == [
        ("URIBL_DBL", Family.NAMES),
        ("URIBL_HBL", Family.HASHES),
        *(("URIBL_IP", family) for family in (Family.NAMES, Family.IPV4, Family.IPV6)),
    ]


def test_lists_of_a_group_share_its_cap():
    both = (NameList("a.test", "A", 5.0, group="g"), NameList("b.test", "B", 5.0, group="g"))
    rules = Uribl(both, groups={"g": 6.0}).rules()
    assert {rule.group for rule in rules if rule.name != "URIBL_LEFT_OUT"} == {Group("URIBL_GROUP_G", 6.0)}


async def test_without_lists_nothing_is_read_or_found():
    mail = mail_of()
    assert await Uribl().inspect(mail, tools_with(FakeResolver({}))) == ()
    assert mail.message is not None
    assert mail.message.memo == {}
    assert Uribl().idle_at(Stage.MAIL)
    assert not Uribl().idle_at(Stage.MESSAGE)


async def test_a_subscriber_s_key_reaches_neither_evidence_nor_text():
    key = "u5t6abcd2efgh3ijkl4mnopqrs"
    keyed = NameList(f"{key}.dbl.test", "KEYED", 1.0)
    for answer in (["127.0.0.2"], ["127.255.255.250"], Status.TIMEOUT):
        assert key not in repr(await inspect({(f"example.net.{key}.dbl.test", "A"): answer}, keyed))
    assert key not in repr(Uribl((keyed,)).rules())


@pytest.mark.parametrize(
    ("lists", "changes", "mend"),
    [
        ((DBL, NameList("other.test", "DBL", 1.0)), {}, "another name"),
        ((DBL, NameList("DBL.test.", "AGAIN", 1.0)), {}, "into one list"),
        ((DBL,), {"groups": {"g": 1.0}}, "no list has the group"),
        ((DBL,), {"names": 0}, "names must be"),
        ((DBL,), {"questions": 0}, "questions"),
        ((DBL,), {"ignore": ("no domain",)}, "no domain"),
    ],
)
def test_what_cannot_be_is_refused(lists, changes, mend):
    with pytest.raises(ValueError, match=mend):
        Uribl(lists, **changes)


def test_every_rule_of_a_list_is_a_list_s():
    kinds = {rule.name: rule.kind for rule in Uribl((DBL, HBL)).rules()}
    assert kinds == {"URIBL_DBL": Kind.LIST, "URIBL_HBL": Kind.LIST, "URIBL_LEFT_OUT": Kind.CONTENT}


@pytest.mark.parametrize(("client", "counted"), [("ip:192.0.2.5", 1), ("ip:192.0.2.6", 0)])
async def test_what_lists_say_of_mail_from_a_client_whose_mail_was_taken_tells_about_the_lists(client, counted):
    tools = tools_with(FakeResolver({}))
    tools.desk.took_mail_of(client, "net:192.0.2.0/24")
    await Uribl((DBL,)).inspect(mail_of(), tools)
    assert tools.desk._of(key_of(DBL, Family.NAMES)).breaker._asked == counted
