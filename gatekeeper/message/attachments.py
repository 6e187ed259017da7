"""The files that come with a message: what each is by its first octets, beside what its type and its names say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gatekeeper.message.archives.member import Trait
from gatekeeper.message.archives.page import read_page
from gatekeeper.message.filenames import FileName, Trick, read_name
from gatekeeper.message.filetypes import (
    DANGEROUS,
    HARMLESS_LOOKING,
    HEAD,
    ISO_HEAD,
    Family,
    FileType,
    family_of_media,
    may_hide_zip,
    type_of,
    type_of_whole,
)
from gatekeeper.message.parts import Mime, Part

MOST: Final = 200
"""Files of one message that are looked at."""
NAMES: Final = 4
"""Names of one file that are read: programs differ over which one counts."""
PAGE: Final = 262_144
"""Octets of a page that are looked at for script."""
PAGES: Final = 2 * PAGE
"""And of all pages of a message; of those after that not."""


@dataclass(frozen=True, slots=True, eq=False)
class Attachment:
    """A part that is a file. `names` are all that a program could show, read; `claims` is what they and the type say it
    is. `traits` are what a look at a page shows; what is inside of archives and documents is told by others.
    `may_hide` is whether it could be opened as an archive that does not begin as one.
    """

    part: Part
    type: FileType
    names: tuple[FileName, ...]
    claims: frozenset[Family]
    traits: tuple[Trait, ...] = ()
    may_hide: bool = False

    @property
    def name(self) -> str:
        """To be shown, escaped; the number of the part where it has none."""
        return self.part.name or f"part {self.part.number or 1}"

    @property
    def tricks(self) -> tuple[Trick, ...]:
        return tuple(dict.fromkeys(trick for name in self.names for trick in name.tricks))

    @property
    def extensions(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name.extension for name in self.names if name.extension))

    @property
    def opens(self) -> bool:
        """Whether there is something inside that has to be looked at."""
        return (self.type.opens or self.may_hide) and not self.part.container

    @property
    def disguised(self) -> bool:
        """What does harm comes under the name of what does not."""
        if self.type.family not in DANGEROUS:
            return False
        return bool(self.claims & HARMLESS_LOOKING) and self.claims.isdisjoint(DANGEROUS | {Family.PAGE})

    @property
    def mismatched(self) -> bool:
        """It is of another kind than all its names say."""
        family = self.type.family
        if family is Family.OTHER or not self.claims or family in self.claims or self.disguised:
            return False
        return not any((said, family) in _OFTEN for said in self.claims)


# What programs do every day: tables and letters that are pages in truth, documents that are archives.
_OFTEN: Final = frozenset(
    {
        (Family.DOCUMENT, Family.ARCHIVE),
        (Family.DOCUMENT, Family.PAGE),
        (Family.DOCUMENT, Family.TEXT),
        (Family.TEXT, Family.SCRIPT),  # sources
        (Family.TEXT, Family.PAGE),
        (Family.SCRIPT, Family.PAGE),
        (Family.PROGRAM, Family.ARCHIVE),  # jar, apk, msix
        (Family.PROGRAM, Family.DOCUMENT),  # an installer before it was looked into
        (Family.DISK, Family.ARCHIVE),
        (Family.IMAGE, Family.MEDIA),  # HEIC begins as MP4 does
        (Family.IMAGE, Family.PAGE),  # SVG, which has a rule of its own
        (Family.MEDIA, Family.IMAGE),
        (Family.SHORTCUT, Family.TEXT),
    }
)


@dataclass(frozen=True, slots=True, eq=False)
class Attachments:
    """All of them, in the order of the parts; `left_out` is how many were not looked at."""

    files: tuple[Attachment, ...] = ()
    left_out: int = 0


def attachments_of(mime: Mime) -> Attachments:
    """The files among the parts, of all readings. Never raises; costs little however large they are."""
    found: list[Attachment] = []
    left_out, room = 0, PAGES
    for part in mime.parts:
        if part.container and not part.names:
            continue  # what it holds are parts of their own
        if not part.names and part.disposition != "attachment" and part.media in _TEXTS:
            continue
        if len(found) >= MOST:
            left_out += 1
            continue
        file, looked = _attachment(part, page=min(PAGE, room))
        room -= looked
        found.append(file)
    return Attachments(tuple(found), left_out)


def opens(part: Part) -> bool:
    """Whether there is something inside of a part that has to be looked at, by its beginning. Cheap."""
    return _attachment(part, page=0)[0].opens


def _attachment(part: Part, *, page: int) -> tuple[Attachment, int]:
    """The file, and how many octets were looked at as a page, at most `page`."""
    names = tuple(read_name(name) for name in part.names[:NAMES])
    claims = {family for name in names if (family := name.family) is not None}
    if not claims and (said := family_of_media(part.media)) is not None:
        claims.add(said)
    if part.container:
        return Attachment(part, FileType.UNKNOWN, names, frozenset(claims)), 0
    head = part.decoded(HEAD)
    filetype = type_of(head)
    if filetype is FileType.UNKNOWN and len(part.octets) > ISO_HEAD and not any(head[:64]):
        filetype = type_of(part.decoded(ISO_HEAD))  # an image of a disk begins with nothing
    traits: tuple[Trait, ...] = ()
    looked = 0
    shown = filetype.family is Family.PAGE or filetype is FileType.HTA or part.is_html
    if shown and (Family.TEXT not in claims or len(claims) > 1):  # of a text nobody runs anything
        octets = part.decoded(page)[:page]
        traits, looked = read_page(octets), len(octets)
    named = frozenset(claims if any(name.family for name in names) else claims & {Family.ARCHIVE})
    hides = may_hide_zip(filetype, named) and (
        len(part.octets) > HEAD or type_of_whole(memoryview(head)) is FileType.ZIP
    )
    return Attachment(part, filetype, names, frozenset(claims), traits, hides), looked


_TEXTS: Final = frozenset({"text/plain", "text/html", "text/calendar", "text/enriched", "text/rfc822-headers"})
