"""Messages out of files for `gatekeeper learn`: single ones, Maildirs, mboxes, and directories of any of them."""

from __future__ import annotations

import mailbox
from collections.abc import Iterable, Iterator
from pathlib import Path

MOST = 64 * 1024 * 1024
"""Octets of one message that are read."""


def found(paths: Iterable[Path]) -> list[Path]:
    """Every file that holds mail, in order. Of a Maildir neither what is being delivered nor what is in its bin.

    Raises OSError for a path that cannot be read.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            _walk(path, files)
        else:
            path.stat()
            files.append(path)
    return files


def _walk(directory: Path, files: list[Path]) -> None:
    maildir = (directory / "cur").is_dir() and (directory / "new").is_dir()
    for entry in sorted(directory.iterdir()):
        if entry.is_symlink() and entry.is_dir():
            continue  # it may lead round in a circle
        if entry.is_dir():
            if not (maildir and entry.name == "tmp"):
                _walk(entry, files)
        elif entry.is_file() and not maildir and not _in_the_bin(entry):
            files.append(entry)


def _in_the_bin(file: Path) -> bool:
    """Whether its flags say that it is deleted; files of other names than a Maildir's have no flags."""
    flags = file.name.rpartition(":2,")[2] if ":2," in file.name else ""
    return "T" in flags


def messages(file: Path) -> Iterator[bytes]:
    """Each message in it, one or an mbox of many. Raises OSError."""
    with file.open("rb") as opened:
        start = opened.read(5)
        if start != b"From ":
            yield start + opened.read(MOST)
            return
    box = mailbox.mbox(file, create=False)
    try:
        for key in box.iterkeys():
            yield box.get_bytes(key)[:MOST]
    finally:
        box.close()
