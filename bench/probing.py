"""Can known names be told from unknown ones by the clock, once a probe budget is spent? `python -m bench.probing`.

Each of 2,000 probes is one RCPT, known and unknown ones in random order, timed from its last octet sent to the last
octet of its answer. Printed is the AUC: how often an unknown name took longer than a known one, 0.5 being a coin. That
the measurement can tell at all shows in the first line, where nothing is spent. Exit status 1 when a budget leaks.
"""

from __future__ import annotations

import contextlib
import random
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from bench import processes
from gatekeeper.bench.letters import RECIPIENT

PROBES: Final = 2_000
SMTP: Final = "errors = 1000000\nidle_commands = 1000000\n"
OPEN: Final = "budget = 1000000.0\ndomain_budget = 0\ndictionary_clients = 0\n"
SPENT: Final = {
    "nothing": (OPEN, False),
    "the client's own budget": (
        "budget = 1.0\nblock_at = 1000000.0\ndomain_budget = 0\ndictionary_clients = 0\n",
        True,
    ),
    "the domain's budget": (
        'budget = 1000000.0\ndomain_budget = 2\ndomain_at_once = 0\ndomain_wait = "1h"\ndictionary_clients = 0\n',
        True,
    ),
}
"""What is spent, the settings for it, and whether names must then be alike."""
LOW, HIGH = 0.45, 0.55


@dataclass
class Timed:
    """Seconds of each answer, and the different answers, to known names and to unknown ones."""

    seconds: dict[bool, list[float]] = field(default_factory=lambda: {True: [], False: []})
    answers: dict[bool, set[bytes]] = field(default_factory=lambda: {True: set(), False: set()})

    @property
    def auc(self) -> float:
        return auc(self.seconds[True], self.seconds[False])


def auc(known: Sequence[float], unknown: Sequence[float]) -> float:
    """How often one of the second is larger than one of the first; a tie is half (Mann and Whitney)."""
    ranked = sorted([(value, False) for value in known] + [(value, True) for value in unknown])
    total, n = 0.0, 0
    while n < len(ranked):
        end = n
        while end < len(ranked) and ranked[end][0] == ranked[n][0]:
            end += 1
        rank = (n + 1 + end) / 2
        total += rank * sum(second for _, second in ranked[n:end])
        n = end
    return (total - len(unknown) * (len(unknown) + 1) / 2) / (len(known) * len(unknown))


class Prober:
    """One SMTP session of a client from elsewhere."""

    def __init__(self, port: int, address: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 30.0)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._read()
        for line in ("EHLO proxy.example", f"XCLIENT ADDR={address} NAME=[UNAVAILABLE]", "EHLO prober.example"):
            self.say(line)

    def say(self, line: str) -> bytes:
        self._socket.sendall(line.encode() + b"\r\n")
        return self._read()

    def time(self, line: str) -> tuple[float, bytes]:
        octets = line.encode() + b"\r\n"
        begun = time.perf_counter()
        self._socket.sendall(octets)
        answer = self._read()
        return time.perf_counter() - begun, answer

    def close(self) -> None:
        self._socket.close()

    def _read(self) -> bytes:
        """One reply; its last line."""
        octets = b""
        while not (octets.endswith(b"\r\n") and octets.split(b"\r\n")[-2][3:4] != b"-"):
            got = self._socket.recv(4096)
            if not got:
                raise RuntimeError(f"the session was closed after {octets!r}")
            octets += got
        return octets.split(b"\r\n")[-2]


def probe(port: int, *, spend: int, seed: int) -> Timed:
    """`spend` unknown names to begin with, each from a client of its own network; then the probes, from one client."""
    domain, chance = RECIPIENT.partition("@")[2], random.Random(seed)
    for n in range(spend):
        with contextlib.closing(Prober(port, f"10.{n}.0.1")) as client:
            client.say("MAIL FROM:<a@example.net>")
            client.say(f"RCPT TO:<nobody{n}@{domain}>")
            client.say("RSET")
    names = [f"{'real' if n % 2 else 'none'}{n:05}" for n in range(PROBES + 100)]
    chance.shuffle(names)
    timed = Timed()
    with contextlib.closing(Prober(port, "203.0.113.7")) as client:
        for n, name in enumerate(names):
            if n % 50 == 0:
                client.say("RSET")
                client.say("MAIL FROM:<a@example.net>")
            seconds, answer = client.time(f"RCPT TO:<{name}@{domain}>")
            if n >= 100:  # the first spend the budget, and warm up
                known = name.startswith("real")
                timed.seconds[known].append(seconds)
                timed.answers[known].add(answer.partition(b" (id ")[0])
    return timed


@contextlib.contextmanager
def directory_sink() -> Iterator[int]:
    port = processes.free_port()
    with processes.running((sys.executable, "-m", "bench.directory", str(port))) as process:
        processes.wait_for(port, process, "the next hop")
        yield port


def main() -> int:
    table = Table(title=f"{PROBES} probes each: known names against unknown ones", title_justify="left")
    for heading in ("spent", "known p50 ms", "unknown p50 ms", "AUC", "answers"):
        table.add_column(heading, justify="left" if heading in {"spent", "answers"} else "right")
    leaks = False
    with tempfile.TemporaryDirectory(prefix="gatekeeper-bench-") as place, directory_sink() as next_hop:
        for n, (what, (settings, alike)) in enumerate(SPENT.items()):
            section = f'[checks.stacking]\nslow_delay = "0s"\n{settings}'
            with processes.gatekeeper(
                Path(place) / str(n), next_hop=next_hop, nameserver="127.0.0.1:9", checks=False, only=section, smtp=SMTP
            ) as there:
                timed = probe(there.port, spend=6, seed=n)
            same = timed.answers[True] == timed.answers[False] and len(timed.answers[True]) == 1
            known, unknown = (1000 * statistics.median(timed.seconds[kind]) for kind in (True, False))
            table.add_row(what, f"{known:.2f}", f"{unknown:.2f}", f"{timed.auc:.3f}", "alike" if same else "differ")
            leaks |= alike and not (same and LOW <= timed.auc <= HIGH)
    Console().print(table)
    return int(leaks)


if __name__ == "__main__":
    sys.exit(main())
