from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatekeeper.model import Reply
from gatekeeper.nexthop import Command, NextHopGone, Withdrawn
from tests.nexthop.conversation import (
    CLIENT,
    LARGE,
    MAIL,
    NO,
    OK,
    ONE,
    OTHER,
    QUEUED,
    TEXT,
    TWO,
    Clock,
    client_of,
    deliver,
    no,
    yes,
)
from tests.support.next_hop import XCLIENT, XFORWARD, FakeNextHop

# --- the straight path -----------------------------------------------------------------------------------------------


async def test_answers_are_the_next_hops_own():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        fake.recipients["no@example.org"] = "550-5.1.1 No such user\n550 5.1.1 really"
        transaction = hop.transaction(CLIENT, Command("s@example.net", ("SIZE=31", "RET=HDRS", "ENVID=aBc")))
        replies = await transaction.recipients([Command("One@example.org", ("NOTIFY=NEVER", "ORCPT=rfc822;One@x")), NO])
        assert replies == [OK, Reply(550, ("5.1.1 No such user", "5.1.1 really"))]
        assert await transaction.send([TEXT], wanted=yes) == QUEUED
    [message] = fake.messages
    assert message.sender == "s@example.net"
    assert message.sender_parameters == ("SIZE=31", "RET=HDRS", "ENVID=aBc")
    assert message.recipients == ["One@example.org"]
    assert message.recipient_parameters == [("NOTIFY=NEVER", "ORCPT=rfc822;One@x")]
    assert message.data == TEXT


async def test_nothing_is_opened_before_the_first_recipient():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        await hop.transaction(CLIENT, MAIL).abort()
        assert fake.connections == 0


async def test_mail_and_recipients_go_in_one_write_and_so_do_a_small_message_and_its_dot():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        transaction = hop.transaction(CLIENT, MAIL)
        await transaction.recipients([ONE, TWO])
        await transaction.send([b"a\r\n", b".b"], wanted=yes)
    assert fake.reads[:4] == [
        b"EHLO gatekeeper.example\r\n",
        b"MAIL FROM:<sender@example.net>\r\nRCPT TO:<one@example.org>\r\nRCPT TO:<two@example.org>\r\n",
        b"DATA\r\n",
        b"a\r\n..b\r\n.\r\n",
    ]


async def test_without_pipelining_each_command_waits_for_the_answer():
    async with FakeNextHop(capabilities={}) as fake, client_of(fake) as hop:
        assert await deliver(hop, ONE, TWO) == QUEUED
    assert fake.reads[1:4] == [
        b"MAIL FROM:<sender@example.net>\r\n",
        b"RCPT TO:<one@example.org>\r\n",
        b"RCPT TO:<two@example.org>\r\n",
    ]


async def test_recipients_may_come_in_several_groups():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        transaction = hop.transaction(CLIENT, MAIL)
        assert await transaction.recipients([ONE]) == [OK]
        assert await transaction.recipients([]) == []
        assert await transaction.recipients([TWO]) == [OK]
        assert await transaction.send([TEXT], wanted=yes) == QUEUED
    assert fake.verbs.count("MAIL") == 1
    assert fake.messages[0].recipients == ["one@example.org", "two@example.org"]


async def test_null_sender_empty_message_and_utf8_addresses():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        transaction = hop.transaction(CLIENT, Command("", ("SMTPUTF8",)))
        await transaction.recipients([Command("jürgen@example.org")])
        assert await transaction.send([], wanted=yes) == QUEUED
    [message] = fake.messages
    assert (message.sender, message.data) == ("", b"")
    assert message.recipients[0].encode("latin-1").decode() == "jürgen@example.org"


async def test_a_large_message_arrives_whole():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        transaction = hop.transaction(CLIENT, MAIL)
        await transaction.recipients([ONE])
        assert await transaction.send(iter(LARGE), wanted=yes) == QUEUED
    assert fake.messages[0].data == b"".join(LARGE)


async def test_a_line_break_in_a_path_is_a_bug_of_the_caller():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        transaction = hop.transaction(CLIENT, MAIL)
        with pytest.raises(ValueError, match="line break"):
            await transaction.recipients([Command("a>\r\nQUIT\r\n<b")])
        with pytest.raises(ValueError, match="line break"):
            hop.transaction(CLIENT, Command("a", ("X\n=1",)))
    assert "QUIT" not in fake.verbs


EHLO = "250-fake.example\n250-PIPELINING\n250 XCLIENT NAME ADDR"

# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("point", "reply", "capabilities"),
    [
        ("connect", "421-4.3.2 All ports busy\n421 4.3.2 come again", {}),
        ("connect", "554 5.7.1 not you", {}),
        ("EHLO", "550 5.7.1 bad name", {}),
        ("XCLIENT", "554 5.7.1 blocked by an access list", XCLIENT),
        ("MAIL", "550 5.7.1 Sender rejected", {}),
        ("MAIL", "421 4.7.0 Error: too many errors", {}),
    ],
)
async def test_a_refusal_before_the_recipients_is_given_to_each(point: str, reply: str, capabilities: dict[str, str]):
    async with FakeNextHop(replies={point: reply}) as fake, client_of(fake) as hop:
        fake.capabilities |= capabilities
        transaction = hop.transaction(CLIENT, MAIL)
        expected = Reply(int(reply[:3]), tuple(line[4:] for line in reply.split("\n")))
        assert await transaction.recipients([ONE, TWO]) == [expected, expected]
        assert await transaction.recipients([NO]) == [expected]
        assert await transaction.send([TEXT], wanted=yes) == expected
        assert fake.connections == 1
    assert not fake.messages


@pytest.mark.parametrize("reply", ["211 what is this", "354 go ahead", "250 here\n250 and there"])
@pytest.mark.parametrize(("point", "before"), [("connect", []), ("EHLO", []), ("EHLO", [EHLO]), ("XCLIENT", [])])
async def test_what_is_no_refusal_never_becomes_the_answer_to_a_recipient(point: str, before: list[str], reply: str):
    """A port where something else listens must not be able to say 250 for a mailbox."""
    async with FakeNextHop(capabilities=XCLIENT, replies={point: [*before, *[reply] * 9]}) as fake:
        async with client_of(fake) as hop:
            transaction = hop.transaction(CLIENT, MAIL)
            with pytest.raises(NextHopGone) as gone:
                await transaction.recipients([ONE])
            assert gone.value.reply is None
            assert (await transaction.send([TEXT], wanted=yes)).code == 554
    assert "RCPT" not in fake.verbs


async def test_a_client_that_the_next_hop_cannot_be_told_of_is_an_unknown_one(caplog: pytest.LogCaptureFixture):
    async with FakeNextHop(replies={"XCLIENT": ["501 5.5.4 Bad ADDR"]}) as fake, client_of(fake) as hop:
        fake.capabilities |= XCLIENT
        assert await deliver(hop, client=OTHER) == QUEUED
    assert fake.messages[0].xclient["ADDR"] == "[UNAVAILABLE]"
    assert "client_not_handed_on" in caplog.text


async def test_an_xclient_that_the_next_hop_never_understands_is_not_the_clients_fault():
    async with FakeNextHop(replies={"XCLIENT": "501 5.5.4 Bad XCLIENT syntax"}) as fake, client_of(fake) as hop:
        fake.capabilities |= XCLIENT
        [reply] = await hop.transaction(CLIENT, MAIL).recipients([ONE])
        assert reply.code == 451
        assert "MAIL" not in fake.verbs


async def test_a_421_among_recipients_answers_the_rest_as_well():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        fake.recipients["two@example.org"] = "421 4.7.0 Error: too many errors"
        transaction = hop.transaction(CLIENT, MAIL)
        replies = await transaction.recipients([ONE, TWO, NO])
        assert [reply.code for reply in replies] == [250, 421, 421]


@pytest.mark.parametrize("reply", ["554 5.5.1 no valid recipients", "451 4.3.0 full", "552-5.3.4 too\n552 5.3.4 big"])
async def test_a_refusal_at_data_or_after_the_dot_is_the_answer(reply: str):
    expected = Reply(int(reply[:3]), tuple(line[4:] for line in reply.split("\n")))
    for point in ("DATA", "."):
        async with FakeNextHop(replies={point: reply}) as fake, client_of(fake) as hop:
            assert await deliver(hop) == expected
            await fake.left(1)
            assert not fake.messages


async def test_sending_without_an_accepted_recipient_is_refused():
    async with FakeNextHop(recipients={"no@example.org": "550 5.1.1 no"}) as fake, client_of(fake) as hop:
        transaction = hop.transaction(CLIENT, MAIL)
        await transaction.recipients([NO])
        assert (await transaction.send([TEXT], wanted=yes)).code == 554
    assert "DATA" not in fake.verbs


async def test_a_parameter_that_is_not_offered_any_more_is_a_451_and_the_news_is_kept():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        assert (await hop.probe()).offers("DSN")
        del fake.capabilities["DSN"]
        transaction = hop.transaction(CLIENT, MAIL)
        replies = await transaction.recipients([Command("a@example.org", ("NOTIFY=NEVER",)), ONE])
        assert [reply.code for reply in replies] == [451, 250]
        assert "4.3.3" in replies[0].text
        assert await transaction.send([TEXT], wanted=yes) == QUEUED
        assert hop.capabilities is not None
        assert not hop.capabilities.offers("DSN")

        del fake.capabilities["8BITMIME"]
        fake.drop_all()
        replies = await hop.transaction(OTHER, Command("s@example.net", ("BODY=8BITMIME",))).recipients([ONE, TWO])
        assert [reply.code for reply in replies] == [451, 451]
    assert fake.messages[0].recipients == ["one@example.org"]


# --- the client leaves -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunks", [[TEXT], LARGE])
async def test_a_mail_that_is_not_wanted_any_more_is_not_committed(chunks: list[bytes]):
    async with FakeNextHop() as fake, client_of(fake) as hop:
        transaction = hop.transaction(CLIENT, MAIL)
        await transaction.recipients([ONE])
        with pytest.raises(Withdrawn):
            await transaction.send(chunks, wanted=no)
        await fake.left(1)
    assert not fake.messages
    assert "." not in fake.log


async def test_wanted_is_asked_when_everything_but_the_end_has_gone():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        given: list[int] = []
        asked: list[int] = []

        def chunks() -> Iterator[bytes]:
            for number, chunk in enumerate(LARGE):
                given.append(number)
                yield chunk

        def wanted() -> bool:
            asked.append(len(given))
            return True

        transaction = hop.transaction(CLIENT, MAIL)
        await transaction.recipients([ONE])
        await transaction.send(chunks(), wanted=wanted)
        assert asked == [len(LARGE)]


async def test_a_parked_transaction_holds_no_connection_and_goes_on():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        transaction = hop.transaction(CLIENT, MAIL)
        await transaction.park()  # nothing is open yet
        assert await transaction.recipients([ONE]) == [OK]
        await transaction.park()
        assert transaction._connection is None  # type: ignore[attr-defined]
        assert await transaction.recipients([TWO]) == [OK]
        await transaction.park()
        assert await transaction.send([TEXT], wanted=yes) == QUEUED
    assert [message.recipients for message in fake.messages] == [["one@example.org", "two@example.org"]]


async def test_abort_resets_and_the_connection_serves_the_next():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        transaction = hop.transaction(CLIENT, MAIL)
        await transaction.recipients([ONE])
        await transaction.abort()
        await transaction.abort()
        assert await deliver(hop, TWO) == QUEUED
        assert fake.connections == 1
    assert fake.verbs[:8] == ["EHLO", "MAIL", "RCPT", "RSET", "MAIL", "RCPT", "DATA", "."]
    assert fake.messages[0].recipients == ["two@example.org"]


async def test_a_cancelled_transaction_closes_its_connection():
    async with FakeNextHop() as fake, client_of(fake, max_connections=1) as hop:
        for point in ("RCPT", "DATA", "."):
            fake.hold(point)
            task = asyncio.create_task(deliver(hop))
            await fake.saw(point, times=1 + fake.verbs.count(point))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            fake.go(point)
            await fake.left(fake.connections)
        assert await deliver(hop) == QUEUED  # the only slot is free again


async def test_a_transaction_that_is_over_cannot_go_on():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        transaction = hop.transaction(CLIENT, MAIL)
        await transaction.recipients([ONE])
        await transaction.send([TEXT], wanted=yes)
        await transaction.abort()
        with pytest.raises(RuntimeError):
            await transaction.send([TEXT], wanted=yes)
        with pytest.raises(RuntimeError):
            await transaction.recipients([TWO])
    assert len(fake.messages) == 1


# --- the next hop dies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["connect", "EHLO", "MAIL"])
async def test_a_next_hop_that_dies_before_mail_is_gone(point: str):
    async with FakeNextHop() as fake, client_of(fake) as hop:
        fake.die(point)
        with pytest.raises(NextHopGone) as gone:
            await hop.transaction(CLIENT, MAIL).recipients([ONE])
        assert not gone.value.in_doubt


async def test_nobody_listens():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        await fake.stop()
        with pytest.raises(NextHopGone, match="takes no connection"):
            await hop.transaction(CLIENT, MAIL).recipients([ONE])


async def test_dying_between_recipients_accepts_none_of_the_group_and_the_next_group_replays():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        transaction = hop.transaction(CLIENT, MAIL)
        await transaction.recipients([ONE])
        fake.die("RCPT", after=1)
        with pytest.raises(NextHopGone):
            await transaction.recipients([TWO, NO])
        assert await transaction.recipients([NO]) == [OK]
        assert await transaction.send([TEXT], wanted=yes) == QUEUED
    [message] = fake.messages
    assert (message.connection, message.recipients) == (2, ["one@example.org", "no@example.org"])


async def test_a_next_hop_that_went_away_during_the_data_gets_everything_again_in_one_group():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        transaction = hop.transaction(CLIENT, MAIL)
        await transaction.recipients([ONE])
        await transaction.recipients([TWO])
        fake.drop_all()
        await fake.left(1)
        assert await transaction.send([TEXT], wanted=yes) == QUEUED
    [message] = fake.messages
    assert (message.connection, message.recipients) == (2, ["one@example.org", "two@example.org"])
    assert b"MAIL FROM:<sender@example.net>\r\nRCPT TO:<one@example.org>\r\nRCPT TO:<two@example.org>\r\n" in fake.reads


async def test_a_next_hop_that_dies_at_data_gets_everything_again_once():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        fake.die("DATA")
        assert await deliver(hop) == QUEUED
        assert fake.connections == 2
        fake.die("DATA", times=2)
        with pytest.raises(NextHopGone) as gone:
            await deliver(hop)
        assert not gone.value.in_doubt
    assert len(fake.messages) == 1


async def test_a_connection_that_idled_during_the_data_is_replaced():
    clock = Clock()
    async with FakeNextHop() as fake, client_of(fake, clock) as hop:
        transaction = hop.transaction(CLIENT, MAIL)
        await transaction.recipients([ONE])
        clock.now += 5.1
        assert await transaction.send([TEXT], wanted=yes) == QUEUED
    assert fake.messages[0].connection == 2


async def test_a_slow_client_does_not_hold_a_connection():
    async with FakeNextHop() as fake, client_of(fake, asyncio.get_running_loop().time, idle=0.01) as hop:
        transaction = hop.transaction(CLIENT, MAIL)
        await transaction.recipients([ONE])
        await fake.left(1)
        assert await transaction.recipients([TWO]) == [OK]
        await fake.left(2)
        assert await transaction.send([TEXT], wanted=yes) == QUEUED
    assert fake.messages[0].recipients == ["one@example.org", "two@example.org"]


@pytest.mark.parametrize("refusal", ["450 4.2.0 greylisted", "550 5.1.1 gone"])
async def test_unless_every_recipient_is_accepted_again_the_answer_is_a_451(refusal: str):
    async with FakeNextHop() as fake, client_of(fake) as hop:
        transaction = hop.transaction(CLIENT, MAIL)
        await transaction.recipients([ONE, TWO])
        fake.drop_all()
        await fake.left(1)
        fake.recipients["two@example.org"] = refusal
        assert (await transaction.send([TEXT], wanted=yes)).code == 451
        assert "DATA" not in fake.verbs


@pytest.mark.parametrize("point", ["connect", "EHLO", "MAIL"])
async def test_a_refusal_before_the_replayed_recipients_is_a_451_whatever_it_was(point: str):
    async with FakeNextHop() as fake, client_of(fake) as hop:
        transaction = hop.transaction(CLIENT, MAIL)
        await transaction.recipients([ONE])
        fake.drop_all()
        await fake.left(1)
        fake.replies[point] = "550 5.7.1 not now"
        assert (await transaction.send([TEXT], wanted=yes)).code == 451


async def test_a_recipient_lost_in_the_replay_ends_the_transaction_for_later_recipients_too():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        transaction = hop.transaction(CLIENT, MAIL)
        await transaction.recipients([ONE])
        fake.drop_all()
        await fake.left(1)
        fake.recipients["one@example.org"] = "450 4.2.0 later"
        assert [reply.code for reply in await transaction.recipients([TWO])] == [451]
        assert (await transaction.send([TEXT], wanted=yes)).code == 451
        assert not fake.messages


async def test_a_next_hop_that_is_still_away_after_the_data_is_gone_without_doubt():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        transaction = hop.transaction(CLIENT, MAIL)
        await transaction.recipients([ONE])
        await fake.stop()
        with pytest.raises(NextHopGone) as gone:
            await transaction.send([TEXT], wanted=yes)
        assert not gone.value.in_doubt


async def test_dying_in_the_middle_of_the_message_is_no_doubt():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        fake.die("body", octets=300_000)
        transaction = hop.transaction(CLIENT, MAIL)
        await transaction.recipients([ONE])
        with pytest.raises(NextHopGone) as gone:
            await transaction.send(LARGE, wanted=yes)
        assert not gone.value.in_doubt
        assert fake.connections == 1
    assert not fake.messages


async def test_dying_after_the_dot_is_in_doubt_and_nothing_is_sent_again():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        fake.die("dot")
        with pytest.raises(NextHopGone) as gone:
            await deliver(hop)
        assert gone.value.in_doubt
        assert fake.connections == 1
    assert len(fake.messages) == 1


async def test_a_refusal_in_the_middle_of_the_message_is_its_answer():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        fake.early = (300_000, "552 5.3.4 Message too big")
        transaction = hop.transaction(CLIENT, MAIL)
        await transaction.recipients([ONE])
        assert await transaction.send(LARGE, wanted=yes) == Reply.of(552, "5.3.4 Message too big")
    assert not fake.messages


async def test_an_acceptance_in_the_middle_of_the_message_is_none():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        fake.early = (300_000, "250 2.0.0 thank you, enough")
        transaction = hop.transaction(CLIENT, MAIL)
        await transaction.recipients([ONE])
        with pytest.raises(NextHopGone) as gone:
            await transaction.send(LARGE, wanted=yes)
        assert not gone.value.in_doubt


@pytest.mark.parametrize(
    ("point", "reply", "in_doubt"),
    [
        ("MAIL", "354 go on", False),
        ("RCPT", "354 go on", False),
        ("DATA", "250 2.0.0 taken", False),
        (".", "354 more", True),
        (".", "what?", True),
        ("RCPT", "250-a\n251 b", False),
    ],
)
async def test_answers_that_make_no_sense_end_the_connection(point: str, reply: str, in_doubt: bool):
    async with FakeNextHop(replies={point: reply}) as fake, client_of(fake) as hop:
        with pytest.raises(NextHopGone) as gone:
            await deliver(hop)
        assert gone.value.in_doubt is in_doubt
        await fake.left(1)


# --- deadlines -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("point", "setting", "in_doubt"),
    [
        ("connect", "greeting", False),
        ("EHLO", "command", False),
        ("MAIL", "command", False),
        ("DATA", "command", False),
        (".", "final", True),
    ],
)
async def test_every_wait_has_a_deadline(point: str, setting: str, in_doubt: bool):
    async with FakeNextHop() as fake, client_of(fake, None, **{setting: 0.05}) as hop:
        fake.hold(point)
        with pytest.raises(NextHopGone, match=r"no answer for 0\.05 s") as gone:
            await deliver(hop)
        assert gone.value.in_doubt is in_doubt
        assert fake.connections == 1  # one that hangs is not asked again


async def test_a_next_hop_that_takes_nothing_of_the_message_is_given_up():
    async with FakeNextHop() as fake, client_of(fake, progress=0.05) as hop:
        fake.hold("body")
        transaction = hop.transaction(CLIENT, MAIL)
        await transaction.recipients([ONE])
        with pytest.raises(NextHopGone, match="took nothing") as gone:
            await transaction.send(LARGE * 4, wanted=yes)
        assert not gone.value.in_doubt
        fake.go("body")


# --- handing the client on -------------------------------------------------------------------------------------------


async def test_xclient_ends_its_group_and_is_followed_by_the_clients_ehlo():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        fake.capabilities |= XCLIENT | XFORWARD
        await deliver(hop)
    assert fake.reads[:4] == [
        b"EHLO gatekeeper.example\r\n",
        b"XCLIENT NAME=mail.example.net ADDR=198.51.100.7 PORT=40000 PROTO=ESMTP HELO=helo.example.net\r\n",
        b"EHLO helo.example.net\r\n",
        b"MAIL FROM:<sender@example.net>\r\nRCPT TO:<one@example.org>\r\n",
    ]
    assert "XFORWARD" not in fake.verbs


async def test_a_helo_that_cannot_be_said_is_not_said():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        fake.capabilities |= XCLIENT
        client = type(CLIENT)(address="198.51.100.7", port=None, name=None, helo="a b\r\nQUIT", protocol="SMTP")
        await deliver(hop, client=client)
    assert fake.messages[0].xclient["HELO"] == "a?b??QUIT"
    assert fake.log[2] == "EHLO gatekeeper.example"


async def test_xclient_is_said_again_for_another_client_only():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        fake.capabilities |= XCLIENT
        await deliver(hop)
        await deliver(hop)
        assert fake.verbs.count("XCLIENT") == 1
        await deliver(hop, client=OTHER)
        assert fake.verbs.count("XCLIENT") == 2
        assert fake.connections == 1
    assert fake.messages[1].xclient["ADDR"] == "198.51.100.7"
    assert fake.messages[2].xclient == {
        "NAME": "[UNAVAILABLE]",
        "ADDR": "IPV6:2001:db8::9",
        "PORT": "[UNAVAILABLE]",
        "PROTO": "SMTP",
        "HELO": "[IPv6:2001:db8::9]",
    }


async def test_a_connection_that_takes_no_other_client_is_kept_for_its_own():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        fake.capabilities |= XFORWARD
        fake.xclient_once = True  # as Postfix does
        await deliver(hop)
        await deliver(hop, client=OTHER)
        assert fake.connections == 2
        await deliver(hop)
        assert fake.connections == 2
    assert [message.xclient["PROTO"] for message in fake.messages] == ["ESMTP", "SMTP", "ESMTP"]
    assert "XFORWARD" not in fake.verbs


async def test_the_replay_hands_the_client_on_again():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        fake.capabilities |= XCLIENT
        transaction = hop.transaction(CLIENT, MAIL)
        await transaction.recipients([ONE])
        fake.drop_all()
        await fake.left(1)
        await transaction.send([TEXT], wanted=yes)
    assert fake.messages[0].xclient["ADDR"] == "198.51.100.7"


async def test_xforward_goes_before_every_mail_and_in_its_group():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        fake.capabilities |= XFORWARD
        await deliver(hop)
        await deliver(hop)
        assert fake.connections == 1
    group = fake.reads[1].splitlines()
    assert group[0] == (
        b"XFORWARD NAME=mail.example.net ADDR=198.51.100.7 PORT=40000 PROTO=ESMTP HELO=helo.example.net "
        b"IDENT=[UNAVAILABLE] SOURCE=REMOTE"
    )
    assert [line.split(b":")[0] for line in group[1:]] == [b"MAIL FROM", b"RCPT TO"]
    assert fake.verbs.count("XFORWARD") == 2
    assert fake.messages[1].xforward["ADDR"] == "198.51.100.7"


async def test_without_pipelining_xforward_is_answered_before_mail_is_said():
    async with FakeNextHop() as fake, client_of(fake) as hop:
        fake.capabilities |= XFORWARD
        del fake.capabilities["PIPELINING"]
        await deliver(hop)
    assert [read.split()[0] for read in fake.reads[1:4]] == [b"XFORWARD", b"MAIL", b"RCPT"]


async def test_a_421_to_xforward_is_the_answer_to_the_mail():
    async with FakeNextHop(replies={"XFORWARD": "421 4.3.2 Going down"}) as fake, client_of(fake) as hop:
        fake.capabilities |= XFORWARD
        [reply] = await hop.transaction(CLIENT, MAIL).recipients([ONE])
    assert reply == Reply.of(421, "4.3.2 Going down")
    assert not fake.messages


async def test_a_connection_lost_between_the_answers_to_xforward_and_mail_is_replaced():
    """MAIL was not answered: whatever was meant by it is safe to say again."""
    async with FakeNextHop() as fake, client_of(fake) as hop:
        fake.capabilities |= XFORWARD
        await deliver(hop)
        fake.die("MAIL")
        assert await deliver(hop) == QUEUED
    assert fake.connections == 2


async def test_a_refused_xforward_stops_no_mail():
    async with FakeNextHop(replies={"XFORWARD": "501 5.5.4 Bad"}) as fake, client_of(fake) as hop:
        fake.capabilities |= XFORWARD
        assert await deliver(hop) == QUEUED


@pytest.mark.parametrize(
    ("hand_on", "verbs"),
    [("auto", {"XCLIENT"}), ("xclient", {"XCLIENT"}), ("xforward", {"XFORWARD"}), ("none", set())],
)
async def test_the_way_of_handing_on_can_be_set(hand_on: str, verbs: set[str]):
    async with FakeNextHop() as fake, client_of(fake, hand_on=hand_on) as hop:
        fake.capabilities |= XCLIENT | XFORWARD
        await deliver(hop)
    assert {verb for verb in fake.verbs if verb.startswith("X")} == verbs


async def test_an_xclient_that_takes_no_address_is_not_used_unless_it_is_demanded():
    for hand_on, verbs, code in (("auto", {"XFORWARD"}, 250), ("xclient", set(), 451)):
        async with FakeNextHop() as fake, client_of(fake, hand_on=hand_on) as hop:
            fake.capabilities |= {"XCLIENT": "NAME HELO"} | XFORWARD
            [reply] = await hop.transaction(CLIENT, MAIL).recipients([ONE])
            assert not hop.takes_xclient or hand_on == "xclient"
        assert reply.code == code
        assert {verb for verb in fake.verbs if verb.startswith("X")} == verbs


async def test_where_xclient_is_demanded_no_mail_goes_without():
    async with FakeNextHop() as fake, client_of(fake, hand_on="xclient") as hop:
        [reply] = await hop.transaction(CLIENT, MAIL).recipients([ONE])
        assert reply.code == 451
        assert "MAIL" not in fake.verbs


# --- LMTP ------------------------------------------------------------------------------------------------------------


async def test_lmtp_takes_one_recipient_at_a_time():
    async with FakeNextHop(lmtp=True) as fake, client_of(fake) as hop:
        fake.recipients["no@example.org"] = "550 5.1.1 no"
        fake.finals["one@example.org"] = "250 2.0.0 Saved"
        transaction = hop.transaction(CLIENT, MAIL)
        replies = await transaction.recipients([NO, ONE, TWO])
        assert [reply.code for reply in replies] == [550, 250, 452]
        assert [reply.code for reply in await transaction.recipients([TWO])] == [452]
        assert await transaction.send([TEXT], wanted=yes) == Reply.of(250, "2.0.0 Saved")
    assert fake.verbs[0] == "LHLO"
    assert fake.messages[0].recipients == ["one@example.org"]


async def test_lmtp_over_a_unix_socket(tmp_path: Path):
    async with FakeNextHop(unix=tmp_path / "lmtp.sock") as fake, client_of(fake) as hop:
        assert (await deliver(hop)).code == 250
        fake.drop_all()
        await fake.stop()
        (tmp_path / "lmtp.sock").unlink(missing_ok=True)
        with pytest.raises(NextHopGone):
            await hop.transaction(CLIENT, MAIL).recipients([ONE])
    assert fake.messages[0].data == TEXT
