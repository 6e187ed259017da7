"""A directory that the user who calls may not look into, also where tests run as root."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest


def closed_to_us(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system says of any file in it."""
    stat = Path.stat

    def answered(path: Path, **how: Any) -> os.stat_result:
        if directory in path.parents:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return stat(path, **how)

    monkeypatch.setattr(Path, "stat", answered)
