from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gatekeeper.complaints.dmarc import DEAD, POLICIES, REPORTS, ROWS, SENT, Published, Settings
from gatekeeper.complaints.dmarc_sending import CLAIM, Outcome, Reports, Sending, relayed
from gatekeeper.mailauth.dmarc_record import ReportUri, record_of
from gatekeeper.model import Reply
from gatekeeper.nexthop import NextHop, NextHopGone, NextHopUrl
from gatekeeper.nexthop import Settings as NextHopSettings
from gatekeeper.store.base import Note, Tally
from gatekeeper.store.memory import MemoryStore
from tests.complaints.test_dmarc_report import ROW
from tests.support.fake_resolver import FakeResolver
from tests.support.next_hop import FakeNextHop

DAY_ = "2026-11-27"
MORNING = 1_795_824_000.0 + 3600
SETTINGS = Settings(email="dmarc@example.org", pause=0.0)
RECORD = record_of([b"v=DMARC1; p=reject; rua=mailto:a@example.com,mailto:b@example.com"])
assert RECORD is not None
POLICY = Published.by(RECORD)
TAKEN = Reply.of(250, "2.0.0 Ok")


class Relay:
    """Takes everything, or answers as told; keeps what it was sent, and what was tried."""

    def __init__(self) -> None:
        self.tried: list[tuple[str, bytes]] = []
        self.sent: list[tuple[str, bytes]] = []
        self.answers: dict[str, Any] = {}

    async def __call__(self, sender: str, recipient: str, mail: bytes) -> Reply:
        assert sender == SETTINGS.email
        answer = self.answers.get(recipient, TAKEN)
        self.tried.append((recipient, mail))
        if isinstance(answer, Exception):
            raise answer
        if answer.positive:
            self.sent.append((recipient, mail))
        assert isinstance(answer, Reply)
        return answer


class World:
    """A store with the evidence of a day, a relay, and a clock."""

    def __init__(self, policy: Published = POLICY, zone: dict[tuple[str, str], Any] | None = None) -> None:
        self.store, self.relay, self.now, self.policy = MemoryStore(), Relay(), MORNING, policy
        self.resolver = FakeResolver(zone or {})

    async def evidence(self, day: str = DAY_, domain: str = "example.com") -> None:
        end = MORNING + 9e5
        await self.store.put_notes([Note(POLICIES, f"{day} {domain}", self.policy.text(), end)])
        rows = [replace(ROW, address=f"192.0.2.{n}") for n in (1, 2)]
        await self.store.tally([Tally(ROWS, f"{day} {domain} {row.text()}", n, end) for n, row in enumerate(rows, 1)])

    def reports(self, settings: Settings = SETTINGS, **more: Any) -> Reports:
        return Reports(
            settings, store=self.store, resolver=self.resolver, clock=lambda: self.now, send=self.relay, **more
        )

    async def send(self, day: str = DAY_, only: str = "") -> list[Sending]:
        return [one async for one in self.reports().send(day, only)]


async def world(**more: Any) -> World:
    made = World(**more)
    await made.evidence()
    return made


def outcomes(sendings: list[Sending]) -> list[tuple[str, str]]:
    return [(one.address, one.outcome.value) for one in sendings]


async def test_each_address_gets_the_report_once() -> None:
    here = await world()
    assert outcomes(await here.send()) == [("a@example.com", "sent"), ("b@example.com", "sent")]
    assert await here.send() == []
    here.now += 86400
    assert await here.send() == []
    assert [address for address, _ in here.relay.sent] == ["a@example.com", "b@example.com"]
    ids = {mail.partition(b"Message-ID: <")[2].partition(b">")[0] for _, mail in here.relay.sent}
    assert len({one.partition(b".")[0] for one in ids}) == 2  # who knows one of them cannot tell the other
    assert {note.key.encode() for note in await here.store.notes(SENT, now=here.now)} == ids


async def test_a_second_try_has_the_same_message_id_at_each_address() -> None:
    here = await world()
    tried: list[dict[str, bytes]] = []
    for answer in (Reply.of(451, "4.3.0 later"), Reply.of(250, "2.0.0 Ok")):
        here.relay.answers = {"a@example.com": answer, "b@example.com": answer}
        here.relay.tried.clear()
        await here.send()
        tried.append({to: mail.partition(b"Message-ID: <")[2].partition(b">")[0] for to, mail in here.relay.tried})
    assert len(tried[0]) == 2
    assert tried[0] == tried[1]


async def test_a_report_that_an_earlier_version_has_begun_is_sent_on() -> None:
    here = await world()
    text = '{"id": "202611270123456789abcdef", "outcomes": {"a@example.com": "sent"}, "claimed": 0.0, "done": false}'
    await here.store.put_notes([Note(REPORTS, f"{DAY_} example.com", text, MORNING + 9e5)])
    assert outcomes(await here.send()) == [("b@example.com", "sent")]
    assert await here.send() == []


async def test_the_days_that_are_over_are_due() -> None:
    here = await world()
    assert here.reports().days() == ["2026-11-24", "2026-11-25", "2026-11-26", "2026-11-27"]
    here.now = 1_795_824_000.0 + 60  # the workers may still bring something
    assert here.reports().days()[-1] == "2026-11-26"
    with pytest.raises(ValueError, match="not over"):
        await here.send()
    with pytest.raises(ValueError, match="not over"):
        await here.send("2026-12-31")


async def test_one_domain_alone() -> None:
    here = await world()
    await here.evidence(domain="example.com.test")
    await here.evidence(domain="other.test")
    assert {one.domain for one in await here.send(only="example.com")} == {"example.com"}
    assert {one.domain for one in await here.send()} == {"example.com.test", "other.test"}


async def test_two_who_send_at_once_send_it_once() -> None:
    here = await world()
    first = here.reports().send(DAY_)
    assert (await anext(first)).outcome is Outcome.SENT  # and is in the middle of it
    assert await here.send() == []
    assert [one.outcome async for one in first] == [Outcome.SENT]
    assert len(here.relay.sent) == 2


async def test_whoever_dies_in_the_middle_never_makes_a_second_copy() -> None:
    here = await world()
    here.relay.answers["a@example.com"] = RuntimeError("the process ends here")
    with pytest.raises(RuntimeError, match="ends here"):
        await here.send()
    here.relay.answers.clear()
    assert await here.send() == []  # its claim holds for a while
    here.now += CLAIM + 1
    assert outcomes(await here.send()) == [("b@example.com", "sent")]


@pytest.mark.parametrize(
    ("answer", "outcome", "again"),
    [
        (Reply.of(451, "4.3.0 later"), "deferred", True),
        (NextHopGone("nobody there"), "deferred", True),
        (NextHopGone("lost", in_doubt=True), "in_doubt", False),
        (Reply.of(554, "5.7.1 Relay access denied"), "deferred", True),
        (Reply.of(550, "5.1.1 no such user"), "refused", False),
        (Reply.of(552, "5.2.2 full"), "refused", False),
        (Reply.of(550, "no such user"), "refused", False),
    ],
)
async def test_what_was_not_taken_is_tried_again_or_not(answer: Any, outcome: str, again: bool) -> None:
    here = await world()
    here.relay.answers["a@example.com"] = answer
    assert outcomes(await here.send()) == [("a@example.com", outcome), ("b@example.com", "sent")]
    first_id = here.relay.sent[0][1].partition(b"Report-ID: <")[2][:24]
    here.relay.answers.clear()
    assert outcomes(await here.send()) == ([("a@example.com", "sent")] if again else [])
    if again:  # the same report, by its id (RFC 9990 §3.5.4)
        assert here.relay.sent[1][1].partition(b"Report-ID: <")[2][:24] == first_id


async def test_an_address_that_refused_is_left_alone_for_longer_and_longer() -> None:
    here = await world()
    here.relay.answers["a@example.com"] = Reply.of(550, "5.1.1 no such user")
    await here.send()
    assert len(await here.store.notes(DEAD, now=here.now)) == 1
    here.now += 86400
    await here.evidence("2026-11-28")
    here.relay.answers.clear()
    sendings = await here.send("2026-11-28")
    assert outcomes(sendings) == [("a@example.com", "dead"), ("b@example.com", "sent")]
    here.now += 2 * 86400
    await here.evidence("2026-11-30")
    assert outcomes(await here.send("2026-11-30")) == [("a@example.com", "sent"), ("b@example.com", "sent")]


async def test_a_size_limit_is_kept() -> None:
    limited = replace(POLICY, rua=(ReportUri("mailto:a@example.com", 100), ReportUri("mailto:b@example.com", 10_000)))
    here = await world(policy=limited)
    assert outcomes(await here.send()) == [("a@example.com", "too_large"), ("b@example.com", "sent")]


async def test_others_addresses_are_confirmed_first() -> None:
    from gatekeeper.dns.resolver import Status

    foreign = replace(POLICY, rua=(ReportUri("mailto:a@no.test"), ReportUri("mailto:a@unsure.test")))
    leave = ("example.com._report._dmarc.unsure.test", "TXT")
    here = await world(policy=foreign, zone={leave: Status.TIMEOUT})
    assert outcomes(await here.send()) == [("a@no.test", "unconfirmed"), ("a@unsure.test", "unknown")]
    here.resolver.answers[leave] = [b"v=DMARC1"]
    assert outcomes(await here.send()) == [("a@unsure.test", "sent")]


async def test_a_dry_run_shows_all_and_changes_nothing() -> None:
    here = await world()
    (shown,) = [one async for one in here.reports().show(DAY_)]
    assert [one.outcome for one in shown.sendings] == [Outcome.SHOWN, Outcome.SHOWN]
    assert shown.document.startswith(b"<?xml")
    assert [count for _, count in shown.report.rows] == [2, 1]
    assert await here.store.notes(REPORTS, now=here.now) == []
    assert here.relay.sent == []
    await here.send()
    (shown,) = [one async for one in here.reports().show(DAY_)]
    assert [(one.outcome, one.why) for one in shown.sendings] == [(Outcome.SENT, "already")] * 2
    assert shown.report.id.encode() in here.relay.sent[0][1]


async def test_a_report_is_signed_where_there_is_a_key() -> None:
    here = await world()
    reports = here.reports(sign=lambda mail: b"DKIM-Signature: x\r\n" + mail)
    assert [one.outcome async for one in reports.send(DAY_)] == [Outcome.SENT] * 2
    assert here.relay.sent[0][1].startswith(b"DKIM-Signature: x\r\nFrom: ")


async def test_what_another_version_wrote_is_passed_over() -> None:
    here = await world()
    await here.store.put_notes([Note(POLICIES, f"{DAY_} odd.test", "{}", MORNING + 9e5)])
    await here.store.tally([Tally(ROWS, f"{DAY_} example.com {{}}", 7, MORNING + 9e5)])
    assert {one.rows for one in await here.send()} == {2}


async def test_a_domain_without_rows_gets_no_report() -> None:
    here = World()
    await here.store.put_notes([Note(POLICIES, f"{DAY_} example.com", POLICY.text(), MORNING + 9e5)])
    assert await here.send() == []
    assert [one async for one in here.reports().show(DAY_)] == []


async def test_a_relay_is_spoken_to_as_ourselves() -> None:
    async with FakeNextHop() as hop:
        hop.recipients["no@example.com"] = "550 5.1.1 no"
        settings = NextHopSettings(hand_on="none")
        relay = NextHop(NextHopUrl.parse(hop.url), settings, hostname="mx.example.org")
        try:
            send = relayed(relay, "mx.example.org")
            assert (await send("dmarc@example.org", "a@example.com", b"Subject: x\r\n\r\n.\r\n")).code == 250
            assert (await send("dmarc@example.org", "no@example.com", b"x")).code == 550
        finally:
            await relay.close()
        (message,) = hop.messages
        assert (message.sender, message.recipients) == ("dmarc@example.org", ["a@example.com"])
        assert message.data == b"Subject: x\r\n\r\n.\r\n"
        assert (message.xclient, message.xforward) == ({}, {})


async def test_a_relay_that_dies_after_the_dot_leaves_it_in_doubt() -> None:
    async with FakeNextHop() as hop:
        hop.die("dot")
        relay = NextHop(NextHopUrl.parse(hop.url), NextHopSettings(hand_on="none"), hostname="mx.example.org")
        try:
            with pytest.raises(NextHopGone) as gone:
                await relayed(relay, "mx.example.org")("dmarc@example.org", "a@example.com", b"x\r\n")
            assert gone.value.in_doubt
        finally:
            await relay.close()


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "{}", '{"id": 1, "outcomes": {"a": "lost"}}', "[" * 20_000])
async def test_a_report_of_which_nothing_can_be_read_counts_as_sent(text: str) -> None:
    here = await world()
    await here.store.put_notes([Note(REPORTS, f"{DAY_} example.com", text, MORNING + 9e5)])
    await here.evidence(domain="example.net")
    assert {one.domain for one in await here.send()} == {"example.net"}
