"""`gatekeeper dnsbl`: the table of its commands, each in a file of its own."""

from __future__ import annotations

import typer

from gatekeeper.cli.dnsbl_lookup import lookup
from gatekeeper.cli.dnsbl_report import report
from gatekeeper.cli.dnsbl_test import test

dnsbl = typer.Typer(help="DNS lists: what they say, whether they are well, what they are worth.", no_args_is_help=True)
dnsbl.command()(test)
dnsbl.command()(lookup)
dnsbl.command()(report)
