"""`gatekeeper report dmarc`."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from gatekeeper.cli.options import DEFAULT_FILE, EXIT_NEGATIVE, ConfigFile, configuration, fail
from gatekeeper.log import printable

if TYPE_CHECKING:
    from gatekeeper.complaints.dmarc_sending import Reports, Sending

report = typer.Typer(no_args_is_help=True, help="Send reports that others ask for.")


@report.callback()
def common() -> None:
    """Keeps `dmarc` a word of its own, though it is the only one yet."""


@report.command()
def dmarc(
    *,
    day: Annotated[
        str, typer.Option(metavar="YYYY-MM-DD", help="That day (UTC) alone; else all that are over and not yet sent.")
    ] = "",
    domain: Annotated[str, typer.Option(help="That policy domain alone.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the reports; send and remember nothing.")] = False,
    config: ConfigFile = DEFAULT_FILE,
) -> None:
    """Send DMARC aggregate reports (RFC 9990) to the domains that ask for them; one for each domain, day and address.

    A report that was sent is never sent again. Exit status 1 when one could not be sent now: the next call tries again.

    Example: gatekeeper report dmarc --dry-run --domain example.com
    """
    from gatekeeper.app import Unfit, dmarc_reports
    from gatekeeper.store.base import StoreAway
    from gatekeeper.wire.address import normal_domain

    if day and not re.fullmatch(r"\d{4}-\d\d-\d\d", day):
        raise typer.BadParameter(f'"{day}" is not a day: write "2026-11-02"', param_hint="--day")
    only = normal_domain(domain) if domain else ""
    if only is None:
        raise typer.BadParameter(f'"{domain}" is not a domain name', param_hint="--domain")
    settings = configuration(config)

    async def run() -> bool:
        async with dmarc_reports(settings) as reports:
            days = [day] if day else reports.days()
            return await (_show if dry_run else _send)(reports, days, only)

    try:
        good = asyncio.run(run())
    except (Unfit, StoreAway, ValueError) as wrong:
        fail(str(wrong))
    raise typer.Exit(0 if good else EXIT_NEGATIVE)


async def _show(reports: Reports, days: list[str], only: str) -> bool:
    count = 0
    for day in days:
        async for shown in reports.show(day, only):
            count += 1
            for one in shown.sendings:
                typer.echo(f"# {_line(one)}")
            if not shown.sendings:
                typer.echo(f"# {day} {printable(shown.report.domain)}: no address that a report could be sent to")
            typer.echo(shown.document.decode(), nl=False)
    typer.echo(f"{count} reports; nothing was sent", err=True)
    return True


async def _send(reports: Reports, days: list[str], only: str) -> bool:
    outcomes: Counter[str] = Counter()
    good = True
    for day in days:
        async for one in reports.send(day, only):
            typer.echo(_line(one))
            outcomes[one.outcome.value] += 1
            good = good and one.outcome.final
    told = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items()) or "nothing is due"
    typer.echo(told, err=True)
    return good


def _line(one: Sending) -> str:
    text = f"{one.day} {one.domain} to {one.address}: {one.outcome.value}, {one.rows} rows, {one.octets} octets"
    return printable(f"{text} ({one.why})" if one.why else text)
