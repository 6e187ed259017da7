"""What rules in files find."""

import asyncio
import re
from pathlib import Path

import pytest

from gatekeeper.checks.base import MESSAGE_FORM, Tools
from gatekeeper.checks.rules import RuleEvidence, Rules
from gatekeeper.model import Envelope, Finding, Kind, Mail, Session
from gatekeeper.records.evidence import Room, evidence_of
from gatekeeper.rules.rule import RulesUnusable
from gatekeeper.store.memory import MemoryStore
from tests.support.fake_resolver import FakeResolver
from tests.support.mail import message_of

SPAM = (
    "From: X <x@gmail.com>\nTo: a@example.org\nSubject: Task\n\nBuy gift cards and send me the codes. https://x.net/1\n"
)


async def found(check: Rules, raw: str | None) -> list[Finding]:
    mail = Mail(Session("s", "smtp", 0.0), Envelope("e"), None if raw is None else message_of(raw))
    tools = Tools(FakeResolver({}), MemoryStore(), lambda: 0.0, "mx.example.org", frozenset({"example.org"}))
    return [each for each in await check.inspect(mail, tools) if isinstance(each, Finding)]


async def test_a_rule_that_is_met_is_a_finding_with_its_places():
    (finding,) = [each for each in await found(Rules(), SPAM) if each.rule == "GIFT_CARDS"]
    assert finding.evidence == RuleEvidence(("the text",), ("links=1", "words=9"))
    assert finding.text == "in the text (links=1, words=9)"
    assert evidence_of(finding.evidence, Room(1000)) == {
        "type": "RuleEvidence", "places": ["the text"], "facts": ["links=1", "words=9"], "source": "",
        "hosts": [],
    }  # fmt: skip


async def test_the_evidence_has_the_law_behind_a_rule_and_the_host_of_the_link_that_it_was_met_by():
    raw = (
        "From: a@b.net\nTo: a@example.org\nSubject: x\nMessage-ID: none\n\nhttps://Gone.Netlify.App/to?ann@example.org"
    )
    met = {each.rule: each for each in await found(Rules(), raw)}
    assert met["MESSAGE_ID_MALFORMED"].evidence.source == "RFC 5322 §3.6.4"
    assert met["LINK_FREE_HOST"].evidence.hosts == ("gone.netlify.app",)
    assert met["LINK_FREE_HOST"].text == "in a link's host"  # which a refusal may tell the sender


def test_the_page_on_rules_has_the_source_of_each_rule_that_has_one():
    page = (Path(__file__).parents[2] / "docs" / "rules.md").read_text()
    told = dict(re.findall(r"^\| `([A-Z_]+)` \| (.*) \|$", page, re.MULTILINE))
    assert told == {rule.name: rule.source for rule in Rules().rules() if rule.source}


@pytest.mark.parametrize(
    "raw", [None, "From: a@shop.net\nTo: b@example.org\nSubject: Lunch\n\nShall we meet at noon?\n"]
)
async def test_a_message_like_any_other_has_nothing(raw):
    """Nobody is asked, and so there is no outage."""
    assert await found(Rules(), raw) == []


async def test_what_is_switched_off_is_not_found_and_may_still_have_a_score():
    check = Rules(disabled=("GIFT_CARDS",))
    assert "GIFT_CARDS" not in [each.rule for each in await found(check, SPAM)]
    assert [rule.name for rule in check.switched_off()] == ["GIFT_CARDS"]


async def test_the_sites_own_rules_stand_beside_those_that_ship(tmp_path):
    file = tmp_path / "own.toml"
    file.write_text('[OUR_OWN]\nabout = "x."\nscore = 1.0\nseen = "codes"\nmatch = "\\ncodes"\nno_match = "\\nx"\n')
    assert {"OUR_OWN", "GIFT_CARDS"} <= {each.rule for each in await found(Rules(paths=(str(file),)), SPAM)}
    assert [each.rule for each in await found(Rules(paths=(str(file),), shipped=False), SPAM)] == ["OUR_OWN"]


async def test_a_large_text_is_looked_through_in_a_thread(monkeypatch):
    threads = []
    before = asyncio.to_thread

    async def noted(function, *arguments):
        threads.append(function)
        return await before(function, *arguments)

    monkeypatch.setattr("asyncio.to_thread", noted)
    assert "GIFT_CARDS" not in [each.rule for each in await found(Rules(), SPAM + "word " * 30_000)]  # too many words
    assert len(threads) == 1
    await found(Rules(), SPAM)
    assert len(threads) == 1


def test_rules_of_form_share_one_cap_with_other_checks():
    made = {rule.name: rule for rule in Rules().rules()}
    assert {rule.group for rule in made.values() if rule.kind is Kind.FORM} == {MESSAGE_FORM}
    assert made["ACCOUNT_THREAT"].group is not None
    assert made["LINK_ALONE"].group is None


def test_files_that_are_wrong_are_refused_before_any_mail(tmp_path):
    with pytest.raises(RulesUnusable):
        Rules(paths=(str(tmp_path / "missing.toml"),)).rules()
    Rules().prepare()
