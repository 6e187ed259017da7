"""Limits on rates as one process sees them: far from a limit it counts by itself, near it the store decides.

Most clients never come near a limit, so most mail costs the store nothing. What a process counts by itself is told to
the store as soon as it is a hundredth of what the limit lets through at once; by that much, for each process, more may
get through than the limit says. A limit that is full is remembered until it has room, since asking again would change
nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from gatekeeper.store.base import Charge, Limit, Store

MOST_KEYS: Final = 20_000
AHEAD: Final = 0.01
"""The part of a limit's burst that a process may count by itself."""


@dataclass(slots=True)
class _Account:
    """What is known here of one key: counted and not told (leaking as the store's bucket does), and how it stood."""

    untold: float = 0.0
    at: float = 0.0
    noted: float = 0.0  # when it was seen to be full
    full_until: float = 0.0
    full_for: float = 0.0  # the burst that has no room until then
    full_cost: float = 0.0  # for so much

    def counted(self, limit: Limit, now: float) -> float:
        return max(0.0, self.untold - limit.per_second * max(0.0, now - self.at))

    def full(self, limit: Limit, now: float) -> float:
        """Seconds until there is room, as far as is known; a clock that was set back knows nothing."""
        known = self.noted <= now < self.full_until and limit.burst <= self.full_for and limit.cost >= self.full_cost
        return self.full_until - now if known else 0.0


class Ledger:
    """Of one process. Keys that were not met for longest are forgotten first; what they had untold is let go."""

    def __init__(self, most: int = MOST_KEYS) -> None:
        self._accounts: OrderedDict[str, _Account] = OrderedDict()
        self._owed: dict[str, Limit] = {}  # of those accounts, what the store is to be told soon
        self._most = most

    def __len__(self) -> int:
        return len(self._accounts)

    async def take(
        self,
        limits: Sequence[Limit],
        store: Store,
        *,
        now: float,
        room: Callable[[], Awaitable[float]],
        looks: Collection[str] = (),
    ) -> list[float]:
        """As the store's verb: all or nothing, and the seconds until each has room.

        `room` tells how many times its limits the client has, 1.0 for a stranger; it is asked for only near a limit.
        The limits with the keys `looks` must have room, and are not charged (`owe` does that later).
        Raises StoreAway; nothing is charged then.
        """
        accounts = [self._account(limit.key) for limit in limits]
        pairs = list(zip(limits, accounts, strict=True))
        full = any(account.full(limit, now) for limit, account in pairs)
        if not full and all(account.counted(one, now) + one.cost <= one.burst * AHEAD for one, account in pairs):
            for limit, account in pairs:
                if limit.key not in looks:
                    account.untold, account.at = account.counted(limit, now) + limit.cost, now
            return [0.0] * len(limits)
        factor = await room()
        asked = [replace(one, burst=one.burst * factor, per_second=one.per_second * factor) for one in limits]
        waits = [account.full(limit, now) for limit, account in zip(asked, accounts, strict=True)]
        if any(waits):
            return waits
        told = [account.counted(limit, now) for limit, account in zip(asked, accounts, strict=True)]
        looked = [limit.key in looks for limit in asked]
        waits = [limit.wait(more) if only else 0.0 for limit, more, only in zip(asked, told, looked, strict=True)]
        if any(waits):
            return waits
        taken = []
        for limit, account, more, only in zip(asked, accounts, told, looked, strict=True):
            if only:  # nothing is put in, and there must be room for it beside what is counted here
                taken.append(replace(limit, cost=0.0, burst=max(0.0, limit.burst - limit.cost - more)))
                continue
            account.untold, account.at = 0.0, now  # before others come by while the store is asked
            taken.append(replace(limit, cost=limit.cost + more))
        waits = []
        try:
            waits = await store.take(taken, now=now)
        finally:
            if not waits or any(waits):
                for account, more, only in zip(accounts, told, looked, strict=True):
                    account.untold += 0.0 if only else more
        for limit, account, wait in zip(asked, accounts, waits, strict=True):
            if wait:
                account.noted, account.full_until = now, now + wait
                account.full_for, account.full_cost = limit.burst, limit.cost
        return waits

    def owe(self, limit: Limit, *, now: float) -> None:
        """Charge what was looked at before, whether there is room or not. The store is told by `tell`."""
        account = self._account(limit.key)
        account.untold, account.at = account.counted(limit, now) + limit.cost, now
        if account.untold > limit.burst * AHEAD:
            self._owed[limit.key] = limit

    async def tell(self, store: Store, *, now: float) -> None:
        """Tell the store what is owed beyond what a process may count by itself. Raises StoreAway; it is kept then."""
        owed, self._owed = self._owed, {}
        charges = []
        for key, limit in owed.items():
            account = self._accounts[key]
            charges.append(Charge(key, account.counted(limit, now), limit.per_second))
            account.untold, account.at = 0.0, now
        if not charges:
            return
        told = False
        try:
            await store.spend(charges, now=now)
            told = True
        finally:
            for charge in [] if told else charges:
                account = self._account(charge.key)
                account.untold += charge.cost
                self._owed.setdefault(charge.key, owed[charge.key])

    def _account(self, key: str) -> _Account:
        account = self._accounts.get(key)
        if account is None:
            account = self._accounts[key] = _Account()
            if len(self._accounts) > self._most:
                gone, _ = self._accounts.popitem(last=False)
                self._owed.pop(gone, None)
        else:
            self._accounts.move_to_end(key)
        return account
