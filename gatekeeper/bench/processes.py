"""Programs that run while something is measured, and what they take of the machine, from /proc (proc(5))."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gatekeeper.wire.process import START_VARIABLE

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
START_SECONDS = 60.0
STOP_SECONDS = 10.0


def roles(process: subprocess.Popen[bytes], log: Path, *, workers: int = 1) -> Mapping[str, Sequence[int]]:
    """The pids of a supervisor's children by their role. Raises RuntimeError when they do not come."""
    until = time.monotonic() + START_SECONDS
    while True:
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"gatekeeper did not start: {log.read_text()[-500:]}")
        time.sleep(0.1)
        found: dict[str, list[int]] = {}
        for pid in children(process.pid):
            with contextlib.suppress(OSError):
                for variable in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    if variable.startswith(START_VARIABLE.encode() + b"="):
                        found.setdefault(json.loads(variable.partition(b"=")[2])["role"], []).append(pid)
        if len(found.get("worker", ())) == workers and "controller" in found:
            return found


@contextlib.contextmanager
def sink(*, fair: bool = False) -> Iterator[tuple[int, int, str]]:
    """A next hop that takes everything: its port, its pid, its name. Postfix' smtp-sink where there is one, unless it
    is to be `fair`: smtp-sink answers nobody else while a large message comes in.
    """
    port = free_port()
    path = (
        None if fair else shutil.which("smtp-sink", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/libexec/postfix")
    )
    if path:
        user = ("-u", "root") if os.geteuid() == 0 else ()
        command: tuple[str, ...] = (path, *user, f"127.0.0.1:{port}", "1000")
    else:
        command = (sys.executable, "-m", "gatekeeper.bench.sink", str(port))
    with running(command, subprocess.DEVNULL) as process:
        wait_for(port, process, command[0])
        yield (
            port,
            process.pid,
            "smtp-sink"
            if path
            else "a sink of our own"
            if fair
            else "a sink of our own (no smtp-sink here: install postfix)",
        )


def wait_for(port: int, process: subprocess.Popen[bytes], what: str, log: Path | None = None) -> None:
    """Until something takes connections at that port. Raises RuntimeError, with the end of `log`, if it does not."""
    until = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        if process.poll() is not None or time.monotonic() > until:
            last = f": {log.read_text(errors='replace')[-500:]}" if log is not None else ""
            raise RuntimeError(f"{what} did not start{last}")
        time.sleep(0.1)


@contextlib.contextmanager
def running(
    command: Sequence[str], output: object = subprocess.DEVNULL, *, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A program; ended on leaving. `output`: a file, for whoever wants to read what it says."""
    process: subprocess.Popen[bytes] = subprocess.Popen(  # type: ignore[call-overload]  # noqa: S603  our own program, its output a file or DEVNULL
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def children(parent: int) -> list[int]:
    return [pid for pid in _pids() if _stat(pid)[1:2] == [str(parent)]]


def _pids() -> list[int]:
    return [int(there.name) for there in Path("/proc").iterdir() if there.name.isdecimal()]


def _stat(pid: int) -> list[str]:
    """From the process's state on; nothing once it has gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def cpu(pid: int) -> float:
    """Seconds of user and system time, its threads and the children it has waited for included."""
    return sum(map(int, _stat(pid)[11:15])) / _TICKS


def machine_cpu() -> float:
    """Seconds that all processors together have worked."""
    user, nice, system, _idle, _iowait, irq, softirq = map(
        int, Path("/proc/stat").read_text().split("\n")[0].split()[1:8]
    )
    return (user + nice + system + irq + softirq) / _TICKS


def rss(pid: int) -> int:
    """Octets of resident memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


def tree(root: int) -> list[int]:
    """That process and all that came from it and live."""
    parents = {pid: stat[1] for pid in _pids() if (stat := _stat(pid))}
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == str(pid)]
    return found
