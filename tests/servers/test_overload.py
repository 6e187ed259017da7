"""Who is put off when there is too much to do: decided on gauges that the tests hand in."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import asdict, fields, replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper import metrics
from gatekeeper.model import Session
from gatekeeper.servers import overload
from gatekeeper.servers.overload import CAUSES, Gauges, Level, Overload, Settings
from tests.support.fake_gate import FakeGate

CALM, STRAINED, OVERWHELMED = Level


def told(*shares: float, settings: Settings | None = None, step: float = 1.0, cause: str = "memory") -> list[Level]:
    """The levels after each share, one look each `step` seconds."""
    watch = Overload(settings or Settings())
    levels = []
    for number, share in enumerate(shares):
        watch.take(replace(Gauges(), **{cause: share}), now=100.0 + number * step)
        levels.append(watch.level)
    return levels


@pytest.mark.parametrize("cause", CAUSES)
def test_the_unknown_are_put_off_first_and_everybody_last(cause):
    assert told(0.5, 0.74, 0.75, 0.94, 0.95, 1.5, cause=cause) == [
        CALM,
        CALM,
        STRAINED,
        STRAINED,
        OVERWHELMED,
        OVERWHELMED,
    ]


def test_it_does_not_flutter_around_a_mark():
    assert told(0.76, 0.7, 0.76, 0.61) == [STRAINED] * 4
    assert told(0.96, 0.9, 0.96, 0.76) == [OVERWHELMED] * 4


def test_the_well_known_come_back_first_and_everybody_after_a_while_of_calm():
    assert told(0.96, 0.7, 0.5, 0.5, 0.5, 0.5) == [OVERWHELMED, STRAINED, STRAINED, STRAINED, STRAINED, CALM]
    assert told(0.76, 0.5, 0.5, 0.65, 0.5, 0.5, 0.5, 0.5) == [STRAINED] * 7 + [CALM]  # calm without a break


def test_a_clock_that_jumps_back_only_prolongs():
    watch = Overload(Settings())
    for now in (100.0, 101.0, 50.0, 51.0, 52.0):
        watch.take(Gauges(memory=0.8 if now == 100.0 else 0.1), now=now)
        assert watch.level is STRAINED
    watch.take(Gauges(), now=53.0)
    assert watch.level is CALM


def test_room_is_made_at_each_look_while_somebody_is_put_off():
    made: list[int] = []
    watch = Overload(Settings(), relieve=lambda: made.append(1))
    for share in (0.1, 0.8, 0.8):
        watch.take(Gauges(sessions=share), now=1.0)
    assert len(made) == 2


def test_metrics_and_log_say_so(caplog):
    watch = Overload(Settings())
    with caplog.at_level("INFO", "gatekeeper"):
        watch.take(Gauges(spool=0.8), now=1.0)
        watch.take(Gauges(spool=0.97), now=2.0)
        overload.tell([watch])
        assert metrics.REGISTRY.get_sample_value("gatekeeper_overload_level") == 2
        assert metrics.REGISTRY.get_sample_value("gatekeeper_overload_share", {"cause": "spool"}) == 0.97
        watch.take(Gauges(spool=0.2), now=3.0)
        watch.take(Gauges(spool=0.2), now=9.0)
        overload.tell([watch])
    events = [(record.msg, getattr(record, "facts", {}).get("put_off")) for record in caplog.records]
    assert events == [
        ("overload", "strained"),
        ("overload", "overwhelmed"),
        ("overload_eased", "strained"),
        ("overload_eased", "calm"),
    ]
    assert metrics.REGISTRY.get_sample_value("gatekeeper_overload_level") == 0


def test_of_several_servers_in_one_worker_the_metrics_tell_the_worst():
    one, other = Overload(Settings()), Overload(Settings())
    one.take(Gauges(spool=0.97), now=1.0)
    other.take(Gauges(spool=0.1, memory=0.3), now=1.0)
    for servers in ([one, other], [other, one]):
        overload.tell(servers)
        assert metrics.REGISTRY.get_sample_value("gatekeeper_overload_level") == 2
        assert metrics.REGISTRY.get_sample_value("gatekeeper_overload_share", {"cause": "spool"}) == 0.97
        assert metrics.REGISTRY.get_sample_value("gatekeeper_overload_share", {"cause": "memory"}) == 0.3
    overload.tell([])
    assert metrics.REGISTRY.get_sample_value("gatekeeper_overload_level") == 0


@pytest.mark.parametrize(
    ("address", "login", "looked_up"),
    [
        ("198.51.100.7", None, True),
        ("198.51.100.7", "alice", False),  # whoever has logged in is known
        ("10.0.0.7", None, False),  # a machine of our own
        (None, None, False),
    ],
)
async def test_strangers_from_outside_are_the_unknown(address, login, looked_up):
    gate, watch = FakeGate(), Overload(Settings())
    session = Session("id", "milter", 0.0, address=None if address is None else ip_address(address), login=login)
    assert not await watch.puts_off_mail_of(session, gate)
    watch.take(Gauges(memory=0.8), now=0.0)
    assert await watch.puts_off_mail_of(session, gate) is looked_up
    assert await watch.puts_off_mail_of(session, gate) is looked_up
    assert gate.looked_up == ([[address]] if looked_up else [])
    watch.take(Gauges(memory=0.96), now=1.0)
    assert await watch.puts_off_mail_of(session, gate)


def test_every_gauge_has_its_metric():
    assert {field.name for field in fields(Gauges)} == set(CAUSES)
    for cause in CAUSES:
        assert metrics.REGISTRY.get_sample_value("gatekeeper_overload_share", {"cause": cause}) is not None


@given(st.lists(st.tuples(st.floats(0, 3), st.floats(0, 10)), max_size=30))
def test_whatever_the_gauges_say_the_worst_one_decides(looks):
    watch = Overload(Settings())
    now = 0.0
    for share, pause in looks:
        now += pause
        watch.take(Gauges(memory=share, sessions=share / 2), now=now)
        assert share < 0.95 or watch.level is OVERWHELMED
        assert share < 0.75 or watch.level >= STRAINED
        assert share >= 0.75 or watch.level <= STRAINED


def test_a_late_loop_is_remembered_for_a_moment():
    watch = Overload(Settings(loop_delay=2.0))
    late = [watch.gauges(late=seconds).loop_delay for seconds in (0.0, 2.0, 0.0, 0.0)]
    assert late == pytest.approx([0.0, 1.0, 0.8, 0.64])


def test_memory_spool_and_sessions_are_read():
    watch = Overload(Settings(memory=1), spool=lambda: 0.25, sessions=lambda: 0.5)
    gauges = asdict(watch.gauges(late=0.0))
    assert (gauges["spool"], gauges["sessions"]) == (0.25, 0.5)
    assert gauges["memory"] > 1_000_000


def test_a_queue_of_connections_counts_when_it_does_not_get_empty():
    with socket.create_server(("127.0.0.1", 0), backlog=4) as listening:
        watch = Overload(Settings())
        watch.listens([listening])
        waiting = [socket.create_connection(listening.getsockname()) for _ in range(4)]
        full = [watch.gauges(late=0.0).accept_queue for _ in range(overload.LOOKS + 1)]
        assert full[0] == 0.0
        assert full[-1] == 1.0
        listening.accept()[0].close()
        assert watch.gauges(late=0.0).accept_queue == 0.75
        for each in waiting:
            each.close()


def test_a_socket_without_such_a_queue_is_empty(tmp_path):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        assert overload._queue(listening) == 0.0


async def test_it_looks_again_and_again(monkeypatch):
    monkeypatch.setattr(overload, "EVERY", 0.001)
    seen = asyncio.Event()
    watch = Overload(Settings(unknown_at=0.7), sessions=lambda: 0.8, relieve=seen.set)
    running = asyncio.ensure_future(overload.keep_looking([Overload(Settings()), watch]))
    await asyncio.wait_for(seen.wait(), 20)
    assert watch.level is STRAINED
    await asyncio.sleep(0)
    assert metrics.REGISTRY.get_sample_value("gatekeeper_overload_level") == STRAINED
    running.cancel()


@pytest.mark.parametrize(
    "wrong",
    [
        {"calm_at": 0.8},
        {"unknown_at": 0.97},
        {"calm_at": 0.0},
        {"loop_delay": 0.0},
        {"memory": 0},
        {"calm_for": -1.0},
    ],
)
def test_a_bad_setting_is_refused(wrong):
    with pytest.raises(ValueError):
        Settings(**wrong)
