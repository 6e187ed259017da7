"""A whole mail at once, judged as on the wire."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from gatekeeper.message.edit import Insert
from gatekeeper.model import Action, Address, Stage, Tls
from gatekeeper.servers.checking import Told, check
from gatekeeper.servers.peers import Peers
from gatekeeper.servers.relay_guard import RelayGuard
from tests.support.fake_gate import FakeGate

RAW = b"From: a@example.net\n\nhi\n"
ALICE, BOB = Address("alice", "example.org"), Address("bob", "example.org")
TOLD = Told(
    address=ip_address("192.0.2.1"),
    port=4711,
    name="mail.example.net",
    helo="mail.example.net",
    tls=Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256),
    login="ann",
    sender=Address("a", "example.net"),
    recipients=(ALICE, BOB),
    queue_id="4ABC",
)
NOW = 1_800_000_000.0


async def test_the_facts_are_those_that_were_told():
    gate = FakeGate()
    result = await check(gate, RAW, TOLD, server="http", now=NOW, keep=True)
    [session] = gate.sessions
    assert (session.server, session.address, session.port, session.name) == ("http", TOLD.address, 4711, TOLD.name)
    assert (session.helo, session.tls, session.login, session.extended) == (TOLD.helo, TOLD.tls, "ann", True)
    assert gate.judged == [Stage.CONNECT, Stage.RCPT, Stage.RCPT, Stage.MESSAGE]
    assert gate.messages == [b"From: a@example.net\r\n\r\nhi\r\n"]
    assert (result.verdict.action, result.reply, result.record.queue_id) == (Action.ACCEPT, None, "4ABC")
    assert result.edits == (Insert(0, "X-Spam-Score", "0.0"),)


async def test_it_is_recorded_once_where_that_is_wanted():
    gate = FakeGate()
    result = await check(gate, RAW, TOLD, server="http", now=NOW, keep=True)
    [done] = gate.finished
    assert (done.id, done.recipients, done.note) == (result.record.id, ["alice@example.org", "bob@example.org"], "")
    assert gate.left == gate.sessions
    gate = FakeGate()
    await check(gate, RAW, TOLD, server="check", now=NOW, keep=False)
    assert (gate.finished, gate.left) == ([], [])


async def test_without_recipients_there_is_nothing_to_record():
    gate = FakeGate()
    result = await check(gate, RAW, Told(), server="http", now=NOW, keep=True)
    assert result.verdict.action is Action.ACCEPT
    assert not gate.finished


async def test_what_is_refused_for_one_recipient_is_judged_for_the_others():
    gate = FakeGate()
    gate.say(Stage.RCPT, Action.REJECT, to="bob@example.org")
    result = await check(gate, RAW, TOLD, server="http", now=NOW, keep=True)
    assert result.verdict.action is Action.ACCEPT
    assert (gate.finished[0].recipients, gate.finished[0].refused) == (["alice@example.org"], ["bob@example.org"])


async def test_what_is_refused_for_all_recipients_is_refused_without_a_look_at_the_message():
    gate = FakeGate()
    gate.say(Stage.RCPT, Action.REJECT)
    result = await check(gate, RAW, TOLD, server="http", now=NOW, keep=True)
    assert result.reply is not None
    assert (result.verdict.action, result.reply.code, result.edits) == (Action.REJECT, 550, ())
    assert result.record.id in str(result.reply)
    assert (gate.messages, gate.finished, len(gate.refusals)) == ([], [], 1)


@pytest.mark.parametrize("put_off", ["alice@example.org", "bob@example.org"])
async def test_one_answer_for_all_is_not_for_good_where_one_recipient_was_only_put_off(put_off):
    gate = FakeGate()
    gate.say(Stage.RCPT, Action.REJECT)
    gate.say(Stage.RCPT, Action.DEFER, to=put_off)
    result = await check(gate, RAW, TOLD, server="http", now=NOW, keep=True)
    assert result.verdict.action is Action.DEFER


async def test_a_client_that_is_dropped_is_asked_nothing_more():
    gate = FakeGate()
    gate.say(Stage.CONNECT, Action.DROP)
    result = await check(gate, RAW, TOLD, server="http", now=NOW, keep=True)
    assert (result.verdict.action, gate.judged) == (Action.DROP, [Stage.CONNECT])


async def test_a_refusal_of_the_message_is_recorded_with_its_answer():
    gate = FakeGate()
    gate.say(Stage.MESSAGE, Action.DEFER)
    result = await check(gate, RAW, TOLD, server="http", now=NOW, keep=True)
    assert gate.finished[0].reply == result.reply
    assert result.record.action == "defer"


async def test_domains_that_are_not_ours_are_refused_where_nobody_else_does():
    class Nobody:
        async def relay_probe(self, domain: str) -> object:
            raise AssertionError(domain)

    guard = RelayGuard(Nobody(), relay_domains=frozenset({"example.com"}), ours=Peers(()))  # type: ignore[arg-type]  # it is not asked
    result = await check(FakeGate(), RAW, TOLD, server="check", now=NOW, guard=guard, keep=False)
    assert (result.verdict.action, result.verdict.enhanced) == (Action.REJECT, "5.7.1")


async def test_an_address_in_utf8_could_be_said():
    gate = FakeGate()
    told = Told(recipients=(Address("j\u00fcrgen", "example.org"),))
    await check(gate, RAW, told, server="http", now=NOW, keep=True)
    assert gate.finished[0].mail.envelope.parameters == ("SMTPUTF8",)
