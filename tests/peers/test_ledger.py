"""Mail under load while those around gatekeeper are stopped, or itself; the ledger of both ends balances.

Where the witness is Postfix: its log has each Message-ID under the queue id of its copy, and the Maildir has what the
log, which is cut off with everything else, may have lost.
"""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest

from tests.faults.balance import Ledger
from tests.faults.ledger import run
from tests.faults.surroundings import (
    Harm,
    comes_and_goes,
    falls_silent,
    fills_up,
    hear_witness,
    nameserver,
    small_disk,
    taken,
)
from tests.peers.conftest import need
from tests.peers.instances import Postfix, wait_until
from tests.peers.redis_servers import RedisCluster, RedisServer

pytestmark = pytest.mark.timeout(600)


def under(
    directory: Path,
    harm: Harm | None,
    *,
    every: float,
    store: str = "",
    messages: int = 400,
    least: int = 1,
    hop: int = 0,
    dns: str = "",
) -> Ledger:
    store = store or f"sqlite:{directory}/state.db"
    done = run(directory, messages=messages, store=store, every=every, harm=harm, least=least, next_hop=hop, dns=dns)
    return asyncio.run(done)


def test_a_postfix_that_is_stopped_again_and_again_has_one_copy_of_what_was_acknowledged(workplace: Path) -> None:
    need("postfix")
    directory = workplace / "ledger-postfix"
    directory.mkdir(mode=0o755)
    postfix = Postfix(directory / "p", ["b"])
    postfix.start()

    def harm() -> str:
        before, end, pause = postfix.log().count("(queue active)"), time.monotonic() + 10, threading.Event()
        while postfix.log().count("(queue active)") < before + 40 and time.monotonic() < end:
            pause.wait(0.05)  # in the middle of mail
        postfix.stop()
        postfix.maillog.chmod(0o666)  # for its postsuper, which has something to say after such an end
        postfix.start()
        return "Postfix restarted"

    try:
        ledger = under(directory, harm, every=0.0, messages=800, hop=postfix.port)
        promised = {attempt.id for attempt in ledger.attempts if attempt.answer.startswith("250")}
        wait_until("Postfix to tell of all it has promised", lambda: promised <= set(taken(postfix)))
        ledger.copies = taken(postfix)
    finally:
        postfix.stop()
    assert ledger.faults() == [], ledger.tally()
    assert ledger.harms
    assert len(promised) >= 40
    assert not [attempt.answer for attempt in ledger.attempts if attempt.answer.startswith("5")]


@pytest.mark.parametrize("nodes", [1, 3])
def test_a_redis_or_a_node_of_a_cluster_that_comes_and_goes_is_nobodys_refusal(workplace: Path, nodes: int) -> None:
    need("redis-server")
    directory = workplace / f"ledger-redis-{nodes}"
    directory.mkdir()
    servers: RedisServer | RedisCluster
    if nodes == 1:
        servers = server = RedisServer(directory / "redis")
        store = f"redis://127.0.0.1:{server.port}/0"
    else:
        servers = RedisCluster(directory / "cluster")
        server, store = servers.nodes[0], servers.url
    try:
        servers.start()
        ledger = under(directory, comes_and_goes(server), every=1.0, store=store, least=4)
    finally:
        servers.stop()
    assert ledger.faults() == [], ledger.tally()
    assert ledger.harms[:4] == ["store away", "store back"] * 2
    assert {attempt.answer[:3] for attempt in ledger.attempts} == {"250"}
    log = (directory / "log").read_text()
    assert "store_away" in log or nodes > 1  # which node holds what is the cluster's business
    assert "session_failed" not in log


def test_what_a_postfix_was_handed_while_our_processes_were_killed_is_in_its_log_once(workplace: Path) -> None:
    need("postfix")
    directory = workplace / "ledger-killed"
    directory.mkdir(mode=0o755)
    postfix = Postfix(directory / "p", ["b"])
    postfix.start()
    try:
        ledger = under(directory, None, every=1.0, messages=300, least=5, hop=postfix.port)
        hear_witness(postfix, ledger)
    finally:
        postfix.stop()
    assert ledger.faults() == [], ledger.tally()
    assert len(ledger.kills) >= 5
    assert sum(attempt.answer.startswith("250") for attempt in ledger.attempts) > 200


def test_a_disk_that_fills_up_again_and_again_is_nobodys_refusal(workplace: Path) -> None:
    directory = workplace / "ledger-disk"
    directory.mkdir()
    with small_disk(directory / "disk", "16m") as mounted:
        if not mounted:
            pytest.skip("a small file system cannot be mounted here (needs root)")
        harm, store = fills_up(directory / "disk"), f"sqlite:{directory}/disk/state.db"
        ledger = under(directory, harm, every=1.0, store=store, least=4)
    assert ledger.faults() == [], ledger.tally()
    assert ledger.harms[:4] == ["disk full", "disk has room"] * 2
    assert {attempt.answer[:3] for attempt in ledger.attempts} == {"250"}
    log = (directory / "log").read_text()
    assert "store_away" in log
    assert "session_failed" not in log


def test_a_dns_that_falls_silent_and_comes_back_is_nobodys_refusal(workplace: Path) -> None:
    directory = workplace / "ledger-dns"
    directory.mkdir()
    with nameserver() as server:
        ledger = under(directory, falls_silent(server), every=1.0, least=4, dns=server.address)
        asked = {each.name for each in server.asked}
    assert ledger.faults() == [], ledger.tally()
    assert ledger.harms[:4] == ["DNS silent", "DNS back"] * 2
    assert {attempt.answer[:3] for attempt in ledger.attempts} == {"250"}
    assert len(asked) > len(ledger.attempts)  # each mail has questions of its own
    log = (directory / "log").read_text()
    assert "nameserver_sick" in log
    assert "session_failed" not in log
