"""The parent with stand-ins for its processes, which do what a test orders and tell what happens to them."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gatekeeper import metrics, supervisor
from gatekeeper.wire.listen import read_listen
from gatekeeper.wire.process import Role

DEADLINE = 30
"""Seconds after which a test has failed; nothing here takes that long."""

PARENT = """
import json, sys, types

# The real configuration brings every check with it, and takes longer to import than a test to run.
configuration, loading = types.ModuleType("configuration"), types.ModuleType("loading")
loading.ConfigurationError = type("ConfigurationError", (Exception,), {})
sys.modules["gatekeeper.config"] = types.ModuleType("config")
sys.modules["gatekeeper.config.configuration"] = sys.modules["gatekeeper.config"].configuration = configuration
sys.modules["gatekeeper.config.loading"] = loading

import os
from gatekeeper import copies, log, supervisor
from gatekeeper.wire import process
from gatekeeper.wire.listen import read_listen
from gatekeeper.wire.process import Role, Settings

supervisor.GRACE = float(sys.argv[3])
process.SIGN_EVERY = supervisor.SIGN_EVERY = float(os.environ.get("SIGN_EVERY", "5"))

def load(path, named):
    found = json.loads(open(path).read())
    if found["file"] and "half" in open(copies.readable(found["file"])).read():
        raise ValueError("half of an edit")
    listen = {
        Role(role): {name: tuple(read_listen(text) for text in texts) for name, texts in servers.items()}
        for role, servers in found["listen"].items()
    }
    settings = Settings(**found["settings"])
    return supervisor.Plan(settings, log.Settings(destination="stderr"), listen, tuple(found["pair"]))

trial = [sys.executable, "-c", os.environ.get("TRIAL", "")]
sys.exit(supervisor.Supervisor(sys.argv[1], command=[sys.executable, sys.argv[2]], load=load, trial=trial).run())
"""

CHILD = """
import json, os, selectors, signal, socket, sys
from gatekeeper import copies
from gatekeeper.wire.process import ProcessStart, failed_line, ready_line

start = ProcessStart.from_environment(os.environ)
found = json.load(open(start.snapshot))
woken, wake = socket.socketpair()
wake.setblocking(False)
signal.set_wakeup_fd(wake.fileno())
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, lambda *_: None)
test = socket.socket(socket.AF_UNIX)
test.connect(found["test"])

def say(word, **facts):
    test.sendall(json.dumps({"word": word, **facts}).encode() + b"\\n")

with copies.beside(start.snapshot):
    file = open(copies.readable(found["file"])).read() if found["file"] else ""
say("born", file=file,
    pid=os.getpid(), role=start.role.value, slot=start.slot, workers=start.workers, mark=found.get("mark"),
    sockets=sorted(start.sockets), path=start.config_path, stdin=os.readlink("/proc/self/fd/0"),
    variables=sorted(os.environ))
listening = [socket.socket(fileno=number) for each in start.sockets.values() for number in each]
selector = selectors.DefaultSelector()
selector.register(woken, selectors.EVENT_READ, "signal")
selector.register(test, selectors.EVENT_READ, "order")
selector.register(start.lifeline_fd, selectors.EVENT_READ, "lifeline")
for one in listening:
    selector.register(one, selectors.EVENT_READ, "client")
while True:
    for key, _ in selector.select():
        if key.data == "signal":
            for number in woken.recv(100):
                say(signal.Signals(number).name)
        elif key.data == "lifeline":
            assert os.read(start.lifeline_fd, 1) == b""
            selector.unregister(start.lifeline_fd)
            say("orphaned")
            sys.exit()
        elif key.data == "client":
            try:
                client, _ = key.fileobj.accept()
            except BlockingIOError:
                continue
            client.sendall(start.slot.encode())
            client.close()
        else:
            text = test.recv(100_000, socket.MSG_PEEK)
            line = text[: text.find(b"\\n") + 1] or text
            order, _, argument = test.recv(len(line)).decode().rstrip("\\n").partition(" ")
            if order == "ready":
                os.write(start.ready_fd, ready_line())
                os.close(start.ready_fd)
            elif order == "alive":  # like ready, and then alive, but the pipe stays open
                os.write(start.ready_fd, b"ready\\n")
                os.write(start.ready_fd, b"alive\\n")
            elif order == "fail":
                os.write(start.ready_fd, failed_line(argument))
                sys.exit(2)
            elif order == "write":
                os.write(start.ready_fd, argument.encode())
            elif order == "leave":
                if os.fork():
                    os._exit(3)
                for number in (0, 1, 2, test.fileno()):
                    os.close(number)
                os.read(start.lifeline_fd, 1)
                os._exit(0)
            elif order == "say":
                say(argument)
            elif order == "exit":
                os._exit(int(argument))
            elif order == "kill":
                os.kill(os.getpid(), int(argument))
            else:
                os._exit(99)
"""


class Child:
    """One stand-in, seen from the test."""

    def __init__(self, talk: socket.socket) -> None:
        talk.settimeout(DEADLINE)
        self._talk = talk
        self._lines = talk.makefile("r")
        self.born = self.says("born")
        self.slot: str = self.born["slot"]

    def says(self, word: str) -> dict[str, Any]:
        """Wait for what it tells next, which must be this."""
        found: dict[str, Any] = json.loads(self._lines.readline() or '{"word": "gone"}')
        assert found["word"] == word
        return found

    def order(self, text: str) -> None:
        self._talk.sendall(text.encode() + b"\n")

    def drains(self) -> None:
        """It is told to end, and does."""
        self.says("SIGTERM")
        self.order("exit 0")
        self.is_gone()

    def is_gone(self) -> None:
        with contextlib.suppress(ConnectionResetError):
            assert self._lines.readline() == ""
        self._talk.close()


class Parent:
    """A supervisor in a process of its own."""

    def __init__(self, place: Path, *, grace: float = DEADLINE, **environment: str) -> None:
        self.place = place
        self._family: list[Child] = []  # one that is forgotten hangs up, and its process ends
        self._test = socket.socket(socket.AF_UNIX)
        self._test.bind(str(place / "test"))
        self._test.listen(100)
        self._test.settimeout(DEADLINE)
        self._systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._systemd.bind(str(place / "notify"))
        self._systemd.settimeout(DEADLINE)
        (place / "child.py").write_text(CHILD)
        (place / "run").mkdir()
        self.file = place / "configuration"
        self.grace = grace
        self.environment = {
            **os.environ,
            "NOTIFY_SOCKET": str(place / "notify"),
            "RUNTIME_DIRECTORY": str(place / "run"),
            **environment,
        }
        self.process: subprocess.Popen[str] | None = None

    def configure(
        self,
        *,
        workers: int = 1,
        drain: float = DEADLINE,
        start: float = DEADLINE,
        hang: float = 60.0,
        mark: str = "",
        file: str = "",
        pair: tuple[str, ...] = (),
        smtp: list[str] | None = None,
        http: list[str] | None = None,
    ) -> None:
        mail = {} if http and smtp is None else {"smtp.listen": smtp or []}
        self.file.write_text(
            json.dumps(
                {
                    "settings": {"workers": workers, "drain": drain, "start": start, "hang": hang},
                    "listen": {"worker": mail, "controller": {"http.listen": http or []}},
                    "test": str(self.place / "test"),
                    "mark": mark,
                    "file": file,
                    "pair": pair,
                }
            )
        )

    def start(self, *, command: list[str] | None = None, pass_fds: tuple[int, ...] = ()) -> None:
        arguments = [sys.executable, "-c", PARENT, str(self.file), str(self.place / "child.py"), str(self.grace)]
        self.process = subprocess.Popen(
            [*(command or []), *arguments],
            env=self.environment,
            pass_fds=pass_fds,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def children(self, number: int) -> list[Child]:
        """The next that it starts, by slot."""
        found = sorted((Child(self._test.accept()[0]) for _ in range(number)), key=lambda child: child.slot)
        self._family += found
        return found

    def serving(self, **configuration: Any) -> list[Child]:
        """Start, and let all of its processes become ready: the controller, then the workers."""
        self.configure(**configuration)
        self.start()
        return self.all_ready(configuration.get("workers", 1))

    def all_ready(self, workers: int = 1) -> list[Child]:
        children = self.children(workers + 1)
        for child in children:
            child.order("ready")
        self.tells("READY=1")
        return children

    def tells(self, *words: str) -> str:
        """Wait until systemd is told that, whatever else it is told before; the last message."""
        for word in words:
            while word not in (told := self._systemd.recv(65536).decode()):
                pass
        return told

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def ends(self) -> tuple[int, str]:
        """Its exit status, and what it wrote."""
        assert self.process is not None
        _, written = self.process.communicate(timeout=DEADLINE)
        assert list((self.place / "run").iterdir()) == []
        return self.process.returncode, written

    def counted(self, name: str) -> float:
        """A metric, as the controller would show it."""
        (directory,) = (self.place / "run").glob("*/metrics")
        lines = metrics.exposition(directory).decode().splitlines()
        return float(next(line for line in lines if line.startswith(name + " ")).split()[-1])

    def close(self) -> None:
        """End what a failed test left; its children end with it."""
        self._test.close()
        self._systemd.close()
        if self.process is not None:
            self.process.kill()
            self.process.communicate(timeout=DEADLINE)


MakeParent = Callable[..., Parent]


@pytest.fixture
def make_parent(tmp_path: Path) -> Iterator[MakeParent]:
    made: list[Parent] = []

    def make(**arguments: Any) -> Parent:
        made.append(Parent(tmp_path, **arguments))
        return made[-1]

    yield make
    for parent in made:
        parent.close()


@pytest.fixture
def parent(make_parent: MakeParent) -> Parent:
    return make_parent()


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        found: int = one.getsockname()[1]
        return found


def greeted_by(port: int) -> str:
    """The slot of the process that takes a connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as one:
        return one.recv(100).decode()


# --- start and stop ---------------------------------------------------------------------------------------------------


def test_ready_is_told_when_every_process_is(parent: Parent, port: int):
    parent.configure(workers=2, smtp=[f"127.0.0.1:{port}"])
    parent.start()
    controller, first, second = parent.children(3)
    assert [controller.slot, first.slot, second.slot] == ["controller0", "worker0", "worker1"]
    controller.order("ready")
    first.order("ready")
    parent._systemd.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            assert b"READY=1" not in parent._systemd.recv(65536)
    parent._systemd.settimeout(DEADLINE)
    second.order("ready")
    parent.tells("READY=1", "STATUS=2 of 2 workers ready")
    assert greeted_by(port) in {"worker0", "worker1"}


def test_http_alone_is_served_by_the_controller_alone(make_parent: MakeParent, port: int):
    parent = make_parent(WATCHDOG_USEC="20000")
    parent.configure(http=[f"127.0.0.1:{port}"])
    parent.start()
    [controller] = parent.children(1)
    assert (controller.born["role"], controller.born["workers"]) == ("controller", 0)
    controller.order("ready")
    parent.tells("READY=1", "STATUS=HTTP alone is served", "WATCHDOG=1", "WATCHDOG=1")
    assert greeted_by(port) == "controller0"


def test_a_process_is_told_what_it_is_for(parent: Parent):
    controller, worker = parent.serving(mark="first", smtp=["127.0.0.1:0"], http=["127.0.0.1:0"])
    assert (controller.born["role"], controller.born["sockets"]) == ("controller", ["http.listen"])
    assert (worker.born["role"], worker.born["sockets"]) == ("worker", ["smtp.listen"])
    assert (worker.born["workers"], worker.born["mark"], worker.born["path"]) == (1, "first", str(parent.file))
    assert worker.born["stdin"] == "/dev/null"
    assert {"PROMETHEUS_MULTIPROC_DIR", "GATEKEEPER_SLOT"} <= set(worker.born["variables"])
    assert not {"NOTIFY_SOCKET", "LISTEN_FDS", "WATCHDOG_USEC"} & set(worker.born["variables"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_lets_every_process_drain(parent: Parent, port: int, number: int):
    children = parent.serving(workers=2, smtp=[f"127.0.0.1:{port}"])
    parent.signal(number)
    parent.tells("STOPPING=1")
    for child in children:
        child.drains()
    status, written = parent.ends()
    assert status == 0
    assert "started process=supervisor" in written
    assert "worker_started process=worker1" in written
    assert f"listening server=smtp.listen address=127.0.0.1:{port}" in written
    with pytest.raises(ConnectionRefusedError):
        greeted_by(port)


def test_a_second_stop_is_told_too(parent: Parent):
    children = parent.serving()
    parent.signal(signal.SIGTERM)
    for child in children:
        child.says("SIGTERM")
    parent.signal(signal.SIGTERM)
    for child in children:
        child.drains()
    assert parent.ends()[0] == 0


def test_a_process_that_does_not_drain_is_killed(make_parent: MakeParent):
    parent = make_parent(grace=0.1)
    children = parent.serving(drain=0.1)
    parent.signal(signal.SIGTERM)
    for child in children:
        child.says("SIGTERM")
        child.is_gone()
    assert parent.ends()[0] == 0


def test_a_stop_while_starting_ends_what_was_started(parent: Parent):
    parent.configure()
    parent.start()
    children = parent.children(2)
    parent.signal(signal.SIGTERM)
    for child in children:
        child.drains()
    assert parent.ends()[0] == 0


def test_what_becomes_ready_after_a_stop_does_not_serve(parent: Parent, port: int):
    parent.configure(smtp=[f"127.0.0.1:{port}"])
    parent.start()
    children = parent.children(2)
    parent.signal(signal.SIGTERM)
    for child in children:
        child.says("SIGTERM")
    for child in children:
        child.order("ready")
    children[0].order("exit 0")
    children[0].is_gone()
    children[1].order("exit 0")
    status, written = parent.ends()
    assert status == 0
    assert "started process=supervisor" not in written
    with pytest.raises(ConnectionRefusedError):
        greeted_by(port)


def test_when_the_parent_is_killed_its_processes_notice(parent: Parent):
    children = parent.serving()
    parent.signal(signal.SIGKILL)
    for child in children:
        child.says("orphaned")


def test_a_terminals_signals_are_for_the_parent_alone(make_parent: MakeParent):
    parent = make_parent()
    parent.configure()
    parent.start(command=["setsid"])
    children = parent.all_ready()
    assert parent.process is not None
    os.killpg(parent.process.pid, signal.SIGINT)
    for child in children:
        child.drains()  # by the parent's SIGTERM, and not by SIGINT
    assert parent.ends()[0] == 0


# --- what cannot start ------------------------------------------------------------------------------------------------


def test_a_process_that_cannot_work_as_configured_ends_the_start_with_its_sentence(parent: Parent):
    parent.configure(workers=2)
    parent.start()
    controller, first, second = parent.children(3)
    first.order("ready")
    second.order("fail the store /x cannot be opened: make the directory")
    for child in (controller, first):
        child.drains()
    status, written = parent.ends()
    assert status == 2
    assert written.endswith("gatekeeper: the store /x cannot be opened: make the directory\n")


@pytest.mark.parametrize(
    ("order", "sentence", "status"),
    [
        ("exit 1", "worker0 could not start: it ended with status 1", 1),
        ("exit 2", "worker0 could not start: it ended with status 2", 2),
        ("exit 0", "worker0 could not start: it ended with status 0", 1),
        ("kill 9", "worker0 could not start: it ended with signal SIGKILL", 1),
    ],
)
def test_a_process_that_dies_before_it_is_ready_ends_the_start(parent: Parent, order: str, sentence: str, status: int):
    parent.configure()
    parent.start()
    controller, worker = parent.children(2)
    worker.order(order)
    controller.drains()
    ended, written = parent.ends()
    assert (ended, written.splitlines()[-1]) == (status, f"gatekeeper: {sentence}")


def test_a_process_that_talks_nonsense_ends_the_start(make_parent: MakeParent):
    parent = make_parent(grace=0.1)
    parent.configure()
    parent.start()
    controller, worker = parent.children(2)
    worker.order("write " + "x" * 70_000)
    worker.says("SIGTERM")
    worker.is_gone()
    controller.says("SIGTERM")
    controller.is_gone()
    status, written = parent.ends()
    assert status == 1
    assert "where it had to say ready" in written


@pytest.mark.slow
def test_a_process_that_never_becomes_ready_ends_the_start(make_parent: MakeParent):
    parent = make_parent(grace=0.1)
    parent.configure(start=3.0, drain=0.1)  # a busy machine takes its time to start one
    parent.start()
    controller, worker = parent.children(2)
    controller.order("ready")
    worker.is_gone()
    status, written = parent.ends()
    assert (status, written.splitlines()[-1]) == (1, "gatekeeper: worker0 could not start: it was not ready in time")


@pytest.mark.parametrize("content", [None, "not JSON"])
def test_a_configuration_that_cannot_be_read_starts_nothing(parent: Parent, content: str | None):
    if content is not None:
        parent.file.write_text(content)
    parent.start()
    status, written = parent.ends()
    assert status == 2
    assert written.startswith("gatekeeper: ")
    assert "worker_started" not in written


def test_a_child_of_a_dead_process_that_keeps_its_pipe_holds_nobody_up(parent: Parent):
    parent.configure()
    parent.start()
    controller, worker = parent.children(2)
    worker.order("leave a child behind")
    controller.drains()
    status, written = parent.ends()
    assert (status, written.splitlines()[-1]) == (1, "gatekeeper: worker0 could not start: it ended with status 3")


def test_an_address_that_is_taken_starts_nothing(parent: Parent):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        parent.configure(smtp=[f"127.0.0.1:{taken.getsockname()[1]}"])
        parent.start()
        status, written = parent.ends()
    assert status == 2
    assert "another program has that address" in written


def test_a_runtime_directory_that_is_not_there_is_an_error_at_start(make_parent: MakeParent):
    parent = make_parent(RUNTIME_DIRECTORY="/nonexistent")
    parent.configure()
    parent.start()
    status, written = parent.ends()
    assert status == 2
    assert "/nonexistent" in written


# --- reload -----------------------------------------------------------------------------------------------------------


def test_a_reload_starts_the_new_generation_before_the_old_one_drains(parent: Parent, port: int):
    old = parent.serving(workers=2, mark="old", smtp=[f"127.0.0.1:{port}"])
    parent.configure(workers=1, mark="new", smtp=[f"127.0.0.1:{port}"])
    parent.signal(signal.SIGHUP)
    parent.tells("RELOADING=1")
    controller, worker = parent.children(2)
    assert (controller.slot, worker.slot, worker.born["mark"]) == ("controller1", "worker2", "new")
    controller.order("ready")
    worker.order("ready")
    parent.tells("READY=1", "STATUS=1 of 1 workers ready")
    for child in old:
        child.drains()
    assert greeted_by(port) == "worker2"
    assert parent.counted('gatekeeper_reloads_total{result="loaded"}') == 1
    assert greeted_by(port) == "worker2"


def test_a_socket_is_the_same_after_a_reload(parent: Parent):
    old = parent.serving(smtp=["127.0.0.1:0"])
    parent.signal(signal.SIGHUP)
    new = parent.all_ready()
    for child in old:
        child.drains()
    parent.signal(signal.SIGTERM)
    for child in new:
        child.drains()
    _, written = parent.ends()
    listening = [line.split("address=")[1] for line in written.splitlines() if "listening" in line]
    assert len(listening) == 2
    assert len(set(listening)) == 1


def test_a_reload_opens_new_addresses_and_closes_old_ones(parent: Parent, port: int):
    old = parent.serving(smtp=[f"unix:{parent.place}/smtp"])
    assert (parent.place / "smtp").is_socket()
    parent.configure(smtp=[f"127.0.0.1:{port}"])
    parent.signal(signal.SIGHUP)
    parent.all_ready()
    for child in old:
        child.drains()
    assert not (parent.place / "smtp").exists()
    assert greeted_by(port) == "worker1"


def test_a_wrong_configuration_leaves_the_old_one_in_force(parent: Parent, port: int):
    old = parent.serving(mark="old", smtp=[f"127.0.0.1:{port}"])
    parent.file.write_text("wrong\nin two lines")
    parent.signal(signal.SIGHUP)
    parent.tells("RELOADING=1", "READY=1", "STATUS=1 of 1 workers ready; the last change was refused: ")
    assert greeted_by(port) == "worker0"
    assert parent.counted('gatekeeper_reloads_total{result="kept"}') == 1
    parent.signal(signal.SIGTERM)
    for child in old:
        child.drains()
    status, written = parent.ends()
    assert status == 0
    assert "reload_refused" in written


@pytest.mark.slow
def test_a_new_generation_that_cannot_work_leaves_the_old_one_in_force(parent: Parent, port: int):
    parent.serving(workers=2, mark="old")
    parent.configure(workers=2, mark="new", smtp=[f"127.0.0.1:{port}"])
    parent.signal(signal.SIGHUP)
    controller, first, second = parent.children(3)
    controller.order("ready")
    second.order("ready")
    assert greeted_by(port).startswith("worker")
    first.order("fail the next hop would relay for strangers")
    controller.drains()
    second.drains()
    parent.tells("READY=1", "refused: the next hop would relay for strangers")
    with pytest.raises(ConnectionRefusedError):
        greeted_by(port)
    parent.configure(workers=1)
    parent.signal(signal.SIGHUP)
    parent.all_ready()
    parent.tells("STATUS=1 of 1 workers ready")


def test_a_generation_that_is_given_up_has_time_to_drain(make_parent: MakeParent):
    parent = make_parent(grace=0.0)
    parent.serving()
    parent.signal(signal.SIGHUP)
    controller, worker = parent.children(2)
    worker.order("ready")
    worker.order("say written")
    worker.says("written")
    controller.order("fail the store is full")
    worker.drains()
    parent.tells("refused: the store is full")


def test_an_address_that_is_taken_leaves_the_old_configuration_in_force(parent: Parent, port: int):
    parent.serving(smtp=[f"127.0.0.1:{port}"])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        parent.configure(smtp=[f"unix:{parent.place}/new", f"127.0.0.1:{taken.getsockname()[1]}"])
        parent.signal(signal.SIGHUP)
        parent.tells("READY=1", "another program has that address")
    assert not (parent.place / "new").exists()
    assert greeted_by(port) == "worker0"


@pytest.mark.slow
def test_a_reload_asked_for_during_a_reload_follows_it(parent: Parent):
    parent.serving(mark="1")
    parent.configure(mark="2")
    parent.signal(signal.SIGHUP)
    second = parent.children(2)
    parent.configure(mark="3")
    parent.signal(signal.SIGHUP)
    for child in second:
        child.order("ready")
    parent.tells("READY=1", "RELOADING=1")
    third = parent.all_ready()
    assert [child.born["mark"] for child in third] == ["3", "3"]
    for child in second:
        child.drains()


@pytest.mark.slow
def test_a_stop_during_a_reload_ends_both_generations_and_tells_nobody_twice(parent: Parent):
    draining = parent.serving()
    parent.signal(signal.SIGHUP)
    serving = parent.all_ready()
    for child in draining:
        child.says("SIGTERM")
    parent.signal(signal.SIGHUP)
    coming = parent.children(2)
    parent.signal(signal.SIGTERM)
    for child in (*serving, *coming):
        child.drains()
    for child in draining:
        child.order("exit 0")
        child.is_gone()
    assert parent.ends()[0] == 0


# --- deaths -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("position", [0, 1])
def test_a_dead_process_is_replaced_by_one_with_its_configuration(parent: Parent, position: int):
    children = parent.serving(mark="first")
    parent.file.write_text("half of an edit")
    children[position].order("kill 11")
    (replacement,) = parent.children(1)
    assert (replacement.slot, replacement.born["mark"]) == (children[position].slot, "first")
    replacement.order("ready")
    parent.tells("STATUS=1 of 1 workers ready")
    assert parent.counted("gatekeeper_worker_restarts_total") == 1


@pytest.mark.slow
def test_a_replacement_has_the_files_of_its_generation_over_edits_and_upgrades(parent: Parent):
    file = parent.place / "rules.toml"
    file.write_text("first")
    _, worker = parent.serving(file=str(file))
    file.write_text("half of an edit")
    worker.order("exit 1")
    [worker] = parent.children(1)
    assert worker.born["file"] == "first"
    worker.order("ready")
    parent.signal(signal.SIGHUP)
    parent.tells("the last change was refused")
    parent.signal(signal.SIGUSR2)
    parent.tells("RELOADING=1", "the last change was refused")
    worker.order("exit 1")
    [worker] = parent.children(1)
    assert worker.born["file"] == "first"
    worker.order("ready")
    file.write_text("second")
    parent.signal(signal.SIGHUP)
    assert [child.born["file"] for child in parent.all_ready()] == ["second", "second"]
    [place] = (parent.place / "run").iterdir()
    assert len(list(place.glob("configuration*"))) == 2  # the snapshot, and what stands beside it


@pytest.mark.parametrize("runtime", [True, False])
def test_a_copy_of_our_key_is_where_systemd_removes_it_or_nowhere(make_parent: MakeParent, runtime: bool):
    parent = make_parent()
    if not runtime:
        parent.environment |= {"RUNTIME_DIRECTORY": "", "TMPDIR": str(parent.place / "run")}
    key = parent.place / "key.pem"
    key.write_text("private")
    parent.serving(pair=(str(key),))
    kept = [file for file in (parent.place / "run").rglob("*.file") if file.read_text() == "private"]
    assert len(kept) == runtime


@pytest.mark.slow
def test_without_workers_the_status_says_so_until_there_is_one(parent: Parent):
    _, worker = parent.serving()
    worker.order("exit 1")
    parent.tells("STATUS=0 of 1 workers ready")
    (replacement,) = parent.children(1)
    replacement.order("fail the store is full")
    (replacement,) = parent.children(1)
    replacement.order("ready")
    parent.tells("STATUS=1 of 1 workers ready")
    assert parent.counted("gatekeeper_worker_restarts_total") == 2


def test_a_process_that_dies_of_a_stop_is_not_replaced(parent: Parent):
    controller, worker = parent.serving()
    parent.signal(signal.SIGTERM)
    worker.says("SIGTERM")
    worker.order("exit 1")
    controller.drains()
    status, written = parent.ends()
    assert status == 0
    assert "worker_died" not in written


@pytest.mark.slow
def test_a_death_in_the_coming_generation_leaves_the_old_one_in_force(parent: Parent):
    parent.serving()
    parent.signal(signal.SIGHUP)
    controller, worker = parent.children(2)
    controller.order("ready")
    controller.order("exit 3")
    worker.drains()
    parent.tells("READY=1", "refused: controller1 could not start: it ended with status 3")


@pytest.mark.slow
def test_a_death_in_the_serving_generation_during_a_reload_is_made_good(parent: Parent):
    _, worker = parent.serving(mark="old")
    parent.configure(mark="new")
    parent.signal(signal.SIGHUP)
    coming = parent.children(2)
    worker.order("exit 1")
    (replacement,) = parent.children(1)
    assert replacement.born["mark"] == "old"
    for child in coming:
        child.order("ready")
    replacement.says("SIGTERM")
    replacement.order("exit 0")
    parent.tells("READY=1")


def test_the_pause_before_a_replacement_grows_to_half_a_minute():
    assert [supervisor._pause(deaths) for deaths in range(1, 6)] == [0, 0.5, 1, 2, 4]
    assert supervisor._pause(10_000) == 30


# --- systemd ----------------------------------------------------------------------------------------------------------


def test_sockets_of_systemd_are_passed_on_by_name(make_parent: MakeParent, tmp_path: Path):
    parent = make_parent(LISTEN_FDS="1", LISTEN_FDNAMES="inbound")
    parent.configure(smtp=["systemd:inbound"])
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
        (tmp_path / "activate.py").write_text(
            "import os, sys\n"
            f"os.dup2({one.fileno()}, 3)\n"
            "os.environ['LISTEN_PID'] = str(os.getpid())\n"
            "os.execv(sys.argv[1], sys.argv[1:])\n"
        )
        parent.start(command=[sys.executable, str(tmp_path / "activate.py")], pass_fds=(one.fileno(),))
        children = parent.all_ready()
    assert greeted_by(port) == "worker0"
    assert "LISTEN_FDS" not in children[1].born["variables"]
    parent.signal(signal.SIGHUP)
    for child in parent.all_ready():
        assert child.slot in {"controller1", "worker1"}
    for child in children:
        child.drains()
    assert greeted_by(port) == "worker1"


def test_a_name_that_systemd_did_not_pass_ends_the_start(parent: Parent):
    parent.configure(smtp=["systemd:inbound"])
    parent.start()
    status, written = parent.ends()
    assert status == 2
    assert "FileDescriptorName=inbound" in written


def test_the_watchdog_is_fed_while_a_worker_is_ready(make_parent: MakeParent):
    parent = make_parent(WATCHDOG_USEC="20000")
    parent.serving()
    parent.tells("WATCHDOG=1", "WATCHDOG=1")


@pytest.mark.slow
def test_the_watchdog_goes_hungry_when_no_worker_gives_signs_of_life(make_parent: MakeParent):
    parent = make_parent(WATCHDOG_USEC="20000", SIGN_EVERY="0.05")
    parent.configure()
    parent.start()
    controller, worker = parent.children(2)
    controller.order("ready")
    worker.order("alive")
    parent.tells("WATCHDOG=1")
    parent._systemd.settimeout(0.5)
    with pytest.raises(TimeoutError):
        parent.tells(*["WATCHDOG=1"] * 1000)


@pytest.mark.slow
def test_a_worker_without_signs_of_life_is_killed_and_replaced(make_parent: MakeParent):
    parent = make_parent(SIGN_EVERY="0.01")
    parent.configure(hang=0.2)
    parent.start()
    controller, worker = parent.children(2)
    controller.order("ready")
    worker.order("alive")
    parent.tells("READY=1")
    worker.is_gone()
    [another] = parent.children(1)
    another.order("ready")
    parent.signal(signal.SIGTERM)
    controller.drains()
    another.drains()
    status, written = parent.ends()
    assert status == 0
    assert 'why="it gave no sign of life for 0 s"' in written


@pytest.mark.slow
def test_the_watchdog_is_fed_before_and_after_an_upgrade_by_signs_of_life_of_meanwhile(make_parent: MakeParent):
    trial = (
        "import os, socket\n"
        "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'TRIAL', os.environ['NOTIFY_SOCKET'])\n"
        "open(os.environ['GO_ON']).read()"
    )
    minutes = 1_000_000_000  # as microseconds: nothing is due while the test runs
    parent = make_parent(WATCHDOG_USEC=str(minutes), SIGN_EVERY="0.01", TRIAL=trial)
    parent.environment["GO_ON"] = str(parent.place / "go-on")
    os.mkfifo(parent.place / "go-on")
    parent.configure()
    parent.start()
    controller, worker = parent.children(2)
    controller.order("ready")
    worker.order("alive")
    parent.tells("READY=1")
    parent.signal(signal.SIGUSR2)
    parent.tells("TRIAL")
    worker.order("write alive")
    worker.order("say written")
    worker.says("written")
    (parent.place / "go-on").write_text("")
    told = [""]
    while "RELOADING=1" not in told[-1]:
        told.append(parent._systemd.recv(65536).decode())
    assert "WATCHDOG=1" in told
    parent.tells("WATCHDOG=1")


# --- upgrade ----------------------------------------------------------------------------------------------------------


def test_an_upgrade_keeps_pid_sockets_and_processes_until_its_own_are_ready(parent: Parent, port: int):
    address = f"127.0.0.1:{port}"
    old = parent.serving(smtp=[address])
    assert parent.process is not None
    pid = parent.process.pid
    parent.signal(signal.SIGUSR2)
    parent.tells("RELOADING=1")
    new = parent.children(2)
    assert not {child.slot for child in old} & {child.slot for child in new}
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as client:
        assert client.recv(100)  # whoever serves
    for child in new:
        child.order("ready")
    for child in old:
        child.drains()
    parent.tells("READY=1")
    assert parent.process.pid == pid
    assert parent.process.poll() is None
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as client:
        assert client.recv(100).decode() in {child.slot for child in new}
    parent.signal(signal.SIGTERM)
    for child in new:
        child.drains()
    status, written = parent.ends()
    assert status == 0
    assert "upgraded" in written


@pytest.mark.slow
def test_a_new_version_whose_processes_do_not_start_leaves_the_old_ones_serving(parent: Parent):
    old = parent.serving()
    parent.signal(signal.SIGUSR2)
    new = parent.children(2)
    new[0].order("fail the store is full")
    new[0].is_gone()
    new[1].says("SIGTERM")
    new[1].order("exit 0")
    parent.tells("READY=1")
    parent.signal(signal.SIGTERM)
    for child in old:
        child.drains()
    status, written = parent.ends()
    assert status == 0
    assert "reload_refused" in written


def test_a_new_version_that_does_not_run_is_not_given_the_place(make_parent: MakeParent):
    parent = make_parent(TRIAL="import sys; sys.exit('no module named gatekeeper')")
    old = parent.serving()
    parent.signal(signal.SIGUSR2)
    parent.tells("the last change was refused")
    parent.signal(signal.SIGTERM)
    for child in old:
        child.drains()
    status, written = parent.ends()
    assert status == 0
    assert 'upgrade_refused why="no module named gatekeeper"' in written


@pytest.mark.slow
def test_an_upgrade_leaves_no_metrics_of_processes_that_have_no_slot(make_parent: MakeParent):
    parent = make_parent(TRIAL="import gatekeeper.metrics")
    parent.serving()
    for upgrades in (1, 2):
        parent.signal(signal.SIGUSR2)
        parent.all_ready()
        [directory] = (parent.place / "run").glob("*/metrics")
        assert not list(directory.glob("*pid*"))
        assert parent.counted('gatekeeper_reloads_total{result="loaded"}') == upgrades
        (directory / "counter_pid1234.db").write_bytes(b"")  # as earlier versions did


def test_a_stop_during_the_trial_of_a_new_version_is_heard(make_parent: MakeParent):
    parent = make_parent(TRIAL="import os, signal; os.kill(os.getppid(), signal.SIGTERM)")
    old = parent.serving()
    parent.signal(signal.SIGUSR2)
    for child in old:
        child.drains()
    status, written = parent.ends()
    assert status == 0
    assert "upgrading" not in written


@pytest.mark.slow
def test_an_adopted_process_that_dies_gets_a_successor(parent: Parent):
    old = parent.serving()
    parent.signal(signal.SIGUSR2)
    new = parent.children(2)
    new[0].order("fail for now")
    new[0].is_gone()
    new[1].drains()
    old[1].order("exit 3")
    [another] = parent.children(1)
    another.order("ready")
    parent.signal(signal.SIGTERM)
    for child in (old[0], another):
        child.drains()
    assert parent.ends()[0] == 0


def refuse_upgrade(parent: Parent) -> None:
    """Let a new version take over, and its processes fail."""
    parent.configure(mark="new")
    parent.signal(signal.SIGUSR2)
    new = parent.children(2)
    new[0].order("fail for now")
    new[0].is_gone()
    new[1].drains()
    parent.tells("the last change was refused")


@pytest.mark.slow
def test_an_adopted_process_without_signs_of_life_is_killed_and_replaced(make_parent: MakeParent):
    parent = make_parent(SIGN_EVERY="0.01")
    parent.configure(hang=3.0)
    parent.start()
    controller, worker = parent.children(2)
    controller.order("ready")
    worker.order("alive")
    parent.tells("READY=1")
    refuse_upgrade(parent)
    worker.is_gone()
    [another] = parent.children(1)
    another.order("ready")
    parent.signal(signal.SIGTERM)
    for child in (controller, another):
        child.drains()
    status, written = parent.ends()
    assert status == 0
    assert 'why="it gave no sign of life for 3 s"' in written


@pytest.mark.slow
def test_a_process_that_was_starting_during_an_upgrade_becomes_ready(parent: Parent):
    controller, worker = parent.serving()
    worker.order("exit 1")
    [another] = parent.children(1)
    refuse_upgrade(parent)
    another.order("ready")
    parent.tells("STATUS=1 of 1 workers ready")
    parent.signal(signal.SIGTERM)
    for child in (controller, another):
        child.drains()
    assert parent.ends()[0] == 0


@pytest.mark.slow
def test_a_seat_that_was_empty_during_an_upgrade_is_filled(parent: Parent):
    parent.serving(mark="old")[1].order("exit 1")
    for _ in range(2):  # the next would be started after a second
        [another] = parent.children(1)
        another.order("exit 1")
        another.is_gone()
    parent.configure(mark="new")
    parent.signal(signal.SIGUSR2)
    assert sorted(child.born["mark"] for child in parent.children(3)) == ["new", "new", "old"]


WITHOUT_SNAPSHOT = """
import pathlib, sys
for snapshot in pathlib.Path(sys.argv[1]).parent.glob("run/*/configuration*"):
    snapshot.write_text("what only the old version reads")
"""


@pytest.mark.slow
def test_adopted_processes_whose_configuration_cannot_be_read_serve_on(make_parent: MakeParent, port: int):
    parent = make_parent(grace=0.0, TRIAL=WITHOUT_SNAPSHOT)
    old = parent.serving(smtp=[f"127.0.0.1:{port}"])
    parent.configure(mark="new", drain=0.0, smtp=[f"127.0.0.1:{port}"])
    parent.signal(signal.SIGUSR2)
    new = parent.children(2)
    old[1].order("exit 3")
    [another] = parent.children(1)
    assert another.born["mark"] == "new"
    another.order("ready")
    for child in new:
        child.order("ready")
    for child in (old[0], another):
        child.drains()  # within the time that the old configuration gave it
    parent.tells("READY=1")
    [place] = (parent.place / "run").iterdir()
    assert len(list(place.glob("configuration*"))) == 1
    parent.signal(signal.SIGTERM)  # which the new configuration gives no time for
    status, written = parent.ends()
    assert status == 0
    assert "upgraded version=" in written


@pytest.mark.slow
def test_adopted_processes_serve_on_when_no_configuration_can_be_read(make_parent: MakeParent, port: int):
    parent = make_parent(TRIAL=WITHOUT_SNAPSHOT + "pathlib.Path(sys.argv[1]).write_text('half of an edit')")
    old = parent.serving(smtp=[f"127.0.0.1:{port}"])
    parent.signal(signal.SIGUSR2)
    parent.tells("the last change was refused")
    assert greeted_by(port) == "worker0"
    parent.configure(smtp=[f"127.0.0.1:{port}"])
    parent.signal(signal.SIGHUP)
    new = parent.all_ready()
    for child in old:
        child.drains()
    assert greeted_by(port) == "worker1"
    parent.signal(signal.SIGTERM)
    for child in new:
        child.drains()
    assert parent.ends()[0] == 0


@pytest.mark.slow
def test_nobody_takes_the_place_of_an_adopted_process_without_its_sockets(make_parent: MakeParent, port: int):
    """He would be ready, and never hear of anybody."""
    parent = make_parent(TRIAL="import os, sys; os.rename(sys.argv[1] + '.sockets', sys.argv[1] + '.gone')")
    directory = Path(f"{parent.file}.sockets")
    directory.mkdir()
    listen = [f"127.0.0.1:{port}", f"unix:{directory}/smtp"]
    controller, worker = parent.serving(smtp=listen)
    parent.signal(signal.SIGUSR2)
    parent.tells("the last change was refused")
    worker.order("exit 3")
    parent.tells("STATUS=0 of 1 workers ready")
    parent.configure(smtp=listen[:1])
    parent.signal(signal.SIGHUP)
    new = parent.all_ready()
    assert new[1].born["sockets"] == ["smtp.listen"]
    controller.drains()
    parent.signal(signal.SIGTERM)
    for child in new:
        child.drains()
    assert parent.ends()[0] == 0


# --- the configuration ------------------------------------------------------------------------------------------------


def test_the_plan_is_read_from_the_configuration_file(tmp_path: Path):
    file = tmp_path / "gatekeeper.toml"
    file.write_text(
        '[supervisor]\nworkers = 3\ndrain = "10s"\n[servers.milter]\n'
        '[servers.http]\nlisten = ["127.0.0.1:1", "[::1]:1"]\n'
    )
    plan = supervisor.load_plan(str(file), "named")
    assert (plan.workers, plan.settings.drain) == (3, 10)
    assert plan.listen[Role.CONTROLLER] == {
        "http.listen": (read_listen("127.0.0.1:1"), read_listen("[::1]:1")),
    }


def test_the_plan_has_the_files_of_the_certificate(tmp_path: Path):
    file = tmp_path / "gatekeeper.toml"
    file.write_text(
        'relay_domains = ["example.org"]\n[servers.smtp]\nnext_hop = "smtp://127.0.0.1:9"\n'
        '[servers.smtp.tls]\ncertificate = "/c.pem"\nkey = "/k.pem"\n'
    )
    assert supervisor.load_plan(str(file), "named").pair == ("/c.pem", "/k.pem")


@pytest.mark.parametrize("workers", [0, 3])
def test_http_alone_needs_no_workers(tmp_path: Path, workers: int):
    file = tmp_path / "gatekeeper.toml"
    file.write_text(f'[supervisor]\nworkers = {workers}\n[servers.http]\nlisten = ["127.0.0.1:1"]\n')
    assert supervisor.load_plan(str(file), "named").workers == 0


def test_as_many_workers_as_processors_are_the_default(tmp_path: Path):
    file = tmp_path / "gatekeeper.toml"
    file.write_text("")
    assert supervisor.load_plan(str(file), "named").workers == len(os.sched_getaffinity(0))


def test_an_address_may_stand_once(tmp_path: Path):
    file = tmp_path / "gatekeeper.toml"
    file.write_text('[servers.http]\nlisten = ["127.0.0.1:1", "localhost:1"]\n')
    with pytest.raises(ValueError, match=r"gatekeeper\.toml: 127\.0\.0\.1:1 stands in several"):
        supervisor.load_plan(str(file), "/etc/gatekeeper/gatekeeper.toml")
