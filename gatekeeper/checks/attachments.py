"""Files that come with the message: what each is in truth, what it pretends to be, and what is inside of it.

What is inside is looked at by a process that may be killed (scanning/unpacker.py). That it is away, or was too slow, is
no evidence: the rest counts all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Final

from gatekeeper.checks.base import Tools
from gatekeeper.message import attachments as reading
from gatekeeper.message.archives.member import Trait
from gatekeeper.message.archives.walk import Inside, Report
from gatekeeper.message.attachments import Attachment, attachments_of
from gatekeeper.message.content import AT_ONCE, read_content
from gatekeeper.message.filetypes import PROGRAMS, SCRIPTS, SHORTCUTS, Family, FileType, family_of_extension
from gatekeeper.model import Duration, Finding, Kind, Mail, Missing, Rule, Size, setting
from gatekeeper.scanning.unpacker import Packed, Unpacker, UnpackerAway
from gatekeeper.wire.headers import escape

SHOWN: Final = 8
"""Files that stand in one finding."""
NAME: Final = 120
"""Characters of a name that are shown, escaped."""
FEW: Final = 25
"""Members of an archive from which on scripts in it are a project's and not a trap."""


@dataclass(frozen=True, slots=True)
class FileEvidence:
    """`count` files, and of the first few: the names, escaped, members behind "//"; what they are; what was odd."""

    count: int
    names: tuple[str, ...]
    types: tuple[str, ...]
    odd: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LeftOutEvidence:
    """`files` were looked at, `members` of archives listed; which budgets were spent."""

    files: int
    members: int
    spent: tuple[str, ...]


_PROGRAM, _PROGRAM_INSIDE = "ATTACHMENT_PROGRAM", "ARCHIVE_PROGRAM"
_FORBIDDEN, _FORBIDDEN_INSIDE = "ATTACHMENT_FORBIDDEN", "ARCHIVE_FORBIDDEN"
_DISGUISED, _MISMATCH = "ATTACHMENT_DISGUISED", "ATTACHMENT_MISMATCH"
_SCRIPT, _SHORTCUT, _DISK = "ATTACHMENT_SCRIPT", "ATTACHMENT_SHORTCUT", "ATTACHMENT_DISK_IMAGE"
_PAGE, _SMUGGLES, _SVG = "ATTACHMENT_PAGE_SCRIPT", "ATTACHMENT_PAGE_SMUGGLES", "ATTACHMENT_SVG_SCRIPT"
_ASKS = "ATTACHMENT_ASKS_PASSWORD"
_ONENOTE, _MACRO, _MACRO_RUNS = "ATTACHMENT_ONENOTE", "ATTACHMENT_MACRO", "ATTACHMENT_MACRO_RUNS"
_XLM, _OBJECT, _EXPLOIT = "ATTACHMENT_XLM", "ATTACHMENT_OBJECT", "ATTACHMENT_EXPLOIT"
_ENCRYPTED, _LOCKED = "ARCHIVE_ENCRYPTED", "DOCUMENT_ENCRYPTED"
_BOMB, _AMBIGUOUS, _BROKEN, _NESTED = "ARCHIVE_BOMB", "ARCHIVE_AMBIGUOUS", "ARCHIVE_BROKEN", "ARCHIVE_NESTED"
_LEFT_OUT = "ATTACHMENTS_LEFT_OUT"

_RULES = (
    Rule(_PROGRAM, 8.0, "A program is attached.", Kind.CONTENT),
    Rule(_PROGRAM_INSIDE, 4.5, "A program is in an attached archive or document.", Kind.CONTENT),
    Rule(_FORBIDDEN, 3.5, "A file is attached whose extension `forbidden` names.", Kind.CONTENT),
    Rule(_FORBIDDEN_INSIDE, 2.5, "A file with an extension that `forbidden` names is in an archive.", Kind.CONTENT),
    Rule(_DISGUISED, 4.0, "A file that does harm has a name that shows another kind of file.", Kind.CONTENT),
    Rule(_MISMATCH, 0.5, "A file is of another kind than its name and type say.", Kind.CONTENT),
    Rule(_SCRIPT, 2.5, "A script is attached that machines run when it is opened.", Kind.CONTENT),
    Rule(_SHORTCUT, 4.0, "A shortcut is attached, which starts something that stands elsewhere.", Kind.CONTENT),
    Rule(_DISK, 3.5, "The image of a disk is attached, which takes the mark of the Internet off what is in it.",
         Kind.CONTENT),
    Rule(_PAGE, 1.2, "An attached page has script in it.", Kind.CONTENT),
    Rule(_SMUGGLES, 2.5, "The script of an attached page makes a file or another page out of text.", Kind.CONTENT),
    Rule(_SVG, 3.0, "An attached SVG picture has script in it.", Kind.CONTENT),
    Rule(_ASKS, 2.0, "An attached page asks for a password.", Kind.CONTENT),
    Rule(_ONENOTE, 2.5, "A OneNote file is attached, which hides programs behind pictures.", Kind.CONTENT),
    Rule(_MACRO, 1.5, "A document with macros is attached.", Kind.CONTENT),
    Rule(_MACRO_RUNS, 3.0, "A document is attached whose macros run when it is opened.", Kind.CONTENT),
    Rule(_XLM, 3.0, "A table with Excel 4 macros is attached.", Kind.CONTENT),
    Rule(_OBJECT, 1.5, "A document is attached with a file in it, or one that fetches another.", Kind.CONTENT),
    Rule(_EXPLOIT, 4.5, "A document uses the old equation editor, which is known for holes alone.", Kind.CONTENT),
    Rule(_ENCRYPTED, 1.5, "An archive with a password is attached: nobody can look into it.", Kind.CONTENT),
    Rule(_LOCKED, 0.8, "A document with a password is attached.", Kind.CONTENT),
    Rule(_BOMB, 4.5, "An archive is made to become enormous when it is unpacked, or to take very long.", Kind.CONTENT),
    Rule(_AMBIGUOUS, 2.0, "Two programs would unpack different files from an archive.", Kind.CONTENT),
    Rule(_BROKEN, 0.3, "An archive is broken off, or not in order.", Kind.CONTENT),
    Rule(_NESTED, 0.5, "An archive is in an archive.", Kind.CONTENT),
    Rule(_LEFT_OUT, 0.0, "There is more in the attachments than is looked at.", Kind.CONTENT),
)  # fmt: skip
_BY_TRAIT: Final = {
    Trait.MACRO_RUNS: _MACRO_RUNS,
    Trait.XLM: _XLM,
    Trait.OBJECT: _OBJECT,
    Trait.REMOTE: _OBJECT,
    Trait.EQUATION: _EXPLOIT,
    Trait.OVERLAPPING: _BOMB,
    Trait.RATIO: _BOMB,
    Trait.SLOW: _BOMB,
    Trait.DEPTH: _BOMB,
    Trait.LYING: _BOMB,
    Trait.AMBIGUOUS: _AMBIGUOUS,
    Trait.ASKS: _ASKS,
    Trait.SMUGGLES: _SMUGGLES,
}
_INSIDE_ALONE: Final = tuple(rule.name for rule in _RULES if rule.name != _LEFT_OUT)


@dataclass(frozen=True)  # without slots, for the process, which is made once
class Attachments:
    """[checks.attachments]"""

    name: ClassVar[str] = "attachments"

    forbidden: tuple[str, ...] = setting(
        tuple(sorted(PROGRAMS | SCRIPTS | SHORTCUTS)),
        "Extensions of files that nobody should send, also in archives; without dots.",
    )
    allowed: tuple[str, ...] = setting(
        (), "Extensions that are not forbidden after all, without writing the list anew."
    )
    look_inside: bool = setting(
        True, "Whether archives and documents are looked into, by a process that may be killed."
    )
    seconds: Duration = setting(3.0, "Processor time that one message's archives and documents may take.")
    memory: Size = setting(128 * 1_048_576, "Memory that they may take, beyond what the process has when it starts.")
    max_size: Size = setting(32 * 1_048_576, "Larger files, as they are encoded, are not looked into.")

    def __post_init__(self) -> None:
        for key in ("forbidden", "allowed"):
            for extension in getattr(self, key):
                if not extension or not extension.replace("-", "").isalnum():
                    raise ValueError(f'{key}: {extension!r} is no extension; write one such as "exe", without a dot')
        if self.seconds <= 0 or self.max_size <= 0:
            raise ValueError('seconds and max_size must be above nothing, such as "3s" and "32MiB"')
        if self.memory < 3 * self.max_size:
            raise ValueError("memory must be at least three times max_size: a file is there encoded, decoded, unpacked")

    def rules(self) -> Sequence[Rule]:
        return _RULES

    async def inspect(self, mail: Mail, tools: Tools) -> Sequence[Finding | Missing]:  # noqa: ARG002
        if mail.message is None:
            return ()
        mime = (await read_content(mail.message)).mime
        large = mail.message.body.size > AT_ONCE
        found = await asyncio.to_thread(attachments_of, mime) if large else attachments_of(mime)
        if not found.files:
            return ()
        opened = [file for file in found.files if file.opens and self.look_inside]
        small = [file for file in opened if len(file.part.octets) <= self.max_size]
        report, missing = Report(), None
        if small:
            packed = [Packed(file.name[-NAME * 4 :], file.part.octets, file.part.encoding) for file in small]
            try:
                report = await self._unpacker.look(packed, wanted=sorted(self._forbidden))
            except UnpackerAway as away:
                missing = Missing(f"{self.name}:inside", _INSIDE_ALONE, str(away))
        gathered = _Gathered(self._forbidden)
        for file in found.files:
            gathered.file(file)
        for each in report.files:
            gathered.inside(each)
        findings: list[Finding | Missing] = [*gathered.findings()]
        spent = _spent(found, report, too_large=len(opened) - len(small))
        if spent:
            evidence = LeftOutEvidence(len(found.files), report.members, spent)
            findings.append(Finding(_LEFT_OUT, evidence, f"not looked at: {', '.join(spent)}"))
        return findings if missing is None else [*findings, missing]

    async def close(self) -> None:
        """End the process that looks inside."""
        await self._unpacker.close()

    @cached_property
    def _unpacker(self) -> Unpacker:
        return Unpacker(seconds=self.seconds, memory=self.memory)

    @cached_property
    def _forbidden(self) -> frozenset[str]:
        return frozenset(each.lower() for each in self.forbidden) - {each.lower() for each in self.allowed}


def _spent(found: reading.Attachments, report: Report, *, too_large: int) -> tuple[str, ...]:
    spent = [each.value for each in report.left_out]
    return tuple(dict.fromkeys([*spent, *["size"] * bool(too_large), *["files"] * bool(found.left_out)]))


class _Gathered:
    """Files by rule."""

    def __init__(self, forbidden: frozenset[str]) -> None:
        self._forbidden = forbidden
        self._by_rule: dict[str, dict[tuple[str, str], tuple[str, ...]]] = {}

    def _add(self, rule: str, name: str, filetype: FileType, *odd: str) -> None:
        self._by_rule.setdefault(rule, {})[escape(name, NAME), filetype.value] = odd

    def file(self, file: Attachment) -> None:
        """By itself, as it stands in the message."""
        name, kind, family = file.name, file.type, file.type.family
        self._of_type(name, kind, inside=False)
        for extension in file.extensions:
            self._named(name, kind, extension, inside=False)
        if file.disguised or file.tricks:
            self._add(_DISGUISED, name, kind, *file.tricks)
        elif file.mismatched:
            said = sorted(claim.value for claim in file.claims)
            self._add(_MISMATCH, name, kind, *said)
        if family is Family.PAGE or file.traits:
            self._page(name, kind, file.traits)

    def inside(self, each: Inside) -> None:
        """What was told of an attachment, or of what is in one."""
        kind, traits = each.type, set(each.traits)
        self._of_type(each.path, kind, inside=each.depth > 0, beside=each.beside)
        if each.depth:
            self._named(each.path, kind, each.extension, inside=True, beside=each.beside)
            if each.tricks:
                self._add(_DISGUISED, each.path, kind, *each.tricks)
            if kind.family is Family.ARCHIVE and kind is not FileType.TAR:
                self._add(_NESTED, each.path, kind)
            self._page(each.path, kind, each.traits)
        if Trait.MACRO in traits and Trait.MACRO_RUNS not in traits:
            self._add(_MACRO, each.path, kind)
        if Trait.ENCRYPTED in traits and (not each.depth or kind is not FileType.UNKNOWN):
            self._add(_LOCKED if kind.family is Family.DOCUMENT else _ENCRYPTED, each.path, kind)
        if Trait.BROKEN in traits and kind.family is Family.ARCHIVE:
            self._add(_BROKEN, each.path, kind)
        for trait in each.traits:
            if (rule := _BY_TRAIT.get(trait)) is not None and trait not in {Trait.ASKS, Trait.SMUGGLES}:
                self._add(rule, each.path, kind, trait.value)

    def _of_type(self, name: str, kind: FileType, *, inside: bool, beside: int = 0) -> None:
        family = kind.family
        if family is Family.PROGRAM:
            self._add(_PROGRAM_INSIDE if inside else _PROGRAM, name, kind)
        elif family is Family.SHORTCUT:
            self._add(_SHORTCUT, name, kind)
        elif family is Family.DISK:
            self._add(_DISK, name, kind)
        elif kind in {FileType.HTA, FileType.CHM}:
            self._add(_SCRIPT, name, kind)
        elif kind is FileType.ONENOTE and beside <= FEW:
            self._add(_ONENOTE, name, kind)

    def _named(self, name: str, kind: FileType, extension: str, *, inside: bool, beside: int = 0) -> None:
        family = family_of_extension(extension)
        if family is Family.DISK and kind.family is not Family.DISK:
            self._add(_DISK, name, kind)
        if extension not in self._forbidden:
            return
        if inside and beside > FEW and family is not Family.SHORTCUT:
            return  # sources and programs with all their files are sent by people who make them
        self._add(_FORBIDDEN_INSIDE if inside else _FORBIDDEN, name, kind, extension)

    def _page(self, name: str, kind: FileType, traits: Sequence[Trait]) -> None:
        if Trait.SCRIPT in traits:
            self._add(_SVG if kind is FileType.SVG else _PAGE, name, kind)
        for trait in traits:
            if trait in {Trait.ASKS, Trait.SMUGGLES}:
                self._add(_BY_TRAIT[trait], name, kind)

    def findings(self) -> Iterator[Finding]:
        for rule, files in self._by_rule.items():
            shown = list(files)[:SHOWN]
            odd = dict.fromkeys(each for key in shown for each in files[key])
            evidence = FileEvidence(
                len(files), tuple(name for name, _ in shown), tuple(kind for _, kind in shown), tuple(odd)
            )
            more = f" and {len(files) - 1} more" if len(files) > 1 else ""
            yield Finding(rule, evidence, f"{shown[0][0]} ({shown[0][1]}){more}")
