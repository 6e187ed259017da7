"""`gatekeeper config check|show|document`."""

from __future__ import annotations

from typing import Annotated

import typer

from gatekeeper.cli.options import DEFAULT_FILE, ConfigFile, configuration

config = typer.Typer(no_args_is_help=True, help="Look at the configuration.")


@config.command()
def check(
    file: Annotated[str | None, typer.Argument(metavar="[FILE]", help="Instead of the one named by --config.")] = None,
    config: ConfigFile = DEFAULT_FILE,
) -> None:
    """Say what is wrong with a configuration, with line and mend; exit status 2 when anything is.

    Example: gatekeeper config check /etc/gatekeeper/gatekeeper.toml
    """
    found = configuration(file or config)
    servers = [name for name in ("smtp", "http") if getattr(found.servers, name)]
    opened = ", ".join(servers) or "no server: add [servers.smtp] to take mail"
    typer.echo(f"{file or config}: good; {len(found.checks)} checks; {opened}")


@config.command()
def show(config: ConfigFile = DEFAULT_FILE) -> None:
    """Show the configuration in force: every value, given or default, as TOML.

    Example: gatekeeper config show -c /etc/gatekeeper/gatekeeper.toml
    """
    from gatekeeper.config.shipped import effective

    typer.echo(effective(configuration(config)), nl=False)


@config.command()
def document() -> None:
    """Show a configuration file to begin with: every setting, its default and what it does.

    Example: gatekeeper config document > /etc/gatekeeper/gatekeeper.toml
    """
    from gatekeeper.config.shipped import example_file

    typer.echo(example_file(), nl=False)
