"""`gatekeeper doctor`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from gatekeeper.cli import screen
from gatekeeper.cli.options import DEFAULT_FILE, EXIT_NEGATIVE, AsJson, ConfigFile, configuration

if TYPE_CHECKING:
    from gatekeeper.doctor.report import Report

STYLES = {"holds": "green", "does not hold here": "red", "not in this mode": "yellow", "cannot tell": "magenta"}


def doctor(
    postfix_config: Annotated[
        str | None,
        typer.Option("--postfix-config", metavar="DIR", help="Where Postfix's main.cf is, if not in its own place."),
    ] = None,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_FILE,
) -> None:
    """Say which promises hold with this configuration and this Postfix, and the line that would mend the others.

    Nothing is changed. Asked are postconf, the next hop, the DNS and our own addresses. Exit status 0 when all holds
    that can hold in the mode at hand, 1 when a line would mend something, 2 for a wrong configuration.

    Example: gatekeeper doctor -c /etc/gatekeeper/gatekeeper.toml --postfix-config /etc/postfix
    """
    import asyncio

    from gatekeeper.doctor import report
    from gatekeeper.doctor.gather import gather

    facts = asyncio.run(gather(configuration(config), file=config, postfix_directory=postfix_config))
    found = report.examine(facts)
    if as_json:
        typer.echo(json.dumps(report.to_json(found)))
    else:
        _show(found)
    if not found.sound:
        raise typer.Exit(EXIT_NEGATIVE)


def _show(found: Report) -> None:
    from gatekeeper.doctor import report

    console = screen.console()
    before = None
    for row in found.rows:
        if row.attachment is not before:
            console.print(screen.text(report.title(row.attachment), "bold"), soft_wrap=True)
            before = row.attachment
        first, *rest = report.lines(row)
        console.print(screen.text(first, STYLES[row.judgement.standing.value]), soft_wrap=True)
        for line in rest:
            console.print(screen.text(line), soft_wrap=True)
