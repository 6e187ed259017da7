"""Builds and wires every object of one process. START READING HERE.

The supervisor starts `python -m gatekeeper.app` once for each worker, which takes mail, and once as the controller,
which answers HTTP (gatekeeper/wire/process.py says what both sides agree on). `check_message` judges one message
with the same parts, for `gatekeeper check`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import math
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, cast

from gatekeeper import copies, log, metrics
from gatekeeper.checks.base import Closes, Tools
from gatekeeper.checks.rules import Rules
from gatekeeper.classifier.counting import keep_counting
from gatekeeper.complaints.dmarc_evidence import Evidence
from gatekeeper.complaints.dmarc_sending import Reports, relayed
from gatekeeper.config import configuration as config
from gatekeeper.config.configuration import Configuration
from gatekeeper.config.loading import ConfigurationError
from gatekeeper.dns.desk import Desk
from gatekeeper.dns.fresh import Fresh
from gatekeeper.dns.resolver import AiodnsResolver
from gatekeeper.gate import LiveGate, table_of
from gatekeeper.mailauth.signing import Signer, SigningUnusable
from gatekeeper.model import Address, IPAddress
from gatekeeper.nexthop import CannotVerify, NextHop, NextHopGone, NextHopUrl
from gatekeeper.pipeline import TABLE
from gatekeeper.policy import Policy
from gatekeeper.records.answer import CheckResult
from gatekeeper.records.writer import Recorder
from gatekeeper.servers.canary import Canary, NothingKnown
from gatekeeper.servers.checking import Told, check
from gatekeeper.servers.http import HttpServer
from gatekeeper.servers.milter import MilterServer
from gatekeeper.servers.overload import Level, Overload, keep_looking, look
from gatekeeper.servers.peers import Peers
from gatekeeper.servers.policy_service import PolicyServer
from gatekeeper.servers.relay_guard import OpenRelay, RelayGuard
from gatekeeper.servers.sessions import SessionServer
from gatekeeper.servers.smtp_server import SmtpServer
from gatekeeper.servers.tls import TlsUnusable
from gatekeeper.store.base import Store, StoreUnusable
from gatekeeper.store.fallback import Fallback
from gatekeeper.store.memory import MemoryStore
from gatekeeper.store.opening import is_there, open_store
from gatekeeper.watch import Messenger, Watch, listed_targets
from gatekeeper.wire.process import (
    EXIT_CONFIGURATION,
    SIGN_EVERY,
    ProcessStart,
    Role,
    alive_line,
    failed_line,
    ready_line,
)

PROBE_SECONDS = 3.0
"""How long we wait for the next hop's capabilities before we listen without them."""
WATCH_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Parts:
    """What judging needs, whoever asks. `close` ends what has an end."""

    configuration: Configuration
    resolver: AiodnsResolver
    store: Store
    recorder: Recorder
    policy: Policy
    gate: LiveGate
    desk: Desk
    evidence: Evidence | None

    def works(self) -> list[Coroutine[object, object, None]]:
        """What goes on beside the sessions, without an end of its own."""
        found = [self.recorder.run(), self.gate.run()]
        return found if self.evidence is None else [*found, self.evidence.run()]

    async def close(self) -> None:
        """Each in its turn, whatever the others do: a bug in one must not cost the records of the last second."""
        async with contextlib.AsyncExitStack() as last_first:
            last_first.push_async_callback(self.resolver.close)
            last_first.push_async_callback(self.store.close)
            last_first.push_async_callback(self.recorder.flush)
            if self.evidence is not None:
                last_first.push_async_callback(self.evidence.flush)
            last_first.push_async_callback(self.gate.close)
            last_first.push_async_callback(self.gate.flush)


def assemble(
    configuration: Configuration,
    store: Store,
    *,
    clock: Callable[[], float] = time.time,
    signer: Signer | None = None,
) -> Parts:
    """The resolver, the checks, the policy and the gate, around that store. Needs a running loop.

    Without a `signer` nothing is signed or sealed.
    """
    content = configuration.check(Rules.name)
    if isinstance(content, Rules) and content.ruleset.left_out:
        log.event("rules_left_out", level=logging.WARNING, rules=len(content.ruleset.left_out))
    resolver = AiodnsResolver(configuration.dns)
    domains, policy = frozenset(configuration.relay_domains), policy_of(configuration)
    recorder = Recorder(store, clock, configuration.records)
    desk = Desk(resolver, hurry=configuration.dns.hurry)
    for metric in (metrics.LIST_SECONDS, metrics.LIST_ANSWERS):
        metric.declare([target.name for target in listed_targets(configuration.checks)])
    reports = configuration.complaints.dmarc
    evidence = Evidence(store, clock, reports) if reports.email else None
    gate = LiveGate(
        table=table_of(TABLE, {type(check): check for check in configuration.checks}),
        policy=policy,
        tools=Tools(resolver, store, clock, configuration.hostname, domains, desk),
        recorder=recorder,
        settings=configuration.gate,
        edit_settings=configuration.message.edit,
        evidence=evidence,
        signer=signer,
    )
    return Parts(configuration, resolver, store, recorder, policy, gate, desk, evidence)


def watch_of(parts: Parts, *, clock: Callable[[], float] = time.time) -> Watch:
    """Who tests the lists and the nameservers."""
    settings = parts.configuration.dns

    async def fresh() -> Fresh:
        return Fresh(await parts.resolver.nameservers(), timeout=settings.timeout)

    return Watch(
        listed_targets(parts.configuration.checks),
        fresh,
        desk=parts.desk,
        store=parts.store,
        recorder=parts.recorder,
        clock=clock,
        lists_every=settings.lists_test_every,
        resolver_every=settings.test_every,
    )


async def _health(parts: Parts) -> Watch | Messenger:
    """What keeps a worker's desk informed. Where nothing is shared, the worker tests for itself."""
    if parts.configuration.store.url.startswith("memory:"):
        return watch_of(parts)
    messenger = Messenger(parts.desk, parts.store, time.time)
    await messenger.turn()  # before the first mail
    return messenger


def policy_of(configuration: Configuration) -> Policy:
    """The policy with the rules of every check that is switched on."""
    rules = [rule for check in configuration.checks for rule in check.rules()]
    return Policy(configuration.policy, rules, domains=frozenset(configuration.relay_domains))


# --- a worker ----------------------------------------------------------------------------------------------------


class Unfit(Exception):
    """The process cannot work as configured; the text is one sentence for the operator."""


async def worker(start: ProcessStart, configuration: Configuration) -> None:
    """Take mail until told to stop; returns when every session has ended or `drain` is over. Raises Unfit."""
    signer = _signer(configuration)
    store_up = asyncio.Event()
    store = _opened(configuration, start.slot, on_change=lambda up: store_up.set() if up else store_up.clear())
    parts = assemble(configuration, store, signer=signer)
    next_hop = _next_hop(configuration, start.workers)
    try:
        servers = _servers(configuration, parts, next_hop, start.workers)
        smtp = servers.get("smtp")
        guard = smtp.guard if isinstance(smtp, SmtpServer) else None
        overloads = [server.overload for server in servers.values()]
        if next_hop is not None and guard is not None:
            await _look_at_next_hop(next_hop, guard)
        health = await _health(parts)
        look(overloads, late=0.0, now=asyncio.get_running_loop().time())  # before the first client
        async with _until_told_to_stop(start) as stopping:
            listeners = []
            for name, server in servers.items():
                for entrance in server.entrances:
                    taken = [socket.socket(fileno=fd) for fd in start.sockets.get(f"{name}.{entrance}", ())]
                    listeners += taken
                    await server.start(taken, entrance)
            metrics.READY.declare(metrics.PARTS)  # and not before: until it is ready, others serve
            _tell_parts(next_hop, guard, overloads, store_up)
            _ready(start)
            works = [
                *parts.works(),
                _keep_watch(next_hop, guard, overloads, store_up),
                keep_looking(overloads),
                health.run(),
                _give_signs(start, _canary(configuration, parts.policy).sing),
                _time_the_loop(),
            ]
            async with _alongside(*works) as fate:
                await _first(stopping.first.wait(), fate)
                log.event("stopping", slot=start.slot)
                for server in servers.values():
                    await server.stop_accepting()
                for listener in listeners:
                    listener.close()
                await _first(_drain(servers.values(), start.drain), stopping.second.wait())
                await _drain(servers.values(), 0.0)
    finally:
        if next_hop is not None:
            await next_hop.close()
        await parts.close()


def _next_hop(configuration: Configuration, workers: int) -> NextHop | None:
    """Where the SMTP server relays to, with this worker's share of its connections. Raises Unfit."""
    if configuration.servers.smtp is None:
        return None
    share = math.ceil(configuration.nexthop.max_connections / workers)
    try:
        return NextHop(
            NextHopUrl.parse(configuration.servers.smtp.next_hop),
            replace(configuration.nexthop, max_connections=share),
            hostname=configuration.hostname,
        )
    except CannotVerify as error:
        raise Unfit(str(error)) from error


def _servers(
    configuration: Configuration, parts: Parts, next_hop: NextHop | None, workers: int
) -> dict[str, SessionServer[Any]]:
    """The servers that the configuration opens, by the name of their section. Raises Unfit when there is none."""
    servers: dict[str, SessionServer[Any]] = {}
    if configuration.servers.smtp is not None and next_hop is not None:
        try:
            servers["smtp"] = SmtpServer(
                configuration.servers.smtp,
                gate=parts.gate,
                next_hop=next_hop,
                hostname=configuration.hostname,
                relay_domains=frozenset(configuration.relay_domains),
                workers=workers,
            )
        except TlsUnusable as unusable:
            raise Unfit(str(unusable)) from unusable
    if configuration.servers.milter is not None:
        servers["milter"] = MilterServer(configuration.servers.milter, gate=parts.gate, workers=workers)
    if (policy_service := configuration.servers.policy_service) is not None:
        servers["policy_service"] = PolicyServer(policy_service, gate=parts.gate, store=parts.store, workers=workers)
    if not servers:
        raise Unfit("the configuration opens no server that takes mail: add a section such as [servers.smtp]")
    return servers


async def _drain(servers: Iterable[SessionServer[Any]], seconds: float) -> None:
    await asyncio.gather(*(server.drain(seconds) for server in servers))


def _signer(configuration: Configuration) -> Signer | None:
    """Our keys; None where there are none. Raises Unfit."""
    try:
        return Signer.of(configuration.mailauth.signing)
    except SigningUnusable as unusable:
        raise Unfit(str(unusable)) from unusable


def _opened(
    configuration: Configuration, process: str | None = None, on_change: Callable[[bool], None] = lambda _: None
) -> Store:
    """The store as configured; `on_change` hears whether it answers, and `process` says so in the log. Raises Unfit."""
    try:
        store = open_store(configuration.store, on_change=on_change, process=process)
    except StoreUnusable as unusable:
        raise Unfit(str(unusable)) from unusable
    on_change(True)
    return store


async def _look_at_next_hop(next_hop: NextHop, guard: RelayGuard) -> None:
    """What it offers, and whether it would relay for strangers, before we take anything. Raises Unfit for a relay."""
    with contextlib.suppress(TimeoutError, NextHopGone):
        async with asyncio.timeout(PROBE_SECONDS):
            await next_hop.probe()
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await guard.probe()
    except TimeoutError:
        pass  # every RCPT is answered 451 until the watch has an answer
    except OpenRelay as relay:
        raise Unfit(str(relay)) from relay


def _tell_parts(
    next_hop: NextHop | None, guard: RelayGuard | None, overloads: Sequence[Overload], store_up: asyncio.Event
) -> None:
    metrics.READY["store"].set(store_up.is_set())
    metrics.READY["relay_probe"].set(guard is None or guard.sure)
    metrics.READY["next_hop"].set(next_hop is None or next_hop.answering)
    metrics.READY["room"].set(all(each.level < Level.OVERWHELMED for each in overloads))


async def _keep_watch(
    next_hop: NextHop | None, guard: RelayGuard | None, overloads: Sequence[Overload], store_up: asyncio.Event
) -> None:
    """Repeat the relay probe when it is time, and tell monitoring how things stand."""
    loop = asyncio.get_running_loop()
    while True:
        if guard is not None:
            await guard.keep(loop.time(), None if next_hop is None else next_hop.capabilities)
        _tell_parts(next_hop, guard, overloads, store_up)
        await asyncio.sleep(WATCH_SECONDS)


def _canary(configuration: Configuration, policy: Policy) -> Canary:
    """One with checks and policy as configured, and a memory of its own in the place of DNS and store.

    Its checks are copies: they keep in mind what stores have told them, and that store knows nothing. Those that hold
    something of the world outside are left out: a scanner that says nothing is no reason to start us again.
    """
    store, domains = MemoryStore(), frozenset(configuration.relay_domains)
    checks = [replace(cast("Any", each)) for each in configuration.checks if not isinstance(each, Closes)]
    gate = LiveGate(
        table=table_of(TABLE, {type(each): each for each in checks}),
        policy=policy,
        tools=Tools(NothingKnown(), store, time.time, configuration.hostname, domains),
        recorder=Recorder(store, time.time, configuration.records),
        settings=configuration.gate,
        edit_settings=configuration.message.edit,
        counts=False,
    )
    return Canary(gate, configuration.hostname, time.time)


# --- the controller ----------------------------------------------------------------------------------------------


async def controller(start: ProcessStart, configuration: Configuration) -> None:
    """Answer HTTP and test the DNS lists until told to stop; messages to be checked are judged here. Raises Unfit."""
    directory = Path(start.metrics_directory)
    if start.workers:
        parts, able = assemble(configuration, _opened(configuration, start.slot)), None
    else:  # it does all the work, so it is what has to be ready and able
        parts = assemble(configuration, _opened(configuration, start.slot, on_change=_tell_store))
        able = _canary(configuration, parts.policy).sing
    try:
        server = _http_server(configuration, parts, directory)
        async with _until_told_to_stop(start) as stopping:
            if server is not None:
                await server.start([socket.socket(fileno=fd) for fd in start.sockets.get("http.listen", ())])
            _ready(start)
            counting = keep_counting(parts.store, time.time)
            others = (counting, _give_signs(start, able), _time_the_loop())
            async with _alongside(*parts.works(), watch_of(parts).run(), *others) as fate:
                await _first(stopping.first.wait(), fate)
                log.event("stopping", slot=start.slot)
                if server is not None:
                    await _first(server.drain(start.drain), stopping.second.wait())
            if server is not None:
                await server.close()
    finally:
        await parts.close()


def _tell_store(up: bool) -> None:
    """Said from when it is open on, and not before: until then another may serve."""
    metrics.READY.declare(["store"])
    metrics.READY["store"].set(up)


def _http_server(configuration: Configuration, parts: Parts, directory: Path) -> HttpServer | None:
    if configuration.servers.http is None:
        return None
    return HttpServer(
        configuration.servers.http,
        exposition=lambda: metrics.exposition(directory),
        unready=lambda: metrics.unready(directory),
        judge=lambda message, told: check(parts.gate, message, told, server="http", now=time.time(), keep=True),
        about={rule.name: rule.about for rule in parts.policy.rules.values()},
    )


# --- both --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stopping:
    """How urgently the process was told to end."""

    first: asyncio.Event  # let sessions finish
    second: asyncio.Event  # at once


@contextlib.asynccontextmanager
async def _until_told_to_stop(start: ProcessStart) -> AsyncIterator[Stopping]:
    """Sets the events at SIGTERM, and when the supervisor has died."""
    loop = asyncio.get_running_loop()
    stopping = Stopping(asyncio.Event(), asyncio.Event())

    def told() -> None:
        (stopping.second if stopping.first.is_set() else stopping.first).set()

    def orphaned() -> None:
        loop.remove_reader(start.lifeline_fd)
        told()

    loop.add_signal_handler(signal.SIGTERM, told)
    loop.add_reader(start.lifeline_fd, orphaned)
    try:
        yield stopping
    finally:
        loop.remove_reader(start.lifeline_fd)
        loop.remove_signal_handler(signal.SIGTERM)


@contextlib.asynccontextmanager
async def _alongside(*works: Coroutine[object, object, None]) -> AsyncIterator[asyncio.Future[None]]:
    """Run these, which have no end of their own, meanwhile; the future gets the error of one that fails."""
    fate: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def watched(work: Coroutine[object, object, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - handed on whole to whoever waits for `fate`
            if not fate.done():
                fate.set_exception(error)

    tasks = [asyncio.ensure_future(watched(work)) for work in works]  # not a TaskGroup, which would wrap our errors
    try:
        yield fate
    finally:
        fate.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _first(*awaitables: Awaitable[object]) -> None:
    """Until one of them is done; its error is raised, the others are cancelled."""
    tasks = [asyncio.ensure_future(each) for each in awaitables]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            if not task.done():
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


RARELY: Final = (10_000, 20, 50)
"""Objects, and turns, after which rings of them are looked for: a message makes some hundreds of objects that refer to
none of themselves, and looking through them costs it 2 to 5%."""


def _ready(start: ProcessStart) -> None:
    gc.set_threshold(*RARELY)
    gc.collect()
    gc.freeze()  # what is here by now stays; looking through it again and again would hold up every session
    log.event("started", role=start.role.value, slot=start.slot)
    os.write(start.ready_fd, ready_line())
    os.set_blocking(start.ready_fd, False)  # a sign of life that nobody reads must not hold us up


async def _give_signs(start: ProcessStart, able: Callable[[], Awaitable[bool]] | None = None) -> None:
    """Tell the supervisor now and then that we live and are `able` to do our work."""
    while True:
        await asyncio.sleep(SIGN_EVERY)
        if able is None or await able():
            with contextlib.suppress(OSError):  # without a supervisor we drain, and need give no signs
                os.write(start.ready_fd, alive_line())
        else:
            log.event("canary_late", level=logging.ERROR, slot=start.slot)


LOOK_EVERY: Final = 0.25
"""Seconds between two looks at how late the event loop is."""


async def _time_the_loop() -> None:
    """Measure how late a timer is: each moment that one session takes for itself, the others have to wait."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LOOK_EVERY
        await asyncio.sleep(LOOK_EVERY)
        metrics.EVENT_LOOP_LATE.observe(max(0.0, loop.time() - due))


def run_process(start: ProcessStart) -> int:
    """One process from its configuration to its end; the exit status."""
    try:
        with copies.beside(start.snapshot):
            configuration = config.load(start.snapshot, named=start.config_path)
            log.setup(configuration.log)
            part = worker if start.role is Role.WORKER else controller
            run_loop(part(start, configuration))
    except (ConfigurationError, Unfit, OpenRelay) as error:
        log.event("unfit", level=logging.ERROR, role=start.role.value, slot=start.slot, error=str(error))
        with contextlib.suppress(OSError):  # it was ready once; the supervisor learns from the exit status
            os.write(start.ready_fd, failed_line(str(error)))
        return EXIT_CONFIGURATION
    log.event("stopped", role=start.role.value, slot=start.slot)
    return 0


def run_loop(main: Coroutine[object, object, None]) -> None:
    """asyncio.run, on uvloop where it is installed."""
    try:
        import uvloop  # noqa: PLC0415  # optional
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)


# --- one message -------------------------------------------------------------------------------------------------


async def check_message(
    configuration: Configuration,
    raw: bytes,
    *,
    ip: IPAddress | None = None,
    name: str | None = None,
    helo: str | None = None,
    sender: Address | None = None,
    recipients: Sequence[Address] = (),
    clock: Callable[[], float] = time.time,
) -> CheckResult:
    """Judge one message as the live path does; nothing is remembered or recorded."""
    told = Told(address=ip, name=name, helo=helo, sender=sender, recipients=tuple(recipients))
    parts = assemble(configuration, MemoryStore(), clock=clock)
    try:
        if any(target.list.welcomes for target in listed_targets(configuration.checks)):
            await watch_of(parts, clock=clock).turn()  # only a list that was tested excuses, there as here
        guard = _relay_guard(configuration)
        return await check(parts.gate, raw, told, server="check", now=clock(), guard=guard, keep=False)
    finally:
        await parts.close()


def _relay_guard(configuration: Configuration) -> RelayGuard | None:
    """What refuses other domains than ours; None where the next hop does, whom nobody asks here."""
    smtp, next_hop = configuration.servers.smtp, _next_hop(configuration, workers=1)
    if smtp is None or next_hop is None or not configuration.relay_domains:
        return None
    return RelayGuard(next_hop, relay_domains=frozenset(configuration.relay_domains), ours=Peers(smtp.ours))


# --- reports -----------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def dmarc_reports(
    configuration: Configuration, *, clock: Callable[[], float] = time.time
) -> AsyncIterator[Reports]:
    """What makes and sends DMARC reports. Raises Unfit where they cannot be, with the mend."""
    settings = configuration.complaints.dmarc
    if not settings.email:
        raise Unfit('no reports are made: give [complaints.dmarc] an email, such as "dmarc-reports@example.org"')
    smtp = configuration.servers.smtp
    if not settings.relay and (smtp is None or NextHopUrl.parse(smtp.next_hop).protocol != "smtp"):
        raise Unfit('nobody sends reports on: give [complaints.dmarc] a relay, such as "smtp://127.0.0.1:25"')
    url = NextHopUrl.parse(settings.relay or (smtp.next_hop if smtp is not None else ""))
    # Nobody's client but ourselves: what is told of a client would make the relay refuse us as a stranger.
    theirs = replace(configuration.nexthop, hand_on="none", max_connections=1)
    signer = _signer(configuration)

    def signed(mail: bytes) -> bytes:
        return mail if signer is None else signer.sign(mail, domain=settings.submitter, now=clock())

    try:
        relay = NextHop(url, theirs, hostname=configuration.hostname)
    except CannotVerify as error:
        raise Unfit(str(error)) from error
    store = configuration_store(configuration)
    resolver = AiodnsResolver(configuration.dns)
    try:
        send = relayed(relay, configuration.hostname)
        yield Reports(settings, store=store, resolver=resolver, clock=clock, send=send, sign=signed)
    finally:
        await relay.close()
        await resolver.close()
        await store.close()


def configuration_store(configuration: Configuration) -> Store:
    """The store that all processes share, with nothing to stand in for it. Raises Unfit."""
    path = configuration.store.path
    try:
        absent = path is not None and not is_there(path)
    except StoreUnusable as unusable:
        raise Unfit(str(unusable)) from unusable
    if absent:  # opening it would make it, and as the wrong user
        raise Unfit(f"{path} is not there: gatekeeper has not run with this configuration yet")
    store = _opened(configuration)
    if isinstance(store, MemoryStore):
        raise Unfit('[store] url is "memory:", which no other program can look into')
    return store.primary if isinstance(store, Fallback) else store


if __name__ == "__main__":
    sys.exit(run_process(ProcessStart.from_environment(os.environ)))
