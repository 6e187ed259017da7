"""A resolver that answers from a dict, for tests of everything that asks DNS."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gatekeeper.dns.resolver import Answer, Status

Zone = Mapping[tuple[str, str], Iterable[Any] | Status]


class FakeResolver:
    """Answers `zone[(name, rtype)]`: a list of records as `Answer` describes them, or the Status to end with.

    An unknown name is NXDOMAIN, a known name without the asked type NODATA. Case and a trailing dot do not matter.
    Every question stands in `asked`, in order, with its name in lower case.
    """

    def __init__(self, zone: Zone | None = None, *, ttl: float = 300.0) -> None:
        self.answers = {(_plain(name), rtype.upper()): value for (name, rtype), value in (zone or {}).items()}
        self.names = {name for name, _ in self.answers}
        self.ttl = ttl
        self.asked: list[tuple[str, str]] = []

    def cached(self, name: str, rtype: str) -> Answer | None:
        return None  # there is no cache, so that every question stands in `asked`

    async def ask(self, name: str, rtype: str) -> Answer:
        question = (_plain(name), rtype.upper())
        self.asked.append(question)
        value = self.answers.get(question)
        if value is None:
            return Answer(Status.NODATA if question[0] in self.names else Status.NXDOMAIN, ttl=self.ttl)
        if isinstance(value, Status):
            return Answer(value, ttl=self.ttl)
        records = tuple(value)
        return Answer(Status.OK if records else Status.NODATA, records, self.ttl)


def _plain(name: str) -> str:
    return name.lower().rstrip(".")
