"""`gatekeeper config check|show|document`."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Annotated

import typer

from gatekeeper.cli.options import DEFAULT_FILE, ConfigFile, configuration, fail

if TYPE_CHECKING:
    from gatekeeper.config import Configuration

config = typer.Typer(no_args_is_help=True, help="Look at the configuration.")


@config.command()
def check(
    file: Annotated[str | None, typer.Argument(metavar="[FILE]", help="Instead of the one named by --config.")] = None,
    config: ConfigFile = DEFAULT_FILE,
) -> None:
    """Say what is wrong with a configuration, with line and mend; exit status 2 when anything is.

    The files of signing keys and tls_ca_file are read too, as whoever calls this: try it as the user that gatekeeper
    runs as. Each rule of `[checks.rules]` is tried with its own test messages.

    Example: gatekeeper config check /etc/gatekeeper/gatekeeper.toml
    """
    found = configuration(file or config)
    unusable = _unusable_keys(found)
    if unusable:
        fail(*(f"{file or config}: [[mailauth.signing.keys]]: {sentence}" for sentence in unusable))
    unverified = _unusable_authorities(found)
    if unverified:
        fail(f"{file or config}: [nexthop]: {unverified}")
    failed = _failed_rules(found)
    if failed:
        fail(*failed)
    servers = [server.name for server in fields(found.servers) if getattr(found.servers, server.name) is not None]
    opened = ", ".join(servers) or "no server: add [servers.smtp] to take mail"
    if left_out := _rules_left_out(found):
        typer.echo(left_out)
    typer.echo(f"{file or config}: good; {len(found.checks)} checks; {opened}")


def _unusable_keys(found: Configuration) -> list[str]:
    """Why each key that we cannot sign with is one: gatekeeper would not start with it."""
    from gatekeeper.mailauth.signing import SigningUnusable, load_key

    sentences = []
    for key in found.mailauth.signing.keys:
        try:
            load_key(key)
        except SigningUnusable as unusable:
            sentences.append(str(unusable))
    return sentences


def _unusable_authorities(found: Configuration) -> str:
    """Why the next hop's certificate could not be verified, or "": gatekeeper would not start with it."""
    from gatekeeper.nexthop import CannotVerify, NextHopUrl
    from gatekeeper.nexthop.protection import Protection

    if found.servers.smtp is None:
        return ""
    try:
        Protection.of(found.nexthop, NextHopUrl.parse(found.servers.smtp.next_hop))
    except CannotVerify as unusable:
        return str(unusable)
    return ""


def _failed_rules(found: Configuration) -> list[str]:
    """Rules whose own test messages do not come out as they say; they would work, and not as meant."""
    from gatekeeper.checks.rules import Rules
    from gatekeeper.config.configuration import rule_problem
    from gatekeeper.rules.trial import failures

    check = found.check(Rules.name)
    return [str(rule_problem(each)) for each in failures(check.ruleset)] if isinstance(check, Rules) else []


def _rules_left_out(found: Configuration) -> str:
    from gatekeeper.checks.rules import Rules

    check = found.check(Rules.name)
    count = len(check.ruleset.left_out) if isinstance(check, Rules) else 0
    return (
        f"{count} rules have patterns and are not looked for: hyperscan is not there for this machine" if count else ""
    )


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
