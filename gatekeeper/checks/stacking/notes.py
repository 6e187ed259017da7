"""Notes in the store that say who is told no names, so that it can be shown: an account or a set tells only whom it is
asked about. Nothing is decided by them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from gatekeeper.checks.base import Tools
from gatekeeper.store.base import Note
from gatekeeper.wire.notation import read_number, read_object

ALIKE: Final = "stacking.alike"
"""The kind of those whose key is a client, network or HELO name that has spent so much that all names go alike."""
DICTIONARIES: Final = "stacking.dictionary"
"""The kind of those whose key is a client that takes part in a dictionary attack."""
DOMAINS: Final = "stacking.domain"
"""The kind of those whose key is a recipient domain whose budget is spent."""


def since_of(note: Note | None) -> float | None:
    """Since when (Unix time) it stands, as it says itself; None where there is none, or it cannot be read."""
    return None if note is None else read_number(read_object(note.text).get("since"))


async def remark(kind: str, ends: Mapping[str, float], tools: Tools) -> None:
    """Note these keys, each until its end at the latest. What stands already keeps its beginning."""
    if not ends:
        return
    now = tools.clock()
    began = {note.key: since_of(note) or now for note in await tools.store.notes(kind, list(ends), now=now)}
    await tools.store.put_notes(
        [Note(kind, key, json.dumps({"since": began.get(key, now)}), until) for key, until in ends.items()]
    )
