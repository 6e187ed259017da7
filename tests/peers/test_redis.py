"""The Redis store against real servers: what every backend does alike, then what can go wrong with them."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gatekeeper.checks.fuzzy import Fuzzy
from gatekeeper.store import migration, redis_scripts
from gatekeeper.store import redis as redis_store
from gatekeeper.store.base import (
    Block,
    Charge,
    History,
    Learned,
    Lesson,
    Note,
    RecordQuery,
    Sighting,
    StoreAway,
    StoreUnusable,
    Tally,
)
from gatekeeper.store.fallback import Fallback
from gatekeeper.store.memory import MemoryStore
from gatekeeper.store.migration import migrate
from gatekeeper.store.opening import Settings, open_redis
from gatekeeper.store.redis import LOOK_EVERY, RedisStore
from gatekeeper.store.redis_place import Place
from gatekeeper.store.sqlite import SqliteStore
from gatekeeper.store.sqlite_file import prepare
from tests.checks.stacking.test_holds import TestHolds  # noqa: F401  # what the store's verbs make of it here
from tests.checks.test_fuzzy import World, mail_of, rules, trapped
from tests.cli.test_learn_near import sources_follow_what_stands
from tests.peers.conftest import need
from tests.peers.instances import listens, program, wait_until
from tests.peers.redis_servers import RedisCluster, RedisServer, RedisWatched
from tests.store.test_contract import (  # noqa: F401  # the contract: collected here for this backend
    TestBlocks,
    TestBuckets,
    TestCaps,
    TestHistories,
    TestLessons,
    TestLimits,
    TestNotes,
    TestRecords,
    TestSightings,
    TestTallies,
    few,
)
from tests.support.certificates import Authority
from tests.support.command_line import REJECTED, gatekeeper, with_records
from tests.support.records import NOW, stored_record


@pytest.fixture(scope="module")
def alone(workplace: Path) -> Iterator[RedisServer]:
    need("redis-server")
    server = RedisServer(workplace / "redis")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def cluster(workplace: Path) -> Iterator[RedisCluster]:
    need("redis-server")
    servers = RedisCluster(workplace / "redis-cluster")
    servers.start()
    yield servers
    servers.stop()


@pytest.fixture(scope="module")
def sentinel(workplace: Path) -> Iterator[RedisWatched]:
    need("redis-server")
    servers = RedisWatched(workplace / "redis-watched", patience=60_000)  # a busy machine's master is no dead one
    servers.start()
    yield servers
    servers.stop()


@pytest.fixture(scope="module")
def valkey(workplace: Path) -> Iterator[RedisServer]:
    server = RedisServer(workplace / "valkey", server="valkey-server")
    server.start()
    yield server
    server.stop()


KINDS = ("alone", "cluster", "sentinel", *(["valkey"] if program("valkey-server") else []))


@pytest.fixture(params=KINDS)
def servers(request: pytest.FixtureRequest) -> RedisServer | RedisCluster | RedisWatched:
    """Every kind that is promised, empty."""
    found: RedisServer | RedisCluster | RedisWatched = request.getfixturevalue(request.param)
    found.empty()
    return found


@pytest.fixture
async def store(servers: RedisServer | RedisCluster | RedisWatched) -> AsyncIterator[RedisStore]:
    """An empty one. The contract's tests take it in the place of their own."""
    opened = RedisStore(Place.read(servers.url))
    yield opened
    await opened.close()


async def test_what_one_process_keeps_the_others_see(store: RedisStore):
    other = RedisStore(store._client.place)
    await store.spend([Charge("a", 1, 0)], now=NOW)
    await store.put_records([stored_record("A")])
    assert await other.spend([Charge("a", 1, 0)], now=NOW) == [2.0]
    assert await other.find_records(RecordQuery()) == [stored_record("A")]
    await other.close()


async def test_a_block_made_or_lifted_elsewhere_counts_at_the_next_look(store: RedisStore):
    clock = [1000.0]
    other = RedisStore(store._client.place, monotonic=lambda: clock[0])
    assert await other.blocked(["ip:192.0.2.7"], now=NOW) is None
    await store.block(Block("ip:192.0.2.7", NOW, NOW + 600, "R", "ID"))
    clock[0] += LOOK_EVERY
    assert await other.blocked(["ip:192.0.2.7"], now=NOW) == Block("ip:192.0.2.7", NOW, NOW + 600, "R", "ID")
    assert await store.unblock("ip:192.0.2.7")
    clock[0] += LOOK_EVERY
    assert await other.blocked(["ip:192.0.2.7"], now=NOW) is None
    await other.close()


async def test_a_near_copy_of_what_came_to_a_trap_at_one_machine_is_found_at_another(store: RedisStore):
    trapping, meeting = World(), World()
    trapping.tools = replace(trapping.tools, store=store)
    meeting.tools = replace(meeting.tools, store=RedisStore(store._client.place))
    check, other = Fuzzy(traps=("@trap.example.org",)), Fuzzy(traps=("@trap.example.org",))
    for n in range(5):
        await trapped(check, trapping, mail_of(1, "x@trap.example.org", client=f"192.0.{n}.1"))
    assert await rules(other, meeting, mail_of(1)) == ["FUZZY_OFTEN"]
    assert await rules(other, meeting, mail_of(2)) == []
    await meeting.tools.store.close()


async def test_who_took_back_a_report_of_a_near_copy_is_no_source_of_it_any_more(store: RedisStore):
    await sources_follow_what_stands(store)


async def test_an_emptied_redis_is_noticed(store: RedisStore, servers: RedisServer | RedisCluster | RedisWatched):
    clock = [1000.0]
    other = RedisStore(store._client.place, monotonic=lambda: clock[0])
    await store.block(Block("a", NOW, NOW + 600, "R"))
    assert await other.blocked(["a"], now=NOW) is not None
    servers.empty()
    clock[0] += LOOK_EVERY
    assert await other.blocked(["a"], now=NOW) is None
    await other.close()


async def test_nothing_is_there_before_something_was_kept(store: RedisStore):
    assert await store.empty()
    await store.remember("a", accepted=1, refused=0, now=NOW)
    assert not await store.empty()


async def test_what_ends_by_itself_has_an_end_in_redis_too(alone: RedisServer):
    alone.call("flushall")
    opened = RedisStore(Place.read(f"redis://127.0.0.1:{alone.port}/0"))
    await opened.spend([Charge("a", 30, 0.5)], now=NOW)
    assert 55 <= int(alone.call("ttl", "{gatekeeper:bucket}:a")) <= 62
    await opened.close()


async def test_a_server_that_is_not_there_is_away_and_nothing_waits_for_it(workplace: Path):
    need("redis-server")
    server = RedisServer(workplace / "redis-gone")
    server.start()
    opened = RedisStore(Place.read(f"redis://127.0.0.1:{server.port}/0"))
    await opened.spend([Charge("a", 1, 0)], now=NOW)
    server.stop()
    with pytest.raises(StoreAway):
        await opened.spend([Charge("a", 1, 0)], now=NOW)
    server.start()
    assert await opened.spend([Charge("a", 1, 0)], now=NOW) == [1.0]
    await opened.close()
    server.stop()


async def test_a_server_that_says_nothing_is_away_within_a_second():
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    opened = RedisStore(Place.read(f"redis://127.0.0.1:{port}/0"))
    with pytest.raises(StoreAway):
        await opened.history(["a"])
    await opened.close()
    silent.close()


async def test_garbage_is_away_and_no_traceback():
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 5)
        await reader.read()
        writer.close()

    odd = await asyncio.start_server(babble, "127.0.0.1", 0)
    opened = RedisStore(Place.read(f"redis://127.0.0.1:{odd.sockets[0].getsockname()[1]}/0"))
    with pytest.raises(StoreAway):
        await opened.history(["a"])
    await opened.close()
    odd.close()


async def test_a_wrong_password_says_what_to_do(workplace: Path):
    need("redis-server")
    server = RedisServer(workplace / "redis-locked", "--requirepass", "secret")
    server.start()
    url = f"redis://127.0.0.1:{server.port}/0"
    wrong = open_redis(Settings(url, password="guess"))
    with pytest.raises(StoreAway, match="mend user in"):
        await wrong.history(["a"])
    right = open_redis(Settings(url, password="secret"))
    assert (await right.history(["a"]))[0].accepted == 0
    await wrong.close()
    await right.close()
    server.stop()


async def test_the_replica_takes_over_and_the_store_goes_on(workplace: Path):
    need("redis-server")
    servers = RedisWatched(workplace / "redis-sentinel")
    servers.start()
    opened = Fallback(RedisStore(Place.read(servers.url)), MemoryStore(), backend="redis")
    await opened.remember("a", accepted=3, refused=0, now=NOW)
    assert not opened.away
    for _ in range(100):  # replication is not waited for by a write
        if "{gatekeeper:history}:h:a" in servers.replica.call("keys", "*"):
            break
    servers.master.stop()
    began = time.monotonic()
    back = False
    longest = 0.0
    while not back and time.monotonic() < began + 40:
        asked = time.monotonic()
        (found,) = await opened.history(["a"])
        longest = max(longest, time.monotonic() - asked)
        back = not opened.away and found.accepted == 3
        await asyncio.sleep(0.05)
    assert back, "the store did not come back"
    assert longest < 2.5
    await opened.close()
    servers.stop()


async def test_a_cluster_without_one_node_is_away_and_comes_back(workplace: Path, request: pytest.FixtureRequest):
    need("redis-server")
    servers = RedisCluster(workplace / "redis-cluster-broken")
    request.addfinalizer(servers.stop)
    servers.start()
    opened = Fallback(RedisStore(Place.read(servers.url)), MemoryStore(), backend="redis")
    await opened.remember("a", accepted=3, refused=0, now=NOW)
    gone = servers.nodes[1]
    gone.stop()
    for _ in range(20):  # nobody sees a fault, whichever family the node held
        await opened.history(["a"])
        await opened.spend([Charge("b", 1, 0)], now=NOW)
        await opened.notes("k", now=NOW)
    gone.start()
    end = time.monotonic() + 40
    while opened.away and time.monotonic() < end:
        await opened.history(["a"])
        await asyncio.sleep(0.05)
    assert not opened.away
    await opened.close()


async def test_a_sqlite_store_is_carried_over(alone: RedisServer, tmp_path: Path):
    alone.call("flushall")
    old = SqliteStore(tmp_path / "state.db")
    await fill(old)
    await old.close()
    target = RedisStore(Place.read(f"redis://127.0.0.1:{alone.port}/0"))
    told: list[tuple[str, int, int]] = []
    carried = await migrate(tmp_path / "state.db", target, now=NOW, progress=lambda *step: told.append(step))
    assert carried == {
        "buckets": 1,
        "histories": 1,
        "blocks": 1,
        "sightings": 2,
        "notes": 1,
        "tallies": 1,
        "lessons": 2,
        "records": 450,
    }
    assert told[-1] == ("records", 450, 450)
    assert await target.spend([Charge("a", 0, 0.5)], now=NOW + 2) == [4.0]
    assert await target.history(["h"]) == [History(3, 1, NOW - 50, NOW)]
    assert await target.blocked(["b"], now=NOW) == Block("b", NOW, NOW + 600, "R", "ID")
    assert await target.distinct([Sighting("s", "", 60)], now=NOW) == [2]
    assert await target.notes("k", now=NOW) == [Note("k", "a", "1", NOW + 9)]
    assert await target.tallies("k", now=NOW) == [Tally("k", "a", 5, NOW + 9)]
    assert await target.learned("k", [1, 2, 3]) == Learned(1, 1, 2, 2, {1: (0, 1), 2: (1, 1), 3: (1, 0)})
    assert len(await target.find_records(RecordQuery(sender="@x", limit=1000))) == 450
    with pytest.raises(StoreUnusable, match="holds state already"):
        await migrate(tmp_path / "state.db", target, now=NOW, progress=lambda *_: None)
    await target.close()


class Faulty(RedisStore):
    """Does not answer the first so many times that notes are put."""

    def __init__(self, url: str, *, faults: int) -> None:
        super().__init__(Place.read(url))
        self.faults = faults

    async def put_notes(self, notes: Sequence[Note]) -> None:
        self.faults -= 1
        if self.faults >= 0:
            raise StoreAway("Redis gave no answer")
        await super().put_notes(notes)


async def test_what_was_interrupted_is_carried_again_and_counts_once(
    alone: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(migration, "PAUSE", 0.0)
    alone.call("flushall")
    old = SqliteStore(tmp_path / "state.db")
    await fill(old)
    await old.close()
    target = Faulty(f"redis://127.0.0.1:{alone.port}/0", faults=migration.ATTEMPTS)
    with pytest.raises(StoreAway):
        await migrate(tmp_path / "state.db", target, now=NOW, progress=lambda *_: None)
    assert await target.spend([Charge("a", 0, 0.5)], now=NOW) == [5.0]  # so much had been carried
    await target.put_tallies([Tally("k", "a", 5, NOW + 9)])
    target.faults = 1  # one late answer does not end it
    assert (await migrate(tmp_path / "state.db", target, now=NOW, progress=lambda *_: None))["records"] == 450
    assert await target.spend([Charge("a", 0, 0.5)], now=NOW) == [5.0]
    assert await target.history(["h"]) == [History(3, 1, NOW - 50, NOW)]
    assert await target.distinct([Sighting("s", "", 60)], now=NOW) == [2]
    assert await target.tallies("k", now=NOW) == [Tally("k", "a", 5, NOW + 9)]
    assert await target.learned("k") == Learned(1, 1, 2, 2)
    with pytest.raises(StoreUnusable, match="holds state already"):
        await migrate(tmp_path / "state.db", target, now=NOW, progress=lambda *_: None)
    await target.close()


@pytest.mark.parametrize("what", ["buckets", "sightings"])
async def test_nothing_is_carried_to_one_that_is_used(alone: RedisServer, tmp_path: Path, what: str):
    alone.call("flushall")
    prepare(tmp_path / "state.db")
    target = RedisStore(Place.read(f"redis://127.0.0.1:{alone.port}/0"))
    if what == "buckets":
        await target.spend([Charge("a", 5, 0.5)], now=NOW)
    else:
        await target.distinct([Sighting("s", "x", 60)], now=NOW)
    with pytest.raises(StoreUnusable, match="holds state already"):
        await migrate(tmp_path / "state.db", target, now=NOW, progress=lambda *_: None)
    await target.close()


async def test_what_an_emptied_redis_has_learned_since_ends_too(alone: RedisServer):
    alone.call("flushall")
    opened = RedisStore(Place.read(f"redis://127.0.0.1:{alone.port}/0"))
    await opened.put_notes([Note("k", "a", "1", NOW + 9)])
    alone.call("flushall")
    await opened.put_notes([Note("k", "b", "1", NOW + 9)])
    await opened.tally([Tally("k", "b", 1, NOW + 9)])
    await opened.expire(now=NOW + 10, records_before=0)
    assert sorted(alone.call("keys", "*").split()) == ["{gatekeeper:kinds}"]
    await opened.close()


async def test_a_search_finds_each_once_while_others_are_written(alone: RedisServer, monkeypatch: pytest.MonkeyPatch):
    alone.call("flushall")
    opened = RedisStore(Place.read(f"redis://127.0.0.1:{alone.port}/0"))
    await opened.put_records([stored_record(f"R{n:03}", time=NOW + n // 7) for n in range(200)])  # seven of each second
    monkeypatch.setattr(redis_store, "LOOKED_THROUGH", 10)
    ask, turns = opened._client.script, itertools.count()

    async def script(text: str, keys: Sequence[str], arguments: Sequence[Any] = (), **more: Any) -> Any:
        answer = await ask(text, keys, arguments, **more)
        if text is redis_scripts.FIND_RECORDS:
            await opened.put_records([stored_record(f"N{next(turns):03}-{n}", time=NOW + 999) for n in range(3)])
        return answer

    monkeypatch.setattr(opened._client, "script", script)
    found = [record.id for record in await opened.find_records(RecordQuery(limit=1000))]
    assert found == [f"R{n:03}" for n in reversed(range(200))]
    await opened.close()


def test_a_command_that_reaches_no_redis_says_so(tmp_path: Path):
    config = tmp_path / "gatekeeper.toml"
    config.write_text('hostname = "mx.example.org"\n[store]\nurl = "redis://127.0.0.1:1/0"\n')
    for command in (("records", "--sender", "a@x"), ("explain", REJECTED)):
        ended = gatekeeper(*command, "-c", str(config))
        assert ended.status == 2
        assert "Redis" in ended.err


async def fill(store: SqliteStore) -> None:
    await store.spend([Charge("a", 5, 0.5)], now=NOW)
    await store.remember("h", accepted=0, refused=1, now=NOW - 50)
    await store.remember("h", accepted=3, refused=0, now=NOW)
    await store.block(Block("b", NOW, NOW + 600, "R", "ID"))
    await store.block(Block("ended", NOW - 600, NOW - 1, "R", "ID"))
    await store.distinct([Sighting("s", "x", 60), Sighting("s", "y", 60)], now=NOW)
    await store.put_notes([Note("k", "a", "1", NOW + 9)])
    await store.tally([Tally("k", "a", 5, NOW + 9)])
    await store.learn("k", "a", old=None, new=Lesson("k", "a", True, (1, 2), "{}", NOW + 9))
    await store.learn("k", "b", old=None, new=Lesson("k", "b", False, (2, 3), "{}", NOW + 9))
    await store.learn("k", "ended", old=None, new=Lesson("k", "ended", False, (2, 3), "{}", NOW))
    await store.put_records([stored_record(f"R{n}", sender="a@x", time=NOW + n) for n in range(450)])


def test_the_command_carries_it_too(alone: RedisServer, tmp_path: Path):
    alone.call("flushall")

    async def prepared() -> None:
        old = SqliteStore(tmp_path / "state.db")
        await fill(old)
        await old.close()

    asyncio.run(prepared())
    config = tmp_path / "gatekeeper.toml"
    config.write_text(f'hostname = "mx.example.org"\n[store]\nurl = "redis://127.0.0.1:{alone.port}/0"\n')
    ended = gatekeeper("store", "migrate", str(tmp_path / "state.db"), "-c", str(config))
    assert ended.status == 0, ended.err
    assert "450 records" in ended.out
    found = gatekeeper("records", "--sender", "a@x", "--json", "-c", str(config))
    assert found.status == 0, found.err
    again = gatekeeper("store", "migrate", str(tmp_path / "state.db"), "-c", str(config))
    assert again.status == 2
    assert "holds state already" in again.err


@pytest.fixture
def encrypted(tmp_path: Path) -> Iterator[tuple[RedisServer, Authority]]:
    """A server that speaks TLS only and asks for a password; its certificate is of an authority that nobody knows."""
    need("redis-server")
    authority = Authority(tmp_path, "127.0.0.1")
    files = ("--tls-cert-file", str(authority.certificate), "--tls-key-file", str(authority.key))
    server = RedisServer(tmp_path / "redis", *files, "--tls-auth-clients", "no", "--requirepass", "secret")
    server.settings += ("--port", "0", "--tls-port", str(server.port))
    process = server.start(wait=False)
    wait_until("Redis", lambda: listens(server.port) or process.process.poll() is not None)
    if "Bad directive" in process.output():
        pytest.skip("redis-server here knows no TLS")
    yield server, authority
    server.stop()


def test_a_store_over_tls_is_used_as_the_configuration_says(
    encrypted: tuple[RedisServer, Authority], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    server, authority = encrypted
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))  # an authority of the system's
    with_records(tmp_path)
    config = tmp_path / "gatekeeper.toml"
    url = f"rediss://default@127.0.0.1:{server.port}/0"
    config.write_text(f'hostname = "mx.example.org"\n[store]\nurl = "{url}"\npassword = "secret"\n')
    ended = gatekeeper("store", "migrate", str(tmp_path / "state.db"), "-c", str(config))
    assert ended.status == 0, ended.err
    found = gatekeeper("records", "--sender", "spam@example.net", "--json", "-c", str(config))
    assert found.status == 0, found.err
    assert REJECTED in found.out


async def test_a_certificate_is_checked(encrypted: tuple[RedisServer, Authority], monkeypatch: pytest.MonkeyPatch):
    """Its authority must be one of the system's, and its name that of the url."""
    server, authority = encrypted
    by_address = Settings(f"rediss://127.0.0.1:{server.port}/0", password="secret")
    unknown = open_redis(by_address)
    with pytest.raises(StoreAway, match="certificate verify failed"):
        await unknown.history(["a"])
    await unknown.close()
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    misnamed = open_redis(Settings(f"rediss://localhost:{server.port}/0", password="secret"))
    with pytest.raises(StoreAway, match="not valid for 'localhost'"):
        await misnamed.history(["a"])
    await misnamed.close()
    known = open_redis(by_address)
    assert await known.history(["a"]) == [History()]
    await known.close()
