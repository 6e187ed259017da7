"""Every metric the program exposes, in one place.

Names begin with `gatekeeper_`, are in base units, and have labels that nobody outside can multiply. A process that
was given a slot (`PROMETHEUS_MULTIPROC_DIR` and `GATEKEEPER_SLOT`) keeps its numbers in files of that slot, which the
controller sums; any other process keeps them to itself.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import prometheus_client
from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    CollectorRegistry,
    Gauge,
    Histogram,
    Metric,
    disable_created_metrics,
    generate_latest,
    multiprocess,
    values,
)
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector

import gatekeeper
from gatekeeper.model import Action, Stage

DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
SLOT_VARIABLE = "GATEKEEPER_SLOT"
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
"""Of what `exposition` returns."""
_two_doubles = struct.Struct("dd").pack  # a value and when it was set, as they stand in the file of a slot


def _keep_in_slot(slot: str) -> None:
    """Let every metric made from now on keep its value in the files of that slot.

    With prometheus_client's own process ids instead, files pile up at each reload and gauges count the dead.
    """
    if not slot.isalnum():  # it becomes part of a file name that the collector splits at "_"
        raise ValueError(f"a slot is named by letters and digits, not {slot!r}")
    kept = values.MultiProcessValue(process_identifier=lambda: slot)  # type: ignore[no-untyped-call]  # no annotations there
    values.ValueClass = _quick(kept)


def _quick(kept: Any) -> Any:
    """That kind of value, counting up in a third of the time: some sixty are counted up for each message.

    What is written is the same, and at once, so that nothing is lost when the process is killed. Left out are a lock,
    since what counts here runs in one thread, the search for a fork, which never comes, and that for the value's place.
    """

    class Quick(kept):  # type: ignore[misc]  # a class that was made a moment ago
        _value: float

        def inc(self, amount: float) -> None:
            self._value = value = self._value + amount
            file = self._file
            at = file._positions[self._key]
            file._m[at : at + 16] = _two_doubles(value, 0.0)  # in one go: whoever reads meanwhile sees no half of it

    return Quick


# Before the first metric exists, since each takes its kind of value when it is made.
if DIRECTORY_VARIABLE in os.environ:
    _keep_in_slot(os.environ.get(SLOT_VARIABLE) or f"pid{os.getpid()}")

# A second series for each counter, which the files of slots do not have anyway.
disable_created_metrics()  # type: ignore[no-untyped-call]  # no annotations there
REGISTRY = CollectorRegistry()
M = TypeVar("M", bound=MetricWrapperBase)


class Counter(prometheus_client.Counter):
    """The library's, without what it looks up at each count."""

    def inc(self, amount: float = 1, exemplar: dict[str, str] | None = None) -> None:  # noqa: ARG002 - none is kept
        if amount < 0:
            raise ValueError("what is counted does not become less")
        self._value.inc(amount)


class Children(Generic[M]):
    """The children of a metric with one label, each made once and kept: `MESSAGES["accept"].inc()`.

    A name that was not declared counts as "other", so that no stranger can invent a label. Declaring a name shows it
    with 0 from the start, so that its rate can be known from the first event on.
    """

    def __init__(self, metric: M, names: Iterable[str] = ()) -> None:
        self.metric = metric
        self._children: dict[str, M] = {}
        self.declare(names)

    def declare(self, names: Iterable[str]) -> None:
        """May be called again; names that are there already stay."""
        for name in names:
            if name not in self._children:
                self._children[name] = self.metric.labels(name)

    def __getitem__(self, name: str) -> M:
        child = self._children.get(name)
        if child is None:
            self.declare(["other"])
            child = self._children["other"]
        return child


# --- sessions and mail -----------------------------------------------------------------------------------------------

SESSIONS = Gauge("gatekeeper_sessions", "Sessions open now.", registry=REGISTRY, multiprocess_mode="livesum")
CONNECTIONS = Counter("gatekeeper_connections", "Connections taken.", registry=REGISTRY)
MESSAGES = Children(
    Counter("gatekeeper_messages", "Messages judged, by action.", ["action"], registry=REGISTRY),
    (*(action.word for action in Action), "abandoned"),
)
EARLY_REFUSALS = Children(
    Counter(
        "gatekeeper_early_refusals",
        "Mails of which the client, the sender or a recipient was refused before the message came, by action; each "
        "once, however many recipients. They are in gatekeeper_messages_total only where another recipient was let in.",
        ["action"],
        registry=REGISTRY,
    ),
    (action.word for action in Action if action.refuses),
)
DMARC_EVIDENCE_DROPPED = Children(
    Counter(
        "gatekeeper_dmarc_evidence_dropped",
        "Messages that are left out of DMARC reports, by which limit was reached.",
        ["limit"],
        registry=REGISTRY,
    ),
    ("rows", "domains", "waiting"),
)
RECIPIENTS = Children(
    Counter("gatekeeper_recipients", "RCPT commands answered, by who answered what.", ["result"], registry=REGISTRY),
    ("accepted", "refused", "deferred", "next_hop_refused", "next_hop_deferred"),
)
RELAY_IN_DOUBT = Children(
    Counter(
        "gatekeeper_relay_in_doubt",
        "Messages whose fate one side cannot know: it left between the final dot and the answer (RFC 1047).",
        ["side"],
        registry=REGISTRY,
    ),
    ("client", "next_hop"),
)
STACKING_STEPS = Children(
    Counter(
        "gatekeeper_stacking_steps",
        "Clients that spent their probe budget, by what it brought them.",
        ["step"],
        registry=REGISTRY,
    ),
    ("slowed", "alike", "refused"),
)
STACKING_CAUSES = Children(
    Counter(
        "gatekeeper_stacking_causes",
        "Clients that are told no names any more, by whose budget is spent: their address's, network's or HELO name's, "
        "or the recipient domain's; or because they take part in a dictionary attack.",
        ["cause"],
        registry=REGISTRY,
    ),
    ("address", "network", "helo", "domain", "dictionary"),
)
STACKING_NAMES = Children(
    Counter(
        "gatekeeper_stacking_names",
        "Names that were tried in vain: unknown, unknown but near to a known one, former ones, given up before DATA; "
        "and how many of the unknown ones are tried by many (hot).",
        ["kind"],
        registry=REGISTRY,
    ),
    ("unknown", "near", "former", "abandoned", "hot"),
)
STACKING_DICTIONARIES = Counter(
    "gatekeeper_stacking_dictionaries",
    "Clients that were found to take part in a dictionary attack.",
    registry=REGISTRY,
)
STACKING_DOMAINS = Counter(
    "gatekeeper_stacking_domains",
    "Times that a recipient domain's budget of unknown names was seen to be spent, by each worker once in a window.",
    registry=REGISTRY,
)
STACKING_TRAPS = Children(
    Counter("gatekeeper_stacking_traps", "RCPT commands that named a trap.", ["kind"], registry=REGISTRY),
    ("former", "hot"),
)

GREYLIST = Children(
    Counter(
        "gatekeeper_greylist",
        "Mail in doubt, by what greylisting made of it: put off (new, early) or let through (passed, late, known, "
        "history, correspondent, paused); and never, those who did not come back.",
        ["step"],
        registry=REGISTRY,
    ),
    ("new", "early", "passed", "late", "known", "history", "correspondent", "paused", "never"),
)
LIST_ENTRIES = Gauge(
    "gatekeeper_list_entries",
    "Entries of the operator's lists that are in force.",
    registry=REGISTRY,
    multiprocess_mode="livemax",
)
LIST_PROBLEMS = Gauge(
    "gatekeeper_list_problems",
    "Lines of the operator's lists that are not understood; what stood there before stays in force.",
    registry=REGISTRY,
    multiprocess_mode="livemax",
)

LESSONS = Gauge(
    "gatekeeper_lessons",
    "Messages that the site's users have taught, as they count now, by class.",
    ["class"],
    registry=REGISTRY,
    multiprocess_mode="livemax",
)
LEARNING = Gauge(
    "gatekeeper_learning_outcomes",
    "Messages that were to be learned since the store was made, by class, how they came and what became of them.",
    ["class", "source", "outcome"],
    registry=REGISTRY,
    multiprocess_mode="livemax",
)

# --- judging ---------------------------------------------------------------------------------------------------------

FINDINGS = Children(
    Counter(
        "gatekeeper_findings",
        "Findings, by rule; the gate declares the rules of its checks.",
        ["rule"],
        registry=REGISTRY,
    )
)
CHECK_FAILURES = Children(
    Counter("gatekeeper_check_failures", "Checks that failed or were late.", ["check"], registry=REGISTRY)
)
SIGNED = Children(
    Counter(
        "gatekeeper_signed",
        "Messages that were given a signature of ours: dkim on our own mail, arc on what we have changed.",
        ["what"],
        registry=REGISTRY,
    ),
    ("dkim", "arc"),
)
INCOMPLETE_VERDICTS = Counter(
    "gatekeeper_incomplete_verdicts",
    "Verdicts that missing evidence could have changed.",
    registry=REGISTRY,
)
JUDGE_SECONDS = Children(
    Histogram(
        "gatekeeper_judge_seconds",
        "Time from facts to verdict, by stage.",
        ["stage"],
        registry=REGISTRY,
        buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0),
    ),
    (stage.name.lower() for stage in Stage),
)

UNPACKER = Children(
    Counter(
        "gatekeeper_unpacker",
        "Messages whose archives and documents were looked into (done) or could not be: the process was late or died, "
        "or too many were waiting (busy).",
        ["result"],
        registry=REGISTRY,
    ),
    ("done", "late", "died", "busy"),
)
CLAMAV = Children(
    Counter(
        "gatekeeper_clamav_scans",
        "Messages that were given to clamd, by what it said; or that it did not answer (away), or was not asked after "
        "that for a while (paused).",
        ["result"],
        registry=REGISTRY,
    ),
    ("clean", "found", "too_large", "away", "paused"),
)

# --- the process -----------------------------------------------------------------------------------------------------

PARTS = ("store", "next_hop", "relay_probe", "room")
"""What a worker needs to serve; `relay_probe` is ready when the next hop has refused to relay for strangers, or when
`relay_domains` makes the question needless; `room` as long as overload does not put off everybody."""
READY = Children(
    Gauge(
        "gatekeeper_ready",
        "1 where that part is ready in every worker, 0 where it is not in one of them.",
        ["part"],
        registry=REGISTRY,
        multiprocess_mode="livemin",
    )
)
"""Workers declare `PARTS` once they are ready, and set them; the controller has "store" alone, and only where there are
no workers.
"""
BUILD_INFO = Gauge(
    "gatekeeper_build_info", "1; the version is the label.", ["version"], registry=REGISTRY, multiprocess_mode="livemax"
)
BUILD_INFO.labels(gatekeeper.__version__).set(1)


@dataclass(frozen=True, slots=True)
class SupervisorCounters:
    """What only the parent can count. `reloads` has the results "loaded" and "kept"."""

    reloads: Children[Counter]
    worker_restarts: Counter


def _supervisor_counters(registry: CollectorRegistry | None) -> SupervisorCounters:
    return SupervisorCounters(
        reloads=Children(
            Counter(
                "gatekeeper_reloads",
                "Reloads, by whether the new configuration was loaded or the old one kept.",
                ["result"],
                registry=registry,
            ),
            ("loaded", "kept"),
        ),
        worker_restarts=Counter(
            "gatekeeper_worker_restarts", "Processes started again after they had died.", registry=registry
        ),
    )


SUPERVISOR = _supervisor_counters(REGISTRY)


def supervisor_counters(directory: Path) -> SupervisorCounters:
    """The parent's counters, kept in its own slot of `directory`. Called once, by the parent.

    The parent makes the directory long after this module was imported, hence these are made anew.
    """
    os.environ[DIRECTORY_VARIABLE] = str(directory)
    _keep_in_slot("supervisor")
    return _supervisor_counters(None)


def forget_gauges(directory: Path, slot: str) -> None:
    """The process of that slot has ended: its gauges no longer count, its counters stay."""
    multiprocess.mark_process_dead(slot, str(directory))  # type: ignore[no-untyped-call]  # no annotations there


def forget_unslotted(directory: Path) -> None:
    """Remove what processes left there that had no slot: at an upgrade, earlier versions made some."""
    for file in directory.glob("*_pid*.db"):
        file.unlink(missing_ok=True)


# --- what the HTTP server shows --------------------------------------------------------------------------------------


class _Slots(Collector):
    """The numbers of all slots in a directory, summed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterable[Metric]:
        for _ in range(3):
            with contextlib.suppress(FileNotFoundError):  # that of a process which is no more went between two looks
                return self._merged()
        return self._merged()

    def _merged(self) -> Iterable[Metric]:
        merged: Iterable[Metric] = multiprocess.MultiProcessCollector.merge(self._files())  # type: ignore[no-untyped-call]  # no annotations there
        return merged

    def _files(self) -> list[str]:
        """A process that starts right now makes its file and then gives it a size; empty, it cannot be read."""
        found = []
        for file in self._directory.glob("*.db"):
            with contextlib.suppress(FileNotFoundError):
                if file.stat().st_size:
                    found.append(str(file))
        return found


def exposition(directory: Path | None) -> bytes:
    """All metrics in Prometheus's text format: those of every slot in `directory`, or of this process alone."""
    return generate_latest(_registry(directory))


def unready(directory: Path | None) -> tuple[str, ...]:
    """The parts that are not ready in some worker; ("worker",) when there is no worker. Empty means ready."""
    found = {
        sample.labels["part"]: sample.value
        for family in _registry(directory).collect()
        if family.name == "gatekeeper_ready"
        for sample in family.samples
    }
    if not found:
        return ("worker",)
    return tuple(sorted(part for part, value in found.items() if value < 1))


def _registry(directory: Path | None) -> CollectorRegistry:
    if directory is None:
        return REGISTRY
    registry = CollectorRegistry()
    registry.register(_Slots(directory))
    return registry


# --- dns -------------------------------------------------------------------------------------------------------------

DNS_QUESTIONS = Children(
    Counter(
        "gatekeeper_dns_questions",
        "Questions sent to the nameservers, by how they ended.",
        ["status"],
        registry=REGISTRY,
    ),
    ("ok", "nodata", "nxdomain", "refused", "timeout", "nonsense"),
)
DNS_FURTHER = Children(
    Counter(
        "gatekeeper_dns_further",
        "Questions that one packet each way did not settle and that were asked further (again, by TCP, of the next "
        "nameserver), by why: none came in time, it was no plain answer (cut off, or perhaps forged), or an error.",
        ["why"],
        registry=REGISTRY,
    ),
    ("late", "odd", "error"),
)
DNS_CACHE = Children(
    Counter(
        "gatekeeper_dns_cache",
        "Questions put to our resolver: answered from its cache, joined to one under way, or sent.",
        ["result"],
        registry=REGISTRY,
    ),
    ("hit", "joined", "miss"),
)
DNS_NAMESERVER_UP = Children(
    Gauge(
        "gatekeeper_dns_nameserver_up",
        "1 while that nameserver answers, 0 while some process leaves it out because it does not.",
        ["server"],
        registry=REGISTRY,
        multiprocess_mode="livemin",
    )
)
"""Those that are configured, or that resolv.conf names."""


# --- DNS lists -------------------------------------------------------------------------------------------------------


class ListAnswers:
    """What lists said, counted by list and result; a list that was not declared counts as "other"."""

    RESULTS = ("listed", "not_listed", "refused", "unanswered")

    def __init__(self) -> None:
        self.metric = Counter(
            "gatekeeper_dns_list_answers",
            "What DNS lists said, cached or not: listed, not listed, refused (or nonsense), or nothing that counts.",
            ["list", "result"],
            registry=REGISTRY,
        )
        self._children: dict[str, dict[str, Counter]] = {}

    def declare(self, names: Iterable[str]) -> None:
        """May be called again; names that are there already stay."""
        for name in names:
            if name not in self._children:
                self._children[name] = {result: self.metric.labels(name, result) for result in self.RESULTS}

    def count(self, name: str, result: str) -> None:
        if name not in self._children:
            name = "other"
            self.declare([name])
        self._children[name][result].inc()


LIST_ANSWERS = ListAnswers()
"""Declared, as LIST_SECONDS is, by whoever wires a process, with the names that rules have ("DNSBL_ZEN")."""
LIST_STATE = Gauge(
    "gatekeeper_dns_list_state",
    "1 for the state a DNS list is in (untested, ok, degraded, dead, lists the world, refuses us), 0 for the others.",
    ["list", "family", "state"],
    registry=REGISTRY,
    multiprocess_mode="livemax",
)
"""Set by whoever tests the lists."""
LIST_VOTES = Gauge(
    "gatekeeper_dns_list_votes",
    "1 while the answers of a DNS list count, 0 while they do not, by what it is asked about.",
    ["list", "family"],
    registry=REGISTRY,
    multiprocess_mode="livemin",
)
LIST_CHANGES = Counter(
    "gatekeeper_dns_list_changes",
    "Changes of a DNS list's state, by the state it came into.",
    ["list", "family", "state"],
    registry=REGISTRY,
)
LIST_TESTS = Children(
    Counter("gatekeeper_dns_list_tests", "Tests of DNS lists, by what came of them.", ["outcome"], registry=REGISTRY),
    ("good", "slow", "empty", "silent", "world", "refused", "unknown"),
)
LIST_CONTROLS = Children(
    Counter(
        "gatekeeper_dns_list_controls",
        "Control questions after a new listing: passed, or the list listed what cannot be listed, or was silent.",
        ["result"],
        registry=REGISTRY,
    ),
    ("passed", "listed", "silent"),
)
LIST_TRIPS = Children(
    Counter(
        "gatekeeper_dns_list_trips",
        "Breakers that tripped: a list's hits jumped far above its history, or it listed senders long known as good.",
        ["why"],
        registry=REGISTRY,
    ),
    ("jump", "wronged"),
)
LIST_SECONDS = Children(
    Histogram(
        "gatekeeper_dns_list_seconds",
        "How long a DNS list took to answer, where its answer was not in the cache; what was given up on counts too.",
        ["list"],
        registry=REGISTRY,
        buckets=(0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
    )
)
"""Declared by the checks that ask lists, with the lists' names in their rules ("DNSBL_ZEN")."""
RESOLVER_FAULT = Children(
    Gauge(
        "gatekeeper_dns_resolver_fault",
        "1 where the last test of the nameservers found that: silent, invents answers, or public (lists refuse those).",
        ["fault"],
        registry=REGISTRY,
        multiprocess_mode="livemax",
    )
)
"""Declared and set by whoever tests them."""


# --- store and records -----------------------------------------------------------------------------------------------

STORE_UP = Children(
    Gauge(
        "gatekeeper_store_up",
        "1 while the store answers in every worker, 0 while memory stands in for it in one of them.",
        ["backend"],
        registry=REGISTRY,
        multiprocess_mode="livemin",
    )
)
"""Declared by whoever opens a store; a process without one would count as one that is away."""
STORE_ERRORS = Children(
    Counter("gatekeeper_store_errors", "Questions the store did not answer, by verb.", ["verb"], registry=REGISTRY),
    (
        *("spend", "take", "distinct", "drop_sightings", "put_notes", "notes", "swap_note", "drop_notes"),
        *("tally", "tallies"),
        *("remember", "history", "block", "unblock", "blocked", "blocks", "put_records", "find_records", "expire"),
    ),
)
RECORDS_WRITTEN = Counter("gatekeeper_records_written", "Records handed to the store.", registry=REGISTRY)
RECORDS_FOLDED = Counter(
    "gatekeeper_records_folded",
    "Refusals that are counted in the record of an identical one.",
    registry=REGISTRY,
)
RECORDS_DROPPED = Children(
    Counter("gatekeeper_records_dropped", "Records lost, by what had no room for them.", ["reason"], registry=REGISTRY),
    ("queue_full", "store_away", "failed"),
)


# --- next hop --------------------------------------------------------------------------------------------------------

NEXT_HOP_CONNECTIONS = Children(
    Counter(
        "gatekeeper_next_hop_connections",
        "Connections to the next hop: opened, reused, failed, none free, or opened to take a mail up again.",
        ["event"],
        registry=REGISTRY,
    ),
    ("opened", "reused", "failed", "exhausted", "replayed"),
)
NEXT_HOP_REPLIES = Children(
    Counter(
        "gatekeeper_next_hop_replies",
        "What the next hop, or we for it, answered to whole messages.",
        ["class"],
        registry=REGISTRY,
    ),
    ("2xx", "4xx", "5xx"),
)
NEXT_HOP_IN_USE = Gauge(
    "gatekeeper_next_hop_in_use",
    "Connections to the next hop that a session has in hand now.",
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
NEXT_HOP_WAITING = Gauge(
    "gatekeeper_next_hop_waiting",
    "Sessions that wait for a connection to the next hop now, because as many as there may be are in use.",
    registry=REGISTRY,
    multiprocess_mode="livesum",
)


# --- smtp ------------------------------------------------------------------------------------------------------------

SMTP_REPLIES = Children(
    Counter(
        "gatekeeper_smtp_replies", "Replies to SMTP clients, by the class of their code.", ["class"], registry=REGISTRY
    ),
    ("2xx", "3xx", "4xx", "5xx"),
)
CONNECTIONS_REFUSED = Children(
    Counter(
        "gatekeeper_connections_refused",
        "Connections closed at once because there were too many: in all, from one address, or from one network.",
        ["limit"],
        registry=REGISTRY,
    ),
    ("all", "address", "network"),
)


# --- milter ----------------------------------------------------------------------------------------------------------

MILTER_EXEMPT = Children(
    Counter(
        "gatekeeper_milter_exempt",
        "Clients and mails that the milter let pass unseen: of exempt networks, or of clients that had logged in.",
        ["why"],
        registry=REGISTRY,
    ),
    ("network", "authenticated"),
)
MILTER_PROTOCOL_ERRORS = Counter(
    "gatekeeper_milter_protocol_errors",
    "Milter connections closed because the mail server did not keep to the protocol.",
    registry=REGISTRY,
)
MILTER_STRANGERS = Counter(
    "gatekeeper_milter_strangers",
    "Milter connections closed because `trust` does not name who they came from.",
    registry=REGISTRY,
)


# --- policy service --------------------------------------------------------------------------------------------------

POLICY_ANSWERS = Children(
    Counter(
        "gatekeeper_policy_answers",
        "Questions of Postfix's to the policy service, by the action it was given, or by why it got none.",
        ["answer"],
        registry=REGISTRY,
    ),
    ("dunno", "prepend", "defer_if_permit", "4xx", "5xx", "unreadable", "stranger", "failed"),
)


# --- TLS and PROXY towards clients -----------------------------------------------------------------------------------

TLS_HANDSHAKES = Children(
    Counter(
        "gatekeeper_tls_handshakes",
        "TLS handshakes of clients: done, failed (nothing in common, or no TLS at all), late, or left in the middle.",
        ["result"],
        registry=REGISTRY,
    ),
    ("done", "failed", "late", "left"),
)
STARTTLS_INJECTIONS = Counter(
    "gatekeeper_starttls_injections",
    "Sessions in which text stood behind STARTTLS in the clear; it was thrown away.",
    registry=REGISTRY,
)
TLS_CERTIFICATE_EXPIRES = Gauge(
    "gatekeeper_tls_certificate_expires_timestamp_seconds",
    "When the certificate that clients are shown expires, in Unix time, of the one loaded last; 0 without TLS.",
    registry=REGISTRY,
    multiprocess_mode="livemostrecent",
)
PROXY_HEADERS = Children(
    Counter(
        "gatekeeper_proxy_headers",
        "Connections where a PROXY header is required, by what came: a client, the proxy's own probe (local), a client "
        "that the proxy does not know, nonsense, nothing in time, or somebody whom `trust` does not name.",
        ["result"],
        registry=REGISTRY,
    ),
    ("client", "local", "unknown", "malformed", "late", "stranger"),
)


# --- http ------------------------------------------------------------------------------------------------------------

HTTP_CHECKS = Children(
    Counter(
        "gatekeeper_http_checks",
        "Messages sent by HTTP to be checked: judged, or why not.",
        ["result"],
        registry=REGISTRY,
    ),
    ("judged", "unauthorised", "too_large", "slow", "busy", "unreadable", "shutdown"),
)


# --- the greeting, the slow lane, overload ---------------------------------------------------------------------------

GREETINGS = Children(
    Counter(
        "gatekeeper_greetings",
        "Clients that had to wait for the whole greeting or were spared it, by what became of them.",
        ["result"],
        registry=REGISTRY,
    ),
    ("familiar", "passed", "waited", "early", "not_smtp", "left", "no_room", "closed"),
)
SLOWED = Children(
    Counter(
        "gatekeeper_slowed",
        "Answers that a doubtful client was made to wait for, and those for which the slow lane had no place.",
        ["result"],
        registry=REGISTRY,
    ),
    ("waited", "no_place"),
)
EVENT_LOOP_LATE = Histogram(
    "gatekeeper_event_loop_late_seconds",
    "How late each process came to a timer, looked at four times a second: for so long everybody else has to wait.",
    registry=REGISTRY,
    buckets=(0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0),
)
OVERLOAD_LEVEL = Gauge(
    "gatekeeper_overload_level",
    "Whom the worker that has it worst puts off: 0 nobody, 1 clients without history, 2 everybody.",
    registry=REGISTRY,
    multiprocess_mode="livemax",
)
OVERLOAD_SHARE = Children(
    Gauge(
        "gatekeeper_overload_share",
        "How much of the most that there may be is taken, in the worker that has it worst, by what.",
        ["cause"],
        registry=REGISTRY,
        multiprocess_mode="livemax",
    ),
    ("loop_delay", "memory", "spool", "sessions", "accept_queue"),
)
PUT_OFF = Children(
    Counter(
        "gatekeeper_put_off",
        "Clients answered 421 or 451 for overload: unknown ones, known ones, and unknown ones that were only idling.",
        ["who"],
        registry=REGISTRY,
    ),
    ("unknown", "familiar", "idle"),
)
