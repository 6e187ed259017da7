"""What does the message say and how is it made, by rules that stand in files as data?"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Final

from gatekeeper.checks.base import MESSAGE_FORM, Tools
from gatekeeper.message.content import Content, read_content
from gatekeeper.model import Finding, Group, Kind, Mail, Message, Missing, Rule, setting
from gatekeeper.rules.facts import Surroundings
from gatekeeper.rules.rule import ContentRule
from gatekeeper.rules.ruleset import Match, Ruleset, ruleset

AT_ONCE: Final = 64 * 1024
"""Characters of text that are looked through in one go; more of them in a thread, so that nobody waits."""


@dataclass(frozen=True, slots=True)
class RuleEvidence:
    """Where the rule's patterns matched and the facts that it went by; of what stands there only the `hosts` of links,
    from the network. `source` is the law or standard that the rule comes from.
    """

    places: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    source: str = ""
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True)  # without slots, for what is worked out once
class Rules:
    """[checks.rules]"""

    name: ClassVar[str] = "rules"

    paths: tuple[str, ...] = setting((), "Files of your own rules, beside those that come with gatekeeper.")
    disabled: tuple[str, ...] = setting((), "Rules that are not looked for, by name.")
    shipped: bool = setting(True, "Whether the rules that come with gatekeeper are looked for.")

    @cached_property
    def ruleset(self) -> Ruleset:
        """Raises RulesUnusable."""
        return ruleset(self.paths, self.disabled, shipped=self.shipped)

    def rules(self) -> Sequence[Rule]:
        """Raises RulesUnusable."""
        return [self._rule(each) for each in self.ruleset.rules]

    def switched_off(self) -> Sequence[Rule]:
        """Those that are not looked for, and may be given a score all the same."""
        return [self._rule(each) for each in (*self.ruleset.switched_off, *self.ruleset.left_out)]

    def _rule(self, each: ContentRule) -> Rule:
        group = MESSAGE_FORM if each.kind is Kind.FORM else _group(each.group, self.ruleset.groups)
        return Rule(each.name, each.score, each.about, each.kind, group=group, source=each.source)

    def prepare(self) -> None:
        """Compile the rules now, and not at the first message. Raises RulesUnusable."""
        self.ruleset.prepare()

    async def inspect(self, mail: Mail, tools: Tools) -> Sequence[Finding | Missing]:
        message = mail.message
        if message is None:
            return ()
        content = await read_content(message)
        around = Surroundings(tools.hostname, tools.domains)
        if sum(len(text.seen) + len(text.hidden) for text in content.texts) > AT_ONCE:
            return await asyncio.to_thread(self._found, mail, message, content, around)
        return self._found(mail, message, content, around)

    def _found(self, mail: Mail, message: Message, content: Content, around: Surroundings) -> list[Finding]:
        return [_finding(match) for match in self.ruleset.matches(mail, message, content, around)]


def _group(name: str, caps: Mapping[str, float]) -> Group | None:
    return Group(f"RULES_GROUP_{name.upper()}", caps[name]) if name else None


def _finding(match: Match) -> Finding:
    places, facts = " and ".join(match.places), ", ".join(match.facts)
    text = " ".join(part for part in (f"in {places}" if places else "", f"({facts})" if facts else "") if part)
    return Finding(match.rule.name, RuleEvidence(match.places, match.facts, match.rule.source, match.hosts), text)
