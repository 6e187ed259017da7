"""What stands around gatekeeper in the ledger, and what is done to it: stores, a disk, DNS, a Postfix as witness."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.faults.balance import Ledger
from tests.peers.instances import Postfix, wait_until
from tests.peers.redis_servers import RedisServer
from tests.support.dns_server import DnsServer, Fault

Harm = Callable[[], str]
"""Does something to those around gatekeeper, and says what; runs in a thread."""


# --- stores ----------------------------------------------------------------------------------------------------------


def comes_and_goes(server: RedisServer) -> Harm:
    """Stop it, and start it again the next time."""

    def harm() -> str:
        if server.process is not None and server.process.process.poll() is None:
            server.kill()
            return "store away"
        server.start()
        return "store back"

    return harm


# --- a disk ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def small_disk(place: Path, size: str) -> Iterator[bool]:
    """A file system of that size ("256k") at `place`, which is made; whether it could be mounted: it needs root."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place: Path) -> None:
    """Leave no room at all."""
    with (place / "ballast").open("ab", buffering=0) as ballast:
        for size in (4096, 1):
            try:
                while ballast.write(b"x" * size):
                    pass
            except OSError:
                pass


def fills_up(place: Path) -> Harm:
    """Leave no room, and give it back the next time."""

    def harm() -> str:
        if (place / "ballast").exists():
            (place / "ballast").unlink()
            return "disk has room"
        fill(place)
        return "disk full"

    return harm


# --- DNS -------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def nameserver() -> Iterator[DnsServer]:
    """One that knows nothing, in a thread of its own."""
    made: list[DnsServer] = []
    ready, done = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def stand() -> None:
        async with DnsServer() as server:
            made.append(server)
            ready.set()
            await done.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(stand(),))
    thread.start()
    assert ready.wait(60)
    try:
        yield made[0]
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(60)
        loop.close()


def falls_silent(server: DnsServer) -> Harm:
    """Let it answer nobody, and everybody the next time."""

    def harm() -> str:
        if server.fault is None:
            server.fault = Fault.SILENCE
            return "DNS silent"
        server.fault = None
        return "DNS back"

    return harm


# --- the next hop ----------------------------------------------------------------------------------------------------


def taken(postfix: Postfix) -> collections.Counter[str]:
    """The messages that it has: each counted once for each queue id that its queue manager took up."""
    log = postfix.log()
    seen = dict(re.findall(r"(\w+): message-id=<(m\d+)@example\.net>", log))
    queued = set(re.findall(r"qmgr\[\d+\]: (\w+): from=<", log))
    found = collections.Counter(name for queue_id, name in seen.items() if queue_id in queued)
    for path in postfix.delivered("b"):
        name = re.search(rb"^Ledger: (\S+)", path.read_bytes(), re.MULTILINE)
        found.setdefault(name[1].decode() if name else "?", 1)
    return found


def hear_witness(postfix: Postfix, ledger: Ledger) -> None:
    """Fill in the copies from its log, once it has seen every session to its end and told of all it has promised."""

    def sessions_are_over() -> bool:
        log = postfix.log()
        return len(re.findall(r"smtpd\[\d+\]: disconnect from ", log)) >= len(
            re.findall(r"smtpd\[\d+\]: connect from ", log)
        )

    wait_until("Postfix to have ended its sessions", sessions_are_over)
    promised = {attempt.id for attempt in ledger.attempts if attempt.answer.startswith("250")}
    with contextlib.suppress(AssertionError):  # what it does not tell is lost, and the ledger says so
        wait_until("Postfix to tell of all it has promised", lambda: promised <= set(taken(postfix)))
    ledger.copies = taken(postfix)
