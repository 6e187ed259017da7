"""Is the message nearly the same as mail that people reported, or that came to a trap?

Traps are addresses that nobody has from their owner: those in `traps`, and what stacking finds to be traps where it
lets their mail pass. What comes to one becomes a sample, and what is near to it is found from then on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from gatekeeper import fuzzy
from gatekeeper.checks.base import Tools
from gatekeeper.checks.keys import network_key
from gatekeeper.message.content import Content, read_content
from gatekeeper.message.shingles import Digest, digest_of
from gatekeeper.model import Finding, Kind, Mail, Message, Missing, Recipient, Rule, setting
from gatekeeper.wire.address import normal_domain

SEEN = Rule("FUZZY_SEEN", 2.0, "The message is nearly the same as one that was reported.", Kind.CONTENT)
OFTEN = Rule("FUZZY_OFTEN", 4.0, "The message is nearly the same as one that many have reported.", Kind.CONTENT)
WAITING: Final = 200
"""Digests of trapped mail that wait for the store; of more the oldest go."""
LOOK_EVERY: Final = 30.0
"""Seconds between two looks whether there is anything to be found at all."""
_TRAP: Final = "STACKING_TRAP"


@dataclass(frozen=True, slots=True)
class NearCopy:
    """`likeness` to the sample from 0 to 1, `count` of reports and `sources` that made them, `age` and `idle` in
    seconds: since the first report, and since the day of the last.
    """

    sample: str
    likeness: float
    count: int
    sources: int
    age: float
    idle: float


class Memory:
    """What one process keeps in mind; bounded."""

    def __init__(self) -> None:
        self.trapped: deque[tuple[Digest, float, str]] = deque(maxlen=WAITING)
        self.looked = float("-inf")
        self.anything = False


@dataclass(frozen=True, slots=True)
class Fuzzy:
    """[checks.fuzzy]"""

    name: ClassVar[str] = "fuzzy"

    traps: tuple[str, ...] = setting(
        (), 'Addresses whose mail is nobody\'s: near-copies of it are found. "trap@example.org", or "@example.org".'
    )
    often: float = setting(5.0, "From how many reports on, aged, a near-copy is one that many have reported.")
    sources: int = setting(3, "And from how many different users or networks.")
    _memory: Any = field(default_factory=Memory, init=False, repr=False, compare=False)  # a Memory

    def __post_init__(self) -> None:
        for trap in self.traps:
            local, at, domain = trap.rpartition("@")
            if not at or normal_domain(domain) is None or local.strip() != local:
                raise ValueError(f'traps: {trap!r} is no address; write "trap@example.org" or "@example.org"')
        if self.often < 1 or self.sources < 1:
            raise ValueError("often and sources must be at least 1")

    def rules(self) -> Sequence[Rule]:
        return (SEEN, OFTEN)

    def possible(self) -> Sequence[str]:
        """Nothing, as long as nothing was reported."""
        return (SEEN.name, OFTEN.name) if self._memory.anything else ()

    async def inspect(self, mail: Mail, tools: Tools) -> Sequence[Finding | Missing]:
        if mail.message is None or not await self._anything(tools):
            return ()
        digest = _digest(mail.message, await read_content(mail.message))
        if digest is None:
            return ()
        now = tools.clock()
        near = await fuzzy.find(tools.store, digest, now)
        if near is None:
            return ()
        rule = OFTEN if near.weight >= self.often and near.sources >= self.sources else SEEN
        evidence = NearCopy(
            *(near.sample, round(near.likeness, 2), near.count, near.sources),
            *(max(0.0, now - near.first), max(0.0, now - near.last)),
        )
        text = f"{near.likeness:.0%} like one that was reported {near.count} times"
        return (Finding(rule.name, evidence, text),)

    def learn(self, mail: Mail, tools: Tools, *, passed: bool) -> None:  # noqa: ARG002 - refused mail was sent too
        """Mail to a trap is a report by the client's network."""
        message = mail.message
        if message is None or not self._to_a_trap(mail.envelope.recipients):
            return
        content: Content | None = message.memo.get("content")  # nobody reads it now: its body may be gone
        digest = None if content is None else _digest(message, content)
        if digest is not None:
            address = mail.session.address
            source = "" if address is None else network_key(address)
            self._memory.trapped.append((digest, tools.clock(), source))

    async def flush(self, tools: Tools) -> None:
        trapped: deque[tuple[Digest, float, str]] = self._memory.trapped
        while trapped:
            digest, when, source = trapped[0]
            await fuzzy.report(tools.store, digest, when, source=source)
            self._memory.anything = True
            if trapped and trapped[0][0] is digest:
                trapped.popleft()

    def _to_a_trap(self, recipients: Sequence[Recipient]) -> bool:
        """Whether one of them is a trap, as is set here or as stacking has found."""
        if any(finding.rule == _TRAP for one in recipients for finding in one.notebook.findings):
            return True
        if not self.traps:
            return False
        traps = {trap.lower() for trap in self.traps}
        addresses = (one.address for one in recipients)
        return any(str(each).lower() in traps or f"@{each.domain}" in traps for each in addresses)

    async def _anything(self, tools: Tools) -> bool:
        """Whether there is any sample: where nothing was reported, mail costs nothing here."""
        memory, now = self._memory, tools.clock()
        if not memory.anything and not memory.looked <= now < memory.looked + LOOK_EVERY:
            memory.looked = now
            memory.anything = await fuzzy.anything(tools.store, now)
        return bool(memory.anything)


def _digest(message: Message, content: Content) -> Digest | None:
    """Made once for each message."""
    if "shingles" not in message.memo:
        message.memo["shingles"] = digest_of(content.seen)
    found: Digest | None = message.memo["shingles"]
    return found
