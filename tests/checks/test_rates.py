"""Limits on rates: whose they are, when they count, and what is answered."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from gatekeeper.checks.base import Tools
from gatekeeper.checks.rates import DEFAULTS, RateExceeded, RateLimit, Rates
from gatekeeper.config import read
from gatekeeper.config.loading import ConfigurationError
from gatekeeper.mailauth.spf import SpfCode, SpfIdentity, SpfResult
from gatekeeper.model import Action, Address, Envelope, Finding, Mail, Recipient, Session, Stage
from gatekeeper.policy import Policy, Settings
from gatekeeper.store.base import StoreAway
from gatekeeper.store.fallback import Fallback
from gatekeeper.store.memory import MemoryStore
from gatekeeper.wire.list_lines import ListEntry
from tests.support.fake_resolver import FakeResolver
from tests.support.fake_store import FakeStore
from tests.support.mail import message_of

NOW = 1_800_014_400.0  # 12:00 UTC


class Site:
    """A check with its store and a clock that a test moves."""

    def __init__(self, *limits: RateLimit, **settings: float) -> None:
        self.check = Rates(limits=limits, **settings)  # type: ignore[arg-type]  # a test's own
        self.store = FakeStore()
        self.now = NOW
        self.tools = Tools(FakeResolver(), self.store, lambda: self.now, "mx.example.org", frozenset({"example.org"}))

    async def at(self, stage: Stage, mail: Mail) -> list[Finding]:
        mail.stage = stage
        return list(await self.check.inspect(mail, self.tools))

    async def passes(self, stage: Stage, mail: Mail) -> bool:
        return not await self.at(stage, mail)

    async def takes(self, mail: Mail) -> bool:
        """Whether its recipient may be named; then the message is sent and taken."""
        if not await self.passes(Stage.RCPT, mail):
            return False
        await self.ends(mail, passed=True)
        return True

    async def ends(self, mail: Mail, *, passed: bool) -> None:
        if mail.recipient is not None:
            mail.envelope.recipients = [mail.recipient]
        mail.recipient, mail.stage = None, Stage.MESSAGE
        self.check.learn(mail, self.tools, passed=passed)
        await self.check.flush(self.tools)


def mail(
    address: str | None = "192.0.2.7", sender: str = "ann@example.net", to: str | None = None, *, size: int = 0
) -> Mail:
    local, _, domain = sender.rpartition("@")
    session = Session("s", "smtp", 0.0, address=None if address is None else ip_address(address))
    made = Mail(session, Envelope("e", Address(local, domain)))
    if to is not None:
        made.recipient = Recipient(Address(*to.split("@")))
    if size:
        made.message = message_of(b"Subject: x\r\n\r\n" + b"x" * size)
    return made


def limit(what: str = "messages", *per: str, most: int = 3, size: int = 0, within: float = 3600.0) -> RateLimit:
    return RateLimit(what, per or ("address",), most=0 if size else most, size=size, within=within)  # type: ignore[arg-type]


async def test_so_much_passes_and_then_nothing_until_there_is_room_again():
    site = Site(limit(most=3))
    assert [await site.passes(Stage.MAIL, mail()) for _ in range(5)] == [True, True, True, False, False]
    site.now += 1200
    assert [await site.passes(Stage.MAIL, mail()) for _ in range(2)] == [True, False]


@pytest.mark.parametrize(
    ("per", "same", "other"),
    [
        ("address", mail(), mail("192.0.2.8")),
        ("address", mail("2001:db8::1"), mail("2001:db8:0:1::1")),
        ("network", mail(), mail("192.0.3.7")),
        ("sender", mail(), mail(sender="bob@example.net")),
        ("sender_domain", mail(), mail(sender="ann@example.com")),
    ],
)
async def test_each_is_counted_for_itself(per, same, other):
    site = Site(limit("messages", per, most=1))
    stage = site.check.limits[0].stage
    assert await site.passes(stage, same)
    assert not await site.passes(stage, same)
    assert await site.passes(stage, other)


@pytest.mark.parametrize("address", ["192.0.2.7", "192.0.2.8"])
async def test_each_recipient_is_counted_for_itself(address):
    site = Site(limit("messages", "recipient", most=1))
    assert await site.takes(mail(to="x@example.org"))
    assert not await site.takes(mail(address, to="x@example.org"))
    assert await site.takes(mail(address, to="y@example.org"))


async def test_naming_a_recipient_without_mail_that_is_taken_fills_nobodys_limit():
    site = Site(limit("messages", "recipient", most=3))
    for n in range(50):
        one = mail("198.51.100.7", sender=f"a{n}@evil.example", to="x@example.org")
        assert [await site.passes(Stage.RCPT, one) for _ in range(3)] == [True] * 3
        await site.ends(one, passed=False)
    assert [await site.takes(mail(to="x@example.org")) for _ in range(4)] == [True, True, True, False]
    site.now += 1200
    assert [await site.takes(mail(to="x@example.org")) for _ in range(2)] == [True, False]


@pytest.mark.parametrize(
    "one", [limit("bytes", "recipient", size=3000), limit("messages", "recipient", "authenticated_domain")]
)
async def test_what_is_refused_when_its_message_has_come_fills_nobodys_limit_either(one):
    site = Site(one)

    async def comes(*, passed: bool) -> bool:
        came = mail(to="x@example.org", size=980)
        came.envelope.notebook.findings.append(
            Finding("SPF_PASS", SpfResult(SpfCode.PASS, "example.net", SpfIdentity.MAILFROM))
        )
        came.envelope.recipients, came.recipient = [Recipient(Address("x", "example.org"))], None
        room = await site.passes(Stage.MESSAGE, came)
        await site.ends(came, passed=passed and room)
        return room

    assert all([await comes(passed=False) for _ in range(50)])
    assert [await comes(passed=True) for _ in range(4)] == [True, True, True, False]
    site.now += 1200
    assert [await comes(passed=True) for _ in range(2)] == [True, False]


async def test_a_recipient_s_limit_is_exact_for_several_workers():
    sites = [Site(limit("messages", "recipient", most=3)) for _ in range(2)]
    sites[1].store, sites[1].tools = sites[0].store, sites[0].tools
    assert sum([await sites[n % 2].takes(mail(to="x@example.org")) for n in range(10)]) == 3


async def test_a_mailbox_named_twice_in_a_mail_has_one_message():
    site = Site(limit("messages", "recipient", most=2))
    one = mail(to="x@example.org")
    one.envelope.recipients = [Recipient(Address("x", "example.org")), Recipient(Address("X", "example.org"))]
    one.recipient = None
    await site.ends(one, passed=True)
    assert [await site.takes(mail(to="x@example.org")) for _ in range(2)] == [True, False]


async def test_what_is_exempt_or_from_within_does_not_fill_a_recipient_s_limit():
    site = Site(limit("messages", "recipient", most=1))
    assert all([await site.takes(mail("10.0.0.1", to="x@example.org")) for _ in range(5)])
    exempt = mail(to="x@example.org")
    exempt.session.notebook.findings.append(Finding("OPERATOR_EXEMPT", ListEntry("exempt", "address", "192.0.2.7/32")))
    assert await site.takes(exempt)
    assert await site.takes(mail(to="x@example.org"))


async def test_where_no_message_is_seen_each_recipient_that_is_named_counts():
    site = Site(limit("messages", "recipient", most=1))
    passed = []
    for _ in range(2):
        one = mail(to="x@example.org")
        one.session.shows_messages = False
        passed.append(await site.takes(one))
    assert passed == [True, False]


async def test_a_combination_is_a_count_of_its_own():
    site = Site(limit("messages", "network", "sender", most=1))
    assert await site.passes(Stage.MAIL, mail("192.0.2.7"))
    assert not await site.passes(Stage.MAIL, mail("192.0.2.99"))  # the same network, the same sender
    assert await site.passes(Stage.MAIL, mail("192.0.2.7", sender="bob@example.net"))
    assert await site.passes(Stage.MAIL, mail("198.51.100.7"))


async def test_moving_through_a_64_does_not_help():
    site = Site(limit(most=2))
    passed = [await site.passes(Stage.MAIL, mail(f"2001:db8:7:7::{n:x}")) for n in range(1, 50)]
    assert sum(passed) == 2


async def test_a_mapped_address_is_what_it_is():
    site = Site(limit(most=1))
    assert await site.passes(Stage.MAIL, mail("192.0.2.7"))
    assert not await site.passes(Stage.MAIL, mail("::ffff:192.0.2.7"))


async def test_a_domain_that_spf_confirms_is_counted_whatever_its_addresses():
    site = Site(limit("messages", "authenticated_domain", most=1))
    for n, passes in ((1, True), (2, False)):
        one = mail(f"192.0.{n}.1")
        one.envelope.notebook.findings.append(
            Finding("SPF_PASS", SpfResult(SpfCode.PASS, "example.net", SpfIdentity.MAILFROM))
        )
        assert await site.passes(Stage.MESSAGE, one) is passes
    assert await site.passes(Stage.MESSAGE, mail())  # nothing is confirmed here, so nothing counted


async def test_where_no_message_is_seen_it_is_counted_at_the_first_recipient():
    site = Site(limit("messages", "authenticated_domain", most=1))
    assert not site.check.idle_at(Stage.RCPT)
    one = mail(to="x@example.org")
    one.session.shows_messages = False
    one.envelope.notebook.findings.append(
        Finding("SPF_PASS", SpfResult(SpfCode.PASS, "example.net", SpfIdentity.MAILFROM))
    )
    assert [await site.passes(Stage.RCPT, one) for _ in range(3)] == [True, True, True]  # of one mail
    one.envelope.memo.clear()
    assert not await site.passes(Stage.RCPT, one)


async def test_recipients_are_counted_one_by_one():
    site = Site(limit("recipients", "address", most=2))
    assert [await site.passes(Stage.RCPT, mail(to=f"u{n}@example.org")) for n in range(3)] == [True, True, False]


async def test_connections_are_counted_and_cut_off():
    site = Site(limit("connections", "network", most=1))
    assert await site.passes(Stage.CONNECT, mail("192.0.2.1"))
    [found] = await site.at(Stage.CONNECT, mail("192.0.2.2"))
    verdict = Policy(Settings(), site.check.rules()).decide([found])
    assert (verdict.action, verdict.code, verdict.enhanced) == (Action.DROP, 421, "4.7.1")


async def test_bytes_are_counted_as_they_come():
    site = Site(limit("bytes", "address", size=10_000))
    assert await site.passes(Stage.MESSAGE, mail(size=6000))
    assert not await site.passes(Stage.MESSAGE, mail(size=6000))
    assert await site.passes(Stage.MESSAGE, mail(size=1000))
    site.now += 3600
    assert await site.passes(
        Stage.MESSAGE, mail(size=50_000)
    )  # more than all of it has its turn when nothing else came


async def test_the_answer_says_when_and_the_same_each_time():
    site = Site(limit("messages", "network", "sender", most=1))
    await site.at(Stage.MAIL, mail())
    texts = set()
    for _ in range(20):
        [found] = await site.at(Stage.MAIL, mail())
        verdict = Policy(Settings(), site.check.rules()).decide([found])
        assert (verdict.action, verdict.code, verdict.enhanced) == (Action.DEFER, 451, "4.7.1")
        assert isinstance(found.evidence, RateExceeded)
        texts.add((verdict.reason.partition(", in ")[0], found.evidence.room_at, found.evidence.next_try))
        site.now += 30
    [(reason, room_at, told)] = texts
    assert reason.startswith("Too many messages from your network of this sender, try again after 13:")
    assert room_at == NOW + 3600
    assert room_at <= told <= room_at + 900 + 60


async def test_those_that_were_put_off_together_are_told_different_times():
    site = Site(limit("messages", "address", most=1, within=4 * 3600.0))
    await site.at(Stage.MAIL, mail())
    told = {(await site.at(Stage.MAIL, mail(sender=f"s{n}@example.net")))[0].evidence.next_try for n in range(60)}
    assert len(told) > 20


async def test_wanted_mail_makes_room_and_refused_mail_takes_it():
    site = Site(limit(most=2), room_every=10, room_most=3.0)
    await site.store.remember("ip:192.0.2.7", accepted=1000, refused=0, now=NOW)
    await site.store.remember("ip:192.0.2.8", accepted=1000, refused=200, now=NOW)
    assert sum([await site.passes(Stage.MAIL, mail("192.0.2.7")) for _ in range(20)]) == 6
    assert sum([await site.passes(Stage.MAIL, mail("192.0.2.8")) for _ in range(20)]) == 2


async def test_a_stranger_who_fills_a_limit_does_not_shut_out_who_has_room():
    site = Site(limit("messages", "recipient", most=5), room_every=1)
    await site.store.remember("ip:192.0.2.7", accepted=1000, refused=0, now=NOW)
    while await site.takes(mail("198.51.100.7", to="x@example.org")):
        pass
    assert await site.takes(mail("192.0.2.7", to="x@example.org"))


async def test_the_null_sender_is_nobody_whose_mail_could_be_too_much():
    site = Site(limit("messages", "sender", most=1), limit("messages", "network", "sender_domain", most=1))
    assert all([await site.passes(Stage.MAIL, mail(sender="@")) for _ in range(10)])


async def test_postmaster_hears_from_everybody():
    site = Site(limit("messages", "recipient", most=1))
    assert all([await site.takes(mail(to="Postmaster@example.org")) for _ in range(10)])


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "fe80::1", None])
async def test_who_is_within_ones_own_walls_or_unknown_is_not_counted(address):
    site = Site(limit(most=1))
    assert all([await site.passes(Stage.MAIL, mail(address)) for _ in range(5)])


async def test_whom_the_operator_exempts_is_not_counted():
    site = Site(limit(most=1))
    exempt = mail()
    exempt.session.notebook.findings.append(Finding("OPERATOR_EXEMPT", ListEntry("exempt", "address", "192.0.2.7/32")))
    assert all([await site.passes(Stage.MAIL, exempt) for _ in range(5)])
    assert site.store.asked == []


async def test_without_the_store_it_is_missing():
    site = Site(limit(most=1))
    site.store.away = True
    with pytest.raises(StoreAway):
        await site.at(Stage.MAIL, mail())


async def test_when_the_store_goes_in_the_middle_memory_counts_on_from_nothing():
    site = Site(limit(most=3))
    fallback = Fallback(site.store, MemoryStore())
    site.tools = replace(site.tools, store=fallback)
    assert [await site.passes(Stage.MAIL, mail()) for _ in range(2)] == [True, True]
    site.store.away = True
    assert [await site.passes(Stage.MAIL, mail()) for _ in range(5)] == [True, True, True, False, False]


async def test_what_a_check_has_nothing_to_do_at_costs_nothing():
    assert Rates().idle_at(Stage.CONNECT)
    assert Rates().idle_at(Stage.MESSAGE)
    assert not Rates().idle_at(Stage.MAIL)
    assert Rates().foresee(mail()) == ()


async def test_what_ships_hurts_no_ordinary_mail_and_asks_no_store():
    site = Site(*DEFAULTS)
    for n in range(50):  # a newsletter to some of our users within a moment
        one = mail(to=f"u{n}@example.org")
        assert await site.passes(Stage.MAIL, one)
        assert await site.takes(one)
    assert site.store.asked == []


@pytest.mark.parametrize(
    ("table", "mend"),
    [
        ('what = "bytes"\nmost = 5', 'says size = "1GiB"'),
        ('what = "messages"', "says most = 100"),
        ('what = "messages"\nmost = 5\nsize = "1MiB"', "says most = 100"),
        ('what = "messages"\nmost = 5\nper = []', "per names each"),
        ('what = "messages"\nmost = 5\nper = ["sender", "sender"]', "per names each"),
        ('what = "connections"\nmost = 5\nper = ["sender"]', 'per "address" or "network"'),
        ('what = "messages"\nmost = 5\nwithin = "0s"', "from a second"),
        ('what = "mails"\nmost = 5', 'must be one of "messages"'),
        ('most = 5\nper = ["adress"]', "did you mean 'address'"),
    ],
)
def test_a_limit_that_makes_no_sense_names_its_mend(table, mend):
    with pytest.raises(ConfigurationError) as wrong:
        read(f"[[checks.rates.limits]]\n{table}\n", "f.toml")
    assert mend in str(wrong.value)
    assert "f.toml:" in str(wrong.value)


def test_the_same_limit_twice_is_a_mistake():
    one = '[[checks.rates.limits]]\nmost = 5\nper = ["address"]\n'
    with pytest.raises(ConfigurationError, match="keep one"):
        read(one + one, "f.toml")


def test_a_limit_is_read_as_it_is_written():
    text = '[[checks.rates.limits]]\nwhat = "messages"\nper = ["network", "sender"]\nmost = 100\nwithin = "1h"\n'
    check = read(text, "f.toml").check("rates")
    assert isinstance(check, Rates)
    assert check.limits == (RateLimit("messages", ("network", "sender"), most=100, within=3600.0),)
