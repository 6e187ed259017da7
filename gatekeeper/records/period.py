"""All records of a period, portion by portion, so that a year of them needs no more memory than an hour."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator
from dataclasses import replace

from gatekeeper import log
from gatekeeper.records.document import Record, UnreadableDocument, from_document
from gatekeeper.store.base import RecordQuery, Store

PORTION = 1000


async def every(store: Store, query: RecordQuery, portion: int = PORTION) -> AsyncIterator[Record]:
    """Every record that the query finds, the newest first, each once; `query.limit` does not count.

    Raises ValueError for an address that is none, and StoreAway. A document that cannot be read is logged and left
    out.
    """
    until = query.until
    border: set[str] = set()  # those of the last moment that was read: the next portion begins with them
    while True:
        found = await store.find_records(replace(query, until=until, limit=portion))
        new = [one for one in found if one.id not in border]
        for one in new:
            try:
                yield from_document(one.document)
            except UnreadableDocument as failure:
                log.event("record_unreadable", level=logging.WARNING, id=one.id, why=str(failure))
        if len(found) < portion:
            return
        last = found[-1].time
        if new:
            border = {one.id for one in found if one.time == last} | (border if until == _just_after(last) else set())
            until = _just_after(last)
        else:  # more records of one moment than fit into a portion
            until, border = last, set()


def _just_after(moment: float) -> float:
    """`until` is exclusive: with this the moment itself is within."""
    return math.nextafter(moment, math.inf)
