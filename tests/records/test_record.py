"""From a mail and what became of it to its record."""

import ipaddress
import json
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.model import (
    Action,
    Address,
    BytesBody,
    Contribution,
    Envelope,
    Finding,
    Kind,
    Mail,
    Message,
    Missing,
    Recipient,
    Reply,
    Session,
    Thresholds,
    Tls,
    Verdict,
)
from gatekeeper.records.record import LISTED, NAMED, from_document, record_of, stored, to_document

NOW = 1_800_000_000.0
OK = Reply.of(250, "2.0.0 Ok: queued as 4ABC")
THRESHOLDS = Thresholds(5000, 10_000)


@dataclass(frozen=True, slots=True)
class Listed:
    zone: str
    codes: tuple[str, ...]


def verdict(action: Action = Action.ACCEPT, **changes) -> Verdict:
    return replace(Verdict(action, 1500, THRESHOLDS, (Contribution("LISTED", 1500),)), **changes)


def recipient(name: str, **changes) -> Recipient:
    made = Recipient(Address(name, "example.net"), reply=Reply.of(250, "2.1.5 Ok"), by_next_hop=True)
    for field, value in changes.items():
        setattr(made, field, value)
    return made


def mail(*recipients: Recipient, header: bytes = b"Message-ID: <a@b>\r\nSubject: secret\r\n") -> Mail:
    session = Session("S1", "smtp", NOW - 9, ipaddress.ip_address("192.0.2.7"), 2525, helo="mx.example.org")
    session.extended = True
    session.tls = Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256)
    session.counters.recipients = 3
    envelope = Envelope("R1", Address("Ann", "example.org"), started=NOW - 2)
    envelope.recipients = list(recipients)
    envelope.notebook.findings.append(Finding("LISTED", Listed("zen.example", ("127.0.0.2",)), "it is listed"))
    envelope.notebook.missing.append(Missing("spf", ("SPF_FAIL",), "timed out"))
    return Mail(session, envelope, Message(header, BytesBody(b"body\r\n")))


def made(of: Mail, judged: Verdict | None, **facts):
    return record_of(of, judged, **{"reply": OK, "next_hop": None, "note": "", "now": NOW, **facts})


def test_everything_known_is_kept():
    record = made(mail(recipient("bob")), verdict(missing=("spf",), not_run=("dkim",)), next_hop=OK)
    assert (record.id, record.session, record.server, record.time, record.duration) == ("R1", "S1", "smtp", NOW, 2.0)
    assert record.client.address == "192.0.2.7"
    assert record.client.tls == Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256)
    assert record.client.counters == {"recipients": 3}
    assert record.sender == "Ann@example.org"
    assert record.findings[0].evidence == {"type": "Listed", "zone": "zen.example", "codes": ["127.0.0.2"]}
    assert record.missing == (Missing("spf", ("SPF_FAIL",), "timed out"),)
    assert record.decision is not None
    assert (record.decision.missing, record.decision.not_run) == (("spf",), ("dkim",))
    assert record.recipients[0].address == "bob@example.net"
    assert record.recipients[0].by_next_hop
    assert record.queue_id == "4ABC"
    assert record.message_id == "<a@b>"
    assert record.size == 44


def test_the_queue_id_is_the_next_hops_or_what_the_mail_server_told_before_it_answered():
    told = mail(recipient("bob"))
    told.envelope.queue_id = "7XYZ"
    assert made(told, verdict()).queue_id == "7XYZ"
    assert made(told, verdict(), next_hop=OK).queue_id == "4ABC"


def test_the_text_of_the_mail_is_not_kept():
    document = to_document(made(mail(recipient("bob")), verdict()))
    assert "secret" not in document
    assert "body" not in document


def test_it_comes_back_from_its_document():
    judged = verdict(thresholds=Thresholds(5000, 10_000, frozenset({Kind.LIST, Kind.RATE})))
    record = made(mail(recipient("bob")), replace(judged, recipients={"bob@example.net": judged}), next_hop=OK)
    assert from_document(to_document(record)) == record


def test_each_recipient_keeps_its_own_decision():
    strict = verdict(Action.TAG, thresholds=Thresholds(1000, 10_000))
    judged = verdict(Action.TAG, recipients={"bob@example.net": strict, "eve@example.net": verdict()})
    refused = recipient("mallory", reply=Reply.of(550, "5.1.1 no"), verdict=verdict(Action.REJECT))
    of = mail(recipient("bob"), recipient("eve"))
    of.envelope.refused.append(refused)
    decisions = [one.decision.action for one in made(of, judged).recipients if one.decision]
    assert decisions == ["tag", "accept", "reject"]


def test_a_recipient_that_is_only_being_judged_is_in_it_once():
    of = mail()
    of.recipient = recipient("bob")
    assert [one.address for one in made(of, verdict()).recipients] == ["bob@example.net"]
    of.envelope.refused.append(of.recipient)
    assert len(made(of, verdict()).recipients) == 1


@pytest.mark.parametrize(
    ("judged", "reply", "next_hop", "note", "expected"),
    [
        (Action.ACCEPT, 250, 250, "", "accept"),
        (Action.TAG, 250, 250, "", "tag"),
        (Action.ACCEPT, 250, None, "", "accept"),  # a server that has no next hop: milter, check
        (Action.ACCEPT, 250, 250, "in_doubt_client", "accept"),
        (Action.ACCEPT, 250, 250, "client_gone", "accept"),  # the next hop has it
        (Action.ACCEPT, 550, 550, "", "reject"),  # the next hop's word
        (Action.ACCEPT, 451, 451, "", "defer"),
        (Action.TAG, 451, None, "next_hop_gone", "defer"),
        (Action.ACCEPT, 421, None, "client_gone", "abandoned"),
        (Action.ACCEPT, 250, None, "withdrawn", "abandoned"),
        (Action.ACCEPT, 250, 451, "", "abandoned"),  # never accepted when the next hop did not
        (Action.REJECT, 550, None, "", "reject"),
        (Action.REJECT, 451, None, "", "defer"),
        (Action.DEFER, 451, None, "", "defer"),
        (Action.GREYLIST, 451, None, "", "greylist"),
        (Action.DROP, 421, None, "", "drop"),
        (None, 250, None, "", "abandoned"),  # RSET
        (None, 451, None, "next_hop_gone", "defer"),
        (None, 550, None, "", "reject"),
    ],
)
def test_the_outcome_is_what_the_client_was_told(judged, reply, next_hop, note, expected):
    record = made(
        mail(recipient("bob")),
        None if judged is None else verdict(judged),
        reply=Reply.of(reply, "x"),
        next_hop=None if next_hop is None else Reply.of(next_hop, "x"),
        note=note,
    )
    assert record.action == expected


@pytest.mark.parametrize(("codes", "expected"), [((550, 550), "reject"), ((550, 450), "defer")])
def test_when_nobody_was_left_to_send_to_the_refusals_are_the_outcome(codes, expected):
    of = mail()
    of.envelope.refused = [recipient(str(code), reply=Reply.of(code, "x")) for code in codes]
    assert made(of, None).action == expected


def test_what_is_not_known_stays_unknown():
    of = Mail(Session("S1", "policy_service", NOW), Envelope("R1"))
    record = made(of, None)
    assert record.sender is None
    assert record.client.address is None
    assert record.size is None
    assert from_document(to_document(record)) == record
    assert stored(record).address == ""


def test_the_null_sender_is_not_an_unknown_one():
    of = mail(recipient("bob"))
    of.envelope.sender = Address("", "")
    assert from_document(to_document(made(of, verdict()))).sender == ""


def test_a_clock_that_went_back_gives_no_negative_duration():
    assert made(mail(recipient("bob")), verdict(), now=NOW - 1000).duration == 0.0


def test_many_recipients_are_listed_named_and_counted():
    of = mail(*(recipient(f"r{n}") for n in range(LISTED + NAMED + 7)))
    record = made(of, verdict())
    assert (len(record.recipients), len(record.more_recipients), record.unlisted) == (LISTED, NAMED, 7)
    assert len(stored(record).recipients) == LISTED + NAMED


def test_a_record_has_a_largest_size():
    of = mail(*(recipient("x" * 1000 + str(n)) for n in range(2000)), header=b"Message-ID: " + b"<" * 10**6 + b"\r\n")
    for n in range(5000):
        finding = Finding(f"RULE{n}", Listed("z" * 10_000, ("c" * 10_000,) * 1000), "t" * 10_000)
        of.envelope.notebook.findings.append(finding)
    of.session.helo = "h" * 10**6
    reply = Reply(550, ("e" * 10_000,) * 1000)
    assert len(to_document(made(of, verdict(), reply=reply, next_hop=reply, note="n" * 10**6))) < 800_000


def test_what_the_store_searches_by_is_lower_case():
    found = stored(made(mail(recipient("Bob"), recipient("BOB")), verdict(Action.TAG), next_hop=OK))
    assert (found.id, found.time, found.action, found.score) == ("R1", NOW, "tag", 1.5)
    assert (found.sender, found.recipients) == ("ann@example.org", ("bob@example.net",))
    assert (found.address, found.queue_id) == ("192.0.2.7", "4ABC")
    assert json.loads(found.document)["id"] == "R1"


@given(text=st.text(st.characters(), max_size=50), octets=st.binary(max_size=200))
def test_no_stranger_breaks_a_record(text, octets):
    of = mail(recipient(text), header=octets)
    of.session.helo = of.session.name = of.session.login = text
    of.envelope.sender = Address(text, text)
    of.envelope.notebook.findings.append(Finding("X", Listed(text, (text,)), text))
    record = made(of, verdict(), reply=Reply.of(250, text), next_hop=Reply.of(250, text), note=text)
    assert from_document(to_document(record)) == record
    stored(record).document.encode("ascii")
    stored(record).sender.encode()
