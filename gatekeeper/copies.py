"""Copies of the files that a configuration names, so that a generation of processes has them as they were at its start.

The parent makes them beside its snapshot of the configuration, while it reads that for the first time. A process that
takes the place of a dead one reads them, whatever is being edited meanwhile. Anybody else reads the files themselves.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

LARGEST: Final = 32 * 1024 * 1024
"""Octets of a file that is copied; nobody takes a larger one."""


class _Place:
    """Where the copies are: one place for the whole process, since its checks are made anew now and then."""

    directory: Path | None = None
    making = False


@contextlib.contextmanager
def beside(snapshot: str | Path, *, making: bool = False) -> Iterator[None]:
    """Go by the copies of that snapshot until the end of this; `making` those that are not there yet."""
    before = _Place.directory, _Place.making
    _Place.directory, _Place.making = _directory(snapshot), making
    try:
        yield
    finally:
        _Place.directory, _Place.making = before


def forget(snapshot: str | Path) -> None:
    """Remove all copies of that snapshot; not an error when there are none."""
    shutil.rmtree(_directory(snapshot), ignore_errors=True)


def readable(path: str) -> str:
    """Where to read what stands in that file: a copy, or where there is none the file itself. People know no copies.

    What cannot be copied is left to whoever reads it, who can say better what is wrong.
    """
    copy = _copy(path, "file")
    if copy is None:
        return path
    if _Place.making and not copy.exists():
        try:
            _make(path, copy)
        except (OSError, ValueError):
            copy.unlink(missing_ok=True)
    return str(copy) if copy.exists() else path


def matching(pattern: str) -> list[str]:
    """The files of a pattern such as "/etc/gatekeeper/*.toml", in the order of their names, as people know them."""
    if not glob.has_magic(pattern):
        return [pattern]
    found = sorted(glob.glob(pattern))  # noqa: PTH207  # whole paths, where Path wants a beginning
    copy = _copy(pattern, "names")
    if copy is None:
        return found
    with contextlib.suppress(OSError, ValueError):
        if copy.exists():
            return [str(each) for each in json.loads(copy.read_text())]
        if _Place.making:
            copy.parent.mkdir(mode=0o700, exist_ok=True)
            copy.write_text(json.dumps(found))
    return found


def _directory(snapshot: str | Path) -> Path:
    return Path(f"{snapshot}.files")


def _copy(name: str, kind: str) -> Path | None:
    if _Place.directory is None:
        return None
    return _Place.directory / f"{hashlib.sha256(os.fsencode(name)).hexdigest()}.{kind}"


def _make(path: str, copy: Path) -> None:
    about = Path(path).stat()
    if stat.S_ISREG(about.st_mode) and about.st_size <= LARGEST:
        copy.parent.mkdir(mode=0o700, exist_ok=True)
        copy.touch(mode=0o600)
        shutil.copyfile(path, copy)
        os.utime(copy, ns=(about.st_atime_ns, about.st_mtime_ns))  # by which one version is told from the next
