"""Reading back the JSON that one of us has written: notes in the store, frames between processes, variables, records.

It may be of another version, damaged, or put there by somebody else who may write to the store.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def read_json(text: str | bytes) -> Any:
    """What it says (RFC 8259). Raises ValueError for everything that cannot be read, what is nested without end too."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def read_object(text: str | bytes) -> Mapping[str, Any]:
    """The object that it says, and an empty one for everything else."""
    try:
        told = read_json(text)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def read_number(value: object) -> float | None:
    """The number that stands in what was read; None for everything else, and for the infinity that Python reads."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer of 400 digits
        return None
    return number if math.isfinite(number) else None
