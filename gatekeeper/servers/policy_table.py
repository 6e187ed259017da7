"""Which mail is whose: Postfix's clients by the mail in hand, and those whose connection has closed. No clock, no I/O.

A connection may close in the middle of a mail, and Postfix goes on with it on another one; so a mail is looked for by
its `instance`, wherever it is asked about. What no connection has any more is kept until it is due, and no more of it
than a bound.
"""

from __future__ import annotations

from collections import OrderedDict

from gatekeeper.servers.policy_client import PolicyClient


class PolicyTable:
    """Of one worker. Who is taken out of it is the caller's to end."""

    def __init__(self, most_adrift: int) -> None:
        self._most_adrift = most_adrift
        self._by_instance: dict[str, PolicyClient] = {}
        self._instances: dict[PolicyClient, str] = {}
        self._adrift: OrderedDict[PolicyClient, float] = OrderedDict()  # in the order in which they are due

    def __len__(self) -> int:
        """How many have a mail in hand."""
        return len(self._instances)

    def find(self, instance: str) -> PolicyClient | None:
        """Whose mail that is; None for one that nobody here knows, and for ""."""
        return self._by_instance.get(instance)

    def note(self, client: PolicyClient) -> None:
        """It may have another mail in hand than before."""
        instance = client.instance
        if self._instances.get(client, "") == instance:
            return
        self._drop(client)
        if instance:
            self._by_instance[instance] = client
            self._instances[client] = instance

    def forget(self, client: PolicyClient) -> None:
        """No question finds it any more. May be called twice."""
        self._drop(client)
        self._adrift.pop(client, None)

    def set_adrift(self, client: PolicyClient, until: float) -> list[PolicyClient]:
        """No connection has it any more. Returns those that make room for it, forgotten."""
        self._adrift[client] = until
        return [self._oldest() for _ in range(len(self._adrift) - self._most_adrift)]

    def take_up(self, client: PolicyClient) -> None:
        """A connection has it again."""
        self._adrift.pop(client, None)

    @property
    def due(self) -> float | None:
        """When the next of those without a connection is to be given up."""
        return next(iter(self._adrift.values()), None)

    def overdue(self, now: float) -> list[PolicyClient]:
        """Those whose time is over, forgotten."""
        found = []
        while (due := self.due) is not None and due <= now:
            found.append(self._oldest())
        return found

    def _oldest(self) -> PolicyClient:
        client = next(iter(self._adrift))
        self.forget(client)
        return client

    def _drop(self, client: PolicyClient) -> None:
        instance = self._instances.pop(client, "")
        if instance and self._by_instance.get(instance) is client:
            del self._by_instance[instance]
