"""Programs that cannot be installed beside the others: their Debian packages are unpacked for the tests that need them.

A mail server's package conflicts with Postfix's. Unpacked, with the libraries that this machine lacks, it runs all
the same, and nothing of it stays.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.peers.instances import PATH, program


def absent(why: str) -> None:
    """Skip, saying why; in CI, and where the peers were to be installed, that is a failure."""
    if os.environ.get("CI") == "true" or os.environ.get("PEERS") == "install":
        pytest.fail(why)
    pytest.skip(why)


def unpacked(directory: Path, packages: tuple[str, ...]) -> Path:
    """Where they stand unpacked, with what they depend on and is not installed here."""
    if program("apt-get") is None or program("dpkg") is None or os.geteuid() != 0:
        absent(f"{packages[0]} is unpacked from Debian's package, as root: needs apt-get, dpkg and root")
    directory.mkdir()
    if not _download(directory, packages):
        _run("apt-get", "update", "-qq")
        if not _download(directory, packages):
            absent(f"the package {packages[0]} cannot be fetched with apt-get download")
    for package in directory.glob("*.deb"):
        assert _run("dpkg", "-x", str(package), str(directory / "root")).returncode == 0
    return directory / "root"


def _download(directory: Path, packages: tuple[str, ...]) -> bool:
    planned = _run("apt-get", "install", "--simulate", "--yes", "--no-install-recommends", *packages)
    wanted = {line.split()[1] for line in planned.stdout.splitlines() if line.startswith("Inst ")} | {*packages}
    done = _run("apt-get", "-o", "APT::Sandbox::User=root", "download", *sorted(wanted), directory=directory)
    return planned.returncode == 0 and done.returncode == 0


def _run(*command: str, directory: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program(command[0]) or command[0], *command[1:]],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "PATH": PATH, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
    )
