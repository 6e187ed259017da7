"""The command line as an operator calls it, and a configuration with some records to look at."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import typer
from typer import testing

from gatekeeper.cli.app import app
from gatekeeper.model import Contribution, Missing, Reply, Thresholds
from gatekeeper.records.document import ClientFacts, Decision, Record, RecordedFinding, RecordedRecipient
from gatekeeper.records.record import stored
from gatekeeper.store.opening import Settings, open_store

REJECTED, ACCEPTED = "2Q0745CZM54SRB", "2Q0745CZM54SRC"
NOW = 1_800_000_000.0

testing._get_command = cache(typer.main.get_command)  # type: ignore[attr-defined]  # 50 ms, at each call of ours


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command left behind."""

    status: int
    out: str
    err: str


def gatekeeper(*arguments: str, environment: dict[str, str] | None = None, typed: bytes = b"") -> Ended:
    with _logging_as_it_was():
        result = testing.CliRunner().invoke(app, arguments, env=environment, input=typed)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ended(result.exit_code, result.stdout, result.stderr)


@contextlib.contextmanager
def _logging_as_it_was() -> Iterator[None]:
    """A command sets up logging for its process, which here goes on with other tests."""
    loggers = logging.getLogger(), logging.getLogger("gatekeeper")
    levels = [logger.level for logger in loggers]
    handlers = list(loggers[0].handlers)
    try:
        yield
    finally:
        loggers[0].handlers[:] = handlers
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        logging.captureWarnings(capture=False)


def configuration(directory: Path, text: str = "") -> str:
    """A file that names a store of its own and a nameserver that is not there."""
    path = directory / "gatekeeper.toml"
    path.write_text(
        f'hostname = "mx.example.org"\n{text}\n[store]\nurl = "sqlite:{directory / "state.db"}"\n'
        '[dns]\nnameservers = ["127.0.0.1:9"]\ntimeout = "10ms"\ntries = 1\n'
    )
    return str(path)


def with_records(directory: Path, text: str = "") -> str:
    """`configuration`, and a store that has one rejected and one accepted mail."""
    path = configuration(directory, text)
    asyncio.run(_keep(directory))
    return path


async def _keep(directory: Path) -> None:
    store = open_store(Settings(url=f"sqlite:{directory / 'state.db'}"))
    try:
        await store.put_records([stored(_rejected()), stored(_accepted())])
    finally:
        await store.close()


def _rejected() -> Record:
    decision = Decision(
        action="reject",
        millis=10500,
        thresholds=Thresholds(5000, 10000),
        contributions=(Contribution("SPF_FAIL", 10000), Contribution("HELO_BARE_IP", 500)),
        missing=("dkim",),
    )
    return Record(
        id=REJECTED,
        time=NOW,
        duration=0.5,
        server="smtp",
        session="s",
        client=ClientFacts(address="192.0.2.1", helo="[bold]evil\x1b[31m"),
        action="reject",
        reply=Reply.of(550, "5.7.23 no"),
        sender="spam@example.net",
        recipients=tuple(RecordedRecipient(f"user{n}@example.org", decision=decision) for n in range(5)),
        decision=decision,
        findings=(
            RecordedFinding("SPF_FAIL", "not allowed by [red]x[/red]\x1b[31m"),
            RecordedFinding("HELO_BARE_IP", "said 192.0.2.1"),
        ),
        missing=(Missing("dkim", ("DKIM_PASS",), "timeout"),),
    )


def _accepted() -> Record:
    return Record(
        id=ACCEPTED,
        time=NOW + 60,
        duration=0.5,
        server="smtp",
        session="s",
        client=ClientFacts(address="198.51.100.7"),
        action="accept",
        reply=Reply.of(250, "2.0.0 Ok: queued as 4ABC"),
        sender="",
        recipients=(RecordedRecipient("ann@example.org"),),
        queue_id="4ABC",
        decision=Decision(action="accept", millis=0, thresholds=Thresholds(5000, 10000)),
    )
