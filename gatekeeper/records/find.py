"""Finding records: by id, sender, recipient, address or network, the next hop's queue id, action and time."""

from __future__ import annotations

import logging
from dataclasses import replace

from gatekeeper import log
from gatekeeper.records.document import Record, UnreadableDocument, from_document
from gatekeeper.records.ids import normal_id
from gatekeeper.store.base import RecordQuery, Store


async def find(store: Store, query: RecordQuery) -> list[Record]:
    """Newest first. The id may be written as people write it; addresses may stand in angle brackets.

    Raises ValueError, with a sentence, for an address that is none, and StoreAway. A document that cannot be read
    (a newer program's) is logged and left out.
    """
    found = []
    for one in await store.find_records(normal(query)):
        try:
            found.append(from_document(one.document))
        except UnreadableDocument as failure:
            log.event("record_unreadable", level=logging.WARNING, id=one.id, why=str(failure))
    return found


async def find_one(store: Store, id_: str) -> Record | None:
    """The record of that id. Raises UnreadableDocument, and StoreAway."""
    if not normal_id(id_):
        return None
    found = await store.find_records(normal(RecordQuery(id=id_, limit=1)))
    return from_document(found[0].document) if found else None


def normal(query: RecordQuery) -> RecordQuery:
    """The query as records are stored."""
    return replace(
        query,
        id=normal_id(query.id),
        sender=_bare(query.sender),
        recipient=_bare(query.recipient),
        address=query.address.strip().removeprefix("[").removesuffix("]"),
        queue_id=query.queue_id.strip(),
        action=query.action.strip().lower(),
    )


def _bare(address: str) -> str:
    """Without angle brackets, but for the null sender's."""
    address = address.strip()
    if address.startswith("<") and address.endswith(">") and len(address) > 2:
        address = address[1:-1]
    return address.lower()
