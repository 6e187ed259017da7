"""`gatekeeper records`."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated

import typer

from gatekeeper.cli import screen
from gatekeeper.cli.options import DEFAULT_FILE, AsJson, ConfigFile, configuration, fail, from_store, moment

if TYPE_CHECKING:
    from gatekeeper.records.document import Record

SHOWN = 3
"""Recipients of a record that the table names."""


def records(
    *,
    id_: Annotated[str, typer.Option("--id", help="The id in an answer or a log line.")] = "",
    sender: Annotated[str, typer.Option(help='Whose mail: an address, or "@example.org".')] = "",
    recipient: Annotated[str, typer.Option(help='Mail to whom: an address, or "@example.org".')] = "",
    address: Annotated[str, typer.Option(help="The client: an IP address or a network.")] = "",
    queue_id: Annotated[str, typer.Option(help="The next hop's queue id.")] = "",
    action: Annotated[
        str, typer.Option(help="What became of it: accept, tag, greylist, defer, reject, drop, abandoned; or health.")
    ] = "",
    since: Annotated[str, typer.Option(metavar="WHEN", help='From then on: "2h" (ago), "2026-11-02T10:30".')] = "",
    until: Annotated[str, typer.Option(metavar="WHEN", help="Until then.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most, the newest first.")] = 50,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_FILE,
) -> None:
    """Find what became of mail.

    Example: gatekeeper records --sender @example.org --since 2h
    """
    from gatekeeper.model import Action
    from gatekeeper.records.document import ABANDONED, HEALTH, to_plain
    from gatekeeper.records.find import find
    from gatekeeper.store.base import RecordQuery

    words = [*(each.word for each in Action), ABANDONED, HEALTH]
    if action and action.lower() not in words:
        raise typer.BadParameter(f'"{action}" is not one of {", ".join(words)}', param_hint="--action")
    now = time.time()
    query = RecordQuery(
        id=id_,
        sender=sender,
        recipient=recipient,
        address=address,
        queue_id=queue_id,
        action=action,
        since=moment(since, now=now) if since else 0.0,
        until=moment(until, now=now) if until else 0.0,
        limit=limit,
    )
    try:
        found = from_store(configuration(config), lambda store: find(store, query))
    except ValueError as wrong:
        fail(str(wrong))
    if as_json:
        for record in found:
            typer.echo(json.dumps(to_plain(record)))
    elif found:
        _table(found)
    else:
        typer.echo("no record", err=True)


def _table(found: list[Record]) -> None:
    from rich.table import Table

    from gatekeeper.records.document import points

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("time", "id", "action", "score", "client", "sender", "recipients", "queue id"):
        table.add_column(
            heading,
            justify="right" if heading == "score" else "left",
            no_wrap=heading in {"time", "id", "action", "score"},
            overflow="fold",
        )
    for record in found:
        table.add_row(
            screen.text(screen.local_time(record.time)),
            screen.text(record.id),
            screen.action(record.action),
            screen.text(points(record.millis)),
            screen.text(record.client.address or "unknown"),
            screen.text("unknown" if record.sender is None else record.sender or "<>"),
            screen.text(_recipients(record)),
            screen.text(record.queue_id),
        )
    screen.console().print(table)


def _recipients(record: Record) -> str:
    everyone = [one.address for one in record.recipients]
    more = len(everyone) - SHOWN + len(record.more_recipients) + record.unlisted
    return ", ".join(everyone[:SHOWN]) + (f" and {more} more" if more > 0 else "")
