"""What one supervisor hands to the next version of itself, which takes its place in the same process (execve(2)).

The process keeps its pid, its children and its descriptors; this says which is which. Written by the old version and
read by the new one: keys may be added, and those that are here keep their meaning.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import asdict, dataclass

from gatekeeper.wire.notation import read_json

VARIABLE = "GATEKEEPER_HANDOVER"


@dataclass(frozen=True, slots=True)
class HandedChild:
    """A process of the serving generation, or one that drains.

    `report` is our end of its ready pipe, None where it has closed the other, and from versions that did not hand it
    over. `ready` is whether it has said there that it is.
    """

    slot: str
    role: str
    pid: int
    serving: bool
    report: int | None = None
    ready: bool = True


@dataclass(frozen=True, slots=True)
class Handover:
    """`sockets` are file descriptors by place, `systemd` by the name that systemd gave. `lifeline` has both ends.

    `place` is the private directory; `snapshot` is the serving generation's configuration in it, and `snapshots` how
    many there have been. `drain` is the serving generation's own, in seconds; None from versions that did not tell it.
    """

    sockets: Mapping[str, Sequence[int]]
    systemd: Mapping[str, Sequence[int]]
    lifeline: tuple[int, int]
    place: str
    snapshot: str
    snapshots: int
    children: tuple[HandedChild, ...]
    drain: float | None = None

    def descriptors(self) -> list[int]:
        """What must stay open over execve."""
        numbers = [number for each in (*self.sockets.values(), *self.systemd.values()) for number in each]
        reports = [child.report for child in self.children if child.report is not None]
        return sorted({*numbers, *self.lifeline, *reports})

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def take_handover(environment: MutableMapping[str, str]) -> Handover | None:
    """What was handed to this process, and its variable out of the environment; None for a start of its own.

    Raises ValueError for what no version of ours has written.
    """
    text = environment.pop(VARIABLE, None)
    if text is None:
        return None
    try:
        found = read_json(text)
        return Handover(
            sockets={str(place): [int(n) for n in numbers] for place, numbers in found["sockets"].items()},
            systemd={str(name): [int(n) for n in numbers] for name, numbers in found["systemd"].items()},
            lifeline=(int(found["lifeline"][0]), int(found["lifeline"][1])),
            place=str(found["place"]),
            snapshot=str(found["snapshot"]),
            snapshots=int(found["snapshots"]),
            children=tuple(
                HandedChild(
                    str(c["slot"]),
                    str(c["role"]),
                    int(c["pid"]),
                    bool(c["serving"]),
                    None if c.get("report") is None else int(c["report"]),
                    bool(c.get("ready", True)),
                )
                for c in found["children"]
            ),
            drain=None if found.get("drain") is None else float(found["drain"]),
        )
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"{VARIABLE} was not written by a gatekeeper: {error!r}") from error


class HandedProcess:
    """A child that another version of us started, with what of subprocess.Popen the supervisor uses."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit status, negative for a signal; None while it lives. 0 where somebody else has waited for it."""
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                self.returncode = 0
            else:
                self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def terminate(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)
