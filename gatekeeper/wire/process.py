"""What the supervisor tells a process it starts, and what that process tells back.

The supervisor starts `python -m gatekeeper.app` with this value as JSON in the environment variable GATEKEEPER_START;
`app` reads it with `ProcessStart.from_environment()` and goes by its `role`. Both sides of the agreement:

- `sockets` are listening sockets, bound and not blocking, inherited by number: to be taken over with
  `socket.socket(fileno=…)`. Several processes accept from the same ones; closing one's own end hurts nobody.
- Once everything works, the process writes `ready_line()` to `ready_fd`. When it cannot work as configured, it writes
  `failed_line(sentence)` instead and ends with `EXIT_CONFIGURATION`.
- From then on it writes `alive_line()` there every `SIGN_EVERY` seconds, as long as it can do its work. One that
  is silent for `[supervisor] hang` is killed and replaced. One that closes `ready_fd` is believed without.
- SIGTERM: accept nothing more, let open sessions end for at most `drain` seconds, exit 0. A second SIGTERM: end at
  once, with an answer to whoever can still get one. SIGKILL follows when neither helped.
- SIGHUP and SIGINT are for the supervisor; processes have a process group each, so a terminal does not send them.
- `lifeline_fd` never has anything to read. When it reports its end, the supervisor is dead: as if SIGTERM came.
- Standard input is /dev/null; standard output and error are the supervisor's.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from gatekeeper.model import Duration, setting
from gatekeeper.wire.notation import read_json

START_VARIABLE = "GATEKEEPER_START"
EXIT_CONFIGURATION = 2
SIGN_EVERY = 5.0
"""Seconds between signs of life."""
SENTENCE_BYTES = 4000
"""A longer sentence is cut: the whole line must fit into a pipe without blocking (PIPE_BUF is 4096)."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`[supervisor]`; here and not in supervisor.py, because the configuration may not import what stands above it."""

    workers: int = setting(0, "Processes that take mail; 0 means one for each processor we may use.")
    drain: Duration = setting(
        60.0, "How long open sessions may go on after a stop or a reload; systemd's TimeoutStopSec must be longer."
    )
    start: Duration = setting(60.0, "How long a process may take to become ready.")

    hang: Duration = setting(
        60.0, "A process that could not do its work for this long, whatever held it up, is killed and replaced."
    )

    def __post_init__(self) -> None:
        if self.hang < 4 * SIGN_EVERY:
            raise ValueError(f'hang is at least "{4 * SIGN_EVERY:.0f}s": a sign of life comes every {SIGN_EVERY:.0f} s')
        if not 0 <= self.workers <= 256:
            raise ValueError("workers is between 0 (one for each processor) and 256")
        if self.drain < 0:
            raise ValueError('drain is how long sessions may go on, as in "60s"')
        if self.start <= 0:
            raise ValueError('start is longer than nothing, as in "60s"')


class Role(enum.Enum):
    """What a process is for."""

    WORKER = "worker"  # takes mail
    CONTROLLER = "controller"  # HTTP pages, health probes, reports; one of them


@dataclass(frozen=True, slots=True)
class ProcessStart:
    """One process as the supervisor wants it.

    `config_path` is the configuration file as the operator named it, for messages; `snapshot` is the copy to read, so
    that a process that is started again has the configuration of its generation, whatever is being edited; copies.py
    has the files that it names.
    `slot` names its metrics files and is unique among the living. `workers` is how many share limits. `sockets` maps
    the name of a server and its setting ("smtp.listen", "smtp.proxy_listen", "http.listen") to file descriptors.
    `metrics_directory` is where all slots are. `drain` is in seconds.
    """

    role: Role
    config_path: str
    snapshot: str
    slot: str
    workers: int
    ready_fd: int
    lifeline_fd: int
    metrics_directory: str
    drain: float
    sockets: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps(
            {
                "role": self.role.value,
                "config_path": self.config_path,
                "snapshot": self.snapshot,
                "slot": self.slot,
                "workers": self.workers,
                "ready_fd": self.ready_fd,
                "lifeline_fd": self.lifeline_fd,
                "metrics_directory": self.metrics_directory,
                "drain": self.drain,
                "sockets": {name: list(numbers) for name, numbers in self.sockets.items()},
            }
        )

    @classmethod
    def from_json(cls, text: str) -> ProcessStart:
        """Raises ValueError for anything that `to_json` did not write."""
        try:
            found = read_json(text)
            return cls(
                role=Role(found["role"]),
                config_path=_text(found["config_path"]),
                snapshot=_text(found["snapshot"]),
                slot=_text(found["slot"]),
                workers=int(found["workers"]),
                ready_fd=int(found["ready_fd"]),
                lifeline_fd=int(found["lifeline_fd"]),
                metrics_directory=_text(found["metrics_directory"]),
                drain=float(found["drain"]),
                sockets={
                    str(name): tuple(int(number) for number in numbers) for name, numbers in found["sockets"].items()
                },
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{START_VARIABLE} was not written by a gatekeeper of this version: {error!r}") from error

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> ProcessStart:
        """Raises ValueError when the program was not started by the supervisor."""
        text = environment.get(START_VARIABLE)
        if text is None:
            raise ValueError("this program is started by `gatekeeper run`, not by hand")
        return cls.from_json(text)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value


@dataclass(frozen=True, slots=True)
class Failed:
    """A process cannot work as configured; one sentence for the operator."""

    sentence: str


def ready_line() -> bytes:
    return b"ready\n"


def alive_line() -> bytes:
    return b"alive\n"


def failed_line(sentence: str) -> bytes:
    """One line, whatever the sentence contains."""
    flat = " ".join(sentence.split())
    return b"failed: " + flat.encode("utf-8", "replace")[:SENTENCE_BYTES] + b"\n"


def read_report(line: bytes) -> Failed | None:
    """What came through `ready_fd` before its end: None for ready. An incomplete or strange line is a failure too."""
    if line == ready_line():
        return None
    text = line.decode("utf-8", "replace").strip()
    if text.startswith("failed: "):
        return Failed(text.removeprefix("failed: "))
    return Failed(f"it said {text[:200]!r} where it had to say ready" if text else "it ended without a word")
