"""Greylisting of what is in doubt: whom it knows, who has to wait, and what becomes of them (RFC 6647)."""

from ipaddress import ip_address
from typing import Any

import pytest

from gatekeeper import metrics
from gatekeeper.checks.base import OnlyInDoubt, Tools
from gatekeeper.checks.greylist import MOST_WRITTEN, CameBack, Greylist, Greylisted, KnownSender, _first
from gatekeeper.mailauth.dkim import DkimResult, DkimResults
from gatekeeper.mailauth.dkim_signature import DkimCode
from gatekeeper.mailauth.spf import SpfCode, SpfIdentity, SpfResult
from gatekeeper.model import Action, Address, Envelope, Finding, Mail, Missing, Recipient, Session, Stage
from gatekeeper.policy import Policy, Settings
from gatekeeper.store.base import Note
from tests.support.fake_resolver import FakeResolver
from tests.support.fake_store import FakeStore

NOW = 1_800_014_400.0  # 12:00 UTC
DAY = 86400.0


class Site:
    """The check with its store, and a clock that a test moves."""

    def __init__(self, check: Greylist | None = None, store: FakeStore | None = None) -> None:
        self.check = check or Greylist()
        self.store = store or FakeStore()
        self.now = NOW
        self.tools = Tools(FakeResolver(), self.store, lambda: self.now, "mx.example.org", frozenset({"example.org"}))

    async def found(self, mail: Mail) -> Any:
        found = await self.check.inspect(mail, self.tools)
        assert len(found) <= 1
        return found[0] if found else None

    async def rule(self, mail: Mail) -> str:
        found = await self.found(mail)
        return "" if found is None else "missing" if isinstance(found, Missing) else found.rule


def mail(
    address: str | None = "192.0.2.7",
    sender: str = "ann@example.net",
    *,
    spf: str = "",
    signed: tuple[str, ...] = (),
    to: tuple[str, ...] = ("x@example.org",),
    login: str | None = None,
) -> Mail:
    local, _, domain = sender.rpartition("@")
    session = Session("s", "smtp", 0.0, address=None if address is None else ip_address(address), login=login)
    made = Mail(session, Envelope("e", Address(local, domain)), stage=Stage.MESSAGE)
    made.envelope.recipients = [Recipient(Address(*one.split("@"))) for one in to]
    notes = made.envelope.notebook.findings
    if spf:
        notes.append(Finding("SPF_PASS", SpfResult(SpfCode.PASS, spf, SpfIdentity.MAILFROM)))
    if signed:
        notes.append(Finding("DKIM_PASS", DkimResults(tuple(DkimResult(DkimCode.PASS, one) for one in signed), 1)))
    return made


async def test_who_is_not_known_waits_and_passes_when_it_comes_back():
    site = Site()
    assert await site.rule(mail()) == "GREYLIST_WAIT"
    site.now += 59
    assert await site.rule(mail()) == "GREYLIST_WAIT"
    site.now += 1
    found = await site.found(mail())
    assert (found.rule, found.evidence) == ("GREYLIST_PASSED", CameBack("net:192.0.2.0/24 ann@example.net", 60.0))
    site.now += 30 * DAY
    assert await site.rule(mail()) == "GREYLIST_PASSED"  # it is known for weeks, and for weeks again
    site.now += 30 * DAY
    assert await site.rule(mail()) == "GREYLIST_PASSED"
    site.now += 36 * DAY
    assert await site.rule(mail()) == "GREYLIST_WAIT"


async def test_it_is_told_when_and_trying_early_changes_nothing():
    site, told = Site(), set()
    for _ in range(6):
        found = await site.found(mail())
        assert isinstance(found.evidence, Greylisted)
        told.add((found.evidence.due, found.evidence.next_try, found.text.partition(", in ")[0]))
        site.now += 10
    [(due, next_try, text)] = told
    assert due == NOW + 60
    assert due <= next_try <= due + 120
    assert text.startswith("Your mail server is not known here yet, try again after 12:0")


async def test_recipients_do_not_matter():
    site = Site()
    await site.rule(mail(to=("x@example.org",)))
    site.now += 200
    assert await site.rule(mail(to=("y@example.org", "z@example.org"))) == "GREYLIST_PASSED"


async def test_a_pool_of_senders_is_put_off_once():
    """Twenty addresses in as many networks, one domain: whichever of them tries again."""
    site = Site()
    waits = 0
    for n in range(60):
        address = f"198.51.{n % 20}.7"
        waits += await site.rule(mail(address, "codes@example.net", spf="example.net", signed=("example.net",))) == (
            "GREYLIST_WAIT"
        )
        site.now += 61
    assert waits == 1


async def test_a_pool_is_known_by_what_some_of_its_mail_has_in_common():
    site = Site()
    await site.rule(mail("192.0.2.7", spf="bounce.example.net", signed=("example.net",)))
    site.now += 200
    assert await site.rule(mail("198.51.100.7", spf="", signed=("example.net",))) == "GREYLIST_PASSED"
    assert await site.rule(mail("203.0.113.7", spf="bounce.example.net")) == "GREYLIST_PASSED"
    assert await site.rule(mail("203.0.113.8", sender="bob@example.com", spf="example.com")) == "GREYLIST_WAIT"


async def test_a_forger_in_the_same_network_gains_nothing_from_another_sender():
    site = Site()
    await site.rule(mail(sender="a@example.net"))
    site.now += 200
    assert await site.rule(mail(sender="b@example.net")) == "GREYLIST_WAIT"


async def test_a_client_that_came_back_once_has_a_queue_whatever_it_sends():
    site = Site()
    await site.rule(mail(sender="a@example.net"))
    site.now += 200
    assert await site.rule(mail(sender="a@example.net")) == "GREYLIST_PASSED"
    assert await site.rule(mail(sender="b@example.com")) == "GREYLIST_PASSED"
    assert await site.rule(mail("192.0.2.8", sender="b@example.com")) == "GREYLIST_WAIT"  # not so its neighbours


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("bounce-17-ann=example.org@lists.example", "bounce-18-bob=example.org@lists.example"),
        ("news+0fa9@lists.example", "news+c311@lists.example"),
        ("prvs=0144e1f3a0=ann@example.net", "prvs=91432ab111=ann@example.net"),
        ("Ann@example.net", "ann@example.net"),
    ],
)
async def test_a_sender_whose_address_differs_from_mail_to_mail_is_one(first, second):
    site = Site()
    await site.rule(mail(sender=first))
    site.now += 200
    assert await site.rule(mail("192.0.2.8", sender=second)) == "GREYLIST_PASSED"


async def test_hopping_inside_a_network_is_the_same_sender():
    site = Site()
    await site.rule(mail("2001:db8:0:1::1"))
    site.now += 200
    assert await site.rule(mail("2001:db8:0:1:ffff::99")) == "GREYLIST_PASSED"
    await site.rule(mail("192.0.2.7"))
    site.now += 200
    assert await site.rule(mail("192.0.2.99")) == "GREYLIST_PASSED"


async def test_the_null_sender_is_treated_as_any_other():
    site = Site()
    assert await site.rule(mail(sender="@")) == "GREYLIST_WAIT"
    site.now += 200
    assert await site.rule(mail(sender="@")) == "GREYLIST_PASSED"


async def test_a_domain_with_a_history_of_wanted_mail_does_not_wait():
    site = Site()
    await site.store.remember("dom:example.net", accepted=5, refused=0, now=NOW - 2 * DAY)
    found = await site.found(mail(spf="example.net"))
    assert (found.rule, found.evidence) == ("GREYLIST_KNOWN", KnownSender("dom:example.net", "history"))
    assert await site.rule(mail()) == "GREYLIST_WAIT"  # who only says that it is


async def test_a_client_with_a_history_of_wanted_mail_does_not_wait():
    site = Site()
    await site.store.remember("ip:192.0.2.7", accepted=5, refused=0, now=NOW - 2 * DAY)
    assert await site.rule(mail()) == "GREYLIST_KNOWN"


@pytest.mark.parametrize(
    ("accepted", "refused", "ago"),
    [(2, 0, 2 * DAY), (100, 0, 3600.0), (100, 30, 2 * DAY)],
    ids=["too few", "new", "bad"],
)
async def test_a_poor_history_makes_nobody_known(accepted, refused, ago):
    site = Site()
    await site.store.remember("ip:192.0.2.7", accepted=accepted, refused=refused, now=NOW - ago)
    assert await site.rule(mail()) == "GREYLIST_WAIT"


async def test_an_answer_to_our_users_does_not_wait():
    site = Site()
    site.check.learn(mail("10.0.0.5", "ann@example.org", to=("Bob@example.com",)), site.tools, passed=True)
    assert await site.rule(mail(sender="bob@example.com")) == "GREYLIST_WAIT"  # not in the store yet
    await site.store.drop_notes(
        "greylist", [n.key for n in await site.store.notes("greylist", prefix="wait:", now=NOW)]
    )
    await site.check.flush(site.tools)
    found = await site.found(mail(sender="bob@example.com"))
    assert (found.rule, found.evidence) == ("GREYLIST_KNOWN", KnownSender("bob@example.com", "correspondent"))
    site.now += 61 * DAY
    assert await site.rule(mail(sender="bob@example.com")) == "GREYLIST_WAIT"


async def test_only_mail_that_goes_out_tells_whom_our_users_write_to():
    site = Site()
    site.check.learn(mail(to=("ann@example.org",)), site.tools, passed=True)  # comes in
    site.check.learn(mail(to=("bob@example.com",)), site.tools, passed=False)  # was not taken
    site.check.learn(mail(to=("eve@example.com",), login="ann"), site.tools, passed=True)
    await site.check.flush(site.tools)
    assert len(await site.store.notes("greylist", prefix="wrote:", now=NOW)) == 1


@pytest.mark.slow
async def test_whom_our_users_write_to_is_bounded_and_told_once_a_day():
    site = Site()
    for n in range(MOST_WRITTEN + 500):
        site.check.learn(mail(to=(f"u{n}@example.com",), login="ann"), site.tools, passed=True)
    assert len(site.check._memory.wrote) == MOST_WRITTEN
    await site.check.flush(site.tools)
    assert len(site.check._memory.wrote) == 0
    site.store.asked.clear()
    site.check.learn(mail(to=(f"u{MOST_WRITTEN}@example.com",), login="ann"), site.tools, passed=True)
    await site.check.flush(site.tools)
    assert "put_notes" not in site.store.asked


@pytest.mark.parametrize(
    "one",
    [mail(login="ann"), mail(None), mail("10.1.2.3"), mail("127.0.0.1"), mail(to=("bob@example.com",))],
    ids=["user", "unknown", "inner", "own", "outgoing"],
)
async def test_who_is_ours_or_unknown_is_not_asked_about(one):
    site = Site()
    assert await site.rule(one) == ""
    assert site.store.asked == []


async def test_while_the_store_is_away_greylisting_pauses():
    site = Site()
    site.store.away = True
    found = await site.found(mail())
    assert (found.name, found.rules) == ("greylist", ("GREYLIST_WAIT",))
    site.store.away = False
    assert await site.rule(mail()) == "GREYLIST_WAIT"


async def test_a_store_that_goes_in_the_middle_makes_nobody_wait():
    class Going(FakeStore):
        """Memory answers, as store/fallback.py lets it, and knows nobody."""

        async def notes(self, *arguments: Any, **more: Any) -> Any:
            found = await FakeStore().notes(*arguments, **more)
            self.gone = True
            return found

        @property
        def away(self) -> bool:
            return getattr(self, "gone", False)

        @away.setter
        def away(self, _value: bool) -> None: ...

        def _ask(self, verb: str) -> None: ...

    assert await Site(store=Going()).rule(mail()) == "missing"


async def test_a_clock_that_jumps_locks_nobody_out():
    site = Site()
    await site.rule(mail())
    site.now -= 30 * DAY
    found = await site.found(mail())
    assert (found.rule, found.evidence.due) == ("GREYLIST_WAIT", site.now + 60)
    site.now += 200
    assert await site.rule(mail()) == "GREYLIST_PASSED"
    site.now += 1000 * DAY
    assert await site.rule(mail()) == "GREYLIST_WAIT"


async def test_one_network_cannot_fill_the_store_and_its_flood_is_one_sender():
    site = Site(Greylist(per_network=10))
    for n in range(200):
        assert await site.rule(mail(f"192.0.2.{n % 250}", f"a@x{n}.example")) == "GREYLIST_WAIT"
    assert len(await site.store.notes("greylist", now=NOW)) == 11
    assert await site.rule(mail("198.51.100.1")) == "GREYLIST_WAIT"  # others are met as before
    site.now += 200
    assert await site.rule(mail("192.0.2.9", "a@x150.example")) == "GREYLIST_PASSED"


async def test_two_processes_that_meet_a_sender_at_once_tell_it_the_same():
    store = FakeStore()
    one, other = Site(store=store), Site(store=store)
    await one.rule(mail())
    other.now = NOW + 20
    whom = ("net:192.0.2.0/24 ann@example.net",)
    found = await other.check._put_off(whom, mail(), store, other.now)  # it had looked before the first one wrote
    assert isinstance(found.evidence, Greylisted)
    assert found.evidence.first == NOW


def counted(step: str) -> float:
    return float(metrics.GREYLIST[step]._value.get())


async def test_who_comes_late_passes_and_is_counted():
    site = Site()
    before = counted("late")
    await site.rule(mail())
    site.now += 1.5 * DAY
    found = await site.found(mail())
    assert (found.rule, found.evidence.late) == ("GREYLIST_PASSED", True)
    assert counted("late") == before + 1


async def test_who_never_comes_back_is_counted_once():
    store = FakeStore()
    sites = [Site(store=store), Site(store=store)]
    before = counted("never")
    for n in range(5):
        await sites[0].rule(mail(sender=f"a@x{n}.example"))
    for site in sites:
        site.now += 2 * DAY - 7000
    for _ in range(33):  # all parts are looked through once
        for site in sites:
            site.now += 61
            await site.check.flush(site.tools)
    assert counted("never") == before + 5
    assert await store.notes("greylist", now=NOW) == []


def test_it_is_asked_only_in_doubt_and_decides_only_there():
    check = Greylist()
    assert isinstance(check, OnlyInDoubt)
    assert check.foresee(mail()) == ()
    policy = Policy(Settings(greylist=3.0), check.rules())
    assert policy.decide([Finding("GREYLIST_WAIT", None, "x")]).action is Action.ACCEPT


@pytest.mark.parametrize(
    "wrong",
    [{"wait": 0.0}, {"wait": 100.0, "within": 50.0}, {"remember": 60.0}, {"per_network": 0}, {"known_messages": 0}],
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError):
        Greylist(**wrong)


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '{"first": "long ago"}', "[" * 20_000])
def test_a_note_that_cannot_be_read_is_as_new(text):
    assert _first(Note("greylist", "key", text, NOW + 60), NOW) == NOW
