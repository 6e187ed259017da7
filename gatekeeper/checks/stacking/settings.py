"""[checks.stacking]: the settings, and which of them fit together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from gatekeeper.checks.stacking.former import NOBODY, read_former
from gatekeeper.model import Duration, setting


@dataclass(frozen=True, slots=True)
class Settings:
    """The section as it is written. Raises ValueError, with the mend, for what makes no sense or cannot be read."""

    budget: float = setting(10.0, "Points that one client may spend before it is slowed.")
    blind_at: float = setting(2.0, "How many times the budget until every name gets the same 451.")
    block_at: float = setting(4.0, "How many times the budget until the client is refused with 421.")
    refill: Duration = setting(3600.0, "How long until a spent budget is full again, whatever its size.")
    window: Duration = setting(3600.0, "How long a name counts as asked for: within it the same name costs once.")
    network_factor: float = setting(4.0, "How many times a client's budget its whole network (/24, /56) has.")
    helo_factor: float = setting(4.0, "How many times a client's budget a HELO name has that several networks share.")
    helo_networks: int = setting(3, "From how many probing networks on a HELO name is taken for shared; 0 for never.")
    slow_delay: Duration = setting(5.0, "How long a slowed client waits for each answer to RCPT.")
    block_for: Duration = setting(3600.0, "How long a block lasts.")
    cost_unknown: float = setting(1.0, "Points for a recipient that the next hop refuses for good.")
    cost_near: float = setting(0.5, "The same where the name is one slip away from one that the next hop has taken.")
    cost_former: float = setting(0.0, "The same for a former address.")
    cost_abandoned: float = setting(0.5, "Points for an accepted recipient whose transaction is given up before DATA.")
    cost_null: float = setting(0.5, "Points on top where such a recipient was named with the null sender.")
    cost_verify: float = setting(0.5, "Points for a VRFY or EXPN.")
    refund_delivered: float = setting(0.05, "Points that each recipient of an accepted message gives back.")
    room_per_message: float = setting(0.5, "Points of extra budget for each message accepted from the client before.")
    room_limit: float = setting(1000.0, "The most points that accepted messages can add to a client's budget.")
    history_messages: int = setting(5, "From how many accepted messages on a client has a good history.")
    history_age: Duration = setting(86400.0, "How long ago a client with a good history was seen first.")
    dictionary_clients: int = setting(
        5, "From how many clients without a good history on a name is tried by many; 0 to look for no such thing."
    )
    dictionary_names: int = setting(
        3, "How many of the names that many try a client may try before it takes part in a dictionary attack."
    )
    domain_budget: int = setting(
        250,
        "Different unknown names of one recipient domain that all clients without a good history together may try "
        "within the window, at most 2000; 0 for any number.",
    )
    domain_at_once: int = setting(
        10, "While that is spent: how many of those clients are answered for their one name at once, in each window."
    )
    domain_wait: Duration = setting(
        60.0, "While that is spent: after how long the others are answered for it, when they come again."
    )
    former: str = setting("", "A file with former addresses, one on each line; read at start and at each reload.")
    traps: tuple[Literal["former", "hot"], ...] = setting(
        (), 'What becomes a trap: "former" addresses, "hot" names that do not exist and that many try.'
    )
    trap_mail: Literal["refuse", "pass"] = setting(
        "refuse",
        'Mail to a former address that is a trap: "refuse", or "pass" it to the next hop and its mailbox for it.',
    )
    trap_clients: int = setting(20, "How many clients without a good history make a hot name a trap.")
    trap_for: Duration = setting(30 * 86400.0, "How long a hot name stays a trap after it was made one.")
    trapped_for: Duration = setting(86400.0, "How long it is held against a client that it named a trap.")
    cost_trap: float = setting(5.0, "Points for naming a trap.")
    _former: Any = field(default=NOBODY, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.budget <= 0 or self.refill <= 0 or self.window <= 0:
            raise ValueError("budget, refill and window must be above 0; to switch the check off set enabled = false")
        if not 1 <= self.blind_at <= self.block_at:
            raise ValueError("blind_at must be at least 1 and at most block_at")
        if self.network_factor < 1 or self.helo_factor < 1:
            raise ValueError("network_factor and helo_factor must be at least 1")
        if not 0 <= self.domain_budget <= 2000:
            raise ValueError("domain_budget must be from 0 to 2000")
        if min(self.dictionary_clients, self.helo_networks, self.domain_at_once, self.history_messages) < 0:
            raise ValueError("dictionary_clients, helo_networks, domain_at_once, history_messages must not be negative")
        if self.dictionary_names < 1 or self.trap_clients < 1:
            raise ValueError("dictionary_names and trap_clients must be at least 1")
        if "former" in self.traps and not self.former:
            raise ValueError('traps has "former": name the file of former addresses with former = "/path"')
        if self.former:
            object.__setattr__(self, "_former", read_former(self.former))  # frozen, but this is still its making

    @property
    def former_addresses(self) -> frozenset[str]:
        """In lower case; what stood in the file when this was made."""
        found: frozenset[str] = self._former
        return found
