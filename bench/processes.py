"""The programs that are measured and those around them; their CPU and memory from /proc (proc(5))."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.corpus import LISTS, RECIPIENT
from gatekeeper.pipeline import CHECKS
from gatekeeper.wire.process import START_VARIABLE

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
START_SECONDS = 60.0
STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Gatekeeper:
    """A running gatekeeper with one worker: its port, its sockets, and the pids of its processes."""

    port: int
    milter: Path
    policy: Path
    supervisor: int
    worker: int
    controller: int


@dataclass(frozen=True, slots=True)
class Alone:
    """A server without anything behind it: its socket and its pid."""

    path: Path
    pid: int


@contextlib.contextmanager
def gatekeeper(
    directory: Path,
    *,
    next_hop: int,
    nameserver: str,
    checks: bool,
    only: str = "",
    smtp: str = "",
    proxied: int = 0,
) -> Iterator[Gatekeeper]:
    """`gatekeeper run` with all checks on, or all off; ready, and ended on leaving. `only` is the section of the one
    check that is on all the same, `smtp` are further settings of the SMTP server; at the port `proxied` a PROXY header
    is required.
    """
    directory.mkdir()
    port, http = free_port(), free_port()
    config = directory / "gatekeeper.toml"
    entrance = f'proxy_listen = ["127.0.0.1:{proxied}"]\n' if proxied else ""
    config.write_text(
        _settings(
            directory,
            port=port,
            http=http,
            next_hop=next_hop,
            nameserver=nameserver,
            checks=checks,
            only=only,
            smtp=entrance + smtp,
        )
    )
    with (directory / "log").open("wb") as log:
        command = (sys.executable, "-m", "gatekeeper", "run", "-c", str(config))
        with _running(command, log) as process:
            pids = _roles(process, directory / "log")
            with socket.create_connection(("127.0.0.1", port), START_SECONDS) as client:
                client.recv(100)  # the greeting: the worker works
            milter, policy = directory / "milter", directory / "policy"
            yield Gatekeeper(port, milter, policy, process.pid, pids["worker"], pids["controller"])


def _settings(
    directory: Path, *, port: int, http: int, next_hop: int, nameserver: str, checks: bool, only: str, smtp: str
) -> str:
    text = f"""hostname = "mx.example"
relay_domains = ["{RECIPIENT.partition("@")[2]}"]
[servers.smtp]
listen = ["127.0.0.1:{port}"]
next_hop = "smtp://127.0.0.1:{next_hop}"
trust = ["127.0.0.1/32"]
connections = 100000
{smtp}
[servers.milter]
listen = ["unix:{directory}/milter"]
connections = 100000
[servers.policy_service]
listen = ["unix:{directory}/policy"]
connections = 100000
[servers.http]
listen = ["127.0.0.1:{http}"]
[dns]
nameservers = ["{nameserver}"]
[store]
url = "sqlite:{directory}/state.db"
[supervisor]
workers = 1
drain = "1s"
"""
    if checks:
        text += "[gate]\ndrop_listed = true\n"  # as postscreen does; it changes nothing for those on no list
        lists = (
            f'[[checks.dnsbl.lists]]\nzone = "{zone}"\nname = "L{n}"\nscore = 4.0\n' for n, zone in enumerate(LISTS)
        )
    else:
        sections = {f"[checks.{check.name}]": "enabled = false\n" for check in CHECKS}
        lists = (f"{section}\n{off}" for section, off in sections.items() if not only.startswith(section))
    return text + "".join(lists) + only


def _roles(process: subprocess.Popen[bytes], log: Path) -> Mapping[str, int]:
    """The supervisor's children by their role. Raises RuntimeError when they do not come."""
    until = time.monotonic() + START_SECONDS
    roles: dict[str, int] = {}
    while len(roles) < 2:
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"gatekeeper did not start: {log.read_text()[-500:]}")
        time.sleep(0.1)
        for pid in _children(process.pid):
            with contextlib.suppress(OSError):
                for variable in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    if variable.startswith(START_VARIABLE.encode() + b"="):
                        roles[json.loads(variable.partition(b"=")[2])["role"]] = pid
    return roles


@contextlib.contextmanager
def sink() -> Iterator[tuple[int, int, str]]:
    """A next hop that takes everything: its port, its pid, its name. Postfix' smtp-sink where there is one."""
    port = free_port()
    path = shutil.which("smtp-sink", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/libexec/postfix")
    if path:
        user = ("-u", "root") if os.geteuid() == 0 else ()
        command: tuple[str, ...] = (path, *user, f"127.0.0.1:{port}", "1000")
    else:
        command = (sys.executable, "-m", "bench.sink", str(port))
    with _running(command, subprocess.DEVNULL) as process:
        until = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
                break
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{command[0]} did not start")
            time.sleep(0.1)
        yield port, process.pid, "smtp-sink" if path else "a sink of our own (no smtp-sink here: install postfix)"


@contextlib.contextmanager
def running(command: tuple[str, ...]) -> Iterator[subprocess.Popen[bytes]]:
    """A program whose output nobody wants; ended on leaving."""
    with _running(command, subprocess.DEVNULL) as process:
        yield process


@contextlib.contextmanager
def alone(directory: Path, what: str) -> Iterator[Alone]:
    """`bench.alone` with the milter or the policy service; ready, and ended on leaving."""
    path = directory / f"alone-{what}"
    with (directory / f"alone-{what}.log").open("wb") as log:
        command = (sys.executable, "-m", "bench.alone", what, str(path))
        with _running(command, log) as process:
            until = time.monotonic() + START_SECONDS
            while not path.exists():
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"bench.alone {what} did not start: {Path(log.name).read_text()[-500:]}")
                time.sleep(0.1)
            yield Alone(path, process.pid)


@contextlib.contextmanager
def _running(command: tuple[str, ...], output: object) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)  # type: ignore[call-overload]  # a file or DEVNULL
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


def _children(parent: int) -> list[int]:
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
