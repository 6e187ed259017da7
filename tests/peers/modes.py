"""gatekeeper in each way to stand in front of a Postfix, with the settings shipped for it, and one client for all."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.peers import test_behind, test_milter, test_policy_service
from tests.peers.conftest import CHECKS, need
from tests.peers.instances import Gatekeeper, Postfix

MODES = ("front", "behind", "milter", "policy_service")


@dataclass(frozen=True)
class Mode:
    """Both programs; `port` is where clients come in."""

    name: str
    postfix: Postfix
    gatekeeper: Gatekeeper
    port: int


class Client(smtplib.SMTP):
    """A client that seems to come from `address`: gatekeeper in front of all, else Postfix, takes XCLIENT from us."""

    def __init__(self, port: int, address: str, *, name: str = "[UNAVAILABLE]", helo: str = "mail.good.test") -> None:
        super().__init__("127.0.0.1", port, local_hostname="tests.example", timeout=60)
        self.ehlo()
        code, text = self.docmd("XCLIENT", f"ADDR={address} NAME={name} PORT=40000")
        assert code == 220, text
        assert self.ehlo(helo)[0] == 250


@contextmanager
def running(name: str, directory: Path, nameserver: int, *, extra: str = "") -> Iterator[Mode]:
    """One of MODES; `extra` is added to gatekeeper's configuration."""
    need("postfix")
    match name:
        case "front":
            directory.mkdir()
            directory.chmod(0o755)
            postfix = Postfix(directory / "postfix", ["alice", "bob", "postmaster"])
            place = directory / "gatekeeper"
            place.mkdir()
            next_hop = f"smtp://127.0.0.1:{postfix.port}"
            gatekeeper = Gatekeeper(place, next_hop=next_hop, nameserver=nameserver, extra=f"{CHECKS}\n{extra}")
            postfix.start()
            gatekeeper.start()
            mode = Mode(name, postfix, gatekeeper, gatekeeper.port)
        case "behind":
            behind = test_behind.start(directory, nameserver, extra=extra)
            mode = Mode(name, behind.postfix, behind.gatekeeper, behind.port)
        case "milter":
            milter = test_milter.start(directory, nameserver, extra=extra)
            mode = Mode(name, milter.postfix, milter.gatekeeper, milter.postfix.port)
        case "policy_service":
            asking = test_policy_service.start(directory, nameserver, extra=extra)
            mode = Mode(name, asking.postfix, asking.gatekeeper, asking.postfix.port)
        case _:
            raise ValueError(name)
    try:
        yield mode
    finally:
        mode.postfix.stop()
        mode.gatekeeper.stop()
