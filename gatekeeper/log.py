"""The log: one line per event, a name and facts, as logfmt or JSON, to the journal or to standard error.

    event("mail_rejected", id=envelope.id, rule="SPF_FAIL", score=12.5)

gives `mail_rejected id=… rule=SPF_FAIL score=12.5`. Facts may come from the network: they are escaped here and
nowhere else. Every event name stands in `EVENTS`; a test compares it with the source.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import fcntl
import json
import logging
import os
import re
import socket
import struct
import sys
import time
import traceback
import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Literal

from gatekeeper.model import setting

EVENTS: Final[dict[str, str]] = {
    # the life of the program
    "started": "A process is ready to serve.",
    "stopping": "A process was told to stop and lets its sessions finish.",
    "stopped": "A process has ended.",
    "listening": "A socket is open.",
    "reloaded": "A new configuration is in force.",
    "rules_left_out": "Rules with patterns are not looked for: what matches them is not there for this machine.",
    "reload_refused": "A new configuration was wrong; the old one stays in force.",
    "worker_started": "The parent has started a process.",
    "unfit": "A process cannot work as configured, and ends.",
    "upgrade_refused": "The program installed now cannot take over, `why` says why; the one that runs goes on.",
    "upgraded": "This version of the program has taken the place of the one before, and replaces its processes. `why` "
    "says why the configuration of those cannot be read any more: one that dies meanwhile goes by the file as it is.",
    "upgrading": "The program installed now takes the place of the one that runs.",
    "worker_died": "A worker process ended without being told to; another takes its place.",
    # sessions and mail
    "session_refused": "A connection was refused or dropped before any mail.",
    "session_failed": "A bug ended one session with 421; the traceback follows.",
    "mail_accepted": "A message was passed on and the next hop took it.",
    "mail_tagged": "A message was passed on, marked as spam, and the next hop took it.",
    "mail_deferred": "A message or recipient was answered 4xx, by us or by the next hop.",
    "mail_rejected": "A message or recipient was answered 5xx, by us or by the next hop.",
    "mail_dropped": "A client was answered 421 and cut off.",
    "mail_greylisted": "A message was answered 451 for the first time and is remembered.",
    "mail_abandoned": "The client left before its message was complete.",
    # evidence
    "check_failed": "A check raised an error; it counts for nothing and stands in `missing`.",
    "canary_late": "A message of our own did not come out of the pipeline in time; the process may be replaced.",
    "dmarc_evidence_lost": "What was counted for DMARC reports could not be kept.",
    "dmarc_report": "What became of a DMARC aggregate report to one address.",
    "dmarc_destination_dead": "An address refused a DMARC report, or it came back; it is sent none for a while.",
    "signing_failed": "A message goes on without a signature of ours: its text could not be read again.",
    "check_late": "A check did not end in time; it counts for nothing and stands in `missing`.",
    "greylist_never_back": "Senders that greylisting had put off never tried again; how many, and some of them.",
    "lists_changed": "The operator's lists have changed and are in force.",
    "lists_refused": "A file of the operator's lists has become wrong; what it said before stays in force.",
    # the world around us
    "next_hop_away": "The next hop could not be reached, or went away.",
    "next_hop_back": "The next hop answers again.",
    "next_hop_in_the_clear": "A TLS handshake with the next hop failed; mail goes on without, as is set.",
    "client_not_handed_on": "The next hop did not take a client's facts by XCLIENT; it was told of an unknown client.",
    "store_away": "The store does not answer this process (`process`, `why`); memory takes over.",
    "store_back": "The store answers this process again, after `away_for` seconds.",
    "records_lost": "Records could not be written.",
    "forgetting_failed": "A bug: what is old was not forgotten. Records are written all the same; it is tried again.",
    "record_unreadable": "A record of another program version was found and left out.",
    "relay_closed": "The next hop has refused to relay for a stranger, as it must; recipients are let through.",
    "relay_open": "The next hop, which has refused so far, relays for strangers now; recipients are deferred.",
    "relay_unknown": "The next hop did not say whether it relays for strangers; recipients are deferred.",
    "dictionary_attack": "Many clients try the same unknown names; those that take part are told no names any more.",
    "domain_probed": "So many unknown names of a domain were tried that strangers may ask only one name each for now.",
    "trap_made": "A name that does not exist and that many try has become a trap.",
    "trap_dropped": "A hot name that was a trap is none any longer: the mail server behind has taken it.",
    "overload": "There is more to do than one worker can; from now on some or all clients are put off.",
    "overload_eased": "There is less to do; fewer clients are put off, or none any more.",
    "accept_failed": "No connection could be taken, for want of files or memory; it is tried again in a moment.",
    "sessions_cut_off": "Sessions were still open when the time to drain was over.",
    "milter_protocol_error": "A mail server did not keep to the milter protocol; its connection is closed.",
    "milter_stranger": "Somebody whom `trust` does not name connected to the milter, and was hung up on (folded).",
    "policy_request_unreadable": "What came to the policy service was no request; nothing was answered.",
    "policy_stranger": "Somebody whom `trust` does not name connected to the policy service, and was hung up on "
    "(folded).",
    "check_unauthorised": "A message was sent by HTTP to be checked, with a wrong token (folded).",
    "policy_late": "A request to the policy service was not judged in time, and answered with a deferral.",
    "certificate_loaded": "A TLS certificate is in use from now on.",
    "certificate_expired": "A TLS certificate is in use that has expired; most senders do not mind, some do.",
    "certificate_refused": "A new TLS certificate or key cannot be used; the old one stays in use.",
    "starttls_injection": "A client sent text behind STARTTLS in the clear; it was thrown away (RFC 3207 section 4.2) "
    "(folded).",
    "tls_failed": "A TLS handshake with a client came to nothing.",
    "proxy_header_refused": "A connection was closed for want of a PROXY header that can be relied on (folded).",
    "nameserver_sick": "A nameserver has not answered several questions in a row; the others, if any, are asked first.",
    "nameserver_back": "A nameserver that was sick answers again.",
    "resolver_sound": "The nameservers passed their test: they answer, and invent nothing.",
    "resolver_unsound": "The nameservers failed their test: they are silent, invent answers, or belong to everybody.",
    "list_state": "A DNS list is in another state; one that is dead, lists the world or refuses us has no vote.",
    "list_control_failed": "A list named something that cannot be listed, or nothing at all, when it was asked after "
    "a listing: the listing does not count.",
    "list_tripped": "A list's breaker tripped: it has no vote until it has been well for a while.",
    "unpacker_died": "The process that looks into attachments died or was killed, `why` says why; another one is "
    "started when it is needed.",
    "clamav_away": "clamd did not answer several times in a row; it is left alone for half a minute at a time.",
    "clamav_back": "clamd answers again.",
    # the log itself
    "library_message": "A line of a library, or of Python itself.",
    "log_lines_lost": "The journal did not take lines fast enough; that many were dropped.",
}
"""Every event, and what it means to the operator. What is folded, since strangers can cause it at will, gets one line a
minute in each process; `more` in the next one says how many were left out.
"""

VALUE_LIMIT: Final = 2000
"""Characters of one value that are logged; a stranger does not fill the disk with one line."""

FOLD_SECONDS: Final = 60.0
"""Between two lines of an event that strangers can cause at will."""

_logger: Final = logging.getLogger("gatekeeper")
_BARE: Final = re.compile(r"[A-Za-z0-9_.:;/@+,<>\[\](){}|!?*&%$#~^'-]+")
_PRIORITIES: Final = {"CRITICAL": 2, "ERROR": 3, "WARNING": 4, "INFO": 6, "DEBUG": 7}
_TRACEBACK_EVERY: Final = 60.0
_traced: dict[tuple[str, str, int], float] = {}


@dataclass(frozen=True, slots=True)
class Settings:
    """`[log]`."""

    format: Literal["logfmt", "json"] = setting("logfmt", 'How a line is written: "logfmt" or "json".')
    level: Literal["debug", "info", "warning", "error"] = setting(
        "info", 'The least important lines that are kept: "debug", "info", "warning" or "error".'
    )
    destination: Literal["auto", "stderr", "journal"] = setting(
        "auto", 'Where lines go: "journal", "stderr", or "auto", the journal when systemd started us.'
    )


def event(name: str, /, *, level: int = logging.INFO, **facts: Any) -> None:
    """One line: an event of `EVENTS` and its facts. None is left out; text is escaped; never raises."""
    if _logger.isEnabledFor(level):
        _emit(name, level, facts, sys._getframe(1))


def _emit(name: str, level: int, facts: dict[str, Any], caller: types.FrameType) -> None:
    """As `Logger.log` does, which looks for its caller by itself, frame by frame."""
    record = logging.LogRecord(_logger.name, level, caller.f_code.co_filename, caller.f_lineno, name, (), None)
    record.facts = facts
    _logger.handle(record)


def traceback_once(name: str, exc: BaseException, /, *, level: int = logging.ERROR, **facts: Any) -> None:
    """`event`, with `error=…`, and the traceback at most once a minute for each event and place of raising."""
    place = exc.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    key = (name, place.tb_frame.f_code.co_filename, place.tb_lineno) if place is not None else (name, "", 0)
    now = time.monotonic()
    due = now - _traced.get(key, -_TRACEBACK_EVERY) >= _TRACEBACK_EVERY
    if due:
        _traced[key] = now
    if _logger.isEnabledFor(level):
        facts.setdefault("error", exc)
        _logger.log(level, name, extra={"facts": facts}, exc_info=exc if due else None, stacklevel=2)


class Folded:
    """An event that strangers can cause at will: one line in `every` seconds. The next one tells in `more` how many
    were left out. Whoever wants to know of each counts them in a metric.
    """

    __slots__ = ("_clock", "_due", "_every", "_left_out", "_name")

    def __init__(
        self, name: str, /, *, every: float = FOLD_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name = name
        self._every = every
        self._clock = clock
        self._due = float("-inf")
        self._left_out = 0

    def event(self, *, level: int = logging.INFO, **facts: Any) -> None:
        """As the function of that name."""
        now = self._clock()
        if now < self._due:
            self._left_out += 1
            return
        left_out, self._left_out, self._due = self._left_out, 0, now + self._every
        if _logger.isEnabledFor(level):
            facts["more"] = left_out or None
            _emit(self._name, level, facts, sys._getframe(1))


def setup(settings: Settings) -> None:
    """Send everything that is logged where `settings` say. May be called again, at a reload."""
    to_journal = settings.destination == "journal" or (settings.destination == "auto" and stderr_is_the_journal())
    handler: logging.Handler
    try:
        handler = Journal() if to_journal else StandardError()
    except OSError:  # no journal on this machine: lines must not get lost for that
        handler = StandardError()
    handler.setFormatter(Line(settings.format, dated=not isinstance(handler, Journal)))
    root = logging.getLogger()
    for old in [each for each in root.handlers if isinstance(each.formatter, Line)]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    level = getattr(logging, settings.level.upper())
    root.setLevel(max(level, logging.WARNING))  # libraries are quieter than we are
    _logger.setLevel(level)
    logging.captureWarnings(capture=True)


def stderr_is_the_journal() -> bool:
    """Whether systemd connected our standard error to its journal (systemd.exec(5), JOURNAL_STREAM)."""
    try:
        device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
        there = os.fstat(sys.stderr.fileno())
        return (there.st_dev, there.st_ino) == (int(device), int(inode))
    except (OSError, ValueError, AttributeError):
        return False


def line(name: str, facts: dict[str, Any]) -> str:
    """One event as logfmt, always a single line of printable text."""
    return " ".join([printable(name), *(f"{key}={_quoted(value)}" for key, value in _known(facts))])


def printable(text: str) -> str:
    """`text` with everything that is not printable (controls, line ends, bidi marks) written as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class Line(logging.Formatter):
    """A log record as one line; a traceback follows, each of its lines marked so that none looks like an event."""

    def __init__(self, form: Literal["logfmt", "json"], *, dated: bool) -> None:
        super().__init__()
        self._form = form
        self._dated = dated

    def format(self, record: logging.LogRecord) -> str:
        name, facts = _parts(record)
        stamp = _stamp(record.created)
        trace = _traceback(record)
        if self._form == "json":
            entry: dict[str, Any] = {"time": stamp, "level": record.levelname.lower(), "event": name}
            entry |= {key: _plain(value) for key, value in _known(facts)}
            if trace:
                entry["traceback"] = trace
            return json.dumps(entry)  # ASCII only: everything unprintable is escaped
        text = line(name, facts)
        if self._dated:
            text = f"{stamp} {record.levelname.lower()} {text}"
        return "\n".join([text, *(f"  | {printable(part)}" for part in trace)])


def _stamp(when: float) -> str:
    """RFC 3339, in UTC, with thousandths."""
    millis = int(when * 1000)
    return f"{_second(millis // 1000)}.{millis % 1000:03}Z"


@lru_cache(maxsize=16)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


class StandardError(logging.Handler):
    """One line, one write, to whatever is standard error now."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except Exception:  # noqa: BLE001  # a border, as below
            self.handleError(record)


class Journal(logging.Handler):
    """Structured entries to systemd-journald (systemd.journal-fields(7), the native protocol).

    Never waits: when journald is behind, lines are dropped and counted, and the next one that passes says how many.
    """

    def __init__(self, path: str = "/run/systemd/journal/socket") -> None:
        super().__init__()
        self.dropped = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        try:
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            raise

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._emit(record)
        except Exception:  # noqa: BLE001  # a border: a line that cannot be written must not end a session
            self.handleError(record)

    def _emit(self, record: logging.LogRecord) -> None:
        name, facts = _parts(record)
        fields = {
            "MESSAGE": self.format(record),
            "PRIORITY": str(_PRIORITIES.get(record.levelname, 6)),
            "SYSLOG_IDENTIFIER": "gatekeeper",
            "GATEKEEPER_EVENT": name,
            "CODE_FILE": record.pathname,
            "CODE_LINE": str(record.lineno),
        }
        fields |= {f"GATEKEEPER_{key.upper()}": _text(value) for key, value in _known(facts)}
        if not self._send(fields):
            self.dropped += 1
        elif self.dropped:
            lost, self.dropped = self.dropped, 0
            said = line("log_lines_lost", {"count": lost})
            if not self._send({"MESSAGE": said, "PRIORITY": "4", "SYSLOG_IDENTIFIER": "gatekeeper"}):
                self.dropped = lost

    def close(self) -> None:
        self._socket.close()
        super().close()

    def _send(self, fields: dict[str, str]) -> bool:
        datagram = b"".join(_journal_field(key, value) for key, value in fields.items())
        try:
            self._socket.send(datagram)
        except OSError as failure:
            if failure.errno != errno.EMSGSIZE:
                return False
            return self._send_in_memory_file(datagram)
        return True

    def _send_in_memory_file(self, datagram: bytes) -> bool:
        """An entry too large for a datagram travels as a sealed memory file."""
        try:
            fd = os.memfd_create("journal", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
        except OSError:
            return False
        try:
            with open(fd, "wb", closefd=False) as file:
                file.write(datagram)
            seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
            socket.send_fds(self._socket, [b""], [fd])
        except OSError:
            return False
        finally:
            with contextlib.suppress(OSError):
                os.close(fd)
        return True


def _journal_field(key: str, value: str) -> bytes:
    raw = value.encode("utf-8", "backslashreplace")
    if b"\n" in raw:
        return key.encode() + b"\n" + struct.pack("<Q", len(raw)) + raw + b"\n"
    return key.encode() + b"=" + raw + b"\n"


def _parts(record: logging.LogRecord) -> tuple[str, dict[str, Any]]:
    facts = getattr(record, "facts", None)
    if isinstance(facts, dict):
        return record.msg, facts
    return "library_message", {"logger": record.name, "message": record.getMessage()}


def _known(facts: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    return ((key, value) for key, value in facts.items() if value is not None)


def _plain(value: Any) -> Any:
    """For JSON."""
    if isinstance(value, bool | int) and not isinstance(value, enum.Enum):
        return value
    if isinstance(value, float):
        return round(value, 3) if abs(value) < 1e15 else str(value)
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value[:VALUE_LIMIT]]
    return _shortened(_text(value))


def _text(value: Any) -> str:
    """One value as text, not yet escaped."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, enum.Enum):
        return value.name.lower()
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".") if abs(value) < 1e15 else str(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, set | frozenset):
        return ",".join(sorted(_text(item) for item in value))
    if isinstance(value, tuple | list):
        return ",".join(_text(item) for item in value)
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {value}" if str(value) else type(value).__name__
    return str(value)


def _shortened(text: str) -> str:
    return text if len(text) <= VALUE_LIMIT else text[:VALUE_LIMIT] + "…"


def _quoted(value: Any) -> str:
    text = _shortened(_text(value))
    if _BARE.fullmatch(text):
        return text
    return '"' + printable(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def _traceback(record: logging.LogRecord) -> list[str]:
    if not record.exc_info or record.exc_info[1] is None:
        return []
    parts = traceback.format_exception(record.exc_info[1], limit=-30)
    return [_shortened(part) for part in "".join(parts).splitlines()]
