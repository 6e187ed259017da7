"""Recipient stacking: RCPT used as VRFY. Counts what a client learns about our names against a budget that refills.

Unknown recipients, transactions given up after recipients were accepted, VRFY and EXPN cost points, over all
sessions of one address (an IPv6 /64 counts as one) and of its network (/24, /56). Past the budget the client is
slowed, then every name gets the same 451 without the next hop being asked, then it is refused with 421 for a while
that ends by itself: a block settles the account, so that what an honest client still has in its queue does not bring
the next one. Mail that was accepted makes room. The null sender costs nothing by itself (RFC 2505 §2.6.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from gatekeeper import metrics
from gatekeeper.checks.base import Tools
from gatekeeper.checks.keys import client_key, network_key
from gatekeeper.model import (
    EXEMPT_MAILBOXES,
    Action,
    Duration,
    Finding,
    Kind,
    Mail,
    Rule,
    Session,
    Stage,
    setting,
)
from gatekeeper.store.base import Block, Charge

__all__ = ["BLIND", "BLOCKED", "SLOW", "Blocked", "Probing", "Stacking", "client_key", "network_key"]

SLOW = "STACKING_SLOW"
BLIND = "STACKING_BLIND"
BLOCKED = "STACKING_BLOCKED"
_COUNTED = {SLOW: "slowed", BLIND: "alike", BLOCKED: "refused"}


@dataclass(frozen=True, slots=True)
class Probing:
    """How much of its budget a client has spent: `spent` points of `budget`, by `whom` ("ip:..." or "net:...")."""

    whom: str
    spent: float
    budget: float
    unknown: int  # recipients refused by the next hop in this session
    abandoned: int  # accepted recipients given up in this session


@dataclass(frozen=True, slots=True)
class Blocked:
    """An automatic block: whom it names, when it began and when it ends by itself (Unix time)."""

    whom: str
    since: float
    until: float


@dataclass(frozen=True, slots=True)
class _Standing:
    """What the store said last about a client: points spent and messages accepted, by address and by network."""

    spent: tuple[float, ...]
    accepted: tuple[int, ...]

    @property
    def wanted(self) -> bool:
        """Whether its own mail was accepted before: then it does not answer for its neighbours."""
        return self.accepted[0] > 0


@dataclass(frozen=True, slots=True)
class Stacking:
    """[checks.stacking]"""

    name: ClassVar[str] = "stacking"

    budget: float = setting(10.0, "Points that one client may spend before it is slowed.")
    blind_at: float = setting(2.0, "How many times the budget until every name gets the same 451.")
    block_at: float = setting(4.0, "How many times the budget until the client is refused with 421.")
    refill: Duration = setting(3600.0, "How long until a spent budget is full again, whatever its size.")
    network_factor: float = setting(4.0, "How many times a client's budget its whole network (/24, /56) has.")
    slow_delay: Duration = setting(5.0, "How long a slowed client waits for each answer to RCPT.")
    block_for: Duration = setting(3600.0, "How long a block lasts.")
    cost_unknown: float = setting(1.0, "Points for a recipient that the next hop refuses for good.")
    cost_abandoned: float = setting(0.5, "Points for an accepted recipient whose transaction is given up before DATA.")
    cost_verify: float = setting(0.5, "Points for a VRFY or EXPN.")
    room_per_message: float = setting(0.5, "Points of extra budget for each message accepted from the client before.")
    room_limit: float = setting(1000.0, "The most points that accepted messages can add to a client's budget.")

    def __post_init__(self) -> None:
        if self.budget <= 0 or self.refill <= 0:
            raise ValueError("budget and refill must be above 0; to switch the check off set enabled = false")
        if not 1 <= self.blind_at <= self.block_at:
            raise ValueError("blind_at must be at least 1 and at most block_at")

    def rules(self) -> Sequence[Rule]:
        return (
            Rule(SLOW, 0.5, "The client tries recipients that do not exist.", kind=Kind.RATE, delay=self.slow_delay),
            Rule(
                BLIND,
                0.0,
                "Too many recipients were tried without sending mail; try again later.",
                kind=Kind.RATE,
                decides=Action.DEFER,
                delay=self.slow_delay,
            ),
            Rule(
                BLOCKED,
                0.0,
                "Too many recipients were tried without sending mail; this address is refused for a while.",
                kind=Kind.RATE,
                decides=Action.DROP,
            ),
        )

    async def inspect(self, mail: Mail, tools: Tools) -> Sequence[Finding]:
        session = mail.session
        if session.address is None:
            return ()
        keys = (client_key(session.address), network_key(session.address))
        block = await self._standing_block(keys, tools)
        if mail.stage == Stage.CONNECT or block is not None:
            return [] if block is None else [_blocked(block)]
        step, probing = self._step(session, keys, await self._account(session, keys, tools))
        if step in (BLIND, BLOCKED) and not _heard_from_everybody(mail):
            # Its names are not asked any more, so each attempt is counted here.
            step, probing = self._step(session, keys, await self._account(session, keys, tools, self.cost_unknown))
        if not step:
            return ()
        if session.memo.get("stacking_step") != step:
            session.memo["stacking_step"] = step
            metrics.STACKING_STEPS[_COUNTED[step]].inc()
        if step == BLOCKED:
            await self._block(probing, tools)
        return [Finding(step, probing, f"{probing.spent:.0f} points spent of {probing.budget:.0f} by {probing.whom}")]

    async def settle(self, session: Session, tools: Tools) -> None:
        """At the end of a session: what RSET, QUIT and VRFY have cost since the last RCPT."""
        if session.address is None or not self._cost(session):
            return
        keys = (client_key(session.address), network_key(session.address))
        step, probing = self._step(session, keys, await self._account(session, keys, tools))
        if step == BLOCKED:
            await self._block(probing, tools)

    async def _standing_block(self, keys: tuple[str, str], tools: Tools) -> Block | None:
        """Asked at each recipient too: a block ends all sessions of a client, not only the one that brought it."""
        block = await tools.store.blocked(keys, now=tools.clock())
        if block is not None and block.key == keys[1] and (await tools.store.history(keys[:1]))[0].accepted:
            return None  # the neighbourhood's block does not hit a client whose own mail was wanted
        return block

    async def _account(self, session: Session, keys: tuple[str, str], tools: Tools, extra: float = 0.0) -> _Standing:
        """Tell the store what is new; ask it only when something is, or nothing is known yet."""
        cost = self._cost(session) + extra
        known = session.memo.get(self.name)
        if isinstance(known, _Standing):
            if not cost:
                return known
            accepted = known.accepted
        else:
            accepted = tuple([h.accepted for h in await tools.store.history(keys)])
        session.settled = replace(session.counters)
        # A large budget comes back in the same time as a small one; otherwise room would be earned once and used up.
        budgets = self._budgets(session, accepted)
        charges = [
            Charge(f"stacking:{key}", cost, budget / self.refill) for key, budget in zip(keys, budgets, strict=True)
        ]
        standing = _Standing(tuple(await tools.store.spend(charges, now=tools.clock())), accepted)
        session.memo[self.name] = standing
        return standing

    def _cost(self, session: Session) -> float:
        now, before = session.counters, session.settled
        return (
            self.cost_unknown * (now.unknown - before.unknown)
            + self.cost_abandoned * (now.abandoned - before.abandoned)
            + self.cost_verify * (now.verifies - before.verifies)
        )

    def _budgets(self, session: Session, accepted: Sequence[int]) -> list[float]:
        """The client's and its network's, with the room that accepted mail has made."""
        return [
            self.budget * factor + min(self.room_limit, self.room_per_message * (before + session.counters.messages))
            for factor, before in zip((1.0, self.network_factor), accepted, strict=True)
        ]

    def _step(self, session: Session, keys: tuple[str, str], standing: _Standing) -> tuple[str, Probing]:
        """The step that the worse of address and network has reached ("" for none), and how."""
        budgets = self._budgets(session, standing.accepted)
        accounts = list(zip(keys, standing.spent, budgets, strict=True))
        whom, spent, budget = max(accounts[: 1 if standing.wanted else 2], key=lambda account: account[1] / account[2])
        probing = Probing(whom, round(spent, 3), budget, session.counters.unknown, session.counters.abandoned)
        for step, factor in ((BLOCKED, self.block_at), (BLIND, self.blind_at), (SLOW, 1.0)):
            if spent >= budget * factor:
                return step, probing
        return "", probing

    async def _block(self, probing: Probing, tools: Tools) -> None:
        """Block it, and settle its account: afterwards it begins at its budget, where names are asked again.

        Every mail server tries again what was put off. Were the account left as it is, those attempts would lead from
        the end of one block into the next for as long as anything waits in its queue.
        """
        now = tools.clock()
        await tools.store.block(Block(probing.whom, now, now + self.block_for, BLOCKED))
        settled = Charge(f"stacking:{probing.whom}", probing.budget - probing.spent, probing.budget / self.refill)
        await tools.store.spend([settled], now=now)


def _blocked(block: Block) -> Finding:
    return Finding(BLOCKED, Blocked(block.key, block.since, block.until), f"{block.key} is blocked")


def _heard_from_everybody(mail: Mail) -> bool:
    """Whether it is to postmaster or abuse, who are asked for all along (RFC 5321 §4.5.1): an attempt is no probe."""
    return mail.recipient is not None and mail.recipient.address.local.lower() in EXEMPT_MAILBOXES
