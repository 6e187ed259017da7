import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gatekeeper.servers.systemd import Notifications, take_systemd_sockets

ACTIVATED = """
import os, sys
from gatekeeper.servers.sockets import CannotListen
from gatekeeper.servers.systemd import take_systemd_sockets
os.environ["LISTEN_PID"] = str(os.getpid())
try:
    found = take_systemd_sockets(os.environ, pid=os.getpid())
except CannotListen as error:
    sys.exit(str(error))
assert not [name for name in os.environ if name.startswith("LISTEN_")]
assert not any(os.get_inheritable(one.fileno()) or one.getblocking() for each in found.values() for one in each)
print({name: [one.getsockname()[1] for one in each] for name, each in found.items()})
"""


def activated(names: str, *passed: socket.socket) -> subprocess.CompletedProcess[str]:
    """Run a process as systemd would: sockets from number 3 on."""
    shift = "import os, sys\n"
    spare = [os.dup(one.fileno()) for one in passed]
    high = [one + 100 for one in spare]
    for low, number in zip(spare, high, strict=True):
        os.dup2(low, number)
        os.close(low)
    shift += "".join(f"os.dup2({number}, {3 + position})\n" for position, number in enumerate(high))
    shift += f"os.execv(sys.executable, [sys.executable, '-c', {ACTIVATED!r}])"
    try:
        return subprocess.run(
            [sys.executable, "-c", shift],
            env={**os.environ, "LISTEN_FDS": str(len(passed)), "LISTEN_FDNAMES": names},
            pass_fds=high,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        for number in high:
            os.close(number)


def test_systemds_sockets_are_taken_by_name():
    made = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    ports = [one.getsockname()[1] for one in made]
    ran = activated("smtp:http:smtp", *made)
    assert ran.stdout.strip() == str({"smtp": [ports[0], ports[2]], "http": [ports[1]]}), ran.stderr


def test_what_does_not_listen_is_refused_by_name():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
        ran = activated("smtp", datagram)
    assert ran.returncode == 1
    assert "as smtp does not listen" in ran.stderr


@pytest.mark.parametrize(
    "environment",
    [{}, {"LISTEN_PID": "1", "LISTEN_FDS": "2"}, {"LISTEN_PID": "7", "LISTEN_FDS": "x"}, {"LISTEN_PID": "7"}],
)
def test_sockets_meant_for_another_process_are_not_touched(environment: dict[str, str]):
    assert take_systemd_sockets(environment, pid=7) == {}
    assert environment == {}


@pytest.fixture
def systemd(tmp_path: Path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind(str(tmp_path / "notify"))
        one.settimeout(20)
        yield one


def heard(systemd: socket.socket) -> list[str]:
    """Everything told so far."""
    systemd.setblocking(False)
    found = []
    try:
        while True:
            found.append(systemd.recv(65536).decode())
    except BlockingIOError:
        return found


def test_a_status_is_told_when_it_changes_and_in_one_line(systemd: socket.socket):
    told = Notifications({"NOTIFY_SOCKET": systemd.getsockname()})
    told.tell_ready()
    told.tell_status("two\nREADY=1")
    told.tell_status("two READY=1")
    told.tell_stopping()
    assert heard(systemd) == ["READY=1", "STATUS=two READY=1", "STOPPING=1"]


def test_a_reload_says_when_it_began(systemd: socket.socket):
    Notifications({"NOTIFY_SOCKET": systemd.getsockname()}).tell_reloading()
    (told,) = heard(systemd)
    first, second = told.split("\n")
    assert first == "RELOADING=1"
    assert second.removeprefix("MONOTONIC_USEC=").isdecimal()


def test_an_abstract_socket_is_understood():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind(f"\0gatekeeper-test-{os.getpid()}")
        Notifications({"NOTIFY_SOCKET": f"@gatekeeper-test-{os.getpid()}"}).tell_ready()
        assert heard(one) == ["READY=1"]


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "/nonexistent/notify"}])
def test_without_systemd_nothing_happens(environment: dict[str, str]):
    told = Notifications(environment)
    told.tell_ready()
    told.sign_of_life(alive=True)


@pytest.mark.parametrize(
    ("variables", "fed"),
    [
        ({"WATCHDOG_USEC": "2"}, True),
        ({"WATCHDOG_USEC": "2", "WATCHDOG_PID": str(os.getpid())}, True),
        ({"WATCHDOG_USEC": "2", "WATCHDOG_PID": "1"}, False),
        ({"WATCHDOG_USEC": "0"}, False),
        ({"WATCHDOG_USEC": "soon"}, False),
        ({"WATCHDOG_USEC": "99000000"}, False),
        ({}, False),
    ],
)
def test_the_watchdog_is_fed_when_it_watches_us_and_is_due(
    systemd: socket.socket, variables: dict[str, str], fed: bool
):
    told = Notifications({"NOTIFY_SOCKET": systemd.getsockname(), **variables})
    while fed and told.next_sign > time.monotonic():
        pass
    told.sign_of_life(alive=False)
    assert heard(systemd) == []
    told = Notifications({"NOTIFY_SOCKET": systemd.getsockname(), **variables})
    while fed and told.next_sign > time.monotonic():
        pass
    told.sign_of_life(alive=True)
    assert heard(systemd) == (["WATCHDOG=1"] if fed else [])


def test_the_watchdog_is_fed_four_times_as_often_as_it_must_be(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    assert Notifications({"WATCHDOG_USEC": "60000000"}).next_sign == 1015.0


def test_one_that_was_not_alive_is_looked_at_again_soon(systemd: socket.socket, monkeypatch: pytest.MonkeyPatch):
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    told = Notifications({"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "60000000"})
    now = 1015.0
    told.sign_of_life(alive=False)
    now = told.next_sign
    assert now == 1016.0
    told.sign_of_life(alive=True)
    assert heard(systemd) == ["WATCHDOG=1"]
    assert told.next_sign == 1031.0


def test_the_watchdog_is_fed_at_once_where_there_is_one(systemd: socket.socket):
    for variables in ({"WATCHDOG_USEC": "60000000"}, {}):
        told = Notifications({"NOTIFY_SOCKET": systemd.getsockname(), **variables})
        told.sign_of_life_now(alive=True)
        assert heard(systemd) == (["WATCHDOG=1"] if variables else [])
