"""The whole program when what it stands on gives way: its store at start and later, and DNS."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import threading
import urllib.error
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faults import surroundings
from tests.faults.surroundings import fill
from tests.peers.instances import Gatekeeper, free_port, wait_until
from tests.peers.test_front import GOOD, Client, message, records
from tests.support.dns_server import DnsServer, Fault
from tests.support.next_hop import FakeNextHop

OURS = 'relay_domains = ["example.org"]'


@dataclass
class Surroundings:
    """A next hop and a nameserver in a thread of their own."""

    hop: FakeNextHop
    dns: DnsServer

    @property
    def nameserver(self) -> int:
        return int(self.dns.address.rpartition(":")[2])


@pytest.fixture
def around() -> Iterator[Surroundings]:
    made: list[Surroundings] = []
    ready, done = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def stand() -> None:
        async with FakeNextHop() as hop, DnsServer() as dns:
            made.append(Surroundings(hop, dns))
            ready.set()
            await done.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(stand(),))
    thread.start()
    assert ready.wait(20)
    yield made[0]
    loop.call_soon_threadsafe(done.set)
    thread.join(20)
    loop.close()


def instance(directory: Path, around: Surroundings, extra: str = "", **options: Any) -> Gatekeeper:
    return Gatekeeper(
        directory, next_hop=around.hop.url, nameserver=around.nameserver, top=OURS, extra=extra, **options
    )


def deliver(gatekeeper: Gatekeeper, subject: str) -> int:
    with Client(gatekeeper, GOOD) as client:
        return client.deliver(f"{subject}@good.test", ["one@example.org"], message("a@good.test", subject))[0]


def readiness(gatekeeper: Gatekeeper) -> dict[str, Any]:
    try:
        said = gatekeeper.get("/readyz")
    except urllib.error.HTTPError as unready:
        said = unready.read().decode()
    found: dict[str, Any] = json.loads(said)
    return found


# --- at start --------------------------------------------------------------------------------------------------------


def refusal_to_start(gatekeeper: Gatekeeper) -> str:
    done = subprocess.run(
        gatekeeper.command("run", "-c", str(gatekeeper.config)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("gatekeeper: ")]
    assert len(told) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return told[0]


def test_a_corrupt_database_ends_the_start_with_one_sentence(around: Surroundings, tmp_path: Path) -> None:
    gatekeeper = instance(tmp_path, around)
    (tmp_path / "state.db").write_bytes(b"this is no database, " * 1000)
    told = refusal_to_start(gatekeeper)
    assert f"{tmp_path}/state.db" in told


def test_a_damaged_database_ends_the_start_with_one_sentence(around: Surroundings, tmp_path: Path) -> None:
    gatekeeper = instance(tmp_path, around)
    gatekeeper.start()
    assert gatekeeper.stop() == 0
    content = bytearray((tmp_path / "state.db").read_bytes())
    content[100:4096] = os.urandom(3996)  # the first page says what tables there are
    (tmp_path / "state.db").write_bytes(content)
    assert f"{tmp_path}/state.db" in refusal_to_start(gatekeeper)


def test_a_database_that_another_program_holds_ends_the_start(around: Surroundings, tmp_path: Path) -> None:
    holder = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    try:
        holder.execute("CREATE TABLE x (y)")
        holder.execute("BEGIN EXCLUSIVE")
        told = refusal_to_start(instance(tmp_path, around))
        assert f"{tmp_path}/state.db" in told
        assert "lock" in told
    finally:
        holder.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for a new state file and its log, and little more."""
    with surroundings.small_disk(tmp_path / "disk", "512k") as mounted:
        if not mounted:
            pytest.skip("a small file system cannot be mounted here (needs root)")
        yield tmp_path / "disk"


def on_disk(gatekeeper: Gatekeeper, place: Path) -> Gatekeeper:
    text = gatekeeper.config.read_text()
    gatekeeper.config.write_text(text.replace(f"sqlite:{gatekeeper.directory}/state.db", f"sqlite:{place}/state.db"))
    return gatekeeper


def test_a_full_disk_ends_the_start(around: Surroundings, tmp_path: Path, small_disk: Path) -> None:
    fill(small_disk)
    told = refusal_to_start(on_disk(instance(tmp_path, around), small_disk))
    assert f"{small_disk}/state.db" in told
    assert "full" in told


# --- while it runs ---------------------------------------------------------------------------------------------------


def goes_and_comes_back(gatekeeper: Gatekeeper, go: Callable[[], None], come_back: Callable[[], None]) -> None:
    """Mail flows, monitoring says so, and what was recorded meanwhile is found afterwards."""
    gatekeeper.start()
    try:
        assert deliver(gatekeeper, "before") == 250
        assert records(gatekeeper, "--sender", "before@good.test")
        assert readiness(gatekeeper) == {"ready": True, "why": {}}
        go()
        try:
            assert deliver(gatekeeper, "first") == 250
            wait_until("/readyz to tell of the store", lambda: "store" in readiness(gatekeeper)["why"])
            assert deliver(gatekeeper, "second") == 250
            assert "store_away" in gatekeeper.log()
            assert "gatekeeper_store_up{" in gatekeeper.get("/metrics")
        finally:
            come_back()
        wait_until("the store to be back", lambda: readiness(gatekeeper)["ready"], seconds=60)
        for subject in ("before", "first", "second"):
            [record] = records(gatekeeper, "--sender", f"{subject}@good.test")
            assert record["action"] == "accept"
        assert deliver(gatekeeper, "after") == 250
    finally:
        assert gatekeeper.stop() == 0
    assert "session_failed" not in gatekeeper.log()


def test_a_database_that_is_locked_for_a_while(around: Surroundings, tmp_path: Path) -> None:
    gatekeeper = instance(tmp_path, around, "[supervisor]\nworkers = 1\n")
    holders: list[sqlite3.Connection] = []

    def lock() -> None:
        holders.append(sqlite3.connect(tmp_path / "state.db", isolation_level=None, timeout=20))
        holders[0].execute("BEGIN IMMEDIATE")

    goes_and_comes_back(gatekeeper, lock, lambda: holders[0].close())


def test_a_disk_that_fills_up(around: Surroundings, tmp_path: Path, small_disk: Path) -> None:
    gatekeeper = on_disk(instance(tmp_path, around, "[supervisor]\nworkers = 1\n"), small_disk)
    goes_and_comes_back(gatekeeper, lambda: fill(small_disk), lambda: (small_disk / "ballast").unlink())


# --- DNS -------------------------------------------------------------------------------------------------------------

LISTS = """
[[checks.dnsbl.lists]]
zone = "bl.test"
name = "BL"
score = 12.0
"""


@pytest.mark.parametrize("fault", [Fault.SILENCE, Fault.REFUSED, Fault.SERVFAIL, Fault.GARBAGE, None])
def test_mail_flows_without_dns(around: Surroundings, tmp_path: Path, fault: Fault | None) -> None:
    around.dns.fault = fault
    gatekeeper = instance(tmp_path, around, LISTS)
    if fault is None:  # nobody is there at all
        text = gatekeeper.config.read_text()
        gatekeeper.config.write_text(text.replace(f":{around.nameserver}", f":{free_port()}"))
    text = gatekeeper.config.read_text()
    gatekeeper.config.write_text(text.replace("[dns]\n", '[dns]\ntimeout = "200ms"\ntries = 2\n'))
    gatekeeper.start()
    try:
        assert deliver(gatekeeper, "without") == 250
        [record] = records(gatekeeper, "--sender", "without@good.test")
        assert record["action"] == "accept"
        assert {"dnsbl:BL", "spf", "reverse_dns"} <= set(record["decision"]["missing"])
        explained = gatekeeper.call("explain", record["id"]).stdout.decode()
        assert "missing: dnsbl:BL" in explained
        assert "incomplete" in explained
    finally:
        assert gatekeeper.stop() == 0
    assert "session_failed" not in gatekeeper.log()
