"""`gatekeeper demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gatekeeper.cli.options import fail


def demo(
    directory: Annotated[
        Path, typer.Option("--directory", help="Where its configuration, mail, records and log are kept.")
    ] = Path("run/demo"),
    smtp_port: Annotated[int, typer.Option(help="Its SMTP port on 127.0.0.1; a free one if somebody has it.")] = 10025,
    http_port: Annotated[int, typer.Option(help="The same for metrics and health.")] = 8025,
    stay: Annotated[bool, typer.Option("--stay/--no-stay", help="Keep running after the table is shown.")] = True,
) -> None:
    """See it work: telling mail goes through it, on this machine alone, and a table shows what became of each.

    Needs neither an MTA nor the Internet: the next hop is a Maildir, the DNS a few records of its own.

    Example: gatekeeper demo --directory /tmp/gatekeeper-demo
    """
    from rich.console import Console

    from gatekeeper.demo import play

    try:
        status = play.run(directory, smtp_port=smtp_port, http_port=http_port, stay=stay, console=Console())
    except (OSError, RuntimeError) as wrong:
        fail(f"the demonstration cannot run: {wrong}")
    raise typer.Exit(status)
