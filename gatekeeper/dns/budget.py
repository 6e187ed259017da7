"""How many questions may be caused: by one message, over all checks, and by one client within a minute."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from gatekeeper.dns.answer import Answer, Resolver, Status, starts_of

PER: Final = 60.0
"""Seconds in which a client's allowance fills up again."""
MOST_CLIENTS: Final = 20_000


class Allowance(Protocol):
    """Something that questions are paid from."""

    def room(self) -> bool:
        """Whether it has one question more."""
        ...

    def spend(self) -> None: ...


class Budget:
    """How many questions a message may still cause, over all checks (DNS is asked for whatever a stranger writes)."""

    __slots__ = ("left",)

    def __init__(self, questions: int) -> None:
        self.left = questions

    def room(self) -> bool:
        return self.left > 0

    def spend(self) -> None:
        self.left -= 1


class ClientBudgets:
    """What each client may still cause in this process: `questions` at once, and as many again in each minute.

    A client is whatever key it is given; of too many, those that asked least lately are forgotten. 0 sets no limit.
    """

    def __init__(self, questions: int, clock: Callable[[], float], *, clients: int = MOST_CLIENTS) -> None:
        self._questions = questions
        self._clock = clock
        self._most = clients
        self._spent: dict[str, tuple[float, float]] = {}  # level and when; the one touched last stands last

    def of(self, client: str) -> ClientAllowance:
        return ClientAllowance(self, client)

    def room(self, client: str) -> bool:
        return not self._questions or self._level(client) + 1 <= self._questions

    def spend(self, client: str) -> None:
        if not self._questions:
            return
        level = self._level(client) + 1
        self._spent.pop(client, None)
        self._spent[client] = (level, self._clock())
        if len(self._spent) > self._most:
            del self._spent[next(iter(self._spent))]

    def _level(self, client: str) -> float:
        level, at = self._spent.get(client, (0.0, 0.0))
        return max(0.0, level - self._questions / PER * max(0.0, self._clock() - at))


class ClientAllowance:
    """What one client may still cause; all of its sessions in this process pay from it.

    `denied`: how many questions had no room, of those that were to be paid from this one.
    """

    __slots__ = ("_budgets", "_client", "denied")

    def __init__(self, budgets: ClientBudgets, client: str) -> None:
        self._budgets = budgets
        self._client = client
        self.denied = 0

    def room(self) -> bool:
        if self._budgets.room(self._client):
            return True
        self.denied += 1
        return False

    def spend(self) -> None:
        self._budgets.spend(self._client)


class BudgetedResolver:
    """A resolver that answers BUDGET once an allowance is spent. What is in the cache costs nothing."""

    __slots__ = ("_allowances", "_resolver", "_starts")

    def __init__(self, resolver: Resolver, *allowances: Allowance) -> None:
        self._resolver = resolver
        self._starts = starts_of(resolver)
        self._allowances = allowances

    def cached(self, name: str, rtype: str) -> Answer | None:
        return self._resolver.cached(name, rtype)

    async def ask(self, name: str, rtype: str) -> Answer:
        refused = self._paid(name, rtype)
        return await self._resolver.ask(name, rtype) if refused is None else refused

    def start(self, name: str, rtype: str) -> Answer | asyncio.Future[Answer]:
        refused = self._paid(name, rtype)
        if refused is not None:
            return refused
        if self._starts is not None:
            return self._starts.start(name, rtype)
        return asyncio.ensure_future(self._resolver.ask(name, rtype))

    def _paid(self, name: str, rtype: str) -> Answer | None:
        """What is in the cache, or BUDGET; None once the question is paid for."""
        answer = self._resolver.cached(name, rtype)
        if answer is not None:
            return answer
        for allowance in self._allowances:
            if not allowance.room():
                return Answer(Status.BUDGET)
        for allowance in self._allowances:
            allowance.spend()
        return None
