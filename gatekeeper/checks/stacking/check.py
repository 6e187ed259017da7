"""Recipient stacking: RCPT used as VRFY. Counts what a client learns about our names against a budget that refills.

Different unknown recipients, transactions given up after recipients were accepted, VRFY and EXPN cost points, over all
sessions of one address (an IPv6 /64 counts as one), of its network (/24, /56), and of its HELO name where several
networks share that. Past the budget the client is slowed, then every name gets the same 451 without the next hop being
asked, then it is refused with 421 for a while that ends by itself: a block settles the account, so that what an honest
client still has in its queue does not bring the next one. Mail that was accepted makes room. The null sender costs
nothing by itself (RFC 2505 §2.6.1). Beyond that, what many clients do together is found: the same unknown names tried
from many addresses, and a recipient domain whose unknown names are tried from anywhere. docs/probing.md has it all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from gatekeeper import metrics
from gatekeeper.checks.base import Tools
from gatekeeper.checks.keys import client_key, network_key, spf_domain
from gatekeeper.checks.stacking import evidence
from gatekeeper.checks.stacking.accounts import STANDING, STEPS, Accounts, Client, Cost, Standing, keep
from gatekeeper.checks.stacking.crowd import Crowd
from gatekeeper.checks.stacking.domains import Domains, Levels, flight_key
from gatekeeper.checks.stacking.evidence import (
    BLIND,
    BLOCKED,
    DICTIONARY,
    DOMAIN,
    SLOW,
    TRAP,
    Blocked,
    Dictionary,
    Probing,
)
from gatekeeper.checks.stacking.flights import AT_ONCE, Flights
from gatekeeper.checks.stacking.keys import name_key
from gatekeeper.checks.stacking.near import TakenNames
from gatekeeper.checks.stacking.settings import Settings
from gatekeeper.checks.stacking.traps import Traps
from gatekeeper.model import EXEMPT_MAILBOXES, Address, Finding, Heard, IPAddress, Mail, Named, Rule, Session, Stage
from gatekeeper.store.base import Block

_COUNTED = {SLOW: "slowed", BLIND: "alike", BLOCKED: "refused"}
_CAUSES = {"ip": "address", "net": "network", "helo": "helo"}


class Memory:
    """What one process keeps in mind beside the store; each part is bounded."""

    def __init__(self) -> None:
        self.taken = TakenNames()
        self.flights = Flights()
        self.levels = Levels()


@dataclass(frozen=True, slots=True)
class Stacking(Settings):
    """[checks.stacking]"""

    name: ClassVar[str] = "stacking"
    _memory: Any = field(default_factory=Memory, init=False, repr=False, compare=False)  # a Memory

    def rules(self) -> Sequence[Rule]:
        return evidence.rules(self)

    async def inspect(self, mail: Mail, tools: Tools) -> Sequence[Finding]:
        session = mail.session
        if session.address is None:
            return ()
        block = await self._standing_block(session.address, tools)
        if block is not None or mail.stage == Stage.CONNECT:
            return [] if block is None else [_blocked(block)]
        client, standing = await self._note(session, session.address, tools)
        step, probing = self._accounts.step(session, client, standing)
        crowd = Crowd(self, self._memory.levels)
        dictionary = crowd.takes_part(client)
        if dictionary is not None:
            client = await crowd.looked(client, tools)
            keep(session, client)
            dictionary = crowd.takes_part(client)
        if step in (BLIND, BLOCKED) or dictionary is not None:
            return await self._blind(client, standing, dictionary, tools, mail)
        if mail.recipient is None:
            return ()
        if client.good and mail.envelope.sender is not None and mail.envelope.sender.null:
            of_bounces, spent = await self._accounts.bounces(session, client, tools)
            if of_bounces == BLIND:  # and it costs nothing more, which no block would settle
                self._count(session, BLIND, "address")
                return [_found(BLIND, spent)]
            if STEPS.index(of_bounces) > STEPS.index(step):
                step, probing = of_bounces, spent
        found = [_found(step, probing)] if step else []
        address = mail.recipient.address
        if not _heard_from_everybody(address):
            refusal = await self._probed_domain(session, client, address, tools, spf_domain(mail))
            if refusal:
                return [*found, *refusal]
            traps = await Traps(self).find(client, address, tools)
            if traps and traps[0].rule == TRAP:
                await self._charge(session, client, tools, [Cost(f"{name_key(address)} trap", self.cost_trap)])
            found += traps
        self._count(session, step)
        self._depart(session, client, probing, address)
        return found

    async def settle(self, session: Session, tools: Tools) -> None:
        """At the end of a session: what RSET, QUIT and VRFY have cost since the last RCPT."""
        self._memory.flights.land(session.id)
        if session.address is None:
            return
        if not _news(session):
            await Traps(self).heard(session.named, None, tools)
            self._nothing_owed(session)
            return
        client, standing = await self._note(session, session.address, tools)
        step, probing = self._accounts.step(session, client, standing)
        if step == BLOCKED:
            await self._block(probing, tools)
        elif step == BLIND:
            await self._accounts.remark(session, client, standing, tools)

    # --- what was learned since ------------------------------------------------------------------------------------

    async def _note(self, session: Session, address: IPAddress, tools: Tools) -> tuple[Client, Standing]:
        """Put to the accounts what has happened since the last time, and say how the client stands."""
        client = await self._accounts.client(session, address, tools)
        refused = await Traps(self).heard(tuple(session.named), client, tools)
        known = session.memo.get(STANDING)
        if isinstance(known, Standing) and not _news(session):
            self._nothing_owed(session)
            return client, known
        heard, session.named = session.named, []
        if heard:
            self._memory.flights.land(session.id)
        now, before = session.counters, session.settled
        names, unknown = self._learned(heard, good=client.good)
        names += [Cost(f"{key} trap", self.cost_trap) for key in sorted(refused)]
        points = (
            self.cost_unknown * max(0, now.unknown - before.unknown - _of(heard, Heard.UNKNOWN))
            + self.cost_abandoned * max(0, now.abandoned - before.abandoned - _of(heard, Heard.ABANDONED))
            + self.cost_verify * (now.verifies - before.verifies)
            - self.refund_delivered * (now.delivered - before.delivered)
        )
        if client.good:
            bounces = [one for one in names if one.null_sender]
            names = [one for one in names if not one.null_sender]
            if bounces:
                await self._accounts.bounces(session, client, tools, bounces)
        session.settled = replace(now)
        standing = await self._charge(session, client, tools, names, points)
        noted = await Crowd(self, self._memory.levels).note(client, unknown, tools)
        keep(session, noted)
        return noted, standing

    def _nothing_owed(self, session: Session) -> None:
        """Names that were taken cost nothing; and mail that was delivered when nothing was owed is not saved up."""
        if session.named:
            self._memory.flights.land(session.id)
            self._learned(session.named, good=True)
            session.named = []
        session.settled.delivered = session.counters.delivered

    def _learned(self, heard: Sequence[Named], *, good: bool) -> tuple[list[Cost], list[Address]]:
        """What these names cost, and those among them that count for what many do together."""
        costs, unknown = [], []
        for one in heard:
            if one.heard is Heard.KNOWN:
                self._memory.taken.take(one.address)
                continue
            if one.heard is Heard.ABANDONED:
                kind, points = "abandoned", self.cost_abandoned
            elif str(one.address).lower() in self.former_addresses:
                kind, points = "former", self.cost_former
            elif self._memory.taken.near(one.address):
                kind, points = "near", self.cost_near
            else:
                kind, points = "unknown", self.cost_unknown
                if not good:
                    unknown.append(one.address)
            metrics.STACKING_NAMES[kind].inc()
            cost = points + self.cost_null * one.null_sender
            costs.append(Cost(name_key(one.address), cost, null_sender=one.null_sender))
        return costs, unknown

    async def _charge(
        self, session: Session, client: Client, tools: Tools, names: Sequence[Cost] = (), points: float = 0.0
    ) -> Standing:
        return await self._accounts.charge(session, client, tools, names=names, points=points)

    # --- when names are told no more -------------------------------------------------------------------------------

    async def _blind(
        self, client: Client, standing: Standing, dictionary: Dictionary | None, tools: Tools, mail: Mail
    ) -> list[Finding]:
        """The one way that all names go once a budget is spent: whether a name exists is not looked at, here or later.

        Its names are not asked any more, so each that it tries is counted here.
        """
        session, step = mail.session, BLIND
        _, probing = self._accounts.step(session, client, standing)
        if mail.recipient is not None and not _heard_from_everybody(mail.recipient.address):
            tried = [Cost(name_key(mail.recipient.address), self.cost_unknown)]
            standing = await self._charge(session, client, tools, tried)
            step, probing = self._accounts.step(session, client, standing)
        if step == BLOCKED:
            self._count(session, step)
            await self._block(probing, tools)
            return [_found(step, probing)]
        await self._accounts.remark(session, client, standing, tools)
        cause = _CAUSES[probing.whom.partition(":")[0]] if dictionary is None else "dictionary"
        self._count(session, BLIND, cause)
        if dictionary is None:
            return [_found(BLIND, probing)]
        text = f"{dictionary.names} of the names that many try were tried by {dictionary.whom}"
        return [Finding(BLIND, dictionary, text), Finding(DICTIONARY, dictionary, text)]

    async def _probed_domain(
        self, session: Session, client: Client, address: Address, tools: Tools, sender_domain: str
    ) -> Sequence[Finding]:
        sent = client.accepted[0] + session.counters.messages - client.before
        domains = Domains(self, self._memory.levels, self._memory.flights)
        probed = await domains.refusal(client, address, sent, tools, sender_domain=sender_domain)
        if probed is None:
            return ()
        self._count(session, BLIND, "domain")
        text = f"{probed.unknown} unknown names of {probed.domain} were tried by strangers"
        return [Finding(BLIND, probed, text), Finding(DOMAIN, probed, text)]

    def _depart(self, session: Session, client: Client, probing: Probing, address: Address) -> None:
        """The name goes on to the next hop. How many more may go with it depends on what is left."""
        left = (probing.budget * self.blind_at - probing.spent) / max(self.cost_unknown, 0.01)
        left -= self._memory.flights.count(client.key)
        keys = [client.key]
        if not client.good and self.domain_budget:
            place = flight_key(address.domain)
            keys.append(place)
            level = self._memory.levels.last(address.domain)
            left = min(left, self.domain_budget - level - self._memory.flights.count(place))
        self._memory.flights.depart(session.id, keys)
        session.names_at_once = max(1, min(AT_ONCE, int(left)))

    # --- blocks ----------------------------------------------------------------------------------------------------

    async def _standing_block(self, address: IPAddress, tools: Tools) -> Block | None:
        """Asked at each recipient too: a block ends all sessions of a client, not only the one that brought it."""
        keys = (client_key(address), network_key(address))
        block = await tools.store.blocked(keys, now=tools.clock())
        if block is not None and block.key == keys[1] and (await tools.store.history(keys[:1]))[0].accepted:
            return None  # the neighbourhood's block does not hit a client whose own mail was wanted
        return block

    async def _block(self, probing: Probing, tools: Tools) -> None:
        """Block it, and settle its account: afterwards it begins at its budget, where names are asked again."""
        now = tools.clock()
        await tools.store.block(Block(probing.whom, now, now + self.block_for, BLOCKED))
        await self._accounts.settle(probing, tools)

    @property
    def _accounts(self) -> Accounts:
        return Accounts(self)

    def _count(self, session: Session, step: str, cause: str = "") -> None:
        """Once for each session and step."""
        if step and session.memo.get("stacking_step") != step:
            session.memo["stacking_step"] = step
            metrics.STACKING_STEPS[_COUNTED[step]].inc()
            if cause:
                metrics.STACKING_CAUSES[cause].inc()


def _found(step: str, probing: Probing) -> Finding:
    return Finding(step, probing, f"{probing.spent:.0f} points spent of {probing.budget:.0f} by {probing.whom}")


def _blocked(block: Block) -> Finding:
    return Finding(BLOCKED, Blocked(block.key, block.since, block.until), f"{block.key} is blocked")


def _news(session: Session) -> bool:
    """Whether anything has happened that costs something or gives back."""
    now, before, standing = session.counters, session.settled, session.memo.get(STANDING)
    owes = not isinstance(standing, Standing) or any(standing.spent)
    return (
        (now.unknown, now.abandoned, now.verifies) != (before.unknown, before.abandoned, before.verifies)
        or (owes and now.delivered != before.delivered)
        or any(one.heard is not Heard.KNOWN for one in session.named)
    )


def _of(heard: Sequence[Named], what: Heard) -> int:
    return sum(1 for one in heard if one.heard is what)


def _heard_from_everybody(address: Address) -> bool:
    """Whether it is postmaster or abuse, who are asked for all along (RFC 5321 §4.5.1): an attempt is no probe."""
    return address.local.lower() in EXEMPT_MAILBOXES
