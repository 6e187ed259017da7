from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from gatekeeper import metrics
from gatekeeper.complaints.dmarc import DEAD, POLICIES, ROWS, SENT, Published, Row, Settings, Signature
from gatekeeper.complaints.dmarc_evidence import MOST_WAITING, Evidence, seen
from gatekeeper.mailauth.dkim import DkimResult, DkimResults
from gatekeeper.mailauth.dkim_signature import DkimCode
from gatekeeper.mailauth.dmarc import DmarcCode, DmarcResult, Override
from gatekeeper.mailauth.dmarc_record import DmarcPolicy, record_of
from gatekeeper.mailauth.spf import SpfCode, SpfIdentity, SpfResult
from gatekeeper.mailauth.upstream import UpstreamResults
from gatekeeper.model import Action, Address, Envelope, Finding, Mail, Recipient, Session
from gatekeeper.store.base import Note
from tests.support.fake_store import FakeStore
from tests.support.mail import message_of

SETTINGS = Settings(email="dmarc-reports@example.org", exempt=("own.example",))
NOW = 1_795_780_000.0  # 2026-11-27
RECORD = record_of([b"v=DMARC1; p=reject; rua=mailto:dmarc@example.com"])
assert RECORD is not None
PUBLISHED = Published.by(RECORD)
FAIL = DmarcResult(
    DmarcCode.FAIL,
    "news.example.com",
    policy=DmarcPolicy.REJECT,
    published=DmarcPolicy.REJECT,
    record_domain="example.com",
    record=RECORD,
)
PASS = replace(FAIL, code=DmarcCode.PASS, aligned_spf=True)
SPF = SpfResult(SpfCode.SOFTFAIL, "bounce.example.com", SpfIdentity.MAILFROM)


def mail(
    result: DmarcResult | None = FAIL,
    *,
    sender: Address | None = Address("b", "bounce.example.com"),  # noqa: B008  # frozen
    address: str | None = "192.0.2.1",
    dkim: tuple[DkimResult, ...] = (),
    raw: str = "From: a@news.example.com\nSubject: hello\n\nText\n",
    to: str = "ann@example.org",
    login: str | None = None,
) -> Mail:
    session = Session("s", "smtp", 0.0, address=ip_address(address) if address else None, login=login)
    envelope = Envelope("e", sender=sender, recipients=[Recipient(Address(*to.split("@")))])
    evidence: list[Any] = [result, SPF, DkimResults(dkim, len(dkim))]
    envelope.notebook.findings += [Finding("X", one) for one in evidence if one is not None]
    return Mail(session, envelope, message_of(raw))


def row_of(*arguments: Any, action: Action = Action.ACCEPT, **more: Any) -> Row:
    found = seen(mail(*arguments, **more), action)
    assert found is not None
    return found.row


def test_what_is_reported_of_a_message() -> None:
    signed = (DkimResult(DkimCode.FAIL, "example.com", selector="s1"),)
    found = seen(mail(dkim=signed), Action.REJECT)
    assert found is not None
    assert (found.domain, found.policy) == ("example.com", PUBLISHED)
    assert found.row == Row(
        address="192.0.2.1",
        disposition="reject",
        dkim=False,
        spf=False,
        author="news.example.com",
        sender="bounce.example.com",
        signatures=(Signature("example.com", "s1", "fail"),),
        spf_domain="bounce.example.com",
        spf_result="softfail",
    )


@pytest.mark.parametrize(
    ("result", "action", "disposition", "reason"),
    [
        (PASS, Action.ACCEPT, "pass", ()),
        (PASS, Action.REJECT, "pass", ()),  # refused, but not by DMARC
        (replace(PASS, policy=DmarcPolicy.NONE, published=DmarcPolicy.NONE), Action.ACCEPT, "none", ()),
        (FAIL, Action.REJECT, "reject", ()),
        (FAIL, Action.TAG, "quarantine", ("local_policy",)),
        (FAIL, Action.ACCEPT, "none", ("local_policy",)),
        (replace(FAIL, override=Override.MAILING_LIST), Action.TAG, "quarantine", ("mailing_list",)),
        (replace(FAIL, override=Override.TRUSTED_FORWARDER), Action.ACCEPT, "none", ("trusted_forwarder",)),
        (
            replace(FAIL, policy=DmarcPolicy.QUARANTINE, testing=True),
            Action.REJECT, "quarantine", ("policy_test_mode",),
        ),
        (replace(FAIL, policy=DmarcPolicy.NONE, published=DmarcPolicy.NONE), Action.REJECT, "none", ()),
    ],
)  # fmt: skip
def test_what_came_of_the_policy_and_why(
    result: DmarcResult, action: Action, disposition: str, reason: tuple[str, ...]
) -> None:
    row = row_of(result, action=action)
    assert (row.disposition, tuple(kind for kind, _ in row.reasons)) == (disposition, reason)


def test_the_telling_signatures_come_first_and_not_all() -> None:
    signed = [DkimResult(DkimCode.FAIL, f"f{n}.test", selector="s") for n in range(9)]
    signed += [DkimResult(DkimCode.PASS, "list.test", selector="s"), DkimResult(DkimCode.PASS, "example.com")]
    signed += [DkimResult(DkimCode.PASS, "news.example.com", selector="s"), DkimResult(DkimCode.PERMERROR)]
    names = [one.domain for one in row_of(PASS, dkim=tuple(signed)).signatures]
    assert names[:4] == ["news.example.com", "example.com", "list.test", "f0.test"]
    assert len(names) == 8


@pytest.mark.parametrize(
    "arguments",
    [
        {"result": None},
        {"result": replace(FAIL, record=None)},
        {"result": replace(FAIL, record=record_of([b"v=DMARC1; p=reject"]))},
        {"result": replace(FAIL, code=DmarcCode.TEMPERROR)},
        {"result": replace(FAIL, code=DmarcCode.PERMERROR)},
        {"address": None},
        {"address": "127.0.0.1"},
        {"address": "::1"},
        {"login": "ann"},
        {"result": PASS, "raw": "Subject: Report Domain: a.test\n Submitter: b.test Report-ID: <1>\n\n"},
    ],
)
def test_what_is_not_reported(arguments: dict[str, Any]) -> None:
    assert seen(mail(**arguments), Action.ACCEPT) is None


def test_what_an_upstream_brought_is_not_reported_under_its_address() -> None:
    brought = mail()
    brought.envelope.notebook.findings.append(Finding("X", UpstreamResults("mx.upstream.example")))
    assert seen(brought, Action.REJECT) is None


def test_a_forger_does_not_hide_behind_the_subject_of_a_report() -> None:
    assert seen(mail(raw="Subject: Report Domain: a.test Submitter: b.test\n\n"), Action.ACCEPT) is not None


def test_an_empty_sender_and_an_unknown_one() -> None:
    assert row_of(sender=Address("", "")).sender == ""
    assert row_of(sender=None).sender is None


# Counting.


def evidence(store: FakeStore, settings: Settings = SETTINGS, now: list[float] | None = None) -> Evidence:
    moment = now or [NOW]
    return Evidence(store, lambda: moment[0], settings)


async def counted(store: FakeStore, day: str = "2026-11-27") -> dict[tuple[str, str], int]:
    tallies = await store.tallies(ROWS, prefix=f"{day} ", now=NOW)
    return {
        (tally.key.split(" ")[1], Row.of(tally.key.split(" ", 2)[2]).disposition): tally.amount for tally in tallies
    }


def test_a_pass_that_we_do_not_believe_is_told_as_dns_has_it() -> None:
    doubted = mail()
    doubted.envelope.notebook.findings[1] = Finding("X", replace(SPF, code=SpfCode.POLICY))
    found = seen(doubted, Action.REJECT)
    assert found is not None
    assert (found.row.spf, found.row.spf_result) == (False, "pass")


async def test_equal_rows_are_one_counter_over_workers_and_turns() -> None:
    store = FakeStore()
    first, second = evidence(store), evidence(store)
    for _ in range(3):
        first.note(mail(PASS), Action.ACCEPT)
        second.note(mail(PASS), Action.ACCEPT)
        first.note(mail(), Action.REJECT)
        await first.flush()
    await second.flush()
    assert await counted(store) == {("example.com", "pass"): 6, ("example.com", "reject"): 3}
    (note,) = await store.notes(POLICIES, now=NOW)
    assert (note.key, Published.of(note.text)) == ("2026-11-27 example.com", PUBLISHED)
    assert note.until == 1_795_737_600 + 86400 + SETTINGS.keep


async def test_midnight_begins_another_report() -> None:
    store, now = FakeStore(), [NOW]
    one = evidence(store, now=now)
    one.note(mail(), Action.REJECT)
    now[0] += 86400
    one.note(mail(), Action.REJECT)
    await one.flush()
    assert await counted(store) == await counted(store, "2026-11-28") == {("example.com", "reject"): 1}


async def test_the_policy_of_a_day_is_the_last_one_seen() -> None:
    store = FakeStore()
    one = evidence(store)
    one.note(mail(), Action.REJECT)
    await one.flush()
    changed = record_of([b"v=DMARC1; p=none; rua=mailto:dmarc@example.com"])
    one.note(mail(replace(FAIL, record=changed)), Action.ACCEPT)
    await one.flush()
    (note,) = await store.notes(POLICIES, now=NOW)
    assert Published.of(note.text).p == "none"


async def test_exempt_domains_are_not_counted() -> None:
    store = FakeStore()
    one = evidence(store)
    for domain in ("own.example", "mail.own.example"):
        one.note(mail(replace(FAIL, record_domain=domain)), Action.REJECT)
    await one.flush()
    assert await counted(store) == {}


async def test_a_stranger_cannot_make_it_grow() -> None:
    store = FakeStore()
    one = evidence(store, replace(SETTINGS, rows=3, domains=2))
    dropped = metrics.DMARC_EVIDENCE_DROPPED
    before = [dropped[limit]._value.get() for limit in ("rows", "domains")]
    for n in range(5):
        one.note(mail(address=f"192.0.2.{n}"), Action.REJECT)
        one.note(mail(replace(FAIL, record_domain=f"d{n}.test")), Action.REJECT)
    one.note(mail(address="192.0.2.0"), Action.REJECT)  # a row that is there already has room
    await one.flush()
    tallies = await store.tallies(ROWS, now=NOW)
    assert sorted(tally.amount for tally in tallies) == [1, 1, 1, 2]
    assert [dropped[limit]._value.get() for limit in ("rows", "domains")] == [before[0] + 2, before[1] + 4]


async def test_what_the_store_does_not_take_waits_and_no_longer_than_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gatekeeper.complaints.dmarc_evidence.MOST_WAITING", 3)
    assert MOST_WAITING > 3
    store = FakeStore()
    one = evidence(store)
    store.away = True
    for n in range(5):
        one.note(mail(address=f"192.0.2.{n}"), Action.REJECT)
        await one.flush()
    store.away = False
    await one.flush()
    assert len(await store.tallies(ROWS, now=NOW)) == 3
    assert len(await store.notes(POLICIES, now=NOW)) == 1


# What comes back.

BOUNCE = """\
From: MAILER-DAEMON@example.com
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: message/delivery-status

Final-Recipient: rfc822; dmarc@example.com
Action: {action}
Status: 5.1.1

--b
Content-Type: message/rfc822-headers

Message-ID: <{id}>

--b--
"""
ID = "20261127" + "0123456789abcdef" + ".0@example.org"


async def bounced(raw: str, *, sender: Address = Address("", ""), to: str = "DMARC-reports@example.org") -> list[Note]:  # noqa: B008
    store = FakeStore()
    await store.put_notes([Note(SENT, ID, "dmarc@example.com", NOW + 100)])
    one = evidence(store)
    one.note(mail(raw=raw, sender=sender, to=to), Action.ACCEPT)
    await one.flush()
    return await store.notes(DEAD, now=NOW)


async def test_a_report_that_comes_back_marks_its_address() -> None:
    (note,) = await bounced(BOUNCE.format(action="failed", id=ID))
    assert note.key == "dmarc@example.com"


@pytest.mark.parametrize(
    ("raw", "more"),
    [
        (BOUNCE.format(action="delayed", id=ID), {}),
        (BOUNCE.format(action="failed", id=ID.replace("0123", "4567")), {}),  # guessed
        (BOUNCE.format(action="failed", id=ID), {"sender": Address("eve", "evil.test")}),
        (BOUNCE.format(action="failed", id=ID), {"to": "ann@example.org"}),
        ("Subject: x\n\n" + "x" * 200_000 + f"\n<{ID}>\n", {}),
    ],
)
async def test_what_does_not_mark_one(raw: str, more: dict[str, Any]) -> None:
    assert await bounced(raw, **more) == []


async def test_a_bounce_is_not_counted_as_mail_of_the_domain() -> None:
    store = FakeStore()
    one = evidence(store)
    one.note(mail(PASS, sender=Address("", ""), to="dmarc-reports@example.org"), Action.ACCEPT)
    await one.flush()
    assert await counted(store) == {}
