"""`gatekeeper explain ID`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from gatekeeper.cli import screen
from gatekeeper.cli.options import (
    DEFAULT_FILE,
    EXIT_NEGATIVE,
    AsJson,
    ConfigFile,
    configuration,
    fail,
    from_store,
)
from gatekeeper.log import printable

if TYPE_CHECKING:
    from gatekeeper.config import Configuration
    from gatekeeper.records.explain import Explanation


def explain(
    id_: Annotated[str, typer.Argument(metavar="ID", help="The id in an answer, a log line or a record.")],
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_FILE,
) -> None:
    """Say why a mail was answered as it was: every finding, its score, and the exact sum.

    Example: gatekeeper explain 3fk9-2b7q-c4
    """
    from gatekeeper.records import explain as explaining
    from gatekeeper.records.document import UnreadableDocument
    from gatekeeper.records.find import find_one

    settings = configuration(config)
    try:
        record = from_store(settings, lambda store: find_one(store, id_))
    except UnreadableDocument as wrong:
        fail(f"{id_}: {wrong}")
    if record is None:
        typer.echo(f"no record has the id {printable(id_)}; old ones are forgotten ([records] keep)", err=True)
        raise typer.Exit(EXIT_NEGATIVE)
    explanation = explaining.explain(record, sentences(settings))
    if as_json:
        typer.echo(json.dumps(explaining.to_json(explanation)))
    else:
        show(explanation)


def sentences(settings: Configuration) -> dict[str, str]:
    """What each rule means, by its name; those of checks that are switched off too, since records are older."""
    from gatekeeper.config.shipped import default_rules
    from gatekeeper.policy import OTHER_POLICY, group_rule

    configured = [rule for check in settings.checks for rule in check.rules()]
    configured += [group_rule(rule.group) for rule in configured if rule.group]
    return {rule.name: rule.about for rule in (OTHER_POLICY, *default_rules(), *configured)}


def show(explanation: Explanation) -> None:
    from gatekeeper.records.explain import lines

    first, *rest = lines(explanation)
    console = screen.console()
    console.print(screen.text(first, screen.STYLES.get(explanation.record.action, "")), soft_wrap=True)
    for line in rest:
        console.print(screen.text(line), soft_wrap=True)
