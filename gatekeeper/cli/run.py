"""`gatekeeper run`."""

from __future__ import annotations

import typer

from gatekeeper.cli.options import DEFAULT_FILE, ConfigFile


def run(config: ConfigFile = DEFAULT_FILE) -> None:
    """Take mail, until told to stop.

    SIGHUP loads the configuration anew, SIGTERM lets open sessions finish.

    Example: gatekeeper run -c /etc/gatekeeper/gatekeeper.toml
    """
    from gatekeeper import supervisor

    raise typer.Exit(supervisor.run(config))
