"""Never an open relay: an MTA behind us sees a local client, and what it would take from one the world could send.

Either `relay_domains` says for which domains we take mail, or the next hop does, once it has been seen to refuse a
stranger's (RFC 2505 §2.1, RFC 5321 §7.9).
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from gatekeeper import log
from gatekeeper.model import Action, Address, Session, Thresholds, Verdict
from gatekeeper.nexthop import RelayAnswer
from gatekeeper.servers.peers import Peers
from gatekeeper.wire.address import routes

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
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

    async def watch(self) -> None:
        """Ask until the next hop has refused; returns then, at once where `relay_domains` is set. Raises OpenRelay."""
        pause = FIRST_PAUSE
        while not await self.probe():
            await self.wait(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def probe(self) -> bool:
        """Ask once; whether it is sure now that the next hop does not relay for strangers. Raises OpenRelay."""
        if self.sure:
            return True
        answer = await self._prober.relay_probe(self._domain)
        if answer is RelayAnswer.OPEN:
            raise OpenRelay(
                f"the next hop takes mail from outside clients for {self._domain}, so behind gatekeeper it is an open "
                "relay: give its listener smtpd_relay_restrictions=reject_unauth_destination and "
                "smtpd_authorized_xclient_hosts with our address, or set relay_domains"
            )
        self.sure = answer is RelayAnswer.CLOSED
        log.event("relay_closed" if self.sure else "relay_unknown", domain=self._domain)
        return self.sure

    async def wait(self, seconds: float) -> None:
        """Between two probes."""
        await asyncio.sleep(seconds)

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
