"""Records as the store sees them, for tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gatekeeper.store.base import StoredRecord

NOW = 1_800_000_000.0


def stored_record(id_: str, **changes: Any) -> StoredRecord:
    plain = StoredRecord(
        id=id_,
        time=NOW,
        action="accept",
        score=1.5,
        address="192.0.2.7",
        sender="ann@example.org",
        recipients=("bob@example.net",),
        queue_id="4ABC",
        document='{"id":"' + id_ + '"}',
    )
    return replace(plain, **changes)
