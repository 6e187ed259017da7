"""The rules of the gate: scopes, waves, missing evidence, held refusals, one answer for all recipients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, ClassVar

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from gatekeeper.checks.base import Check, Tools
from gatekeeper.checks.dnsbl import ListEvidence
from gatekeeper.checks.reverse_dns import ReverseName
from gatekeeper.dns.health import State
from gatekeeper.dns.lists import DnsList, Family
from gatekeeper.dns.resolver import Status
from gatekeeper.gate import LiveGate, Settings, table_of
from gatekeeper.mailauth.dkim_sign import SigningKey
from gatekeeper.mailauth.signing import KeyFile, Signer
from gatekeeper.mailauth.signing import Settings as SigningSettings
from gatekeeper.mailauth.spf import SpfCode, SpfIdentity, SpfResult
from gatekeeper.message import edit
from gatekeeper.model import (
    Action,
    Address,
    BytesBody,
    Finding,
    Kind,
    Mail,
    Message,
    Missing,
    Recipient,
    Reply,
    Rule,
    Session,
    Stage,
)
from gatekeeper.policy import For, Policy
from gatekeeper.policy import Settings as PolicySettings
from gatekeeper.records.record import Record
from gatekeeper.store.base import StoreAway
from gatekeeper.store.memory import MemoryStore
from tests.support.fake_resolver import FakeResolver
from tests.support.fake_store import FakeStore

OK = Reply.of(250, "2.0.0 Ok: queued as 4ABC")


@dataclass(frozen=True)
class Fake:
    """A check that finds what it is told to, and remembers when it was asked."""

    name: str
    found: Callable[[Mail], Sequence[Finding | Missing]]
    of: tuple[Rule, ...]
    asked: list[Stage] = field(default_factory=list, compare=False)
    settled: list[Session] = field(default_factory=list, compare=False)

    def rules(self) -> Sequence[Rule]:
        return self.of

    async def inspect(self, mail: Mail, tools: Tools) -> Sequence[Finding | Missing]:
        self.asked.append(mail.stage)
        return self.found(mail)


class Keeper(Fake):
    async def settle(self, session: Session, tools: Tools) -> None:
        self.settled.append(session)


class Recorder:
    """Where records go in these tests."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.folded: list[Record] = []
        self.count = 0

    def new_id(self) -> str:
        self.count += 1
        return f"ID{self.count}"

    def put(self, record: Record) -> None:
        self.records.append(record)

    def refusal_id(self, key: str, now: float) -> str:
        return f"fold({key})"

    def counts(self, refusal_id: str) -> bool:
        return False

    def fold(self, record: Record) -> None:
        self.folded.append(record)


def check(name: str, *rules: Rule, found: Any = None, kind: type[Fake] = Fake) -> Fake:
    answer = (
        found
        if callable(found)
        else (lambda _: tuple(found if found is not None else [Finding(r.name) for r in rules]))
    )
    return kind(name, answer, rules)


def gate(
    table: Mapping[Stage, Sequence[Sequence[Fake]]],
    *,
    settings: Settings | None = None,
    policy: Any = None,
    store: Any = None,
) -> LiveGate:
    rules = [r for waves in table.values() for wave in waves for c in wave for r in c.rules()]
    return LiveGate(
        table=table,  # type: ignore[arg-type]  # name is an instance's here, a class's in life
        policy=Policy(policy or PolicySettings(), rules, domains=frozenset({"example.org"})),
        tools=Tools(
            FakeResolver({}),
            store or MemoryStore(),
            lambda: 1_700_000_000.0,
            "mx.example.org",
            frozenset({"example.org"}),
        ),
        recorder=Recorder(),  # type: ignore[arg-type]  # the verbs the gate uses
        settings=settings or Settings(),
        edit_settings=edit.Settings(),
    )


def mail_at(live: LiveGate) -> Mail:
    session = live.session("smtp")
    session.address = ip_address("192.0.2.5")
    session.helo = "client.example"
    envelope = live.envelope(session)
    envelope.sender = Address("a", "client.example")
    return Mail(session, envelope)


async def named(live: LiveGate, mail: Mail, *names: str) -> list[Any]:
    """RCPT for each name; those that are not refused are accepted by the next hop."""
    verdicts = []
    for name in names:
        local, _, domain = name.partition("@")
        mail.recipient = Recipient(Address(local, domain or "example.org"))
        verdict = await live.judge(Stage.RCPT, mail)
        (mail.envelope.refused if verdict.action.refuses else mail.envelope.recipients).append(mail.recipient)
        verdicts.append(verdict)
    return verdicts


def with_message(mail: Mail) -> Mail:
    mail.message = Message(b"From: a@client.example\r\n", BytesBody(b"hello\r\n"))
    return mail


LISTED = Rule("LISTED", 11.0, "on a list", kind=Kind.LIST)
SMALL = Rule("SMALL", 1.0, "small")
WELCOME = Rule("WELCOME", -5.0, "welcome")
DENY = Rule("DENY", 0.0, "denied", decides=Action.REJECT)
ALLOW = Rule("ALLOW", 0.0, "allowed", decides=Action.ACCEPT)
EXEMPTING = Rule("EXEMPTING", 0.0, "exempt", exempts=frozenset({Kind.LIST, Kind.RATE}))
DROP = Rule("DROP", 0.0, "blocked", kind=Kind.RATE, decides=Action.DROP)


async def test_a_refusal_before_rcpt_is_held_until_sender_and_recipient_are_known():
    live = gate({Stage.HELO: [[check("list", LISTED)]]})
    mail = mail_at(live)
    early = await live.judge(Stage.MAIL, mail)
    assert (early.action, early.held) == (Action.ACCEPT, Action.REJECT)
    [late] = await named(live, mail, "alice")
    assert (late.action, late.held) == (Action.REJECT, None)


async def test_a_drop_is_not_held():
    live = gate({Stage.CONNECT: [[check("defence", DROP)]]})
    assert (await live.judge(Stage.CONNECT, mail_at(live))).action == Action.DROP


async def test_a_stage_that_was_skipped_is_caught_up_on_first_and_once():
    connect, helo, sender = check("c", SMALL), check("h"), check("m")
    live = gate({Stage.CONNECT: [[connect]], Stage.HELO: [[helo]], Stage.MAIL: [[sender]], Stage.DATA: []})
    mail = mail_at(live)
    await named(live, mail, "alice", "bob")
    await live.judge(Stage.DATA, mail)
    await live.judge(Stage.MESSAGE, with_message(mail))
    assert (len(connect.asked), len(helo.asked), len(sender.asked)) == (1, 1, 1)


async def test_the_findings_of_a_session_outlive_its_transactions_until_its_facts_change():
    session_check, mail_check = check("s", SMALL), check("m", WELCOME)
    live = gate({Stage.HELO: [[session_check]], Stage.MAIL: [[mail_check]]})
    mail = mail_at(live)
    await live.judge(Stage.MAIL, mail)
    again = Mail(mail.session, live.envelope(mail.session))
    assert [f.rule for f in again.findings()] == ["SMALL"]
    await live.judge(Stage.MAIL, again)
    assert (len(session_check.asked), len(mail_check.asked)) == (1, 2)
    live.new_client(mail.session)
    await live.judge(Stage.MAIL, Mail(mail.session, live.envelope(mail.session)))
    assert len(session_check.asked) == 2


async def test_what_is_found_about_one_recipient_never_touches_another():
    def found(mail: Mail) -> Sequence[Finding]:
        assert mail.recipient is not None
        return [Finding("DENY")] if mail.recipient.address.local == "bob" else []

    live = gate({Stage.RCPT: [[check("r", DENY, found=found)]]})
    mail = mail_at(live)
    verdicts = await named(live, mail, "alice", "bob", "carol")
    assert [v.action for v in verdicts] == [Action.ACCEPT, Action.REJECT, Action.ACCEPT]
    final = await live.judge(Stage.MESSAGE, with_message(mail))
    assert final.action == Action.ACCEPT
    assert set(final.recipients) == {"alice@example.org", "carol@example.org"}


async def test_a_check_that_fails_counts_for_nothing_and_is_missing():
    def explode(_: Mail) -> Sequence[Finding]:
        raise RuntimeError("boom")

    live = gate({Stage.MAIL: [[check("bad", LISTED, found=explode), check("good", SMALL)]]})
    mail = mail_at(live)
    [verdict] = await named(live, mail, "alice")
    assert verdict.action == Action.ACCEPT
    assert verdict.missing == ("bad",)
    assert verdict.incomplete
    assert [c.rule for c in verdict.contributions] == ["SMALL"]


async def test_a_check_that_is_late_is_missing_and_the_rest_counts():
    class Slow(Fake):
        async def inspect(self, mail: Mail, tools: Tools) -> Sequence[Finding | Missing]:
            await asyncio.get_running_loop().create_future()
            return ()

    live = gate(
        {Stage.MAIL: [[check("slow", WELCOME, kind=Slow), check("list", LISTED)]]}, settings=Settings(before_data=0.01)
    )
    [verdict] = await named(live, mail_at(live), "alice")
    assert verdict.missing == ("slow",)
    assert verdict.action == Action.DEFER  # the welcome that did not come could have saved it
    assert verdict.code == 451


async def test_checks_that_wait_for_each_other_are_run_side_by_side():
    first, second = asyncio.Event(), asyncio.Event()

    class Waits(Fake):
        async def inspect(self, mail: Mail, tools: Tools) -> Sequence[Finding | Missing]:
            mine, other = (first, second) if self.name == "one" else (second, first)
            mine.set()
            await other.wait()
            await asyncio.sleep(0)
            return self.found(mail)

    live = gate({Stage.MAIL: [[check("one", SMALL, kind=Waits), check("two", LISTED, kind=Waits)]]})
    [verdict] = await named(live, mail_at(live), "alice")
    assert [c.rule for c in verdict.contributions] == ["SMALL", "LISTED"]
    assert verdict.missing == ()


@pytest.mark.parametrize("before", [False, True])
async def test_what_others_call_off_ends_the_check_that_waits_for_it_and_not_the_session(before):
    called_off: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(called_off.cancel)

    class Waits(Fake):
        async def inspect(self, mail: Mail, tools: Tools) -> Sequence[Finding | Missing]:
            await called_off
            return self.found(mail)

    class Brief(Fake):
        async def inspect(self, mail: Mail, tools: Tools) -> Sequence[Finding | Missing]:
            await asyncio.sleep(0)
            return self.found(mail)

    wave = [check("lost", WELCOME, kind=Waits), check("list", SMALL, kind=Brief)]
    live = gate({Stage.MAIL: [wave[::-1] if before else wave]})
    [verdict] = await named(live, mail_at(live), "alice")
    assert verdict.missing == ("lost",)
    assert [c.rule for c in verdict.contributions] == ["SMALL"]


async def test_a_session_that_is_ended_takes_the_checks_that_wait_with_it():
    ended: list[str] = []

    class Waits(Fake):
        async def inspect(self, mail: Mail, tools: Tools) -> Sequence[Finding | Missing]:
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                ended.append(self.name)
            return ()

    live = gate({Stage.MAIL: [[check("one", SMALL, kind=Waits), check("two", LISTED, kind=Waits)]]})
    judging = asyncio.create_task(live.judge(Stage.MAIL, mail_at(live)))
    for _ in range(3):
        await asyncio.sleep(0)
    judging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await judging
    await asyncio.sleep(0)
    assert sorted(ended) == ["one", "two"]


async def test_a_time_limit_inside_a_check_ends_what_it_is_set_on_and_no_more():
    class Bounded(Fake):
        async def inspect(self, mail: Mail, tools: Tools) -> Sequence[Finding | Missing]:
            try:
                async with asyncio.timeout(0):
                    await asyncio.get_running_loop().create_future()
            except TimeoutError:
                return self.found(mail)
            return ()

    live = gate({Stage.MAIL: [[check("one", SMALL, kind=Bounded), check("two", LISTED, kind=Bounded)]]})
    [verdict] = await named(live, mail_at(live), "alice")
    assert [c.rule for c in verdict.contributions] == ["SMALL", "LISTED"]


async def test_a_reject_stands_when_nothing_missing_could_have_saved_it():
    live = gate(
        {Stage.MAIL: [[check("lost", SMALL, found=[Missing("lost", ("SMALL",), "timeout")]), check("l", LISTED)]]}
    )
    [verdict] = await named(live, mail_at(live), "alice")
    assert (verdict.action, verdict.missing) == (Action.REJECT, ("lost",))


async def test_a_rule_that_decides_alone_ends_the_stage():
    later = check("later", SMALL)
    live = gate({Stage.RCPT: [[check("allow", ALLOW)], [later]], Stage.MESSAGE: [[check("content", LISTED)]]})
    mail = mail_at(live)
    [verdict] = await named(live, mail, "alice")
    assert verdict.action == Action.ACCEPT
    assert later.asked == []
    assert verdict.not_run == ("later",)
    final = await live.judge(Stage.MESSAGE, with_message(mail))
    assert final.action == Action.ACCEPT
    assert final.not_run == ("content", "later") or set(final.not_run) == {"content", "later"}


@pytest.mark.parametrize(("gather", "asked"), [("enough", 0), ("all", 1)])
async def test_work_stops_between_waves_when_nothing_left_can_change_the_action(gather, asked):
    second = check("second", SMALL)
    live = gate({Stage.MESSAGE: [[check("first", LISTED)], [second]]}, settings=Settings(gather=gather))
    mail = mail_at(live)
    await named(live, mail, "alice")
    verdict = await live.judge(Stage.MESSAGE, with_message(mail))
    assert verdict.action == Action.REJECT
    assert len(second.asked) == asked


async def test_a_later_wave_sees_the_evidence_of_an_earlier_one():
    seen = []

    def look(mail: Mail) -> Sequence[Finding]:
        seen.append(mail.evidence(str))
        return ()

    first = check("first", SMALL, found=[Finding("SMALL", "evidence")])
    live = gate({Stage.MESSAGE: [[first], [check("second", WELCOME, found=look)]]})
    mail = mail_at(live)
    await named(live, mail, "alice")
    await live.judge(Stage.MESSAGE, with_message(mail))
    assert seen == ["evidence"]


async def test_recipients_whose_refusals_would_differ_come_again_alone():
    policy = PolicySettings(for_=(For(("strict@example.org",), reject=6.0), For(("quick@example.org",), tag=1.0)))
    live = gate({Stage.MAIL: [[check("m", SMALL)]]}, policy=policy)
    mail = mail_at(live)
    first, quick, strict = await named(live, mail, "alice", "quick", "strict")
    assert (first.action, quick.action) == (Action.ACCEPT, Action.TAG)
    assert (strict.action, strict.code, strict.enhanced) == (Action.DEFER, 452, "4.5.3")
    final = await live.judge(Stage.MESSAGE, with_message(mail))
    assert final.action == Action.TAG  # the strictest mark wins
    assert final.recipients["alice@example.org"].action == Action.ACCEPT


ON_LIST = Rule("ON_LIST", 2.0, "on some list", kind=Kind.LIST)


@pytest.mark.parametrize(
    ("table", "code"),
    [
        ({Stage.MAIL: [[check("form", SMALL)]]}, None),  # there is nothing that it is exempt from
        ({Stage.MAIL: [[check("list", ON_LIST)]]}, 452),
        ({Stage.MAIL: [[check("list", ON_LIST, found=[Missing("list", ("ON_LIST",), "timeout")])]]}, 452),
        ({Stage.MESSAGE: [[check("links", ON_LIST)]]}, 452),  # or may be, once the message is there
        ({Stage.MAIL: [[check("list", ON_LIST, found=[])]]}, None),
    ],
)
async def test_postmaster_shares_a_transaction_unless_its_exemption_could_make_a_difference(table, code):
    live = gate(table)
    first, postmaster = await named(live, mail_at(live), "alice", "postmaster")
    assert (first.code, postmaster.code) == (None, code)


@pytest.mark.parametrize(
    ("later", "at_rcpt"),
    [
        ([], Action.REJECT),
        ([SMALL], Action.REJECT),
        ([WELCOME], Action.ACCEPT),  # 11 - 5 would pass
        ([ALLOW], Action.ACCEPT),
        ([DENY], Action.REJECT),
    ],
)
async def test_a_refusal_at_rcpt_stands_only_if_no_later_check_could_undo_it(later, at_rcpt):
    """Whoever is refused at RCPT never shows the signature that would have saved the mail."""
    live = gate({Stage.HELO: [[check("list", LISTED)]], Stage.MESSAGE: [[check("content", *later)]]})
    mail = mail_at(live)
    [verdict] = await named(live, mail, "alice")
    assert verdict.action == at_rcpt
    assert (await live.judge(Stage.DATA, mail)).action == Action.ACCEPT
    if at_rcpt is Action.ACCEPT:
        assert (verdict.held, verdict.code) == (Action.REJECT, None)
        final = await live.judge(Stage.MESSAGE, with_message(mail))
        assert final.action == (Action.TAG if later == [WELCOME] else Action.ACCEPT)


async def test_a_refusal_that_was_kept_back_comes_with_the_message_when_nothing_has_undone_it():
    live = gate({Stage.HELO: [[check("list", LISTED)]], Stage.MESSAGE: [[check("content", WELCOME, found=[])]]})
    mail = mail_at(live)
    [verdict] = await named(live, mail, "alice")
    assert verdict.held == Action.REJECT
    final = await live.judge(Stage.MESSAGE, with_message(mail))
    assert (final.action, final.code, final.held) == (Action.REJECT, 550, None)


async def test_nothing_waits_for_messages_that_are_never_shown():
    live = gate({Stage.HELO: [[check("list", LISTED)]], Stage.MESSAGE: [[check("content", WELCOME)]]})
    mail = mail_at(live)
    mail.session.shows_messages = False
    assert [v.action for v in await named(live, mail, "alice")] == [Action.REJECT]


async def test_where_messages_are_never_shown_data_is_the_last_word_for_all_recipients():
    live = gate({Stage.DATA: [[check("late", LISTED)]]})
    mail = mail_at(live)
    mail.session.shows_messages = False
    first, other = await named(live, mail, "alice", "postmaster")
    assert (first.action, other.code) == (Action.ACCEPT, 452)  # one of them is exempt from lists
    verdict = await live.judge(Stage.DATA, mail)
    assert (verdict.action, verdict.code, list(verdict.recipients)) == (Action.REJECT, 550, ["alice@example.org"])
    assert f"(id {mail.envelope.id})" in live.reply(verdict, mail).text


async def test_what_is_decided_alone_is_not_kept_back():
    live = gate({Stage.HELO: [[check("deny", DENY)]], Stage.MESSAGE: [[check("content", WELCOME)]]})
    assert [v.action for v in await named(live, mail_at(live), "alice")] == [Action.REJECT]


async def test_the_dns_budget_is_one_for_the_whole_transaction():
    statuses: list[Status] = []

    class Asking(Fake):
        async def inspect(self, mail: Mail, tools: Tools) -> Sequence[Finding | Missing]:
            statuses.append((await tools.resolver.ask(f"{len(statuses)}.example", "A")).status)
            return ()

    table = {s: [[check(f"a{s}", kind=Asking)]] for s in (Stage.MAIL, Stage.RCPT, Stage.MESSAGE)}
    live = gate(table, settings=Settings(dns_questions=2))
    mail = mail_at(live)
    await named(live, mail, "alice")
    await live.judge(Stage.MESSAGE, with_message(mail))
    assert statuses == [Status.NXDOMAIN, Status.NXDOMAIN, Status.BUDGET]


async def test_who_has_a_limit_of_its_own_asks_apart_from_the_others():
    statuses: list[Status] = []

    @dataclass(frozen=True)
    class Asking(Fake):
        async def inspect(self, mail: Mail, tools: Tools) -> Sequence[Finding | Missing]:
            for resolver in (tools.apart, tools.resolver, tools.resolver, tools.apart, tools.apart):
                assert resolver is not None
                statuses.append((await resolver.ask(f"{len(statuses)}.example", "A")).status)
            return ()

    settings = Settings(dns_questions=1, dns_questions_per_client=3)
    live = gate({Stage.MAIL: [[check("asking", kind=Asking)]]}, settings=settings)
    mail = mail_at(live)
    mail.session.address = ip_address("192.0.2.1")
    await live.judge(Stage.MAIL, mail)
    found, none = Status.NXDOMAIN, Status.BUDGET
    assert statuses == [found, found, none, found, none]  # the client pays for both


async def test_a_refusal_says_why_and_which_record():
    live = gate({Stage.MAIL: [[check("deny", DENY, found=[Finding("DENY", None, "we do not like 192.0.2.5")])]]})
    mail = mail_at(live)
    [verdict] = await named(live, mail, "alice")
    reply = live.reply(verdict, mail)
    assert reply.code == 550
    assert reply.text == "5.7.1 we do not like 192.0.2.5 (id fold(net:192.0.2.0/24 reject DENY))"
    await live.refused(mail, verdict, reply=reply)
    [record] = live._recorder.folded  # type: ignore[attr-defined]
    assert record.id == "fold(net:192.0.2.0/24 reject DENY)"


async def test_a_refusal_after_data_carries_its_own_record():
    live = gate({Stage.MESSAGE: [[check("content", DENY)]]})
    mail = mail_at(live)
    await named(live, mail, "alice")
    verdict = await live.judge(Stage.MESSAGE, with_message(mail))
    assert f"(id {mail.envelope.id})" in live.reply(verdict, mail).text


async def test_a_finished_transaction_is_one_record_with_its_findings():
    live = gate({Stage.MAIL: [[check("m", SMALL)]]})
    mail = mail_at(live)
    await named(live, mail, "alice")
    verdict = await live.judge(Stage.MESSAGE, with_message(mail))
    await live.finish(mail, verdict, reply=OK, next_hop=OK)
    [record] = live._recorder.records  # type: ignore[attr-defined]
    assert record.id == mail.envelope.id
    assert record.queue_id == "4ABC"
    assert record.millis == 1000


async def test_a_transaction_that_we_alone_refused_is_not_recorded_twice():
    live = gate({Stage.MAIL: [[check("deny", DENY)]]})
    mail = mail_at(live)
    [verdict] = await named(live, mail, "alice")
    await live.refused(mail, verdict, reply=live.reply(verdict, mail))
    await live.finish(mail, None, reply=Reply.of(250, "2.0.0 Ok"))
    assert live._recorder.records == []  # type: ignore[attr-defined]


async def test_accepted_mail_becomes_history_of_the_client():
    store = MemoryStore()
    live = gate({}, store=store)
    mail = mail_at(live)
    mail.session.helo = "Mail.Example.NET"
    await named(live, mail, "alice")
    verdict = await live.judge(Stage.MESSAGE, with_message(mail))
    await live.finish(mail, verdict, reply=OK, next_hop=OK)
    await live.flush()
    histories = await store.history(["ip:192.0.2.5", "net:192.0.2.0/24", "helo:mail.example.net"])
    assert [h.accepted for h in histories] == [1, 1, 1]
    assert live._tools.desk._familiar == {hash("ip:192.0.2.5"): hash("net:192.0.2.0/24")}


async def test_mail_that_is_marked_as_spam_is_no_good_history():
    """Else whoever gets marked spam in would earn room for more of it, and pass as familiar."""
    store = MemoryStore()
    live = gate({Stage.MESSAGE: [[check("content", Rule("SPAMMY", 6.0, "spam"))]]}, store=store)
    mail = mail_at(live)
    await named(live, mail, "alice")
    verdict = await live.judge(Stage.MESSAGE, with_message(mail))
    assert verdict.action is Action.TAG
    await live.finish(mail, verdict, reply=OK, next_hop=OK)
    await live.flush()
    [history] = await store.history(["ip:192.0.2.5"])
    assert (history.accepted, history.refused) == (0, 0)
    assert not live._tools.desk._familiar


async def test_mail_left_to_a_server_that_does_not_tell_its_answer_is_history_too():
    store = MemoryStore()
    live = gate({}, store=store)
    for note in ("", "client_gone"):  # who has gone was not told
        mail = mail_at(live)
        await named(live, mail, "alice")
        verdict = await live.judge(Stage.MESSAGE, with_message(mail))
        await live.finish(mail, verdict, reply=Reply.of(250, "2.0.0 Ok"), note=note)
    await live.flush()
    assert (await store.history(["ip:192.0.2.5"]))[0].accepted == 1


async def test_history_waits_for_a_store_that_is_away():
    class Away(MemoryStore):
        away = True

        async def remember(self, key, *, accepted, refused, now):
            if self.away:
                raise StoreAway
            return await super().remember(key, accepted=accepted, refused=refused, now=now)

    store = Away()
    live = gate({}, store=store)
    mail = mail_at(live)
    await named(live, mail, "alice")
    await live.finish(mail, await live.judge(Stage.MESSAGE, with_message(mail)), reply=OK, next_hop=OK)
    await live.flush()
    store.away = False
    await live.flush()
    assert (await store.history(["ip:192.0.2.5"]))[0].accepted == 1


async def test_checks_that_keep_account_are_told_when_a_session_ends():
    keeper = check("keeper", SMALL, kind=Keeper)
    live = gate({Stage.CONNECT: [[keeper]]})
    session = live.session("smtp")
    await live.leave(session)
    assert keeper.settled == [session]


async def test_a_message_without_recipients_is_judged_by_the_general_thresholds():
    live = gate({Stage.MESSAGE: [[check("m", LISTED)]]})
    verdict = await live.judge(Stage.MESSAGE, with_message(mail_at(live)))
    assert verdict.action == Action.REJECT


def test_the_table_is_built_from_the_checks_that_are_switched_on():
    class One:
        name: ClassVar[str] = "one"

    class Two:
        name: ClassVar[str] = "two"

    one: Any = One()
    kinds: dict[Any, Check] = {One: one}
    assert table_of({Stage.MAIL: ((One, Two), (Two,))}, kinds) == {Stage.MAIL: [[one]]}  # type: ignore[dict-item]  # these are fakes


# --- stages, foresight, doubt, learning -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Doubter(Fake):
    """A check that is asked in doubt alone."""

    only_in_doubt: bool = True

    def foresee(self, mail: Mail) -> Sequence[str]:
        return ()


@dataclass(frozen=True)
class Seer(Fake):
    """A check that says what it may still find."""

    foreseen: tuple[str, ...] = ()

    def foresee(self, mail: Mail) -> Sequence[str]:
        return self.foreseen


@dataclass(frozen=True)
class Idler(Fake):
    def idle_at(self, stage: Stage) -> bool:
        return stage is Stage.CONNECT


@dataclass(frozen=True)
class Learner(Fake):
    learned: list[bool] = field(default_factory=list, compare=False)
    flushed: list[bool] = field(default_factory=list, compare=False)

    def learn(self, mail: Mail, tools: Tools, *, passed: bool) -> None:
        self.learned.append(passed)

    async def flush(self, tools: Tools) -> None:
        self.flushed.append(True)
        raise StoreAway("away")


WAIT = Rule("WAIT", 0.0, "wait", kind=Kind.RATE, decides=Action.GREYLIST)
SPAMMY = Rule("SPAMMY", 4.0, "spammy")


async def test_a_check_is_told_the_stage_where_it_stands_when_stages_are_caught_up_on():
    at_connect, at_mail, at_rcpt = (check(name) for name in ("one", "two", "three"))
    g = gate({Stage.CONNECT: [[at_connect]], Stage.MAIL: [[at_mail]], Stage.RCPT: [[at_rcpt]]})
    mail = mail_at(g)
    await named(g, mail, "alice")
    assert (at_connect.asked, at_mail.asked, at_rcpt.asked) == ([Stage.CONNECT], [Stage.MAIL], [Stage.RCPT])
    assert mail.stage is Stage.RCPT


@pytest.mark.parametrize(
    ("score", "asked", "action"), [(1.0, 0, Action.ACCEPT), (4.0, 1, Action.GREYLIST), (12.0, 0, Action.REJECT)]
)
async def test_greylisting_is_asked_about_mail_in_doubt_only(score, asked, action):
    doubter = check("doubter", WAIT, kind=Doubter)
    rule = Rule("SCORED", score, "scored")
    table = {Stage.MESSAGE: [[check("scored", rule)], [doubter]]}
    g = gate(table, policy=PolicySettings(greylist=3.0))
    mail = mail_at(g)
    await named(g, mail, "alice")
    verdict = await g.judge(Stage.MESSAGE, with_message(mail))
    assert (len(doubter.asked), verdict.action) == (asked, action)
    assert verdict.not_run == ()


async def test_nobody_waits_for_mail_that_passes_for_somebody():
    doubter = check("doubter", WAIT, kind=Doubter)
    g = gate(
        {Stage.MESSAGE: [[check("spammy", SPAMMY)], [doubter]]},
        policy=PolicySettings(greylist=3.0),
    )
    mail = mail_at(g)
    await named(g, mail, "alice")
    await named(g, mail, "postmaster")  # shares the transaction, although it is exempt from waiting
    assert [str(r.address) for r in mail.envelope.recipients] == ["alice@example.org", "postmaster@example.org"]
    assert (await g.judge(Stage.MESSAGE, with_message(mail))).action is Action.ACCEPT
    assert doubter.asked == []


async def test_what_a_check_does_not_foresee_holds_no_refusal_back():
    allow = Rule("ALLOW", 0.0, "let in", decides=Action.ACCEPT)
    bad = check("bad", Rule("BAD", 12.0, "bad"))
    for foreseen, action in (((), Action.REJECT), (("ALLOW",), Action.ACCEPT)):
        seer = Seer("seer", lambda _: (), (allow,), foreseen=foreseen)
        g = gate({Stage.MAIL: [[bad]], Stage.MESSAGE: [[seer]]})
        [verdict] = await named(g, mail_at(g), "alice")
        assert verdict.action is action


async def test_a_check_does_not_stand_where_it_has_nothing_to_do():
    idler = Idler("idler", lambda _: (), ())
    classes: Any = {Stage.CONNECT: [[Idler]], Stage.MAIL: [[Idler]]}
    made: Any = table_of(classes, {Idler: idler})  # type: ignore[dict-item]  # name is an instance's here
    assert made == {Stage.CONNECT: [], Stage.MAIL: [[idler]]}


async def test_checks_learn_from_how_mail_ended_and_a_store_that_is_away_harms_nobody():
    learner = Learner("learner", lambda _: (), ())
    g = gate({Stage.MESSAGE: [[learner]]})
    mail = mail_at(g)
    await named(g, mail, "alice")
    verdict = await g.judge(Stage.MESSAGE, with_message(mail))
    await g.finish(mail, verdict, reply=OK, next_hop=OK)
    assert learner.learned == [True]
    await g.flush()
    assert learner.flushed == [True]


# --- strangers -------------------------------------------------------------------------------------------------------


class Rude(Fake):
    """A check that sees at a glance."""

    def glance(self, session: Session) -> Sequence[Finding]:
        return [Finding(rule.name) for rule in self.of] if session.spoke_early else []


class Ahead(Fake):
    """A check that is run while a stranger waits for its greeting."""

    ahead: ClassVar[bool] = True


def stranger(live: LiveGate, *, familiar: bool | None = False) -> Mail:
    mail = mail_at(live)
    mail.session.familiar = familiar
    return mail


async def test_a_client_is_known_by_its_own_mail_or_by_that_of_a_good_neighbourhood():
    store = MemoryStore()
    live = gate({}, store=store)
    own, good, bad, nobody = (ip_address(f"{n}.0.2.5") for n in (192, 193, 194, 195))
    await store.remember("ip:192.0.2.5", accepted=1, refused=50, now=0.0)
    await store.remember("net:193.0.2.0/24", accepted=11, refused=1, now=0.0)
    await store.remember("net:194.0.2.0/24", accepted=10, refused=1, now=0.0)
    assert await live.familiar([own, good, bad, nobody]) == [True, True, False, False]
    assert await live.familiar([]) == []


async def test_while_the_store_is_away_nobody_is_known():
    store = FakeStore()
    store.away = True
    assert await gate({}, store=store).familiar([ip_address("192.0.2.5")]) == [False]


async def test_what_a_glance_shows_turns_away_at_once_with_one_record():
    live = gate({Stage.DATA: [[check("manners", DROP, kind=Rude)]]})
    mail = mail_at(live)
    assert live.turn_away(mail) is None
    mail.session.spoke_early = "EHLO"
    reply = live.turn_away(mail)
    assert reply is not None
    assert reply.code == 421
    assert [record.action for record in live._recorder.folded] == ["drop"]  # type: ignore[attr-defined]


async def test_what_a_glance_shows_and_does_not_drop_is_kept_once():
    live = gate({Stage.DATA: [[check("manners", SMALL, kind=Rude)]]})
    mail = mail_at(live)
    mail.session.spoke_early = "EHLO"
    assert live.turn_away(mail) is None
    assert live.turn_away(mail) is None
    assert [finding.rule for finding in mail.session.notebook.findings] == ["SMALL"]


async def test_lists_are_asked_while_a_stranger_waits_and_of_nobody_else():
    lists, others = check("list", LISTED, kind=Ahead), check("others", SMALL)
    live = gate({Stage.HELO: [[lists, others]]})
    await live.judge(Stage.CONNECT, stranger(live, familiar=True))
    await live.judge(Stage.CONNECT, stranger(live, familiar=None))
    assert lists.asked == []
    mail = stranger(live)
    assert (await live.judge(Stage.CONNECT, mail)).held is Action.REJECT
    assert (lists.asked, others.asked) == ([Stage.HELO], [])


async def test_when_lists_refuse_for_all_nothing_else_is_asked_until_somebody_is_exempt():
    lists, others, sender = check("list", LISTED, kind=Ahead), check("others", SMALL), check("sender", SMALL)
    at_rcpt = check("rate", SMALL)
    live = gate({Stage.HELO: [[lists, others]], Stage.MAIL: [[sender]], Stage.RCPT: [[at_rcpt]]})
    mail = stranger(live)
    await live.judge(Stage.CONNECT, mail)
    assert (await live.judge(Stage.MAIL, mail)).held is Action.REJECT
    [verdict] = await named(live, mail, "alice")
    assert verdict.action is Action.REJECT
    assert set(verdict.not_run) == {"others", "sender", "rate"}
    assert (others.asked, sender.asked, at_rcpt.asked) == ([], [], [])
    [verdict] = await named(live, mail, "postmaster")
    assert verdict.action is Action.ACCEPT
    assert (others.asked, sender.asked, at_rcpt.asked) == ([Stage.HELO], [Stage.MAIL], [Stage.RCPT])
    assert lists.asked == [Stage.HELO]


async def test_what_was_kept_of_an_earlier_transaction_is_not_asked_for_in_the_next():
    lists, others, sender = check("list", LISTED, kind=Ahead), check("others", SMALL), check("sender", SMALL)
    live = gate({Stage.HELO: [[lists, others]], Stage.MAIL: [[sender]], Stage.RCPT: []})
    mail = stranger(live)
    await live.judge(Stage.CONNECT, mail)
    await live.judge(Stage.MAIL, mail)
    again = Mail(mail.session, live.envelope(mail.session))
    await live.judge(Stage.MAIL, again)
    assert sum(len(wave) for wave in again.session.memo["postponed"]) == 2, "it does not grow with each"
    await named(live, again, "postmaster")
    assert (len(others.asked), len(sender.asked)) == (1, 1)


@pytest.mark.parametrize("later", [WELCOME, ALLOW])
async def test_where_something_could_still_save_it_everything_is_asked(later):
    lists, others = check("list", LISTED, kind=Ahead), check("others", later, found=[])
    live = gate({Stage.HELO: [[lists, others]], Stage.RCPT: []})
    mail = stranger(live)
    await live.judge(Stage.CONNECT, mail)
    await live.judge(Stage.MAIL, mail)
    assert others.asked == [Stage.HELO]


@pytest.mark.parametrize(("drop", "action"), [(True, Action.DROP), (False, Action.ACCEPT)])
async def test_who_is_refused_for_all_is_dropped_at_the_greeting_where_that_is_set(drop, action):
    live = gate({Stage.HELO: [[check("list", LISTED, kind=Ahead)]]}, settings=Settings(drop_listed=drop))
    verdict = await live.judge(Stage.CONNECT, stranger(live))
    assert verdict.action is action
    assert not drop or (verdict.code, verdict.enhanced) == (421, "4.7.1")


@pytest.mark.parametrize("stage", [Stage.HELO, Stage.MAIL, Stage.RCPT, Stage.MESSAGE])
@pytest.mark.parametrize("later", [WELCOME, ALLOW, EXEMPTING])
async def test_whom_something_could_still_let_in_is_not_dropped_at_the_greeting(stage, later):
    table = {Stage.HELO: [[check("list", LISTED, kind=Ahead)]]}
    table[stage] = [*table.get(stage, []), [check("later", later, found=[])]]
    live = gate(table, settings=Settings(drop_listed=True))
    assert (await live.judge(Stage.CONNECT, stranger(live))).action is Action.ACCEPT


@pytest.mark.parametrize(("reject", "action"), [(20.0, Action.ACCEPT), (8.0, Action.DROP)])
async def test_who_is_refused_for_most_is_not_dropped_at_the_greeting(reject, action):
    policy = PolicySettings(for_=(For(("sales@example.org",), reject=reject),))
    table = {Stage.HELO: [[check("list", LISTED, kind=Ahead)]]}
    live = gate(table, settings=Settings(drop_listed=True), policy=policy)
    assert (await live.judge(Stage.CONNECT, stranger(live))).action is action


class Narrowing(Fake):
    """Its rules can be found or not, as an operator's list has entries or not."""

    can = False

    def possible(self) -> list[str]:
        return [ALLOW.name] if self.can else []


async def test_what_lists_decide_together_is_asked_once_and_anew_where_something_else_can_be_found(monkeypatch):
    lists, narrowing = check("list", LISTED, kind=Ahead), Narrowing("operators", lambda _: (), (ALLOW,))
    live = gate({Stage.HELO: [[lists, narrowing]]}, settings=Settings(drop_listed=True))
    asked: list[bool] = []
    decide = live._policy.refused_anyway

    def noting(*given: Any, **more: Any) -> bool:
        asked.append(decide(*given, **more))
        return asked[-1]

    monkeypatch.setattr(live._policy, "refused_anyway", noting)

    async def dropped() -> bool:
        return (await live.judge(Stage.CONNECT, stranger(live))).action is Action.DROP

    assert [await dropped(), await dropped(), len(asked)] == [True, True, 1]
    narrowing.can = True
    assert [await dropped(), await dropped(), len(asked)] == [False, False, 2]
    narrowing.can = False
    assert [await dropped(), len(asked)] == [True, 2]


async def test_no_more_is_remembered_of_what_lists_decide_than_a_thousand_sets(monkeypatch):
    monkeypatch.setattr("gatekeeper.gate._MOST_REMEMBERED", 2)
    found: list[Finding] = []
    lists = check("list", LISTED, SMALL, found=lambda _: tuple(found), kind=Ahead)
    live = gate({Stage.HELO: [[lists]]}, settings=Settings(drop_listed=True))
    for rules in ([LISTED], [SMALL], [LISTED, SMALL]):
        found[:] = [Finding(rule.name) for rule in rules]
        await live.judge(Stage.CONNECT, stranger(live))
        assert 1 <= len(live._refusals_for_all) <= 2


async def test_what_a_client_is_exempt_from_does_not_end_the_asking():
    """A block that does not count must not keep its mail from being looked at."""
    connect = check("c", DROP, EXEMPTING)
    sender, rcpt, content = check("m", SMALL), check("r", SMALL), check("x", DENY)
    live = gate({Stage.CONNECT: [[connect]], Stage.MAIL: [[sender]], Stage.RCPT: [[rcpt]], Stage.MESSAGE: [[content]]})
    mail = mail_at(live)
    assert (await live.judge(Stage.CONNECT, mail)).action is Action.ACCEPT
    assert (await live.judge(Stage.MAIL, mail)).action is Action.ACCEPT
    assert [v.action for v in await named(live, mail, "alice")] == [Action.ACCEPT]
    verdict = await live.judge(Stage.MESSAGE, with_message(mail))
    assert (len(sender.asked), len(rcpt.asked), len(content.asked)) == (1, 1, 1)
    assert (verdict.action, verdict.not_run) == (Action.REJECT, ())


# --- signatures -------------------------------------------------------------------------------------------------------


def signer() -> Signer:
    key = SigningKey("example.org", "s", ed25519.Ed25519PrivateKey.generate())
    return Signer(SigningSettings(keys=(KeyFile("example.org", "s", "unused"),)), (key,))


def signing_gate(checks: Fake) -> LiveGate:
    live = gate({Stage.MESSAGE: [[checks]]}, settings=Settings())
    live._signer = signer()
    return live


async def test_a_signature_of_ours_comes_last():
    live = signing_gate(check("fine"))
    mail = with_message(mail_at(live))
    mail.message = Message(b"From: ann@example.org\r\n", BytesBody(b"text\r\n"))
    assert not live.signs(mail.session)
    mail.session.login = "ann"
    assert live.signs(mail.session)
    made = live.edits(mail, await live.judge(Stage.MESSAGE, mail))
    assert made[-1].name == "DKIM-Signature"
    assert "Authentication-Results" in {one.name for one in made}


async def test_exempt_mail_is_signed_and_neither_judged_nor_recorded():
    fine = check("fine", Rule("BAD", 20.0, "bad"))
    live = signing_gate(fine)
    given = mail_at(live)
    given.envelope.exempt, given.session.login = True, "ann"
    given.envelope.recipients.append(Recipient(Address("bob", "example.net")))
    given.message = Message(b"From: ann@example.org\r\n", BytesBody(b"text\r\n"))
    verdict = await live.judge(Stage.MESSAGE, given)
    assert (verdict.action, fine.asked) == (Action.ACCEPT, [])
    assert [one.name for one in live.edits(given, verdict)] == ["DKIM-Signature"]
    await live.finish(given, verdict, reply=OK)
    assert live._recorder.records == []  # type: ignore[attr-defined]


async def test_a_body_that_cannot_be_read_again_leaves_a_message_unsigned(caplog: pytest.LogCaptureFixture):
    class Gone(BytesBody):
        def chunks(self):
            raise OSError(5, "gone")

    live = signing_gate(check("fine"))
    mail = with_message(mail_at(live))
    mail.session.login = "ann"
    mail.message = Message(b"From: ann@example.org\r\n", Gone(b""))
    made = live.edits(mail, await live.judge(Stage.MESSAGE, mail))
    assert "DKIM-Signature" not in {one.name for one in made}
    assert "signing_failed" in caplog.text


async def test_the_client_s_name_stands_among_the_results():
    live = gate({Stage.MESSAGE: [[check("fine")]]})
    mail = with_message(mail_at(live))
    mail.session.address = ip_address("192.0.2.1")
    mail.session.notebook.findings.append(Finding("RDNS", ReverseName("mx.example.net", confirmed=True)))
    made = live.edits(mail, await live.judge(Stage.MESSAGE, mail))
    (value,) = (one.value for one in made if isinstance(one, edit.Insert) and one.name == "Authentication-Results")
    assert "iprev=pass (mx.example.net) policy.iprev=192.0.2.1" in value


# --- what mail shows about DNS lists ---------------------------------------------------------------------------------

ON_A_LIST = Rule("DNSBL_BL", 3.0, "on a list", kind=Kind.LIST)
SPF = Rule("SPF_PASS", 0.0, "spf")
NOW = 1_700_000_000.0


async def listed_mails(*, accepted: int, first: float, code: SpfCode = SpfCode.PASS, rule: Rule = ON_A_LIST) -> State:
    """How the list stands after mail of ten senders that it names, all with that history."""
    evidence = ListEvidence("bl.test", "x.bl.test", ("127.0.0.2",), 300)
    found = [
        Finding(rule.name, evidence),
        Finding(SPF.name, SpfResult(code, "client.example", SpfIdentity.MAILFROM)),
    ]
    store = MemoryStore()
    live = gate({Stage.MAIL: [[check("lists", rule, SPF, found=found)]]}, store=store)
    for number in range(10):
        await store.remember(f"ip:192.0.{number}.1", accepted=accepted, refused=0, now=first)
        mail = mail_at(live)
        mail.session.address = ip_address(f"192.0.{number}.1")
        await named(live, mail, "alice")
        await live.finish(mail, await live.judge(Stage.MESSAGE, with_message(mail)), reply=OK, next_hop=OK)
    await live.flush()
    return live._tools.desk.health(DnsList("bl.test", "BL", 3.0), Family.IPV4).state


async def test_a_list_of_long_good_senders_that_authenticate_loses_its_vote():
    assert await listed_mails(accepted=30, first=NOW - 30 * 86400) is State.WORLD


@pytest.mark.parametrize(
    "senders",
    [
        {"accepted": 3, "first": NOW - 30 * 86400},
        {"accepted": 30, "first": NOW - 3600},
        {"accepted": 30, "first": NOW - 30 * 86400, "code": SpfCode.FAIL},
        {"accepted": 30, "first": NOW - 30 * 86400, "rule": Rule("DNSBL_WL", -3.0, "a welcome list")},
    ],
    ids=["hardly known", "new", "not authenticated", "a welcome list"],
)
async def test_other_senders_on_a_list_take_no_vote_away(senders):
    assert await listed_mails(**senders) is State.UNTESTED


async def test_clients_whose_history_never_comes_do_not_keep_later_ones_out(monkeypatch):
    monkeypatch.setattr("gatekeeper.checks.wronged.MOST", 3)
    found = [
        Finding(ON_A_LIST.name, ListEvidence("bl.test", "x.bl.test", ("127.0.0.2",), 300)),
        Finding(SPF.name, SpfResult(SpfCode.PASS, "client.example", SpfIdentity.MAILFROM)),
        Finding("PUT_OFF"),
    ]
    put_off = Rule("PUT_OFF", 0.0, "later", decides=Action.DEFER)
    live = gate({Stage.MESSAGE: [[check("lists", ON_A_LIST, SPF, put_off, found=found)]]})
    for number in range(5):
        mail = mail_at(live)
        mail.session.address = ip_address(f"192.0.2.{number}")
        await named(live, mail, "alice")
        verdict = await live.judge(Stage.MESSAGE, with_message(mail))
        await live.finish(mail, verdict, reply=live.reply(verdict, mail))
    assert list(live._wronged._doubted) == [f"ip:192.0.2.{number}" for number in (2, 3, 4)]


async def test_one_client_s_messages_share_a_budget_of_questions():
    statuses: list[Status] = []

    @dataclass(frozen=True)
    class Curious(Fake):
        async def inspect(self, mail: Mail, tools: Tools) -> Sequence[Finding | Missing]:
            statuses.append((await tools.resolver.ask(f"n{len(statuses)}.test", "A")).status)
            return ()

    live = gate({Stage.MAIL: [[check("curious", SMALL, kind=Curious)]]}, settings=Settings(dns_questions_per_client=2))
    for address in ("192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2"):
        mail = mail_at(live)
        mail.session.address = ip_address(address)
        await live.judge(Stage.MAIL, mail)
    assert statuses == [Status.NXDOMAIN, Status.NXDOMAIN, Status.BUDGET, Status.NXDOMAIN]


async def test_whose_allowance_was_spent_when_it_came_is_told_so_for_the_session_and_by_another_name_no_more():
    denied: list[int] = []

    @dataclass(frozen=True)
    class Counts(Fake):
        async def inspect(self, mail: Mail, tools: Tools) -> Sequence[Finding | Missing]:
            assert tools.allowance is not None
            await tools.resolver.ask(f"n{len(denied)}.test", "A")
            denied.append(tools.allowance.denied)
            return ()

    counts = check("counts", SMALL, kind=Counts)
    live = gate({Stage.HELO: [[counts]], Stage.MAIL: [[counts]]}, settings=Settings(dns_questions_per_client=3))
    first = mail_at(live)
    first.session.address = ip_address("192.0.2.1")
    await live.judge(Stage.MAIL, first)
    await live.judge(Stage.MAIL, Mail(first.session, live.envelope(first.session)))
    again = mail_at(live)
    again.session.address = ip_address("192.0.2.1")
    await live.judge(Stage.MAIL, again)
    await live.judge(Stage.MAIL, Mail(again.session, live.envelope(again.session)))
    live.new_client(again.session)
    again.session.address = ip_address("192.0.2.2")
    await live.judge(Stage.MAIL, Mail(again.session, live.envelope(again.session)))
    assert denied == [0, 0, 0, 1, 2, 3, 0, 0]


async def test_a_bug_in_what_is_learned_does_not_end_the_process(monkeypatch: pytest.MonkeyPatch):
    live, turns = gate({}), asyncio.Event()
    tried: list[int] = []

    async def flush() -> None:
        tried.append(len(tried))
        if len(tried) == 1:
            raise RuntimeError("a bug")
        turns.set()

    monkeypatch.setattr("gatekeeper.gate._HISTORY_EVERY", 0.0)
    monkeypatch.setattr(live, "flush", flush)
    running = asyncio.ensure_future(live.run())
    async with asyncio.timeout(10):
        await turns.wait()
    running.cancel()


@dataclass(frozen=True)
class Holder(Fake):
    closed: list[bool] = field(default_factory=list, compare=False)

    async def close(self) -> None:
        self.closed.append(True)


async def test_what_checks_hold_of_the_world_outside_is_let_go_at_the_end():
    holder, other = check("holder", kind=Holder), check("other")
    assert isinstance(holder, Holder)
    await gate({Stage.MESSAGE: [[holder, other]]}).close()
    assert holder.closed == [True]
