"""Evidence that other checks read, or the servers: a check's own module is nobody else's to import."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReverseName:
    """The name of the client's address; `confirmed` when the name's own addresses have the client's among them."""

    name: str
    confirmed: bool
