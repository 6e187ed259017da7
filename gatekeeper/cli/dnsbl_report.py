"""`gatekeeper dnsbl report`."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated

import typer

from gatekeeper.cli import screen
from gatekeeper.cli.options import DEFAULT_FILE, AsJson, ConfigFile, configuration, from_store, moment

if TYPE_CHECKING:
    from gatekeeper.config import Configuration
    from gatekeeper.records.usefulness import KnownList, ListWorth, Worth
    from gatekeeper.store.base import Store


def report(
    *,
    since: Annotated[str, typer.Option(metavar="WHEN", help='From then on: "7d" (ago), "2026-11-02".')] = "",
    until: Annotated[str, typer.Option(metavar="WHEN", help="Until then.")] = "",
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_FILE,
) -> None:
    """Say what each DNS list was worth: hits, what it found alone, what switching it off would have changed.

    Counted from the records, judged again by the policy of the configuration.

    Example: gatekeeper dnsbl report --since 7d
    """
    from gatekeeper.policy import Policy
    from gatekeeper.records.period import every
    from gatekeeper.records.usefulness import Weighing, to_json
    from gatekeeper.store.base import RecordQuery

    settings = configuration(config)
    now = time.time()
    query = RecordQuery(since=moment(since, now=now) if since else 0.0, until=moment(until, now=now) if until else 0.0)
    rules = [rule for check in settings.checks for rule in check.rules()]
    policy = Policy(settings.policy, rules, domains=frozenset(settings.relay_domains))
    weighing = Weighing(policy, known_lists(settings))

    async def weigh(store: Store) -> None:
        async for record in every(store, query):
            weighing.add(record)

    from_store(settings, weigh)
    worth = weighing.worth()
    if as_json:
        typer.echo(json.dumps(to_json(worth)))
    else:
        _show(worth)


def known_lists(settings: Configuration) -> list[KnownList]:
    """The lists of every check that asks some, with the rules they find."""
    from gatekeeper.records.usefulness import KnownList
    from gatekeeper.watch import lists_of

    return [KnownList(each.rule, each.shown, tuple(each.rules.values())) for each in lists_of(settings.checks)]


def _show(worth: Worth) -> None:
    if not worth.mails:
        typer.echo("no record in that time", err=True)
        return
    console = screen.console()
    console.print(screen.text(f"{worth.mails} mails"), soft_wrap=True)
    if not worth.lists:
        console.print(screen.text("no list is configured, and no record has a finding of one"), soft_wrap=True)
        return
    console.print(_table(worth))
    if any(one.changes for one in worth.lists):
        console.print(screen.text("\nWithout it the policy would have said:"), soft_wrap=True)
        for one in worth.lists:
            for change, mails in one.changed.items():
                before, _, after = change.partition(">")
                line = f"{one.name}: {after} instead of {before} for {mails} mails ({_part(mails, worth.mails)})"
                console.print(screen.text(line), soft_wrap=True)
    if worth.overlap:
        console.print(screen.text("\nMails that two lists have both hit, of 100 hits of the one in the row:"))
        console.print(_overlap(worth))


def _table(worth: Worth) -> object:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("list", "zone", "hits", "of all", "alone", "contrary", "changed", "no answer", "p50", "p95"):
        table.add_column(heading, justify="left" if heading in {"list", "zone"} else "right", overflow="fold")
    for one in worth.lists:
        table.add_row(
            screen.text(one.name),
            screen.text(one.zone),
            str(one.hits),
            _part(one.hits, worth.mails),
            str(one.unique),
            str(one.contrary),
            str(one.changes),
            str(one.unanswered),
            _seconds(one.p50),
            _seconds(one.p95),
        )
    return table


def _overlap(worth: Worth) -> object:
    from rich.table import Table

    shown: list[ListWorth] = [one for one in worth.lists if one.hits][:SHOWN]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for one in shown:
        table.add_column(screen.text(one.name), justify="right", overflow="fold")
    for row in shown:
        cells = ["-" if row is one else _of_100(worth.overlap.get((row.name, one.name), 0), row.hits) for one in shown]
        table.add_row(screen.text(row.name), *cells)
    return table


SHOWN = 12
"""Lists of which the overlap is shown; `--json` has all."""


def _part(some: int, of: int) -> str:
    return f"{100 * some / of:.2f}%"


def _of_100(some: int, of: int) -> str:
    return f"{100 * some / of:.0f}" if some else ""


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{1000 * value:.0f} ms"
