"""One SMTP client as Postfix tells of it, judged by a gate that says what it is told."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from gatekeeper.model import Action, Address, Stage, Tls
from gatekeeper.servers import policy_client
from gatekeeper.servers.overload import Gauges, Overload, Settings
from gatekeeper.servers.policy_client import Asked, PolicyClient
from gatekeeper.wire.policy_request import PolicyRequest, State
from tests.support.fake_gate import FakeGate

HEADER = "PREPEND X-Spam-Status: No, score=0"


def request(state: State | None, instance: str = "a.1", to: str = "", **facts: Any) -> PolicyRequest:
    recipient = Address(*to.split("@")) if to else None
    known: dict[str, Any] = {
        "address": ip_address("192.0.2.10"),
        "port": 4711,
        "name": "mail.example.net",
        "helo": "mail.example.net",
        "extended": True,
        "sender": Address("someone", "example.net") if instance else None,
    }
    return PolicyRequest(state, instance, recipient=recipient, **(known | facts))


class Told:
    """A client, and what it was answered."""

    def __init__(self, *, prepend: str = "data", data: bool = False, end: bool = False) -> None:
        self.overload = Overload(Settings())
        self.gate = FakeGate(inserts=[("X-Spam-Score", "0"), ("X-Spam-Status", "No, score=0")])
        self.asked = Asked(data=data, end=end)
        self.prepend = prepend
        self.client: PolicyClient | None = None

    async def ask(self, state: State | None, instance: str = "a.1", to: str = "", **facts: Any) -> str:
        asked = request(state, instance, to, **facts)
        if self.client is None:
            self.client = PolicyClient(self.gate, asked, asked=self.asked, prepend=self.prepend, overload=self.overload)
        assert self.client.is_of(asked)
        return (await self.client.answer(asked)).action

    async def end(self) -> None:
        assert self.client is not None
        await self.client.end()


async def test_a_mail_that_passes_is_marked_at_data_and_recorded_at_its_end():
    told = Told()
    assert await told.ask(State.RCPT, to="alice@example.org") == "DUNNO"
    assert await told.ask(State.RCPT, to="bob@example.org", queue_id="BAAF220CB02") == "DUNNO"
    assert await told.ask(State.DATA, recipient_count=2) == HEADER
    assert await told.ask(State.END, recipient_count=2, size=4321) == "DUNNO"
    await told.end()
    (done,) = told.gate.finished
    assert (done.recipients, done.note, str(done.reply)) == (
        ["alice@example.org", "bob@example.org"],
        "",
        "250 2.0.0 Left to Postfix",
    )
    assert done.verdict is not None
    assert (done.mail.envelope.queue_id, done.mail.envelope.parameters) == ("BAAF220CB02", ("SIZE=4321",))
    counters = told.gate.sessions[0].counters
    assert (counters.recipients, counters.accepted, counters.unknown, counters.abandoned) == (2, 2, 0, 0)
    assert counters.messages == 1
    assert told.gate.left == told.gate.sessions


async def test_the_facts_are_those_that_postfix_tells():
    told = Told()
    tls = Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256)
    await told.ask(State.RCPT, to="alice@example.org", tls=tls, login="someone", name=None, reverse_name="claimed.test")
    session = told.gate.sessions[0]
    assert (session.server, str(session.address), session.port) == ("policy_service", "192.0.2.10", 4711)
    assert (session.name, session.helo, session.extended) == ("claimed.test", "mail.example.net", True)
    assert (session.tls, session.login, session.shows_messages) == (tls, "someone", False)


async def test_a_recipient_that_is_refused_is_refused_and_the_others_are_not_touched():
    told = Told()
    told.gate.say(Stage.RCPT, Action.REJECT, to="bad@example.org")
    assert await told.ask(State.RCPT, to="alice@example.org") == "DUNNO"
    assert await told.ask(State.RCPT, to="bad@example.org") == "550 5.7.1 not wanted (id id2)"
    assert await told.ask(State.DATA, recipient_count=1) == HEADER
    await told.ask(State.END, recipient_count=1)
    (done,) = told.gate.finished
    assert (done.recipients, done.refused) == (["alice@example.org"], ["bad@example.org"])
    assert [to for to, _ in told.gate.refusals] == ["bad@example.org"]
    assert told.gate.sessions[0].counters.refused == 1


async def test_where_nobody_is_left_there_is_no_mail_to_record():
    told = Told()
    told.gate.say(Stage.RCPT, Action.DEFER)
    assert (await told.ask(State.RCPT, to="alice@example.org")).startswith("DEFER_IF_PERMIT 4.7.1 ")
    await told.end()
    assert not told.gate.finished
    assert len(told.gate.refusals) == 1


async def test_a_drop_is_421_at_any_state():
    told = Told()
    told.gate.say(Stage.CONNECT, Action.DROP)
    told.gate.say(Stage.HELO, Action.DROP)
    told.gate.say(Stage.RCPT, Action.DROP)
    for state in (State.CONNECT, State.HELO, State.MAIL, State.ETRN):
        assert (await told.ask(state, instance="")).startswith("421 4.7.1 ")
    assert (await told.ask(State.VRFY, instance="", to="alice@example.org")).startswith("421 ")
    assert (await told.ask(State.RCPT, to="alice@example.org")).startswith("421 ")
    assert told.gate.sessions[0].blocked
    assert len(told.gate.refusals) == 6


async def test_looking_the_client_up_waits_for_mail():
    told = Told()
    for state in (State.CONNECT, State.HELO, State.MAIL):
        assert await told.ask(state, instance="") == "DUNNO"
    assert told.gate.judged == [Stage.CONNECT, Stage.CONNECT, Stage.HELO]


async def test_a_refusal_at_data_is_the_record_of_the_mail():
    told = Told()
    told.gate.say(Stage.DATA, Action.REJECT)
    await told.ask(State.RCPT, to="alice@example.org")
    answer = await told.ask(State.DATA, recipient_count=1)
    assert answer.startswith("550 5.7.1 not wanted")
    assert await told.ask(State.DATA, recipient_count=1) == answer  # the client tries once more
    await told.end()
    (done,) = told.gate.finished
    assert done.verdict is not None
    assert (done.verdict.action, done.reply.code, done.note) == (Action.REJECT, 550, "")
    assert done.id in answer
    assert told.gate.sessions[0].counters.abandoned == 0


async def test_a_refusal_may_come_at_the_end_of_the_message_only():
    told = Told()
    await told.ask(State.RCPT, to="alice@example.org")
    assert await told.ask(State.DATA, recipient_count=1) == HEADER
    told.gate.say(Stage.DATA, Action.REJECT)
    assert (await told.ask(State.END, recipient_count=1)).startswith("550 ")
    await told.end()
    assert told.gate.finished[0].reply.code == 550
    assert told.gate.sessions[0].counters.messages == 0


async def test_where_only_recipients_are_asked_about_the_first_that_passes_brings_the_header():
    told = Told(prepend="rcpt")
    told.gate.say(Stage.RCPT, Action.REJECT, to="bad@example.org")
    assert (await told.ask(State.RCPT, to="bad@example.org")).startswith("550 ")
    assert await told.ask(State.RCPT, to="alice@example.org") == HEADER
    assert await told.ask(State.RCPT, to="alice@example.org") == "DUNNO"
    assert await told.ask(State.RCPT, to="bob@example.org") == "DUNNO"
    assert await told.ask(State.DATA, recipient_count=2) == "DUNNO"
    assert await told.ask(State.RCPT, instance="a.2", to="alice@example.org") == HEADER  # another mail


async def test_no_header_where_none_is_wanted():
    told = Told(prepend="never")
    await told.ask(State.RCPT, to="alice@example.org")
    assert await told.ask(State.DATA, recipient_count=1) == "DUNNO"


async def test_the_same_question_from_several_restriction_lists_is_answered_once():
    told = Told()
    told.gate.say(Stage.RCPT, Action.ACCEPT, delay=5.0)
    await told.ask(State.RCPT, to="alice@example.org")
    assert told.client is not None
    again = await told.client.answer(request(State.RCPT, to="alice@example.org"))
    assert (again.action, again.delay) == ("DUNNO", 0.0)
    assert await told.ask(State.DATA, recipient_count=1) == HEADER
    assert await told.ask(State.DATA, recipient_count=1) == "DUNNO"
    await told.ask(State.END, recipient_count=1)
    await told.ask(State.END, recipient_count=1)
    await told.end()
    assert told.gate.judged.count(Stage.RCPT) == 1
    assert len(told.gate.finished) == 1
    assert told.gate.sessions[0].counters.recipients == 1


async def test_what_postfix_has_refused_after_us_is_counted_as_unknown():
    told = Told()
    for to in ("a@example.org", "b@example.org", "c@example.org"):
        await told.ask(State.RCPT, to=to)
    await told.ask(State.DATA, recipient_count=1)
    counters = told.gate.sessions[0].counters
    assert (counters.unknown, counters.accepted) == (2, 1)
    assert told.gate.sessions[0].named == []  # which of them it was is not told


@pytest.mark.parametrize(("data", "end"), [(True, False), (False, True), (True, True)])
async def test_a_mail_given_up_before_data_is_counted_where_data_would_have_been_seen(data, end):
    told = Told(data=data, end=end)
    await told.ask(State.RCPT, to="a@example.org")
    await told.ask(State.RCPT, to="b@example.org")
    assert told.client is not None
    assert told.client.in_hand
    await told.ask(State.RCPT, instance="a.2", to="a@example.org")
    (done,) = told.gate.finished
    assert (done.verdict, done.note) == (None, "client_gone")
    counters = told.gate.sessions[0].counters
    assert (counters.abandoned, counters.resets) == (2, 1)
    assert [(one.address.local, one.heard.value) for one in told.gate.sessions[0].named] == [
        ("a", "abandoned"),
        ("b", "abandoned"),
    ]


async def test_silence_says_nothing_where_data_was_never_asked_about():
    told = Told()
    await told.ask(State.RCPT, to="a@example.org")
    assert told.client is not None
    assert not told.client.in_hand
    await told.end()
    (done,) = told.gate.finished
    assert done.note == "end_not_seen"
    assert done.verdict is not None
    assert told.gate.sessions[0].counters.abandoned == 0


async def test_a_client_that_leaves_in_the_middle_of_a_message_has_not_delivered_it():
    told = Told(end=True)
    await told.ask(State.RCPT, to="a@example.org")
    await told.ask(State.DATA, recipient_count=1)
    await told.end()
    assert (told.gate.finished[0].verdict, told.gate.finished[0].note) == (None, "client_gone")
    assert told.gate.sessions[0].counters.abandoned == 0  # it was no probe


async def test_what_was_told_to_another_worker_is_not_known_here():
    told = Told()
    assert await told.ask(State.DATA, recipient_count=2) == HEADER
    await told.ask(State.END, recipient_count=2)
    await told.end()
    assert not told.gate.finished
    assert told.gate.sessions[0].counters.unknown == 0


async def test_the_only_recipient_of_a_mail_told_to_another_worker_is_known():
    told = Told()
    assert await told.ask(State.DATA, to="alice@example.org", recipient_count=1) == HEADER
    await told.ask(State.END, to="alice@example.org", recipient_count=1)
    assert told.gate.finished[0].recipients == ["alice@example.org"]
    assert told.gate.judged[:2] == [Stage.RCPT, Stage.DATA]


async def test_a_mail_whose_recipients_nobody_knows_is_refused_only_by_a_drop():
    told = Told()
    told.gate.say(Stage.DATA, Action.REJECT)
    assert await told.ask(State.DATA, recipient_count=2) == "DUNNO"
    told.gate.say(Stage.DATA, Action.DROP)
    assert (await told.ask(State.DATA, instance="a.2", recipient_count=2)).startswith("421 ")
    assert len(told.gate.refusals) == 1


async def test_vrfy_is_judged_as_a_recipient_and_counted():
    told = Told()
    assert await told.ask(State.VRFY, instance="", to="alice@example.org") == "DUNNO"
    told.gate.say(Stage.RCPT, Action.DEFER, to="bob@example.org")
    assert (await told.ask(State.VRFY, instance="", to="bob@example.org")).startswith("451 4.7.1 ")
    assert await told.ask(State.ETRN, instance="") == "DUNNO"
    counters = told.gate.sessions[0].counters
    assert (counters.verifies, counters.recipients) == (3, 0)


async def test_vrfy_in_the_middle_of_a_mail_does_not_end_it():
    told = Told(data=True)
    await told.ask(State.RCPT, to="alice@example.org")
    await told.ask(State.VRFY, to="bob@example.org")
    await told.ask(State.DATA, recipient_count=1)
    await told.ask(State.END, recipient_count=1)
    await told.end()
    assert [done.recipients for done in told.gate.finished] == [["alice@example.org"]]


async def test_a_refusal_that_would_be_held_for_a_recipient_is_given_to_etrn():
    told = Told()
    told.gate.say(Stage.HELO, Action.REJECT)
    verdict = await told.gate.judge(Stage.HELO, _mail(told.gate))
    told.gate._said[Stage.HELO, ""] = replace(verdict, action=Action.ACCEPT, held=Action.REJECT)
    assert (await told.ask(State.ETRN, instance="")).startswith("550 5.7.1 ")


def _mail(gate: FakeGate) -> Any:
    from gatekeeper.model import Mail

    session = gate.session("policy_service")
    return Mail(session, gate.envelope(session))


async def test_another_hello_or_tls_or_login_is_another_client_to_the_gate():
    told = Told()
    await told.ask(State.RCPT, to="alice@example.org")
    await told.ask(State.RCPT, instance="a.2", to="alice@example.org")
    assert told.gate.renewed == 0
    await told.ask(State.RCPT, instance="a.3", to="alice@example.org", helo="other.example.net")
    await told.ask(State.RCPT, instance="a.4", to="alice@example.org", helo="other.example.net", login="someone")
    assert told.gate.renewed == 2
    assert told.gate.sessions[0].helo == "other.example.net"
    assert len(told.gate.sessions) == 1


async def test_a_client_that_connects_again_is_another_one():
    told = Told()
    await told.ask(State.RCPT, to="alice@example.org")
    assert told.client is not None
    assert not told.client.is_of(request(State.RCPT, port=4712))
    assert not told.client.is_of(request(State.RCPT, address=ip_address("192.0.2.11")))


async def test_a_mail_has_room_for_so_many_recipients(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(policy_client, "MOST_RECIPIENTS", 2)
    told = Told()
    for to in ("a@example.org", "b@example.org"):
        assert await told.ask(State.RCPT, to=to) == "DUNNO"
    assert (await told.ask(State.RCPT, to="c@example.org")).startswith("452 4.5.3 ")


@pytest.mark.parametrize("state", [None, State.RCPT])
async def test_a_question_about_nothing_is_not_judged(state):
    told = Told()
    assert await told.ask(state) == "DUNNO"
    assert not told.gate.judged
    await told.end()


BUSY = "451 4.3.2 Too busy for new mail at the moment, try again in a few minutes"


async def test_under_load_an_unknown_clients_mail_is_put_off_whatever_name_it_asks_for():
    told = Told()
    told.overload.take(Gauges(memory=0.8), now=0.0)
    for name in ("alice", "nobody"):
        assert await told.ask(State.RCPT, to=f"{name}@example.org", address=ip_address("198.51.100.7")) == BUSY
    await told.end()
    assert told.gate.judged == []
    assert told.gate.looked_up == [["198.51.100.7"]]
    assert told.gate.finished == []


async def test_under_load_a_known_clients_mail_is_put_off_last():
    told = Told()
    told.gate.known = {"198.51.100.7"}
    client: dict[str, Any] = {"address": ip_address("198.51.100.7")}
    told.overload.take(Gauges(memory=0.8), now=0.0)
    assert await told.ask(State.RCPT, to="alice@example.org", **client) == "DUNNO"
    told.overload.take(Gauges(memory=0.97), now=1.0)
    assert await told.ask(State.RCPT, to="bob@example.org", **client) == "DUNNO"  # the mail in hand is finished
    assert await told.ask(State.DATA, recipient_count=2, **client) == HEADER
    assert await told.ask(State.END, recipient_count=2, **client) == "DUNNO"
    assert await told.ask(State.RCPT, "a.2", to="alice@example.org", **client) == BUSY
    await told.end()
