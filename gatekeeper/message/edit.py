"""Verdict -> header edits, and edits -> bytes; pure, the same for SMTP and milter."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Insert:
    """A new field at the top (index 0) or below `index` fields; `value` has no CRLF at its end, folds are CRLF+WSP."""

    index: int
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Remove:
    """The `occurrence`-th (from 1) field of that name, counted in the message as received."""

    name: str
    occurrence: int


@dataclass(frozen=True, slots=True)
class Change:
    """A new value for the `occurrence`-th field of that name."""

    name: str
    occurrence: int
    value: str


Edit = Insert | Remove | Change
