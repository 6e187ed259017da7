"""The table of commands. Each stands in the file of its name, and imports what is heavy when it is called."""

from __future__ import annotations

import errno
import os
import sys
from typing import Annotated

import typer

import gatekeeper
from gatekeeper.cli.bench import bench
from gatekeeper.cli.check import check
from gatekeeper.cli.config import config
from gatekeeper.cli.demo import demo
from gatekeeper.cli.dnsbl import dnsbl
from gatekeeper.cli.doctor import doctor
from gatekeeper.cli.explain import explain
from gatekeeper.cli.learn import learn
from gatekeeper.cli.lists import lists
from gatekeeper.cli.options import EXIT_MISTAKE
from gatekeeper.cli.records import records
from gatekeeper.cli.report import report
from gatekeeper.cli.run import run
from gatekeeper.cli.store import store

app = typer.Typer(
    name="gatekeeper",
    help="gatekeeper judges mail in front of a mail server, while its sender is still on the line.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command()(run)
app.command()(check)
app.command()(records)
app.command()(explain)
app.command()(demo)
app.command()(doctor)
app.command()(bench)
app.add_typer(config, name="config")
app.add_typer(store, name="store")
app.add_typer(report, name="report")
app.add_typer(lists, name="lists")
app.add_typer(learn, name="learn")
app.add_typer(dnsbl, name="dnsbl")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gatekeeper {gatekeeper.__version__}")
        raise typer.Exit


@app.callback()
def common(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """What may stand before the command."""


_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def main() -> None:
    try:
        app()
    except OSError as failure:
        if failure.errno not in _NO_ROOM or failure.filename is not None:
            raise
        typer.echo(f"the output cannot be written: {failure.strerror}", err=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would try again at its end
        sys.exit(EXIT_MISTAKE)
