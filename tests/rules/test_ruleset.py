"""All rules in force, and which of them a message meets."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatekeeper.message.content import content_of
from gatekeeper.model import Envelope, Mail, Session
from gatekeeper.rules import automaton
from gatekeeper.rules.facts import Surroundings
from gatekeeper.rules.rule import RulesUnusable
from gatekeeper.rules.ruleset import HOSTS_MOST, SEEN_MOST, Match, Ruleset, ruleset
from tests.support.mail import message_of

RULES = """
[groups]
cards = 1.0

[brands]
"paypal" = ["paypal.com"]

[CARDS]
about = "Cards."
score = 0.8
group = "cards"
text.cards = 'gift ?cards?'
link.card = '/card'
when = "cards and (card or links == 0) and not list"
match = "Subject: gift card\\n\\nx"
no_match = "Subject: x\\n\\nx"

[MAILER]
about = "Mailer."
score = 0.3
source = "RFC 1"
header.x-mailer = '(?i)bulk'
match = "X-Mailer: BULK\\n\\nx"
no_match = "X-Mailer: other\\n\\nx"

[PLACES]
about = "Places."
score = 0.3
author = 'the desk'
hidden = 'secret'
names = 'a\\\\.exe'
raw = 'Content-Transfer'
host = '^else\\\\.net$'
when = "1 of (author, hidden, names, raw, host)"
match = "From: The Desk <a@b.net>\\n\\nx"
no_match = "Subject: x\\n\\nx"

[BRAND]
about = "Brand."
score = 1.0
when = "brand_name"
match = "From: PayPal <a@else.net>\\n\\nx"
no_match = "From: PayPal <a@paypal.com>\\n\\nx"

[FEW_WORDS]
about = "Few."
score = 0.0
when = "not words > 1000000"
match = "Subject: x\\n\\nx"
no_match = "Subject: x\\n\\nx"
""".replace("'a\\\\.exe'", r"'a\.exe'").replace(r"'^else\\.net$'", r"'^else\.net$'")


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Ruleset:
    file = tmp_path_factory.mktemp("rules") / "a.toml"
    file.write_text(RULES)
    return Ruleset([str(file)], shipped=False)


def met(rules: Ruleset, raw: str | bytes) -> dict[str, Match]:
    message = message_of(raw)
    mail = Mail(Session("s", "check", 0.0), Envelope("e"), message)
    found = rules.matches(
        mail, message, content_of(message), Surroundings("mx.example.org", frozenset({"example.org"}))
    )
    return {match.rule.name: match for match in found if match.rule.name != "FEW_WORDS"}


def test_what_is_met_is_told_with_place_and_facts_and_without_text(rules):
    found = met(rules, "Subject: GIFT\u200bCARDS\n\nx")["CARDS"]
    assert (found.places, found.facts) == (("the subject",), ())
    raw = "Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nfirst\n--b\n\ngift card https://else.net/card\n--b--\n"
    found = met(rules, raw)["CARDS"]
    assert found.places == ("the text of part 2", "a link")
    assert found.facts == ("links=1",)


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        ("From: =?utf-8?q?The_D=C3=A9sk?= <a@b.net>\n\nx", "the author's name"),
        ("Content-Type: text/html\n\n<p hidden>SECRET</p>x", "the hidden text"),
        ("Content-Disposition: attachment; filename=A.EXE\n\nx", "a file's name"),
        (
            "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Transfer-Encoding: 7bit\n\nx\n--b--",
            "the body as it came",
        ),
        ("Subject: x\n\nhttps://ELSE.net/", "a link's host"),
    ],
)
def test_each_place_is_looked_at(rules, raw, place):
    assert met(rules, raw)["PLACES"].places == (place,)


@pytest.mark.parametrize(
    ("links", "hosts"),
    [
        ("https://ELSE.net/a", ("else.net",)),
        ("https://other.net/b https://else.net. https://third.net", ("else.net",)),
        ("https://else.org/x https://sub.else.net/card?to=ann@example.org", ("sub.else.net",)),
        ("https://good.example@evil.net/card", ("evil.net",)),
        ("https://evil.net?https://good.example/card", ("evil.net",)),
        ("https://[2001:db8::1]:8080/card", ("2001:db8::1",)),
        ("https://else.net/card", ("else.net",)),  # by both patterns, told once
    ],
)
def test_of_a_link_that_matched_the_host_is_told_and_no_more(rules, links, hosts):
    found = met(rules, f"Subject: gift cards\n\n{links}")
    assert (found.get("PLACES") or found["CARDS"]).hosts == hosts
    assert all(each.hosts in (hosts, ()) for each in found.values())


def test_a_link_cannot_break_the_line_of_another(rules):
    raw = "Subject: gift cards\nContent-Type: text/html\n\n"
    raw += '<a href="https://evil.net/&#10;&#13;https://good.example/card">x</a>'
    assert met(rules, raw)["CARDS"].hosts == ("evil.net",)


def test_only_so_many_hosts_of_one_rule_are_told(tmp_path):
    file = tmp_path / "a.toml"
    patterns = "".join(f"host.h{n} = '^h{n}\\.'\n" for n in range(9))
    file.write_text(
        f'[HOSTS]\nabout = "x."\nscore = 0.1\n{patterns}match = "Subject: x\\n\\nx"\nno_match = "Subject: x\\n\\nx"\n'
    )
    raw = "Subject: x\n\n" + " ".join(f"https://h{n}.else.net/" for n in range(9))
    hosts = met(Ruleset([str(file)], shipped=False), raw)["HOSTS"].hosts
    assert hosts == tuple(f"h{n}.else.net" for n in range(HOSTS_MOST))


def test_what_matched_elsewhere_has_no_host(rules):
    assert met(rules, "From: The Desk <a@b.net>\n\nhttps://other.net/")["PLACES"].hosts == ()


def test_header_fields_are_looked_at_as_they_are(rules):
    assert met(rules, "X-Mailer: other\nX-Mailer: =?us-ascii?q?The_bulk?=\n\nx")["MAILER"].places == (
        "the field x-mailer",
    )


def test_what_is_not_met_is_not_found(rules):
    assert met(rules, "Subject: gift\n\ncards https://else.org/card") == {}
    assert met(rules, "Subject: gift cards\nList-Id: <x>\n\nx") == {}


def test_brands_are_facts(rules):
    assert met(rules, "From: PayPal Service <a@else.net>\n\nx")["BRAND"].facts == ("brand_name=1",)
    assert met(rules, "From: PayPal Service <a@mail.paypal.com>\n\nx") == {}


def test_of_a_long_text_the_beginning_and_the_end_are_looked_at(rules):
    padding = "word " * (SEEN_MOST // 4)
    assert "CARDS" in met(rules, f"\ngift card {padding}")
    assert "CARDS" in met(rules, f"\n{padding} gift card")


@settings(max_examples=50)
@given(st.binary(max_size=400))
def test_whatever_comes_is_looked_through(rules, raw):
    met(rules, raw)
    met(rules, b"From: " + raw)


def test_what_is_switched_off_is_not_looked_for(tmp_path):
    file = tmp_path / "a.toml"
    file.write_text(RULES)
    some = Ruleset([str(file)], ["CARDS"], shipped=False)
    assert "CARDS" not in {rule.name for rule in some.rules}
    assert [rule.name for rule in some.switched_off] == ["CARDS"]
    with pytest.raises(RulesUnusable, match="did you mean 'CARDS'"):
        Ruleset([str(file)], ["CARD"], shipped=False)


def test_without_the_engine_rules_with_patterns_are_left_out_and_the_others_work(tmp_path, monkeypatch):
    monkeypatch.setattr(automaton, "AVAILABLE", False)
    file = tmp_path / "a.toml"
    file.write_text(RULES)
    some = Ruleset([str(file)], shipped=False)
    assert [rule.name for rule in some.rules] == ["FEW_WORDS"]
    assert len(some.left_out) == 4
    assert met(some, "X-Mailer: bulk\n\nx") == {}


def test_a_pattern_that_the_engine_refuses_is_named_with_file_and_key(tmp_path):
    file = tmp_path / "a.toml"
    file.write_text(RULES.replace("'gift ?cards?'", "'x*'"))
    with pytest.raises(RulesUnusable) as refused:
        Ruleset([str(file)], shipped=False).prepare()
    problem = refused.value.problems[0]
    assert (problem.file, problem.path) == (str(file), ("CARDS", "text", "cards"))
    assert "the engine cannot take this pattern: Pattern matches empty buffer" in problem.text


def test_files_that_have_not_changed_are_read_once(tmp_path):
    file = tmp_path / "a.toml"
    file.write_text(RULES)
    first = ruleset((str(file),), shipped=False)
    assert ruleset((str(file),), shipped=False) is first
    file.write_text(RULES + "\n# changed\n")
    assert ruleset((str(file),), shipped=False) is not first
