"""Mail under load while those around gatekeeper are stopped; the ledger of both ends balances.

The witness is Postfix: its log has each Message-ID under the queue id of its copy, and the Maildir has what the log,
which is cut off with everything else, may have lost.
"""

from __future__ import annotations

import asyncio
import collections
import re
import threading
import time
from pathlib import Path

import pytest

from tests.faults.balance import Ledger
from tests.faults.ledger import Harm, comes_and_goes, run
from tests.peers.conftest import need
from tests.peers.instances import Postfix, wait_until
from tests.peers.redis_servers import RedisCluster, RedisServer

pytestmark = pytest.mark.timeout(600)


def under(
    directory: Path, harm: Harm, *, every: float, store: str = "", messages: int = 400, least: int = 1, hop: int = 0
) -> Ledger:
    store = store or f"sqlite:{directory}/state.db"
    done = run(directory, messages=messages, store=store, every=every, harm=harm, least=least, next_hop=hop)
    return asyncio.run(done)


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
