"""What is inside of some files, whatever their kind, archives in archives to a depth: what is worth telling of it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from gatekeeper.message.archives.cab import read_cab
from gatekeeper.message.archives.iso import read_iso
from gatekeeper.message.archives.member import Budget, Late, LeftOut, Member, Opened, Trait
from gatekeeper.message.archives.ole import macros_run, read_ole
from gatekeeper.message.archives.page import read_page
from gatekeeper.message.archives.rar import read_rar
from gatekeeper.message.archives.seven import read_seven
from gatekeeper.message.archives.streams import read_stream
from gatekeeper.message.archives.tar import read_tar
from gatekeeper.message.archives.zip import read_zip
from gatekeeper.message.filenames import Trick, read_name
from gatekeeper.message.filetypes import (
    DANGEROUS,
    HEAD,
    Family,
    FileType,
    may_hide_zip,
    type_of,
    type_of_whole,
)

SMALL = 1_048_576
"""Octets of a file that nobody needs all the time for, unless it is made so."""
PATH = 512
"""Characters of a path that are kept: its end, where the name of the file stands."""


@dataclass(frozen=True, slots=True)
class Inside:
    """A file, or a member of one. `path` is the names from the outermost to its own, joined by "//". `depth` is 0 for
    the attachment itself. `beside` is how many members the archive has in which it stands.
    """

    path: str
    depth: int
    type: FileType
    extension: str
    traits: tuple[Trait, ...] = ()
    tricks: tuple[Trick, ...] = ()
    beside: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What was found: `files` are those worth telling of, `members` were listed."""

    files: tuple[Inside, ...] = ()
    members: int = 0
    left_out: tuple[LeftOut, ...] = ()


@dataclass(slots=True)
class Walk:
    """One walk through the attachments of one message. `wanted` are extensions to be told of, in lower case."""

    budget: Budget
    wanted: frozenset[str] = frozenset()
    files: list[Inside] = field(default_factory=list)

    def file(self, name: str, octets: memoryview, *, early: bool = False) -> None:
        """One attachment, decoded; `early` is whether most of the time was left. Never raises, but MemoryError.

        Where `Late` comes into the middle of it, what was found until then is kept.
        """
        at, left_out = len(self.files), self.budget.left_out
        was_late = LeftOut.TIME in left_out
        with self._in_time():
            self._enter(name, name[-PATH:], 0, octets, type_of_whole(octets), beside=0)
        if early and not was_late and LeftOut.TIME in left_out and len(octets) < SMALL and at < len(self.files):
            self.files[at] = replace(self.files[at], traits=(*self.files[at].traits, Trait.SLOW))

    @contextlib.contextmanager
    def _in_time(self) -> Iterator[None]:
        try:
            yield
        except Late:
            self.budget.left_out[LeftOut.TIME] = None

    def report(self) -> Report:
        """What was found by now; of more than may be told, what is worst."""
        files, kept = self.files, self.budget.limits.kept
        if len(files) > kept:
            self.budget.left_out[LeftOut.KEPT] = None
            files = sorted(files, key=self._weight)[:kept]  # a stable order: others stay as they stood
        return Report(tuple(files), self.budget.members, tuple(self.budget.left_out))

    def _weight(self, found: Inside) -> int:
        if found.type.family in DANGEROUS or (found.depth and found.tricks):
            return 0
        if found.depth and found.extension in self.wanted:
            return 1
        return 2 if found.traits else 3

    def _enter(self, name: str, path: str, depth: int, octets: memoryview, filetype: FileType, *, beside: int) -> None:
        """A file whose octets are there."""
        at = len(self.files)
        found = Inside(path, depth, filetype, read_name(name).extension, (), read_name(name).tricks, beside)
        self.files.append(found)
        opened = Opened()
        with self._in_time():
            opened, filetype = self._open(octets, filetype, name)
        files = len(opened.members)
        for member in sorted(opened.members, key=_turn) if filetype in _DOCUMENTS else opened.members:
            with self._in_time():
                self._member(member, path, depth + 1, opened, filetype, beside=files)
        traits = dict.fromkeys(opened.traits)
        if filetype is not FileType.OOXML and any(Trait.ENCRYPTED in each.traits for each in opened.members):
            traits[Trait.ENCRYPTED] = None
        self.files[at] = Inside(path, depth, filetype, found.extension, tuple(traits), found.tricks, beside)
        if depth and not self._tells(self.files[at]) and len(self.files) == at + 1:
            self.files.pop()

    def _open(self, octets: memoryview, filetype: FileType, name: str) -> tuple[Opened, FileType]:
        if filetype is FileType.OLE:
            opened, kind = read_ole(octets, self.budget)
            return opened, FileType.MSI if kind.installer else filetype
        if filetype is FileType.RTF:
            return _rtf(octets), filetype
        if filetype in _STREAMS:
            return read_stream(octets, filetype, name, self.budget), filetype
        reader = _READERS.get(filetype)
        if reader is None:
            return Opened(), filetype
        opened = reader(octets, self.budget)
        if filetype is FileType.ZIP:
            filetype = _kind_of_zip(opened)
        return opened, filetype

    def _member(self, member: Member, path: str, depth: int, opened: Opened, around: FileType, *, beside: int) -> None:
        name = member.name[-self.budget.limits.name :]
        path = f"{path}//{name}"[-PATH:]
        traits = dict.fromkeys(member.traits)
        filetype = FileType.UNKNOWN
        if member.read is not None and self._may_open():
            head = member.read(_wanted(member) if around in _DOCUMENTS else HEAD)
            filetype = type_of(head)
            if member.size is not None and len(head) > member.size:
                opened.note(Trait.LYING)
            if around in _DOCUMENTS:
                _document(member, head, opened)
                if filetype is FileType.OLE and name.lower().endswith("vbaproject.bin"):
                    return  # it has been looked at
            if filetype.family is Family.PAGE or filetype is FileType.HTA:
                traits.update(dict.fromkeys(read_page(member.read(self.budget.limits.page))))
            claim = read_name(name).family
            hides = may_hide_zip(filetype, frozenset() if claim is None else frozenset({claim}))
            if filetype.opens and depth >= self.budget.limits.depth:
                opened.note(Trait.DEPTH)
            elif (filetype.opens or hides) and depth < self.budget.limits.depth:
                whole = self._whole(member, opened)
                kind = filetype if whole is None else type_of_whole(whole, filetype)
                if whole is not None and kind.opens:
                    self.budget.held += len(whole)
                    self._enter(name, path, depth, whole, kind, beside=beside)
                    self.budget.held -= len(whole)
                    if filetype is kind or filetype is FileType.UNKNOWN:
                        return
        elif around in _DOCUMENTS:
            _document(member, b"", opened)
        extension = read_name(name)
        found = Inside(path, depth, filetype, extension.extension, tuple(traits), extension.tricks, beside)
        if self._tells(found):
            self.files.append(found)

    def _may_open(self) -> bool:
        """Whether one more member may be read; of others the name is told all the same."""
        if self.budget.over():
            return False
        if self.budget.opened >= self.budget.limits.opened:
            self.budget.left_out[LeftOut.MEMBERS] = None
            return False
        self.budget.opened += 1
        return True

    def _whole(self, member: Member, opened: Opened) -> memoryview | None:
        """All of a member that is to be opened; None where it is too large to be held."""
        held = self.budget.limits.held - self.budget.held  # those around it are there as well
        if member.read is None or held <= 0:
            self.budget.left_out[LeftOut.SIZE] = None
            return None
        made = member.read(held + 1)
        if member.size is not None and len(made) > member.size:
            opened.note(Trait.LYING)
        if len(made) > held:
            self.budget.left_out[LeftOut.SIZE] = None
            made = made[:held]
        return memoryview(made)

    def _tells(self, found: Inside) -> bool:
        return bool(
            found.traits
            or found.tricks
            or found.type.family in DANGEROUS
            or found.extension in self.wanted
            or found.type.family is Family.ARCHIVE
        )


_READERS: dict[FileType, Callable[[memoryview, Budget], Opened]] = {
    FileType.ZIP: read_zip,
    FileType.RAR: read_rar,
    FileType.SEVEN: read_seven,
    FileType.TAR: read_tar,
    FileType.CAB: read_cab,
    FileType.ISO: read_iso,
}
_STREAMS = frozenset({FileType.GZIP, FileType.BZIP2, FileType.XZ})
_DOCUMENTS = frozenset({FileType.OOXML, FileType.ODF})
_EXTERNAL = re.compile(rb"targetmode\s{0,20}=\s{0,20}[\"']external[\"']")
_FETCHED = re.compile(rb"(?:attachedtemplate|oleobject|/frame)[\"']")
_REFERENCE = re.compile(rb"&#0{0,8}(?:x0{0,8}([0-9a-f]{2})|([0-9]{2,3}));")
_OBJECT = re.compile(rb"\\obj(?:data|update|emb|autlink)", re.IGNORECASE)
_EQUATION = re.compile(rb"equation\.|6571756174696f6e2e|4571756174696f6e", re.IGNORECASE)


def _wanted(member: Member) -> int:
    """How many octets of a document's part are looked at."""
    name = member.name.lower()
    if name.endswith("vbaproject.bin"):
        return 1_048_576
    return 65_536 if name.endswith(".rels") else HEAD


def _turn(member: Member) -> int:
    """What tells most is read first, what there is most of last."""
    name = member.name.lower()
    return 0 if name.endswith("vbaproject.bin") else 2 if name.endswith(".rels") else 1


def _document(member: Member, head: bytes, opened: Opened) -> None:
    """What the parts of an OOXML or OpenDocument file say of it; `head` is as much as was read of this one."""
    name = member.name.lower()
    if name.endswith("vbaproject.bin"):
        opened.note(Trait.MACRO)
        if macros_run(head):
            opened.note(Trait.MACRO_RUNS)
    elif "/macrosheets/" in name:
        opened.note(Trait.XLM)
    elif name.startswith("basic/") and name.endswith(".xml"):
        opened.note(Trait.MACRO)
    elif "/embeddings/" in name and name.endswith(".bin"):
        opened.note(Trait.OBJECT)
    elif name.endswith(".rels") and _fetches(head):
        opened.note(Trait.REMOTE)


def _fetches(told: bytes) -> bool:
    """Whether a relationship leads to a template, an object or a frame that stands elsewhere. Linear."""
    told = told.lower()
    if told[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        told = told.replace(b"\0", b"")
    at = told.find(b"targetmode")
    while at >= 0:
        end = told.find(b"<", at)
        element = told[told.rfind(b"<", 0, at) + 1 : end if end >= 0 else len(told)]
        if b"&#" in element:
            element = _REFERENCE.sub(_referred, element).lower()
        if _EXTERNAL.search(element) and _FETCHED.search(element):
            return True
        at = told.find(b"targetmode", end) if end >= 0 else -1
    return False


def _referred(reference: re.Match[bytes]) -> bytes:
    """The octet that a character reference stands for, where it is one of ASCII."""
    number = int(reference[1], 16) if reference[1] else int(reference[2])
    return bytes([number]) if number < 128 else reference[0]


def _rtf(octets: memoryview) -> Opened:
    opened = Opened()
    text = bytes(octets[: 4 * 1_048_576])
    if _OBJECT.search(text):
        opened.note(Trait.OBJECT)
        if _EQUATION.search(text):
            opened.note(Trait.EQUATION)
    return opened


def _kind_of_zip(opened: Opened) -> FileType:
    """What a zip is used for, by the names in it."""
    names = {member.name for member in opened.members}
    if "[Content_Types].xml" in names:
        return FileType.OOXML
    if "mimetype" in names and "content.xml" in names:
        return FileType.ODF
    if "classes.dex" in names:
        return FileType.DEX
    if "META-INF/MANIFEST.MF" in names and any(name.endswith(".class") for name in names):
        return FileType.JAVA
    return FileType.ZIP


def walk(files: Iterable[tuple[str, memoryview]], budget: Budget, *, wanted: frozenset[str] = frozenset()) -> Report:
    """Look into all of these, each a name and its octets."""
    walked = Walk(budget, wanted)
    for name, octets in files:
        walked.file(name, octets)
    return walked.report()
