"""Never an open relay: an MTA behind us sees a local client, and what it would take from one the world could send.

Either `relay_domains` says for which domains we take mail, or the next hop does, once it has been seen to refuse a
stranger's (RFC 2505 §2.1, RFC 5321 §7.9).
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import Final, Protocol

from gatekeeper import log
from gatekeeper.model import Action, Address, Session, Thresholds, Verdict
from gatekeeper.nexthop import Capabilities, RelayAnswer
from gatekeeper.servers.peers import Peers
from gatekeeper.wire.address import routes

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
AGAIN: Final = 3600.0
"""Seconds until a next hop that has refused is asked once more: whoever looks after it may have changed it."""
OFFERS_KNOWN: Final = 16
"""Different sets of capabilities that are known; Postfix has some, for us, for strangers and after XCLIENT."""
_NO_SCORE: Final = Thresholds(tag=0, reject=0)  # no sum is behind these
NOT_OURS: Final = Verdict(
    Action.REJECT, 0, _NO_SCORE, reason="We do not relay mail for this domain", code=550, enhanced="5.7.1"
)
NOT_SURE: Final = Verdict(
    Action.DEFER,
    0,
    _NO_SCORE,
    reason="Not ready to take mail yet, try again in a few minutes",
    code=451,
    enhanced="4.3.0",
)


class OpenRelay(Exception):
    """The next hop takes mail from strangers for anybody. The text is for the operator, with the mend."""


class Prober(Protocol):
    """What the guard needs of the next hop."""

    async def relay_probe(self, domain: str) -> RelayAnswer: ...


class RelayGuard:
    """Says which recipients may be asked of the next hop at all.

    `relay_domains` are in lower case, A-labels; empty where the next hop decides. `ours` are the clients that may
    send anywhere. `domain` is what the next hop is asked about.
    """

    def __init__(
        self,
        prober: Prober,
        *,
        relay_domains: frozenset[str],
        ours: Peers | None = None,
        domain: str = "relay-test.invalid",
    ) -> None:
        self._prober = prober
        self._domains = relay_domains
        self._ours = ours or Peers(())
        self._domain = domain
        self.sure = bool(relay_domains)  # whether recipients are let through
        self._was_sure = self.sure
        self._pause = FIRST_PAUSE
        self._due = float("-inf")
        self._asked = float("-inf")
        self._offers: OrderedDict[frozenset[tuple[str, str]], None] = OrderedDict()

    async def keep(self, now: float, offered: Capabilities | None) -> None:
        """Ask when it is time: until the next hop has refused, then every hour, and soon when it offers something new,
        since it has been changed then. To be called often; `now` is of one clock.

        A next hop that relays before it has ever refused ends the program (OpenRelay). Of one that has begun to
        relay, recipients are deferred until it refuses again.
        """
        if self._domains:
            return
        if self._is_new(offered):
            self._due = min(self._due, max(now, self._asked + LONGEST_PAUSE))
        if now < self._due:
            return
        self._asked = now
        try:
            answer = await self._ask()
        except OpenRelay as relay:
            if not self._was_sure:
                raise
            if self.sure:
                self._pause = FIRST_PAUSE
                log.event("relay_open", level=logging.ERROR, domain=self._domain, why=str(relay))
            self.sure, answer = False, RelayAnswer.OPEN
        if answer is RelayAnswer.CLOSED:
            self._pause, self._due = FIRST_PAUSE, now + AGAIN
        elif self.sure:  # away, most likely: what it has said still counts
            self._due = now + LONGEST_PAUSE
        else:
            self._due = now + self._pause
            self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def _is_new(self, offered: Capabilities | None) -> bool:
        """Whether it has not offered that before."""
        if offered is None:
            return False
        offer = frozenset(offered.keywords.items())
        known = offer in self._offers
        self._offers[offer] = None
        self._offers.move_to_end(offer)
        if len(self._offers) > OFFERS_KNOWN:
            self._offers.popitem(last=False)
        return not known

    async def probe(self) -> bool:
        """Ask once, unless it is sure already; whether it is now that the next hop does not relay for strangers.

        Raises OpenRelay.
        """
        if not self.sure:
            await self._ask()
        return self.sure

    async def _ask(self) -> RelayAnswer:
        """Raises OpenRelay."""
        answer = await self._prober.relay_probe(self._domain)
        if answer is RelayAnswer.OPEN:
            raise OpenRelay(
                f"the next hop takes mail from outside clients for {self._domain}, so behind gatekeeper it is an open "
                "relay: give its listener smtpd_relay_restrictions=reject_unauth_destination and "
                "smtpd_authorized_xclient_hosts with our address, or set relay_domains"
            )
        if answer is RelayAnswer.CLOSED and not self.sure:
            self.sure = self._was_sure = True
            log.event("relay_closed", domain=self._domain)
        elif not self.sure:
            log.event("relay_unknown", domain=self._domain)
        return answer

    def refusal(self, recipient: Address, session: Session) -> Verdict | None:
        """Why this recipient cannot be asked of the next hop, or None."""
        if not self.sure:
            return NOT_SURE
        if not self._domains or self._is_ours(session):
            return None
        if recipient.domain == "":  # a bare postmaster, whom everybody must reach (RFC 5321 §4.5.1)
            return None if routes(recipient, self._domains) is None else NOT_OURS
        if recipient.domain not in self._domains or routes(recipient, self._domains) is not None:
            return NOT_OURS
        return None

    def _is_ours(self, session: Session) -> bool:
        return session.address is not None and session.address in self._ours
