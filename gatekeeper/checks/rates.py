"""Does more come from somebody, or to somebody, than the operator lets through in a time (RFC 2505 §2.8)?

Each limit is a leaky bucket with a brim (GCRA): so much at once, and as much again over its time. Whoever is put off
has spent nothing, so that trying early does not make the wait longer. What comes to somebody is counted when it has
been taken: otherwise whoever names a mailbox often, and sends nothing, would shut out all others. A client whose mail
was accepted before has more room. The null sender is nobody's mailbox: what is counted by sender does not count it
(RFC 2505 §2.6.1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from typing import ClassVar, Final, Literal

from gatekeeper.checks.base import Tools
from gatekeeper.checks.keys import client_key, identities, mailbox, network_key
from gatekeeper.checks.ledger import Ledger
from gatekeeper.checks.waiting import after, next_try
from gatekeeper.dns.lists import outside, plain
from gatekeeper.model import (
    EXEMPT_MAILBOXES,
    Action,
    Duration,
    Finding,
    Kind,
    Mail,
    Recipient,
    Rule,
    Size,
    Stage,
    setting,
)
from gatekeeper.store.base import Limit
from gatekeeper.wire.list_lines import ListEntry

What = Literal["messages", "recipients", "connections", "bytes"]
Who = Literal["address", "network", "sender", "sender_domain", "authenticated_domain", "recipient"]

RULES: Final = {
    "messages": "RATE_MESSAGES",
    "recipients": "RATE_RECIPIENTS",
    "connections": "RATE_CONNECTIONS",
    "bytes": "RATE_BYTES",
}
_WORDS: Final = {
    "address": "from your address",
    "network": "from your network",
    "sender": "of this sender",
    "sender_domain": "of this sender's domain",
    "authenticated_domain": "of this domain",
    "recipient": "to this recipient",
}
SPREAD: Final = 0.25
"""The part of a limit's time over which those are spread that it has put off."""
LONGEST_SPREAD: Final = 3600.0


@dataclass(frozen=True, slots=True)
class RateLimit:
    """One table of [[checks.rates.limits]]."""

    what: What = setting("messages", 'What is counted: "messages", "recipients", "connections" or "bytes".')
    per: tuple[Who, ...] = setting(
        ("address",),
        'Whose: "address", "network" (/24, /56), "sender", "sender_domain", "authenticated_domain" (by SPF or DKIM), '
        '"recipient"; several together are one count for each combination.',
    )
    most: int = setting(0, "How many may come at once; as many come back in the time.")
    size: Size = setting(0, 'The same for "bytes", as a size.')
    within: Duration = setting(3600.0, "The time.")

    def __post_init__(self) -> None:
        if self.what == "bytes" and (self.size <= 0 or self.most):
            raise ValueError('a limit on bytes says size = "1GiB", and not most')
        if self.what != "bytes" and (self.most <= 0 or self.size):
            raise ValueError(f"a limit on {self.what} says most = 100, and not size")
        if not 1 <= self.within <= 31 * 86400:
            raise ValueError("within must be from a second to 31 days")
        if not self.per or len(set(self.per)) < len(self.per):
            raise ValueError('per names each of whom it counts once, such as per = ["network", "sender"]')
        if self.what == "connections" and not set(self.per) <= {"address", "network"}:
            raise ValueError('a limit on connections is per "address" or "network": nothing else is known then')

    @property
    def burst(self) -> float:
        return float(self.size if self.what == "bytes" else self.most)

    @property
    def stage(self) -> Stage:
        """The first at which all that it counts by is known."""
        if self.what == "connections":
            return Stage.CONNECT
        if self.what == "recipients":
            return Stage.RCPT
        if self.what == "bytes" or "authenticated_domain" in self.per:
            return Stage.MESSAGE
        return Stage.RCPT if "recipient" in self.per else Stage.MAIL

    @property
    def shown(self) -> str:
        amount = f"{self.size} bytes" if self.what == "bytes" else f"{self.most} {self.what}"
        return f"{amount} within {self.within:.0f} s per {' and '.join(self.per)}"


DEFAULTS: Final = (
    RateLimit("messages", ("address",), most=10_000, within=3600.0),
    RateLimit("messages", ("network", "sender"), most=5_000, within=3600.0),
    RateLimit("messages", ("recipient",), most=3_000, within=3600.0),
)
"""A flood, and nothing that a newsletter or a busy mailbox comes near."""


@dataclass(frozen=True, slots=True)
class RateExceeded:
    """Which limit has no room, for whom, and from when on it has again; `next_try` is what the sender was told.

    Both are Unix time.
    """

    limit: str
    whom: tuple[str, ...]
    room_at: float
    next_try: float


@dataclass(frozen=True)  # without slots, for what is kept of one process
class Rates:
    """[checks.rates]"""

    name: ClassVar[str] = "rates"

    limits: tuple[RateLimit, ...] = setting(DEFAULTS, "The limits; giving one replaces all that ship.")
    room_every: int = setting(200, "For each so many messages accepted from a client it has its limits once more.")
    room_most: float = setting(10.0, "How many times its limits a client has at most.")
    room_refused: float = setting(5.0, "How many accepted messages one that we refused takes away.")

    def __post_init__(self) -> None:
        if self.room_every < 1 or self.room_most < 1 or self.room_refused < 0:
            raise ValueError("room_every and room_most must be at least 1, room_refused at least 0")
        seen = set()
        for one in self.limits:
            same = (one.what, frozenset(one.per), one.within)
            if same in seen:
                raise ValueError(f"two limits count {one.what} per {', '.join(one.per)} within the same time: keep one")
            seen.add(same)

    def rules(self) -> Sequence[Rule]:
        def rule(what: str, about: str, decides: Action = Action.DEFER) -> Rule:
            return Rule(RULES[what], 0.0, about, kind=Kind.RATE, decides=decides, tells=True)

        return (
            rule("messages", "More messages came than a limit lets through."),
            rule("recipients", "More recipients were named than a limit lets through."),
            rule("bytes", "More was sent than a limit lets through."),
            rule("connections", "More connections came than a limit lets through.", Action.DROP),
        )

    def idle_at(self, stage: Stage) -> bool:
        if stage is Stage.RCPT and self._at[Stage.MESSAGE]:
            return False  # where no message is seen
        return not self._at.get(stage)

    def foresee(self, mail: Mail) -> Sequence[str]:  # noqa: ARG002 - of no mail
        """What is found later puts off, and lets nobody in."""
        return ()

    async def inspect(self, mail: Mail, tools: Tools) -> Sequence[Finding]:
        address = mail.session.address
        # Many share an address within somebody's own walls, such as that of a forwarding container.
        if address is None or not outside(address) or _exempt(mail):
            return ()
        found: list[Finding] = []
        limits = [(one, limit) for one in self._due(mail) for limit in self._counted(one, mail)]
        if not limits:
            return ()
        now = tools.clock()
        waits = await self._ledger.take(
            [limit for _, limit in limits],
            tools.store,
            now=now,
            room=lambda: self._room(mail, tools),
            looks={limit.key for one, limit in limits if _charged_later(one, mail)},
        )
        longest: dict[str, tuple[float, RateLimit]] = {}
        for (one, _), wait in zip(limits, waits, strict=True):
            if wait and wait > longest.get(one.what, (0.0, one))[0]:
                longest[one.what] = (wait, one)
        for what, (wait, one) in longest.items():
            found.append(self._finding(what, one, mail, wait=wait, now=now))
        return found

    def learn(self, mail: Mail, tools: Tools, *, passed: bool) -> None:
        """What was only looked at, because it counts by recipient, is charged for a message that was taken."""
        address = mail.session.address
        if not passed or address is None or not outside(address) or _exempt(mail):
            return
        now = tools.clock()
        known = mail.session.memo.get(self.name)
        room = known if isinstance(known, float) else 1.0
        for one in (*self._at[Stage.RCPT], *self._at[Stage.MESSAGE]):
            if _charged_later(one, mail):
                for limit in self._counted(one, mail):
                    cost = min(limit.cost, limit.burst * room)
                    self._ledger.owe(replace(limit, cost=cost, per_second=limit.per_second * room), now=now)

    async def flush(self, tools: Tools) -> None:
        await self._ledger.tell(tools.store, now=tools.clock())

    @cached_property
    def _at(self) -> dict[Stage, tuple[RateLimit, ...]]:
        return {stage: tuple(one for one in self.limits if one.stage is stage) for stage in Stage}

    @cached_property
    def _ledger(self) -> Ledger:
        return Ledger()

    def _due(self, mail: Mail) -> Sequence[RateLimit]:
        due = self._at[mail.stage]
        late = self._at[Stage.MESSAGE]
        if mail.stage is Stage.RCPT and late and not mail.session.shows_messages and "rates" not in mail.envelope.memo:
            mail.envelope.memo["rates"] = True  # what counts whole messages counts them at their first recipient
            due = (*due, *(one for one in late if one.what == "messages"))
        return due

    def _counted(self, one: RateLimit, mail: Mail) -> Iterator[Limit]:
        """What it counts of this mail: nothing where it cannot be known, several things where there are several."""
        cost = 1.0
        if one.what == "bytes":
            cost = float(mail.message.size) if mail.message is not None else 0.0
        parts: list[tuple[str, ...]] = [()]
        for who in one.per:
            values = _values(who, mail)
            parts = [(*part, value) for part in parts for value in values]
        for part in parts if cost else ():
            key = f"{one.what} {one.within} {' '.join(one.per)} {' '.join(part)}"
            digest = blake2b(key.encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()
            yield Limit(f"rate:{digest}", cost, one.burst, one.burst / one.within)

    async def _room(self, mail: Mail, tools: Tools) -> float:
        """How many times its limits the client has, by what became of its mail before."""
        known = mail.session.memo.get(self.name)
        address = mail.session.address
        if isinstance(known, float) or address is None:
            return known if isinstance(known, float) else 1.0
        history = (await tools.store.history([client_key(plain(address))]))[0]
        wanted = max(0.0, history.accepted - self.room_refused * history.refused)
        room = min(self.room_most, 1.0 + wanted / self.room_every)
        mail.session.memo[self.name] = room
        return room

    def _finding(self, what: str, one: RateLimit, mail: Mail, *, wait: float, now: float) -> Finding:
        whom = tuple([value for who in one.per for value in _values(who, mail)[:1]])
        spread = max(60.0, min(LONGEST_SPREAD, one.within * SPREAD))
        sender = "" if mail.envelope.sender is None else str(mail.envelope.sender)
        to = "" if mail.recipient is None else str(mail.recipient.address)
        then = next_try(room_at=now + wait, spread=spread, parts=(str(mail.session.address), sender, to))
        text = f"Too many {what} {' '.join(_WORDS[who] for who in one.per)}, try again {after(then, now=now)}"
        return Finding(RULES[what], RateExceeded(one.shown, whom, round(now + wait, 3), then), text)


def _charged_later(one: RateLimit, mail: Mail) -> bool:
    """Whether it counts messages, or how long they are, by whom they are for. Where none is seen it may never be told
    what became of one.
    """
    late = one.what in ("messages", "bytes") and "recipient" in one.per
    return late and mail.session.shows_messages


def _values(who: Who, mail: Mail) -> list[str]:
    """Who that is in this mail; none where it is not known or not to be counted."""
    address, sender = mail.session.address, mail.envelope.sender
    if who in ("address", "network"):
        if address is None:
            return []
        return [client_key(plain(address)) if who == "address" else network_key(plain(address))]
    if who == "recipient":
        recipients = [mail.recipient] if mail.recipient is not None else mail.envelope.recipients
        return list(dict.fromkeys([mailbox(one.address) for one in recipients if not _open_to_all(one)]))
    if who == "authenticated_domain":
        return identities(mail)
    if sender is None or sender.null:
        return []
    return [mailbox(sender)] if who == "sender" else [sender.domain or "localhost"]


def _open_to_all(recipient: Recipient) -> bool:
    """Whether everybody may write to it (RFC 5321 §4.5.1)."""
    return recipient.address.local.lower() in EXEMPT_MAILBOXES


def _exempt(mail: Mail) -> bool:
    entry = mail.evidence(ListEntry)
    return entry is not None and entry.action != "deny"
