"""Which unknown names are a slip of the pen: one letter away from a name that the next hop has taken lately.

Kept in this process's memory only, as salted digests, and bounded: neither here nor in the store is there a list of
those who exist.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from gatekeeper.model import Address

SHORTEST: Final = 4
"""Of fewer letters every name is near to every other."""
LONGEST: Final = 64
MOST: Final = 65_536
"""Digests; a name has one for each of its letters, and one more. Some 6 MiB."""


class TakenNames:
    """Names that were taken. Two names are near when they become the same by leaving out one letter or none of each:
    a letter too many, too few, wrong, or two exchanged. Digits are never left out: a run of numbers is no typing error.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._salt = secrets.token_hex(8)
        self._digests: OrderedDict[int, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._digests)

    def take(self, address: Address) -> None:
        """The next hop has taken it. What was not taken for longest is forgotten when there are too many."""
        for digest in self._forms(address):
            self._digests[digest] = None
            self._digests.move_to_end(digest)
        while len(self._digests) > self._most:
            self._digests.popitem(last=False)

    def near(self, address: Address) -> bool:
        """Whether it is one slip away from one of them."""
        return any(digest in self._digests for digest in self._forms(address))

    def _forms(self, address: Address) -> Iterator[int]:
        local = address.local.lower()
        if not SHORTEST <= len(local) <= LONGEST:
            return
        yield hash((self._salt, address.domain, local))
        for n, letter in enumerate(local):
            if not letter.isdigit():
                yield hash((self._salt, address.domain, local[:n] + local[n + 1 :]))
