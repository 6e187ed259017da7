"""`gatekeeper lists show|add|remove|check`."""

from __future__ import annotations

import json
import secrets
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from gatekeeper.cli import screen
from gatekeeper.cli.explain import sentences
from gatekeeper.cli.options import (
    DEFAULT_FILE,
    EXIT_NEGATIVE,
    AsJson,
    ConfigFile,
    configuration,
    fail,
    from_store,
    who,
)
from gatekeeper.log import printable

if TYPE_CHECKING:
    from gatekeeper.checks.stacking import Stacking
    from gatekeeper.checks.stacking.holds import Hold
    from gatekeeper.config import Configuration
    from gatekeeper.records.standing import Shown, Standing, Told
    from gatekeeper.wire.list_lines import ListEntry

lists = typer.Typer(no_args_is_help=True, help="See and change who is denied, allowed, exempt or blocked.")

About = Annotated[
    str,
    typer.Option(
        "--about", metavar="WHAT", help="address, name, helo, sender or recipient; by the form of WHAT when left out."
    ),
]


@lists.command()
def show(as_json: AsJson = False, config: ConfigFile = DEFAULT_FILE) -> None:
    """Show every entry, every automatic block and who else is told no names: whom, why, on what evidence, until when.

    Example: gatekeeper lists show
    """
    from gatekeeper.records import standing

    settings, now = configuration(config), time.time()
    about = sentences(settings)
    shown = from_store(settings, lambda store: standing.entries(store, _in_files(settings), now=now))
    blocks = from_store(settings, lambda store: standing.blocks(store, about, now=now))
    held = from_store(settings, lambda store: standing.held(store, _stacking(settings), now=now))
    if as_json:
        plain = {
            "entries": [standing.plain_entry(one) for one in shown],
            "blocks": [standing.plain_block(one) for one in blocks],
            "held": [standing.plain_hold(one) for one in held],
        }
        typer.echo(json.dumps(plain))
        return
    if not (shown or blocks or held):
        typer.echo("nothing is listed and nobody blocked", err=True)
    if shown:
        _table(shown, now)
    if blocks:
        _blocks(blocks)
    if held:
        _held(held)


@lists.command()
def add(
    what: Annotated[
        str, typer.Argument(metavar="WHAT", help="An address, network, name, or mailbox; * stands for any.")
    ],
    *,
    action: Annotated[str, typer.Option(help="deny, allow or exempt.")] = "deny",
    about: About = "",
    reason: Annotated[str, typer.Option(help="Why; a sender that is denied is told.")] = "",
    until: Annotated[
        str, typer.Option(metavar="WHEN", help='"2d" (from now), "2027-01-31", "2027-01-31T12:00Z"; for good without.')
    ] = "",
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_FILE,
) -> None:
    """Add an entry, in front of all others; every worker has it within a second.

    Example: gatekeeper lists add 192.0.2.7 --reason "floods our forms" --until 2d
    """
    from gatekeeper.checks.list_source import TooMany, put_added
    from gatekeeper.records.standing import Shown, plain_entry
    from gatekeeper.wire import list_lines

    settings, now = configuration(config), time.time()
    try:
        entry = list_lines.parse_line(f"{action} {about or list_lines.about_of(what)} {what}")
        if entry is None:
            raise list_lines.BadLine("there is nothing to add")
        line = list_lines.write_line(_dated(entry, until, reason, now))
        entry = list_lines.parse_line(line)
    except list_lines.BadLine as wrong:
        fail(str(wrong))
    assert entry is not None  # noqa: S101  # what was read once is read again
    if entry.ended(now):
        fail(f"{until} is past: give an end that is to come")
    by, token = who(), secrets.token_hex(8)
    try:
        added = from_store(settings, lambda store: put_added(store, entry, by=by, now=now, token=token))
    except TooMany as wrong:
        fail(str(wrong))
    if as_json:
        typer.echo(json.dumps(plain_entry(Shown(added.entry, added))))
    else:
        typer.echo(printable(f"added: {list_lines.write_line(added.entry)}"))


@lists.command()
def remove(
    what: Annotated[
        str,
        typer.Argument(metavar="WHAT", help="As it was added, or whom it is held against: an address, network or key."),
    ],
    about: About = "",
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_FILE,
) -> None:
    """Take away an entry that was added, a block, or what else is held against somebody; every worker knows within a
    second. Exit status 1 where there is none.

    Example: gatekeeper lists remove 192.0.2.7
    """
    from gatekeeper.records import standing
    from gatekeeper.wire import list_lines

    settings, now, token = configuration(config), time.time(), secrets.token_hex(8)
    try:
        pattern = list_lines.parse_pattern(about or list_lines.about_of(what), what)
    except list_lines.BadLine:
        pattern = what  # the key of a block
    in_files = _in_files(settings)
    stacking = _stacking(settings)
    gone = from_store(
        settings,
        lambda store: standing.remove(store, in_files, what, pattern, stacking=stacking, now=now, token=token),
    )
    if as_json:
        plain = {
            "entries": gone.entries,
            "blocks": list(gone.blocks),
            "places": list(gone.places),
            "held": [standing.plain_hold(one) for one in gone.held],
        }
        typer.echo(json.dumps(plain))
    else:
        if gone.entries:
            typer.echo(printable(f"removed: {pattern}"))
        for key in gone.blocks:
            typer.echo(printable(f"no longer blocked: {key}"))
        for hold in gone.held:
            typer.echo(printable(f"no longer held: {hold.key} {hold.reason}: {hold.evidence}"))
        for place in gone.places:
            typer.echo(printable(f"{pattern} stands in {place}: take the line out of the file"), err=True)
        if not (gone.entries or gone.blocks or gone.held or gone.places):
            typer.echo(printable(f"{what} is neither listed nor blocked"), err=True)
    if not (gone.entries or gone.blocks or gone.held):
        raise typer.Exit(EXIT_NEGATIVE)


@lists.command()
def check(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="The client's IP address.")],
    *,
    name: Annotated[str, typer.Option(help="Its reverse name, taken as confirmed.")] = "",
    helo: Annotated[str, typer.Option(help="The name by which it calls itself.")] = "",
    sender: Annotated[str, typer.Option(help="The envelope sender.")] = "",
    recipient: Annotated[str, typer.Option(help="A recipient.")] = "",
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_FILE,
) -> None:
    """Say which entry a client meets first, and whether it is blocked or told no names. Exit status 1 when it is, or
    is denied.

    Example: gatekeeper lists check 192.0.2.7 --sender ann@example.net
    """
    from ipaddress import ip_address

    from gatekeeper.dns.lists import plain
    from gatekeeper.records import standing

    settings, now = configuration(config), time.time()
    try:
        facts = {"address": plain(ip_address(address.strip().removeprefix("[").removesuffix("]")))}
    except ValueError:
        fail(f'"{address}" is no IP address: write 192.0.2.7 or 2001:db8::7')
    said = {"name": name, "helo": helo, "sender": sender.strip("<>"), "recipient": recipient.strip("<>")}
    told = from_store(
        settings,
        lambda store: standing.told(
            store,
            _in_files(settings),
            {**facts, **{about: value.lower() for about, value in said.items() if value}},
            sentences(settings),
            stacking=_stacking(settings),
            now=now,
        ),
    )
    if as_json:
        plain_told = {
            "entry": None if told.met is None else standing.plain_entry(told.met),
            "block": None if told.block is None else standing.plain_block(told.block),
            "held": [standing.plain_hold(one) for one in told.held],
            "accepted": told.history.accepted,
            "refused": told.history.refused,
        }
        typer.echo(json.dumps(plain_told))
    else:
        _tell(address, told)
    if told.refused:
        raise typer.Exit(EXIT_NEGATIVE)


def _in_files(settings: Configuration) -> tuple[ListEntry, ...]:
    from gatekeeper.checks.list_source import read_files
    from gatekeeper.checks.operator_lists import OperatorLists

    check = settings.check(OperatorLists.name)
    return read_files(check.files).entries if isinstance(check, OperatorLists) else ()


def _stacking(settings: Configuration) -> Stacking | None:
    from gatekeeper.checks.stacking import Stacking

    check = settings.check(Stacking.name)
    return check if isinstance(check, Stacking) else None


_LATEST = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
"""No entry ends later: that year would be over its end, which Python's is too, in some time zone."""


def _dated(entry: ListEntry, until: str, reason: str, now: float) -> ListEntry:
    from dataclasses import replace

    from gatekeeper.config import units
    from gatekeeper.wire.list_lines import BadLine, parse_until

    end = None
    if until:
        try:
            end = now + units.duration(until)
        except ValueError:
            end = parse_until(until)
        if end >= _LATEST:
            raise BadLine(f"{until} is too far away: leave until out for an entry without an end")
    return replace(entry, until=end, reason=" ".join(reason.split()))


def _table(shown: list[Shown], now: float) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("action", "about", "pattern", "until", "reason", "where"):
        table.add_column(heading, overflow="fold")
    for one in shown:
        entry = one.entry
        where = entry.place
        if one.added is not None:
            where = f"added {screen.local_time(one.added.at)}" + (f" by {one.added.by}" if one.added.by else "")
        until = "" if entry.until is None else screen.local_time(entry.until)
        table.add_row(
            screen.text(entry.action, _STYLES.get(entry.action, "")),
            screen.text(entry.about),
            screen.text(entry.pattern),
            screen.text(f"{until} (ended)" if entry.ended(now) else until),
            screen.text(entry.reason),
            screen.text(where),
        )
    screen.console().print(table)


_STYLES = {"deny": "red", "allow": "green", "exempt": "yellow"}


def _blocks(blocks: list[Standing]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("blocked", "since", "until", "reason", "evidence", "record"):
        table.add_column(heading, overflow="fold", no_wrap=heading in ("since", "until"))
    for one in blocks:
        table.add_row(
            screen.text(one.whom, "red"),
            screen.text(screen.local_time(one.since)),
            screen.text(screen.local_time(one.until)),
            screen.text(one.reason),
            screen.text(one.evidence or one.about),
            screen.text(one.record),
        )
    screen.console().print(table)


def _held(held: list[Hold]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("held", "since", "until", "reason", "evidence"):
        table.add_column(heading, overflow="fold", no_wrap=heading in ("since", "until"))
    for one in held:
        table.add_row(
            screen.text(one.key, "yellow"),
            screen.text("" if one.since is None else screen.local_time(one.since)),
            screen.text(screen.local_time(one.until)),
            screen.text(one.reason),
            screen.text(one.evidence),
        )
    screen.console().print(table)


def _tell(address: str, told: Told) -> None:
    from gatekeeper.checks.stacking.holds import TOLD_NOTHING
    from gatekeeper.wire.list_lines import write_line

    if told.met is None:
        typer.echo(printable(f"{address}: no entry"))
    else:
        entry = told.met.entry
        typer.echo(printable(f"{address}: {write_line(entry)} ({entry.place or 'added'})"))
        if entry.action != "deny" and entry.about in ("helo", "sender"):
            proof = "reverse DNS confirms the name" if entry.about == "helo" else "SPF or DKIM shows it to be its mail"
            typer.echo(f"  it counts only where {proof}")
    if told.block is not None:
        block = told.block
        typer.echo(
            printable(
                f"{block.whom}: blocked until {_utc(block.until)} by {block.reason}: {block.evidence or block.about}"
            )
        )
        if block.record:
            typer.echo(printable(f"  gatekeeper explain {block.record}"))
    for hold in told.held:
        what = "told no names" if hold.reason in TOLD_NOTHING else "held"
        typer.echo(printable(f"{hold.key}: {what} until {_utc(hold.until)} by {hold.reason}: {hold.evidence}"))
    typer.echo(f"{address}: {told.history.accepted} messages accepted, {told.history.refused} refused before")


def _utc(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d %H:%M UTC")
