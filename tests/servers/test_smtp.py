"""Commands, in every order and any shape."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gatekeeper.model import Action, Stage
from gatekeeper.servers.relay import REFUSED_KEPT
from tests.servers.proxy import HELLO, proxy
from tests.support.next_hop import FakeNextHop

MAIL = "MAIL FROM:<s@example.net>"
RCPT = "RCPT TO:<one@example.org>"


# --- greeting and capabilities ---------------------------------------------------------------------------------------


async def test_ehlo_offers_what_we_and_the_next_hop_can():
    async with proxy() as p, p.client() as client:
        assert (await client(HELLO)).split("\n") == [
            "250-mx.example.org",
            "250-PIPELINING",
            "250-SIZE 10240000",
            "250-8BITMIME",
            "250-SMTPUTF8",
            "250-DSN",
            "250-ENHANCEDSTATUSCODES",
            "250 LIMITS RCPTMAX=100",
        ]


async def test_what_the_next_hop_cannot_do_is_not_offered():
    hop = FakeNextHop(capabilities={"PIPELINING": "", "SIZE": ""})
    async with proxy(hop=hop, message_size=5000) as p, p.client() as client:
        said = await client(HELLO)
        assert "SIZE 5000" in said
        assert "DSN" not in said
        assert "8BITMIME" not in said
        assert "SMTPUTF8" not in said
        assert await client(f"{MAIL} RET=HDRS") == "555 5.5.4 Unsupported parameter"


async def test_while_the_next_hop_is_unknown_everything_is_offered():
    async with proxy(probe=False) as p, p.client() as client:
        said = await client(HELLO)
        for word in ("SIZE 67108864", "8BITMIME", "SMTPUTF8", "DSN"):
            assert word in said


async def test_helo_is_enough():
    async with proxy() as p, p.client() as client:
        assert await client("HELO client.example.net") == "250 mx.example.org"
        assert (await client.mail())[:3] == "250"
    assert b" with SMTP id " in p.hop.messages[0].data


@pytest.mark.parametrize("verb", ["EHLO", "HELO"])
async def test_a_greeting_needs_a_name(verb):
    async with proxy() as p, p.client() as client:
        assert (await client(verb))[:9] == "501 5.5.4"
        assert await client(MAIL) == "503 5.5.1 Say EHLO first"


# --- order -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "command", "reply"),
    [
        ([], MAIL, "503 5.5.1 Say EHLO first"),
        ([], RCPT, "503 5.5.1 Say MAIL first"),
        ([], "DATA", "503 5.5.1 Say MAIL first"),
        ([], "RSET", "250 2.0.0 Ok"),
        ([], "NOOP", "250 2.0.0 Ok"),
        ([], "QUIT", "221 2.0.0 Bye"),
        ([HELLO], RCPT, "503 5.5.1 Say MAIL first"),
        ([HELLO], "DATA", "503 5.5.1 Say MAIL first"),
        ([HELLO], "RSET", "250 2.0.0 Ok"),
        ([HELLO, MAIL], MAIL, "503 5.5.1 A mail has begun already"),
        ([HELLO, MAIL], "DATA", "554 5.5.1 No valid recipients"),
        ([HELLO, MAIL, "RSET"], RCPT, "503 5.5.1 Say MAIL first"),
        ([HELLO, MAIL, RCPT, HELLO], "DATA", "503 5.5.1 Say MAIL first"),
        ([HELLO, MAIL, RCPT, "RSET"], MAIL, "250 2.1.0 Ok"),
        ([HELLO, MAIL, RCPT], "NOOP x", "250 2.0.0 Ok"),
        ([HELLO, MAIL, RCPT], "DATA x", "501 5.5.4 Syntax: DATA"),
        ([HELLO], "RSET x", "501 5.5.4 Syntax: RSET"),
        ([HELLO], "BDAT 3 LAST", "500 5.5.1 Command not recognized"),
        ([HELLO], "AUTH PLAIN AGEAYg==", "500 5.5.1 Command not recognized"),
        ([HELLO], "STARTTLS", "502 5.5.1 Command not implemented"),
        ([HELLO], "TURN", "500 5.5.1 Command not recognized"),
        ([HELLO], "XCLIENT ADDR=192.0.2.1", "550 5.7.0 Not allowed from here"),
        ([HELLO], "XFORWARD ADDR=192.0.2.1", "550 5.7.0 Not allowed from here"),
        ([HELLO], "HELP", "214 2.0.0 EHLO HELO MAIL RCPT DATA RSET NOOP QUIT (RFC 5321)"),
    ],
)
async def test_every_command_has_its_answer_where_it_comes(before, command, reply):
    async with proxy() as p, p.client() as client:
        await client.say(*before)
        assert await client(command) == reply


@pytest.mark.parametrize("argument", ["", " one@example.org", " <no@example.org>", " root", " ö"])
async def test_vrfy_tells_nobody_anything(argument):
    async with proxy() as p, p.client() as client:
        p.hop.recipients["no@example.org"] = "550 5.1.1 No such user"
        if argument != " ö":
            assert await client(f"VRFY{argument}") == "252 2.0.0 Argument not checked, but will take mail and try"
        assert await client("EXPN staff") == "502 5.5.1 Command not implemented"
        assert await client("ETRN example.org") == "502 5.5.1 Command not implemented"
        assert p.gate.sessions[0].counters.verifies == (2 if argument == " ö" else 3)
        assert p.hop.connections <= 1  # the probe


# --- shape -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [3000, 70_000, 1_000_000])
async def test_an_endless_line_is_answered_once_and_forgotten(size):
    async with proxy() as p, p.client() as client:
        client.send("MAIL FROM:<" + "x" * size)
        client.send("@x>\r\nNOOP\r\n")
        assert await client.replies(2) == ["500 5.5.2 Line too long", "250 2.0.0 Ok"]


async def test_control_characters_and_octets_beyond_ascii_are_refused():
    async with proxy() as p, p.client() as client:
        await client(HELLO)
        client.send(b"MAIL FROM:<a\0b@example.net>\r\n")
        client.send(b"MAIL FROM:<\xe4@example.net>\r\n")
        client.send("MAIL FROM:<ä@example.net>\r\n")
        client.send(b"NOOP\rQUIT\r\n")
        assert await client.replies(4) == [
            "500 5.5.2 Control character in command",
            "500 5.5.2 Neither ASCII nor UTF-8",
            "553 5.6.7 An address that is not ASCII needs SMTPUTF8",
            "500 5.5.2 Syntax error, command unrecognized",
        ]
        assert p.gate.sessions[0].counters.errors == 4


async def test_a_command_line_that_ends_in_lf_follows_the_setting():
    async with proxy() as p, p.client() as client:
        client.send(b"NOOP\n")
        assert await client.reply() == "250 2.0.0 Ok"
    async with proxy(bare_newline="reject") as p, p.client() as client:
        client.send(b"NOOP\nNOOP\r\n")
        assert await client.replies(2) == ["500 5.5.2 Command line ends in LF alone, not CRLF", "250 2.0.0 Ok"]


async def test_errors_end_the_session_in_the_end():
    async with proxy(errors=3) as p, p.client() as client:
        assert [said[:3] for said in await client.burst("FOO", "BAR", "BAZ")] == ["500"] * 3
        assert await client.reply() == "421 4.7.0 Too many errors, goodbye"
        assert await client.gone()
    assert p.gate.left == p.gate.sessions


@pytest.mark.slow
async def test_twenty_thousand_commands_at_once_are_answered_in_order_within_bounds():
    async with proxy(idle_commands=100_000) as p, p.client() as client:
        client.send("NOOP\r\nHELP\r\n" * 10_000)
        client.send("QUIT\r\n")
        for _ in range(10_000):
            assert (await client.reply())[:3] == "250"
            assert (await client.reply())[:3] == "214"
        assert await client.reply() == "221 2.0.0 Bye"


async def test_commands_that_bring_no_mail_are_counted():
    async with proxy(idle_commands=10) as p, p.client() as client:
        client.send("NOOP\r\n" * 20_000)
        assert await client.replies(10) == ["250 2.0.0 Ok"] * 10
        assert await client.reply() == "421 4.7.0 Too many commands without mail, goodbye"
        assert await client.gone()


async def test_a_mail_makes_room_for_more_commands():
    async with proxy(idle_commands=3) as p, p.client() as client:
        await client(HELLO)
        for _ in range(3):
            await client.say("NOOP", "NOOP")
            assert (await client.mail())[:3] == "250"


async def test_a_whole_burst_is_answered_in_few_writes():
    async with proxy() as p, p.client() as client:
        client.send(f"{HELLO}\r\n{MAIL}\r\nRCPT TO:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nNOOP\r\nDATA\r\n")
        replies = await client.replies(6)
        assert [said[:3] for said in replies] == ["250", "250", "250", "250", "250", "354"]
        assert (await client.message())[:3] == "250"
    group = b"MAIL FROM:<s@example.net>\r\nRCPT TO:<a@example.org>\r\nRCPT TO:<b@example.org>\r\n"
    assert group in p.hop.reads


async def test_a_run_of_recipients_goes_in_groups_of_sixteen():
    async with proxy() as p, p.client() as client:
        await client.say(HELLO, MAIL)
        said = await client.burst(*[f"RCPT TO:<{n}@example.org>" for n in range(40)])
        assert {line[:3] for line in said} == {"250"}
    writes = [read for read in p.hop.reads if b"RCPT" in read]
    assert [read.count(b"RCPT") for read in writes] == [16, 16, 8]


async def test_of_a_client_that_has_little_left_to_learn_few_are_asked_together():
    async with proxy() as p, p.client() as client:
        await client.say(HELLO, MAIL)
        p.gate.sessions[0].names_at_once = 3
        await client.burst(*[f"RCPT TO:<{n}@example.org>" for n in range(8)])
        p.gate.sessions[0].names_at_once = 0  # nobody is left without an answer
        await client.burst(*[f"RCPT TO:<{n}@example.org>" for n in range(2)])
    assert [read.count(b"RCPT") for read in p.hop.reads if b"RCPT" in read] == [3, 3, 2, 1, 1]


async def test_a_client_that_is_slowed_gets_one_answer_at_a_time():
    """So that what it learns is counted before it learns more."""
    async with proxy() as p, p.client() as client:
        p.gate.say(Stage.RCPT, Action.ACCEPT, delay=0.001)
        await client.say(HELLO, MAIL)
        await client.burst(*[f"RCPT TO:<{n}@example.org>" for n in range(4)])
    assert [read.count(b"RCPT") for read in p.hop.reads if b"RCPT" in read] == [1, 1, 1, 1]


async def test_answers_in_a_group_stand_in_the_order_of_the_commands():
    async with proxy() as p, p.client() as client:
        p.hop.recipients["no@example.org"] = "550 5.1.1 no"
        p.gate.say(Stage.RCPT, Action.REJECT, to="bad@example.org")
        await client.say(HELLO, MAIL)
        said = await client.burst(
            "RCPT TO:<a@example.org>",
            "RCPT TO:<bad@example.org>",
            "RCPT TO:<>",
            "RCPT TO:<no@example.org>",
            "RCPT TO:<x@elsewhere.example>",
            "rcpt to:<b@example.org>",
            "RCPT\0",
            "NOOP",
        )
        assert [line[:9] for line in said] == [
            "250 2.1.5",
            "550 5.7.1",
            "501 5.1.3",
            "550 5.1.1",
            "550 5.7.1",
            "250 2.1.5",
            "500 5.5.2",
            "250 2.0.0",
        ]


async def test_a_half_closed_client_gets_all_its_answers():
    async with proxy() as p, p.client() as client:
        client.send(f"{HELLO}\r\n{MAIL}\r\n{RCPT}\r\nVRFY x\r\nRSET\r\nMAIL FRO")
        client.half_close()
        assert [said[:3] for said in await client.replies(5)] == ["250", "250", "250", "252", "250"]
        assert await client.gone()
    assert [done.note for done in p.gate.finished] == ["rset"]


# --- recipients ------------------------------------------------------------------------------------------------------


async def test_too_many_recipients_are_told_to_come_again():
    async with proxy(recipients=2) as p, p.client() as client:
        assert (await client(HELLO)).endswith("LIMITS RCPTMAX=2")
        await client(MAIL)
        said = await client.burst(*[f"RCPT TO:<{n}@example.org>" for n in range(4)])
        assert [line[:9] for line in said] == ["250 2.1.5", "250 2.1.5", "452 4.5.3", "452 4.5.3"]
        assert (await client("DATA"))[:3] == "354"
        assert (await client.message())[:3] == "250"


@pytest.mark.parametrize("by_next_hop", [False, True])
@pytest.mark.parametrize("most", [1, 1000])
async def test_after_many_refused_recipients_the_rest_is_told_to_come_again(most: int, by_next_hop: bool):
    async with proxy(recipients=most) as p, p.client() as client:
        names = [f"no{n}@example.org" for n in range(REFUSED_KEPT + 20)]
        if by_next_hop:
            p.hop.recipients.update(dict.fromkeys(names, "550 5.1.1 no"))
        else:
            p.gate.say(Stage.RCPT, Action.REJECT)
        await client.say(HELLO, MAIL)
        said = [(await client(f"RCPT TO:<{name}>"))[:9] for name in names]
        assert {line[:3] for line in said[:REFUSED_KEPT]} == {"550"}
        assert said[REFUSED_KEPT:] == ["452 4.5.3"] * 20
        await client("RSET")


async def test_counters_say_what_the_client_did():
    async with proxy() as p, p.client() as client:
        p.hop.recipients["no@example.org"] = "550 5.1.1 no"
        p.hop.recipients["full@example.org"] = "552 5.2.2 mailbox full"
        p.hop.recipients["later@example.org"] = "451 4.7.1 later"
        p.gate.say(Stage.RCPT, Action.REJECT, to="bad@example.org")
        await client(HELLO)
        await client(MAIL)
        await client.burst(*[f"RCPT TO:<{name}@example.org>" for name in ("a", "b", "no", "full", "later", "bad")])
        await client("RSET")
        await client.say(MAIL, "RCPT TO:<no@example.org>", "RSET")
        await client.say(MAIL, "RCPT TO:<bad@example.org>", "RSET", MAIL, "RSET", "VRFY x", "FOO")
        await client.mail()
        counters = p.gate.sessions[0].counters
        assert counters.recipients == 9
        assert counters.accepted == 3
        assert counters.unknown == 2
        assert counters.resets == 2
        assert counters.abandoned == 2
        assert counters.verifies == 1
        assert counters.errors == 1
        assert counters.messages == 1
        assert counters.delivered == 1
        p.gate.say(Stage.MESSAGE, Action.TAG)
        assert (await client.mail())[:3] == "250"
        assert (counters.messages, counters.delivered) == (1, 1), "what is marked as spam earns nothing"
        assert counters.refused == 2
        heard = [(one.address.local, one.heard.value) for one in p.gate.sessions[0].named]
        assert heard[:5] == [("a", "known"), ("b", "known"), ("no", "unknown"), ("a", "abandoned"), ("b", "abandoned")]


# --- made to wait ----------------------------------------------------------------------------------------------------


async def test_a_client_that_is_made_to_wait_holds_no_connection_to_the_next_hop(monkeypatch):
    monkeypatch.setattr("gatekeeper.servers.smtp.HELD_FOR", 0.0)
    async with proxy() as p, p.client() as client:
        await client.say(HELLO, MAIL, RCPT)
        p.gate.say(Stage.RCPT, Action.ACCEPT, delay=30.0)
        client.send("RCPT TO:<two@example.org>\r\n")
        while not p.server.slow_lane.slowed:  # noqa: ASYNC110 - there is nothing to wait for but the loop
            await asyncio.sleep(0)
        relay: Any = next(iter(p.server._sessions))._relay
        assert relay._transaction._connection is None
        client.reset()
        await p.gate.until("left")
    assert p.server.slow_lane.slowed == 0


async def test_where_too_many_wait_already_the_others_are_answered_at_once():
    async with proxy(slowed_at_once=1) as p, p.client() as first, p.client() as second:
        p.gate.say(Stage.RCPT, Action.ACCEPT, delay=30.0)
        for client in (first, second):
            await client.say(HELLO, MAIL)
        first.send(f"{RCPT}\r\n")
        while not p.server.slow_lane.slowed:  # noqa: ASYNC110 - there is nothing to wait for but the loop
            await asyncio.sleep(0)
        assert (await second(RCPT))[:3] == "250"


async def test_a_server_that_tells_of_many_clients_by_xforward_does_not_wait():
    async with proxy(trust=("127.0.0.1/32",)) as p, p.client() as client:
        p.gate.say(Stage.RCPT, Action.ACCEPT, delay=30.0)
        await client.say(HELLO, "XFORWARD ADDR=192.0.2.7", MAIL)
        assert (await client(RCPT))[:3] == "250"


async def test_ten_thousand_octets_one_at_a_time_do_not_hold_a_session():
    async with proxy(line_timeout=0.05) as p, p.client() as client:
        client.send(b"N")
        assert (await client.reply())[:9] == "421 4.4.2"


async def test_a_session_that_never_comes_to_the_point_ends():
    async with proxy(first_mail=0.05, idle_commands=1_000_000) as p, p.client() as client:
        said = await client(HELLO)
        while said[:3] != "421":
            said = await client("NOOP")
        assert said[:9] == "421 4.4.2"
