"""The parent: sockets, workers, signals, systemd. It has no event loop and never speaks to a client.

It opens the sockets, starts a *generation* (workers and one controller, by exec, see wire/process.py) and waits. At a
reload a new generation is started beside the serving one, on the same sockets; when all of it is ready, the old one is
told to drain, and when any of it fails, the old one goes on. What may happen, and where it is answered:

    a signal            -> _hear_signals    SIGHUP reloads, SIGUSR2 upgrades, SIGTERM and SIGINT drain and end, a second
                                            one at once
    a process reports   -> _hear_report     ready, or why it cannot work
    a process ends      -> _bury            expected, or a death: its seat gets another, later each time
    a deadline passes   -> _kill_overdue    not ready, not gone, or without a sign of life, in time
    all of that settled -> _settle          the coming generation takes over, or is given up
"""

from __future__ import annotations

import contextlib
import math
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import FrameType
from typing import Any, Final

import gatekeeper
from gatekeeper import copies, log, metrics
from gatekeeper.config import configuration
from gatekeeper.config.loading import ConfigurationError
from gatekeeper.servers.handover import VARIABLE as HANDOVER_VARIABLE
from gatekeeper.servers.handover import HandedChild, HandedProcess, Handover, take_handover
from gatekeeper.servers.sockets import CannotListen, Sockets
from gatekeeper.servers.systemd import Notifications, take_systemd_sockets
from gatekeeper.wire.listen import ListenAddress, read_listen
from gatekeeper.wire.process import (
    EXIT_CONFIGURATION,
    SIGN_EVERY,
    START_VARIABLE,
    ProcessStart,
    Role,
    Settings,
    read_report,
)

COMMAND: Final = (sys.executable, "-P", "-m", "gatekeeper.app")
TRIAL: Final = (sys.executable, "-P", "-m", "gatekeeper", "config", "check")
GRACE: Final = 5.0
"""Seconds from "end now" to SIGKILL."""
LONG_LIFE: Final = 60.0
"""A process that lived that many seconds was healthy: its next death counts as the first."""
LONGEST_PAUSE: Final = 30.0
TRIAL_SECONDS: Final = 20.0
"""How long the new version may take to read the configuration before it takes over; nothing else is done meanwhile, so
it is well below any WatchdogSec."""
_SIGNALS: Final = (signal.SIGHUP, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
_UNUSABLE: Final = (ConfigurationError, CannotListen, OSError, ValueError)
"""What a configuration raises that cannot be put in force."""
_OURS_ALONE: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


@dataclass(frozen=True, slots=True)
class Plan:
    """What of a configuration concerns the parent. `listen` says which role takes which sockets, by setting. `pair` are
    the files of our certificate and its key.
    """

    settings: Settings
    log: log.Settings
    listen: Mapping[Role, Mapping[str, tuple[ListenAddress, ...]]]
    pair: tuple[str, ...] = ()

    @property
    def workers(self) -> int:
        """None where HTTP is all that is served: the controller does that."""
        if not self.listen.get(Role.WORKER) and any(self.listen.get(Role.CONTROLLER, {}).values()):
            return 0
        return self.settings.workers or len(os.sched_getaffinity(0))

    @property
    def addresses(self) -> list[ListenAddress]:
        return [address for role in self.listen.values() for each in role.values() for address in each]


def load_plan(path: str, named: str) -> Plan:
    """Raises ConfigurationError, or ValueError for addresses that cannot stand together."""
    found = configuration.load(path, named=named)
    listen: dict[Role, dict[str, tuple[ListenAddress, ...]]] = {Role.WORKER: {}, Role.CONTROLLER: {}}
    for server in fields(found.servers):
        settings: Any = getattr(found.servers, server.name)
        role = Role.CONTROLLER if server.name == "http" else Role.WORKER
        for key in fields(settings) if settings is not None else ():
            if key.name.endswith("listen"):
                addresses = tuple(read_listen(text) for text in getattr(settings, key.name))
                listen[role][f"{server.name}.{key.name}"] = addresses
    tls = None if found.servers.smtp is None else found.servers.smtp.tls
    plan = Plan(found.supervisor, found.log, listen, () if tls is None else (tls.certificate, tls.key))
    places = [address.place for address in plan.addresses]
    for place in places:
        if places.count(place) > 1:
            raise ValueError(f"{named}: {place} stands in several listen settings; each server needs its own")
    return plan


class _Refused(Exception):
    """A configuration cannot be put in force. The text is for the operator; `status` is the exit status it deserves."""

    def __init__(self, sentence: str, status: int = EXIT_CONFIGURATION) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(slots=True, eq=False)
class _Child:
    """A living process. It is killed at `deadline` (monotonic time); `told` is whether it was told to end."""

    slot: str
    process: subprocess.Popen[bytes] | HandedProcess
    started: float
    deadline: float
    report: int | None  # our end of its ready pipe, as long as it has the other
    heard: bytearray = field(default_factory=bytearray)
    ready: bool = False
    sign: float = math.inf  # when the last sign of life came; infinity for one that gives none
    hang: float = math.inf  # seconds without a sign of life after which it counts as dead
    told: bool = False
    why: str = ""  # it cannot work: its own sentence, or ours
    refused: bool = False  # the sentence is its own, about the configuration


@dataclass(slots=True, eq=False)
class _Seat:
    """A process that a generation has to have. Between two of them, `due` is when the next is started."""

    role: Role
    child: _Child | None = None
    deaths: int = 0
    due: float = math.inf


@dataclass(slots=True, eq=False)
class _Generation:
    """The processes of one configuration."""

    plan: Plan
    snapshot: Path
    seats: list[_Seat]

    @property
    def children(self) -> list[_Child]:
        return [seat.child for seat in self.seats if seat.child is not None]


def run(path: str) -> int:
    """Serve by that configuration file until told to stop; the exit status of `gatekeeper run`."""
    return Supervisor(path).run()


class Supervisor:
    """`command` and `load` are exchanged by tests. One for each process, in its main thread; it runs once."""

    def __init__(
        self,
        path: str,
        *,
        command: Sequence[str] = COMMAND,
        load: Callable[[str, str], Plan] = load_plan,
        trial: Sequence[str] = TRIAL,
        environment: MutableMapping[str, str] = os.environ,
    ) -> None:
        self._path = path
        self._command = tuple(command)
        self._load = load
        self._trial = tuple(trial)
        self._environment = environment
        self._systemd = Notifications(environment)
        self._sockets = Sockets()
        self._selector = selectors.DefaultSelector()
        self._children: list[_Child] = []
        self._serving: _Generation | None = None
        self._coming: _Generation | None = None
        self._snapshots = 0
        self._reload_wanted = False
        self._upgrade_wanted = False
        self._handed: Handover | None = None
        self._stops = 0
        self._refused: _Refused | None = None
        self._last_reload = ""

    def run(self) -> int:
        try:
            self._handed = take_handover(self._environment)
            self._sockets = self._taken_sockets()
            with self._directory(), self._lifeline(), self._signals():
                if self._handed is not None:
                    self._adopt(self._handed)
                self._begin()
                while self._children or not self._stops:
                    self._turn()
        except (_Refused, CannotListen, ValueError) as refused:
            self._refused = refused if isinstance(refused, _Refused) else _Refused(str(refused))
        finally:
            self._sockets.close()
            self._selector.close()
        if self._refused is not None:
            sys.stderr.write(f"gatekeeper: {self._refused}\n")
            return self._refused.status
        log.event("stopped", process="supervisor")
        return 0

    # --- one turn ----------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Wait until something happens, and answer it."""
        self._systemd.tell_status(self._status())
        self._hear(self._next_deadline() - time.monotonic())
        self._kill_overdue()
        for child in [each for each in self._children if each.process.poll() is not None]:
            self._bury(child)
        # Here, where all signs of life are read: what follows may take long, and they wait in their pipes meanwhile.
        self._systemd.sign_of_life(alive=self._alive())
        if not self._stops:
            self._settle()
            self._fill_seats()
            if self._reload_wanted and self._coming is None:
                self._reload()
            if self._upgrade_wanted and self._coming is None:
                self._upgrade()

    def _hear(self, seconds: float) -> None:
        """Wait that long for somebody to say something, and hear everybody who does."""
        for key, _ in self._selector.select(max(0.0, seconds)):
            key.data()

    def _next_deadline(self) -> float:
        deadlines = [child.deadline for child in self._children]
        deadlines += [seat.due for seat in self._serving.seats] if self._serving and not self._stops else []
        return min([*deadlines, self._systemd.next_sign, time.monotonic() + 60.0])

    def _hear_signals(self, wakeup: socket.socket) -> None:
        for number in wakeup.recv(4096):
            if number == signal.SIGHUP:
                self._reload_wanted = True
            elif number == signal.SIGUSR2:
                self._upgrade_wanted = True
            elif number in {signal.SIGTERM, signal.SIGINT}:
                self._stop()

    def _hear_report(self, child: _Child) -> None:
        """Its report ends with the first line, or with the pipe; what comes after it are signs of life."""
        if child.report is None:
            return
        chunk = os.read(child.report, 65536)
        if child.ready:
            self._hear_sign(child, chunk)
            return
        child.heard += chunk
        if not chunk or b"\n" in child.heard or len(child.heard) >= 65536:
            self._take_report(child)

    def _hear_sign(self, child: _Child, chunk: bytes) -> None:
        """It lives until `hang` from now; one that closes the pipe gives no signs, and is believed."""
        if not chunk:
            self._end_report(child)
        child.sign = time.monotonic() if chunk else math.inf
        if not child.told:
            child.deadline = child.sign + child.hang

    def _end_report(self, child: _Child) -> None:
        if child.report is not None:
            self._selector.unregister(child.report)
            os.close(child.report)
            child.report = None

    def _take_report(self, child: _Child) -> None:
        if child.report is None or child.ready:
            return
        first, newline, _ = bytes(child.heard).partition(b"\n")
        line = first + newline
        failed = read_report(line)
        if failed is None:
            child.ready = True
            self._hear_sign(child, line)
        else:
            self._end_report(child)
            child.why = child.why or (failed.sentence if line else "")
            child.refused = line.startswith(b"failed: ")
            if child.refused:
                child.deadline = min(child.deadline, time.monotonic() + GRACE)  # it ends by itself, in good order
            else:
                self._tell(child, GRACE)

    def _kill_overdue(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if child.deadline <= now:
                late = f"it gave no sign of life for {child.hang:.0f} s" if child.ready else "it was not ready in time"
                child.why = child.why or ("" if child.told else late)
                child.deadline = math.inf
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.process.pid, signal.SIGKILL)

    def _bury(self, child: _Child) -> None:
        with contextlib.suppress(BlockingIOError):  # it may have said why; a process of its own may hold the pipe open
            while child.report is not None:
                self._hear_report(child)
        self._take_report(child)
        self._end_report(child)
        self._children.remove(child)
        metrics.forget_gauges(self._metrics, child.slot)
        facts: dict[str, Any] = {"process": child.slot, "pid": child.process.pid, "status": child.process.returncode}
        seat = self._seat(child)
        if seat is None or self._stops:
            log.event("stopped", **facts)
            return
        seat.child = None
        lived = time.monotonic() - child.started
        seat.deaths = 1 if child.ready and lived >= LONG_LIFE else seat.deaths + 1
        seat.due = time.monotonic() + _pause(seat.deaths)
        why = child.why or f"it ended with {_status_words(child.process.returncode or 0)}"
        log.event("worker_died", level=40, why=why, **facts)
        if self._coming is not None and seat in self._coming.seats:
            by_configuration = child.refused or child.process.returncode == EXIT_CONFIGURATION
            sentence = why if child.refused else f"{child.slot} could not start: {why}"
            self._give_up(_Refused(sentence, EXIT_CONFIGURATION if by_configuration else 1))
        else:
            self._counters.worker_restarts.inc()

    def _seat(self, child: _Child) -> _Seat | None:
        generations = [each for each in (self._serving, self._coming) if each is not None]
        return next((seat for each in generations for seat in each.seats if seat.child is child), None)

    def _settle(self) -> None:
        """The coming generation takes over once every process of it is ready."""
        coming, old = self._coming, self._serving
        if coming is None or len(coming.children) < len(coming.seats) or not all(c.ready for c in coming.children):
            return
        self._serving, self._coming = coming, None
        if old is not None:
            log.setup(coming.plan.log)
        self._sockets.keep(coming.plan.addresses)
        self._sockets.close_handed()
        self._log_sockets(coming.plan)
        if old is None:
            log.event("started", process="supervisor", version=gatekeeper.__version__, workers=coming.plan.workers)
        else:
            for child in old.children:
                self._tell(child, old.plan.settings.drain + GRACE)
            _forget(old.snapshot)
            self._last_reload = ""
            self._counters.reloads["loaded"].inc()
            log.event("reloaded", config=self._path, workers=coming.plan.workers)
        self._systemd.tell_ready()

    def _fill_seats(self) -> None:
        serving = self._serving
        if serving is None:
            return
        for seat in serving.seats:
            if seat.child is None and seat.due <= time.monotonic():
                seat.due = math.inf
                if not serving.plan.listen:  # of adopted processes whose sockets are not known: it would hear of nobody
                    continue
                try:
                    self._start(seat, serving)
                except OSError as error:
                    log.event("worker_died", level=40, process=seat.role.value, why=f"it cannot be started: {error}")
                    seat.deaths += 1
                    seat.due = time.monotonic() + _pause(seat.deaths)

    # --- what may be asked of it -------------------------------------------------------------------------------------

    def _reload(self) -> None:
        self._reload_wanted = False
        self._systemd.tell_reloading()
        self._begin()

    def _upgrade(self) -> None:
        """Let the program that is installed now take our place, if it can read the configuration; it keeps our pid.

        Its first act is a reload: our processes serve until its own are ready.
        """
        self._upgrade_wanted = False
        serving = self._serving
        if serving is None:
            return
        # Neither has a slot for metrics, and both would make files of their own that nobody removes.
        environment = {key: value for key, value in self._environment.items() if key != metrics.DIRECTORY_VARIABLE}
        trial = [*self._trial, self._path]
        try:
            tried = subprocess.run(  # noqa: S603  our own program
                trial,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env=environment,
                timeout=TRIAL_SECONDS,
                check=False,
            )
            why = "" if tried.returncode == 0 else tried.stderr.decode("utf-8", "replace").strip() or "it does not run"
        except (OSError, subprocess.TimeoutExpired) as error:
            why = str(error)
        if why:
            self._last_reload = why
            log.event("upgrade_refused", level=40, why=why)
            return
        # Until the new program listens to signals they wait; their default would be its end.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        self._hear(0.0)  # what came during the trial; nobody would read it after this
        if self._stops:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            return
        self._systemd.sign_of_life_now(alive=self._alive())  # the new program's start takes its time
        handover = self._handover(serving)
        log.event("upgrading", version=gatekeeper.__version__)
        self._systemd.tell_reloading()
        for number in handover.descriptors():
            os.set_inheritable(number, True)
        try:
            os.execve(  # noqa: S606  our own program
                sys.executable,
                [sys.executable, *sys.orig_argv[1:]],
                {**environment, HANDOVER_VARIABLE: handover.to_json()},
            )
        except OSError as error:
            for number in handover.descriptors():
                os.set_inheritable(number, False)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            log.event("upgrade_refused", level=40, why=str(error))
            self._systemd.tell_ready()

    def _handover(self, serving: _Generation) -> Handover:
        ours, systemd = self._sockets.to_hand_over()
        of_serving = {child.slot: seat.role.value for seat in serving.seats if (child := seat.child) is not None}
        return Handover(
            sockets=ours,
            systemd=systemd,
            lifeline=(self._lifeline_end, self._lifeline_ours),
            place=str(self._place),
            snapshot=str(serving.snapshot),
            snapshots=self._snapshots,
            drain=serving.plan.settings.drain,
            children=tuple(
                HandedChild(
                    child.slot,
                    of_serving.get(child.slot, ""),
                    child.process.pid,
                    child.slot in of_serving,
                    child.report,
                    child.ready,
                )
                for child in self._children
            ),
        )

    def _adopt(self, handed: Handover) -> None:
        """Take over the processes of the version before us: they serve until ours are ready."""
        self._snapshots = handed.snapshots
        snapshot, plan, why = self._adopted_plan(handed)
        generation = _Generation(plan, snapshot, [])
        for each in handed.children:
            child = self._adopted_child(each, plan.settings)
            if each.serving:
                generation.seats.append(_Seat(Role(each.role), child))
        # Seats that were empty in the moment of the upgrade: their processes had died.
        for role, number in ((Role.CONTROLLER, 1), (Role.WORKER, plan.workers)):
            there = sum(seat.role is role for seat in generation.seats)
            generation.seats += [_Seat(role, due=time.monotonic()) for _ in range(number - there)]
        self._serving = generation
        log.setup(plan.log)
        facts: dict[str, Any] = {"why": why} if why else {}
        log.event("upgraded", version=gatekeeper.__version__, **facts)
        self._systemd.sign_of_life_now(alive=self._alive())

    def _adopted_child(self, handed: HandedChild, settings: Settings) -> _Child:
        """It is given the time from now on that its seat, or its end, would have given it from the start."""
        now = time.monotonic()
        child = _Child(handed.slot, HandedProcess(handed.pid), now, math.inf, handed.report, ready=handed.ready)
        child.told = not handed.serving
        self._children.append(child)
        if child.told:
            child.deadline = now + settings.drain + GRACE
        elif not child.ready:
            child.deadline = now + settings.start
        if child.report is not None:
            os.set_inheritable(child.report, False)
            child.hang = settings.hang
            self._watch_report(child, child.report)
            if child.ready:
                self._hear_sign(child, b"adopted")
        return child

    def _watch_report(self, child: _Child, report: int) -> None:
        self._selector.register(report, selectors.EVENT_READ, lambda: self._hear_report(child))

    def _adopted_plan(self, handed: Handover) -> tuple[Path, Plan, str]:
        """By what the adopted processes are kept; if it is not their own configuration, then why not.

        Theirs may be one that only the version before us can read. The file as it is now was read in the trial; where
        that fails as well, they serve without successors until a reload brings them.
        """
        snapshot = Path(handed.snapshot)
        try:
            plan = self._loaded(snapshot)
        except _UNUSABLE as error:
            why = str(error)
        else:
            return snapshot, plan, ""
        workers = sum(child.serving and child.role == Role.WORKER.value for child in handed.children)
        try:
            snapshot, plan = self._planned()
        except _UNUSABLE:
            plan = Plan(Settings(workers=workers), log.Settings(), {})
        else:
            _forget(Path(handed.snapshot))
        drain = plan.settings.drain if handed.drain is None else handed.drain  # what they were started with
        return snapshot, replace(plan, settings=replace(plan.settings, drain=drain)), why

    def _taken_sockets(self) -> Sockets:
        handed = self._handed
        if handed is None:
            return Sockets(take_systemd_sockets(self._environment, pid=os.getpid()))
        return Sockets(
            {name: [_taken(number) for number in numbers] for name, numbers in handed.systemd.items()},
            {place: [_taken(number) for number in numbers] for place, numbers in handed.sockets.items()},
        )

    def _stop(self) -> None:
        """The first time let sessions end, the second time end them."""
        self._stops += 1
        log.event("stopping", process="supervisor", at_once=self._stops > 1)
        self._systemd.tell_stopping()
        self._sockets.close()  # who connects from now on is refused, and tries another of our hosts
        plan = self._serving.plan if self._serving is not None else None
        drain = plan.settings.drain if plan is not None else 0.0
        for child in self._children:
            if self._stops > 1:
                self._tell(child, GRACE)
            elif not child.told:  # one that is draining already would take it for the second time
                self._tell(child, drain + GRACE)

    def _tell(self, child: _Child, seconds: float) -> None:
        """Send SIGTERM; SIGKILL follows after that time."""
        child.deadline = min(time.monotonic() + seconds, child.deadline if child.told else math.inf)
        child.told = True
        child.process.terminate()

    # --- generations -------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Start a generation by what the configuration file says now; `_settle` lets it take over."""
        try:
            snapshot, plan = self._planned()
        except _UNUSABLE as error:
            self._give_up(_Refused(str(error)))
            return
        if self._serving is None:
            log.setup(plan.log)
        roles = [Role.CONTROLLER] + [Role.WORKER] * plan.workers
        self._coming = _Generation(plan, snapshot, [_Seat(role) for role in roles])
        try:
            for seat in self._coming.seats:
                self._start(seat, self._coming)
        except OSError as error:
            self._give_up(_Refused(f"a process cannot be started: {error}", 1))

    def _planned(self) -> tuple[Path, Plan]:
        """A snapshot of the configuration file, read, with its sockets open. Raises what is in _UNUSABLE."""
        self._snapshots += 1
        snapshot = self._place / f"configuration{self._snapshots}.toml"
        try:
            self._copy_configuration(snapshot)
            plan = self._loaded(snapshot)
        except _UNUSABLE:
            _forget(snapshot)
            raise
        return snapshot, plan

    def _loaded(self, snapshot: Path) -> Plan:
        with copies.beside(snapshot, making=True):
            plan = self._load(str(snapshot), self._path)
            if self._environment.get("RUNTIME_DIRECTORY"):  # which systemd removes after us, however we end
                for file in plan.pair:
                    copies.readable(file)
        self._sockets.open(plan.addresses)
        return plan

    def _copy_configuration(self, snapshot: Path) -> None:
        try:
            content = Path(self._path).read_bytes()
        except OSError:
            self._load(self._path, self._path)  # it says better what is wrong, and what to do
            raise
        snapshot.write_bytes(content)

    def _give_up(self, refused: _Refused) -> None:
        """The coming generation cannot work: at a reload keep the serving one, at the start end."""
        coming, self._coming = self._coming, None
        if coming is not None:
            _forget(coming.snapshot)
            for child in coming.children:  # who was ready has taken mail
                self._tell(child, GRACE + (coming.plan.settings.drain if child.ready else 0.0))
        if self._serving is None:
            self._refused = refused
            self._stops = max(self._stops, 1)
            return
        self._sockets.keep(self._serving.plan.addresses)
        self._last_reload = str(refused)
        self._counters.reloads["kept"].inc()
        log.event("reload_refused", level=40, config=self._path, why=str(refused))
        self._systemd.tell_ready()

    def _start(self, seat: _Seat, generation: _Generation) -> None:
        """Raises OSError when the system has no room for another process."""
        taken = {child.slot for child in self._children}
        slot = next(name for n in range(len(taken) + 1) if (name := f"{seat.role.value}{n}") not in taken)
        report, ready = os.pipe()
        sockets = {
            name: tuple(number for address in addresses for number in self._sockets.numbers(address))
            for name, addresses in generation.plan.listen.get(seat.role, {}).items()
        }
        start = ProcessStart(
            role=seat.role,
            config_path=self._path,
            snapshot=str(generation.snapshot),
            slot=slot,
            workers=generation.plan.workers,
            ready_fd=ready,
            lifeline_fd=self._lifeline_end,
            metrics_directory=str(self._metrics),
            drain=generation.plan.settings.drain,
            sockets=sockets,
        )
        environment = {key: value for key, value in self._environment.items() if key not in _OURS_ALONE}
        environment |= {START_VARIABLE: start.to_json(), metrics.SLOT_VARIABLE: slot}
        environment[metrics.DIRECTORY_VARIABLE] = str(self._metrics)
        try:
            process = subprocess.Popen(  # noqa: S603  our own program
                self._command,
                stdin=subprocess.DEVNULL,
                env=environment,
                pass_fds=(ready, self._lifeline_end, *(number for each in sockets.values() for number in each)),
                process_group=0,  # what a terminal sends is for us alone
            )
        except BaseException:
            os.close(report)
            raise
        finally:
            os.close(ready)
        os.set_blocking(report, False)
        now = time.monotonic()
        settings = generation.plan.settings
        child = _Child(slot, process, started=now, deadline=now + settings.start, report=report, hang=settings.hang)
        self._watch_report(child, report)
        self._children.append(child)
        seat.child = child
        log.event("worker_started", process=slot, pid=process.pid)

    def _log_sockets(self, plan: Plan) -> None:
        for servers in plan.listen.values():
            for name, addresses in servers.items():
                for address in addresses:
                    for bound in self._sockets.bound(address):
                        log.event("listening", server=name, address=bound)

    def _workers(self) -> list[_Child]:
        """Those of the serving generation that have become ready; the controller where it does all the work."""
        if self._serving is None:
            return []
        role = Role.WORKER if self._serving.plan.workers else Role.CONTROLLER
        found = [seat.child for seat in self._serving.seats if seat.role is role and seat.child is not None]
        return [child for child in found if child.ready]

    def _ready_workers(self) -> int:
        return len(self._workers())

    def _living_workers(self) -> int:
        """Those whose canary has sung not long ago: a worker may be ready and yet do nothing any more."""
        return sum(time.monotonic() - child.sign < 3 * SIGN_EVERY for child in self._workers())

    def _alive(self) -> bool:
        """Whether systemd should let us be."""
        return self._stops > 0 or self._living_workers() > 0

    def _status(self) -> str:
        """The line that `systemctl status` shows."""
        if self._stops:
            return f"stopping: {len(self._children)} processes let their sessions end"
        if self._serving is None:
            return "starting"
        workers = self._serving.plan.workers
        text = f"{self._ready_workers()} of {workers} workers ready" if workers else "HTTP alone is served: no workers"
        if self._coming is not None:
            return text + "; reloading"
        return text + (f"; the last change was refused: {self._last_reload}" if self._last_reload else "")

    # --- what it needs while it runs ---------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _directory(self) -> Iterator[None]:
        """A private directory for metrics and snapshots, in systemd's RuntimeDirectory= where there is one."""
        parent = self._environment.get("RUNTIME_DIRECTORY", "").split(":")[0] or None
        try:
            if self._handed is not None:
                self._place = Path(self._handed.place)
            else:
                self._place = Path(tempfile.mkdtemp(prefix="gatekeeper-", dir=parent))
        except OSError as error:
            raise _Refused(
                f"no directory for metrics can be made in {parent or tempfile.gettempdir()}: {error}"
            ) from None
        try:
            self._metrics = self._place / "metrics"
            self._metrics.mkdir(exist_ok=True)
            if self._handed is not None:
                metrics.forget_unslotted(self._metrics)
            self._counters = metrics.supervisor_counters(self._metrics)
            yield
        finally:
            shutil.rmtree(self._place, ignore_errors=True)

    @contextlib.contextmanager
    def _lifeline(self) -> Iterator[None]:
        """A pipe whose other end only we have: it ends when we do, however we do."""
        self._lifeline_end, self._lifeline_ours = self._handed.lifeline if self._handed is not None else os.pipe()
        for number in (self._lifeline_end, self._lifeline_ours):
            os.set_inheritable(number, False)
        try:
            yield
        finally:
            os.close(self._lifeline_ours)
            os.close(self._lifeline_end)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Signals become bytes that `select` wakes up for, so that none is lost between two turns."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            theirs.setblocking(False)
            before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
            handlers = {number: signal.signal(number, _awake) for number in _SIGNALS}
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)  # they wait for us after an upgrade
            self._selector.register(ours, selectors.EVENT_READ, lambda: self._hear_signals(ours))
            try:
                yield
            finally:
                self._selector.unregister(ours)
                for number, former in handlers.items():
                    signal.signal(number, former)
                signal.set_wakeup_fd(before)


def _forget(snapshot: Path) -> None:
    snapshot.unlink(missing_ok=True)
    copies.forget(snapshot)


def _taken(number: int) -> socket.socket:
    os.set_inheritable(number, False)
    return socket.socket(fileno=number)


def _awake(_number: int, _frame: FrameType | None) -> None:
    """Nothing: the byte in the wake-up socket says it. Without it the signal would end us."""


def _pause(deaths: int) -> float:
    """Seconds until a seat gets another process: none after its first death, then twice as many each time."""
    return 0.0 if deaths <= 1 else min(LONGEST_PAUSE, 0.5 * 2.0 ** min(deaths - 2, 10))


def _status_words(status: int) -> str:
    return f"status {status}" if status >= 0 else f"signal {signal.Signals(-status).name}"
