"""What is answered, kept and counted when somebody goes away in the middle."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest

from gatekeeper import metrics, nexthop
from gatekeeper.model import Action, Stage
from gatekeeper.servers import smtp
from tests.servers.proxy import HELLO, Proxy, proxy
from tests.support.next_hop import ALL, XFORWARD, FakeNextHop
from tests.support.smtp_client import GONE

MAIL = "MAIL FROM:<s@example.net>"
RCPT = "RCPT TO:<one@example.org>"
BEGIN = (HELLO, MAIL, RCPT, "DATA")


def in_doubt(side: str) -> float:
    return metrics.REGISTRY.get_sample_value("gatekeeper_relay_in_doubt_total", {"side": side}) or 0.0


async def lost(p: Proxy) -> None:
    """Until the server has noticed that its one client is gone."""
    await until(lambda: next(iter(p.server._sessions)).conversation.ended)


async def until(true: Callable[[], bool]) -> None:
    """What a server notices by itself sets no event; the loop turns until it has."""
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - there is nothing to wait for but the loop
            await asyncio.sleep(0)


# --- the next hop ----------------------------------------------------------------------------------------------------


async def test_a_next_hop_that_is_away_defers_each_recipient():
    async with proxy() as p, p.client() as client:
        p.hop.die("connect", times=10)
        await client.say(HELLO, MAIL)
        assert (await client(RCPT))[:9] == "451 4.4.1"
        assert await client("DATA") == "554 5.5.1 No valid recipients"
        await client("QUIT")
    assert p.gate.finished == []


async def test_one_that_refuses_us_refuses_each_recipient_in_its_own_words():
    async with proxy() as p, p.client() as client:
        p.hop.replies["MAIL"] = "550 5.7.1 Sender refused"
        await client.say(HELLO, MAIL)
        assert await client(RCPT) == "550 5.7.1 Sender refused"


async def test_one_that_dies_between_recipients_is_taken_up_again():
    async with proxy() as p, p.client() as client:
        await client.say(HELLO, MAIL, RCPT)
        p.hop.die("RCPT")
        assert (await client("RCPT TO:<two@example.org>"))[:9] == "451 4.4.1"
        assert (await client("RCPT TO:<three@example.org>"))[:3] == "250"
        assert (await client("DATA"))[:3] == "354"
        assert (await client.message())[:3] == "250"
    assert [message.recipients for message in p.hop.messages] == [["one@example.org", "three@example.org"]]
    assert p.gate.finished[0].recipients == ["one@example.org", "three@example.org"]


@pytest.mark.parametrize(("point", "code"), [("DATA", "250"), ("dot", "451 4.4.2")])
async def test_one_that_dies_at_the_message_is_never_a_250_too_many(point, code):
    async with proxy() as p, p.client() as client:
        before = in_doubt("next_hop")
        await client.say(*BEGIN)
        p.hop.die(point)
        assert (await client.message()).startswith(code)
        assert in_doubt("next_hop") - before == (point == "dot")
        [done] = p.gate.finished
        assert done.note == {"DATA": "", "dot": "in_doubt_next_hop"}[point]
        assert await client("NOOP") == "250 2.0.0 Ok"


async def test_one_that_dies_in_the_middle_of_a_large_message():
    async with proxy() as p, p.client() as client:
        await client.say(*BEGIN)
        p.hop.die("body", octets=300_000)
        line = b"x" * 998 + b"\r\n"
        assert (await client.message(b"a: b\r\n\r\n" + line * 10_000))[:9] == "451 4.4.1"
        assert p.gate.finished[0].note == "next_hop_gone"


async def test_its_refusal_of_the_message_is_passed_on_as_it_is():
    async with proxy() as p, p.client() as client:
        p.hop.replies["."] = ["554-5.7.1 No\n554 5.7.1 thanks"]
        await client(HELLO)
        assert await client.mail() == "554-5.7.1 No\n554 5.7.1 thanks"
        assert str(p.gate.finished[0].next_hop) == "554 5.7.1 No / 5.7.1 thanks"
        assert p.gate.sessions[0].counters.messages == 0


async def test_one_that_idles_too_long_is_replaced_and_everything_said_again():
    async with proxy(hop_settings=nexthop.Settings(idle=0.01)) as p, p.client() as client:
        await client.say(*BEGIN)
        await p.hop.left(2)  # the probe, and this one, which idled
        assert (await client.message())[:3] == "250"
        assert p.hop.verbs.count("MAIL") == 2


async def test_an_lmtp_next_hop_gets_one_recipient_at_a_time():
    async with proxy(hop=FakeNextHop(lmtp=True)) as p, p.client() as client:
        await client.say(HELLO, MAIL)
        said = await client.burst(RCPT, "RCPT TO:<two@example.org>")
        assert [line[:9] for line in said] == ["250 2.1.5", "452 4.5.3"]
        await client("DATA")
        assert (await client.message())[:3] == "250"


# --- the client ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "reset", "half"])
@pytest.mark.parametrize("lines", [(), (HELLO,), (HELLO, MAIL), (HELLO, MAIL, RCPT), BEGIN])
async def test_a_client_may_go_at_any_time(lines, how):
    async with proxy() as p, p.client() as client:
        await client.say(*lines)
        {"close": client.writer.close, "reset": client.reset, "half": client.half_close}[how]()
        await p.gate.until("left")
        assert [done.note for done in p.gate.finished] == (["client_gone"] if RCPT in lines else [])
        counters = p.gate.sessions[0].counters
        assert (counters.resets, counters.abandoned) == ((1, 1) if RCPT in lines and "DATA" not in lines else (0, 0))
    assert p.hop.messages == []


async def test_a_client_that_leaves_in_the_middle_of_its_message_has_sent_none():
    async with proxy() as p, p.client() as client:
        await client.say(*BEGIN)
        client.send("Subject: x\r\n\r\n" + "half of a mess")
        client.half_close()
        assert await client.reply() == GONE
        await p.gate.until("left")
    assert p.hop.messages == []
    assert [done.note for done in p.gate.finished] == ["client_gone"]


@pytest.mark.parametrize("how", ["close", "reset", "half"])
async def test_a_client_that_leaves_before_our_dot_has_committed_nothing(how):
    async with proxy() as p, p.client() as client:
        p.gate.hold(Stage.MESSAGE)
        await client.say(*BEGIN)
        client.send("Subject: x\r\n\r\n.\r\n")
        await p.gate.until("messages", 0)
        {"close": client.writer.close, "reset": client.reset, "half": client.half_close}[how]()
        await lost(p)
        p.gate.go(Stage.MESSAGE)
        if how == "half":
            assert await client.reply() == "421 4.4.2 You left before your message was passed on"
            assert await client.gone()
        await p.gate.until("left")
    assert p.hop.messages == []
    [done] = p.gate.finished
    assert (done.note, done.reply.code, done.next_hop) == ("withdrawn", 421, None)


async def test_a_client_that_said_quit_and_closed_its_side_is_served():
    async with proxy() as p, p.client() as client:
        p.gate.hold(Stage.MESSAGE)
        await client.say(*BEGIN)
        client.send("Subject: x\r\n\r\n.\r\nQUIT\r\n")
        client.half_close()
        await lost(p)
        p.gate.go(Stage.MESSAGE)
        assert [said[:3] for said in await client.replies(2)] == ["250", "221"]
    assert len(p.hop.messages) == 1
    assert p.gate.finished[0].note == ""


@pytest.mark.parametrize("how", ["close", "reset", "half"])
async def test_after_the_commit_the_answer_is_given_to_whoever_is_left_and_counted(how):
    async with proxy() as p, p.client() as client:
        before = in_doubt("client")
        p.hop.hold("dot")
        p.hop.hold(".")
        await client.say(*BEGIN)
        client.send("Subject: x\r\n\r\n.\r\n")
        await p.hop.saw(".")
        {"close": client.writer.close, "reset": client.reset, "half": client.half_close}[how]()
        await lost(p)
        p.hop.go(".")
        if how == "half":
            assert (await client.reply())[:3] == "250"
        await p.gate.until("left")
        assert in_doubt("client") - before == 1
    assert len(p.hop.messages) == 1
    assert [done.note for done in p.gate.finished] == ["in_doubt_client"]


async def test_a_client_that_sends_too_far_ahead_has_committed_nothing():
    async with proxy() as p, p.client() as client:
        p.gate.hold(Stage.MESSAGE)
        await client.say(*BEGIN)
        client.send("Subject: x\r\n\r\n.\r\n" + "NOOP\r\n" * 20_000)
        [session] = p.server._sessions
        await until(lambda: session.conversation.filled)
        p.gate.go(Stage.MESSAGE)
        assert (await client.reply())[:9] == "421 4.7.0"
        assert await client.gone()
    assert p.hop.messages == []
    assert p.gate.finished[0].note == "withdrawn"


async def test_commands_sent_ahead_of_the_answer_are_answered_after_it():
    async with proxy() as p, p.client() as client:
        await client.say(*BEGIN)
        client.send("Subject: x\r\n\r\n.\r\n" + "NOOP\r\n" * 50)
        assert [said[:3] for said in await client.replies(51)] == ["250"] * 51


async def test_a_silent_client_is_told_so():
    async with proxy(command_timeout=0.02) as p, p.client() as client:
        assert await client.reply() == "421 4.4.2 Timeout, goodbye"
        assert await client.gone()
        client.writer.close()
        await p.gate.until("left")


async def test_a_client_that_falls_silent_in_its_message_is_told_so():
    async with proxy(data_timeout=0.02) as p, p.client() as client:
        await client.say(*BEGIN)
        client.send("Subject: x\r\n")
        assert await client.reply() == "421 4.4.2 Timeout, goodbye"
        client.writer.close()
        await p.gate.until("left")
    assert [done.note for done in p.gate.finished] == ["client_silent"]


async def test_a_session_that_has_lasted_long_enough_ends_between_mails():
    async with proxy(session_total=0.02) as p, p.client() as client:
        assert (await client.reply())[:9] == "421 4.4.2"


async def test_a_client_that_names_recipients_without_end_is_cut_off_however_busy_it_is():
    async with proxy(envelope_total=0.02) as p, p.client() as client:
        await client.say(HELLO, MAIL)
        said = ""
        while said[:3] != "421":
            said = await client(RCPT)
        assert said[:9] == "421 4.4.2"
        client.writer.close()
        await p.gate.until("left")


# --- ourselves -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", list(Stage))
async def test_a_bug_ends_one_session_and_no_other(stage):
    async with proxy(bugs=True) as p, p.client() as other:
        p.gate.fail(stage, RuntimeError("secret"))
        async with p.client() as client:
            said = client.greeting
            for line in (*BEGIN, "Subject: x\r\n\r\n."):
                if said[:3] != "421":
                    said = await client(line)
            if stage == Stage.HELO:  # is not asked for by itself
                return
            assert said == "421 4.3.0 Local error, try again later"
            assert await client.gone()
        del p.gate._raises[stage]
        await other(HELLO)
        assert (await other.mail())[:3] == "250"


async def test_draining_lets_a_mail_in_hand_finish_and_idle_sessions_go():
    async with proxy() as p, p.client() as idle, p.client() as busy:
        await idle(HELLO)
        assert (await idle.mail())[:3] == "250"
        await busy.say(*BEGIN)
        drained = asyncio.ensure_future(p.server.drain(30))
        assert await idle.reply() == "421 4.3.2 Service shutting down, try again in a moment"
        assert await idle.gone()
        idle.writer.close()
        assert (await busy.message())[:3] == "250"
        assert (await busy.reply())[:9] == "421 4.3.2"
        busy.writer.close()
        await drained
        assert p.server.sessions == 0
    assert len(p.hop.messages) == 2


async def test_draining_lets_whoever_has_just_come_have_its_first_mail():
    async with proxy(trust=("127.0.0.1/32",)) as p, p.client() as greeted, p.client() as told:
        drained = asyncio.ensure_future(p.server.drain(30))
        await until(lambda: all(session._retired for session in p.server._sessions))
        await greeted(HELLO)
        assert (await greeted("NOOP"))[:3] == "250"
        assert (await told("XCLIENT ADDR=192.0.2.7"))[:3] == "220"
        await told(HELLO)
        for client in (told, greeted):
            assert (await client.mail())[:3] == "250"
            assert (await client.reply())[:9] == "421 4.3.2"
            client.writer.close()
        await drained
        assert p.server.sessions == 0
    assert len(p.hop.messages) == 2


async def test_draining_does_not_wait_long_for_a_first_mail(monkeypatch):
    monkeypatch.setattr(smtp, "FIRST_MAIL", 0.01)
    async with proxy() as p, p.client() as client, p.client() as given_up:
        await client(HELLO)
        await given_up.say(HELLO, "MAIL FROM:<s@example.net>", "RSET")
        drained = asyncio.ensure_future(p.server.drain(30))
        for each in (given_up, client):
            assert (await each.reply())[:9] == "421 4.3.2"
            each.writer.close()
        await drained


async def test_who_is_asked_to_make_room_is_not_spared_for_a_drain():
    async with proxy() as p, p.client() as client:
        await client(HELLO)
        drained = asyncio.ensure_future(p.server.drain(30))
        [session] = p.server._sessions
        session.give_way()
        assert (await client.reply())[:3] == "421"
        client.writer.close()
        await drained


async def test_draining_cuts_off_what_does_not_end():
    async with proxy() as p, p.client() as client:
        await client.say(*BEGIN)
        await p.server.drain(0)
        assert (await client.reply())[:9] == "421 4.3.2"
        assert await client.gone()
        assert p.server.sessions == 0
    assert [done.note for done in p.gate.finished] == ["shutdown"]
    assert p.gate.sessions[0].counters.abandoned == 0, "it was not the client that gave up"


@pytest.mark.parametrize("point", ["DATA", "."])
async def test_the_next_hops_421_is_passed_on_and_ends_the_session(point):
    async with proxy() as p, p.client() as client:
        p.hop.replies[point] = "421 4.3.2 hop.example closing"
        await client.say(*BEGIN[:-1])
        client.send("DATA\r\n")
        assert (await client.reply())[:3] == "354"
        client.send("Subject: x\r\n\r\n.\r\nNOOP\r\n")
        assert await client.reply() == "421 4.3.2 hop.example closing"
        assert await client.gone()
    [done] = p.gate.finished
    assert (done.reply.code, done.note, str(done.next_hop)) == (421, "", "421 4.3.2 hop.example closing")


async def test_the_next_hops_421_at_rcpt_ends_the_session_and_is_not_the_clients_doing():
    async with proxy() as p, p.client() as client:
        p.hop.recipients["two@example.org"] = "421 4.7.0 Error: too many errors"
        await client.say("EHLO x.example", "MAIL FROM:<s@example.net>")
        client.send("RCPT TO:<one@example.org>\r\nRCPT TO:<two@example.org>\r\nRCPT TO:<three@example.org>\r\nNOOP\r\n")
        assert [said[:3] for said in await client.replies(3)] == ["250", "421", "421"]
        assert await client.gone()
    counters = p.gate.sessions[0].counters
    assert (counters.resets, counters.abandoned, counters.unknown) == (0, 0, 0)
    assert [done.note for done in p.gate.finished] == ["next_hop_gone"]


async def test_to_a_server_that_tells_of_many_clients_a_421_is_about_one_mail():
    hop = FakeNextHop(capabilities={**ALL, **XFORWARD})
    async with proxy(hop=hop, trust=("127.0.0.1/32",)) as p, p.client() as client:
        p.hop.replies["."] = ["421 4.3.2 closing"]
        await client.say("EHLO postfix.example.org", "XFORWARD ADDR=192.0.2.7")
        assert await client.mail() == "451 4.3.2 closing"
        assert (await client.mail())[:3] == "250"


async def test_a_mail_cut_off_between_our_dot_and_its_answer_is_counted():
    async with proxy() as p, p.client() as client:
        before = in_doubt("next_hop")
        p.hop.hold(".")
        await client.say(*BEGIN)
        client.send("Subject: x\r\n\r\n.\r\n")
        await p.hop.saw(".")
        await p.server.drain(0)
        assert (await client.reply())[:9] == "421 4.3.2"
        assert in_doubt("next_hop") - before == 1
        p.hop.go(".")
    assert [done.note for done in p.gate.finished] == ["in_doubt_next_hop"]


@pytest.mark.slow
async def test_a_client_that_reads_no_answers_is_not_read_from_either():
    async with proxy(idle_commands=10_000_000) as p, p.client() as client:
        [session] = p.server._sessions
        client.send("HELP\r\n" * 500_000)
        await until(lambda: session.conversation._unwritable is not None)
        await until(lambda: session.conversation._paused)
        assert len(session.conversation._buffer) < 1_000_000
        for _ in range(500_000):
            assert (await client.reader.readline())[:4] == b"214 "
        assert await client("QUIT") == "221 2.0.0 Bye"


async def test_whoever_comes_while_we_drain_waits_for_the_next_worker():
    async with proxy() as p:
        await p.server.stop_accepting()
        await p.server.stop_accepting()
        with socket.create_connection(("127.0.0.1", int(p.port))) as sock:
            sock.setblocking(False)
            await asyncio.sleep(0)
            with pytest.raises(BlockingIOError):
                sock.recv(1)


async def test_too_many_sessions_are_refused_in_all_and_from_one_address():
    async with proxy(connections=3, connections_per_address=2) as p:
        async with p.client() as one, p.client() as two:
            async with p.client() as three:
                assert three.greeting == "421 4.7.0 Too many connections from your address, try again later"
            async with p.client(source="127.0.0.2") as three, p.client(source="127.0.0.3") as four:
                assert three.greeting[:3] == "220"
                assert four.greeting == "421 4.3.2 Too many connections, try again later"
            assert [said[:3] for said in (*await one.say("QUIT"), *await two.say("QUIT"))] == ["221", "221"]
        await p.gate.until("left", 3)
        async with p.client() as one:
            assert one.greeting[:3] == "220"


async def test_limits_are_shared_among_workers():
    async with proxy(connections=3, workers=2) as p, p.client(), p.client():
        async with p.client() as third:
            assert third.greeting[:9] == "421 4.3.2"


async def test_replies_are_not_held_back_by_nagle():
    async with proxy() as p, p.client():
        [session] = p.server._sessions
        assert session.transport is not None
        sock = session.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_a_deferred_verdict_at_message_leaves_the_session_open():
    async with proxy() as p, p.client() as client:
        p.gate.say(Stage.MESSAGE, Action.DEFER)
        await client(HELLO)
        assert (await client.mail())[:9] == "451 4.7.1"
        assert await client("NOOP") == "250 2.0.0 Ok"
    assert p.hop.messages == []
