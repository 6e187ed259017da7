"""What do the operator's own lists say: deny, allow, or exempt from lists, rates and greylisting (RFC 2505 §2.5)?

The first line that a mail meets counts. What a client merely says of itself lets nobody in: an `allow` or `exempt` by
HELO or by sender counts only where the name is shown to be the client's (its reverse name leads back to it), or the
sender's domain to be behind the mail (SPF or DKIM). A `deny` needs no proof.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Final

from gatekeeper.checks.base import ReverseName, Tools
from gatekeeper.checks.keys import mailbox, sender_confirmed
from gatekeeper.checks.list_index import Facts, ListIndex, Met
from gatekeeper.checks.list_source import ListSource, Read, read_files, summary
from gatekeeper.dns.lists import plain
from gatekeeper.model import Action, Finding, Kind, Mail, Rule, Stage, setting
from gatekeeper.wire.list_lines import ListEntry
from gatekeeper.wire.process import START_VARIABLE

DENY = "OPERATOR_DENY"
ALLOW = "OPERATOR_ALLOW"
EXEMPT = "OPERATOR_EXEMPT"
_RULES: Final = {"deny": DENY, "allow": ALLOW, "exempt": EXEMPT}
_CLAIMED: Final = frozenset({"helo", "sender"})
"""What anybody can say."""
_AT_CONNECT: Final = frozenset({"address"})
_AT_MAIL: Final = frozenset({"address", "name", "helo", "sender"})
_AT_RCPT: Final = frozenset({*_AT_MAIL, "recipient"})


@dataclass(frozen=True)  # without slots, for what is kept of one process
class OperatorLists:
    """[checks.operator_lists]"""

    name: ClassVar[str] = "operator_lists"

    files: tuple[str, ...] = setting(
        (), 'Files with a line for each entry, such as "/etc/gatekeeper/lists/*.list"; docs/lists.md.'
    )

    def __post_init__(self) -> None:
        for path in self.files:
            if not path.startswith("/"):
                raise ValueError(f'files: "{path}" must be a whole path, such as "/etc/gatekeeper/lists/local.list"')
        read = read_files(self.files) if self.files else Read()
        # The parent has read them when it read the configuration. A process that takes another's place later has to
        # make do with the good lines: none at all would be worse.
        if read.problems and START_VARIABLE not in os.environ:
            raise ValueError(f"files: {summary(read.problems)}")
        self._source.start(read)

    def rules(self) -> Sequence[Rule]:
        return (
            Rule(DENY, 0.0, "This site does not take mail from there.", kind=Kind.OPERATOR, decides=Action.REJECT),
            Rule(ALLOW, 0.0, "The operator lets it in.", kind=Kind.IDENTITY, decides=Action.ACCEPT),
            Rule(
                EXEMPT,
                0.0,
                "The operator exempts it from lists, rates and greylisting.",
                kind=Kind.IDENTITY,
                exempts=frozenset({Kind.LIST, Kind.RATE}),
            ),
        )

    def foresee(self, mail: Mail) -> Sequence[str]:
        """Only a sender that a line lets in, and that is not yet shown to be behind the mail, can still be let in."""
        return (ALLOW, EXEMPT) if self.name in mail.envelope.memo else ()

    def possible(self) -> Sequence[str]:
        """What its lines can do to a client whose address has been looked at."""
        return [_RULES[action] for action in sorted(self._source.index.later_actions)]

    async def inspect(self, mail: Mail, tools: Tools) -> Sequence[Finding]:
        now = tools.clock()
        index = await self._source.fresh(tools.store, now=now)
        if not index or (mail.stage >= Stage.DATA and self.name not in mail.envelope.memo):
            return ()
        if mail.stage is Stage.RCPT and not index.has("recipient"):
            return ()  # it was said at MAIL
        facts, known = _facts(mail)
        met = index.first(facts, now=now, known=known, usable=lambda entry: _confirmed(entry, mail))
        if mail.stage < Stage.DATA:
            self._foresee(index, mail, facts, met, now)
        if met is None:
            return ()
        if mail.stage >= Stage.DATA and met.entry.action == "deny":
            return ()  # it was said where it was met
        return _finding(met, connecting=mail.stage <= Stage.CONNECT)

    @cached_property
    def _source(self) -> ListSource:
        return ListSource(self.files)

    def _foresee(self, index: ListIndex, mail: Mail, facts: Facts, met: Met | None, now: float) -> None:
        """Note whether a line would let the sender in, once a signature shows it to be behind the mail."""
        if "sender" not in facts or self.name in mail.envelope.memo:
            return
        hoped = index.first(
            facts, now=now, known=_AT_RCPT, usable=lambda one: one.about == "sender" or _confirmed(one, mail)
        )
        if hoped is not None and hoped.entry.action != "deny" and (met is None or hoped.entry is not met.entry):
            mail.envelope.memo[self.name] = True


def _facts(mail: Mail) -> tuple[Facts, frozenset[str]]:
    """What is known of the mail at its stage, and of which of it nothing more will become known."""
    session, envelope = mail.session, mail.envelope
    facts: dict[str, object] = {}
    if session.address is not None:
        facts["address"] = plain(session.address)
    if mail.stage <= Stage.CONNECT:
        return facts, _AT_CONNECT  # type: ignore[return-value]  # addresses and text, by their keys
    name = mail.evidence(ReverseName)
    if name is not None and name.confirmed:
        facts["name"] = name.name.lower()
    if session.helo:
        facts["helo"] = session.helo.lower()
    if envelope.sender is not None and not envelope.sender.null:
        facts["sender"] = mailbox(envelope.sender)
    if mail.recipient is not None and mail.stage is Stage.RCPT:
        facts["recipient"] = mailbox(mail.recipient.address)
    return facts, _AT_MAIL if mail.stage is Stage.MAIL else _AT_RCPT  # type: ignore[return-value]  # as above


def _confirmed(entry: ListEntry, mail: Mail) -> bool:
    """Whether it may count: a claim that lets in must be shown to be true."""
    if entry.action == "deny" or entry.about not in _CLAIMED:
        return True
    if entry.about == "sender":
        return sender_confirmed(mail)
    name, helo = mail.evidence(ReverseName), (mail.session.helo or "").lower()
    if helo.startswith("["):
        address = "" if mail.session.address is None else str(plain(mail.session.address))
        return helo in (f"[{address}]", f"[ipv6:{address}]")
    return name is not None and name.confirmed and name.name.lower() == helo


def _finding(met: Met, *, connecting: bool) -> Sequence[Finding]:
    entry = met.entry
    if connecting or not met.final:
        # A line before it may still be met, and what is found when a client connects stays as long as it does. Until
        # it names a sender, nobody whom a line lets in is turned away for a rate or a block.
        return () if entry.action == "deny" else (Finding(EXEMPT, entry, _text(entry)),)
    text = _text(entry)
    if entry.action == "deny":
        text = entry.reason or "This site does not take mail " + (
            "for this recipient" if entry.about == "recipient" else "from there"
        )
    return (Finding(_RULES[entry.action], entry, text),)


def _text(entry: ListEntry) -> str:
    because = f" ({entry.reason})" if entry.reason else ""
    return f"{entry.action} {entry.about} {entry.pattern}{because}, {entry.place}"
