"""The log: what an event becomes, and that nothing from the network can forge one."""

import contextlib
import enum
import io
import json
import logging
import os
import socket
import sys
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper import log
from gatekeeper.model import Action


@pytest.fixture(autouse=True)
def _fresh_logging():
    root, ours = logging.getLogger(), logging.getLogger("gatekeeper")
    levels = root.level, ours.level
    log._traced.clear()
    yield
    for handler in [each for each in root.handlers if isinstance(each.formatter, log.Line)]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
    logging.captureWarnings(capture=False)


@pytest.fixture
def journal(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        path = str(tmp_path / "journal")
        listener.bind(path)
        listener.settimeout(5)
        yield path, listener


class Colour(enum.Enum):
    DARK_RED = 1


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("SPF_FAIL", "SPF_FAIL"),
        ("<joe@example.org>", "<joe@example.org>"),
        ("", '""'),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "no"', '"say \\"no\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("a\r\nmail_accepted id=1", '"a\\r\\nmail_accepted id=1"'),
        ("\x1b[31m", '"\\x1b[31m"'),
        ("\u202egpj.exe", '"\\u202egpj.exe"'),
        ("\u2028", '"\\u2028"'),
        ("\udcff", '"\\udcff"'),
        ("grün", '"grün"'),
        (12.5, "12.5"),
        (3.0, "3"),
        (0.1 + 0.2, "0.3"),
        (1700000000.25, "1700000000.25"),
        (float("inf"), "inf"),
        (True, "true"),
        (7, "7"),
        (("A", "B"), "A,B"),
        (frozenset({"b", "a"}), "a,b"),
        ((), '""'),
        (Action.REJECT, "reject"),
        (Colour.DARK_RED, "dark_red"),
        (b"\xff\x00", '"\\\\xff\\x00"'),
        (TimeoutError(), "TimeoutError"),
        (ValueError("no\nway"), '"ValueError: no\\nway"'),
    ],
)
def test_a_value_is_written_so_that_it_can_be_read_back(value, written):
    assert log.line("e", {"k": value}) == f"e k={written}"


def test_none_is_left_out():
    assert log.line("mail_accepted", {"id": "x", "rule": None}) == "mail_accepted id=x"


def test_a_value_is_cut_before_it_fills_the_disk():
    assert len(log.line("e", {"k": "x" * 100_000})) < log.VALUE_LIMIT + 20


@given(st.text(), st.sampled_from(["logfmt", "json"]))
def test_whatever_a_stranger_sends_stays_on_one_printable_line(text, form):
    record = logging.LogRecord("gatekeeper", logging.INFO, "f", 1, "mail_rejected", (), None)
    record.facts = {"helo": text, "list": (text, text)}
    written = log.Line(form, dated=True).format(record)
    assert written.isprintable()
    if form == "json" and len(text) <= log.VALUE_LIMIT:
        assert json.loads(written)["helo"] == text


def test_json_keeps_the_types_of_facts():
    record = logging.LogRecord("gatekeeper", logging.INFO, "f", 1, "mail_rejected", (), None)
    record.facts = {"n": 3, "score": 12.3456, "ok": True, "to": ("a", "b"), "odd": float("nan"), "action": Action.TAG}
    entry = json.loads(log.Line("json", dated=True).format(record))
    assert entry.pop("time").endswith("Z")
    assert entry == {
        "level": "info",
        "event": "mail_rejected",
        "n": 3,
        "score": 12.346,
        "ok": True,
        "to": ["a", "b"],
        "odd": "nan",
        "action": "tag",
    }


def test_an_event_goes_to_standard_error_with_time_and_level(monkeypatch, capsys):
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    log.setup(log.Settings())
    log.event("mail_rejected", id="a1", level=logging.WARNING)
    stamp, level, rest = capsys.readouterr().err.strip().split(" ", 2)
    assert stamp.endswith("Z")
    assert (level, rest) == ("warning", "mail_rejected id=a1")


def test_a_level_below_the_setting_is_silent(capsys):
    log.setup(log.Settings(level="warning", destination="stderr"))
    log.event("started")
    assert capsys.readouterr().err == ""


def test_a_standard_error_that_is_closed_ends_nothing(monkeypatch, capsys):
    log.setup(log.Settings(destination="stderr"))
    closed = io.StringIO()
    closed.close()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", closed)
        patch.setattr(logging, "raiseExceptions", False)
        log.event("started")
    log.event("stopped")
    assert "stopped" in capsys.readouterr().err


def test_setup_twice_writes_each_line_once(capsys):
    log.setup(log.Settings(destination="stderr"))
    log.setup(log.Settings(destination="stderr"))
    log.event("started")
    assert capsys.readouterr().err.count("started") == 1


def test_a_librarys_warning_is_an_event_too(capsys):
    log.setup(log.Settings(destination="stderr"))
    logging.getLogger("asyncio").warning("odd %s", "thing\nmail_accepted id=1")
    assert 'library_message logger=asyncio message="odd thing\\nmail_accepted id=1"' in capsys.readouterr().err


def test_what_strangers_cause_at_will_is_one_line_a_minute_and_the_next_says_how_many(capsys):
    now = [1000.0]
    log.setup(log.Settings(destination="stderr"))
    folded = log.Folded("milter_stranger", clock=lambda: now[0])
    for n in range(5):
        folded.event(peer=f"192.0.2.{n}")
    now[0] += 60
    folded.event(peer="192.0.2.7")
    now[0] += 60
    folded.event(peer="192.0.2.8")
    said = [line.partition("milter_stranger ")[2] for line in capsys.readouterr().err.splitlines()]
    assert said == ["peer=192.0.2.0", "peer=192.0.2.7 more=4", "peer=192.0.2.8"]


def _failure(text: str) -> Exception:
    try:
        raise ValueError(text)
    except ValueError as exc:
        return exc


def test_a_traceback_comes_once_a_minute_for_each_place(capsys, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    log.setup(log.Settings(destination="stderr"))
    for _ in range(3):
        log.traceback_once("check_failed", _failure("x"), check="spf")
    said = capsys.readouterr().err
    assert said.count('check_failed check=spf error="ValueError: x"') == 3
    assert said.count("Traceback") == 1
    now[0] += 60
    log.traceback_once("check_failed", _failure("x"), check="spf")
    assert capsys.readouterr().err.count("Traceback") == 1


def test_a_different_failure_has_its_own_traceback(capsys):
    log.setup(log.Settings(destination="stderr"))
    log.traceback_once("check_failed", _failure("x"))
    try:
        int("no")
    except ValueError as exc:
        log.traceback_once("check_failed", exc)
    log.traceback_once("check_failed", ValueError("never raised"))
    assert capsys.readouterr().err.count("Traceback") == 2


def test_a_traceback_cannot_forge_an_event(capsys):
    log.setup(log.Settings(destination="stderr"))
    log.traceback_once("session_failed", _failure("a\nmail_accepted id=1\x1b"))
    lines = capsys.readouterr().err.splitlines()
    assert sum(line.startswith("  | ") for line in lines) == len(lines) - 1
    assert "\x1b" not in "".join(lines)


def test_json_carries_the_traceback_inside(capsys):
    log.setup(log.Settings(format="json", destination="stderr"))
    log.traceback_once("session_failed", _failure("x"))
    assert json.loads(capsys.readouterr().err)["traceback"][-1] == "ValueError: x"


@pytest.mark.parametrize("stream", ["", "nonsense", "1:2", ":", "5:x"])
def test_a_journal_stream_that_is_not_our_standard_error_is_not_believed(stream, monkeypatch, tmp_path):
    with (tmp_path / "err").open("w") as err:
        monkeypatch.setattr(sys, "stderr", err)
        monkeypatch.setenv("JOURNAL_STREAM", stream)
        assert not log.stderr_is_the_journal()


def test_standard_error_connected_to_the_journal_is_recognised(monkeypatch, tmp_path):
    with (tmp_path / "err").open("w") as err:
        there = os.fstat(err.fileno())
        monkeypatch.setattr(sys, "stderr", err)
        monkeypatch.setenv("JOURNAL_STREAM", f"{there.st_dev}:{there.st_ino}")
        assert log.stderr_is_the_journal()


def test_without_a_journal_lines_go_to_standard_error(monkeypatch, capsys):
    class Absent(log.Journal):
        def __init__(self) -> None:
            super().__init__("/nonexistent/journal")

    monkeypatch.setattr(log, "Journal", Absent)
    log.setup(log.Settings(destination="journal"))
    log.event("started")
    assert "started" in capsys.readouterr().err


def _handler(path: str) -> log.Journal:
    handler = log.Journal(path)
    handler.setFormatter(log.Line("logfmt", dated=False))
    root = logging.getLogger()
    root.addHandler(handler)
    logging.getLogger("gatekeeper").setLevel(logging.INFO)
    return handler


def test_the_journal_gets_the_line_and_each_fact(journal):
    path, listener = journal
    handler = _handler(path)
    log.event("mail_rejected", id="a1", helo="x\nPRIORITY=0", level=logging.WARNING)
    entry = listener.recv(65536)
    assert b'MESSAGE=mail_rejected id=a1 helo="x\\nPRIORITY=0"\n' in entry
    assert b"PRIORITY=4\n" in entry
    assert b"SYSLOG_IDENTIFIER=gatekeeper\n" in entry
    assert b"GATEKEEPER_EVENT=mail_rejected\nCODE_FILE=" in entry
    assert b"GATEKEEPER_ID=a1\n" in entry
    assert b"GATEKEEPER_HELO\n\x0c\0\0\0\0\0\0\0x\nPRIORITY=0\n" in entry  # by length: a line end ends nothing
    assert handler.dropped == 0


def test_a_large_entry_goes_to_the_journal_as_a_memory_file(journal):
    path, listener = journal
    _handler(path)
    facts: dict[str, Any] = {f"k{n}": "x" * 2000 for n in range(200)}
    log.event("started", **facts)
    _, fds, _, _ = socket.recv_fds(listener, 10, 1)
    with os.fdopen(fds[0], "rb") as file:
        assert os.fstat(file.fileno()).st_size > 400_000


def test_a_journal_that_is_behind_loses_lines_but_says_how_many(journal):
    path, listener = journal
    handler = _handler(path)
    while not handler.dropped:
        log.event("started")
    listener.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            listener.recv(65536)
    log.event("started")
    assert b"MESSAGE=started\n" in listener.recv(65536)
    assert b"MESSAGE=log_lines_lost count=1\n" in listener.recv(65536)
    assert handler.dropped == 0


def test_a_line_that_cannot_be_written_does_not_reach_the_caller(journal, capsys):
    path, _ = journal
    record = logging.LogRecord("library", logging.WARNING, "f", 1, "%d", ("not a number",), None)
    _handler(path).handle(record)
    assert "Logging error" in capsys.readouterr().err
