"""The milter server: what a mail server tells becomes facts, and verdicts become its answers."""

from __future__ import annotations

import asyncio
import struct

import pytest

from gatekeeper import metrics
from gatekeeper.message.edit import Change, Edit, Insert, Remove
from gatekeeper.model import Action, Address, Counters, Mail, Reply, Stage, Tls, Verdict
from gatekeeper.servers import milter as milter_module
from gatekeeper.servers.overload import Gauges
from tests.servers.milter import milter
from tests.support.fake_gate import FakeGate
from tests.support.milter_client import (
    ACCEPT,
    CONTINUE,
    GONE,
    OLD,
    POSTFIX,
    MilterClient,
    client,
    packet,
    words,
)
from tests.support.packet_logs import packet_logs, packets_of

MESSAGE = b"Received: from a\r\n\tby b\r\nSubject:  two blanks\r\nFrom:none\r\n\r\n.dot\r\n..\r\n"


def refusal(code: str, ending: str = "") -> tuple[str, bytes]:
    return "y", f"{code} not wanted{ending}".encode() + b"\0"


# --- a mail ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offer", [POSTFIX, OLD, (4, 0x3F, 0x3FF), (6, 0x3F, 0x1FFFFF)])
async def test_a_mail_passes_with_its_new_fields(offer):
    async with milter() as m, m.client(offer=offer) as mta:
        await mta.open()
        blank = b" " if offer[2] & 0x100000 else b""
        await mta.begin() if offer[0] > 3 else await begin_without_data(mta)
        mta.macros("E", i="4XfAkE")
        assert await mta.message() == [("i", b"\0\0\0\0X-Spam-Score\0" + blank + b"0.0\0"), ACCEPT]
    [done] = m.gate.finished
    assert (done.recipients, done.reply.code, done.next_hop, done.note) == (["one@example.org"], 250, None, "")
    assert done.mail.envelope.queue_id == "4XfAkE"
    assert done.data == b"Subject: x\r\n\r\ntext\r\n"
    assert (done.mail.session.server, done.mail.session.helo, done.mail.session.port) == (
        "milter",
        "mail.example.net",
        40000,
    )
    assert done.mail.session.counters.messages == 1


async def begin_without_data(mta: MilterClient) -> None:
    assert await mta.mail() == CONTINUE
    assert await mta.rcpt() == CONTINUE


async def test_header_and_body_are_judged_as_they_stood_on_the_wire():
    async with milter() as m, m.client() as mta:
        await mta.open()
        await mta.begin()
        await mta.content(MESSAGE, chunk=3)
        await mta.end()
    assert m.gate.messages == [MESSAGE]
    assert m.gate.framings == [()]


async def test_the_last_piece_of_the_body_may_come_with_the_end():
    async with milter() as m, m.client() as mta:
        await mta.open()
        await mta.begin()
        await mta.content(b"A: b\r\n\r\n")
        await mta.end(b"last\r\n")
    assert m.gate.messages == [b"A: b\r\n\r\nlast\r\n"]


async def test_stages_are_judged_in_their_order():
    async with milter() as m, m.client() as mta:
        await mta.open()
        await mta.begin("one@example.org", "two@example.org")
        await mta.message()
    assert m.gate.judged == [Stage.CONNECT, Stage.MAIL, Stage.RCPT, Stage.RCPT, Stage.MESSAGE]


async def test_sender_recipients_and_parameters_are_facts():
    async with milter() as m, m.client() as mta:
        await mta.open()
        await mta.mail("Ab@Example.NET", "SIZE=10", "SMTPUTF8")
        await mta.rcpt("öne@example.org", "NOTIFY=NEVER")
        await mta.message()
    envelope = m.gate.finished[0].mail.envelope
    assert envelope.sender == Address("Ab", "example.net", "Ab@Example.NET")
    assert envelope.parameters == ("SIZE=10", "SMTPUTF8")
    assert (str(envelope.recipients[0].address), envelope.recipients[0].parameters) == (
        "öne@example.org",
        ("NOTIFY=NEVER",),
    )


async def test_the_null_sender_is_welcome():
    async with milter() as m, m.client() as mta:
        await mta.open()
        assert await mta.mail("") == CONTINUE
        assert await mta.rcpt() == CONTINUE
        assert (await mta.message())[-1] == ACCEPT
    assert m.gate.finished[0].mail.envelope.sender == Address("", "")


class EditingGate(FakeGate):
    def edits(self, mail: Mail, verdict: Verdict) -> list[Edit]:
        return [
            Remove("x-spam-flag", 2),
            Remove("x-spam-flag", 1),
            Insert(0, "X-Spam-Status", "Yes, score=5.0\r\n tests=A"),
            Change("Subject", 1, "[SPAM] gr\udcfc\udcdfe"),
        ]


async def test_every_kind_of_edit_is_told_in_order():
    async with milter(gate=EditingGate()) as m, m.client() as mta:
        await mta.open()
        await mta.begin()
        assert await mta.message() == [
            ("m", b"\0\0\0\x02x-spam-flag\0\0"),
            ("m", b"\0\0\0\x01x-spam-flag\0\0"),
            ("i", b"\0\0\0\0X-Spam-Status\0 Yes, score=5.0\n tests=A\0"),
            ("m", b"\0\0\0\x01Subject\0 [SPAM] gr\xfc\xdfe\0"),
            ACCEPT,
        ]


async def test_a_message_above_256_kib_passes_by_file():
    body = b"".join(b"%076d\r\n" % n for n in range(20_000))
    async with milter() as m, m.client() as mta:
        await mta.open()
        await mta.begin()
        assert (await mta.message(b"A: b\r\n\r\n" + body))[-1] == ACCEPT
    assert m.gate.messages == [b"A: b\r\n\r\n" + body]


# --- refusals --------------------------------------------------------------------------------------------------------


async def test_one_recipient_is_refused_and_the_others_are_not():
    async with milter() as m, m.client() as mta:
        m.gate.say(Stage.RCPT, Action.REJECT, to="bad@example.org")
        m.gate.say(Stage.RCPT, Action.DEFER, code=452, to="later@example.org")
        await mta.open()
        await mta.mail()
        assert await mta.rcpt() == CONTINUE
        assert await mta.rcpt("bad@example.org") == refusal("550 5.7.1", " (id id3)")
        assert await mta.rcpt("later@example.org") == refusal("452 4.7.1", " (id id3)")
        assert (await mta.message())[-1] == ACCEPT
    [done] = m.gate.finished
    assert (done.recipients, done.refused) == (["one@example.org"], ["bad@example.org", "later@example.org"])
    assert [to for to, _ in m.gate.refusals] == ["bad@example.org", "later@example.org"]
    assert not any(recipient.by_next_hop for recipient in done.mail.envelope.refused)
    counters = done.mail.session.counters
    assert (counters.recipients, counters.accepted, counters.refused, counters.unknown) == (3, 1, 2, 0)


@pytest.mark.parametrize(
    ("action", "code"),
    [(Action.REJECT, "550 5.7.1"), (Action.GREYLIST, "451 4.7.1"), (Action.DROP, "421 4.7.1")],
)
async def test_a_message_is_refused_in_our_words_and_another_may_follow(action, code):
    async with milter() as m, m.client() as mta:
        m.gate.say(Stage.MESSAGE, action)
        await mta.open()
        await mta.begin()
        assert await mta.message() == [refusal(code, " (id id3)")]
        m.gate.say(Stage.MESSAGE, Action.ACCEPT)
        mta.send("A")
        await mta.begin()
        assert (await mta.message())[-1] == ACCEPT
    assert [done.reply.code for done in m.gate.finished] == [int(code[:3]), 250]
    assert m.gate.sessions[0].counters.refused == 1
    assert m.gate.sessions[0].blocked == (action is Action.DROP)


@pytest.mark.parametrize(("stage", "commands"), [(Stage.CONNECT, 1), (Stage.MAIL, 3), (Stage.RCPT, 4)])
async def test_a_drop_is_a_421_with_our_words(stage, commands):
    async with milter() as m, m.client() as mta:
        m.gate.say(stage, Action.DROP)
        *before, last = [await say() for say in (mta.connect, mta.helo, mta.mail, mta.rcpt)[:commands]]
        assert before == [CONTINUE] * (commands - 1)
        assert last[1].startswith(b"421 4.7.1 not wanted (id ")
    assert m.gate.sessions[0].blocked
    assert len(m.gate.refusals) == 1


@pytest.mark.parametrize(
    ("sender", "recipient"),
    [("root", "bob"), ("s@example.net", "two@@example.org"), (b"\xff@example.net", "bob@example.org")],
)
async def test_what_the_mail_server_has_taken_is_not_refused_for_its_form(sender, recipient):
    async with milter() as m, m.client() as mta:
        await mta.open()
        told = sender.encode() if isinstance(sender, str) else sender
        assert await mta("M", words(b"<" + told + b">")) == CONTINUE
        assert await mta.rcpt(recipient) == CONTINUE
        mta.send("A")
        await mta.begin()


async def test_a_recipient_is_never_empty():
    async with milter() as m, m.client() as mta:
        await mta.open()
        assert await mta("M", words(b"<s@example.net>")) == CONTINUE
        assert await mta.rcpt("") == ("y", b"501 5.1.3 A recipient cannot be empty\0")
        mta.send("A")
        await mta.begin()
    assert m.gate.sessions[0].counters.errors == 1


async def test_recipients_beyond_the_limit_are_told_to_come_again():
    async with milter(recipients=2) as m, m.client() as mta:
        await mta.open()
        await mta.mail()
        assert [(await mta.rcpt(f"{n}@example.org"))[1][:9] for n in range(3)] == [b"", b"", b"452 4.5.3"]
        assert await mta.refused_rcpt("no@example.org", "5.1.1", "User unknown") == CONTINUE
        assert (await mta.message())[-1] == ACCEPT
    assert (m.gate.finished[0].recipients, len(m.gate.finished[0].refused)) == (["0@example.org", "1@example.org"], 2)


async def test_a_percent_sign_is_doubled_for_the_mail_server():
    class Percent(FakeGate):
        def reply(self, verdict, mail):
            return Reply.of(550, "5.7.1 100% sure")

    gate = Percent()
    gate.say(Stage.RCPT, Action.REJECT)
    async with milter(gate=gate) as m, m.client() as mta:
        await mta.open()
        await mta.mail()
        assert await mta.rcpt() == ("y", b"550 5.7.1 100%% sure\0")
    assert m.gate.left


# --- recipients that the mail server has refused ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "text", "reply", "unknown"),
    [
        ("5.1.1", "550 5.1.1 <no@example.org> User unknown", "550 5.1.1 <no@example.org> User unknown", 1),
        ("5.1.1", "<no@example.org>: User unknown", "550 5.1.1 <no@example.org>: User unknown", 1),
        ("5.7.1", "554 5.7.1 Relay access denied", "554 5.7.1 Relay access denied", 0),
        ("4.2.2", "mailbox full", "450 4.2.2 mailbox full", 0),
        ("", "", "550 ", 1),
    ],
)
async def test_a_recipient_that_the_mail_server_refused_is_seen(status, text, reply, unknown):
    async with milter() as m, m.client() as mta:
        await mta.open()
        await mta.mail()
        assert await mta.refused_rcpt("no@example.org", status, text) == CONTINUE
        assert await mta.rcpt() == CONTINUE
        mta.send("A")
    [done] = m.gate.finished
    assert (done.recipients, done.refused, done.note) == (["one@example.org"], ["no@example.org"], "abort")
    [refused] = done.mail.envelope.refused
    assert refused.by_next_hop
    assert str(refused.reply) == reply
    assert done.mail.session.counters.unknown == unknown
    heard = [(one.address.local, one.heard.value) for one in done.mail.session.named]
    assert heard == [("no", "unknown")] * unknown + [("one", "known"), ("one", "abandoned")]


async def test_a_transaction_of_refused_recipients_alone_is_recorded():
    async with milter() as m, m.client() as mta:
        m.gate.say(Stage.RCPT, Action.REJECT)  # whatever we think, the mail server's refusal is the answer
        await mta.open()
        await mta.mail()
        assert await mta.refused_rcpt("no@example.org", "5.1.1", "User unknown") == CONTINUE
        mta.send("Q")
        assert await mta.gone()
    [done] = m.gate.finished
    assert (done.recipients, done.refused, str(done.reply)) == ([], ["no@example.org"], "550 5.1.1 User unknown")
    assert m.gate.refusals == []


# --- the client ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "macros", "address", "name", "port"),
    [
        (client(), {}, "192.0.2.10", "mail.example.net", 40000),
        (client("2001:db8::25"), {}, "2001:db8::25", "mail.example.net", 40000),
        (client("IPv6:2001:db8::25"), {}, "2001:db8::25", "mail.example.net", 40000),
        (client("::ffff:192.0.2.1"), {}, "192.0.2.1", "mail.example.net", 40000),
        (client("192.0.2.10", "[192.0.2.10]", 0), {}, "192.0.2.10", None, None),
        (client("192.0.2.10", "unknown", 0), {"client_ptr": "ptr.example.net", "client_port": "25"},
         "192.0.2.10", "ptr.example.net", 25),
        (client("192.0.2.10", "unknown", 0), {"client_ptr": "unknown", "client_port": "x"}, "192.0.2.10", None, None),
        (words("h") + b"U", {"client_addr": "192.0.2.11"}, "192.0.2.11", "h", None),
        (words("h") + b"U", {}, None, "h", None),
        (client("not an address"), {}, None, "mail.example.net", 40000),
    ],
)  # fmt: skip
async def test_the_client_is_who_the_mail_server_says(data, macros, address, name, port):
    async with milter() as m, m.client() as mta:
        if macros:
            mta.macros("C", **macros)
        assert await mta("C", data) == CONTINUE
    session = m.gate.sessions[0]
    assert (session.address and str(session.address), session.name, session.port) == (address, name, port)


async def test_tls_and_login_are_facts():
    async with milter(exempt_authenticated=False) as m, m.client() as mta:
        await mta.connect()
        await mta.helo()
        mta.macros("H", tls_version="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384", cipher_bits="256")
        await mta.helo()
        mta.macros("M", auth_type="PLAIN", auth_authen="ann")
        await mta.begin()
        await mta.message()
        await mta.begin()
        mta.send("A")
    session = m.gate.sessions[0]
    assert session.tls == Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256)
    assert session.login is None  # the second mail's
    assert m.gate.renewed == 1  # the client said so in the middle of the session


async def test_a_new_name_makes_a_new_client():
    async with milter() as m, m.client() as mta:
        await mta.open()
        await mta.helo()
        assert await mta.helo("other.example.net") == CONTINUE
        await mta.begin()
    assert m.gate.renewed == 1
    assert m.gate.sessions[0].helo == "other.example.net"


async def test_commands_that_the_mail_server_does_not_know_are_counted():
    async with milter() as m, m.client() as mta:
        await mta.open()
        assert await mta("U", words("FROBNICATE")) == CONTINUE
        await mta.begin()
    assert m.gate.sessions[0].counters.errors == 1


# --- whose mail is none of our business ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "settings", "exempt"),
    [
        (client("127.0.0.1"), {}, True),
        (client("::1"), {}, True),
        (words("localhost") + b"L\0\0" + words("/run/x"), {}, True),
        (words("localhost") + b"U", {}, False),
        (client("localhost"), {}, False),
        (client("192.0.2.10"), {}, False),
        (client("192.0.2.10"), {"exempt_networks": ("192.0.2.0/24",)}, True),
        (client("127.0.0.1"), {"exempt_networks": ()}, False),
        (words("localhost") + b"L\0\0" + words("/run/x"), {"exempt_networks": ("127.0.0.1/32",)}, False),
    ],
)
async def test_local_mail_passes_unseen_by_setting(data, settings, exempt):
    async with milter(**settings) as m, m.client() as mta:
        assert await mta("C", data) == (ACCEPT if exempt else CONTINUE)
        if exempt:  # the mail server says nothing more; if it does, nothing changes
            assert await mta.mail() == ACCEPT
        mta.send("Q")
        assert await mta.gone()
    assert len(m.gate.judged) == (not exempt)


async def test_exempt_mail_that_is_ours_to_sign_is_signed_and_otherwise_left_alone():
    gate = FakeGate(signing=True)
    gate.say(Stage.RCPT, Action.REJECT)  # would be said if anybody asked
    async with milter(gate=gate) as m, m.client() as mta:
        await mta.open()
        mta.macros("M", auth_type="PLAIN", auth_authen="ann")
        await mta.begin()
        assert [letter for letter, _ in await mta.message()] == ["i", "a"]
        mta.send("K")
        await mta.open("127.0.0.1")
        await mta.begin()
        assert [letter for letter, _ in await mta.message()] == ["i", "a"]
    assert [mail.envelope.exempt for mail in gate.mails] == [True, True]
    assert gate.finished == []
    assert all(session.counters == Counters() for session in gate.sessions)


async def test_exempt_mail_for_which_there_is_no_room_passes_unsigned():
    async with milter(gate=FakeGate(signing=True), header_size=4096) as m, m.client() as mta:
        await mta.open("127.0.0.1")
        await mta.begin()
        assert await mta.message(b"X-Long: " + b"x" * 5000 + b"\r\n\r\ntext\r\n") == [ACCEPT]
    assert m.gate.finished == []


async def test_a_connection_that_served_a_local_client_sees_the_next_one():
    async with milter() as m, m.client() as mta:
        assert await mta.connect("127.0.0.1") == ACCEPT
        mta.send("K")
        await mta.open()
        await mta.begin()
        assert (await mta.message())[-1] == ACCEPT
    assert len(m.gate.finished) == 1


@pytest.mark.parametrize("macros", [{"auth_authen": "ann", "auth_type": "PLAIN"}, {"auth_type": "EXTERNAL"}])
async def test_mail_of_who_has_logged_in_passes_unseen_and_only_that(macros):
    async with milter() as m, m.client() as mta:
        await mta.open()
        mta.macros("M", **macros)
        assert await mta.mail() == ACCEPT
        assert await mta.rcpt() == ACCEPT
        mta.send("A")
        await mta.begin()
        assert (await mta.message())[-1] == ACCEPT
    assert m.gate.judged.count(Stage.RCPT) == 1
    assert len(m.gate.finished) == 1


# --- several mails, and ends of mails --------------------------------------------------------------------------------


async def test_nothing_of_one_mail_reaches_the_next():
    async with milter() as m, m.client() as mta:
        await mta.open()
        mta.macros("M", i="FIRST", auth_author="x")
        await mta.begin("one@example.org")
        mta.macros("E", i="FIRST")
        await mta.message(b"Subject: first\r\n\r\nfirst\r\n")
        await mta.begin("two@example.org")
        await mta.message(b"Subject: second\r\n\r\nsecond\r\n")
        await mta.mail()
        await mta.refused_rcpt("no@example.org", "5.1.1", "User unknown")
        assert await mta.rcpt("three@example.org") == CONTINUE  # what was said of the one before is not said of it
        mta.macros("M", i="FOURTH")  # no abort before it
        await mta.mail()
        await mta.rcpt("four@example.org")
        mta.send("A")
    first, second, third, fourth = m.gate.finished
    assert (third.mail.envelope.queue_id, fourth.mail.envelope.queue_id) == (None, "FOURTH")
    assert (third.recipients, third.refused) == (["three@example.org"], ["no@example.org"])
    assert (first.data, first.mail.envelope.queue_id) == (b"Subject: first\r\n\r\nfirst\r\n", "FIRST")
    assert (second.data, second.mail.envelope.queue_id) == (b"Subject: second\r\n\r\nsecond\r\n", None)
    assert (second.recipients, second.refused) == (["two@example.org"], [])
    assert first.mail.message is None


@pytest.mark.parametrize(
    ("how", "note", "abandoned"),
    [
        ("A", "abort", 1),
        ("H", "helo", 1),
        ("M", "mail", 1),
        ("Q", "quit", 1),
        ("", "client_gone", 1),
        ("T", "abort", 0),
    ],
)
async def test_a_mail_that_ends_without_a_message_is_recorded_once(how, note, abandoned):
    async with milter() as m, m.client() as mta:
        await mta.open()
        await mta.mail()
        await mta.rcpt()
        if how == "H":
            await mta.helo()
        elif how == "M":
            assert await mta.mail() == CONTINUE
        elif how == "T":
            await mta("T")
            await mta.content()
            mta.send("A")
        elif how:
            mta.send(how)
        if how not in {"Q", ""}:
            mta.send("Q")
        mta.writer.write_eof()
        assert await mta.gone()
    [done] = m.gate.finished
    assert (done.note, str(done.reply), done.verdict) == (note, "250 2.1.5 Ok", None)
    counters = m.gate.sessions[0].counters
    assert (counters.resets, counters.abandoned) == (abandoned, abandoned)


async def test_an_abort_between_mails_means_nothing():
    async with milter() as m, m.client() as mta:
        await mta.open()
        await mta.begin()
        await mta.message()
        mta.write(packet("A") * 2)
        await mta.begin()
        await mta.message()
    assert [done.note for done in m.gate.finished] == ["", ""]


async def test_one_connection_serves_several_clients():
    async with milter() as m, m.client() as mta:
        await mta.open("192.0.2.1")
        await mta.begin()
        mta.send("K")
        await mta.open("192.0.2.2")
        await mta.begin()
        await mta.message()
    assert [str(session.address) for session in m.gate.sessions] == ["192.0.2.1", "192.0.2.2"]
    assert [done.note for done in m.gate.finished] == ["quit", ""]


async def test_a_mail_server_that_has_gone_before_our_answer_was_not_answered():
    async with milter() as m, m.client() as mta:
        m.gate.hold(Stage.MESSAGE)
        await mta.open()
        await mta.begin()
        await mta.content()
        mta.send("E")
        await m.gate.until("judged", 4)
        mta.writer.write_eof()
        async with m.client() as other:  # once this one is answered, the end of the first has been seen
            await other.open()
        m.gate.go(Stage.MESSAGE)
        await m.gate.until("left")
    assert [done.note for done in m.gate.finished] == ["client_gone"]
    assert m.gate.sessions[0].counters.messages == 0


# --- time ------------------------------------------------------------------------------------------------------------


async def test_slow_judging_of_a_message_says_that_it_goes_on(monkeypatch):
    monkeypatch.setattr(milter_module, "PROGRESS_SECONDS", 0.001)
    async with milter() as m, m.client() as mta:
        m.gate.hold(Stage.MESSAGE)
        await mta.open()
        await mta.begin()
        await mta.content()
        mta.send("E")
        assert [await mta.answer() for _ in range(3)] == [("p", b"")] * 3
        m.gate.go(Stage.MESSAGE)
        while (said := await mta.answer())[0] == "p":
            pass
        assert said[0] == "i"
        assert await mta.answer() == ACCEPT


async def test_no_answer_is_held_back_to_slow_a_client():
    async with milter() as m, m.client() as mta:
        m.gate.say(Stage.MAIL, Action.ACCEPT, delay=10_000.0)
        m.gate.say(Stage.RCPT, Action.ACCEPT, delay=10_000.0)
        m.gate.say(Stage.RCPT, Action.DEFER, to="two@example.org", delay=10_000.0)
        m.gate.say(Stage.MESSAGE, Action.ACCEPT, delay=10_000.0)
        await mta.open()
        assert await mta.mail() == CONTINUE
        assert await mta.rcpt() == CONTINUE
        assert (await mta.rcpt("two@example.org"))[1].startswith(b"451 4.7.1 not wanted")
        assert (await mta.message())[-1] == ACCEPT
    assert [done.recipients for done in m.gate.finished] == [["one@example.org"]]


async def test_a_mail_server_that_says_nothing_for_too_long_is_left():
    async with milter(timeout=0.001) as m, m.client(offer=None) as mta:
        assert await mta.gone()
    assert m.gate.sessions == []


# --- too much to do --------------------------------------------------------------------------------------------------


BUSY = b"451 4.3.2 Too busy for new mail at the moment, try again in a few minutes\0"


async def test_under_load_the_unknown_are_put_off_first_and_before_they_are_judged():
    async with milter(gate=FakeGate(known={"192.0.2.7"})) as m, m.client() as mta, m.client() as other:
        m.server.overload.take(Gauges(memory=0.8), now=0.0)
        await mta.open("198.51.100.7")
        for _ in range(2):
            assert await mta.mail() == ("y", BUSY)
        await other.open("192.0.2.7")
        await other.begin()
        assert (await other.message())[-1] == ACCEPT
        m.server.overload.take(Gauges(memory=0.97), now=1.0)
        assert await other.mail() == ("y", BUSY)
    assert m.gate.judged.count(Stage.MAIL) == 1
    assert m.gate.looked_up == [["198.51.100.7"], ["192.0.2.7"]]
    assert [done.note for done in m.gate.finished] == [""]


async def test_mail_in_hand_is_finished_under_load():
    async with milter() as m, m.client() as mta:
        await mta.open()
        assert await mta.mail() == CONTINUE
        m.server.overload.take(Gauges(memory=2.0), now=0.0)
        assert await mta.rcpt() == CONTINUE
        assert (await mta.message())[-1] == ACCEPT


async def test_who_is_left_alone_is_never_put_off():
    async with milter() as m, m.client() as mta:
        m.server.overload.take(Gauges(memory=2.0), now=0.0)
        await mta.open("198.51.100.7")
        mta.macros("M", auth_type="PLAIN", auth_authen="ann")
        assert await mta.mail() == ACCEPT


async def test_the_room_for_messages_is_a_gauge_of_the_milter():
    async with milter(spool_memory=1000) as m:
        draft = m.server.spool.draft()
        await draft.write(b"x" * 800)
        assert m.server.overload.gauges(late=0.0).spool == pytest.approx(0.8)
        draft.close()


# --- who does not keep to the protocol -------------------------------------------------------------------------------

O = packet("O", struct.pack("!III", *POSTFIX))  # noqa: E741 - the command's letter
C, M, R = packet("C", client()), packet("M", words("<s@example.net>")), packet("R", words("<one@example.org>"))
L, T, B, E = packet("L", words("A", " b")), packet("T"), packet("B", b"x\r\n"), packet("E")


@pytest.mark.parametrize(
    "octets",
    [
        C,
        b"\0\0\0\0",
        b"\xff\xff\xff\xff",
        b"GET / HTTP/1.1\r\n\r\n",
        packet("O", b"x"),
        packet("O", struct.pack("!III", 1, 0x3F, 0x7F)),
        packet("O", struct.pack("!III", 6, 0, 0)),
        O + O,
        O + packet("z"),
        O + packet("C", b"x"),
        O + C + C,
        O + packet("H", words("x")),
        O + packet("U", words("x")),
        O + M,
        O + C + R,
        O + C + T,
        O + C + L,
        O + C + packet("N"),
        O + C + B,
        O + C + E,
        O + C + M + R + L + B + L,
        O + C + M + R + T + R,
        O + C + M + R + L + E + E,
        O + C + M + R + b"\0\0\0\0",
    ],
)
async def test_what_is_out_of_order_ends_the_connection_and_nothing_else(octets):
    before = metrics.MILTER_PROTOCOL_ERRORS._value.get()
    async with milter() as m, m.client() as good, m.client(offer=None) as mta:
        await good.open()
        mta.write(octets)
        while (await mta.answer()) != GONE:
            pass
        await good.begin()
        assert (await good.message())[-1] == ACCEPT
    assert metrics.MILTER_PROTOCOL_ERRORS._value.get() == before + 1
    assert all(done.note in {"", "protocol_error"} for done in m.gate.finished)


SESSION = b"".join(
    (O, packet("D", b"C" + words("j", "mx")), C, packet("H", words("x")), M, R, T, L, packet("N"), B, E, packet("Q"))
)


async def test_a_session_cut_at_every_octet_is_the_same_session():
    async with milter() as m:
        for at in range(1, len(SESSION)):
            async with m.client(offer=None) as mta:
                mta.write(SESSION[:at])
                await asyncio.sleep(0)
                mta.write(SESSION[at:])
                said = []
                while (answer := await mta.answer()) != GONE:
                    said.append(answer[0])
                assert "".join(said) == "Occcia", at
    assert len({done.data for done in m.gate.finished}) == 1
    assert len(m.gate.finished) == len(SESSION) - 1


async def test_a_mail_server_that_leaves_in_the_middle_of_a_packet_leaves_nothing_behind():
    async with milter() as m:
        for at in range(1, len(SESSION) - 5):
            async with m.client(offer=None) as mta:
                mta.write(SESSION[:at])
                mta.writer.write_eof()
                while (await mta.answer()) != GONE:
                    pass
    assert {done.note for done in m.gate.finished} == {"client_gone"}


async def test_many_packets_in_one_read_do_not_hold_up_the_others():
    async with milter() as m, m.client() as mta:
        mta.write(packet("D", b"C") * 2000)
        await mta.open()
        await mta.begin()
        assert (await mta.message())[-1] == ACCEPT


# --- the server ------------------------------------------------------------------------------------------------------


async def test_strangers_are_hung_up_on_and_counted_and_one_line_is_said_for_many(tmp_path, caplog):
    before = metrics.MILTER_STRANGERS._value.get()
    async with milter(trust=("192.0.2.0/24", "unix")) as m:
        for _ in range(3):
            async with m.client(offer=None) as mta:
                assert await mta.gone()
    assert m.gate.sessions == []
    assert metrics.MILTER_STRANGERS._value.get() == before + 3
    assert caplog.messages.count("milter_stranger") == 1
    async with milter(trust=("127.0.0.1/32",), unix=tmp_path / "s") as m, m.client(offer=None) as mta:
        assert await mta.gone()


async def test_a_unix_socket_serves_as_well(tmp_path):
    async with milter(unix=tmp_path / "s") as m, m.client() as mta:
        await mta.open()
        await mta.begin()
        assert (await mta.message())[-1] == ACCEPT


async def test_there_are_no_more_connections_than_are_allowed():
    async with milter(connections=2) as m, m.client() as one, m.client(), m.client(offer=None) as three:
        assert await three.gone()
        await one.open()


async def test_a_message_that_does_not_fit_is_deferred():
    async with milter(spool_memory=1000) as m, m.client() as mta:
        await mta.open()
        await mta.begin()
        assert await mta.message(b"A: b\r\n\r\n" + b"x" * 2000) == [
            ("y", b"452 4.3.1 No room for this message now, try again later\0")
        ]
        await mta.begin()
        assert (await mta.message())[-1] == ACCEPT
    assert [done.note for done in m.gate.finished] == ["unreadable", ""]


async def test_a_bug_is_a_421_to_its_client_and_the_others_live_on():
    async with milter(bugs=True) as m, m.client() as good, m.client() as mta:
        await good.open()
        await mta.open()
        await mta.mail()
        m.gate.fail(Stage.RCPT, RuntimeError("a bug"))
        assert await mta.rcpt() == ("y", b"421 4.3.0 Local error, try again later\0")
        assert await mta.gone()
        m.gate._raises.clear()
        await good.begin()
        assert (await good.message())[-1] == ACCEPT


async def test_a_retired_server_finishes_the_clients_it_has():
    async with milter() as m, m.client() as busy, m.client() as idle:
        await busy.open()
        await idle.open()
        idle.send("K")
        await m.gate.until("left")
        draining = asyncio.ensure_future(m.server.drain(20))
        assert await idle.gone()
        await busy.begin()
        assert (await busy.message())[-1] == ACCEPT
        await busy.begin()
        assert (await busy.message())[-1] == ACCEPT
        busy.send("K")
        assert await busy.gone()
        await draining


async def test_what_is_in_hand_when_time_is_up_is_told_to_come_again():
    async with milter() as m, m.client() as judged, m.client() as silent:
        await silent.open()
        await judged.open()
        await judged.begin()
        m.gate.hold(Stage.MESSAGE)
        await judged.content()
        judged.send("E")
        await m.gate.until("judged", 4)
        await m.server.drain(0)
        assert await judged.answer() == ("y", b"421 4.3.2 Service shutting down, try again in a moment\0")
        assert await judged.gone()
        assert await silent.gone()
    assert [done.note for done in m.gate.finished] == ["shutdown"]
    assert [each.counters.abandoned for each in m.gate.sessions] == [0] * len(m.gate.sessions)


# --- logs of real mail servers ---------------------------------------------------------------------------------------


async def test_the_packet_logs_of_real_mail_servers_are_answered_as_they_were():
    logs = packet_logs()
    assert len(logs) > 15
    async with milter(exempt_networks=()) as m:
        for log in logs:
            async with m.client(offer=None) as mta:
                for by_server, octets in packets_of(log.read_text()):
                    if by_server:
                        mta.write(octets)
                    else:
                        answer = await mta.answer()
                        while answer[0] in "im":
                            answer = await mta.answer()
                        assert answer[0] in ("O" if octets[4:5] == b"O" else "ac"), log
                mta.writer.write_eof()
                assert await mta.gone()
    assert len(m.gate.messages) >= 3
