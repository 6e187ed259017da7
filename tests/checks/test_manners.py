from __future__ import annotations

from ipaddress import ip_address

import pytest

from gatekeeper.checks.base import Tools
from gatekeeper.checks.manners import SCORE, Manners, OtherProtocol, TurnNotWaitedFor
from gatekeeper.model import Action, Envelope, Mail, Session
from gatekeeper.policy import Policy, Settings
from gatekeeper.store.memory import MemoryStore
from tests.support.fake_resolver import FakeResolver
from tests.support.fake_store import FakeStore

TOOLS = Tools(FakeResolver(), MemoryStore(), lambda: 0.0, "mx.example.org", frozenset())


def session(**facts: object) -> Session:
    made = Session("s", "smtp", 0.0, address=ip_address("192.0.2.5"))
    for name, value in facts.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("facts", "rules"),
    [
        ({}, []),
        ({"familiar": False}, []),
        ({"spoke_early": "EHLO x"}, ["SPOKE_EARLY"]),
        ({"pipelined": "EHLO"}, ["PIPELINED_EARLY"]),
        ({"spoke_early": "EHLO x", "pipelined": "EHLO", "familiar": False}, ["SPOKE_EARLY", "PIPELINED_EARLY"]),
        ({"spoke_early": "EHLO x", "pipelined": "EHLO", "familiar": True}, []),
        ({"spoke_early": "GET / ", "speaks": "http"}, ["NOT_SMTP"]),
        ({"speaks": "http", "familiar": True}, ["NOT_SMTP"]),
    ],
)
def test_bad_manners_are_found_at_a_glance_but_not_in_those_whose_mail_is_wanted(facts, rules):
    assert [finding.rule for finding in Manners().glance(session(**facts))] == rules


def test_the_evidence_says_what_came_too_early():
    early, pipelined = Manners().glance(session(spoke_early="EHLO x", pipelined="DATA"))
    assert (early.evidence, pipelined.evidence) == (TurnNotWaitedFor("EHLO x"), TurnNotWaitedFor("DATA"))
    assert Manners().glance(session(speaks="tls"))[0].evidence == OtherProtocol("tls")


async def test_asked_by_the_gate_it_finds_what_is_new():
    client = session(spoke_early="EHLO x", pipelined="DATA")
    client.notebook.findings.append(Manners().glance(client)[0])
    assert [f.rule for f in await Manners().inspect(Mail(client, Envelope("e")), TOOLS)] == ["PIPELINED_EARLY"]


async def test_it_asks_nobody_so_that_no_outage_is_felt():
    store = FakeStore()
    store.away = True
    away = Tools(FakeResolver(), store, lambda: 0.0, "mx.example.org", frozenset())
    assert await Manners().inspect(Mail(session(pipelined="EHLO"), Envelope("e")), away) != []
    assert await Manners().inspect(Mail(session(), Envelope("e")), away) == []


@pytest.mark.parametrize(("setting", "action", "score"), [("drop", Action.DROP, 0.0), ("score", Action.ACCEPT, SCORE)])
def test_the_operator_says_whether_that_is_enough_to_be_dropped(setting, action, score):
    check = Manners(early=setting, pipelining=setting)
    policy = Policy(Settings(), check.rules())
    for facts in ({"spoke_early": "x"}, {"pipelined": "EHLO"}):
        verdict = policy.decide(check.glance(session(**facts)))
        assert (verdict.action, verdict.score) == (action, score)
    assert policy.decide(check.glance(session(speaks="tls"))).code == 421
