"""What a file is by its first octets, and what its name says it is. A small table of our own: mail needs no more."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final


class Family(StrEnum):
    """What a file does to whoever opens it."""

    PROGRAM = "program"  # runs
    SCRIPT = "script"  # is run by a program that most machines have
    SHORTCUT = "shortcut"  # starts something that stands elsewhere
    DISK = "disk"  # is mounted, and what is in it has lost the mark that it came from the Internet
    ARCHIVE = "archive"
    DOCUMENT = "document"
    PAGE = "page"  # a browser shows it, and runs what is in it
    IMAGE = "image"
    MEDIA = "media"
    TEXT = "text"
    OTHER = "other"


class FileType(StrEnum):
    """What is told apart."""

    UNKNOWN = "unknown"
    PE = "pe"  # Windows
    ELF = "elf"  # Linux
    MACH_O = "mach_o"  # macOS
    JAVA = "java"  # a class, or a jar, which is a zip
    DEX = "dex"  # Android
    MSI = "msi"  # a Windows installer, which is an OLE file
    SHELL = "shell"  # a shebang: nothing runs it unless it is told to
    SCRIPT = "script"  # something that only a Windows script begins with
    HTA = "hta"  # HTML that is run as a program
    CHM = "chm"  # a help file, with script in it
    LNK = "lnk"
    URL = "url"  # an Internet shortcut, and its like on other systems
    ISO = "iso"
    DMG = "dmg"
    VHD = "vhd"
    VHDX = "vhdx"
    ZIP = "zip"
    RAR = "rar"
    SEVEN = "7z"
    GZIP = "gzip"
    BZIP2 = "bzip2"
    XZ = "xz"
    TAR = "tar"
    CAB = "cab"
    ACE = "ace"
    ARJ = "arj"
    LZH = "lzh"
    OLE = "ole"  # Word, Excel, PowerPoint until 2003, Outlook
    OOXML = "ooxml"  # since 2007, which is a zip
    ODF = "odf"  # OpenDocument, which is a zip
    ONENOTE = "onenote"
    PDF = "pdf"
    RTF = "rtf"
    HTML = "html"
    SVG = "svg"
    PNG = "png"
    JPEG = "jpeg"
    GIF = "gif"
    BMP = "bmp"
    TIFF = "tiff"
    WEBP = "webp"
    ICO = "ico"
    RIFF = "riff"  # WAV, AVI
    MP3 = "mp3"
    MP4 = "mp4"
    OGG = "ogg"
    FLAC = "flac"

    @property
    def family(self) -> Family:
        return _FAMILIES.get(self, Family.OTHER)

    @property
    def opens(self) -> bool:
        """Whether there is something inside that has to be looked at."""
        return self in _OPENED


_FAMILIES: Final = {
    **dict.fromkeys(
        (FileType.PE, FileType.ELF, FileType.MACH_O, FileType.JAVA, FileType.DEX, FileType.MSI), Family.PROGRAM
    ),
    **dict.fromkeys((FileType.SCRIPT, FileType.HTA, FileType.CHM), Family.SCRIPT),
    FileType.SHELL: Family.TEXT,
    **dict.fromkeys((FileType.LNK, FileType.URL), Family.SHORTCUT),
    **dict.fromkeys((FileType.ISO, FileType.DMG, FileType.VHD, FileType.VHDX), Family.DISK),
    **dict.fromkeys(
        (
            FileType.ZIP,
            FileType.RAR,
            FileType.SEVEN,
            FileType.GZIP,
            FileType.BZIP2,
            FileType.XZ,
            FileType.TAR,
            FileType.CAB,
            FileType.ACE,
            FileType.ARJ,
            FileType.LZH,
        ),
        Family.ARCHIVE,
    ),
    **dict.fromkeys(
        (FileType.OLE, FileType.OOXML, FileType.ODF, FileType.ONENOTE, FileType.PDF, FileType.RTF), Family.DOCUMENT
    ),
    **dict.fromkeys((FileType.HTML, FileType.SVG), Family.PAGE),
    **dict.fromkeys(
        (
            FileType.PNG,
            FileType.JPEG,
            FileType.GIF,
            FileType.BMP,
            FileType.TIFF,
            FileType.WEBP,
            FileType.ICO,
        ),
        Family.IMAGE,
    ),
    **dict.fromkeys((FileType.RIFF, FileType.MP3, FileType.MP4, FileType.OGG, FileType.FLAC), Family.MEDIA),
}
_OPENED: Final = frozenset(
    {
        FileType.ZIP,
        FileType.RAR,
        FileType.SEVEN,
        FileType.GZIP,
        FileType.BZIP2,
        FileType.XZ,
        FileType.TAR,
        FileType.CAB,
        FileType.OLE,
        FileType.RTF,
        FileType.ISO,
    }
)
"""Of those that the first octets tell: a jar or an OOXML file begins as a zip, an installer as an OLE file."""

HEAD: Final = 4096
"""Octets at the beginning from which most types are told."""
ISO_HEAD: Final = 34_000
"""And those that a disk image takes: its mark stands behind 32 KiB."""

_MARKS: Final[dict[bytes, tuple[tuple[bytes, FileType], ...]]] = {}


def _mark(octets: bytes, filetype: FileType) -> None:
    _MARKS[octets[:2]] = (*_MARKS.get(octets[:2], ()), (octets, filetype))


for _octets, _type in (
    (b"\x7fELF", FileType.ELF),
    (b"\xfe\xed\xfa\xce", FileType.MACH_O),
    (b"\xfe\xed\xfa\xcf", FileType.MACH_O),
    (b"\xce\xfa\xed\xfe", FileType.MACH_O),
    (b"\xcf\xfa\xed\xfe", FileType.MACH_O),
    (b"dex\n0", FileType.DEX),
    (b"#!", FileType.SHELL),
    (b"#@~^", FileType.SCRIPT),  # encoded VBScript or JScript
    (b"ITSF", FileType.CHM),
    (b"L\x00\x00\x00\x01\x14\x02\x00", FileType.LNK),
    (b"vhdxfile", FileType.VHDX),
    (b"conectix", FileType.VHD),
    (b"PK\x03\x04", FileType.ZIP),
    (b"PK\x05\x06", FileType.ZIP),  # an empty one
    (b"PK\x07\x08", FileType.ZIP),
    (b"PK00PK\x03\x04", FileType.ZIP),
    (b"Rar!\x1a\x07", FileType.RAR),
    (b"7z\xbc\xaf\x27\x1c", FileType.SEVEN),
    (b"\x1f\x8b\x08", FileType.GZIP),
    (b"BZh", FileType.BZIP2),
    (b"\xfd7zXZ\x00", FileType.XZ),
    (b"MSCF\x00\x00\x00\x00", FileType.CAB),
    (b"\x60\xea", FileType.ARJ),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", FileType.OLE),
    (b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3", FileType.ONENOTE),
    (b"%PDF-", FileType.PDF),
    (b"{\\rt", FileType.RTF),  # Word opens what goes on in other ways too
    (b"\x89PNG\r\n\x1a\n", FileType.PNG),
    (b"\xff\xd8\xff", FileType.JPEG),
    (b"GIF8", FileType.GIF),
    (b"II*\x00", FileType.TIFF),
    (b"MM\x00*", FileType.TIFF),
    (b"\x00\x00\x01\x00", FileType.ICO),
    (b"ID3", FileType.MP3),
    (b"\xff\xfb", FileType.MP3),
    (b"OggS", FileType.OGG),
    (b"fLaC", FileType.FLAC),
):
    _mark(_octets, _type)

_TEXT_MARKS: Final = (
    (re.compile(rb"<hta:application|<script[^>]{0,80}language\s*=\s*[\"']?vbs", re.IGNORECASE), FileType.HTA),
    (re.compile(rb"\A[^<]{0,64}<(?:\?xml[^>]{0,200}\?>\s*<)?(?:job|package)[\s>]", re.IGNORECASE), FileType.SCRIPT),
    (re.compile(rb"\A@?echo off\b", re.IGNORECASE), FileType.SCRIPT),
    (re.compile(rb"\A(?:windows registry editor|regedit4)", re.IGNORECASE), FileType.SCRIPT),
    (re.compile(rb"\A\[(?:internetshortcut|desktop entry)", re.IGNORECASE), FileType.URL),
    (re.compile(rb"<(?:libraryDescription|searchConnectorDescription|PCSettings)[\s>]"), FileType.URL),
    (re.compile(rb"<!doctype html|<html[\s>]|<head[\s>]|<body[\s>]", re.IGNORECASE), FileType.HTML),
    (re.compile(rb"<svg[\s>]", re.IGNORECASE), FileType.SVG),
    (re.compile(rb"<(?:script|meta|iframe)[\s>]", re.IGNORECASE), FileType.HTML),
)
_END_OF_ZIP: Final = b"PK\x05\x06"
_END_WITHIN: Final = 65_535 + 22
"""Octets at the end of a zip archive in which its mark stands: a comment may follow."""
_BLANKS: Final = b" \t\r\n\0"
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")


def type_of(head: bytes) -> FileType:
    """What a file is by its first `HEAD` octets (`ISO_HEAD` for disk images); UNKNOWN where that does not tell."""
    for mark, filetype in _MARKS.get(head[:2], ()):
        if head.startswith(mark):
            return filetype
    if head.startswith(b"MZ"):
        return FileType.PE  # with or without the new header: Windows or DOS runs it
    if head.startswith(b"\xca\xfe\xba\xbe") and len(head) >= 8:
        # Of a class the version, of a program for several processors their number.
        return FileType.MACH_O if int.from_bytes(head[4:8]) < 20 else FileType.JAVA
    if head.startswith(b"BM") and len(head) >= 14 and head[6:10] == b"\0\0\0\0":
        return FileType.BMP
    if head.startswith(b"RIFF"):
        return FileType.WEBP if head[8:12] == b"WEBP" else FileType.RIFF
    if head[4:8] == b"ftyp":
        return FileType.MP4
    if head[2:5] == b"-lh" and head[6:7] == b"-":
        return FileType.LZH
    if head[7:14] == b"**ACE**":
        return FileType.ACE
    if head[257:262] == b"ustar":
        return FileType.TAR
    if head[32_769:32_774] in {b"CD001", b"BEA01"}:
        return FileType.ISO
    return _text_type(head[:HEAD])


def may_hide_zip(filetype: FileType, claims: frozenset[Family]) -> bool:
    """Whether a file that begins as something else, or as nothing, may be opened as a zip archive all the same."""
    if filetype.opens:
        return False
    return Family.ARCHIVE in claims or (filetype is FileType.UNKNOWN and Family.DOCUMENT in claims)


def type_of_whole(octets: memoryview, filetype: FileType | None = None) -> FileType:
    """What a file is by all its octets: zip archives are found by their end. `filetype` is what its beginning says."""
    filetype = filetype or type_of(bytes(octets[:ISO_HEAD]))
    if filetype.opens or _END_OF_ZIP not in bytes(octets[-_END_WITHIN:]):
        return filetype
    return FileType.ZIP


def _text_type(head: bytes) -> FileType:
    """Of files that begin with text: what people and programs take it for."""
    if head[:2] in _UTF16:
        head = head.replace(b"\0", b"")[2:]
    head = head.removeprefix(b"\xef\xbb\xbf").lstrip(_BLANKS)
    if b"%PDF-" in head[:1024]:  # readers look for it there
        return FileType.PDF
    if b"<" in head or head[:1] in b"[@eEwWrR":
        for pattern, filetype in _TEXT_MARKS:
            if pattern.search(head):
                return filetype
    return FileType.UNKNOWN


# -- what a name says -------------------------------------------------------------------------------------------------


def _all(*rows: str) -> frozenset[str]:
    return frozenset(" ".join(rows).split())


PROGRAMS: Final = _all(
    "exe com scr pif cpl msi msp mst msix msixbundle appx appxbundle dll ocx sys drv jar jnlp apk application gadget",
    "xll wll ppam xlam",
)
SCRIPTS: Final = _all(
    "bat cmd vb vbs vbe vbscript js jse ws wsf wsc wsh hta ps1 ps1xml ps2 ps2xml psc1 psc2 psm1 psd1 msh msh1 msh2",
    "reg inf sct shb shs chm hlp ade adp mad maf mam maq mar mas mda mde mdt mdw mdz msc iqy slk diagcab theme ins isp",
)
SHORTCUTS: Final = _all(
    "lnk url scf website webloc desktop library-ms search-ms searchconnector-ms settingcontent-ms appref-ms"
)
DISKS: Final = _all("iso img vhd vhdx dmg udf nrg toast vmdk")
ARCHIVES: Final = _all("zip rar 7z gz tgz bz2 tbz tbz2 xz txz tar cab ace arj lzh lha zst r00 z")
DOCUMENTS: Final = _all(
    "pdf doc docx docm dot dotx dotm xls xlsx xlsm xlsb xlt xltx xltm ppt pptx pptm pps ppsx ppsm rtf odt ods odp one"
)
PAGES: Final = _all("html htm shtml xhtml xht mht mhtml svg svgz")
IMAGES: Final = _all("png jpg jpeg jpe jfif gif bmp tif tiff webp ico heic")
MEDIAS: Final = _all("mp3 mp4 m4a m4v mov wav avi ogg oga ogv flac wma wmv mkv 3gp")
TEXTS: Final = _all("txt text log csv md")

_BY_EXTENSION: Final[dict[str, Family]] = {
    extension: family
    for family, extensions in (
        (Family.PROGRAM, PROGRAMS),
        (Family.SCRIPT, SCRIPTS),
        (Family.SHORTCUT, SHORTCUTS),
        (Family.DISK, DISKS),
        (Family.ARCHIVE, ARCHIVES),
        (Family.DOCUMENT, DOCUMENTS),
        (Family.PAGE, PAGES),
        (Family.IMAGE, IMAGES),
        (Family.MEDIA, MEDIAS),
        (Family.TEXT, TEXTS),
    )
    for extension in extensions
}
DANGEROUS: Final = frozenset({Family.PROGRAM, Family.SCRIPT, Family.SHORTCUT, Family.DISK})
"""Whose files nobody sends with honest intent under the name of something else."""
HARMLESS_LOOKING: Final = frozenset({Family.DOCUMENT, Family.IMAGE, Family.MEDIA, Family.TEXT})
_BY_MEDIA: Final = {
    "application/pdf": Family.DOCUMENT,
    "application/msword": Family.DOCUMENT,
    "application/rtf": Family.DOCUMENT,
    "application/zip": Family.ARCHIVE,
    "application/x-zip-compressed": Family.ARCHIVE,
    "text/html": Family.PAGE,
    "image/svg+xml": Family.PAGE,
}


def family_of_extension(extension: str) -> Family | None:
    """What a name with that extension (lower case, without dot) says; None where it says nothing."""
    return _BY_EXTENSION.get(extension)


def family_of_media(media: str) -> Family | None:
    """What a Content-Type says, as far as people are shown it by a picture or a word."""
    if media in _BY_MEDIA:
        return _BY_MEDIA[media]
    top = media.partition("/")[0]
    if top == "image":
        return Family.IMAGE
    return Family.MEDIA if top in {"audio", "video"} else None
