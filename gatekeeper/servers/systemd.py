"""What systemd passes to the parent (sd_listen_fds(3)) and what the parent tells it (sd_notify(3))."""

from __future__ import annotations

import contextlib
import math
import os
import socket
import time
from collections.abc import Mapping, MutableMapping

from gatekeeper.servers.sockets import CannotListen

FIRST_NUMBER = 3
AGAIN = 1.0
"""Seconds until we look again whether we are alive, where we were not."""


def take_systemd_sockets(environment: MutableMapping[str, str], *, pid: int) -> dict[str, list[socket.socket]]:
    """The sockets systemd opened for this process, by name, and their variables out of the environment.

    Call it once, before anything opens a file. Raises CannotListen for what is not a listening stream socket.
    """
    meant_for = environment.pop("LISTEN_PID", "")
    number = environment.pop("LISTEN_FDS", "")
    names = environment.pop("LISTEN_FDNAMES", "").split(":")
    found: dict[str, list[socket.socket]] = {}
    if meant_for != str(pid) or not number.isdecimal():
        return found
    for position in range(int(number)):
        name = names[position] if position < len(names) and names[position] else "unknown"
        try:
            one = socket.socket(fileno=FIRST_NUMBER + position)
            listens = one.type == socket.SOCK_STREAM and one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        except OSError as error:
            raise CannotListen(f"what systemd passed as {name} is not a socket: {error.strerror}") from None
        if not listens:
            raise CannotListen(f"what systemd passed as {name} does not listen: the socket unit needs ListenStream=")
        one.set_inheritable(False)
        one.setblocking(False)
        found.setdefault(name, []).append(one)
    return found


class Notifications:
    """Tells systemd how we are; without systemd, nobody. Never raises: a deaf systemd does not stop the mail."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._status = ""
        microseconds = environment.get("WATCHDOG_USEC", "")
        meant_for = environment.get("WATCHDOG_PID", str(os.getpid()))
        watched = microseconds.isdecimal() and int(microseconds) > 0 and meant_for == str(os.getpid())
        self._interval = int(microseconds) / 4e6 if watched else math.inf  # one that is missed must not be our end
        self.next_sign = time.monotonic() + self._interval
        """When `sign_of_life` has something to do again (monotonic time)."""

    def tell(self, *assignments: str) -> None:
        if self._address:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
                one.setblocking(False)
                one.sendto("\n".join(assignments).encode("utf-8", "replace"), self._address)

    def tell_ready(self) -> None:
        """Started, or done with a reload, whether the new configuration was taken or not."""
        self.tell("READY=1")

    def tell_reloading(self) -> None:
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def tell_stopping(self) -> None:
        self.tell("STOPPING=1")

    def tell_status(self, text: str) -> None:
        """The line that `systemctl status` shows; told only when it has changed."""
        flat = " ".join(text.split())
        if flat != self._status:
            self._status = flat
            self.tell(f"STATUS={flat}")

    def sign_of_life(self, *, alive: bool) -> None:
        """Feed the watchdog when it is time. Not alive, it goes hungry, and systemd starts us again."""
        now = time.monotonic()
        if now >= self.next_sign:
            self.next_sign = now + (self._interval if alive else min(self._interval, AGAIN))
            if alive:
                self.tell("WATCHDOG=1")

    def sign_of_life_now(self, *, alive: bool) -> None:
        """The same, due or not: before something that may keep us from doing it in time, and after it."""
        if self._interval < math.inf:
            self.next_sign = time.monotonic()
        self.sign_of_life(alive=alive)
