"""Each rule's own test messages: does it match what it must, and leave what it must not?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gatekeeper.message.content import content_of
from gatekeeper.message.header import header_of
from gatekeeper.message.reading import read_message
from gatekeeper.model import Address, Envelope, Mail, Message, Recipient, Session
from gatekeeper.rules.facts import Surroundings
from gatekeeper.rules.rule import RuleProblem
from gatekeeper.rules.ruleset import Match, Ruleset
from gatekeeper.wire.mailboxes import parse_address_list

HOSTNAME: Final = "mx.example.org"
DOMAINS: Final = frozenset({"example.org"})
"""What we are called while rules are tried."""


def failures(rules: Ruleset) -> Iterator[RuleProblem]:
    """A problem for each test message that does not come out as its rule says. Raises RulesUnusable."""
    for rule in rules.rules:
        for key, texts, wanted in (("match", rule.match, True), ("no_match", rule.no_match, False)):
            for number, text in enumerate(texts, 1):
                found = any(match.rule.name == rule.name for match in tried(rules, text))
                if found != wanted:
                    which = f"message {number} of {key}" if len(texts) > 1 else f"the message of {key}"
                    yield RuleProblem(
                        rule.file,
                        (rule.name, key),
                        f"{which} is {'' if found else 'not '}matched: mend the rule or the message",
                    )


def tried(rules: Ruleset, text: str) -> list[Match]:
    """Every rule that a message met, as it would here. Return-Path and Delivered-To stand for the envelope."""
    message = read_message(text.encode("utf-8", "surrogateescape"))
    mail = Mail(Session("trial", "check", 0.0), _envelope(message), message)
    return rules.matches(mail, message, content_of(message), Surroundings(HOSTNAME, DOMAINS))


def _envelope(message: Message) -> Envelope:
    envelope = Envelope("trial")
    for box in _boxes(message, "return-path"):
        envelope.sender = box
    envelope.recipients = [Recipient(box) for box in _boxes(message, "delivered-to")]
    return envelope


def _boxes(message: Message, name: str) -> list[Address]:
    return [box.address for field in header_of(message).all(name) for box in parse_address_list(field.value).mailboxes]
