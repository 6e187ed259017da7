"""`gatekeeper dnsbl lookup ADDRESS|NAME`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from gatekeeper.cli import screen
from gatekeeper.cli.dnsbl_test import fresh_of, said
from gatekeeper.cli.options import DEFAULT_FILE, EXIT_NEGATIVE, AsJson, ConfigFile, configuration, fail

if TYPE_CHECKING:
    from gatekeeper.config import Configuration
    from gatekeeper.dns.answer import Answer
    from gatekeeper.dns.health import Target


@dataclass(frozen=True, slots=True)
class Found:
    """What one list said, what it said about something that cannot be listed, and how it stands as far as is known."""

    target: Target
    answer: Answer
    control: Answer
    health: str

    @property
    def listed(self) -> bool:
        """Whether it would count."""
        from gatekeeper.dns.lists import judge

        well = self.control.certain and not self.control.records
        return well and bool(judge(self.answer.records, self.target.list.meaning).listed)

    @property
    def codes(self) -> str:
        from gatekeeper.dns.lists import judge

        if not self.answer.records:
            return ""
        judged = judge(self.answer.records, self.target.list.meaning)
        if judged.refused:
            return "no listing: refused, or an answer that no list gives"
        return ", ".join(each.name or "listed" for each in judged.listed) or "none that is declared"


def lookup(
    subject: Annotated[str, typer.Argument(metavar="ADDRESS|NAME", help="An IP address, or a domain.")],
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_FILE,
) -> None:
    """Ask all lists about an address or a domain, past every cache of ours: codes, TTL, control question, health.

    Exit status 0 when no list names it, 1 when one does, 2 for a wrong configuration.

    Example: gatekeeper dnsbl lookup 192.0.2.1
    """
    import asyncio

    settings = configuration(config)
    labels, targets = _asked(settings, subject)
    if not targets:
        fail("no list of the configuration is asked about that")
    found = asyncio.run(_look_up(settings, labels, targets))
    if as_json:
        typer.echo(json.dumps([_plain(each) for each in found]))
    else:
        _show(found)
    if any(each.listed for each in found):
        raise typer.Exit(EXIT_NEGATIVE)


def _asked(settings: Configuration, subject: str) -> tuple[str, list[Target]]:
    """What stands before each zone, and the lists that are asked."""
    import ipaddress

    from gatekeeper.dns.lists import Family, plain, reversed_labels
    from gatekeeper.watch import listed_targets
    from gatekeeper.wire.address import normal_domain

    try:
        address = plain(ipaddress.ip_address(subject.strip("[]")))
    except ValueError:
        name = normal_domain(subject)
        if name is None:
            raise typer.BadParameter(
                f'"{subject}" is neither an IP address nor a domain', param_hint="ADDRESS|NAME"
            ) from None
        labels, family = name, Family.NAMES
    else:
        labels, family = reversed_labels(address), Family.IPV4 if address.version == 4 else Family.IPV6
    return labels, [each for each in listed_targets(settings.checks) if each.family is family]


async def _look_up(settings: Configuration, labels: str, targets: list[Target]) -> list[Found]:
    import asyncio
    import random

    from gatekeeper.dns.lists import control_labels

    fresh = await fresh_of(settings)
    healths = await _healths(settings)
    dice = random.SystemRandom()

    async def one(target: Target) -> Found:
        zone = target.list.suffix
        answer = await fresh.ask(f"{labels}.{zone}")
        control = await fresh.ask(f"{control_labels(target.family, dice)}.{zone}")
        return Found(target, answer, control, healths.get(target.key, "untested"))

    return list(await asyncio.gather(*(one(each) for each in targets)))


async def _healths(settings: Configuration) -> dict[str, str]:
    """By key, what the running gatekeeper thinks of its lists; empty where it keeps that to itself."""
    import time

    from gatekeeper.dns.health import from_note
    from gatekeeper.store.base import StoreAway, StoreUnusable
    from gatekeeper.store.opening import open_store
    from gatekeeper.watch import STATES, host

    path = settings.store.path
    if path is None or not path.exists():
        return {}
    try:
        store = open_store(settings.store)
        try:
            notes = await store.notes(STATES, prefix=f"{host()} ", now=time.time())
        finally:
            await store.close()
    except (StoreAway, StoreUnusable):
        return {}
    found = {}
    for note in notes:
        try:
            found[note.key.removeprefix(f"{host()} ")] = from_note(note.text).state.value
        except ValueError:
            continue
    return found


def _plain(found: Found) -> dict[str, object]:
    return {
        "list": found.target.list.name,
        "zone": found.target.list.shown,
        "listed": found.listed,
        "answer": said(found.answer),
        "codes": found.codes,
        "ttl": round(found.answer.ttl) if found.answer.records else None,
        "control": said(found.control),
        "health": found.health,
    }


def _show(found: list[Found]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    headings = ("list", "zone", "answer", "codes", "ttl", "control", "health")
    for heading in headings:
        table.add_column(heading, justify="right" if heading == "ttl" else "left", overflow="fold")
    for each in found:
        plain = _plain(each)
        style = "red" if each.listed else ""
        cells = ("" if plain[heading] is None else plain[heading] for heading in headings)
        table.add_row(*(screen.text(cell, style) for cell in cells))
    screen.console().print(table)
