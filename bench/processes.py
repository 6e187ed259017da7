"""The programs that are measured and those around them; their CPU and memory from /proc (proc(5))."""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gatekeeper.bench.letters import LISTS, RECIPIENT
from gatekeeper.bench.processes import (
    START_SECONDS,
    cpu,
    free_port,
    machine_cpu,
    roles,
    rss,
    running,
    sink,
    tree,
    wait_for,
)
from gatekeeper.pipeline import CHECKS

__all__ = [
    "START_SECONDS",
    "cpu",
    "free_port",
    "machine_cpu",
    "rss",
    "running",
    "sink",
    "tree",
    "wait_for",
]


@dataclass(frozen=True, slots=True)
class Gatekeeper:
    """A running gatekeeper: its port, its sockets, and the pids of its processes; `worker` is the first worker."""

    port: int
    milter: Path
    policy: Path
    supervisor: int
    worker: int
    controller: int
    workers: Sequence[int]

    def cpu(self) -> Mapping[str, float]:
        """Seconds that its processes have used so far."""
        return {
            "worker": sum(map(cpu, self.workers)),
            "controller": cpu(self.controller),
            "supervisor": cpu(self.supervisor),
        }


@dataclass(frozen=True, slots=True)
class Alone:
    """A server without anything behind it: its socket and its pid."""

    path: Path
    pid: int


class Program:
    """Somebody else's. `port` takes its connections; `cpu` is what all its processes have used, in seconds."""

    def __init__(self, port: int, main: int) -> None:
        self.port = port
        self._main = main

    def cpu(self) -> float:
        return sum(cpu(pid) for pid in tree(self._main))

    def cpu_by_process(self) -> Mapping[str, float]:
        """The same by what its processes are called."""
        found: dict[str, float] = {}
        for pid in tree(self._main):
            name = called(pid)
            found[name] = found.get(name, 0.0) + cpu(pid)
        return found


def called(pid: int) -> str:
    """What a process is: those of rspamd's say so themselves ("rspamd: normal process"), others go by their file."""
    try:
        title = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
        file = Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "gone"
    program, found, itself = title.partition(": ")
    return itself.split()[0] if found and itself.strip() and "/" not in program else file


def open_to_others(directory: Path) -> None:
    """For a program that gives up root: it has to get to its files, and temporary directories are their owner's."""
    for path in (directory, *directory.parents):
        if path.is_relative_to("/tmp") and path != Path("/tmp"):
            path.chmod(0o755)


@contextlib.contextmanager
def gatekeeper(
    directory: Path,
    *,
    next_hop: int,
    nameserver: str,
    checks: bool,
    only: str = "",
    without: Collection[str] = (),
    smtp: str = "",
    proxied: int = 0,
    drain: str = "1s",
    workers: int = 1,
) -> Iterator[Gatekeeper]:
    """`gatekeeper run` with all checks on, or all off; ready, and ended on leaving. `only` is the section of the one
    check that is on all the same, or what is added to those of all, `without` are those that are off where all others
    are on, `smtp` are further settings of the SMTP server; at the port `proxied` a PROXY header is required.
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
            without=without,
            smtp=entrance + smtp,
            drain=drain,
            workers=workers,
        )
    )
    with (directory / "log").open("wb") as log:
        command = (sys.executable, "-m", "gatekeeper", "run", "-c", str(config))
        with running(command, log) as process:
            pids = roles(process, directory / "log", workers=workers)
            with socket.create_connection(("127.0.0.1", port), START_SECONDS) as client:
                client.recv(100)  # the greeting: the worker works
            milter, policy = directory / "milter", directory / "policy"
            first, controller = pids["worker"][0], pids["controller"][0]
            yield Gatekeeper(port, milter, policy, process.pid, first, controller, pids["worker"])


_LIMITS = "".join(
    f'[[checks.rates.limits]]\nwhat = "{what}"\nper = {per}\n{most}\nwithin = "1h"\n'
    for what, per, most in (
        ("messages", '["address"]', "most = 10000000"),
        ("messages", '["network", "sender"]', "most = 10000000"),
        ("messages", '["recipient"]', "most = 10000000"),
        ("bytes", '["authenticated_domain"]', 'size = "10000GiB"'),
    )
)
"""As many as ship, counted alike, and never reached: here all mail goes to one recipient, within minutes."""


def _settings(
    directory: Path,
    *,
    port: int,
    http: int,
    next_hop: int,
    nameserver: str,
    checks: bool,
    only: str,
    without: Collection[str],
    smtp: str,
    drain: str,
    workers: int,
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
workers = {workers}
drain = "{drain}"
"""
    if checks:
        text += "[gate]\ndrop_listed = true\n"  # as postscreen does; it changes nothing for those on no list
        if "rates" not in without:
            text += _LIMITS
        text += "".join(f"[checks.{name}]\nenabled = false\n" for name in without)
        lists = (
            f'[[checks.dnsbl.lists]]\nzone = "{zone}"\nname = "L{n}"\nscore = 4.0\n' for n, zone in enumerate(LISTS)
        )
    else:
        sections = {f"[checks.{check.name}]": "enabled = false\n" for check in CHECKS}
        lists = (f"{section}\n{off}" for section, off in sections.items() if not only.startswith(section))
    return text + "".join(lists) + only


@contextlib.contextmanager
def alone(directory: Path, what: str) -> Iterator[Alone]:
    """`bench.alone` with the milter or the policy service; ready, and ended on leaving."""
    path = directory / f"alone-{what}"
    with (directory / f"alone-{what}.log").open("wb") as log:
        command = (sys.executable, "-m", "bench.alone", what, str(path))
        with running(command, log) as process:
            until = time.monotonic() + START_SECONDS
            while not path.exists():
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"bench.alone {what} did not start: {Path(log.name).read_text()[-500:]}")
                time.sleep(0.1)
            yield Alone(path, process.pid)
