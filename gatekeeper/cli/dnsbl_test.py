"""`gatekeeper dnsbl test [ZONE]`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from gatekeeper.cli import screen
from gatekeeper.cli.options import DEFAULT_FILE, EXIT_NEGATIVE, AsJson, ConfigFile, configuration, fail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gatekeeper.config import Configuration
    from gatekeeper.dns.answer import Answer
    from gatekeeper.dns.fresh import Fresh, ResolverProbe
    from gatekeeper.dns.health import Probe, Target

STYLES = {"good": "green", "slow": "yellow", "empty": "yellow"}


def test(
    zone: Annotated[str, typer.Argument(metavar="[ZONE]", help="One list: its zone or its name; all without.")] = "",
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_FILE,
) -> None:
    """Test the nameservers and the DNS lists now: what must be listed, what must not, and what cannot be.

    "empty" means that nothing is listed, which is right for a list that has no test point. Exit status 0 when all is
    well, 1 when a list or the nameservers are not, 2 for a wrong configuration.

    Example: gatekeeper dnsbl test zen.spamhaus.org
    """
    import asyncio

    from gatekeeper.watch import listed_targets

    settings = configuration(config)
    targets = listed_targets(settings.checks)
    wanted = zone.lower().removesuffix(".")
    if wanted:
        targets = [
            each
            for each in targets
            if wanted in {each.list.suffix, each.list.shown, each.list.name.lower(), each.name.lower()}
        ]
        if not targets:
            fail(f'no list of the configuration has the zone or the name "{zone}"')
    nameservers, probes = asyncio.run(_probe(settings, targets))
    if as_json:
        typer.echo(json.dumps({"nameservers": _plain(nameservers), "lists": [_plain_list(each) for each in probes]}))
    else:
        _show(nameservers, probes)
    if nameservers.faults or any(each.outcome.value not in STYLES for each in probes):
        raise typer.Exit(EXIT_NEGATIVE)


async def _probe(settings: Configuration, targets: Sequence[Target]) -> tuple[ResolverProbe, list[Probe]]:
    import asyncio

    from gatekeeper.dns.fresh import examine_resolver

    fresh = await fresh_of(settings)
    examined = await examine_resolver(fresh)
    return examined, list(await asyncio.gather(*(fresh.probe(each) for each in targets)))


async def fresh_of(settings: Configuration) -> Fresh:
    """Somebody who asks the nameservers of that configuration straight."""
    from gatekeeper.dns.fresh import Fresh
    from gatekeeper.dns.resolver import AiodnsResolver

    resolver = AiodnsResolver(settings.dns)
    try:
        return Fresh(await resolver.nameservers(), timeout=settings.dns.timeout)
    finally:
        await resolver.close()


def said(answer: Answer | None) -> str:
    """An answer in a few words."""
    if answer is None:
        return "-"
    if not answer.certain:
        return answer.status.value
    return ", ".join(map(str, answer.records[:4])) or "not listed"


def _plain(probe: ResolverProbe) -> dict[str, object]:
    return {"faults": list(probe.faults), "why": probe.why}


def _plain_list(probe: Probe) -> dict[str, object]:
    return {
        "list": probe.target.name,
        "zone": probe.target.list.shown,
        "family": probe.target.family.value,
        "outcome": probe.outcome.value,
        "must_be_listed": said(probe.listed),
        "must_not": said(probe.not_listed),
        "cannot": said(probe.control),
        "milliseconds": round(probe.seconds * 1000, 1),
    }


def _show(nameservers: ResolverProbe, probes: Sequence[Probe]) -> None:
    from rich.table import Table

    console = screen.console()
    words = f"nameservers: {', '.join(nameservers.faults) or 'sound'}"
    words += f" ({nameservers.why})" if nameservers.why else ""
    console.print(screen.text(words, "red" if nameservers.faults else "green"), soft_wrap=True)
    if not probes:
        console.print("no lists are configured")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("list", "zone", "family", "outcome", "must be listed", "must not", "cannot", "ms"):
        table.add_column(heading, justify="right" if heading == "ms" else "left", overflow="fold")
    for each in probes:
        plain = _plain_list(each)
        outcome = each.outcome.value
        table.add_row(
            screen.text(plain["list"]),
            screen.text(plain["zone"]),
            screen.text(plain["family"]),
            screen.text(outcome, STYLES.get(outcome, "red")),
            screen.text(plain["must_be_listed"]),
            screen.text(plain["must_not"]),
            screen.text(plain["cannot"]),
            screen.text(plain["milliseconds"]),
        )
    console.print(table)
