"""Addresses that do not take the reports they are sent: left alone for longer and longer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from gatekeeper import log
from gatekeeper.complaints.dmarc import DAY, DEAD, SENT
from gatekeeper.store.base import Note, Store
from gatekeeper.wire.notation import read_json

SHORTEST = 2 * DAY  # after the first refusal; doubled by each further one
LONGEST = 64 * DAY
REMEMBERED = 30 * DAY  # after which a refusal is forgiven
BOUNCES_COME = 14 * DAY  # for so long a report may come back
MOST_IDS = 20  # of one bounce
# Our Message-IDs: a day, sixteen hexadecimal digits that only the addressee has seen, a number.
MESSAGE_ID = re.compile(rb"<([0-9]{8}[0-9a-f]{16}\.[0-9]{1,2}@[0-9A-Za-z._-]{1,253})>")
DELAYED = re.compile(rb"^Action:[ \t]*(?:delayed|delivered|relayed|expanded)", re.IGNORECASE | re.MULTILINE)
FAILED = re.compile(rb"^Action:[ \t]*failed", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Death:
    """How often in a row an address did not take a report, and until when it is sent none."""

    refusals: int = 0
    until: float = 0.0

    def again(self, now: float) -> Death:
        return Death(self.refusals + 1, now + min(SHORTEST * 2**self.refusals, LONGEST))


class Deaths:
    """What the store knows of them."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    async def of(self, addresses: Iterable[str]) -> dict[str, Death]:
        """By address in lower case; one that takes reports is not in it."""
        keys = [address.lower() for address in addresses]
        found = await self._store.notes(DEAD, keys, now=self._clock()) if keys else []
        return {note.key: _read(note.text) for note in found}

    async def refused(self, address: str) -> Death:
        """It was refused, or came back."""
        now, key = self._clock(), address.lower()
        known = (await self.of([key])).get(key, Death())
        if known.until > now:  # several reports that came back from one send count once
            return known
        death = known.again(now)
        text = json.dumps({"refusals": death.refusals, "until": death.until})
        await self._store.put_notes([Note(DEAD, key, text, death.until + REMEMBERED)])
        log.event("dmarc_destination_dead", address=key, refusals=death.refusals, days=(death.until - now) / DAY)
        return death

    async def sent(self, message_id: str, address: str) -> None:
        """Remember whose it was, for the case that it comes back."""
        await self._store.put_notes([Note(SENT, message_id, address, self._clock() + BOUNCES_COME)])

    @staticmethod
    def told_by(bounce: bytes) -> list[str]:
        """The Message-IDs of reports that this message says were not delivered (RFC 3464 §2.3.3, or any other form)."""
        if DELAYED.search(bounce) and not FAILED.search(bounce):
            return []
        found = (one.decode("ascii") for one in MESSAGE_ID.findall(bounce))
        return list(dict.fromkeys(found))[:MOST_IDS]

    async def bounced(self, message_ids: Collection[str]) -> None:
        """Reports came back; what is none of ours is passed over."""
        if not message_ids:
            return
        found = await self._store.notes(SENT, list(message_ids), now=self._clock())
        for note in found:
            await self.refused(note.text)
        await self._store.drop_notes(SENT, [note.key for note in found])


def _read(text: str) -> Death:
    try:
        known = read_json(text)
        return Death(int(known["refusals"]), float(known["until"]))
    except (KeyError, TypeError, ValueError):
        return Death()
