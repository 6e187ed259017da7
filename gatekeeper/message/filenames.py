"""The name of a file as a stranger gives it: what people see of it, and what their machine will make of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gatekeeper.message.filetypes import DANGEROUS, Family, family_of_extension

LENGTH: Final = 1024
"""Characters of a name that are looked at: its end, where the extension stands."""


class Trick(StrEnum):
    """How a name shows another extension than it has."""

    DOUBLE = "double_extension"  # invoice.pdf.exe, of which many machines show invoice.pdf
    OVERRIDE = "right_to_left_override"  # what is shown is turned round (Unicode UAX 9)
    PADDED = "padded"  # so many blanks before the extension that nobody sees it
    INVISIBLE = "invisible"  # characters in the extension that are not shown


@dataclass(frozen=True, slots=True)
class FileName:
    """`extension` is what Windows would go by: lower case, without dot; "" where there is none."""

    extension: str
    tricks: tuple[Trick, ...] = ()

    @property
    def family(self) -> Family | None:
        return family_of_extension(self.extension)


_OVERRIDES: Final = re.compile("[\u202a-\u202e\u2066-\u2069]")
_UNSEEN: Final = re.compile("[\u00ad\u034f\u061c\u115f\u180e\u200b-\u200f\u2060-\u2064\ufeff\x00-\x1f\x7f]")
_TURNS: Final = frozenset("\u202e\u202d")
_PADDING: Final = re.compile(r"[\s\u2000-\u200a\u2800\u3000._-]{12,}")
_BARE: Final = re.compile(r"[\w-]{1,20}")


def read_name(name: str) -> FileName:
    """Read the name of a file; a path's last part counts. Never raises, linear in the name's length."""
    name = name[-LENGTH:]
    tricks: dict[Trick, None] = {}
    if not name.isascii() or not name.isprintable():
        turned = _TURNS.intersection(name)
        plain = _OVERRIDES.sub("", name)
        seen = _UNSEEN.sub("", plain)
        if turned:
            tricks[Trick.OVERRIDE] = None
        if seen.rpartition(".")[2] != plain.rpartition(".")[2].strip():
            tricks[Trick.INVISIBLE] = None
        name = seen
    name = name.replace("\\", "/").rstrip("/").rpartition("/")[2].partition(":")[0]
    name = name.rstrip(". \t")  # as Windows does
    before, dot, extension = name.rpartition(".")
    extension = extension.strip().lower()
    if not dot or not _BARE.fullmatch(extension):
        return FileName("", tuple(tricks))
    if family_of_extension(extension) in DANGEROUS:
        padding = _PADDING.search(before)
        if padding is not None and padding[0].strip("._-"):
            tricks[Trick.PADDED] = None
        earlier = before.rstrip(" ._-").rpartition(".")
        family = family_of_extension(earlier[2].strip().lower()) if earlier[1] else None
        if family is not None and family not in DANGEROUS:
            tricks[Trick.DOUBLE] = None
    elif Trick.OVERRIDE not in tricks:
        tricks.pop(Trick.INVISIBLE, None)  # a mark of direction in the name of a picture deceives nobody
    return FileName(extension, tuple(tricks))
