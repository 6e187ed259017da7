"""`gatekeeper dnsbl`: what DNS lists say, whether they are well, and what they are worth."""

from __future__ import annotations

import typer

from gatekeeper.cli.dnsbl_report import report

dnsbl = typer.Typer(help="DNS lists: what they say, whether they are well, what they are worth.", no_args_is_help=True)
dnsbl.command()(report)


@dnsbl.callback()
def common() -> None:
    """Keep the commands' names, were there but one."""
