from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address

import pytest

from gatekeeper.checks.reverse_dns import ReverseDns, ReverseName
from gatekeeper.message.edit import Insert
from gatekeeper.model import (
    Address,
    BytesBody,
    Envelope,
    Finding,
    Heard,
    Mail,
    Message,
    Missing,
    Recipient,
    Reply,
    Session,
)
from gatekeeper.nexthop import Capabilities, Client, Command, NextHopGone, NextHopUrl, RelayAnswer, Withdrawn
from gatekeeper.servers.relay import REFUSED_KEPT, Relay, is_unknown

OK = Reply.of(250, "2.1.5 Ok")
NO = Reply.of(550, "5.1.1 No such user")
QUEUED = Reply.of(250, "2.0.0 Ok: queued")


class Transaction:
    """Answers as told, or raises."""

    def __init__(self, replies: list[Reply] | Exception, final: Reply | Exception = QUEUED) -> None:
        self.replies = replies
        self.final = final
        self.named: list[Command] = []
        self.sent = b""
        self.aborted = 0
        self.dot_sent = False
        self.refusal: Reply | None = None

    async def recipients(self, group: Sequence[Command]) -> list[Reply]:
        self.named += group
        if isinstance(self.replies, Exception):
            raise self.replies
        replies, self.replies = self.replies[: len(group)], self.replies[len(group) :]
        return replies

    async def send(self, chunks: Iterable[bytes], *, wanted: Callable[[], bool]) -> Reply:
        self.sent = b"".join(chunks)
        if not wanted():
            raise Withdrawn
        self.dot_sent = not isinstance(self.final, NextHopGone) or self.final.in_doubt
        if isinstance(self.final, Exception):
            raise self.final
        return self.final

    async def park(self) -> None:
        self.parked = True

    async def abort(self) -> None:
        self.aborted += 1


class Hop:
    url = NextHopUrl.parse("smtp://127.0.0.1:25")
    capabilities = Capabilities()
    takes_xclient = False

    def __init__(self, transaction: Transaction) -> None:
        self.made = transaction
        self.begun: list[tuple[Client, Command]] = []

    def transaction(self, client: Client, mail: Command) -> Transaction:
        self.begun.append((client, mail))
        return self.made

    async def relay_probe(self, domain: str) -> RelayAnswer:
        raise AssertionError(domain)


def mail_of(*names: str) -> tuple[Mail, list[Recipient]]:
    session = Session("s", "smtp", 0.0, address=ip_address("192.0.2.7"), port=99, helo="h", extended=True)
    envelope = Envelope("e", Address("s", "example.net", "S@example.net"), ("SIZE=1",))
    asked = [Recipient(Address(name, "example.org", f"{name}@Example.ORG"), ("NOTIFY=NEVER",)) for name in names]
    envelope.recipients += asked
    return Mail(session, envelope, Message(b"Subject: x\r\n", BytesBody(b"text\r\n"))), asked


async def test_it_begins_with_the_first_recipients_and_keeps_the_answers():
    transaction = Transaction([OK, NO, OK])
    hop = Hop(transaction)
    mail, asked = mail_of("one", "no")
    relay = Relay(hop, mail)
    assert hop.begun == []
    await relay.recipients(asked)
    more = Recipient(Address("two", "example.org", "two@example.org"))
    mail.envelope.recipients.append(more)
    await relay.recipients([more])
    assert hop.begun == [
        (Client("192.0.2.7", 99, None, "h", "ESMTP", ident="e"), Command("S@example.net", ("SIZE=1",))),
    ]
    assert transaction.named[0] == Command("one@Example.ORG", ("NOTIFY=NEVER",))
    assert [r.address.local for r in mail.envelope.recipients] == ["one", "two"]
    assert [(r.address.local, r.reply, r.by_next_hop) for r in mail.envelope.refused] == [("no", NO, True)]
    assert (mail.session.counters.accepted, mail.session.counters.unknown) == (2, 1)
    heard = [(one.address.local, one.heard, one.null_sender) for one in mail.session.named]
    assert heard == [("one", Heard.KNOWN, False), ("no", Heard.UNKNOWN, False), ("two", Heard.KNOWN, False)]


@pytest.mark.parametrize(("confirmed", "name"), [(True, "mx.example.com"), (False, None)])
async def test_only_a_confirmed_name_goes_on(confirmed, name):
    hop = Hop(Transaction([OK]))
    mail, asked = mail_of("one")
    mail.session.notebook.findings.append(Finding("X", ReverseName("mx.example.com", confirmed)))
    await Relay(hop, mail).recipients(asked)
    assert hop.begun[0][0].name == name


async def test_a_name_that_dns_did_not_tell_is_not_said_to_be_missing():
    hop = Hop(Transaction([OK]))
    mail, asked = mail_of("one")
    await Relay(hop, mail).recipients(asked)
    mail.session.notebook.missing.append(Missing(ReverseDns.name, (), "timeout"))
    hop.made = Transaction([OK])
    await Relay(hop, mail).recipients(asked)
    assert [client.name_unsure for client, _ in hop.begun] == [False, True]


async def test_a_next_hop_that_is_gone_is_not_quoted():
    mail, asked = mail_of("one", "two")
    await Relay(Hop(Transaction(NextHopGone("away"))), mail).recipients(asked)
    assert [(r.reply and r.reply.code, r.by_next_hop) for r in asked] == [(451, False), (451, False)]
    assert mail.envelope.recipients == []
    assert mail.session.counters.unknown == 0


async def test_what_is_said_against_the_sender_says_nothing_about_recipients():
    transaction = Transaction([NO, NO])
    transaction.refusal = NO
    mail, asked = mail_of("one", "two")
    await Relay(Hop(transaction), mail).recipients(asked)
    assert mail.session.counters.unknown == 0
    assert mail.session.named == []


async def test_a_name_refused_to_the_null_sender_is_told_apart():
    mail, asked = mail_of("no")
    mail.envelope.sender = Address("", "")
    await Relay(Hop(Transaction([NO])), mail).recipients(asked)
    assert [one.null_sender for one in mail.session.named] == [True]
    assert mail.session.counters.null_probes == 1


async def test_refused_recipients_are_remembered_up_to_a_bound():
    mail, asked = mail_of(*[str(n) for n in range(REFUSED_KEPT + 50)])
    await Relay(Hop(Transaction([NO] * len(asked))), mail).recipients(asked)
    assert len(mail.envelope.refused) == REFUSED_KEPT
    assert mail.session.counters.unknown == len(asked)


@pytest.mark.parametrize(
    ("reply", "unknown"),
    [
        ("550 5.1.1 no", True),
        ("550 no", True),
        ("551 5.1.6 moved", True),
        ("553 5.1.3 bad", True),
        ("554 5.1.1 no", True),
        ("550 5.1.0 no", True),
        ("550 5.7.1 Client host rejected", False),
        ("550 5.1.8 Sender address rejected", False),
        ("554 5.7.1 Relay access denied", False),
        ("552 5.2.2 full", False),
        ("450 4.1.1 maybe", False),
        ("250 5.1.1", False),
    ],
)
def test_which_refusals_tell_that_there_is_nobody(reply, unknown):
    assert is_unknown(Reply.of(int(reply[:3]), reply[4:])) is unknown


async def deliver(transaction: Transaction, *, wanted: bool = True):
    mail, asked = mail_of("one")
    relay = Relay(Hop(transaction), mail)
    await relay.recipients(asked)
    outcome = await relay.deliver([Insert(0, "X-Spam-Score", "0.0")], wanted=lambda: wanted)
    await relay.abandon()
    assert transaction.aborted == 0, "a sent transaction is over"
    return outcome


async def test_the_answer_to_a_message_is_the_next_hops():
    for final in (QUEUED, NO, Reply.of(451, "4.3.0 later")):
        transaction = Transaction([OK], final)
        outcome = await deliver(transaction)
        assert (outcome.reply, outcome.next_hop, outcome.note) == (final, final, "")
        assert transaction.sent == b"X-Spam-Score: 0.0\r\nSubject: x\r\n\r\ntext\r\n"


@pytest.mark.parametrize(
    ("error", "code", "note"),
    [
        (NextHopGone("died"), "451 4.4.1", "next_hop_gone"),
        (NextHopGone("died", in_doubt=True), "451 4.4.2", "in_doubt_next_hop"),
    ],
)
async def test_no_answer_is_never_a_good_one(error, code, note):
    outcome = await deliver(Transaction([OK], error))
    assert (str(outcome.reply)[:9], outcome.next_hop, outcome.note) == (code, None, note)


async def test_a_client_that_has_left_takes_its_message_with_it():
    outcome = await deliver(Transaction([OK]), wanted=False)
    assert (outcome.reply.code, outcome.note) == (421, "withdrawn")


async def test_what_is_given_up_is_aborted_once():
    transaction = Transaction([OK])
    mail, asked = mail_of("one")
    relay = Relay(Hop(transaction), mail)
    await relay.abandon()
    assert transaction.aborted == 0
    await relay.recipients(asked)
    await relay.abandon()
    await relay.abandon()
    assert transaction.aborted == 1
